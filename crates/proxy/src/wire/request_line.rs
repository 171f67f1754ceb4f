//! `method SP request-target SP HTTP-version` (RFC 9112 §3), and the four forms of a target (§3.2).

use std::ops::Range;

use super::authority::Authority;
use super::grammar::{is_path_and_query, is_token};
use super::head::HeadLimits;
use super::refusal::{HeadRefusalKind, MAX_METHOD_BYTES, Problem};

/// The version of a request that was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

/// How the target was written (RFC 9112 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`
    Origin,
    /// `http://authority/path?query`; the authority was found to be the one of Host.
    Absolute,
    /// `host:port`, only with CONNECT.
    Authority,
    /// `*`, only with OPTIONS.
    Asterisk,
}

/// A request line that passed, as places in the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestLine {
    pub(super) method: Range<usize>,
    pub(super) target: Range<usize>,
    pub(super) version: HttpVersion,
    pub(super) form: TargetForm,
}

/// The longest request line that can pass: method, target, version and two spaces.
pub(super) fn max_request_line_bytes(limits: &HeadLimits) -> usize {
    MAX_METHOD_BYTES + 1 + limits.max_uri_bytes + 1 + b"HTTP/1.1".len()
}

/// Reads the line, without its CRLF, that begins the head.
pub(super) fn parse_request_line(line: &[u8], limits: &HeadLimits) -> Result<RequestLine, Problem> {
    let mut words = line.splitn(3, |&byte| byte == b' ');
    let method = words.next().unwrap_or_default();
    if !is_token(method) {
        return Err(Problem::malformed("the method is not a token"));
    }
    if method.len() > MAX_METHOD_BYTES {
        return Err(Problem::malformed("a method over 32 bytes"));
    }
    let target = words.next().ok_or_else(|| Problem::malformed("a request line without a target"))?;
    let version = words.next().ok_or_else(|| Problem::malformed("a request line without a version"))?;
    if target.len() > limits.max_uri_bytes {
        return Err(Problem::new(HeadRefusalKind::UriTooLong, "the target is over the limit"));
    }
    let version = parse_version(method, version)?;
    let form = target_form(method, target)?;
    let target_start = method.len() + 1;
    Ok(RequestLine { method: 0..method.len(), target: target_start..target_start + target.len(), version, form })
}

fn parse_version(method: &[u8], version: &[u8]) -> Result<HttpVersion, Problem> {
    match version {
        b"HTTP/1.1" => return Ok(HttpVersion::Http11),
        b"HTTP/1.0" => return Ok(HttpVersion::Http10),
        b"HTTP/2.0" if method == b"PRI" => {
            return Err(Problem::new(HeadRefusalKind::VersionUnsupported, "HTTP/2 preface on an HTTP/1 listener"));
        }
        _ => {}
    }
    match version {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Err(Problem::new(HeadRefusalKind::VersionUnsupported, "a version other than HTTP/1.0 and HTTP/1.1"))
        }
        _ => Err(Problem::malformed("a request line that does not end in one space and a version")),
    }
}

pub(super) fn target_form(method: &[u8], target: &[u8]) -> Result<TargetForm, Problem> {
    match (method, target) {
        (_, []) => Err(Problem::malformed("an empty target")),
        (b"CONNECT", _) => Authority::parse(target)
            .ok()
            .filter(|authority| authority.port().is_some())
            .map(|_| TargetForm::Authority)
            .ok_or_else(|| Problem::malformed("the target of CONNECT is not host:port")),
        (b"OPTIONS", b"*") => Ok(TargetForm::Asterisk),
        (_, b"*") => Err(Problem::malformed("the target * without OPTIONS")),
        (_, [b'/', ..]) if is_path_and_query(target) => Ok(TargetForm::Origin),
        (_, _) if target.contains(&b'#') => Err(Problem::malformed("a fragment in the target")),
        (_, [b'/', ..]) => Err(Problem::malformed("a byte that a target cannot have")),
        (_, _) => {
            let absolute = AbsoluteTarget::split(target)
                .ok_or_else(|| Problem::malformed("a target of none of the four forms"))?;
            if !matches!(absolute.path_and_query, [] | [b'/' | b'?', ..]) || !is_path_and_query(absolute.path_and_query)
            {
                return Err(Problem::malformed("a byte that a target cannot have"));
            }
            Ok(TargetForm::Absolute)
        }
    }
}

/// An `http://` or `https://` target, cut where its parts meet.
pub(super) struct AbsoluteTarget<'a> {
    pub(super) authority: &'a [u8],
    pub(super) default_port: u16,
    path_and_query: &'a [u8],
}

impl<'a> AbsoluteTarget<'a> {
    /// Cuts `target`, or gives `None` if its scheme is another one.
    pub(super) fn split(target: &'a [u8]) -> Option<Self> {
        let after = |scheme: &[u8]| {
            let (start, rest) = target.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        };
        let (rest, default_port) =
            after(b"http://").map(|rest| (rest, 80)).or_else(|| after(b"https://").map(|rest| (rest, 443)))?;
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (authority, path_and_query) = rest.split_at_checked(end)?;
        Some(Self { authority, default_port, path_and_query })
    }
}
