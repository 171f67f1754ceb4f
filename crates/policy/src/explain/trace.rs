//! The trace: every stage, what it looked at and how it went, also after the decisive one.

use std::ops::ControlFlow;

use super::message::{client, place, revoked_by, signals};
use super::*;
use crate::condition::span_text;
use crate::draft::ProofDraft;
use crate::principal::CredentialProblemKind;
use crate::reason::Stage;
use crate::request::{BanScope, RiskLevel};

/// How many assignments a trace speaks of.
const MOST_GRANTS: usize = 16;

impl Policy {
    pub(super) fn trace(&self, view: &View<'_>, shadow: ShadowOnly) -> Trace {
        let mut trace = Trace { checks: Vec::with_capacity(10), shadow: shadow.found, roles: self.roles_of(view) };
        let client = client(view);
        trace.checks.push(self.ban_check(view, client.clone()));
        let Some((route, resource)) = self.resource_of(view) else {
            trace.checks.push(check(
                Stage::Route,
                CheckOutcome::Fail,
                view.request.path.as_str().to_owned(),
                "no route leads there",
            ));
            return trace;
        };
        trace.checks.push(check(Stage::Route, CheckOutcome::Pass, self.route_name(route).to_owned(), ""));
        trace.checks.push(self.network_check(view, route, resource, client));
        if view.admission_only {
            for stage in [Stage::Authentication, Stage::Deny, Stage::Grants, Stage::Risk, Stage::StepUp] {
                trace.checks.push(check(stage, CheckOutcome::Skipped, "", "not looked at"));
            }
            return trace;
        }
        trace.checks.push(self.authentication_check(view, resource));
        let stopped = self.authentication_stage(view, resource, &mut Silent).is_some();
        if stopped && view.is_of_nobody(resource.authentication) {
            for stage in [Stage::Deny, Stage::Grants, Stage::Risk, Stage::StepUp] {
                trace.checks.push(check(stage, CheckOutcome::Skipped, "", "nobody to decide about"));
            }
            return trace;
        }
        let caller = view.caller(resource.authentication);
        trace.checks.push(self.deny_check(view, route, caller));
        self.grant_checks(view, route, caller, &mut trace.checks);
        self.risk_checks(view, route, resource, caller, &mut trace.checks);
        trace
    }

    fn ban_check(&self, view: &View<'_>, client: Words) -> Check {
        let bans = view.request.bans;
        let Some(ban) = self.refusing_ban(view).or(bans.address).or(bans.principal) else {
            return check(Stage::Ban, CheckOutcome::Pass, client, "not banned");
        };
        let refuses = self.ban_stage(view, &mut Silent).is_some();
        let detail = format!(
            "{}{} ban until {}, offence {}: {}",
            if ban.simulated { "simulated " } else { "" },
            ban.scope.as_str(),
            ban.until,
            ban.offences,
            ban.cause
        );
        let outcome = match (refuses, ban.scope) {
            (true, _) => CheckOutcome::Fail,
            // Decided once it is known who it is.
            (false, BanScope::Anonymous | BanScope::Principal) if !ban.simulated => CheckOutcome::Skipped,
            (false, _) => CheckOutcome::Pass,
        };
        check(Stage::Ban, outcome, client, detail)
    }

    fn network_check(&self, view: &View<'_>, route: RouteId, resource: &Resource, client: Words) -> Check {
        let members = view.networks.map(|set| self.networks.members(set).first_few()).unwrap_or_default();
        let within: Words = if members.is_empty() {
            "in no named network".into()
        } else {
            format!("in {}", self.network_names(&members)).into()
        };
        match self.network_stage(view, route, resource, &mut Silent) {
            None if resource.allow.is_empty() && resource.deny.is_empty() => {
                let detail: Words = if members.is_empty() {
                    "in no named network; the route asks for none".into()
                } else {
                    format!("{within}; the route asks for none").into()
                };
                check(Stage::Network, CheckOutcome::Pass, client, detail)
            }
            None => check(Stage::Network, CheckOutcome::Pass, client, within),
            Some(stop) => {
                let wanted = match stop.reason {
                    Reason::IpDenied => format!("{within}; denied: {}", self.network_names(&resource.deny)),
                    _ => format!("{within}; allowed: {}", self.network_names(&resource.allow)),
                };
                let outcome =
                    if stop.outcome == Outcome::Undecided { CheckOutcome::Unknown } else { CheckOutcome::Fail };
                let rule = stop.rule.and_then(|rule| self.rule(rule)).cloned();
                Check { rule, ..check(Stage::Network, outcome, client, wanted) }
            }
        }
    }

    fn authentication_check(&self, view: &View<'_>, resource: &Resource) -> Check {
        let stage = Stage::Authentication;
        let value = who(view, Some(resource));
        match self.authentication_stage(view, resource, &mut Silent) {
            Some(stop)
                if stop.reason == Reason::Authn(CredentialProblemKind::Revoked)
                    && matches!(view.request.identity, IdentityFact::Verified(_)) =>
            {
                let (alert, since) = revoked_by(view);
                let detail = format!("alert {alert} has revoked what was issued until {since}");
                check(stage, CheckOutcome::Fail, value, detail)
            }
            Some(stop) if stop.reason == Reason::BanActive => check(stage, CheckOutcome::Fail, value, "banned"),
            Some(stop) if matches!(stop.reason, Reason::ConditionUnmet | Reason::FeedStale) => {
                let outcome =
                    if stop.outcome == Outcome::Undecided { CheckOutcome::Unknown } else { CheckOutcome::Fail };
                check(stage, outcome, value, self.scope_message(view).unwrap_or_default())
            }
            Some(stop) => {
                let outcome =
                    if stop.outcome == Outcome::Undecided { CheckOutcome::Unknown } else { CheckOutcome::Fail };
                let detail: Words = match view.request.identity {
                    IdentityFact::Rejected(problem) => problem.detail.clone().into(),
                    IdentityFact::Unavailable(_) => "what checks the credential is not available".into(),
                    IdentityFact::Verified(_) => "no client certificate, and the route takes nothing else".into(),
                    IdentityFact::Anonymous if resource.authentication == AuthenticationRule::Certificate => {
                        "no client certificate".into()
                    }
                    IdentityFact::Anonymous => "no credential".into(),
                };
                check(stage, outcome, value, detail)
            }
            None => {
                let detail: Words = match (resource.authentication, view.request.identity) {
                    (AuthenticationRule::None, _) => "the route ignores credentials".into(),
                    (_, IdentityFact::Verified(principal)) => {
                        let authentication = &principal.authentication;
                        format!("by {} from {}", authentication.method.as_str(), authentication.provider).into()
                    }
                    _ => "no credential, and none is demanded".into(),
                };
                check(stage, CheckOutcome::Pass, value, detail)
            }
        }
    }

    fn deny_check(&self, view: &View<'_>, route: RouteId, caller: Caller<'_>) -> Check {
        let action = [view.request.method, view.request.path.as_str()].join(" ");
        let Some(stop) = self.deny_stage(view, route, caller, &mut Silent) else {
            return check(Stage::Deny, CheckOutcome::Pass, action, "no deny applies");
        };
        let rule = stop.rule.and_then(|rule| self.rule(rule)).cloned();
        let name = rule.as_ref().map(|rule| rule.name.to_string()).unwrap_or_default();
        let (outcome, detail) = if stop.outcome == Outcome::Undecided {
            (CheckOutcome::Unknown, format!("{name} depends on a fact that is unknown"))
        } else {
            (CheckOutcome::Fail, format!("{name} forbids it"))
        };
        Check { rule, ..check(Stage::Deny, outcome, action, detail) }
    }

    fn grant_checks(&self, view: &View<'_>, route: RouteId, caller: Caller<'_>, checks: &mut Vec<Check>) {
        let before = checks.len();
        let mut seen = Vec::new();
        let granted = self.grants_stage(view, route, caller, &mut Silent);
        if granted == GrantOutcome::Granted(None) {
            checks.push(check(Stage::Grants, CheckOutcome::Pass, who(view, None), self.direct_words(view)));
        }
        let _ = self.for_each_subject(view, caller, &mut |subject| {
            for id in subject.assignments.on(route) {
                let Some(assignment) = self.assignments.get(id.0 as usize) else { continue };
                if seen.contains(&id) {
                    continue;
                }
                // The one that decides is never left out.
                if seen.len() >= MOST_GRANTS && granted.assignment() != Some(id) {
                    continue;
                }
                seen.push(id);
                checks.push(self.grant_check(view, id, assignment, &subject.name, caller));
            }
            ControlFlow::<()>::Continue(())
        });
        let counts = |check: &Check| check.outcome != CheckOutcome::Skipped;
        if !checks.iter().skip(before).any(counts) {
            let detail = ["no assignment on route ", self.route_name(route), " applies"].concat();
            checks.push(check(Stage::Grants, CheckOutcome::Fail, who(view, None), detail));
        }
    }

    fn grant_check(
        &self,
        view: &View<'_>,
        id: AssignmentId,
        assignment: &Assignment,
        through: &str,
        caller: Caller<'_>,
    ) -> Check {
        let role = self.role_name(assignment.role);
        let (mut outcome, mut detail) = if !self.role_permits(assignment.role, view) {
            (CheckOutcome::Fail, format!("role {role} does not permit it"))
        } else {
            match self.assignment_outcome(view, id, assignment, caller) {
                GrantOutcome::Granted(_) => {
                    let activated = self.activation_words(view, assignment);
                    let activated = activated.map(|words| format!(", {words}")).unwrap_or_default();
                    (CheckOutcome::Pass, format!("role {role} permits it{activated}"))
                }
                GrantOutcome::Expired(_) => {
                    (CheckOutcome::Fail, format!("role {role} permits it, but the assignment has expired"))
                }
                GrantOutcome::NotYetActive(_) => {
                    (CheckOutcome::Fail, format!("role {role} permits it, but the assignment has not begun"))
                }
                GrantOutcome::NeedsAssurance(_)
                | GrantOutcome::NeedsLowerRisk(_)
                | GrantOutcome::ConditionUnmet(_)
                | GrantOutcome::Nothing => {
                    let unmet = self.unmet(view, assignment);
                    let unknown = unmet.iter().any(|text| text.ends_with("(unknown)"));
                    let outcome = if unknown { CheckOutcome::Unknown } else { CheckOutcome::Fail };
                    (outcome, format!("role {role} permits it, but not met: {}", unmet.join(", ")))
                }
            }
        };
        if assignment.shadow {
            outcome = CheckOutcome::Skipped;
            detail.push_str(" (shadow: never effective)");
        }
        let detail = format!("{detail}; held as {through}, {}", place(&assignment.rule));
        Check {
            rule: Some(assignment.rule.clone()),
            ..check(Stage::Grants, outcome, assignment.rule.name.to_string(), detail)
        }
    }

    fn risk_checks(
        &self,
        view: &View<'_>,
        route: RouteId,
        resource: &Resource,
        caller: Caller<'_>,
        checks: &mut Vec<Check>,
    ) {
        let granted = self.grants_stage(view, route, caller, &mut Silent);
        let stops = [
            grants_stop(granted, resource, view, caller),
            self.risk_stage(view, route, resource, caller, granted, &mut Silent),
        ];
        let has = |reason: Reason| stops.iter().flatten().any(|stop| stop.reason == reason);
        let value = view.level.as_str();
        let detail = match (view.level, self.risk.enforce) {
            (RiskLevel::Low, _) => String::new(),
            (_, true) => signals(view),
            (_, false) => format!("{} (monitored, decides nothing)", signals(view)),
        };
        let outcome = if has(Reason::RiskTooHigh) { CheckOutcome::Fail } else { CheckOutcome::Pass };
        checks.push(check(Stage::Risk, outcome, value, detail));
        let fresh = if self.has_fresh_mfa(view, caller) { "mfa, fresh" } else { "no fresh mfa" };
        let fresh: Words = match caller {
            Caller::Verified(principal) => match (principal.authentication.auth_time, resource.proof.max_age_s) {
                (Some(at), Some(_)) => {
                    let age = u64::try_from(view.now.as_second().saturating_sub(at.as_second())).unwrap_or(0);
                    format!("{fresh}, authenticated {} ago", span_text(age)).into()
                }
                (None, Some(_)) => format!("{fresh}, authenticated nobody knows when").into(),
                (_, None) => fresh.into(),
            },
            Caller::Anonymous | Caller::SomeVerified => fresh.into(),
        };
        let of_route = self.proof_stage(view, route, resource, caller, &mut Silent).is_some();
        let contained = self.containment_stage(view, resource, caller, &mut Silent).is_some();
        let demand = self.demanded_by_alert(view, caller).filter(|_| contained);
        let (outcome, detail): (_, Words) = match demand {
            Some(demand) => {
                let detail = format!("alert {} demands a fresh mfa until {}", demand.alert, demand.until);
                (CheckOutcome::Fail, detail.into())
            }
            None if of_route => {
                (CheckOutcome::Fail, format!("the route demands {}", proof_text(resource.proof)).into())
            }
            None if has(Reason::StepUpRequired) => {
                let demand = self.step_up_demand(view);
                let proof = ProofDraft { mfa: demand.mfa, max_age_s: demand.max_age_s.filter(|_| !demand.mfa) };
                (CheckOutcome::Fail, format!("{} is demanded", proof_text(proof)).into())
            }
            None => (CheckOutcome::Pass, "nothing more is demanded".into()),
        };
        checks.push(check(Stage::StepUp, outcome, fresh, detail));
    }
}

/// How somebody must have authenticated, in words.
fn proof_text(proof: ProofDraft) -> String {
    match (proof.mfa, proof.max_age_s.map(span_text)) {
        (true, None) => "a fresh mfa".to_owned(),
        (true, Some(age)) => format!("a fresh mfa of at most {age} ago"),
        (false, Some(age)) => format!("an authentication of at most {age} ago"),
        (false, None) => "nothing".to_owned(),
    }
}

fn check(stage: Stage, outcome: CheckOutcome, value: impl Into<Words>, detail: impl Into<Words>) -> Check {
    Check { stage, outcome, value: value.into(), detail: detail.into(), rule: None }
}
