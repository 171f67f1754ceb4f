//! Secrets: `{ file = … }`, `{ env = … }` or `{ credential = … }`, and never the secret itself.
//!
//! A secret is read with the configuration and shown by no report. `credential` is one that systemd hands over
//! (`LoadCredential=`, systemd.exec(5)).

use std::path::PathBuf;

use portcullis_events::settings::Secret;

use crate::codes;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::document::{FileToRead, read_material};
use crate::file::receiver::Word;
use crate::kinds::FilePath;
use crate::section::{Reader, Section};

/// The longest secret, in bytes.
const MAX_SECRET: u64 = 64 * 1024;

/// A secret of several lines that must be there, and where it is named.
pub(crate) fn required_text(section: &Section<'_>, key: &'static str) -> Option<At<Secret>> {
    let table = section.required_table(key, "`{ file = \"…\" }`, `{ env = \"…\" }` or `{ credential = \"…\" }`")?;
    let span = table.span();
    Some(At { value: read_secret(table, Form::Text)?, span })
}

/// The same, of one that may be absent. `Err`: it is there and cannot be read, which was reported.
pub(crate) fn optional_text(section: &Section<'_>, key: &'static str) -> Result<Option<At<Secret>>, ()> {
    let Some(table) = section.table(key) else { return if section.has(key) { Err(()) } else { Ok(None) } };
    let span = table.span();
    let value = read_secret(table, Form::Text).ok_or(())?;
    Ok(Some(At { value, span }))
}

/// What a secret may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One line of visible ASCII; a line feed at its end is the editor's.
    Line,
    /// Lines of it, such as PEM.
    Text,
}

/// A secret that must be there.
pub(super) fn required_secret(section: &Section<'_>, key: &'static str) -> Option<Secret> {
    let table = section.required_table(key, "`{ file = \"…\" }`, `{ env = \"…\" }` or `{ credential = \"…\" }`")?;
    read_secret(table, Form::Line)
}

/// A secret that may be absent.
pub(crate) fn optional_secret(section: &Section<'_>, key: &'static str) -> Option<Secret> {
    read_secret(section.table(key)?, Form::Line)
}

/// A secret of one line out of its table.
pub(super) fn read_line(table: Section<'_>) -> Option<Secret> {
    read_secret(table, Form::Line)
}

fn read_secret(table: Section<'_>, form: Form) -> Option<Secret> {
    let file = table.optional("file", FilePath);
    let env = table.optional("env", Word("the name of an environment variable"));
    let credential = table.optional("credential", Word("the name of a systemd credential"));
    let (reader, span) = (table.reader(), table.span());
    let written: Vec<&str> = ["file", "env", "credential"].into_iter().filter(|key| table.has(key)).collect();
    table.finish();
    match written.as_slice() {
        ["file"] => {
            let file = file?;
            read_file(reader, file.value.path, &file.value.written, file.span, form)
        }
        ["env"] => from_variable(reader, &env?, form),
        ["credential"] => from_credentials(reader, &credential?, form),
        _ => {
            let message = "expected one of `file`, `env` and `credential`";
            reader.report(Diagnostic::error(codes::BAD_VALUE, span, message));
            None
        }
    }
}

fn from_credentials(reader: &Reader<'_>, name: &At<String>, form: Form) -> Option<Secret> {
    let Some(folder) = reader.variable("CREDENTIALS_DIRECTORY") else {
        let message = format!("the credential `{}` is not there: systemd has handed none over", name.value);
        let help = format!("add `LoadCredential={}:/path` to the unit", name.value);
        reader.report(Diagnostic::error(codes::ENVIRONMENT, name.span, message).with_help(help));
        return None;
    };
    read_file(reader, PathBuf::from(folder).join(&name.value), &name.value, name.span, form)
}

fn from_variable(reader: &Reader<'_>, name: &At<String>, form: Form) -> Option<Secret> {
    let Some(value) = reader.variable(&name.value) else {
        let message = format!("the environment variable `{}` is not set", name.value);
        reader.report(Diagnostic::error(codes::ENVIRONMENT, name.span, message).with_help("set it, or name another"));
        return None;
    };
    checked(reader, &value, name.span, form)
}

fn read_file(reader: &Reader<'_>, path: PathBuf, short_name: &str, at: Span, form: Form) -> Option<Secret> {
    let file = FileToRead { path: &path, short_name, named_at: Some(at), limit: MAX_SECRET, defines_names: false };
    let bytes = read_material(reader, file)?;
    checked(reader, std::str::from_utf8(&bytes).unwrap_or_default(), at, form)
}

fn checked(reader: &Reader<'_>, text: &str, at: Span, form: Form) -> Option<Secret> {
    if form == Form::Text {
        return Some(Secret::new(text));
    }
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        // What it is instead is not said: it may be the secret with a slip in it.
        let message = "the secret is no line of visible ASCII characters";
        reader.report(Diagnostic::error(codes::BAD_VALUE, at, message).with_help("it is empty, or has further lines"));
        return None;
    }
    Some(Secret::new(text))
}
