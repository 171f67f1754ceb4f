//! Grants of everything, and routes that can be reached without a credential.

use std::collections::HashMap;

use crate::draft::*;
use crate::lint::findings::{Budget, Findings};
use crate::lint::reach::Reach;
use crate::lint::{View, listed};
use crate::pattern::Pattern;
use crate::policy::{RoleId, Scope, Subjects};
use crate::route::RouteId;

/// Paths of routes that are looked at.
const MOST_STEPS: usize = 2_000_000;

pub(super) fn check(view: &View<'_>, dead: &[bool], findings: &mut Findings) {
    broad_grants(view, dead, findings);
    public_routes(view, dead, findings);
}

/// Every method on every path, without a condition, to everybody or on every route.
fn broad_grants(view: &View<'_>, dead: &[bool], findings: &mut Findings) {
    let everything = Pattern::everything();
    let mut by_role: HashMap<RoleId, bool> = HashMap::new();
    for ((draft, assignment), dead) in view.assignments.iter().zip(&view.policy.assignments).zip(dead) {
        let known = view.names(&assignment.principals, Subjects::AUTHENTICATED);
        let everybody = view.names(&assignment.principals, Subjects::ANYONE);
        let everywhere = matches!(assignment.scope, Scope::All);
        if *dead || assignment.shadow || !assignment.when.is_empty() || !(known || everybody || everywhere) {
            continue;
        }
        let all = *by_role.entry(assignment.role).or_insert_with(|| {
            view.actions(assignment.role).any(|action| action.methods.is_any() && *action.pattern == everything)
        });
        if !all {
            continue;
        }
        let to = match (everybody, known) {
            (true, _) => " to anyone",
            (false, true) => " to everybody with a credential",
            (false, false) => "",
        };
        let on = if everywhere { " on every route" } else { "" };
        let message = format!("the assignment `{}` grants everything{to}{on}, without a condition", draft.name.value);
        let help = "name the methods and paths, the principals or the routes; or add a `when`";
        findings.add(ProblemKind::BroadGrant, draft.name.at, message, help);
    }
}

/// Routes that let somebody in without a credential, and do not say that this is meant.
fn public_routes(view: &View<'_>, dead: &[bool], findings: &mut Findings) {
    let mut resources: Vec<&ResourceDraft> = view.draft.resources.iter().collect();
    resources.sort_by(|a, b| a.route.value.cmp(&b.route.value));
    let mut open = None;
    for resource in resources {
        let route = &resource.route;
        match (resource.authentication, resource.public.value) {
            (AuthenticationRule::Required | AuthenticationRule::Certificate, true) => {
                let message = format!("`public` has no effect: the route `{}` demands a credential", route.value);
                let help = "remove it, or write `authentication = \"optional\"` or `\"none\"`";
                findings.add(ProblemKind::PublicWithoutEffect, resource.public.at, message, help);
            }
            (AuthenticationRule::None, false) => {
                let message = format!("the route `{}` is public: it looks at no credentials", route.value);
                let help = "if that is meant, write `public = true`; else remove `authentication = \"none\"`";
                findings.add(ProblemKind::PublicRoute, route.at, message, help);
            }
            (AuthenticationRule::Optional, false) => {
                // Networks that the route itself demands are a condition for everybody.
                if !resource.allow.is_empty() && resource.mode == Mode::Enforce {
                    continue;
                }
                let open = open.get_or_insert_with(|| Open::new(view, dead));
                open.report(view, resource, findings);
            }
            (AuthenticationRule::Required | AuthenticationRule::Certificate, false)
            | (AuthenticationRule::Optional | AuthenticationRule::None, true) => {}
        }
    }
    if open.is_some_and(|open| open.budget.is_spent()) {
        findings.incomplete("which routes are public");
    }
}

/// The grants to anyone, from wherever.
struct Open<'a> {
    grants: Vec<usize>,
    routes: HashMap<&'a str, RouteId>,
    reach: Reach<'a>,
    budget: Budget,
}

impl<'a> Open<'a> {
    fn new(view: &View<'a>, dead: &[bool]) -> Self {
        let grants = (view.policy.assignments.iter().enumerate())
            .filter(|(index, assignment)| {
                dead.get(*index) == Some(&false)
                    && !assignment.shadow
                    && assignment.when.networks.is_none()
                    && view.names(&assignment.principals, Subjects::ANYONE)
            })
            .map(|(index, _)| index)
            .collect();
        let routes = view.policy.route_names.iter().zip(0u32..).map(|(name, id)| (&**name, RouteId(id))).collect();
        Self { grants, routes, reach: Reach::new(view), budget: Budget::new(MOST_STEPS) }
    }

    fn report(&mut self, view: &View<'_>, resource: &ResourceDraft, findings: &mut Findings) {
        let Some(route) = self.routes.get(resource.route.value.as_str()).copied() else { return };
        let only = Scope::Routes(Box::new([route]));
        let mut open: Vec<&AssignmentDraft> = Vec::new();
        for index in &self.grants {
            let (Some(draft), Some(grant)) = (view.assignments.get(*index), view.policy.assignments.get(*index)) else {
                continue;
            };
            let covers = match &grant.scope {
                Scope::All => view.policy.reserved != Some(route),
                Scope::Routes(routes) => routes.binary_search(&route).is_ok(),
            };
            let actions = view.live_actions(grant.role);
            if self.budget.spend(1)
                && covers
                && self.reach.any_reaches(view, actions, &only, &mut self.budget) == Some(true)
            {
                open.push(draft);
            }
        }
        if open.is_empty() {
            return;
        }
        let names: Vec<&str> = open.iter().map(|draft| draft.name.value.as_str()).collect();
        let message = format!(
            "the route `{}` is public: without a credential {} {} something on it",
            resource.route.value,
            listed(&names, 3),
            if names.len() == 1 { "grants" } else { "grant" }
        );
        let help = "if that is meant, write `public = true`; else do not grant it to `anyone`";
        let related = open.iter().take(3).map(|draft| (draft.name.at, "granted to anyone here".to_owned())).collect();
        findings.add_related(ProblemKind::PublicRoute, resource.route.at, message, help, related);
    }
}
