//! The name that a person probably meant.

/// The known name nearest to a mistyped one, by the number of edits (insert, delete, replace, swap of neighbours), when
/// that is at most a third of its length.
pub(crate) fn nearest_name<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = text.chars().take(MAX_LENGTH).collect();
    let most = (wanted.len() / 3).max(1);
    let letters = Letters::of(wanted.iter().copied());
    let mut work = 0;
    known
        .take(MAX_NAMES)
        .filter(|name| name.len().abs_diff(text.len()) <= most * 4)
        .filter(|name| letters.least_edits(&Letters::of(name.chars().take(MAX_LENGTH))) <= most)
        .take_while(|name| {
            work += wanted.len() * name.len().min(MAX_LENGTH);
            work <= MAX_WORK
        })
        .filter_map(|name| Some((distance(&wanted, name, most)?, name)))
        .min()
        .map(|(_, name)| name)
}

const MAX_LENGTH: usize = 64;
/// A policy of a hundred thousand names must not make one typing error slow,
const MAX_NAMES: usize = 20_000;
/// nor must long names that have the same letters: so many pairs of characters are compared.
const MAX_WORK: usize = 1_000_000;

/// How often each letter occurs; different ones may be counted as one.
struct Letters([u8; 32]);

impl Letters {
    fn of(text: impl Iterator<Item = char>) -> Self {
        let mut counts = [0u8; 32];
        for character in text {
            if let Some(count) = counts.get_mut(character as usize % 32) {
                *count = count.saturating_add(1);
            }
        }
        Self(counts)
    }

    /// At least so many edits lie between: each adds, takes away or replaces one letter, and a swap changes none.
    fn least_edits(&self, other: &Self) -> usize {
        let more = |a: &Self, b: &Self| a.0.iter().zip(&b.0).map(|(a, b)| usize::from(a.saturating_sub(*b))).sum();
        let (here, there): (usize, usize) = (more(self, other), more(other, self));
        here.max(there)
    }
}

/// Optimal string alignment distance, or `None` where it is more than `most`.
fn distance(wanted: &[char], name: &str, most: usize) -> Option<usize> {
    let name: Vec<char> = name.chars().take(MAX_LENGTH).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=name.len()).collect();
    for (row, a) in wanted.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, b) in name.iter().enumerate() {
            let at = |list: &[usize], index: usize| list.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut edits =
                (at(&above, column) + usize::from(a != b)).min(at(&above, column + 1) + 1).min(at(&line, column) + 1);
            let swapped = column > 0 && row > 0 && wanted.get(row - 1) == Some(b) && name.get(column - 1) == Some(a);
            if swapped {
                edits = edits.min(at(&before, column - 1) + 1);
            }
            line.push(edits);
        }
        // From one line to the next it never becomes less, but for a swap that looks two lines back.
        if line.iter().chain(&above).all(|edits| *edits > most) {
            return None;
        }
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().filter(|edits| *edits <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_the_name_that_was_meant() {
        let known = ["billing.reader", "billing.admin", "payroll.reader"];
        let check =
            |text: &str, expected: Option<&str>| assert_eq!(nearest_name(text, known.into_iter()), expected, "{text}");
        check("biling.reader", Some("billing.reader"));
        check("billing.raeder", Some("billing.reader"));
        check("billing.admn", Some("billing.admin"));
        check("something.else", None);
        check("", None);
    }

    #[test]
    fn a_search_among_many_long_names_ends() {
        let many: Vec<String> = (0..2_000).map(|number| format!("{}{number:05}", "abcdefghij".repeat(6))).collect();
        let near = many[0].replace("cd", "dc");
        assert_eq!(nearest_name(&near, many.iter().map(String::as_str)), Some(many[0].as_str()));
        assert_eq!(nearest_name(&"z".repeat(65), many.iter().map(String::as_str)), None);
    }

    #[test]
    fn the_distance_counts_swaps_and_ends_at_the_most() {
        let check = |a: &str, b: &str, most: usize, expected: Option<usize>| {
            assert_eq!(distance(&a.chars().collect::<Vec<_>>(), b, most), expected, "{a} {b}");
        };
        check("abc", "abc", 1, Some(0));
        check("abcd", "badc", 2, Some(2));
        check("abcd", "badc", 1, None);
        check("abcdef", "uvwxyz", 2, None);
        check("abcdef", "abcdeg", 1, Some(1));
        check("", "ab", 2, Some(2));
    }
}
