//! Which of its paths an action has on which routes: the most specific route takes a path away from the others.

use std::collections::HashMap;

use crate::lint::findings::Budget;
use crate::lint::{Action, View};
use crate::pattern::{Pattern, PatternTree, Segment};
use crate::policy::Scope;
use crate::route::{HostPattern, RouteId};

/// The paths of all routes.
pub(super) struct Reach<'a> {
    entries: Vec<Entry<'a>>,
    /// By the first segment, where it is literal.
    by_first: HashMap<Box<str>, Vec<u32>>,
    /// Those that may begin with any segment.
    any_first: Vec<u32>,
    by_route: Vec<Vec<u32>>,
}

struct Entry<'a> {
    route: RouteId,
    pattern: Pattern,
    /// All paths on the same host.
    host: &'a PatternTree<RouteId>,
}

impl<'a> Reach<'a> {
    pub(super) fn new(view: &View<'a>) -> Self {
        let mut reach =
            Self { entries: Vec::new(), by_first: HashMap::new(), any_first: Vec::new(), by_route: Vec::new() };
        for (draft, number) in view.draft.routes.iter().zip(0u32..) {
            let hosts: Vec<HostPattern> = match draft.hosts.as_slice() {
                [] => vec![HostPattern::Any],
                hosts => hosts.iter().filter_map(|host| HostPattern::parse(&host.value).ok()).collect(),
            };
            let paths: Vec<Pattern> = match draft.paths.as_slice() {
                [] => vec![Pattern::everything()],
                paths => paths.iter().filter_map(|path| Pattern::parse(&path.value).ok()).collect(),
            };
            reach.by_route.push(Vec::new());
            for tree in hosts.iter().filter_map(|host| view.policy.routes.tree(host)) {
                for pattern in &paths {
                    reach.add(Entry { route: RouteId(number), pattern: pattern.clone(), host: tree });
                }
            }
        }
        reach
    }

    fn add(&mut self, entry: Entry<'a>) {
        let number = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        match entry.pattern.segments.first() {
            Some(Segment::Literal(text)) => self.by_first.entry(text.clone()).or_default().push(number),
            Some(Segment::One) | None => self.any_first.push(number),
        }
        if let Some(list) = self.by_route.get_mut(entry.route.index()) {
            list.push(number);
        }
        self.entries.push(entry);
    }

    /// The paths of a pattern that may lead to a route of the scope, one pattern for each path of a route. Paths that
    /// a more specific route takes away are left out, as far as one path of it alone takes them all.
    pub(super) fn paths<'s>(
        &'s self,
        pattern: &'s Pattern,
        scope: &'s Scope,
    ) -> Box<dyn Iterator<Item = (RouteId, Pattern)> + 's> {
        let numbers: Box<dyn Iterator<Item = &u32> + 's> = match (scope, pattern.segments.first()) {
            (Scope::Routes(routes), _) => {
                Box::new(routes.iter().filter_map(|route| self.by_route.get(route.index())).flatten())
            }
            (Scope::All, Some(Segment::Literal(text))) => {
                Box::new(self.by_first.get(text).into_iter().flatten().chain(&self.any_first))
            }
            (Scope::All, Some(Segment::One) | None) => Box::new(self.by_route.iter().flatten()),
        };
        Box::new(numbers.filter_map(move |number| {
            let entry = self.entries.get(*number as usize)?;
            let common = entry.pattern.intersection(pattern)?;
            let taken = match scope {
                Scope::All => false,
                Scope::Routes(routes) => {
                    entry.host.best_covering(&common).is_some_and(|(_, best)| routes.binary_search(&best).is_err())
                }
            };
            (!taken).then_some((entry.route, common))
        }))
    }

    /// How many paths of routes the scope has.
    pub(super) fn size(&self, scope: &Scope) -> usize {
        match scope {
            Scope::All => self.entries.len(),
            Scope::Routes(routes) => {
                routes.iter().filter_map(|route| self.by_route.get(route.index())).map(Vec::len).sum()
            }
        }
    }

    /// Whether some path of the action may lead to a route of the scope.
    pub(super) fn reaches(&self, view: &View<'_>, action: &Action<'_>, scope: &Scope) -> bool {
        self.paths(action.pattern, scope)
            .any(|(_, common)| !view.is_taken_out(&common, action.methods, action.permission))
    }

    /// Whether some action may lead to a route of the scope; `None` when that was not found out within the budget.
    pub(super) fn any_reaches<'v>(
        &self,
        view: &View<'v>,
        actions: impl Iterator<Item = Action<'v>>,
        scope: &Scope,
        budget: &mut Budget,
    ) -> Option<bool> {
        for action in actions {
            if !budget.spend(1 + self.size(scope) / 8) {
                return None;
            }
            if self.reaches(view, &action, scope) {
                return Some(true);
            }
        }
        Some(false)
    }
}
