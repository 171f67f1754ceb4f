//! Policies beside each other: how two differ, and what another would have done to what was recorded.

use std::net::IpAddr;

use portcullis_insight::Stamped;
use portcullis_insight::replay::Replayed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::PolicyText;
use crate::Told;

/// Recorded requests that are decided on again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayWanted {
    /// The policy as it would be.
    pub policy: PolicyText,
    /// At or after this, RFC 3339; null: a day ago.
    #[serde(default)]
    pub since: Option<String>,
    /// Before this, RFC 3339; null: now.
    #[serde(default)]
    pub until: Option<String>,
    /// At most so many events, from 1 to 1,000,000; null: 100,000.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayDone {
    /// In sentences.
    pub text: Vec<String>,
    /// Nobody is answered otherwise.
    pub unchanged: bool,
    /// There are more events in that time than were replayed: those of the file that was written to last came first.
    pub more: bool,
    /// The report, `portcullis.replay/1`.
    pub report: Told<Stamped<Replayed>>,
    /// What could not be read, in sentences.
    pub notes: Vec<String>,
}

/// Two policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiffWanted {
    /// The policy as it is.
    pub before: PolicySide,
    /// The policy as it would be.
    pub after: PolicySide,
    /// Another reason for the same outcome counts as a change, too.
    #[serde(default)]
    pub reasons: bool,
    /// The time from which examples are chosen, RFC 3339; null: now.
    #[serde(default)]
    pub at: Option<String>,
}

/// One of two policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicySide {
    /// A version, by its number.
    Version(u64),
    /// A change that waits, by its id, or at least the first eight digits of it.
    Change(String),
    /// What is in force, with the lists that its networks have now.
    InForce,
    /// A policy that is sent along.
    Policy(PolicyText),
}

/// How two policies differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyDiffered {
    /// For people.
    pub text: String,
    /// Every request is answered alike, and all could be compared.
    pub unchanged: bool,
    /// It is what `portcullis policy diff` writes.
    #[schemars(with = "ShownDiff")]
    pub report: Value,
}

/// A comparison, as an answer has it.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownDiff {
    /// `none`, `loosens`, `tightens` or `mixed`.
    effect: String,
    /// All could be compared.
    complete: bool,
    /// What could not, in sentences.
    incomplete: Vec<String>,
    /// The policy as it is.
    before: ShownSide,
    /// The policy as it would be.
    after: ShownSide,
    /// The classes of requests whose answer changes.
    classes: Vec<ShownClass>,
}

/// One of two policies.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownSide {
    /// What it was called: a file, `version 3`, or `in force`.
    file: String,
    /// The SHA-256 of its text.
    sha256: String,
}

/// A class of requests.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownClass {
    /// As of the whole.
    effect: String,
    /// Its answer now.
    before: ShownDecision,
    /// Its answer then.
    after: ShownDecision,
    /// Where.
    places: Vec<ShownPlace>,
    /// And so many more.
    more_places: u64,
    /// By whom.
    callers: Vec<String>,
    /// And so many more.
    more_callers: u64,
    /// With which claims.
    claims: Vec<Vec<String>>,
    /// Under which circumstances.
    when: Vec<ShownCircumstance>,
    /// Whether all of them have these reasons and rules; false: only the example, since asking for all would take too long.
    uniform: bool,
    /// One of them.
    example: ShownExample,
}

/// An answer.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownDecision {
    /// `permit`, `deny`, `challenge`, `step_up` or `undecided`.
    decision: String,
    /// The reason code.
    reason: Option<String>,
    /// The rule that decided.
    rule: Option<ShownRuleAt>,
}

/// A rule and where it stands.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownRuleAt {
    /// Its name.
    name: String,
    /// The file.
    file: String,
    /// The line.
    line: u32,
}

/// Where requests go.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownPlace {
    /// The route now.
    route_before: Option<String>,
    /// The route then.
    route_after: Option<String>,
    /// The host.
    host: Option<String>,
    /// The path.
    path: String,
    /// The methods.
    methods: Vec<String>,
}

/// A fact that it depends on.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownCircumstance {
    /// Which.
    fact: String,
    /// Its values.
    values: Vec<String>,
}

/// One request of a class.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownExample {
    /// Method and path.
    request: String,
    /// The host.
    host: String,
    /// `anonymous`, `verified`, `rejected` or `unavailable`.
    identity: String,
    /// Who asks.
    r#as: Option<String>,
    /// In which groups.
    groups: Option<Vec<String>>,
    /// With which roles.
    roles: Option<Vec<String>>,
    /// Whether the device meets the rules.
    device: Option<bool>,
    /// `mfa`: several factors, fresh.
    assurance: Option<String>,
    /// How many seconds ago the caller authenticated.
    authenticated_s: Option<i64>,
    /// The client's address.
    ip: Option<IpAddr>,
    /// Its country.
    country: Option<String>,
    /// How risky it looks.
    risk: String,
    /// There is evidence of abuse.
    evidence: bool,
    /// What is activated.
    activated: Vec<String>,
    /// When.
    at: String,
    /// The same as a question to `portcullis`.
    command: String,
}
