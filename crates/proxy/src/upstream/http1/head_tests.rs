//! Heads of responses as data.

use super::*;

/// What is read of a head: `STATUS REASON, framing, last?, keep_for?, fields`.
fn told(text: &str, to_head: bool) -> String {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    assert_eq!(end_of_head(&bytes, 0), Some(bytes.len()), "{text:?}");
    let head = match read(&bytes, to_head, HeaderMap::new()) {
        Ok(head) => head,
        Err(problem) => return format!("refused: {problem}"),
    };
    let mut told = head.status.as_str().to_owned();
    if let Some(reason) = head.reason {
        told += &format!(" {}", String::from_utf8_lossy(reason.as_bytes()));
    }
    told += &format!(", {:?}", head.framing);
    if head.last {
        told += ", last";
    }
    if let Some(keep_for) = head.keep_for {
        told += &format!(", {keep_for:?}");
    }
    for (name, value) in &head.headers {
        told += &format!(", {name}={}", String::from_utf8_lossy(value.as_bytes()));
    }
    told
}

#[test]
fn a_head_has_one_meaning_or_is_refused() {
    let coding = "refused: a transfer coding other than chunked";
    let length = "refused: a length that is none, or lengths that disagree";
    let line = "refused: no status line of HTTP/1";
    let name = "refused: a field name that is none, or a folded line";
    let control = "refused: a control byte in a field";
    let cases = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", "200, Length(2)"),
        ("HTTP/1.1 200 OK\ncontent-length: 2\n\n", "200, Length(2)"),
        ("HTTP/1.1 200 OK\r\nContent-Length:2 \t\r\n\r\n", "200, Length(2)"),
        ("HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", "200, Empty"),
        ("HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n", "200, Empty"),
        ("HTTP/1.1 200 Very Well\r\ncontent-length: 0\r\n\r\n", "200 Very Well, Empty"),
        ("HTTP/1.1 299 Odd\r\ncontent-length: 0\r\n\r\n", "299 Odd, Empty"),
        ("HTTP/1.1 200 OK\r\n\r\n", "200, Close, last"),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n", "200, Length(2), last"),
        ("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\n", "200, Length(2), last"),
        (
            "HTTP/1.1 200 OK\r\nConnection: x, CLOSE\r\ncontent-length: 2\r\n\r\n",
            "200, Length(2), last, connection=x, CLOSE",
        ),
        ("HTTP/1.1 200 OK\r\nkeep-alive: timeout=5\r\ncontent-length: 2\r\n\r\n", "200, Length(2), 4s"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n", "200, Chunked"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 7\r\n\r\n", "200, Chunked, last"),
        ("HTTP/1.1 200 OK\r\ncontent-length: x\r\ntransfer-encoding: chunked\r\n\r\n", "200, Chunked, last"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n", "200, Length(2)"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\n", "200, Length(2)"),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 7\r\n\r\n", "204, Empty"),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", "304, Empty"),
        ("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n", "204, Empty"),
        ("HTTP/1.1 200 OK\r\nx: a\r\nX: b\u{e9}\r\ncontent-length: 0\r\n\r\n", "200, Empty, x=a, x=b\u{e9}"),
        ("HTTP/1.1 200 OK\r\nx:\r\ncontent-length: 0\r\n\r\n", "200, Empty, x="),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\n", length),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n", length),
        ("HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\n", length),
        ("HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n", length),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0x2\r\n\r\n", length),
        ("HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\n", length),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2,\r\n\r\n", length),
        ("HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\n", length),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", coding),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n", coding),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n", coding),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", coding),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: \r\n\r\n", coding),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "refused: a transfer coding in HTTP/1.0"),
        ("HTTP/1.2 200 OK\r\n\r\n", line),
        ("HTTP/2 200 OK\r\n\r\n", line),
        ("http/1.1 200 OK\r\n\r\n", line),
        (" HTTP/1.1 200 OK\r\n\r\n", line),
        ("HTTP/1.1  200 OK\r\n\r\n", "refused: no status code"),
        ("HTTP/1.1 20 OK\r\n\r\n", "refused: no status code"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "refused: no status code"),
        ("HTTP/1.1 099 OK\r\n\r\n", "refused: no status code"),
        ("HTTP/1.1 200 O\u{1}K\r\n\r\n", "refused: a control byte in the status line"),
        ("HTTP/1.1 200 OK\r\nfolded: 1\r\n 2\r\n\r\n", "refused: a field line without a colon"),
        ("HTTP/1.1 200 OK\r\nfolded: 1\r\n b: 2\r\n\r\n", name),
        ("HTTP/1.1 200 OK\r\nbad name: 1\r\n\r\n", name),
        ("HTTP/1.1 200 OK\r\nname : 1\r\n\r\n", name),
        ("HTTP/1.1 200 OK\r\n: 1\r\n\r\n", name),
        ("HTTP/1.1 200 OK\r\nnothing\r\n\r\n", "refused: a field line without a colon"),
        ("HTTP/1.1 200 OK\r\nx: a\rb\r\n\r\n", control),
        ("HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n", control),
        ("HTTP/1.1 200 OK\r\nx: a\u{7f}b\r\n\r\n", control),
    ];
    for (text, expected) in cases {
        assert_eq!(told(text, false), expected, "{text:?}");
    }
}

#[test]
fn an_answer_to_a_head_request_keeps_what_it_says_of_the_length() {
    for (text, expected) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", "200, Empty, content-length=1000"),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", "304, Empty, content-length=7"),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 7\r\n\r\n", "204, Empty"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\n", "200, Empty"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "200, Empty"),
        ("HTTP/1.1 200 OK\r\n\r\n", "200, Empty"),
    ] {
        assert_eq!(told(text, true), expected, "{text:?}");
    }
}

#[test]
fn the_number_of_fields_is_bounded() {
    let with = |fields: usize| format!("HTTP/1.1 204 No Content\r\n{}\r\n", "x: y\r\n".repeat(fields));
    assert!(told(&with(FIELDS_MAX), false).starts_with("204"));
    assert_eq!(told(&with(FIELDS_MAX + 1), false), "refused: too many fields");
}

#[test]
fn the_end_of_a_head_is_found_however_it_comes() {
    for (text, expected) in [
        ("HTTP/1.1 200 OK\r\na: b\r\n\r\nbody\r\n\r\n", Some(25)),
        ("HTTP/1.1 200 OK\n\nbody", Some(17)),
        ("HTTP/1.1 200 OK\r\n\nbody", Some(18)),
        ("HTTP/1.1 200 OK\n\r\nbody", Some(18)),
        ("HTTP/1.1 200 OK\r\n\rx\r\n", None),
        ("HTTP/1.1 200 OK\r\n", None),
        ("\r\n", None),
        ("", None),
    ] {
        assert_eq!(end_of_head(text.as_bytes(), 0), expected, "{text:?}");
        // Whatever was looked at before, as long as it was not there yet.
        for seen in 0..expected.unwrap_or(text.len() + 1) {
            assert_eq!(end_of_head(text.as_bytes(), seen), expected, "{text:?} from {seen}");
        }
    }
}
