//! A real program under test: started, its output captured, signalled by its process id, stopped and waited for.
//!
//! It only ever signals the one process that it started and has not yet waited for, so the id cannot belong to another
//! process by then. The program's own children are the program's business.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Seek as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::wait::{self, PATIENCE};

/// How long a dropped process may take to obey SIGTERM before it gets SIGKILL.
const OBEDIENCE: Duration = Duration::from_secs(5);

/// How long what an ended process has printed may take to be read. Nobody waits it out but where a child of the process holds its pipes open.
const STRAGGLING: Duration = Duration::from_secs(10);

/// How many lines are kept; a program that prints more is wrong, and its first lines say why.
const LINES_MAX: usize = 100_000;

/// A program to start.
#[derive(Debug)]
pub struct Program(Command);

impl Program {
    /// The program at `path`, or of that name on the search path. Its standard input is empty.
    pub fn new(path: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(path);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command)
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.0.args(arguments);
        self
    }

    /// Sets an environment variable; the rest is inherited.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Takes an inherited environment variable away.
    #[must_use]
    pub fn without_env(mut self, name: impl AsRef<OsStr>) -> Self {
        self.0.env_remove(name);
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn cwd(mut self, folder: impl AsRef<Path>) -> Self {
        self.0.current_dir(folder);
        self
    }

    /// What stands on its standard input.
    ///
    /// # Panics
    /// When the text cannot be put in a file of its own.
    #[must_use]
    pub fn stdin(mut self, text: &str) -> Self {
        let mut file = tempfile::tempfile().expect("a file without a name");
        file.write_all(text.as_bytes()).and_then(|()| file.rewind()).expect("it can be written");
        self.0.stdin(Stdio::from(file));
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(mut self) -> Process {
        let name = self.0.get_program().to_string_lossy().into_owned();
        let mut child = match self.0.spawn() {
            Ok(child) => child,
            Err(error) => panic!("{name} cannot be started: {error}"),
        };
        let output = Arc::new(Output::default());
        capture(child.stdout.take().expect("standard output is piped"), Stream::Stdout, &output);
        capture(child.stderr.take().expect("standard error is piped"), Stream::Stderr, &output);
        Process { name, life: Life::of(child), output }
    }

    /// Starts it and waits for its end: for programs that answer and exit.
    ///
    /// # Panics
    /// When it cannot be started or has not ended `within` that time.
    pub fn run(self, within: Duration) -> Finished {
        let mut process = self.start();
        let status = process.wait_exit(within);
        Finished { status, stdout: process.stdout_lines(), stderr: process.stderr_lines() }
    }
}

/// What a program that ended had to say.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its lines on standard output.
    pub stdout: Vec<String>,
    /// Its lines on standard error.
    pub stderr: Vec<String>,
}

/// Where a line was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What can be sent to a process (signal(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: end in order.
    Term,
    /// SIGINT: as Ctrl-C.
    Interrupt,
    /// SIGQUIT: nginx ends after its last request.
    Quit,
    /// SIGHUP: reload.
    Hangup,
    /// SIGUSR1: whatever the program makes of it.
    User1,
    /// SIGKILL: end at once.
    Kill,
    /// SIGSTOP: freeze, as a machine that hangs.
    Stop,
    /// SIGCONT: go on after [`Signal::Stop`].
    Continue,
}

impl Signal {
    /// Its name as kill(1) takes it (POSIX: without `SIG`).
    fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Interrupt => "INT",
            Self::Quit => "QUIT",
            Self::Hangup => "HUP",
            Self::User1 => "USR1",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }
}

/// A running program. Dropping it stops it: SIGTERM, then after five seconds SIGKILL, and always a wait for its end. When a
/// test panics, what the program printed is printed too.
#[derive(Debug)]
pub struct Process {
    name: String,
    life: Life,
    output: Arc<Output>,
}

/// Whether a process still runs, for those who do not hold it themselves.
#[derive(Debug, Clone)]
pub struct Life {
    pid: u32,
    /// The child, and how it ended, once that is known.
    child: Arc<Mutex<(Child, Option<ExitStatus>)>>,
}

impl Life {
    fn of(child: Child) -> Self {
        Self { pid: child.id(), child: Arc::new(Mutex::new((child, None))) }
    }

    /// Whether it has ended.
    ///
    /// # Panics
    /// Never for a process that this one started.
    pub fn is_over(&self) -> bool {
        self.ended().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, (Child, Option<ExitStatus>)> {
        self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn ended(&self) -> Option<ExitStatus> {
        let (child, status) = &mut *self.lock();
        if status.is_none() {
            *status = child.try_wait().expect("a child that was not waited for can be waited for");
        }
        *status
    }
}

impl Process {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.life.pid
    }

    /// Whether it still runs, for those who do not hold it themselves.
    pub fn life(&self) -> Life {
        self.life.clone()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.ended().is_none()
    }

    /// Its lines on standard output so far, in order, without line ends.
    pub fn stdout_lines(&self) -> Vec<String> {
        self.output.lines_of(Stream::Stdout)
    }

    /// Its lines on standard error so far, in order, without line ends.
    pub fn stderr_lines(&self) -> Vec<String> {
        self.output.lines_of(Stream::Stderr)
    }

    /// The first line on either stream that contains `needle`, waited for [`PATIENCE`] at most.
    ///
    /// # Panics
    /// When no such line came in that time or before the program ended.
    pub fn wait_for_line(&mut self, needle: &str) -> String {
        self.wait_for(&format!("line with `{needle}`"), PATIENCE, |line| line.contains(needle).then(|| line.to_owned()))
    }

    /// As [`Self::wait_for_line`], for what `find` makes of a line; `what` says in a failure what was waited for.
    ///
    /// # Panics
    /// When `find` gave nothing `within` that time or before the program ended.
    pub fn wait_for<T>(&mut self, what: &str, within: Duration, mut find: impl FnMut(&str) -> Option<T>) -> T {
        let found = self.output.find(within, &mut find);
        found.unwrap_or_else(|| self.give_up(&format!("printed no {what} within {within:?}")))
    }

    /// Waits until a TCP connection to `address` is accepted, [`PATIENCE`] at most.
    ///
    /// # Panics
    /// When nothing listened in that time, or the program ended.
    pub fn wait_for_port(&mut self, address: SocketAddr) {
        let listening = wait::until(PATIENCE, || match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(_) => Some(true),
            Err(_) => self.ended().map(|_| false),
        });
        if listening != Some(true) {
            self.give_up(&format!("does not listen on {address}"));
        }
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the program has ended already.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_some() {
            self.give_up(&format!("cannot get SIG{}: it has ended", signal.name()));
        }
        assert!(self.send(signal), "SIG{} to {} was not delivered", signal.name(), self.name);
    }

    /// Waits for its end, and for the last of its output.
    ///
    /// # Panics
    /// When it has not ended `within` that time.
    pub fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        let Some(status) = wait::until(within, || self.ended()) else {
            self.give_up(&format!("has not ended within {within:?}"))
        };
        // A child of the program may hold the pipes open: what came until then must do.
        self.output.wait_closed(STRAGGLING);
        status
    }

    /// SIGTERM, and then as [`Self::wait_exit`].
    ///
    /// # Panics
    /// When it has ended already, or not ended `within` that time.
    pub fn stop(&mut self, within: Duration) -> ExitStatus {
        self.signal(Signal::Term);
        self.wait_exit(within)
    }

    fn ended(&self) -> Option<ExitStatus> {
        self.life.ended()
    }

    /// By the shell's own `kill`, which every POSIX system has; the kill program is in a package of its own.
    fn send(&self, signal: Signal) -> bool {
        let script = format!("kill -s {} {}", signal.name(), self.pid());
        Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::null())
            .output()
            .is_ok_and(|output| output.status.success())
    }

    fn give_up(&mut self, reason: &str) -> ! {
        let state = match self.ended() {
            Some(status) => format!("ended with {status}"),
            None => "is running".to_owned(),
        };
        panic!("{} (pid {}, {state}) {reason}", self.name, self.pid())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // A stopped process takes SIGTERM only once it goes on.
            let told = self.send(Signal::Term) && self.send(Signal::Continue);
            let obeyed = told && wait::until(OBEDIENCE, || self.ended()).is_some();
            if !obeyed {
                let (child, status) = &mut *self.life.lock();
                // Either of these fails only when the process has ended meanwhile.
                drop(child.kill());
                *status = child.wait().ok();
            }
        }
        if std::thread::panicking() {
            self.output.wait_closed(Duration::from_secs(1));
            self.output.print(&self.name);
        }
    }
}

/// What a program printed, as its two reading threads see it.
#[derive(Debug, Default)]
struct Output {
    printed: Mutex<Printed>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Printed {
    lines: Vec<(Stream, String)>,
    /// Lines beyond `LINES_MAX`, not kept.
    dropped: u64,
    /// How many of the two streams have ended.
    closed: u8,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Printed> {
        self.printed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn lines_of(&self, wanted: Stream) -> Vec<String> {
        let printed = self.lock();
        printed.lines.iter().filter(|(stream, _)| *stream == wanted).map(|(_, line)| line.clone()).collect()
    }

    /// Shows `find` each line once; stops when it gives a value, at the deadline, or when both streams have ended.
    fn find<T>(&self, within: Duration, find: &mut impl FnMut(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + within;
        let mut seen = 0;
        let mut printed = self.lock();
        loop {
            if let Some(found) = printed.lines.iter().skip(seen).find_map(|(_, line)| find(line)) {
                return Some(found);
            }
            seen = printed.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || printed.closed == 2 {
                return None;
            }
            printed = self
                .changed
                .wait_timeout(printed, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(lock, _)| lock);
        }
    }

    fn wait_closed(&self, within: Duration) {
        wait::until(within, || (self.lock().closed == 2).then_some(()));
    }

    #[expect(clippy::print_stderr, reason = "a failed test shows what the program said")]
    fn print(&self, name: &str) {
        let printed = self.lock();
        for (stream, line) in &printed.lines {
            let stream = match stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            };
            eprintln!("{name} {stream}: {line}");
        }
        if printed.dropped > 0 {
            eprintln!("{name}: {} more lines were not kept", printed.dropped);
        }
    }
}

/// Reads one stream to its end in a thread of its own, so that the program never waits for a reader.
fn capture(from: impl Read + Send + 'static, stream: Stream, output: &Arc<Output>) {
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while matches!(from.read_until(b'\n', &mut line), Ok(length) if length > 0) {
            let text = String::from_utf8_lossy(&line);
            let mut printed = output.lock();
            if printed.lines.len() < LINES_MAX {
                printed.lines.push((stream, text.trim_end_matches(['\r', '\n']).to_owned()));
            } else {
                printed.dropped += 1;
            }
            drop(printed);
            output.changed.notify_all();
            line.clear();
        }
        output.lock().closed += 1;
        output.changed.notify_all();
    });
}

#[cfg(test)]
mod tests;
