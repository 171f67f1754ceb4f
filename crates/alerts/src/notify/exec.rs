//! A program that is run for each notification: a pager's client, a script that opens a ticket.
//!
//! It is started by its path, never through a shell, with its arguments as they are written; the notification comes as JSON on standard
//! input, so nothing that a caller chose stands among the arguments. It has a process group of its own, which is killed when it is
//! over or has taken too long, whatever it has forked meanwhile.

use std::fs::File;
use std::io::{self, PipeReader, Read, Seek, Write};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::{Failure, Teller, payload};
use crate::grouping::Notification;
use crate::settings::ExecSettings;

/// How much of what a program says is kept.
const KEPT: usize = 4 * 1024;
/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);
/// How long a program has to die.
const DEATH: Duration = Duration::from_secs(2);
/// An exit status that asks for another attempt: `EX_TEMPFAIL` of sysexits.h.
const TEMPORARY: i32 = 75;

pub(crate) struct Exec {
    settings: ExecSettings,
}

impl Exec {
    pub(crate) fn new(settings: &ExecSettings) -> Self {
        Self { settings: settings.clone() }
    }

    fn start(&self, notification: &Notification) -> io::Result<(Child, PipeReader)> {
        let (output, writer) = io::pipe()?;
        let child = Command::new(&self.settings.program)
            .args(self.settings.arguments.iter().map(|argument| &**argument))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .env("PORTCULLIS_ALERT", &*notification.rule.name)
            .current_dir("/")
            .stdin(input(notification)?)
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .spawn()?;
        // The writing ends went with the command: what is left of them is the program's.
        Ok((child, output))
    }
}

impl Teller for Exec {
    fn tell(&mut self, notification: &Notification, is_over: &dyn Fn() -> bool) -> Result<String, Failure> {
        let deadline = Instant::now() + self.settings.timeout;
        let is_late = || Instant::now() >= deadline || is_over();
        let (mut child, mut output) = self.start(notification).map_err(|error| {
            Failure::lasting(format!("{} cannot be started: {error}", self.settings.program.display()))
        })?;
        let mut said = Vec::new();
        let in_time = watch(&child, &mut output, &mut said, &is_late);
        let status = end(&mut child);
        let said = words(&said);
        match (in_time, status) {
            (Ok(true), Ok(status)) => judge(status, &said),
            (Ok(true), Err(error)) | (Err(error), _) => Err(Failure::passing(error)),
            (Ok(false), status) => {
                let which = if Instant::now() >= deadline {
                    format!("it took longer than {} s", self.settings.timeout.as_secs())
                } else {
                    "there was no time left".to_owned()
                };
                let end = status.map_or_else(|error| format!(", and {error}"), |_| " and was killed".to_owned());
                Err(Failure::passing(format!("{which}{end}{said}")))
            }
        }
    }
}

/// The notification in a file without a name, so that a program that does not read it holds nobody up.
fn input(notification: &Notification) -> io::Result<Stdio> {
    let mut file = File::from(memfd_create("notification", MemfdFlags::CLOEXEC)?);
    serde_json::to_writer(&mut file, &payload::generic(notification))?;
    file.write_all(b"\n")?;
    file.rewind()?;
    Ok(file.into())
}

/// Reads what the program says until it has ended, which is `true`, or it is late.
fn watch(child: &Child, output: &mut PipeReader, said: &mut Vec<u8>, is_late: &dyn Fn() -> bool) -> io::Result<bool> {
    let mut open = true;
    loop {
        if has_ended(child)? {
            // What it said last; a program that it left behind may go on writing.
            while open && said.len() < KEPT && ready(output, Duration::ZERO)? {
                open = take(output, said)?;
            }
            return Ok(true);
        }
        if is_late() {
            return Ok(false);
        }
        if !open {
            std::thread::park_timeout(LOOK);
        } else if ready(output, LOOK)? {
            open = take(output, said)?;
        }
    }
}

/// Whether it has ended; its number stays taken until [`end`].
fn has_ended(child: &Child) -> io::Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(pid(child)?), options)?.is_some())
}

fn ready(output: &PipeReader, timeout: Duration) -> io::Result<bool> {
    let timeout = Timespec { tv_sec: 0, tv_nsec: timeout.subsec_nanos().into() };
    let mut polled = [PollFd::new(output, PollFlags::IN)];
    match poll(&mut polled, Some(&timeout)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Takes what there is, and says whether more can come. Of more than is kept, the rest is read and left aside.
fn take(output: &mut PipeReader, said: &mut Vec<u8>) -> io::Result<bool> {
    let mut piece = [0; 4 * 1024];
    let length = output.read(&mut piece)?;
    let room = KEPT.saturating_sub(said.len());
    said.extend_from_slice(piece.get(..length.min(room)).unwrap_or_default());
    Ok(length > 0)
}

/// Kills what is left of the group, and takes the exit status. The program is not reaped before, so that its number cannot be
/// another's by then. One that runs as another user cannot be killed, and one in the middle of a call to a dead disk does not die: it is left
/// behind rather than waited for without an end.
fn end(child: &mut Child) -> io::Result<ExitStatus> {
    // Nothing is left, as a rule.
    let _ = kill_process_group(pid(child)?, Signal::KILL);
    // A program that has changed its group is no part of it.
    let _ = child.kill();
    let deadline = Instant::now() + DEATH;
    while !has_ended(child)? {
        if Instant::now() >= deadline {
            return Err(io::Error::other("it was killed and goes on"));
        }
        std::thread::park_timeout(LOOK);
    }
    child.wait()
}

fn pid(child: &Child) -> io::Result<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("a process without a number"))
}

fn judge(status: ExitStatus, said: &str) -> Result<String, Failure> {
    if status.success() {
        return Ok(format!("it ended with 0{said}"));
    }
    let words = format!("{status}{said}");
    if status.code() == Some(TEMPORARY) { Err(Failure::passing(words)) } else { Err(Failure::lasting(words)) }
}

/// The beginning of what it said, in one line.
fn words(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let line = payload::plain(text.trim());
    let short: String = line.chars().take(300).collect();
    if short.is_empty() { String::new() } else { format!(": {short}") }
}
