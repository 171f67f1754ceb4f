//! One event as one line of JSON that nothing inside it can break.
//!
//! JSON escapes the C0 control characters, so no text can end a line. Characters that JSON lets pass but that mislead a person
//! or a terminal (C1 controls, line and paragraph separators, bidirectional overrides) are escaped as well.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::event::Event;

/// Appends the event and its line feed. On an error, which no event should give, `lines` is as it was.
pub(crate) fn append(lines: &mut Vec<u8>, event: &Event) -> Result<(), serde_json::Error> {
    let start = lines.len();
    match event.serialize(&mut Serializer::with_formatter(&mut *lines, Guarded)) {
        Ok(()) => {
            lines.push(b'\n');
            Ok(())
        }
        Err(error) => {
            lines.truncate(start);
            Err(error)
        }
    }
}

/// Compact JSON whose texts hold no character that could mislead a reader.
struct Guarded;

impl Formatter for Guarded {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        // Nearly every text is plain, and none of the characters is: one pass over bytes instead of one over characters.
        if fragment.bytes().all(|byte| byte < FIRST_THAT_MISLEADS) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some((at, character)) = rest.char_indices().find(|(_at, character)| misleads(*character)) {
            let (before, after) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            // All of them are in the basic plane, so one escape suffices (RFC 8259 section 7).
            write!(writer, "\\u{:04x}", u32::from(character))?;
            rest = after.get(character.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// DEL. What comes before it in ASCII is plain, or escaped by JSON itself; every later character has a byte above it.
const FIRST_THAT_MISLEADS: u8 = 0x7f;

fn misleads(character: char) -> bool {
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
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let mut written = Vec::new();
        text.serialize(&mut Serializer::with_formatter(&mut written, Guarded)).unwrap();
        assert_eq!(String::from_utf8(written.clone()).unwrap(), expected);
        assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), text);
    }

    #[test]
    fn what_could_mislead_a_reader_is_escaped_and_everything_else_is_kept() {
        check("plain é 😀 ~", "\"plain é 😀 ~\"");
        check("a\nb\r\t\"\\\0", r#""a\nb\r\t\"\\\u0000""#);
        check("\u{7f}\u{85}\u{9b}31m", r#""\u007f\u0085\u009b31m""#);
        check("a\u{2028}b\u{202e}c", r#""a\u2028b\u202ec""#);
        check("\u{a0}\u{2027}\u{202f}", "\"\u{a0}\u{2027}\u{202f}\"");
        check("", "\"\"");
    }
}
