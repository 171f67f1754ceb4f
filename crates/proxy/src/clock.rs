//! The clock that bans go by: the time of day at the start plus what has passed since, so that setting the system's
//! clock neither lifts nor lengthens a ban.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

/// A time of day that only moves forward, and evenly.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    anchor: (Instant, Timestamp),
}

impl Clock {
    /// Anchored now.
    pub fn start() -> Self {
        Self { anchor: (Instant::now(), Timestamp::now()) }
    }

    /// The time of an instant at or after the anchor.
    pub fn at(&self, instant: Instant) -> Timestamp {
        let (start, time) = self.anchor;
        let passed = SignedDuration::try_from(instant.saturating_duration_since(start)).unwrap_or(SignedDuration::MAX);
        time.checked_add(passed).unwrap_or(Timestamp::MAX)
    }

    /// Nanoseconds from the anchor to an instant: 584 years fit.
    pub fn nanoseconds(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.anchor.0).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }
}
