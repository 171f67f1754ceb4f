//! Bans, and why they are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The bans in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bans {
    /// The one that ends last first.
    pub bans: Vec<Ban>,
    /// There are more than these.
    #[serde(default)]
    pub more: bool,
}

/// One ban.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ban {
    /// On whom: an address, a network, or a principal such as `user:alice`.
    pub on: String,
    /// What it refuses: `address`, `anonymous` (of an address, what has no credential that holds) or `principal`.
    pub scope: String,
    /// When it ends, RFC 3339.
    pub until: String,
    /// In how many seconds.
    pub left_s: u64,
    /// How many offences led to it.
    pub offences: u32,
    /// Why.
    pub cause: String,
    /// It refuses nobody and is only reported.
    pub simulated: bool,
    /// When it began, RFC 3339.
    #[serde(default)]
    pub began: String,
}

/// On whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Whom {
    /// An address, a network, or a principal such as `user:alice`.
    pub on: String,
}

/// A ban to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBan {
    /// An address, a network, or a principal such as `user:alice`.
    pub on: String,
    /// For how many seconds.
    pub for_s: u64,
    /// Why, for the event and the listing; at most 256 bytes.
    pub reason: String,
}

/// Bans to make, all of them or none. At most 10,000.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBans {
    /// Where they come from, for the event; at most 256 bytes.
    pub from: String,
    /// The bans.
    pub bans: Vec<NewBan>,
}

/// What is known of somebody's bans.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BanReport {
    /// Who was asked about.
    pub on: String,
    /// Those that touch it, the strongest first.
    pub bans: Vec<Ban>,
    /// It is among those that are never banned.
    pub never: bool,
    /// The last requests that were charged, newest first.
    pub evidence: Vec<Sample>,
    /// What its past offences mean; null where there are none.
    #[serde(default)]
    pub outlook: Option<Outlook>,
}

/// What somebody's past offences mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outlook {
    /// How many are not forgotten.
    pub past_offences: f64,
    /// About how long the next ban would be, in seconds.
    pub next_s: u64,
    /// Half of them are forgotten in so many seconds.
    pub forget_half_s: u64,
}

/// A request that was charged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// Its reason code, or the status that the upstream answered with.
    pub reason: String,
    /// Its path.
    pub path: String,
}
