//! What two runs found differently.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::finding::{Finding, Report};

/// The difference of two runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AuditDifference")]
pub struct Difference {
    /// The earlier one.
    pub from: String,
    /// The later one.
    pub to: String,
    /// What only the later one found.
    pub new: Vec<Finding>,
    /// What only the earlier one found.
    pub resolved: Vec<Finding>,
    /// What is another severity now: before, and now.
    pub changed: Vec<(Finding, Finding)>,
    /// How many both found alike.
    pub unchanged: usize,
}

/// Compares two runs by the fingerprints of their findings.
pub fn difference(from: &Report, to: &Report) -> Difference {
    let only = |one: &Report, other: &Report| {
        one.findings.iter().filter(|finding| other.find(&finding.fingerprint).is_none()).cloned().collect()
    };
    let both = to.findings.iter().filter_map(|now| Some((from.find(&now.fingerprint)?, now)));
    let (changed, same): (Vec<_>, Vec<_>) = both.partition(|(before, now)| before.severity != now.severity);
    Difference {
        from: from.run.clone(),
        to: to.run.clone(),
        new: only(to, from),
        resolved: only(from, to),
        changed: changed.into_iter().map(|(before, now)| (before.clone(), now.clone())).collect(),
        unchanged: same.len(),
    }
}
