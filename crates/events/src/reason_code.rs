//! The closed set of reason codes: why a request was refused, in one stable word of the form `stage.cause`.
//!
//! The table below is the whole truth about a code: its default status, its decision word, its severity and what the caller
//! is told. A code is stable once released; adding one is a changelog entry and a page in `docs/denials/`.

use portcullis_policy::{CredentialProblemKind, Reason};
use serde::{Serialize, Serializer};

use crate::event::{Answer, Severity};

/// Makes the enum and its table out of one row per code, so that no column can forget a code.
macro_rules! reason_codes {
    ($($variant:ident, $code:literal, $status:expr, $answer:ident, $severity:ident, $title:literal;)+) => {
        /// Why a request was refused. Closed: every refusal has exactly one decisive code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ReasonCode {
            $(#[doc = concat!("`", $code, "`")] $variant,)+
        }

        impl ReasonCode {
            /// Every code, in the order of the stages.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            const fn row(self) -> Row {
                match self {
                    $(Self::$variant => Row {
                        code: $code,
                        status: $status,
                        answer: Answer::$answer,
                        severity: Severity::$severity,
                        title: $title,
                    },)+
                }
            }
        }
    };
}

reason_codes! {
    RequestMalformed,           "request.malformed",            Some(400), Deny,      Medium, "Bad request";
    RequestHostInvalid,         "request.host_invalid",         Some(400), Deny,      Medium, "Bad request";
    RequestPathAmbiguous,       "request.path_ambiguous",       Some(400), Deny,      Medium, "Bad request";
    RequestTooLarge,            "request.too_large",            Some(413), Deny,      Low,    "Request too large";
    RequestUpgradeNotAllowed,   "request.upgrade_not_allowed",  Some(403), Deny,      Low,    "Upgrade not allowed";
    RequestTimeout,             "request.timeout",              Some(408), Deny,      Low,    "Request timeout";
    RouteNotFound,              "route.not_found",              Some(404), Deny,      Low,    "Not found";
    BanActive,                  "ban.active",                   Some(403), Deny,      High,   "Temporarily blocked";
    IpNotAllowed,               "ip.not_allowed",               Some(403), Deny,      Medium, "Access denied";
    IpDenied,                   "ip.denied",                    Some(403), Deny,      High,   "Access denied";
    AuthnMissing,               "authn.missing",                Some(401), Challenge, Low,    "Authentication required";
    AuthnInvalid,               "authn.invalid",                Some(401), Challenge, High,   "Credential not accepted";
    AuthnExpired,               "authn.expired",                Some(401), Challenge, Low,    "Credential expired";
    AuthnNotYetValid,           "authn.not_yet_valid",          Some(401), Challenge, Low,    "Credential not accepted";
    AuthnWrongIssuer,           "authn.wrong_issuer",           Some(401), Challenge, High,   "Credential not accepted";
    AuthnWrongAudience,         "authn.wrong_audience",         Some(401), Challenge, High,   "Credential not accepted";
    AuthnUnknownKey,            "authn.unknown_key",            Some(401), Challenge, Medium, "Credential not accepted";
    AuthnRevoked,               "authn.revoked",                Some(401), Challenge, High,   "Credential not accepted";
    AuthnCertificateRequired,   "authn.certificate_required",   Some(401), Challenge, Low,    "Authentication required";
    AuthnCertificateInvalid,    "authn.certificate_invalid",    Some(401), Challenge, High,   "Credential not accepted";
    AuthnAmbiguous,             "authn.ambiguous",              Some(401), Challenge, High,   "Credential not accepted";
    RbacNoMatchingGrant,        "rbac.no_matching_grant",       Some(403), Deny,      Medium, "Access denied";
    RbacExplicitDeny,           "rbac.explicit_deny",           Some(403), Deny,      Medium, "Access denied";
    RbacAssignmentExpired,      "rbac.assignment_expired",      Some(403), Deny,      Medium, "Access denied";
    RbacNotYetActive,           "rbac.not_yet_active",          Some(403), Deny,      Medium, "Access denied";
    RbacConditionUnmet,         "rbac.condition_unmet",         Some(403), Deny,      Medium, "Access denied";
    RiskTooHigh,                "risk.too_high",                Some(403), Deny,      High,   "Access denied";
    StepUpRequired,             "step_up.required",             Some(401), StepUp,    Low,    "Stronger authentication required";
    LimitRate,                  "limit.rate",                   Some(429), Throttle,  Medium, "Too many requests";
    LimitConcurrency,           "limit.concurrency",            Some(429), Throttle,  Medium, "Too many requests";
    LimitOverload,              "limit.overload",               Some(503), Throttle,  Medium, "Service busy";
    DependencyKeysUnavailable,  "dependency.keys_unavailable",  Some(503), Undecided, High,   "Temporarily unavailable";
    DependencyFeedStale,        "dependency.feed_stale",        Some(503), Undecided, High,   "Temporarily unavailable";
    DependencyStoreUnavailable, "dependency.store_unavailable", Some(503), Undecided, High,   "Temporarily unavailable";
    DependencyDirectoryUnavailable, "dependency.directory_unavailable", Some(503), Undecided, High, "Temporarily unavailable";
    PolicyUnavailable,          "policy.unavailable",           Some(503), Undecided, High,   "Temporarily unavailable";
    UpstreamUnreachable,        "upstream.unreachable",         Some(502), Failed,    Medium, "Bad gateway";
    UpstreamTimeout,            "upstream.timeout",             Some(504), Failed,    Medium, "Gateway timeout";
    UpstreamProtocol,           "upstream.protocol",            Some(502), Failed,    Medium, "Bad gateway";
    UpstreamCircuitOpen,        "upstream.circuit_open",        Some(503), Failed,    Medium, "Temporarily unavailable";
    SessionTerminated,          "session.terminated",           None,      Deny,      Low,    "Session ended";
    InternalError,              "internal.error",               Some(500), Failed,    High,   "Internal error";
}

/// What is fixed about one code.
struct Row {
    code: &'static str,
    status: Option<u16>,
    answer: Answer,
    severity: Severity,
    title: &'static str,
}

impl ReasonCode {
    /// The stable code, `stage.cause`.
    pub const fn code(self) -> &'static str {
        self.row().code
    }

    /// The stage: the part before the dot.
    pub fn stage(self) -> &'static str {
        self.code().split_once('.').map_or(self.code(), |(stage, _cause)| stage)
    }

    /// Whether a change of the policy can bring such a refusal about, or take it away.
    pub fn is_the_policys(self) -> bool {
        matches!(self.stage(), "route" | "ip" | "rbac" | "risk")
    }

    /// The status that answers it unless the refusal has a more exact one (414 and 431 for `request.too_large`, 417 and 421
    /// for `request.*`). `None` for `session.terminated` alone: its answer is already under way when it happens.
    pub const fn status(self) -> Option<u16> {
        self.row().status
    }

    /// The decision word that goes with it.
    pub const fn answer(self) -> Answer {
        self.row().answer
    }

    /// How much a refusal for this reason deserves a look.
    pub const fn severity(self) -> Severity {
        self.row().severity
    }

    /// A few words for the caller. They name no rule, role, address or threshold.
    pub const fn title(self) -> &'static str {
        self.row().title
    }

    /// The code of that name, exactly as [`ReasonCode::code`] writes it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.code() == text)
    }
}

/// The address of the page that explains a code: the code appended to `base`, which therefore ends as it needs to
/// (`https://docs.example/denials/`).
pub fn help_url(base: &str, code: ReasonCode) -> String {
    let mut url = String::with_capacity(base.len() + code.code().len());
    url.push_str(base);
    url.push_str(code.code());
    url
}

impl std::fmt::Display for ReasonCode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.code())
    }
}

impl Serialize for ReasonCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// Exhaustive on purpose: a new reason of the policy must be given its code here.
impl From<Reason> for ReasonCode {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::BanActive => Self::BanActive,
            Reason::RouteNotFound => Self::RouteNotFound,
            Reason::IpNotAllowed => Self::IpNotAllowed,
            Reason::IpDenied => Self::IpDenied,
            Reason::AuthnMissing => Self::AuthnMissing,
            Reason::Authn(problem) => problem.into(),
            Reason::NoMatchingGrant => Self::RbacNoMatchingGrant,
            Reason::ExplicitDeny => Self::RbacExplicitDeny,
            Reason::AssignmentExpired => Self::RbacAssignmentExpired,
            Reason::NotYetActive => Self::RbacNotYetActive,
            Reason::ConditionUnmet => Self::RbacConditionUnmet,
            Reason::RiskTooHigh => Self::RiskTooHigh,
            Reason::StepUpRequired => Self::StepUpRequired,
            Reason::KeysUnavailable => Self::DependencyKeysUnavailable,
            Reason::FeedStale => Self::DependencyFeedStale,
            Reason::StoreUnavailable => Self::DependencyStoreUnavailable,
            Reason::DirectoryUnavailable => Self::DependencyDirectoryUnavailable,
            Reason::PolicyUnavailable => Self::PolicyUnavailable,
        }
    }
}

impl From<CredentialProblemKind> for ReasonCode {
    fn from(problem: CredentialProblemKind) -> Self {
        match problem {
            CredentialProblemKind::Invalid => Self::AuthnInvalid,
            CredentialProblemKind::Expired => Self::AuthnExpired,
            CredentialProblemKind::NotYetValid => Self::AuthnNotYetValid,
            CredentialProblemKind::WrongIssuer => Self::AuthnWrongIssuer,
            CredentialProblemKind::WrongAudience => Self::AuthnWrongAudience,
            CredentialProblemKind::UnknownKey => Self::AuthnUnknownKey,
            CredentialProblemKind::Revoked => Self::AuthnRevoked,
            CredentialProblemKind::CertificateRequired => Self::AuthnCertificateRequired,
            CredentialProblemKind::CertificateInvalid => Self::AuthnCertificateInvalid,
            CredentialProblemKind::Ambiguous => Self::AuthnAmbiguous,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    /// Codes of the contract that nothing in this version gives yet. Their pages say so.
    const RESERVED: &[ReasonCode] = &[];

    #[test]
    fn every_code_round_trips_and_is_unique() {
        for code in ReasonCode::ALL {
            assert_eq!(ReasonCode::parse(code.code()), Some(*code));
            assert_eq!(code.to_string(), code.code());
            assert_eq!(serde_json::to_value(code).unwrap(), code.code());
            assert!(code.code().starts_with(&format!("{}.", code.stage())), "{code}");
        }
        let distinct: BTreeSet<_> = ReasonCode::ALL.iter().map(|code| code.code()).collect();
        assert_eq!(distinct.len(), ReasonCode::ALL.len());
        assert_eq!(ReasonCode::ALL.len(), 42);
    }

    #[test]
    fn what_is_not_exactly_a_code_does_not_parse() {
        for text in ["", "rbac", "rbac.", "RBAC.explicit_deny", "rbac.explicit_deny ", "authn"] {
            assert_eq!(ReasonCode::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_reason_of_the_policy_keeps_its_code_and_its_status() {
        use CredentialProblemKind as Kind;
        let plain = [
            Reason::BanActive,
            Reason::RouteNotFound,
            Reason::IpNotAllowed,
            Reason::IpDenied,
            Reason::AuthnMissing,
            Reason::NoMatchingGrant,
            Reason::ExplicitDeny,
            Reason::AssignmentExpired,
            Reason::NotYetActive,
            Reason::ConditionUnmet,
            Reason::RiskTooHigh,
            Reason::StepUpRequired,
            Reason::KeysUnavailable,
            Reason::FeedStale,
            Reason::StoreUnavailable,
            Reason::DirectoryUnavailable,
            Reason::PolicyUnavailable,
        ];
        let credentials = [
            Kind::Invalid,
            Kind::Expired,
            Kind::NotYetValid,
            Kind::WrongIssuer,
            Kind::WrongAudience,
            Kind::UnknownKey,
            Kind::Revoked,
            Kind::CertificateRequired,
            Kind::CertificateInvalid,
            Kind::Ambiguous,
        ];
        for reason in plain.into_iter().chain(credentials.map(Reason::Authn)) {
            let code = ReasonCode::from(reason);
            assert_eq!((code.code(), code.status()), (reason.code(), Some(reason.status())));
        }
    }

    #[test]
    fn a_title_is_short_and_is_no_code() {
        for code in ReasonCode::ALL {
            assert!(!code.title().is_empty() && code.title().len() <= 40, "{code}");
            assert!(!code.title().contains(['.', '_']), "{code}");
        }
    }

    #[test]
    fn the_help_address_is_the_base_and_the_code() {
        let url = help_url("https://docs.example/denials/", ReasonCode::IpDenied);
        assert_eq!(url, "https://docs.example/denials/ip.denied");
    }

    #[test]
    fn every_code_has_a_page_and_no_page_is_left_over() {
        let pages: BTreeSet<String> = std::fs::read_dir(pages())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "README.md")
            .collect();
        let codes: BTreeSet<String> = ReasonCode::ALL.iter().map(|code| format!("{code}.md")).collect();
        assert_eq!(pages, codes);
    }

    #[test]
    fn every_page_agrees_with_the_table() {
        let index = read(&pages().join("README.md"));
        for code in ReasonCode::ALL {
            let page = read(&pages().join(format!("{code}.md")));
            let word = |value: serde_json::Value| value.as_str().unwrap().to_owned();
            let status = code.status().map_or("none".to_owned(), |status| status.to_string());
            let decision = word(serde_json::to_value(code.answer()).unwrap());
            let severity = word(serde_json::to_value(code.severity()).unwrap());

            assert!(page.starts_with(&format!("# `{code}`\n")), "{code}: heading");
            assert!(page.contains(&format!("\n| Status | {status}")), "{code}: status");
            assert!(page.contains(&format!("\n| Decision | {decision} |\n")), "{code}: decision");
            assert!(page.contains(&format!("\n| Severity | {severity} |\n")), "{code}: severity");
            for section in ["## What it means", "## What the caller does", "## What the operator checks"] {
                assert!(page.contains(&format!("\n{section}\n")), "{code}: {section}");
            }
            let reserved = page.contains("**Not emitted by this version.**");
            assert_eq!(reserved, RESERVED.contains(code), "{code}: whether it is emitted");

            let row = index.lines().find(|line| line.starts_with(&format!("| [`{code}`]({code}.md) |"))).unwrap();
            assert!(row.contains(&format!("| {status}")), "{code}: status in the index");
            assert!(row.contains(&format!("| {decision} | {severity} |")), "{code}: row of the index");
            assert_eq!(row.contains("reserved"), RESERVED.contains(code), "{code}: reserved in the index");
        }
    }

    fn pages() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/denials")
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}
