//! The canonical path: parsed once, decided on, and forwarded.
//!
//! A path has two faces. The *encoded* one is what the upstream receives: escapes of unreserved characters are decoded
//! and the remaining escapes are in capitals (RFC 3986 section 6.2.2). The *decoded* one is what patterns are matched
//! against: one layer of escapes removed, as upstreams do before they act. What could be read in two ways is refused here,
//! so no second reading is ever made.

use std::fmt::Write as _;

use thiserror::Error;

/// A path that has one meaning. There is no other way to build one than [`CanonicalPath::parse`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CanonicalPath {
    encoded: String,
    /// Only where it differs from `encoded`.
    decoded: Option<String>,
}

/// Why a path has no single meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PathProblem {
    /// It must begin with `/` (RFC 9112 section 3.2.1).
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// RFC 3986 section 3.3 does not allow this byte in a path.
    #[error("byte 0x{0:02x} is not allowed in a path")]
    IllegalByte(u8),
    /// `%` without two hexadecimal digits.
    #[error("a percent sign is not followed by two hexadecimal digits")]
    BadEscape,
    /// `%2F` or `%5C`: a separator to some upstreams and not to others.
    #[error("an encoded slash or backslash")]
    EncodedSeparator,
    /// An escape that decodes to a control character.
    #[error("an encoded control character")]
    EncodedControl,
    /// A backslash: a separator to some upstreams.
    #[error("a backslash")]
    Backslash,
    /// `.` or `..` as a segment, also encoded or with parameters (`..;a`).
    #[error("a dot segment")]
    DotSegment,
    /// Two slashes in a row.
    #[error("an empty segment")]
    EmptySegment,
    /// Decoding once leaves another escape: `%252e`.
    #[error("an escape within an escape")]
    DoubleEncoding,
    /// The decoded bytes are not UTF-8, such as the overlong `%c0%af`.
    #[error("escapes that are not UTF-8")]
    NotUtf8,
}

impl PathProblem {
    /// Whether it is a matter of meaning (`request.path_ambiguous`) rather than of form (`request.malformed`).
    pub fn is_ambiguous(self) -> bool {
        match self {
            Self::NotAbsolute | Self::IllegalByte(_) | Self::BadEscape => false,
            Self::EncodedSeparator
            | Self::EncodedControl
            | Self::Backslash
            | Self::DotSegment
            | Self::EmptySegment
            | Self::DoubleEncoding
            | Self::NotUtf8 => true,
        }
    }
}

impl CanonicalPath {
    /// `/`, for questions that name no path.
    pub(crate) fn root() -> Self {
        Self { encoded: "/".to_owned(), decoded: None }
    }

    /// Parses the path of a request target, without its query.
    ///
    /// # Errors
    /// Everything that an upstream could read differently: see [`PathProblem`].
    pub fn parse(raw: &str) -> Result<Self, PathProblem> {
        if !raw.starts_with('/') {
            return Err(PathProblem::NotAbsolute);
        }
        let mut escaped = false;
        for &byte in raw.as_bytes() {
            match byte {
                b'%' => escaped = true,
                b'\\' => return Err(PathProblem::Backslash),
                b'/' => {}
                _ if is_path_character(byte) => {}
                _ => return Err(PathProblem::IllegalByte(byte)),
            }
        }
        let (encoded, decoded) = if escaped { unescape(raw)? } else { (raw.to_owned(), None) };
        check_segments(decoded.as_deref().unwrap_or(&encoded))?;
        let decoded = decoded.filter(|text| *text != encoded);
        Ok(Self { encoded, decoded })
    }

    /// What the upstream receives.
    pub fn as_str(&self) -> &str {
        &self.encoded
    }

    /// What patterns are matched against.
    pub fn decoded(&self) -> &str {
        self.decoded.as_deref().unwrap_or(&self.encoded)
    }
}

/// `pchar` without the percent sign: unreserved, sub-delims, `:` and `@` (RFC 3986 section 3.3).
fn is_path_character(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'!' | b'$' | b'&'..=b',' | b';' | b'=' | b':' | b'@')
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Both faces of a path that has escapes.
fn unescape(raw: &str) -> Result<(String, Option<String>), PathProblem> {
    let mut encoded = String::with_capacity(raw.len());
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            encoded.push(char::from(byte));
            decoded.push(byte);
            continue;
        }
        let (Some(high), Some(low)) = (bytes.next().and_then(hex_value), bytes.next().and_then(hex_value)) else {
            return Err(PathProblem::BadEscape);
        };
        let value = high << 4 | low;
        match value {
            b'/' | b'\\' => return Err(PathProblem::EncodedSeparator),
            0..=0x1f | 0x7f => return Err(PathProblem::EncodedControl),
            _ => decoded.push(value),
        }
        if is_unreserved(value) {
            encoded.push(char::from(value));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{value:02X}");
        }
    }
    let decoded = String::from_utf8(decoded).map_err(|_| PathProblem::NotUtf8)?;
    if holds_escape(decoded.as_bytes()) {
        return Err(PathProblem::DoubleEncoding);
    }
    Ok((encoded, Some(decoded)))
}

fn holds_escape(bytes: &[u8]) -> bool {
    bytes.windows(3).any(|window| matches!(window, [b'%', a, b] if hex_value(*a).is_some() && hex_value(*b).is_some()))
}

fn hex_value(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// No segment but the last is empty, and none is a dot segment, with or without parameters.
fn check_segments(path: &str) -> Result<(), PathProblem> {
    let mut segments = path.as_bytes().split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            [] if segments.peek().is_some() => return Err(PathProblem::EmptySegment),
            [b'.'] | [b'.', b';', ..] | [b'.', b'.'] | [b'.', b'.', b';', ..] => return Err(PathProblem::DotSegment),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_has_one_meaning_or_is_refused() {
        let check = |raw: &str, expected: Result<(&str, &str), PathProblem>| {
            let parsed = CanonicalPath::parse(raw);
            let seen = parsed.as_ref().map(|path| (path.as_str(), path.decoded())).map_err(|problem| *problem);
            assert_eq!(seen, expected, "{raw}");
        };
        let same = |raw: &'static str| check(raw, Ok((raw, raw)));
        same("/");
        same("/api/invoices/7");
        same("/api/");
        same("/a/b.c/~d/e-f_g/(x)!$&'*+,;=:@");
        same("/..a/b..");
        same("/...");
        check("/%61dmin", Ok(("/admin", "/admin")));
        check("/a%20b", Ok(("/a%20b", "/a b")));
        check("/m%c3%bcnchen", Ok(("/m%C3%BCnchen", "/münchen")));
        check("/a%3bb", Ok(("/a%3Bb", "/a;b")));
        check("/100%25", Ok(("/100%25", "/100%")));
        check("/100%25zz", Ok(("/100%25zz", "/100%zz")));
        check("", Err(PathProblem::NotAbsolute));
        check("a", Err(PathProblem::NotAbsolute));
        check("/a%", Err(PathProblem::BadEscape));
        check("/a%2", Err(PathProblem::BadEscape));
        check("/a%zz", Err(PathProblem::BadEscape));
        check("/a%+1", Err(PathProblem::BadEscape));
        check("/a%2fb", Err(PathProblem::EncodedSeparator));
        check("/a%5Cb", Err(PathProblem::EncodedSeparator));
        check("/a%00b", Err(PathProblem::EncodedControl));
        check("/a%0ab", Err(PathProblem::EncodedControl));
        check("/a%7f", Err(PathProblem::EncodedControl));
        check("/a\\b", Err(PathProblem::Backslash));
        check("/a b", Err(PathProblem::IllegalByte(b' ')));
        check("/a\"b", Err(PathProblem::IllegalByte(b'"')));
        check("/ü", Err(PathProblem::IllegalByte(0xc3)));
        check("/a?b", Err(PathProblem::IllegalByte(b'?')));
        check("/a/../b", Err(PathProblem::DotSegment));
        check("/a/./b", Err(PathProblem::DotSegment));
        check("/a/..", Err(PathProblem::DotSegment));
        check("/a/%2e%2e/b", Err(PathProblem::DotSegment));
        check("/a/.%2E/b", Err(PathProblem::DotSegment));
        check("/a/..;x=1/b", Err(PathProblem::DotSegment));
        check("/a/..%3bx/b", Err(PathProblem::DotSegment));
        check("//a", Err(PathProblem::EmptySegment));
        check("/a//b", Err(PathProblem::EmptySegment));
        check("/a//", Err(PathProblem::EmptySegment));
        check("/a%252e", Err(PathProblem::DoubleEncoding));
        check("/%25%32%65", Err(PathProblem::DoubleEncoding));
        check("/a%c0%af", Err(PathProblem::NotUtf8));
        check("/a%ff", Err(PathProblem::NotUtf8));
    }

    proptest! {
        #[test]
        fn a_canonical_path_is_its_own_canonical_form(raw in "/([a-z0-9%./;~ü_-]|%2[0-9a-f]|%c3%bc){0,24}") {
            if let Ok(path) = CanonicalPath::parse(&raw) {
                let again = CanonicalPath::parse(path.as_str());
                prop_assert_eq!(again, Ok(path));
            }
        }

        #[test]
        fn arbitrary_text_never_panics(raw in "\\PC{0,64}") {
            let _ = CanonicalPath::parse(&raw);
        }
    }
}
