//! Path patterns and the tree that finds, for one path, every pattern that matches.
//!
//! In a pattern `*` or `{name}` is exactly one non-empty segment and a final `**` is zero or more segments; everything
//! else is literal and case-sensitive. The walk visits tree nodes, never patterns, so its cost does not grow with the
//! number of patterns that do not match.

use std::collections::BTreeMap;

use crate::path::CanonicalPath;

mod relation;

/// The most segments a pattern may have; it bounds the depth of every walk.
pub(crate) const MAX_SEGMENTS: usize = 128;

/// One segment of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Segment {
    /// Exactly this text, decoded.
    Literal(Box<str>),
    /// Any one non-empty segment.
    One,
}

/// A parsed path pattern. `{name}` and `*` are the same, so equal patterns match the same paths.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Pattern {
    pub(crate) segments: Vec<Segment>,
    /// It ends in `**`.
    pub(crate) rest: bool,
}

impl Pattern {
    /// The pattern that matches every path.
    pub(crate) fn everything() -> Self {
        Self { segments: Vec::new(), rest: true }
    }

    /// Parses a pattern; the error is a sentence for the person who wrote it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some(body) = text.strip_prefix('/') else {
            return Err(format!("`{text}` does not begin with a slash"));
        };
        let parts: Vec<&str> = body.split('/').collect();
        if parts.len() > MAX_SEGMENTS {
            return Err(format!("a pattern has at most {MAX_SEGMENTS} segments, this one has {}", parts.len()));
        }
        let mut segments = Vec::with_capacity(parts.len());
        let last = parts.len().saturating_sub(1);
        for (index, part) in parts.iter().enumerate() {
            match *part {
                "**" if index == last => return Ok(Self { segments, rest: true }),
                "**" => return Err("`**` stands only at the end of a pattern".into()),
                "*" => segments.push(Segment::One),
                "" if index != last => return Err("an empty segment matches no request".into()),
                name if is_placeholder(name) => segments.push(Segment::One),
                literal => segments.push(Segment::Literal(parse_literal(literal)?)),
            }
        }
        Ok(Self { segments, rest: false })
    }

    /// Whether the text has a star or a brace where it is only literal, which its author hardly meant.
    pub(crate) fn looks_mistaken(text: &str) -> bool {
        text.split('/')
            .any(|part| !matches!(part, "*" | "**") && !is_placeholder(part) && part.contains(['*', '{', '}']))
    }
}

fn is_placeholder(part: &str) -> bool {
    part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    })
}

/// A literal segment in decoded form. Written with escapes or plainly, it means the same.
fn parse_literal(text: &str) -> Result<Box<str>, String> {
    let mut escaped = String::with_capacity(text.len() + 1);
    escaped.push('/');
    for character in text.chars() {
        // People write patterns, so what a request must escape may stand here as it is.
        if character == '%'
            || character.is_ascii_graphic()
                && !matches!(character, '"' | '<' | '>' | '[' | ']' | '^' | '`' | '{' | '|' | '}')
        {
            escaped.push(character);
        } else {
            let mut buffer = [0; 4];
            for byte in character.encode_utf8(&mut buffer).bytes() {
                escaped.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    if text.contains(['?', '#']) {
        return Err(format!("`{text}` holds a `?` or `#`: query and fragment are never part of a pattern"));
    }
    match CanonicalPath::parse(&escaped) {
        Ok(path) => Ok(path.decoded().get(1..).unwrap_or_default().into()),
        Err(problem) => Err(format!("`{text}` matches no request: {problem}")),
    }
}

/// A tree of patterns with a value on each.
///
/// A walk goes on below a node through one of its literals and through its `*`, so in a tree of words and stars on every
/// level it would double with each segment. [`PatternTree::most_visits`] bounds it before any path is known.
#[derive(Debug, Clone)]
pub(crate) struct PatternTree<T> {
    nodes: Vec<Node<T>>,
}

#[derive(Debug, Clone)]
struct Node<T> {
    /// Sorted by text once built.
    literals: BTreeMap<Box<str>, u32>,
    one: Option<u32>,
    exact: Option<T>,
    rest: Option<T>,
    /// The most visits that any of the literals leads to.
    visits_by_literal: u32,
    /// The most visits that the star leads to.
    visits_by_one: u32,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literals: BTreeMap::new(), one: None, exact: None, rest: None, visits_by_literal: 0, visits_by_one: 0 }
    }
}

impl<T> Node<T> {
    /// At most so many nodes are visited from here on: this one, and what the widest literal and the star lead to.
    fn visits(&self) -> u32 {
        self.visits_by_literal.saturating_add(self.visits_by_one).saturating_add(1)
    }
}

impl<T> Default for PatternTree<T> {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl<T: Copy> PatternTree<T> {
    /// Inserts a value, or gives back the one that an equal pattern already has.
    pub(crate) fn insert(&mut self, pattern: &Pattern, value: T) -> Result<(), T> {
        let mut at = 0u32;
        let mut way = Vec::with_capacity(pattern.segments.len());
        for segment in &pattern.segments {
            way.push(at);
            let next = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
            let Some(node) = self.nodes.get_mut(at as usize) else { return Ok(()) };
            let child = match segment {
                Segment::Literal(text) => *node.literals.entry(text.clone()).or_insert(next),
                Segment::One => *node.one.get_or_insert(next),
            };
            if child == next {
                self.nodes.push(Node::default());
            }
            at = child;
        }
        self.widen(at, &way, &pattern.segments);
        let Some(node) = self.nodes.get_mut(at as usize) else { return Ok(()) };
        let slot = if pattern.rest { &mut node.rest } else { &mut node.exact };
        match slot {
            Some(present) => Err(*present),
            None => {
                *slot = Some(value);
                Ok(())
            }
        }
    }

    /// Carries the number of visits from a node up the way that led to it.
    fn widen(&mut self, at: u32, way: &[u32], segments: &[Segment]) {
        let mut visits = self.nodes.get(at as usize).map_or(0, Node::visits);
        for (parent, segment) in way.iter().zip(segments).rev() {
            let Some(node) = self.nodes.get_mut(*parent as usize) else { return };
            match segment {
                Segment::Literal(_) => node.visits_by_literal = node.visits_by_literal.max(visits),
                Segment::One => node.visits_by_one = visits,
            }
            visits = node.visits();
        }
    }

    /// No path makes a walk visit more nodes than this. It is at most the number of nodes, so a small tree is never wide,
    /// and it may be more than any path needs: each branch is counted with its own widest literal.
    pub(crate) fn most_visits(&self) -> usize {
        self.nodes.first().map_or(0, |root| root.visits() as usize)
    }

    /// Calls `visit` with the value of every pattern that matches.
    pub(crate) fn visit_matches(&self, path: &CanonicalPath, visit: &mut impl FnMut(T)) {
        let body = path.decoded().get(1..).unwrap_or_default();
        self.visit_from(0, Some(body), visit);
    }

    fn visit_from(&self, at: u32, remaining: Option<&str>, visit: &mut impl FnMut(T)) {
        let Some(node) = self.nodes.get(at as usize) else { return };
        if let Some(value) = node.rest {
            visit(value);
        }
        let Some(remaining) = remaining else {
            if let Some(value) = node.exact {
                visit(value);
            }
            return;
        };
        let (segment, after) = split_segment(remaining);
        if let Some(&child) = node.literals.get(segment) {
            self.visit_from(child, after, visit);
        }
        if let Some(child) = node.one
            && !segment.is_empty()
        {
            self.visit_from(child, after, visit);
        }
    }

    /// The value of the most specific pattern that matches: segment by segment literal before `*` before `**`.
    pub(crate) fn best_match(&self, path: &CanonicalPath) -> Option<T> {
        self.best_from(0, Some(path.decoded().get(1..).unwrap_or_default()))
    }

    fn best_from(&self, at: u32, remaining: Option<&str>) -> Option<T> {
        let node = self.nodes.get(at as usize)?;
        let Some(remaining) = remaining else { return node.exact.or(node.rest) };
        let (segment, after) = split_segment(remaining);
        let literal = node.literals.get(segment).and_then(|&child| self.best_from(child, after));
        let one = || node.one.filter(|_| !segment.is_empty()).and_then(|child| self.best_from(child, after));
        literal.or_else(one).or(node.rest)
    }
}

fn split_segment(remaining: &str) -> (&str, Option<&str>) {
    // Segments are short: a search that prepares itself for long ones takes longer than the segment.
    match remaining.bytes().position(|byte| byte == b'/') {
        Some(end) => (remaining.get(..end).unwrap_or_default(), remaining.get(end + 1..)),
        None => (remaining, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let mut tree = PatternTree::default();
        tree.insert(&Pattern::parse(pattern).unwrap(), ()).unwrap();
        let mut found = false;
        tree.visit_matches(&CanonicalPath::parse(path).unwrap(), &mut |()| found = true);
        assert_eq!(tree.best_match(&CanonicalPath::parse(path).unwrap()).is_some(), found, "{pattern} {path}");
        found
    }

    #[test]
    fn wildcards_are_bounded_by_segments() {
        let check = |pattern: &str, path: &str, expected: bool| {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}")
        };
        check("/**", "/", true);
        check("/**", "/a/b", true);
        check("/", "/", true);
        check("/", "/a", false);
        check("/api/**", "/api", true);
        check("/api/**", "/api/", true);
        check("/api/**", "/api/a/b", true);
        check("/api/**", "/apix", false);
        check("/api/*", "/api/7", true);
        check("/api/{id}", "/api/7", true);
        check("/api/*", "/api/", false);
        check("/api/*", "/api", false);
        check("/api/*", "/api/7/x", false);
        check("/api/*/x", "/api/7/x", true);
        check("/api/Invoices", "/api/invoices", false);
        check("/api", "/api/", false);
        check("/api/", "/api/", true);
        check("/a b", "/a%20b", true);
        check("/a%20b", "/a%20b", true);
        check("/münchen", "/m%C3%BCnchen", true);
        check("/a;b", "/a%3Bb", true);
        check("/a*b", "/a*b", true);
        check("/a*b", "/axb", false);
    }

    #[test]
    fn a_pattern_that_can_match_nothing_is_refused() {
        for bad in ["", "api", "/a//b", "/**/a", "/a/../b", "/a%2fb", "/a\\b", "/a?b", "/a#b", "/a%zz"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
        assert!(Pattern::parse(&"/a".repeat(MAX_SEGMENTS)).is_ok());
        assert!(Pattern::parse(&"/a".repeat(MAX_SEGMENTS + 1)).is_err());
    }

    #[test]
    fn the_most_specific_pattern_wins_segment_by_segment() {
        let mut tree = PatternTree::default();
        for (value, pattern) in ["/**", "/api/**", "/api/*", "/api/*/x", "/api/7/**", "/api/7"].iter().enumerate() {
            tree.insert(&Pattern::parse(pattern).unwrap(), value).unwrap();
        }
        let check = |path: &str, expected: usize| {
            assert_eq!(tree.best_match(&CanonicalPath::parse(path).unwrap()), Some(expected), "{path}");
        };
        check("/", 0);
        check("/x", 0);
        check("/api", 1);
        check("/api/", 1);
        check("/api/8", 2);
        check("/api/8/x", 3);
        check("/api/7/x", 4);
        check("/api/7", 5);
        check("/api/8/y", 1);
    }

    /// How many nodes a walk visits.
    fn visits(tree: &PatternTree<usize>, path: &str) -> usize {
        fn count(tree: &PatternTree<usize>, at: u32, remaining: Option<&str>) -> usize {
            let node = &tree.nodes[at as usize];
            let Some((segment, after)) = remaining.map(split_segment) else { return 1 };
            let literal = node.literals.get(segment).map_or(0, |child| count(tree, *child, after));
            let one = node.one.filter(|_| !segment.is_empty()).map_or(0, |child| count(tree, child, after));
            1 + literal + one
        }
        count(tree, 0, Some(&path[1..]))
    }

    fn tree_of(patterns: &[String]) -> PatternTree<usize> {
        let mut tree = PatternTree::default();
        for (value, pattern) in patterns.iter().enumerate() {
            let _ = tree.insert(&Pattern::parse(pattern).unwrap(), value);
        }
        tree
    }

    #[test]
    fn words_and_stars_on_every_level_double_the_walk_with_each_segment() {
        for depth in 1..8 {
            let patterns: Vec<String> = (0..1usize << depth)
                .map(|bits| (0..depth).map(|level| if bits >> level & 1 == 0 { "/a" } else { "/*" }).collect())
                .collect();
            let tree = tree_of(&patterns);
            let expected = (1 << (depth + 1)) - 1;
            assert_eq!((visits(&tree, &"/a".repeat(depth)), tree.most_visits()), (expected, expected));
        }
    }

    #[test]
    fn words_beside_each_other_do_not_widen_the_walk() {
        let patterns: Vec<String> = (0..1_000).map(|index| format!("/service-{index}/items/{{id}}/**")).collect();
        assert_eq!(tree_of(&patterns).most_visits(), 4);
        let patterns = [patterns, vec!["/*/items".to_owned(), "/**".to_owned()]].concat();
        assert_eq!(tree_of(&patterns).most_visits(), 6);
    }

    proptest! {
        #[test]
        fn no_walk_visits_more_nodes_than_the_tree_says(
            patterns in prop::collection::vec(
                prop::collection::vec(prop::sample::select(vec!["/a", "/b", "/*"]), 1..6).prop_map(|parts| parts.concat()),
                1..20,
            ),
            path in prop::collection::vec(prop::sample::select(vec!["/a", "/b", "/c"]), 1..7),
        ) {
            let tree = tree_of(&patterns);
            prop_assert!(visits(&tree, &path.concat()) <= tree.most_visits());
            prop_assert!(tree.most_visits() <= tree.nodes.len());
        }
    }

    #[test]
    fn equal_patterns_are_found_out() {
        let mut tree = PatternTree::default();
        tree.insert(&Pattern::parse("/a/*").unwrap(), 1).unwrap();
        assert_eq!(tree.insert(&Pattern::parse("/a/{id}").unwrap(), 2), Err(1));
    }

    /// Every path of up to three segments over a small alphabet, to hold the algebra of patterns against.
    fn all_paths() -> Vec<CanonicalPath> {
        let mut texts = vec!["/".to_owned()];
        for first in ["a", "b", "z"] {
            texts.extend([format!("/{first}"), format!("/{first}/")]);
            for second in ["a", "b", "z"] {
                texts.extend([format!("/{first}/{second}"), format!("/{first}/{second}/")]);
                texts.extend(["a", "b", "z"].map(|third| format!("/{first}/{second}/{third}")));
            }
        }
        texts.iter().map(|text| CanonicalPath::parse(text).unwrap()).collect()
    }

    #[test]
    fn what_patterns_have_in_common_is_what_both_match() {
        let texts = [
            "/**", "/", "/a", "/a/", "/*", "/a/**", "/*/**", "/a/*", "/*/a", "/*/*", "/a/b", "/a/b/**", "/*/b/",
            "/a/*/b", "/*/*/**", "/a/b/a", "/b/**", "/*/a/**",
        ];
        let paths = all_paths();
        let tree_of = |pattern: &Pattern| {
            let mut tree = PatternTree::default();
            tree.insert(pattern, ()).unwrap();
            tree
        };
        for (one, other) in texts.iter().flat_map(|one| texts.map(|other| (*one, other))) {
            let (left, right) = (Pattern::parse(one).unwrap(), Pattern::parse(other).unwrap());
            let (left_tree, right_tree) = (tree_of(&left), tree_of(&right));
            let of = |tree: &PatternTree<()>| -> Vec<bool> {
                paths.iter().map(|path| tree.best_match(path).is_some()).collect()
            };
            let (in_left, in_right) = (of(&left_tree), of(&right_tree));
            let common = left.intersection(&right);
            assert_eq!(common.is_some(), left.meets(&right), "{one} {other}");
            let in_common = common.map_or_else(|| vec![false; paths.len()], |common| of(&tree_of(&common)));
            let both: Vec<bool> = in_left.iter().zip(&in_right).map(|(left, right)| *left && *right).collect();
            assert_eq!(in_common, both, "{one} {other}");
            let contained = in_left.iter().zip(&in_right).all(|(left, right)| *left || !right);
            assert_eq!(left.covers(&right), contained, "{one} {other}");
            assert_eq!(left_tree.best_covering(&right).is_some(), contained, "{one} {other}");
        }
    }
}
