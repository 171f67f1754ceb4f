//! Events that are kept: searched, counted, explained.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::NativeEvent;

/// Which events: all that is said must hold. The keys are those of a tail, and a span of time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventsWanted {
    /// Refusals only, whatever their status.
    pub refusals: bool,
    /// A reason code, in which `*` stands for anything: `rbac.*`.
    pub reason: Option<String>,
    /// A principal: `user:alice`, or the id alone.
    pub principal: Option<String>,
    /// The client's address, or its network.
    pub network: Option<String>,
    /// The route.
    pub route: Option<String>,
    /// The event's id.
    pub id: Option<String>,
    /// At or after this, RFC 3339; null: a day ago, and of one id ever.
    pub since: Option<String>,
    /// Before this, RFC 3339; null: now.
    pub until: Option<String>,
    /// At most so many, from 1 to 10,000; of counts, so many of each kind; null: 50, and 10 of counts.
    pub limit: Option<u32>,
    /// Those that are older than the one that this names: `next` of the part before.
    pub after: Option<String>,
}

/// Events that were found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventsFound {
    /// Native events, the newest first.
    #[schemars(with = "Vec<NativeEvent>")]
    pub events: Vec<Value>,
    /// How many there are: these and the older ones.
    pub matches: u64,
    /// There are older ones.
    pub more: bool,
    /// What `after` names to have them.
    pub next: Option<String>,
    /// What could not be read, in sentences: then events may be missing.
    pub notes: Vec<String>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventId {
    /// Its id, which the caller was given.
    pub id: String,
}

/// An event, and what is around it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventExplained {
    /// The event, native.
    #[schemars(with = "NativeEvent")]
    pub event: Value,
    /// What its reason means; null: it has none.
    pub meaning: Option<String>,
    /// What the operator checks.
    pub next: Option<String>,
    /// The newest events within a quarter of an hour by the same principal, or, where it has none, the same address. At most 5.
    #[schemars(with = "Vec<NativeEvent>")]
    pub related: Vec<Value>,
    /// What could not be read, in sentences.
    pub notes: Vec<String>,
}

/// How many events there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventsCounted {
    /// All that are wanted.
    pub events: u64,
    /// Refusals among them.
    pub refusals: u64,
    /// By reason, what came most first.
    pub reasons: Vec<EventCount>,
    /// By route, likewise.
    pub routes: Vec<EventCount>,
    /// By principal, likewise.
    pub principals: Vec<EventCount>,
    /// By address, likewise.
    pub addresses: Vec<EventCount>,
    /// Over time.
    pub series: EventSeries,
    /// What could not be read, in sentences.
    pub notes: Vec<String>,
}

/// How often something came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventCount {
    /// What.
    pub value: String,
    /// How often.
    pub events: u64,
}

/// Events over time, in pieces of one length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventSeries {
    /// When the first piece begins, RFC 3339; null: there is none.
    pub begin: Option<String>,
    /// How long each is, in seconds.
    pub seconds: Option<i64>,
    /// How many events each has.
    pub events: Vec<u64>,
}
