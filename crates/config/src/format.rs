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

use toml_parser::ErrorSink;
use toml_parser::parser::{Event, EventKind, parse_document};

pub use discovery::files_to_format;
pub use file::{FileToFormat, FormatError, format_bytes};

/// An array whose line would be longer, in columns and without its comment, is broken.
const MAX_WIDTH: usize = 100;

/// The canonical layout of a text.
///
/// # Errors
/// The first error of the syntax if there is one, or what the proof found; the caller has parsed the text and expects neither.
fn laid_out(text: &str) -> Result<String, String> {
    let events = events(text)?;
    let items = document::Items::read(text, &events).ok_or("its parts do not fit together")?;
    Ok(alignment::joined(&spacing::spaced(items)))
}

/// What a text consists of, without the space between.
fn events(text: &str) -> Result<Vec<Event>, String> {
    let tokens = toml_parser::Source::new(text).lex().into_vec();
    let mut events: Vec<Event> = Vec::with_capacity(tokens.len());
    let mut first = FirstError(None);
    let mut receive = |event: Event| {
        if event.kind() != EventKind::Whitespace {
            events.push(event);
        }
    };
    parse_document(&tokens, &mut receive, &mut first);
    first.0.map_or(Ok(events), Err)
}

/// Keeps the first error.
struct FirstError(Option<String>);

impl ErrorSink for FirstError {
    fn report_error(&mut self, error: toml_parser::ParseError) {
        self.0.get_or_insert_with(|| error.description().to_owned());
    }
}

#[cfg(test)]
mod tests;
