//! From a draft to a policy: every reference resolved, every index built, and all problems reported at once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::action::{ActionSet, ActionTable, MethodMask, PatternId};
use crate::condition::Conditions;
use crate::decision::{RuleKind, RuleRef};
use crate::draft::*;
use crate::network::{NetworkId, NetworkIndex};
use crate::pattern::Pattern;
use crate::policy::*;
use crate::route::{HostPattern, RouteId, RouteTable};
use crate::suggest::nearest_name;

mod inheritance;
mod permissions;
mod subjects;

use subjects::SubjectsBuilder;

/// The longest name, in bytes.
const MAX_NAME: usize = 256;
/// The most actions of all roles together, with those they inherit.
const MAX_ROLE_ACTIONS: usize = 10_000_000;
/// After this many problems names that are near are no longer searched for: it costs a look at every name.
const MOST_SUGGESTIONS: usize = 200;

impl Policy {
    /// Compiles a draft.
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
        let mut subjects = SubjectsBuilder::default();
        self.groups(&groups, &mut subjects);
        let assignments = self.assignments(&assignments, &names, &mut subjects);
        let denies = self.denies(&denies, &names, &mut actions, &mut subjects);

        let subject_index = subjects.finish(&assignments, &denies);
        let network_facts = networks
            .iter()
            .map(|each| NetworkFacts { rule: self.rule(RuleKind::Network, &each.name), unknown: each.unknown })
            .collect();
        // What a network held before it became unknown proves nothing: unknown is never a yes.
        let prefixes: Vec<&[ipnet::IpNet]> =
            networks.iter().map(|each| if each.unknown { &[][..] } else { &each.prefixes }).collect();
        Policy {
            version: draft.version,
            sha256: draft.sha256.clone(),
            routes,
            route_names: draft.routes.iter().map(|route| route.name.value.as_str().into()).collect(),
            resources,
            networks: NetworkIndex::build(&prefixes),
            network_facts,
            role_by_name: roles.iter().zip(0..).map(|(role, id)| (role.rule.name.clone(), RoleId(id))).collect(),
            roles_by_pattern: roles_by_pattern(&roles, actions.pattern_count()),
            assignments_by_role: assignments_by_role(&assignments, roles.len()),
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
            risk: draft.risk.clone(),
            step_up: draft.step_up.clone(),
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

    fn routes(&mut self, drafts: &[RouteDraft]) -> RouteTable {
        let mut table = RouteTable::default();
        for (draft, number) in drafts.iter().zip(0u32..) {
            let hosts: Vec<(HostPattern, Position)> = if draft.hosts.is_empty() {
                vec![(HostPattern::Any, draft.name.at)]
            } else {
                draft
                    .hosts
                    .iter()
                    .filter_map(|host| self.parsed(ProblemKind::BadHost, host, HostPattern::parse))
                    .collect()
            };
            let paths: Vec<(Pattern, Position)> = if draft.paths.is_empty() {
                vec![(Pattern::everything(), draft.name.at)]
            } else {
                draft.paths.iter().filter_map(|path| self.parsed_pattern(path)).collect()
            };
            for (host, _) in &hosts {
                for (path, at) in &paths {
                    if let Err(other) = table.insert(host, path, RouteId(number)) {
                        self.equivalent_routes(drafts, draft, other, *at);
                    }
                }
            }
        }
        table
    }

    fn equivalent_routes(&mut self, drafts: &[RouteDraft], draft: &RouteDraft, other: RouteId, at: Position) {
        let Some(first) = drafts.get(other.index()) else { return };
        self.problems.push(Problem {
            at,
            severity: Severity::Error,
            kind: ProblemKind::EquivalentRoutes,
            message: format!(
                "routes `{}` and `{}` have the same host and an equivalent path, so no request can tell them apart",
                first.name.value, draft.name.value
            ),
            help: Some("make one path or host more specific, or remove it".into()),
            related: vec![(first.name.at, "the other route".into())],
        });
    }

    fn resources(&mut self, drafts: &[ResourceDraft], routes: usize, names: &Names) -> Vec<Resource> {
        let mut resources = vec![Resource::default(); routes];
        let mut seen: HashMap<RouteId, Position> = HashMap::new();
        for draft in drafts {
            let allow = self.network_list(&draft.allow, names);
            let deny = self.network_list(&draft.deny, names);
            let Some(route) = self.resolve("route", &draft.route, &names.routes) else { continue };
            if let Some(first) = seen.insert(route, draft.route.at) {
                self.problems.push(Problem {
                    at: draft.route.at,
                    severity: Severity::Error,
                    kind: ProblemKind::DuplicateName,
                    message: format!("route `{}` has two resource entries", draft.route.value),
                    help: Some("merge them into one".into()),
                    related: vec![(first, "the first one".into())],
                });
            }
            if let Some(slot) = resources.get_mut(route.index()) {
                *slot = Resource {
                    rule: Some(self.rule(RuleKind::Resource, &draft.route)),
                    authentication: draft.authentication,
                    allow,
                    deny,
                    sensitivity: draft.sensitivity,
                    shadow: draft.mode == Mode::Shadow,
                };
            }
        }
        resources
    }

    fn roles(
        &mut self,
        drafts: &[&RoleDraft],
        names: &Names,
        actions: &mut ActionTable,
    ) -> (Vec<Role>, Vec<ActionSet>) {
        let mut not_actions = Vec::new();
        let mut own: Vec<Vec<(PatternId, MethodMask, u32)>> = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let mut mine = Vec::new();
            for permission in &draft.permissions {
                let tag = u32::try_from(not_actions.len()).unwrap_or(u32::MAX);
                mine.extend(
                    self.actions(&permission.actions, actions).into_iter().map(|(pattern, mask)| (pattern, mask, tag)),
                );
                let excluded = self.actions(&permission.not_actions, actions);
                not_actions
                    .push(ActionSet::new(excluded.into_iter().map(|(pattern, mask)| (pattern, mask, 0)).collect()));
                if permission.actions.is_empty() {
                    self.error(
                        draft.name.at,
                        ProblemKind::Empty,
                        format!("a permission of role `{}` has no actions", draft.name.value),
                        None,
                    );
                }
            }
            own.push(mine);
        }
        let parents: Vec<Vec<RoleId>> = drafts
            .iter()
            .map(|draft| draft.inherits.iter().filter_map(|name| self.resolve("role", name, &names.roles)).collect())
            .collect();
        let mut closures = self.role_closures(drafts, &parents);
        let size = |closure: &Vec<RoleId>| -> usize {
            closure.iter().filter_map(|role| own.get(role.0 as usize)).map(Vec::len).sum()
        };
        if closures.iter().map(size).sum::<usize>() > MAX_ROLE_ACTIONS {
            let at = drafts.first().map_or(Position::default(), |draft| draft.name.at);
            let message =
                format!("the roles have more than {MAX_ROLE_ACTIONS} actions altogether, inherited ones included");
            self.error(at, ProblemKind::TooMany, message, Some("inherit from fewer roles".into()));
            closures.iter_mut().for_each(Vec::clear);
        }
        let roles = drafts
            .iter()
            .zip(closures)
            .map(|(draft, closure)| Role {
                rule: self.rule(RuleKind::Role, &draft.name),
                actions: ActionSet::new(
                    closure.iter().filter_map(|role| own.get(role.0 as usize)).flatten().copied().collect(),
                ),
            })
            .collect();
        (roles, not_actions)
    }

    fn actions(&mut self, texts: &[Placed<String>], table: &mut ActionTable) -> Vec<(PatternId, MethodMask)> {
        let mut found = Vec::with_capacity(texts.len());
        for text in texts {
            if text.value.split_once(' ').is_some_and(|(_, pattern)| Pattern::looks_mistaken(pattern)) {
                self.literal_wildcard(text);
            }
            match table.intern(&text.value) {
                Ok(action) => found.push(action),
                Err(message) => self.error(
                    text.at,
                    ProblemKind::BadAction,
                    message,
                    Some("write `METHOD PATTERN`, such as `GET /api/invoices/**`".into()),
                ),
            }
        }
        found
    }

    fn groups(&mut self, drafts: &[&GroupDraft], subjects: &mut SubjectsBuilder) {
        for draft in drafts {
            let group = subjects.declare_group(&draft.name.value);
            for member in &draft.members {
                if let Some(member) = self.subject(member, subjects) {
                    subjects.join(member, group);
                }
            }
        }
        let Some(closures) = subjects.closures() else {
            let at = drafts.first().map_or(Position::default(), |draft| draft.name.at);
            let message =
                format!("the groups have more than {} members altogether, nested ones included", subjects::MAX_NESTED);
            self.error(at, ProblemKind::TooMany, message, Some("nest groups less".into()));
            return;
        };
        for cycle in subjects.group_cycles(&closures) {
            let at = drafts
                .iter()
                .find(|draft| Some(&draft.name.value) == cycle.first())
                .map_or(Position::default(), |draft| draft.name.at);
            let message = format!("groups contain each other: {}; each has the members of all", cycle.join(", "));
            self.warning(at, ProblemKind::GroupCycle, message, None);
        }
    }

    fn assignments(
        &mut self,
        drafts: &[&AssignmentDraft],
        names: &Names,
        subjects: &mut SubjectsBuilder,
    ) -> Vec<Assignment> {
        let mut assignments = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let role = self.resolve("role", &draft.role, &names.roles);
            let principals = self.principals(&draft.principals, &draft.name, subjects);
            let scope = self.scope(&draft.scope, &draft.name, names);
            self.period(&draft.name, draft.starts, draft.expires);
            let when = self.conditions(&draft.when, &draft.name, names);
            assignments.push(Assignment {
                rule: self.rule(RuleKind::Assignment, &draft.name),
                // A role that is not there was reported: the policy will not be used.
                role: role.unwrap_or(RoleId(u32::MAX)),
                principals,
                scope,
                period: Period { starts: draft.starts, expires: draft.expires },
                when,
                shadow: draft.mode == Mode::Shadow,
            });
        }
        assignments
    }

    fn denies(
        &mut self,
        drafts: &[&DenyDraft],
        names: &Names,
        table: &mut ActionTable,
        subjects: &mut SubjectsBuilder,
    ) -> Vec<(Deny, Box<[SubjectId]>, Scope)> {
        let mut denies = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let principals = self.principals(&draft.principals, &draft.name, subjects);
            let scope = self.scope(&draft.scope, &draft.name, names);
            self.period(&draft.name, draft.starts, draft.expires);
            if draft.when.assurance_mfa || draft.when.max_risk.is_some() {
                let message = format!("deny `{}` cannot depend on `assurance` or `max_risk`", draft.name.value);
                self.error(
                    draft.name.at,
                    ProblemKind::BadCondition,
                    message,
                    Some("put the condition on the assignments instead".into()),
                );
            }
            if draft.actions.is_empty() {
                self.error(
                    draft.name.at,
                    ProblemKind::Empty,
                    format!("deny `{}` has no actions", draft.name.value),
                    Some("write `actions = [\"* /**\"]` to forbid everything".into()),
                );
            }
            let actions = self.actions(&draft.actions, table);
            let deny = Deny {
                rule: self.rule(RuleKind::Deny, &draft.name),
                actions: ActionSet::new(actions.into_iter().map(|(pattern, mask)| (pattern, mask, 0)).collect()),
                period: Period { starts: draft.starts, expires: draft.expires },
                when: self.conditions(&draft.when, &draft.name, names),
                explain: draft.explain.clone(),
                shadow: draft.mode == Mode::Shadow,
            };
            denies.push((deny, principals, scope));
        }
        denies
    }

    fn principals(
        &mut self,
        texts: &[Placed<String>],
        name: &Placed<String>,
        subjects: &mut SubjectsBuilder,
    ) -> Box<[SubjectId]> {
        if texts.is_empty() {
            self.error(name.at, ProblemKind::Empty, format!("`{}` names no principals", name.value), None);
        }
        let mut found: Vec<SubjectId> = texts.iter().filter_map(|text| self.subject(text, subjects)).collect();
        // By name, and not by the order in which the file mentions them.
        found.sort_by(|a, b| subjects.name(*a).cmp(subjects.name(*b)));
        found.dedup();
        found.into_boxed_slice()
    }

    fn subject(&mut self, text: &Placed<String>, subjects: &mut SubjectsBuilder) -> Option<SubjectId> {
        let found = subjects.intern(&text.value);
        if found.is_none() {
            let message = format!("`{}` is not a principal", text.value.escape_debug());
            let help = "write `user:ID`, `service:ID`, `group:NAME`, `certificate:SAN`, `anyone` or `authenticated`";
            self.error(text.at, ProblemKind::BadPrincipal, message, Some(help.into()));
        }
        found
    }

    fn scope(&mut self, draft: &ScopeDraft, name: &Placed<String>, names: &Names) -> Scope {
        match draft {
            ScopeDraft::All => Scope::All,
            ScopeDraft::Routes(routes) => {
                if routes.is_empty() {
                    let help = "name a route, a list of routes, or \"*\"";
                    self.error(
                        name.at,
                        ProblemKind::Empty,
                        format!("`{}` has no scope", name.value),
                        Some(help.into()),
                    );
                }
                let mut found: Vec<RouteId> =
                    routes.iter().filter_map(|route| self.resolve("route", route, &names.routes)).collect();
                found.sort_unstable();
                found.dedup();
                Scope::Routes(found.into_boxed_slice())
            }
        }
    }

    fn conditions(&mut self, when: &WhenDraft, name: &Placed<String>, names: &Names) -> Conditions {
        let no_networks = when.networks.as_ref().is_some_and(Vec::is_empty);
        let no_countries = when.countries.as_ref().is_some_and(Vec::is_empty);
        for (what, _) in [("networks", no_networks), ("countries", no_countries)].iter().filter(|(_, empty)| *empty) {
            // A deny would never apply, and nobody would notice.
            let message = format!("`when.{what}` of `{}` is empty, so it never holds", name.value);
            self.error(name.at, ProblemKind::Empty, message, Some("name one, or leave it out".into()));
        }
        let mut countries = when.countries.clone();
        if let Some(countries) = &mut countries {
            countries.sort_unstable();
        }
        Conditions {
            networks: when.networks.as_ref().map(|list| self.network_list(list, names)),
            hours: when.hours.as_ref().map(|hours| Box::new(hours.value.clone())),
            countries: countries.map(Vec::into_boxed_slice),
            compliant_device: when.compliant_device,
            assurance_mfa: when.assurance_mfa,
            max_risk: when.max_risk,
        }
    }

    fn network_list(&mut self, list: &[Placed<String>], names: &Names) -> Box<[NetworkId]> {
        let mut found: Vec<NetworkId> =
            list.iter().filter_map(|name| self.resolve("network", name, &names.networks)).collect();
        found.sort_unstable();
        found.dedup();
        found.into_boxed_slice()
    }

    fn period(&mut self, name: &Placed<String>, starts: Option<jiff::Timestamp>, expires: Option<jiff::Timestamp>) {
        if let (Some(starts), Some(expires)) = (starts, expires)
            && starts >= expires
        {
            let message = format!("`{}` expires at {expires}, not after it starts at {starts}", name.value);
            self.error(name.at, ProblemKind::BadPeriod, message, None);
        }
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
        self.warning(text.at, ProblemKind::BadPattern, message, Some(help.into()));
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

/// INVARIANT: ids are ranks by name, so the order of the file is forgotten here.
fn by_name<T>(entries: &[T], name: impl Fn(&T) -> &String) -> Vec<&T> {
    let mut sorted: Vec<&T> = entries.iter().collect();
    sorted.sort_by(|a, b| name(a).cmp(name(b)));
    sorted
}

fn is_unfit_for_names(character: char) -> bool {
    character.is_control() || character == ','
}

fn roles_by_pattern(roles: &[Role], patterns: usize) -> Vec<RolesByMethod> {
    let mut by_pattern: Vec<BTreeMap<MethodMask, Vec<RoleId>>> = vec![BTreeMap::new(); patterns];
    for (role, id) in roles.iter().zip(0u32..) {
        for (pattern, mask) in role.actions.actions() {
            if let Some(by_method) = by_pattern.get_mut(pattern.0 as usize) {
                let list = by_method.entry(mask).or_default();
                if list.last() != Some(&RoleId(id)) {
                    list.push(RoleId(id));
                }
            }
        }
    }
    by_pattern
        .into_iter()
        .map(|by_method| by_method.into_iter().map(|(mask, list)| (mask, list.into_boxed_slice())).collect())
        .collect()
}

fn assignments_by_role(assignments: &[Assignment], roles: usize) -> Vec<RulesByRoute<AssignmentId>> {
    let mut by_role: Vec<Vec<(Option<RouteId>, AssignmentId)>> = vec![Vec::new(); roles];
    for (assignment, id) in assignments.iter().zip(0u32..) {
        if !assignment.shadow
            && let Some(list) = by_role.get_mut(assignment.role.0 as usize)
        {
            list.extend(subjects::routes_of(&assignment.scope).map(|route| (route, AssignmentId(id))));
        }
    }
    by_role.into_iter().map(RulesByRoute::new).collect()
}
