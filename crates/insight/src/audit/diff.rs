//! What two runs found differently.

use serde::Serialize;

use super::finding::{Finding, Report};

/// The difference of two runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference<'r> {
    /// The earlier one.
    pub from: &'r str,
    /// The later one.
    pub to: &'r str,
    /// What only the later one found.
    pub new: Vec<&'r Finding>,
    /// What only the earlier one found.
    pub resolved: Vec<&'r Finding>,
    /// What is another severity now: before, and now.
    pub changed: Vec<(&'r Finding, &'r Finding)>,
    /// How many both found alike.
    pub unchanged: usize,
}

/// Compares two runs by the fingerprints of their findings.
pub fn difference<'r>(from: &'r Report, to: &'r Report) -> Difference<'r> {
    let only = |one: &'r Report, other: &Report| {
        one.findings.iter().filter(|finding| other.find(&finding.fingerprint).is_none()).collect()
    };
    let both = to.findings.iter().filter_map(|now| Some((from.find(&now.fingerprint)?, now)));
    let (changed, same): (Vec<_>, Vec<_>) = both.partition(|(before, now)| before.severity != now.severity);
    Difference {
        from: &from.run,
        to: &to.run,
        new: only(to, from),
        resolved: only(from, to),
        changed,
        unchanged: same.len(),
    }
}
