//! Any bytes as the head of a request: what is found does not depend on how they were cut, and what passes is what the HTTP
//! library behind the gate reads, part for part.

use portcullis_proxy::wire::head::{HeadLimits, HeadScanner, Scan, scan};
use portcullis_proxy::wire::{BodyFraming, HttpVersion};

/// The first byte chooses the limits, the second how the rest is cut.
pub(crate) fn body(bytes: &[u8]) {
    let [choice, piece, rest @ ..] = bytes else { return };
    let limits = if choice % 4 == 0 {
        HeadLimits { max_header_fields: 3, max_header_bytes: 128, max_field_bytes: 32, max_uri_bytes: 16 }
    } else {
        HeadLimits { max_header_fields: 100, max_header_bytes: 4096, max_field_bytes: 1024, max_uri_bytes: 512 }
    };
    let whole = scan(rest, &limits);
    assert_eq!(in_pieces(rest, usize::from(*piece) + 1, &limits), whole);
    let (skipped, Scan::Complete { head_len, facts }) = whole else { return };
    let head = &rest[skipped..];
    assert!(head_len <= limits.max_header_bytes && head[..head_len].ends_with(b"\r\n\r\n"));
    let (method, target, host) = (&head[facts.method], &head[facts.target], &head[facts.host]);

    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut parsed = httparse::Request::new(&mut fields);
    let outcome = parsed.parse(&head[..head_len]).expect("the library refuses what passed");
    assert_eq!(outcome, httparse::Status::Complete(head_len));
    assert_eq!(parsed.method.map(str::as_bytes), Some(method));
    assert_eq!(parsed.path.map(str::as_bytes), Some(target));
    assert_eq!(parsed.version, Some(if facts.version == HttpVersion::Http10 { 0 } else { 1 }));
    let named = |name: &str| -> Vec<&[u8]> {
        parsed.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value).collect()
    };
    assert_eq!(named("host"), [host], "one Host, and it is the one that was judged");
    match facts.framing {
        BodyFraming::None => {
            assert!(named("transfer-encoding").is_empty() && named("content-length").is_empty());
        }
        BodyFraming::Length(length) => {
            let written: Vec<Option<u64>> = named("content-length")
                .iter()
                .map(|value| std::str::from_utf8(value).ok()?.trim().parse().ok())
                .collect();
            assert_eq!(written, [Some(length)]);
            assert!(named("transfer-encoding").is_empty());
        }
        BodyFraming::Chunked => {
            assert_eq!(named("transfer-encoding").len(), 1);
            assert!(named("content-length").is_empty());
            assert!(named("transfer-encoding")[0].trim_ascii().eq_ignore_ascii_case(b"chunked"));
        }
    }
}

fn in_pieces(bytes: &[u8], piece: usize, limits: &HeadLimits) -> (usize, Scan) {
    let mut scanner = HeadScanner::default();
    let (mut skipped, mut end) = (0, 0);
    loop {
        end = (end + piece).min(bytes.len());
        skipped += scanner.skip_empty_lines(&bytes[skipped..end.max(skipped)]);
        let found = scanner.scan(&bytes[skipped..end.max(skipped)], limits);
        if found != Scan::Incomplete || end == bytes.len() {
            return (skipped, found);
        }
    }
}
