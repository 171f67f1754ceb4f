//! Logs for operators, on standard error: standard output belongs to events and answers.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::cli::args::{Color, Global};

/// Starts logging. `PORTCULLIS_LOG` takes a filter such as `debug` or `portcullis_proxy=trace`; `-q` and `-v` set the level
/// otherwise.
pub(crate) fn start(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "info",
        (false, 1) => "debug",
        (false, _) => "trace",
    };
    let filter = EnvFilter::try_from_env("PORTCULLIS_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // A second start, as in a test, keeps the first.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour(global.color, std::io::stderr().is_terminal()))
        .with_target(false)
        .try_init();
}

/// Whether to use colour on a stream. An explicit wish wins over `NO_COLOR`.
pub(crate) fn colour(wish: Color, is_terminal: bool) -> bool {
    match wish {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    }
}
