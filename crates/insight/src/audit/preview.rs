//! Trying what is proposed, before it is proposed: first what it does, then the text of it.
//!
//! All removals are tried together first: grants only ever add, so where all of them together refuse nothing that was used, none of them and no part of
//! them does. Where they do, the greatest part is looked for that does not: what is added to it is halved until it is known which one refuses
//! something, and that one is withheld. So whatever is proposed can be done at once. At last the text is put in place in the policy's own files, read
//! again, and held against what was tried.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_policy::{
    AccessRequest, CanonicalPath, IdentityFact, Outcome, Policy, PolicyDraft, Principal, WrittenAction,
};

use super::Input;
use super::edit::{Edit, apply, toml};
use super::finding::{Finding, TrialResult};
use super::model::Model;
use super::usage::SeenPrincipal;
use crate::again::{Again, Unknown, again};

/// Trials of one run, after all removals together were too much. Each withheld one costs some, the more the more there are.
const MOST_TRIALS: usize = 400;
/// Entries of a policy that are read again for texts, in one run: a thousand texts of a policy of a thousand entries, which takes seconds.
const MOST_READ: usize = 1_000_000;
/// So many texts are tried of a policy of whatever size.
const LEAST_TEXTS: usize = 50;

/// Where the policy is written: asked whether a suggestion comes to what was tried. Only who knows TOML can say so.
pub trait PolicyText: std::fmt::Debug {
    /// Puts a suggestion in place in the policy's own text, reads that again, and holds it against what `tried` makes of the policy as it is.
    ///
    /// # Errors
    /// A sentence: it cannot be put in place or read, or it says something else.
    fn comes_to(&self, suggestion: &str, tried: &dyn Fn(&PolicyDraft) -> PolicyDraft) -> Result<(), String>;
}

/// How long there is for trying things. Only who has a clock can say so.
pub trait Patience: std::fmt::Debug {
    /// Whether it is over: what was not tried until then is not tried any more.
    fn is_over(&self) -> bool;
}

/// There is no end of time.
#[derive(Debug, Clone, Copy)]
pub struct Endless;

impl Patience for Endless {
    fn is_over(&self) -> bool {
        false
    }
}

/// What is said of a proposal that was not tried begins so.
const NOT_TRIED: &str = "not tried: ";

/// How many proposals were not tried, and so are not made.
pub(crate) fn untried(findings: &[Finding]) -> u64 {
    let is_untried =
        |finding: &&Finding| finding.recommendation.withheld.as_ref().is_some_and(|why| why.starts_with(NOT_TRIED));
    findings.iter().filter(is_untried).count() as u64
}

fn in_time(input: &Input<'_>) -> Result<(), String> {
    match input.patience.is_over() {
        true => Err(format!("{NOT_TRIED}the time for trying proposals was over before it was its turn")),
        false => Ok(()),
    }
}

/// Tries what the findings propose, writes down what came of it, and takes back what would refuse something that was used.
pub(crate) fn try_all(input: &Input<'_>, model: &Model<'_>, findings: &mut [Finding], yields: &dyn Fn()) {
    let mut order: Vec<usize> = (0..findings.len()).collect();
    // The worst first: what is left untried is the least of it.
    order.sort_by_key(|place| findings.get(*place).map(|finding| std::cmp::Reverse(finding.severity)));
    let (mut removals, mut others): (Vec<(usize, BTreeSet<Edit>)>, Vec<_>) = order
        .into_iter()
        .filter_map(|place| Some((place, findings.get(place)?.edits.iter().cloned().collect::<BTreeSet<_>>())))
        .filter(|(_, edits)| !edits.is_empty())
        .partition(|(_, edits)| edits.iter().all(removes));
    let mut trials =
        Trials { input, model, yields, left: MOST_TRIALS, accepted: BTreeSet::new(), last: TrialResult::default() };
    let mut withheld = Vec::new();
    trials.add(&removals, &mut withheld);
    for (place, result) in withheld {
        removals.retain(|(other, _)| *other != place);
        if let Some(finding) = findings.get_mut(place) {
            withhold(finding, result);
        }
    }
    let together = trials.last.clone();
    let mut proposed: Vec<(usize, TrialResult)> =
        removals.iter().map(|(place, _)| (*place, together.clone())).collect();
    for (place, edits) in &mut others {
        yields();
        match trials.alone(edits) {
            Ok(result) if result.newly_denied == 0 => proposed.push((*place, result)),
            result => {
                if let Some(finding) = findings.get_mut(*place) {
                    withhold(finding, result.map(|result| (result, "tried")));
                }
            }
        }
    }
    proposed.sort_by_key(|(place, _)| findings.get(*place).map(|finding| std::cmp::Reverse(finding.severity)));
    write(input, findings, proposed, yields);
}

/// Writes down what is proposed, once its text was tried.
fn write(input: &Input<'_>, findings: &mut [Finding], proposed: Vec<(usize, TrialResult)>, yields: &dyn Fn()) {
    let draft = input.draft;
    let entries = draft.roles.len() + draft.assignments.len() + draft.groups.len() + draft.networks.len();
    let mut texts = (MOST_READ / entries.max(1)).max(LEAST_TEXTS);
    let mut said: BTreeMap<BTreeSet<Edit>, Result<(), String>> = BTreeMap::new();
    for (place, result) in proposed {
        yields();
        let Some(finding) = findings.get_mut(place) else { continue };
        finding.recommendation.preview = Some(result);
        let Some(text) = toml(draft, &finding.edits) else { continue };
        let edits: BTreeSet<Edit> = finding.edits.iter().cloned().collect();
        // Many findings propose the same, as those about the members of a group that is split.
        let said = said.entry(edits).or_insert_with_key(|edits| {
            if texts == 0 {
                return Err(format!(
                    "{NOT_TRIED}there are more proposals than texts can be tried in one run: those of the worst findings were"
                ));
            }
            in_time(input)?;
            texts -= 1;
            let come = input.text.comes_to(&text, &|draft| apply(draft, edits));
            come.map_err(|why| format!("its text is not given out: {why}"))
        });
        match said {
            Ok(()) => finding.recommendation.toml = Some(text),
            Err(why) => {
                finding.recommendation.withheld = Some(why.clone());
                finding.edits.clear();
            }
        }
    }
}

fn withhold(finding: &mut Finding, result: Result<(TrialResult, &str), String>) {
    let recommendation = &mut finding.recommendation;
    match result {
        Ok((result, how)) => {
            recommendation.withheld =
                Some(format!("{how}, it would refuse {} that were permitted", result.newly_denied));
            recommendation.preview = Some(result);
        }
        Err(why) => recommendation.withheld = Some(why),
    }
    finding.edits.clear();
}

/// Removals that together refuse nothing, as they are found.
struct Trials<'a, 'm, 'y> {
    input: &'a Input<'a>,
    model: &'m Model<'a>,
    yields: &'y dyn Fn(),
    left: usize,
    accepted: BTreeSet<Edit>,
    /// What came of trying what is accepted.
    last: TrialResult,
}

/// By finding: what came of trying one that is withheld, and how it was tried; or why it was not.
type Withheld = Vec<(usize, Result<(TrialResult, &'static str), String>)>;

impl Trials<'_, '_, '_> {
    /// Accepts of these what can be done with all that is accepted.
    fn add(&mut self, removals: &[(usize, BTreeSet<Edit>)], withheld: &mut Withheld) {
        if removals.is_empty() {
            return;
        }
        let mut with = self.accepted.clone();
        with.extend(removals.iter().flat_map(|(_, edits)| edits.iter().cloned()));
        match self.alone(&with) {
            Ok(result) if result.newly_denied == 0 => (self.accepted, self.last) = (with, result),
            result => match removals {
                [(place, edits)] => {
                    let why = match result {
                        // Without the others it may be harmless: then it is one or the other.
                        Ok(result) => match self.alone(edits) {
                            Ok(alone) if alone.newly_denied > 0 => Ok((alone, "tried")),
                            _ => Ok((result, "tried with all else that is proposed")),
                        },
                        Err(why) => Err(why),
                    };
                    withheld.push((*place, why));
                }
                several => {
                    let (first, second) = several.split_at(several.len() / 2);
                    self.add(first, withheld);
                    self.add(second, withheld);
                }
            },
        }
    }

    /// Tries these changes and no others.
    fn alone(&mut self, edits: &BTreeSet<Edit>) -> Result<TrialResult, String> {
        if self.left == 0 {
            return Err(format!(
                "{NOT_TRIED}after {MOST_TRIALS} trials it is not known yet which proposals go together"
            ));
        }
        in_time(self.input)?;
        self.left -= 1;
        (self.yields)();
        try_one(self.input, self.model, edits, self.yields)
    }
}

pub(crate) fn removes(edit: &Edit) -> bool {
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

pub(crate) fn try_one(
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
    in_time(input)?;
    replay_sample(input, &candidate, &mut result, yields);
    in_time(input)?;
    replay_uses(input, &candidate, &mut result, yields);
    in_time(input)?;
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
