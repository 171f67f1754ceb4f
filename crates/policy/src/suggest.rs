//! The name that a person probably meant.

/// The known name nearest to a mistyped one, by the number of edits (insert, delete, replace, swap of neighbours), when
/// that is at most a third of its length.
pub(crate) fn nearest_name<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = text.chars().take(MAX_LENGTH).collect();
    let most = (wanted.len() / 3).max(1);
    known
        .take(MAX_NAMES)
        .filter(|name| name.len().abs_diff(text.len()) <= most * 4)
        .map(|name| (distance(&wanted, name), name))
        .filter(|(edits, _)| *edits <= most)
        .min()
        .map(|(_, name)| name)
}

const MAX_LENGTH: usize = 64;
/// A policy of a hundred thousand names must not make one typing error slow.
const MAX_NAMES: usize = 20_000;

/// Optimal string alignment distance.
fn distance(wanted: &[char], name: &str) -> usize {
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
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or(usize::MAX)
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
}
