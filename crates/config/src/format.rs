//! One canonical layout for the configuration files: comments, order and every value stay, only the space between them
//! changes.
//!
//! - `key = value`, one to a line, not indented; `[table]` and `{ a = 1, b = 2 }` and `[1, 2]` on one line.
//! - One blank line before a table header and the comments that stand directly above it, none directly below a header (but
//!   that of an empty table keeps it), at most one elsewhere, none at the beginning or the end of a file.
//! - An array stays on one line unless it held a line break or a comment, or its line would be longer than [`MAX_WIDTH`];
//!   then it has one element to a line, indented by four spaces, each followed by a comma. An inline table is only broken
//!   where its author broke it: TOML 1.0 has no line breaks in it.
//! - A comment behind code begins in column 50, or two spaces behind longer code; longer lines that follow one another share
//!   a column. A comment that stands exactly below another continues it, and stays below it. Others begin their line.
//! - Lines end in LF, without trailing space; the file ends in one; there is no byte order mark.
//!
//! Strings, numbers, moments, keys and the words of comments stay byte for byte. This deliberately sorts nothing, and
//! checks no more than that the text is TOML. Every result is proved before it is handed out ([`proof`]).

mod alignment;
mod discovery;
mod document;
mod file;
mod proof;
mod spacing;
mod tree;
mod value;

use toml::de::DeTable;
use toml_parser::ErrorSink;
use toml_parser::parser::{Event, EventKind, RecursionGuard, parse_document};
use unicode_width::UnicodeWidthStr as _;

pub use discovery::files_to_format;
pub use file::{FileToFormat, FormatError, format_bytes};

/// An array whose line would be longer, in columns and without its comment, is broken.
const MAX_WIDTH: usize = 100;

/// Values are nested at most this deep; the reader of values has the same bound.
const MAX_DEPTH: u32 = 80;

/// The canonical layout of a text that holds these values, proved.
///
/// # Errors
/// The first error of the syntax if there is one, or what the proof found; the caller has parsed the text and expects neither.
fn canonical(text: &str, values: &DeTable<'_>) -> Result<String, Refusal> {
    let events = events(text)?;
    let after = laid_out(text, &events)?;
    if text != after {
        proof::prove(text, values, &events, &after)?;
    }
    Ok(after)
}

/// The same without the proof.
fn laid_out(text: &str, events: &[Event]) -> Result<String, Refusal> {
    let items = document::Items::read(text, events).ok_or(Refusal::Unsound("its parts do not fit together"))?;
    alignment::joined(&spacing::spaced(items)).ok_or(Refusal::TooLarge)
}

/// Why there is no canonical layout of a text.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// It would be larger than a file may be: indentation grows with depth.
    TooLarge,
    /// It would not say the same.
    Unsound(&'static str),
}

/// What a text consists of, without the space between.
fn events(text: &str) -> Result<Vec<Event>, Refusal> {
    let tokens = toml_parser::Source::new(text).lex().into_vec();
    let mut events: Vec<Event> = Vec::with_capacity(tokens.len());
    let mut errors = AnyError(false);
    let mut receive = |event: Event| {
        if event.kind() != EventKind::Whitespace {
            events.push(event);
        }
    };
    // The parser calls itself, and so does what reads its events.
    let mut guarded = RecursionGuard::new(&mut receive, MAX_DEPTH);
    parse_document(&tokens, &mut guarded, &mut errors);
    if errors.0 { Err(Refusal::Unsound("it is not TOML")) } else { Ok(events) }
}

/// How many columns a text takes.
fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// Whether there was an error.
struct AnyError(bool);

impl ErrorSink for AnyError {
    fn report_error(&mut self, _error: toml_parser::ParseError) {
        self.0 = true;
    }
}

#[cfg(test)]
mod tests;
