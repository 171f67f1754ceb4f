//! What the command line states, as the facts of a question.

use portcullis_policy::{CountryCode, Policy, RiskLevel, StatedFacts, stated_principal};

use crate::answers::supposed::{QuestionError, Supposed};
use crate::cli::args::{AssuranceState, DeviceState, FactArgs, RiskState};

/// What the command line supposes.
pub(crate) fn supposed(policy: &Policy, method: &str, url: &str, facts: &FactArgs) -> Result<Supposed, QuestionError> {
    Supposed::of(policy, method, url, &stated(facts)?)
}

/// The facts that the command line states, in their own types.
pub(crate) fn stated(facts: &FactArgs) -> Result<StatedFacts, QuestionError> {
    let country = match &facts.country {
        Some(text) => Some(
            CountryCode::parse(text)
                .ok_or_else(|| QuestionError::Usage(format!("`{text}` is not a country code of two letters")))?,
        ),
        None => None,
    };
    let principal = stated_principal(&facts.principal).map_err(QuestionError::Usage)?;
    Ok(StatedFacts {
        principal: principal.map(|(kind, id)| (kind, id.to_owned())),
        groups: facts.groups.clone(),
        roles: facts.roles.clone(),
        host: facts.host.clone(),
        ip: facts.ip,
        country,
        compliant_device: facts.device.map(|state| state == DeviceState::Compliant),
        fresh_mfa: facts.assurance == Some(AssuranceState::Mfa),
        authenticated_s: facts.authenticated.map(|ago| ago.as_secs()),
        risk: facts.risk.map(level),
        activated: facts.activated.clone(),
        at: facts.at,
    })
}

fn level(state: RiskState) -> RiskLevel {
    match state {
        RiskState::Low => RiskLevel::Low,
        RiskState::Medium => RiskLevel::Medium,
        RiskState::High => RiskLevel::High,
    }
}
