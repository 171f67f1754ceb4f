//! From a draft to a policy: every reference resolved, every index built, and all problems reported at once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::action::{ActionSet, ActionTable, MethodMask, PatternId};
use crate::condition::{Conditions, Eligibility};
use crate::decision::{RuleKind, RuleRef};
use crate::draft::*;
use crate::network::{NetworkId, NetworkIndex};
use crate::pattern::Pattern;
use crate::policy::*;
use crate::route::{HostPattern, RouteId, RouteTable};
use crate::spelling::Spelling;
use crate::suggest::nearest_name;

mod exclusive;
mod inheritance;
mod permissions;
mod places;
mod roles;
mod rules;
mod subjects;

use roles::roles_by_pattern;
use rules::assignments_by_role;

use subjects::SubjectsBuilder;

/// The longest name, in bytes.
const MAX_NAME: usize = 256;
/// The most prefixes of all networks together: four times what a policy must carry.
pub(crate) const MAX_PREFIXES: usize = 4_000_000;
/// The most actions of all roles together, with those they inherit.
const MAX_ROLE_ACTIONS: usize = 10_000_000;
/// After this many problems names that are near are no longer searched for: it costs a look at every name.
const MOST_SUGGESTIONS: usize = 200;

impl Policy {
    /// Compiles a draft, and says what is questionable about it.
    ///
    /// ```
    /// # use portcullis_policy::*;
    /// let mut draft = PolicyDraft {
    ///     roles: vec![RoleDraft::new("reader", ["GET /invoices/**"])],
    ///     assignments: vec![AssignmentDraft::new("alice-reads", "raeder", ["user:alice"])],
    ///     ..PolicyDraft::default()
    /// };
    /// let problems = Policy::compile(&draft).expect_err("there is no such role");
    /// assert_eq!(problems[0].kind, ProblemKind::UnknownReference);
    /// assert_eq!(problems[0].help.as_deref(), Some("did you mean `reader`?"));
    ///
    /// draft.assignments[0].role = "reader".to_owned().into();
    /// let (policy, warnings) = Policy::compile(&draft).expect("now there is");
    /// assert_eq!((policy.size().roles, warnings.len()), (1, 0));
    /// ```
    ///
    /// # Errors
    /// Every problem of the draft at once, errors and warnings, when at least one is an error.
    pub fn compile(draft: &PolicyDraft) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let mut compiler = Compiler { sources: draft.sources.clone(), problems: Vec::new() };
        let policy = compiler.run(draft);
        let problems = compiler.problems;
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            return Err(problems);
        }
        Ok((policy, problems))
    }
}

struct Compiler {
    sources: Vec<Arc<str>>,
    problems: Vec<Problem>,
}

/// The indexes of everything that can be named.
struct Names {
    routes: HashMap<String, RouteId>,
    networks: HashMap<String, NetworkId>,
    roles: HashMap<String, RoleId>,
}

impl Compiler {
    fn run(&mut self, draft: &PolicyDraft) -> Policy {
        let networks = by_name(&draft.networks, |each| &each.name.value);
        let roles = by_name(&draft.roles, |each| &each.name.value);
        let assignments = by_name(&draft.assignments, |each| &each.name.value);
        let denies = by_name(&draft.denies, |each| &each.name.value);
        let groups = by_name(&draft.groups, |each| &each.name.value);
        let names = Names {
            routes: self.index("route", &draft.routes.iter().collect::<Vec<_>>(), |each| &each.name, RouteId),
            networks: self.index("network", &networks, |each| &each.name, NetworkId),
            roles: self.index("role", &roles, |each| &each.name, RoleId),
        };
        self.index("group", &groups, |each| &each.name, |index| index);
        self.index("assignment", &assignments, |each| &each.name, |index| index);
        self.index("deny", &denies, |each| &each.name, |index| index);

        let routes = self.routes(&draft.routes);
        let resources = self.resources(&draft.resources, draft.routes.len(), &names);
        let mut actions = ActionTable::default();
        let (roles, not_actions) = self.roles(&roles, &names, &mut actions);
        self.exclusives(draft, &names);
        let mut subjects = SubjectsBuilder::default();
        let memberships = self.groups(&groups, &mut subjects);
        let assignments = self.assignments(&assignments, &names, &mut subjects);
        let denies = self.denies(&denies, &names, &mut actions, &mut subjects);

        // INVARIANT: there is one at most; a second one is reported by `routes`.
        let reserved = draft.routes.iter().zip(0u32..).find(|(route, _)| route.reserved).map(|(_, id)| RouteId(id));
        let ends = |assignment: &Assignment| assignment.period.expires.is_some() || assignment.when.hours.is_some();
        let has_grants_that_end = assignments.iter().any(ends);
        let asks_country = asks_country(&assignments, &denies, draft.routes.len());
        let subject_index = subjects.finish(memberships, &assignments, &denies, reserved, draft.spelling.clone());
        let network_facts = networks
            .iter()
            .map(|each| {
                let rule = self.rule(RuleKind::Network, &each.name);
                NetworkFacts { rule, unknown: each.unknown, list: None }
            })
            .collect();
        let prefixes: Vec<&[ipnet::IpNet]> = networks.iter().map(|each| each.prefixes.as_slice()).collect();
        let prefixes = self.bounded_prefixes(&networks, prefixes);
        let unknown: Vec<bool> = networks.iter().map(|each| each.unknown).collect();
        Policy {
            version: draft.version,
            sha256: draft.sha256.clone(),
            routes,
            route_names: draft.routes.iter().map(|route| route.name.value.as_str().into()).collect(),
            resources,
            networks: NetworkIndex::build(&prefixes, &unknown),
            prefixes: draft.keep_prefixes.then(|| prefixes.iter().map(|each| Arc::from(*each)).collect()),
            activations_at: draft.activations_at.clone(),
            network_facts,
            role_by_name: roles.iter().zip(0..).map(|(role, id)| (role.rule.name.clone(), RoleId(id))).collect(),
            roles_by_pattern: roles_by_pattern(&roles, actions.pattern_count()),
            reserved,
            assignments_by_role: assignments_by_role(&assignments, roles.len(), reserved),
            actions,
            roles,
            not_actions,
            permissions: self.permission_places(draft),
            subjects: subject_index,
            assignments,
            denies_by_route: RulesByRoute::new(
                denies
                    .iter()
                    .zip(0u32..)
                    .flat_map(|((_, _, scope), id)| subjects::routes_of(scope).map(move |route| (route, DenyId(id)))),
            ),
            denies: denies.into_iter().map(|(deny, _, _)| deny).collect(),
            asks_country,
            risk: draft.risk.clone(),
            calibrated: None,
            step_up: draft.step_up.clone(),
            has_grants_that_end,
        }
    }

    /// Names must be unique and writable in a header, a log and a command line.
    fn index<T, I: Copy>(
        &mut self,
        what: &str,
        entries: &[&T],
        name: impl Fn(&T) -> &Placed<String>,
        id: impl Fn(u32) -> I,
    ) -> HashMap<String, I> {
        let mut seen: HashMap<&str, Position> = HashMap::with_capacity(entries.len());
        let mut index = HashMap::with_capacity(entries.len());
        for (entry, number) in entries.iter().zip(0u32..) {
            let name = name(entry);
            if name.value.is_empty() || name.value.len() > MAX_NAME || name.value.contains(is_unfit_for_names) {
                let help = format!("a name has 1 to {MAX_NAME} bytes without control characters or commas");
                self.error(
                    name.at,
                    ProblemKind::BadName,
                    format!("`{}` cannot be a name", name.value.escape_debug()),
                    Some(help),
                );
            }
            match seen.get(name.value.as_str()) {
                Some(first) => {
                    let (at, other) = if *first <= name.at { (name.at, *first) } else { (*first, name.at) };
                    self.problems.push(Problem {
                        at,
                        severity: Severity::Error,
                        kind: ProblemKind::DuplicateName,
                        message: format!("two {what} entries are named `{}`", name.value),
                        help: Some("names are ids: give one of them another".into()),
                        related: vec![(other, "first named here".into())],
                    });
                }
                None => {
                    seen.insert(&name.value, name.at);
                    index.insert(name.value.clone(), id(number));
                }
            }
        }
        index
    }

    fn resolve<I: Copy>(&mut self, what: &str, name: &Placed<String>, index: &HashMap<String, I>) -> Option<I> {
        let found = index.get(&name.value).copied();
        if found.is_none() {
            let near = (self.problems.len() < MOST_SUGGESTIONS)
                .then(|| nearest_name(&name.value, index.keys().map(String::as_str)))
                .flatten();
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None if index.is_empty() => format!("there is no [[{what}]] at all"),
                None => format!("add a [[{what}]] of that name"),
            };
            let message = format!("there is no {what} named `{}`", name.value.escape_debug());
            self.error(name.at, ProblemKind::UnknownReference, message, Some(help));
        }
        found
    }

    fn parsed<T>(
        &mut self,
        kind: ProblemKind,
        text: &Placed<String>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<(T, Position)> {
        match parse(&text.value) {
            Ok(value) => Some((value, text.at)),
            Err(message) => {
                self.error(text.at, kind, message, None);
                None
            }
        }
    }

    fn parsed_pattern(&mut self, text: &Placed<String>) -> Option<(Pattern, Position)> {
        if Pattern::looks_mistaken(&text.value) {
            self.literal_wildcard(text);
        }
        self.parsed(ProblemKind::BadPattern, text, Pattern::parse)
    }

    fn literal_wildcard(&mut self, text: &Placed<String>) {
        let message = format!("in `{}` a star or brace is part of a segment, where it means only itself", text.value);
        let help = "`*` or `{name}` alone is one whole segment, a final `**` is any number of them";
        self.warning(text.at, ProblemKind::LiteralWildcard, message, Some(help.into()));
    }

    /// The prefixes of all networks; none when they are too many, which is an error at the network that is one too many.
    fn bounded_prefixes<'d>(
        &mut self,
        networks: &[&NetworkDraft],
        prefixes: Vec<&'d [ipnet::IpNet]>,
    ) -> Vec<&'d [ipnet::IpNet]> {
        let totals = prefixes.iter().scan(0usize, |total, each| {
            *total = total.saturating_add(each.len());
            Some(*total)
        });
        let Some((network, _)) = networks.iter().zip(totals).find(|(_, total)| *total > MAX_PREFIXES) else {
            return prefixes;
        };
        let message =
            format!("with `{}` the networks have more than {MAX_PREFIXES} prefixes altogether", network.name.value);
        let help = "merge prefixes that stand beside each other, and name one network where several have the same ones";
        self.error(network.name.at, ProblemKind::TooMany, message, Some(help.into()));
        Vec::new()
    }

    fn rule(&self, kind: RuleKind, name: &Placed<String>) -> RuleRef {
        let file = self.sources.get(name.at.source as usize).cloned().unwrap_or_default();
        RuleRef { kind, name: name.value.as_str().into(), file, line: name.at.line }
    }

    fn error(&mut self, at: Position, kind: ProblemKind, message: String, help: Option<String>) {
        self.problems.push(Problem { at, severity: Severity::Error, kind, message, help, related: Vec::new() });
    }

    fn warning(&mut self, at: Position, kind: ProblemKind, message: String, help: Option<String>) {
        self.problems.push(Problem { at, severity: Severity::Warning, kind, message, help, related: Vec::new() });
    }
}

/// By route: whether a rule that covers it has a condition on the country.
fn asks_country<T>(assignments: &[Assignment], denies: &[(Deny, T, Scope)], routes: usize) -> Box<[bool]> {
    let mut asked = vec![false; routes];
    let granting = assignments.iter().map(|each| (&each.when, &each.scope));
    let denying = denies.iter().map(|(deny, _, scope)| (&deny.when, scope));
    for (_, scope) in granting.chain(denying).filter(|(when, _)| when.countries.is_some()) {
        match scope {
            Scope::All => asked.fill(true),
            Scope::Routes(routes) => {
                for route in routes {
                    if let Some(asked) = asked.get_mut(route.index()) {
                        *asked = true;
                    }
                }
            }
        }
    }
    asked.into_boxed_slice()
}

/// INVARIANT: ids are ranks by name, so the order of the file is forgotten here.
fn by_name<T>(entries: &[T], name: impl Fn(&T) -> &String) -> Vec<&T> {
    let mut sorted: Vec<&T> = entries.iter().collect();
    sorted.sort_by(|a, b| name(a).cmp(name(b)));
    sorted
}

fn is_unfit_for_names(character: char) -> bool {
    character.is_control() || character == ','
}
