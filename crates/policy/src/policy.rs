//! The compiled policy: immutable, indexed, and asked through a few questions.
//!
//! Everything is sorted by name when it is compiled, so the order of entries in a file never changes an answer. A decision
//! touches only what belongs to the request's route, principal and path: its cost does not grow with the number of roles,
//! assignments or networks.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;

use crate::action::{ActionSet, ActionTable, MethodMask};
use crate::condition::Conditions;
use crate::decision::{Permit, RuleRef};
use crate::draft::{AuthenticationRule, ProofDraft, RiskRules, Sensitivity, StepUpRules};
use crate::live::{Calibrated, Listed};
use crate::network::{NetworkId, NetworkIndex};
use crate::path::CanonicalPath;
use crate::principal::Principal;
use crate::request::{RiskAssessment, RiskLevel};
use crate::route::{RouteId, RouteTable};
use crate::spelling::Spelling;

/// A compiled policy. Built by [`Policy::compile`], never changed.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(crate) version: u64,
    pub(crate) sha256: Arc<str>,
    pub(crate) routes: RouteTable,
    pub(crate) route_names: Vec<Arc<str>>,
    /// By route.
    pub(crate) resources: Vec<Resource>,
    pub(crate) networks: NetworkIndex,
    /// By network.
    pub(crate) network_facts: Vec<NetworkFacts>,
    /// By network, where they are kept for [`Policy::with_networks`].
    pub(crate) prefixes: Option<Box<[Arc<[IpNet]>]>>,
    /// Where eligible assignments are activated by their holders.
    pub(crate) activations_at: Option<Arc<str>>,
    pub(crate) actions: ActionTable,
    /// Sorted by name.
    pub(crate) roles: Vec<Role>,
    pub(crate) role_by_name: HashMap<Arc<str>, RoleId>,
    /// By pattern, then by method: the roles that have an action with both, by name.
    pub(crate) roles_by_pattern: Vec<RolesByMethod>,
    /// By permission: what it takes out again.
    pub(crate) not_actions: Vec<ActionSet>,
    /// By permission: where it stands.
    pub(crate) permissions: Vec<PermissionPlace>,
    pub(crate) subjects: Subjects,
    /// Sorted by name.
    pub(crate) assignments: Vec<Assignment>,
    /// By role: the enforced assignments of it.
    pub(crate) assignments_by_role: Vec<RulesByRoute<AssignmentId>>,
    /// The route of the gateway's own, which grants must name.
    pub(crate) reserved: Option<RouteId>,
    /// Sorted by name.
    pub(crate) denies: Vec<Deny>,
    /// Whomever they name.
    pub(crate) denies_by_route: RulesByRoute<DenyId>,
    /// By route: some rule that covers it has a condition on the country.
    pub(crate) asks_country: Box<[bool]>,
    pub(crate) risk: RiskRules,
    /// Thresholds of another origin than the policy's files.
    pub(crate) calibrated: Option<Calibrated>,
    pub(crate) step_up: StepUpRules,
    /// See [`Policy::has_grants_that_end`].
    pub(crate) has_grants_that_end: bool,
}

/// For each set of methods the roles that have an action with it, by name.
pub(crate) type RolesByMethod = Box<[(MethodMask, Box<[RoleId]>)]>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RoleId(pub(crate) u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct AssignmentId(pub(crate) u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct DenyId(pub(crate) u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SubjectId(pub(crate) u32);

/// What a route demands before grants are looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resource {
    /// `None`: there is no `[[resource]]`, and the defaults hold.
    pub(crate) rule: Option<RuleRef>,
    pub(crate) authentication: AuthenticationRule,
    pub(crate) allow: Box<[NetworkId]>,
    pub(crate) deny: Box<[NetworkId]>,
    pub(crate) sensitivity: Sensitivity,
    pub(crate) proof: ProofDraft,
    pub(crate) shadow: bool,
    pub(crate) requestable: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct NetworkFacts {
    pub(crate) rule: RuleRef,
    pub(crate) unknown: bool,
    /// The list that its content is of, where it has a source.
    pub(crate) list: Option<Listed>,
}

#[derive(Debug, Clone)]
pub(crate) struct Role {
    pub(crate) rule: RuleRef,
    /// Own and inherited, each tagged with its permission's index.
    pub(crate) actions: ActionSet,
}

/// Where a permission stands, and what it permits.
#[derive(Debug, Clone)]
pub(crate) struct PermissionPlace {
    /// Its role, at the permission's own line.
    pub(crate) rule: RuleRef,
    /// Its actions, or the first of many, as they are written.
    pub(crate) actions: Box<str>,
}

#[derive(Debug, Clone)]
pub(crate) struct Assignment {
    pub(crate) rule: RuleRef,
    pub(crate) role: RoleId,
    pub(crate) principals: Box<[SubjectId]>,
    pub(crate) scope: Scope,
    pub(crate) period: Period,
    pub(crate) when: Conditions,
    pub(crate) shadow: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Deny {
    pub(crate) rule: RuleRef,
    pub(crate) actions: ActionSet,
    pub(crate) period: Period,
    pub(crate) when: Conditions,
    pub(crate) explain: Option<Arc<str>>,
    pub(crate) shadow: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Scope {
    All,
    /// Sorted.
    Routes(Box<[RouteId]>),
}

/// From `starts` (included) to `expires` (excluded).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Period {
    pub(crate) starts: Option<Timestamp>,
    pub(crate) expires: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeriodState {
    Before,
    Within,
    After,
}

impl Period {
    pub(crate) fn state(&self, now: Timestamp) -> PeriodState {
        if self.expires.is_some_and(|expires| now >= expires) {
            PeriodState::After
        } else if self.starts.is_some_and(|starts| now < starts) {
            PeriodState::Before
        } else {
            PeriodState::Within
        }
    }
}

/// Everyone whom a rule can name, and for each the rules that name them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subjects {
    pub(crate) users: HashMap<Box<str>, SubjectId>,
    pub(crate) services: HashMap<Box<str>, SubjectId>,
    pub(crate) certificates: HashMap<Box<str>, SubjectId>,
    pub(crate) groups: HashMap<Box<str>, SubjectId>,
    pub(crate) list: Vec<Subject>,
    /// By deny: whom it names.
    pub(crate) denied: Vec<Box<[SubjectId]>>,
    /// How their ids are compared: all names here have that form.
    pub(crate) spelling: Spelling,
}

impl Subjects {
    /// Whoever calls.
    pub(crate) const ANYONE: SubjectId = SubjectId(0);
    /// Whoever has a verified credential.
    pub(crate) const AUTHENTICATED: SubjectId = SubjectId(1);

    pub(crate) fn get(&self, id: SubjectId) -> Option<&Subject> {
        self.list.get(id.0 as usize)
    }

    /// The subject of a name as a policy file writes it.
    pub(crate) fn named(&self, name: &str) -> Option<SubjectId> {
        match self.spelling.name(name).split_once(':') {
            None if name == "anyone" => Some(Self::ANYONE),
            None if name == "authenticated" => Some(Self::AUTHENTICATED),
            None => None,
            Some(("user", id)) => self.users.get(id).copied(),
            Some(("service", id)) => self.services.get(id).copied(),
            Some(("certificate", id)) => self.certificates.get(id).copied(),
            Some((_, id)) => self.groups.get(id).copied(),
        }
    }

    /// The subject that is the principal itself, if any rule names it.
    pub(crate) fn of_principal(&self, principal: &Principal) -> Option<SubjectId> {
        use crate::principal::PrincipalKind as Kind;
        let map = match principal.kind {
            Kind::User => &self.users,
            Kind::Service => &self.services,
            Kind::Certificate => &self.certificates,
        };
        map.get(&*self.spelling.id(principal.kind, &principal.id)).copied()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// As a policy file writes it.
    pub(crate) name: Arc<str>,
    /// A group with a `[[group]]` entry.
    pub(crate) declared: bool,
    /// All groups it is in, directly or not, by name.
    pub(crate) groups: Box<[SubjectId]>,
    /// Of a group: who is in it directly, by name.
    pub(crate) members: Box<[SubjectId]>,
    pub(crate) assignments: RulesByRoute<AssignmentId>,
    pub(crate) denies: RulesByRoute<DenyId>,
}

/// Rules sorted by route, those for every route last, and by name within each.
#[derive(Debug, Clone)]
pub(crate) struct RulesByRoute<T> {
    sorted: Box<[(u32, T)]>,
    /// The route that rules for every route do not cover; [`Self::ALL`]: there is none.
    reserved: u32,
}

impl<T> Default for RulesByRoute<T> {
    fn default() -> Self {
        Self { sorted: Box::default(), reserved: u32::MAX }
    }
}

impl<T: Copy + Ord> RulesByRoute<T> {
    /// Stands for every route.
    const ALL: u32 = u32::MAX;

    pub(crate) fn new(rules: impl IntoIterator<Item = (Option<RouteId>, T)>) -> Self {
        let mut sorted: Vec<(u32, T)> =
            rules.into_iter().map(|(route, rule)| (route.map_or(Self::ALL, |route| route.0), rule)).collect();
        sorted.sort_unstable();
        sorted.dedup();
        Self { sorted: sorted.into_boxed_slice(), reserved: Self::ALL }
    }

    /// The same where rules for every route do not cover this one: it must be named.
    pub(crate) fn but_named(self, reserved: Option<RouteId>) -> Self {
        Self { reserved: reserved.map_or(Self::ALL, |route| route.0), ..self }
    }

    /// The rules that cover the route.
    pub(crate) fn on(&self, route: RouteId) -> impl Iterator<Item = T> {
        let general = if route.0 == self.reserved { &[] } else { self.of(Self::ALL) };
        self.of(route.0).iter().chain(general).map(|(_, rule)| *rule)
    }

    /// All of them; one that covers several routes comes once for each.
    pub(crate) fn every(&self) -> impl Iterator<Item = T> {
        self.sorted.iter().map(|(_, rule)| *rule)
    }

    fn of(&self, key: u32) -> &[(u32, T)] {
        let from = self.sorted.partition_point(|(route, _)| *route < key);
        let rest = self.sorted.get(from..).unwrap_or_default();
        let length = rest.partition_point(|(route, _)| *route == key);
        rest.get(..length).unwrap_or_default()
    }
}

impl Policy {
    /// The policy's version number.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many ranges of addresses its networks are cut into: what [`compare`](crate::compare) walks of both before it has bounds.
    pub fn network_ranges(&self) -> usize {
        self.networks.ranges()
    }

    /// The same policy under another number.
    #[must_use]
    pub fn numbered(self, version: u64) -> Self {
        Self { version, ..self }
    }

    /// SHA-256 of what it was read from, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The route for a host (in the form of [`crate::canonical_host`]) and a path: the most specific wins.
    pub fn find_route(&self, host: &str, path: &CanonicalPath) -> Option<RouteId> {
        self.routes.find(host, path)
    }

    /// Every route that the path leads to on some host: for questions that name none. Sorted, without repetition.
    pub fn routes_on_any_host(&self, path: &CanonicalPath) -> Vec<RouteId> {
        self.routes.find_on_any_host(path)
    }

    /// Whether some assignment names a principal (as a policy file writes it, such as `user:alice`), directly or through the
    /// groups that the policy itself puts it into. What everybody has does not count.
    pub fn is_assigned_something(&self, name: &str) -> bool {
        let Some(subject) = self.subjects.named(name).and_then(|id| self.subjects.get(id)) else { return false };
        let groups = subject.groups.iter().filter_map(|id| self.subjects.get(*id));
        std::iter::once(subject).chain(groups).any(|each| each.assignments.every().next().is_some())
    }

    /// Whether there is a role of that name.
    pub fn has_role(&self, name: &str) -> bool {
        self.role_by_name.contains_key(name)
    }

    /// The route of that name.
    pub fn route_named(&self, name: &str) -> Option<RouteId> {
        let index = self.route_names.iter().position(|each| **each == *name)?;
        u32::try_from(index).ok().map(RouteId)
    }

    /// Whether the route of that name is the gateway's own, which grants must name.
    pub fn is_reserved(&self, name: &str) -> bool {
        self.reserved.is_some_and(|route| self.route_name(route) == name)
    }

    /// The name of a route of this policy; empty for another policy's.
    pub fn route_name(&self, route: RouteId) -> &str {
        self.route_names.get(route.index()).map_or("", |name| name)
    }

    /// Whether an address is in the network of this name; `None` where there is no such network, or where it is not known what is
    /// in it.
    pub fn is_in_network(&self, name: &str, address: IpAddr) -> Option<bool> {
        let network = self.network_named(name)?;
        let known = self.network_facts.get(network.0 as usize).is_some_and(|facts| !facts.unknown);
        let is_in = self.networks.members(self.networks.lookup(address.to_canonical())).contains(network);
        // One that is not known as a whole may still have addresses that are certain.
        (is_in || known).then_some(is_in)
    }

    /// The name of the network of this name, where it is certain that the address is in it.
    pub fn network_with(&self, name: &str, address: IpAddr) -> Option<&str> {
        let network = self.network_named(name)?;
        let is_in = self.networks.members(self.networks.lookup(address.to_canonical())).contains(network);
        let facts = self.network_facts.get(network.0 as usize).filter(|_| is_in)?;
        Some(&facts.rule.name)
    }

    /// Whether credentials are looked at on a route, and demanded.
    pub fn authentication(&self, route: RouteId) -> AuthenticationRule {
        self.resources.get(route.index()).map_or(AuthenticationRule::Required, |resource| resource.authentication)
    }

    /// Whether the client's country can matter on a route; elsewhere nobody need look it up.
    pub fn asks_country(&self, route: RouteId) -> bool {
        self.asks_country.get(route.index()).copied().unwrap_or(false)
    }

    /// Whether whoever was refused on a route may ask for access.
    pub fn is_requestable(&self, route: RouteId) -> bool {
        self.resources.get(route.index()).is_some_and(|resource| resource.requestable)
    }

    /// Whether the route's resource is in shadow mode.
    pub fn is_shadow(&self, route: RouteId) -> bool {
        self.resources.get(route.index()).is_some_and(|resource| resource.shadow)
    }

    /// The assignment that a permit of this policy rests on; `None` for a directly held role.
    pub fn granting_rule(&self, permit: &Permit) -> Option<&RuleRef> {
        permit.grant.and_then(|id| self.assignments.get(id.0 as usize)).map(|assignment| &assignment.rule)
    }

    /// `[step_up]`: what counts as `mfa`, and for how long.
    pub fn step_up(&self) -> &StepUpRules {
        &self.step_up
    }

    /// Whether the principal's authentication counts as `mfa` and is fresh, by `[step_up]`.
    pub fn is_mfa_fresh(&self, principal: &Principal, now: Timestamp) -> bool {
        crate::condition::mfa_is_fresh(principal, &self.step_up, now)
    }

    /// The band of an assessment on a route, by the thresholds of its sensitivity, and the threshold that was crossed,
    /// or would be crossed next, in milli-nats. The sensitivity of a resource in shadow mode changes nothing.
    pub fn risk_level(&self, route: RouteId, assessment: &RiskAssessment) -> (RiskLevel, i32) {
        self.band(self.sensitivity(route), assessment)
    }

    /// The sensitivity by which risk is judged on a route. That of a resource in shadow mode changes nothing.
    pub fn sensitivity(&self, route: RouteId) -> Sensitivity {
        let resource = self.resources.get(route.index()).filter(|resource| !resource.shadow);
        resource.map_or(Sensitivity::Normal, |resource| resource.sensitivity)
    }

    pub(crate) fn band(&self, sensitivity: Sensitivity, assessment: &RiskAssessment) -> (RiskLevel, i32) {
        let [low, normal, high] = self.risk_thresholds();
        let thresholds = match sensitivity {
            Sensitivity::Low => low,
            Sensitivity::Normal => normal,
            Sensitivity::High => high,
        };
        let level = assessment.stated.unwrap_or(if assessment.mnats >= thresholds.deny_mnats {
            RiskLevel::High
        } else if assessment.mnats >= thresholds.step_up_mnats {
            RiskLevel::Medium
        } else {
            RiskLevel::Low
        });
        match level {
            RiskLevel::High => (level, thresholds.deny_mnats),
            RiskLevel::Medium | RiskLevel::Low => (level, thresholds.step_up_mnats),
        }
    }

    /// Counts for a summary line.
    pub fn size(&self) -> PolicySize {
        PolicySize {
            routes: self.route_names.len(),
            networks: self.network_facts.len(),
            roles: self.roles.len(),
            groups: self.subjects.list.iter().filter(|subject| subject.declared).count(),
            assignments: self.assignments.len(),
            denies: self.denies.len(),
        }
    }

    /// Whether some rule has a period or hours, so that an answer may depend on when it is asked.
    pub fn depends_on_time(&self) -> bool {
        let periods = self.assignments.iter().map(|rule| rule.period).chain(self.denies.iter().map(|rule| rule.period));
        let hours = self.assignments.iter().map(|rule| &rule.when).chain(self.denies.iter().map(|rule| &rule.when));
        periods.into_iter().any(|period| period.starts.is_some() || period.expires.is_some())
            || hours.into_iter().any(|when| when.hours.is_some())
    }

    /// Whether some assignment ends by itself at a time, or at the end of its hours: a refusal may be the doing of that end.
    pub fn has_grants_that_end(&self) -> bool {
        self.has_grants_that_end
    }

    /// Where the bands of risk begin, for sensitivity low, normal and high.
    pub fn risk_thresholds(&self) -> [crate::RiskThresholds; 3] {
        self.calibrated.as_ref().map_or(self.risk.thresholds, |calibrated| calibrated.thresholds)
    }

    /// Whether risk decides, or is only reported.
    pub fn enforces_risk(&self) -> bool {
        self.risk.enforce
    }
}

/// How many entries of each kind a policy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicySize {
    /// `[[route]]`
    pub routes: usize,
    /// `[[network]]`
    pub networks: usize,
    /// `[[role]]`
    pub roles: usize,
    /// `[[group]]`
    pub groups: usize,
    /// `[[assignment]]`
    pub assignments: usize,
    /// `[[deny]]`
    pub denies: usize,
}
