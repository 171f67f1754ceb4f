//! Who may do what, laid open: each principal with its grants, each grant with the units of its role, and what was used of them.
//!
//! A unit is one method of one action of one permission: what can be taken away for itself. Grants are those that are in force by
//! themselves: what is only eligible, in shadow mode or over is left to the rules that are about that.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use portcullis_policy::{
    AssignmentDraft, Mode, PolicyDraft, Position, RoleDraft, ScopeDraft, Sensitivity, WhenDraft, WrittenAction,
};

use super::evidence::KnownPrincipals;
use super::history::{History, Part};
use super::usage::{Row, Usage};

/// Principals that are looked at.
const MOST_HOLDERS: usize = 50_000;
/// Grants of all of them.
const MOST_HELD: usize = 1_000_000;
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
    pattern: u32,
    /// How much harm it can do: reading 1, writing 3, deleting or everything 5, and twice that for all that is below a place.
    pub(crate) weight: u32,
    pub(crate) at: Position,
}

/// An assignment, or a role that credentials carry.
#[derive(Debug)]
pub(crate) struct Grant<'d> {
    /// `None`: a credential carries the role.
    pub(crate) assignment: Option<&'d AssignmentDraft>,
    pub(crate) role: &'d str,
    /// `None`: every route.
    scope: Option<HashSet<&'d str>>,
    /// The route that a grant on every route does not cover, as it decides: the gateway's own.
    reserved: Option<&'d str>,
    /// To everybody, or to everybody with a credential.
    pub(crate) collective: bool,
    /// 1, 2 or 4 by the sensitivity of its routes.
    pub(crate) weight: u32,
}

impl Grant<'_> {
    pub(crate) fn covers(&self, route: &str) -> bool {
        match &self.scope {
            Some(scope) => scope.contains(route),
            None => self.reserved != Some(route),
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.assignment.map_or(self.role, |assignment| &assignment.name.value)
    }
}

/// As whom somebody holds a grant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Via {
    /// By name.
    Named,
    /// As a member.
    Group(String),
    /// By what the credential carries.
    Credential,
}

/// A grant of somebody's.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) grant: usize,
    pub(crate) via: Via,
}

/// Somebody who holds grants, or was seen.
#[derive(Debug)]
pub(crate) struct Holder {
    /// As a policy file writes it.
    pub(crate) name: String,
    pub(crate) held: Vec<Held>,
    /// All groups, with those that these are in.
    pub(crate) groups: BTreeSet<String>,
    /// The policy names it: in an assignment, or as a member of a group.
    pub(crate) declared: bool,
    uses: UsesByPattern,
    /// The groups that its credential claims and it may be in, and the roles that it carries: since when.
    claimed: Vec<(String, i64)>,
    carried: HashMap<String, i64>,
    /// Since when it is in each of its groups, once somebody asks.
    joined: OnceCell<HashMap<String, i64>>,
}

/// What was used, by pattern.
type UsesByPattern = HashMap<u32, Vec<UseOf>>;

#[derive(Debug)]
struct UseOf {
    route: Box<str>,
    method: Box<str>,
    row: Row,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Model<'d> {
    members: Groups<'d>,
    roles: HashMap<&'d str, &'d RoleDraft>,
    pub(crate) units: Vec<Unit<'d>>,
    /// By role: its own and inherited units.
    pub(crate) role_units: BTreeMap<&'d str, Vec<usize>>,
    pub(crate) grants: Vec<Grant<'d>>,
    pub(crate) holders: Vec<Holder>,
    /// By grant: the holders, by place.
    pub(crate) holders_of: Vec<Vec<usize>>,
    /// By unit: the grants that give it.
    pub(crate) grants_of: Vec<Vec<usize>>,
    /// What everybody used together.
    all: UsesByPattern,
    /// By unit and time: how many used it, of how many.
    users: RefCell<HashMap<(usize, i64), (u32, u32)>>,
    /// What of the policy was too much to look at.
    pub(crate) incomplete: Option<&'static str>,
}

impl<'d> Model<'d> {
    pub(crate) fn new(draft: &'d PolicyDraft, usage: &Usage, known: &KnownPrincipals, now: Timestamp) -> Self {
        let mut patterns = Patterns::default();
        let (units, role_units, mut incomplete) = units_of(draft, &mut patterns);
        let everybody = Groups::holding_everybody(draft);
        let granting = draft.assignments.iter().filter(|each| in_force(each, now));
        let mut grants: Vec<Grant<'d>> = granting.map(|each| grant_of(draft, each, &everybody)).collect();
        let carried_from = grants.len();
        grants.extend(draft.roles.iter().map(|role| Grant {
            assignment: None,
            role: &role.name.value,
            scope: None,
            reserved: reserved_in(draft),
            collective: false,
            weight: 2,
        }));
        let mut model = Self {
            members: Groups::of(draft),
            roles: draft.roles.iter().map(|role| (role.name.value.as_str(), role)).collect(),
            holders_of: Vec::new(),
            grants_of: vec![Vec::new(); units.len()],
            units,
            role_units,
            grants,
            holders: Vec::new(),
            all: HashMap::new(),
            users: RefCell::default(),
            incomplete: None,
        };
        model.holders = model.find_holders(usage, known, carried_from, &mut patterns, &mut incomplete);
        for (_, route, action, row) in usage.rows() {
            add_use(&mut model.all, &mut patterns, route, action, row);
        }
        model.holders_of = vec![Vec::new(); model.grants.len()];
        for (place, holder) in model.holders.iter().enumerate() {
            for held in &holder.held {
                if let Some(holders) = model.holders_of.get_mut(held.grant) {
                    holders.push(place);
                }
            }
        }
        for (place, grant) in model.grants.iter().enumerate() {
            let is_held = grant.collective || model.holders_of.get(place).is_some_and(|holders| !holders.is_empty());
            for unit in model.role_units.get(grant.role).into_iter().flatten().filter(|_| is_held) {
                if let Some(grants) = model.grants_of.get_mut(*unit) {
                    grants.push(place);
                }
            }
        }
        model.incomplete = incomplete;
        model
    }

    /// The units of a grant.
    pub(crate) fn units_of(&self, grant: usize) -> impl Iterator<Item = (usize, &Unit<'d>)> {
        let role = self.grants.get(grant).map_or("", |grant| grant.role);
        let places = self.role_units.get(role).map_or(&[][..], Vec::as_slice);
        places.iter().filter_map(|place| Some((*place, self.units.get(*place)?)))
    }

    /// When a holder last used a unit of a grant, in seconds since 1970.
    pub(crate) fn last_used(&self, holder: &Holder, grant: usize, unit: &Unit<'_>) -> Option<u32> {
        self.last_in(&holder.uses, grant, unit)
    }

    /// When anybody did.
    pub(crate) fn last_used_by_anybody(&self, grant: usize, unit: &Unit<'_>) -> Option<u32> {
        self.last_in(&self.all, grant, unit)
    }

    fn last_in(&self, uses: &UsesByPattern, grant: usize, unit: &Unit<'_>) -> Option<u32> {
        let grant = self.grants.get(grant)?;
        let of_pattern = uses.get(&unit.pattern)?.iter();
        of_pattern
            .filter(|each| matches(unit, &each.method) && grant.covers(&each.route))
            .map(|each| each.row.last)
            .max()
            .filter(|last| *last > 0)
    }

    /// Whether a grant gives a unit.
    pub(crate) fn gives(&self, grant: usize, unit: usize) -> bool {
        self.grants_of.get(unit).is_some_and(|grants| grants.binary_search(&grant).is_ok())
    }

    /// How many used a unit since then, of how many who hold it. It is worked out once for each.
    pub(crate) fn users_of(&self, place: usize, since: i64) -> (u32, u32) {
        if let Some(known) = self.users.borrow().get(&(place, since)) {
            return *known;
        }
        let mut holders: HashMap<usize, bool> = HashMap::new();
        for grant in self.grants_of.get(place).into_iter().flatten() {
            for holder in self.holders_of.get(*grant).into_iter().flatten() {
                let (Some(found), Some(unit)) = (self.holders.get(*holder), self.units.get(place)) else { continue };
                let used = self.last_used(found, *grant, unit).is_some_and(|last| i64::from(last) >= since);
                *holders.entry(*holder).or_default() |= used;
            }
        }
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let users = (count(holders.values().filter(|used| **used).count()), count(holders.len()));
        self.users.borrow_mut().insert((place, since), users);
        users
    }

    /// The methods and the routes by which a unit of a grant was used by anybody since then.
    pub(crate) fn how_used(&self, grant: usize, unit: &Unit<'_>, since: i64) -> (BTreeSet<&str>, BTreeSet<&str>) {
        let Some(found) = self.grants.get(grant) else { return Default::default() };
        let uses = self.all.get(&unit.pattern).into_iter().flatten();
        let used = uses
            .filter(|each| matches(unit, &each.method) && found.covers(&each.route) && each.row.is_used_since(since));
        used.map(|each| (&*each.method, &*each.route)).unzip()
    }

    /// Since when a holder has a unit by a grant: the latest of the parts that it takes. `None`: not known.
    pub(crate) fn granted_since(
        &self,
        history: &History,
        holder: &Holder,
        held: &Held,
        unit: Option<&Unit<'_>>,
    ) -> Option<i64> {
        let grant = self.grants.get(held.grant)?;
        let holds = |principal: &str| {
            let assignment = grant.assignment?;
            history.since(&Part::Holds {
                assignment: assignment.name.value.as_str().into(),
                role: assignment.role.value.as_str().into(),
                principal: principal.into(),
            })
        };
        let mut since = match &held.via {
            Via::Named => holds(&holder.name)?,
            Via::Group(group) => {
                let joined = holder.joined.get_or_init(|| self.members.joined(history, holder));
                holds(&format!("group:{group}"))?.max(joined.get(group).copied()?)
            }
            // What a credential carries is no part of any version: it is known since it was seen.
            Via::Credential => holder.carried.get(grant.role).copied()?,
        };
        if let Some(unit) = unit {
            since = since.max(self.unit_since(history, grant, unit)?);
        }
        Some(since)
    }

    /// Since when a unit is granted to everybody: the latest of the parts that it takes.
    pub(crate) fn granted_to_all_since(&self, history: &History, grant: usize, unit: &Unit<'_>) -> Option<i64> {
        let grant = self.grants.get(grant)?;
        let assignment = grant.assignment?;
        let holds = assignment.principals.iter().map(|principal| Part::Holds {
            assignment: assignment.name.value.as_str().into(),
            role: assignment.role.value.as_str().into(),
            principal: principal.value.as_str().into(),
        });
        let holds =
            holds.map(|part| history.since(&part)).try_fold(i64::MIN, |latest, since| Some(latest.max(since?)))?;
        Some(holds.max(self.unit_since(history, grant, unit)?))
    }

    fn unit_since(&self, history: &History, grant: &Grant<'_>, unit: &Unit<'_>) -> Option<i64> {
        let action = Part::Action { role: unit.role.into(), action: unit.text.as_str().into() };
        Some(history.since(&action)?.max(self.inherited_since(history, grant.role, unit.role)))
    }

    /// Since when a role has inherited another one: the latest link, by the nearest way.
    fn inherited_since(&self, history: &History, role: &str, ancestor: &str) -> i64 {
        if role == ancestor {
            return i64::MIN;
        }
        let mut reached: HashMap<&str, i64> = HashMap::new();
        let mut next = vec![(role, i64::MIN)];
        while let Some((name, since)) = next.pop() {
            for parent in self.roles.get(name).into_iter().flat_map(|role| &role.inherits) {
                let link = Part::Inherits { role: name.into(), parent: parent.value.as_str().into() };
                let since = since.max(history.since(&link).unwrap_or(i64::MAX));
                let better = reached.get(parent.value.as_str()).is_none_or(|known| since < *known);
                if better {
                    reached.insert(&parent.value, since);
                    next.push((&parent.value, since));
                }
            }
        }
        reached.get(ancestor).copied().unwrap_or(i64::MAX)
    }

    /// The roles that a grant gives, with those that these inherit.
    pub(crate) fn roles_of(&self, role: &'d str) -> BTreeSet<&'d str> {
        let mut found = BTreeSet::new();
        let mut next = vec![role];
        while let Some(name) = next.pop() {
            if found.insert(name) {
                next.extend(
                    self.roles
                        .get(name)
                        .into_iter()
                        .flat_map(|role| role.inherits.iter().map(|parent| parent.value.as_str())),
                );
            }
        }
        found
    }

    /// Every use of a holder since then that a grant of its own gives, with what grants it: for comparing two models.
    pub(crate) fn used_grants(&self, holder: &Holder, since: i64) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for held in &holder.held {
            let Some(grant) = self.grants.get(held.grant) else { continue };
            for (_, unit) in self.units_of(held.grant) {
                for each in holder.uses.get(&unit.pattern).into_iter().flatten() {
                    if each.row.is_used_since(since) && matches(unit, &each.method) && grant.covers(&each.route) {
                        let what = format!(
                            "{} {} {} except {}",
                            each.route,
                            each.method,
                            unit.text.split_once(' ').map_or("", |(_, pattern)| pattern),
                            unit.except.join(" ")
                        );
                        found.insert((what, conditions(grant.assignment)));
                    }
                }
            }
        }
        found
    }

    /// The same of what is granted to everybody.
    pub(crate) fn used_collectively(&self, since: i64) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for (place, grant) in self.grants.iter().enumerate().filter(|(_, grant)| grant.collective) {
            for (_, unit) in self.units_of(place) {
                for each in self.all.get(&unit.pattern).into_iter().flatten() {
                    if each.row.is_used_since(since) && matches(unit, &each.method) && grant.covers(&each.route) {
                        found.insert((
                            format!("{} {} {}", each.route, each.method, unit.text),
                            conditions(grant.assignment),
                        ));
                    }
                }
            }
        }
        found
    }

    /// The holder of this name.
    pub(crate) fn holder(&self, name: &str) -> Option<&Holder> {
        // INVARIANT: they are sorted by name.
        let place = self.holders.binary_search_by(|holder| holder.name.as_str().cmp(name)).ok()?;
        self.holders.get(place)
    }

    fn find_holders(
        &self,
        usage: &Usage,
        known: &KnownPrincipals,
        carried_from: usize,
        patterns: &mut Patterns,
        incomplete: &mut Option<&'static str>,
    ) -> Vec<Holder> {
        let groups = &self.members;
        let mut named: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, grant) in self.grants.iter().enumerate().filter(|(_, grant)| !grant.collective) {
            for principal in grant.assignment.into_iter().flat_map(|assignment| &assignment.principals) {
                named.entry(&principal.value).or_default().push(place);
            }
        }
        let carried: HashMap<&str, usize> =
            self.grants.iter().enumerate().skip(carried_from).map(|(place, grant)| (grant.role, place)).collect();
        let is_single = |name: &&str| name.contains(':') && !name.starts_with("group:");
        let declared: BTreeSet<&str> =
            named.keys().copied().chain(groups.direct.keys().copied()).filter(is_single).collect();
        let mut names: BTreeSet<String> = declared.iter().map(|name| (*name).to_owned()).collect();
        names.extend(usage.principals().iter().filter(|seen| seen.kind.is_some()).map(|seen| seen.reference()));
        names.extend(known.listed.iter().cloned());
        if names.len() > MOST_HOLDERS {
            *incomplete = Some("there are more principals than an audit looks at");
        }
        let (mut holders, mut left) = (Vec::new(), MOST_HELD);
        for name in names.into_iter().take(MOST_HOLDERS) {
            let seen = usage.find(&name);
            let claimed = seen
                .into_iter()
                .flat_map(|seen| &seen.groups)
                .filter(|group| group.trusted || !groups.declared.contains(&*group.name));
            let claimed: Vec<(String, i64)> =
                claimed.map(|group| (group.name.to_string(), i64::from(group.since))).collect();
            let of = groups.of_member(&name, claimed.iter().map(|(group, _)| group.as_str()));
            let by_name =
                named.get(name.as_str()).into_iter().flatten().map(|grant| Held { grant: *grant, via: Via::Named });
            let mut held: Vec<Held> = by_name.collect();
            for group in &of {
                let by_group = named.get(format!("group:{group}").as_str()).into_iter().flatten();
                held.extend(by_group.map(|grant| Held { grant: *grant, via: Via::Group(group.clone()) }));
            }
            let roles = seen.map_or(&[][..], |seen| &seen.roles);
            let by_credential = roles.iter().filter_map(|role| carried.get(&*role.name));
            held.extend(by_credential.map(|grant| Held { grant: *grant, via: Via::Credential }));
            let carried = roles.iter().map(|role| (role.name.to_string(), i64::from(role.since))).collect();
            held.sort_by(|one, other| (one.grant, &one.via).cmp(&(other.grant, &other.via)));
            held.dedup_by_key(|each| each.grant);
            if held.len() > left {
                *incomplete = Some("there are more grants than an audit looks at");
                break;
            }
            left -= held.len();
            let mut uses = HashMap::new();
            for (route, action, row) in usage.rows_of(&name) {
                add_use(&mut uses, patterns, route, action, row);
            }
            let declared = declared.contains(name.as_str());
            let joined = OnceCell::new();
            holders.push(Holder { name, held, groups: of, declared, uses, claimed, carried, joined });
        }
        holders
    }
}

/// Whether a method that was used is one of the unit's. Methods that are not told apart may be any that nobody tells apart.
fn matches(unit: &Unit<'_>, method: &str) -> bool {
    match &unit.method {
        None => true,
        Some(own) => **own == *method || (method == "*" && !is_told_apart(own)),
    }
}

fn is_told_apart(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "CONNECT" | "TRACE")
}

/// Whether an assignment grants by itself, now.
fn in_force(assignment: &AssignmentDraft, now: Timestamp) -> bool {
    let within =
        assignment.starts.is_none_or(|starts| starts <= now) && assignment.expires.is_none_or(|ends| now < ends);
    within && assignment.mode == Mode::Enforce && assignment.activation.is_none()
}

/// What else an assignment asks for, as one text: two with the same one grant alike.
fn conditions(assignment: Option<&AssignmentDraft>) -> String {
    assignment.map_or_else(String::new, |assignment| {
        // Each of them by name: one that is added and forgotten here would make unlike grants alike.
        let WhenDraft { networks, hours, countries, compliant_device, assurance_mfa, max_age_s, max_risk } =
            &assignment.when;
        let networks =
            networks.as_ref().map(|networks| networks.iter().map(|name| name.value.as_str()).collect::<Vec<_>>());
        let hours = hours.as_ref().map(|hours| hours.value.text.clone());
        format!(
            "{:?} {:?} {networks:?} {hours:?} {countries:?} {compliant_device} {assurance_mfa} {max_age_s:?} {max_risk:?}",
            assignment.starts, assignment.expires
        )
    })
}

/// Whether an assignment asks for nothing but its principal.
pub(crate) fn is_unconditional(assignment: &AssignmentDraft) -> bool {
    let WhenDraft { networks, hours, countries, compliant_device, assurance_mfa, max_age_s, max_risk } =
        &assignment.when;
    networks.is_none()
        && hours.is_none()
        && countries.is_none()
        && !compliant_device
        && !assurance_mfa
        && max_age_s.is_none()
        && max_risk.is_none()
}

fn grant_of<'d>(draft: &'d PolicyDraft, assignment: &'d AssignmentDraft, everybody: &BTreeSet<String>) -> Grant<'d> {
    let scope: Option<HashSet<&str>> = match &assignment.scope {
        ScopeDraft::All => None,
        ScopeDraft::Routes(routes) => Some(routes.iter().map(|route| route.value.as_str()).collect()),
    };
    let collective = assignment.principals.iter().any(|principal| {
        let name = principal.value.as_str();
        matches!(name, "anyone" | "authenticated")
            || name.strip_prefix("group:").is_some_and(|group| everybody.contains(group))
    });
    let of_scope = |route: &str| scope.as_ref().is_none_or(|scope| scope.contains(route));
    let most =
        draft.resources.iter().filter(|resource| of_scope(&resource.route.value)).map(|resource| resource.sensitivity);
    let least_known = draft.resources.iter().filter(|resource| of_scope(&resource.route.value)).count();
    let routes = scope.as_ref().map_or(draft.routes.len(), HashSet::len);
    let weight = |sensitivity: Sensitivity| match sensitivity {
        Sensitivity::Low => 1,
        Sensitivity::Normal => 2,
        Sensitivity::High => 4,
    };
    // A route without a resource has the usual sensitivity.
    let others = if least_known < routes || routes == 0 { 2 } else { 1 };
    let weight = most.map(weight).max().unwrap_or(2).max(others);
    Grant {
        assignment: Some(assignment),
        role: &assignment.role.value,
        scope,
        reserved: reserved_in(draft),
        collective,
        weight,
    }
}

/// The gateway's own route, where it has one.
pub(crate) fn reserved_in(draft: &PolicyDraft) -> Option<&str> {
    draft.routes.iter().find(|route| route.reserved).map(|route| route.name.value.as_str())
}

type Units<'d> = (Vec<Unit<'d>>, BTreeMap<&'d str, Vec<usize>>, Option<&'static str>);

fn units_of<'d>(draft: &'d PolicyDraft, patterns: &mut Patterns) -> Units<'d> {
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

fn add_use(uses: &mut UsesByPattern, patterns: &mut Patterns, route: &str, action: &str, row: &Row) {
    let Some((method, pattern)) = action.split_once(' ') else { return };
    uses.entry(patterns.of(pattern)).or_default().push(UseOf { route: route.into(), method: method.into(), row: *row });
}

/// Patterns by number.
#[derive(Debug, Default)]
struct Patterns(HashMap<String, u32>);

impl Patterns {
    fn of(&mut self, pattern: &str) -> u32 {
        if let Some(id) = self.0.get(pattern) {
            return *id;
        }
        let id = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.insert(pattern.to_owned(), id);
        id
    }
}

/// Which groups hold whom.
#[derive(Debug)]
struct Groups<'d> {
    declared: HashSet<&'d str>,
    /// By member, which may be a group: the groups that name it.
    direct: BTreeMap<&'d str, Vec<&'d str>>,
}

impl<'d> Groups<'d> {
    fn of(draft: &'d PolicyDraft) -> Self {
        let mut direct: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for group in &draft.groups {
            for member in &group.members {
                direct.entry(&member.value).or_default().push(&group.name.value);
            }
        }
        Self { declared: draft.groups.iter().map(|group| group.name.value.as_str()).collect(), direct }
    }

    /// All groups of somebody, those that it claims too.
    fn of_member<'c>(&self, name: &str, claimed: impl Iterator<Item = &'c str>) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let direct = self.direct.get(name).into_iter().flatten().map(|group| (*group).to_owned());
        let mut next: Vec<String> = direct.chain(claimed.map(str::to_owned)).collect();
        while let Some(group) = next.pop() {
            if found.contains(&group) {
                continue;
            }
            let parents = self.direct.get(format!("group:{group}").as_str());
            next.extend(parents.into_iter().flatten().map(|parent| (*parent).to_owned()));
            found.insert(group);
        }
        found
    }

    /// Since when somebody is in each of its groups: the latest link of the way there, and of several ways the oldest. A group that is not among
    /// them is one of which that is not known.
    fn joined(&self, history: &History, holder: &Holder) -> HashMap<String, i64> {
        let link =
            |group: &str, member: &str| history.since(&Part::Member { group: group.into(), member: member.into() });
        let direct = self.direct.get(holder.name.as_str()).into_iter().flatten();
        let direct = direct.filter_map(|group| Some(((*group).to_owned(), link(group, &holder.name)?)));
        let mut next: Vec<(String, i64)> = direct.chain(holder.claimed.iter().cloned()).collect();
        let mut joined: HashMap<String, i64> = HashMap::new();
        while let Some((group, since)) = next.pop() {
            if joined.get(&group).is_some_and(|known| *known <= since) {
                continue;
            }
            let name = format!("group:{group}");
            for parent in self.direct.get(name.as_str()).into_iter().flatten() {
                next.extend(link(parent, &name).map(|link| ((*parent).to_owned(), link.max(since))));
            }
            joined.insert(group, since);
        }
        joined
    }

    /// The groups that everybody is in.
    fn holding_everybody(draft: &'d PolicyDraft) -> BTreeSet<String> {
        if !draft.groups.iter().flat_map(|group| &group.members).any(|member| !member.value.contains(':')) {
            return BTreeSet::new();
        }
        let groups = Self::of(draft);
        let of = |name| groups.of_member(name, std::iter::empty());
        of("anyone").into_iter().chain(of("authenticated")).collect()
    }
}
