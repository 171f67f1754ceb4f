//! That every event ends in exactly one place: written once, or dropped and counted once.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Condvar;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::start::{Opened, Target, assemble};
use super::*;
use crate::reason_code::ReasonCode;
use crate::settings::{SinkKind, SinkSettings};
use crate::sinks::Sink;

pub(super) const LONG: Duration = Duration::from_secs(60);
pub(super) const SHORT: Duration = Duration::from_millis(30);

pub(super) fn event() -> Event {
    Event::denied(Uuid::now_v7(), Timestamp::UNIX_EPOCH, ReasonCode::RbacNoMatchingGrant)
}

fn record(recorder: &Recorder, events: usize) {
    for _ in 0..events {
        recorder.record(event());
    }
}

pub(super) fn stats(recorder: &Recorder) -> SinkStats {
    recorder.stats().remove(0)
}

/// Exported, dropped, waiting. Their sum must be what was recorded.
#[track_caller]
fn check_account(recorder: &Recorder, exported: u64, dropped: u64, waiting: usize) {
    for stats in recorder.stats() {
        assert_eq!((stats.exported, stats.dropped(), stats.queue_depth), (exported, dropped, waiting), "{stats:?}");
        assert_eq!(recorder.recorded(), stats.exported + stats.dropped() + stats.queue_depth as u64);
    }
}

pub(super) fn opened(name: &str, queue: usize, sink: Box<dyn Sink>) -> Opened {
    let settings = SinkSettings { queue, ..SinkSettings::new(name, SinkKind::Stdout) };
    Opened { settings, target: Target::Local(sink) }
}

/// A sink that a test can hold up, or make fail, and that notes what it was told.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
pub(super) struct GateState {
    pub(super) held: bool,
    pub(super) fails: bool,
    attempts: usize,
    /// The sequence numbers written, and "reopen".
    log: Vec<String>,
}

impl Gate {
    pub(super) fn set(&self, change: impl FnOnce(&mut GateState)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.0.0.lock().unwrap().log.clone()
    }

    pub(super) fn wait_for_attempts(&self, attempts: usize) {
        let state = self.0.0.lock().unwrap();
        let (state, _) = self.0.1.wait_timeout_while(state, LONG, |state| state.attempts < attempts).unwrap();
        assert!(state.attempts >= attempts);
    }

    fn recorder(&self, queue: usize) -> Recorder {
        let sink: Box<dyn Sink> = Box::new(self.clone());
        assemble(&Settings::default(), vec![opened("gate", queue, sink)]).unwrap()
    }
}

impl Sink for Gate {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut state = self.0.0.lock().unwrap();
        state.attempts += 1;
        self.0.1.notify_all();
        let mut state = self.0.1.wait_while(state, |state| state.held).unwrap();
        if state.fails {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let numbers = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        state.log.extend(numbers.map(|line| serde_json::from_slice::<Value>(line).unwrap()["seq"].to_string()));
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        let mut state = self.0.0.lock().unwrap();
        // Whoever has the full disk replaced, has it working again.
        state.fails = false;
        state.log.push("reopen".into());
        Ok(())
    }
}

#[test]
fn what_is_recorded_is_written_in_order_with_its_number_and_its_node() {
    let (recorder, capture) = Recorder::in_memory(64).unwrap();
    record(&recorder, 3);
    let events = capture.wait_for(3, LONG);
    assert_eq!(events.iter().map(|event| event["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(events.iter().all(|event| event["node"] == "test" && event["schema"] == "portcullis.event/1"));
    assert!(recorder.flush(LONG));
    check_account(&recorder, 3, 0, 0);
    assert_eq!(recorder.shutdown(LONG), 0);
}

#[test]
fn a_full_queue_drops_exactly_what_does_not_fit() {
    let gate = Gate::default();
    gate.set(|state| state.held = true);
    let recorder = gate.recorder(4);
    record(&recorder, 4);
    check_account(&recorder, 0, 0, 4);
    record(&recorder, 6);
    check_account(&recorder, 0, 6, 4);
    assert_eq!(
        stats(&recorder).dropped_by_cause(),
        [
            ("queue_full", 6),
            ("hung_up", 0),
            ("closed", 0),
            ("error", 0),
            ("spool_full", 0),
            ("damaged", 0),
            ("refused", 0),
            ("lost", 0)
        ]
    );

    gate.set(|state| state.held = false);
    assert!(recorder.flush(LONG));
    check_account(&recorder, 4, 6, 0);
    record(&recorder, 1);
    assert!(recorder.flush(LONG));
    check_account(&recorder, 5, 6, 0);
    assert_eq!(gate.log(), ["1", "2", "3", "4", "11"]);
}

#[test]
fn a_stuck_sink_does_not_hold_up_another() {
    let stuck = Gate::default();
    stuck.set(|state| state.held = true);
    let healthy = Gate::default();
    let sinks = vec![opened("stuck", 1, Box::new(stuck.clone())), opened("healthy", 100, Box::new(healthy.clone()))];
    let recorder = assemble(&Settings::default(), sinks).unwrap();
    record(&recorder, 50);
    assert!(!recorder.flush(SHORT));
    assert!(recorder.shared.feeds[1].lane.wait_resolved(Instant::now() + LONG));
    let [stuck_stats, healthy_stats] = recorder.stats().try_into().unwrap();
    assert_eq!((stuck_stats.dropped(), stuck_stats.queue_depth), (49, 1));
    assert_eq!((healthy_stats.exported, healthy_stats.dropped()), (50, 0));
    stuck.set(|state| state.held = false);
    assert_eq!(recorder.shutdown(LONG), 0);
}

#[test]
fn many_threads_at_a_tiny_queue_lose_nothing_uncounted() {
    let (recorder, capture) = Recorder::in_memory(3).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| record(&recorder, 2_000));
        }
    });
    assert!(recorder.flush(LONG));
    let stats = stats(&recorder);
    assert_eq!(recorder.recorded(), 8_000);
    assert_eq!(stats.exported + stats.dropped(), 8_000);
    let numbers: BTreeSet<u64> = capture.events().iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!((numbers.len() as u64, capture.lines().len() as u64), (stats.exported, stats.exported));
}

#[test]
fn a_sink_that_fails_for_a_while_gets_everything_once_afterwards() {
    let gate = Gate::default();
    gate.set(|state| state.fails = true);
    let recorder = gate.recorder(100);
    record(&recorder, 5);
    gate.wait_for_attempts(2);
    assert_eq!((stats(&recorder).exported, stats(&recorder).queue_depth), (0, 5));
    assert!(stats(&recorder).failed >= 1);
    gate.set(|state| state.fails = false);
    assert!(recorder.flush(LONG));
    check_account(&recorder, 5, 0, 0);
    assert_eq!(gate.log(), ["1", "2", "3", "4", "5"]);
}

#[test]
fn what_was_recorded_before_reopening_goes_to_the_old_file() {
    let gate = Gate::default();
    gate.set(|state| state.held = true);
    let recorder = gate.recorder(2_000);
    record(&recorder, 700);
    recorder.reopen();
    record(&recorder, 700);
    gate.set(|state| state.held = false);
    assert!(recorder.flush(LONG));
    let log = gate.log();
    assert_eq!((log.len(), log.iter().position(|entry| entry == "reopen")), (1_401, Some(700)));
}

#[test]
fn an_idle_sink_is_reopened_at_once() {
    let gate = Gate::default();
    let recorder = gate.recorder(10);
    recorder.reopen();
    record(&recorder, 1);
    assert_eq!(recorder.shutdown(LONG), 0);
    assert_eq!(gate.log(), ["reopen", "1"]);
}

#[test]
fn a_file_that_cannot_be_written_is_replaced_by_reopening() {
    let gate = Gate::default();
    gate.set(|state| state.fails = true);
    let recorder = gate.recorder(10);
    record(&recorder, 2);
    gate.wait_for_attempts(1);
    recorder.reopen();
    assert!(recorder.flush(LONG));
    assert_eq!(gate.log(), ["reopen", "1", "2"]);
}

#[test]
fn shutting_down_writes_what_waits_and_takes_nothing_more() {
    let (recorder, capture) = Recorder::in_memory(1_000).unwrap();
    record(&recorder, 600);
    assert_eq!(recorder.shutdown(LONG), 0);
    assert_eq!(capture.lines().len(), 600);
    recorder.clone().record(event());
    check_account(&recorder, 600, 1, 0);
    assert_eq!(stats(&recorder).dropped_closed, 1);
    assert_eq!(recorder.shutdown(LONG), 0);
}

/// Until the recorder's thread has handed so many on.
fn wait_for_queued(recorder: &Recorder, events: usize) {
    let queued = testing::until(LONG, || (stats(recorder).queue_depth == events).then_some(()));
    assert!(queued.is_some(), "{:?}", stats(recorder));
}

#[test]
fn shutting_down_says_how_many_a_failing_sink_left() {
    let gate = Gate::default();
    gate.set(|state| state.fails = true);
    let recorder = gate.recorder(10);
    record(&recorder, 3);
    gate.wait_for_attempts(1);
    wait_for_queued(&recorder, 3);
    assert_eq!(recorder.shutdown(SHORT), 3);
    assert!(recorder.shared.feeds[0].lane.wait_finished(Instant::now() + LONG));
    check_account(&recorder, 0, 3, 0);
    assert_eq!(stats(&recorder).dropped_closed, 3);
}

/// Has room for everything but the first.
#[derive(Clone, Default)]
struct Short(Arc<Mutex<Vec<u8>>>);

impl Sink for Short {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if lines.windows(8).any(|text| text == b"\"seq\":1,") {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.lock().unwrap().extend_from_slice(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The next start gives a place what it lacks at its end. Where something else followed on it, nobody would ever miss it.
#[test]
fn behind_what_a_shutdown_leaves_unwritten_nothing_is_written() {
    let short = Short::default();
    let recorder = assemble(&Settings::default(), vec![opened("short", 10, Box::new(short.clone()))]).unwrap();
    record(&recorder, 1);
    assert!(testing::until(LONG, || (stats(&recorder).failed >= 1).then_some(())).is_some());
    record(&recorder, 5);
    assert_eq!(recorder.shutdown(SHORT), 6);
    assert!(recorder.shared.feeds[0].lane.wait_finished(Instant::now() + LONG));
    check_account(&recorder, 0, 6, 0);
    assert_eq!(String::from_utf8_lossy(&short.0.lock().unwrap()), "");
}

#[test]
fn shutting_down_does_not_wait_for_a_write_that_hangs() {
    let gate = Gate::default();
    gate.set(|state| state.held = true);
    let recorder = gate.recorder(10);
    record(&recorder, 3);
    gate.wait_for_attempts(1);
    wait_for_queued(&recorder, 3);
    assert_eq!(recorder.shutdown(SHORT), 3);
    gate.set(|state| state.held = false);
}

#[test]
fn recorders_that_shut_down_while_others_record_still_account_for_everything() {
    for _ in 0..20 {
        let (recorder, capture) = Recorder::in_memory(10_000).unwrap();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| record(&recorder, 200));
            }
            assert_eq!(recorder.shutdown(LONG), 0);
        });
        let stats = stats(&recorder);
        assert_eq!((stats.exported + stats.dropped(), stats.queue_depth), (600, 0));
        assert_eq!(capture.lines().len() as u64, stats.exported);
    }
}

/// Notes on which threads events are shown.
#[derive(Debug)]
struct Witness(Sender<Option<String>>);

impl Watch for Witness {
    fn is_looking(&self) -> bool {
        true
    }

    fn see(&self, _: &Event) {
        let _ = self.0.send(thread::current().name().map(str::to_owned));
    }
}

#[test]
fn what_no_sink_takes_is_shown_by_the_recorders_thread() {
    let recorder = Recorder::start(&Settings::default()).unwrap();
    let (shown, shows) = std::sync::mpsc::channel();
    recorder.set_watch(Box::new(Witness(shown)));
    record(&recorder, 3);
    for _ in 0..3 {
        assert_eq!(shows.recv().unwrap().as_deref(), Some("sink-recorder"));
    }
    assert_eq!(recorder.recorded(), 3);
}

#[test]
fn a_recorder_without_sinks_only_counts() {
    let recorder = Recorder::start(&Settings::default()).unwrap();
    record(&recorder, 2);
    recorder.reopen();
    assert!(recorder.flush(LONG));
    assert_eq!((recorder.recorded(), recorder.stats().len(), recorder.shutdown(LONG)), (2, 0, 0));
}

fn file_settings(path: &Path) -> Settings {
    let kind = SinkKind::File { path: path.into() };
    Settings { sinks: vec![SinkSettings::new("denials", kind)], ..Settings::default() }
}

#[test]
fn renaming_and_reopening_under_load_loses_nothing_and_tears_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("denials.jsonl");
    let recorder = Recorder::start(&file_settings(&path)).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| record(&recorder, 4_000));
        for rotation in 0..20 {
            std::fs::rename(&path, folder.path().join(format!("denials.jsonl.{rotation}"))).unwrap();
            recorder.reopen();
            assert!(recorder.flush(LONG));
            while !path.exists() {
                thread::yield_now();
            }
        }
    });
    assert_eq!(recorder.shutdown(LONG), 0);
    check_account(&recorder, 4_000, 0, 0);

    let mut numbers = BTreeSet::new();
    let mut lines = 0;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        for line in text.lines() {
            lines += 1;
            numbers.insert(serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap());
        }
    }
    assert_eq!((lines, numbers.len()), (4_000, 4_000));
}

#[test]
fn a_recorded_event_is_found_again_by_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("denials.jsonl");
    let recorder = Recorder::start(&file_settings(&path)).unwrap();
    record(&recorder, 10);
    let wanted = event();
    let id = wanted.id;
    recorder.record(wanted);
    record(&recorder, 10);
    assert_eq!(recorder.shutdown(LONG), 0);
    let found = crate::read::find_in_file(&path, id).unwrap();
    assert_eq!(found.event.unwrap()["seq"], 11);
    assert_eq!((found.too_long, found.malformed), (0, 0));
}

#[test]
fn a_full_disk_holds_events_and_harms_nothing_else() {
    let recorder = Recorder::start(&file_settings(Path::new("/dev/full"))).unwrap();
    record(&recorder, 5);
    assert!(!recorder.flush(SHORT));
    wait_for_queued(&recorder, 5);
    let failed = testing::until(LONG, || (stats(&recorder).failed >= 1).then_some(()));
    assert!(failed.is_some());
    assert_eq!((stats(&recorder).exported, stats(&recorder).queue_depth), (0, 5));
    assert_eq!(recorder.shutdown(SHORT), 5);
}

#[test]
fn a_file_that_cannot_be_opened_stops_the_start_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing").join("denials.jsonl");
    let error = Recorder::start(&file_settings(&path)).unwrap_err();
    assert_eq!(error.to_string(), format!("sink `denials`: cannot open {}", path.display()));
}
