//! The thresholds of an audit.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::schedule::Schedule;

/// What an audit goes by. The shape of TOML (`[audit]`) lives in `config`.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditSettings {
    /// When one is made by itself; `None`: only when somebody asks.
    pub schedule: Option<Schedule>,
    /// How long something must not have been used to be called unused. Default 90 days.
    pub unused_after: Duration,
    /// How long usage must have been counted before anything is said of it. Default 90 days.
    pub min_observed: Duration,
    /// How many runs are kept. Default 52.
    pub keep: usize,
    /// The share of what a principal may do, by weight, that it does not use, from which on it holds too much. Default 0.6.
    pub over_exposure: f64,
    /// A role that fewer than this share of peers hold is out of the ordinary. Default 0.05.
    pub outlier_share: f64,
    /// Where there are fewer peers nothing is said of them. Default 10.
    pub peers: usize,
    /// What at least this share of peers use is kept, though one of them does not use it. Default 0.2.
    pub keep_share: f64,
    /// How many refusals in 30 days make a permission look like a missing one. Default 5.
    pub denials: u32,
    /// By whose clocks a grant was made at an unusual hour. Default UTC.
    pub zone: TimeZone,
    /// Words in the name of an assignment that say that it was meant for a time.
    pub temporary_words: Vec<String>,
    /// Routes through which the policy, or who is in which group, can be changed.
    pub control_routes: Vec<String>,
}

impl Default for AuditSettings {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
        let words = ["temp", "tmp", "temporary", "interim", "trial", "emergency", "migration"];
        Self {
            schedule: Some(Schedule::Every(days(7))),
            unused_after: days(90),
            min_observed: days(90),
            keep: 52,
            over_exposure: 0.6,
            outlier_share: 0.05,
            peers: 10,
            keep_share: 0.2,
            denials: 5,
            zone: TimeZone::UTC,
            temporary_words: words.map(str::to_owned).to_vec(),
            control_routes: Vec::new(),
        }
    }
}

impl AuditSettings {
    pub(crate) fn unused_after_s(&self) -> i64 {
        whole_seconds(self.unused_after)
    }

    /// How long usage must have been counted before something can be called unused.
    pub(crate) fn observed_for_s(&self) -> i64 {
        whole_seconds(self.unused_after.max(self.min_observed))
    }
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
