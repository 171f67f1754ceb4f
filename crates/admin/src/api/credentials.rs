//! Uses of API keys, and what is revoked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When API keys were last used: those that were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyUses {
    /// Each, by its id. At most 10,000.
    pub keys: Vec<KeyUse>,
    /// There are more than these.
    #[serde(default)]
    pub more: bool,
}

/// The last use of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyUse {
    /// The key's id.
    pub id: String,
    /// When it was last accepted, RFC 3339, give or take a minute.
    pub last_used: String,
}

/// Something that is to count no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRevocation {
    /// `token`, `key` or `principal`.
    pub what: String,
    /// A token's `jti`, a key's id, or a principal as the policy writes it.
    pub name: String,
    /// Of a principal: what was issued later counts, RFC 3339; null: now.
    #[serde(default)]
    pub before: Option<String>,
    /// For how many seconds; null: a token or a principal for 90 days, a key until it is lifted.
    #[serde(default)]
    pub for_s: Option<u64>,
    /// Why, 1 to 128 bytes.
    pub reason: String,
}

/// Something that was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokedName {
    /// `token`, `key` or `principal`.
    pub what: String,
    /// Its name.
    pub name: String,
}

/// All that is revoked, the last first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revocations {
    /// Each. At most 10,000: with `limit` or `after` in the order of their names.
    pub revocations: Vec<ShownRevocation>,
    /// There are more than these.
    #[serde(default)]
    pub more: bool,
    /// They survive a restart.
    pub kept: bool,
    /// How many of those that are kept cannot be read, or not whole: what these name is revoked until it is lifted.
    #[serde(default)]
    pub damaged: u64,
}

/// A revocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShownRevocation {
    /// `token`, `key` or `principal`.
    pub what: String,
    /// Its name.
    pub name: String,
    /// Of a principal: what was issued until then counts no longer, RFC 3339.
    pub before: Option<String>,
    /// When it was made, RFC 3339.
    pub made: String,
    /// When it ends, RFC 3339; null: when it is lifted.
    pub until: Option<String>,
    /// Why.
    pub reason: String,
    /// It survives a restart. False: it could not be written down yet, or there is no store.
    #[serde(default)]
    pub kept: bool,
}
