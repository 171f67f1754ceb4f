//! Actions: `METHOD PATTERN`, interned so that equal patterns are matched once however many roles use them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::path::CanonicalPath;
use crate::pattern::{Pattern, PatternTree};

/// The index of an interned path pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PatternId(pub(crate) u32);

/// A set of methods. A method is a case-sensitive token, so `get` is not `GET` (RFC 9110 section 9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MethodMask(u64);

impl MethodMask {
    const ANY: Self = Self(1 << 63);

    pub(crate) const NONE: Self = Self(0);

    /// Whether it is `*`, every method there is.
    pub(crate) fn is_any(self) -> bool {
        self.0 & Self::ANY.0 != 0
    }

    /// Whether every method of the other one is in this one.
    pub(crate) fn covers(self, other: Self) -> bool {
        self.is_any() || self.0 & other.0 == other.0
    }

    /// Whether some method is in both.
    pub(crate) fn meets(self, other: Self) -> bool {
        self.is_any() && other.0 != 0 || other.is_any() && self.0 != 0 || self.0 & other.0 != 0
    }

    /// The methods of both together.
    pub(crate) fn union(self, other: Self) -> Self {
        if self.is_any() || other.is_any() { Self::ANY } else { Self(self.0 | other.0) }
    }

    pub(crate) fn holds(self, method: MethodBit) -> bool {
        self.0 & (Self::ANY.0 | method.0) != 0
    }

    /// Without the methods of the other; `None` when nothing is left. Something taken out of any method leaves any method:
    /// what is left has no shorter name.
    pub(crate) fn without(self, other: Self) -> Option<Self> {
        if other.covers(self) {
            None
        } else if self.is_any() {
            Some(self)
        } else {
            Some(Self(self.0 & !other.0))
        }
    }
}

/// A pattern and the methods it is for.
pub(crate) type Action = (PatternId, MethodMask);

/// One method of a request; a method that no action names has no bit and is held only by `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MethodBit(u64);

/// All methods and patterns that the actions of a policy use.
#[derive(Debug, Clone, Default)]
pub(crate) struct ActionTable {
    methods: HashMap<Box<str>, u32>,
    patterns: HashMap<Arc<Pattern>, PatternId>,
    /// By id, to be read again.
    list: Vec<Arc<Pattern>>,
    tree: PatternTree<PatternId>,
}

impl ActionTable {
    /// The most different methods that a policy's actions may name.
    pub(crate) const MAX_METHODS: usize = 63;

    /// The most nodes of the pattern tree that one path may lead to. A walk takes some ten nanoseconds for each, and what
    /// it finds is looked up in the roles, so this keeps a decision within microseconds whatever the policy says.
    pub(crate) const MAX_VISITS: usize = 256;

    /// Parses and interns one action.
    pub(crate) fn intern(&mut self, text: &str) -> Result<(PatternId, MethodMask), ActionProblem> {
        let Some((methods, pattern)) = text.split_once(' ') else {
            return Err(format!("`{text}` is not `METHOD PATTERN`, such as `GET /api/**`").into());
        };
        let mask = self.intern_methods(methods)?;
        let pattern = Pattern::parse(pattern.trim_start_matches(' '))?;
        let next = PatternId(u32::try_from(self.patterns.len()).unwrap_or(u32::MAX));
        let id = match self.patterns.get(&pattern) {
            Some(id) => *id,
            None => {
                let narrow = self.tree.most_visits() <= Self::MAX_VISITS;
                // INVARIANT: the map and the tree hold the same patterns, so this insert finds its place empty.
                let _ = self.tree.insert(&pattern, next);
                let pattern = Arc::new(pattern);
                self.list.push(pattern.clone());
                self.patterns.insert(pattern, next);
                // Said once, of the pattern that is one too many.
                if narrow && self.tree.most_visits() > Self::MAX_VISITS {
                    return Err(too_wide(text));
                }
                next
            }
        };
        Ok((id, mask))
    }

    fn intern_methods(&mut self, text: &str) -> Result<MethodMask, String> {
        if text == "*" {
            return Ok(MethodMask::ANY);
        }
        let mut mask = 0;
        for method in text.split(',') {
            // A star is a token character, but within a list its author hardly means a method of that name.
            let fit = method.bytes().all(|byte| is_token_character(byte) && byte != b'*');
            if method.is_empty() || method.len() > 32 || !fit {
                return Err(format!("`{method}` is not a method: a name, a comma list without spaces, or `*`"));
            }
            let next = u32::try_from(self.methods.len()).unwrap_or(u32::MAX);
            if self.methods.len() >= Self::MAX_METHODS && !self.methods.contains_key(method) {
                return Err(format!("more than {} different methods", Self::MAX_METHODS));
            }
            mask |= 1 << *self.methods.entry(method.into()).or_insert(next);
        }
        Ok(MethodMask(mask))
    }

    pub(crate) fn method(&self, method: &str) -> MethodBit {
        MethodBit(self.methods.get(method).map_or(0, |bit| 1 << bit))
    }

    /// Every pattern that matches the path.
    pub(crate) fn matching(&self, path: &CanonicalPath) -> MatchedPatterns {
        let mut matched = MatchedPatterns::default();
        self.tree.visit_matches(path, &mut |pattern| matched.push(pattern));
        matched
    }

    /// Every pattern, by id.
    pub(crate) fn patterns(&self) -> Vec<&Pattern> {
        self.list.iter().map(|pattern| &**pattern).collect()
    }

    /// Every method that some action names, in no particular order.
    pub(crate) fn method_names(&self) -> impl Iterator<Item = &str> {
        self.methods.keys().map(|name| &**name)
    }

    /// The methods of a set, by name; `None`: every method.
    pub(crate) fn names_of(&self, mask: MethodMask) -> Option<Vec<&str>> {
        if mask.is_any() {
            return None;
        }
        let held = self.methods.iter().filter(|(_, bit)| mask.0 & (1 << **bit) != 0);
        let mut names: Vec<&str> = held.map(|(name, _)| &**name).collect();
        names.sort_unstable();
        Some(names)
    }

    pub(crate) fn pattern_count(&self) -> usize {
        self.patterns.len()
    }

    pub(crate) fn pattern(&self, id: PatternId) -> Option<&Pattern> {
        self.list.get(id.0 as usize).map(|pattern| &**pattern)
    }

    /// An action as a policy file writes it, its methods in the order of the alphabet.
    pub(crate) fn text(&self, pattern: PatternId, mask: MethodMask) -> String {
        let pattern = self.pattern(pattern).map(Pattern::to_string).unwrap_or_default();
        match self.names_of(mask) {
            None => format!("* {pattern}"),
            Some(names) => format!("{} {pattern}", names.join(",")),
        }
    }
}

/// What is wrong with an action, for the person who wrote it.
#[derive(Debug)]
pub(crate) struct ActionProblem {
    /// A sentence.
    pub(crate) message: String,
    /// The remedy.
    pub(crate) help: &'static str,
}

impl From<String> for ActionProblem {
    /// Of its form.
    fn from(message: String) -> Self {
        Self { message, help: "write `METHOD PATTERN`, such as `GET /api/invoices/**`" }
    }
}

fn too_wide(text: &str) -> ActionProblem {
    let shown: String = text.chars().take(120).collect();
    let message = format!(
        "with `{shown}` the actions have too many patterns with `*` where others have a word: one path could lead to more \
         than {} places among them",
        ActionTable::MAX_VISITS
    );
    ActionProblem { message, help: "write fewer of them, or one pattern that covers several" }
}

/// `tchar` of RFC 9110 section 5.6.2.
fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The patterns that match one path. A handful as a rule, and those take no allocation.
#[derive(Debug, Clone, Default)]
pub(crate) struct MatchedPatterns {
    few: [PatternId; Self::FEW],
    length: usize,
    more: Vec<PatternId>,
}

impl Default for PatternId {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl MatchedPatterns {
    const FEW: usize = 16;

    fn push(&mut self, pattern: PatternId) {
        match self.few.get_mut(self.length) {
            Some(slot) => {
                *slot = pattern;
                self.length += 1;
            }
            None => self.more.push(pattern),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = PatternId> {
        self.few.iter().take(self.length).chain(&self.more).copied()
    }
}

/// Actions in the order of their patterns, so that a matched pattern finds its own by binary search.
#[derive(Debug, Clone, Default)]
pub(crate) struct ActionSet {
    sorted: Box<[(PatternId, MethodMask, u32)]>,
}

impl ActionSet {
    /// From actions, each with a tag of the caller's.
    pub(crate) fn new(mut actions: Vec<(PatternId, MethodMask, u32)>) -> Self {
        actions.sort_unstable_by_key(|(pattern, mask, tag)| (*pattern, *tag, mask.0));
        actions.dedup();
        Self { sorted: actions.into_boxed_slice() }
    }

    /// The tags of the actions that a request is.
    pub(crate) fn tags(&self, matched: &MatchedPatterns, method: MethodBit) -> impl Iterator<Item = u32> {
        matched
            .iter()
            .flat_map(move |pattern| self.of_pattern(pattern))
            .filter_map(move |(_, mask, tag)| mask.holds(method).then_some(*tag))
    }

    pub(crate) fn contains(&self, matched: &MatchedPatterns, method: MethodBit) -> bool {
        self.tags(matched, method).next().is_some()
    }

    /// The actions in the order of their patterns, without their tags.
    pub(crate) fn actions(&self) -> impl Iterator<Item = (PatternId, MethodMask)> {
        self.sorted.iter().map(|(pattern, mask, _)| (*pattern, *mask))
    }

    /// The actions in the order of their patterns, each with its tag.
    pub(crate) fn tagged(&self) -> &[(PatternId, MethodMask, u32)] {
        &self.sorted
    }

    /// The tags of all actions, in no order and with repetitions.
    pub(crate) fn all_tags(&self) -> impl Iterator<Item = u32> {
        self.sorted.iter().map(|(_, _, tag)| *tag)
    }

    /// The tags of the actions of one pattern that are for the method.
    pub(crate) fn tags_of(&self, pattern: PatternId, method: MethodBit) -> impl Iterator<Item = u32> {
        self.of_pattern(pattern).iter().filter_map(move |(_, mask, tag)| mask.holds(method).then_some(*tag))
    }

    fn of_pattern(&self, pattern: PatternId) -> &[(PatternId, MethodMask, u32)] {
        let from = self.sorted.partition_point(|(each, _, _)| *each < pattern);
        let rest = self.sorted.get(from..).unwrap_or_default();
        let length = rest.iter().take_while(|(each, _, _)| *each == pattern).count();
        rest.get(..length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_a_method_and_a_pattern() {
        let check = |action: &str, method: &str, path: &str, expected: bool| {
            let mut table = ActionTable::default();
            let (pattern, mask) = table.intern(action).unwrap();
            let set = ActionSet::new(vec![(pattern, mask, 0)]);
            let path = CanonicalPath::parse(path).unwrap();
            assert_eq!(set.contains(&table.matching(&path), table.method(method)), expected, "{action} {method}");
        };
        check("GET /a", "GET", "/a", true);
        check("GET /a", "POST", "/a", false);
        check("GET /a", "get", "/a", false);
        check("GET,POST /a", "POST", "/a", true);
        check("* /a", "ANYTHING", "/a", true);
        check("GET /a", "ANYTHING", "/a", false);
        check("GET /a", "GET", "/b", false);
    }

    #[test]
    fn an_action_is_written_as_it_was_read() {
        let check = |action: &str, expected: &str| {
            let mut table = ActionTable::default();
            // Other methods first, so that the bits are not in the order of the names.
            table.intern("PUT,GET /other").unwrap();
            let (pattern, mask) = table.intern(action).unwrap();
            assert_eq!(table.text(pattern, mask), expected);
        };
        check("GET /a/{id}/**", "GET /a/*/**");
        check("PUT,DELETE,GET  /a", "DELETE,GET,PUT /a");
        check("* /a b", "* /a%20b");
    }

    #[test]
    fn masks_are_sets_and_a_star_is_all_of_them() {
        let mut table = ActionTable::default();
        let mut mask = |methods: &str| table.intern(&format!("{methods} /")).unwrap().1;
        let (any, get, post, both) = (mask("*"), mask("GET"), mask("POST"), mask("GET,POST"));
        assert!(any.covers(get) && any.covers(any) && both.covers(get) && both.covers(both));
        assert!(!get.covers(any) && !get.covers(both) && !get.covers(post));
        assert!(any.meets(get) && get.meets(any) && both.meets(post) && !get.meets(post));
        assert_eq!((both.without(get), both.without(both), both.without(any)), (Some(post), None, None));
        assert_eq!((any.without(get), any.without(any), get.without(post)), (Some(any), None, Some(get)));
    }

    #[test]
    fn patterns_that_one_path_could_meet_too_often_are_refused_once() {
        let action = |bits: usize| {
            let segments = (0..8).map(|level| if bits >> level & 1 == 0 { "/a" } else { "/*" });
            format!("GET {}", segments.collect::<String>())
        };
        let mut table = ActionTable::default();
        let refused: Vec<usize> = (0..256).filter(|bits| table.intern(&action(*bits)).is_err()).collect();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(table.tree.most_visits() > ActionTable::MAX_VISITS);

        let mut small = ActionTable::default();
        assert!((0..64).all(|bits| small.intern(&action(bits)).is_ok()));
        assert!(small.tree.most_visits() <= ActionTable::MAX_VISITS);
        // A policy of many services has many patterns, and a path meets few of them.
        let mut large = ActionTable::default();
        let service = |index: usize| format!("GET,PUT /service-{index}/{{id}}/part-{}/**", index % 7);
        assert!((0..20_000).all(|index| large.intern(&service(index)).is_ok()));
    }

    #[test]
    fn what_is_no_action_is_refused() {
        for bad in ["", "GET", "/a", "GET, POST /a", "G T /a", "GET a", ", /a", "GE\tT /a", "GET,* /a", "P* /a"] {
            assert!(ActionTable::default().intern(bad).is_err(), "{bad}");
        }
    }
}
