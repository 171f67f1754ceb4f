//! Field lines (RFC 9112 §5): their grammar, and the meaning of the few that decide framing, routing and persistence.
//!
//! Every other field passes unread; what the gateway trusts or removes of those is decided in the layers.

use std::ops::Range;

use super::framing::BodyFraming;
use super::grammar::{is_field_value, is_tchar, is_token, list_elements, trim_ows};
use super::refusal::{HeadRefusalKind, Problem};
use super::request_line::HttpVersion;

/// What the fields of one head said so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    pub(super) count: usize,
    pub(super) host: Option<Range<usize>>,
    pub(super) expect_continue: bool,
    pub(super) upgrade: Vec<String>,
    content_length: Option<u64>,
    chunked: bool,
    expect: bool,
    close: bool,
    keep_alive: bool,
    connection_upgrade: bool,
}

/// Protocols in `Upgrade`, over all its fields. More than this is no honest client.
const MAX_UPGRADE_PROTOCOLS: usize = 8;

impl Fields {
    /// Takes in one field line, without its CRLF, which begins `offset` bytes into the head.
    pub(super) fn take_in(&mut self, line: &[u8], offset: usize, version: HttpVersion) -> Result<(), Problem> {
        let (name, raw_value) = split_field_line(line)?;
        let value = trim_ows(raw_value);
        let start = offset + name.len() + 1 + leading_whitespace(raw_value);
        self.take_in_field(name, value, start..start + value.len(), version)
    }

    /// Takes in one field, whose value has no whitespace around it; `place` is where that stands.
    pub(super) fn take_in_field(
        &mut self,
        name: &[u8],
        value: &[u8],
        place: Range<usize>,
        version: HttpVersion,
    ) -> Result<(), Problem> {
        self.count += 1;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.take_in_host(place),
            6 if name.eq_ignore_ascii_case(b"expect") => self.take_in_expect(value, version),
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.take_in_upgrade(value),
            10 if name.eq_ignore_ascii_case(b"connection") => self.take_in_connection(value, version),
            14 if looks_like(name, b"content-length") => self.take_in_content_length(name, value),
            17 if looks_like(name, b"transfer-encoding") => self.take_in_transfer_encoding(name, value, version),
            _ => Ok(()),
        }
    }

    /// How the body's end is found (RFC 9112 §6.3). Both fields at once were refused when the second came.
    pub(super) fn framing(&self) -> BodyFraming {
        match (self.chunked, self.content_length) {
            (true, _) => BodyFraming::Chunked,
            (false, Some(length)) => BodyFraming::Length(length),
            (false, None) => BodyFraming::None,
        }
    }

    /// Whether the connection may carry another request (RFC 9112 §9.3).
    pub(super) fn persistent(&self, version: HttpVersion) -> bool {
        match version {
            HttpVersion::Http11 => !self.close,
            HttpVersion::Http10 => self.keep_alive && !self.close,
            // RFC 9113 §8.2.2: the connection is none of a request's business.
            HttpVersion::Http2 => true,
        }
    }

    /// Whether an upgrade was properly asked for: HTTP/1.1, a protocol, and `Connection: upgrade` (RFC 9110 §7.8).
    pub(super) fn upgrade_requested(&self, version: HttpVersion) -> bool {
        version == HttpVersion::Http11 && self.connection_upgrade && !self.upgrade.is_empty()
    }

    fn take_in_host(&mut self, place: Range<usize>) -> Result<(), Problem> {
        if self.host.replace(place).is_some() {
            return Err(Problem::new(HeadRefusalKind::HostInvalid, "more than one Host"));
        }
        Ok(())
    }

    fn take_in_expect(&mut self, value: &[u8], version: HttpVersion) -> Result<(), Problem> {
        if std::mem::replace(&mut self.expect, true) || !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Problem::new(HeadRefusalKind::ExpectationUnknown, "Expect is not exactly 100-continue"));
        }
        // RFC 9110 §10.1.1: the expectation of an HTTP/1.0 client is ignored, it would not understand the 100.
        self.expect_continue = version != HttpVersion::Http10;
        Ok(())
    }

    fn take_in_upgrade(&mut self, value: &[u8]) -> Result<(), Problem> {
        for protocol in list_elements(value) {
            if self.upgrade.len() == MAX_UPGRADE_PROTOCOLS {
                return Err(Problem::malformed("more than 8 protocols in Upgrade"));
            }
            let (name, version) = match protocol.iter().position(|&byte| byte == b'/') {
                Some(slash) => (protocol.get(..slash).unwrap_or_default(), protocol.get(slash + 1..)),
                None => (protocol, None),
            };
            if !is_token(name) || !version.is_none_or(is_token) {
                return Err(Problem::malformed("a protocol in Upgrade that is not a token"));
            }
            self.upgrade.push(protocol.iter().map(|byte| char::from(byte.to_ascii_lowercase())).collect());
        }
        Ok(())
    }

    fn take_in_connection(&mut self, value: &[u8], version: HttpVersion) -> Result<(), Problem> {
        if version == HttpVersion::Http2 {
            return Err(Problem::malformed("Connection in HTTP/2"));
        }
        for option in list_elements(value) {
            if !is_token(option) {
                return Err(Problem::malformed("an option in Connection that is not a token"));
            }
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.connection_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
        Ok(())
    }

    fn take_in_content_length(&mut self, name: &[u8], value: &[u8]) -> Result<(), Problem> {
        refuse_look_alike(name)?;
        if self.chunked {
            return Err(Problem::malformed("Content-Length beside Transfer-Encoding"));
        }
        // 19 digits cannot overflow 64 bits, and no body is that long.
        if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
            return Err(Problem::malformed("Content-Length is not one number of at most 19 digits"));
        }
        let length = value.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        if self.content_length.replace(length).is_some() {
            return Err(Problem::malformed("more than one Content-Length"));
        }
        Ok(())
    }

    fn take_in_transfer_encoding(&mut self, name: &[u8], value: &[u8], version: HttpVersion) -> Result<(), Problem> {
        refuse_look_alike(name)?;
        match version {
            HttpVersion::Http10 => return Err(Problem::malformed("Transfer-Encoding in HTTP/1.0")),
            HttpVersion::Http2 => return Err(Problem::malformed("Transfer-Encoding in HTTP/2")),
            HttpVersion::Http11 => {}
        }
        if self.content_length.is_some() {
            return Err(Problem::malformed("Transfer-Encoding beside Content-Length"));
        }
        if std::mem::replace(&mut self.chunked, true) {
            return Err(Problem::malformed("more than one Transfer-Encoding"));
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Problem::malformed("Transfer-Encoding is not exactly chunked"));
        }
        Ok(())
    }
}

/// Cuts a field line at its colon, and holds both sides to the grammar (RFC 9112 §5.1).
pub(super) fn split_field_line(line: &[u8]) -> Result<(&[u8], &[u8]), Problem> {
    if matches!(line, [b' ' | b'\t', ..]) {
        return Err(Problem::malformed("a folded field line"));
    }
    let Some(end) = line.iter().position(|&byte| !is_tchar(byte)) else {
        return Err(Problem::malformed("a field line without a colon"));
    };
    let (name, rest) = line.split_at(end);
    match rest {
        [b':', value @ ..] if !name.is_empty() => {
            if is_field_value(value) {
                Ok((name, value))
            } else {
                Err(Problem::malformed("a control byte in a field value"))
            }
        }
        [b':', ..] => Err(Problem::malformed("a field line without a name")),
        [b' ' | b'\t', ..] => Err(Problem::malformed("whitespace in or behind a field name")),
        _ => Err(Problem::malformed("a byte that a field name cannot have")),
    }
}

fn leading_whitespace(value: &[u8]) -> usize {
    value.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

/// Whether `name` is `wanted` (lower case, with hyphens), or would be for a server that folds `_`, `.` and `-` together,
/// as gateways to CGI-like environments do.
fn looks_like(name: &[u8], wanted: &[u8]) -> bool {
    let fold = |byte: u8| if matches!(byte, b'_' | b'.') { b'-' } else { byte.to_ascii_lowercase() };
    name.len() == wanted.len() && name.iter().zip(wanted).all(|(&byte, &expected)| fold(byte) == expected)
}

fn refuse_look_alike(name: &[u8]) -> Result<(), Problem> {
    if name.iter().any(|byte| matches!(byte, b'_' | b'.')) {
        return Err(Problem::malformed("a field name that others may read as a framing field"));
    }
    Ok(())
}
