//! Spikes of refusals: that there is one, and why.
//!
//! A [`Lookout`] sees on its charts that there are more than usual. [`explain`] then decides on the very requests that were refused again, with each
//! recent change undone: a change that would not have let them in is no cause, however close it came. What no change explains is sorted by who was
//! refused: those who are usually let in, or nobody that was ever seen; and by whether those beside them are let in as ever. What is left is said
//! to be unexplained.

mod answered;
mod beyond;
mod blind;
mod bystanders;
mod cause;
mod changes;
mod chart;
mod classes;
mod deeds;
mod familiar;
mod fix;
mod lookout;
mod remembered;
mod report;
mod undone;
mod ways;

pub use cause::{Window, explain};
pub use changes::{ChangeKind, ChangeLog, InForce, Parts, RecentChange, Versions};
pub use chart::{BucketCounts, Charts, Standing, Usual};
pub use deeds::{Deed, DeedKind};
pub use lookout::{Due, Found, Lookout, Moment};
pub use remembered::Remembered;
pub use report::{Cause, CauseKind, Explained, Fix};
pub use ways::Ways;

use std::time::Duration;

use jiff::SignedDuration;

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

impl SpikeSettings {
    /// How many buckets so many seconds are, rounded up.
    fn buckets(&self, seconds: u64) -> u32 {
        let buckets = Duration::from_secs(seconds).as_millis().div_ceil(self.bucket.as_millis().max(1));
        u32::try_from(buckets).unwrap_or(u32::MAX)
    }

    /// So many seconds, and at least so many buckets: what is said of seconds says nothing where a bucket is longer.
    fn at_least(&self, seconds: u64, buckets: u32) -> SignedDuration {
        let long = self.bucket.saturating_mul(buckets).max(Duration::from_secs(seconds));
        SignedDuration::try_from(long).unwrap_or(SignedDuration::MAX)
    }
}

#[cfg(test)]
mod tests;
