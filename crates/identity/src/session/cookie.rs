//! The gateway's own cookies (RFC 6265): their names, how they are set, found in a request, and kept from upstreams.
//!
//! Over TLS their names begin with `__Host-`: a browser takes such a cookie only from the very host, over TLS, for the whole host
//! (draft-ietf-httpbis-rfc6265bis section 4.1.3.2), so that no other host of the domain can plant one. Without TLS, where the configuration allows that, they have plain
//! names. Whatever is named like them is the gateway's, never an upstream's.

use std::time::Duration;

use http::HeaderMap;
use http::header::{COOKIE, HeaderValue};

/// What a cookie is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookieKind {
    /// The session.
    Session,
    /// A login that is under way.
    Login,
    /// What binds a form to a browser that has no session.
    Form,
}

/// Every kind.
pub const COOKIES: [CookieKind; 3] = [CookieKind::Session, CookieKind::Login, CookieKind::Form];

/// What the names of all cookies of the gateway's begin with, behind [`HOST_PREFIX`] where there is one.
const OWN: &str = "portcullis-";
const HOST_PREFIX: &str = "__Host-";

/// The longest value of a cookie that is looked at, in bytes; browsers keep no longer ones.
const MAX_VALUE: usize = 4_096;

/// The name. `secure`: over TLS.
pub fn cookie_name(kind: CookieKind, secure: bool) -> &'static str {
    match (kind, secure) {
        (CookieKind::Session, true) => "__Host-portcullis-session",
        (CookieKind::Session, false) => "portcullis-session",
        (CookieKind::Login, true) => "__Host-portcullis-login",
        (CookieKind::Login, false) => "portcullis-login",
        (CookieKind::Form, true) => "__Host-portcullis-form",
        (CookieKind::Form, false) => "portcullis-form",
    }
}

/// The value of `Set-Cookie` for one that scripts cannot read, and that comes with a request from another site only where somebody follows a
/// link. `age`: how long the browser keeps it; `None`: until it is closed.
pub fn set_cookie(kind: CookieKind, secure: bool, value: &str, age: Option<Duration>) -> Option<HeaderValue> {
    written(kind, secure, value, age, "Lax")
}

/// The same of one that comes with a form of another site, too: for what is worth nothing without that. Without TLS browsers take no such cookie, and it is as any
/// other.
pub fn set_cookie_for_forms_from_elsewhere(
    kind: CookieKind,
    secure: bool,
    value: &str,
    age: Option<Duration>,
) -> Option<HeaderValue> {
    written(kind, secure, value, age, if secure { "None" } else { "Lax" })
}

fn written(kind: CookieKind, secure: bool, value: &str, age: Option<Duration>, site: &str) -> Option<HeaderValue> {
    let mut text = format!("{}={value}; Path=/; HttpOnly; SameSite={site}", cookie_name(kind, secure));
    if secure {
        text.push_str("; Secure");
    }
    if let Some(age) = age {
        text.push_str(&format!("; Max-Age={}", age.as_secs()));
    }
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The value of `Set-Cookie` that has the browser forget it.
pub fn clear_cookie(kind: CookieKind, secure: bool) -> Option<HeaderValue> {
    set_cookie(kind, secure, "", Some(Duration::ZERO))
}

/// The value of this cookie; `None` where it is not there, is there twice, or is no text.
pub fn cookie_value(headers: &HeaderMap, kind: CookieKind, secure: bool) -> Option<&str> {
    let mut values = values(headers, cookie_name(kind, secure));
    let (value, None) = (values.next()?, values.next()) else { return None };
    std::str::from_utf8(value).ok().filter(|value| value.len() <= MAX_VALUE)
}

/// All values of cookies of this name, in the order in which they came.
pub(crate) fn values<'h>(headers: &'h HeaderMap, name: &'static str) -> impl Iterator<Item = &'h [u8]> {
    pairs(headers).filter(move |(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).map(pair)
}

/// Name and value. What has no `=` is a name without a value.
fn pair(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii();
    match text.iter().position(|byte| *byte == b'=') {
        Some(at) => {
            let (name, value) = text.split_at(at);
            (name.trim_ascii_end(), value.get(1..).unwrap_or_default().trim_ascii_start())
        }
        None => (text, &[]),
    }
}

/// Whether a cookie of this name is the gateway's. Browsers compare names exactly; for this they count in any case, so that nothing which looks like
/// one goes on.
pub fn is_own_cookie(name: &[u8]) -> bool {
    let begins = |name: &[u8], prefix: &str| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    let bare = if begins(name, HOST_PREFIX) { name.get(HOST_PREFIX.len()..).unwrap_or_default() } else { name };
    begins(bare, OWN)
}

/// Of a line of cookies those of sessions alone; `None` where there are none.
pub fn only_session(line: &HeaderValue) -> Option<HeaderValue> {
    let names = [true, false].map(|secure| cookie_name(CookieKind::Session, secure).as_bytes());
    let is_session = |text: &&[u8]| names.contains(&pair(text).0);
    let kept: Vec<&[u8]> =
        line.as_bytes().split(|byte| *byte == b';').filter(is_session).map(<[u8]>::trim_ascii).collect();
    let mut value = HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok().filter(|value| !value.is_empty())?;
    value.set_sensitive(true);
    Some(value)
}

/// Takes the gateway's own cookies out of a request's `Cookie` lines. What else is in them stays as it was.
pub fn without_own(headers: &mut HeaderMap) {
    if !pairs(headers).any(|(name, _)| is_own_cookie(name)) {
        return;
    }
    let kept: Vec<HeaderValue> = headers.get_all(COOKIE).iter().filter_map(others).collect();
    headers.remove(COOKIE);
    for line in kept {
        headers.append(COOKIE, line);
    }
}

/// The line without them; `None` where nothing is left.
fn others(line: &HeaderValue) -> Option<HeaderValue> {
    let of_others = |text: &&[u8]| !is_own_cookie(pair(text).0);
    let kept: Vec<&[u8]> = line
        .as_bytes()
        .split(|byte| *byte == b';')
        .filter(of_others)
        .map(<[u8]>::trim_ascii)
        .filter(|text| !text.is_empty())
        .collect();
    let mut value = HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok().filter(|value| !value.is_empty())?;
    value.set_sensitive(line.is_sensitive());
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    #[test]
    fn a_cookie_is_set_for_the_host_alone_and_hidden_from_scripts() {
        let text = |value: Option<HeaderValue>| value.unwrap().to_str().unwrap().to_owned();
        assert_eq!(
            text(set_cookie(CookieKind::Session, true, "v", None)),
            "__Host-portcullis-session=v; Path=/; HttpOnly; SameSite=Lax; Secure"
        );
        assert_eq!(
            text(set_cookie(CookieKind::Login, false, "v", Some(Duration::from_secs(600)))),
            "portcullis-login=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=600"
        );
        assert_eq!(
            text(clear_cookie(CookieKind::Form, true)),
            "__Host-portcullis-form=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0"
        );
        assert_eq!(
            text(set_cookie_for_forms_from_elsewhere(CookieKind::Login, true, "v", None)),
            "__Host-portcullis-login=v; Path=/; HttpOnly; SameSite=None; Secure"
        );
        assert_eq!(
            text(set_cookie_for_forms_from_elsewhere(CookieKind::Login, false, "v", None)),
            "portcullis-login=v; Path=/; HttpOnly; SameSite=Lax",
            "browsers take no other one without TLS"
        );
        assert!(set_cookie(CookieKind::Session, true, "v", None).unwrap().is_sensitive());
        assert_eq!(set_cookie(CookieKind::Session, true, "a\r\nb", None), None);
    }

    #[test]
    fn a_cookie_is_found_where_it_is_there_once() {
        let check = |lines: &[&str], expected: Option<&str>| {
            assert_eq!(cookie_value(&headers(lines), CookieKind::Session, true), expected, "{lines:?}");
        };
        check(&[], None);
        check(&["a=b"], None);
        check(&["__Host-portcullis-session=v"], Some("v"));
        check(&["a=b; __Host-portcullis-session=v;c"], Some("v"));
        check(&["a=b", "__Host-portcullis-session=v"], Some("v"));
        check(&["__Host-portcullis-session="], Some(""));
        check(&["__Host-portcullis-session"], Some(""));
        // Without TLS it has another name, and that of another kind is none.
        check(&["portcullis-session=v"], None);
        check(&["__Host-portcullis-login=v"], None);
        check(&["__host-portcullis-session=v"], None);
        check(&["__Host-portcullis-session=v; __Host-portcullis-session=w"], None);
        check(&["__Host-portcullis-session=v", "__Host-portcullis-session=v"], None);
    }

    #[test]
    fn of_all_cookies_the_sessions_are_kept_for_later() {
        let check = |line: &str, expected: Option<&str>| {
            let kept = only_session(&HeaderValue::from_str(line).unwrap());
            assert_eq!(kept.as_ref().map(|kept| kept.to_str().unwrap()), expected, "{line}");
        };
        check("a=b; __Host-portcullis-login=x", None);
        check("a=b; __Host-portcullis-session=v; c=d", Some("__Host-portcullis-session=v"));
        let two = "__Host-portcullis-session=v; portcullis-session=w";
        check(two, Some(two));
    }

    #[test]
    fn upstreams_see_everybodys_cookies_but_the_gateways() {
        let check = |lines: &[&str], expected: &[&str]| {
            let mut headers = headers(lines);
            without_own(&mut headers);
            let left: Vec<&str> = headers.get_all(COOKIE).iter().map(|line| line.to_str().unwrap()).collect();
            assert_eq!(left, expected, "{lines:?}");
        };
        check(&[], &[]);
        check(&["a=b;  c=\"d; e\""], &["a=b;  c=\"d; e\""]);
        check(&["__Host-portcullis-session=v"], &[]);
        check(&["a=b; __Host-portcullis-session=v; c=d"], &["a=b; c=d"]);
        check(&["portcullis-session=v;a=b", "portcullis-login=x", "c"], &["a=b", "c"]);
        check(&["__HOST-Portcullis-Session=v; a=b"], &["a=b"]);
        check(&["portcullis-of-tomorrow=v; a=b"], &["a=b"]);
        check(&["portcullis=v; xportcullis-session=1"], &["portcullis=v; xportcullis-session=1"]);
        check(&[" ; __Host-portcullis-session = v ; "], &[]);
    }
}
