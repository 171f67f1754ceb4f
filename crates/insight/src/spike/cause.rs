//! Which cause each refused request has, and how much of a spike each cause is.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use portcullis_events::ReasonCode;
use portcullis_policy::{KeptIdentity, KeptRequest, Outcome, Policy, PrincipalKind};

use crate::again::{Again, Missing, Unknown, again};
use crate::counts::Counts;
use crate::impact::{Tally, user};
use crate::sample::{Answered, Outlook, Seen, network_text};
use crate::spike::familiar::Familiar;
use crate::spike::report::{Cause, CauseKind, Explained, Fix};
use crate::words::{counted, number};

/// A change of what decides.
#[derive(Debug, Clone)]
pub struct RecentChange {
    /// When it came into force.
    pub at: Timestamp,
    /// What changed.
    pub kind: ChangeKind,
    /// The policy that was in force until then.
    pub before: Arc<Policy>,
    /// The one that came.
    pub after: Arc<Policy>,
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// The policy.
    Policy,
    /// The list of a network that keeps itself current.
    Feed,
}

/// The time of a spike, and how much it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// When it began.
    pub onset: Timestamp,
    /// Until when it is looked at.
    pub until: Timestamp,
    /// Refusals from then to then.
    pub observed: u64,
    /// As many as were to be expected.
    pub expected: u64,
}

/// A change counts that came at most so long before the onset, and a little after it: a bucket is not a moment.
const AFTER_ONSET: SignedDuration = SignedDuration::from_secs(60);
/// How many requests of the time before are looked at for what is usual.
const BASELINE: SignedDuration = SignedDuration::from_mins(10);
/// One principal with more than this share of what is left is a cause of its own, in percent.
const ONE_PRINCIPAL: u64 = 60;
/// What is less than this share of a spike is not named, in percent.
const NAMED: u64 = 2;
/// Causes that are named.
const CAUSES: usize = 3;
/// Requests on which a way back is tried.
const TRIED: usize = 2_000;

/// What one refused request is due to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Class {
    /// The change of this index.
    Change(usize),
    /// The upstream refuses whom it answered before.
    Upstream,
    /// Credentials do not verify any more of those whose did before.
    Keys,
    /// A software that nobody came with before.
    Release,
    /// Nobody that was ever let in.
    Attack,
    /// One principal that does what it may not.
    OnePrincipal(PrincipalKind, Box<str>),
    /// None of these.
    Other,
}

/// Explains a spike. `changes` are those of the last while, the oldest first; `lookback` is how long before the onset one may have come.
pub fn explain(window: &Window, sample: &Outlook, changes: &[RecentChange], lookback: SignedDuration) -> Explained {
    let from = window.onset.checked_sub(lookback).unwrap_or(Timestamp::MIN);
    let to = window.onset.checked_add(AFTER_ONSET).unwrap_or(Timestamp::MAX);
    let suspects: Vec<&RecentChange> = changes.iter().filter(|change| (from..=to).contains(&change.at)).collect();
    let familiar = Familiar::of(sample, window.onset);
    let within = |seen: &&Arc<Seen>| (window.onset..window.until).contains(&seen.request.now);
    let refused: Vec<&Seen> = sample.refusals.iter().filter(within).map(|seen| &**seen).collect();
    let before = window.onset.checked_sub(BASELINE).unwrap_or(Timestamp::MIN);
    let usual = |seen: &&Arc<Seen>| (before..window.onset).contains(&seen.request.now);
    let usual: Vec<&Seen> = sample.refusals.iter().filter(usual).map(|seen| &**seen).collect();
    let classes = classified(&refused, &suspects, &familiar);
    let usual_classes = classified(&usual, &suspects, &familiar);
    let excess = window.observed.saturating_sub(window.expected);
    let mut causes: Vec<(Class, u64)> = Vec::new();
    for (class, seens) in &classes {
        let usually = usual_classes.get(class).map_or(0, Vec::len);
        // The part of the class in all refusals, less its part in those that were to be expected.
        let observed = part(window.observed, seens.len(), refused.len());
        let expected = part(window.expected, usually, usual.len());
        causes.push((class.clone(), observed.saturating_sub(expected).min(excess)));
    }
    causes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| order(&a.0).cmp(&order(&b.0))));
    let mut left = excess;
    let mut named = Vec::new();
    for (class, requests) in causes {
        let requests = requests.min(left);
        let enough = requests > 0 && requests * 100 >= excess * NAMED;
        if class == Class::Other || !enough || named.len() == CAUSES {
            continue;
        }
        left -= requests;
        let seens = classes.get(&class).map(Vec::as_slice).unwrap_or_default();
        named.push(cause(&class, requests, excess, seens, &suspects, sample, &familiar));
    }
    let ruled_out = ruled_out(&suspects, &classes);
    Explained {
        onset: window.onset,
        until: window.until,
        observed: window.observed,
        expected: window.expected,
        looked_at: refused.len() as u64,
        causes: named,
        unexplained: left,
        ruled_out,
    }
}

fn part(whole: u64, some: usize, all: usize) -> u64 {
    if all == 0 { 0 } else { u64::try_from(u128::from(whole) * some as u128 / all as u128).unwrap_or(u64::MAX) }
}

/// Equals come in this order.
fn order(class: &Class) -> u8 {
    match class {
        Class::Change(_) => 0,
        Class::Upstream => 1,
        Class::Keys => 2,
        Class::Release => 3,
        Class::OnePrincipal(..) => 4,
        Class::Attack => 5,
        Class::Other => 6,
    }
}

fn classified<'s>(
    refused: &[&'s Seen],
    changes: &[&RecentChange],
    familiar: &Familiar,
) -> HashMap<Class, Vec<&'s Seen>> {
    let mut classes: HashMap<Class, Vec<&Seen>> = HashMap::new();
    for &seen in refused {
        classes.entry(class(seen, changes, familiar)).or_default().push(seen);
    }
    // Somebody who is known and is refused more than all others together.
    let others = classes.get(&Class::Other).map(Vec::as_slice).unwrap_or_default();
    let mut principals: HashMap<(PrincipalKind, Box<str>), u64> = HashMap::new();
    for principal in others.iter().filter_map(|seen| seen.request.principal()) {
        *principals.entry((principal.kind, principal.id.clone())).or_default() += 1;
    }
    let most = principals.into_iter().max_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(&a.0)));
    let one = most.filter(|(_, count)| count * 100 > others.len() as u64 * ONE_PRINCIPAL);
    if let Some(((kind, id), _)) = one {
        let is_it = |seen: &&Seen| seen.request.principal().is_some_and(|it| it.kind == kind && it.id == id);
        let (its, others) = others.iter().copied().partition(is_it);
        classes.insert(Class::Other, others);
        classes.insert(Class::OnePrincipal(kind, id), its);
    }
    classes
}

fn class(seen: &Seen, changes: &[&RecentChange], familiar: &Familiar) -> Class {
    let request = &seen.request;
    let code = match seen.answered {
        Answered::Permitted(_) if familiar.has_caller(request) => return Class::Upstream,
        Answered::Permitted(_) => return Class::Attack,
        Answered::Refused(code) => code,
    };
    // The last change that turned it is the one that did.
    let flips = |(_, change): &(usize, &&RecentChange)| is_due_to(change, seen, familiar);
    if let Some((index, _)) = changes.iter().enumerate().rev().find(flips) {
        return Class::Change(index);
    }
    let known = familiar.has_caller(request);
    let new_software = !familiar.has_software(request.software());
    let unread = code == ReasonCode::RequestMalformed && request.identity == KeptIdentity::NotLookedAt;
    // Behind a proxy, of what cannot be read nobody knows from whom it came: neither that they are known nor that they attack.
    if unread && request.client.ip().is_none() {
        return if new_software { Class::Release } else { Class::Other };
    }
    // What cannot be read is the software's doing, also where the head says too late which one that is.
    let nameless = request.software().is_empty() && unread;
    if known && (nameless || new_software) {
        return Class::Release;
    }
    match (code, known) {
        (
            ReasonCode::AuthnUnknownKey
            | ReasonCode::AuthnInvalid
            | ReasonCode::AuthnWrongIssuer
            | ReasonCode::AuthnNotYetValid
            | ReasonCode::DependencyKeysUnavailable,
            true,
        ) => Class::Keys,
        // What the gateway could not decide is nobody's attack.
        (
            ReasonCode::DependencyKeysUnavailable
            | ReasonCode::DependencyFeedStale
            | ReasonCode::DependencyStoreUnavailable
            | ReasonCode::DependencyDirectoryUnavailable,
            _,
        )
        | (_, true) => Class::Other,
        (_, false) => Class::Attack,
    }
}

/// Whether a change turned the answer to a request.
fn is_due_to(change: &RecentChange, seen: &Seen, familiar: &Familiar) -> bool {
    if seen.permitted() != Some(false) || seen.request.now < change.at {
        return false;
    }
    let answer = |policy| again(policy, &seen.request, &Unknown::default());
    let Again::Ruled(after) = answer(&change.after) else { return false };
    if after.outcome == Outcome::Permit {
        return false;
    }
    match answer(&change.before) {
        Again::Ruled(before) => before.outcome == Outcome::Permit,
        // At the door nobody looked at who it was. Before, the door was open; whoever is known there was let in.
        Again::Depends(Missing::Identity) => familiar.has_network(seen.request.client.ip()),
        Again::Depends(
            Missing::Claims | Missing::Cut | Missing::Country | Missing::Risk | Missing::Alert | Missing::Request,
        ) => false,
    }
}

fn cause(
    class: &Class,
    requests: u64,
    excess: u64,
    seens: &[&Seen],
    changes: &[&RecentChange],
    sample: &Outlook,
    familiar: &Familiar,
) -> Cause {
    let counts = |name: &dyn Fn(&KeptRequest) -> String| {
        let mut counts = Counts::default();
        seens.iter().for_each(|seen| counts.add(&name(&seen.request), 1));
        counts
    };
    let users = counts(&user);
    let networks = counts(&|request: &KeptRequest| network_text(request.client.ip()));
    let reasons = {
        let mut counts = Counts::default();
        seens.iter().for_each(|seen| counts.add(&answer(seen.answered), 1));
        counts
    };
    let known = seens.iter().filter(|seen| familiar.has_caller(&seen.request)).count();
    let who = format!(
        "{}, {} of {} let in before from there or by name",
        counted(users.distinct(), "caller", "callers"),
        number(known as u64),
        number(seens.len() as u64)
    );
    let top = |counts: &Counts| counts.top(1).into_iter().next().map(|count| count.name).unwrap_or_default();
    let (kind, summary, fix) = match class {
        Class::Change(index) => match changes.get(*index) {
            Some(change) => of_change(change, seens, &who, sample),
            None => (CauseKind::ConfigChange, who, None),
        },
        Class::Upstream => {
            let what = format!("permitted here, and answered with {} by the upstream itself; {who}", top(&reasons));
            (CauseKind::Upstream, what, None)
        }
        Class::Keys => {
            let what = format!("credentials that do not verify ({}); {who}: see the provider's keys", top(&reasons));
            (CauseKind::Keys, what, None)
        }
        Class::Release => {
            let software = top(&counts(&|request: &KeptRequest| request.software().to_owned()));
            let what = match &*software {
                "" => format!("what a software sends that is not named cannot be read ({})", top(&reasons)),
                software => format!("{software} is new here ({})", top(&reasons)),
            };
            (CauseKind::ClientRelease, format!("{what}; {who}"), None)
        }
        Class::OnePrincipal(..) => {
            (CauseKind::OnePrincipal, format!("{} alone ({})", top(&users), top(&reasons)), None)
        }
        Class::Attack => {
            let network = top(&networks);
            let paths = counts(&|request: &KeptRequest| request.path().to_owned());
            let what = format!(
                "from {}, most from {network}, {}, mostly {}; nobody there was let in before",
                counted(networks.distinct(), "network", "networks"),
                counted(paths.distinct(), "path", "different paths"),
                top(&reasons)
            );
            let share = networks.top(1).first().map_or(0, |count| count.requests);
            let one = share * 2 > seens.len() as u64 && !network.is_empty();
            let fix = one.then(|| Fix {
                command: format!("portcullis ban add --range {network} --for 1h --reason \"spike of refusals\""),
                preview: format!("refuses nobody who was let in before; {share} of these requests come from there"),
            });
            (CauseKind::Attack, what, fix)
        }
        Class::Other => (CauseKind::OnePrincipal, who, None),
    };
    Cause {
        kind,
        requests,
        share_percent: requests.saturating_mul(100).checked_div(excess).unwrap_or(0),
        summary,
        by_user: users.top(5),
        by_network: networks.top(5),
        by_reason: reasons.top(5),
        fix,
    }
}

fn of_change(change: &RecentChange, seens: &[&Seen], who: &str, sample: &Outlook) -> (CauseKind, String, Option<Fix>) {
    let short = |policy: &Policy| policy.sha256().get(..12).unwrap_or_default().to_owned();
    let rule = due_to(change, seens);
    let (kind, what) = match change.kind {
        ChangeKind::Policy => {
            (CauseKind::ConfigChange, format!("policy {} in place of {}", short(&change.after), short(&change.before)))
        }
        ChangeKind::Feed => (CauseKind::FeedChange, "another list of a network".to_owned()),
    };
    let summary = format!("{what} at {:.0} turned these away, by {rule}; {who}", change.at);
    // The way back, tried on what was asked for lately.
    let mut back = Tally::new(&change.after, &change.before);
    for seen in sample.recent.iter().rev().take(TRIED) {
        if let Some(permitted) = seen.permitted() {
            back.add(&seen.request, &Unknown::default(), Some(permitted), 1);
        }
    }
    let back = back.finish();
    let command = match change.kind {
        ChangeKind::Policy => format!("put the policy {} back, and `portcullis reload`", short(&change.before)),
        ChangeKind::Feed => {
            "look at it with `portcullis feed list`, and give the network fixed addresses until its source is right"
                .to_owned()
        }
    };
    let preview = format!(
        "of the last {} requests it would permit {} and refuse {} that are answered otherwise now",
        number(back.requests),
        number(back.newly_permitted.requests),
        number(back.newly_denied.requests)
    );
    (kind, summary, Some(Fix { command, preview }))
}

/// The rule that most of them are due to.
fn due_to(change: &RecentChange, seens: &[&Seen]) -> String {
    let mut rules = Counts::default();
    for seen in seens.iter().take(TRIED) {
        let mut tally = Tally::new(&change.before, &change.after);
        // Whoever was not looked at is counted as nobody, for whom the network decides alike.
        let name = tally.rule_of(&seen.request).unwrap_or_else(|| "the policy".to_owned());
        rules.add(&name, 1);
    }
    rules.top(1).into_iter().next().map_or_else(|| "the policy".to_owned(), |count| count.name)
}

fn answer(answered: Answered) -> String {
    match answered {
        Answered::Permitted(status) => status.to_string(),
        Answered::Refused(code) => code.code().to_owned(),
    }
}

/// Changes that came in time and turned nothing.
fn ruled_out(changes: &[&RecentChange], classes: &HashMap<Class, Vec<&Seen>>) -> Vec<String> {
    let mut said = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        if classes.contains_key(&Class::Change(index)) {
            continue;
        }
        let what = match change.kind {
            ChangeKind::Policy => "the policy of",
            ChangeKind::Feed => "the list of",
        };
        said.push(format!("{what} {:.0}: with it undone all of these would be refused as well", change.at));
    }
    said
}
