//! From stated facts to the question that the policy is asked: the same one that the live gateway asks.

use jiff::{SignedDuration, Timestamp};
use portcullis_geo::{Geo, GeoSettings};
use portcullis_policy::{
    AccessRequest, ActionQuestion, Activation, AuthenticationRule, Bans, CanonicalPath, Circumstances, ClientAddress,
    Contained, CountryCode, Device, IdentityFact, Lent, Policy, Principal, RiskAssessment, RouteId, StatedFacts,
    stated_host, stated_target,
};
use portcullis_proxy::malformation::Malformation;

use super::terminal::safe;

/// A supposed request, owned.
#[derive(Debug)]
pub(crate) struct Supposed {
    method: String,
    path: CanonicalPath,
    pub(crate) route: Option<RouteId>,
    facts: Stated,
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
    activations: Vec<Activation>,
    now: Timestamp,
    /// What the asker should know, such as a role that does not exist.
    pub(crate) remarks: Vec<String>,
}

impl Stated {
    /// What somebody supposes.
    pub(crate) fn of(policy: &Policy, facts: &StatedFacts) -> Result<Self, QuestionError> {
        let unknown_roles = facts.roles.iter().filter(|role| !policy.has_role(role));
        // What is stated to be activated is activated, whenever it is.
        let activation = |name: &String| Activation { gives: Lent::parse(name), ..Activation::of("", Timestamp::MAX) };
        Ok(Self {
            principal: principal(policy, facts)?,
            host: facts.host.as_deref().map(stated_host).transpose().map_err(usage)?,
            client: facts.ip.map_or(ClientAddress::Unknown, ClientAddress::known),
            country: facts.country,
            risk: RiskAssessment { stated: facts.risk, ..RiskAssessment::NONE },
            activations: facts.activated.iter().map(activation).collect(),
            now: facts.at.unwrap_or_else(Timestamp::now),
            remarks: unknown_roles.map(|role| format!("there is no role `{role}` in the policy")).collect(),
        })
    }

    /// Those that do not say who asks.
    pub(crate) fn circumstances(&self) -> Circumstances<'_> {
        Circumstances {
            client: self.client,
            country: self.country,
            risk: &self.risk,
            activations: &self.activations,
            now: self.now,
        }
    }

    /// Finds out in which country the stated address is by the databases of a running gateway, where it has any and nobody has stated it.
    pub(crate) fn locate_with(&mut self, geo: &Geo) {
        if let Some(address) = self.client.ip().filter(|_| self.country.is_none() && !geo.reports().is_empty()) {
            let remark;
            (self.country, remark) = located(address, geo);
            self.remarks.push(remark);
        }
    }

    /// Besides what is stated, this is in force for whoever it is about.
    pub(crate) fn lend(&mut self, activations: Vec<Activation>) {
        self.activations.extend(activations);
    }
}

/// The country of an address, and what a database says of it in a sentence.
fn located(address: std::net::IpAddr, geo: &Geo) -> (Option<CountryCode>, String) {
    let (country, place) = (geo.country(address), geo.place(address));
    let network = match (place.asn, &place.as_org) {
        (Some(asn), Some(organization)) => format!(", and its network is AS{asn} {}", safe(organization)),
        (Some(asn), None) => format!(", and its network is AS{asn}"),
        (None, _) => String::new(),
    };
    let remark = match country {
        Some(CountryCode::NOWHERE) => format!("{address} is private or reserved: it is in no country"),
        Some(country) => {
            format!("by the geo database {address} is in {}{network}; --country states another", country.as_str())
        }
        None => format!("no geo database knows the country of {address}{network}; --country states one"),
    };
    (country, remark)
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
    /// What somebody supposes: on the command line, over the API or in a case file.
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
        let mut facts = Stated::of(policy, facts)?;
        remarks.append(&mut facts.remarks);
        Ok(Self { method: method.to_owned(), path, route, facts, remarks })
    }

    /// Finds out in which country the stated address is, as the gateway does, where that can matter and nobody has stated it; and says so.
    pub(crate) fn locate(&mut self, policy: &Policy, settings: &GeoSettings) {
        let GeoSettings { city, country, .. } = settings;
        if self.to_locate(policy).is_none() || (city.is_none() && country.is_none()) {
            return;
        }
        let geo = Geo::default();
        for change in geo.configure(settings) {
            if let Err(problem) = change.result {
                self.remarks.push(format!("the geo database `{}`: {}", change.database, safe(&problem)));
            }
        }
        self.find(policy, &geo);
    }

    /// The same by the databases of a running gateway, where it has any.
    pub(crate) fn locate_with(&mut self, policy: &Policy, geo: &Geo) {
        if !geo.reports().is_empty() {
            self.find(policy, geo);
        }
    }

    /// The address whose country nobody has stated, where that can matter.
    fn to_locate(&self, policy: &Policy) -> Option<std::net::IpAddr> {
        let matters = self.facts.country.is_none() && self.route.is_some_and(|route| policy.asks_country(route));
        self.facts.client.ip().filter(|_| matters)
    }

    fn find(&mut self, policy: &Policy, geo: &Geo) {
        let Some(address) = self.to_locate(policy) else { return };
        let remark;
        (self.facts.country, remark) = located(address, geo);
        self.remarks.push(remark);
    }

    /// Who asks; `None`: nobody in particular.
    pub(crate) fn principal(&self) -> Option<&Principal> {
        self.facts.principal.as_ref()
    }

    /// Besides what is stated, this is in force for whoever asks.
    pub(crate) fn lend(&mut self, activations: Vec<Activation>) {
        self.facts.lend(activations);
    }

    /// Its action, for a question that leaves open who asks; `None` where it leads to no route.
    pub(crate) fn action(&self, facts: &StatedFacts) -> Option<ActionQuestion<'_>> {
        Some(ActionQuestion {
            method: &self.method,
            path: &self.path,
            route: self.route?,
            circumstances: self.facts.circumstances(),
            compliant_device: facts.compliant_device,
            fresh_mfa: facts.fresh_mfa,
            authenticated_s: facts.authenticated_s,
        })
    }

    /// The question.
    pub(crate) fn request(&self, policy: &Policy) -> AccessRequest<'_> {
        let Circumstances { client, country, risk, activations, now } = self.facts.circumstances();
        let ignored = self.route.is_some_and(|route| policy.authentication(route) == AuthenticationRule::None);
        AccessRequest {
            method: &self.method,
            path: &self.path,
            route: self.route,
            client,
            country,
            identity: match &self.facts.principal {
                Some(principal) if !ignored => IdentityFact::Verified(principal),
                _ => IdentityFact::Anonymous,
            },
            risk,
            bans: Bans::default(),
            contained: Contained::default(),
            posture: None,
            activations,
            now,
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

/// Under its id as the policy compares it, however it is stated.
fn principal(policy: &Policy, facts: &StatedFacts) -> Result<Option<Principal>, QuestionError> {
    let Some((kind, id)) = &facts.principal else {
        return if facts.groups.is_empty() && facts.roles.is_empty() {
            Ok(None)
        } else {
            Err(usage("an anonymous caller has no groups or roles: say who it is (--as)"))
        };
    };
    let mut principal = Principal::stated(*kind, &policy.spelling().id(*kind, id));
    for name in &facts.groups {
        principal = principal.in_group(name.trim_start_matches("group:"));
    }
    principal.roles = facts.roles.iter().map(|role| role.as_str().into()).collect();
    let device = |compliant| Device { id: "stated".into(), compliant: Some(compliant) };
    principal.device = facts.compliant_device.map(device);
    principal.authentication.provider = "the command line".into();
    principal.authentication.stated_mfa = facts.fresh_mfa;
    let now = facts.at.unwrap_or_else(Timestamp::now);
    let ago = facts.authenticated_s.and_then(|ago| i64::try_from(ago).ok()).map(SignedDuration::from_secs);
    principal.authentication.auth_time = ago.and_then(|ago| now.checked_sub(ago).ok());
    Ok(Some(principal))
}
