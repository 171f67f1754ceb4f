//! What identity needs to know, as plain values. The TOML shape lives in `config`.

use std::sync::Arc;
use std::time::Duration;

use portcullis_policy::PrincipalKind;

/// All identity providers of one configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Providers of signed tokens.
    pub jwt: Vec<JwtProvider>,
    /// Providers of API keys. No two share a header.
    pub api_key: Vec<ApiKeyProvider>,
    /// How many verified tokens are remembered; at least 1. Default 65,536.
    pub token_cache_entries: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { jwt: Vec::new(), api_key: Vec::new(), token_cache_entries: 65_536 }
    }
}

/// `[[identity.jwt]]`, its key set already read.
#[derive(Debug, Clone)]
pub struct JwtProvider {
    /// Its name, unique.
    pub name: Arc<str>,
    /// The exact `iss`.
    pub issuer: String,
    /// The acceptable `aud` values; never empty.
    pub audiences: Vec<String>,
    /// The key set's text (RFC 7517 section 5), at most 1 MiB.
    pub jwks: Arc<str>,
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
}

/// Which claims carry what.
#[derive(Debug, Clone)]
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

/// `[[identity.api_key]]`, its file already read.
#[derive(Debug, Clone)]
pub struct ApiKeyProvider {
    /// Its name, unique.
    pub name: Arc<str>,
    /// The header that carries the key, lower case.
    pub header: http::HeaderName,
    /// The keys: ids and hashes, never secrets. Ids are unique over all providers.
    pub keys: Vec<ApiKeyRecord>,
}

/// One `[[key]]` of a key file.
#[derive(Debug, Clone)]
pub struct ApiKeyRecord {
    /// The key's id, part of the key's text.
    pub id: String,
    /// SHA-256 of the 32 secret bytes.
    pub sha256: [u8; 32],
    /// The principal that the key stands for: kind and id.
    pub principal: (PrincipalKind, String),
    /// Local groups that the key carries.
    pub groups: Vec<String>,
    /// Roles that the key carries.
    pub roles: Vec<String>,
    /// From when on it is refused with `authn.expired`.
    pub expires: Option<jiff::Timestamp>,
    /// Withdrawn: refused with `authn.revoked`.
    pub revoked: bool,
}
