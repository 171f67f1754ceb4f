//! Where a request can go: the hosts and paths that two policies' routes and actions tell apart, one of each class.
//!
//! The patterns of both policies are put into one tree, and the tree is walked once for every set of nodes that a path can
//! reach at the same time. Each such walk ends in one path, and any other path of its class matches the same patterns of
//! both policies.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::pattern::{Pattern, Segment};

/// A class of hosts, by one of them.
#[derive(Debug, Clone)]
pub(super) struct HostClass {
    pub(super) host: String,
    /// As a route names it; `None`: any host that no route names.
    pub(super) shown: Option<String>,
}

/// Every class of hosts that the routes of both policies tell apart. The last is any other.
pub(super) fn hosts(before: &Policy, after: &Policy) -> Vec<HostClass> {
    let named: BTreeSet<(&str, bool)> = before.routes.hosts().chain(after.routes.hosts()).collect();
    let exact = named.iter().filter(|(_, suffix)| !suffix).map(|(host, _)| (*host).to_owned());
    let mut hosts: Vec<HostClass> = exact.map(|host| HostClass { shown: Some(host.clone()), host }).collect();
    let is_named = |host: &str| named.iter().any(|(name, _)| *name == host);
    for (suffix, _) in named.iter().filter(|(_, suffix)| *suffix) {
        hosts.extend(
            fresh("x", |label| is_named(&format!("{label}.{suffix}")))
                .map(|label| HostClass { host: format!("{label}.{suffix}"), shown: Some(format!("*.{suffix}")) }),
        );
    }
    let other = fresh("other", |label| named.iter().any(|(name, _)| name.rsplit('.').next() == Some(label)));
    hosts.extend(other.map(|host| HostClass { host, shown: None }));
    hosts
}

/// `stem`, or `stem` with a number, that is not taken.
fn fresh(stem: &str, taken: impl Fn(&str) -> bool) -> Option<String> {
    std::iter::once(stem.to_owned())
        .chain((2..=10_000).map(|number| format!("{stem}{number}")))
        .find(|text| !taken(text))
}

/// A tree of patterns without values.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    literals: BTreeMap<Box<str>, usize>,
    one: Option<usize>,
}

impl Shapes {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::default()] }
    }

    pub(super) fn add(&mut self, pattern: &Pattern) {
        let mut at = 0;
        for segment in &pattern.segments {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return };
            let child = match segment {
                Segment::Literal(text) => *node.literals.entry(text.clone()).or_insert(next),
                Segment::One => *node.one.get_or_insert(next),
            };
            if child == next {
                self.nodes.push(Node::default());
            }
            at = child;
        }
    }

    /// Calls `visit` with one path of each class and the class as a pattern, in which `*` is any segment that no pattern
    /// names there, until it says that it is enough.
    pub(super) fn visit_paths(&self, visit: &mut impl FnMut(CanonicalPath, String) -> ControlFlow<()>) {
        let _ = self.visit_below(&[0], &mut Vec::new(), visit);
    }

    /// `steps` led to the nodes `active`: what can follow?
    fn visit_below(
        &self,
        active: &[usize],
        steps: &mut Vec<Step>,
        visit: &mut impl FnMut(CanonicalPath, String) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let nodes = || active.iter().filter_map(|at| self.nodes.get(*at));
        let literals: BTreeSet<&str> = nodes().flat_map(|node| node.literals.keys()).map(|text| &**text).collect();
        let others: Vec<usize> = nodes().filter_map(|node| node.one).collect();
        for literal in literals.iter().filter(|literal| !literal.is_empty()) {
            let mut next: Vec<usize> = nodes().filter_map(|node| node.literals.get(*literal)).copied().collect();
            next.extend(&others);
            self.visit_step(Step::Literal((*literal).to_owned()), &next, steps, visit)?;
        }
        if let Some(other) = fresh("x", |text| literals.contains(text)) {
            self.visit_step(Step::Other(other), &others, steps, visit)?;
        }
        // A path that ends in a slash: to `*` that is no segment, so it is a class of its own.
        if literals.contains("") || !others.is_empty() {
            steps.push(Step::Literal(String::new()));
            let end = emit(steps, false, visit);
            steps.pop();
            end?;
        }
        ControlFlow::Continue(())
    }

    fn visit_step(
        &self,
        step: Step,
        next: &[usize],
        steps: &mut Vec<Step>,
        visit: &mut impl FnMut(CanonicalPath, String) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        steps.push(step);
        let end = emit(steps, next.is_empty(), visit);
        let end = match end {
            ControlFlow::Continue(()) if !next.is_empty() => self.visit_below(next, steps, visit),
            end => end,
        };
        steps.pop();
        end
    }
}

/// One segment of a walk.
#[derive(Debug, Clone)]
enum Step {
    Literal(String),
    /// Any segment that no pattern names there, and one such.
    Other(String),
}

/// `below`: whatever follows is of the same class.
fn emit(
    steps: &[Step],
    below: bool,
    visit: &mut impl FnMut(CanonicalPath, String) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut raw = String::new();
    let mut shape = String::new();
    for step in steps {
        let (text, shown) = match step {
            Step::Literal(text) => (text, text.as_str()),
            Step::Other(text) => (text, "*"),
        };
        raw.push('/');
        push_encoded(&mut raw, text);
        shape.push('/');
        shape.push_str(shown);
    }
    if below {
        // The last step is any other segment.
        shape.push_str("/**");
    }
    // A literal that no request can hold leads nowhere.
    match CanonicalPath::parse(&raw) {
        Ok(path) => visit(path, shape),
        Err(_) => ControlFlow::Continue(()),
    }
}

/// Escapes everything but unreserved characters (RFC 3986 section 2.3).
fn push_encoded(raw: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            raw.push(char::from(byte));
        } else {
            raw.push_str(&format!("%{byte:02X}"));
        }
    }
}
