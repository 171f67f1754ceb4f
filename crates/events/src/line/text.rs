//! A text as a JSON string (RFC 8259 section 7), with the characters escaped that could mislead a reader.

/// Appends the text with its quotes.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if is_plain(text.as_bytes()) {
        out.extend_from_slice(text.as_bytes());
    } else {
        write_escaped(out, text);
    }
    out.push(b'"');
}

/// Whether all bytes are printable ASCII that a JSON string holds as it is. Nearly every text is.
fn is_plain(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().all(|word| is_plain_word(u64::from_le_bytes(*word))) && rest.iter().all(|byte| is_plain_byte(*byte))
}

fn is_plain_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}

/// The same of eight bytes at once. A carry or a borrow between bytes comes only from a byte that is not plain itself, so that
/// the answer is exact.
fn is_plain_word(word: u64) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // The high bit of each byte that is below `bound`, for bounds up to 0x80 and bytes without a high bit.
    let below = |bytes: u64, bound: u8| bytes.wrapping_sub(ONES * u64::from(bound)) & !bytes & HIGH;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let above = (word | word.wrapping_add(ONES)) & HIGH;
    (below(word, b' ') | equal(b'"') | equal(b'\\') | above) == 0
}

fn write_escaped(out: &mut Vec<u8>, text: &str) {
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            _ if character < ' ' || misleads(character) => write_code(out, u32::from(character)),
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// `\uXXXX`: all that is escaped so is in the basic plane.
fn write_code(out: &mut Vec<u8>, code: u32) {
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(char::from_digit(code >> shift & 0xf, 16).map_or(b'0', |digit| digit as u8));
    }
}

/// Whether a person or a terminal could be misled by it: C1 controls, separators, bidirectional marks and overrides.
pub(crate) fn misleads(character: char) -> bool {
    matches!(
        character,
        '\u{7f}'..='\u{9f}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        write_text(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(written(text), expected);
        assert_eq!(serde_json::from_str::<String>(&written(text)).unwrap(), text);
    }

    #[test]
    fn what_could_mislead_a_reader_is_escaped_and_everything_else_is_kept() {
        check("plain é 😀 ~", "\"plain é 😀 ~\"");
        check("a\nb\r\t\"\\\0\u{8}\u{c}", r#""a\nb\r\t\"\\\u0000\b\f""#);
        check("\u{7f}\u{85}\u{9b}31m", r#""\u007f\u0085\u009b31m""#);
        check("a\u{2028}b\u{202e}c", r#""a\u2028b\u202ec""#);
        check("\u{a0}\u{2027}\u{202f}", "\"\u{a0}\u{2027}\u{202f}\"");
        check("", "\"\"");
    }

    #[test]
    fn eight_bytes_are_plain_when_each_is() {
        for at in 0..8 {
            for byte in 0..=u8::MAX {
                for filling in [b' ', b'!', b'#', b'[', b']', b'~'] {
                    let mut word = [filling; 8];
                    word[at] = byte;
                    assert_eq!(is_plain(&word), is_plain_byte(byte), "{byte:#04x} at {at} among {filling:#04x}");
                }
            }
        }
    }

    proptest! {
        /// Where nothing misleads, `serde_json` writes the same.
        #[test]
        fn every_text_is_read_back(text in any::<String>()) {
            prop_assert_eq!(&serde_json::from_str::<String>(&written(&text)).unwrap(), &text);
            if !text.chars().any(misleads) {
                prop_assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
            }
        }
    }
}
