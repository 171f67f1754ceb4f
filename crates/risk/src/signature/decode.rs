//! A target as the program behind would read it, so that an escape hides nothing.

use std::borrow::Cow;

/// Escapes are undone this often: what is escaped twice is meant to be undone twice.
const ROUNDS: usize = 2;

/// The bytes with percent escapes undone (RFC 3986 section 2.1), backslashes as slashes, and `+` as the space that it is in a query.
pub(super) fn decoded(text: &str) -> Cow<'_, [u8]> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'\\' | b'+')) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..ROUNDS {
        if !bytes.contains(&b'%') {
            break;
        }
        bytes = unescaped(&bytes);
    }
    for byte in &mut bytes {
        match byte {
            b'\\' => *byte = b'/',
            b'+' => *byte = b' ',
            _ => {}
        }
    }
    Cow::Owned(bytes)
}

fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        let digits = if first == b'%' { after.first_chunk::<2>() } else { None };
        match digits.and_then(|[high, low]| Some(hex(*high)? << 4 | hex(*low)?)) {
            Some(byte) => {
                plain.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                plain.push(first);
                rest = after;
            }
        }
    }
    plain
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
