//! The thread that rolls a version out: it has each step begin and end, and takes the version back when it denies too much.
//!
//! How far a version has come is in the store, so that a restart goes on from there. What it does to requests is counted by the thread that keeps
//! requests for a while; no request waits for either.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portcullis_events::{EventKind, Severity};
use portcullis_governance::{Rollout, Stage, WHOLE_PPM};
use portcullis_insight::{Budget, LEAST_TURNS, Watched};
use portcullis_proxy::Staged;
use tokio::sync::oneshot;

use crate::control::{Order, Orders};
use crate::governing::{Asked, Governing, Rolling as Standing, Why, percent, stage_in_words};
use crate::insight::Insight;
use crate::running::Running;

mod waiting;

/// How often it is looked at.
const TICK: Duration = Duration::from_millis(500);
/// How often it is written down how far it has come: a crash loses at most that.
const WRITE: Duration = Duration::from_secs(10);
/// What cannot be done is tried again after this.
const AGAIN: Duration = Duration::from_secs(10);

/// So long it is waited for at the end.
const LAST: Duration = Duration::from_secs(5);

/// The running thread. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct RollingOut {
    stop: Option<Sender<()>>,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl RollingOut {
    /// Starts it, where versions are kept. Without requests that are kept no step of a version ends, but what is live is put in force.
    ///
    /// # Errors
    /// No thread.
    pub(crate) fn start(running: &Arc<Running>, orders: Orders) -> std::io::Result<Option<Self>> {
        let Some(governing) = running.governing() else { return Ok(None) };
        let mut hand = Hand {
            running: Arc::clone(running),
            governing: Arc::clone(governing),
            insight: running.insight().cloned(),
            orders,
            step: None,
            unserved: None,
            unwritten: None,
        };
        let (stop, stopped) = channel();
        let (ending, ended) = channel();
        let thread = thread::Builder::new().name("rollout".to_owned()).spawn(move || {
            let mut wait = TICK;
            while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                wait = match hand.look() {
                    Ok(()) => TICK,
                    Err(error) => {
                        tracing::error!(error, "a version is rolled out, and the next step of it cannot be done");
                        AGAIN
                    }
                };
                // What another process wrote, and was taken up.
                if let Err(error) = hand.running.tell_recoveries(false, Timestamp::now()) {
                    tracing::error!("{error}");
                    wait = AGAIN;
                }
            }
            hand.put_down();
            // Whoever waits may have given up.
            let _ = ending.send(());
        })?;
        Ok(Some(Self { stop: Some(stop), ended, thread: Some(thread) }))
    }
}

impl Drop for RollingOut {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.ended.recv_timeout(LAST) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("the disk does not answer: how far a version has come is not in the store");
        } else if let Some(thread) = self.thread.take() {
            // A panic on that thread was reported where it happened.
            let _ = thread.join();
        }
    }
}

struct Hand {
    running: Arc<Running>,
    governing: Arc<Governing>,
    /// `None`: no requests are kept, and so no step of a version ends.
    insight: Option<Arc<Insight>>,
    orders: Orders,
    step: Option<Step>,
    unserved: Option<Unserved>,
    /// The version of which it was said that its files cannot be written.
    unwritten: Option<u64>,
}

/// A version that is live, for everybody or step by step, and that a reload has to put in force.
struct Unserved {
    n: u64,
    /// When it was tried last.
    tried: Instant,
    /// It was said that it is not.
    told: bool,
}

/// A step that is under way.
struct Step {
    /// As it was when it began here.
    began_with: Rollout,
    began: Instant,
    written: Instant,
    /// It is to be taken back for this reason: the data plane has done so, and the store not yet.
    taken_back: Option<String>,
    /// When it was said last that it waits on for requests.
    waits: Option<Instant>,
}

impl Hand {
    fn look(&mut self) -> Result<(), String> {
        let standing = self.governing.rollout();
        self.look_whether_it_is_over(standing.as_ref());
        let Some(standing) = standing else {
            self.see_it_in_force();
            return Ok(());
        };
        let rollout = standing.rollout;
        if rollout.is_ending() {
            let (found, is_empty) = match rollout.ended_unseen() {
                true => ("it had come through its steps before, and nothing was seen of it in the last one", true),
                false => ("it had come through its steps before", false),
            };
            let finished = self.finish(rollout.n, found, is_empty);
            if finished.is_err() {
                self.try_again_what_is_owed();
            }
            return finished;
        }
        // It was said at the start, and is with each reload.
        if rollout.is_held() {
            return Ok(());
        }
        let is_same = |step: &Step| (step.began_with.n, step.began_with.stage) == (rollout.n, rollout.stage);
        if self.governing.is_withdrawn(rollout.n) {
            self.unstage();
        }
        if let Some(reason) = self.step.as_ref().filter(|step| is_same(step)).and_then(|step| step.taken_back.clone()) {
            return self.write_that_it_is_back(&standing, &reason);
        }
        if self.governing.is_withdrawn(rollout.n) {
            return Ok(());
        }
        // Until the reload that puts it in force there is nothing to be watched.
        let staged = self.running.shared().snapshot().load().staged.clone();
        let Some(staged) = staged.filter(|staged| staged.policy.version() == rollout.n) else {
            self.try_again_what_is_owed();
            return Ok(());
        };
        // What was said of it before is over: its step begins.
        self.unserved = None;
        // A reload that chose before a step began, and was done after, put the earlier share back.
        let share = standing.stage().map_or(WHOLE_PPM, |stage| stage.share);
        if staged.share != share {
            self.stage(&staged, share);
        }
        if !self.step.as_ref().is_some_and(is_same) {
            self.begin(&standing);
        }
        let Some(watched) = self.insight.as_ref().and_then(|insight| insight.watched()) else { return Ok(()) };
        let Some(step) = &self.step else { return Ok(()) };
        let spent = Duration::from_millis(step.began_with.spent_ms).saturating_add(step.began.elapsed());
        let budget =
            Budget { share_ppm: standing.stages.max_newly_denied, callers: standing.stages.min_denied_callers };
        if watched.is_over(budget) {
            let reason = self.denies_too_much(&standing, watched);
            return self.take_back(&standing, reason);
        }
        let now = progress(rollout, spent, watched);
        self.governing.see(now);
        match standing.stage().filter(|stage| spent < stage.lasts) {
            Some(_) => self.note(now),
            None if standing.stages.is_tried(&now) => self.go_on(&standing, &staged, watched),
            None => self.wait_on(Standing { rollout: now, ..standing }),
        }
    }

    /// A step begins, or goes on after a restart.
    fn begin(&mut self, standing: &Standing) {
        let rollout = standing.rollout;
        let now = Instant::now();
        if let Some(insight) = &self.insight {
            insight.watch(Watched {
                requests: rollout.requests,
                newly_denied: rollout.newly_denied,
                turns: rollout.turns,
                turns_denied: rollout.turns_denied,
                refused: rollout.refused,
                newly_permitted: rollout.newly_permitted,
                callers: rollout.callers,
                callers_kept: rollout.callers_kept,
                ..Watched::default()
            });
        }
        self.step = Some(Step { began_with: rollout, began: now, written: now, taken_back: None, waits: None });
        let lasts = standing.stage().map_or(Duration::ZERO, |stage| stage.lasts);
        let left = lasts.saturating_sub(Duration::from_millis(rollout.spent_ms));
        self.tell(
            EventKind::PolicyRollout,
            format!(
                "version {} is in the step {}, for another {} s; version {} decides for all others{}",
                rollout.n,
                words(standing.stage()),
                left.as_secs(),
                standing.serving,
                if self.insight.is_some() {
                    ""
                } else {
                    "; no requests are kept, and so the step does not end by itself"
                }
            ),
        );
    }

    fn note(&mut self, now: Rollout) -> Result<(), String> {
        let Some(step) = self.step.as_mut().filter(|step| step.written.elapsed() >= WRITE) else { return Ok(()) };
        step.written = Instant::now();
        self.governing.note_progress(now)
    }

    /// The next step, or everybody.
    fn go_on(&mut self, standing: &Standing, staged: &Arc<Staged>, watched: Watched) -> Result<(), String> {
        let next = standing.rollout.next();
        let n = next.n;
        let found = self.found(standing, watched);
        let is_empty = watched.requests == 0 && watched.newly_permitted == 0;
        if let Some(stage) = standing.stages.at(next.stage) {
            self.governing.note_progress(next)?;
            // The next look begins it anew, with nothing counted: what was spent is the step's before.
            self.step = None;
            self.stage(staged, stage.share);
            let severity = if is_empty { Severity::Medium } else { EventKind::PolicyRollout.severity() };
            self.tell_as(
                severity,
                format!("version {n} goes on to the step {}: in the one before {found}", words(Some(stage))),
            );
            return Ok(());
        }
        self.finish(n, &format!("in the last step {found}"), is_empty)
    }

    /// What was counted in a step, and who is answered otherwise.
    fn found(&self, standing: &Standing, watched: Watched) -> String {
        let Watched { requests, newly_denied, newly_denied_others, newly_step_up, newly_permitted, refused, .. } =
            watched;
        let serving = standing.serving;
        if requests == 0 && newly_permitted == 0 {
            return format!(
                "nothing was seen of it: 0 requests were decided on by both that one of them permits, and {refused} that both refuse"
            );
        }
        let mut text = format!(
            "{requests} requests that version {serving} permits were decided on by both, {newly_denied} of them newly denied; {newly_permitted} of {refused} that it refuses are newly permitted"
        );
        if [newly_denied, newly_denied_others, newly_step_up, newly_permitted].iter().any(|count| *count > 0) {
            let lines = self.insight.as_ref().map(|insight| insight.watched_in_words()).unwrap_or_default();
            text.push_str(&format!(" ({})", lines.join("; ")));
        }
        text
    }

    /// Its steps are over.
    fn finish(&mut self, n: u64, found: &str, is_empty: bool) -> Result<(), String> {
        let remark = match self.governing.finish_rollout(n) {
            Ok(remark) => remark.map_or_else(String::new, |remark| format!("; {remark}")),
            Err(error) => {
                self.see_it_in_force_unwritten(n, &error, is_empty);
                return Err(error);
            }
        };
        self.unwritten = None;
        self.end();
        self.put_in_force(n);
        self.tell_as(end_severity(is_empty), format!("version {n} is live for everybody: {found}{remark}"));
        Ok(())
    }

    /// Some of its files may be in place, and others are not: it is live for everybody, whatever they hold, and they are written as soon as they can be.
    fn see_it_in_force_unwritten(&mut self, n: u64, error: &str, is_empty: bool) {
        if !self.governing.is_ending(n) || self.unwritten == Some(n) {
            return;
        }
        self.unwritten = Some(n);
        self.end();
        let again = AGAIN.as_secs();
        let unseen = if is_empty { "; nothing was seen of it in its last step" } else { "" };
        self.tell_as(
            end_severity(is_empty),
            format!("version {n} is live for everybody, and its files are not all written: {error}; it is tried again every {again} s{unseen}"),
        );
        self.put_in_force(n);
    }

    /// Has what is staged decide for this share of the callers.
    fn stage(&self, staged: &Staged, share: u32) {
        // Lists and thresholds are put in force one after the other with this.
        let one_at_a_time = self.running.feeds().keeper();
        let snapshot = self.running.shared().snapshot().load();
        let present = snapshot.staged.as_ref().filter(|present| present.seed == staged.seed);
        if let Some(present) = present.map(|present| Staged { share, ..Staged::clone(present) }) {
            drop(snapshot);
            self.running.shared().stage(Some(Arc::new(present)));
        }
        drop(one_at_a_time);
    }

    /// Has no other version than the one that serves decide for anybody.
    fn unstage(&self) {
        let one_at_a_time = self.running.feeds().keeper();
        if self.running.shared().snapshot().load().staged.is_some() {
            self.running.shared().stage(None);
        }
        drop(one_at_a_time);
    }

    /// Whether what was watched is rolled out no more, by somebody else's hand: hurried, taken back, or followed by another version.
    fn look_whether_it_is_over(&mut self, standing: Option<&Standing>) {
        let is_over = |step: &mut Step| standing.is_none_or(|standing| standing.rollout.n != step.began_with.n);
        let Some(step) = self.step.take_if(is_over) else { return };
        self.unwatch();
        let (n, live) = (step.began_with.n, self.governing.n());
        let message = match live == n {
            true => format!("version {n} is live for everybody, without the steps that were left"),
            false => format!("version {n} is rolled out no more: version {live} is the last one"),
        };
        self.tell(EventKind::PolicyRollout, message);
    }

    /// Nothing is rolled out. What is live then was to be put in force by one reload, which may not have been done.
    fn see_it_in_force(&mut self) {
        let live = self.governing.n();
        let staged = {
            let snapshot = self.running.shared().snapshot().load();
            snapshot.staged.as_ref().map(|staged| staged.policy.version())
        };
        // By a reload that chose before it was taken back, and was done after.
        if staged.is_some_and(|staged| staged != live) {
            self.unstage();
        }
        self.try_again_what_is_owed();
        if self.governing.owed().is_none() {
            self.say_that_it_is_in_force();
        }
    }

    /// Whoever had a version live has ordered a reload that puts it in force, or a first step of it. Where that was not done, it is done from here, again and again.
    fn try_again_what_is_owed(&mut self) {
        let Some(n) = self.governing.owed() else { return };
        match &self.unserved {
            Some(unserved) if unserved.n == n && unserved.tried.elapsed() >= AGAIN => self.put_in_force(n),
            Some(unserved) if unserved.n == n => {}
            _ => self.unserved = Some(Unserved { n, tried: Instant::now(), told: false }),
        }
    }

    /// If it was said that it is not.
    fn say_that_it_is_in_force(&mut self) {
        if let Some(Unserved { told: true, .. }) = self.unserved.take() {
            // It may be another one by now, which came after it.
            let in_force = self.running.shared().snapshot().load().policy.version();
            self.tell(EventKind::PolicyRollout, format!("version {in_force} is in force now"));
        }
    }

    /// Has a version that is live be put in force. Until that is done, it is tried again.
    fn put_in_force(&mut self, n: u64) {
        let told = self.unserved.as_ref().is_some_and(|unserved| unserved.n == n && unserved.told);
        let outcome = self.reload();
        if let (Err(why), false) = (&outcome, told || self.running.shared().is_draining()) {
            let again = AGAIN.as_secs();
            let what = match self.governing.rollout().is_some_and(|standing| !standing.rollout.is_ending()) {
                true => "is to come step by step, and its first step has not begun",
                false => "is live, and not in force yet",
            };
            self.tell(
                EventKind::PolicyRollout,
                format!("version {n} {what}: {why}; it is tried again every {again} s"),
            );
        }
        self.unserved = Some(Unserved { n, tried: Instant::now(), told: told || outcome.is_err() });
    }

    /// First of all nobody is refused by it any more; then it is written down.
    fn take_back(&mut self, standing: &Standing, reason: String) -> Result<(), String> {
        self.governing.withdraw(standing.rollout.n);
        self.unstage();
        if let Some(step) = &mut self.step {
            step.taken_back = Some(reason.clone());
        }
        self.write_that_it_is_back(standing, &reason)
    }

    fn denies_too_much(&self, standing: &Standing, watched: Watched) -> String {
        let Watched { turns, turns_denied, callers_denied, .. } = watched;
        format!(
            "version {} was taken back in the step {}: {callers_denied} callers who were let in before were newly denied something, in {turns_denied} of {turns} turns, and at most {} may be (of at least {LEAST_TURNS}, to fewer than {} callers): {}",
            standing.rollout.n,
            words(standing.stage()),
            percent(standing.stages.max_newly_denied),
            standing.stages.min_denied_callers,
            self.insight.as_ref().map(|insight| insight.watched_in_words()).unwrap_or_default().join("; ")
        )
    }

    fn write_that_it_is_back(&mut self, standing: &Standing, reason: &str) -> Result<(), String> {
        let (n, remark) = self.governing.take_back(standing.rollout.n, reason, Timestamp::now())?;
        let remark = remark.map_or_else(String::new, |remark| format!("; {remark}"));
        self.end();
        self.put_in_force(n);
        let back = standing.serving;
        self.tell(
            EventKind::PolicyReverted,
            format!("{reason}; version {n} has what version {back} had, and is live{remark}"),
        );
        Ok(())
    }

    fn end(&mut self) {
        self.step = None;
        self.unwatch();
    }

    fn unwatch(&self) {
        if let Some(insight) = &self.insight {
            insight.unwatch();
        }
    }

    /// Has what is the last version now be put in force under its number.
    fn reload(&self) -> Result<(), String> {
        let (answer, outcome) = oneshot::channel();
        let order = Order::Reload(Why::Activated, Asked::by(vec!["portcullis".to_owned()]), answer);
        self.orders.blocking_send(order).map_err(|_| "the gateway stops: the next start has it in force".to_owned())?;
        match outcome.blocking_recv() {
            Ok(outcome) => outcome.result.map(drop),
            Err(_) => Err("the gateway stops: the next start has it in force".to_owned()),
        }
    }

    /// Writes down how far it has come, at the end of the process.
    fn put_down(&self) {
        let (Some(step), Some(standing), Some(watched)) =
            (&self.step, self.governing.rollout(), self.insight.as_ref().and_then(|insight| insight.watched()))
        else {
            return;
        };
        let spent = Duration::from_millis(step.began_with.spent_ms).saturating_add(step.began.elapsed());
        // What was counted of one step is nothing of another that has just begun.
        let is_same = (step.began_with.n, step.began_with.stage) == (standing.rollout.n, standing.rollout.stage);
        if is_same
            && step.taken_back.is_none()
            && let Err(error) = self.governing.note_progress(progress(standing.rollout, spent, watched))
        {
            tracing::error!(error, "how far a version has come is not in the store");
        }
    }

    fn tell(&self, kind: EventKind, message: String) {
        match kind {
            EventKind::PolicyReverted => tracing::error!("{message}"),
            _ => tracing::info!("{message}"),
        }
        self.running.record(kind, message);
    }

    /// How a rollout goes on, for whom it concerns so much.
    fn tell_as(&self, severity: Severity, message: String) {
        match severity {
            Severity::Low => tracing::info!("{message}"),
            Severity::Medium | Severity::High | Severity::Critical => tracing::warn!("{message}"),
        }
        let mut event = self.running.event(EventKind::PolicyRollout, message);
        event.severity = severity;
        self.running.shared().recorder.record(event);
    }
}

fn progress(rollout: Rollout, spent: Duration, watched: Watched) -> Rollout {
    Rollout {
        spent_ms: u64::try_from(spent.as_millis()).unwrap_or(u64::MAX),
        requests: watched.requests,
        newly_denied: watched.newly_denied,
        turns: watched.turns,
        turns_denied: watched.turns_denied,
        callers_denied: watched.callers_denied,
        refused: watched.refused,
        newly_permitted: watched.newly_permitted,
        callers: watched.callers,
        callers_kept: watched.callers_kept,
        ..rollout
    }
}

/// How much it concerns whoever is told that a version is live for everybody; `is_empty`: nothing was seen of it in its last step.
fn end_severity(is_empty: bool) -> Severity {
    if is_empty { Severity::High } else { EventKind::PolicyRollout.severity() }
}

fn words(stage: Option<Stage>) -> String {
    stage.map_or_else(|| "of all callers".to_owned(), |stage| stage_in_words(stage.share))
}
