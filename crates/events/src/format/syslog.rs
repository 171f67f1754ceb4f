//! The envelope of a syslog message (RFC 5424): header and structured data; what MSG holds is another format's affair.
//!
//! The structured data have the few values that a receiver routes by, so that it need not parse MSG. No byte order mark stands
//! before MSG: receivers take it for a part of the text.

use std::sync::Arc;

use super::record::{Severity, text};
use super::visible::{self, Written, within};
use super::{Format, FormatError, Record};

/// What is the same in every message of a sink.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// 0 to 23.
    pub facility: u8,
    /// APP-NAME.
    pub app_name: Arc<str>,
    /// The number behind the `@` of the structured data's id.
    pub enterprise_id: u32,
    /// PROCID.
    pub process_id: u32,
}

/// The longest value in the structured data, in bytes before escaping.
const VALUE_BYTES: usize = 256;

impl Envelope {
    /// Appends the message of one native line, with the line in `format` as MSG.
    ///
    /// # Errors
    /// When `line` is no native event; `out` is then as it was.
    pub fn append(&self, line: &[u8], format: Format, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let record = Record::parse(line)?;
        let start = out.len();
        self.head(&record, out);
        self.structured(&record, Extent::Whole, out);
        out.push(b' ');
        format.append(line, out).inspect_err(|_| out.truncate(start))
    }

    /// The same in at most `most` bytes (at least 1,024). Where the event in `format` does not fit, MSG is the event's sentence
    /// instead, cut to what is left, and the structured data say `shortened="true"`; where they do not fit, they have the id
    /// alone.
    ///
    /// # Errors
    /// When `line` is no native event; `out` is then as it was.
    pub fn append_within(
        &self,
        line: &[u8],
        format: Format,
        most: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), FormatError> {
        let start = out.len();
        self.append(line, format, out)?;
        let fits = |out: &Vec<u8>| out.len() - start <= most;
        if fits(out) {
            return Ok(());
        }
        let record = Record::parse(line)?;
        for extent in [Extent::Shortened, Extent::Least] {
            out.truncate(start);
            self.head(&record, out);
            self.structured(&record, extent, out);
            out.push(b' ');
            if fits(out) {
                break;
            }
        }
        let mut sentence = Vec::new();
        visible::append(&mut sentence, text(&record.message).unwrap_or_default(), "\\", |_| Written::AsIs);
        let sentence = String::from_utf8_lossy(&sentence);
        let room = most.saturating_sub(out.len() - start);
        out.extend_from_slice(within(&sentence, room).as_bytes());
        Ok(())
    }

    /// `<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID `
    fn head(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        let priority = u16::from(self.facility) * 8 + u16::from(severity(record));
        let time = jiff::Timestamp::from_microsecond(record.time_us).unwrap_or_default();
        out.extend_from_slice(format!("<{priority}>1 {time:.6} ").as_bytes());
        word(out, record.node.as_ref(), 255);
        word(out, &self.app_name, 48);
        word(out, &self.process_id.to_string(), 128);
        word(out, record.kind.as_ref(), 32);
    }

    fn structured(&self, record: &Record<'_>, extent: Extent, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("[portcullis@{}", self.enterprise_id).as_bytes());
        let id = within(record.id.as_ref(), 64);
        value(out, "id", Some(id));
        if extent != Extent::Least {
            value(out, "seq", record.seq.map(|seq| seq.to_string()).as_deref());
            value(out, "decision", text(&record.decision));
            value(out, "status", record.status.map(|status| status.to_string()).as_deref());
            value(out, "reason", text(&record.reason));
            value(out, "route", text(&record.policy.route));
            value(out, "rule", text(&record.policy.rule));
            value(out, "client", text(&record.client.ip));
            value(out, "principal", text(&record.identity.id));
            value(out, "count", record.count.map(|count| count.to_string()).as_deref());
        }
        if extent != Extent::Whole {
            value(out, "shortened", Some("true"));
        }
        out.push(b']');
    }
}

/// How much of an event a message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All of it.
    Whole,
    /// The structured data and its sentence.
    Shortened,
    /// The id and its sentence.
    Least,
}

/// RFC 5424 section 6.2.1.
fn severity(record: &Record<'_>) -> u8 {
    match record.severity {
        Severity::Low if record.is_informational() => 6,
        Severity::Low => 5,
        Severity::Medium => 4,
        Severity::High => 3,
        Severity::Critical => 2,
    }
}

/// A field of the header and the space behind it: visible ASCII, at most so many bytes, `-` where there is nothing.
fn word(out: &mut Vec<u8>, text: &str, bytes: usize) {
    let start = out.len();
    let visible = text.chars().map(|character| if character.is_ascii_graphic() { character as u8 } else { b'_' });
    out.extend(visible.take(bytes));
    if out.len() == start {
        out.push(b'-');
    }
    out.push(b' ');
}

/// A parameter (RFC 5424 section 6.3.3), where it is known. What is no visible character is written out.
fn value(out: &mut Vec<u8>, name: &str, text: Option<&str>) {
    let Some(text) = text else { return };
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    visible::append(out, within(text, VALUE_BYTES), "\\\\", |character| match character {
        '"' => Written::As("\\\""),
        '\\' => Written::As("\\\\"),
        ']' => Written::As("\\]"),
        _ => Written::AsIs,
    });
    out.push(b'"');
}
