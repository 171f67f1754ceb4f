//! The head of a response, read strictly (RFC 9112 sections 2 to 6).
//!
//! A response is read line by line, and each field name and value is what the types of `http` take for one. What has more than one
//! meaning is refused: a folded line, a version that is not of HTTP/1, lengths that disagree, a transfer coding other than
//! `chunked`. How the body is framed is taken out of the fields here, once, and does not pass on (security rule F1): the server
//! that passes the response on frames it anew.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, StatusCode};
use hyper::ext::ReasonPhrase;

use super::super::state::keep_alive_timeout;
use crate::wire::grammar::trim_ows;

/// The most that the head of a response may have, in bytes.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The most fields that it may have.
pub const FIELDS_MAX: usize = 100;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// The head of a response.
#[derive(Debug, Default)]
pub struct Head {
    /// Its status code, 100 to 999.
    pub status: StatusCode,
    /// What stands behind the status code, where that is not what always stands there.
    pub reason: Option<ReasonPhrase>,
    /// Its fields without those that frame the body or are about the connection alone; a `Connection` that names other fields stays,
    /// and so does `Content-Length` where it is a statement and no framing, in the answer to a HEAD.
    pub headers: HeaderMap,
    /// Where the body ends.
    pub framing: Framing,
    /// No further request may go over the connection.
    pub last: bool,
    /// How long the upstream says that it keeps the connection.
    pub keep_for: Option<Duration>,
}

/// Where the body of a response ends (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// There is none.
    #[default]
    Empty,
    /// After so many bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`
    Chunked,
    /// With the connection.
    Close,
}

/// Where the head at the beginning of `bytes` ends, if its end is there. A line ends in LF, with or without CR before it (RFC 9112
/// section 2.2). `seen` bytes are known not to hold the end.
#[must_use]
pub fn end_of_head(bytes: &[u8], seen: usize) -> Option<usize> {
    // The end may have begun in what was seen: two bytes of it at most.
    let mut from = seen.saturating_sub(2);
    while let Some(found) = bytes.get(from..).and_then(|rest| memchr::memchr(b'\n', rest)) {
        let next = from + found + 1;
        match bytes.get(next..)? {
            [b'\n', ..] => return Some(next + 1),
            [b'\r', b'\n', ..] => return Some(next + 2),
            _ => from = next,
        }
    }
    None
}

/// Reads a whole head, to its empty line. `to_head` is that of the answer to a HEAD. `headers` is where its fields go; it must be
/// empty.
///
/// # Errors
/// What is wrong with it, for the operator.
pub fn read(bytes: &Bytes, to_head: bool, headers: HeaderMap) -> Result<Head, &'static str> {
    let mut head = Head { headers, ..Head::default() };
    let (line, mut rest) = next_line(bytes).ok_or("a head that does not end")?;
    let minor = head.read_status(line)?;
    let mut said = Said::default();
    let mut fields = 0;
    loop {
        let (line, after) = next_line(rest).ok_or("a head that does not end")?;
        if line.is_empty() {
            break;
        }
        fields += 1;
        if fields > FIELDS_MAX {
            return Err("too many fields");
        }
        rest = after;
        // Names are short: looking at each byte costs less than getting ready to look at many.
        let colon = line.iter().position(|byte| *byte == b':').ok_or("a field line without a colon")?;
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name).map_err(|_| "a field name that is none, or a folded line")?;
        let value = trim_ows(value.get(1..).unwrap_or_default());
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(value)).map_err(|_| "a control byte in a field")?;
        if said.hear(&name, &value)? == Heard::Passes {
            head.headers.try_append(name, value).map_err(|_| "too many fields")?;
        }
    }
    head.take(said, minor, to_head)?;
    Ok(head)
}

impl Head {
    /// The status line: `HTTP/1.1 200 OK`. Gives the minor version.
    fn read_status(&mut self, line: &[u8]) -> Result<u8, &'static str> {
        let (minor, rest) = match line {
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b' ', rest @ ..] => (*minor - b'0', rest),
            _ => return Err("no status line of HTTP/1"),
        };
        let (code, reason) = match rest {
            [_, _, _] => (rest, &[][..]),
            _ => match rest.split_at_checked(3) {
                Some((code, [b' ', reason @ ..])) => (code, reason),
                _ => return Err("no status code"),
            },
        };
        self.status = StatusCode::from_bytes(code).map_err(|_| "no status code")?;
        if self.status.canonical_reason().is_none_or(|usual| usual.as_bytes() != reason) {
            // RFC 9112 section 4: what follows may be empty.
            let reason = ReasonPhrase::try_from(reason).map_err(|_| "a control byte in the status line")?;
            self.reason = (!reason.as_bytes().is_empty()).then_some(reason);
        }
        Ok(minor)
    }

    /// What the fields say about framing and the connection.
    fn take(&mut self, said: Said, minor: u8, to_head: bool) -> Result<(), &'static str> {
        // HTTP/1.0 has too many ideas of what keeps a connection open.
        self.last = said.close || minor == 0;
        self.keep_for = said.keep_for;
        if said.chunked && minor == 0 {
            return Err("a transfer coding in HTTP/1.0");
        }
        // RFC 9110 section 8.6: with these a length would be wrong even in the answer to a HEAD.
        let lengthless = self.status.is_informational() || self.status == StatusCode::NO_CONTENT;
        if to_head || lengthless || self.status == StatusCode::NOT_MODIFIED {
            if let Some(length) = said.length.filter(|_| to_head && !said.disagrees && !lengthless) {
                self.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            return Ok(());
        }
        self.framing = match (said.chunked, said.length) {
            (true, length) => {
                // Its sender and what it sends must be mistrusted: RFC 9112 section 6.3, item 3.
                self.last |= length.is_some() || said.disagrees;
                Framing::Chunked
            }
            (false, _) if said.disagrees => return Err("a length that is none, or lengths that disagree"),
            (false, Some(0)) => Framing::Empty,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => {
                self.last = true;
                Framing::Close
            }
        };
        Ok(())
    }
}

/// What the fields of a head say about how it goes on.
#[derive(Debug, Default)]
struct Said {
    length: Option<u64>,
    /// A length that is none, or one that is not that of another line.
    disagrees: bool,
    chunked: bool,
    close: bool,
    keep_for: Option<Duration>,
}

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Passes,
    /// It has said all that it has to say.
    EndsHere,
}

impl Said {
    fn hear(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<Heard, &'static str> {
        if *name == CONTENT_LENGTH {
            for length in value.as_bytes().split(|byte| *byte == b',') {
                let length = decimal(trim_ows(length));
                self.disagrees |= length.is_none() || self.length.is_some_and(|other| Some(other) != length);
                self.length = self.length.or(length);
            }
            return Ok(Heard::EndsHere);
        }
        if *name == TRANSFER_ENCODING {
            // Whatever else it says, the body would be passed on encoded and without a word about it.
            if self.chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err("a transfer coding other than chunked");
            }
            self.chunked = true;
            return Ok(Heard::EndsHere);
        }
        if *name == CONNECTION {
            let mut names_fields = false;
            for option in value.as_bytes().split(|byte| *byte == b',').map(trim_ows) {
                if option.eq_ignore_ascii_case(b"close") {
                    self.close = true;
                } else {
                    names_fields |= !option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            // One that names other fields is needed to find them.
            return Ok(if names_fields { Heard::Passes } else { Heard::EndsHere });
        }
        if *name == KEEP_ALIVE {
            self.keep_for = self.keep_for.or_else(|| keep_alive_timeout(value.as_bytes()));
            return Ok(Heard::EndsHere);
        }
        Ok(Heard::Passes)
    }
}

/// A number of digits alone.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// The first line without its end, and what follows.
fn next_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    let (line, rest) = (bytes.get(..end)?, bytes.get(end + 1..)?);
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest))
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
