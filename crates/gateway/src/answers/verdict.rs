//! What is decided, in short, and the policy that was asked.

use portcullis_admin::api::PolicyInForce;
use portcullis_policy::Policy;
use serde_json::{Value, json};

/// Which policy it was.
pub(crate) fn asked(policy: &Policy) -> PolicyInForce {
    PolicyInForce { version: policy.version(), sha256: policy.sha256().to_owned() }
}

/// The outcome, for a machine.
pub(crate) fn to_json(decision: &str, status: u16, reason: Option<&str>, message: &str) -> Value {
    json!({ "decision": decision, "status": status, "reason": reason, "message": message })
}

/// The same in one line for people.
pub(crate) fn for_people(decision: &str, reason: Option<&str>, message: &str) -> String {
    match reason {
        Some(reason) => format!("{decision} {reason}: {message}"),
        None => format!("{decision}: {message}"),
    }
}
