//! How two patterns relate, and a pattern as text again: what questions about a whole policy need and a decision does
//! not.

use std::fmt;

use crate::pattern::Pattern;
use crate::pattern::{PatternTree, Segment};

impl Pattern {
    /// Whether every path that the other pattern matches is matched by this one, too.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let mut theirs = other.segments.iter();
        for mine in &self.segments {
            match (mine, theirs.next()) {
                (Segment::One, Some(their)) if can_be_one(their) => {}
                (Segment::Literal(mine), Some(Segment::Literal(their))) if mine == their => {}
                _ => return false,
            }
        }
        self.rest || (theirs.next().is_none() && !other.rest)
    }

    /// Whether some path is matched by both.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        let fits = self.segments.iter().zip(&other.segments).all(|pair| match pair {
            (Segment::Literal(mine), Segment::Literal(their)) => mine == their,
            (Segment::One, other) | (other, Segment::One) => can_be_one(other),
        });
        let (mine, theirs) = (self.segments.len(), other.segments.len());
        // What one has more of, the other must have room for.
        fits && (mine >= theirs || self.rest) && (theirs >= mine || other.rest)
    }

    /// The paths that both match, which are one pattern again, or `None` where there are none.
    pub(crate) fn intersection(&self, other: &Self) -> Option<Self> {
        if !self.meets(other) {
            return None;
        }
        let (short, long) = if self.segments.len() <= other.segments.len() { (self, other) } else { (other, self) };
        let narrower = |index: usize, its: &Segment| match short.segments.get(index) {
            // The literal of the two, if one is.
            Some(own) if *its == Segment::One => own.clone(),
            Some(_) | None => its.clone(),
        };
        let segments = long.segments.iter().enumerate().map(|(index, its)| narrower(index, its)).collect();
        Some(Self { segments, rest: short.rest && long.rest })
    }

    /// How specific it is, to compare it with a pattern that matches the same path: segment by segment, a literal before
    /// `*` before `**`. It is the order in which [`PatternTree::best_match`] chooses.
    pub(crate) fn specificity(&self) -> impl Iterator<Item = u8> {
        let segments = self.segments.iter().map(|segment| match segment {
            Segment::Literal(_) => 3,
            Segment::One => 2,
        });
        // Where one ends exactly, `**` of the other matches nothing more: the exact one goes first.
        segments.chain([if self.rest { 0 } else { 1 }])
    }
}

/// Whether `*` may stand for what this segment stands for: anything but the empty segment behind a final slash.
fn can_be_one(segment: &Segment) -> bool {
    match segment {
        Segment::Literal(text) => !text.is_empty(),
        Segment::One => true,
    }
}

/// As a policy file may write it: parsed, it is the same pattern.
impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::One => formatter.write_str("/*")?,
                Segment::Literal(text) => {
                    formatter.write_str("/")?;
                    write_literal(text, formatter)?;
                }
            }
        }
        if self.rest {
            formatter.write_str("/**")?;
        }
        Ok(())
    }
}

/// A segment as a request would carry it, where text that is none of the pattern's own signs stays readable: letters of
/// any script are written as they are.
fn write_literal(text: &str, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut buffer = [0; 4];
    for character in text.chars() {
        let plain = character.is_ascii_alphanumeric()
            || "-._~!$&'()+,;=:@".contains(character)
            || !character.is_ascii() && character.is_alphanumeric();
        if plain {
            write!(formatter, "{character}")?;
        } else {
            for byte in character.encode_utf8(&mut buffer).bytes() {
                write!(formatter, "%{byte:02X}")?;
            }
        }
    }
    Ok(())
}

impl<T: Copy> PatternTree<T> {
    /// The most specific pattern that covers another one, with its value.
    pub(crate) fn best_covering(&self, pattern: &Pattern) -> Option<(Pattern, T)> {
        let mut taken = Vec::new();
        let (rest, value) = self.covering_from(0, &pattern.segments, pattern.rest, &mut taken)?;
        Some((Pattern { segments: taken, rest }, value))
    }

    fn covering_from(&self, at: u32, remaining: &[Segment], open: bool, taken: &mut Vec<Segment>) -> Option<(bool, T)> {
        let node = self.nodes.get(at as usize)?;
        let Some((segment, after)) = remaining.split_first() else {
            let exact = if open { None } else { node.exact.map(|value| (false, value)) };
            return exact.or(node.rest.map(|value| (true, value)));
        };
        let literal = match segment {
            Segment::Literal(text) => node.literals.get(text).map(|child| (segment.clone(), *child)),
            Segment::One => None,
        };
        let one = node.one.filter(|_| can_be_one(segment)).map(|child| (Segment::One, child));
        for (step, child) in literal.into_iter().chain(one) {
            taken.push(step);
            if let Some(found) = self.covering_from(child, after, open, taken) {
                return Some(found);
            }
            taken.pop();
        }
        node.rest.map(|value| (true, value))
    }

    /// Every pattern with its value, in a fixed order.
    pub(crate) fn entries(&self) -> Vec<(Pattern, T)> {
        let mut found = Vec::new();
        // With the pattern's depth bounded, so is the work for each node.
        let mut open = vec![(0u32, Vec::new())];
        while let Some((at, segments)) = open.pop() {
            let Some(node) = self.nodes.get(at as usize) else { continue };
            let pattern = |rest| Pattern { segments: segments.clone(), rest };
            found.extend(node.exact.map(|value| (pattern(false), value)));
            found.extend(node.rest.map(|value| (pattern(true), value)));
            let literals = node.literals.iter().map(|(text, child)| (Segment::Literal(text.clone()), *child));
            for (segment, child) in literals.chain(node.one.map(|child| (Segment::One, child))) {
                let mut longer = segments.clone();
                longer.push(segment);
                open.push((child, longer));
            }
        }
        found.sort_by(|(left, _), (right, _)| left.cmp(right));
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::path::CanonicalPath;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn a_pattern_covers_what_it_matches_all_of() {
        let check = |wide: &str, narrow: &str, expected: bool| {
            assert_eq!(pattern(wide).covers(&pattern(narrow)), expected, "{wide} {narrow}");
        };
        check("/**", "/", true);
        check("/**", "/a/*", true);
        check("/a/**", "/a", true);
        check("/a/**", "/a/", true);
        check("/a/**", "/a/**", true);
        check("/a/**", "/b", false);
        check("/a/*", "/a/b", true);
        check("/a/*", "/a/", false);
        check("/a/*", "/a/**", false);
        check("/a/*", "/a/*/b", false);
        check("/a/*/**", "/a/**", false);
        check("/*/**", "/a/**", true);
        check("/a", "/a/**", false);
        check("/a/b", "/a/*", false);
    }

    #[test]
    fn patterns_meet_where_one_path_is_both() {
        let check = |left: &str, right: &str, expected: bool| {
            assert_eq!(pattern(left).meets(&pattern(right)), expected, "{left} {right}");
            assert_eq!(pattern(right).meets(&pattern(left)), expected, "{right} {left}");
        };
        check("/a/**", "/a", true);
        check("/a/**", "/*/b/c", true);
        check("/a/*", "/*/b", true);
        check("/a/*", "/a/", false);
        check("/a/*", "/a/b/c", false);
        check("/a/**", "/b/**", false);
        check("/a/**", "/**", true);
        check("/a", "/a/", false);
        check("/a/b/**", "/a/*", true);
        check("/a/b/**", "/a", false);
    }

    #[test]
    fn a_pattern_is_written_so_that_it_is_read_again() {
        let check = |text: &str, expected: &str| assert_eq!(pattern(text).to_string(), expected, "{text}");
        check("/", "/");
        check("/**", "/**");
        check("/api/{id}/x/**", "/api/*/x/**");
        check("/api/", "/api/");
        check("/a b/münchen", "/a%20b/münchen");
        check("/100%25", "/100%25");
        check("/a*b", "/a%2Ab");
        check("/%2A/%2A%2A/x", "/%2A/%2A%2A/x");
        check("/%7Bid%7D", "/%7Bid%7D");
    }

    fn any_pattern() -> impl Strategy<Value = Pattern> {
        let segment = prop_oneof![3 => "[ab]", 1 => Just("*".to_owned()), 1 => "[a%*{}ü ]{1,4}"];
        let end = prop_oneof![2 => Just(""), 1 => Just("/"), 2 => Just("/**")];
        (prop::collection::vec(segment, 0..4), end).prop_filter_map("no pattern", |(segments, end)| {
            let text = segments.iter().map(|segment| format!("/{segment}")).collect::<String>() + end;
            Pattern::parse(if text.is_empty() { "/" } else { &text }).ok()
        })
    }

    fn tree_of(pattern: &Pattern) -> PatternTree<()> {
        let mut tree = PatternTree::default();
        tree.insert(pattern, ()).unwrap();
        tree
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(pattern in any_pattern()) {
            prop_assert_eq!(Pattern::parse(&pattern.to_string()), Ok(pattern.clone()));
            prop_assert!(pattern.covers(&pattern) && pattern.meets(&pattern));
        }

        #[test]
        fn relations_agree_with_the_paths_that_are_matched(left in any_pattern(), right in any_pattern()) {
            let segments = ["", "a", "b"];
            let mut paths: Vec<String> = vec![String::new()];
            for _ in 0..4 {
                paths.extend(paths.clone().iter().flat_map(|path| segments.map(|segment| format!("{path}/{segment}"))));
            }
            let paths = paths.iter().filter_map(|path| CanonicalPath::parse(path).ok());
            let matched: Vec<(bool, bool)> = paths.map(|path| {
                (tree_of(&left).best_match(&path).is_some(), tree_of(&right).best_match(&path).is_some())
            }).collect();
            if left.covers(&right) {
                prop_assert!(matched.iter().all(|(left, right)| *left || !right));
                let found = tree_of(&left).best_covering(&right).map(|(found, ())| found);
                prop_assert_eq!(found, Some(left.clone()));
            } else {
                prop_assert!(tree_of(&left).best_covering(&right).is_none());
            }
            let both = matched.contains(&(true, true));
            prop_assert!(left.meets(&right) || !both);
        }

        #[test]
        fn the_more_specific_of_two_is_the_one_that_is_chosen(left in any_pattern(), right in any_pattern()) {
            let mut tree = PatternTree::default();
            prop_assume!(tree.insert(&left, 0).is_ok() && tree.insert(&right, 1).is_ok());
            let mut entries = tree.entries();
            entries.sort_by_key(|(_, value)| *value);
            prop_assert_eq!(&entries, &[(left.clone(), 0), (right.clone(), 1)]);
            for path in ["/", "/a", "/b", "/a/", "/a/a", "/a/b", "/b/a", "/a/b/a", "/a/b/"] {
                let path = CanonicalPath::parse(path).unwrap();
                let matches = |pattern: &Pattern| tree_of(pattern).best_match(&path).is_some();
                if matches(&left) && matches(&right) {
                    let first = left.specificity().gt(right.specificity());
                    prop_assert_eq!(tree.best_match(&path), Some(if first { 0 } else { 1 }), "{} {}", left, right);
                }
            }
        }
    }
}
