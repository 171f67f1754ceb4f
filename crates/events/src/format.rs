//! The forms in which a sink hands events on: each is made from the native line, and so can say no more than it says.
//!
//! A format is a pure function from one native line to the bytes of one record. It runs in the thread of the sink that asked for
//! it, and parses the line once, borrowing from it. Whatever the line holds, the record is one: no text in it can end it,
//! begin another, or pass for a key. What a text-based format cannot hold stands there in a visible form (`visible`).
//!
//! The mappings, field by field, are in `docs/events.md`.

mod asim;
mod cef;
mod ecs;
mod json;
mod leef;
mod ocsf;
mod record;
pub mod syslog;
mod visible;

use thiserror::Error;

pub(crate) use json::Object;
pub(crate) use record::{Record, Severity, text};

/// The form of a sink's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// The native line, `portcullis.event/1`, as it is.
    #[default]
    Native,
    /// Elastic Common Schema 9.
    Ecs,
    /// Open Cybersecurity Schema Framework 1.3: HTTP Activity, Authentication, API Activity, Detection Finding.
    Ocsf,
    /// Microsoft Sentinel's Advanced Security Information Model: WebSession, Authentication, AuditEvent, AlertEvent.
    Asim,
    /// ArcSight Common Event Format, version 0.
    Cef,
    /// IBM QRadar Log Event Extended Format 2.0.
    Leef,
}

/// A line that is no event of the native schema: cut short, or not written by the gateway.
#[derive(Debug, Error)]
#[error("it is no native event: {0}")]
pub struct FormatError(String);

impl Format {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Native, Self::Ecs, Self::Ocsf, Self::Asim, Self::Cef, Self::Leef];

    /// The word that the configuration uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Ecs => "ecs",
            Self::Ocsf => "ocsf",
            Self::Asim => "asim",
            Self::Cef => "cef",
            Self::Leef => "leef",
        }
    }

    /// Whether a record is one JSON object. The others are one line of text.
    pub const fn is_json(self) -> bool {
        match self {
            Self::Native | Self::Ecs | Self::Ocsf | Self::Asim => true,
            Self::Cef | Self::Leef => false,
        }
    }

    /// Appends the record of one native line, without a line feed. `line` may end with one.
    ///
    /// # Errors
    /// When `line` is no native event; `out` is then as it was.
    pub fn append(self, line: &[u8], out: &mut Vec<u8>) -> Result<(), FormatError> {
        // Every format reads the line, the native one too: what a sink passes on is an event and nothing else.
        let record = Record::parse(line)?;
        match self {
            Self::Native => out.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line)),
            Self::Ecs => ecs::append(&record, out),
            Self::Ocsf => ocsf::append(&record, out),
            Self::Asim => asim::append(&record, out),
            Self::Cef => cef::append(&record, out),
            Self::Leef => leef::append(&record, out),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
