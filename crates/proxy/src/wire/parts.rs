//! The head of an HTTP/2 request, held to the rules of an HTTP/1 head and to those of RFC 9113 §8, and put into the one form
//! that the layers read: a target in origin-form, one Host, one Cookie.
//!
//! h2 has decoded it, and refused by itself what is malformed in the version's own terms: pseudo-header fields that are
//! missing, repeated or behind others, names in upper case, fields of the connection. What is left to ask is what h2 does not:
//! the same authority twice, whitespace around a value, a target that is no path, and the gateway's bounds.

use http::header::{COOKIE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Uri};

use super::authority::Authority;
use super::fields::Fields;
use super::grammar::{is_field_value, trim_ows};
use super::head::HeadLimits;
use super::refusal::{HeadRefusal, HeadRefusalKind, MAX_METHOD_BYTES, Problem};
use super::request_line::{HttpVersion, TargetForm, target_form};

/// What a head that passed says, beyond what its parts do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartsFacts {
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
}

/// Bytes of a field line beside name and value: a colon, a space, and the line's end. So a head is as long as in HTTP/1.
const LINE_OVERHEAD: usize = 4;

/// Checks the head, and puts it into its one form. A missing port of Host means `default_port`.
///
/// # Errors
/// Why it is refused; the head is left as it was.
pub fn check(head: &mut Parts, limits: &HeadLimits, default_port: u16) -> Result<PartsFacts, Box<HeadRefusal>> {
    match judge(head, limits, default_port) {
        Ok((facts, host)) => {
            head.headers.insert(HOST, host);
            head.uri = head.uri.path_and_query().cloned().map(Uri::from).unwrap_or_default();
            join_cookies(&mut head.headers);
            Ok(facts)
        }
        Err(problem) => {
            let target = head.uri.path_and_query().map_or("", PathAndQuery::as_str);
            let user_agent = head.headers.get(USER_AGENT).map(HeaderValue::as_bytes);
            Err(Box::new(problem.about(format!("{} {target}", head.method).as_bytes(), user_agent)))
        }
    }
}

fn judge(head: &Parts, limits: &HeadLimits, default_port: u16) -> Result<(PartsFacts, HeaderValue), Problem> {
    let method = head.method.as_str().as_bytes();
    if method.len() > MAX_METHOD_BYTES {
        return Err(Problem::malformed("a method over 32 bytes"));
    }
    let target = judge_target(head, limits)?;
    let (fields, bytes) = judge_fields(&head.headers, limits)?;
    let request_line = method.len() + 1 + target.len() + 1 + b"HTTP/2.0".len() + 2;
    if request_line + bytes + 2 > limits.max_header_bytes {
        return Err(Problem::new(HeadRefusalKind::HeadTooLarge, "a head over the limit"));
    }
    let host = judge_authority(head, default_port)?;
    Ok((PartsFacts { expect_continue: fields.expect_continue }, host))
}

/// `:path` is a path and maybe a query, or `*` with OPTIONS (RFC 9113 §8.3.1); `:scheme` is one of HTTP's.
fn judge_target<'h>(head: &'h Parts, limits: &HeadLimits) -> Result<&'h [u8], Problem> {
    if head.uri.scheme_str().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Err(Problem::malformed("a :scheme that is not http or https"));
    }
    if head.method == Method::CONNECT {
        return Err(Problem::malformed("CONNECT is not served"));
    }
    let target = head.uri.path_and_query().map_or("", PathAndQuery::as_str).as_bytes();
    if target.len() > limits.max_uri_bytes {
        return Err(Problem::new(HeadRefusalKind::UriTooLong, "the target is over the limit"));
    }
    match target_form(head.method.as_str().as_bytes(), target)? {
        TargetForm::Origin | TargetForm::Asterisk => Ok(target),
        TargetForm::Absolute | TargetForm::Authority => Err(Problem::malformed("a :path that is no path")),
    }
}

/// The meaning of the fields, and how many bytes they would be in HTTP/1.
fn judge_fields(headers: &HeaderMap, limits: &HeadLimits) -> Result<(Fields, usize), Problem> {
    let mut fields = Fields::default();
    let mut bytes = 0usize;
    for (name, value) in headers {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        if fields.count == limits.max_header_fields {
            return Err(Problem::new(HeadRefusalKind::HeadTooLarge, "too many fields"));
        }
        let line = name.len() + value.len() + LINE_OVERHEAD;
        if line - 2 > limits.max_field_bytes {
            return Err(Problem::new(HeadRefusalKind::HeadTooLarge, "a field line over the limit"));
        }
        bytes = bytes.saturating_add(line);
        if !is_field_value(value) {
            return Err(Problem::malformed("a control byte in a field value"));
        }
        // RFC 9113 §8.2.1.
        if trim_ows(value).len() != value.len() {
            return Err(Problem::malformed("whitespace around a field value"));
        }
        fields.take_in_field(name, value, 0..value.len(), HttpVersion::Http2)?;
    }
    Ok((fields, bytes))
}

/// The one authority: that of `:authority`, or of Host where there is no such; both must name the same place (RFC 9113 §8.3.1).
fn judge_authority(head: &Parts, default_port: u16) -> Result<HeaderValue, Problem> {
    let invalid = |detail: &str| Problem::new(HeadRefusalKind::HostInvalid, detail);
    let host = head.headers.get(HOST);
    let named = match head.uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => host.map(HeaderValue::as_bytes).ok_or_else(|| invalid("neither :authority nor Host"))?,
    };
    let authority = Authority::parse(named).map_err(invalid)?;
    if let Some(host) = host {
        let host = Authority::parse(host.as_bytes()).map_err(invalid)?;
        if !authority.names_the_same_as(&host, default_port) {
            return Err(invalid("Host is not the authority of the target"));
        }
    }
    HeaderValue::from_bytes(named).map_err(|_| invalid("an authority that no field can hold"))
}

/// RFC 9113 §8.2.3: a Cookie that came in crumbs is one field for whoever does not speak HTTP/2.
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    let (Some(first), Some(_)) = (crumbs.next(), crumbs.next()) else { return };
    let mut whole = first.as_bytes().to_vec();
    for crumb in headers.get_all(COOKIE).iter().skip(1) {
        whole.extend_from_slice(b"; ");
        whole.extend_from_slice(crumb.as_bytes());
    }
    // INVARIANT: values that were valid, and what was put between them, make a valid one.
    if let Ok(whole) = HeaderValue::from_bytes(&whole) {
        headers.insert(COOKIE, whole);
    }
}
