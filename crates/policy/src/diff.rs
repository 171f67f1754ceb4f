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
mod bounds;
mod callers;
mod cells;
mod change;
mod comparison;
mod example;
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

pub use bounds::DiffBounds;
pub use change::{ChangedClass, ChangedPlace, Circumstance, Effect, ExampleAnswer, PolicyDiff};
pub use example::{ExampleIdentity, ExampleRequest};

use bounds::Budget;
use comparison::Comparison;
use places::{HostClass, Shapes, hosts};
use rules::{Contents, LocalKey, Side};
use solve::Problem;

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
