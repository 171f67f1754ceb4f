//! What a reload replaces as a whole, and what all workers share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use portcullis_events::{AccessLog, Recorder, Tracer};
use portcullis_geo::Geo;
use portcullis_identity::Authenticator;
use portcullis_policy::Policy;
use portcullis_risk::RiskEngine;

use crate::before::Before;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::pages::Pages;
use crate::rate::Rates;
use crate::sampling::Sampling;
use crate::seats::LazySeats;
use crate::settings::Settings;
use crate::trailers::Trailers;
use crate::upstream::UpstreamStates;
use crate::upstream::headers::HeaderPlan;
use crate::usage::UsageLanes;

/// One configuration in force. A request keeps the one it began with.
#[derive(Debug)]
pub struct Snapshot {
    /// The policy.
    pub policy: Arc<Policy>,
    /// The SHA-256 of the policy, for events.
    pub policy_sha256: Arc<str>,
    /// Routes, upstreams and limits.
    pub settings: Settings,
    /// The identity providers.
    pub authenticator: Arc<Authenticator>,
    /// Which headers cross.
    pub headers: HeaderPlan,
    /// Which trailer fields cross, by route.
    pub trailers: Vec<Trailers>,
}

impl Snapshot {
    /// A configuration made of its parts.
    pub fn new(policy: Arc<Policy>, settings: Settings, authenticator: Authenticator) -> Self {
        let posture = settings.posture.as_ref().map(|posture| posture.header());
        let headers = HeaderPlan::with_posture(&settings.identity_headers, authenticator.credential_headers(), posture)
            .with_own_cookies(authenticator.reads_sessions());
        let trailers = settings.routes.iter().map(|route| Trailers::new(&headers, route)).collect();
        let authenticator = Arc::new(authenticator);
        Self { trailers, policy_sha256: policy.sha256().into(), policy, settings, authenticator, headers }
    }

    /// The same with another policy that has the same routes; tokens that were verified stay so.
    #[must_use]
    pub fn with_policy(&self, policy: Arc<Policy>) -> Self {
        Self {
            policy_sha256: policy.sha256().into(),
            policy,
            settings: self.settings.clone(),
            authenticator: Arc::clone(&self.authenticator),
            headers: self.headers.clone(),
            trailers: self.trailers.clone(),
        }
    }
}

/// What all workers share. Nothing in it is locked on a request's path.
#[derive(Debug)]
pub struct Shared {
    snapshot: ArcSwap<Snapshot>,
    /// Risk and bans.
    pub risk: RiskEngine,
    /// Where events go.
    pub recorder: Recorder,
    /// The access log, where there is one.
    pub access_log: Option<AccessLog>,
    /// Where traces go, where any are wanted.
    pub tracer: Option<Tracer>,
    /// What is counted.
    pub metrics: Metrics,
    /// The clock that bans go by.
    pub clock: Clock,
    /// The connections of each client, where they are limited.
    pub clients: Clients,
    /// What was used of the rate limits.
    pub rates: Rates,
    /// How many requests are under way, where that is limited.
    pub under_way: LazySeats,
    /// How the upstreams do.
    pub upstreams: UpstreamStates,
    /// What was in force a short while ago.
    pub(crate) before: Before,
    /// Where addresses are.
    pub geo: Geo,
    /// Who makes the gateway's own pages, once that is known.
    pub pages: OnceLock<Arc<dyn Pages>>,
    /// Where requests are kept for a while, where they are.
    pub sampling: Option<Sampling>,
    /// Where workers hand over what was used; `None`: nobody counts.
    pub usage: Option<UsageLanes>,
    draining: AtomicBool,
}

impl Shared {
    /// The state of a gateway that serves this configuration.
    pub fn new(snapshot: Snapshot, risk: RiskEngine, recorder: Recorder) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            risk,
            recorder,
            access_log: None,
            tracer: None,
            metrics: Metrics::default(),
            clock: Clock::start(),
            clients: Clients::new(),
            rates: Rates::default(),
            under_way: LazySeats::default(),
            upstreams: UpstreamStates::default(),
            before: Before::default(),
            geo: Geo::default(),
            pages: OnceLock::new(),
            sampling: None,
            usage: None,
            draining: AtomicBool::new(false),
        }
    }

    /// The same with an access log.
    #[must_use]
    pub fn with_access_log(self, access_log: Option<AccessLog>) -> Self {
        Self { access_log, ..self }
    }

    /// The same with traces.
    #[must_use]
    pub fn with_tracer(self, tracer: Option<Tracer>) -> Self {
        Self { tracer, ..self }
    }

    /// The same that keeps requests for a while.
    #[must_use]
    pub fn with_sampling(self, sampling: Option<Sampling>) -> Self {
        Self { sampling, ..self }
    }

    /// The same that counts what is used.
    #[must_use]
    pub fn with_usage(self, usage: Option<UsageLanes>) -> Self {
        Self { usage, ..self }
    }

    /// The configuration in force.
    pub fn snapshot(&self) -> &ArcSwap<Snapshot> {
        &self.snapshot
    }

    /// Puts a new configuration in force: every request that begins after this returns is served under it.
    pub fn replace(&self, snapshot: Snapshot) {
        let past = self.snapshot.swap(Arc::new(snapshot));
        self.before.note(&past.policy, Instant::now());
    }

    /// Whether the gateway has been told to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Says that the gateway is to stop: `/readyz` answers no from now on.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }
}
