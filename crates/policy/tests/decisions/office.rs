//! One small policy that the decision tables start from, and requests to it.

use std::net::IpAddr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use portcullis_policy::*;

/// Monday, eleven in the morning in Berlin.
pub(crate) const MONDAY: &str = "2026-11-23T10:00:00Z";
/// In network `office`.
pub(crate) const OFFICE: &str = "203.0.113.7";
/// In no network.
pub(crate) const ELSEWHERE: &str = "198.51.100.1";

pub(crate) fn on_line(line: u32, text: &str) -> Placed<String> {
    Placed::new(text.to_owned(), Position { line, ..Position::default() })
}

pub(crate) fn list(texts: &[&str]) -> Vec<Placed<String>> {
    texts.iter().map(|text| on_line(0, text)).collect()
}

fn role(line: u32, name: &str, inherits: &[&str], actions: &[&str]) -> RoleDraft {
    let permissions = vec![PermissionDraft { actions: list(actions), not_actions: Vec::new() }];
    RoleDraft { name: on_line(line, name), inherits: list(inherits), permissions }
}

/// A grant on every route, without conditions.
pub(crate) fn grant(line: u32, name: &str, role: &str, principals: &[&str]) -> AssignmentDraft {
    AssignmentDraft {
        name: on_line(line, name),
        role: on_line(line, role),
        principals: list(principals),
        scope: ScopeDraft::All,
        ..AssignmentDraft::default()
    }
}

/// A grant of `billing.admin` to alice under a condition.
pub(crate) fn alice_if(when: WhenDraft) -> AssignmentDraft {
    AssignmentDraft { when, ..grant(31, "alice-under-a-condition", "billing.admin", &["user:alice"]) }
}

pub(crate) fn forbids(line: u32, principals: &[&str]) -> DenyDraft {
    DenyDraft {
        name: on_line(line, "no-deletes"),
        principals: list(principals),
        actions: list(&["DELETE /**"]),
        scope: ScopeDraft::All,
        ..DenyDraft::default()
    }
}

/// A network without prefixes is one that was never loaded.
pub(crate) fn network(line: u32, name: &str, prefixes: &[&str]) -> NetworkDraft {
    NetworkDraft {
        name: on_line(line, name),
        prefixes: prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect(),
        unknown: prefixes.is_empty(),
    }
}

pub(crate) fn resource(authentication: AuthenticationRule) -> ResourceDraft {
    ResourceDraft { route: on_line(5, "billing"), authentication, ..ResourceDraft::default() }
}

/// Route `billing`; roles `billing.reader` and `billing.admin`; networks `office` and `tor`, and `partner`, which was never
/// loaded; nobody is granted anything, and no resource demands anything.
pub(crate) fn office() -> PolicyDraft {
    PolicyDraft {
        sources: vec!["policy.toml".into()],
        routes: vec![RouteDraft { name: on_line(1, "billing"), paths: list(&["/api/**"]), ..RouteDraft::default() }],
        networks: vec![
            network(2, "office", &["203.0.113.0/24"]),
            network(3, "tor", &["203.0.113.66/32"]),
            network(4, "partner", &[]),
        ],
        roles: vec![
            role(11, "billing.reader", &[], &["GET /api/invoices/**"]),
            role(12, "billing.admin", &["billing.reader"], &["* /api/**"]),
        ],
        ..PolicyDraft::default()
    }
}

/// A request, as a table writes it.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) from: Option<&'static str>,
    pub(crate) country: Option<&'static str>,
    pub(crate) who: Who,
    pub(crate) risk: RiskAssessment,
    pub(crate) address_ban: Option<Ban>,
    pub(crate) principal_ban: Option<Ban>,
    pub(crate) activations: Vec<Activation>,
    pub(crate) now: &'static str,
}

#[derive(Debug, Clone)]
pub(crate) enum Who {
    Nobody,
    Principal(Box<Principal>),
    Rejected(CredentialProblemKind),
    Unavailable(Dependency),
}

impl Who {
    pub(crate) fn verified(principal: Principal) -> Self {
        Self::Principal(Box::new(principal))
    }
}

/// `DELETE /api/invoices/7` from the office on a Monday.
pub(crate) fn ask(who: Who) -> Ask {
    Ask {
        method: "DELETE",
        path: "/api/invoices/7",
        from: Some(OFFICE),
        country: None,
        who,
        risk: RiskAssessment::NONE,
        address_ban: None,
        principal_ban: None,
        activations: Vec::new(),
        now: MONDAY,
    }
}

pub(crate) fn alice() -> Who {
    Who::verified(principal(PrincipalKind::User, "alice"))
}

pub(crate) fn principal(kind: PrincipalKind, id: &str) -> Principal {
    Principal::proven(kind, id, Authentication::by(AuthenticationMethod::Jwt, "corporate"))
}

/// A signal of so many milli-nats, and their sum.
pub(crate) fn risk(family: SignalFamily, mnats: i32) -> RiskAssessment {
    let signal = RiskSignal {
        name: "test.signal",
        family,
        mnats,
        value: "203.0.113.7".into(),
        reason: "a bad neighbourhood".into(),
    };
    RiskAssessment { mnats, signals: vec![signal], degraded: false, stated: None }
}

pub(crate) fn ban(scope: BanScope) -> Option<Ban> {
    let until: Timestamp = "2026-11-23T10:10:00Z".parse().unwrap();
    Some(Ban { scope, until, offences: 2, cause: "credentials: 6 failed in 2m".into(), simulated: false })
}

pub(crate) fn hours(text: &str) -> Option<Placed<Hours>> {
    Some(Hours::parse(text, |name| TimeZone::get(name).ok()).unwrap().into())
}

/// The full answer, checked against `decide`.
pub(crate) fn answer(draft: &PolicyDraft, ask: &Ask) -> Explanation {
    let policy = Policy::compile(draft).unwrap().0;
    let path = CanonicalPath::parse(ask.path).unwrap();
    let problem = match &ask.who {
        Who::Rejected(kind) => Some(CredentialProblem { kind: *kind, detail: "no good".into(), provider: None }),
        _ => None,
    };
    let request = AccessRequest {
        method: ask.method,
        path: &path,
        route: policy.find_route("billing.internal", &path),
        client: ask.from.map_or(ClientAddress::Unknown, |text| ClientAddress::known(text.parse::<IpAddr>().unwrap())),
        country: ask.country.and_then(CountryCode::parse),
        identity: match (&ask.who, &problem) {
            (Who::Principal(principal), _) => IdentityFact::Verified(principal),
            (_, Some(problem)) => IdentityFact::Rejected(problem),
            (Who::Unavailable(dependency), _) => IdentityFact::Unavailable(*dependency),
            _ => IdentityFact::Anonymous,
        },
        risk: &ask.risk,
        bans: Bans { address: ask.address_ban.as_ref(), principal: ask.principal_ban.as_ref() },
        contained: Contained::default(),
        posture: None,
        activations: &ask.activations,
        now: ask.now.parse().unwrap(),
    };
    let explanation = policy.explain(&request);
    let decided = match policy.decide(&request) {
        Decision::Permit(_) => Outcome::Permit,
        Decision::Deny(denial)
        | Decision::Challenge(denial)
        | Decision::StepUp(denial)
        | Decision::Undecided(denial) => denial.outcome,
    };
    assert_eq!(explanation.outcome, decided);
    explanation
}

/// `permit`, or outcome and reason code, such as `deny rbac.no_matching_grant`.
pub(crate) fn verdict(draft: &PolicyDraft, ask: &Ask) -> String {
    let answer = answer(draft, ask);
    match answer.denial {
        None => answer.outcome.as_str().to_owned(),
        Some(denial) => format!("{} {}", denial.outcome.as_str(), denial.reason.code()),
    }
}

/// The suggestions, as `needs+needs`.
pub(crate) fn nearest(draft: &PolicyDraft, ask: &Ask) -> Vec<String> {
    answer(draft, ask)
        .denial
        .map(|denial| denial.nearest)
        .unwrap_or_default()
        .iter()
        .map(|each| each.needs.join("+"))
        .collect()
}
