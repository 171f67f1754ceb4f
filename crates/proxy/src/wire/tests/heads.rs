//! Raw heads and what becomes of them.

use crate::wire::framing::BodyFraming;
use crate::wire::head::{HeadLimits, Scan, scan};
use crate::wire::refusal::HeadRefusalKind;
use crate::wire::request_line::HttpVersion;

/// Limits that a table can reach.
pub(super) fn limits() -> HeadLimits {
    HeadLimits { max_header_fields: 5, max_header_bytes: 400, max_field_bytes: 100, max_uri_bytes: 60 }
}

/// A line that says all there is in a scan.
fn describe(head: &[u8], scanned: &Scan) -> String {
    let facts = match scanned {
        Scan::Incomplete => return "incomplete".into(),
        Scan::Refused(refusal) => return format!("{:?}: {}", refusal.kind, refusal.detail),
        Scan::Complete { facts, .. } => facts,
    };
    let text = |range: &std::ops::Range<usize>| String::from_utf8_lossy(&head[range.clone()]).into_owned();
    let version = match facts.version {
        HttpVersion::Http10 => "1.0",
        HttpVersion::Http11 => "1.1",
        HttpVersion::Http2 => "2",
    };
    let body = match facts.framing {
        BodyFraming::None => "none".to_owned(),
        BodyFraming::Length(length) => length.to_string(),
        BodyFraming::Chunked => "chunked".to_owned(),
    };
    let mut line =
        format!("{} {} {version} body={body} host={}", text(&facts.method), text(&facts.target), text(&facts.host));
    if !facts.keep_alive {
        line += " close";
    }
    if facts.expect_continue {
        line += " expect";
    }
    if facts.upgrade_requested {
        line += " upgrade";
    }
    if !facts.upgrade.is_empty() {
        line += &format!("={}", facts.upgrade.join("+"));
    }
    line
}

/// `head` with `|` for CRLF, and the empty line put behind it.
fn check(head: &str, expected: &str) {
    check_bytes(format!("{head}||").replace('|', "\r\n").as_bytes(), expected);
}

fn check_bytes(bytes: &[u8], expected: &str) {
    let (skipped, scanned) = scan(bytes, &limits());
    let description = describe(&bytes[skipped..], &scanned);
    let matched = match expected.strip_suffix(": *") {
        Some(kind) => description.starts_with(&format!("{kind}: ")),
        None => description == expected,
    };
    assert!(matched, "{:?}\n  gave     {description}\n  expected {expected}", String::from_utf8_lossy(bytes));
    if let Scan::Complete { head_len, .. } = scanned {
        assert_eq!(skipped + head_len, bytes.len());
    }
}

#[test]
fn ordinary_heads_pass_with_their_facts() {
    for (head, expected) in [
        ("GET / HTTP/1.1|Host: a", "GET / 1.1 body=none host=a"),
        ("GET / HTTP/1.1|hOsT:a.example:8080", "GET / 1.1 body=none host=a.example:8080"),
        ("GET / HTTP/1.1|Host: \t [::1]:80 \t", "GET / 1.1 body=none host=[::1]:80"),
        ("GET /a%20b;c=d/../e?f=g&h=?/ HTTP/1.1|Host: a", "GET /a%20b;c=d/../e?f=g&h=?/ 1.1 body=none host=a"),
        ("GET /?q={a:[1]}^`\\ HTTP/1.1|Host: a", "GET /?q={a:[1]}^`\\ 1.1 body=none host=a"),
        ("get / HTTP/1.1|Host: a", "get / 1.1 body=none host=a"),
        ("M-SEARCH!#$%&'*+.^_`~ / HTTP/1.1|Host: a", "M-SEARCH!#$%&'*+.^_`~ / 1.1 body=none host=a"),
        ("OPTIONS * HTTP/1.1|Host: a", "OPTIONS * 1.1 body=none host=a"),
        ("OPTIONS /a HTTP/1.1|Host: a", "OPTIONS /a 1.1 body=none host=a"),
        ("CONNECT a:443 HTTP/1.1|Host: A:443", "CONNECT a:443 1.1 body=none host=A:443"),
        ("CONNECT a:443 HTTP/1.1|Host: a", "CONNECT a:443 1.1 body=none host=a"),
        (
            "GET http://A.example./x HTTP/1.1|Host: a.example:80",
            "GET http://A.example./x 1.1 body=none host=a.example:80",
        ),
        ("GET HTTPS://a:443?x HTTP/1.1|Host: a", "GET HTTPS://a:443?x 1.1 body=none host=a"),
        ("GET http://a HTTP/1.1|Host: a", "GET http://a 1.1 body=none host=a"),
        ("GET /http://b/ HTTP/1.1|Host: a", "GET /http://b/ 1.1 body=none host=a"),
        ("POST / HTTP/1.1|Host: a|Content-Length: 0", "POST / 1.1 body=0 host=a"),
        ("POST / HTTP/1.1|Host: a|Content-Length: 0012", "POST / 1.1 body=12 host=a"),
        ("GET / HTTP/1.1|Content-Length: 9999999999999999999|Host: a", "GET / 1.1 body=9999999999999999999 host=a"),
        ("POST / HTTP/1.1|Host: a|Transfer-Encoding: Chunked ", "POST / 1.1 body=chunked host=a"),
        ("POST / HTTP/1.1|Host: a|Content-Length: 5|Expect: 100-Continue", "POST / 1.1 body=5 host=a expect"),
        ("POST / HTTP/1.0|Host: a|Content-Length: 5|Expect: 100-continue", "POST / 1.0 body=5 host=a close"),
        ("GET / HTTP/1.1|Host: a|Connection: foo, ,CLOSE", "GET / 1.1 body=none host=a close"),
        ("GET / HTTP/1.1|Host: a|Connection: close|Connection: keep-alive", "GET / 1.1 body=none host=a close"),
        ("GET / HTTP/1.0|Host: a", "GET / 1.0 body=none host=a close"),
        ("GET / HTTP/1.0|Host: a|Connection: Keep-Alive", "GET / 1.0 body=none host=a"),
        (
            "GET / HTTP/1.1|Host: a|Connection: Upgrade|Upgrade: WebSocket",
            "GET / 1.1 body=none host=a upgrade=websocket",
        ),
        ("GET / HTTP/1.1|Host: a|Upgrade: websocket", "GET / 1.1 body=none host=a=websocket"),
        (
            "GET / HTTP/1.1|Host: a|Connection: upgrade, HTTP2-Settings|Upgrade: h2c, HTTP/2.0",
            "GET / 1.1 body=none host=a upgrade=h2c+http/2.0",
        ),
        ("GET / HTTP/1.0|Host: a|Connection: upgrade|Upgrade: x", "GET / 1.0 body=none host=a close=x"),
        ("GET / HTTP/1.1|Host: a|X:|Y: \t|Z: b\tc d", "GET / 1.1 body=none host=a"),
        ("||GET / HTTP/1.1|Host: a", "GET / 1.1 body=none host=a"),
    ] {
        check(head, expected);
    }
    check_bytes(b"GET / HTTP/1.1\r\nHost: a\r\nX: caf\xc3\xa9 \x80\xff\r\n\r\n", "GET / 1.1 body=none host=a");
}

#[test]
fn broken_request_lines_are_refused() {
    for head in [
        "GET  / HTTP/1.1|Host: a",
        "GET /  HTTP/1.1|Host: a",
        "GET / HTTP/1.1 |Host: a",
        " GET / HTTP/1.1|Host: a",
        "GET\t/ HTTP/1.1|Host: a",
        "GET / b HTTP/1.1|Host: a",
        "GET HTTP/1.1|Host: a",
        "GET|Host: a",
        "GET /|Host: a",
        "GET / http/1.1|Host: a",
        "GET / HTTP/11|Host: a",
        "GET / HTTP/1.1x|Host: a",
        "GET / HTP/1.1|Host: a",
        "G(T / HTTP/1.1|Host: a",
        "GET a HTTP/1.1|Host: a",
        "GET * HTTP/1.1|Host: a",
        "GET a:80 HTTP/1.1|Host: a",
        "GET ?a HTTP/1.1|Host: a",
        "GET ftp://a/ HTTP/1.1|Host: a",
        "GET http:/a HTTP/1.1|Host: a",
        "CONNECT / HTTP/1.1|Host: a",
        "CONNECT a HTTP/1.1|Host: a",
        "CONNECT http://a:80/ HTTP/1.1|Host: a",
        "CONNECT a:443 HTTP/1.1|Host: a|Content-Length: 1",
        "GET /a#b HTTP/1.1|Host: a",
        "GET http://a/#b HTTP/1.1|Host: a",
        "GET http://a#b HTTP/1.1|Host: a",
        "GET /a<b HTTP/1.1|Host: a",
        "GET /`a HTTP/1.1|Host: a",
        "GET /?\"a HTTP/1.1|Host: a",
        "GET /?a>b HTTP/1.1x|Host: a",
        "GET /caf\u{e9} HTTP/1.1|Host: a",
        "GET /\u{7f} HTTP/1.1|Host: a",
        "GET /\u{0} HTTP/1.1|Host: a",
        "GET /\u{b} HTTP/1.1|Host: a",
        "GET /a\rb HTTP/1.1|Host: a",
        "|||GET / HTTP/1.1|Host: a",
    ] {
        check(head, "Malformed: *");
    }
    check("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1|Host: a", "Malformed: a method over 32 bytes");
    check(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1|Host: a",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / 1.1 body=none host=a",
    );
}

#[test]
fn other_protocols_are_named() {
    check_bytes(b"\x16\x03\x01", "Malformed: TLS on a plain-text listener");
    check_bytes(b"\x16", "Malformed: TLS on a plain-text listener");
    check_bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "VersionUnsupported: HTTP/2 preface on an HTTP/1 listener");
    check_bytes(b"\x00", "Malformed: a first byte that no method has");
    for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/9.9"] {
        check(&format!("GET / {version}|Host: a"), "VersionUnsupported: *");
    }
}

#[test]
fn broken_lines_and_fields_are_refused() {
    for bytes in [
        b"GET / HTTP/1.1\nHost: a\n\n".as_slice(),
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\r: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x1fb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\xc3\xa9: b\r\n\r\n",
        b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        check_bytes(bytes, "Malformed: *");
    }
    for head in [
        "GET / HTTP/1.1|Host : a",
        "GET / HTTP/1.1|Host\t: a",
        "GET / HTTP/1.1| Host: a",
        "GET / HTTP/1.1|Host: a|X: b| folded",
        "GET / HTTP/1.1|Host: a|X: b|\tfolded",
        "GET / HTTP/1.1|Host: a|: b",
        "GET / HTTP/1.1|Host: a|X",
        "GET / HTTP/1.1|Host: a|X(: b",
        "GET / HTTP/1.1|Host: a|\"X\": b",
        "GET / HTTP/1.1|Host: a|Connection: a b",
        "GET / HTTP/1.1|Host: a|Connection: \"close\"",
        "GET / HTTP/1.1|Host: a|Upgrade: a b",
        "GET / HTTP/1.1|Host: a|Upgrade: a/",
        "GET / HTTP/1.1|Host: a|Upgrade: a/b/c",
        "GET / HTTP/1.1|Host: a|Upgrade: 1,2,3,4,5,6,7,8,9",
    ] {
        check(head, "Malformed: *");
    }
}

#[test]
fn there_must_be_one_valid_host_that_agrees_with_the_target() {
    for head in [
        "GET / HTTP/1.1|X: a",
        "GET / HTTP/1.0|X: a",
        "GET / HTTP/1.1|Host: a|Host: a",
        "GET / HTTP/1.1|Host: a|hOST: b",
        "GET / HTTP/1.1|Host:",
        "GET / HTTP/1.1|Host: a,b",
        "GET / HTTP/1.1|Host: a b",
        "GET / HTTP/1.1|Host: u@a",
        "GET / HTTP/1.1|Host: a:",
        "GET / HTTP/1.1|Host: a:65536",
        "GET / HTTP/1.1|Host: http://a",
        "GET http://b/ HTTP/1.1|Host: a",
        "GET http://a:8080/ HTTP/1.1|Host: a",
        "GET http://a/ HTTP/1.1|Host: a:443",
        "GET https://a/ HTTP/1.1|Host: a:80",
        "GET http://u@a/ HTTP/1.1|Host: a",
        "GET http:///x HTTP/1.1|Host: a",
        "GET http://a:/x HTTP/1.1|Host: a",
        "CONNECT a:443 HTTP/1.1|Host: b:443",
        "CONNECT a:443 HTTP/1.1|Host: a:80",
    ] {
        check(head, "HostInvalid: *");
    }
}

#[test]
fn ambiguous_framing_is_refused() {
    for fields in [
        "Content-Length: 1|Content-Length: 1",
        "Content-Length: 1|Content-Length: 2",
        "Content-Length: 1, 1",
        "Content-Length: 1,",
        "Content-Length:",
        "Content-Length: +1",
        "Content-Length: -1",
        "Content-Length: 1 1",
        "Content-Length: 0x1",
        "Content-Length: 1.0",
        "Content-Length: 10000000000000000000",
        "Content-Length: 1|Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked|Content-Length: 1",
        "Transfer-Encoding: chunked|Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding:",
        "Transfer-Encoding:|Content-Length: 1",
        "Content_Length: 1",
        "content.length: 1",
        "Transfer_Encoding: chunked",
        "transfer.encoding: x",
        "TRANSFER_ENCODING: identity",
    ] {
        check(&format!("POST / HTTP/1.1|Host: a|{fields}"), "Malformed: *");
    }
    check("POST / HTTP/1.0|Host: a|Transfer-Encoding: chunked", "Malformed: Transfer-Encoding in HTTP/1.0");
    for fields in ["Expect: 200-ok", "Expect:", "Expect: 100-continue, x", "Expect: 100-continue|Expect: 100-continue"]
    {
        check(&format!("POST / HTTP/1.1|Host: a|{fields}"), "ExpectationUnknown: *");
    }
}

#[test]
fn sizes_are_bounded_exactly() {
    let accepted = |scanned: &Scan| matches!(scanned, Scan::Complete { .. });
    let refused =
        |scanned: &Scan, kind: HeadRefusalKind| matches!(scanned, Scan::Refused(refusal) if refusal.kind == kind);
    let scan_head = |head: String| scan(head.replace('|', "\r\n").as_bytes(), &limits()).1;

    assert!(accepted(&scan_head(format!("GET /{} HTTP/1.1|Host: a||", "a".repeat(59)))));
    let too_long = scan_head(format!("GET /{} HTTP/1.1|Host: a||", "a".repeat(60)));
    assert!(refused(&too_long, HeadRefusalKind::UriTooLong), "{too_long:?}");
    // Also where its end never comes.
    assert!(refused(&scan_head(format!("GET /{}", "a".repeat(110))), HeadRefusalKind::UriTooLong));

    assert!(accepted(&scan_head(format!("GET / HTTP/1.1|Host: a|X: {}||", "a".repeat(97)))));
    let too_long = scan_head(format!("GET / HTTP/1.1|Host: a|X: {}||", "a".repeat(98)));
    assert!(refused(&too_long, HeadRefusalKind::HeadTooLarge));
    assert!(refused(
        &scan_head(format!("GET / HTTP/1.1|Host: a|X: {}", "a".repeat(99))),
        HeadRefusalKind::HeadTooLarge
    ));
    assert_eq!(scan_head(format!("GET / HTTP/1.1|Host: a|X: {}", "a".repeat(97))), Scan::Incomplete);

    assert!(accepted(&scan_head("GET / HTTP/1.1|Host: a|B: 1|C: 1|D: 1|E: 1||".into())));
    let too_many = scan_head("GET / HTTP/1.1|Host: a|B: 1|C: 1|D: 1|E: 1|F: 1||".into());
    assert!(refused(&too_many, HeadRefusalKind::HeadTooLarge));

    // "GET / HTTP/1.1|Host: a|" is 25 bytes, the empty line 2: 373 are left for fields.
    let fields = |last: usize| {
        (0..3)
            .map(|_| format!("X: {}|", "a".repeat(95)))
            .chain([format!("Y: {}|", "b".repeat(last))])
            .collect::<String>()
    };
    let exact = format!("GET / HTTP/1.1|Host: a|{}|", fields(68));
    assert_eq!(exact.replace('|', "\r\n").len(), 400);
    assert!(accepted(&scan_head(exact)));
    assert!(refused(&scan_head(format!("GET / HTTP/1.1|Host: a|{}|", fields(69))), HeadRefusalKind::HeadTooLarge));
}

#[test]
fn a_refusal_tells_what_was_asked_for() {
    let Scan::Refused(refusal) = scan(b"POST /a%00?\\ HTTP/1.1\r\nHost: a\r\nHost: a\r\n", &limits()).1 else {
        panic!("must be refused");
    };
    assert_eq!(refusal.method.as_deref(), Some("POST"));
    assert_eq!(refusal.target.as_deref(), Some("/a%00?\\x5c"));
    assert_eq!((refusal.kind.status(), refusal.kind.code()), (400, "request.host_invalid"));
    let Scan::Refused(refusal) = scan(b"\x16\x03\x01 a b\r\n", &limits()).1 else { panic!("must be refused") };
    assert_eq!((refusal.method, refusal.target), (None, None));
}

#[test]
fn a_refusal_quotes_the_software_of_a_line_that_was_found_good_and_of_no_other() {
    let check = |head: &str, expected: Option<&str>| {
        let head = head.replace('|', "\r\n");
        let Scan::Refused(refusal) = scan(head.as_bytes(), &limits()).1 else { panic!("{head:?} must be refused") };
        assert_eq!(refusal.user_agent.as_deref(), expected, "{head:?}");
    };
    check("GET / HTTP/1.1|User-Agent: a/1|Host: a|Host: a|", Some("a/1"));
    check("GET / HTTP/1.1|Host: a|Host: a|User-Agent: a/1|", None);
    // Two fields in one line, of which the second is a secret.
    check("GET / HTTP/1.1|Host: a|User-Agent: a/1\rAuthorization: Bearer s3cret|", None);
    check("GET / HTTP/1.1|Host: a|User-Agent: a/1\0|", None);
    check("GET / HTTP/1.1|Host: a|User-Agent: a/1\n", None);
    // What looks like a field in the place of a request line.
    check("user-agent: /x?token=s3cret HTTP/1.1|", None);
    check("GET /user-agent: HTTP/1.1|Host: a|Host: b|", None);
}
