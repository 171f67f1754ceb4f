//! The answer to a request with the rule that it rests on, and nothing else: for who decides very many again and counts by rule.

use crate::action::PatternId;
use crate::decision::RuleRef;
use crate::evaluate::*;
use crate::policy::*;
use crate::reason::{Outcome, Reason};
use crate::record::Silent;
use crate::request::AccessRequest;

/// An answer and what it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ruling<'p> {
    /// The answer.
    pub outcome: Outcome,
    /// Why it is refused; `None` for a permit.
    pub reason: Option<Reason>,
    /// The assignment that permits, or the rule that refuses, where one does.
    pub rule: Option<&'p RuleRef>,
}

/// The permission that a permit rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedPermission<'p> {
    /// Its number, which tells it from the others of this policy.
    pub index: u32,
    /// The role that has it, at the permission's own line.
    pub role: &'p RuleRef,
    /// Its actions, or the first of many, as they are written.
    pub actions: &'p str,
    /// The assignment that gives it; `None`: the role is held directly.
    pub assignment: Option<&'p RuleRef>,
}

impl Policy {
    /// The answer of [`Self::decide`] with the rule that it rests on. It allocates nothing.
    pub fn ruling(&self, request: &AccessRequest<'_>) -> Ruling<'_> {
        match self.evaluate(&View::new(self, request), &mut Silent) {
            Verdict::Permit(grant) => {
                let rule = grant.and_then(|id| self.rule(RuleId::Assignment(id)));
                Ruling { outcome: Outcome::Permit, reason: None, rule }
            }
            Verdict::Stop(stop) => Ruling {
                outcome: stop.outcome,
                reason: Some(stop.reason),
                rule: stop.rule.and_then(|rule| self.rule(rule)),
            },
        }
    }

    /// The stages that need no identity, likewise; `None` where none of them refuses.
    pub fn admission_ruling(&self, request: &AccessRequest<'_>) -> Option<Ruling<'_>> {
        let stop = self.admission(&View::without_action(self, request), &mut Silent)?;
        let rule = stop.rule.and_then(|rule| self.rule(rule));
        Some(Ruling { outcome: stop.outcome, reason: Some(stop.reason), rule })
    }

    /// The permission through which a request is permitted; `None` where it is not. Of several the first by number.
    pub fn used_permission(&self, request: &AccessRequest<'_>) -> Option<UsedPermission<'_>> {
        let view = View::new(self, request);
        let Verdict::Permit(grant) = self.evaluate(&view, &mut Silent) else { return None };
        let (route, resource) = self.resource_of(&view)?;
        let assignment = grant.and_then(|id| self.assignments.get(id.0 as usize));
        let index = match (assignment, view.caller(resource.authentication)) {
            (Some(assignment), _) => self.permission_of(assignment.role, &view),
            (None, Caller::Verified(principal)) => {
                self.direct_roles(principal, route).filter_map(|role| self.permission_of(role, &view)).min()
            }
            (None, Caller::Anonymous | Caller::SomeVerified) => None,
        }?;
        let place = self.permissions.get(index as usize)?;
        Some(UsedPermission {
            index,
            role: &place.rule,
            actions: &place.actions,
            assignment: assignment.map(|assignment| &assignment.rule),
        })
    }

    /// What a permitted request did, as the one action of its permission says it: `POST /reports/**`.
    pub fn used_action(&self, request: &AccessRequest<'_>) -> Option<String> {
        let used = self.used_permission(request)?;
        let view = View::new(self, request);
        let role = self.roles.get(self.role_by_name.get(&*used.role.name)?.0 as usize)?;
        let is_it = |pattern: &PatternId| {
            let mut tagged = role.actions.tagged().iter();
            tagged.any(|(other, mask, tag)| other == pattern && *tag == used.index && mask.holds(view.method))
        };
        let pattern = self.actions.pattern(view.matched.iter().find(is_it)?)?;
        Some(format!("{} {pattern}", request.method))
    }

    /// The first permission of a role that permits the action.
    fn permission_of(&self, role: RoleId, view: &View<'_>) -> Option<u32> {
        let role = self.roles.get(role.0 as usize)?;
        let permits = |permission: &u32| {
            let excluded = self.not_actions.get(*permission as usize);
            excluded.is_some_and(|excluded| !excluded.contains(&view.matched, view.method))
        };
        role.actions.tags(&view.matched, view.method).filter(permits).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::{AssignmentDraft, PolicyDraft, RoleDraft, RouteDraft};
    use crate::path::CanonicalPath;
    use crate::principal::Principal;
    use crate::request::IdentityFact;

    #[test]
    fn a_ruling_names_the_rule_and_the_permission() {
        let draft = PolicyDraft {
            routes: vec![RouteDraft::new("app", ["/**"])],
            roles: vec![RoleDraft::new("reader", ["GET /b", "GET /a/**"]), RoleDraft::new("writer", ["POST /a/**"])],
            assignments: vec![AssignmentDraft::new("alice-reads", "reader", ["user:alice"])],
            ..PolicyDraft::default()
        };
        let policy = Policy::compile(&draft).unwrap().0;
        let path = CanonicalPath::parse("/a/b").unwrap();
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        let alice = Principal::user("alice").with_role("writer");
        let check = |method: &str, rule: Option<&str>, permission: Option<(&str, Option<&str>)>| {
            let request = AccessRequest {
                identity: IdentityFact::Verified(&alice),
                ..AccessRequest::new(method, &path, policy.find_route("x", &path), now)
            };
            let ruling = policy.ruling(&request);
            assert_eq!((ruling.outcome, ruling.reason), policy.verdict(&request), "{method}");
            assert_eq!(ruling.rule.map(|rule| &*rule.name), rule, "{method}");
            let used = policy.used_permission(&request);
            let used = used.map(|used| (used.actions, used.assignment.map(|rule| &*rule.name)));
            assert_eq!(used, permission, "{method}");
            let action = permission.map(|_| format!("{method} /a/**"));
            assert_eq!(policy.used_action(&request), action, "{method}");
        };
        check("GET", Some("alice-reads"), Some(("GET /b, GET /a/**", Some("alice-reads"))));
        check("POST", None, Some(("POST /a/**", None)));
        check("PUT", None, None);
    }
}
