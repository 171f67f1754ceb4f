//! Programs: real ones, that behave and that do not.

use std::path::Path;
use std::time::Duration;

use portcullis_alerts::settings::*;
use portcullis_alerts::{Delivered, Tried};
use portcullis_testkit::wait::{self, PATIENCE};
use serde_json::Value;

use crate::world::{rule, start};

fn exec(program: &str, arguments: &[&str], timeout: Duration) -> NotifierKind {
    NotifierKind::Exec(ExecSettings {
        program: program.into(),
        arguments: arguments.iter().map(|argument| (*argument).into()).collect(),
        timeout,
    })
}

/// What comes of a program that is a script of the shell.
fn tried(script: &str, timeout: Duration) -> Tried {
    let running = start(vec![rule("hook")], exec("/bin/sh", &["-c", script], timeout), 1);
    let tried = running.alerts.test("failing").unwrap().remove(0);
    running.alerts.shutdown(PATIENCE);
    tried
}

/// Waits until a process is gone.
#[track_caller]
fn check_gone(pid: &str) {
    assert!(!pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()), "{pid:?} is no number");
    let gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // A zombie is gone, too: it waits for its parent only.
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    };
    assert!(wait::until(PATIENCE, gone).is_some(), "{pid} lives on");
}

const LONG: Duration = Duration::from_secs(60);
/// What is killed after so long has said something before, also on a busy machine.
const BEGINS_WITHIN: Duration = Duration::from_secs(3);

#[test]
fn a_program_gets_the_notification_and_nothing_of_the_gateways_environment() {
    let folder = tempfile::tempdir().unwrap();
    let (input, environment) = (folder.path().join("input"), folder.path().join("environment"));
    let script = format!("cat > '{}'; env > '{}'; pwd", input.display(), environment.display());
    let tried = tried(&script, LONG);
    assert!(tried.delivered && tried.message == "it ended with 0: /", "{tried:?}");
    let body: Value = serde_json::from_slice(&std::fs::read(input).unwrap()).unwrap();
    assert_eq!(
        (&body["schema"], &body["alert"], &body["test"]),
        (&"portcullis.alert/1".into(), &"failing".into(), &true.into())
    );
    let environment = std::fs::read_to_string(environment).unwrap();
    let names: Vec<&str> = environment.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    let known = ["PATH", "LANG", "PORTCULLIS_ALERT", "PWD", "SHLVL", "_", "OLDPWD"];
    assert!(names.iter().all(|name| known.contains(name)), "{environment}");
    assert!(environment.contains("PORTCULLIS_ALERT=failing\n"), "{environment}");
}

#[test]
fn what_hangs_is_killed_with_all_that_it_has_started() {
    let tried = tried("sleep 1000 & echo $!; sleep 1000", BEGINS_WITHIN);
    assert!(!tried.delivered && tried.message.contains("killed"), "{tried:?}");
    check_gone(tried.message.rsplit_once(": ").unwrap().1);
}

#[test]
fn what_is_left_behind_holds_nobody_up_and_is_killed() {
    let tried = tried("sleep 1000 & echo $!", LONG);
    assert!(tried.delivered, "{tried:?}");
    check_gone(tried.message.rsplit_once(": ").unwrap().1);
}

#[test]
fn what_is_never_read_and_what_never_ends_are_bounded() {
    // It reads nothing and says something without an end.
    let tried = tried("exec yes", BEGINS_WITHIN);
    assert!(!tried.delivered && tried.message.contains("killed: y y y") && tried.message.len() < 1_000, "{tried:?}");
    let running = start(vec![rule("hook")], exec("/nowhere/page", &[], LONG), 3);
    running.refuse("203.0.113.7", None);
    running.refuse("203.0.113.7", None);
    let event = running.of_kind("alert.undelivered", 1).remove(0);
    let message = event["message"].as_str().unwrap();
    assert!(message.contains("cannot be started") && message.contains("tried once"), "{message}");
    running.alerts.shutdown(PATIENCE);
}

#[test]
fn the_exit_status_says_whether_another_attempt_is_worth_it() {
    let folder = tempfile::tempdir().unwrap();
    let count = |path: &Path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    let check = |name: &str, status: u8, expected: usize| {
        let path = folder.path().join(name);
        let script = format!("echo x >> '{}'; exit {status}", path.display());
        let running = start(vec![rule("hook")], exec("/bin/sh", &["-c", &script], LONG), 2);
        running.refuse("203.0.113.7", None);
        running.refuse("203.0.113.7", None);
        if status == 0 {
            assert!(wait::until(PATIENCE, || (running.told(Delivered::Sent) == 1).then_some(())).is_some());
        } else {
            let event = running.of_kind("alert.undelivered", 1).remove(0);
            assert!(event["message"].as_str().unwrap().contains(&format!("exit status: {status}")), "{event:#}");
        }
        assert_eq!(count(&path), expected, "{name}");
        running.alerts.shutdown(PATIENCE);
    };
    check("fine", 0, 1);
    check("temporary", 75, 2);
    check("for-good", 1, 1);
}
