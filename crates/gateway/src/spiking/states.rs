//! What was in force lately, beyond the process: so that what differs from one run to the next is a suspect, and what was changed just before a
//! process ended still is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portcullis_insight::spike::{ChangeKind, InForce, Parts, RecentChange};
use portcullis_policy::{NetworkContent, Policy};
use serde::{Deserialize, Serialize};

/// States that are kept.
const MOST: usize = 16;

/// What was in force from a moment on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    /// Microseconds since 1970.
    pub(crate) at: i64,
    /// The process began then.
    pub(crate) is_start: bool,
    /// The version of the program.
    pub(crate) program: String,
    /// The number of the policy's version, as far as they are counted.
    pub(crate) version: u64,
    /// The hash of the policy.
    pub(crate) sha256: String,
    /// The calibration of the risk, where one was in force.
    pub(crate) calibration: Option<String>,
    /// The one that was put in force last, whatever the policy said of it.
    #[serde(default)]
    pub(crate) put: Option<String>,
    /// What was around the policy.
    pub(crate) parts: Parts,
    /// The lists of the networks that have a source, by name.
    #[serde(default)]
    pub(crate) lists: BTreeMap<String, ListThen>,
}

/// Which list a network had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListThen {
    /// Of which source, and beside which addresses.
    origin: String,
    /// `None`: none was in force.
    sha256: Option<String>,
}

impl State {
    /// This is in force, in this program.
    pub(crate) fn of(in_force: &InForce, at: Timestamp, is_start: bool) -> Self {
        let InForce { policy, parts, put, .. } = in_force;
        let list = |(name, list): (&Arc<str>, &portcullis_policy::Listed)| {
            let sha256 = list.sha256.as_ref().map(ToString::to_string);
            (name.to_string(), ListThen { origin: list.origin.to_string(), sha256 })
        };
        Self {
            at: at.as_microsecond(),
            is_start,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            version: policy.version(),
            sha256: policy.sha256().to_owned(),
            calibration: policy.calibration().map(ToString::to_string),
            put: put.as_ref().map(ToString::to_string),
            parts: parts.clone(),
            lists: policy.lists().map(list).collect(),
        }
    }

    fn is_same_otherwise(&self, other: &Self) -> bool {
        Self { at: other.at, ..self.clone() } == *other
    }

    /// Whether nothing but lists differs since that, within one process.
    fn is_same_but_for_lists(&self, before: &Self) -> bool {
        let Self { at, is_start, lists, .. } = before.clone();
        !self.is_start && Self { at, is_start, lists, ..self.clone() } == *before
    }

    /// The lists that differ from those of before, of the same source: name, and what tells the one of before.
    fn lists_before<'s>(&self, before: &'s Self) -> impl Iterator<Item = (&'s str, Option<&'s str>)> {
        let differs = |(name, then): &(&String, &ListThen)| {
            self.lists.get(*name).is_some_and(|now| now.origin == then.origin && now.sha256 != then.sha256)
        };
        before.lists.iter().filter(differs).map(|(name, then)| (name.as_str(), then.sha256.as_deref()))
    }
}

/// Adds what is in force from now on. A process that begins again and again with the same is one state; and lists, which change by themselves, make
/// nobody forget what somebody changed: of states of which nothing but lists differs two become one first, as old as the first of them.
pub(crate) fn push(states: &mut Vec<State>, state: State) {
    let again = state.is_start && states.last().is_some_and(|last| last.is_same_otherwise(&state));
    let has_before = states.len() > 1;
    match states.last_mut().filter(|_| again && has_before) {
        Some(last) => *last = state,
        None => states.push(state),
    }
    if states.len() <= MOST {
        return;
    }
    let of_lists = |states: &[State]| match states {
        [before, first, second] => first.is_same_but_for_lists(before) && second.is_same_but_for_lists(first),
        _ => false,
    };
    match states.windows(3).position(of_lists) {
        Some(index) => {
            let first = states.remove(index + 1);
            if let Some(second) = states.get_mut(index + 1) {
                second.at = first.at;
            }
        }
        None => drop(states.remove(0)),
    }
    let surplus = states.len().saturating_sub(MOST);
    states.drain(..surplus);
}

/// Who knows what is kept of before: the policy of a state, where its files are; the same policy with the calibration of an id, or without one; the content
/// of a network with the list of a hash.
pub(super) struct Kept<P, C, L> {
    pub(super) policy_of: P,
    pub(super) calibrated: C,
    pub(super) list_of: L,
}

/// The changes that led from each of these to the next, of those that came within `lookback`. The last one has `present`.
pub(super) fn changes<P, C, L>(
    states: &[State],
    present: &Arc<Policy>,
    (now, lookback): (Timestamp, Duration),
    kept: &Kept<P, C, L>,
) -> Vec<RecentChange>
where
    P: Fn(&State) -> Option<Arc<Policy>>,
    C: Fn(&Policy, Option<&str>) -> Option<Policy>,
    L: Fn(&str, Option<&str>) -> Option<NetworkContent>,
{
    let edge = SignedDuration::try_from(lookback).ok().and_then(|lookback| now.checked_sub(lookback).ok());
    let edge = edge.unwrap_or(Timestamp::MIN).as_microsecond();
    let mut changes = Vec::new();
    for pair in states.windows(2) {
        let [before, after] = pair else { continue };
        // What is said to come later than now is of a clock that went wrong.
        let Some(at) = Timestamp::from_microsecond(after.at).ok().filter(|at| after.at >= edge && *at <= now) else {
            continue;
        };
        let last = states.last().unwrap_or(after);
        let files_of = |state: &State| {
            // What is in force still need not be kept.
            let is_in_force = state.sha256 == last.sha256 && compiled_around(state) == compiled_around(last);
            if is_in_force { Some(Arc::clone(present)) } else { (kept.policy_of)(state) }
        };
        let came = match std::ptr::eq(last, after) {
            true => Arc::clone(present),
            false => files_of(after).map_or_else(
                || Arc::clone(present),
                |policy| {
                    let calibrated = (kept.calibrated)(&policy, after.calibration.as_deref());
                    Arc::new(calibrated.unwrap_or_else(|| policy.with_calibration_of(present)))
                },
            ),
        };
        let (mut contents, mut gone) = (Vec::new(), Vec::new());
        for (name, sha256) in after.lists_before(before) {
            match (kept.list_of)(name, sha256) {
                Some(content) => contents.push(content),
                None => gone.push(name),
            }
        }
        let files = files_of(before);
        let is_missing = files.is_none() && is_otherwise_compiled(before, after);
        let then = files.unwrap_or_else(|| Arc::clone(&came));
        let calibrated = (kept.calibrated)(&then, before.calibration.as_deref());
        let is_uncalibrated = calibrated.is_none();
        let then = calibrated.unwrap_or_else(|| then.with_calibration_of(&came));
        let listed = (!contents.is_empty()).then(|| then.with_networks(&contents));
        if let Some(Err(_)) = listed {
            gone.extend(contents.iter().map(|content| &*content.name));
        }
        let then = listed.and_then(Result::ok).unwrap_or(then);
        let in_force = |policy, state: &State, reading| {
            let (parts, put) = (state.parts.clone(), state.put.as_deref().map(Arc::from));
            InForce { policy, staged: None, reading, parts, put }
        };
        let (then, now) = (in_force(Arc::new(then), before, 0), in_force(Arc::clone(&came), after, 1));
        let is_told = |change: &RecentChange| !(is_missing && is_of_files(change.kind));
        changes.extend(now.changes_from(&then, at).into_iter().filter(is_told));
        let mut note = |about: String| {
            let (before, after, kind) = (Arc::clone(&came), Arc::clone(&came), ChangeKind::Start);
            changes.push(RecentChange { at, kind, before, together: None, after, about });
        };
        if !gone.is_empty() {
            note(format!("another list of the network {}, of which the one before is not kept,", gone.join(", ")));
        }
        if is_uncalibrated && before.calibration != after.calibration {
            note("another calibration of the risk, of which the one before is not kept,".to_owned());
        }
        if let Some(about) = started(before, after, is_missing) {
            note(about);
        }
    }
    changes
}

/// What is compiled with a policy.
fn compiled_around(state: &State) -> (&str, &str) {
    (&state.parts.routes, &state.parts.others)
}

fn is_otherwise_compiled(before: &State, after: &State) -> bool {
    before.sha256 != after.sha256 || compiled_around(before) != compiled_around(after)
}

fn is_of_files(kind: ChangeKind) -> bool {
    matches!(kind, ChangeKind::Policy | ChangeKind::Routes | ChangeKind::Configuration)
}

/// What is said of a start, or of a change of which what was before is not kept.
fn started(before: &State, after: &State, is_missing: bool) -> Option<String> {
    let same = "the gateway started again, with the same version";
    let mut said = match after.is_start {
        true if before.program == after.program => format!("{same} ({})", after.program),
        true => {
            format!("the gateway started with version {} of the program in place of {}", after.program, before.program)
        }
        false if is_missing => "the gateway went on".to_owned(),
        false => return None,
    };
    if is_missing {
        said.push_str(
            " and with another policy, or another configuration around it, of which the one before is not kept",
        );
    }
    Some(said)
}

#[cfg(test)]
mod tests {
    use portcullis_policy::{Listed, NetworkDraft, PolicyDraft};

    use super::*;

    const NOW: i64 = 1_800_000_000_000_000;
    const MINUTE: i64 = 60_000_000;

    fn policy(sha256: &str) -> Arc<Policy> {
        let network = NetworkDraft { name: "partner".to_owned().into(), ..NetworkDraft::default() };
        let draft = PolicyDraft {
            sha256: sha256.into(),
            networks: vec![network],
            keep_prefixes: true,
            ..PolicyDraft::default()
        };
        Arc::new(Policy::compile(&draft).unwrap().0)
    }

    /// What the network holds with this list.
    fn content(list: &str) -> NetworkContent {
        let prefixes = vec![format!("{list}/32").parse().unwrap()].into();
        let list = Some(Listed { origin: "source".into(), sha256: Some(list.into()) });
        NetworkContent { name: "partner".into(), prefixes, unknown: false, list }
    }

    fn state(sha256: &str, minutes_ago: i64, is_start: bool) -> State {
        listed(sha256, None, minutes_ago, is_start)
    }

    fn listed(sha256: &str, list: Option<&str>, minutes_ago: i64, is_start: bool) -> State {
        let at = Timestamp::from_microsecond(NOW - minutes_ago * MINUTE).unwrap();
        let contents: Vec<NetworkContent> = list.map(content).into_iter().collect();
        let policy = Arc::new(policy(sha256).with_networks(&contents).unwrap());
        let in_force = InForce { policy, staged: None, reading: 0, parts: Parts::default(), put: None };
        State::of(&in_force, at, is_start)
    }

    fn all(states: &[State], policies: &[&str], lists: &[&str]) -> Vec<RecentChange> {
        let now = Timestamp::from_microsecond(NOW).unwrap();
        let last = states.last().unwrap();
        let list = last.lists.get("partner").and_then(|list| list.sha256.as_deref());
        let contents: Vec<NetworkContent> = list.map(content).into_iter().collect();
        let present = policy(&last.sha256).with_networks(&contents).unwrap();
        let calibrated = |policy: &Policy, id: Option<&str>| {
            (id != Some("gone")).then(|| policy.with_calibration(id.map(|id| (id.into(), [None; 3]))))
        };
        let kept = Kept {
            policy_of: |state: &State| policies.contains(&state.sha256.as_str()).then(|| policy(&state.sha256)),
            calibrated,
            list_of: |_: &str, sha256: Option<&str>| sha256.filter(|sha256| lists.contains(sha256)).map(content),
        };
        let present = Arc::new(calibrated(&present, last.calibration.as_deref()).unwrap());
        changes(states, &present, (now, Duration::from_secs(15 * 60)), &kept)
    }

    fn noted(states: &[State], kept: &[&str]) -> Vec<(ChangeKind, String)> {
        all(states, kept, &[]).into_iter().map(|change| (change.kind, change.about)).collect()
    }

    fn kinds(states: &[State], kept: &[&str]) -> Vec<ChangeKind> {
        noted(states, kept).into_iter().map(|(kind, _)| kind).collect()
    }

    #[test]
    fn what_differs_from_the_last_run_is_a_change() {
        let first = state("aa", 30, true);
        assert_eq!(kinds(&[first.clone(), state("aa", 1, true)], &["aa"]), [ChangeKind::Start]);
        assert_eq!(kinds(&[first.clone(), state("bb", 1, true)], &["aa"]), [ChangeKind::Policy, ChangeKind::Start]);
        // A reload of before the start, too.
        let states = [first.clone(), state("bb", 5, false), state("bb", 1, true)];
        assert_eq!(kinds(&states, &["aa", "bb"]), [ChangeKind::Policy, ChangeKind::Start]);
        // Too long ago, or said to be yet to come.
        assert_eq!(kinds(&[first.clone(), state("bb", 16, true)], &["aa"]), []);
        assert_eq!(kinds(&[first.clone(), state("bb", -3, true)], &["aa"]), []);
        let mut other = state("aa", 1, true);
        other.parts.identity = "i".to_owned();
        other.parts.client_address = "c".to_owned();
        other.calibration = Some("c1-00000000".to_owned());
        assert_eq!(
            kinds(&[first, other], &["aa"]),
            [ChangeKind::Identity, ChangeKind::ClientAddress, ChangeKind::Calibration, ChangeKind::Start]
        );
        // A calibration of before that is not kept is none that could be undone.
        let mut first = state("aa", 30, true);
        first.calibration = Some("gone".to_owned());
        let said = noted(&[first, state("aa", 1, true)], &[]);
        assert_eq!(said[0].1, "another calibration of the risk, of which the one before is not kept,");
        assert_eq!(said.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [ChangeKind::Start; 2]);
    }

    #[test]
    fn a_start_says_which_version_and_what_is_not_kept() {
        let mut first = state("aa", 30, true);
        first.program = "0.0.1".to_owned();
        let said = noted(&[first.clone(), state("aa", 1, true)], &[]);
        let version = env!("CARGO_PKG_VERSION");
        let upgraded = format!("the gateway started with version {version} of the program in place of 0.0.1");
        assert_eq!(said, [(ChangeKind::Start, upgraded.clone())]);
        let said = noted(&[first, state("bb", 1, true)], &[]);
        assert!(said.len() == 1 && said[0].1.starts_with(&upgraded), "{said:?}");
        assert!(said[0].1.ends_with("of which the one before is not kept"), "{said:?}");
    }

    /// The list of before is looked for by its hash, and the policy of before is another matter.
    #[test]
    fn a_list_that_differs_from_the_last_run_is_a_change_where_the_one_before_is_kept() {
        let [one, two] = ["192.0.2.1", "192.0.2.2"];
        let first = listed("aa", Some(one), 30, true);
        let with = |states: &[State], policies: &[&str], lists: &[&str]| -> Vec<(ChangeKind, String)> {
            all(states, policies, lists).into_iter().map(|change| (change.kind, change.about)).collect()
        };
        let kinds = |said: &[(ChangeKind, String)]| said.iter().map(|(kind, _)| *kind).collect::<Vec<_>>();
        let (list, start) = ((ChangeKind::Feed, "partner".to_owned()), ChangeKind::Start);
        let (policy, feed) = (ChangeKind::Policy, ChangeKind::Feed);
        // While it was down, just before it ended, and with another policy.
        let down = [first.clone(), listed("aa", Some(two), 1, true)];
        assert_eq!(with(&down, &[], &[one])[0], list);
        let before = [first.clone(), listed("aa", Some(two), 5, false), listed("aa", Some(two), 1, true)];
        assert_eq!(kinds(&with(&before, &[], &[one])), [feed, start]);
        let with_a_policy = [first.clone(), listed("bb", Some(two), 1, true)];
        assert_eq!(kinds(&with(&with_a_policy, &["aa"], &[one])), [policy, feed, start]);
        // Undone is the list alone.
        let change = &all(&with_a_policy, &["aa"], &[one])[1];
        let is_in = |policy: &Policy, address: &str| policy.is_in_network("partner", address.parse().unwrap());
        assert_eq!((is_in(&change.before, one), is_in(&change.before, two)), (Some(true), Some(false)));
        assert_eq!((is_in(&change.after, one), change.before.sha256()), (Some(false), "bb"));
        // What is gone is never a cause, and said.
        let said = with(&down, &[], &[]);
        assert_eq!(kinds(&said), [start, start]);
        assert_eq!(said[0].1, "another list of the network partner, of which the one before is not kept,");
        // The same list, another source, and no list before that is known of.
        assert_eq!(kinds(&with(&[first.clone(), listed("aa", Some(one), 1, true)], &[], &[one])), [start]);
        let mut elsewhere = listed("aa", Some(two), 1, true);
        elsewhere.lists.get_mut("partner").unwrap().origin = "elsewhere".to_owned();
        assert_eq!(kinds(&with(&[first, elsewhere], &[], &[one])), [start]);
        assert_eq!(kinds(&with(&[state("aa", 30, true), listed("aa", Some(two), 1, true)], &[], &[one])), [start]);
    }

    /// What was kept by a version that did not note lists is read.
    #[test]
    fn a_state_without_lists_is_read() {
        let mut state = serde_json::to_value(state("aa", 1, true)).unwrap();
        let fields = state.as_object_mut().unwrap();
        assert!(fields.remove("lists").is_some() && fields.remove("put").is_some());
        assert!(serde_json::from_value::<State>(state).unwrap().lists.is_empty());
    }

    /// A process that is started again each second makes nobody forget what was before it.
    #[test]
    fn starts_with_the_same_are_one_state() {
        let mut states = vec![state("aa", 30, true)];
        for minutes in (1..20).rev() {
            push(&mut states, state("bb", minutes, true));
        }
        assert_eq!(states, [state("aa", 30, true), state("bb", 1, true)]);
        for number in 0..40 {
            push(&mut states, state(&format!("{number:02x}"), 0, false));
        }
        assert_eq!((states.len(), states[0].sha256.as_str()), (MOST, "18"));
    }

    /// Nor does a list that changes each second; and none of its changes is younger than it was.
    #[test]
    fn lists_that_change_all_the_time_make_nobody_forget_what_else_changed() {
        let mut states = vec![state("aa", 300, true)];
        for minutes in (100..200).rev() {
            push(&mut states, listed("bb", Some(&format!("192.0.2.{minutes}")), minutes, false));
        }
        push(&mut states, listed("cc", Some("192.0.2.100"), 99, false));
        let shas: Vec<&str> = states.iter().map(|state| state.sha256.as_str()).collect();
        assert_eq!((shas.len(), shas[0], shas[1], shas[MOST - 1]), (MOST, "aa", "bb", "cc"));
        assert_eq!(states[1].at, NOW - 199 * MINUTE);
        // The last ones are kept one by one, and what came of the first ones begins with the first of them.
        assert_eq!(states[2].at, NOW - 198 * MINUTE);
        assert_eq!(states[MOST - 2].at, NOW - 100 * MINUTE);
    }
}
