//! Tests of sinks, and the lines between the events of a tail.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkName {
    /// Its name.
    pub name: String,
}

/// What came of a test event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SinkTested {
    /// The sink has taken it.
    pub delivered: bool,
    /// What happened, in one sentence.
    pub message: String,
    /// The id of the test event.
    pub id: String,
    /// The native line of the test event, from which the sink makes what it sends.
    pub line: Option<String>,
    /// What the sink made of it, as it leaves the gateway before it is compressed and encrypted; what proves who sends it is hidden.
    #[serde(default)]
    pub wire: Option<String>,
}

/// A line between the events of a tail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TailNote {
    /// [`TAIL_SCHEMA`].
    pub schema: String,
    /// Events that were not passed on, because whoever follows was too slow for them.
    pub dropped: u64,
}

/// What tells a [`TailNote`] from an event. The first one comes at once: from then on nothing is missed.
pub const TAIL_SCHEMA: &str = "portcullis.tail/1";
