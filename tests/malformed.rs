//! Requests that could be read in two ways, byte by byte on the wire: each is refused with its status and reason, with one
//! event under the id that the caller was given, and no byte of it reaches the upstream.

use std::collections::HashSet;

use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::PATIENCE;
use portcullis_testkit::wire::Conn;

use crate::harness::{Gateway, NO_BANS, Site, of_kind};

const MALFORMED: &str = "request.malformed";
const HOST: &str = "request.host_invalid";
const PATH: &str = "request.path_ambiguous";
const LARGE: &str = "request.too_large";
const NO_GRANT: &str = "rbac.no_matching_grant";

/// GET and POST are permitted on every path, so whatever passes would reach the upstream.
const GET_AND_POST: &str = r#"
[[resource]]
route = "app"
authentication = "none"
[[role]]
name = "all"
permissions = [{ actions = ["GET,POST /**"] }]
[[assignment]]
name = "all"
role = "all"
principals = ["anyone"]
scope = "*"
"#;

/// Heads whose authority is missing, double or unclear.
pub(crate) const AUTHORITIES: &[&str] = &[
    "GET / HTTP/1.1",
    "GET / HTTP/1.0",
    "GET / HTTP/1.1\r\nhost: a\r\nhost: a",
    "GET / HTTP/1.1\r\nhost: a\r\nHOST: b",
    "GET / HTTP/1.1\r\nhost:",
    "GET / HTTP/1.1\r\nhost: user@a",
    "GET / HTTP/1.1\r\nhost: a b",
    "GET / HTTP/1.1\r\nhost: a, b",
    "GET / HTTP/1.1\r\nhost: a/b",
    "GET / HTTP/1.1\r\nhost: a:b",
    "GET / HTTP/1.1\r\nhost: a:99999",
    "GET / HTTP/1.1\r\nhost: a..b",
    "GET / HTTP/1.1\r\nhost: %61",
    "GET / HTTP/1.1\r\nhost: [::1",
    "GET / HTTP/1.1\r\nhost: [fe80::1%25eth0]",
    "GET http://other/ HTTP/1.1\r\nhost: gateway.test",
    "GET http://gateway.test:81/ HTTP/1.1\r\nhost: gateway.test",
    "GET https://gateway.test/ HTTP/1.1\r\nhost: gateway.test:80",
    "GET http://user@gateway.test/ HTTP/1.1\r\nhost: gateway.test",
    "GET http://user:pass@gateway.test/ HTTP/1.1\r\nhost: user:pass@gateway.test",
    "GET http:///path HTTP/1.1\r\nhost: gateway.test",
    "GET http://gateway.test/ HTTP/1.1",
];

/// Fields that leave open where a body ends.
pub(crate) const FRAMINGS: &[&str] = &[
    "content-length: 3\r\ntransfer-encoding: chunked",
    "transfer-encoding: chunked\r\ncontent-length: 3",
    "content-length: 3\r\ncontent-length: 3",
    "content-length: 3\r\ncontent-length: 4",
    "content-length: 3, 3",
    "content-length: +3",
    "content-length: -3",
    "content-length: 0x3",
    "content-length: 3.0",
    "content-length: 3e0",
    "content-length:",
    "content-length: 99999999999999999999",
    "content_length: 3",
    "transfer-encoding: gzip",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding: chunked, gzip",
    "transfer-encoding: chunked, chunked",
    "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    "transfer-encoding: chunked\r\ntransfer-encoding: identity",
    "transfer-encoding: identity",
    "transfer-encoding: xchunked",
    "transfer-encoding: \"chunked\"",
    "transfer-encoding: chunked;q=1",
    "transfer-encoding:\x0bchunked",
    "transfer-encoding:",
    "transfer_encoding: chunked",
    "transfer.encoding: chunked",
    "transfer-encoding : chunked",
    " transfer-encoding: chunked",
    "x: y\r\n transfer-encoding: chunked",
];

/// Heads that break the grammar.
pub(crate) const HEADS: &[&str] = &[
    "GET / HTTP/1.1\r\nhost: a\r\nx : y",
    "GET / HTTP/1.1\r\nhost : a",
    "GET / HTTP/1.1\r\nhost: a\r\nx\ty: z",
    "GET / HTTP/1.1\r\nhost: a\r\n folded",
    "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n\tfolded",
    "GET / HTTP/1.1\r\n host: a",
    "GET / HTTP/1.1\r\nhost: a\r\nno colon",
    "GET / HTTP/1.1\r\nhost: a\r\n: no name",
    "GET / HTTP/1.1\r\nhost: a\r\nx: nul\0byte",
    "GET / HTTP/1.1\r\nhost: a\r\nnul\0name: x",
    "GET / HTTP/1.1\r\nhost: a\r\nx: bare\rcarriage return",
    "GET / HTTP/1.1\r\nhost: a\r\nx: y\rz: w",
    "GET / HTTP/1.1\r\nhost: a\r\nx: control\x01",
    "GET / HTTP/1.1\r\nhost: a\r\nx: delete\x7f",
    "GET / HTTP/1.1\nhost: a",
    "GET / HTTP/1.1\r\nhost: a\nx: y",
    "GET  / HTTP/1.1\r\nhost: a",
    "GET / HTTP/1.1 \r\nhost: a",
    "GET\t/\tHTTP/1.1\r\nhost: a",
    " GET / HTTP/1.1\r\nhost: a",
    "GET / http/1.1\r\nhost: a",
    "GET / HTTP/1.1a\r\nhost: a",
    "GET / HTTP/01.1\r\nhost: a",
    "GET / HTTP/1.2\r\nhost: a",
    "GET / HTTP/3.0\r\nhost: a",
    "GET /\r\nhost: a",
    "GET\r\nhost: a",
    "GET / a HTTP/1.1\r\nhost: a",
    "G(T / HTTP/1.1\r\nhost: a",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\nhost: a",
    "GET /nul\0 HTTP/1.1\r\nhost: a",
    "GET /#fragment HTTP/1.1\r\nhost: a",
    "GET http://a/#fragment HTTP/1.1\r\nhost: a",
    "GET path HTTP/1.1\r\nhost: a",
    "GET * HTTP/1.1\r\nhost: a",
    "GET ftp://a/ HTTP/1.1\r\nhost: a",
    "GET /a{b} HTTP/1.1\r\nhost: a",
    "GET /\"a\" HTTP/1.1\r\nhost: a",
    "GET /%zz HTTP/1.1\r\nhost: a",
    "GET /% HTTP/1.1\r\nhost: a",
    "OPTIONS * HTTP/1.1\r\nhost: a",
    "CONNECT a:443 HTTP/1.1\r\nhost: a:443",
    "CONNECT / HTTP/1.1\r\nhost: a",
    "GET / HTTP/1.1\r\nhost: a\r\nconnection: close, (x)",
    "GET / HTTP/1.1\r\nhost: a\r\nupgrade: a/b/c d",
];

/// Paths with more than one meaning.
pub(crate) const PATHS: &[&str] = &[
    "//",
    "//a",
    "/a//b",
    "/a//",
    "/../a",
    "/a/../b",
    "/a/..",
    "/./a",
    "/a/.",
    "/%2e%2e/a",
    "/.%2e/a",
    "/a/%2e",
    "/a%2fb",
    "/a%2Fb",
    "/a%5cb",
    "/a%5Cb",
    "/a%00b",
    "/a%0ab",
    "/a%0db",
    "/a%7fb",
    "/%252e%252e/a",
    "/a%252fb",
    "/%25%32%65",
    "/a\\b",
    "/..\\a",
    "/..;/a",
    "/..;x=1/a",
    "/a/..%3b/b",
    "/.;/a",
    "/%c0%af",
    "/%c0%ae%c0%ae/a",
    "/%e0%80%af",
    "/%ff",
    "/%ed%a0%80",
];

struct Refusals<'a> {
    gateway: &'a Gateway,
    ids: HashSet<String>,
    count: usize,
}

impl Refusals<'_> {
    /// Sends `bytes` on a connection of their own and expects exactly one answer, a refusal.
    fn check(&mut self, bytes: impl AsRef<[u8]>, status: u16, reason: &str) {
        let bytes = bytes.as_ref();
        let what = String::from_utf8_lossy(bytes.get(..120).unwrap_or(bytes)).into_owned();
        let mut connection = Conn::open(self.gateway.address);
        // What is refused early may not be taken to its end.
        drop(connection.try_send(bytes));
        let answer = connection.try_answer().unwrap_or_else(|error| panic!("{what:?}: {error}"));
        let event = self.gateway.check_refused(&what, &answer, status, reason);
        assert_eq!(event["decision"], "deny", "{what:?}");
        assert_eq!(event["upstream"]["forwarded"], false, "{what:?}");
        assert_eq!(event["client"]["ip"], "127.0.0.1", "{what:?}");
        if status != 403 {
            assert_eq!(answer.header("connection"), Some("close"), "{what:?}: what follows is in doubt");
            assert!(connection.closed_within(PATIENCE), "{what:?}: the connection stays open");
            assert!(connection.next_bytes().unwrap().is_empty(), "{what:?}: there was a second answer");
        }
        assert!(self.ids.insert(event["id"].as_str().unwrap().to_owned()), "{what:?}: an id was used twice");
        self.count += 1;
    }
}

/// Refuses each of `cases`, then proves that there was one event for each and that the upstream saw nothing.
fn refused(cases: impl FnOnce(&mut Refusals<'_>)) {
    let upstream = Upstream::start();
    let site = Site::new(&upstream.url());
    site.policy(&[GET_AND_POST, NO_BANS].concat());
    let gateway = site.start();
    let mut refusals = Refusals { gateway: &gateway, ids: HashSet::new(), count: 0 };
    cases(&mut refusals);
    let (count, ids) = (refusals.count, refusals.ids);
    assert_eq!(upstream.connections(), 0, "the upstream saw {:?} and {:?}", upstream.requests(), upstream.malformed());
    // After the end, so that a second event would be there.
    let events = gateway.stop();
    assert_eq!(of_kind(&events, "access.denied").len(), count);
    assert_eq!(ids.len(), count);
}

#[test]
fn the_authority_must_be_one_and_clear() {
    refused(|all| {
        for head in AUTHORITIES {
            all.check(format!("{head}\r\n\r\n"), 400, HOST);
        }
    });
}

#[test]
fn the_framing_must_be_one_and_clear() {
    refused(|all| {
        for fields in FRAMINGS {
            all.check(format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n0\r\n\r\n"), 400, MALFORMED);
        }
        all.check("POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400, MALFORMED);
    });
}

#[test]
fn the_head_must_keep_to_the_grammar() {
    refused(|all| {
        for head in HEADS {
            all.check(format!("{head}\r\n\r\n"), 400, MALFORMED);
        }
        all.check(b"GET /\xc3\xbc HTTP/1.1\r\nhost: a\r\n\r\n", 400, MALFORMED);
        all.check(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, MALFORMED);
        all.check("\r\n\r\n\r\n", 400, MALFORMED);
    });
}

#[test]
fn the_path_must_have_one_meaning() {
    refused(|all| {
        for path in PATHS {
            all.check(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"), 400, PATH);
            all.check(format!("GET http://a{path}?q HTTP/1.1\r\nhost: a\r\n\r\n"), 400, PATH);
        }
    });
}

#[test]
fn what_is_too_large_is_refused_at_its_border() {
    let upstream = Upstream::start();
    let site = Site::new(&upstream.url());
    site.policy(&[GET_AND_POST, NO_BANS].concat());
    let gateway = site.start();
    let fields = |count: usize| (1..count).map(|number| format!("x-{number}: y\r\n")).collect::<String>();
    let check = |what: &str, bytes: String, status: u16| {
        let answer = gateway.send(bytes);
        match status {
            200 => assert_eq!(answer.status(), 200, "{what}"),
            status => drop(gateway.check_refused(what, &answer, status, LARGE)),
        }
    };
    let target = |length: usize| format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "u".repeat(length - 1));
    check("8 KiB of target", target(8 << 10), 200);
    check("a byte more", target((8 << 10) + 1), 414);
    check("far more, without an end", format!("GET /{}", "u".repeat(20_000)), 414);
    check("100 fields", format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", fields(100)), 200);
    check("101 fields", format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", fields(101)), 431);
    let field = |length: usize| format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "v".repeat(length - 3));
    check("a field of 16 KiB", field(16 << 10), 200);
    check("a byte more", field((16 << 10) + 1), 431);
    let big = format!("{}: {}\r\n", "y", "v".repeat(16_000));
    check(
        "64 KiB of fields that are each small enough",
        format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", big.repeat(5)),
        431,
    );
    assert_eq!(upstream.requests().len(), 3);
}

#[test]
fn expectations_upgrades_and_methods_that_nobody_serves() {
    refused(|all| {
        all.check("GET / HTTP/1.1\r\nhost: a\r\nexpect: foo\r\n\r\n", 417, MALFORMED);
        all.check("GET / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue, foo\r\n\r\n", 417, MALFORMED);
        let websocket =
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n\r\n";
        all.check(websocket, 403, "request.upgrade_not_allowed");
        all.check(websocket.replace("websocket\r\n", "h2c, websocket\r\n"), 403, "request.upgrade_not_allowed");
        all.check(websocket.replace("websocket\r\n", "TLS/1.0\r\n"), 403, "request.upgrade_not_allowed");
        // Well-formed methods are the policy's to judge, and it compares them exactly.
        for method in ["get", "Get", "TRACE", "PUT", "DELETE", "PROPFIND", "X", "GET-", "!"] {
            all.check(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n"), 403, NO_GRANT);
        }
    });
}

#[test]
fn an_offer_of_h2c_is_ignored_and_legal_oddities_pass() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    for head in [
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk",
        // An upgrade that is not asked for in `Connection` is none.
        "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket",
        "\r\nGET / HTTP/1.1\r\nhost: a",
        "GET / HTTP/1.1\r\nHOST:a",
        "GET / HTTP/1.1\r\nhost:\t a \t",
        "GET / HTTP/1.1\r\nhost: A.Test.:8080",
        "GET / HTTP/1.1\r\nhost: [::1]:80",
        "GET / HTTP/1.1\r\nhost: a_b.test",
        "GET / HTTP/1.1\r\nhost: a\r\nempty:\r\nx!#$%&'*+-.^_`|~9: tab\tand \u{fc}",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0 ",
        "GET / HTTP/1.1\r\nhost: a\r\nexpect: 100-Continue",
    ] {
        let answer = gateway.send(format!("{head}\r\n\r\n"));
        assert_eq!(answer.status(), 200, "{head:?}: {}", String::from_utf8_lossy(&answer.body));
        let seen = upstream.requests().pop().unwrap().head;
        assert_eq!((seen.header("upgrade"), seen.header("http2-settings")), (None, None), "{head:?}");
    }
    assert!(upstream.malformed().is_empty(), "{:?}", upstream.malformed());
}
