//! A caller that asks too often, or for too much at once: which limit says so, whom it counts, and when there is room again.

use http::StatusCode;
use portcullis_events::ReasonCode;

/// Why a request was throttled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Throttle {
    /// Which kind of limit.
    pub kind: ThrottleKind,
    /// The limit in words, for the operator: `100 requests in 1m per principal`.
    pub limit: String,
    /// Whom it counts: an address, a network, a principal, or a route.
    pub key: String,
    /// When a new attempt makes sense, in seconds.
    pub retry_after_s: u64,
}

/// The kinds of limit, each with its own answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThrottleKind {
    /// Requests in a time (`limit.rate`, 429).
    Rate,
    /// Requests under way at once by one caller (`limit.concurrency`, 429).
    CallerConcurrency,
    /// Requests under way at once on a whole route, which is nobody's fault (`limit.concurrency`, 503).
    RouteConcurrency,
    /// Frames of an HTTP/2 connection that ask for no work and make some (`limit.rate`; the connection is closed with
    /// ENHANCE_YOUR_CALM, and no request is answered).
    Frames,
}

impl Throttle {
    /// The reason code.
    pub fn code(&self) -> ReasonCode {
        match self.kind {
            ThrottleKind::Rate | ThrottleKind::Frames => ReasonCode::LimitRate,
            ThrottleKind::CallerConcurrency | ThrottleKind::RouteConcurrency => ReasonCode::LimitConcurrency,
        }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self.kind {
            ThrottleKind::Rate | ThrottleKind::CallerConcurrency | ThrottleKind::Frames => {
                StatusCode::TOO_MANY_REQUESTS
            }
            ThrottleKind::RouteConcurrency => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The check that failed, as events list it.
    pub fn check_name(&self) -> &'static str {
        match self.kind {
            ThrottleKind::Rate => "rate",
            ThrottleKind::Frames => "frames",
            ThrottleKind::CallerConcurrency | ThrottleKind::RouteConcurrency => "concurrency",
        }
    }

    /// What is said about that check.
    pub fn check_detail(&self) -> String {
        match self.kind {
            ThrottleKind::Rate => format!("over {}; free in {} s", self.limit, self.retry_after_s),
            ThrottleKind::CallerConcurrency | ThrottleKind::RouteConcurrency => {
                format!("over {}; free when one ends", self.limit)
            }
            ThrottleKind::Frames => format!("over {}", self.limit),
        }
    }
}

impl std::fmt::Display for Throttle {
    /// The sentence for the operator.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { limit, key, retry_after_s, .. } = self;
        match self.kind {
            ThrottleKind::Rate => {
                write!(formatter, "{key} has used up {limit}; the next is accepted in {retry_after_s} s")
            }
            ThrottleKind::CallerConcurrency | ThrottleKind::RouteConcurrency => {
                write!(formatter, "{key} has {limit} under way; the next is accepted when one ends")
            }
            ThrottleKind::Frames => write!(formatter, "a connection of {key} sent more than {limit}, and was closed"),
        }
    }
}

/// A duration as a configuration writes it, in its largest whole unit.
pub fn in_words(duration: std::time::Duration) -> String {
    let ms = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let fits = |(size, _): &&(u128, &str)| ms >= *size && ms.is_multiple_of(*size);
    units.iter().find(fits).map_or_else(|| format!("{ms}ms"), |(size, unit)| format!("{}{unit}", ms / size))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_duration_is_written_in_its_largest_whole_unit() {
        let check = |ms: u64, expected: &str| assert_eq!(in_words(Duration::from_millis(ms)), expected);
        check(0, "0ms");
        check(1_500, "1500ms");
        check(60_000, "1m");
        check(90_000, "90s");
        check(86_400_000, "1d");
    }
}
