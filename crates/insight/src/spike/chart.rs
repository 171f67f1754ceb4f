//! When it began: cumulative sums over buckets of equal length, one of the number of refusals and one of their share of all requests.
//!
//! A spike is one on both charts, so that more traffic with as many refusals among it is none. The mean follows slowly and not beyond three
//! deviations at once, and stands still while there is a spike: what is unusual does not become usual by lasting for some minutes.

/// Buckets from which nothing but the mean is learnt.
const LEARNT: u64 = 12;
/// How much of the mean a bucket leaves.
const KEPT: f64 = 0.9;
/// A sum over so many deviations is an alarm.
const ALARM: f64 = 5.0;
/// So much of a deviation is taken off each bucket.
const SLACK: f64 = 0.5;
/// Buckets without a spike that end one.
const QUIET: u32 = 3;
/// Buckets after which what lasts is usual.
const USUAL: u32 = 180;

/// What one bucket has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BucketCounts {
    /// Requests that were answered.
    pub requests: u64,
    /// Those that the gateway refused, or their upstream with 401 or 403.
    pub refused: u64,
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
    /// Buckets since the last one in which one of the sums was nought.
    since: u32,
    observed: u64,
    expected: f64,
    alarm: bool,
    quiet: u32,
    min_excess: u64,
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few seconds are far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}

impl Charts {
    /// Charts on which fewer refusals than these beyond the usual are no spike.
    pub fn new(min_excess: u64) -> Self {
        Self { min_excess, ..Self::default() }
    }

    /// Adds a bucket.
    pub fn add(&mut self, counts: BucketCounts) -> Standing {
        let (refused, requests) = (float(counts.refused), float(counts.requests));
        self.buckets += 1;
        if self.buckets <= LEARNT {
            // A plain mean, so that the first buckets count alike.
            let weight = 1.0 / float(self.buckets);
            self.mean += (refused - self.mean) * weight;
            self.share += (share(refused, requests) - self.share) * weight;
            return Standing::Learning;
        }
        let by_share = self.share * requests;
        for (sum, expected) in self.sums.iter_mut().zip([self.mean, by_share]) {
            *sum = (*sum + refused - expected - SLACK * expected.max(1.0).sqrt()).max(0.0);
        }
        let began = self.sums.iter().all(|sum| *sum > 0.0);
        if !began && !self.alarm {
            (self.since, self.observed, self.expected) = (0, 0, 0.0);
        } else {
            self.since = self.since.saturating_add(1);
            self.observed = self.observed.saturating_add(counts.refused);
            self.expected += self.mean;
        }
        let standing = self.stand(refused, by_share);
        if !self.alarm {
            self.learn(refused, requests);
        }
        standing
    }

    fn stand(&mut self, refused: f64, by_share: f64) -> Standing {
        let over = |sum: f64, expected: f64| sum > ALARM * expected.max(1.0).sqrt();
        let [rate, share] = self.sums;
        let excess = float(self.observed) - self.expected;
        let alarms = over(rate, self.mean) && over(share, by_share) && excess >= float(self.min_excess);
        let new = alarms && !self.alarm;
        self.alarm |= alarms;
        if !self.alarm {
            return Standing::Quiet;
        }
        let usual = refused <= self.mean + 3.0 * self.mean.max(1.0).sqrt();
        self.quiet = if usual { self.quiet + 1 } else { 0 };
        if self.quiet >= QUIET || self.since >= USUAL {
            if self.since >= USUAL {
                self.mean = refused;
            }
            (self.alarm, self.quiet, self.since, self.observed, self.expected) = (false, 0, 0, 0, 0.0);
            self.sums = [0.0; 2];
            return Standing::Over;
        }
        Standing::Spike { buckets: self.since, observed: self.observed, expected: self.expected, new }
    }

    fn learn(&mut self, refused: f64, requests: f64) {
        let most = self.mean + 3.0 * self.mean.max(1.0).sqrt();
        self.mean = KEPT * self.mean + (1.0 - KEPT) * refused.min(most);
        if requests > 0.0 {
            let most = self.share + 3.0 * (self.share.max(1.0 / requests) / requests).sqrt();
            self.share = KEPT * self.share + (1.0 - KEPT) * share(refused, requests).min(most);
        }
    }
}

fn share(refused: f64, requests: f64) -> f64 {
    if requests > 0.0 { refused / requests } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charts(usual: BucketCounts, buckets: u32) -> Charts {
        let mut charts = Charts::new(20);
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
        let over = (0..USUAL + 5).position(|_| charts.add(more) == Standing::Over);
        assert_eq!(over, Some(USUAL as usize - 1));
        assert!((0..20).all(|_| charts.add(more) != Standing::Over));
    }
}
