//! Text made fit for a terminal: of a bounded width, and without characters that steer it. Width is counted in characters.

/// Text without control characters: a path or a name that a caller chose must not steer the terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

/// A sentence for the caller in quotes, cut to a line.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    let quoted = |text: &str| format!("“{text}”");
    if text.chars().count() + 2 <= width {
        return quoted(text);
    }
    let fits: String = text.chars().take(width.saturating_sub(3)).collect();
    // A word that is cut in two says less than none.
    let words = fits.rsplit_once(' ').map_or(fits.as_str(), |(words, _)| words);
    quoted(&format!("{words}…"))
}

/// Breaks at spaces, so that no line is wider than `width` unless one word is. Spaces inside a line stay as they are.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut columns = 0;
    for word in text.split_inclusive(' ') {
        let long = word.trim_end().chars().count();
        if columns > 0 && columns + long > width {
            lines.push(line.trim_end().to_owned());
            line.clear();
            columns = 0;
        }
        // A line does not begin with a space.
        if columns > 0 || long > 0 {
            line.push_str(word);
            columns += word.chars().count();
        }
    }
    if !line.is_empty() {
        lines.push(line.trim_end().to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_at_spaces_alone() {
        let check = |text: &str, expected: &[&str]| assert_eq!(wrap(text, 10), expected, "{text}");
        check("", &[]);
        check("short", &["short"]);
        check("ten signs.", &["ten signs."]);
        check("eleven sign", &["eleven", "sign"]);
        check("a  b  c  d  e", &["a  b  c  d", "e"]);
        check("a-word-that-is-too-long x", &["a-word-that-is-too-long", "x"]);
        check("µµµµµ µµµµ µ", &["µµµµµ µµµµ", "µ"]);
    }

    #[test]
    fn what_the_caller_is_told_takes_one_line() {
        let check = |text: &str, expected: &str| assert_eq!(shortened(text, 12), expected, "{text}");
        check("It is short", "“It is…”");
        check("It is shor", "“It is shor”");
        check("Unbreakable-it-is", "“Unbreakab…”");
    }

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(clean("a\u{1b}[2J\r\nb\u{9b}é"), "a\u{fffd}[2J\u{fffd}\u{fffd}b\u{fffd}é");
    }
}
