//! When it began: cumulative sums over buckets of equal length, one of the number of refusals and one of their share of all requests.
//!
//! A spike is one on both charts, so that more traffic with as many refusals among it is none. The mean follows slowly and not beyond three
//! deviations at once, and stands still while there is a spike: what is unusual does not become usual by lasting for some minutes.

use serde::{Deserialize, Serialize};

use crate::spike::SpikeSettings;

/// Buckets from which nothing but the mean is learnt.
const LEARNT: u64 = 12;
/// How much of the mean a bucket leaves.
const KEPT: f64 = 0.9;
/// A sum over so many deviations is an alarm. With five, as is usual, chance would raise one every thousand buckets: nine a day.
const ALARM: f64 = 10.0;
/// How much of what was learnt of the dispersion a bucket leaves.
const DISPERSION_KEPT: f64 = 0.98;
/// It is not taken for larger than this: whoever has refusals come in bursts must not make the charts blind.
const DISPERSION_MAX: f64 = 9.0;
/// So much of a deviation is taken off each bucket.
const SLACK: f64 = 0.5;
/// So long without a spike ends one, in seconds: three buckets of the default length, and never fewer.
const QUIET: u64 = 30;
/// No bucket has more of anything.
const LARGEST: f64 = 1e12;
const LEAST_QUIET: u32 = 3;
/// After so long what lasts is usual, in seconds: half an hour; of long buckets at least so many.
const USUAL: u64 = 30 * 60;
const LEAST_USUAL: u32 = 12;

/// What one bucket has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BucketCounts {
    /// Requests that were answered.
    pub requests: u64,
    /// Those that the gateway refused, or their upstream with 401 or 403.
    pub refused: u64,
}

/// What is usual, beyond the charts that learnt it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usual {
    /// How long a bucket is, in milliseconds.
    bucket_ms: u64,
    /// Refusals of a bucket.
    mean: f64,
    /// Their part in all requests.
    share: f64,
    /// Requests of a bucket.
    traffic: f64,
    /// How many times as large as the mean the variance is.
    dispersion: f64,
}

/// How it stands after a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Standing {
    /// The first buckets: nothing is known yet.
    Learning,
    /// As usual.
    Quiet,
    /// There is a spike since so many buckets, this one included.
    Spike {
        /// Buckets since its onset.
        buckets: u32,
        /// Refusals in these.
        observed: u64,
        /// As many as were to be expected.
        expected: f64,
        /// It has just been noticed.
        new: bool,
    },
    /// It is over.
    Over,
}

/// Both charts.
#[derive(Debug, Clone, Default)]
pub struct Charts {
    buckets: u64,
    mean: f64,
    share: f64,
    sums: [f64; 2],
    /// Buckets since the last one in which one of the sums was within a deviation.
    since: u32,
    observed: u64,
    expected: f64,
    alarm: bool,
    quiet: u32,
    /// Requests that a bucket has as a rule.
    traffic: f64,
    /// How many times as large as the mean the variance is: refusals do not come independently of each other.
    dispersion: f64,
    bounds: Bounds,
}

/// What does not change.
#[derive(Debug, Clone, Copy, Default)]
struct Bounds {
    min_excess: u64,
    /// In buckets.
    quiet: u32,
    usual: u32,
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few seconds are far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}

impl Charts {
    /// Charts of such buckets, on which fewer refusals than that beyond the usual are no spike.
    pub fn new(settings: &SpikeSettings) -> Self {
        let bounds = Bounds {
            min_excess: settings.min_excess,
            quiet: settings.buckets(QUIET).max(LEAST_QUIET),
            usual: settings.buckets(USUAL).max(LEAST_USUAL),
        };
        Self { bounds, ..Self::default() }
    }

    /// What is usual; `None`: that is not known yet.
    pub fn usual(&self, settings: &SpikeSettings) -> Option<Usual> {
        (self.buckets >= LEARNT).then_some(Usual {
            bucket_ms: milliseconds(settings),
            mean: self.mean,
            share: self.share,
            traffic: self.traffic,
            dispersion: self.dispersion(),
        })
    }

    /// Goes on from what was usual, and says whether it does: not from what is no count, nor from buckets of another length.
    pub fn go_on_from(&mut self, usual: &Usual, settings: &SpikeSettings) -> bool {
        let Usual { bucket_ms, mean, share, traffic, dispersion } = *usual;
        let is_count = |value: f64| (0.0..=LARGEST).contains(&value);
        let is_usable = bucket_ms == milliseconds(settings)
            && is_count(mean)
            && is_count(traffic)
            && (0.0..=1.0).contains(&share)
            && is_count(dispersion);
        if is_usable {
            (self.mean, self.share, self.traffic, self.dispersion) = (mean, share, traffic, dispersion);
            self.buckets = LEARNT;
        }
        is_usable
    }

    /// How it would stand if no more came into the bucket that is being filled. That is never earlier than it is right: of what is usual a whole bucket
    /// is taken off already, of refusals and of requests both.
    pub fn would_stand(&self, so_far: BucketCounts) -> Standing {
        if self.buckets < LEARNT {
            return Standing::Learning;
        }
        let mut ended = self.clone();
        ended.add_scaled(float(so_far.requests).max(self.traffic), so_far.refused)
    }

    /// Buckets that end a spike in which there are no more refusals than usual.
    pub fn quiet(&self) -> u32 {
        self.bounds.quiet
    }

    /// Adds a bucket.
    pub fn add(&mut self, counts: BucketCounts) -> Standing {
        self.add_scaled(float(counts.requests), counts.refused)
    }

    fn add_scaled(&mut self, requests: f64, count: u64) -> Standing {
        let refused = float(count);
        self.buckets += 1;
        if self.buckets <= LEARNT {
            // A plain mean, so that the first buckets count alike.
            let weight = 1.0 / float(self.buckets);
            self.mean += (refused - self.mean) * weight;
            self.share += (share(refused, requests) - self.share) * weight;
            self.traffic += (requests - self.traffic) * weight;
            return Standing::Learning;
        }
        let by_share = self.share * requests;
        let dispersion = self.dispersion();
        for (sum, expected) in self.sums.iter_mut().zip([self.mean, by_share]) {
            *sum = (*sum + refused - expected - SLACK * deviation(expected, dispersion)).max(0.0);
        }
        // Beyond what chance makes of a bucket: else a spike would be said to have begun long before it did.
        let began = self.sums.iter().zip([self.mean, by_share]).all(|(sum, of)| *sum > deviation(of, dispersion));
        if !began && !self.alarm {
            (self.since, self.observed, self.expected) = (0, 0, 0.0);
        } else {
            self.since = self.since.saturating_add(1);
            self.observed = self.observed.saturating_add(count);
            self.expected += self.mean;
        }
        let standing = self.stand(refused, by_share);
        if !self.alarm {
            self.learn(refused, requests);
        }
        standing
    }

    fn stand(&mut self, refused: f64, by_share: f64) -> Standing {
        let dispersion = self.dispersion();
        let over = |sum: f64, expected: f64| sum > ALARM * deviation(expected, dispersion);
        let [rate, share] = self.sums;
        let excess = float(self.observed) - self.expected;
        let alarms = over(rate, self.mean) && over(share, by_share) && excess >= float(self.bounds.min_excess);
        let new = alarms && !self.alarm;
        self.alarm |= alarms;
        if !self.alarm {
            return Standing::Quiet;
        }
        let usual = refused <= self.mean + 3.0 * deviation(self.mean, dispersion);
        self.quiet = if usual { self.quiet + 1 } else { 0 };
        if self.quiet >= self.bounds.quiet || self.since >= self.bounds.usual {
            if self.since >= self.bounds.usual {
                self.mean = refused;
            }
            (self.alarm, self.quiet, self.since, self.observed, self.expected) = (false, 0, 0, 0, 0.0);
            self.sums = [0.0; 2];
            return Standing::Over;
        }
        Standing::Spike { buckets: self.since, observed: self.observed, expected: self.expected, new }
    }

    fn dispersion(&self) -> f64 {
        self.dispersion.clamp(1.0, DISPERSION_MAX)
    }

    /// Twice as far from the mean as counts for the mean itself: bursts are to be learnt before they have raised many alarms.
    fn learn_dispersion(&mut self, refused: f64) {
        let dispersion = self.dispersion();
        let distance = (refused - self.mean).abs().min(6.0 * deviation(self.mean, dispersion));
        let square = distance.powi(2) / self.mean.max(1.0);
        self.dispersion = DISPERSION_KEPT * dispersion + (1.0 - DISPERSION_KEPT) * square;
    }

    fn learn(&mut self, refused: f64, requests: f64) {
        let most = self.mean + 3.0 * deviation(self.mean, self.dispersion());
        self.learn_dispersion(refused);
        self.mean = KEPT * self.mean + (1.0 - KEPT) * refused.min(most);
        self.traffic = KEPT * self.traffic + (1.0 - KEPT) * requests;
        if requests > 0.0 {
            let most = self.share + 3.0 * (self.share.max(1.0 / requests) / requests).sqrt();
            self.share = KEPT * self.share + (1.0 - KEPT) * share(refused, requests).min(most);
        }
    }
}

fn milliseconds(settings: &SpikeSettings) -> u64 {
    u64::try_from(settings.bucket.as_millis()).unwrap_or(u64::MAX)
}

fn deviation(expected: f64, dispersion: f64) -> f64 {
    (expected.max(1.0) * dispersion).sqrt()
}

fn share(refused: f64, requests: f64) -> f64 {
    if requests > 0.0 { refused / requests } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn charts(usual: BucketCounts, buckets: u32) -> Charts {
        let mut charts = Charts::new(&SpikeSettings::default());
        for _ in 0..buckets {
            assert!(matches!(charts.add(usual), Standing::Learning | Standing::Quiet));
        }
        charts
    }

    const USUAL_COUNTS: BucketCounts = BucketCounts { requests: 1_000, refused: 4 };

    #[test]
    fn a_spike_is_seen_within_two_buckets_and_begins_where_it_began() {
        let mut charts = charts(USUAL_COUNTS, 30);
        let spike = BucketCounts { requests: 1_000, refused: 60 };
        let Standing::Spike { buckets: 1, observed: 60, new: true, expected } = charts.add(spike) else { panic!() };
        assert!((3.9..4.1).contains(&expected), "{expected}");
        assert!(matches!(charts.add(spike), Standing::Spike { buckets: 2, observed: 120, new: false, .. }));
        assert!(matches!(charts.add(USUAL_COUNTS), Standing::Spike { buckets: 3, .. }));
        charts.add(USUAL_COUNTS);
        assert_eq!(charts.add(USUAL_COUNTS), Standing::Over);
        assert_eq!(charts.add(USUAL_COUNTS), Standing::Quiet);
    }

    /// What chance makes of the bucket before is no beginning.
    #[test]
    fn a_spike_begins_in_the_bucket_that_it_is_seen_in_and_not_where_chance_was_a_little_above() {
        let mut charts = charts(USUAL_COUNTS, 30);
        assert_eq!(charts.add(BucketCounts { requests: 1_000, refused: 6 }), Standing::Quiet);
        let spike = BucketCounts { requests: 1_000, refused: 60 };
        assert!(matches!(charts.add(spike), Standing::Spike { buckets: 1, observed: 60, .. }));
    }

    #[test]
    fn more_traffic_with_as_many_refusals_among_it_is_none() {
        let mut charts = charts(USUAL_COUNTS, 30);
        for _ in 0..30 {
            let standing = charts.add(BucketCounts { requests: 20_000, refused: 80 });
            assert_eq!(standing, Standing::Quiet);
        }
    }

    #[test]
    fn a_few_refusals_are_none() {
        let mut charts = charts(BucketCounts { requests: 100, refused: 0 }, 30);
        assert_eq!(charts.add(BucketCounts { requests: 100, refused: 19 }), Standing::Quiet);
        assert!(matches!(charts.add(BucketCounts { requests: 100, refused: 19 }), Standing::Spike { .. }));
    }

    #[test]
    fn a_start_is_none_and_what_lasts_becomes_usual() {
        let many = BucketCounts { requests: 1_000, refused: 300 };
        let mut charts = charts(many, 100);
        let more = BucketCounts { requests: 1_000, refused: 700 };
        let over = (0..185).position(|_| charts.add(more) == Standing::Over);
        assert_eq!(over, Some(179), "half an hour");
        assert!((0..20).all(|_| charts.add(more) != Standing::Over));
    }
    /// Nobody waits for the end of a bucket, and nothing is seen in a part of one that its whole would not show.
    #[test]
    fn a_bucket_that_is_being_filled_tells_of_a_spike() {
        let charts = charts(USUAL_COUNTS, 30);
        let standing = |requests, refused| charts.would_stand(BucketCounts { requests, refused });
        assert!(matches!(standing(30, 30), Standing::Spike { buckets: 1, observed: 30, new: true, .. }));
        assert_eq!(standing(23, 23), Standing::Quiet, "four are usual, and less than twenty beyond that are none");
        // As many refusals as many requests bring with them.
        assert_eq!(standing(20_000, 80), Standing::Quiet);
        // What is usual of a bucket comes at once, and then nothing.
        assert_eq!(standing(4, 4), Standing::Quiet);
        assert_eq!(Charts::new(&SpikeSettings::default()).would_stand(USUAL_COUNTS), Standing::Learning);
        for refused in 0..100 {
            let early = matches!(standing(refused, refused), Standing::Spike { .. });
            let ended = charts.clone().add(BucketCounts { requests: 1_000, refused });
            assert_eq!(early, matches!(ended, Standing::Spike { .. }), "{refused}");
        }
    }

    /// Long buckets and short ones are about the same time.
    #[test]
    fn what_is_said_in_seconds_is_as_long_for_any_bucket() {
        for (seconds, quiet, usual) in [(1, 30, 1_800), (10, 3, 180), (60, 3, 30), (300, 3, 12)] {
            let settings = SpikeSettings { bucket: Duration::from_secs(seconds), ..SpikeSettings::default() };
            let Bounds { quiet: found, usual: lasting, .. } = Charts::new(&settings).bounds;
            assert_eq!((found, lasting), (quiet, usual), "{seconds}");
        }
    }

    /// After a start an incident is none of what is usual.
    #[test]
    fn charts_go_on_from_what_was_usual() {
        let settings = SpikeSettings::default();
        let before = charts(USUAL_COUNTS, 30);
        let usual = before.usual(&settings).unwrap();
        let text = serde_json::to_string(&usual).unwrap();
        let usual: Usual = serde_json::from_str(&text).unwrap();
        let mut after = Charts::new(&settings);
        assert_eq!(after.usual(&settings), None);
        assert!(after.go_on_from(&usual, &settings));
        assert!(matches!(after.add(BucketCounts { requests: 1_000, refused: 60 }), Standing::Spike { buckets: 1, .. }));
        // Of buckets of another length, and of what nobody has counted, nothing is known.
        let other = SpikeSettings { bucket: Duration::from_secs(1), ..settings };
        assert!(!Charts::new(&other).go_on_from(&usual, &other));
        for wrong in [-1.0, 1e13, f64::NAN, f64::INFINITY] {
            for wrong in [
                Usual { mean: wrong, ..usual },
                Usual { share: wrong, ..usual },
                Usual { traffic: wrong, ..usual },
                Usual { dispersion: wrong, ..usual },
            ] {
                let mut charts = Charts::new(&settings);
                assert!(!charts.go_on_from(&wrong, &settings), "{wrong:?}");
                assert_eq!(charts.usual(&settings), None);
            }
        }
    }
}
