//! Audits that are made by themselves: when one is due, what is done where it cannot be made, and what the last one came to.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portcullis_events::EventKind;
use portcullis_insight::audit::{Report, Schedule, Severity};

use super::{ANOTHER, LOOK, State};

/// After a failure it is tried again, and after each further one later: up to so much.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// What an audit came to.
#[derive(Debug, Clone)]
pub(crate) struct Latest {
    /// What it is called.
    pub(crate) run: String,
    /// When it was made, RFC 3339.
    pub(crate) at: String,
    /// Open findings of each severity, the worst first.
    pub(crate) counts: Vec<(Severity, usize)>,
}

impl Latest {
    pub(crate) fn of(report: &Report) -> Self {
        Self { run: report.run.clone(), at: report.at.clone(), counts: report.counts() }
    }
}

/// How scheduled audits do.
#[derive(Debug, Default)]
pub(super) struct Scheduled {
    /// When this process made one by itself last: by a clock that nobody sets.
    made: Option<Instant>,
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Failing {
    why: String,
    since: Timestamp,
    times: u32,
    next: Instant,
}

impl Scheduled {
    /// Why none is made; `None`: they are.
    pub(super) fn trouble(&self) -> Option<String> {
        let failing = self.failing.as_ref()?;
        Some(format!("{} (since {:.0}, tried {} times)", failing.why, failing.since, failing.times))
    }

    /// One could not be made. Says whether somebody must hear of it: the first time, and where the reason is another one.
    fn note_failure(&mut self, why: &str, now: Timestamp) -> bool {
        let before = self.failing.take();
        let is_news = before.as_ref().is_none_or(|before| before.why != why);
        let times = before.as_ref().map_or(0, |before| before.times).saturating_add(1);
        let wait = LOOK.saturating_mul(1 << times.saturating_sub(1).min(6)).min(LONGEST_WAIT);
        let since = before.map_or(now, |before| before.since);
        self.failing = Some(Failing { why: why.to_owned(), since, times, next: Instant::now() + wait });
        is_news
    }

    fn waits(&self) -> bool {
        self.failing.as_ref().is_some_and(|failing| Instant::now() < failing.next)
    }
}

impl State {
    /// Makes an audit if one is due. One that somebody asks for puts none off.
    pub(super) fn audit_if_due(&self) {
        let facts = self.facts.load();
        let Some(schedule) = facts.settings.as_ref().and_then(|settings| settings.schedule.as_ref()) else { return };
        let now = Timestamp::now();
        let last = match self.last_scheduled(schedule, now.as_second()) {
            Ok(last) => last,
            Err(error) => return self.failed(&format!("it cannot be said when the last audit was: {error}"), now),
        };
        {
            let scheduled = self.scheduled();
            let made = scheduled.made.map(|made| made.elapsed());
            if scheduled.waits() || !schedule.is_due(made, last, now.as_second()) {
                return;
            }
        }
        match self.audit(&facts.config, None).and_then(|_| self.note_scheduled(now.as_second())) {
            Ok(()) => *self.scheduled() = Scheduled { made: Some(Instant::now()), failing: None },
            // It is made by somebody else: this one is made once that is done.
            Err(error) if error == ANOTHER => {}
            Err(error) => self.failed(&error, now),
        }
    }

    fn failed(&self, why: &str, now: Timestamp) {
        if self.scheduled().note_failure(why, now) {
            tracing::error!(error = why, "the scheduled audit was not made");
            self.record(EventKind::AuditFailed, format!("the scheduled audit was not made: {why}"));
        }
    }

    fn scheduled(&self) -> std::sync::MutexGuard<'_, Scheduled> {
        self.scheduled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_scheduled(&self, at: i64) -> Result<(), String> {
        self.book().note_scheduled(at).map_err(|error| error.to_string())
    }

    /// When one was made by itself last. An earlier version did not write that: then the last run of any kind counts. Of an hour of a day nobody has
    /// begun yet, none was missed.
    fn last_scheduled(&self, schedule: &Schedule, now: i64) -> Result<Option<i64>, String> {
        let (kept, runs) = {
            let book = self.book();
            let kept = book.scheduled().map_err(|error| error.to_string())?;
            (kept, if kept.is_none() { book.runs().map_err(|error| error.to_string())? } else { Vec::new() })
        };
        match (kept.or(runs.first().map(|(_, at)| *at)), schedule) {
            (None, Schedule::Weekly(_)) => {
                self.note_scheduled(now)?;
                Ok(Some(now))
            }
            (last, _) => Ok(last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_once_and_tried_again_later_and_later() {
        let now = Timestamp::UNIX_EPOCH;
        let mut scheduled = Scheduled::default();
        assert!(!scheduled.waits() && scheduled.trouble().is_none());
        let told: Vec<bool> =
            ["full", "full", "gone", "gone", "full"].iter().map(|why| scheduled.note_failure(why, now)).collect();
        assert_eq!(told, [true, false, true, false, true]);
        assert!(scheduled.waits());
        assert_eq!(scheduled.trouble().as_deref(), Some("full (since 1970-01-01T00:00:00Z, tried 5 times)"));
        let wait = |scheduled: &Scheduled| scheduled.failing.as_ref().unwrap().next.duration_since(Instant::now());
        assert!(wait(&scheduled) > 15 * LOOK && wait(&scheduled) <= 16 * LOOK);
        for _ in 0..100 {
            scheduled.note_failure("full", now);
        }
        assert!(wait(&scheduled) <= LONGEST_WAIT, "it is tried again");
    }
}
