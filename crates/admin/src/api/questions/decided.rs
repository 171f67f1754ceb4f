//! What would be decided of one request, in short and with every check, as it is answered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{PolicyInForce, ShownRule};

/// What would be decided, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// `permit`, `deny`, `challenge`, `step_up` or `undecided`.
    pub decision: String,
    /// The status of the answer; 200: it is let through.
    pub status: u16,
    /// The reason code of a refusal.
    pub reason: Option<String>,
    /// In a sentence.
    pub message: String,
    /// What whoever asks should know, such as a role that does not exist, or what is lent.
    pub notes: Vec<String>,
    /// The policy that was asked: the one in force.
    pub policy: PolicyInForce,
}

/// What would be decided, with every check of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explained {
    /// It is what `portcullis explain` writes.
    #[schemars(with = "ShownExplanation")]
    pub explanation: Value,
    /// What whoever asks should know.
    pub notes: Vec<String>,
}

/// An explanation, as an answer has it.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownExplanation {
    /// `permit`, `deny`, `challenge`, `step_up` or `undecided`.
    decision: String,
    /// The status of the answer.
    status: u16,
    /// The decisive reason code.
    reason: Option<String>,
    /// All of them.
    #[schemars(default)]
    reasons: Vec<String>,
    /// In a sentence.
    message: String,
    /// Every check, in their order.
    checks: Vec<ShownCheck>,
    /// The rule that decided.
    rule: Option<ShownRule>,
    /// The nearest changes that would permit it.
    nearest: Vec<ShownNearest>,
    /// What the route limits besides.
    #[schemars(default)]
    limits: Vec<ShownLimit>,
    /// What rules that only report would have said.
    #[schemars(default)]
    shadow: Vec<ShownShadow>,
    /// The roles that the caller holds.
    #[schemars(default)]
    roles: Vec<String>,
    /// The policy that was asked.
    policy: PolicyInForce,
}

/// A check.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownCheck {
    /// What is checked.
    name: String,
    /// `pass`, `fail`, `skip` or `unknown`.
    outcome: String,
    /// Of what.
    value: Option<String>,
    /// More of it.
    detail: Option<String>,
}

/// A change that would permit it.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownNearest {
    /// What is needed.
    needs: Vec<String>,
    /// The assignment that would grant it.
    grant: Option<String>,
    /// Where that stands.
    file: Option<String>,
    /// The same.
    line: Option<u32>,
}

/// A limit of a route: of the numbers those that belong to it.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownLimit {
    /// `rate_limit`, `max_concurrent`, `max_request_body` or `max_response_body`.
    name: String,
    /// For whom it is counted.
    #[schemars(default)]
    per: Option<String>,
    /// Requests.
    #[schemars(default)]
    requests: Option<u64>,
    /// In so many milliseconds.
    #[schemars(default)]
    window_ms: Option<u64>,
    /// At once.
    #[schemars(default)]
    burst: Option<u64>,
    /// Bytes.
    #[schemars(default)]
    bytes: Option<u64>,
}

/// What a rule that only reports would have said.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "it describes what the gateway writes")]
struct ShownShadow {
    /// As of the whole.
    decision: String,
    /// Likewise.
    reason: Option<String>,
    /// Which rule.
    rule: Option<ShownRule>,
}
