//! Whether one deny takes a grant away whole: all its principals, on all its routes, whatever its role permits.

use std::collections::{HashMap, HashSet};

use crate::action::ActionSet;
use crate::draft::{DenyDraft, ScopeDraft};
use crate::lint::findings::Budget;
use crate::lint::reach::Reach;
use crate::lint::{View, covered, ranked};
use crate::policy::{Assignment, Period, RoleId, Scope, SubjectId};
use crate::route::RouteId;

/// Denies that are held against a grant, and actions against a deny.
const MOST_STEPS: usize = 3_000_000;

/// The denies that hold without a condition.
pub(super) struct Denied<'v, 'a> {
    view: &'v View<'a>,
    denies: Vec<Unconditional<'a>>,
    by_principal: HashMap<SubjectId, Vec<usize>>,
    /// By role, scope and deny.
    covers: HashMap<(RoleId, Option<&'a [RouteId]>, usize), bool>,
    budget: Budget,
}

struct Unconditional<'a> {
    draft: &'a DenyDraft,
    principals: HashSet<SubjectId>,
    /// `None`: every route.
    routes: Option<HashSet<RouteId>>,
    actions: &'a ActionSet,
    period: Period,
}

impl<'v, 'a> Denied<'v, 'a> {
    pub(super) fn new(view: &'v View<'a>) -> Self {
        let drafts = ranked(&view.draft.denies, |each| &each.name);
        let routes: HashMap<&str, RouteId> =
            view.policy.route_names.iter().zip(0u32..).map(|(name, id)| (&**name, RouteId(id))).collect();
        let mut denies = Vec::new();
        let mut by_principal: HashMap<SubjectId, Vec<usize>> = HashMap::new();
        for (draft, deny) in drafts.into_iter().zip(&view.policy.denies) {
            if deny.shadow || !deny.when.is_empty() {
                continue;
            }
            let principals: HashSet<SubjectId> =
                draft.principals.iter().filter_map(|each| view.subject(&each.value)).collect();
            for principal in &principals {
                by_principal.entry(*principal).or_default().push(denies.len());
            }
            let routes = match &draft.scope {
                ScopeDraft::All => None,
                ScopeDraft::Routes(names) => {
                    Some(names.iter().filter_map(|name| routes.get(name.value.as_str()).copied()).collect())
                }
            };
            denies.push(Unconditional { draft, principals, routes, actions: &deny.actions, period: deny.period });
        }
        Self { view, denies, by_principal, covers: HashMap::new(), budget: Budget::new(MOST_STEPS) }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.budget.is_spent()
    }

    /// The first deny by name that takes the grant away.
    pub(super) fn deny_over(&mut self, assignment: &'a Assignment, reach: &Reach<'_>) -> Option<&'a DenyDraft> {
        let first = assignment.principals.first().filter(|_| !self.denies.is_empty())?;
        let mut candidates: Vec<usize> = Vec::new();
        for subject in self.view.is_also(*first) {
            let numbers = self.by_principal.get(&subject).map_or(&[][..], Vec::as_slice);
            if !self.budget.spend(numbers.len()) {
                return None;
            }
            candidates.extend_from_slice(numbers);
        }
        if candidates.is_empty() {
            return None;
        }
        candidates.sort_unstable();
        candidates.dedup();
        let everyone: Vec<Vec<SubjectId>> =
            assignment.principals.iter().map(|principal| self.view.is_also(*principal)).collect();
        let found = candidates.into_iter().find(|number| {
            self.budget.spend(everyone.len())
                && self.denies.get(*number).is_some_and(|deny| self.names_all(deny, assignment, &everyone))
                && self.forbids_all(*number, assignment, reach)
        })?;
        self.denies.get(found).map(|deny| deny.draft)
    }

    /// Whether the deny is for everyone of the grant, on every route of it, for as long as the grant is.
    fn names_all(&self, deny: &Unconditional<'_>, assignment: &Assignment, everyone: &[Vec<SubjectId>]) -> bool {
        let routes = match (&deny.routes, &assignment.scope) {
            (None, _) => true,
            (Some(_), Scope::All) => false,
            (Some(denied), Scope::Routes(routes)) => routes.iter().all(|route| denied.contains(route)),
        };
        routes
            && self.outlasts(deny.period, assignment.period)
            && everyone.iter().all(|also| also.iter().any(|subject| deny.principals.contains(subject)))
    }

    fn outlasts(&self, deny: Period, grant: Period) -> bool {
        let begins =
            deny.starts.is_none_or(|starts| grant.starts.max(self.view.facts.now).is_some_and(|from| from >= starts));
        let ends = deny.expires.is_none_or(|expires| grant.expires.is_some_and(|end| end <= expires));
        begins && ends
    }

    /// Whether the deny forbids whatever the role permits on the routes of the grant.
    fn forbids_all(&mut self, number: usize, assignment: &'a Assignment, reach: &Reach<'_>) -> bool {
        let scope = match &assignment.scope {
            Scope::All => None,
            Scope::Routes(routes) => Some(&**routes),
        };
        let key = (assignment.role, scope, number);
        if let Some(known) = self.covers.get(&key) {
            return *known;
        }
        let (view, Some(deny)) = (self.view, self.denies.get(number)) else { return false };
        let forbidden =
            || deny.actions.actions().filter_map(|(pattern, methods)| Some((view.pattern(pattern)?, methods)));
        let mut any = false;
        let all = view.live_actions(assignment.role).all(|action| {
            any = true;
            if !self.budget.spend(1 + deny.actions.tagged().len()) {
                return false;
            }
            if covered(forbidden(), action.pattern, action.methods) {
                return true;
            }
            // Only what leads to a route of the grant must be forbidden.
            self.budget.spend(reach.size(&assignment.scope).saturating_mul(deny.actions.tagged().len()))
                && reach.paths(action.pattern, &assignment.scope).all(|(_, common)| {
                    view.is_taken_out(&common, action.methods, action.permission)
                        || covered(forbidden(), &common, action.methods)
                })
        });
        self.covers.insert(key, any && all);
        any && all
    }
}
