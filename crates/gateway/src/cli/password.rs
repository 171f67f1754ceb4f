//! Reading a password: from the terminal, twice and without showing it, else one line of standard input. Never from the command line, which every
//! other process can read.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// A line is no longer, in bytes.
const MOST_BYTES: u64 = 4 * 1024;

/// A password, or why there is none.
pub(crate) fn read_password() -> Result<String, String> {
    if !io::stdin().is_terminal() {
        return read_line();
    }
    read_new("Password: ")
}

/// What is typed twice, without showing it. Where there is no terminal that fails.
pub(crate) fn read_new(prompt: &str) -> Result<String, String> {
    let first = ask(prompt)?;
    let second = ask("Once more: ")?;
    if first == second { Ok(first) } else { Err("the two are not the same".to_owned()) }
}

/// What is typed, without showing it.
pub(crate) fn ask(prompt: &str) -> Result<String, String> {
    let mut terminal = io::stderr().lock();
    // Nothing is lost where the prompt cannot be shown.
    let _ = write!(terminal, "{prompt}").and_then(|()| terminal.flush());
    let line = {
        let _hidden = Hidden::begin()?;
        read_line()
    };
    let _ = writeln!(terminal);
    line
}

/// The terminal shows nothing of what is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> Result<Self, String> {
        let failed = |error: rustix::io::Errno| format!("the terminal would show the password: {error}");
        let before = tcgetattr(io::stdin()).map_err(failed)?;
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &modes).map_err(failed)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // There is nobody to tell; the shell has its own way to mend a terminal.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// A line of standard input.
pub(crate) fn read_line() -> Result<String, String> {
    let mut line = String::new();
    let mut input = io::Read::take(io::stdin().lock(), MOST_BYTES);
    input.read_line(&mut line).map_err(|error| format!("the password cannot be read: {error}"))?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() { Err("there is no password on standard input".to_owned()) } else { Ok(line.to_owned()) }
}
