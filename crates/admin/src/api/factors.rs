//! Second factors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The second factors of a principal. None of their secrets is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Factors {
    /// Whose, as a policy writes it.
    pub on: String,
    /// The oldest first.
    pub factors: Vec<Factor>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Factor {
    /// What it is known by.
    pub id: String,
    /// `totp`, `recovery` or `passkey`.
    pub kind: String,
    /// What its owner calls it.
    pub name: String,
    /// When it was added, RFC 3339.
    pub created: String,
    /// When it was last used, RFC 3339; null for never.
    pub used: Option<String>,
    /// Recovery codes that are left; null for other kinds.
    pub left: Option<u64>,
}

/// An app with codes to begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFactor {
    /// Whose, as a policy writes it.
    pub on: String,
    /// What its owner calls it.
    pub name: String,
}

/// One that was begun: it counts once it is confirmed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FactorBegun {
    /// What is to be confirmed.
    pub id: String,
    /// The secret in base32.
    pub secret: String,
    /// The address that an app reads.
    pub uri: String,
}

impl std::fmt::Debug for FactorBegun {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("FactorBegun").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A code that confirms it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FactorCode {
    /// Whose.
    pub on: String,
    /// What is to be confirmed.
    pub id: String,
    /// The code.
    pub code: String,
}

/// It was confirmed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FactorConfirmed {
    /// What was done, in one sentence.
    pub message: String,
    /// Recovery codes, where there were none: shown this once.
    pub recovery: Option<Vec<String>>,
}

impl std::fmt::Debug for FactorConfirmed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("FactorConfirmed").field("message", &self.message).finish_non_exhaustive()
    }
}
