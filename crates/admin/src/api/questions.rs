//! Questions to the policy in force and their answers, each in a file of its own; here is what several answers have.

mod allowed;
mod decided;
mod listed;
mod supposed;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use allowed::Allowed;
pub use decided::{Explained, Verdict};
pub use listed::Listed;
pub use supposed::{ListQuestion, PolicyQuestion, SupposedFacts, SupposedRisk};

/// Which policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyInForce {
    /// Its version.
    pub version: u64,
    /// The SHA-256 of its text.
    pub sha256: String,
}

/// A rule and where it stands.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownRule {
    /// What it is, such as `assignment`.
    #[schemars(default)]
    kind: Option<String>,
    /// Its name.
    name: String,
    /// The file.
    file: String,
    /// The line.
    line: u32,
}

/// What a route demands.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownDemands {
    /// `required`, `optional`, `none` or `certificate`.
    authentication: String,
    /// From where.
    networks: ShownNetworks,
    /// Which rule says so.
    rule: Option<ShownRule>,
}

/// From which networks.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownNetworks {
    /// From these.
    allow: Vec<String>,
    /// Not from these.
    deny: Vec<String>,
    /// It is only reported.
    shadow: bool,
}

/// What stands in the way.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownObstacle {
    /// The check.
    stage: String,
    /// What it says.
    decision: String,
    /// Its reason code.
    reason: String,
    /// What would help.
    needs: Vec<String>,
    /// Of these, what is unknown.
    unknown: Vec<String>,
    /// Which rule.
    rule: Option<ShownRule>,
}
