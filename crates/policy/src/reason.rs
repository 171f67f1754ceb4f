//! Why the policy refuses: the closed set of reasons that `decide` can give, and where each stands.

use crate::principal::CredentialProblemKind;
use crate::request::Dependency;

/// The result of a decision, before it becomes a status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Forward the request.
    Permit,
    /// 403 (404 where no route was found).
    Deny,
    /// 401: no credential, or a bad one.
    Challenge,
    /// 401: a stronger or fresher authentication is needed (RFC 9470).
    StepUp,
    /// 503: the facts do not suffice to decide.
    Undecided,
}

impl Outcome {
    /// The word that the command line and the events use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
            Self::Challenge => "challenge",
            Self::StepUp => "step_up",
            Self::Undecided => "undecided",
        }
    }
}

/// The stage of a decision. They run in this order, and the first that refuses gives the decisive reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Is it banned?
    Ban,
    /// Which route?
    Route,
    /// May this address come to this route?
    Network,
    /// Who is it?
    Authentication,
    /// Does an explicit deny forbid it?
    Deny,
    /// Does a grant permit it?
    Grants,
    /// How risky is it?
    Risk,
    /// Is the authentication strong and fresh enough?
    StepUp,
}

impl Stage {
    /// The check's name in a trace.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ban => "ban",
            Self::Route => "route",
            Self::Network => "network",
            Self::Authentication => "authentication",
            Self::Deny => "deny",
            Self::Grants => "grants",
            Self::Risk => "risk",
            Self::StepUp => "step_up",
        }
    }
}

/// Why a request was refused by policy. Each is one documented reason code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// `ban.active`
    BanActive,
    /// `route.not_found`
    RouteNotFound,
    /// `ip.not_allowed`
    IpNotAllowed,
    /// `ip.denied`
    IpDenied,
    /// `authn.missing`
    AuthnMissing,
    /// `authn.*`: a credential was given and is bad.
    Authn(CredentialProblemKind),
    /// `rbac.no_matching_grant`
    NoMatchingGrant,
    /// `rbac.explicit_deny`
    ExplicitDeny,
    /// `rbac.assignment_expired`
    AssignmentExpired,
    /// `rbac.not_yet_active`
    NotYetActive,
    /// `rbac.condition_unmet`
    ConditionUnmet,
    /// `risk.too_high`
    RiskTooHigh,
    /// `step_up.required`
    StepUpRequired,
    /// `dependency.keys_unavailable`
    KeysUnavailable,
    /// `dependency.feed_stale`: a network that could decide was never loaded, or is too old.
    FeedStale,
    /// `dependency.store_unavailable`
    StoreUnavailable,
    /// `dependency.directory_unavailable`: the groups of a verified caller are not known.
    DirectoryUnavailable,
    /// `policy.unavailable`: a fact that a deny needs is unknown, so the policy cannot be applied.
    PolicyUnavailable,
}

impl Reason {
    /// The stable code, `stage.cause`.
    pub fn code(self) -> &'static str {
        use CredentialProblemKind as Kind;
        match self {
            Self::BanActive => "ban.active",
            Self::RouteNotFound => "route.not_found",
            Self::IpNotAllowed => "ip.not_allowed",
            Self::IpDenied => "ip.denied",
            Self::AuthnMissing => "authn.missing",
            Self::Authn(Kind::Invalid) => "authn.invalid",
            Self::Authn(Kind::Expired) => "authn.expired",
            Self::Authn(Kind::NotYetValid) => "authn.not_yet_valid",
            Self::Authn(Kind::WrongIssuer) => "authn.wrong_issuer",
            Self::Authn(Kind::WrongAudience) => "authn.wrong_audience",
            Self::Authn(Kind::UnknownKey) => "authn.unknown_key",
            Self::Authn(Kind::Revoked) => "authn.revoked",
            Self::Authn(Kind::CertificateRequired) => "authn.certificate_required",
            Self::Authn(Kind::CertificateInvalid) => "authn.certificate_invalid",
            Self::Authn(Kind::Ambiguous) => "authn.ambiguous",
            Self::NoMatchingGrant => "rbac.no_matching_grant",
            Self::ExplicitDeny => "rbac.explicit_deny",
            Self::AssignmentExpired => "rbac.assignment_expired",
            Self::NotYetActive => "rbac.not_yet_active",
            Self::ConditionUnmet => "rbac.condition_unmet",
            Self::RiskTooHigh => "risk.too_high",
            Self::StepUpRequired => "step_up.required",
            Self::KeysUnavailable => "dependency.keys_unavailable",
            Self::FeedStale => "dependency.feed_stale",
            Self::StoreUnavailable => "dependency.store_unavailable",
            Self::DirectoryUnavailable => "dependency.directory_unavailable",
            Self::PolicyUnavailable => "policy.unavailable",
        }
    }

    /// The status code that answers this reason when the outcome is a deny, a challenge, a step-up or undecided.
    pub fn status(self) -> u16 {
        match self {
            Self::BanActive
            | Self::IpNotAllowed
            | Self::IpDenied
            | Self::NoMatchingGrant
            | Self::ExplicitDeny
            | Self::AssignmentExpired
            | Self::NotYetActive
            | Self::ConditionUnmet
            | Self::RiskTooHigh => 403,
            Self::RouteNotFound => 404,
            Self::AuthnMissing | Self::Authn(_) | Self::StepUpRequired => 401,
            Self::KeysUnavailable
            | Self::FeedStale
            | Self::StoreUnavailable
            | Self::DirectoryUnavailable
            | Self::PolicyUnavailable => 503,
        }
    }

    /// The stage that gives this reason.
    pub fn stage(self) -> Stage {
        match self {
            Self::BanActive => Stage::Ban,
            Self::RouteNotFound => Stage::Route,
            Self::IpNotAllowed | Self::IpDenied | Self::FeedStale => Stage::Network,
            Self::AuthnMissing
            | Self::Authn(_)
            | Self::KeysUnavailable
            | Self::StoreUnavailable
            | Self::DirectoryUnavailable => Stage::Authentication,
            Self::ExplicitDeny | Self::PolicyUnavailable => Stage::Deny,
            Self::NoMatchingGrant | Self::AssignmentExpired | Self::NotYetActive | Self::ConditionUnmet => {
                Stage::Grants
            }
            Self::RiskTooHigh => Stage::Risk,
            Self::StepUpRequired => Stage::StepUp,
        }
    }
}

impl From<Dependency> for Reason {
    /// Why nobody can say who it is, where this is missing.
    fn from(dependency: Dependency) -> Self {
        match dependency {
            Dependency::Keys => Self::KeysUnavailable,
            Dependency::Store => Self::StoreUnavailable,
            Dependency::Directory => Self::DirectoryUnavailable,
        }
    }
}
