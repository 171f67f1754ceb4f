//! Routes and what each demands.

use super::*;

impl Compiler {
    pub(super) fn routes(&mut self, drafts: &[RouteDraft]) -> RouteTable {
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
                    let narrow = table.most_visits(host) <= RouteTable::MAX_VISITS;
                    if let Err(other) = table.insert(host, path, RouteId(number)) {
                        self.equivalent_routes(drafts, draft, other, *at);
                    }
                    // Said once for each host, of the path that is one too many.
                    if narrow && table.most_visits(host) > RouteTable::MAX_VISITS {
                        self.too_wide_routes(host, *at);
                    }
                }
            }
        }
        table
    }

    fn too_wide_routes(&mut self, host: &HostPattern, at: Position) {
        let message = format!(
            "with this path the routes of host `{host}` have too many paths with `*` where others have a word: one request \
             could lead to more than {} places among them",
            RouteTable::MAX_VISITS
        );
        let help = "write fewer of them, or one path that covers several";
        self.error(at, ProblemKind::BadPattern, message, Some(help.into()));
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

    pub(super) fn resources(&mut self, drafts: &[ResourceDraft], routes: usize, names: &Names) -> Vec<Resource> {
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
            if draft.proof != ProofDraft::default() && draft.authentication == AuthenticationRule::None {
                let message =
                    format!("nobody authenticates on route `{}`, which looks at no credentials", draft.route.value);
                let help = "remove `assurance` and `max_age`, or `authentication = \"none\"`";
                self.error(draft.route.at, ProblemKind::BadCondition, message, Some(help.into()));
            }
            if let Some(slot) = resources.get_mut(route.index()) {
                *slot = Resource {
                    rule: Some(self.rule(RuleKind::Resource, &draft.route)),
                    authentication: draft.authentication,
                    allow,
                    deny,
                    sensitivity: draft.sensitivity,
                    proof: draft.proof,
                    shadow: draft.mode == Mode::Shadow,
                    requestable: draft.requestable,
                };
            }
        }
        resources
    }
}
