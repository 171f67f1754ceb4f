//! One event as one line of JSON that nothing inside it can break.
//!
//! JSON escapes the C0 control characters, so no text can end a line. Characters that JSON lets pass but that mislead a person
//! or a terminal (C1 controls, line and paragraph separators, bidirectional overrides) are escaped as well.
//!
//! The writing is our own and not `serde_json`'s: a refusal is answered no faster than its event is written, and the event has
//! more than a hundred keys, which are known to need no escape. `serde_json` is what the tests hold it against.

mod json;
mod text;

use std::sync::Arc;

use serde::Serialize;

use crate::event::Event;

pub(crate) use json::LineError;
pub(crate) use text::{misleads, write_text};

/// What becomes one line.
pub(crate) trait Record: Send + Sync + 'static {
    /// Appends the line and its line feed. On an error, which nothing recorded should give, `lines` is as it was.
    fn append(&self, lines: &mut Vec<u8>) -> Result<(), LineError>;

    /// What it is called in a log of its loss.
    fn name(&self) -> String;
}

impl<R: Record + ?Sized> Record for Box<R> {
    fn append(&self, lines: &mut Vec<u8>) -> Result<(), LineError> {
        (**self).append(lines)
    }

    fn name(&self) -> String {
        (**self).name()
    }
}

/// Whole lines, each with its line feed, shared by the sinks that get them.
#[derive(Debug, Clone)]
pub(crate) struct Lines(pub(crate) Arc<Vec<u8>>);

impl Record for Lines {
    fn append(&self, lines: &mut Vec<u8>) -> Result<(), LineError> {
        lines.extend_from_slice(&self.0);
        Ok(())
    }

    fn name(&self) -> String {
        "a group of events".to_owned()
    }
}

impl Record for Event {
    fn append(&self, lines: &mut Vec<u8>) -> Result<(), LineError> {
        append_json(lines, self)
    }

    fn name(&self) -> String {
        format!("event {}", self.id)
    }
}

/// Appends a value as JSON, without a line feed. On an error `out` holds the part that was written before it.
pub(crate) fn append_value(out: &mut Vec<u8>, value: &impl Serialize) -> Result<(), LineError> {
    value.serialize(json::Writer::new(out))
}

/// Appends a value as one line of JSON. On an error `lines` is as it was.
pub(crate) fn append_json(lines: &mut Vec<u8>, value: &impl Serialize) -> Result<(), LineError> {
    let start = lines.len();
    match value.serialize(json::Writer::new(lines)) {
        Ok(()) => {
            lines.push(b'\n');
            Ok(())
        }
        Err(error) => {
            lines.truncate(start);
            Err(error)
        }
    }
}
