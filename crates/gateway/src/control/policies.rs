//! Policies beside each other: how two differ, and what another would have done to the events that are kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use jiff::Timestamp;
use portcullis_admin::api::{DiffWanted, PolicyDiffered, PolicySide, PolicyText, ReplayDone, ReplayWanted};
use portcullis_admin::{Told, Untried};
use portcullis_config::Loaded;
use portcullis_history::{Filter, for_each_event};
use portcullis_insight::replay::Replay;
use portcullis_policy::{DiffBounds, Policy, compare};

use super::archive::{Kept, a_day_before, moment};
use super::preview::{as_in_force, compile};
use super::{Operated, problem};
use crate::answers::difference::{for_people, to_report};
use crate::yielding::{Priority, yielding};

/// Events that are replayed at most, and where nobody says how many.
const MOST: u32 = 1_000_000;
const SOME: u32 = 100_000;
/// After so many events a processor is given away.
const AT_ONCE: u64 = 256;

/// Whoever reads a policy that is not in force, with all its memory: one after the other. Those that wait have places for what takes long, and are few.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(operated: &Operated, side: &PolicySide) -> Result<Arc<Policy>, Untried> {
    let in_force = |loaded: Loaded| {
        let policy = as_in_force(&operated.running, loaded, |work| work());
        policy.map(Arc::new).map_err(|error| Untried::Refused(problem(error)))
    };
    let governing = || {
        let governing = operated.running.governing();
        governing.ok_or_else(|| problem("versions are kept in the store, and there is none: add `[store]`"))
    };
    match side {
        PolicySide::InForce => Ok(Arc::clone(&operated.running.shared().snapshot().load().policy)),
        PolicySide::Policy(text) => {
            let read = compile(&operated.config, text).map_err(|error| Untried::Invalid(problem(error)))?;
            in_force(read)
        }
        PolicySide::Version(n) => in_force(governing()?.loaded(*n).map_err(problem)?),
        PolicySide::Change(id) => in_force(governing()?.loaded_change(id).map_err(problem)?),
    }
}

fn name(side: &PolicySide) -> String {
    match side {
        PolicySide::InForce => "in force".to_owned(),
        PolicySide::Version(n) => format!("version {n}"),
        PolicySide::Change(id) => format!("change {id}"),
        PolicySide::Policy(PolicyText { name, .. }) => name.clone(),
    }
}

/// How two differ.
pub(super) fn differ(operated: &Operated, wanted: &DiffWanted) -> Result<PolicyDiffered, Untried> {
    let now = moment("at", wanted.at.as_deref())?.unwrap_or_else(Timestamp::now);
    let _turn = turn();
    let compared = yielding("compare", Priority::Low, || {
        let (before, after) = (read(operated, &wanted.before)?, read(operated, &wanted.after)?);
        let bounds = DiffBounds { reasons: wanted.reasons, ..DiffBounds::default() };
        let found = compare(&before, &after, now, &bounds);
        let (names, policies) = ([&*name(&wanted.before), &*name(&wanted.after)], [&*before, &*after]);
        Ok::<_, Untried>(PolicyDiffered {
            text: for_people(names, policies, &found, now).trim_end().to_owned(),
            unchanged: found.classes.is_empty() && found.incomplete.is_empty(),
            report: to_report(names, policies, &found),
        })
    });
    compared.map_err(problem)?
}

/// What another policy would have done to the events of a time.
pub(super) fn replay(operated: &Operated, wanted: &ReplayWanted) -> Result<ReplayDone, Untried> {
    let limit = wanted.limit.unwrap_or(SOME);
    if !(1..=MOST).contains(&limit) {
        return Err(problem(format!("`limit` is from 1 to {MOST}")).into());
    }
    let since = moment("since", wanted.since.as_deref())?.or_else(|| a_day_before(Timestamp::now()));
    let filter = Filter { since, until: moment("until", wanted.until.as_deref())?, ..Filter::default() };
    let mut kept = Kept::of(&operated.running)?;
    let _turn = turn();
    let candidate = PolicySide::Policy(wanted.policy.clone());
    let (stamped, more, trouble) = yielding("replay", Priority::Lowest, || {
        let (present, candidate) = (read(operated, &PolicySide::InForce)?, read(operated, &candidate)?);
        let (mut replay, mut taken) = (Replay::new(&present, &candidate), 0_u64);
        let (more, trouble) = for_each_event(&kept.files, &filter, u64::from(limit), &mut |line| {
            replay.add(line);
            taken += 1;
            if taken.is_multiple_of(AT_ONCE) {
                thread::yield_now();
            }
        });
        let unreadable = trouble.too_long + trouble.malformed;
        if unreadable > 0 {
            replay.note_unreadable(unreadable);
        }
        Ok::<_, Untried>((replay.finish(), more, trouble))
    })
    .map_err(problem)??;
    kept.note(&trouble);
    Ok(ReplayDone {
        text: stamped.report.in_words(),
        unchanged: stamped.report.impact.is_none(),
        more,
        report: Told::of(&stamped).map_err(|error| problem(error.to_string()))?,
        notes: kept.notes,
    })
}
