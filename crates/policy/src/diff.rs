//! What changes between two policies: every class of requests that is answered otherwise, exactly.
//!
//! A policy's answer depends on the host and path (as far as routes and actions tell them apart), the method, the caller and
//! what their credential carries, the address (as far as named networks tell them apart), the country, the time (as far as
//! periods and hours do), the device, the strength of the authentication, the risk, and what was activated. Each of these
//! falls into finitely many classes, cut by both policies together, and one of each class stands for all. So the comparison
//! is no sample: what it does not report is answered alike. Where the combinations exceed a bound it says which part it left
//! out, and that part may hide any change.
//!
//! It compares outcomes; with [`DiffBounds::reasons`] reasons, too. What is only reported (shadow rules, risk that is only
//! monitored) changes no answer. Bans are facts of a running gateway and are none of its matter.

mod answer;
mod callers;
mod cells;
mod facts;
mod places;
mod products;
mod report;
mod rules;
mod search;
mod solve;
mod told;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::Timestamp;

use crate::decision::RuleRef;
use crate::draft::AuthenticationRule;
use crate::evaluate::*;
use crate::network::{NetworkId, NetworkSetId};
use crate::path::CanonicalPath;
use crate::policy::*;
use crate::principal::{CredentialProblem, Principal, PrincipalKind};
use crate::reason::{Outcome, Reason};
use crate::record::Silent;
use crate::request::{
    AccessRequest, Activation, Bans, ClientAddress, Contained, CountryCode, Dependency, IdentityFact, RiskAssessment,
    RiskLevel,
};
use crate::route::RouteId;

use places::{HostClass, Shapes, hosts};
use rules::{Contents, LocalKey, Side};
use solve::Problem;

/// The difference between two policies.
#[derive(Debug, Clone, Default)]
pub struct PolicyDiff {
    /// Every class of requests whose answer changes: those that loosen first, then by place and caller.
    pub classes: Vec<ChangedClass>,
    /// What was left out because a bound was reached, a sentence each. Not empty: any change may hide there.
    pub incomplete: Vec<String>,
}

/// What a difference comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Every request is answered alike.
    None,
    /// Some requests get further, and none less far.
    Loosens,
    /// Some requests get less far, and none further.
    Tightens,
    /// Both, or it is not known.
    Mixed,
}

impl Effect {
    /// `none`, `loosens`, `tightens` or `mixed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Loosens => "loosens",
            Self::Tightens => "tightens",
            Self::Mixed => "mixed",
        }
    }
}

impl PolicyDiff {
    /// What the difference comes to as a whole. An incomplete one counts as mixed.
    pub fn effect(&self) -> Effect {
        let has = |effect: Effect| self.classes.iter().any(|class| class.effect() == effect);
        match (has(Effect::Loosens), has(Effect::Tightens)) {
            _ if !self.incomplete.is_empty() => Effect::Mixed,
            (true, true) => Effect::Mixed,
            (true, false) => Effect::Loosens,
            (false, true) => Effect::Tightens,
            (false, false) => Effect::None,
        }
    }
}

/// A class of requests whose answer changes, all of them from one answer to one other, by the same rules.
#[derive(Debug, Clone)]
pub struct ChangedClass {
    /// The answer before.
    pub before: ExampleAnswer,
    /// The answer after.
    pub after: ExampleAnswer,
    /// Whether all of the class have these reasons and rules. False where asking for them would have taken more than a bound:
    /// then the outcomes are those of all, and reasons and rules those of the example alone. (Why a credential is refused it
    /// says of itself: of whoever sends a bad one the reason is always that of the example.)
    pub is_uniform: bool,
    /// Where: at most [`Self::MOST_PLACES`].
    pub places: Vec<ChangedPlace>,
    /// How many further places there are.
    pub more_places: usize,
    /// The callers, any of them: `user:alice`, `user:*` for any user whom no rule names there, `authenticated` for any verified
    /// principal, `anonymous`, or a sentence.
    pub callers: Vec<String>,
    /// How many further callers there are.
    pub more_callers: usize,
    /// What the credential must carry besides: one of each list (`group:NAME`, `role:NAME`).
    pub claims: Vec<Vec<String>>,
    /// Under which circumstances; empty: under all.
    pub when: Vec<Circumstance>,
    /// One request of the class.
    pub example: ExampleRequest,
    regions: Vec<report::Region>,
}

impl ChangedClass {
    /// The most places that one class lists.
    pub const MOST_PLACES: usize = 64;

    /// Whether the class gets further (`Loosens`) or less far (`Tightens`); `None` when only the reason changes. From least
    /// to most: deny, undecided, challenge, step-up, permit.
    pub fn effect(&self) -> Effect {
        match distance(self.after.outcome).cmp(&distance(self.before.outcome)) {
            std::cmp::Ordering::Less => Effect::Loosens,
            std::cmp::Ordering::Equal => Effect::None,
            std::cmp::Ordering::Greater => Effect::Tightens,
        }
    }
}

/// How far an outcome is from a permit.
fn distance(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Permit => 0,
        Outcome::StepUp => 1,
        Outcome::Challenge => 2,
        Outcome::Undecided => 3,
        Outcome::Deny => 4,
    }
}

/// An answer to an example, and to the rest of its class where that is [`ChangedClass::is_uniform`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExampleAnswer {
    /// The outcome; the whole class has it.
    pub outcome: Outcome,
    /// The reason.
    pub reason: Option<Reason>,
    /// The rule that decided.
    pub rule: Option<RuleRef>,
}

/// Where an answer changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangedPlace {
    /// The route before and after, by name; `None`: there is none.
    pub routes: [Option<String>; 2],
    /// The host as a route names it; `None`: any host that no route names.
    pub host: Option<String>,
    /// The path as a pattern, in which `*` is any segment that no action or route names there.
    pub path: String,
    /// The methods; `*` alone for all, `*` among others for all that no action names.
    pub methods: Vec<String>,
}

/// A fact that must be one of some.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Circumstance {
    /// `network`, `country`, `time`, `device`, `assurance`, `risk` or `activation`.
    pub fact: &'static str,
    /// Any of these, in words.
    pub values: Vec<String>,
}

/// A whole request, owned.
#[derive(Debug, Clone)]
pub struct ExampleRequest {
    /// The method.
    pub method: String,
    /// The host, in the form of [`crate::canonical_host`].
    pub host: String,
    /// The path.
    pub path: CanonicalPath,
    /// Who.
    pub identity: ExampleIdentity,
    /// From where.
    pub client: ClientAddress,
    /// From which country.
    pub country: Option<CountryCode>,
    /// How risky.
    pub risk: RiskAssessment,
    /// What was activated.
    pub activations: Vec<Activation>,
    /// When.
    pub now: Timestamp,
}

/// Who sends an example.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one for each class, and most are the large one")]
pub enum ExampleIdentity {
    /// Nobody.
    Anonymous,
    /// A verified principal.
    Verified(Principal),
    /// Somebody with a bad credential.
    Rejected(CredentialProblem),
    /// Somebody whose credential cannot be checked.
    Unavailable(Dependency),
}

impl ExampleRequest {
    /// The question to a policy: on the route that host and path lead to there.
    pub fn ask<'a>(&'a self, policy: &Policy) -> AccessRequest<'a> {
        AccessRequest {
            method: &self.method,
            path: &self.path,
            route: policy.find_route(&self.host, &self.path),
            client: self.client,
            country: self.country,
            identity: match &self.identity {
                ExampleIdentity::Anonymous => IdentityFact::Anonymous,
                ExampleIdentity::Verified(principal) => IdentityFact::Verified(principal),
                ExampleIdentity::Rejected(problem) => IdentityFact::Rejected(problem),
                ExampleIdentity::Unavailable(dependency) => IdentityFact::Unavailable(*dependency),
            },
            risk: &self.risk,
            bans: Bans::default(),
            contained: Contained::default(),
            posture: None,
            activations: &self.activations,
            now: self.now,
        }
    }
}

/// How far a comparison goes.
#[derive(Debug, Clone, Copy)]
pub struct DiffBounds {
    /// The most classes of hosts and paths. Default 1,000,000.
    pub places: u64,
    /// The most evaluations, and rules looked at. Default 30,000,000: some ten seconds. A fourth of it comes on top at most,
    /// to tell by which rules what is found is answered.
    pub evaluations: u64,
    /// The most classes of requests that are reported. Default 10,000.
    pub classes: usize,
    /// Whether another reason for the same outcome counts as a change.
    pub reasons: bool,
    /// Whether only what is answered for one reason by one rule stands in one class. Default true; whoever wants the effect alone spares that.
    pub rules: bool,
    /// Called every thousand evaluations or so, for who compares beside more urgent work. Default: does nothing.
    pub pause: fn(),
}

impl Default for DiffBounds {
    fn default() -> Self {
        Self { places: 1_000_000, evaluations: 30_000_000, classes: 10_000, reasons: false, rules: true, pause: || {} }
    }
}

/// What may still be spent.
#[derive(Debug)]
struct Budget {
    places: u64,
    evaluations: u64,
    /// What asking for reasons and rules may still take.
    tellings: u64,
    pause: fn(),
    /// Spent since the last pause.
    since_pause: u64,
}

impl Budget {
    /// The most combinations that are kept of one place.
    const MOST_POINTS: usize = 500_000;
    /// So many evaluations without a pause.
    const PIECE: u64 = 1_000;

    fn of(bounds: &DiffBounds) -> Self {
        let DiffBounds { places, evaluations, pause, .. } = *bounds;
        Self { places, evaluations, tellings: evaluations / 4, pause, since_pause: 0 }
    }

    fn count(&mut self, evaluations: u64) {
        self.since_pause = self.since_pause.saturating_add(evaluations);
        if self.since_pause >= Self::PIECE {
            self.since_pause = 0;
            (self.pause)();
        }
    }

    /// Sets so many evaluations for reasons and rules aside; false: there are not so many left.
    fn may_tell(&mut self, evaluations: u64) -> bool {
        let left = self.tellings.checked_sub(evaluations);
        self.tellings = left.unwrap_or(self.tellings);
        left.is_some()
    }

    fn spend(&mut self, evaluations: u64) -> Result<(), String> {
        self.count(evaluations);
        match self.evaluations.checked_sub(evaluations) {
            Some(left) => {
                self.evaluations = left;
                Ok(())
            }
            None => {
                self.evaluations = 0;
                Err("the bound on evaluations is reached".to_owned())
            }
        }
    }
}

/// Compares two policies. Times are looked at from ten years before the first border of a period, or `now`, until ten years
/// after the last; where an example may be of several times, the first from `now` on is taken.
///
/// ```
/// use portcullis_policy::*;
///
/// let draft = |members: &[&str]| PolicyDraft {
///     routes: vec![RouteDraft { name: "billing".to_owned().into(), ..RouteDraft::default() }],
///     roles: vec![RoleDraft {
///         name: "reader".to_owned().into(),
///         permissions: vec![PermissionDraft { actions: vec!["GET /invoices/**".to_owned().into()], not_actions: vec![] }],
///         ..RoleDraft::default()
///     }],
///     assignments: vec![AssignmentDraft {
///         name: "reads".to_owned().into(),
///         role: "reader".to_owned().into(),
///         principals: members.iter().map(|member| (*member).to_owned().into()).collect(),
///         scope: ScopeDraft::All,
///         ..AssignmentDraft::default()
///     }],
///     ..PolicyDraft::default()
/// };
/// let compile = |members: &[&str]| Policy::compile(&draft(members)).expect("it has no errors").0;
/// let (before, after) = (compile(&["user:alice"]), compile(&["user:alice", "user:bob"]));
/// let diff = compare(&before, &after, jiff::Timestamp::UNIX_EPOCH, &DiffBounds::default());
/// assert_eq!(diff.effect(), Effect::Loosens);
/// assert_eq!(diff.classes[0].callers, ["user:bob"]);
/// assert_eq!(diff.classes[0].places[0].path, "/invoices/**");
/// ```
pub fn compare(before: &Policy, after: &Policy, now: Timestamp, bounds: &DiffBounds) -> PolicyDiff {
    let joint = before.networks.joint_sets(&after.networks);
    let mut contents = Contents::default();
    let pairs = |policy: &Policy, pick: fn(&(NetworkSetId, NetworkSetId, IpAddr)) -> NetworkSetId| {
        let mut held: Vec<Vec<u32>> = vec![Vec::new(); policy.network_facts.len()];
        for (pair, number) in joint.iter().zip(0u32..) {
            for network in policy.networks.members(pick(pair)).all() {
                if let Some(list) = held.get_mut(network.0 as usize) {
                    list.push(number);
                }
            }
        }
        held
    };
    let of_before = pairs(before, |(set, _, _)| *set);
    let of_after = pairs(after, |(_, set, _)| *set);
    let sides = [Side::new(before, of_before, &mut contents), Side::new(after, of_after, &mut contents)];
    let mut comparison = Comparison {
        sides: &sides,
        now,
        bounds,
        budget: Budget::of(bounds),
        joint: &joint,
        everywhere: risk_matters(before, after) || step_up_matters(before, after),
        roles_differ: sides[0].roles_by_name() != sides[1].roles_by_name(),
        methods: methods(&sides),
        problems: Vec::new(),
        by_key: HashMap::new(),
        incomplete: Vec::new(),
    };
    comparison.find_places();
    comparison.answer()
}

/// Whether the policies judge risk differently, and something depends on it.
fn risk_matters(before: &Policy, after: &Policy) -> bool {
    let conditional = |policy: &Policy| policy.assignments.iter().any(|each| each.when.max_risk.is_some());
    let used = |policy: &Policy| policy.risk.enforce || conditional(policy);
    before.risk != after.risk && (used(before) || used(after))
}

/// Whether the policies disagree on what a fresh mfa is, and something depends on it.
fn step_up_matters(before: &Policy, after: &Policy) -> bool {
    let conditional = |policy: &Policy| {
        policy.assignments.iter().any(|each| each.when.assurance_mfa)
            || policy.resources.iter().any(|each| each.proof.mfa)
    };
    let used = |policy: &Policy| policy.risk.enforce || conditional(policy);
    before.step_up != after.step_up && (used(before) || used(after))
}

/// Every method that an action names, and one that none names.
fn methods(sides: &[Side<'_>; 2]) -> Vec<String> {
    let named: BTreeSet<String> =
        sides.iter().flat_map(|side| side.policy.actions.method_names()).map(str::to_owned).collect();
    let other = (1..).map(|number| format!("OTHER{number}")).find(|other| !named.contains(other));
    named.into_iter().chain(other).collect()
}

struct Comparison<'c> {
    sides: &'c [Side<'c>; 2],
    now: Timestamp,
    bounds: &'c DiffBounds,
    budget: Budget,
    joint: &'c [(NetworkSetId, NetworkSetId, IpAddr)],
    /// What holds everywhere differs, so that equal rules may give different answers.
    everywhere: bool,
    roles_differ: bool,
    /// The last one is any that no action names.
    methods: Vec<String>,
    problems: Vec<(Problem<'c>, Vec<ChangedPlace>)>,
    by_key: HashMap<[LocalKey; 2], usize>,
    incomplete: Vec<String>,
}

impl<'c> Comparison<'c> {
    fn find_places(&mut self) {
        for host in hosts(self.sides[0].policy, self.sides[1].policy) {
            let Some(shapes) = self.shapes(&host) else { continue };
            let mut visited = ControlFlow::Continue(());
            shapes.visit_paths(&mut |path, shape| {
                visited = self.visit(&host, path, shape);
                visited
            });
            if visited.is_break() {
                let at = host.shown.as_deref().unwrap_or("hosts that no route names");
                self.incomplete.push(format!("not every path could be compared: the search stopped at {at}"));
                return;
            }
        }
    }

    /// The patterns that matter on a host; `None` when nothing can differ there.
    fn shapes(&self, host: &HostClass) -> Option<Shapes> {
        let [before, after] = self.sides;
        let routes = |side: &Side<'_>| -> Vec<(crate::pattern::Pattern, usize, String)> {
            let trees = side.policy.routes.trees(&host.host).enumerate();
            let patterns = trees.flat_map(|(tree, each)| each.entries().into_iter().map(move |found| (tree, found)));
            let mut routes: Vec<_> = patterns
                .map(|(tree, (pattern, route))| (pattern, tree, side.policy.route_name(route).to_owned()))
                .collect();
            routes.sort_unstable();
            routes
        };
        let (routes_before, routes_after) = (routes(before), routes(after));
        let differs = |(_, _, name): &(crate::pattern::Pattern, usize, String)| !self.is_alike(name);
        let quiet = routes_before == routes_after && !routes_before.iter().any(differs);
        if quiet && !self.everywhere && !self.roles_differ {
            return None;
        }
        let mut shapes = Shapes::new();
        routes_before.iter().chain(&routes_after).for_each(|(pattern, _, _)| shapes.add(pattern));
        before.patterns.iter().chain(&after.patterns).for_each(|pattern| shapes.add(pattern));
        Some(shapes)
    }

    /// Whether both policies say the same about a route.
    fn is_alike(&self, route: &str) -> bool {
        let fingerprint = |side: &'c Side<'c>| side.fingerprints.get(side.route_named(route)?.index());
        let [before, after] = self.sides;
        fingerprint(before).is_some_and(|one| fingerprint(after) == Some(one))
    }

    fn visit(&mut self, host: &HostClass, path: CanonicalPath, shape: String) -> ControlFlow<()> {
        let Some(places) = self.budget.places.checked_sub(1) else { return ControlFlow::Break(()) };
        self.budget.places = places;
        let [before, after] = self.sides;
        let found = |side: &Side<'_>| side.policy.find_route(&host.host, &path);
        let routes = [found(before), found(after)];
        let name =
            |side: &Side<'_>, route: Option<RouteId>| route.map(|route| side.policy.route_name(route).to_owned());
        let names = [name(before, routes[0]), name(after, routes[1])];
        let alike = names[0] == names[1] && names[0].as_deref().is_none_or(|name| self.is_alike(name));
        if alike && !self.everywhere && (!self.roles_differ || names[0].is_none()) {
            let spent = self.budget.spend(1);
            return if spent.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        }
        let request = |route| AccessRequest::new("", &path, route, self.now);
        let requests = routes.map(request);
        let mut views = [View::new(before.policy, &requests[0]), View::new(after.policy, &requests[1])];
        let mut by_key: BTreeMap<[LocalKey; 2], Vec<usize>> = BTreeMap::new();
        for (method, index) in self.methods.iter().zip(0..) {
            views[0].method = before.policy.actions.method(method);
            views[1].method = after.policy.actions.method(method);
            let mut work = 2;
            let keys = [before.local(&views[0], &mut work).0, after.local(&views[1], &mut work).0];
            if self.budget.spend(work).is_err() {
                return ControlFlow::Break(());
            }
            if self.everywhere || keys[0] != keys[1] {
                by_key.entry(keys).or_default().push(index);
            }
        }
        for (keys, indexes) in by_key {
            let methods = self.named_methods(&indexes);
            let place = ChangedPlace { routes: names.clone(), host: host.shown.clone(), path: shape.clone(), methods };
            let next = self.problems.len();
            let known = *self.by_key.entry(keys.clone()).or_insert(next);
            if known == next {
                let Some(method) = indexes.first().and_then(|index| self.methods.get(*index)) else { continue };
                views[0].method = before.policy.actions.method(method);
                views[1].method = after.policy.actions.method(method);
                let rules = [before.local(&views[0], &mut 0).1, after.local(&views[1], &mut 0).1];
                let problem = Problem {
                    sides: [before, after],
                    rules,
                    keys,
                    routes,
                    host: host.host.clone(),
                    path: path.clone(),
                    method: method.clone(),
                    everywhere: self.everywhere,
                };
                self.problems.push((problem, Vec::new()));
            }
            if let Some((_, places)) = self.problems.get_mut(known) {
                places.push(place);
            }
        }
        ControlFlow::Continue(())
    }

    fn named_methods(&self, indexes: &[usize]) -> Vec<String> {
        let last = self.methods.len().saturating_sub(1);
        if indexes.len() == self.methods.len() {
            return vec!["*".to_owned()];
        }
        let name = |index: &usize| match *index == last {
            true => Some("*".to_owned()),
            false => self.methods.get(*index).cloned(),
        };
        indexes.iter().filter_map(name).collect()
    }

    fn answer(mut self) -> PolicyDiff {
        let mut report = report::Report::default();
        for (problem, places) in std::mem::take(&mut self.problems) {
            let found =
                problem.axes(self.joint, self.now).and_then(|axes| problem.solve(axes, self.bounds, &mut self.budget));
            match found {
                Ok(found) => report.add(&problem, &places, &found),
                Err(text) => {
                    let place = places.first().map_or("?", |place| &*place.path);
                    let more = if places.len() > 1 { format!(" and {} more", places.len() - 1) } else { String::new() };
                    self.incomplete.push(format!("{} {place}{more}: {text}", problem.method));
                }
            }
        }
        report.finish(self.bounds.classes, self.incomplete)
    }
}
