//! The stages of a decision, each a function of the facts. `decide`, `explain` and `nearest` all run these and nothing
//! else, so an explanation cannot differ from the decision it explains.

mod admission;
mod authentication;
mod conditions;
mod containment;
mod denies;
mod ended;
mod grants;
mod proof;
mod risk;
mod scope;
mod subjects;

use std::ops::ControlFlow;

use jiff::Timestamp;

use crate::action::{MatchedPatterns, MethodBit};
use crate::condition::{ConditionKind, Conditions, Truth, is_recent, is_strong, mfa_is_fresh};
use crate::decision::ShadowFinding;
use crate::draft::{AuthenticationRule, Hours};
use crate::network::{NetworkId, NetworkSetId};
use crate::policy::*;
use crate::principal::{Principal, PrincipalKind};
use crate::reason::{Outcome, Reason, Stage};
use crate::record::{Record, Silent};
use crate::request::{
    AccessRequest, Activation, Ban, BanScope, Bans, ClientAddress, CountryCode, IdentityFact, RiskLevel,
};
use crate::route::RouteId;

pub(crate) use admission::Membership;
use ended::is_behind;
pub(crate) use grants::grants_stop;

/// The facts of a request, looked up in one policy, with what `nearest` supposes on top.
#[derive(Debug, Clone)]
pub(crate) struct View<'a> {
    pub(crate) request: &'a AccessRequest<'a>,
    /// `None`: the client's address is unknown.
    pub(crate) networks: Option<NetworkSetId>,
    pub(crate) matched: MatchedPatterns,
    pub(crate) method: MethodBit,
    pub(crate) now: Timestamp,
    pub(crate) country: Option<CountryCode>,
    pub(crate) level: RiskLevel,
    pub(crate) evidence: bool,
    pub(crate) supposed: Supposed,
    /// Only the stages before authentication are asked: who it is was not looked at yet.
    pub(crate) admission_only: bool,
    pub(crate) question: Question,
    /// What ended behind this counts as if it had not. `None`, unless somebody asks for that: see [`Policy::permits_but_for_what_ended`].
    pub(crate) ended_since: Option<Timestamp>,
}

/// What is asked of the stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Question {
    /// Whether the request is permitted.
    #[default]
    Access,
    /// Whether a caller who is known would be kept from the route whatever it were granted. It is the same evaluation with every grant: the caller counts also
    /// where the route asks nobody who they are, and a credential with a scope is for what it names, and so not for what its holder gets beside.
    WithEveryGrant,
}

/// What is supposed to be otherwise than it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Supposed {
    pub(crate) role: Option<RoleId>,
    pub(crate) group: Option<SubjectId>,
    pub(crate) compliant_device: bool,
    pub(crate) fresh_mfa: bool,
    /// So many seconds ago the caller is supposed to have authenticated, as it did.
    pub(crate) authenticated_s: Option<u64>,
    pub(crate) any_credential: bool,
    /// The network that the client is supposed to come from; `View::networks` is one set within it.
    pub(crate) network: Option<NetworkId>,
    pub(crate) hours: Option<std::sync::Arc<str>>,
    /// An eligible assignment, by name.
    pub(crate) activated: Option<std::sync::Arc<str>>,
}

/// Who the stages after authentication deal with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller<'a> {
    Anonymous,
    Verified(&'a Principal),
    /// Some verified principal, nobody knows which: only `nearest` supposes that.
    SomeVerified,
}

/// Which rule a stage stopped at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum RuleId {
    Assignment(AssignmentId),
    Deny(DenyId),
    Resource(RouteId),
    Network(NetworkId),
}

/// A stage's refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) outcome: Outcome,
    pub(crate) reason: Reason,
    pub(crate) stage: Stage,
    pub(crate) rule: Option<RuleId>,
}

/// What the grants say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrantOutcome {
    /// Permitted, by this assignment or by a directly held role.
    Granted(Option<AssignmentId>),
    /// Only `assurance` or `max_age` is missing, or both.
    NeedsAssurance(AssignmentId),
    /// Only a lower risk is missing.
    NeedsLowerRisk(AssignmentId),
    /// Permitted, but under a condition that is not met or unknown.
    ConditionUnmet(AssignmentId),
    Expired(AssignmentId),
    NotYetActive(AssignmentId),
    Nothing,
}

/// The end of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Permit(Option<AssignmentId>),
    Stop(Stop),
}

impl<'a> View<'a> {
    pub(crate) fn new(policy: &Policy, request: &'a AccessRequest<'a>) -> Self {
        Self {
            matched: policy.actions.matching(request.path),
            level: request.route.map_or(RiskLevel::Low, |route| policy.risk_level(route, request.risk).0),
            evidence: request.risk.has_evidence(),
            ..Self::without_action(policy, request)
        }
    }

    /// Enough for the stages before authentication, which do not look at the action.
    pub(crate) fn without_action(policy: &Policy, request: &'a AccessRequest<'a>) -> Self {
        Self {
            request,
            networks: match request.client {
                ClientAddress::Known(address) => Some(policy.networks.lookup(address.to_canonical())),
                ClientAddress::Unknown => None,
            },
            matched: MatchedPatterns::default(),
            method: policy.actions.method(request.method),
            now: request.now,
            country: request.country,
            level: RiskLevel::Low,
            evidence: false,
            supposed: Supposed::default(),
            admission_only: false,
            question: Question::Access,
            ended_since: None,
        }
    }

    /// What the route demands of a credential, for the question that is asked.
    pub(crate) fn demanded(&self, rule: AuthenticationRule) -> AuthenticationRule {
        match (self.question, rule) {
            (Question::WithEveryGrant, AuthenticationRule::None | AuthenticationRule::Optional) => {
                AuthenticationRule::Required
            }
            (Question::Access | Question::WithEveryGrant, rule) => rule,
        }
    }

    pub(crate) fn caller(&self, rule: AuthenticationRule) -> Caller<'a> {
        match (self.demanded(rule), self.request.identity) {
            (AuthenticationRule::None, _) => Caller::Anonymous,
            (rule, IdentityFact::Verified(principal)) if rule.takes(principal) => Caller::Verified(principal),
            _ if self.supposed.any_credential => Caller::SomeVerified,
            (
                _,
                IdentityFact::Anonymous
                | IdentityFact::Verified(_)
                | IdentityFact::Rejected(_)
                | IdentityFact::Unavailable(_),
            ) => Caller::Anonymous,
        }
    }

    /// Behind a refused authentication there is nobody whom the later stages could speak of.
    pub(crate) fn is_of_nobody(&self, rule: AuthenticationRule) -> bool {
        match self.request.identity {
            IdentityFact::Verified(principal) => rule == AuthenticationRule::Certificate && !rule.takes(principal),
            IdentityFact::Anonymous | IdentityFact::Rejected(_) | IdentityFact::Unavailable(_) => true,
        }
    }
}

impl Policy {
    /// Runs the stages until one refuses.
    pub(crate) fn evaluate(&self, view: &View<'_>, record: &mut impl Record) -> Verdict {
        if let Some(stop) = self.admission(view, record) {
            return Verdict::Stop(stop);
        }
        // INVARIANT: without a route the admission has refused.
        let Some(route) = view.request.route else { return Verdict::Stop(Stop::NO_ROUTE) };
        let Some(resource) = self.resources.get(route.index()) else { return Verdict::Stop(Stop::NO_ROUTE) };
        if let Some(stop) = self.authentication_stage(view, resource, record) {
            return Verdict::Stop(stop);
        }
        let caller = view.caller(resource.authentication);
        if let Some(stop) = self.deny_stage(view, route, caller, record) {
            return Verdict::Stop(stop);
        }
        let granted = match view.question {
            Question::Access => self.grants_stage(view, route, caller, record),
            Question::WithEveryGrant => GrantOutcome::Granted(None),
        };
        match self.conclude(view, route, resource, caller, granted, record) {
            Ok(grant) => Verdict::Permit(grant),
            Err(stop) => Verdict::Stop(stop),
        }
    }

    /// What the grants' outcome comes to, with the risk, with how the route wants its callers to have authenticated, and with what alerts demand.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) fn conclude(
        &self,
        view: &View<'_>,
        route: RouteId,
        resource: &Resource,
        caller: Caller<'_>,
        granted: GrantOutcome,
        record: &mut impl Record,
    ) -> Result<Option<AssignmentId>, Stop> {
        if let Some(stop) = grants_stop(granted, resource, view, caller) {
            return Err(stop);
        }
        if let Some(stop) = self.risk_stage(view, route, resource, caller, granted, record) {
            return Err(stop);
        }
        if let Some(stop) = self.proof_stage(view, route, resource, caller, record) {
            return Err(stop);
        }
        match self.containment_stage(view, resource, caller, record) {
            Some(stop) => Err(stop),
            None => Ok(granted.assignment()),
        }
    }

    /// The stages before authentication: ban, route, network.
    pub(crate) fn admission(&self, view: &View<'_>, record: &mut impl Record) -> Option<Stop> {
        if let Some(stop) = self.ban_stage(view, record) {
            return Some(stop);
        }
        let Some(route) = view.request.route else {
            return Some(Stop::NO_ROUTE);
        };
        let resource = self.resources.get(route.index())?;
        self.network_stage(view, route, resource, record)
    }
}

impl Stop {
    pub(crate) const NO_ROUTE: Self =
        Self { outcome: Outcome::Deny, reason: Reason::RouteNotFound, stage: Stage::Route, rule: None };

    fn deny(reason: Reason, rule: Option<RuleId>) -> Self {
        Self { outcome: Outcome::Deny, reason, stage: reason.stage(), rule }
    }

    fn challenge(reason: Reason) -> Self {
        Self { outcome: Outcome::Challenge, reason, stage: Stage::Authentication, rule: None }
    }

    fn step_up(rule: Option<RuleId>) -> Self {
        Self { outcome: Outcome::StepUp, reason: Reason::StepUpRequired, stage: Stage::StepUp, rule }
    }

    fn undecided(reason: Reason, stage: Stage, rule: Option<RuleId>) -> Self {
        Self { outcome: Outcome::Undecided, reason, stage, rule }
    }
}
