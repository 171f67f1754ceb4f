//! The door of the operators' API: where the data plane hands in what it permitted.
//!
//! The API over the network is a route of the data plane, on a listener of its own: callers are verified, and decided on by the policy, as
//! on every route, and a refusal is an event with its reason. What is permitted comes here, over a socket of the process (an abstract
//! one, unix(7), so that two processes of one machine have two). Any process of the machine can connect to it, and is believed only
//! with the token that this process made when it started and tells nobody.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, ORIGIN};
use http::{Method, Uri};

use crate::peer::Operator;

/// The token of the process.
pub const TOKEN: HeaderName = HeaderName::from_static("x-portcullis-introduction");
/// The principal, in Base64 for URLs (RFC 4648 section 5, without padding).
pub const OPERATOR: HeaderName = HeaderName::from_static("x-portcullis-operator");
/// The client's address, where it is known.
pub const CLIENT: HeaderName = HeaderName::from_static("x-portcullis-client");
/// How the caller came to the data plane: `http` or `https`.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// What a browser says of a request's origin (Fetch Metadata).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// How the data plane hands requests in.
pub struct Door {
    path: PathBuf,
    token: String,
}

static DOOR: LazyLock<Option<Door>> = LazyLock::new(Door::made);

impl Door {
    /// The one of this process. `None`: the system gave no random bytes for it.
    pub fn of_process() -> Option<&'static Self> {
        DOOR.as_ref()
    }

    fn made() -> Option<Self> {
        let mut bytes = [0; 48];
        rand::fill(&mut bytes).ok()?;
        let (name, token) = bytes.split_at_checked(16)?;
        let path = PathBuf::from(format!("\0portcullis-{}-{}", std::process::id(), HEXLOWER.encode(name)));
        Some(Self { path, token: HEXLOWER.encode(token) })
    }

    /// The name of the socket: of the abstract ones, which begin with a zero byte.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What an introduction says to be believed.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Who asks, by the word of the data plane. `None`: somebody else connected.
    pub(crate) fn introduced(&self, headers: &HeaderMap) -> Option<Operator> {
        let token = only(headers, &TOKEN)?;
        verify_slices_are_equal(token.as_bytes(), self.token.as_bytes()).ok()?;
        let principal = BASE64URL_NOPAD.decode(only(headers, &OPERATOR)?.as_bytes()).ok()?;
        let client: Option<IpAddr> = only(headers, &CLIENT).and_then(|text| text.parse().ok());
        Some(Operator { principal: String::from_utf8(principal).ok()?, client })
    }
}

fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Why a request is not what a program or the API's own pages would send, but what a page of somebody else's can have a browser send
/// with its user's cookies.
///
/// A form can send neither JSON nor its own headers, and a script of another origin neither without a preflight (Fetch standard,
/// "CORS-safelisted request-header"), which is never granted here.
pub(crate) fn forged(method: &Method, headers: &HeaderMap) -> Option<&'static str> {
    if let Some(site) = headers.get(FETCH_SITE)
        && !matches!(site.as_bytes(), b"same-origin" | b"none")
    {
        return Some("the request comes from another site's page");
    }
    if let Some(origin) = headers.get(ORIGIN) {
        let of_origin = origin.to_str().ok().and_then(|text| text.parse::<Uri>().ok());
        let found = of_origin.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.authority()?.as_str())));
        // A page that came without TLS may be anybody's, whatever name it has (RFC 6454 section 4). The data plane sets both fields.
        let own = only(headers, &FORWARDED_PROTO).zip(headers.get(HOST).and_then(|host| host.to_str().ok()));
        if found.is_none() || found != own {
            return Some("the request comes from a page of another origin");
        }
    }
    let is_json = || {
        let kind = only(headers, &CONTENT_TYPE).unwrap_or_default();
        kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
    };
    (!matches!(*method, Method::GET | Method::HEAD) && !is_json())
        .then_some("the body must be JSON, with `content-type: application/json`")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn only_who_knows_the_token_introduces_somebody() {
        let door = Door::of_process().unwrap();
        let token = door.token();
        let operator = BASE64URL_NOPAD.encode(b"user:alice");
        let check = |pairs: &[(&str, &str)], expected: Option<(&str, Option<&str>)>| {
            let found = door.introduced(&headers(pairs));
            let expected = expected.map(|(principal, client)| Operator {
                principal: principal.to_owned(),
                client: client.map(|client| client.parse().unwrap()),
            });
            assert_eq!(found, expected, "{} fields", pairs.len());
        };
        let (t, o, c) = ("x-portcullis-introduction", "x-portcullis-operator", "x-portcullis-client");
        check(&[(t, token), (o, &operator), (c, "192.0.2.7")], Some(("user:alice", Some("192.0.2.7"))));
        check(&[(t, token), (o, &operator)], Some(("user:alice", None)));
        check(&[(t, token)], None);
        check(&[(o, &operator)], None);
        check(&[], None);
        check(&[(t, ""), (o, &operator)], None);
        check(&[(t, &token[1..]), (o, &operator)], None);
        check(&[(t, &token.to_uppercase()), (o, &operator)], None);
        check(&[(t, token), (t, token), (o, &operator)], None);
        check(&[(t, token), (o, &operator), (o, &operator)], None);
        check(&[(t, token), (o, "user:alice")], None);
    }

    #[test]
    fn what_a_page_of_another_site_can_send_is_told() {
        let check = |method: Method, pairs: &[(&str, &str)], is_forged: bool| {
            let mut all = vec![("host", "127.0.0.1:9091"), ("x-forwarded-proto", "http")];
            all.extend(pairs);
            assert_eq!(forged(&method, &headers(&all)).is_some(), is_forged, "{method} {pairs:?}");
        };
        let json = ("content-type", "application/json");
        check(Method::GET, &[], false);
        check(Method::POST, &[json], false);
        check(Method::POST, &[("content-type", "Application/JSON; charset=utf-8")], false);
        check(Method::POST, &[json, ("origin", "http://127.0.0.1:9091"), ("sec-fetch-site", "same-origin")], false);
        check(Method::GET, &[("sec-fetch-site", "none")], false);
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/jsonx"]
        {
            check(Method::POST, &[("content-type", kind)], true);
        }
        check(Method::POST, &[], true);
        check(Method::POST, &[json, json], true);
        check(Method::DELETE, &[], true);
        check(Method::POST, &[json, ("sec-fetch-site", "cross-site")], true);
        check(Method::POST, &[json, ("sec-fetch-site", "same-site")], true);
        check(Method::GET, &[("sec-fetch-site", "cross-site")], true);
        check(Method::POST, &[json, ("origin", "http://evil.example")], true);
        check(Method::POST, &[json, ("origin", "http://127.0.0.1:9092")], true);
        check(Method::POST, &[json, ("origin", "null")], true);
        // Over TLS, from a page of the same name that came without.
        let check = |proto: &[(&str, &str)], origin: &str, is_forged: bool| {
            let all = [&[("host", "admin.example.com"), json, ("origin", origin)], proto].concat();
            assert_eq!(forged(&Method::POST, &headers(&all)).is_some(), is_forged, "{proto:?} {origin}");
        };
        let https = ("x-forwarded-proto", "https");
        check(&[https], "https://admin.example.com", false);
        check(&[https], "http://admin.example.com", true);
        check(&[("x-forwarded-proto", "http")], "https://admin.example.com", true);
        check(&[https, https], "https://admin.example.com", true);
        check(&[], "https://admin.example.com", true);
    }
}
