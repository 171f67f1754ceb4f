//! The guard around programs that every POSIX system has.

use std::os::unix::process::ExitStatusExt as _;

use super::*;

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

fn shell(script: &str) -> Program {
    Program::new("sh").args(["-c", script])
}

#[test]
fn arguments_environment_folder_and_both_streams_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let finished = Program::new("sh")
        .args(["-c", "echo \"$1 $GIVEN ${TAKEN-none}\"; pwd -P >&2; exit 7", "name"])
        .arg("first")
        .env("GIVEN", "given")
        .env("TAKEN", "taken")
        .without_env("TAKEN")
        .cwd(folder.path())
        .run(PATIENCE);
    assert_eq!(finished.status.code(), Some(7));
    assert_eq!(finished.stdout, ["first given none"]);
    assert_eq!(finished.stderr, [folder.path().canonicalize().unwrap().to_str().unwrap()]);
}

#[test]
fn a_line_is_waited_for_and_signals_are_delivered() {
    let mut process =
        shell("trap 'echo reloaded' HUP; trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done")
            .start();
    assert_eq!(process.wait_for_line("read"), "ready");
    process.signal(Signal::Hangup);
    process.wait_for_line("reloaded");
    assert!(process.is_running());
    assert_eq!(process.stop(PATIENCE).code(), Some(3));
    assert!(!process.is_running());
    assert_eq!(process.stdout_lines(), ["ready", "reloaded", "bye"]);
}

#[test]
#[should_panic(expected = "printed no line with `never`")]
fn the_wait_for_a_line_ends_with_the_program() {
    shell("echo something").start().wait_for_line("never");
}

#[test]
#[should_panic(expected = "ended with exit status: 4) does not listen")]
fn the_wait_for_a_port_ends_with_the_program() {
    shell("exit 4").start().wait_for_port(([127, 0, 0, 1], crate::ports::free_port()).into());
}

#[test]
#[should_panic(expected = "has not ended within")]
fn the_wait_for_the_end_is_bounded() {
    shell("exec sleep 60").start().wait_exit(Duration::from_millis(20));
}

#[test]
fn a_dropped_process_is_gone() {
    let process = shell("exec sleep 60").start();
    let entry = format!("/proc/{}", process.pid());
    assert!(Path::new(&entry).exists());
    drop(process);
    assert!(!Path::new(&entry).exists());
}

#[test]
fn a_stopped_process_is_gone_too() {
    let mut process = shell("exec sleep 60").start();
    let entry = format!("/proc/{}", process.pid());
    process.signal(Signal::Stop);
    drop(process);
    assert!(!Path::new(&entry).exists());
}

#[test]
fn how_a_signal_ended_it_is_told() {
    for (signal, expected) in [(Signal::Term, SIGTERM), (Signal::Kill, SIGKILL)] {
        let mut process = shell("exec sleep 60").start();
        process.signal(signal);
        assert_eq!(process.wait_exit(PATIENCE).signal(), Some(expected));
    }
}

#[test]
fn an_open_port_is_found() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    shell("exec sleep 60").start().wait_for_port(listener.local_addr().unwrap());
}
