//! What somebody else wrote, on its way to a terminal.

/// A text that cannot speak to the terminal: control characters (C0, C1) and those that turn or hide what follows are escaped. Line
/// feeds stay out, too.
pub(crate) fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        let misleads = matches!(character,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
        if character.is_control() || misleads {
            safe.extend(character.escape_unicode());
        } else {
            safe.push(character);
        }
    }
    safe
}

/// A word of a command that somebody pastes: in single quotes where a shell would not take it as it is. Ids of principals may hold anything but control
/// characters.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-._:@/".contains(character);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasted_word_is_one_word_and_does_nothing() {
        let check = |text: &str, expected: &str| assert_eq!(quoted(text), expected);
        check("user:alice@corp.test", "user:alice@corp.test");
        check("user:auth0|5f7c", "'user:auth0|5f7c'");
        check("user:$(reboot)`id`", "'user:$(reboot)`id`'");
        check("user:o'neil", r"'user:o'\''neil'");
        check("", "''");
    }

    #[test]
    fn nothing_speaks_to_the_terminal() {
        let check = |text: &str, expected: &str| assert_eq!(safe(text), expected);
        check("/a b?ü 漢", "/a b?ü 漢");
        check("\u{1b}[31mred", "\\u{1b}[31mred");
        check("a\nb\r\tc\0", "a\\u{a}b\\u{d}\\u{9}c\\u{0}");
        check("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}");
        check("a\u{202e}b\u{2066}c", "a\\u{202e}b\\u{2066}c");
    }
}
