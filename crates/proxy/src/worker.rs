//! One worker: what its requests share, all on one thread.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use portcullis_policy::RouteId;

use crate::asserted::Asserted;
use crate::metrics::{Histogram, RouteCounters};
use crate::rate::RouteRates;
use crate::request_id::RequestIds;
use crate::sampling::Lane;
use crate::shed::Load;
use crate::sizes::SentBody;
use crate::snapshot::{Shared, Snapshot};
use crate::streams::Streams;
use crate::transit::Facts;
use crate::upstream::Upstream;
use crate::usage::Counting;
use crate::wire::WireLimits;

/// A worker.
pub struct Worker {
    pub(crate) shared: Arc<Shared>,
    index: usize,
    workers: usize,
    loaded: RefCell<Rc<Loaded>>,
    in_flight: Arc<AtomicUsize>,
    beat: Arc<AtomicU64>,
    /// How long what is ready waits on this thread.
    pub(crate) load: Load,
    pub(crate) request_ids: RequestIds,
    pub(crate) streams: Streams,
    /// Where requests are handed to that are kept for a while, where they are.
    pub(crate) lane: Option<Arc<Lane>>,
    /// What counts which permissions are used, where that is wanted.
    pub(crate) usage: Option<Counting>,
}

/// A configuration as one worker uses it: with its own connections to the upstreams and its own counters.
pub struct Loaded {
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// What the gates of new connections go by.
    pub(crate) wire: Rc<WireLimits>,
    upstreams: Vec<Rc<Upstream<SentBody>>>,
    counters: Vec<Arc<RouteCounters>>,
    /// By upstream: how long its answers took.
    durations: Vec<Arc<Histogram>>,
    without_route: Arc<RouteCounters>,
    /// By route; `None` for one without rate limits.
    rates: Vec<Option<RouteRates>>,
    /// This worker's share of `limits.max_requests`.
    max_requests: usize,
    /// What was signed lately.
    pub(crate) asserted: Asserted,
}

impl Worker {
    /// The worker of this index, of so many.
    pub fn new(shared: Arc<Shared>, index: usize, workers: usize) -> Rc<Self> {
        let snapshot = shared.snapshot().load_full();
        let in_flight = shared.metrics.in_flight_of(index);
        let beat = shared.metrics.beat_of(index);
        beat.store(shared.clock.nanoseconds(Instant::now()), Ordering::Relaxed);
        let load = Load::new(shared.metrics.wait_of(index));
        let loaded = Loaded::new(snapshot, &shared, index, workers, None);
        let lane = shared.sampling.as_ref().and_then(|sampling| sampling.lane(index));
        let usage = shared.usage.as_ref().and_then(|lanes| lanes.counting(index));
        Rc::new(Self {
            shared,
            index,
            workers,
            loaded: RefCell::new(Rc::new(loaded)),
            in_flight,
            beat,
            load,
            request_ids: RequestIds::default(),
            streams: Streams::default(),
            lane,
            usage,
        })
    }

    /// The configuration in force. It is looked up anew for each request, and costs a comparison of pointers.
    pub fn loaded(&self) -> Rc<Loaded> {
        let current = self.shared.snapshot().load();
        let mine = Rc::clone(&self.loaded.borrow());
        if Arc::ptr_eq(&mine.snapshot, &current) {
            return mine;
        }
        let next = Rc::new(Loaded::new(Arc::clone(&current), &self.shared, self.index, self.workers, Some(&mine)));
        self.loaded.replace(Rc::clone(&next));
        next
    }

    /// When a request began, on the clock of rates.
    pub(crate) fn now_ns(&self, facts: &Facts) -> u64 {
        self.shared.clock.nanoseconds(facts.started)
    }

    /// Says that this worker lives. Called each second.
    pub(crate) fn beat(&self) {
        self.beat.store(self.shared.clock.nanoseconds(Instant::now()), Ordering::Relaxed);
    }

    /// Hands over what was counted of permissions. Called each second.
    pub(crate) fn hand_over_usage(&self) {
        if let Some(usage) = &self.usage {
            usage.hand_over();
        }
    }

    /// Wakes what is under way for long and is to be decided on again. Called each second.
    pub(crate) fn recheck_streams(&self) {
        self.streams.sweep(Instant::now(), &self.shared.snapshot().load_full(), self.shared.lending.generation());
    }

    /// Has one worker of all check the endpoints of upstreams that want it, and let go of past policies and refusals. Called each second.
    pub(crate) fn tend_shared(&self) {
        if self.index == 0 {
            self.shared.before.sweep(Instant::now());
            self.shared.requestable.tend(self.shared.clock.now());
            for upstream in &self.loaded().upstreams {
                upstream.tend_health();
            }
        }
    }

    /// Lets go of upstream connections that nobody used for long. Called now and then.
    pub(crate) fn discard_expired(&self) {
        for upstream in &self.loaded.borrow().upstreams {
            upstream.discard_expired();
        }
    }
}

impl Worker {
    /// A place among the requests in flight, unless the worker's share of them is used up.
    pub(crate) fn slot(&self, loaded: &Loaded) -> Option<Slot> {
        if self.in_flight.load(Ordering::Relaxed) >= loaded.max_requests {
            return None;
        }
        // Nobody else writes this worker's counter.
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Slot { in_flight: Arc::clone(&self.in_flight) })
    }
}

/// A place among the requests in flight, given back when dropped.
#[derive(Debug)]
pub struct Slot {
    in_flight: Arc<AtomicUsize>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Loaded {
    /// Upstreams whose settings did not change keep their connections.
    fn new(snapshot: Arc<Snapshot>, shared: &Shared, index: usize, workers: usize, before: Option<&Self>) -> Self {
        let settings = &snapshot.settings;
        let kept = |wanted: &crate::settings::UpstreamSettings| {
            let before = before?;
            let position = before.snapshot.settings.upstreams.iter().position(|each| each == wanted)?;
            before.upstreams.get(position).map(Rc::clone)
        };
        shared.upstreams.retain(&settings.upstreams);
        Self {
            wire: Rc::new(WireLimits::from(&settings.limits)),
            upstreams: settings
                .upstreams
                .iter()
                .map(|upstream| {
                    kept(upstream).unwrap_or_else(|| Upstream::new(upstream, shared.upstreams.of(upstream)))
                })
                .collect(),
            counters: settings.routes.iter().map(|route| shared.metrics.route(index, Some(&route.name))).collect(),
            durations: settings
                .upstreams
                .iter()
                .map(|upstream| shared.metrics.upstream(index, &upstream.name))
                .collect(),
            without_route: shared.metrics.route(index, None),
            rates: settings
                .routes
                .iter()
                .map(|route| shared.rates.of_route(&route.name, &route.limits.rates))
                .collect(),
            max_requests: (settings.limits.max_requests / workers.max(1)).max(1),
            asserted: Asserted::default(),
            snapshot,
        }
    }
}

impl Loaded {
    /// The counters of a route, or those of requests without one.
    pub(crate) fn counters(&self, route: Option<RouteId>) -> &RouteCounters {
        route.and_then(|route| self.counters.get(route.index())).unwrap_or(&self.without_route)
    }

    /// How long the answers of the upstream of this index took.
    pub(crate) fn durations(&self, upstream: usize) -> Option<&Histogram> {
        self.durations.get(upstream).map(|histogram| &**histogram)
    }

    /// The rate limits of a route, where it has any.
    pub(crate) fn rates(&self, route: Option<RouteId>) -> Option<&RouteRates> {
        self.rates.get(route?.index())?.as_ref()
    }

    /// The upstream of this index.
    pub(crate) fn upstream(&self, index: usize) -> Option<&Rc<Upstream<SentBody>>> {
        self.upstreams.get(index)
    }
}
