//! The answers of a policy: the decision, and the proof that goes with a refusal.
//!
//! A permit costs one evaluation. A refusal is evaluated once more, through every stage, to write down what each looked
//! at; the stages are the same functions, so the proof cannot differ from the decision.

use std::sync::Arc;

use crate::decision::*;
use crate::draft::AuthenticationRule;
use crate::evaluate::*;
use crate::policy::*;
use crate::reason::{Outcome, Reason};
use crate::record::{ShadowOnly, Silent};
use crate::request::{AccessRequest, IdentityFact};
use crate::route::RouteId;

mod message;
mod trace;

impl Policy {
    /// Decides one request. Pure: the same facts give the same answer.
    ///
    /// ```
    /// # use portcullis_policy::*;
    /// # let draft = PolicyDraft {
    /// #     routes: vec![RouteDraft::new("billing", ["/api/**"])],
    /// #     networks: vec![NetworkDraft {
    /// #         name: "office".to_owned().into(),
    /// #         prefixes: vec!["203.0.113.0/24".parse().expect("a prefix")],
    /// #         unknown: false,
    /// #     }],
    /// #     resources: vec![ResourceDraft {
    /// #         route: "billing".to_owned().into(),
    /// #         allow: vec!["office".to_owned().into()],
    /// #         ..ResourceDraft::default()
    /// #     }],
    /// #     roles: vec![RoleDraft::new("reader", ["GET /api/invoices/**"])],
    /// #     assignments: vec![AssignmentDraft::new("alice-reads", "reader", ["user:alice"])],
    /// #     ..PolicyDraft::default()
    /// # };
    /// # let (policy, _) = Policy::compile(&draft).expect("the draft has no errors");
    /// # let path = CanonicalPath::parse("/api/invoices/7").expect("a canonical path");
    /// # let route = policy.find_route("billing.internal", &path);
    /// # let now = "2026-11-23T10:00:00Z".parse().expect("a time");
    /// let alice = Principal::user("alice");
    /// let request = AccessRequest {
    ///     identity: IdentityFact::Verified(&alice),
    ///     client: ClientAddress::known("203.0.113.7".parse().expect("an address")),
    ///     ..AccessRequest::new("GET", &path, route, now)
    /// };
    /// let Decision::Permit(permit) = policy.decide(&request) else { panic!("alice reads from the office") };
    /// let rule = policy.granting_rule(&permit).expect("an assignment granted it");
    /// assert_eq!(&*rule.name, "alice-reads");
    ///
    /// let Decision::Deny(denial) = policy.decide(&AccessRequest { method: "PUT", ..request }) else { panic!() };
    /// assert_eq!(denial.reason, Reason::NoMatchingGrant);
    /// ```
    pub fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        self.decide_viewed(&View::new(self, request))
    }

    pub(crate) fn decide_viewed(&self, view: &View<'_>) -> Decision {
        let mut shadow = ShadowOnly::default();
        match self.evaluate(view, &mut shadow) {
            Verdict::Permit(grant) => Decision::Permit(Permit { grant, shadow: shadow.found, level: view.level }),
            Verdict::Stop(stop) => {
                let denial = Box::new(self.denial(view, stop, shadow));
                match stop.outcome {
                    // INVARIANT: a stop is never a permit; were it one, it would be refused.
                    Outcome::Deny | Outcome::Permit => Decision::Deny(denial),
                    Outcome::Challenge => Decision::Challenge(denial),
                    Outcome::StepUp => Decision::StepUp(denial),
                    Outcome::Undecided => Decision::Undecided(denial),
                }
            }
        }
    }

    /// The answer of [`Self::decide`] alone, with its reason where it is not a permit: without the proof, and without what rules in
    /// shadow mode would have said. It allocates nothing, whatever the answer: for who asks very often, such as to filter a list.
    ///
    /// ```
    /// # use portcullis_policy::*;
    /// # let draft = PolicyDraft {
    /// #     routes: vec![RouteDraft::new("billing", ["/api/**"])],
    /// #     roles: vec![RoleDraft::new("reader", ["GET /api/invoices/**"])],
    /// #     assignments: vec![AssignmentDraft::new("alice-reads", "reader", ["user:alice"])],
    /// #     ..PolicyDraft::default()
    /// # };
    /// # let (policy, _) = Policy::compile(&draft).expect("the draft has no errors");
    /// # let path = CanonicalPath::parse("/api/invoices/7").expect("a canonical path");
    /// # let route = policy.find_route("billing.internal", &path);
    /// # let now = "2026-11-23T10:00:00Z".parse().expect("a time");
    /// let alice = Principal::user("alice");
    /// let request =
    ///     AccessRequest { identity: IdentityFact::Verified(&alice), ..AccessRequest::new("GET", &path, route, now) };
    /// assert_eq!(policy.verdict(&request), (Outcome::Permit, None));
    /// let put = AccessRequest { method: "PUT", ..request };
    /// assert_eq!(policy.verdict(&put), (Outcome::Deny, Some(Reason::NoMatchingGrant)));
    /// ```
    pub fn verdict(&self, request: &AccessRequest<'_>) -> (Outcome, Option<Reason>) {
        match self.evaluate(&View::new(self, request), &mut Silent) {
            Verdict::Permit(_) => (Outcome::Permit, None),
            Verdict::Stop(stop) => (stop.outcome, Some(stop.reason)),
        }
    }

    /// The stages that need no identity: ban, route and network. `client_addr` asks this before any credential is
    /// verified; `decide` asks it again.
    ///
    /// ```
    /// # use portcullis_policy::*;
    /// # let draft = PolicyDraft {
    /// #     routes: vec![RouteDraft::new("billing", ["/api/**"])],
    /// #     networks: vec![NetworkDraft {
    /// #         name: "office".to_owned().into(),
    /// #         prefixes: vec!["203.0.113.0/24".parse().expect("a prefix")],
    /// #         unknown: false,
    /// #     }],
    /// #     resources: vec![ResourceDraft {
    /// #         route: "billing".to_owned().into(),
    /// #         allow: vec!["office".to_owned().into()],
    /// #         ..ResourceDraft::default()
    /// #     }],
    /// #     roles: vec![RoleDraft::new("reader", ["GET /api/invoices/**"])],
    /// #     assignments: vec![AssignmentDraft::new("alice-reads", "reader", ["user:alice"])],
    /// #     ..PolicyDraft::default()
    /// # };
    /// # let (policy, _) = Policy::compile(&draft).expect("the draft has no errors");
    /// # let path = CanonicalPath::parse("/api/invoices/7").expect("a canonical path");
    /// # let route = policy.find_route("billing.internal", &path);
    /// # let now = "2026-11-23T10:00:00Z".parse().expect("a time");
    /// let elsewhere = ClientAddress::known("198.51.100.1".parse().expect("an address"));
    /// let request = AccessRequest { client: elsewhere, ..AccessRequest::new("GET", &path, route, now) };
    /// let denial = policy.admit_client(&request).expect_err("the route is open to the office only");
    /// assert_eq!((denial.reason, denial.status()), (Reason::IpNotAllowed, 403));
    /// ```
    ///
    /// # Errors
    /// The denial, when one of them refuses.
    pub fn admit_client(&self, request: &AccessRequest<'_>) -> Result<(), Box<Denial>> {
        match self.admission(&View::without_action(self, request), &mut Silent) {
            None => Ok(()),
            Some(stop) => {
                let view = View { admission_only: true, ..View::new(self, request) };
                Err(Box::new(self.denial(&view, stop, ShadowOnly::default())))
            }
        }
    }

    /// The full answer, every stage looked at, permit or not.
    ///
    /// ```
    /// # use portcullis_policy::*;
    /// # let draft = PolicyDraft {
    /// #     routes: vec![RouteDraft::new("billing", ["/api/**"])],
    /// #     networks: vec![NetworkDraft {
    /// #         name: "office".to_owned().into(),
    /// #         prefixes: vec!["203.0.113.0/24".parse().expect("a prefix")],
    /// #         unknown: false,
    /// #     }],
    /// #     resources: vec![ResourceDraft {
    /// #         route: "billing".to_owned().into(),
    /// #         allow: vec!["office".to_owned().into()],
    /// #         ..ResourceDraft::default()
    /// #     }],
    /// #     roles: vec![RoleDraft::new("reader", ["GET /api/invoices/**"])],
    /// #     assignments: vec![AssignmentDraft::new("alice-reads", "reader", ["user:alice"])],
    /// #     ..PolicyDraft::default()
    /// # };
    /// # let (policy, _) = Policy::compile(&draft).expect("the draft has no errors");
    /// # let path = CanonicalPath::parse("/api/invoices/7").expect("a canonical path");
    /// # let route = policy.find_route("billing.internal", &path);
    /// # let now = "2026-11-23T10:00:00Z".parse().expect("a time");
    /// let bob = Principal::user("bob");
    /// let request = AccessRequest {
    ///     identity: IdentityFact::Verified(&bob),
    ///     ..AccessRequest::new("GET", &path, route, now)
    /// };
    /// let explanation = policy.explain(&request);
    /// assert_eq!(explanation.outcome, Outcome::Deny);
    /// // The network refuses first; that no grant applies either is shown, too.
    /// let denial = explanation.denial.expect("it is refused");
    /// assert_eq!(denial.reasons, [Reason::IpNotAllowed, Reason::NoMatchingGrant]);
    /// let failed = explanation.trace.checks.iter().filter(|check| check.outcome != CheckOutcome::Pass);
    /// assert!(failed.count() >= 2);
    /// ```
    pub fn explain(&self, request: &AccessRequest<'_>) -> Explanation {
        let view = View::new(self, request);
        let mut shadow = ShadowOnly::default();
        match self.evaluate(&view, &mut shadow) {
            Verdict::Permit(grant) => Explanation {
                outcome: Outcome::Permit,
                message: self.permit_message(&view, grant),
                rule: grant
                    .and_then(|id| self.assignments.get(id.0 as usize))
                    .map(|assignment| assignment.rule.clone()),
                trace: self.trace(&view, shadow),
                denial: None,
            },
            Verdict::Stop(stop) => {
                let denial = self.denial(&view, stop, shadow);
                Explanation {
                    outcome: stop.outcome,
                    message: denial.message.clone(),
                    rule: denial.rule.clone(),
                    trace: denial.trace.clone(),
                    denial: Some(Box::new(denial)),
                }
            }
        }
    }

    /// The names of the roles that the caller effectively holds on the route now: those of grants whose period and
    /// conditions hold, and those held directly. Sorted, at most 64.
    pub fn effective_roles(&self, request: &AccessRequest<'_>) -> Vec<Arc<str>> {
        let view = View::new(self, request);
        self.roles_of(&view)
    }

    pub(crate) fn rule(&self, id: RuleId) -> Option<&RuleRef> {
        match id {
            RuleId::Assignment(id) => self.assignments.get(id.0 as usize).map(|assignment| &assignment.rule),
            RuleId::Deny(id) => self.denies.get(id.0 as usize).map(|deny| &deny.rule),
            RuleId::Resource(route) => self.resources.get(route.index()).and_then(|resource| resource.rule.as_ref()),
            RuleId::Network(network) => self.network_facts.get(network.0 as usize).map(|facts| &facts.rule),
        }
    }

    pub(crate) fn shadow_of(&self, stop: Stop) -> ShadowFinding {
        ShadowFinding {
            outcome: stop.outcome,
            reason: Some(stop.reason),
            rule: stop.rule.and_then(|rule| self.rule(rule)).cloned(),
        }
    }

    pub(crate) fn shadow_grant(&self, assignment: &Assignment) -> ShadowFinding {
        ShadowFinding { outcome: Outcome::Permit, reason: None, rule: Some(assignment.rule.clone()) }
    }

    fn denial(&self, view: &View<'_>, stop: Stop, shadow: ShadowOnly) -> Denial {
        let nearest = self.nearest(view, stop);
        let trace = self.trace(view, shadow);
        let deny = match stop.rule {
            Some(RuleId::Deny(id)) => self.denies.get(id.0 as usize),
            _ => None,
        };
        let (level, threshold_mnats) =
            view.request.route.map_or((view.level, 0), |route| self.risk_level(route, view.request.risk));
        Denial {
            outcome: stop.outcome,
            reason: stop.reason,
            stage: stop.stage,
            reasons: self.all_reasons(view, stop),
            message: self.denial_message(view, stop, &nearest),
            caller_message: deny.and_then(|deny| deny.explain.clone()),
            rule: stop.rule.and_then(|rule| self.rule(rule)).cloned(),
            trace,
            nearest,
            step_up: (stop.outcome == Outcome::StepUp).then(|| self.step_up_demand(view)),
            risk: RiskVerdict { level, threshold_mnats },
        }
    }

    /// The decisive reason, and those of later stages that would have refused as well.
    fn all_reasons(&self, view: &View<'_>, decisive: Stop) -> Vec<Reason> {
        let mut reasons = vec![decisive.reason];
        for stop in self.every_stop(view) {
            if !reasons.contains(&stop.reason) {
                reasons.push(stop.reason);
            }
        }
        reasons
    }

    /// What every stage says, also those after the decisive one.
    pub(crate) fn every_stop(&self, view: &View<'_>) -> Vec<Stop> {
        let mut stops = Vec::new();
        stops.extend(self.ban_stage(view, &mut Silent));
        let Some((route, resource)) = self.resource_of(view) else {
            stops.push(Stop::NO_ROUTE);
            return stops;
        };
        stops.extend(self.network_stage(view, route, resource, &mut Silent));
        if view.admission_only {
            return stops;
        }
        let authentication = self.authentication_stage(view, resource, &mut Silent);
        stops.extend(authentication);
        // Without knowing who it is, the stages after this one have nobody to speak of.
        if authentication.is_some() && view.is_of_nobody(resource.authentication) {
            return stops;
        }
        let caller = view.caller(resource.authentication);
        stops.extend(self.deny_stage(view, route, caller, &mut Silent));
        let granted = self.grants_stage(view, route, caller, &mut Silent);
        stops.extend(grants_stop(granted, resource, view, caller));
        stops.extend(self.risk_stage(view, route, resource, caller, granted, &mut Silent));
        stops.extend(self.proof_stage(view, route, resource, caller, &mut Silent));
        stops.extend(self.containment_stage(view, resource, caller, &mut Silent));
        stops
    }

    pub(crate) fn resource_of(&self, view: &View<'_>) -> Option<(RouteId, &Resource)> {
        let route = view.request.route?;
        Some((route, self.resources.get(route.index())?))
    }

    pub(crate) fn roles_of(&self, view: &View<'_>) -> Vec<Arc<str>> {
        const MOST: usize = 64;
        let Some((route, resource)) = self.resource_of(view) else { return Vec::new() };
        let caller = view.caller(resource.authentication);
        let mut roles: Vec<RoleId> = Vec::new();
        if let Caller::Verified(principal) = caller {
            roles.extend(self.direct_roles(principal, route));
            roles.extend(self.lent_roles(view, caller).map(|(role, _)| role));
        }
        let _ = self.for_each_subject(view, caller, &mut |subject| {
            for id in subject.assignments.on(route) {
                let Some(assignment) = self.assignments.get(id.0 as usize) else { continue };
                let holds = matches!(self.assignment_outcome(view, id, assignment, caller), GrantOutcome::Granted(_));
                if holds && !assignment.shadow {
                    roles.push(assignment.role);
                }
            }
            std::ops::ControlFlow::<()>::Continue(())
        });
        roles.sort_unstable();
        roles.dedup();
        roles
            .iter()
            .take(MOST)
            .filter_map(|role| self.roles.get(role.0 as usize))
            .map(|role| role.rule.name.clone())
            .collect()
    }
}

/// Who it is, for a sentence.
pub(crate) fn who(view: &View<'_>, resource: Option<&Resource>) -> Words {
    let ignored = resource.is_some_and(|resource| resource.authentication == AuthenticationRule::None);
    match view.request.identity {
        IdentityFact::Verified(principal) if !ignored => principal.reference().into(),
        _ => "an anonymous caller".into(),
    }
}
