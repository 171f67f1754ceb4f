//! Grants that another grant includes: the same principals, on the same routes, with a role that permits no more.

use std::collections::HashMap;

use crate::action::MethodMask;
use crate::draft::*;
use crate::lint::findings::{Budget, Findings};
use crate::lint::{Action, View};
use crate::policy::{Assignment, RoleId, Scope, SubjectId};
use crate::route::RouteId;

/// Grants that are held against each other, and actions of roles.
const MOST_STEPS: usize = 4_000_000;

/// Reports each enforced grant without conditions that another one includes. Of two that include each other the later by
/// name is reported.
pub(super) fn check(view: &View<'_>, dead: &[bool], findings: &mut Findings) {
    let mut check =
        Check { view, by_principal: HashMap::new(), contains: HashMap::new(), budget: Budget::new(MOST_STEPS) };
    for (index, assignment) in view.policy.assignments.iter().enumerate() {
        if is_plain(assignment) && dead.get(index) == Some(&false) {
            for principal in &assignment.principals {
                check.by_principal.entry(*principal).or_default().push(index);
            }
        }
    }
    for (index, (draft, assignment)) in view.assignments.iter().zip(&view.policy.assignments).enumerate() {
        if !is_plain(assignment) || dead.get(index) != Some(&false) {
            continue;
        }
        let Some(other) = check.grant_over(index, assignment).and_then(|other| view.assignments.get(other)) else {
            continue;
        };
        let message = format!(
            "the assignment `{}` adds nothing: `{}` grants `{}` to the same principals on the same routes",
            draft.name.value, other.name.value, other.role.value
        );
        let related = vec![(other.name.at, "this one includes it".to_owned())];
        let help = "remove it";
        findings.add_related(ProblemKind::RedundantGrant, draft.name.at, message, help, related);
    }
    if check.budget.is_spent() {
        findings.incomplete("whether grants include each other");
    }
}

/// Enforced, always and without conditions.
fn is_plain(assignment: &Assignment) -> bool {
    !assignment.shadow
        && assignment.when.is_empty()
        && assignment.period.starts.is_none()
        && assignment.period.expires.is_none()
}

struct Check<'v, 'a> {
    view: &'v View<'a>,
    /// Grants that may include others, by whom they name.
    by_principal: HashMap<SubjectId, Vec<usize>>,
    /// By two roles: the first permits all that the second does.
    contains: HashMap<(RoleId, RoleId), bool>,
    budget: Budget,
}

impl Check<'_, '_> {
    fn grant_over(&mut self, index: usize, assignment: &Assignment) -> Option<usize> {
        let first = assignment.principals.first()?;
        let mut candidates: Vec<usize> = Vec::new();
        for subject in self.view.is_also(*first) {
            let grants = self.by_principal.get(&subject).map_or(&[][..], Vec::as_slice);
            if !self.budget.spend(1 + grants.len()) {
                return None;
            }
            candidates.extend(grants.iter().filter(|other| **other != index && self.may_include(**other, assignment)));
        }
        candidates.sort_unstable();
        candidates.dedup();
        if candidates.is_empty() {
            return None;
        }
        let everyone: Vec<Vec<SubjectId>> =
            assignment.principals.iter().map(|principal| self.view.is_also(*principal)).collect();
        candidates
            .into_iter()
            .find(|other| self.budget.spend(everyone.len()) && self.includes(*other, index, assignment, &everyone))
    }

    /// A quick no for the many that are on other routes.
    fn may_include(&self, other: usize, assignment: &Assignment) -> bool {
        self.view
            .policy
            .assignments
            .get(other)
            .is_some_and(|other| is_within(&assignment.scope, &other.scope, self.view.policy.reserved))
    }

    fn includes(&mut self, other: usize, index: usize, assignment: &Assignment, everyone: &[Vec<SubjectId>]) -> bool {
        let policy = self.view.policy;
        let Some(wider) = policy.assignments.get(other) else { return false };
        let named = |also: &Vec<SubjectId>| wider.principals.iter().any(|each| also.binary_search(each).is_ok());
        if !everyone.iter().all(named) || !self.permits_all(wider.role, assignment.role) {
            return false;
        }
        // Of two that include each other one stays.
        let mutual = is_within(&wider.scope, &assignment.scope, self.view.policy.reserved)
            && wider.principals.iter().all(|subject| {
                let also = self.view.is_also(*subject);
                assignment.principals.iter().any(|each| also.binary_search(each).is_ok())
            })
            && self.permits_all(assignment.role, wider.role);
        !mutual || other < index
    }

    /// Whether the role permits all that the other one does. When the budget is spent, it does not.
    fn permits_all(&mut self, role: RoleId, other: RoleId) -> bool {
        if role == other {
            return true;
        }
        if let Some(known) = self.contains.get(&(role, other)) {
            return *known;
        }
        let view = self.view;
        let its = view.policy.roles.get(role.0 as usize).map_or(&[][..], |role| role.actions.tagged());
        let all = view.live_actions(other).all(|action| {
            let same = its.binary_search_by_key(&(action.id, action.permission), |(id, _, tag)| (*id, *tag));
            // What is inherited has the very same permission.
            let inherited =
                same.ok().and_then(|at| its.get(at)).is_some_and(|(_, mask, _)| mask.covers(action.methods));
            inherited || (self.budget.spend(its.len()) && permits(view, role, &action))
        });
        self.contains.insert((role, other), all);
        all
    }
}

/// Whether the role permits what is left of another one's action: each method by actions that alone hold all its paths.
fn permits(view: &View<'_>, role: RoleId, action: &Action<'_>) -> bool {
    let mut held = MethodMask::NONE;
    for own in view.actions(role) {
        if own.pattern.covers(action.pattern) && own.methods.meets(action.methods) && keeps(view, &own, action) {
            held = held.union(own.methods);
            if held.covers(action.methods) {
                return true;
            }
        }
    }
    false
}

/// Whether the permission of `own` takes out nothing of the action but what the action's own permission takes out as well.
fn keeps(view: &View<'_>, own: &Action<'_>, action: &Action<'_>) -> bool {
    view.not_actions(own.permission).all(|(pattern, methods)| {
        if !methods.meets(action.methods) {
            return true;
        }
        let Some(common) = pattern.intersection(action.pattern) else { return true };
        view.is_taken_out(&common, action.methods, action.permission)
    })
}

/// `reserved` is the route that a grant on every route does not cover.
fn is_within(scope: &Scope, other: &Scope, reserved: Option<RouteId>) -> bool {
    match (scope, other) {
        (Scope::All, Scope::All) => true,
        (Scope::Routes(own), Scope::All) => reserved.is_none_or(|route| own.binary_search(&route).is_err()),
        (Scope::All, Scope::Routes(_)) => false,
        (Scope::Routes(own), Scope::Routes(its)) => own.iter().all(|route| its.binary_search(route).is_ok()),
    }
}
