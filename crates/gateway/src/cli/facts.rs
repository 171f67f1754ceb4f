//! From stated facts to the question that the policy is asked: the same one that the live gateway asks.

use jiff::Timestamp;
use portcullis_policy::{
    AccessRequest, Authentication, AuthenticationMethod, AuthenticationRule, Bans, CanonicalPath, ClientAddress,
    CountryCode, Device, GroupClaim, IdentityFact, Policy, Principal, RiskAssessment, RiskLevel, RouteId, StatedFacts,
    stated_host, stated_principal, stated_target,
};
use portcullis_proxy::malformation::Malformation;

use crate::cli::args::{AssuranceState, DeviceState, FactArgs, RiskState};

/// A supposed request, owned.
#[derive(Debug)]
pub(crate) struct Supposed {
    method: String,
    path: CanonicalPath,
    route: Option<RouteId>,
    principal: Option<Principal>,
    client: ClientAddress,
    country: Option<CountryCode>,
    risk: RiskAssessment,
    now: Timestamp,
    /// What the asker should know, such as a role that does not exist.
    pub(crate) remarks: Vec<String>,
}

/// Why a question cannot be asked.
#[derive(Debug)]
pub(crate) enum QuestionError {
    /// What is stated makes no sense, or does not suffice.
    Usage(String),
    /// The gateway would refuse the request for its form: the code and the detail.
    Malformed(&'static str, String),
}

impl Supposed {
    /// What the command line supposes.
    pub(crate) fn new(policy: &Policy, method: &str, url: &str, facts: &FactArgs) -> Result<Self, QuestionError> {
        Self::of(policy, method, url, &stated(facts)?)
    }

    /// What somebody supposes, on the command line or in a case file.
    pub(crate) fn of(policy: &Policy, method: &str, url: &str, facts: &StatedFacts) -> Result<Self, QuestionError> {
        let (named, path) = stated_target(url).map_err(usage)?;
        let host = match &facts.host {
            Some(host) => Some(stated_host(host).map_err(usage)?),
            None => named,
        };
        let path = CanonicalPath::parse(path).map_err(|problem| {
            let malformation = Malformation::from(problem);
            QuestionError::Malformed(malformation.code.code(), malformation.detail)
        })?;
        let mut remarks = Vec::new();
        let route = match host {
            Some(host) => policy.find_route(&host, &path),
            None => route_without_host(policy, &path, &mut remarks)?,
        };
        for role in facts.roles.iter().filter(|role| !policy.has_role(role)) {
            remarks.push(format!("there is no role `{role}` in the policy"));
        }
        Ok(Self {
            method: method.to_owned(),
            route,
            principal: principal(facts)?,
            client: facts.ip.map_or(ClientAddress::Unknown, ClientAddress::known),
            country: facts.country,
            risk: RiskAssessment { stated: facts.risk, ..RiskAssessment::NONE },
            now: facts.at.unwrap_or_else(Timestamp::now),
            path,
            remarks,
        })
    }

    /// The question.
    pub(crate) fn request(&self, policy: &Policy) -> AccessRequest<'_> {
        let ignored = self.route.is_some_and(|route| policy.authentication(route) == AuthenticationRule::None);
        AccessRequest {
            method: &self.method,
            path: &self.path,
            route: self.route,
            client: self.client,
            country: self.country,
            identity: match &self.principal {
                Some(principal) if !ignored => IdentityFact::Verified(principal),
                _ => IdentityFact::Anonymous,
            },
            risk: &self.risk,
            bans: Bans::default(),
            now: self.now,
        }
    }
}

fn usage(text: impl Into<String>) -> QuestionError {
    QuestionError::Usage(text.into())
}

/// Without a host, the route is the one that the path leads to on whatever host; if there are several, the asker must say.
fn route_without_host(
    policy: &Policy,
    path: &CanonicalPath,
    remarks: &mut Vec<String>,
) -> Result<Option<RouteId>, QuestionError> {
    let candidates = policy.routes_on_any_host(path);
    match candidates.as_slice() {
        [] => Ok(None),
        [route] => Ok(Some(*route)),
        several => {
            let names: Vec<&str> = several.iter().map(|route| policy.route_name(*route)).collect();
            let Some(any) = policy.find_route("", path) else {
                return Err(usage(format!(
                    "the path leads to {} on different hosts: say which host",
                    names.join(", ")
                )));
            };
            remarks
                .push(format!("no host given: taken as route {}, which answers for any host", policy.route_name(any)));
            Ok(Some(any))
        }
    }
}

fn principal(facts: &StatedFacts) -> Result<Option<Principal>, QuestionError> {
    let Some((kind, id)) = &facts.principal else {
        return if facts.groups.is_empty() && facts.roles.is_empty() {
            Ok(None)
        } else {
            Err(usage("an anonymous caller has no groups or roles: say who it is (--as)"))
        };
    };
    Ok(Some(Principal {
        kind: *kind,
        id: id.as_str().into(),
        name: None,
        email: None,
        groups: facts
            .groups
            .iter()
            .map(|name| GroupClaim { name: name.trim_start_matches("group:").into(), trusted: true })
            .collect(),
        roles: facts.roles.iter().map(|role| role.as_str().into()).collect(),
        device: facts.compliant_device.map(|compliant| Device { id: "stated".into(), compliant: Some(compliant) }),
        authentication: Authentication {
            method: AuthenticationMethod::Stated,
            provider: "the command line".into(),
            issuer: None,
            key_id: None,
            acr: None,
            amr: Vec::new(),
            auth_time: None,
            expires: None,
            stated_mfa: facts.fresh_mfa,
        },
    }))
}

/// The facts that the command line states, in their own types.
fn stated(facts: &FactArgs) -> Result<StatedFacts, QuestionError> {
    let country = match &facts.country {
        Some(text) => Some(
            CountryCode::parse(text).ok_or_else(|| usage(format!("`{text}` is not a country code of two letters")))?,
        ),
        None => None,
    };
    let principal = stated_principal(&facts.principal).map_err(usage)?;
    Ok(StatedFacts {
        principal: principal.map(|(kind, id)| (kind, id.to_owned())),
        groups: facts.groups.clone(),
        roles: facts.roles.clone(),
        host: facts.host.clone(),
        ip: facts.ip,
        country,
        compliant_device: facts.device.map(|state| state == DeviceState::Compliant),
        fresh_mfa: facts.assurance == Some(AssuranceState::Mfa),
        risk: facts.risk.map(level),
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
