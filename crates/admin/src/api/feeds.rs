//! Networks that keep themselves current.

use std::net::IpAddr;

use portcullis_insight::{Preview, Stamped};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::told::Told;

/// The networks that keep themselves current.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Feeds {
    /// In the order of the configuration.
    pub feeds: Vec<Feed>,
}

/// One network that keeps itself current.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Feed {
    /// The network.
    pub name: String,
    /// Where its list comes from.
    pub source: String,
    /// `current`, `stale` (too old, and in force), `dropped` (too old, and unknown) or `never_loaded` (unknown).
    pub state: String,
    /// Prefixes in force from the list.
    pub entries: u64,
    /// Prefixes that the configuration adds.
    pub fixed: u64,
    /// The SHA-256 of the list.
    pub sha256: Option<String>,
    /// How many seconds ago the list was confirmed.
    pub age_s: Option<u64>,
    /// Since when it is as it is, RFC 3339.
    pub changed: Option<String>,
    /// In how many seconds it is fetched next; 0 while it is.
    pub next_s: u64,
    /// The last fetch, where it failed.
    pub error: Option<FeedError>,
    /// The update that is held back.
    pub held: Option<HeldUpdate>,
    /// Somebody went back to the list before, and has accepted none since: every other list is held back.
    #[serde(default)]
    pub rolled_back: bool,
    /// Updates that put a new list in force.
    pub updated: u64,
    /// That found the same list.
    pub unchanged: u64,
    /// That were held back.
    pub held_back: u64,
    /// That failed.
    pub failed: u64,
}

/// A fetch that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeedError {
    /// When, RFC 3339.
    pub at: String,
    /// Why.
    pub why: String,
}

/// An update that is held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldUpdate {
    /// The SHA-256 of its list; null where it is none.
    pub sha256: Option<String>,
    /// How many prefixes it has.
    pub entries: u64,
    /// Since when, RFC 3339.
    pub since: String,
    /// Why, each `guard: numbers`.
    pub reasons: Vec<String>,
    /// How many of its prefixes are not in force.
    pub added: u64,
    /// A few of them.
    pub added_sample: Vec<String>,
    /// How many prefixes in force it does not have.
    pub removed: u64,
    /// A few of them.
    pub removed_sample: Vec<String>,
    /// What puts it in force, in words: a verb, or where changes need approvals what the policy has to say; null: nothing.
    #[serde(default)]
    pub remedy: Option<String>,
}

/// A network that keeps itself current.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedName {
    /// Its name.
    pub name: String,
}

/// What going back to the list before would do. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeedRollbackTried {
    /// In sentences.
    pub text: Vec<String>,
    /// The SHA-256 of the list before.
    pub sha256: String,
    /// How many prefixes it has.
    pub entries: u64,
    /// How many seconds ago it was confirmed.
    pub age_s: u64,
    /// The SHA-256 of the list in force, which would be held back.
    pub held: String,
    /// How many prefixes of the list before are not in force.
    pub added: u64,
    /// A few of them.
    pub added_sample: Vec<String>,
    /// How many prefixes in force it does not have.
    pub removed: u64,
    /// A few of them.
    pub removed_sample: Vec<String>,
    /// Whether nobody is answered otherwise, as far as the sample tells; null: it could not be tried on it, and `text` says why.
    pub unchanged: Option<bool>,
    /// What it would have done to the requests of the sample, `portcullis.impact/1`; null likewise.
    pub report: Option<Told<Stamped<Preview>>>,
}

/// An update to be put in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// The network.
    pub name: String,
    /// The SHA-256 of the list that was looked at.
    pub sha256: String,
}

/// Which networks an address is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhereIs {
    /// The address.
    pub address: IpAddr,
}

/// The networks of an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Located {
    /// The address, in canonical form.
    pub address: IpAddr,
    /// Those that hold it.
    pub networks: Vec<PlaceOfAddress>,
    /// Those of which nobody knows.
    pub unknown: Vec<PlaceOfAddress>,
}

/// One network of an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlaceOfAddress {
    /// The network.
    pub network: String,
    /// `configuration`, or `feed`: the list that was fetched.
    pub from: String,
    /// Where the network stands.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}
