//! How what the policy engine says becomes part of an event. Every conversion is written out and exhaustive, so that a new
//! outcome or a new fact shows up here before it can be forgotten in the record.

use std::sync::Arc;

use jiff::Timestamp;
use portcullis_policy::{
    self as policy, AuthenticationMethod, Denial, Outcome, Principal, RiskAssessment, RiskVerdict, RuleRef,
    StepUpDemand,
};

use crate::event::{Answer, Ban, Check, Device, Event, EventKind, Identity, Nearest, Risk, Shadow, Signal};
use crate::reason_code::ReasonCode;

impl Event {
    /// A refusal by policy: the decision, its reasons, the rule, the trace, the nearest grants and the remedy.
    ///
    /// The request, the client, the principal, the risk and the ban are facts that the denial does not hold, or that were not
    /// yet known when it was made: the caller adds them with [`Identity::of`], [`Risk::of`] and `Ban::from`, in any order.
    pub fn denied_by(id: uuid::Uuid, time: Timestamp, denial: &Denial) -> Self {
        let mut event = Self::denied(id, time, denial.reason.into());
        event.set_denial(denial);
        event
    }

    /// Puts everything that a denial says into the event.
    pub fn set_denial(&mut self, denial: &Denial) {
        self.set_reason(denial.reason.into());
        self.decision = Some(denial.outcome.into());
        self.status = Some(denial.status());
        for reason in &denial.reasons {
            let code = ReasonCode::from(*reason);
            if !self.reasons.contains(&code) {
                self.reasons.push(code);
            }
        }
        self.message = Some(denial.message.clone());
        if let Some(rule) = &denial.rule {
            self.policy.rule = Some(Arc::clone(&rule.name));
            self.policy.file = Some(Arc::clone(&rule.file));
            self.policy.line = Some(rule.line);
        }
        self.checks = denial.trace.checks.iter().map(Check::from).collect();
        self.set_shadow(&denial.trace.shadow);
        self.nearest = denial.nearest.iter().map(Nearest::from).collect();
        self.remedy.required_roles = required_roles(&denial.nearest);
        self.remedy.acr_values = denial.step_up.as_ref().filter(|demand| demand.mfa).map(acr_values);
        self.remedy.max_age_s = denial.step_up.as_ref().and_then(|demand| demand.max_age_s);
    }

    /// Adds what rules in shadow mode would have done.
    pub fn set_shadow(&mut self, findings: &[policy::ShadowFinding]) {
        self.shadow = (!findings.is_empty()).then(|| findings.iter().map(Shadow::from).collect());
    }

    /// A ban that was just made. Whom it refuses goes into `client.ip` or `identity.id`, by the caller.
    pub fn ban_created(id: uuid::Uuid, time: Timestamp, ban: &policy::Ban) -> Self {
        let mut event = Self::new(EventKind::BanCreated, id, time);
        let kept = if ban.simulated { ", simulated" } else { "" };
        event.message = Some(format!("{} (scope {}{kept})", ban.cause, ban.scope.as_str()));
        event.ban = ban.into();
        event
    }
}

impl Identity {
    /// A verified principal as it stands at `now`, with the roles it effectively holds on the route (`Trace::roles`). Where
    /// the decision did not get as far as roles, they are those it holds directly.
    pub fn of(principal: &Principal, roles: &[Arc<str>], now: Timestamp) -> Self {
        let authentication = &principal.authentication;
        let api_key = authentication.method == AuthenticationMethod::ApiKey;
        let session = matches!(authentication.method, AuthenticationMethod::Oidc | AuthenticationMethod::Password);
        Self {
            id: Some(principal.id.to_string()),
            name: principal.name.as_deref().map(str::to_owned),
            kind: Some(principal.kind.as_str()),
            method: Some(authentication.method.as_str()),
            issuer: authentication.issuer.as_deref().map(str::to_owned),
            session: authentication.key_id.as_deref().filter(|_| session).map(str::to_owned),
            groups: principal.groups.iter().map(|group| group.name.to_string()).collect(),
            directory: principal.directory.as_deref().map(str::to_owned),
            roles: if roles.is_empty() { direct_roles(principal) } else { owned(roles) },
            acr: authentication.acr.as_deref().map(str::to_owned),
            mfa: several_factors(authentication),
            auth_age_s: authentication.auth_time.map(|then| age_s(then, now)),
            api_key_id: authentication.key_id.as_deref().filter(|_| api_key).map(str::to_owned),
            cert_sha256: None,
            cert_subject: None,
        }
    }
}

fn direct_roles(principal: &Principal) -> Vec<String> {
    principal.roles.iter().map(|role| role.to_string()).collect()
}

/// What the credential itself says (RFC 8176 section 2, `mfa`). What counts as assurance for a rule is the policy's affair
/// and stands in `checks`.
fn several_factors(authentication: &policy::Authentication) -> Option<bool> {
    if authentication.stated_mfa {
        return Some(true);
    }
    (!authentication.amr.is_empty()).then(|| authentication.amr.iter().any(|method| &**method == "mfa"))
}

/// Whole seconds; a time in the future counts as now, since clocks differ.
fn age_s(then: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.as_second().saturating_sub(then.as_second())).unwrap_or(0)
}

impl From<&policy::Device> for Device {
    fn from(device: &policy::Device) -> Self {
        Self { id: Some(device.id.to_string()), managed: None, compliant: device.compliant, fingerprint: None }
    }
}

impl Risk {
    /// An assessment, and the band and threshold it met where a decision got that far.
    pub fn of(assessment: &RiskAssessment, verdict: Option<RiskVerdict>) -> Self {
        Self {
            score: Some(centinats(assessment.mnats)),
            level: verdict.map(|verdict| verdict.level.as_str()),
            threshold: verdict.map(|verdict| centinats(verdict.threshold_mnats)),
            mnats: Some(assessment.mnats),
            calibration: None,
            display: None,
            degraded: Some(assessment.degraded),
            inputs: None,
            signals: assessment.signals.iter().map(Signal::from).collect(),
        }
    }
}

impl From<&policy::RiskSignal> for Signal {
    fn from(signal: &policy::RiskSignal) -> Self {
        Self {
            name: signal.name,
            family: signal.family.as_str(),
            weight: centinats(signal.mnats),
            mnats: signal.mnats,
            value: signal.value.clone(),
            reason: signal.reason.clone(),
        }
    }
}

/// Milli-nats in the unit of the event, rounded half away from zero.
fn centinats(mnats: i32) -> i32 {
    mnats.saturating_add(5 * mnats.signum()) / 10
}

impl From<&policy::Ban> for Ban {
    fn from(ban: &policy::Ban) -> Self {
        Self { active: !ban.simulated, until: Some(ban.until), offences: Some(ban.offences) }
    }
}

impl From<policy::Bans<'_>> for Ban {
    /// The ban in force, where there is one; else a simulated one; else none. An address's comes before a principal's.
    fn from(bans: policy::Bans<'_>) -> Self {
        let of_request = || [bans.address, bans.principal].into_iter().flatten();
        of_request().find(|ban| !ban.simulated).or_else(|| of_request().next()).map_or_else(Self::default, Self::from)
    }
}

impl From<&policy::Check> for Check {
    fn from(check: &policy::Check) -> Self {
        Self {
            name: check.stage.as_str(),
            outcome: check.outcome.as_str(),
            value: check.value.clone(),
            detail: check.detail.clone(),
        }
    }
}

impl From<&policy::Nearest> for Nearest {
    fn from(nearest: &policy::Nearest) -> Self {
        let (_, file, line) = place(nearest.at.as_ref());
        let grant = nearest.grant.as_ref().map(|rule| Arc::clone(&rule.name));
        Self { needs: nearest.needs.clone(), grant, file, line }
    }
}

impl From<&policy::ShadowFinding> for Shadow {
    fn from(finding: &policy::ShadowFinding) -> Self {
        let (rule, file, line) = place(finding.rule.as_ref());
        Self { decision: finding.outcome.into(), reason: finding.reason.map(ReasonCode::from), rule, file, line }
    }
}

/// A rule's name, file and line.
fn place(rule: Option<&RuleRef>) -> (Option<Arc<str>>, Option<Arc<str>>, Option<u32>) {
    match rule {
        Some(rule) => (Some(Arc::clone(&rule.name)), Some(Arc::clone(&rule.file)), Some(rule.line)),
        None => (None, None, None),
    }
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Permit => Self::Permit,
            Outcome::Deny => Self::Deny,
            Outcome::Challenge => Self::Challenge,
            Outcome::StepUp => Self::StepUp,
            Outcome::Undecided => Self::Undecided,
        }
    }
}

/// The roles among the nearest changes, each once, in their order; `None` where no role would help.
fn required_roles(nearest: &[policy::Nearest]) -> Option<Vec<String>> {
    let mut roles: Vec<String> = Vec::new();
    for role in nearest.iter().flat_map(|change| &change.needs).filter_map(|need| need.strip_prefix("role:")) {
        if !roles.iter().any(|known| known == role) {
            roles.push(role.to_owned());
        }
    }
    (!roles.is_empty()).then_some(roles)
}

fn acr_values(demand: &StepUpDemand) -> Vec<String> {
    owned(&demand.acr_values)
}

fn owned(names: &[Arc<str>]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}
