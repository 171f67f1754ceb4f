//! What was in force lately, beyond the process: so that what differs from one run to the next is a suspect, and what was changed just before a
//! process ended still is.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portcullis_insight::spike::{ChangeKind, Parts, RecentChange};
use portcullis_policy::Policy;
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
    /// What was around the policy.
    pub(crate) parts: Parts,
}

impl State {
    /// This policy and what is around it, in force in this program.
    pub(crate) fn of(policy: &Policy, parts: &Parts, at: Timestamp, is_start: bool) -> Self {
        Self {
            at: at.as_microsecond(),
            is_start,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            version: policy.version(),
            sha256: policy.sha256().to_owned(),
            calibration: policy.calibration().map(ToString::to_string),
            parts: parts.clone(),
        }
    }

    fn is_same_otherwise(&self, other: &Self) -> bool {
        Self { at: other.at, ..self.clone() } == *other
    }
}

/// Adds what is in force from now on. A process that begins again and again with the same is one state.
pub(crate) fn push(states: &mut Vec<State>, state: State) {
    let again = state.is_start && states.last().is_some_and(|last| last.is_same_otherwise(&state));
    let has_before = states.len() > 1;
    match states.last_mut().filter(|_| again && has_before) {
        Some(last) => *last = state,
        None => states.push(state),
    }
    let surplus = states.len().saturating_sub(MOST);
    states.drain(..surplus);
}

/// The changes that led from each of these to the next, of those that came within `lookback`. `policy_of` compiles the policy of one, where its files
/// are kept; the last one has `present`.
pub(crate) fn changes(
    states: &[State],
    present: &Arc<Policy>,
    (now, lookback): (Timestamp, Duration),
    mut policy_of: impl FnMut(&State) -> Option<Arc<Policy>>,
) -> Vec<RecentChange> {
    let edge = SignedDuration::try_from(lookback).ok().and_then(|lookback| now.checked_sub(lookback).ok());
    let edge = edge.unwrap_or(Timestamp::MIN).as_microsecond();
    let mut changes = Vec::new();
    for pair in states.windows(2) {
        let [before, after] = pair else { continue };
        // What is said to come later than now is of a clock that went wrong.
        let Some(at) = Timestamp::from_microsecond(after.at).ok().filter(|at| after.at >= edge && *at <= now) else {
            continue;
        };
        let is_last = states.last().is_some_and(|last| std::ptr::eq(last, after));
        let kinds = differences(before, after);
        let came = if is_last { Some(Arc::clone(present)) } else { policy_of(after) };
        let came = came.unwrap_or_else(|| Arc::clone(present));
        let mut start = after.is_start.then(|| {
            let same = "the gateway started again, with the same version";
            if before.program == after.program {
                format!("{same} ({})", after.program)
            } else {
                format!(
                    "the gateway started with version {} of the program in place of {}",
                    after.program, before.program
                )
            }
        });
        let mut note = |kind, before: &Arc<Policy>, about: &str| {
            let (before, after, about) = (Arc::clone(before), Arc::clone(&came), about.to_owned());
            changes.push(RecentChange { at, kind, before, after, about });
        };
        for kind in kinds {
            if !kind.is_replayed() {
                note(kind, &came, "");
                continue;
            }
            match policy_of(before) {
                Some(policy) => note(kind, &policy, ""),
                None => {
                    let what = " and with another policy, or another configuration around it, of which the one before is not kept";
                    start.get_or_insert_with(|| "the gateway went on".to_owned()).push_str(what);
                }
            }
        }
        if let Some(about) = start {
            note(ChangeKind::Start, &came, &about);
        }
    }
    changes
}

/// What differs. Of what is undone on requests one at most, with which the others are undone, too.
fn differences(before: &State, after: &State) -> Vec<ChangeKind> {
    let (one, other) = (&before.parts, &after.parts);
    let replayed = [
        (before.sha256 != after.sha256, ChangeKind::Policy),
        (one.routes != other.routes, ChangeKind::Routes),
        (one.others != other.others, ChangeKind::Configuration),
        (before.calibration != after.calibration, ChangeKind::Calibration),
    ];
    let blind = [
        (one.identity != other.identity, ChangeKind::Identity),
        (one.client_address != other.client_address, ChangeKind::ClientAddress),
    ];
    let replayed = replayed.into_iter().find(|(differs, _)| *differs);
    replayed.into_iter().chain(blind.into_iter().filter(|(differs, _)| *differs)).map(|(_, kind)| kind).collect()
}

#[cfg(test)]
mod tests {
    use portcullis_policy::PolicyDraft;

    use super::*;

    const NOW: i64 = 1_800_000_000_000_000;
    const MINUTE: i64 = 60_000_000;

    fn policy(sha256: &str) -> Arc<Policy> {
        let draft = PolicyDraft { sha256: sha256.into(), ..PolicyDraft::default() };
        Arc::new(Policy::compile(&draft).unwrap().0)
    }

    fn state(sha256: &str, minutes_ago: i64, is_start: bool) -> State {
        let at = Timestamp::from_microsecond(NOW - minutes_ago * MINUTE).unwrap();
        State::of(&policy(sha256), &Parts::default(), at, is_start)
    }

    fn noted(states: &[State], kept: &[&str]) -> Vec<(ChangeKind, String)> {
        let now = Timestamp::from_microsecond(NOW).unwrap();
        let present = policy(&states.last().unwrap().sha256);
        let of = |state: &State| kept.contains(&state.sha256.as_str()).then(|| policy(&state.sha256));
        let changes = changes(states, &present, (now, Duration::from_secs(15 * 60)), of);
        changes.into_iter().map(|change| (change.kind, change.about)).collect()
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
            [ChangeKind::Calibration, ChangeKind::Identity, ChangeKind::ClientAddress, ChangeKind::Start]
        );
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
}
