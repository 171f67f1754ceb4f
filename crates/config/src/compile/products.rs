//! Lists that multiply: a route is entered for each of its hosts with each of its paths, a rule for each of its principals
//! on each of its routes. A file of a few megabytes could ask for thousands of millions of entries; that is refused here,
//! before they are made.

use crate::codes;
use crate::diagnostics::{At, Diagnostic};
use crate::file::{PolicyFile, Route, Scope};
use crate::section::Reader;

/// Hosts times paths, of all routes together.
const MAX_PLACES: usize = 1_000_000;
/// Principals times routes, of all assignments together, and of all denies.
const MAX_HELD: usize = 10_000_000;

/// Whether all of them can be made; what cannot was reported.
pub(crate) fn are_bounded(reader: &Reader<'_>, routes: &[Route], policy: &PolicyFile) -> bool {
    let places = routes.iter().map(|route| (&route.name, route.hosts.len(), route.paths.len()));
    let held = policy.assignments.iter().map(|rule| (&rule.name, rule.principals.len(), routes_of(&rule.scope)));
    let denied = policy.denies.iter().map(|rule| (&rule.name, rule.principals.len(), routes_of(&rule.scope)));
    let bounded = [
        is_bounded(reader, ("the routes", "hosts", "paths"), MAX_PLACES, places),
        is_bounded(reader, ("the assignments", "principals", "routes"), MAX_HELD, held),
        is_bounded(reader, ("the denies", "principals", "routes"), MAX_HELD, denied),
    ];
    bounded.iter().all(|bounded| *bounded)
}

/// `"*"` is one entry, whatever it covers.
fn routes_of(scope: &Scope) -> usize {
    match scope {
        Scope::All => 1,
        Scope::Routes(routes) => routes.len(),
    }
}

/// Whether the products of two lists, added up, are at most so many. The entry that is one too many is named.
fn is_bounded<'n>(
    reader: &Reader<'_>,
    (all, of, with): (&str, &str, &str),
    most: usize,
    entries: impl Iterator<Item = (&'n At<String>, usize, usize)>,
) -> bool {
    let mut total = 0usize;
    for (name, first, second) in entries {
        total = total.saturating_add(first.max(1).saturating_mul(second.max(1)));
        if total > most {
            let message = format!(
                "with `{}` {all} have more than {most} entries: {first} {of} times {second} {with} here",
                name.value
            );
            let help = format!("write fewer {of} or {with}, or a pattern or group that stands for many");
            reader.report(Diagnostic::error(codes::POLICY, name.span, message).with_help(help));
            return false;
        }
    }
    true
}
