//! What waits for notifiers when they change, go, hang, or the process ends.

use std::path::{Path, PathBuf};

use portcullis_events::Capture;
use portcullis_testkit::wait::{self, PATIENCE};

use super::*;
use crate::engine::rule_for_tests;
use crate::settings::{Containment, ExecSettings, Rule};

struct Nobody;

impl Response for Nobody {
    fn contained(&self, _: &str) -> Vec<(crate::Key, Containment)> {
        Vec::new()
    }

    fn contain(&self, _: &crate::Firing, _: Containment) -> Result<String, String> {
        Err("nobody is contained".to_owned())
    }

    fn stamp(&self, _: &mut Event) {}
}

/// Notifiers that are scripts of the shell, and what they write.
struct World {
    folder: tempfile::TempDir,
    couriers: Couriers,
    capture: Capture,
    stats: Arc<Stats>,
}

impl World {
    fn start() -> Self {
        let (recorder, capture) = Recorder::in_memory(1_000).unwrap();
        let stats = Arc::<Stats>::default();
        let couriers = Couriers::new(recorder, Arc::new(Nobody), Arc::clone(&stats));
        Self { folder: tempfile::tempdir().unwrap(), couriers, capture, stats }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs this for each notification from now on, and nothing for any other.
    fn run(&mut self, script: &str) {
        self.couriers.replace(&[exec(script, 3)]);
    }

    fn send(&self, count: usize) {
        let rule = Arc::new(Rule { notify: vec!["pager".into()], ..rule_for_tests() });
        for _ in 0..count {
            let notification = Notification::of_test(&rule, &Settings::default());
            self.couriers.send(&Arc::new(notification));
        }
    }

    fn told(&self, result: Delivered) -> u64 {
        self.stats.notifications().iter().filter(|(_, each, _)| *each == result).map(|(.., count)| count).sum()
    }

    /// What was given up, and why. The events of it are there when it is counted, or soon after.
    fn given_up(&self, count: usize) -> Vec<String> {
        let found = || {
            let events = self.capture.events();
            let messages: Vec<String> =
                events.iter().filter_map(|event| Some(event["message"].as_str()?.to_owned())).collect();
            (messages.len() >= count).then_some(messages)
        };
        wait::until(PATIENCE, found).unwrap_or_else(|| panic!("{:?}", self.capture.lines()))
    }
}

fn exec(script: &str, attempts: u32) -> Arc<NotifierSettings> {
    let settings = ExecSettings {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        timeout: Duration::from_secs(1_000),
    };
    Arc::new(NotifierSettings { name: "pager".into(), kind: NotifierKind::Exec(settings), attempts })
}

/// Waits until a script has written so many lines.
#[track_caller]
fn wait_lines(path: &Path, count: usize) {
    let written = || {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        (text.lines().count() >= count).then_some(())
    };
    assert!(wait::until(PATIENCE, written).is_some(), "{path:?}: {:?}", std::fs::read_to_string(path));
}

#[test]
fn what_waits_for_a_notifier_that_a_reload_changes_is_told_by_its_new_settings() {
    let mut world = World::start();
    let (old, new) = (world.path("old"), world.path("new"));
    // It is to be tried again, after a pause.
    world.run(&format!("echo x >> '{}'; exit 75", old.display()));
    world.send(3);
    wait_lines(&old, 1);
    world.run(&format!("echo x >> '{}'", new.display()));
    wait_lines(&new, 3);
    assert!(wait::until(PATIENCE, || (world.told(Delivered::Sent) == 3).then_some(())).is_some());
    assert_eq!((world.told(Delivered::Failed), world.told(Delivered::Dropped)), (0, 0));
    world.couriers.end(Instant::now() + PATIENCE);
}

#[test]
fn a_notifier_that_is_gone_tries_what_waits_once_more_and_says_what_was_not_taken() {
    let mut world = World::start();
    let path = world.path("tried");
    world.run(&format!("echo x >> '{}'; exit 75", path.display()));
    world.send(2);
    wait_lines(&path, 1);
    world.couriers.replace(&[]);
    let messages = world.given_up(2);
    assert!(messages.iter().all(|message| message.contains("exit status: 75")), "{messages:?}");
    assert_eq!(world.told(Delivered::Failed), 2);
    world.send(1);
    assert!(world.given_up(3)[2].contains("it is not running"));
    world.couriers.end(Instant::now() + PATIENCE);
}

#[test]
fn what_was_not_told_in_time_is_given_up_with_a_word_and_what_runs_is_killed() {
    let mut world = World::start();
    let path = world.path("pid");
    world.run(&format!("echo $$ >> '{}'; exec sleep 1000", path.display()));
    world.send(4);
    wait_lines(&path, 1);
    let World { couriers, stats, capture, folder } = world;
    couriers.end(Instant::now());
    // All of it is counted when it ends, so that the recorder can be shut down after it.
    let failed: u64 = stats.notifications().iter().map(|(.., count)| count).sum();
    assert_eq!(failed, 4);
    let pid = std::fs::read_to_string(&path).unwrap();
    let gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    };
    assert!(wait::until(PATIENCE, gone).is_some(), "{pid} lives on");
    let recorded = || (capture.events().len() == 4).then(|| capture.lines());
    let lines = wait::until(PATIENCE, recorded).unwrap_or_else(|| panic!("{:?}", capture.lines()));
    assert!(lines.iter().all(|line| line.contains("there was no time left")), "{lines:?}");
    drop(folder);
}

#[test]
fn a_test_does_not_wait_for_a_notifier_that_hangs() {
    let settings = Settings { notifiers: vec![exec("exec sleep 1000", 1)], ..Settings::default() };
    let rule = Arc::new(Rule { notify: vec!["pager".into()], ..rule_for_tests() });
    let tried = try_within(&settings, &Notification::of_test(&rule, &settings), Duration::from_millis(200));
    assert!(!tried[0].delivered, "{tried:?}");
    let said = ["has not answered", "there was no time left and was killed"];
    assert!(said.iter().any(|said| tried[0].message.contains(said)), "{tried:?}");
}
