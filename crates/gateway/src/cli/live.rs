//! Asking a running gateway, and the verbs that only do that: `reload`, `drain` and `health`.

use std::path::PathBuf;

use portcullis_admin::api::{Done, Health, Reloaded};
use portcullis_admin::{Client, ClientError};
use portcullis_config::{ProcessEnvironment, control_channel};
use serde::Serialize;
use serde_json::json;

use crate::cli::args::{Format, Global, HealthArgs};
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

/// Asks the running gateway.
///
/// # Errors
/// The exit code, once why there is no answer is said.
pub(crate) fn ask<T>(global: &Global, question: impl AsyncFnOnce(Client) -> Result<T, ClientError>) -> Result<T, Exit> {
    try_ask(global, question)?.map_err(|error| {
        fail(global, &error.to_string());
        match error {
            ClientError::Unreachable { .. } | ClientError::Broken { .. } => Exit::Unreachable,
            ClientError::Forbidden { .. } => Exit::NotPermitted,
            ClientError::Refused(_) => Exit::Negative,
        }
    })
}

/// The same for whoever can do without an answer.
///
/// # Errors
/// The exit code, where nothing could be asked at all; that is said.
pub(crate) fn try_ask<T>(
    global: &Global,
    question: impl AsyncFnOnce(Client) -> Result<T, ClientError>,
) -> Result<Result<T, ClientError>, Exit> {
    let client = Client::new(socket(global)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        fail(global, &format!("no runtime: {error}"));
        Exit::Internal
    })?;
    Ok(runtime.block_on(question(client)))
}

/// The same where it is no matter if there is no gateway: then there is no answer, and nothing is said.
pub(crate) fn ask_quietly<T>(
    global: &Global,
    question: impl AsyncFnOnce(Client) -> Result<T, ClientError>,
) -> Option<T> {
    let socket = match &global.admin {
        Some(path) => path.clone(),
        None => control_channel(&global.config, &ProcessEnvironment)?.socket,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(question(Client::new(socket))).ok()
}

/// The socket that is named, else that of the gateway which runs on the configuration.
fn socket(global: &Global) -> Result<PathBuf, Exit> {
    if let Some(path) = &global.admin {
        return Ok(path.clone());
    }
    match control_channel(&global.config, &ProcessEnvironment) {
        Some(settings) => Ok(settings.socket),
        None => {
            fail(global, "the configuration switches the control channel off (`[control] enabled = false`)");
            Err(Exit::Unreachable)
        }
    }
}

pub(crate) fn fail(global: &Global, error: &str) {
    match global.output {
        Format::Human => remark(&format!("error: {}", safe(error))),
        Format::Json | Format::Jsonl => remark(&json!({ "error": error }).to_string()),
    }
}

/// Answers with a value, or with words for a person.
pub(crate) fn show(global: &Global, value: &impl Serialize, words: impl FnOnce() -> String) {
    match global.output {
        _ if global.quiet => {}
        Format::Human => answer(&words()),
        Format::Json => answer(&serde_json::to_string_pretty(value).unwrap_or_default()),
        Format::Jsonl => answer(&serde_json::to_string(value).unwrap_or_default()),
    }
}

/// A text that cannot speak to the terminal: control characters (C0, C1) and those that turn or hide what follows are escaped. Line
/// feeds stay out, too.
pub(crate) fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        let misleads = matches!(character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
        if character.is_control() || misleads {
            safe.extend(character.escape_unicode());
        } else {
            safe.push(character);
        }
    }
    safe
}

pub(crate) fn reload(global: &Global) -> Exit {
    let reloaded: Reloaded = match ask(global, async |client| client.post("/v1/reload", &json!({})).await) {
        Ok(reloaded) => reloaded,
        Err(exit) => return exit,
    };
    if let (Some(report), Format::Human) = (&reloaded.report, global.output) {
        let lines: Vec<String> = report.trim_end().lines().map(safe).collect();
        remark(&lines.join("\n"));
    }
    show(global, &reloaded, || {
        let mut words = if reloaded.reloaded {
            format!("reloaded: policy {}; {}", short(&reloaded.sha256), safe(&reloaded.message))
        } else {
            format!("{}; policy {} stays in force", safe(&reloaded.message), short(&reloaded.sha256))
        };
        if !reloaded.restart.is_empty() {
            words.push_str(&format!("\nneeds a restart: {}", safe(&reloaded.restart.join(", "))));
        }
        words
    });
    if reloaded.reloaded { Exit::Success } else { Exit::Configuration }
}

pub(crate) fn drain(global: &Global) -> Exit {
    match ask(global, async |client| client.post::<Done>("/v1/drain", &json!({})).await) {
        Ok(done) => {
            show(global, &done, || safe(&done.message));
            Exit::Success
        }
        Err(exit) => exit,
    }
}

pub(crate) fn health(global: &Global, args: &HealthArgs) -> Exit {
    let health: Health = match ask(global, async |client| client.get("/v1/health").await) {
        Ok(health) => health,
        Err(exit) => return exit,
    };
    show(global, &health, || {
        let word = |yes, good: &str, bad: &str| if yes { good.to_owned() } else { bad.to_owned() };
        format!("{}, {}", word(health.live, "live", "a worker is stuck"), word(health.ready, "ready", "draining"))
    });
    if health.live && (health.ready || !args.ready) { Exit::Success } else { Exit::Negative }
}

/// As much of a hash as tells it from others.
pub(crate) fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_speaks_to_the_terminal() {
        let check = |text: &str, expected: &str| assert_eq!(safe(text), expected);
        check("/a b?ü 漢", "/a b?ü 漢");
        check("\u{1b}[31mred", "\\u{1b}[31mred");
        check("a\nb\r\tc\0", "a\\u{a}b\\u{d}\\u{9}c\\u{0}");
        check("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}");
        check("a\u{202e}b\u{2066}c", "a\\u{202e}b\\u{2066}c");
    }
}
