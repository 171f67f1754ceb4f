//! One table of requests for both versions: what a head may say does not depend on how it is framed.

use http::header::COOKIE;
use http::{HeaderName, HeaderValue, Request, Uri};

use super::heads::limits;
use crate::wire::head::{Scan, scan};
use crate::wire::parts::check;
use crate::wire::refusal::HeadRefusalKind::{
    self, ExpectationUnknown, HeadTooLarge, HostInvalid, Malformed, UriTooLong,
};

/// The verdict on these in HTTP/1.
fn over_http1(method: &str, target: &str, host: &str, fields: &[(&str, &str)]) -> Option<HeadRefusalKind> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n");
    for (name, value) in fields {
        head += &format!("{name}: {value}\r\n");
    }
    match scan(format!("{head}\r\n").as_bytes(), &limits()).1 {
        Scan::Complete { .. } => None,
        Scan::Refused(refusal) => Some(refusal.kind),
        Scan::Incomplete => panic!("{head:?} goes on"),
    }
}

/// The same in HTTP/2, once with `:authority` and once with Host. h2 refuses a target by itself that is no target at all.
fn over_http2(method: &str, target: &str, host: &str, fields: &[(&str, &str)]) -> Vec<Option<HeadRefusalKind>> {
    let mut verdicts = Vec::new();
    for named in [true, false] {
        let uri = if named { Uri::try_from(format!("http://{host}{target}")) } else { Uri::try_from(target) };
        let Ok(uri) = uri else { continue };
        let mut request = Request::new(());
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = uri;
        if !named {
            request.headers_mut().append("host", HeaderValue::from_str(host).unwrap());
        }
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        let (mut head, ()) = request.into_parts();
        verdicts.push(check(&mut head, &limits(), 80).err().map(|refusal| refusal.kind));
    }
    assert!(!verdicts.is_empty(), "{target} {host}");
    verdicts
}

#[test]
fn a_head_is_judged_alike_in_both_versions() {
    let check = |method: &str, target: &str, host: &str, fields: &[(&str, &str)], expected: Option<HeadRefusalKind>| {
        assert_eq!(over_http1(method, target, host, fields), expected, "HTTP/1 {method} {target} {host} {fields:?}");
        for found in over_http2(method, target, host, fields) {
            assert_eq!(found, expected, "HTTP/2 {method} {target} {host} {fields:?}");
        }
    };
    check("GET", "/", "a", &[], None);
    check("M-SEARCH", "/a;b=c/%20?q=/../", "a.test:8080", &[("x", "y")], None);
    check("OPTIONS", "/", "[::1]:80", &[], None);
    check(&"M".repeat(32), "/", "a", &[], None);
    check(&"M".repeat(33), "/", "a", &[], Some(Malformed));
    check("GET", &format!("/{}", "a".repeat(59)), "a", &[], None);
    check("GET", &format!("/{}", "a".repeat(60)), "a", &[], Some(UriTooLong));
    check("GET", "/", "a..b", &[], Some(HostInvalid));
    check("GET", "/", "a_b", &[], None);
    check("GET", "/", "a:080808", &[], Some(HostInvalid));
    check("GET", "/", "a", &[("Expect", "100-continue")], None);
    check("GET", "/", "a", &[("Expect", "100-Continue")], None);
    check("GET", "/", "a", &[("Expect", "yes")], Some(ExpectationUnknown));
    check("GET", "/", "a", &[("Expect", "100-continue"), ("Expect", "100-continue")], Some(ExpectationUnknown));
    check("POST", "/", "a", &[("Content-Length", "5")], None);
    check("POST", "/", "a", &[("Content-Length", "5"), ("Content-Length", "5")], Some(Malformed));
    check("POST", "/", "a", &[("Content-Length", "+5")], Some(Malformed));
    check("POST", "/", "a", &[("Content-Length", "12345678901234567890")], Some(Malformed));
    check("POST", "/", "a", &[("Content_Length", "5")], Some(Malformed));
    check("POST", "/", "a", &[("Transfer.Encoding", "chunked")], Some(Malformed));
    check("POST", "/", "a", &[("Transfer-Encoding", "gzip")], Some(Malformed));
    check("GET", "/", "a", &[("x", &"v".repeat(97))], None);
    check("GET", "/", "a", &[("x", &"v".repeat(98))], Some(HeadTooLarge));
    let many = [("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", "")];
    check("GET", "/", "a", &many[..4], None);
    let wide = [("a", &*"v".repeat(95)), ("b", &*"v".repeat(95)), ("c", &*"v".repeat(95)), ("d", &*"v".repeat(95))];
    check("GET", "/", "a", &wide, Some(HeadTooLarge));
}

#[test]
fn what_only_http2_can_say_is_judged_too() {
    let refused = |uri: &str, fields: &[(&'static str, &'static str)]| {
        let mut request = Request::new(());
        *request.uri_mut() = Uri::try_from(uri).unwrap();
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        let (mut head, ()) = request.into_parts();
        check(&mut head, &limits(), 443).err().map(|refusal| (refusal.kind, refusal.detail))
    };
    let check = |uri: &str, fields: &[(&'static str, &'static str)], expected: Option<(HeadRefusalKind, &str)>| {
        let expected = expected.map(|(kind, detail)| (kind, detail.to_owned()));
        assert_eq!(refused(uri, fields), expected, "{uri} {fields:?}");
    };
    check("https://a/", &[("host", "A.:443")], None);
    check("https://a/", &[("host", "a:80")], Some((HostInvalid, "Host is not the authority of the target")));
    check("https://a/", &[("host", "b")], Some((HostInvalid, "Host is not the authority of the target")));
    check("https://a/", &[("host", "a"), ("host", "a")], Some((HostInvalid, "more than one Host")));
    check("https://a/", &[("host", "")], Some((HostInvalid, "an empty host")));
    check("/", &[], Some((HostInvalid, "neither :authority nor Host")));
    check("ftp://a/", &[], Some((Malformed, "a :scheme that is not http or https")));
    check("https://a/", &[("connection", "close")], Some((Malformed, "Connection in HTTP/2")));
    check("https://a/", &[("transfer-encoding", "chunked")], Some((Malformed, "Transfer-Encoding in HTTP/2")));
    check("https://a/", &[("x", "a ")], Some((Malformed, "whitespace around a field value")));
}

#[test]
fn a_head_that_passes_has_one_host_one_cookie_and_a_target_in_origin_form() {
    let mut request = Request::new(());
    *request.uri_mut() = Uri::from_static("https://A.test:8443/a?b");
    for (name, value) in [("cookie", "a=1"), ("host", "a.TEST:8443"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")]
    {
        request.headers_mut().append(name, HeaderValue::from_static(value));
    }
    let (mut head, ()) = request.into_parts();
    check(&mut head, &limits(), 443).unwrap();
    assert_eq!(head.uri, "/a?b");
    assert_eq!(head.headers.get_all("host").iter().collect::<Vec<_>>(), ["A.test:8443"]);
    assert_eq!(head.headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
}
