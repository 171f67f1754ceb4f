//! The stages of a decision, each a function of the facts. `decide`, `explain` and `nearest` all run these and nothing
//! else, so an explanation cannot differ from the decision it explains.

use std::ops::ControlFlow;

use jiff::Timestamp;

use crate::action::{MatchedPatterns, MethodBit};
use crate::condition::{ConditionKind, Conditions, Truth, mfa_is_fresh};
use crate::decision::ShadowFinding;
use crate::draft::AuthenticationRule;
use crate::network::{NetworkId, NetworkSetId};
use crate::policy::*;
use crate::principal::{Principal, PrincipalKind};
use crate::reason::{Outcome, Reason, Stage};
use crate::record::Record;
use crate::request::{
    AccessRequest, Ban, BanScope, Bans, ClientAddress, CountryCode, Dependency, IdentityFact, RiskLevel,
};
use crate::route::RouteId;

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
}

/// What is supposed to be otherwise than it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Supposed {
    pub(crate) role: Option<RoleId>,
    pub(crate) group: Option<SubjectId>,
    pub(crate) compliant_device: bool,
    pub(crate) fresh_mfa: bool,
    pub(crate) any_credential: bool,
    /// The network that the client is supposed to come from; `View::networks` is one set within it.
    pub(crate) network: Option<NetworkId>,
    pub(crate) hours: Option<std::sync::Arc<str>>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Only `assurance` is missing.
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
        }
    }

    pub(crate) fn caller(&self, rule: AuthenticationRule) -> Caller<'a> {
        match (rule, self.request.identity) {
            (AuthenticationRule::None, _) => Caller::Anonymous,
            (_, IdentityFact::Verified(principal)) => Caller::Verified(principal),
            _ if self.supposed.any_credential => Caller::SomeVerified,
            (_, IdentityFact::Anonymous | IdentityFact::Rejected(_) | IdentityFact::Unavailable(_)) => {
                Caller::Anonymous
            }
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
        let granted = self.grants_stage(view, route, caller, record);
        if let Some(stop) = grants_stop(granted, resource, view, caller) {
            return Verdict::Stop(stop);
        }
        match self.risk_stage(view, route, resource, caller, granted, record) {
            Some(stop) => Verdict::Stop(stop),
            None => Verdict::Permit(granted.assignment()),
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

    /// A ban of the whole address refuses before anything else is looked at.
    pub(crate) fn ban_stage(&self, view: &View<'_>, record: &mut impl Record) -> Option<Stop> {
        let ban = view.request.bans.address.filter(|ban| ban.scope == BanScope::Address)?;
        if ban.simulated {
            record.shadow(|| ShadowFinding { outcome: Outcome::Deny, reason: Some(Reason::BanActive), rule: None });
            return None;
        }
        Some(Stop::deny(Reason::BanActive, None))
    }

    /// The ban that refuses, here or once it is known who it is.
    pub(crate) fn refusing_ban<'a>(&self, view: &View<'a>) -> Option<&'a Ban> {
        let Bans { address, principal } = view.request.bans;
        let rule = self.resource_of(view).map_or(AuthenticationRule::Required, |(_, resource)| resource.authentication);
        let verified = view.caller(rule) != Caller::Anonymous;
        let refuses = |ban: &&Ban| !ban.simulated && (ban.scope != BanScope::Anonymous || !verified);
        address.filter(refuses).or(principal.filter(|ban| verified && refuses(ban)))
    }

    pub(crate) fn network_stage(
        &self,
        view: &View<'_>,
        route: RouteId,
        resource: &Resource,
        record: &mut impl Record,
    ) -> Option<Stop> {
        let stop = self.network_answer(view, route, resource)?;
        if resource.shadow {
            record.shadow(|| self.shadow_of(stop));
            return None;
        }
        Some(stop)
    }

    fn network_answer(&self, view: &View<'_>, route: RouteId, resource: &Resource) -> Option<Stop> {
        if resource.allow.is_empty() && resource.deny.is_empty() {
            return None;
        }
        let denied = self.membership(view.networks, &resource.deny);
        if let Membership::In(network) = denied {
            return Some(Stop::deny(Reason::IpDenied, Some(RuleId::Network(network))));
        }
        let rule = Some(RuleId::Resource(route));
        if !resource.allow.is_empty() {
            match self.membership(view.networks, &resource.allow) {
                Membership::In(_) => {}
                Membership::AddressUnknown | Membership::Out => return Some(Stop::deny(Reason::IpNotAllowed, rule)),
                Membership::NetworkUnknown(network) => {
                    return Some(Stop::undecided(Reason::FeedStale, Stage::Network, Some(RuleId::Network(network))));
                }
            }
        }
        match denied {
            Membership::In(_) | Membership::Out => None,
            Membership::NetworkUnknown(network) => {
                Some(Stop::undecided(Reason::FeedStale, Stage::Network, Some(RuleId::Network(network))))
            }
            Membership::AddressUnknown => Some(Stop::undecided(Reason::PolicyUnavailable, Stage::Network, rule)),
        }
    }

    /// Whether the client is in one of the networks.
    pub(crate) fn membership(&self, client: Option<NetworkSetId>, networks: &[NetworkId]) -> Membership {
        let Some(set) = client else {
            return if networks.is_empty() { Membership::Out } else { Membership::AddressUnknown };
        };
        let members = self.networks.members(set);
        if let Some(network) = networks.iter().find(|network| members.binary_search(network).is_ok()) {
            return Membership::In(*network);
        }
        let unknown =
            |network: &&NetworkId| self.network_facts.get(network.0 as usize).is_some_and(|facts| facts.unknown);
        match networks.iter().find(unknown) {
            Some(network) => Membership::NetworkUnknown(*network),
            None => Membership::Out,
        }
    }

    pub(crate) fn authentication_stage(
        &self,
        view: &View<'_>,
        resource: &Resource,
        record: &mut impl Record,
    ) -> Option<Stop> {
        let verified = matches!(view.caller(resource.authentication), Caller::Verified(_) | Caller::SomeVerified);
        let bans = view.request.bans;
        let ban = match bans.address.filter(|ban| ban.scope == BanScope::Anonymous && !verified) {
            Some(ban) => Some(ban),
            None => bans.principal.filter(|_| verified),
        };
        if let Some(ban) = ban {
            if !ban.simulated {
                return Some(Stop { stage: Stage::Authentication, ..Stop::deny(Reason::BanActive, None) });
            }
            record.shadow(|| ShadowFinding { outcome: Outcome::Deny, reason: Some(Reason::BanActive), rule: None });
        }
        if resource.authentication == AuthenticationRule::None {
            return None;
        }
        match view.request.identity {
            IdentityFact::Verified(_) => None,
            _ if view.supposed.any_credential => None,
            IdentityFact::Rejected(problem) => Some(Stop::challenge(Reason::Authn(problem.kind))),
            IdentityFact::Unavailable(Dependency::Keys) => {
                Some(Stop::undecided(Reason::KeysUnavailable, Stage::Authentication, None))
            }
            IdentityFact::Unavailable(Dependency::Store) => {
                Some(Stop::undecided(Reason::StoreUnavailable, Stage::Authentication, None))
            }
            IdentityFact::Anonymous => {
                (resource.authentication == AuthenticationRule::Required).then(|| Stop::challenge(Reason::AuthnMissing))
            }
        }
    }

    /// An explicit deny is stronger than any grant; one that an unknown fact could bring about leaves the answer open.
    pub(crate) fn deny_stage(
        &self,
        view: &View<'_>,
        route: RouteId,
        caller: Caller<'_>,
        record: &mut impl Record,
    ) -> Option<Stop> {
        if self.denies.is_empty() {
            return None;
        }
        let mut open = None;
        let mut decisive: Option<DenyId> = None;
        let _ = self.for_each_subject(view, caller, &mut |subject| {
            for id in subject.denies.on(route) {
                let Some(deny) = self.denies.get(id.0 as usize) else { continue };
                if !deny.actions.contains(&view.matched, view.method)
                    || deny.period.state(view.now) != PeriodState::Within
                {
                    continue;
                }
                match self.conditions_hold(view, &deny.when, caller) {
                    Truth::No => {}
                    Truth::Yes if deny.shadow => {
                        record.shadow(|| self.shadow_of(Stop::deny(Reason::ExplicitDeny, Some(RuleId::Deny(id)))))
                    }
                    Truth::Yes => decisive = Some(decisive.map_or(id, |best| best.min(id))),
                    Truth::Unknown if deny.shadow => {}
                    Truth::Unknown => open = Some(open.map_or(id, |best: DenyId| best.min(id))),
                }
            }
            ControlFlow::<()>::Continue(())
        });
        match (decisive, open) {
            (Some(id), _) => Some(Stop::deny(Reason::ExplicitDeny, Some(RuleId::Deny(id)))),
            (None, Some(id)) => Some(Stop::undecided(Reason::PolicyUnavailable, Stage::Deny, Some(RuleId::Deny(id)))),
            (None, None) => None,
        }
    }

    pub(crate) fn grants_stage(
        &self,
        view: &View<'_>,
        route: RouteId,
        caller: Caller<'_>,
        record: &mut impl Record,
    ) -> GrantOutcome {
        let mut best = GrantOutcome::Nothing;
        if self.holds_role_directly(view, caller) {
            return GrantOutcome::Granted(None);
        }
        let _ = self.for_each_subject(view, caller, &mut |subject| {
            for id in subject.assignments.on(route) {
                let Some(assignment) = self.assignments.get(id.0 as usize) else { continue };
                if !self.role_permits(assignment.role, view) {
                    continue;
                }
                let outcome = self.assignment_outcome(view, id, assignment, caller);
                if assignment.shadow {
                    if matches!(outcome, GrantOutcome::Granted(_)) {
                        record.shadow(|| self.shadow_grant(assignment));
                    }
                    continue;
                }
                best = best.better(outcome);
                // One grant is enough, and which one is fixed: subjects and names have an order.
                if matches!(best, GrantOutcome::Granted(_)) {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        best
    }

    fn holds_role_directly(&self, view: &View<'_>, caller: Caller<'_>) -> bool {
        if view.supposed.role.is_some_and(|role| self.role_permits(role, view)) {
            return true;
        }
        match caller {
            Caller::Anonymous | Caller::SomeVerified => false,
            Caller::Verified(principal) => principal
                .roles
                .iter()
                .filter_map(|name| self.role_by_name.get(&**name))
                .any(|role| self.role_permits(*role, view)),
        }
    }

    /// Whether one of the role's permissions has an action that the request is, and no not-action of the same permission.
    pub(crate) fn role_permits(&self, role: RoleId, view: &View<'_>) -> bool {
        let Some(role) = self.roles.get(role.0 as usize) else { return false };
        role.actions.tags(&view.matched, view.method).any(|permission| {
            let excluded = self.not_actions.get(permission as usize);
            excluded.is_some_and(|excluded| !excluded.contains(&view.matched, view.method))
        })
    }

    pub(crate) fn assignment_outcome(
        &self,
        view: &View<'_>,
        id: AssignmentId,
        assignment: &Assignment,
        caller: Caller<'_>,
    ) -> GrantOutcome {
        match assignment.period.state(view.now) {
            PeriodState::After => return GrantOutcome::Expired(id),
            PeriodState::Before => return GrantOutcome::NotYetActive(id),
            PeriodState::Within => {}
        }
        if assignment.when.is_empty() {
            return GrantOutcome::Granted(Some(id));
        }
        let mut unmet = ConditionKind::ALL
            .into_iter()
            .filter(|kind| self.condition(view, &assignment.when, *kind, caller) != Truth::Yes);
        match (unmet.next(), unmet.next()) {
            (None, _) => GrantOutcome::Granted(Some(id)),
            (Some(ConditionKind::Assurance), None) => GrantOutcome::NeedsAssurance(id),
            (Some(ConditionKind::MaxRisk), None) => GrantOutcome::NeedsLowerRisk(id),
            (Some(_), _) => GrantOutcome::ConditionUnmet(id),
        }
    }

    fn conditions_hold(&self, view: &View<'_>, when: &Conditions, caller: Caller<'_>) -> Truth {
        let mut truth = Truth::Yes;
        for kind in ConditionKind::ALL {
            match self.condition(view, when, kind, caller) {
                Truth::Yes => {}
                Truth::No => return Truth::No,
                Truth::Unknown => truth = Truth::Unknown,
            }
        }
        truth
    }

    /// One condition; one that is not demanded holds.
    pub(crate) fn condition(
        &self,
        view: &View<'_>,
        when: &Conditions,
        kind: ConditionKind,
        caller: Caller<'_>,
    ) -> Truth {
        match kind {
            ConditionKind::Networks => {
                when.networks.as_ref().map_or(Truth::Yes, |networks| match self.membership(view.networks, networks) {
                    Membership::In(_) => Truth::Yes,
                    Membership::Out => Truth::No,
                    Membership::NetworkUnknown(_) | Membership::AddressUnknown => Truth::Unknown,
                })
            }
            ConditionKind::Hours => {
                when.hours.as_ref().map_or(Truth::Yes, |hours| Truth::from_bool(hours.hold(view.now)))
            }
            ConditionKind::Countries => match (&when.countries, view.country) {
                (None, _) => Truth::Yes,
                (Some(_), None) => Truth::Unknown,
                (Some(countries), Some(country)) => Truth::from_bool(countries.binary_search(&country).is_ok()),
            },
            ConditionKind::Device if !when.compliant_device => Truth::Yes,
            ConditionKind::Device => match caller {
                Caller::Anonymous => Truth::Unknown,
                Caller::SomeVerified | Caller::Verified(_) if view.supposed.compliant_device => Truth::Yes,
                Caller::SomeVerified => Truth::Unknown,
                Caller::Verified(principal) => match principal.device.as_ref().and_then(|device| device.compliant) {
                    Some(compliant) => Truth::from_bool(compliant),
                    None => Truth::Unknown,
                },
            },
            ConditionKind::Assurance => Truth::from_bool(!when.assurance_mfa || self.has_fresh_mfa(view, caller)),
            ConditionKind::MaxRisk => when.max_risk.map_or(Truth::Yes, |most| Truth::from_bool(view.level <= most)),
        }
    }

    /// The band decides: low permits, medium steps up, high denies where there is evidence and steps up where there is
    /// none. Who cannot answer a step-up (a service, or a route that ignores credentials) is permitted and reported. On a
    /// resource in shadow mode a step-up, and what its sensitivity would have changed, are only reported.
    pub(crate) fn risk_stage(
        &self,
        view: &View<'_>,
        route: RouteId,
        resource: &Resource,
        caller: Caller<'_>,
        granted: GrantOutcome,
        record: &mut impl Record,
    ) -> Option<Stop> {
        if resource.shadow {
            let declared = self.band(resource.sensitivity, view.request.risk).0;
            if let Some(stop) = self.risk_answer(view, declared, route, resource, caller, granted) {
                record.shadow(|| self.shadow_of(stop));
            }
        }
        let stop = self.risk_answer(view, view.level, route, resource, caller, granted)?;
        if !self.risk.enforce || resource.shadow && stop.outcome == Outcome::StepUp {
            record.shadow(|| self.shadow_of(stop));
            return None;
        }
        Some(stop)
    }

    fn risk_answer(
        &self,
        view: &View<'_>,
        level: RiskLevel,
        route: RouteId,
        resource: &Resource,
        caller: Caller<'_>,
        granted: GrantOutcome,
    ) -> Option<Stop> {
        let rule = granted.assignment().map(RuleId::Assignment).or(Some(RuleId::Resource(route)));
        let proven = view.evidence || view.request.risk.stated == Some(RiskLevel::High);
        match level {
            RiskLevel::Low => None,
            RiskLevel::High if proven => Some(Stop::deny(Reason::RiskTooHigh, rule)),
            RiskLevel::Medium | RiskLevel::High => {
                let can_step_up = match caller {
                    Caller::Verified(principal) => principal.kind != PrincipalKind::Service,
                    Caller::Anonymous => resource.authentication != AuthenticationRule::None,
                    Caller::SomeVerified => true,
                };
                (can_step_up && !self.has_fresh_mfa(view, caller)).then(|| Stop::step_up(rule))
            }
        }
    }

    pub(crate) fn has_fresh_mfa(&self, view: &View<'_>, caller: Caller<'_>) -> bool {
        match caller {
            // Whom nobody knows has authenticated by no means, whatever is supposed.
            Caller::Anonymous => false,
            Caller::SomeVerified => view.supposed.fresh_mfa,
            Caller::Verified(principal) => view.supposed.fresh_mfa || mfa_is_fresh(principal, &self.step_up, view.now),
        }
    }

    /// Everyone the caller is, for the rules: `anyone`, `authenticated`, itself, and its groups. A subject may be visited
    /// twice.
    pub(crate) fn for_each_subject<B>(
        &self,
        view: &View<'_>,
        caller: Caller<'_>,
        visit: &mut impl FnMut(&Subject) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.with_groups(Subjects::ANYONE, visit)?;
        if caller == Caller::Anonymous {
            return ControlFlow::Continue(());
        }
        self.with_groups(Subjects::AUTHENTICATED, visit)?;
        if let Caller::Verified(principal) = caller {
            if let Some(id) = self.subjects.of_principal(principal) {
                self.with_groups(id, visit)?;
            }
            for claim in &principal.groups {
                if let Some(id) = self.claimed_group(&claim.name, claim.trusted) {
                    self.with_groups(id, visit)?;
                }
            }
        }
        match view.supposed.group {
            Some(group) => self.with_groups(group, visit),
            None => ControlFlow::Continue(()),
        }
    }

    /// The group that a claim puts the caller into: a local one only if the provider is trusted with it.
    pub(crate) fn claimed_group(&self, name: &str, trusted: bool) -> Option<SubjectId> {
        let id = self.subjects.groups.get(name).copied()?;
        let declared = self.subjects.get(id).is_some_and(|subject| subject.declared);
        (trusted || !declared).then_some(id)
    }

    fn with_groups<B>(&self, id: SubjectId, visit: &mut impl FnMut(&Subject) -> ControlFlow<B>) -> ControlFlow<B> {
        let Some(subject) = self.subjects.get(id) else { return ControlFlow::Continue(()) };
        visit(subject)?;
        for group in &subject.groups {
            if let Some(group) = self.subjects.get(*group) {
                visit(group)?;
            }
        }
        ControlFlow::Continue(())
    }
}

/// What the grants' outcome means on a resource, before risk is looked at.
pub(crate) fn grants_stop(
    granted: GrantOutcome,
    resource: &Resource,
    view: &View<'_>,
    caller: Caller<'_>,
) -> Option<Stop> {
    let reason = match granted {
        GrantOutcome::Granted(_) => return None,
        GrantOutcome::NeedsLowerRisk(id) if view.evidence => {
            return Some(Stop::deny(Reason::RiskTooHigh, Some(RuleId::Assignment(id))));
        }
        GrantOutcome::NeedsAssurance(id) | GrantOutcome::NeedsLowerRisk(id) if caller != Caller::Anonymous => {
            return Some(Stop::step_up(Some(RuleId::Assignment(id))));
        }
        GrantOutcome::NeedsAssurance(_) | GrantOutcome::NeedsLowerRisk(_) | GrantOutcome::ConditionUnmet(_) => {
            Reason::ConditionUnmet
        }
        GrantOutcome::Expired(_) => Reason::AssignmentExpired,
        GrantOutcome::NotYetActive(_) => Reason::NotYetActive,
        GrantOutcome::Nothing => Reason::NoMatchingGrant,
    };
    if caller == Caller::Anonymous && resource.authentication == AuthenticationRule::Optional {
        // A credential might help.
        return Some(Stop { stage: Stage::Grants, ..Stop::challenge(Reason::AuthnMissing) });
    }
    Some(Stop::deny(reason, granted.assignment().map(RuleId::Assignment)))
}

/// Whether the client is in one of some networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Membership {
    In(NetworkId),
    Out,
    /// This one was never loaded, or is stale.
    NetworkUnknown(NetworkId),
    AddressUnknown,
}

impl GrantOutcome {
    pub(crate) fn assignment(self) -> Option<AssignmentId> {
        match self {
            Self::Granted(id) => id,
            Self::NeedsAssurance(id)
            | Self::NeedsLowerRisk(id)
            | Self::ConditionUnmet(id)
            | Self::Expired(id)
            | Self::NotYetActive(id) => Some(id),
            Self::Nothing => None,
        }
    }

    fn rank(self) -> u8 {
        match self {
            Self::Granted(_) => 0,
            Self::NeedsAssurance(_) => 1,
            Self::NeedsLowerRisk(_) => 2,
            Self::ConditionUnmet(_) => 3,
            Self::Expired(_) => 4,
            Self::NotYetActive(_) => 5,
            Self::Nothing => 6,
        }
    }

    /// The better of two for the caller; of equals the one first by name.
    fn better(self, other: Self) -> Self {
        match self.rank().cmp(&other.rank()).then(self.assignment().cmp(&other.assignment())) {
            std::cmp::Ordering::Greater => other,
            std::cmp::Ordering::Less | std::cmp::Ordering::Equal => self,
        }
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
