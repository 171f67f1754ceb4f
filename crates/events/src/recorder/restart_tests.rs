//! What a start makes of what the process before has left: the chain goes on from the newest line there is, wherever it stands, and a
//! place that lacks the last lines is given them. So every file is one chain again.

use std::fs;
use std::path::{Path, PathBuf};

use super::tests::{LONG, event};
use super::*;
use crate::audit::{Expected, Problem, verify};
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
