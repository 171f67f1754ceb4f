//! The chunked tracker against a decoder that is written the simple way: all bytes at hand, line by line.

use proptest::prelude::*;

use crate::wire::framing::{ChunkedProgress, ChunkedTracker};

/// The length of the chunked body at the beginning of `bytes`, if there is a whole and valid one.
fn reference_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = line_at(bytes, at)?;
        at += line.len() + 2;
        let digits = line.split(|&byte| byte == b';').next()?;
        let extension = line.len() - digits.len();
        if digits.is_empty() || digits.len() > 16 || extension > 256 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        if !line.iter().all(|&byte| byte == b'\t' || (b' '..=b'~').contains(&byte)) {
            return None;
        }
        let size = u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        at = usize::try_from(size).ok()?.checked_add(at)?;
        if bytes.get(at..)?.get(..2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
    loop {
        let line = line_at(bytes, at)?;
        at += line.len() + 2;
        if line.is_empty() {
            return Some(at);
        }
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = &line[..colon];
        if name.is_empty()
            || !name.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
        {
            return None;
        }
        if !line[colon..].iter().all(|&byte| byte == b'\t' || (byte >= 0x20 && byte != 0x7f)) {
            return None;
        }
    }
}

/// The line at `at`, without its CRLF; `None` if it has a CR or LF anywhere else.
fn line_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|&byte| byte == b'\r' || byte == b'\n')?;
    rest[end..].starts_with(b"\r\n").then_some(&rest[..end])
}

/// Feeds `bytes` in pieces of the given sizes (over and over), and gives what was consumed in all, and the end.
fn track(bytes: &[u8], pieces: &[usize]) -> (usize, ChunkedProgress) {
    let mut tracker = ChunkedTracker::new(5);
    let mut consumed = 0;
    for piece in pieces.iter().cycle() {
        let end = (consumed + piece).min(bytes.len());
        let fed = tracker.feed(&bytes[consumed..end]);
        consumed += fed.consumed;
        if fed.progress != ChunkedProgress::More {
            return (consumed, fed.progress);
        }
        assert_eq!(consumed, end, "a body that goes on consumes everything");
        if consumed == bytes.len() {
            break;
        }
    }
    (consumed, ChunkedProgress::More)
}

#[test]
fn well_formed_bodies_end_exactly_where_they_end() {
    let check = |body: &str, tail: &str| {
        let body = body.replace('|', "\r\n");
        for pieces in [[1000], [1], [3]] {
            assert_eq!(
                track(format!("{body}{tail}").as_bytes(), &pieces),
                (body.len(), ChunkedProgress::Ended),
                "{body:?}"
            );
        }
    };
    for tail in ["", "GET / HTTP/1.1\r\n", "\r\n", "0"] {
        check("0||", tail);
        check("3|abc|0||", tail);
        check("00000000000000A|0123456789|0||", tail);
        check("3;a=b;c=\"d\\\" e\"|abc|0;x||", tail);
        check("2|\r\n|0||", tail);
        check("0|X-Sum: abc|Y:||", tail);
        check(&format!("1;{}|a|0||", "e".repeat(255)), tail);
    }
}

#[test]
fn broken_bodies_are_malformed_at_the_byte_that_breaks_them() {
    let check = |body: &str, consumed: usize| {
        let body = body.replace('|', "\r\n");
        for pieces in [[1000], [1]] {
            let (at, progress) = track(body.as_bytes(), &pieces);
            assert!(matches!(progress, ChunkedProgress::Malformed(_)), "{body:?} gave {progress:?}");
            assert_eq!(at, consumed, "{body:?}");
        }
    };
    check("|", 0);
    check(";a|", 0);
    check("g|", 0);
    check("-1|", 0);
    check(" 1|", 0);
    check("0x1|", 1);
    check("1 |a|", 1);
    check("1 ;a|a|", 1);
    check("1\na", 1);
    check("1\ra", 2);
    check("1;a\nb|", 3);
    check("1;a\u{0}|", 3);
    check("1;caf\u{e9}|", 5);
    check("00000000000000001|", 16);
    check("10000000000000000|", 16);
    check("1|ab|", 4);
    check("1|a\n", 4);
    check("1|a\rb", 5);
    check("3|ab|0||", 6);
    check("0|\n", 3);
    check("0|X: a\n", 7);
    check("0|X: a\rb", 8);
    check("0| X: a|", 9);
    check("0|X : a|", 9);
    check("0|X|", 5);
    check("0|: a|", 7);
    check("0|X: \u{0}|", 8);
    check(&format!("1;{}|a|0||", "e".repeat(256)), 257);
    check("0|A:|B:|C:|D:|E:|F:||", 3 + 5 * 4 + 3);
}

#[test]
fn extensions_and_trailers_are_bounded_over_the_whole_body() {
    let body = "1;aaaaaaaaaaaaaaa\r\na\r\n".repeat(2000) + "0\r\n\r\n";
    let (consumed, progress) = track(body.as_bytes(), &[777]);
    assert!(matches!(progress, ChunkedProgress::Malformed("chunk extensions over the limit")));
    assert_eq!(consumed / 22, 16 * 1024 / 16 - 1);

    let with_trailer = |bytes: usize| format!("0\r\nX:{}\r\n\r\n", "a".repeat(bytes));
    assert_eq!(track(with_trailer(8192 - 6).as_bytes(), &[999]).1, ChunkedProgress::Ended);
    assert_eq!(
        track(with_trailer(8192 - 5).as_bytes(), &[999]).1,
        ChunkedProgress::Malformed("trailers over the limit")
    );
}

/// A valid chunked body.
pub(super) fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let chunk = (proptest::collection::vec(any::<u8>(), 1..40), "(;[a-z]{1,5}(=[a-z0-9]{1,5})?){0,2}", any::<bool>());
    let trailers = proptest::collection::vec("[A-Za-z-]{1,8}:[ -~]{0,10}", 0..4);
    (proptest::collection::vec(chunk, 0..6), trailers).prop_map(|(chunks, trailers)| {
        let mut body = Vec::new();
        for (data, extension, upper) in chunks {
            let size = if upper { format!("{:X}", data.len()) } else { format!("{:04x}", data.len()) };
            body.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
            body.extend_from_slice(&data);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n");
        for trailer in trailers {
            body.extend_from_slice(format!("{trailer}\r\n").as_bytes());
        }
        body.extend_from_slice(b"\r\n");
        body
    })
}

proptest! {
    #[test]
    fn valid_bodies_end_where_the_reference_says_however_they_are_cut(
        body in bodies(),
        tail in proptest::collection::vec(any::<u8>(), 0..20),
        pieces in proptest::collection::vec(1usize..30, 1..6),
    ) {
        prop_assert_eq!(reference_length(&body), Some(body.len()));
        let bytes = [body.clone(), tail].concat();
        prop_assert_eq!(track(&bytes, &pieces), (body.len(), ChunkedProgress::Ended));
    }

    #[test]
    fn one_changed_byte_is_judged_as_the_reference_judges_it(
        body in bodies(),
        place in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), prop::sample::select(b"\r\n;: 0a".to_vec())],
        pieces in proptest::collection::vec(1usize..30, 1..6),
    ) {
        let mut bytes = body;
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let (consumed, progress) = track(&bytes, &pieces);
        match reference_length(&bytes) {
            Some(length) => prop_assert_eq!((consumed, progress), (length, ChunkedProgress::Ended)),
            None => prop_assert_ne!(progress, ChunkedProgress::Ended),
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), pieces in proptest::collection::vec(1usize..9, 1..4)) {
        let (consumed, _) = track(&bytes, &pieces);
        prop_assert!(consumed <= bytes.len());
    }
}
