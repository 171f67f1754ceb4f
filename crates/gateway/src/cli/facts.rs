//! From command-line facts to the question that the policy is asked: the same one that the live gateway asks.

use jiff::Timestamp;
use portcullis_policy::{
    AccessRequest, ActionQuestion, AuthenticationRule, Bans, CanonicalPath, Circumstances, ClientAddress, CountryCode,
    Device, IdentityFact, Policy, Principal, PrincipalKind, RiskAssessment, RiskLevel, RouteId, canonical_host,
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

/// The facts of a question that names no request, owned.
#[derive(Debug)]
pub(crate) struct Stated {
    pub(crate) principal: Option<Principal>,
    pub(crate) host: Option<String>,
    client: ClientAddress,
    country: Option<CountryCode>,
    risk: RiskAssessment,
    now: Timestamp,
    /// What the asker should know, such as a role that does not exist.
    pub(crate) remarks: Vec<String>,
}

impl Stated {
    pub(crate) fn new(policy: &Policy, facts: &FactArgs) -> Result<Self, QuestionError> {
        let country = match &facts.country {
            Some(text) => Some(
                CountryCode::parse(text)
                    .ok_or_else(|| usage(format!("`{text}` is not a country code of two letters")))?,
            ),
            None => None,
        };
        let unknown_roles = facts.roles.iter().filter(|role| !policy.has_role(role));
        Ok(Self {
            principal: principal(facts)?,
            host: facts.host.as_deref().map(host).transpose()?,
            client: facts.ip.map_or(ClientAddress::Unknown, ClientAddress::known),
            country,
            risk: RiskAssessment { stated: facts.risk.map(level), ..RiskAssessment::NONE },
            now: facts.at.unwrap_or_else(Timestamp::now),
            remarks: unknown_roles.map(|role| format!("there is no role `{role}` in the policy")).collect(),
        })
    }

    pub(crate) fn circumstances(&self) -> Circumstances<'_> {
        Circumstances { client: self.client, country: self.country, risk: &self.risk, activations: &[], now: self.now }
    }
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
        let stated = Stated::new(policy, facts)?;
        remarks.extend(stated.remarks);
        Ok(Self {
            method: method.to_owned(),
            route,
            principal: stated.principal,
            client: stated.client,
            country: stated.country,
            risk: stated.risk,
            now: stated.now,
            path,
            remarks,
        })
    }

    /// Its action, for a question that leaves open who asks; `None` where it leads to no route.
    pub(crate) fn action(&self, facts: &FactArgs) -> Option<ActionQuestion<'_>> {
        Some(ActionQuestion {
            method: &self.method,
            path: &self.path,
            route: self.route?,
            circumstances: Circumstances {
                client: self.client,
                country: self.country,
                risk: &self.risk,
                activations: &[],
                now: self.now,
            },
            compliant_device: facts.device.map(is_compliant),
            fresh_mfa: facts.assurance == Some(AssuranceState::Mfa),
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
fn split_url<'a>(url: &'a str, stated: Option<&str>) -> Result<(Option<String>, &'a str), QuestionError> {
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
    match (stated, authority) {
        (Some(stated), _) => Ok((Some(host(stated)?), path)),
        (None, Some(authority)) => Ok((Some(host(authority)?), path)),
        (None, None) if path.starts_with('/') => Ok((None, path)),
        (None, None) => Err(usage(format!("`{url}` is neither a URL nor a path: a path begins with a slash"))),
    }
}

/// A host in the form in which routes compare it.
fn host(text: &str) -> Result<String, QuestionError> {
    match canonical_host(text) {
        Some(host) => Ok(host.into_owned()),
        None => Err(usage(format!("`{text}` is not a host"))),
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
    let mut principal = Principal::stated(kind, id);
    for name in &facts.groups {
        principal = principal.in_group(name.trim_start_matches("group:"));
    }
    principal.roles = facts.roles.iter().map(|role| role.as_str().into()).collect();
    principal.device = facts.device.map(|state| Device { id: "stated".into(), compliant: Some(is_compliant(state)) });
    principal.authentication.provider = "the command line".into();
    principal.authentication.stated_mfa = facts.assurance == Some(AssuranceState::Mfa);
    Ok(Some(principal))
}

fn is_compliant(state: DeviceState) -> bool {
    state == DeviceState::Compliant
}

fn level(state: RiskState) -> RiskLevel {
    match state {
        RiskState::Low => RiskLevel::Low,
        RiskState::Medium => RiskLevel::Medium,
        RiskState::High => RiskLevel::High,
    }
}
