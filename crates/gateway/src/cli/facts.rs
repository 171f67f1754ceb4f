//! From command-line facts to the question that the policy is asked: the same one that the live gateway asks.

use jiff::Timestamp;
use portcullis_policy::{
    AccessRequest, Authentication, AuthenticationMethod, AuthenticationRule, Bans, CanonicalPath, ClientAddress,
    CountryCode, Device, GroupClaim, IdentityFact, Policy, Principal, PrincipalKind, RiskAssessment, RiskLevel,
    RouteId, canonical_host,
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
    /// The command line makes no sense.
    Usage(String),
    /// The gateway would refuse the request for its form: the code and the detail.
    Malformed(&'static str, String),
}

impl Supposed {
    pub(crate) fn new(policy: &Policy, method: &str, url: &str, facts: &FactArgs) -> Result<Self, QuestionError> {
        let (host, path) = split_url(url, facts.host.as_deref())?;
        let path = CanonicalPath::parse(path).map_err(|problem| {
            let malformation = Malformation::from(problem);
            QuestionError::Malformed(malformation.code.code(), malformation.detail)
        })?;
        let mut remarks = Vec::new();
        let route = match host {
            Some(host) => policy.find_route(&host, &path),
            None => route_without_host(policy, &path, &mut remarks)?,
        };
        let country = match &facts.country {
            Some(text) => Some(
                CountryCode::parse(text)
                    .ok_or_else(|| usage(format!("`{text}` is not a country code of two letters")))?,
            ),
            None => None,
        };
        for role in facts.roles.iter().filter(|role| !policy.has_role(role)) {
            remarks.push(format!("there is no role `{role}` in the policy"));
        }
        Ok(Self {
            method: method.to_owned(),
            route,
            principal: principal(facts)?,
            client: facts.ip.map_or(ClientAddress::Unknown, ClientAddress::known),
            country,
            risk: RiskAssessment { stated: facts.risk.map(level), ..RiskAssessment::NONE },
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
            activations: &[],
            now: self.now,
        }
    }
}

fn usage(text: impl Into<String>) -> QuestionError {
    QuestionError::Usage(text.into())
}

/// The canonical host, where one is named, and the path without its query.
fn split_url<'a>(url: &'a str, host: Option<&str>) -> Result<(Option<String>, &'a str), QuestionError> {
    let canonical = |text: &str| match canonical_host(text) {
        Some(host) => Ok(host.into_owned()),
        None => Err(usage(format!("`{text}` is not a host"))),
    };
    let (authority, rest) = match url.split_once("://") {
        Some(("http" | "https", rest)) => match rest.find(['/', '?', '#']) {
            Some(end) => (Some(rest.get(..end).unwrap_or(rest)), rest.get(end..).unwrap_or("/")),
            None => (Some(rest), "/"),
        },
        Some((scheme, _)) if !url.starts_with('/') => return Err(usage(format!("`{scheme}` is not http or https"))),
        _ => (None, url),
    };
    let path = rest.split(['?', '#']).next().unwrap_or(rest);
    let path = if path.is_empty() { "/" } else { path };
    match (host, authority) {
        (Some(host), _) => Ok((Some(canonical(host)?), path)),
        (None, Some(authority)) => Ok((Some(canonical(authority)?), path)),
        (None, None) if path.starts_with('/') => Ok((None, path)),
        (None, None) => Err(usage(format!("`{url}` is neither a URL nor a path: a path begins with a slash"))),
    }
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
                return Err(usage(format!("the path leads to {} on different hosts: give --host", names.join(", "))));
            };
            remarks.push(format!(
                "no --host given: taken as route {}, which answers for any host",
                policy.route_name(any)
            ));
            Ok(Some(any))
        }
    }
}

fn principal(facts: &FactArgs) -> Result<Option<Principal>, QuestionError> {
    let text = facts.principal.as_str();
    let (kind, id) = match text.split_once(':') {
        Some(("user", id)) => (PrincipalKind::User, id),
        Some(("service", id)) => (PrincipalKind::Service, id),
        Some(("certificate", id)) => (PrincipalKind::Certificate, id),
        Some((kind, _)) => {
            return Err(usage(format!("`{kind}` is not a kind of principal: user, service or certificate")));
        }
        None if matches!(text, "anyone" | "anonymous") => {
            return if facts.groups.is_empty() && facts.roles.is_empty() {
                Ok(None)
            } else {
                Err(usage("an anonymous caller has no groups or roles: say who it is with --as"))
            };
        }
        // Whoever it is, as long as it is verified: nobody has a name with a space.
        None if text == "authenticated" => (PrincipalKind::User, " "),
        None => (PrincipalKind::User, text),
    };
    if id.is_empty() {
        return Err(usage(format!("`{text}` has no id")));
    }
    Ok(Some(Principal {
        kind,
        id: id.into(),
        name: None,
        email: None,
        groups: facts
            .groups
            .iter()
            .map(|name| GroupClaim { name: name.trim_start_matches("group:").into(), trusted: true })
            .collect(),
        roles: facts.roles.iter().map(|role| role.as_str().into()).collect(),
        device: facts
            .device
            .map(|state| Device { id: "stated".into(), compliant: Some(state == DeviceState::Compliant) }),
        authentication: Authentication {
            method: AuthenticationMethod::Stated,
            provider: "the command line".into(),
            issuer: None,
            key_id: None,
            acr: None,
            amr: Vec::new(),
            auth_time: None,
            expires: None,
            stated_mfa: facts.assurance == Some(AssuranceState::Mfa),
        },
    }))
}

fn level(state: RiskState) -> RiskLevel {
    match state {
        RiskState::Low => RiskLevel::Low,
        RiskState::Medium => RiskLevel::Medium,
        RiskState::High => RiskLevel::High,
    }
}
