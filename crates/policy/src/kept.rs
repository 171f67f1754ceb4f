//! The facts of a request, kept after it is over, so that it can be decided on again under another policy.
//!
//! Nothing is kept that no decision rests on but the family of the caller's software: no body, no query, no header, no credential. The
//! texts stand in one allocation, so that keeping a request costs as little as can be.

use std::sync::Arc;

use jiff::Timestamp;

use crate::path::CanonicalPath;
use crate::policy::Policy;
use crate::principal::{CredentialProblem, CredentialProblemKind, Principal};
use crate::request::{
    AccessRequest, Activation, Ban, Bans, ClientAddress, Contained, Containment, CountryCode, Dependency, IdentityFact,
    RiskAssessment, RiskLevel, RiskSignal, SignalFamily,
};

/// The facts of one request. About 150 bytes and the length of its texts; the principal is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRequest {
    /// What was asked for.
    pub target: KeptTarget,
    /// Where it came from.
    pub client: ClientAddress,
    /// In which country, where that was looked up.
    pub country: Option<CountryCode>,
    /// Who it was.
    pub identity: KeptIdentity,
    /// Whether the device met the rules, by a word fresher than the credential's.
    pub posture: Option<bool>,
    /// How risky the caller looked; `None`: that was not looked at.
    pub risk: Option<KeptRisk>,
    /// What hardly any request has.
    pub rare: Option<Box<KeptRare>>,
    /// When it was decided on.
    pub now: Timestamp,
}

/// The texts of a kept request: method, host, path and software, one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptTarget {
    text: Box<str>,
    /// Where the first three end.
    ends: [u32; 3],
}

/// Who made a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptIdentity {
    /// It was refused before anybody looked.
    NotLookedAt,
    /// Nobody in particular.
    Anonymous,
    /// A credential was verified.
    Verified(Arc<Principal>),
    /// A credential was bad.
    Rejected(CredentialProblemKind),
    /// A credential could not be checked.
    Unavailable(Dependency),
}

/// As much of a risk assessment as decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptRisk {
    /// The sum in milli-nats.
    pub mnats: i32,
    /// Whether some signal is evidence enough to deny.
    pub evidence: bool,
    /// The band, where somebody stated it.
    pub stated: Option<RiskLevel>,
}

/// What hardly any request has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptRare {
    /// The ban on the address.
    pub address_ban: Option<Ban>,
    /// The ban on the principal.
    pub principal_ban: Option<Ban>,
    /// An alert demands a step-up of the principal.
    pub step_up: Option<Containment>,
    /// An alert revoked what the principal was issued.
    pub revoked: Option<Containment>,
    /// An alert demands a step-up on the route.
    pub tightened: Option<Containment>,
    /// What was activated or lent, and what of that had ended a short while ago: by its end that decides nothing.
    pub activations: Vec<Activation>,
    /// Of a credential that was revoked: by what, and when that was made, for the operator.
    pub revoked_by: Option<Box<str>>,
}

/// The texts of a request that is to be kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeptText<'a> {
    /// The method.
    pub method: &'a str,
    /// The host in the form that routes compare.
    pub host: &'a str,
    /// The canonical path.
    pub path: &'a str,
    /// The caller's software, such as `curl/8.14.1`. Decides nothing.
    pub software: &'a str,
}

/// The longest text that is kept of each: a longer path cannot be decided on again, and is not kept at all.
const TEXT_MAX: usize = 2_048;
/// The longest name of a software.
const SOFTWARE_MAX: usize = 48;

impl KeptRequest {
    /// A request of which nothing else is known: from nowhere, and nobody looked at who it was. `None`: a text is too long to be kept.
    pub fn new(text: KeptText<'_>, now: Timestamp) -> Option<Self> {
        let KeptText { method, host, path, software } = text;
        if [method, host, path].into_iter().any(|text| text.len() > TEXT_MAX) {
            return None;
        }
        let software = software.get(..software.floor_char_boundary(SOFTWARE_MAX)).unwrap_or_default();
        let mut whole = String::with_capacity(method.len() + host.len() + path.len() + software.len());
        let mut ends = [0; 3];
        for (text, end) in [method, host, path].into_iter().zip(&mut ends) {
            whole.push_str(text);
            // INVARIANT: three texts of at most 2,048 bytes.
            *end = u32::try_from(whole.len()).unwrap_or(u32::MAX);
        }
        whole.push_str(software);
        Some(Self {
            target: KeptTarget { text: whole.into_boxed_str(), ends },
            client: ClientAddress::Unknown,
            country: None,
            identity: KeptIdentity::NotLookedAt,
            posture: None,
            risk: None,
            rare: None,
            now,
        })
    }

    /// The method.
    pub fn method(&self) -> &str {
        let [method, ..] = self.target.ends;
        self.target.part(0, method)
    }

    /// The host in the form that routes compare.
    pub fn host(&self) -> &str {
        let [method, host, _] = self.target.ends;
        self.target.part(method, host)
    }

    /// The canonical path.
    pub fn path(&self) -> &str {
        let [_, host, path] = self.target.ends;
        self.target.part(host, path)
    }

    /// The caller's software; empty where nobody said.
    pub fn software(&self) -> &str {
        let [.., path] = self.target.ends;
        self.target.text.get(path as usize..).unwrap_or_default()
    }

    /// Who it was, if that was verified.
    pub fn principal(&self) -> Option<&Arc<Principal>> {
        match &self.identity {
            KeptIdentity::Verified(principal) => Some(principal),
            KeptIdentity::NotLookedAt
            | KeptIdentity::Anonymous
            | KeptIdentity::Rejected(_)
            | KeptIdentity::Unavailable(_) => None,
        }
    }

    /// The same without any ban; `None`: there was none.
    pub fn without_bans(&self) -> Option<Self> {
        let rare = self.rare.as_deref()?;
        if rare.address_ban.is_none() && rare.principal_ban.is_none() {
            return None;
        }
        let rare = KeptRare { address_ban: None, principal_ban: None, ..rare.clone() };
        Some(Self { rare: Some(Box::new(rare)), ..self.clone() })
    }

    /// Asks about it under a policy, whose route for it is looked up anew. Where nobody looked at who it was, it is asked as if it had been
    /// nobody: [`Policy::admit_client`] and [`Policy::find_route`] alone may be asked then. `None`: the path is none that could be decided on.
    pub fn under<T>(&self, policy: &Policy, ask: impl FnOnce(&AccessRequest<'_>) -> T) -> Option<T> {
        let path = CanonicalPath::parse(self.path()).ok()?;
        let risk = self.risk.map(KeptRisk::assessment);
        let problem = match &self.identity {
            KeptIdentity::Rejected(kind) => {
                Some(CredentialProblem { kind: *kind, detail: String::new(), provider: None })
            }
            KeptIdentity::NotLookedAt
            | KeptIdentity::Anonymous
            | KeptIdentity::Verified(_)
            | KeptIdentity::Unavailable(_) => None,
        };
        let identity = match (&self.identity, &problem) {
            (KeptIdentity::Verified(principal), _) => IdentityFact::Verified(principal),
            (KeptIdentity::Unavailable(dependency), _) => IdentityFact::Unavailable(*dependency),
            (KeptIdentity::Rejected(_), Some(problem)) => IdentityFact::Rejected(problem),
            (KeptIdentity::Rejected(_) | KeptIdentity::NotLookedAt | KeptIdentity::Anonymous, _) => {
                IdentityFact::Anonymous
            }
        };
        let rare = self.rare.as_deref();
        Some(ask(&AccessRequest {
            client: self.client,
            country: self.country,
            identity,
            posture: self.posture,
            risk: risk.as_ref().unwrap_or(RiskAssessment::none()),
            bans: rare.map(KeptRare::bans).unwrap_or_default(),
            contained: rare.map(KeptRare::contained).unwrap_or_default(),
            activations: rare.map_or(&[], |rare| &rare.activations),
            ..AccessRequest::new(self.method(), &path, policy.find_route(self.host(), &path), self.now)
        }))
    }

    /// About how many bytes of memory it holds, its principal aside.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.target.text.len() + self.rare.as_ref().map_or(0, |_| size_of::<KeptRare>())
    }
}

impl KeptTarget {
    fn part(&self, from: u32, to: u32) -> &str {
        self.text.get(from as usize..to as usize).unwrap_or_default()
    }
}

impl KeptRisk {
    /// Of an assessment.
    pub fn of(assessment: &RiskAssessment) -> Self {
        Self { mnats: assessment.mnats, evidence: assessment.has_evidence(), stated: assessment.stated }
    }

    /// One that decides alike.
    fn assessment(self) -> RiskAssessment {
        let evidence = RiskSignal {
            name: "kept",
            family: SignalFamily::Evidence,
            mnats: RiskAssessment::EVIDENCE_MNATS,
            value: String::new(),
            reason: String::new(),
        };
        let signals = if self.evidence { vec![evidence] } else { Vec::new() };
        RiskAssessment { mnats: self.mnats, signals, degraded: false, stated: self.stated }
    }
}

impl KeptRare {
    fn bans(&self) -> Bans<'_> {
        Bans { address: self.address_ban.as_ref(), principal: self.principal_ban.as_ref() }
    }

    fn contained(&self) -> Contained<'_> {
        Contained { step_up: self.step_up.as_ref(), revoked: self.revoked.as_ref(), tightened: self.tightened.as_ref() }
    }

    /// What a request has of it; `None`, as a rule.
    pub fn of(bans: Bans<'_>, contained: Contained<'_>, activations: &[Activation]) -> Option<Box<Self>> {
        let Bans { address, principal } = bans;
        let Contained { step_up, revoked, tightened } = contained;
        let none = address.is_none() && principal.is_none() && step_up.is_none() && revoked.is_none();
        if none && tightened.is_none() && activations.is_empty() {
            return None;
        }
        Some(Box::new(Self {
            address_ban: address.cloned(),
            principal_ban: principal.cloned(),
            step_up: step_up.cloned(),
            revoked: revoked.cloned(),
            tightened: tightened.cloned(),
            activations: activations.to_vec(),
            revoked_by: None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::{AssignmentDraft, PolicyDraft, RoleDraft, RouteDraft};
    use crate::reason::{Outcome, Reason};

    const NOW: &str = "2026-11-23T10:00:00Z";

    fn kept(path: &str) -> Option<KeptRequest> {
        let text = KeptText { method: "GET", host: "a.test", path, software: "curl/8" };
        KeptRequest::new(text, NOW.parse().unwrap())
    }

    #[test]
    fn the_texts_come_back_as_they_were() {
        let kept = kept("/api/ü%20x").unwrap();
        assert_eq!(
            (kept.method(), kept.host(), kept.path(), kept.software()),
            ("GET", "a.test", "/api/ü%20x", "curl/8")
        );
        let long = "ü".repeat(100);
        let text = KeptText { software: &long, ..KeptText::default() };
        let kept = KeptRequest::new(text, NOW.parse().unwrap()).unwrap();
        assert_eq!((kept.method(), kept.host(), kept.path(), kept.software().len()), ("", "", "", SOFTWARE_MAX));
    }

    #[test]
    fn what_is_too_long_is_not_kept() {
        assert!(kept(&"/".repeat(TEXT_MAX)).is_some());
        assert!(kept(&"/".repeat(TEXT_MAX + 1)).is_none());
    }

    #[test]
    fn it_is_decided_on_as_it_was() {
        let draft = PolicyDraft {
            routes: vec![RouteDraft::new("app", ["/**"])],
            roles: vec![RoleDraft::new("reader", ["GET /api/**"])],
            assignments: vec![AssignmentDraft::new("alice-reads", "reader", ["user:alice"])],
            ..PolicyDraft::default()
        };
        let policy = Policy::compile(&draft).unwrap().0;
        let alice = KeptIdentity::Verified(Arc::new(Principal::user("alice")));
        let ask = |identity: KeptIdentity, path: &str| {
            let kept = KeptRequest { identity, ..kept(path).unwrap() };
            kept.under(&policy, |request| policy.verdict(request))
        };
        let bad = KeptIdentity::Rejected(CredentialProblemKind::Expired);
        assert_eq!(ask(alice.clone(), "/api/x"), Some((Outcome::Permit, None)));
        assert_eq!(ask(alice.clone(), "/x"), Some((Outcome::Deny, Some(Reason::NoMatchingGrant))));
        assert_eq!(ask(KeptIdentity::Anonymous, "/api/x"), Some((Outcome::Challenge, Some(Reason::AuthnMissing))));
        let expired = Reason::Authn(CredentialProblemKind::Expired);
        assert_eq!(ask(bad, "/api/x"), Some((Outcome::Challenge, Some(expired))));
        let unavailable = KeptIdentity::Unavailable(Dependency::Keys);
        assert_eq!(ask(unavailable, "/api/x"), Some((Outcome::Undecided, Some(Reason::KeysUnavailable))));
        assert_eq!(ask(alice, "/api/../x"), None, "what is not canonical is not decided on");
    }

    #[test]
    fn evidence_stays_evidence() {
        for evidence in [false, true] {
            let kept = KeptRisk { mnats: 4_000, evidence, stated: None };
            assert_eq!(KeptRisk::of(&kept.assessment()), kept);
        }
    }
}
