//! What is counted. Each worker writes only its own counters, so nothing is contended; the ops listener adds them up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use portcullis_events::ReasonCode;

use crate::clock::Clock;

/// All counters of a gateway.
#[derive(Debug, Default)]
pub struct Metrics {
    /// By worker and route. Locked when a worker loads a configuration and when the counters are read.
    routes: Mutex<BTreeMap<CounterKey, Arc<RouteCounters>>>,
    /// By worker and upstream: how long its answers took.
    upstreams: Mutex<BTreeMap<UpstreamKey, Arc<Histogram>>>,
    /// By worker: its requests in flight.
    in_flight: Mutex<BTreeMap<usize, Arc<AtomicUsize>>>,
    /// By worker: how long what was ready waited for its turn, in microseconds, as sampled last.
    waits: Mutex<BTreeMap<usize, Arc<AtomicU64>>>,
    /// By worker: when it last looked after itself, in nanoseconds of the gateway's clock.
    beats: Mutex<BTreeMap<usize, Arc<AtomicU64>>>,
    /// Connections that are open.
    pub connections: AtomicUsize,
    /// Connections among them that were upgraded and carry a tunnel.
    pub tunnels: AtomicUsize,
    /// Connections closed for want of a header of the PROXY protocol.
    pub refused_proxy_headers: AtomicU64,
    /// TLS handshakes that failed or took too long.
    pub failed_handshakes: AtomicU64,
    /// Requests that panicked; each was answered with 500.
    pub panics: AtomicU64,
    /// Refusals that were not answered, because their event was lost although it must be kept.
    pub withheld: AtomicU64,
    /// Assertions that were signed without the caller's groups, which would have made them too long.
    pub assertions_without_groups: AtomicU64,
    /// Requests whose upstream was not told the caller's groups or roles, for the header would have been too long.
    pub headers_cut: AtomicU64,
}

/// A worker, and a route's name; `None` counts requests that found no route.
type CounterKey = (usize, Option<Arc<str>>);

/// A worker, and an upstream's name.
type UpstreamKey = (usize, Arc<str>);

/// The counters of one route on one worker.
#[derive(Debug)]
pub struct RouteCounters {
    permits: AtomicU64,
    refusals: Vec<AtomicU64>,
    shadow: AtomicU64,
    /// How long decisions took.
    pub decisions: Histogram,
    /// How long requests took until the head of their answer.
    pub requests: Histogram,
}

impl Default for RouteCounters {
    fn default() -> Self {
        Self {
            permits: AtomicU64::new(0),
            refusals: ReasonCode::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            shadow: AtomicU64::new(0),
            decisions: Histogram::default(),
            requests: Histogram::default(),
        }
    }
}

impl RouteCounters {
    /// A request was permitted.
    pub fn permit(&self) {
        self.permits.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was permitted that a rule in shadow mode would have treated otherwise.
    pub fn shadow(&self) {
        self.shadow.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was refused.
    pub fn refuse(&self, code: ReasonCode) {
        if let Some(counter) = self.refusals.get(code as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The sum over all workers for one route; `route` is `None` for requests that found none.
#[derive(Debug, Clone, Default)]
pub struct RouteTotals {
    /// Requests that were permitted.
    pub permits: u64,
    /// Requests that were refused, by code; codes that never occurred are left out.
    pub refusals: BTreeMap<ReasonCode, u64>,
    /// Permitted requests that a rule in shadow mode would have treated otherwise.
    pub shadow: u64,
    /// How long decisions took.
    pub decisions: HistogramTotals,
    /// How long requests took until the head of their answer.
    pub requests: HistogramTotals,
}

impl Metrics {
    /// The counters of a route on a worker; the same ones after a reload.
    pub(crate) fn route(&self, worker: usize, route: Option<&Arc<str>>) -> Arc<RouteCounters> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(routes.entry((worker, route.cloned())).or_default())
    }

    /// How long the answers of an upstream took on a worker; the same after a reload.
    pub(crate) fn upstream(&self, worker: usize, upstream: &Arc<str>) -> Arc<Histogram> {
        let mut upstreams = self.upstreams.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(upstreams.entry((worker, Arc::clone(upstream))).or_default())
    }

    /// How long the answers of each upstream took, over all workers.
    pub fn upstream_totals(&self) -> BTreeMap<Arc<str>, HistogramTotals> {
        let upstreams = self.upstreams.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals: BTreeMap<Arc<str>, HistogramTotals> = BTreeMap::new();
        for ((_, upstream), histogram) in upstreams.iter() {
            totals.entry(Arc::clone(upstream)).or_default().add(histogram);
        }
        totals
    }

    /// The counter of a worker's requests in flight. Only that worker writes it.
    pub(crate) fn in_flight_of(&self, worker: usize) -> Arc<AtomicUsize> {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(in_flight.entry(worker).or_default())
    }

    /// Where a worker notes its last sample of waiting, in microseconds. Only that worker writes it.
    pub(crate) fn wait_of(&self, worker: usize) -> Arc<AtomicU64> {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(waits.entry(worker).or_default())
    }

    /// By worker: how long what was ready waited for its turn, as sampled last.
    pub fn waits(&self) -> Vec<(usize, Duration)> {
        let waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        waits.iter().map(|(worker, wait)| (*worker, Duration::from_micros(wait.load(Ordering::Relaxed)))).collect()
    }

    /// The heart of a worker. Only that worker writes it.
    pub(crate) fn beat_of(&self, worker: usize) -> Arc<AtomicU64> {
        let mut beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(beats.entry(worker).or_default())
    }

    /// Whether every worker has looked after itself within the last `patience`.
    pub fn is_beating(&self, clock: &Clock, patience: Duration) -> bool {
        let now = clock.nanoseconds(Instant::now());
        let beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        beats.values().all(|beat| u128::from(now.saturating_sub(beat.load(Ordering::Relaxed))) <= patience.as_nanos())
    }

    /// Requests in flight over all workers.
    pub fn in_flight(&self) -> usize {
        let in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        in_flight.values().map(|counter| counter.load(Ordering::Relaxed)).sum()
    }

    /// All counters, added up over the workers.
    pub fn totals(&self) -> BTreeMap<Option<Arc<str>>, RouteTotals> {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals: BTreeMap<Option<Arc<str>>, RouteTotals> = BTreeMap::new();
        for ((_, route), counters) in routes.iter() {
            let total = totals.entry(route.clone()).or_default();
            total.permits += counters.permits.load(Ordering::Relaxed);
            total.shadow += counters.shadow.load(Ordering::Relaxed);
            for (code, counter) in ReasonCode::ALL.iter().zip(&counters.refusals) {
                let count = counter.load(Ordering::Relaxed);
                if count > 0 {
                    *total.refusals.entry(*code).or_default() += count;
                }
            }
            total.decisions.add(&counters.decisions);
            total.requests.add(&counters.requests);
        }
        totals
    }
}

/// Upper bounds of the buckets, in microseconds: those of the OpenTelemetry conventions for HTTP durations, and finer ones
/// below for decisions.
pub const BUCKETS_US: [u64; 19] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000,
    2_500_000, 5_000_000, 7_500_000, 10_000_000,
];

/// A histogram that one worker writes.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|bound| *bound < us);
        if let Some(counter) = self.buckets.get(bucket) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }
}

/// The sum of histograms: how many fell into each bucket (not cumulated), the last without an upper bound.
#[derive(Debug, Clone, Default)]
pub struct HistogramTotals {
    /// By bucket of [`BUCKETS_US`], and one more.
    pub buckets: [u64; BUCKETS_US.len() + 1],
    /// The sum of all durations in microseconds.
    pub sum_us: u64,
}

impl HistogramTotals {
    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        for (total, more) in self.buckets.iter_mut().zip(other.buckets) {
            *total += more;
        }
        self.sum_us += other.sum_us;
    }

    /// Adds one worker's histogram.
    fn add(&mut self, histogram: &Histogram) {
        for (total, counter) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *total += counter.load(Ordering::Relaxed);
        }
        self.sum_us += histogram.sum_us.load(Ordering::Relaxed);
    }
}
