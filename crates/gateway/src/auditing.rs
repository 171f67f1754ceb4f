//! Usage and audits of the running gateway: the thread that takes what the workers have counted, writes it down every ten seconds, and makes
//! the audits that are scheduled. An audit runs on a thread of its own, which yields to whatever serves requests.

mod directories;
mod look;
mod rows;
mod suppressing;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use portcullis_events::{Answer, Event, EventKind};
use portcullis_insight::audit::{Finding, Report, Severity, Suppression, Usage};
use portcullis_policy::RuleKind;
use portcullis_proxy::Shared;
use portcullis_proxy::usage::Used;
use portcullis_store::{AuditBook, Database, StoreError};
use uuid::Uuid;

use crate::governing::Governing;
use crate::insight::Insight;
use crate::yielding::{Priority, yielding};

pub(crate) use look::{Facts, Looked, draft_in_force, look, past_of};
pub(crate) use rows::{from_rows, suppression_of, to_rows};
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
/// By how much a time may be later than now, in seconds.
const AHEAD_S: i64 = 5 * 60;
const FORGOTTEN_AFTER_S: i64 = 400 * 24 * 60 * 60;
const MONTH_S: i64 = 32 * 24 * 60 * 60;
/// Events of one run, each of a new finding.
const MOST_EVENTS: usize = 50;
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
    /// When this process made one last: by a clock that nobody sets.
    made: Mutex<Option<Instant>>,
}

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
        let state = Arc::new(State {
            shared: Arc::clone(shared),
            usage: Mutex::new(usage),
            book: Mutex::new(book),
            facts: ArcSwap::from_pointee(facts),
            governing,
            insight,
            looking: Mutex::new(()),
            made: Mutex::new(None),
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

    /// Makes an audit now, over the requests of the sample, too.
    ///
    /// # Errors
    /// A sentence: another one is being made, or the store cannot be used.
    pub(crate) fn run(&self, config: &Path) -> Result<Report, String> {
        self.state.audit(config)
    }

    /// What audits are kept with: asked for a moment.
    pub(crate) fn with_book<T>(&self, ask: impl FnOnce(&AuditBook) -> Result<T, StoreError>) -> Result<T, String> {
        ask(&self.state.book()).map_err(|error| error.to_string())
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

    fn audit_if_due(&self) {
        let Some(every) = self.facts.load().settings.as_ref().and_then(|settings| settings.every) else { return };
        let last = match self.book().runs() {
            Ok(runs) => runs.first().map(|(_, at)| *at),
            Err(error) => {
                tracing::warn!(%error, "it cannot be said when the last audit was");
                return;
            }
        };
        let since = self.made.lock().unwrap_or_else(PoisonError::into_inner).map(|made| made.elapsed());
        if !is_due(since, last, every, Timestamp::now().as_second()) {
            return;
        }
        if let Err(error) = self.audit(&self.facts.load().config.clone()) {
            tracing::error!(error, "the scheduled audit was not made");
        }
    }

    fn audit(&self, config: &Path) -> Result<Report, String> {
        let Ok(_looking) = self.looking.try_lock() else { return Err("another audit is being made".to_owned()) };
        self.take();
        let facts = self.facts.load_full();
        let settings = facts.settings.clone().unwrap_or_default();
        let now = Timestamp::now();
        let usage = self.usage().clone();
        let (before, suppressions) = {
            let book = self.book();
            (last_report(&book)?, suppressions(&book)?)
        };
        let sample = self.insight.as_ref().map(|insight| insight.outlook());
        let policy = Arc::clone(&self.shared.snapshot().load().policy);
        let governing = self.governing.as_deref();
        let mut report = yielding("audit", Priority::Low, || {
            let (draft, files) = draft_in_force(governing, config, &policy)?;
            let past = past_of(governing, config, &settings, &usage, now);
            look(&Looked {
                facts: &facts,
                draft: &draft,
                files: &files,
                known: &facts.ask_directories(&draft),
                usage: &usage,
                sample: sample.as_ref(),
                past,
                suppressions: &suppressions,
                before: before.as_ref(),
                version: policy.version(),
                now,
            })
        })??;
        let keep = self.facts.load().settings.as_ref().map_or(1, |settings| settings.keep);
        keep_run(&mut self.book(), &mut report, keep)?;
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.tell(&report, before.as_ref());
        Ok(report)
    }

    /// One event of each suppression that was made or lifted while no gateway could tell it.
    fn tell_untold(&self) {
        let untold = self.book().untold();
        let untold = untold.unwrap_or_else(|error| {
            tracing::warn!(%error, "it cannot be said what was done to audits while no gateway ran");
            Vec::new()
        });
        for (n, at, message) in untold {
            let at = Timestamp::from_second(at).map(|at| at.to_string()).unwrap_or_default();
            let mut event = self.event(EventKind::AdminAuditSuppress, format!("in the store, at {at}: {message}"));
            event.decision = Some(Answer::Permit);
            event.identity.kind = Some("operator");
            self.shared.recorder.record(event);
            if let Err(error) = self.book().told(n) {
                tracing::warn!(%error, "what was told of audits will be told again");
                return;
            }
        }
    }

    /// One event of each suppression that is over: what it is about counts again.
    fn tell_ended(&self, now: i64) {
        let ended = self.book().ended(now);
        let ended = ended.unwrap_or_else(|error| {
            tracing::warn!(%error, "it cannot be said which suppressions are over");
            Vec::new()
        });
        for row in ended {
            let until = Timestamp::from_second(row.until).map(|until| until.to_string()).unwrap_or_default();
            let message = format!(
                "the finding {} is not suppressed any more since {until}, and counts again if it is still there: {} ({})",
                row.fingerprint, row.reason, row.owner
            );
            self.record(EventKind::AuditSuppressionEnded, message, None);
            if let Err(error) = self.book().end_told(&row.fingerprint) {
                tracing::warn!(%error, "the end of a suppression will be told again");
                return;
            }
        }
    }

    /// One event of the run, and one of each finding that is high or worse and is new, has become so, or is suppressed no longer.
    fn tell(&self, report: &Report, before: Option<&Report>) {
        let counts = report.counts();
        let words: Vec<String> =
            counts.iter().map(|(severity, count)| format!("{count} {}", severity.as_str())).collect();
        let message = format!(
            "audit {}: {} findings are open: {}",
            report.run,
            counts.iter().map(|(_, count)| count).sum::<usize>(),
            words.join(", ")
        );
        tracing::info!("{message}");
        self.record(EventKind::AuditCompleted, message, None);
        for finding in report.findings.iter().filter(|finding| is_news(finding, before)).take(MOST_EVENTS) {
            let message =
                format!("{} {}: {} (fingerprint {})", finding.id, finding.kind, finding.message, finding.fingerprint);
            self.record(EventKind::AuditFinding, message, finding.place.as_ref().map(|place| place.name.as_str()));
        }
    }

    fn event(&self, kind: EventKind, message: String) -> Event {
        let mut event = Event::new(kind, Uuid::now_v7(), Timestamp::now());
        let snapshot = self.shared.snapshot().load();
        event.policy.version = Some(snapshot.policy.version());
        event.policy.sha256 = Some(snapshot.policy_sha256.clone());
        event.message = Some(message);
        event
    }

    fn record(&self, kind: EventKind, message: String, rule: Option<&str>) {
        let mut event = self.event(kind, message);
        event.policy.rule = rule.map(Into::into);
        self.shared.recorder.record(event);
    }
}

/// Whether somebody must hear of a finding: high or worse, and not so, or not open, in the run before.
fn is_news(finding: &Finding, before: Option<&Report>) -> bool {
    let was = before.and_then(|before| before.find(&finding.fingerprint));
    let is_told = was.is_some_and(|was| was.is_open() && was.severity >= Severity::High);
    finding.severity >= Severity::High && finding.is_open() && !is_told
}

/// Whether so long has passed since the last audit: since this process made one, or else since the last one that is kept, in seconds since 1970. One
/// in the future is of a clock that went wrong.
fn is_due(made: Option<Duration>, last: Option<i64>, every: Duration, now: i64) -> bool {
    if let Some(made) = made {
        return made >= every;
    }
    let every = i64::try_from(every.as_secs()).unwrap_or(i64::MAX);
    last.is_none_or(|last| last > now.saturating_add(AHEAD_S) || now.saturating_sub(last) >= every)
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

    #[test]
    fn an_audit_is_due_once_its_time_has_passed_also_across_restarts() {
        let day = Duration::from_secs(86_400);
        let check = |last: Option<i64>, due: bool| assert_eq!(is_due(None, last, day, NOW), due, "{last:?}");
        check(None, true);
        check(Some(NOW), false);
        check(Some(NOW - DAY_S + 1), false);
        check(Some(NOW - DAY_S), true);
        check(Some(NOW - 9 * DAY_S), true);
        check(Some(NOW + 1), false);
        check(Some(NOW + 3_650 * DAY_S), true);
    }

    /// Of a run under a clock that was ahead one audit comes, and not one at each look.
    #[test]
    fn a_run_of_the_future_makes_no_loop() {
        let (ahead, day) = (Some(NOW + 3_650 * DAY_S), Duration::from_secs(86_400));
        let mut made: Option<Duration> = None;
        let mut audits = 0;
        for _look in 0..3 {
            made = made.map(|made| made + LOOK);
            if is_due(made, ahead, day, NOW) {
                audits += 1;
                made = Some(Duration::ZERO);
            }
        }
        assert_eq!(audits, 1);
        assert!(is_due(Some(day), ahead, day, NOW));
    }

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
