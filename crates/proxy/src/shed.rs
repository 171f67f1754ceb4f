//! Shedding load before queues grow: a worker measures how long what is ready waits for its turn, and refuses a share of the new
//! requests while that stays too long.
//!
//! The measure is the queue itself. Now and then a request asks for a sample: a task that waits for its turn behind
//! everything that is ready on the worker's thread, and then says how long that took. A single long wait is a burst; only a
//! wait that does not become shorter for a while is a queue that stands (the insight of CoDel, RFC 8289). Then the share
//! that is refused rises with each sample until the queue has shrunk, and is taken back slowly, so that it does not swing.
//!
//! Without requests nothing is measured, and the thread sleeps.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// At most so often a sample is asked for.
const SAMPLE_EVERY: Duration = Duration::from_millis(5);
/// How long every sample must be over the target before anything is refused.
const PATIENCE: Duration = Duration::from_millis(100);
/// Samples that are further apart than this say nothing about what was between them.
const CONNECTED: Duration = Duration::from_millis(500);
/// In this time of short waits the share that is refused halves.
const HALF_LIFE: Duration = Duration::from_secs(1);
/// Something is always let in, or nobody would notice that the queue is gone.
const SHARE_MAX: f64 = 0.95;
/// A smaller share is none.
const SHARE_MIN: f64 = 0.01;

/// The load of one worker.
#[derive(Debug)]
pub(crate) struct Load {
    shedding: Cell<Shedding>,
    /// When a sample was asked for, and the target then; `None` if none is under way.
    asked: Cell<Option<(Instant, Duration)>>,
    sampled: Cell<Instant>,
    sampler: Notify,
    /// The last sample in microseconds, for the metrics.
    wait_us: Arc<AtomicU64>,
}

impl Load {
    pub(crate) fn new(wait_us: Arc<AtomicU64>) -> Self {
        let now = Instant::now();
        Self {
            shedding: Cell::new(Shedding::new(now)),
            asked: Cell::new(None),
            sampled: Cell::new(now),
            sampler: Notify::new(),
            wait_us,
        }
    }

    /// Whether this request is to be refused. `target` is how long what is ready may wait; zero is any time.
    pub(crate) fn sheds(&self, target: Duration, now: Instant) -> bool {
        if target.is_zero() {
            return false;
        }
        if self.asked.get().is_none() && now.saturating_duration_since(self.sampled.get()) >= SAMPLE_EVERY {
            self.asked.set(Some((now, target)));
            // The sampler's turn comes behind all that is ready now.
            self.sampler.notify_one();
        }
        let mut shedding = self.shedding.get();
        let sheds = shedding.next();
        self.shedding.set(shedding);
        sheds
    }

    /// Takes the samples that are asked for, for ever. To be run as a task of the worker's thread.
    pub(crate) async fn sample(&self) {
        loop {
            self.sampler.notified().await;
            let Some((asked, target)) = self.asked.take() else { continue };
            let now = Instant::now();
            let wait = now.saturating_duration_since(asked);
            self.sampled.set(now);
            self.wait_us.store(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            let mut shedding = self.shedding.get();
            shedding.observe(wait, target, now);
            self.shedding.set(shedding);
        }
    }
}

/// What share of the requests is refused. Pure: times are passed in.
#[derive(Debug, Clone, Copy)]
struct Shedding {
    /// From 0 to [`SHARE_MAX`].
    share: f64,
    /// What of a refusal has been saved up; at 1 the next request is refused.
    credit: f64,
    /// Since when every sample was over the target.
    over_since: Option<Instant>,
    observed: Instant,
}

impl Shedding {
    fn new(now: Instant) -> Self {
        Self { share: 0.0, credit: 0.0, over_since: None, observed: now }
    }

    /// A sample: so long something that was ready waited for its turn.
    fn observe(&mut self, wait: Duration, target: Duration, now: Instant) {
        let passed = now.saturating_duration_since(self.observed);
        self.observed = now;
        if passed > CONNECTED + wait {
            self.over_since = None;
        }
        if wait <= target {
            self.over_since = None;
            self.share *= (-passed.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2();
            if self.share < SHARE_MIN {
                (self.share, self.credit) = (0.0, 0.0);
            }
            return;
        }
        let since = *self.over_since.get_or_insert(now);
        // Of so much work so much is too much.
        let surplus = 1.0 - target.as_secs_f64() / wait.as_secs_f64();
        if self.share > 0.0 {
            let weight = (passed.as_secs_f64() / PATIENCE.as_secs_f64()).min(0.5);
            self.share += (1.0 - self.share) * surplus * weight;
        } else if now.saturating_duration_since(since) >= PATIENCE {
            self.share = surplus;
        }
        self.share = self.share.min(SHARE_MAX);
    }

    /// Whether the next request is one of those that are refused: they are spread evenly.
    fn next(&mut self) -> bool {
        self.credit += self.share;
        let refused = self.credit >= 1.0;
        if refused {
            self.credit -= 1.0;
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(30);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Feeds samples, each with the time since the one before and its wait, and returns the share in the end.
    fn share_after(samples: &[(u64, u64)]) -> f64 {
        let mut now = Instant::now();
        let mut shedding = Shedding::new(now);
        for (passed, wait) in samples {
            now += ms(*passed);
            shedding.observe(ms(*wait), TARGET, now);
        }
        shedding.share
    }

    #[test]
    fn only_a_queue_that_stands_is_shed() {
        let check = |what: &str, samples: &[(u64, u64)], sheds: bool| {
            assert_eq!(share_after(samples) > 0.0, sheds, "{what}");
        };
        check("on the target", &[(30, 30); 50], false);
        check("one long wait", &[(5, 1), (900, 900), (5, 1)], false);
        check("bursts with a short wait between", &[(60, 60), (60, 60), (5, 1)].repeat(20), false);
        check("too short a time", &[(40, 40), (40, 40), (40, 40)], false);
        check("long enough", &[(40, 40), (40, 40), (40, 40), (40, 40)], true);
        check("long waits far apart", &[(2_000, 40); 10], false);
    }

    #[test]
    fn the_share_rises_with_the_queue_and_falls_slowly() {
        let long = share_after(&[(120, 120); 3]);
        assert!((0.74..0.96).contains(&long), "three quarters of 120 ms are over the target: {long}");
        let little = share_after(&[(33, 33); 5]);
        assert!(little > 0.0 && little < 0.3, "{little}");
        assert!(share_after(&[(500, 500); 100]) <= SHARE_MAX);
        let mut samples = vec![(120, 120); 3];
        samples.extend([(5, 1); 200]);
        let halved = share_after(&samples);
        assert!((long * 0.4..long * 0.6).contains(&halved), "{long} {halved}");
        samples.extend([(5, 1); 2_000]);
        assert_eq!(share_after(&samples).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn the_refused_share_is_spread_evenly() {
        let mut shedding = Shedding { share: 0.25, ..Shedding::new(Instant::now()) };
        let refused: Vec<bool> = (0..12).map(|_| shedding.next()).collect();
        assert_eq!(refused.iter().filter(|refused| **refused).count(), 3);
        assert!(refused.chunks(4).all(|four| four.iter().filter(|refused| **refused).count() == 1));
        let mut idle = Shedding::new(Instant::now());
        assert!((0..1_000).all(|_| !idle.next()));
    }

    #[test]
    fn a_model_of_twice_the_capacity_settles_near_the_target_and_serves_most_of_the_capacity() {
        // Work units of 100 µs each; a refusal costs a fifth of one. 20 requests come where 10 could be served.
        let (serve_us, refuse_us, every_us) = (100_u64, 20_u64, 50_u64);
        let start = Instant::now();
        let mut shedding = Shedding::new(start);
        let (mut now_us, mut came_us, mut queue) = (0_u64, 0_u64, std::collections::VecDeque::new());
        let (mut served, mut late, mut refused) = (0_u64, 0_u64, 0_u64);
        let mut sampled_us = 0;
        while now_us < 10_000_000 {
            while came_us <= now_us {
                queue.push_back(came_us);
                came_us += every_us;
            }
            let Some(came) = queue.pop_front() else {
                now_us = came_us;
                continue;
            };
            if now_us - sampled_us >= 5_000 {
                shedding.observe(Duration::from_micros(now_us - came), TARGET, start + Duration::from_micros(now_us));
                sampled_us = now_us;
            }
            let sheds = shedding.next();
            now_us += if sheds { refuse_us } else { serve_us };
            if now_us > 2_000_000 {
                served += u64::from(!sheds);
                refused += u64::from(sheds);
                late += u64::from(sheds && now_us - came > 50_000);
            }
        }
        let goodput = served as f64 * 100.0 / 8_000_000.0;
        assert!(goodput > 0.7, "{goodput}");
        assert!((late as f64) < 0.05 * refused as f64, "{late} of {refused} were refused late");
    }
}
