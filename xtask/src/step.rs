//! One program run as one step: announced, timed, judged by its exit status.

use std::fmt;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

/// Why a verb failed, for the person who ran it.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl<E: fmt::Display> From<E> for Failure {
    fn from(reason: E) -> Self {
        Self(reason.to_string())
    }
}

/// The repository's root: where `Cargo.toml` and `target/` are.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// The `cargo` that runs this program, so that both use one toolchain.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs `command` in the repository's root with its output passed through; fails unless it exits with 0.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let shown = announce(command);
    let started = Instant::now();
    let status =
        command.current_dir(root()).stdin(Stdio::null()).status().map_err(|error| not_started(&shown, &error))?;
    finish(&shown, status, started)
}

/// As [`run`], and hands each line of either output to `reader` too, without its colours.
pub(crate) fn run_reading(command: &mut Command, mut reader: impl FnMut(&str)) -> Result<(), Failure> {
    let shown = announce(command);
    let started = Instant::now();
    if io::stderr().is_terminal() {
        // The child sees pipes; the person still sees a terminal.
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| not_started(&shown, &error))?;
    let (lines, received) = std::sync::mpsc::sync_channel::<String>(1024);
    let copies = [
        child.stdout.take().map(|stream| copy_lines(stream, io::stdout(), lines.clone())),
        child.stderr.take().map(|stream| copy_lines(stream, io::stderr(), lines)),
    ];
    for line in received {
        reader(&without_colours(&line));
    }
    for copy in copies.into_iter().flatten() {
        // A panic there could only be a failed write to a closed terminal; the child's status still decides.
        drop(copy.join());
    }
    finish(&shown, child.wait()?, started)
}

fn copy_lines(
    from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    lines: std::sync::mpsc::SyncSender<String>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while matches!(from.read_until(b'\n', &mut line), Ok(length) if length > 0) {
            // Reading goes on when nobody listens any more: a full pipe would stop the child.
            drop(to.write_all(&line).and_then(|()| to.flush()));
            drop(lines.send(String::from_utf8_lossy(&line).trim_end().to_owned()));
            line.clear();
        }
    })
}

fn announce(command: &Command) -> String {
    let shown = shown(command);
    eprintln!("==> {shown}");
    shown
}

fn not_started(shown: &str, error: &io::Error) -> Failure {
    Failure(format!("`{shown}` could not be started: {error}"))
}

fn finish(shown: &str, status: ExitStatus, started: Instant) -> Result<(), Failure> {
    let seconds = started.elapsed().as_secs_f64();
    if status.success() {
        eprintln!("==> passed in {seconds:.1} s: {shown}");
        Ok(())
    } else {
        Err(Failure(format!("`{shown}` failed after {seconds:.1} s: {status}")))
    }
}

/// The command line as a person would type it, near enough to try it again.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or_else(|| command.get_program()).to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Leaves out the escape sequences that set colours (ECMA-48 section 8.3.117): `ESC [ … letter`.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            characters.find(|end| end.is_ascii_alphabetic());
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_left_out_and_the_rest_is_kept() {
        for (line, expected) in [
            ("plain", "plain"),
            ("\u{1b}[32;1m     Summary\u{1b}[0m [ 0.1s] 3 tests run", "     Summary [ 0.1s] 3 tests run"),
            ("cut off \u{1b}[3", "cut off "),
            ("größe \u{1b}[1mß\u{1b}[0m", "größe ß"),
        ] {
            assert_eq!(without_colours(line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_step_fails_by_its_exit_status_and_its_lines_are_read_from_both_outputs() {
        let mut lines = Vec::new();
        let script = "echo out; echo err >&2; exit 3";
        let failure = run_reading(Command::new("sh").args(["-c", script]), |line| lines.push(line.to_owned()));
        lines.sort();
        assert_eq!(lines, ["err", "out"]);
        let Err(Failure(reason)) = failure else { panic!("exit status 3 passed") };
        assert!(reason.contains("exit status: 3"), "{reason}");
        assert!(run_reading(&mut Command::new("true"), |_| ()).is_ok());
        assert!(run(&mut Command::new("false")).is_err());
        assert!(run(&mut Command::new("/no/such/program")).is_err());
    }

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(root().join("Cargo.lock").is_file());
    }
}
