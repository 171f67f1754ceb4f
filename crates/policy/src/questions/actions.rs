//! What a role's actions amount to on one route: without what is taken out again, and without what can never happen there.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use crate::action::{Action, MethodMask, PatternId};
use crate::decision::RuleRef;
use crate::pattern::Pattern;
use crate::policy::*;
use crate::route::HostPattern;

/// An action of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedAction {
    /// `METHOD PATTERN`, with the methods in the order of the alphabet. A literal segment is written so that a policy file
    /// would read it as the same.
    pub action: String,
    /// What the role's `not_actions` take out of it.
    pub except: Vec<String>,
    /// An unconditional deny in force that covers all of it, where one does.
    pub denied_by: Option<RuleRef>,
}

/// One action of a role, less what is wholly taken out again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EffectiveAction {
    pub(super) pattern: PatternId,
    pub(super) mask: MethodMask,
    pub(super) except: Vec<Action>,
}

/// The actions that can happen on one route; each role and pattern is looked at once.
pub(super) struct ActionsOnRoute<'a> {
    policy: &'a Policy,
    entries: Vec<(HostPattern, Pattern)>,
    reached: HashMap<PatternId, bool>,
    by_role: HashMap<RoleId, Rc<[EffectiveAction]>>,
}

impl<'a> ActionsOnRoute<'a> {
    /// For a route that is entered here.
    pub(super) fn new(policy: &'a Policy, entries: Vec<(HostPattern, Pattern)>) -> Self {
        Self { policy, entries, reached: HashMap::new(), by_role: HashMap::new() }
    }

    /// The hosts and the paths of the route.
    pub(super) fn places(&self) -> (Vec<String>, Vec<String>) {
        let hosts: BTreeSet<&HostPattern> = self.entries.iter().map(|(host, _)| host).collect();
        let paths: BTreeSet<&Pattern> = self.entries.iter().map(|(_, path)| path).collect();
        (hosts.iter().map(ToString::to_string).collect(), paths.iter().map(ToString::to_string).collect())
    }

    /// The actions of a role that can happen here, by text.
    pub(super) fn of_role(&mut self, role: RoleId) -> Rc<[EffectiveAction]> {
        if let Some(known) = self.by_role.get(&role) {
            return known.clone();
        }
        let mut actions = self.policy.effective_actions(role);
        actions.retain(|action| self.reaches(action.pattern));
        let policy = self.policy;
        // By text and not by number: numbers follow the order of the file.
        actions.sort_by_cached_key(|each| {
            (policy.action_text((each.pattern, each.mask)), policy.action_texts(&each.except))
        });
        let actions: Rc<[EffectiveAction]> = actions.into();
        self.by_role.insert(role, actions.clone());
        actions
    }

    /// The actions of a deny that can happen here, by text.
    pub(super) fn of_deny(&mut self, deny: &Deny) -> Vec<Action> {
        let mut actions: Vec<Action> = deny.actions.actions().filter(|(pattern, _)| self.reaches(*pattern)).collect();
        actions.sort_by_cached_key(|each| self.policy.action_text(*each));
        actions
    }

    fn reaches(&mut self, id: PatternId) -> bool {
        let (policy, entries) = (self.policy, &self.entries);
        *self.reached.entry(id).or_insert_with(|| {
            let pattern = policy.actions.pattern(id);
            pattern.is_some_and(|pattern| entries.iter().any(|entry| policy.routes.may_answer(entry, pattern)))
        })
    }
}

impl Policy {
    /// The actions of a role, each with what its own permission takes out of it.
    fn effective_actions(&self, role: RoleId) -> Vec<EffectiveAction> {
        let Some(role) = self.roles.get(role.0 as usize) else { return Vec::new() };
        let effective = |(pattern, mask, permission): (PatternId, MethodMask, u32)| {
            let excluded = self.not_actions.get(permission as usize)?;
            let text = self.actions.pattern(pattern)?;
            let near = |id: PatternId| self.actions.pattern(id).is_some_and(|other| other.meets(text));
            let near: Vec<Action> = excluded.actions().filter(|(id, _)| near(*id)).collect();
            let covering = |id: PatternId| self.actions.pattern(id).is_some_and(|other| other.covers(text));
            let mut whole = near.iter().filter(|(id, _)| covering(*id));
            let mask = whole.try_fold(mask, |left, (_, excluded)| left.without(*excluded))?;
            let except = near.into_iter().filter(|(_, excluded)| excluded.meets(mask)).collect();
            Some(EffectiveAction { pattern, mask, except })
        };
        let mut actions: Vec<EffectiveAction> = role.actions.tagged().iter().copied().filter_map(effective).collect();
        actions.sort();
        actions.dedup();
        actions
    }

    pub(super) fn action_text(&self, (pattern, mask): Action) -> String {
        self.actions.text(pattern, mask)
    }

    /// By text.
    pub(super) fn action_texts(&self, actions: &[Action]) -> Vec<String> {
        let mut texts: Vec<String> = actions.iter().map(|each| self.action_text(*each)).collect();
        texts.sort();
        texts
    }

    pub(crate) fn covers(&self, wide: Action, narrow: Action) -> bool {
        match (self.actions.pattern(wide.0), self.actions.pattern(narrow.0)) {
            (Some(pattern), Some(other)) => wide.1.covers(narrow.1) && pattern.covers(other),
            _ => false,
        }
    }
}
