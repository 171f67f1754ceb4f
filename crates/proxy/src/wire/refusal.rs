//! Why a head was not let through, in a form that the refusal path can answer and record.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A head that never becomes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadRefusal {
    /// What to answer.
    pub kind: HeadRefusalKind,
    /// What was wrong, for the operator only: printable ASCII, at most 200 bytes. Never sent to the caller.
    pub detail: String,
    /// The method, where one could be read: a token of at most 32 bytes.
    pub method: Option<String>,
    /// The target, where one could be read: printable ASCII with everything else as `\xNN`, at most 2048 bytes.
    pub target: Option<String>,
    /// `User-Agent`, where it stood before what was refused: printable ASCII, at most 256 bytes. A word of the caller's, to find out whose
    /// software sends such heads.
    pub user_agent: Option<String>,
}

/// The kinds of refusal. Each has one status and one reason code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeadRefusalKind {
    /// The grammar or the framing is broken or ambiguous.
    Malformed,
    /// Host is missing, repeated, invalid, or not the authority of the target.
    HostInvalid,
    /// The target is longer than the limit.
    UriTooLong,
    /// Too many fields, or too many bytes in one field or in the head.
    HeadTooLarge,
    /// The head was begun and not finished in time.
    Timeout,
    /// `Expect` names something other than `100-continue`.
    ExpectationUnknown,
    /// A version other than 1.0 and 1.1.
    VersionUnsupported,
}

impl HeadRefusalKind {
    /// The status that answers it. An unsupported version gets 400, not 505: such a client is as a rule not speaking
    /// HTTP/1 at all, and a 5xx would count as a failure of the gateway.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed | Self::HostInvalid | Self::VersionUnsupported => 400,
            Self::Timeout => 408,
            Self::UriTooLong => 414,
            Self::ExpectationUnknown => 417,
            Self::HeadTooLarge => 431,
        }
    }

    /// The reason code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed | Self::ExpectationUnknown | Self::VersionUnsupported => "request.malformed",
            Self::HostInvalid => "request.host_invalid",
            Self::UriTooLong | Self::HeadTooLarge => "request.too_large",
            Self::Timeout => "request.timeout",
        }
    }
}

/// What is wrong, before the request line is known to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) kind: HeadRefusalKind,
    pub(super) detail: String,
}

impl Problem {
    pub(super) fn new(kind: HeadRefusalKind, detail: &str) -> Self {
        Self { kind, detail: printable(detail.as_bytes(), MAX_DETAIL_BYTES) }
    }

    pub(super) fn malformed(detail: &str) -> Self {
        Self::new(HeadRefusalKind::Malformed, detail)
    }

    /// With the method and target of `request_line`, as far as they can be made out there, and with what the software calls itself.
    pub(super) fn about(self, request_line: &[u8], user_agent: Option<&[u8]>) -> HeadRefusal {
        let mut words = request_line.splitn(3, |&byte| byte == b' ');
        let method = words.next().filter(|word| word.len() <= MAX_METHOD_BYTES && super::grammar::is_token(word));
        let target = words.next().filter(|word| method.is_some() && !word.is_empty());
        HeadRefusal {
            kind: self.kind,
            detail: self.detail,
            method: method.map(|word| printable(word, MAX_METHOD_BYTES)),
            target: target.map(|word| printable(word, MAX_TARGET_BYTES)),
            user_agent: user_agent.map(|value| quoted_user_agent(value).into_owned()),
        }
    }
}

/// What the software calls itself, in the one form in which it is quoted and remembered, whether its head was let through or not.
pub(crate) fn quoted_user_agent(value: &[u8]) -> Cow<'_, str> {
    let short = value.len() <= MAX_USER_AGENT_BYTES && value.iter().all(|&byte| is_plain(byte));
    match std::str::from_utf8(value) {
        Ok(text) if short => Cow::Borrowed(text),
        Ok(_) | Err(_) => Cow::Owned(printable(value, MAX_USER_AGENT_BYTES)),
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'\\'
}

/// What the first field `User-Agent` of these lines says.
pub(super) fn user_agent_among(lines: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"user-agent:";
    lines.split(|&byte| byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(NAME.len())?;
        name.eq_ignore_ascii_case(NAME).then(|| value.trim_ascii())
    })
}

/// Longest method that is let through, and that a refusal quotes.
pub(super) const MAX_METHOD_BYTES: usize = 32;
const MAX_TARGET_BYTES: usize = 2048;
const MAX_DETAIL_BYTES: usize = 200;
const MAX_USER_AGENT_BYTES: usize = 256;

/// `bytes` as printable ASCII: other bytes, and the backslash that would make the escape ambiguous, become `\xNN`.
/// Stops before `max_bytes` would be passed.
fn printable(bytes: &[u8], max_bytes: usize) -> String {
    let mut text = String::with_capacity(bytes.len().min(max_bytes));
    for &byte in bytes {
        let plain = is_plain(byte);
        if text.len() + if plain { 1 } else { 4 } > max_bytes {
            break;
        }
        if plain {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_bytes_are_printable_unambiguous_and_bounded() {
        assert_eq!(printable(b"/a\x00\\\xff b", 100), "/a\\x00\\x5c\\xff b");
        assert_eq!(printable(b"aaa\x00", 6), "aaa");
        assert_eq!(printable(b"aa\x00", 6), "aa\\x00");
    }

    /// A software has one name, whether its head was let through or not: else nobody would know it again.
    #[test]
    fn a_software_is_quoted_alike_whether_its_head_was_let_through_or_not() {
        let long = [b"Mozilla/5.0 ".as_slice(), &[b'a'; 240], b" Odd/1 Last/2"].concat();
        for value in [&b"reporter/2.0"[..], b"r\xe9porter/2.0", "r\u{e9}porter/2.0".as_bytes(), b"a\\b", b"", &long] {
            let lines = [b"User-Agent: ".as_slice(), value, b"\r\n"].concat();
            let refusal = Problem::malformed("x").about(b"GET / HTTP/1.1", user_agent_among(&lines));
            assert_eq!(refusal.user_agent.as_deref(), Some(&*quoted_user_agent(value)), "{value:?}");
        }
        assert!(matches!(quoted_user_agent(b"reporter/2.0"), Cow::Borrowed(_)), "as a rule nothing is copied");
    }

    #[test]
    fn a_refusal_quotes_only_what_looks_like_a_method_and_a_target() {
        let check = |line: &[u8], method: Option<&str>, target: Option<&str>| {
            let refusal = Problem::malformed("x").about(line, None);
            assert_eq!((refusal.method.as_deref(), refusal.target.as_deref()), (method, target), "{line:?}");
        };
        check(b"GET /a HTTP/1.1", Some("GET"), Some("/a"));
        check(b"GET  /a", Some("GET"), None);
        check(b"GET", Some("GET"), None);
        check(b"G(T /a", None, None);
        check(b"", None, None);
        check(&[b'A'; 33], None, None);
        check(&[b"GET /".as_slice(), &[b'a'; 4000]].concat(), Some("GET"), Some(&format!("/{}", "a".repeat(2047))));
    }

    #[test]
    fn a_refusal_names_the_software_where_it_stood_before_what_was_wrong() {
        let check = |lines: &[u8], expected: Option<&str>| {
            let refusal = Problem::malformed("x").about(b"GET / HTTP/1.1", user_agent_among(lines));
            assert_eq!(refusal.user_agent.as_deref(), expected, "{lines:?}");
        };
        check(
            b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: reporter/2.0 (x)\r\nX-Bad Name: 1\r\n",
            Some("reporter/2.0 (x)"),
        );
        check(b"GET / HTTP/1.1\r\nUSER-AGENT:\t a\xff\r\nuser-agent: b\r\n", Some("a\\xff"));
        check(b"GET / HTTP/1.1\r\nUser-Agent:\r\n", Some(""));
        check(b"GET /user-agent: HTTP/1.1\r\nX-User-Agent: a\r\nUser-Agen", None);
        check(b"", None);
        check(&[b"user-agent: ".as_slice(), &[b'a'; 4000]].concat(), Some(&"a".repeat(MAX_USER_AGENT_BYTES)));
    }
}
