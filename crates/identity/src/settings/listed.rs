//! Who is listed in files: API keys, and users with passwords.

use std::sync::Arc;
use std::time::Duration;

use portcullis_policy::PrincipalKind;

use crate::password::PasswordHash;

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
    /// When it was made, where the file says so.
    pub created: Option<jiff::Timestamp>,
    /// From when on it is refused with `authn.expired`.
    pub expires: Option<jiff::Timestamp>,
    /// The routes that it is for; none: all.
    pub routes: Vec<String>,
    /// The networks that it is for; none: any.
    pub networks: Vec<String>,
    /// The secret of before it was rotated, which is good until then beside it.
    pub previous: Option<PreviousSecret>,
    /// Withdrawn: refused with `authn.revoked`.
    pub revoked: bool,
}

/// A secret that was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviousSecret {
    /// SHA-256 of the 32 secret bytes.
    pub sha256: [u8; 32],
    /// From when on it is refused with `authn.expired`.
    pub until: jiff::Timestamp,
}

/// `[[identity.password]]`, its file already read.
#[derive(Debug, Clone)]
pub struct PasswordProvider {
    /// Its name, unique.
    pub name: Arc<str>,
    /// Put before the users' names.
    pub prefix: String,
    /// The users. Names are unique over all providers.
    pub users: Vec<UserRecord>,
    /// How long a password that was verified is not checked again. Default 1 min.
    pub remember: Duration,
}

impl PasswordProvider {
    /// The default of `remember`.
    pub const REMEMBER: Duration = Duration::from_secs(60);
}

/// One `[[user]]` of a file of users.
#[derive(Debug, Clone)]
pub struct UserRecord {
    /// What the user types, and the id of the principal after the prefix.
    pub name: String,
    /// The hash of the password.
    pub hash: PasswordHash,
    /// Local groups that the user is in.
    pub groups: Vec<String>,
    /// Refused with `authn.revoked`.
    pub disabled: bool,
    /// From when on the user is refused with `authn.expired`.
    pub expires: Option<jiff::Timestamp>,
}
