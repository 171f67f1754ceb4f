//! The byte classes of HTTP/1 heads, exactly as RFC 9110 and RFC 3986 draw them. Nothing here knows a field's meaning.

/// `tchar` (RFC 9110 §5.6.2): what methods, field names and connection options are made of. Looked up, since each byte of each
/// field name is asked about.
pub(super) fn is_tchar(byte: u8) -> bool {
    #[expect(clippy::indexing_slicing, reason = "worked out by the compiler, for which a panic is an error")]
    const TCHAR: [bool; 256] = {
        let mut table = [false; 256];
        let mut rest = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".as_slice();
        while let [byte, others @ ..] = rest {
            table[*byte as usize] = true;
            rest = others;
        }
        table
    };
    TCHAR.get(usize::from(byte)).copied().unwrap_or_default()
}

/// `token` (RFC 9110 §5.6.2): at least one `tchar`, and nothing else.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_tchar(byte))
}

/// Whether every byte may stand in a field value: HTAB, SP, VCHAR and obs-text (RFC 9110 §5.5). The fold has no early
/// exit, so that the compiler can look at many bytes at once.
pub(super) fn is_field_value(bytes: &[u8]) -> bool {
    !bytes.iter().fold(false, |bad, &byte| bad | ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f))
}

/// Optional whitespace around a field value (RFC 9110 §5.6.3), taken off.
pub(crate) fn trim_ows(bytes: &[u8]) -> &[u8] {
    let is_ows = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = bytes.iter().position(|byte| !is_ows(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !is_ows(byte)).map_or(start, |last| last + 1);
    bytes.get(start..end).unwrap_or_default()
}

/// The elements of a `#rule` list (RFC 9110 §5.6.1): split at commas, trimmed, empty ones left out.
pub(super) fn list_elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim_ows).filter(|element| !element.is_empty())
}

/// What may stand in a path: RFC 3986's characters, and the few more that clients send unescaped and `http::Uri` keeps
/// as they are. What `http::Uri` would refuse or drop (`<`, `>`, a backtick, a fragment) is refused here already, because
/// hyper answers that with a bare 400 or forgets it silently.
pub(super) fn is_path_byte(byte: u8) -> bool {
    matches!(byte, 0x21 | b'"' | 0x24..=0x3b | 0x3d | 0x40..=0x5f | 0x61..=0x7e)
}

/// What may stand in a query: the same reasoning as for a path.
pub(super) fn is_query_byte(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x24..=0x3b | 0x3d | 0x3f..=0x7e)
}

/// Whether `bytes` is a path (which must begin with `/`, or be empty where the caller permits that) and maybe a query.
pub(super) fn is_path_and_query(bytes: &[u8]) -> bool {
    match bytes.iter().position(|&byte| byte == b'?') {
        None => bytes.iter().all(|&byte| is_path_byte(byte)),
        Some(mark) => {
            let (path, query) = bytes.split_at(mark);
            path.iter().all(|&byte| is_path_byte(byte)) && query.iter().all(|&byte| is_query_byte(byte))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_query_bytes_are_a_subset_of_what_the_uri_type_keeps_unchanged() {
        for byte in 0u8..=0xff {
            let in_path = [b"/".as_slice(), &[byte]].concat();
            let in_query = [b"/?".as_slice(), &[byte]].concat();
            for (target, permitted) in [(in_path, is_path_byte(byte)), (in_query, is_query_byte(byte))] {
                if permitted {
                    let uri = http::Uri::try_from(target.as_slice()).unwrap();
                    assert_eq!(uri.path_and_query().unwrap().as_str().as_bytes(), target, "byte {byte:#x}");
                }
            }
        }
        assert!(!is_path_byte(b'#') && !is_query_byte(b'#') && !is_path_byte(b' ') && !is_path_byte(0x7f));
    }

    #[test]
    fn a_token_is_made_of_letters_digits_and_fifteen_signs() {
        for byte in 0u8..=0xff {
            let expected = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_tchar(byte), expected, "byte {byte:#x}");
        }
    }

    #[test]
    fn whitespace_is_trimmed_at_both_ends_only() {
        for (input, expected) in [(" \ta b\t ", "a b"), ("", ""), (" \t", ""), ("a", "a")] {
            assert_eq!(trim_ows(input.as_bytes()), expected.as_bytes());
        }
    }
}
