//! What a start makes of what the process before has left: the chain goes on from the newest line there is, wherever it stands, and a
//! place that lacks the last lines is given them. So every file is one chain again.

use std::fs;
use std::path::{Path, PathBuf};

use super::tests::{Gate, LONG, event, opened};
use super::*;
use crate::audit::{Expected, Problem, verify};
use crate::checkpoint::{CheckpointSettings, SigningKey};
use crate::event::EventKind;
use crate::settings::{SinkKind, SinkSettings, SpoolSettings};

/// Two files and a spool.
struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn settings(&self) -> Settings {
        let file = |name: &str| SinkSettings::new(name, SinkKind::File { path: self.path(name) });
        Settings {
            sinks: vec![file("one"), file("two")],
            spool: Some(SpoolSettings::new(self.path("spool"))),
            ..Settings::default()
        }
    }

    /// One process: it starts, records so many events, and stops.
    fn run(&self, events: usize) {
        self.run_with(&self.settings(), events);
    }

    fn run_with(&self, settings: &Settings, events: usize) {
        let recorder = Recorder::start(settings).unwrap();
        let id = uuid::Uuid::now_v7();
        recorder.record(Event::new(EventKind::GatewayStarted, id, jiff::Timestamp::now()));
        for _ in 0..events {
            recorder.record(event());
        }
        assert_eq!(recorder.shutdown(LONG), 0);
    }

    /// Takes lines away from the end of a file, as a kill would have left it; half a line stays where `half`.
    fn cut(&self, name: &str, lines: usize, half: bool) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        let all: Vec<&str> = text.split_inclusive('\n').collect();
        let (kept, gone) = all.split_at(all.len() - lines);
        let rest = if half { &gone[0][..gone[0].len() / 2] } else { "" };
        fs::write(self.path(name), kept.concat() + rest).unwrap();
    }

    /// How many events a file has, all of one chain.
    #[track_caller]
    fn check(&self, files: &[&str], events: u64) {
        let files: Vec<PathBuf> = files.iter().map(|name| self.path(name)).collect();
        let audit = verify(&files, Expected::default()).unwrap();
        assert!(audit.findings.is_empty(), "{:#?}", audit.findings);
        assert_eq!((audit.events, audit.beginnings.len()), (events, 1), "{:?}", audit.beginnings);
    }
}

#[test]
fn whoever_ended_earlier_is_given_what_it_lacks() {
    for (name, half) in [("one", false), ("one", true), ("two", true)] {
        let site = Site::new();
        site.run(9);
        site.cut(name, 4, half);
        site.run(5);
        site.check(&["one"], 16);
        site.check(&["two"], 16);
    }
}

#[test]
fn a_spool_that_ended_earlier_is_given_what_it_lacks() {
    let site = Site::new();
    site.run(9);
    fs::rename(site.path("spool"), site.path("old")).unwrap();
    site.run(9);
    // The old one comes back.
    fs::remove_dir_all(site.path("spool")).unwrap();
    fs::rename(site.path("old"), site.path("spool")).unwrap();
    site.run(5);
    site.check(&["one"], 26);
    let spool = SpoolSettings::new(site.path("spool"));
    let (_, found) = Spool::open(&spool).unwrap();
    assert_eq!(found.tail, fs::read(site.path("one")).unwrap());
}

#[test]
fn after_a_shutdown_no_thread_holds_what_the_next_recorder_needs() {
    let site = Site::new();
    let recorder = Recorder::start(&site.settings()).unwrap();
    recorder.record(event());
    assert_eq!(recorder.shutdown(LONG), 0);
    assert_eq!(Arc::strong_count(&recorder.shared), 1);
}

#[test]
fn a_file_that_was_rotated_away_just_before_the_end_is_gone_on_with() {
    let site = Site::new();
    let alone = Settings { sinks: vec![site.settings().sinks.remove(0)], spool: None, ..site.settings() };
    site.run_with(&alone, 3);
    fs::rename(site.path("one"), site.path("one-20261128T190412.697123Z")).unwrap();
    fs::write(site.path("one"), "").unwrap();
    site.run_with(&alone, 3);
    site.check(&["one", "one-20261128T190412.697123Z"], 8);
}

#[test]
fn a_file_that_was_taken_away_is_not_filled_again() {
    let site = Site::new();
    site.run(3);
    fs::remove_file(site.path("two")).unwrap();
    site.run(3);
    site.check(&["one"], 8);
    let audit = verify(&[site.path("two")], Expected::default()).unwrap();
    assert_eq!((audit.events, audit.findings.len(), audit.beginnings.len()), (4, 0, 0));
}

#[test]
fn what_no_chain_joins_is_left_as_it_is() {
    let site = Site::new();
    site.run(3);
    fs::write(site.path("two"), "{\"kind\":\"x\",\"time\":\"1\"}\n").unwrap();
    site.run(3);
    site.check(&["one"], 8);
    let audit = verify(&[site.path("two")], Expected::default()).unwrap();
    assert_eq!(audit.findings.iter().map(|found| &found.problem).collect::<Vec<_>>(), [&Problem::Unsealed]);
    assert_eq!(audit.events, 4);
}

#[test]
fn a_last_line_without_its_line_feed_is_the_last_line() {
    let site = Site::new();
    site.run(3);
    for name in ["one", "two"] {
        let text = fs::read(site.path(name)).unwrap();
        fs::write(site.path(name), &text[..text.len() - 1]).unwrap();
    }
    fs::remove_dir_all(site.path("spool")).unwrap();
    site.run(3);
    site.check(&["one"], 8);
    assert!(Path::new(&site.path("one")).is_file());
}

/// The kinds of the events in a file. A line that is just being written is none yet.
fn kinds(path: &Path) -> Vec<String> {
    let text = fs::read(path).unwrap();
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |line_feed| line_feed + 1);
    let text = String::from_utf8(text[..whole].to_vec()).unwrap();
    let kind =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["kind"].as_str().unwrap().to_owned();
    text.lines().map(kind).collect()
}

#[test]
fn a_stop_is_covered_by_a_checkpoint_and_is_still_a_stop_in_order() {
    let site = Site::new();
    let (key, _) = SigningKey::generate().unwrap();
    let checkpoint = CheckpointSettings { key: key.clone(), every: LONG * 1_000, events: 1_000 };
    let settings = Settings { checkpoint: Some(checkpoint), ..site.settings() };
    for round in 1..=3_u64 {
        let recorder = Recorder::start(&settings).unwrap();
        assert_eq!(recorder.earlier().map(|earlier| earlier.in_order), (round > 1).then_some(true));
        for kind in [EventKind::GatewayStarted, EventKind::GatewayStopped] {
            recorder.record(Event::new(kind, uuid::Uuid::now_v7(), jiff::Timestamp::now()));
        }
        assert_eq!(recorder.shutdown(LONG), 0);
        let stats = recorder.stats().remove(0);
        assert_eq!((stats.exported, stats.dropped(), recorder.recorded()), (3, 0, 3));
    }
    site.check(&["one"], 9);
    site.check(&["two"], 9);
    assert_eq!(kinds(&site.path("one"))[6..], ["gateway.started", "gateway.stopped", "integrity.checkpoint"]);
    let keys = [key.public()];
    let audit = verify(&[site.path("two")], Expected { keys: &keys, ..Expected::default() }).unwrap();
    assert_eq!((audit.findings.len(), audit.unsigned.events, audit.signed.map(|signed| signed.line)), (0, 0, Some(9)));
}

#[test]
fn a_quiet_gateway_signs_what_it_has_recorded_once_its_time_is_over_and_no_more() {
    let site = Site::new();
    let (key, _) = SigningKey::generate().unwrap();
    let checkpoint = CheckpointSettings { key, every: Duration::from_millis(20), events: 1_000 };
    let recorder = Recorder::start(&Settings { checkpoint: Some(checkpoint), ..site.settings() }).unwrap();
    for round in 1..=3 {
        recorder.record(event());
        let lines = testing::until(LONG, || Some(kinds(&site.path("one"))).filter(|kinds| kinds.len() == 2 * round));
        assert_eq!(lines.unwrap().last().map(String::as_str), Some("integrity.checkpoint"));
    }
    assert_eq!(recorder.shutdown(LONG), 0);
    assert_eq!(kinds(&site.path("one")).len(), 6);
}

#[test]
fn a_checkpoint_that_no_sink_has_room_for_comes_once_one_has() {
    let gate = Gate::default();
    gate.set(|state| state.held = true);
    let (key, _) = SigningKey::generate().unwrap();
    let checkpoint = CheckpointSettings { key, every: Duration::from_millis(1), events: 1_000 };
    let settings = Settings { checkpoint: Some(checkpoint), ..Settings::default() };
    let recorder = testing::assemble(&settings, vec![opened("gate", 1, Box::new(gate.clone()))]).unwrap();
    recorder.record(event());
    gate.wait_for_attempts(1);
    // Its time comes again and again while nothing else does.
    thread::sleep(Duration::from_millis(30));
    assert_eq!((recorder.stats()[0].queue_depth, recorder.stats()[0].dropped(), recorder.recorded()), (1, 0, 1));
    gate.set(|state| state.held = false);
    let both = testing::until(LONG, || Some(gate.log()).filter(|log| log.len() == 2));
    assert_eq!(both.unwrap(), ["1", "2"]);
    assert_eq!(recorder.shutdown(LONG), 0);
    assert_eq!((recorder.stats()[0].exported, recorder.recorded()), (2, 2));
}

#[test]
fn a_place_is_given_more_than_a_process_keeps_of_its_end_in_memory() {
    let site = Site::new();
    site.run(2_500);
    let whole = fs::metadata(site.path("one")).unwrap().len();
    assert!(whole > 3 * 1024 * 1024, "{whole}");
    site.cut("two", 2_400, true);
    site.run(5);
    site.check(&["one"], 2_507);
    site.check(&["two"], 2_507);
}

#[test]
fn two_places_that_nobody_can_put_in_order_begin_a_new_chain() {
    let (site, other) = (Site::new(), Site::new());
    site.run(3);
    other.run(3);
    fs::copy(other.path("one"), site.path("two")).unwrap();
    site.run(3);
    for name in ["one", "two"] {
        let audit = verify(&[site.path(name)], Expected::default()).unwrap();
        let found: Vec<_> = audit.findings.iter().map(|found| (found.line, &found.problem)).collect();
        let [(5, Problem::NewChain { why })] = found[..] else { panic!("{name}: {found:?}") };
        assert!(why.contains("neither the last event in"), "{why}");
    }
    // From then on they are of one mind.
    site.run(3);
    let audit = verify(&[site.path("two")], Expected::default()).unwrap();
    assert_eq!((audit.events, audit.findings.len()), (12, 1));
}
