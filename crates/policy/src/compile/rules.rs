//! The rules about principals: groups, assignments and denies, with their scopes, periods and conditions.

use super::*;

impl Compiler {
    /// Declares the groups and their members. Returns, by subject so far, the groups that it is in: nobody joins one later.
    pub(super) fn groups(&mut self, drafts: &[&GroupDraft], subjects: &mut SubjectsBuilder) -> Vec<Box<[SubjectId]>> {
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
            return Vec::new();
        };
        for cycle in subjects.group_cycles(&closures) {
            let at = drafts
                .iter()
                .find(|draft| Some(&draft.name.value) == cycle.first())
                .map_or(Position::default(), |draft| draft.name.at);
            let message = format!("groups contain each other: {}; each has the members of all", cycle.join(", "));
            self.warning(at, ProblemKind::GroupCycle, message, None);
        }
        closures
    }

    pub(super) fn assignments(
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
            let mut when = self.conditions(&draft.when, &draft.name, names);
            when.activation = self.eligibility(draft);
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

    fn eligibility(&mut self, draft: &AssignmentDraft) -> Option<Arc<Eligibility>> {
        let rules = draft.activation?;
        if rules.max_s == 0 {
            let message = format!("`{}` can be activated for no time at all", draft.name.value);
            let help = "write a duration such as `max = \"4h\"`";
            self.error(draft.name.at, ProblemKind::BadPeriod, message, Some(help.into()));
        }
        Some(Arc::new(Eligibility { assignment: draft.name.value.as_str().into(), rules }))
    }

    pub(super) fn denies(
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
            if draft.when.assurance_mfa || draft.when.max_age_s.is_some() || draft.when.max_risk.is_some() {
                let message =
                    format!("deny `{}` cannot depend on `assurance`, `max_age` or `max_risk`", draft.name.value);
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

    pub(super) fn principals(
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

    pub(super) fn subject(&mut self, text: &Placed<String>, subjects: &mut SubjectsBuilder) -> Option<SubjectId> {
        let found = subjects.intern(&text.value);
        if found.is_none() {
            let message = format!("`{}` is not a principal", text.value.escape_debug());
            let help = "write `user:ID`, `service:ID`, `group:NAME`, `certificate:SAN`, `anyone` or `authenticated`";
            self.error(text.at, ProblemKind::BadPrincipal, message, Some(help.into()));
        }
        found
    }

    pub(super) fn scope(&mut self, draft: &ScopeDraft, name: &Placed<String>, names: &Names) -> Scope {
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

    pub(super) fn conditions(&mut self, when: &WhenDraft, name: &Placed<String>, names: &Names) -> Conditions {
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
            max_age_s: when.max_age_s,
            max_risk: when.max_risk,
            activation: None,
        }
    }

    pub(super) fn network_list(&mut self, list: &[Placed<String>], names: &Names) -> Box<[NetworkId]> {
        let mut found: Vec<NetworkId> =
            list.iter().filter_map(|name| self.resolve("network", name, &names.networks)).collect();
        found.sort_unstable();
        found.dedup();
        found.into_boxed_slice()
    }

    pub(super) fn period(
        &mut self,
        name: &Placed<String>,
        starts: Option<jiff::Timestamp>,
        expires: Option<jiff::Timestamp>,
    ) {
        if let (Some(starts), Some(expires)) = (starts, expires)
            && starts >= expires
        {
            let message = format!("`{}` expires at {expires}, not after it starts at {starts}", name.value);
            self.error(name.at, ProblemKind::BadPeriod, message, None);
        }
    }
}

pub(super) fn assignments_by_role(
    assignments: &[Assignment],
    roles: usize,
    reserved: Option<RouteId>,
) -> Vec<RulesByRoute<AssignmentId>> {
    let mut by_role: Vec<Vec<(Option<RouteId>, AssignmentId)>> = vec![Vec::new(); roles];
    for (assignment, id) in assignments.iter().zip(0u32..) {
        if !assignment.shadow
            && let Some(list) = by_role.get_mut(assignment.role.0 as usize)
        {
            list.extend(subjects::routes_of(&assignment.scope).map(|route| (route, AssignmentId(id))));
        }
    }
    by_role.into_iter().map(|rules| RulesByRoute::new(rules).but_named(reserved)).collect()
}
