//! Texts for formats that are lines of text: what such a line cannot hold is written out, so that nothing is lost and nothing
//! can end the line, colour a terminal or turn the reading direction.

use crate::line::misleads;

/// How a format writes one character.
pub(super) enum Written {
    /// As it is, unless it would mislead a reader.
    AsIs,
    /// As these characters.
    As(&'static str),
    /// As `\uXXXX`.
    Out,
}

/// Appends the text as `how` says, with every control character, line separator and bidirectional override written out as
/// `\uXXXX`. `backslash` is how the format writes the backslash of that.
pub(super) fn append(out: &mut Vec<u8>, text: &str, backslash: &str, how: impl Fn(char) -> Written) {
    for character in text.chars() {
        match how(character) {
            Written::As(characters) => out.extend_from_slice(characters.as_bytes()),
            Written::AsIs if character >= ' ' && !misleads(character) => {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            Written::AsIs | Written::Out => {
                out.extend_from_slice(backslash.as_bytes());
                out.push(b'u');
                append_code(out, u32::from(character));
            }
        }
    }
}

/// Four hexadecimal digits: all that is written out is in the basic plane.
fn append_code(out: &mut Vec<u8>, code: u32) {
    for shift in [12, 8, 4, 0] {
        out.push(char::from_digit(code >> shift & 0xf, 16).map_or(b'0', |digit| digit as u8));
    }
}

/// The text within a number of bytes, cut at a character.
pub(super) fn within(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        append(&mut out, text, "\\", |character| match character {
            '^' => Written::Out,
            '\n' => Written::As("\\n"),
            _ => Written::AsIs,
        });
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_a_line_cannot_hold_is_written_out() {
        assert_eq!(written("a\\ é 😀\t^\n\0\u{202e}\u{9b}"), "a\\ é 😀\\u0009\\u005e\\n\\u0000\\u202e\\u009b");
    }

    #[test]
    fn a_text_is_cut_at_a_character() {
        assert_eq!((within("aé", 2), within("aé", 3), within("", 0), within("abc", 9)), ("a", "aé", "", "abc"));
    }
}
