//! Writing to standard output and standard error, where a closed pipe is not an error worth a panic.

use std::io::Write as _;

/// A line of an answer.
pub(crate) fn answer(text: &str) {
    let mut stdout = std::io::stdout().lock();
    // Whoever closed the pipe does not want the rest.
    let _ = writeln!(stdout, "{text}");
    let _ = stdout.flush();
}

/// An answer that brings its own ends of lines.
pub(crate) fn answer_text(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}

/// A line about what went wrong, or what to know besides the answer.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
