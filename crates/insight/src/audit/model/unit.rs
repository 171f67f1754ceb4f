//! The units of roles: one method of one action of one permission.

use std::collections::{BTreeMap, HashMap, HashSet};

use portcullis_policy::{PolicyDraft, Position, WrittenAction};

/// Units of all roles, inherited ones counted anew.
const MOST_UNITS: usize = 2_000_000;

/// One method of one action.
#[derive(Debug)]
pub(crate) struct Unit<'d> {
    /// The role whose own it is, and the places of its permission and action in it.
    pub(crate) role: &'d str,
    pub(crate) permission: usize,
    pub(crate) action: usize,
    /// `None`: every method.
    pub(crate) method: Option<Box<str>>,
    /// `GET /api/invoices/*`, as usage counts it.
    pub(crate) text: String,
    /// What is taken out of it again.
    pub(crate) except: Vec<&'d str>,
    pub(super) pattern: u32,
    /// How much harm it can do: reading 1, writing 3, deleting or everything 5, and twice that for all that is below a place.
    pub(crate) weight: u32,
    pub(crate) at: Position,
}

type Units<'d> = (Vec<Unit<'d>>, BTreeMap<&'d str, Vec<usize>>, Option<&'static str>);

pub(super) fn units_of<'d>(draft: &'d PolicyDraft, patterns: &mut Patterns) -> Units<'d> {
    let mut units = Vec::new();
    let mut own: HashMap<&str, Vec<usize>> = HashMap::new();
    for role in &draft.roles {
        for (permission, written) in role.permissions.iter().enumerate() {
            let mut except: Vec<&str> = written.not_actions.iter().map(|text| text.value.as_str()).collect();
            except.sort_unstable();
            for (action, text) in written.actions.iter().enumerate() {
                let Some(parsed) = WrittenAction::parse(&text.value) else { continue };
                let pattern = parsed.pattern();
                let methods: Vec<Option<Box<str>>> = match parsed.methods.as_slice() {
                    [] => vec![None],
                    methods => methods.iter().map(|method| Some(method.as_str().into())).collect(),
                };
                for method in methods {
                    own.entry(&role.name.value).or_default().push(units.len());
                    units.push(Unit {
                        role: &role.name.value,
                        permission,
                        action,
                        text: format!("{} {pattern}", method.as_deref().unwrap_or("*")),
                        weight: weight_of(method.as_deref(), parsed.is_open_ended()),
                        except: except.clone(),
                        pattern: patterns.of(&pattern),
                        method,
                        at: text.at,
                    });
                }
            }
        }
    }
    let parents: HashMap<&str, Vec<&str>> = draft
        .roles
        .iter()
        .map(|role| (role.name.value.as_str(), role.inherits.iter().map(|parent| parent.value.as_str()).collect()))
        .collect();
    let (mut all, mut incomplete, mut left) = (BTreeMap::new(), None, MOST_UNITS);
    for role in &draft.roles {
        let (mut found, mut seen, mut next) = (Vec::new(), HashSet::new(), vec![role.name.value.as_str()]);
        while let Some(name) = next.pop() {
            if seen.insert(name) {
                found.extend(own.get(name).into_iter().flatten().copied());
                next.extend(parents.get(name).into_iter().flatten());
            }
        }
        found.sort_unstable();
        if found.len() > left {
            incomplete = Some("the roles have more actions than an audit looks at");
            found.clear();
        }
        left -= found.len();
        all.insert(role.name.value.as_str(), found);
    }
    (units, all, incomplete)
}

fn weight_of(method: Option<&str>, open_ended: bool) -> u32 {
    let one = match method {
        None | Some("DELETE") => 5,
        Some("GET" | "HEAD" | "OPTIONS") => 1,
        Some(_) => 3,
    };
    if open_ended { 2 * one } else { one }
}

/// Whether a method that was used is one of the unit's. Methods that are not told apart may be any that nobody tells apart.
pub(super) fn matches(unit: &Unit<'_>, method: &str) -> bool {
    match &unit.method {
        None => true,
        Some(own) => **own == *method || (method == "*" && !is_told_apart(own)),
    }
}

fn is_told_apart(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "CONNECT" | "TRACE")
}

/// Patterns by number.
#[derive(Debug, Default)]
pub(super) struct Patterns(HashMap<String, u32>);

impl Patterns {
    pub(super) fn of(&mut self, pattern: &str) -> u32 {
        if let Some(id) = self.0.get(pattern) {
            return *id;
        }
        let id = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.insert(pattern.to_owned(), id);
        id
    }
}
