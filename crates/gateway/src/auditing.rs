//! Usage and audits of the running gateway: the thread that takes what the workers have counted, writes it down every ten seconds, and makes
//! the audits that are scheduled. An audit runs on a thread of its own, which yields to whatever serves requests.

mod applying;
mod directories;
mod look;
mod rows;
mod scheduled;
mod suppressing;
mod telling;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use portcullis_admin::audit::Prepared;
use portcullis_insight::audit::{Report, Suppression, Usage};
use portcullis_policy::RuleKind;
use portcullis_proxy::Shared;
use portcullis_proxy::usage::Used;
use portcullis_store::{AuditBook, Database, StoreError};

use crate::governing::Governing;
use crate::insight::Insight;
use crate::yielding::{Priority, yielding};

pub(crate) use applying::{InPlaceOf, Wanted, prepare};
pub(crate) use look::{Facts, Looked, draft_in_force, look, past_of};
pub(crate) use rows::{from_rows, suppression_of, to_rows};
pub(crate) use scheduled::Latest;
use scheduled::Scheduled;
pub(crate) use suppressing::{Suppressor, suppress};

/// How often what was counted is taken.
const TICK: Duration = Duration::from_secs(1);
/// How often it is written down: what a process that is killed loses.
const FLUSH: Duration = Duration::from_secs(10);
/// Rows of one transaction.
const BATCH: usize = 10_000;
/// How often it is looked whether an audit is due, and after a failure tried again; and how soon after the start, so that one that became due
/// meanwhile is not made while all else begins.
const LOOK: Duration = Duration::from_secs(60);
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// How often what is long unused is forgotten, and what is long: longer than any window, and a month. Where room is short, the window and a month.
const PRUNE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a process must have run before it is believed that its clock is right: then what is later than now is taken to be of now.
const SETTLED: Duration = Duration::from_secs(60 * 60);
/// What is said to who wants one while one is being made.
const ANOTHER: &str = "another audit is being made";
/// By how much a time may be later than now, in seconds.
const AHEAD_S: i64 = 5 * 60;
const FORGOTTEN_AFTER_S: i64 = 400 * 24 * 60 * 60;
const MONTH_S: i64 = 32 * 24 * 60 * 60;
/// Runs of one second and of the same findings.
const MOST_OF_A_NAME: u32 = 1_000;

/// Usage and audits.
#[derive(Debug)]
pub(crate) struct Auditing {
    state: Arc<State>,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct State {
    shared: Arc<Shared>,
    /// Held for moments, and by no request.
    usage: Mutex<Usage>,
    /// Held while the store is written.
    book: Mutex<AuditBook>,
    facts: ArcSwap<Facts>,
    governing: Option<Arc<Governing>>,
    /// Whose sample of requests proposals are tried on; `None`: there is none.
    insight: Option<Arc<Insight>>,
    /// Held while an audit is made, so that only one is at a time.
    looking: Mutex<()>,
    /// How scheduled audits do.
    scheduled: Mutex<Scheduled>,
    /// What the last audit came to.
    latest: ArcSwapOption<Latest>,
}

/// A run, and the change that was wanted of it.
pub(crate) type Made = (Report, Option<Result<Prepared, String>>);

/// What an earlier process has counted.
#[derive(Debug)]
pub(crate) struct Begun {
    usage: Usage,
    book: AuditBook,
}

impl Begun {
    /// Takes up what was counted; `None`: nothing is to be counted, and what is counted later begins anew.
    pub(crate) fn open(wanted: bool, database: Option<&Database>) -> Result<Option<Self>, StoreError> {
        let Some(database) = database else { return Ok(None) };
        let book = AuditBook::open(database)?;
        if !wanted {
            book.end_observation()?;
            return Ok(None);
        }
        let now = Timestamp::now().as_second();
        book.date_marks(now)?;
        let mut usage = from_rows(book.usage()?, now);
        if usage.since().is_none() {
            usage.begin(now);
        }
        Ok(Some(Self { usage, book }))
    }
}

impl Auditing {
    /// Begins to take what is counted.
    ///
    /// # Errors
    /// No thread.
    pub(crate) fn start(
        begun: Begun,
        facts: Facts,
        governing: Option<Arc<Governing>>,
        insight: Option<Arc<Insight>>,
        shared: &Arc<Shared>,
    ) -> std::io::Result<Self> {
        let Begun { usage, book } = begun;
        let latest = last_report(&book).unwrap_or_else(|error| {
            tracing::warn!(error, "the last audit cannot be read");
            None
        });
        let latest = latest.as_ref().map(Latest::of);
        let state = Arc::new(State {
            shared: Arc::clone(shared),
            usage: Mutex::new(usage),
            book: Mutex::new(book),
            facts: ArcSwap::from_pointee(facts),
            governing,
            insight,
            looking: Mutex::new(()),
            scheduled: Mutex::default(),
            latest: ArcSwapOption::from(latest.map(Arc::new)),
        });
        let stop = Arc::new(AtomicBool::new(false));
        let (taking, stopped) = (Arc::clone(&state), Arc::clone(&stop));
        let thread = thread::Builder::new().name("usage".to_owned()).spawn(move || taking.run(&stopped))?;
        Ok(Self { state, stop, thread: Mutex::new(Some(thread)) })
    }

    /// Another configuration is in force.
    pub(crate) fn replace(&self, mut facts: Facts) {
        // Whether anything is counted is fixed while the process runs.
        if facts.settings.is_none() {
            facts.settings.clone_from(&self.state.facts.load().settings);
        }
        self.state.facts.store(Arc::new(facts));
    }

    /// Makes an audit now, over the requests of the sample, too; and what is wanted of it a change, or says why not.
    ///
    /// # Errors
    /// A sentence: another one is being made, or the store cannot be used.
    pub(crate) fn run(&self, config: &Path, wanted: Option<&Wanted>) -> Result<Made, String> {
        self.state.audit(config, wanted)
    }

    /// What audits are kept with: asked for a moment.
    pub(crate) fn with_book<T>(&self, ask: impl FnOnce(&AuditBook) -> Result<T, StoreError>) -> Result<T, String> {
        ask(&self.state.book()).map_err(|error| error.to_string())
    }

    /// What the last audit came to; `None`: none is kept.
    pub(crate) fn latest(&self) -> Option<Arc<Latest>> {
        self.state.latest.load_full()
    }

    /// Why the audits that are scheduled are not made; `None`: they are.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.state.scheduled.lock().unwrap_or_else(PoisonError::into_inner).trouble()
    }

    /// Takes and writes what is left.
    pub(crate) fn shutdown(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            thread.thread().unpark();
            // A panic on that thread was reported where it happened.
            let _ = thread.join();
        }
    }
}

impl State {
    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn book(&self) -> MutexGuard<'_, AuditBook> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, stopped: &AtomicBool) {
        let mut flushed = Instant::now();
        let mut next_forget = Instant::now() + SETTLED;
        let mut next_look = Instant::now() + FIRST_LOOK;
        let mut failed = false;
        while !stopped.load(Ordering::Acquire) {
            self.take();
            if flushed.elapsed() >= FLUSH {
                flushed = Instant::now();
                self.flush(&mut failed);
            }
            if Instant::now() >= next_look {
                next_look = Instant::now() + LOOK;
                self.tell_untold();
                self.tell_ended(Timestamp::now().as_second());
                self.audit_if_due();
            }
            if Instant::now() >= next_forget {
                next_forget = Instant::now() + PRUNE;
                self.forget(Timestamp::now().as_second());
            }
            thread::park_timeout(TICK);
        }
        self.take();
        self.usage().end_beats();
        self.flush(&mut failed);
    }

    /// Takes what the workers have handed over, and notes that somebody does.
    fn take(&self) {
        let Some(lanes) = &self.shared.usage else { return };
        let mut usage = self.usage();
        lanes.take(|used| absorb(&mut usage, &used));
        usage.beat(Timestamp::now().as_second());
    }

    /// Writes what has changed. What cannot be written waits in memory, where it is anyway.
    fn flush(&self, failed: &mut bool) {
        loop {
            let part = {
                let mut usage = self.usage();
                if !usage.has_changes() {
                    break;
                }
                usage.take_changes(BATCH)
            };
            // The file is written while nobody waits for the counts.
            let written = self.book().write(&to_rows(&part));
            if let Err(error) = written {
                self.usage().give_back(&part);
                if !*failed {
                    tracing::error!(%error, "what was used cannot be written down: a restart would lose it");
                }
                *failed = true;
                return;
            }
        }
        if std::mem::take(failed) {
            tracing::info!("what was used is written down again");
        }
    }

    /// Forgets what is long unused, in memory and in the store. What is later than now is of a clock that went wrong, and is taken to be of now.
    fn forget(&self, now: i64) {
        let latest = now.saturating_add(AHEAD_S);
        self.usage().clamp(latest);
        if let Err(error) = self.book().clamp(latest) {
            tracing::warn!(%error, "usage that is said to be of the future could not be dated");
        }
        let before = {
            let mut usage = self.usage();
            let facts = self.facts.load();
            let window = facts.settings.as_ref().map(|settings| settings.unused_after.max(settings.min_observed));
            let before = forgotten_before(now, window.unwrap_or_default(), usage.is_nearly_full());
            usage.prune(before);
            before
        };
        if let Err(error) = self.book().prune(before) {
            tracing::warn!(%error, "usage of long ago could not be forgotten");
        }
    }

    fn audit(&self, config: &Path, wanted: Option<&Wanted>) -> Result<Made, String> {
        let Ok(_looking) = self.looking.try_lock() else { return Err(ANOTHER.to_owned()) };
        self.take();
        let facts = self.facts.load_full();
        let settings = facts.settings.clone().unwrap_or_default();
        let now = Timestamp::now();
        let usage = self.usage().clone();
        let (before, suppressions, key_uses) = {
            let book = self.book();
            (last_report(&book)?, suppressions(&book)?, book.key_uses())
        };
        // What this process has seen, and what is written of what others have.
        let mut seen = self.shared.snapshot().load().authenticator.key_uses();
        let key_uses = key_uses.map_err(|error| error.to_string()).map(|mut written| {
            written.append(&mut seen);
            written
        });
        let sample = self.insight.as_ref().map(|insight| insight.outlook());
        let policy = Arc::clone(&self.shared.snapshot().load().policy);
        let governing = self.governing.as_deref();
        let (mut report, prepared) = yielding("audit", Priority::Low, || {
            let (draft, files) = draft_in_force(governing, config, &policy)?;
            let past = past_of(governing, config, &settings, &usage, now);
            let looked = Looked {
                facts: &facts,
                draft: &draft,
                files: &files,
                known: &Facts::with_key_uses(facts.ask_directories(&draft), key_uses),
                usage: &usage,
                sample: sample.as_ref(),
                past,
                suppressions: &suppressions,
                before: before.as_ref(),
                version: policy.version(),
                now,
            };
            let report = look(&looked)?;
            let believed = governing.is_none_or(|governing| !governing.is_required());
            let place =
                InPlaceOf { on_disk: believed.then_some(config), live: governing.map(|governing| governing.n()) };
            let prepared = wanted.map(|wanted| prepare(&looked, &report, wanted, place));
            Ok::<_, String>((report, prepared))
        })??;
        let keep = self.facts.load().settings.as_ref().map_or(1, |settings| settings.keep);
        keep_run(&mut self.book(), &mut report, keep)?;
        self.latest.store(Some(Arc::new(Latest::of(&report))));
        self.tell(&report, before.as_ref());
        Ok((report, prepared))
    }
}

/// What was neither used nor refused since then is forgotten.
fn forgotten_before(now: i64, window: Duration, nearly_full: bool) -> i64 {
    let window = i64::try_from(window.as_secs()).unwrap_or(i64::MAX).saturating_add(MONTH_S);
    now.saturating_sub(if nearly_full { window.min(FORGOTTEN_AFTER_S) } else { FORGOTTEN_AFTER_S })
}

/// Counts what a worker has counted.
fn absorb(usage: &mut Usage, used: &Used) {
    for each in &used.uses {
        let Some(words) = used.policy.used_words(each.action) else { continue };
        usage.note(each.who.as_deref(), (words.route, &words.action), each.permitted, each.times, each.last);
        if let Some(rule) = words.assignment.filter(|_| each.permitted) {
            usage.note_rule(RuleKind::Assignment, &rule.name, u64::from(each.times), each.last);
        }
    }
    for (address, times) in &used.addresses {
        usage.note_address(*address, u64::from(*times), used.until);
    }
    for (kind, name, times) in &used.refusing {
        usage.note_rule(*kind, name, u64::from(*times), used.until);
    }
    usage.note_missed(used.missed, used.addresses_missed, used.until);
}

/// The last run that is kept. One that an earlier version wrote in another shape is as good as none.
pub(crate) fn last_report(book: &AuditBook) -> Result<Option<Report>, String> {
    let runs = book.runs().map_err(|error| error.to_string())?;
    let Some((run, _)) = runs.first() else { return Ok(None) };
    report_of(book, run)
}

/// A run that is kept.
pub(crate) fn report_of(book: &AuditBook, run: &str) -> Result<Option<Report>, String> {
    let bytes = book.run(run).map_err(|error| error.to_string())?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// The suppressions that are kept.
pub(crate) fn suppressions(book: &AuditBook) -> Result<Vec<Suppression>, String> {
    let rows = book.suppressions().map_err(|error| error.to_string())?;
    Ok(rows.into_iter().map(suppression_of).collect())
}

/// Keeps a run. Where another one is called so already, it is called so with a number behind.
pub(crate) fn keep_run(book: &mut AuditBook, report: &mut Report, most: usize) -> Result<(), String> {
    let at: Timestamp = report.at.parse().map_err(|error| format!("{error}"))?;
    let name = report.run.clone();
    for number in 2..=MOST_OF_A_NAME {
        let bytes = serde_json::to_vec(report).map_err(|error| error.to_string())?;
        if book.add_run(&report.run, at.as_second(), &bytes, most).map_err(|error| error.to_string())? {
            return Ok(());
        }
        report.run = format!("{name}-{number}");
    }
    Err(format!("{MOST_OF_A_NAME} runs are called {name} already"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: i64 = 86_400;
    const NOW: i64 = 20_000 * DAY_S;

    /// Two audits of one moment that find the same are two runs.
    #[test]
    fn runs_of_one_name_get_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let settings = portcullis_store::Settings { path: folder.path().join("portcullis.db") };
        let mut book = AuditBook::open_store(&settings).unwrap();
        let report: Report = serde_json::from_value(serde_json::json!({
            "schema": "portcullis.audit/1", "run": "r-3c3b", "at": "2026-11-23T12:00:00Z", "policy_version": 1, "policy_sha256": "",
            "observed_since": null, "window_days": 90, "findings": [], "not_looked_at": {}, "left_out": {},
        }))
        .unwrap();
        let mut names = Vec::new();
        for _ in 0..3 {
            let mut again = report.clone();
            keep_run(&mut book, &mut again, 9).unwrap();
            names.push(again.run);
        }
        assert_eq!(names, ["r-3c3b", "r-3c3b-2", "r-3c3b-3"]);
        let kept: Vec<String> = book.runs().unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(kept, ["r-3c3b-3", "r-3c3b-2", "r-3c3b"]);
        assert!(kept.iter().all(|name| report_of(&book, name).unwrap().unwrap().run == *name));
    }

    #[test]
    fn less_is_remembered_where_room_is_short_and_never_less_than_a_window() {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        let check = |window: u64, nearly_full: bool, expected: i64| {
            assert_eq!(
                forgotten_before(NOW, days(window), nearly_full),
                NOW - expected * DAY_S,
                "{window} {nearly_full}"
            );
        };
        check(90, false, 400);
        check(90, true, 122);
        check(365, true, 397);
        check(366, true, 398);
    }
}
