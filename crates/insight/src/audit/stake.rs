//! Who has a stake in a finding: whoever holds what it is about, or could, and so is not to say alone that it may stay.
//!
//! A finding about somebody names them. One about a role, an assignment or a group names no one, and those who hold it are looked up: by name, by group as
//! the policy and the credentials that were seen say, and by being eligible. Where credentials alone say who is in a group, who was never seen is not
//! known, and that is said.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use portcullis_policy::{AssignmentDraft, LintFacts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Input;
use super::finding::Finding;
use super::model::Model;

/// Names that are kept of those who hold one matter, and of all matters together.
const MOST_OF_ONE: usize = 500;
const MOST_OF_ALL: usize = 50_000;

/// Who holds what a finding is about: a role, an assignment or a group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Holders {
    /// Everybody who is known to hold it or to be eligible for it, as a policy file writes them.
    pub principals: Vec<String>,
    /// There are more than are named here: anybody may be one of them.
    pub more: bool,
    /// Why nobody can tell who else holds it; null: these are all.
    pub unknown: Option<String>,
}

/// What somebody has to do with a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stake {
    /// Nothing, as far as anybody can tell.
    None,
    /// Who holds what it is about is not known to the last: why.
    Unclear(String),
    /// It is about them, or about what they hold: what that is.
    Holds(String),
}

/// Says whether somebody who is known by these names may be a principal. Only who knows the approvers and their other names can say so.
pub trait SamePerson: std::fmt::Debug {
    /// Whether they may be one person.
    fn may_be(&self, names: &[String], principal: &str) -> bool;
}

/// Nobody is known by several names.
#[derive(Debug, Clone, Copy)]
pub struct Strangers;

impl SamePerson for Strangers {
    fn may_be(&self, names: &[String], principal: &str) -> bool {
        names.iter().any(|name| name == principal)
    }
}

/// What somebody has to do with a finding. `may_be`: whether they may be this principal; `None`: nobody knows who they are.
pub(crate) fn stake_in(
    holders: &BTreeMap<String, Holders>,
    finding: &Finding,
    may_be: Option<&dyn Fn(&str) -> bool>,
) -> Stake {
    let is = |principal: &str| may_be.is_some_and(|may_be| may_be(principal));
    if let Some(principal) = finding.principal.as_deref().filter(|principal| is(principal)) {
        return Stake::Holds(format!("`{principal}`"));
    }
    let mut unclear = None;
    for matter in &finding.held {
        let shown = || shown(matter);
        let Some(found) = holders.get(matter) else {
            unclear = unclear.or_else(|| Some(format!("who holds {} was not kept", shown())));
            continue;
        };
        if found.more || found.principals.iter().any(|principal| is(principal)) {
            return Stake::Holds(shown());
        }
        unclear = unclear.or_else(|| found.unknown.clone());
        if may_be.is_none() && !found.principals.is_empty() {
            unclear = unclear.or_else(|| Some(format!("{} is held, and who wrote this was not kept", shown())));
        }
    }
    unclear.map_or(Stake::None, Stake::Unclear)
}

/// `role editor` as a sentence has it.
fn shown(matter: &str) -> String {
    match matter.split_once(' ') {
        Some((kind, name)) => format!("the {kind} `{name}`"),
        None => format!("`{matter}`"),
    }
}

/// What a finding is about that somebody holds, by the table and the name: nothing where it names a person.
pub(crate) fn matters_of(principal: Option<&str>, place: Option<(&str, &str)>) -> Vec<String> {
    match principal {
        Some(principal) => match principal.strip_prefix("group:") {
            Some(group) => vec![format!("group {group}")],
            None if principal.contains(':') => Vec::new(),
            // Everybody.
            None => place.and_then(|(kind, name)| matter(kind, name)).into_iter().collect(),
        },
        None => place.and_then(|(kind, name)| matter(kind, name)).into_iter().collect(),
    }
}

fn matter(kind: &str, name: &str) -> Option<String> {
    matches!(kind, "role" | "assignment" | "group").then(|| format!("{kind} {name}"))
}

/// Who holds each of the matters that these findings are about.
pub(crate) fn holders_of(
    input: &Input<'_>,
    model: &Model<'_>,
    findings: &[Finding],
    yields: &dyn Fn(),
) -> BTreeMap<String, Holders> {
    let matters: BTreeSet<&str> = findings.iter().flat_map(|finding| &finding.held).map(String::as_str).collect();
    if matters.is_empty() {
        return BTreeMap::new();
    }
    let view = View::new(input, model);
    let (mut found, mut left) = (BTreeMap::new(), MOST_OF_ALL);
    for matter in matters {
        yields();
        let Some((kind, name)) = matter.split_once(' ') else { continue };
        let mut held = Held::default();
        match kind {
            "role" => view.of_role(name, &mut held),
            "group" => view.of_group(name, &mut held),
            _ => view.by_name.get(name).into_iter().flatten().for_each(|each| view.of_assignment(each, &mut held)),
        }
        let most = MOST_OF_ONE.min(left);
        let more = held.principals.len() > most || model.incomplete.is_some();
        let principals: Vec<String> = held.principals.into_iter().take(most).map(str::to_owned).collect();
        left -= principals.len();
        found.insert(matter.to_owned(), Holders { principals, more, unknown: held.unknown });
    }
    found
}

#[derive(Default)]
struct Held<'v> {
    principals: BTreeSet<&'v str>,
    unknown: Option<String>,
}

impl Held<'_> {
    /// More than are kept are of no use: there are more.
    fn is_full(&self) -> bool {
        self.principals.len() > MOST_OF_ONE
    }

    fn unclear(&mut self, why: impl FnOnce() -> String) {
        self.unknown.get_or_insert_with(why);
    }
}

/// Who is in which group and carries which role, the other way round.
struct View<'v> {
    lint: &'v LintFacts,
    /// Assignments by what they are called, and by the roles that they give, inherited ones too.
    by_name: HashMap<&'v str, Vec<&'v AssignmentDraft>>,
    by_role: HashMap<&'v str, Vec<&'v AssignmentDraft>>,
    /// Whom keys stand for, by the roles that they carry, inherited ones too.
    carrying: HashMap<&'v str, Vec<&'v str>>,
    declared: HashSet<&'v str>,
    members: HashMap<&'v str, Vec<&'v str>>,
    /// By group: those in it, itself among them.
    below: HashMap<String, BTreeSet<&'v str>>,
    /// Groups that everybody is in.
    everybody: BTreeSet<String>,
}

impl<'v> View<'v> {
    fn new(input: &'v Input<'v>, model: &'v Model<'v>) -> Self {
        let draft = input.draft;
        let mut members: HashMap<&str, Vec<&str>> = HashMap::new();
        for holder in &model.holders {
            for group in &holder.groups {
                members.entry(group).or_default().push(&holder.name);
            }
        }
        let declared: HashSet<&str> = draft.groups.iter().map(|group| group.name.value.as_str()).collect();
        let nested = draft.groups.iter().flat_map(|group| &group.members);
        let nested = nested.filter_map(|member| member.value.strip_prefix("group:"));
        let granted = draft.assignments.iter().flat_map(|assignment| &assignment.principals);
        let granted = granted.filter_map(|principal| principal.value.strip_prefix("group:"));
        let groups: BTreeSet<&str> = declared.iter().copied().chain(nested).chain(granted).collect();
        let mut below: HashMap<String, BTreeSet<&str>> = HashMap::new();
        for group in groups {
            for above in model.groups_with(group) {
                below.entry(above).or_default().insert(group);
            }
        }
        let mut by_name: HashMap<&str, Vec<&AssignmentDraft>> = HashMap::new();
        let mut by_role: HashMap<&str, Vec<&AssignmentDraft>> = HashMap::new();
        for assignment in &draft.assignments {
            by_name.entry(&assignment.name.value).or_default().push(assignment);
            for role in model.roles_of(&assignment.role.value) {
                by_role.entry(role).or_default().push(assignment);
            }
        }
        let mut carrying: HashMap<&str, Vec<&str>> = HashMap::new();
        for credential in &input.lint.credentials {
            for role in credential.roles.iter().flat_map(|role| model.roles_of(&role.value)) {
                carrying.entry(role).or_default().push(&credential.principal);
            }
        }
        let everybody = model.groups_with_everybody();
        Self { lint: input.lint, by_name, by_role, carrying, declared, members, below, everybody }
    }

    fn of_role(&self, role: &str, held: &mut Held<'v>) {
        held.principals.extend(self.carrying.get(role).into_iter().flatten());
        for assignment in self.by_role.get(role).into_iter().flatten() {
            self.of_assignment(assignment, held);
        }
    }

    /// Also of one that is over, in shadow mode or to be activated first: it can come back.
    fn of_assignment(&self, assignment: &'v AssignmentDraft, held: &mut Held<'v>) {
        for principal in &assignment.principals {
            if held.is_full() {
                return;
            }
            match principal.value.strip_prefix("group:") {
                Some(group) => self.of_group(group, held),
                None if principal.value.contains(':') => {
                    held.principals.insert(&principal.value);
                }
                None => held.unclear(|| format!("`{}` holds it: everybody may", principal.value)),
            }
        }
    }

    fn of_group(&self, group: &str, held: &mut Held<'v>) {
        for member in self.members.get(group).into_iter().flatten() {
            if held.is_full() {
                return;
            }
            held.principals.insert(member);
        }
        if self.everybody.contains(group) {
            held.unclear(|| format!("everybody is in the group `{group}`"));
        }
        let alone = BTreeSet::from([group]);
        for below in self.below.get(group).unwrap_or(&alone) {
            for credential in self.lint.credentials.iter().filter(|each| each.groups.iter().any(|own| own == below)) {
                held.principals.insert(&credential.principal);
            }
            let by_claims = match self.declared.contains(below) {
                true => self.lint.claimed_groups.iter().any(|claimed| claimed == below),
                false => !self.lint.no_claims,
            };
            if by_claims {
                held.unclear(|| {
                    format!(
                        "credentials or a directory say who is in the group `{below}`, and who never came is not known"
                    )
                });
            }
        }
    }
}
