//! Holding all of the log to what it was: on a view of its own of the store, so that nobody waits for it who activates something, or takes something back.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use portcullis_governance::{Anchor, GovernanceError, Governor};

use super::desk::{Outcome, said};
use super::{Governing, looked_at};

/// Versions that are compared once more with the one before, at once.
const MOST_COMPARED: u64 = 200;
/// No further comparison is begun after that; one takes ten seconds at the longest.
const BUDGET: Duration = Duration::from_secs(20);

impl Governing {
    /// Holds all of the log to its hashes, signatures and rules, and has the engine say once more what the last versions did.
    pub(super) fn verify(&self) -> Outcome {
        let live = self.governor().standing().version.map(|version| Anchor { n: version.n, hash: version.hash() });
        let words = self.verified(live, BUDGET)?;
        Ok(self.answer(words))
    }

    /// The same, as of a view of its own: the governor is not held. `live`: what is live in this process, and must be there.
    pub(super) fn verified(&self, live: Option<Anchor>, budget: Duration) -> Result<String, String> {
        let versions = (self.look)(&self.store).map_err(|error| error.to_string())?;
        let governor = looked_at(&self.config, &self.store, versions).map_err(said)?;
        if let Some(live) = live
            && !governor.holds(live).map_err(said)?
        {
            return Err(format!(
                "version {} is live, and is not in the store any more, or is another one: the store was changed meanwhile",
                live.n
            ));
        }
        let n = governor.verify_all().map_err(said)?;
        governor.verify_times(Timestamp::now()).map_err(said)?;
        let untold = verify_classes(&governor, n, budget).map_err(said)?;
        let remark = governor.unknown_recovery().map_or_else(String::new, |remark| format!("; {remark}"));
        Ok(format!("{n} versions are what they were, and were approved as their rules demanded{untold}{remark}"))
    }
}

/// Has the engine say once more what the last versions did, as many as it comes to within that time. Says of which it cannot be told, and which were not compared.
///
/// # Errors
/// One did something else than it says.
pub(crate) fn verify_classes(governor: &Governor, last: u64, budget: Duration) -> Result<String, GovernanceError> {
    let first = last.saturating_sub(MOST_COMPARED).saturating_add(1);
    let (began, mut untold, mut left) = (Instant::now(), 0_u64, 0_u64);
    for n in (first..=last).rev() {
        if began.elapsed() >= budget {
            left = n.saturating_sub(first).saturating_add(1);
            break;
        }
        if !governor.verify_class(n)? {
            untold = untold.saturating_add(1);
        }
    }
    let mut words = String::new();
    if first > 1 {
        words.push_str(&format!("; what they do was compared again of the last {MOST_COMPARED}"));
    }
    if left > 0 {
        words.push_str(&format!(
            "; {left} of them, up to version {}, were not compared again, since it took longer than {} seconds",
            first.saturating_add(left).saturating_sub(1),
            budget.as_secs()
        ));
    }
    if untold > 0 {
        words.push_str(&format!(
            "; what {untold} of them did cannot be told any more: their files or variables are not what they were, or an earlier version of the program demanded less of them"
        ));
    }
    Ok(words)
}
