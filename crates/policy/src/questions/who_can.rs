//! All who may do one thing: every subject that an assignment names, with what it still needs, and whom a deny refuses.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::SignedDuration;

use crate::evaluate::{Caller, View};
use crate::policy::*;
use crate::principal::{Device, Principal, PrincipalKind};
use crate::questions::{Circumstances, MOST_ENTRIES};
use crate::request::{AccessRequest, IdentityFact};
use crate::route::RouteId;

mod answer;
mod subject;

pub use answer::*;

impl Policy {
    /// All who may do one thing: every subject that an assignment names, under which conditions, and whom a deny refuses.
    ///
    /// Whoever is permitted by [`Policy::decide`] is one of the allowed subjects, or holds one of the roles directly. That
    /// holds for the same facts, without bans, and for an answer that leaves nothing out. The roles and their assignments
    /// are found through indexes, so the cost grows with what the answer holds.
    ///
    /// ```
    /// # use portcullis_policy::*;
    /// let draft = PolicyDraft {
    ///     routes: vec![RouteDraft::new("billing", ["/api/**"])],
    ///     roles: vec![RoleDraft::new("reader", ["GET /api/invoices/**"])],
    ///     groups: vec![GroupDraft { name: "finance".to_owned().into(), members: vec!["user:alice".to_owned().into()] }],
    ///     assignments: vec![AssignmentDraft::new("finance-reads", "reader", ["group:finance"])],
    ///     ..PolicyDraft::default()
    /// };
    /// let (policy, _) = Policy::compile(&draft).expect("the draft has no errors");
    /// let path = CanonicalPath::parse("/api/invoices/7").expect("a canonical path");
    ///
    /// let who = policy.who_can(&ActionQuestion {
    ///     method: "GET",
    ///     path: &path,
    ///     route: policy.find_route("billing.internal", &path).expect("the route of /api"),
    ///     circumstances: Circumstances::at("2026-11-23T10:00:00Z".parse().expect("a time")),
    ///     compliant_device: None,
    ///     fresh_mfa: false,
    ///     authenticated_s: None,
    /// });
    /// assert_eq!(&*who.allowed[0].subject, "group:finance");
    /// assert!(who.allowed[0].now);
    /// assert_eq!(&*who.allowed[0].members.as_ref().expect("a declared group").shown[0].subject, "user:alice");
    /// ```
    pub fn who_can(&self, question: &ActionQuestion<'_>) -> WhoCan {
        let nothing = Resource::default();
        let resource = self.resources.get(question.route.index()).unwrap_or(&nothing);
        let request = question.request(IdentityFact::Anonymous);
        let view = View::new(self, &request);
        let asked = Asked {
            policy: self,
            question,
            resource,
            denies: self.denies_of(&view, question.route),
            anonymous: self.subjects_of(&view, Caller::Anonymous),
        };
        let obstacles = Vec::from_iter(self.network_obstacle(&view, question.route, resource));
        let (roles, named) = self.holders(&view, question.route);
        let mut found = WhoCan {
            route: self.route_names.get(question.route.index()).cloned().unwrap_or_default(),
            demands: self.demands(resource),
            held_directly: asked.held_directly(&roles, obstacles.is_empty()),
            obstacles,
            allowed: Vec::new(),
            denied: Vec::new(),
            denies: asked.touching_denies(),
            omitted: 0,
        };
        for (subject, assignments) in self.by_kind_and_name(named) {
            if found.allowed.len() + found.denied.len() >= MOST_ENTRIES {
                found.omitted += 1;
                continue;
            }
            match asked.subject(subject, &assignments, found.obstacles.is_empty()) {
                Some(Ok(allowed)) => found.allowed.push(allowed),
                Some(Err(denied)) => found.denied.push(denied),
                None => {}
            }
        }
        found
    }

    /// The roles that permit the action, and whom assignments give one of them on the route.
    fn holders(
        &self,
        view: &View<'_>,
        route: RouteId,
    ) -> (BTreeSet<RoleId>, BTreeMap<SubjectId, BTreeSet<AssignmentId>>) {
        let mut roles: BTreeSet<RoleId> = BTreeSet::new();
        for pattern in view.matched.iter() {
            let by_method = self.roles_by_pattern.get(pattern.0 as usize).into_iter().flatten();
            let candidates = by_method.filter(|(mask, _)| mask.holds(view.method)).flat_map(|(_, roles)| roles);
            roles.extend(candidates.filter(|role| self.role_permits(**role, view)));
        }
        let mut named: BTreeMap<SubjectId, BTreeSet<AssignmentId>> = BTreeMap::new();
        for role in &roles {
            for id in self.assignments_by_role.get(role.0 as usize).into_iter().flat_map(|list| list.on(route)) {
                for subject in self.assignments.get(id.0 as usize).into_iter().flat_map(|each| &each.principals) {
                    named.entry(*subject).or_default().insert(id);
                }
            }
        }
        (roles, named)
    }

    /// The denies of the action, by name, each with whom it names.
    fn denies_of(&self, view: &View<'_>, route: RouteId) -> Vec<NamedDeny<'_>> {
        let mut ids: Vec<DenyId> = self.denies_by_route.on(route).collect();
        ids.sort_unstable();
        let touching = ids.into_iter().filter_map(|id| {
            let deny = self.denies.get(id.0 as usize)?;
            let principals = self.subjects.denied.get(id.0 as usize)?;
            deny.actions.contains(&view.matched, view.method).then(|| NamedDeny {
                deny,
                principals,
                named: principals.iter().copied().collect(),
            })
        });
        touching.collect()
    }

    /// Everyone first, then single principals, then groups.
    fn by_kind_and_name<T>(&self, named: BTreeMap<SubjectId, T>) -> Vec<(SubjectId, T)> {
        let mut sorted: Vec<(SubjectId, T)> = named.into_iter().collect();
        sorted.sort_by_cached_key(|(id, _)| {
            let name = self.subjects.get(*id).map(|subject| subject.name.clone()).unwrap_or_default();
            let kind = ["anyone", "authenticated", "user:", "service:", "certificate:"];
            (kind.iter().position(|kind| name.starts_with(kind)).unwrap_or(kind.len()), name)
        });
        sorted
    }
}

impl<'a> ActionQuestion<'a> {
    fn request(&self, identity: IdentityFact<'a>) -> AccessRequest<'a> {
        let circumstances = Circumstances { activations: &[], ..self.circumstances };
        circumstances.request(self.method, self.path, self.route, identity)
    }

    /// Somebody of this kind of whom only what the question says is known. The name is nobody's.
    fn somebody(&self, kind: PrincipalKind) -> Principal {
        let mut somebody = Principal::stated(kind, "");
        somebody.device =
            self.compliant_device.map(|compliant| Device { id: Box::default(), compliant: Some(compliant) });
        somebody.authentication.stated_mfa = self.fresh_mfa;
        let ago = self.authenticated_s.and_then(|ago| i64::try_from(ago).ok()).map(SignedDuration::from_secs);
        somebody.authentication.auth_time = ago.and_then(|ago| self.circumstances.now.checked_sub(ago).ok());
        somebody
    }
}

/// A deny of the action.
struct NamedDeny<'a> {
    deny: &'a Deny,
    principals: &'a [SubjectId],
    named: HashSet<SubjectId>,
}

/// The question, with what is the same for every subject.
struct Asked<'a> {
    policy: &'a Policy,
    question: &'a ActionQuestion<'a>,
    resource: &'a Resource,
    denies: Vec<NamedDeny<'a>>,
    /// What a caller is who proved nothing.
    anonymous: Vec<SubjectId>,
}
