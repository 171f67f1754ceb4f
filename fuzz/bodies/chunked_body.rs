//! Any bytes as a chunked body: it ends where a decoder that is written the simple way ends it, however it was cut, and nothing
//! behind its end is taken.

use portcullis_proxy::wire::framing::{ChunkedProgress, ChunkedTracker};

const MOST_TRAILERS: usize = 5;

/// The first byte says how the rest is cut.
pub(crate) fn body(bytes: &[u8]) {
    let Some((piece, rest)) = bytes.split_first() else { return };
    let (consumed, progress) = track(rest, rest.len().max(1));
    assert_eq!(track(rest, usize::from(*piece) + 1), (consumed, progress));
    let taken = take_apart(rest, rest.len().max(1));
    assert_eq!((taken.0, taken.2), (consumed, progress));
    assert_eq!(take_apart(rest, usize::from(*piece) + 1), taken);
    if progress == ChunkedProgress::Ended {
        assert_eq!(Some(taken.1), data(rest));
    }
    match (progress, simple(rest)) {
        (ChunkedProgress::Ended, found) => assert_eq!(found, Some(consumed)),
        (ChunkedProgress::More, found) => assert_eq!(found, None),
        (ChunkedProgress::Malformed(_), None) => assert!(consumed < rest.len()),
        // Bounds are what the simple one does not have.
        (ChunkedProgress::Malformed(detail), Some(_)) => {
            assert!(detail.contains("over the limit") || detail.contains("too many"), "{detail}");
        }
    }
}

fn track(bytes: &[u8], piece: usize) -> (usize, ChunkedProgress) {
    let mut tracker = ChunkedTracker::new(MOST_TRAILERS);
    let mut consumed = 0;
    for piece in bytes.chunks(piece) {
        let fed = tracker.feed(piece);
        consumed += fed.consumed;
        if fed.progress != ChunkedProgress::More {
            // Whatever comes behind is not the body's.
            assert_eq!(tracker.feed(bytes).consumed, 0);
            return (consumed, fed.progress);
        }
        assert_eq!(fed.consumed, piece.len(), "a body that goes on takes everything");
    }
    (consumed, ChunkedProgress::More)
}

/// How much is consumed, and the data, when the body is taken apart.
fn take_apart(bytes: &[u8], piece: usize) -> (usize, Vec<u8>, ChunkedProgress) {
    let mut tracker = ChunkedTracker::new(MOST_TRAILERS);
    let (mut consumed, mut data, mut end) = (0, Vec::new(), 0);
    loop {
        end = (end + piece).min(bytes.len());
        loop {
            let next = tracker.next_piece(&bytes[consumed..end]);
            consumed += next.framing;
            data.extend_from_slice(&bytes[consumed..consumed + next.data]);
            consumed += next.data;
            if next.progress != ChunkedProgress::More {
                assert_eq!(tracker.next_piece(bytes).framing, 0, "whatever comes behind is not the body's");
                return (consumed, data, next.progress);
            }
            if next.data == 0 {
                assert_eq!(consumed, end, "a body that goes on takes everything");
                break;
            }
        }
        if end == bytes.len() {
            return (consumed, data, ChunkedProgress::More);
        }
    }
}

/// The data of a whole chunked body.
fn data(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut at, mut data) = (0, Vec::new());
    loop {
        let line = line_at(bytes, at)?;
        let size = line.split(|byte| *byte == b';').next().and_then(|digits| std::str::from_utf8(digits).ok())?;
        let size = usize::from_str_radix(size, 16).ok()?;
        at += line.len() + 2;
        if size == 0 {
            return Some(data);
        }
        data.extend_from_slice(bytes.get(at..at + size)?);
        at += size + 2;
    }
}

/// The length of the whole chunked body at the beginning (RFC 9112 section 7.1).
fn simple(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = line_at(bytes, at)?;
        at += line.len() + 2;
        let digits = line.split(|byte| *byte == b';').next()?;
        let printable = line.iter().all(|byte| *byte == b'\t' || (b' '..=b'~').contains(byte));
        if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) || !printable {
            return None;
        }
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        at = at.checked_add(size)?;
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
        let colon = line.iter().position(|byte| *byte == b':')?;
        let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let is_text = |byte: &u8| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f);
        if colon == 0 || !line[..colon].iter().all(is_token) || !line[colon..].iter().all(is_text) {
            return None;
        }
    }
}

/// The line at `at`, without its CRLF; `None` if it has a CR or LF anywhere else.
fn line_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|byte| *byte == b'\r' || *byte == b'\n')?;
    rest[end..].starts_with(b"\r\n").then_some(&rest[..end])
}
