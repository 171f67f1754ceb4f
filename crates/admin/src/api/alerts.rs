//! Alerts, what they contain, and mutes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The alerts, and what they contain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alerts {
    /// In the order of the configuration.
    pub alerts: Vec<Alert>,
    /// What they contain, the last first.
    pub contained: Vec<Contained>,
    /// Events that no alert has seen, because too many came at once.
    pub missed: u64,
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// Its name.
    pub name: String,
    /// What it demands, in words.
    pub condition: String,
    /// How often it has fired since it is in force.
    pub fired: u64,
    /// The keys that have fired and hold still, or cool down. At most 100.
    pub firing: Vec<String>,
    /// How many keys it keeps apart.
    pub keys: u64,
    /// How many keys were forgotten for others.
    pub evicted: u64,
    /// Events that made a key fire for which there was no room among those that fire.
    pub crowded: u64,
    /// Events with a value of which nobody knows whether it is new, because the key has had too many.
    pub overflowed: u64,
    /// Why nobody is told at this moment.
    pub muted: Option<String>,
    /// It still learns what is usual.
    pub learning: bool,
}

/// Something that an alert contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Contained {
    /// Its id, by which it is lifted.
    pub id: String,
    /// The alert.
    pub alert: String,
    /// What was done: `ban`, `step_up`, `revoke`, `tighten`.
    pub measure: String,
    /// To whom, or to which route.
    pub on: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Until when, RFC 3339.
    pub until: String,
    /// In how many seconds that is.
    pub left_s: u64,
    /// The id of the alert's event.
    pub event: String,
    /// It refuses nobody and is only reported.
    pub simulated: bool,
}

/// An alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertName {
    /// Its name.
    pub name: String,
}

/// A containment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainmentId {
    /// Its id.
    pub id: String,
}

/// Alerts that are to tell nobody for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMute {
    /// The alert; `null`: all of them.
    pub alert: Option<String>,
    /// For how many seconds; at most 7 days.
    pub for_s: u64,
    /// Why, for the events; at most 256 bytes.
    pub reason: String,
}

/// Alerts that were muted by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MutedAlert {
    /// The alert; `null`: the mute of all of them.
    pub alert: Option<String>,
}

/// What came of a test of an alert's notifiers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertTested {
    /// The alert.
    pub name: String,
    /// Each notifier, and how it went.
    pub tried: Vec<Tried>,
}

/// One notifier that was tested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tried {
    /// The notifier.
    pub notifier: String,
    /// `webhook` and so on.
    pub kind: String,
    /// It took the message.
    pub delivered: bool,
    /// What happened, in one sentence.
    pub message: String,
}
