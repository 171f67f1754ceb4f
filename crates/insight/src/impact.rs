//! What changes for requests that were made: counted by user, by what they did, and by the rule that it is due to.

use std::collections::HashMap;
use std::net::IpAddr;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use portcullis_policy::{KeptRequest, Outcome, Policy, Reason, RuleKind, RuleRef, Ruling};
use schemars::JsonSchema;
use serde::Serialize;

use crate::again::{Again, Change, Missing, Unknown, again};
use crate::counts::{Count, Counts};

/// The value of `schema`. Its number changes only if a key changes its meaning or goes away.
pub(crate) const SCHEMA: &str = "portcullis.impact/1";
/// Requests of each change that a report shows.
const EXAMPLES: usize = 5;
/// Addresses whose networks are remembered while counting.
const BLAMED_MAX: usize = 65_536;

/// Which policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PolicyId {
    /// Its version; null: no store says which it is, or it is a candidate, which has none yet.
    pub version: Option<u64>,
    /// The SHA-256 of its text.
    pub sha256: String,
}

impl PolicyId {
    /// Of a policy.
    pub fn of(policy: &Policy) -> Self {
        Self { version: Some(policy.version()), sha256: policy.sha256().to_owned() }
    }

    /// Of what would take the place of the present one: a number is given to what comes into force, so that it has that of the present one where it is
    /// the same, and else none.
    pub fn of_candidate(candidate: &Policy, present: &Self) -> Self {
        let sha256 = candidate.sha256().to_owned();
        Self { version: present.version.filter(|_| present.sha256 == sha256), sha256 }
    }
}

/// What changes for requests that were made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Impact {
    /// Requests that were decided on again under both policies.
    pub requests: u64,
    /// Permitted before, refused after; also asked for a stronger authentication that such a caller can never have.
    pub newly_denied: Flips,
    /// Permitted before, 503 after.
    pub newly_undecided: Flips,
    /// Permitted before, asked for a stronger authentication after.
    pub newly_step_up: Flips,
    /// Refused before, permitted after.
    pub newly_permitted: Flips,
    /// Refused before and after, but otherwise.
    pub other_refusal: Flips,
    /// Answered alike.
    pub unchanged: u64,
    /// What the policy in force says otherwise than was answered at the time: it has changed since, or its networks have.
    pub answered_otherwise: u64,
    /// Requests that could not be decided on again, by what is missing.
    pub not_replayed: Vec<Count>,
}

/// The requests of one change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[schemars(rename = "ImpactFlips")]
pub struct Flips {
    /// How many.
    pub requests: u64,
    /// How many different callers.
    pub users: u64,
    /// Who they are, the most frequent first; at most 50.
    pub by_user: Vec<Count>,
    /// On which routes, likewise.
    pub by_route: Vec<Count>,
    /// What they did, as the permission says that permits it: `POST /reports/**`; else method and path.
    pub by_action: Vec<Count>,
    /// What it is due to, such as `network/office-berlin` or `assignment/finance-reads`.
    pub by_rule: Vec<Count>,
    /// By the reason code that they would get, or got before.
    pub by_reason: Vec<Count>,
    /// The first ones. At most 5.
    pub examples: Vec<Example>,
}

/// A request that is answered otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ImpactExample")]
pub struct Example {
    /// When it was made.
    pub time: String,
    /// Who made it.
    pub user: String,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// `GET /api/x`, with its host.
    pub request: String,
    /// The answer of the policy in force.
    pub before: &'static str,
    /// The answer of the candidate.
    pub after: &'static str,
    /// What it is due to.
    pub rule: String,
}

/// A report and the hash that an approval of it binds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "{T}Stamped")]
pub struct Stamped<T> {
    /// The report.
    #[serde(flatten)]
    pub report: T,
    /// The SHA-256 of the report as compact JSON, in lower-case hex.
    pub impact_sha256: String,
}

impl<T: Serialize> Stamped<T> {
    /// Stamps a report. The same report has the same hash, on every machine.
    pub fn new(report: T) -> Self {
        // INVARIANT: reports have string keys alone, so that they can always be written.
        let text = serde_json::to_vec(&report).unwrap_or_default();
        let impact_sha256 = HEXLOWER.encode(digest(&SHA256, &text).as_ref());
        Self { report, impact_sha256 }
    }
}

/// Counts what changes, request by request.
#[derive(Debug)]
pub struct Tally<'p> {
    present: &'p Policy,
    candidate: &'p Policy,
    requests: u64,
    unchanged: u64,
    answered_otherwise: u64,
    missing: [u64; Missing::ALL.len()],
    changes: HashMap<Change, Counted>,
    /// By address: the first network that it is in under one of both policies alone.
    moved: HashMap<IpAddr, Option<Box<str>>>,
    /// Requests that are answered otherwise, for who looks at them once more.
    flipped: Vec<Flipped>,
    flipped_max: usize,
}

/// A request that is answered otherwise.
#[derive(Debug)]
pub(crate) struct Flipped {
    pub(crate) request: KeptRequest,
    /// The answers before and after.
    pub(crate) outcomes: [Outcome; 2],
}

#[derive(Debug, Default)]
struct Counted {
    requests: u64,
    users: Counts,
    routes: Counts,
    actions: Counts,
    rules: Counts,
    reasons: Counts,
    examples: Vec<Example>,
}

/// What a new refusal is due to: the rule that refuses; but where that is another grant that would have to apply instead (it is eligible, or demands more), it
/// is the grant which permitted and does no more.
fn missed<'r>(before: Option<&'r RuleRef>, after: Option<&'r RuleRef>) -> Option<&'r RuleRef> {
    let is_grant = |rule: &RuleRef| rule.kind == RuleKind::Assignment;
    match (before, after) {
        (Some(before), Some(after)) if is_grant(before) && is_grant(after) => Some(before),
        (before, after) => after.or(before),
    }
}

impl<'p> Tally<'p> {
    /// Nothing yet, of these two policies.
    pub fn new(present: &'p Policy, candidate: &'p Policy) -> Self {
        Self {
            present,
            candidate,
            requests: 0,
            unchanged: 0,
            answered_otherwise: 0,
            missing: [0; Missing::ALL.len()],
            changes: HashMap::new(),
            moved: HashMap::new(),
            flipped: Vec::new(),
            flipped_max: 0,
        }
    }

    /// The same that keeps so many of the requests that are answered otherwise.
    #[must_use]
    pub(crate) fn keeping(self, flipped_max: usize) -> Self {
        Self { flipped_max, ..self }
    }

    pub(crate) fn flipped(&self) -> &[Flipped] {
        &self.flipped
    }

    /// Decides on a request again and counts it so often. `answered`: whether it was permitted at the time, where that is known.
    pub fn add(&mut self, request: &KeptRequest, unknown: &Unknown, answered: Option<bool>, weight: u64) {
        let (present, candidate) = (self.present, self.candidate);
        let both = (again(present, request, unknown), again(candidate, request, unknown));
        let (before, after) = match both {
            (Again::Ruled(before), Again::Ruled(after)) => (before, after),
            (Again::Depends(missing), _) | (_, Again::Depends(missing)) => return self.add_missing(missing, weight),
        };
        self.requests = self.requests.saturating_add(weight);
        if answered.is_some_and(|permitted| permitted != (before.outcome == Outcome::Permit)) {
            self.answered_otherwise = self.answered_otherwise.saturating_add(weight);
        }
        match Change::of(&before, &after).for_caller(request) {
            Change::None => self.unchanged = self.unchanged.saturating_add(weight),
            change => self.add_flip(change, request, &before, &after, weight),
        }
    }

    /// Counts a request of which something is missing.
    pub fn add_missing(&mut self, missing: Missing, weight: u64) {
        let index = Missing::ALL.iter().position(|each| *each == missing);
        if let Some(count) = index.and_then(|index| self.missing.get_mut(index)) {
            *count = count.saturating_add(weight);
        }
    }

    fn add_flip(
        &mut self,
        change: Change,
        request: &KeptRequest,
        before: &Ruling<'_>,
        after: &Ruling<'_>,
        weight: u64,
    ) {
        let rule = self.due_to(change, request, before, after);
        let route = |policy: &Policy| {
            let route = request.under(policy, |asked| asked.route).flatten();
            route.map(|route| policy.route_name(route).to_owned())
        };
        let route = route(self.candidate).or_else(|| route(self.present)).unwrap_or_else(|| "(none)".to_owned());
        let action = action(self.present, request).or_else(|| action(self.candidate, request));
        let action = action.unwrap_or_else(|| format!("{} {}", request.method(), request.path()));
        let user = user(request);
        let reason = after.reason.or(before.reason).map_or("", Reason::code);
        let counted = self.changes.entry(change).or_default();
        counted.requests = counted.requests.saturating_add(weight);
        counted.users.add(&user, weight);
        counted.routes.add(&route, weight);
        counted.actions.add(&action, weight);
        counted.rules.add(&rule, weight);
        counted.reasons.add(reason, weight);
        if counted.examples.len() < EXAMPLES {
            counted.examples.push(Example {
                time: request.now.to_string(),
                user,
                client: request.client.ip(),
                request: format!("{} {}{}", request.method(), request.host(), request.path()),
                before: before.outcome.as_str(),
                after: after.outcome.as_str(),
                rule,
            });
        }
        if self.flipped.len() < self.flipped_max {
            let outcomes = [before.outcome, after.outcome];
            self.flipped.push(Flipped { request: request.clone(), outcomes });
        }
    }

    /// What a change is due to: the network that the address has left or come into, where networks decide; else the rule that refuses, or
    /// the grant that is there no more, or is there now.
    fn due_to(&mut self, change: Change, request: &KeptRequest, before: &Ruling<'_>, after: &Ruling<'_>) -> String {
        let refusal = match change {
            Change::NewlyPermitted => before,
            Change::NewlyDenied
            | Change::NewlyUndecided
            | Change::NewlyStepUp
            | Change::OtherRefusal
            | Change::None => after,
        };
        let by_network =
            matches!(refusal.reason, Some(Reason::IpNotAllowed | Reason::IpDenied | Reason::ConditionUnmet));
        if let Some(network) = by_network.then(|| self.moved(request)).flatten() {
            return format!("network/{network}");
        }
        let rule = match change {
            Change::NewlyPermitted => after.rule.or(before.rule),
            // Without a rule that refuses, it is the grant that is missed.
            Change::NewlyDenied | Change::NewlyUndecided | Change::NewlyStepUp => missed(before.rule, after.rule),
            Change::OtherRefusal | Change::None => after.rule,
        };
        match rule {
            Some(rule) => format!("{}/{}", rule.kind.as_str(), rule.name),
            None => {
                refusal.reason.map_or_else(|| "(a role that is held directly)".to_owned(), |it| it.code().to_owned())
            }
        }
    }

    /// What the refusal of a request by the candidate is due to; `None`: it is not refused, or that is not known.
    pub(crate) fn rule_of(&mut self, request: &KeptRequest) -> Option<String> {
        let answer = |policy: &'p Policy| again(policy, request, &Unknown::default());
        let Again::Ruled(after) = answer(self.candidate) else { return None };
        let by_network = matches!(after.reason, Some(Reason::IpNotAllowed | Reason::IpDenied | Reason::ConditionUnmet));
        if let Some(network) = by_network.then(|| self.moved(request)).flatten() {
            return Some(format!("network/{network}"));
        }
        let before = match answer(self.present) {
            Again::Ruled(before) => before.rule,
            Again::Depends(_) => None,
        };
        let rule = missed(before, after.rule)?;
        Some(format!("{}/{}", rule.kind.as_str(), rule.name))
    }

    /// The network that the address is in under one of both policies alone.
    fn moved(&mut self, request: &KeptRequest) -> Option<Box<str>> {
        let address = request.client.ip()?;
        if let Some(known) = self.moved.get(&address) {
            return known.clone();
        }
        let names = |policy: &'p Policy| -> Vec<&'p str> {
            policy.whereabouts(address).networks.iter().map(|network| &*network.name).collect()
        };
        let (before, after) = (names(self.present), names(self.candidate));
        let alone = |a: &[&'p str], b: &[&'p str]| a.iter().find(|name| !b.contains(name)).map(|name| Box::from(*name));
        let moved = alone(&before, &after).or_else(|| alone(&after, &before));
        if self.moved.len() < BLAMED_MAX {
            self.moved.insert(address, moved.clone());
        }
        moved
    }

    /// What has been counted.
    pub fn finish(mut self) -> Impact {
        let mut flips = |change| self.changes.remove(&change).map(Counted::finish).unwrap_or_default();
        let counted = Missing::ALL.iter().zip(&self.missing).filter(|(_, count)| **count > 0);
        Impact {
            requests: self.requests,
            newly_denied: flips(Change::NewlyDenied),
            newly_undecided: flips(Change::NewlyUndecided),
            newly_step_up: flips(Change::NewlyStepUp),
            newly_permitted: flips(Change::NewlyPermitted),
            other_refusal: flips(Change::OtherRefusal),
            unchanged: self.unchanged,
            answered_otherwise: self.answered_otherwise,
            not_replayed: counted
                .map(|(missing, count)| Count { name: missing.as_str().to_owned(), requests: *count })
                .collect(),
        }
    }
}

impl Counted {
    fn finish(self) -> Flips {
        Flips {
            requests: self.requests,
            users: self.users.distinct(),
            by_user: self.users.shown(),
            by_route: self.routes.shown(),
            by_action: self.actions.shown(),
            by_rule: self.rules.shown(),
            by_reason: self.reasons.shown(),
            examples: self.examples,
        }
    }
}

impl Impact {
    /// Whether nobody is answered otherwise, as far as could be decided again.
    pub fn is_none(&self) -> bool {
        self.requests == self.unchanged
    }
}

/// What a request did, as the permission says that permits it.
fn action(policy: &Policy, request: &KeptRequest) -> Option<String> {
    request.under(policy, |asked| policy.used_action(asked)).flatten()
}

/// Who made a request, as a policy names it.
pub(crate) fn user(request: &KeptRequest) -> String {
    use portcullis_policy::KeptIdentity as Identity;
    match &request.identity {
        Identity::Verified(principal) => principal.reference(),
        Identity::Anonymous => "anonymous".to_owned(),
        Identity::NotLookedAt => "(not looked at)".to_owned(),
        Identity::Rejected(_) | Identity::Unavailable(_) => "(no valid credential)".to_owned(),
    }
}
