//! One recorded line: the request that was decided on, as far as the line says it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use portcullis_events::access::ACCESS_SCHEMA;
use portcullis_events::event::SCHEMA;
use portcullis_policy::{
    Activation, Authentication, AuthenticationMethod, Ban, BanScope, ClientAddress, CountryCode, CredentialProblemKind,
    CredentialScope, Dependency, Device, GroupClaim, KeptIdentity, KeptRare, KeptRequest, KeptRisk, KeptText, Lent,
    Principal, PrincipalKind, RiskAssessment, SignalFamily,
};
use serde::{Deserialize, Deserializer};

use crate::again::{Missing, Unknown};

/// What a line is.
#[derive(Debug, Clone, PartialEq)]
pub enum Recorded {
    /// A request that a policy decided on.
    Decision {
        /// What is known of it.
        request: KeptRequest,
        /// What is not.
        unknown: Unknown,
        /// Whether it was permitted.
        permitted: Option<bool>,
    },
    /// It was a decision, and cannot be made again.
    Incomplete(Missing),
    /// It was refused before a policy was asked, for this reason.
    NotAsked(String),
    /// An event of another kind.
    Other,
    /// It is none.
    Unreadable,
}

/// Reads a native event, or a line of the access log in its JSON form.
pub fn read(line: &[u8]) -> Recorded {
    // As the gateway writes it: then the line is parsed once.
    if line.starts_with(b"{\"schema\":\"portcullis.event/1\"") {
        return of_event(line);
    }
    let Ok(record) = serde_json::from_slice::<Record<'_>>(line) else { return Recorded::Unreadable };
    match &*record.schema {
        SCHEMA => of_event(line),
        ACCESS_SCHEMA => of_access(line),
        _ => Recorded::Unreadable,
    }
}

#[derive(Deserialize)]
struct Record<'l> {
    #[serde(borrow)]
    schema: Cow<'l, str>,
}

/// The keys of the native event that a decision rests on.
#[derive(Deserialize)]
struct Event<'l> {
    #[serde(borrow)]
    time: Cow<'l, str>,
    #[serde(borrow)]
    kind: Cow<'l, str>,
    #[serde(borrow, default)]
    decision: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    origin: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    reason: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    request: Request<'l>,
    #[serde(borrow, default)]
    client: Client<'l>,
    #[serde(borrow, default)]
    identity: Identity<'l>,
    #[serde(borrow, default)]
    device: DevicePart<'l>,
    #[serde(borrow, default)]
    risk: Risk<'l>,
    #[serde(borrow, default)]
    facts: Option<Facts<'l>>,
    #[serde(borrow, default)]
    truncated: Vec<Cow<'l, str>>,
}

#[derive(Deserialize, Default)]
struct Request<'l> {
    #[serde(borrow, default)]
    method: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    host: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    path: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    user_agent: Option<Cow<'l, str>>,
}

#[derive(Deserialize, Default)]
struct Client<'l> {
    #[serde(default)]
    ip: Option<IpAddr>,
    #[serde(borrow, default)]
    country: Option<Cow<'l, str>>,
}

#[derive(Deserialize, Default)]
struct Identity<'l> {
    #[serde(borrow, default)]
    id: Option<Cow<'l, str>>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    method: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    groups: Vec<Cow<'l, str>>,
    #[serde(borrow, default)]
    acr: Option<Cow<'l, str>>,
}

#[derive(Deserialize, Default)]
struct DevicePart<'l> {
    #[serde(borrow, default)]
    id: Option<Cow<'l, str>>,
    #[serde(default)]
    compliant: Option<bool>,
}

#[derive(Deserialize, Default)]
struct Risk<'l> {
    #[serde(default)]
    mnats: Option<i32>,
    #[serde(borrow, default)]
    signals: Vec<Signal<'l>>,
}

#[derive(Deserialize)]
struct Signal<'l> {
    #[serde(borrow, default)]
    family: Option<Cow<'l, str>>,
    #[serde(default)]
    mnats: i32,
}

#[derive(Deserialize)]
struct Facts<'l> {
    #[serde(borrow)]
    time: Cow<'l, str>,
    #[serde(borrow)]
    identity: Cow<'l, str>,
    #[serde(borrow, default)]
    country: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    local_groups: Vec<Cow<'l, str>>,
    #[serde(borrow, default)]
    direct_roles: Vec<Cow<'l, str>>,
    #[serde(borrow, default)]
    amr: Vec<Cow<'l, str>>,
    #[serde(borrow, default)]
    auth_time: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    bans: Vec<Cow<'l, str>>,
    #[serde(borrow, default)]
    demanded: Vec<Cow<'l, str>>,
    #[serde(borrow, default)]
    activated: Vec<Cow<'l, str>>,
    /// Events of older versions do not say.
    #[serde(borrow, default, deserialize_with = "said")]
    scope: Option<Option<Scope<'l>>>,
}

#[derive(Deserialize)]
struct Scope<'l> {
    #[serde(borrow)]
    routes: Vec<Cow<'l, str>>,
    #[serde(borrow)]
    networks: Vec<Cow<'l, str>>,
}

/// A null that is there says something.
fn said<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// What a cut of these keys would change.
const CUT: [&str; 11] = [
    "request.method",
    "request.host",
    "request.path",
    "identity.id",
    "identity.groups",
    "identity.acr",
    "facts.local_groups",
    "facts.direct_roles",
    "facts.amr",
    "facts.scope.routes",
    "facts.scope.networks",
];

fn of_event(line: &[u8]) -> Recorded {
    let Ok(event) = serde_json::from_slice::<Event<'_>>(line) else { return Recorded::Unreadable };
    let permitted = match &*event.kind {
        "access.allowed" => Some(true),
        // The upstream answers only what was permitted, whatever it answers.
        "access.denied" if event.origin.as_deref() == Some("upstream") => Some(true),
        "access.denied" => match stage(event.reason.as_deref()) {
            "upstream" => Some(true),
            "request" | "limit" | "internal" | "session" => {
                return Recorded::NotAsked(event.reason.unwrap_or_default().into_owned());
            }
            _ => Some(event.decision.as_deref() == Some("permit")),
        },
        _ => return Recorded::Other,
    };
    if CUT.iter().any(|key| event.truncated.iter().any(|cut| cut == key)) {
        return Recorded::Incomplete(Missing::Cut);
    }
    let now = event.facts.as_ref().map_or(&event.time, |facts| &facts.time).parse::<Timestamp>();
    let request = &event.request;
    let (Ok(now), Some(method), Some(host), Some(path)) = (now, &request.method, &request.host, &request.path) else {
        return Recorded::Incomplete(Missing::Request);
    };
    let software = request.user_agent.as_deref().map(software).unwrap_or_default();
    let Some(request) = KeptRequest::new(KeptText { method, host, path, software }, now) else {
        return Recorded::Incomplete(Missing::Request);
    };
    let (identity, missing) = event.identity(now);
    let country = event.facts.as_ref().and_then(|facts| facts.country.as_deref());
    let country = country.or(event.client.country.as_deref()).and_then(CountryCode::parse);
    let risk = event.risk.kept();
    let unknown = Unknown {
        identity: missing,
        country: country.is_none(),
        // Before it is known who it is, nobody looks at the risk, and nothing asks for it.
        risk: risk.is_none(),
        demands: event.facts.as_ref().is_some_and(|facts| !facts.demanded.is_empty()),
    };
    let client = event.client.ip.map_or(ClientAddress::Unknown, ClientAddress::known);
    let rare = event.facts.as_ref().and_then(|facts| facts.rare(now));
    // A no of the credential's or of the word about the device is a no, and the event has what came of both.
    let posture = event.device.compliant;
    let request = KeptRequest { client, country, identity, posture, risk, rare, ..request };
    Recorded::Decision { request, unknown, permitted }
}

/// The part of a reason code before the dot.
fn stage(reason: Option<&str>) -> &str {
    reason.and_then(|reason| reason.split('.').next()).unwrap_or_default()
}

/// The product that a user agent names (RFC 9110 section 10.1.5), of a browser the last one.
fn software(user_agent: &str) -> &str {
    let mut products = user_agent.split(' ');
    let product = if user_agent.starts_with("Mozilla/") { products.next_back() } else { products.next() };
    product.unwrap_or_default()
}

impl Event<'_> {
    /// Who it was, and what is missing where that is not known.
    fn identity(&self, now: Timestamp) -> (KeptIdentity, Option<Missing>) {
        let rejected = || match self.reason.as_deref().and_then(rejection) {
            Some(kind) => (KeptIdentity::Rejected(kind), None),
            None => (KeptIdentity::NotLookedAt, Some(Missing::Identity)),
        };
        match self.facts.as_ref().map(|facts| &*facts.identity) {
            Some("anonymous") => (KeptIdentity::Anonymous, None),
            Some("rejected") => rejected(),
            Some("unavailable") => match self.reason.as_deref().and_then(dependency) {
                Some(dependency) => (KeptIdentity::Unavailable(dependency), None),
                None => (KeptIdentity::NotLookedAt, Some(Missing::Identity)),
            },
            Some("verified") => match (self.principal(now), &self.facts) {
                (Some(principal), Some(_)) => (KeptIdentity::Verified(Arc::new(principal)), None),
                _ => (KeptIdentity::NotLookedAt, Some(Missing::Claims)),
            },
            Some(_) => (KeptIdentity::NotLookedAt, Some(Missing::Identity)),
            // Of a version that did not note it.
            None if self.identity.id.is_some() => (KeptIdentity::NotLookedAt, Some(Missing::Claims)),
            None => match self.reason.as_deref() {
                Some("authn.missing") => (KeptIdentity::Anonymous, None),
                Some(reason) if reason.starts_with("authn.") => rejected(),
                _ => (KeptIdentity::NotLookedAt, Some(Missing::Identity)),
            },
        }
    }

    fn principal(&self, now: Timestamp) -> Option<Principal> {
        let facts = self.facts.as_ref()?;
        let kind = match self.identity.kind.as_deref()? {
            "user" => PrincipalKind::User,
            "service" => PrincipalKind::Service,
            "certificate" => PrincipalKind::Certificate,
            _ => return None,
        };
        let owned = |texts: &[Cow<'_, str>]| texts.iter().map(|text| Box::from(&**text)).collect::<Vec<Box<str>>>();
        let trusted = |group: &Cow<'_, str>| facts.local_groups.contains(group);
        let groups = self.identity.groups.iter();
        let stated = Principal::stated(kind, self.identity.id.as_deref()?);
        let method = match self.identity.method.as_deref() {
            Some("jwt") => AuthenticationMethod::Jwt,
            Some("api_key") => AuthenticationMethod::ApiKey,
            Some("client_certificate") => AuthenticationMethod::ClientCertificate,
            // What it is decides only whether it is a certificate.
            _ => AuthenticationMethod::Stated,
        };
        let scope = match &facts.scope {
            Some(None) => None,
            Some(Some(scope)) => {
                let (routes, networks) = (owned(&scope.routes), owned(&scope.networks));
                Some(Arc::new(CredentialScope { routes, networks }))
            }
            // Only such a key is bound to anything; whether this one was, nobody knows.
            None if method == AuthenticationMethod::ApiKey => return None,
            None => None,
        };
        let auth_time = match &facts.auth_time {
            Some(time) => Some(time.parse().ok()?),
            None => None,
        };
        Some(Principal {
            groups: groups.map(|group| GroupClaim { name: (&**group).into(), trusted: trusted(group) }).collect(),
            roles: owned(&facts.direct_roles),
            scope,
            device: self.device.id.as_deref().map(|id| Device { id: id.into(), compliant: self.device.compliant }),
            authentication: Authentication {
                method,
                acr: self.identity.acr.as_deref().map(Into::into),
                amr: owned(&facts.amr),
                auth_time,
                expires: now.checked_add(SignedDuration::from_hours(1)).ok(),
                ..stated.authentication
            },
            ..stated
        })
    }
}

impl Risk<'_> {
    fn kept(&self) -> Option<KeptRisk> {
        let evidence = |signal: &Signal<'_>| {
            signal.family.as_deref() == Some(SignalFamily::Evidence.as_str())
                && signal.mnats >= RiskAssessment::EVIDENCE_MNATS
        };
        Some(KeptRisk { mnats: self.mnats?, evidence: self.signals.iter().any(evidence), stated: None })
    }
}

impl Facts<'_> {
    fn rare(&self, now: Timestamp) -> Option<Box<KeptRare>> {
        if self.bans.is_empty() && self.activated.is_empty() {
            return None;
        }
        // It was in force then; how long it lasted decides nothing.
        let until = now.checked_add(SignedDuration::from_hours(1)).unwrap_or(Timestamp::MAX);
        let ban = |scopes: &[BanScope]| {
            let scope = *scopes.iter().find(|scope| self.bans.iter().any(|ban| ban == scope.as_str()))?;
            Some(Ban { scope, until, offences: 1, cause: "recorded".into(), simulated: false })
        };
        let activations = self.activated.iter();
        Some(Box::new(KeptRare {
            address_ban: ban(&[BanScope::Address, BanScope::Anonymous]),
            principal_ban: ban(&[BanScope::Principal]),
            activations: activations
                .map(|name| Activation { gives: Lent::parse(name), ..Activation::of("", until) })
                .collect(),
            ..KeptRare::default()
        }))
    }
}

/// The bad credential that a reason code tells.
fn rejection(reason: &str) -> Option<CredentialProblemKind> {
    use CredentialProblemKind as Kind;
    Some(match reason {
        "authn.invalid" => Kind::Invalid,
        "authn.expired" => Kind::Expired,
        "authn.not_yet_valid" => Kind::NotYetValid,
        "authn.wrong_issuer" => Kind::WrongIssuer,
        "authn.wrong_audience" => Kind::WrongAudience,
        "authn.unknown_key" => Kind::UnknownKey,
        "authn.revoked" => Kind::Revoked,
        "authn.certificate_required" => Kind::CertificateRequired,
        "authn.certificate_invalid" => Kind::CertificateInvalid,
        "authn.ambiguous" => Kind::Ambiguous,
        _ => return None,
    })
}

fn dependency(reason: &str) -> Option<Dependency> {
    Some(match reason {
        "dependency.keys_unavailable" => Dependency::Keys,
        "dependency.store_unavailable" => Dependency::Store,
        "dependency.directory_unavailable" => Dependency::Directory,
        _ => return None,
    })
}

/// A line of the access log.
#[derive(Deserialize)]
struct Access<'l> {
    #[serde(borrow)]
    time: Cow<'l, str>,
    #[serde(default)]
    client_ip: Option<IpAddr>,
    #[serde(borrow, default)]
    user: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    method: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    host: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    path: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    reason: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    user_agent: Option<Cow<'l, str>>,
}

fn of_access(line: &[u8]) -> Recorded {
    let Ok(access) = serde_json::from_slice::<Access<'_>>(line) else { return Recorded::Unreadable };
    let permitted = match stage(access.reason.as_deref()) {
        "" | "upstream" => true,
        "request" | "limit" | "internal" | "session" => {
            return Recorded::NotAsked(access.reason.unwrap_or_default().into_owned());
        }
        _ => false,
    };
    let (Ok(now), Some(method), Some(host), Some(path)) =
        (access.time.parse::<Timestamp>(), &access.method, &access.host, &access.path)
    else {
        return Recorded::Incomplete(Missing::Request);
    };
    let software = access.user_agent.as_deref().map(software).unwrap_or_default();
    let Some(request) = KeptRequest::new(KeptText { method, host, path, software }, now) else {
        return Recorded::Incomplete(Missing::Request);
    };
    let reason = access.reason.as_deref();
    let (identity, missing) = match (&access.user, reason) {
        (Some(_), _) => (KeptIdentity::NotLookedAt, Some(Missing::Claims)),
        // Whoever is let through without a name is nobody in particular.
        (None, None | Some("authn.missing")) => (KeptIdentity::Anonymous, None),
        (None, Some(reason)) => match rejection(reason) {
            Some(kind) => (KeptIdentity::Rejected(kind), None),
            None if permitted => (KeptIdentity::Anonymous, None),
            None => (KeptIdentity::NotLookedAt, Some(Missing::Identity)),
        },
    };
    let unknown = Unknown { identity: missing, country: true, risk: true, demands: false };
    let client = access.client_ip.map_or(ClientAddress::Unknown, ClientAddress::known);
    Recorded::Decision { request: KeptRequest { client, identity, ..request }, unknown, permitted: Some(permitted) }
}
