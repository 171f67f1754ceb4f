//! The facts of one request, each with its own "unknown". `decide` sees these and nothing else.

use std::net::IpAddr;

use jiff::Timestamp;

pub use crate::lent::{Activation, Lent};
use crate::path::CanonicalPath;
use crate::principal::{CredentialProblem, Principal};
use crate::route::RouteId;

/// Everything that a decision may depend on.
#[derive(Debug, Clone, Copy)]
pub struct AccessRequest<'a> {
    /// The method: a case-sensitive token (RFC 9110 section 9.1).
    pub method: &'a str,
    /// The one canonical path. What is decided on is what is forwarded.
    pub path: &'a CanonicalPath,
    /// The route that host and path lead to, or `None` when none does.
    pub route: Option<RouteId>,
    /// Where the request comes from.
    pub client: ClientAddress,
    /// ISO 3166-1 alpha-2 code of the client's country, or `None` when unknown.
    pub country: Option<CountryCode>,
    /// Who it is.
    pub identity: IdentityFact<'a>,
    /// Whether the device meets the rules, by a word about it that is fresher than the credential; `None`: what the credential says counts.
    pub posture: Option<bool>,
    /// How risky the caller looks.
    pub risk: &'a RiskAssessment,
    /// The bans in force that touch this request.
    pub bans: Bans<'a>,
    /// What alerts demand of this caller or this route. Nothing, as a rule.
    pub contained: Contained<'a>,
    /// What the caller has for a time, and what of that has ended lately. Nothing, as a rule.
    pub activations: &'a [Activation],
    /// When the request arrived.
    pub now: Timestamp,
}

impl<'a> AccessRequest<'a> {
    /// A request of which nothing else is known: anonymous, from nowhere, without risk or bans. Set what is known with
    /// `..AccessRequest::new(…)`.
    pub fn new(method: &'a str, path: &'a CanonicalPath, route: Option<RouteId>, now: Timestamp) -> Self {
        Self {
            method,
            path,
            route,
            client: ClientAddress::Unknown,
            country: None,
            identity: IdentityFact::Anonymous,
            posture: None,
            risk: RiskAssessment::none(),
            bans: Bans::default(),
            contained: Contained::default(),
            activations: &[],
            now,
        }
    }
}

/// The client's address as `client_addr` established it: canonical (an IPv4-mapped IPv6 address is IPv4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientAddress {
    /// The address.
    Known(IpAddr),
    /// It could not be established: no allowlist is met by it.
    Unknown,
}

impl ClientAddress {
    /// A known address in canonical form (RFC 4291 section 2.5.5.2: `::ffff:192.0.2.1` is `192.0.2.1`).
    pub fn known(address: IpAddr) -> Self {
        Self::Known(address.to_canonical())
    }

    /// The address, where it is known.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Known(address) => Some(address),
            Self::Unknown => None,
        }
    }
}

/// An ISO 3166-1 alpha-2 country code in capitals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CountryCode([u8; 2]);

impl CountryCode {
    /// Where an address is that is in no country, such as a private one: `ZZ`, which ISO 3166-1 leaves to its users and will never
    /// give to a country. It is known, and not unknown: no country of a rule is met by it but this one.
    pub const NOWHERE: Self = Self(*b"ZZ");

    /// Two ASCII letters of either case, or `None`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Some(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => None,
        }
    }

    /// The two capitals.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("??")
    }
}

/// What is known about the caller's identity.
#[derive(Debug, Clone, Copy)]
pub enum IdentityFact<'a> {
    /// No credential was given, or the route ignores credentials.
    Anonymous,
    /// A credential was verified.
    Verified(&'a Principal),
    /// A credential was given and is bad.
    Rejected(&'a CredentialProblem),
    /// A credential was given and could not be checked, because what checks it is not there.
    Unavailable(Dependency),
}

/// What the gateway leans on to decide, when it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dependency {
    /// The keys that verify tokens.
    Keys,
    /// The embedded or shared store.
    Store,
    /// The directory that knows the caller's groups.
    Directory,
}

/// How wide a ban reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BanScope {
    /// The whole address: refused before authentication.
    Address,
    /// Anonymous traffic of the address: refused, after authentication, without a verified principal.
    Anonymous,
    /// One principal, wherever it comes from.
    Principal,
}

impl BanScope {
    /// The word that events use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Anonymous => "anonymous",
            Self::Principal => "principal",
        }
    }
}

/// A ban in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Whom it refuses.
    pub scope: BanScope,
    /// When it ends.
    pub until: Timestamp,
    /// How many offences led to it, this one included.
    pub offences: u32,
    /// What was done, for the operator, such as `credentials: 6 failed in 2m`.
    pub cause: Box<str>,
    /// `simulate`: the ban is reported as shadow and refuses nobody.
    pub simulated: bool,
}

/// The bans that touch a request. The common case is none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bans<'a> {
    /// On the client's address: scope `Address` or `Anonymous`.
    pub address: Option<&'a Ban>,
    /// On the verified principal.
    pub principal: Option<&'a Ban>,
}

/// What an alert demands of somebody, or on a route, until somebody has looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Containment {
    /// The alert's name.
    pub alert: Box<str>,
    /// When it began. What was issued by then is revoked, where that is demanded.
    pub since: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// It is reported as shadow and refuses nobody.
    pub simulated: bool,
}

/// What is demanded of a request beyond the policy. The common case is nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Contained<'a> {
    /// The verified principal must bring a fresh mfa.
    pub step_up: Option<&'a Containment>,
    /// What the verified principal was issued until it began counts no longer.
    pub revoked: Option<&'a Containment>,
    /// Whoever comes to the route must bring a fresh mfa.
    pub tightened: Option<&'a Containment>,
}

/// What kind of evidence a signal is. Novelty alone never denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignalFamily {
    /// Something new: at most a step-up.
    Novelty,
    /// Something bad.
    Evidence,
    /// The state of the device.
    Posture,
    /// Something that speaks for the caller; its contribution is negative.
    Trust,
}

impl SignalFamily {
    /// The word that events use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Novelty => "novelty",
            Self::Evidence => "evidence",
            Self::Posture => "posture",
            Self::Trust => "trust",
        }
    }
}

/// One risk signal that fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiskSignal {
    /// A stable name, such as `network.new`.
    pub name: &'static str,
    /// What it counts as.
    pub family: SignalFamily,
    /// Its contribution in milli-nats: thousandths of a natural-log likelihood ratio.
    pub mnats: i32,
    /// The value it looked at, such as `203.0.113.0/24`. At most 128 bytes.
    pub value: String,
    /// A sentence for a person. At most 256 bytes.
    pub reason: String,
}

/// How risky the caller looks: the signals that fired and their sum. Integers only, so that a replay gives the same
/// answer on every machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RiskAssessment {
    /// The sum in milli-nats, each family clipped to its bounds.
    pub mnats: i32,
    /// The signals, strongest first. At most 16.
    pub signals: Vec<RiskSignal>,
    /// A signal could not be computed. It is left out of the sum and never denies.
    pub degraded: bool,
    /// An operator asking offline states the level instead.
    pub stated: Option<RiskLevel>,
}

impl RiskAssessment {
    /// What an assessment is without any signal.
    pub const NONE: Self = Self { mnats: 0, signals: Vec::new(), degraded: false, stated: None };

    /// The same, to lend.
    pub fn none() -> &'static Self {
        static NONE: RiskAssessment = RiskAssessment::NONE;
        &NONE
    }

    /// An evidence signal below this many milli-nats cannot deny (risk.md 1.2).
    pub const EVIDENCE_MNATS: i32 = 1_500;

    /// Whether some signal is evidence strong enough to deny.
    pub fn has_evidence(&self) -> bool {
        self.signals
            .iter()
            .any(|signal| signal.family == SignalFamily::Evidence && signal.mnats >= Self::EVIDENCE_MNATS)
    }
}

/// The band a score falls into, by the thresholds of the resource's sensitivity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RiskLevel {
    /// Permit.
    Low,
    /// Step up.
    Medium,
    /// Deny where there is evidence, else step up.
    High,
}

impl RiskLevel {
    /// `low`, `medium` or `high`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// The level of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Low, Self::Medium, Self::High].into_iter().find(|level| level.as_str() == text)
    }
}
