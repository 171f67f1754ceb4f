//! Trying what is proposed, before it is proposed.
//!
//! All removals are tried together first: grants only ever add, so where all of them together refuse nothing that was used, none does alone.
//! Where they do, each is tried for itself, and those that refuse something are withheld.

use std::collections::BTreeSet;

use portcullis_policy::{
    AccessRequest, CanonicalPath, IdentityFact, Outcome, Policy, PolicyDraft, Principal, WrittenAction,
};

use super::Input;
use super::edit::{Edit, apply, toml};
use super::finding::{Finding, TrialResult};
use super::model::Model;
use super::usage::SeenPrincipal;
use crate::again::{Again, Unknown, again};

/// Proposals that are tried one by one, after all of them together were too much.
const MOST_ALONE: usize = 200;

/// Tries what the findings propose, writes down what came of it, and takes back what would refuse something that was used.
pub(crate) fn try_all(input: &Input<'_>, model: &Model<'_>, findings: &mut [Finding], yields: &dyn Fn()) {
    let all: BTreeSet<Edit> =
        findings.iter().flat_map(|finding| finding.edits.iter().filter(|edit| removes(edit)).cloned()).collect();
    let together = (!all.is_empty()).then(|| try_one(input, model, &all, yields));
    let mut alone = MOST_ALONE;
    for finding in findings.iter_mut().filter(|finding| !finding.edits.is_empty()) {
        yields();
        let edits: BTreeSet<Edit> = finding.edits.iter().cloned().collect();
        let result = match &together {
            Some(Ok(result)) if result.newly_denied == 0 && edits.iter().all(removes) => Ok(result.clone()),
            _ if alone == 0 => {
                Err("not tried: too many proposals refuse something when they are made together".to_owned())
            }
            _ => {
                alone -= 1;
                try_one(input, model, &edits, yields)
            }
        };
        let recommendation = &mut finding.recommendation;
        match result {
            Ok(result) if result.newly_denied == 0 => {
                recommendation.preview = Some(result);
                recommendation.toml = toml(input.draft, &finding.edits);
            }
            Ok(result) => {
                recommendation.withheld =
                    Some(format!("tried, it would refuse {} that were permitted", result.newly_denied));
                recommendation.preview = Some(result);
                finding.edits.clear();
            }
            Err(why) => {
                recommendation.withheld = Some(why);
                finding.edits.clear();
            }
        }
    }
}

fn removes(edit: &Edit) -> bool {
    match edit {
        Edit::AddPrincipal { .. } => false,
        Edit::DropUnit { .. }
        | Edit::NarrowMethods { .. }
        | Edit::DropPrincipal { .. }
        | Edit::DropMember { .. }
        | Edit::DropAssignment { .. }
        | Edit::NarrowScope { .. }
        | Edit::RightSize { .. }
        | Edit::Split { .. }
        | Edit::DropPrefix { .. } => true,
    }
}

fn try_one(
    input: &Input<'_>,
    model: &Model<'_>,
    edits: &BTreeSet<Edit>,
    yields: &dyn Fn(),
) -> Result<TrialResult, String> {
    let draft = apply(input.draft, edits);
    let (candidate, _) = Policy::compile(&draft).map_err(|problems| {
        let first = problems.first().map(|problem| problem.message.clone()).unwrap_or_default();
        format!("the policy would not compile: {first}")
    })?;
    yields();
    let mut result = TrialResult::default();
    replay_sample(input, &candidate, &mut result, yields);
    replay_uses(input, &candidate, &mut result, yields);
    compare_grants(input, model, &draft, &mut result, yields);
    Ok(result)
}

/// The requests that were really made.
fn replay_sample(input: &Input<'_>, candidate: &Policy, result: &mut TrialResult, yields: &dyn Fn()) {
    let Some(sample) = input.sample else { return };
    let seen = sample.recent.iter().chain(sample.older.iter().map(|one| &one.seen));
    for (index, seen) in seen.enumerate() {
        if index.is_multiple_of(256) {
            yields();
        }
        let unknown = Unknown::default();
        let (Again::Ruled(before), Again::Ruled(after)) =
            (again(input.policy, &seen.request, &unknown), again(candidate, &seen.request, &unknown))
        else {
            continue;
        };
        note(result, before.outcome, after.outcome);
        result.replayed += 1;
    }
}

/// Every use that was counted, as a request like it.
fn replay_uses(input: &Input<'_>, candidate: &Policy, result: &mut TrialResult, yields: &dyn Fn()) {
    let edge = input.used_from();
    for (index, (seen, route, action, row)) in input.usage.rows().enumerate() {
        if index.is_multiple_of(1_024) {
            yields();
        }
        if !row.is_used_since(edge) {
            continue;
        }
        let asks = |policy: &Policy| outcome_of(policy, seen, route, action, input.now);
        let (Some(before), Some(after)) = (asks(input.policy), asks(candidate)) else {
            result.not_asked += 1;
            continue;
        };
        // What is permitted under circumstances that cannot be stated, such as an address, proves nothing when both refuse.
        match before {
            Outcome::Permit => result.uses += 1,
            _ => result.not_asked += 1,
        }
        note(result, before, after);
    }
}

/// What a policy says to a request like the one that was counted, under the best circumstances that can be stated.
fn outcome_of(
    policy: &Policy,
    seen: &SeenPrincipal,
    route: &str,
    action: &str,
    now: jiff::Timestamp,
) -> Option<Outcome> {
    let method = action.split_once(' ').map(|(method, _)| method).filter(|method| *method != "*").unwrap_or("GET");
    let path = CanonicalPath::parse(&WrittenAction::parse(action)?.example_path()).ok()?;
    let principal = principal_of(seen);
    let identity = principal.as_ref().map_or(IdentityFact::Anonymous, IdentityFact::Verified);
    let request = AccessRequest {
        identity,
        posture: Some(true),
        ..AccessRequest::new(method, &path, policy.route_named(route), now)
    };
    Some(policy.verdict(&request).0)
}

/// Somebody as they were last seen, freshly authenticated.
pub(crate) fn principal_of(seen: &SeenPrincipal) -> Option<Principal> {
    let mut principal = Principal::stated(seen.kind?, &seen.id);
    principal.groups = seen
        .groups
        .iter()
        .map(|group| portcullis_policy::GroupClaim { name: group.name.clone(), trusted: group.trusted })
        .collect();
    principal.roles = seen.roles.iter().map(|role| role.name.clone()).collect();
    principal.authentication.stated_mfa = true;
    Some(principal)
}

fn note(result: &mut TrialResult, before: Outcome, after: Outcome) {
    match (before == Outcome::Permit, after == Outcome::Permit) {
        (true, false) => result.newly_denied += 1,
        (false, true) => result.newly_permitted += 1,
        (true, true) | (false, false) => {}
    }
}

/// What was used must still be granted under the same conditions: also where these cannot be stated, such as an address.
fn compare_grants(
    input: &Input<'_>,
    model: &Model<'_>,
    draft: &PolicyDraft,
    result: &mut TrialResult,
    yields: &dyn Fn(),
) {
    let edge = input.used_from();
    let after = Model::new(draft, input.usage, input.known, input.now);
    for (index, holder) in model.holders.iter().enumerate() {
        if index.is_multiple_of(64) {
            yields();
        }
        let before = model.used_grants(holder, edge);
        if before.is_empty() {
            continue;
        }
        let left = after.holder(&holder.name).map(|holder| after.used_grants(holder, edge)).unwrap_or_default();
        result.newly_denied += before.difference(&left).count() as u64;
    }
    let (before, left) = (model.used_collectively(edge), after.used_collectively(edge));
    result.newly_denied += before.difference(&left).count() as u64;
}
