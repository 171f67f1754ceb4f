//! Any bytes as the head of a response: what is taken of it is what an HTTP library reads, field for field, and how its body ends is
//! what RFC 9112 section 6.3 says.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue};
use portcullis_proxy::upstream::http1::head::{FIELDS_MAX, Framing, end_of_head, read};

/// The first byte says whether it answers a HEAD, and how the rest is cut.
pub(crate) fn body(bytes: &[u8]) {
    let [choice, rest @ ..] = bytes else { return };
    let end = end_of_head(rest, 0);
    assert_eq!(in_pieces(rest, usize::from(choice >> 1) + 1), end);
    let Some(end) = end else { return };
    let to_head = choice % 2 == 1;
    let Ok(head) = read(&Bytes::copy_from_slice(&rest[..end]), to_head, HeaderMap::new()) else { return };

    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut fields);
    let outcome = parsed.parse(&rest[..end]).expect("the library refuses what passed");
    assert_eq!(outcome, httparse::Status::Complete(end));
    assert_eq!(parsed.code, Some(head.status.as_u16()));
    let minor = parsed.version.expect("a version");
    assert!(minor == 1 || head.last, "HTTP/1.0 keeps no connection");
    let named = |name: &str| -> Vec<&[u8]> {
        parsed.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value).collect()
    };
    for field in parsed.headers.iter() {
        let name = field.name.to_ascii_lowercase();
        if *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING {
            continue;
        }
        let ends_here = |value: &&[u8]| {
            let mut connection = value.split(|byte| *byte == b',').map(trim);
            let (close, keep_alive) = (&b"close"[..], &b"keep-alive"[..]);
            let of_connection =
                |option: &[u8]| option.eq_ignore_ascii_case(close) || option.eq_ignore_ascii_case(keep_alive);
            name == "keep-alive" || (name == "connection" && connection.all(of_connection))
        };
        let kept: Vec<&[u8]> = head.headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
        let written: Vec<&[u8]> = named(&name).into_iter().filter(|value| !ends_here(value)).map(trim).collect();
        assert_eq!(kept, written, "{name}");
    }
    assert!(!head.headers.contains_key(TRANSFER_ENCODING));
    let (lengths, codings) = (named("content-length"), named("transfer-encoding"));
    let length = head.headers.get(CONTENT_LENGTH).map(|value| value.to_str().expect("digits").parse::<u64>());
    assert!(length.is_none_or(|length| to_head && length.is_ok_and(|length| says(&lengths, length))));
    match head.framing {
        Framing::Empty => {
            let bodiless = to_head || matches!(head.status.as_u16(), 100..200 | 204 | 304);
            assert!(bodiless || says(&lengths, 0), "a body is lost");
        }
        Framing::Length(length) => assert!(codings.is_empty() && says(&lengths, length)),
        Framing::Chunked => {
            assert!(minor == 1 && codings.len() == 1 && codings[0].trim_ascii().eq_ignore_ascii_case(b"chunked"));
            assert!(lengths.is_empty() || head.last);
        }
        Framing::Close => assert!(codings.is_empty() && lengths.is_empty() && head.last),
    }
}

/// Whether all of these say this length, and at least one does.
fn says(lengths: &[&[u8]], length: u64) -> bool {
    let mut listed = lengths.iter().flat_map(|value| value.split(|byte| *byte == b',')).peekable();
    let digits = |text: &[u8]| std::str::from_utf8(text).ok().filter(|text| !text.starts_with('+'))?.parse().ok();
    listed.peek().is_some() && listed.all(|text| digits(trim(text)) == Some(length))
}

fn trim(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

fn in_pieces(bytes: &[u8], piece: usize) -> Option<usize> {
    let (mut seen, mut end) = (0, 0);
    loop {
        end = (end + piece).min(bytes.len());
        let found = end_of_head(&bytes[..end], seen);
        if found.is_some() || end == bytes.len() {
            return found;
        }
        seen = end;
    }
}
