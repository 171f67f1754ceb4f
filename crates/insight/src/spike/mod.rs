//! Spikes of refusals: that there is one, and why.
//!
//! [`Charts`] see that there are more than usual. [`explain`] then decides on the very requests that were refused again, with each recent change
//! undone: a change that would not have let them in is no cause, however close it came. What no change explains is sorted by who was refused:
//! those who are usually let in, or nobody that was ever seen. What is left is said to be unexplained.

mod cause;
mod chart;
mod familiar;
mod report;

pub use cause::{ChangeKind, RecentChange, Window, explain};
pub use chart::{BucketCounts, Charts, Standing};
pub use familiar::Familiar;
pub use report::{Cause, CauseKind, Explained, Fix};

use std::time::Duration;

/// How spikes are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpikeSettings {
    /// What is counted together. Default 10 s.
    pub bucket: Duration,
    /// Fewer refusals than these beyond the usual are none. Default 20.
    pub min_excess: u64,
    /// A change is a suspect that came at most so long before the onset. Default 15 minutes.
    pub lookback: Duration,
}

impl Default for SpikeSettings {
    fn default() -> Self {
        Self { bucket: Duration::from_secs(10), min_excess: 20, lookback: Duration::from_secs(15 * 60) }
    }
}

#[cfg(test)]
mod tests;
