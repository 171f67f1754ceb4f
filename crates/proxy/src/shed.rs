//! Shedding load before queues grow: a worker measures how long what is ready waits for its turn, and refuses a share of the new
//! requests while that stays too long.
//!
//! The measure is the queue itself. Now and then a request asks for a sample: a task that waits for its turn behind
//! everything that is ready on the worker's thread, and then says how long that took. A single long wait is a burst; only a
//! wait that does not become shorter for a while is a queue that stands (the insight of CoDel, RFC 8289). Then the share
//! that is refused rises with each sample until the queue has shrunk, and is taken back slowly, so that it does not swing.
//!
//! Refusing costs, too. Where so much comes that the refusals alone would fill the thread, refusing more of it would only serve
//! less: so what a request costs is learnt while nothing is refused, and the share stops where a seventh of the thread
//! goes into refusals. The queue then stays as long as the callers make it.
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
/// At least so much of the thread's time is for requests that are served.
const USEFUL_MIN: f64 = 0.85;
/// Up to this share what requests cost is learnt as if none were refused.
const SHARE_LEARNING: f64 = 0.02;
/// The share that is refused first.
const SHARE_FIRST: f64 = 0.15;
/// Fewer requests in a sample say nothing about what one costs.
const LEARNT_FROM: u32 = 16;
/// How much of what is known about it a sample replaces that says more.
const LEARNING_RATE: f64 = 0.3;
/// A smaller share is none.
const SHARE_MIN: f64 = 0.01;

/// The load of one worker.
#[derive(Debug)]
pub(crate) struct Load {
    shedding: Cell<Shedding>,
    /// When a sample was asked for, and the target then; `None` if none is under way.
    asked: Cell<Option<(Instant, Duration)>>,
    sampled: Cell<Instant>,
    /// Requests that were let in since then.
    let_in: Cell<u32>,
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
            let_in: Cell::new(0),
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
        if !sheds {
            self.let_in.set(self.let_in.get().saturating_add(1));
        }
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
            shedding.observe(Sample { wait, target, let_in: self.let_in.take() }, now);
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
    /// What a request costs that is served, in seconds of the thread: learnt while the queue stands and nothing is refused.
    cost: Option<f64>,
}

/// What was seen since the sample before.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// So long something that was ready waited for its turn.
    wait: Duration,
    /// So long it may.
    target: Duration,
    /// So many requests were let in.
    let_in: u32,
}

impl Shedding {
    fn new(now: Instant) -> Self {
        Self { share: 0.0, credit: 0.0, over_since: None, observed: now, cost: None }
    }

    fn observe(&mut self, Sample { wait, target, let_in }: Sample, now: Instant) {
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
        let Some(since) = self.over_since else {
            self.over_since = Some(now);
            return;
        };
        self.learn(passed, let_in);
        let useful = self.cost.map_or(1.0, |cost| f64::from(let_in) * cost / passed.as_secs_f64().max(1e-9));
        // Of so much work so much is too much.
        let surplus = 1.0 - target.as_secs_f64() / wait.as_secs_f64();
        if self.share > 0.0 && useful < USEFUL_MIN {
            self.share *= 0.9;
        } else if self.share > 0.0 {
            let weight = (passed.as_secs_f64() / PATIENCE.as_secs_f64()).min(0.5);
            let room = ((useful - USEFUL_MIN) / (1.0 - USEFUL_MIN)).min(1.0);
            self.share += (1.0 - self.share) * surplus * weight * room;
        } else if now.saturating_duration_since(since) >= PATIENCE {
            // A first step; how dear refusals are is seen from what it brings.
            self.share = surplus.min(SHARE_FIRST);
        }
        self.share = self.share.min(SHARE_MAX);
    }

    /// The queue stood since the sample before, so all of the time went into what was let in, and into refusals if there were
    /// any: it bounds what was let in from above, and without refusals it is just that.
    fn learn(&mut self, passed: Duration, let_in: u32) {
        if let_in < LEARNT_FROM {
            return;
        }
        let cost = passed.as_secs_f64() / f64::from(let_in);
        self.cost = Some(match self.cost {
            Some(known) if cost > known && self.share > SHARE_LEARNING => known,
            Some(known) if cost > known => known + (cost - known) * LEARNING_RATE,
            Some(_) | None => cost,
        });
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
            // As if nothing were lost by refusing.
            shedding.observe(Sample { wait: ms(*wait), target: TARGET, let_in: u32::MAX / 2 }, now);
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
        let first = share_after(&[(120, 120); 2]);
        assert!((0.14..0.16).contains(&first), "{first}");
        let long = share_after(&[(120, 120); 6]);
        assert!((0.6..0.96).contains(&long), "{long}");
        let little = share_after(&[(33, 33); 5]);
        assert!(little > 0.0 && little < 0.3, "{little}");
        assert!(share_after(&[(500, 500); 100]) <= SHARE_MAX);
        let mut samples = vec![(120, 120); 6];
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

    /// A worker at twice its capacity for ten seconds: 100 µs for a request that is served, 20 µs or more for one that is
    /// refused, 20 requests where 10 could be served. Returns what was served, as a part of the capacity, and which part of
    /// the refusals came within 50 ms; both from the third second on.
    fn at_twice_the_capacity(refuse_us: u64) -> (f64, f64) {
        let (serve_us, every_us, start) = (100_u64, 50_u64, Instant::now());
        let mut shedding = Shedding::new(start);
        let (mut now_us, mut came_us, mut sampled_us) = (0_u64, 0_u64, 0_u64);
        let mut queue = std::collections::VecDeque::new();
        let (mut served, mut in_time, mut refused, mut let_in) = (0_u64, 0_u64, 0_u64, 0_u32);
        while now_us < 10_000_000 {
            while came_us <= now_us {
                // So many connections there are, each with one request.
                if queue.len() < 4_000 {
                    queue.push_back(came_us);
                }
                came_us += every_us;
            }
            let Some(came) = queue.pop_front() else {
                now_us = came_us;
                continue;
            };
            if now_us - sampled_us >= 5_000.max(now_us - came) {
                let wait = Duration::from_micros(now_us - came);
                shedding.observe(Sample { wait, target: TARGET, let_in }, start + Duration::from_micros(now_us));
                (sampled_us, let_in) = (now_us, 0);
            }
            let sheds = shedding.next();
            let_in += u32::from(!sheds);
            // The first requests are dearer, as on connections that are new.
            let serve_now_us = if now_us < 300_000 { 4 * serve_us } else { serve_us };
            now_us += if sheds { refuse_us } else { serve_now_us };
            if now_us > 2_000_000 {
                served += u64::from(!sheds);
                refused += u64::from(sheds);
                in_time += u64::from(sheds && now_us - came <= 50_000);
            }
        }
        (served as f64 * serve_us as f64 / 8e6, in_time as f64 / refused.max(1) as f64)
    }

    #[test]
    fn a_model_at_twice_the_capacity_serves_most_of_it_and_refuses_in_time_where_it_can() {
        let (served, in_time) = at_twice_the_capacity(10);
        assert!(served > 0.8 && in_time > 0.95, "cheap refusals: {served} served, {in_time} in time");
        // Where refusals are dear, in time is not to be had, and most is served all the same.
        for refuse_us in [40, 60, 100] {
            let (served, _) = at_twice_the_capacity(refuse_us);
            assert!(served > 0.65, "{refuse_us} us: {served} served");
        }
    }
}
