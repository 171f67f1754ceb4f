//! Tokens: signed ones, those that their provider is asked about, and what they may be bound to.

use std::sync::Arc;
use std::time::Duration;

use portcullis_fetch::UrlSource;
use portcullis_policy::PrincipalKind;

use crate::jws::Algorithm;

use super::{ClientProof, KeySource};

/// `[[identity.jwt]]`
#[derive(Debug, Clone)]
pub struct JwtProvider {
    /// Its name, unique.
    pub name: Arc<str>,
    /// The exact `iss`.
    pub issuer: String,
    /// The acceptable `aud` values; never empty.
    pub audiences: Vec<String>,
    /// Where its keys are.
    pub keys: KeySource,
    /// Which claims carry what.
    pub claims: ClaimNames,
    /// Whether its subjects are users or services.
    pub principal: PrincipalKind,
    /// Put before ids and groups.
    pub prefix: String,
    /// The local groups that its claims may carry.
    pub trust_groups: Vec<String>,
    /// Clock leeway for `exp`, `nbf` and `iat`; at most 60 s. Default 30 s.
    pub leeway: Duration,
    /// What its tokens must be bound to.
    pub require: Bound,
    /// Which of its tokens count. Default [`TokenTypes::Access`].
    pub types: TokenTypes,
}

/// Which tokens count, by the `typ` of their header. A provider signs other things than access tokens with the same keys and for the same audience: each counts for what it is
/// meant for (RFC 8725 section 3.11). One that does not say what it is, or says `JWT`, may be any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenTypes {
    /// Credentials: `at+jwt` (RFC 9068), or what does not say what it is.
    Access,
    /// `at+jwt` alone.
    AccessAlone,
    /// Those of a login: what does not say what it is.
    Id,
    /// Those that end sessions: `logout+jwt` (OpenID Connect Back-Channel Logout 1.0), or what does not say what it is.
    Logout,
}

impl TokenTypes {
    /// Whether one of this `typ` does.
    pub(crate) fn has(self, typ: Option<&str>) -> bool {
        let says_nothing = matches!(typ, None | Some("jwt" | "jose"));
        match self {
            Self::Access => says_nothing || typ == Some("at+jwt"),
            Self::AccessAlone => typ == Some("at+jwt"),
            Self::Id => says_nothing,
            Self::Logout => says_nothing || typ == Some("logout+jwt"),
        }
    }

    /// What it is called.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Access | Self::AccessAlone => "access token",
            Self::Id => "id token",
            Self::Logout => "logout token",
        }
    }
}

/// `[[identity.introspection]]`: who is asked about opaque tokens (RFC 7662).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntrospectionProvider {
    /// Its name, unique.
    pub name: Arc<str>,
    /// Where it is asked.
    pub endpoint: UrlSource,
    /// As whom it is asked.
    pub client_id: String,
    /// How the gateway proves that it is that client. Where it signs that for the provider's issuer, `issuer` is there.
    pub client: ClientProof,
    /// The exact `iss`, where an answer says one.
    pub issuer: Option<String>,
    /// The acceptable `aud` values; none: it is not looked at. Either these or `clients` are there.
    pub audiences: Vec<String>,
    /// The acceptable `client_id` values; none: it is not looked at.
    pub clients: Vec<String>,
    /// Which members of an answer carry what.
    pub claims: ClaimNames,
    /// Whether its subjects are users or services.
    pub principal: PrincipalKind,
    /// Put before ids and groups.
    pub prefix: String,
    /// The local groups that its answers may put callers into.
    pub trust_groups: Vec<String>,
    /// Clock leeway for `exp`, `nbf` and `iat`; at most 60 s. Default 30 s.
    pub leeway: Duration,
    /// What its tokens must be bound to.
    pub require: Bound,
    /// How long one question may take. Default 5 s.
    pub timeout: Duration,
    /// How long it counts that a token is good. Default 60 s.
    pub max_cache: Duration,
    /// How long it counts that one is not. Default 10 s.
    pub negative: Duration,
    /// How many tokens are remembered. Default 10,000.
    pub entries: usize,
    /// How many questions are asked at once. Default 8.
    pub connections: usize,
    /// How many may wait for that. Default 256.
    pub max_waiting: usize,
}

impl IntrospectionProvider {
    /// The default of `timeout`.
    pub const TIMEOUT: Duration = Duration::from_secs(5);
    /// The default of `max_cache`.
    pub const MAX_CACHE: Duration = Duration::from_secs(60);
    /// The default of `negative`.
    pub const NEGATIVE: Duration = Duration::from_secs(10);
    /// The default of `entries`.
    pub const ENTRIES: usize = 10_000;
    /// The default of `connections`.
    pub const CONNECTIONS: usize = 8;
    /// The default of `max_waiting`.
    pub const MAX_WAITING: usize = 256;
}

/// Which claims carry what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimNames {
    /// Default `sub`.
    pub id: String,
    /// Default `groups`.
    pub groups: String,
    /// Default `email`.
    pub email: String,
    /// Default `name`.
    pub name: String,
    /// Default `device_id`.
    pub device: String,
    /// Default `device_compliant`, a boolean.
    pub device_compliant: String,
    /// Default `acr`.
    pub acr: String,
    /// Default `amr`.
    pub amr: String,
    /// Default `auth_time`.
    pub auth_time: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            id: "sub".into(),
            groups: "groups".into(),
            email: "email".into(),
            name: "name".into(),
            device: "device_id".into(),
            device_compliant: "device_compliant".into(),
            acr: "acr".into(),
            amr: "amr".into(),
            auth_time: "auth_time".into(),
        }
    }
}

/// What a provider's tokens must be bound to. What a token is bound to counts in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bound {
    /// Nothing: bearer tokens are accepted, too.
    #[default]
    Unbound,
    /// The client's certificate (RFC 8705).
    Mtls,
    /// A key of which each request brings a proof (RFC 9449).
    Dpop,
    /// One or the other.
    Either,
}

/// `[identity.dpop]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DpopSettings {
    /// Which algorithms may sign proofs; never empty. Default: all.
    pub algorithms: Vec<ProofAlgorithm>,
    /// How long ago a proof may have been made. Default 60 s.
    pub max_age: Duration,
    /// How far the caller's clock may be ahead. Default 30 s.
    pub leeway: Duration,
    /// Whether a proof must have a nonce of the gateway. Default no.
    pub nonce: bool,
    /// How long a nonce is good. Default 5 min.
    pub nonce_lifetime: Duration,
    /// How many proofs are remembered until they are too old to be used again; beyond, none is accepted. Default 500,000.
    pub remembered: usize,
}

impl DpopSettings {
    /// The default of `max_age`.
    pub const MAX_AGE: Duration = Duration::from_secs(60);
    /// The default of `leeway`.
    pub const LEEWAY: Duration = Duration::from_secs(30);
    /// The default of `nonce_lifetime`.
    pub const NONCE_LIFETIME: Duration = Duration::from_secs(5 * 60);
    /// The default of `remembered`.
    pub const REMEMBERED: usize = 500_000;
}

impl Default for DpopSettings {
    fn default() -> Self {
        Self {
            algorithms: ProofAlgorithm::ALL.to_vec(),
            max_age: Self::MAX_AGE,
            leeway: Self::LEEWAY,
            nonce: false,
            nonce_lifetime: Self::NONCE_LIFETIME,
            remembered: Self::REMEMBERED,
        }
    }
}

/// An algorithm that signs proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// EdDSA on Ed25519.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl ProofAlgorithm {
    /// All, what most libraries sign with first.
    pub const ALL: [Self; 3] = [Self::Es256, Self::EdDsa, Self::Rs256];

    /// Its name (RFC 7518 section 3.1, RFC 8037 section 3.1).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }
}

impl From<Algorithm> for ProofAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Es256 => Self::Es256,
            Algorithm::EdDsa => Self::EdDsa,
            Algorithm::Rs256 => Self::Rs256,
        }
    }
}
