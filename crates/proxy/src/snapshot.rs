//! What a reload replaces as a whole, and what all workers share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use portcullis_events::{AccessLog, Event, EventKind, Recorder, Tracer};
use portcullis_geo::Geo;
use portcullis_identity::Authenticator;
use portcullis_policy::Policy;
use portcullis_risk::RiskEngine;
use uuid::Uuid;

use crate::before::{Before, COUNTS_FOR, Past};
use crate::clients::Clients;
use crate::clock::Clock;
use crate::lending::Lending;
use crate::metrics::Metrics;
use crate::pages::{Pages, PagesSettings};
use crate::rate::Rates;
use crate::requestable::Requestable;
use crate::sampling::Sampling;
use crate::seats::LazySeats;
use crate::settings::Settings;
use crate::staged::Staged;
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
    /// A policy that decides for some callers in place of that one. `None`, as a rule.
    pub staged: Option<Arc<Staged>>,
    /// What tells all else that the policy was compiled with from others, such as the routes; `None`: nobody knows.
    pub around: Option<Arc<str>>,
}

impl Snapshot {
    /// A configuration made of its parts.
    pub fn new(policy: Arc<Policy>, settings: Settings, authenticator: Authenticator) -> Self {
        let posture = settings.posture.as_ref().map(|posture| posture.header());
        let headers = HeaderPlan::with_posture(&settings.identity_headers, authenticator.credential_headers(), posture)
            .with_own_cookies(authenticator.reads_sessions());
        let trailers = settings.routes.iter().map(|route| Trailers::new(&headers, route)).collect();
        let authenticator = Arc::new(authenticator);
        let policy_sha256 = policy.sha256().into();
        Self { trailers, policy_sha256, policy, settings, authenticator, headers, staged: None, around: None }
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
            staged: self.staged.clone(),
            around: self.around.clone(),
        }
    }

    /// The same, of which it is known what the policy was compiled with.
    #[must_use]
    pub fn compiled_around(self, around: &str) -> Self {
        Self { around: Some(around.into()), ..self }
    }

    /// Whether every request is led and decided on as under that one.
    fn decides_as(&self, other: &Self) -> bool {
        let (policy, before) = (&self.policy, &other.policy);
        let is_same = || {
            let same_files = self.around.is_some() && policy.sha256() == before.sha256();
            let same_around = self.around == other.around && policy.calibration() == before.calibration();
            same_files && same_around && policy.networks_other_than(before).is_empty()
        };
        self.settings.pages == other.settings.pages && (Arc::ptr_eq(policy, before) || is_same())
    }

    /// The same with both policies changed in the same way: the one in force, and the one that decides for some callers, where there is one.
    ///
    /// # Errors
    /// As the change.
    pub fn with_policies<E>(&self, change: impl Fn(&Policy) -> Result<Policy, E>) -> Result<Self, E> {
        let staged =
            self.staged.as_deref().map(|staged| Ok(staged.with_policy(change(&staged.policy)?))).transpose()?;
        Ok(self.with_policy(Arc::new(change(&self.policy)?)).with_staged(staged.map(Arc::new)))
    }

    /// The same with a policy that decides for some callers, or without one.
    #[must_use]
    pub fn with_staged(self, staged: Option<Arc<Staged>>) -> Self {
        Self { staged, ..self }
    }
}

/// What all workers share. Nothing in it is locked on a request's path.
#[derive(Debug)]
pub struct Shared {
    snapshot: ArcSwap<Snapshot>,
    /// Risk and bans.
    pub risk: RiskEngine,
    /// What principals have for a time.
    pub lending: Lending,
    /// What was refused and may be asked for.
    pub requestable: Requestable,
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
            lending: Lending::default(),
            requestable: Requestable::default(),
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

    /// An event about the gateway itself, at this time of day, under the policy in force.
    pub fn event(&self, kind: EventKind, at: Timestamp) -> Event {
        let mut event = Event::new(kind, Uuid::now_v7(), at);
        let snapshot = self.snapshot.load();
        event.policy.version = Some(snapshot.policy.version());
        event.policy.sha256 = Some(snapshot.policy_sha256.clone());
        event
    }

    /// The configuration in force.
    pub fn snapshot(&self) -> &ArcSwap<Snapshot> {
        &self.snapshot
    }

    /// Puts a new configuration in force: every request that begins after this returns is served under it.
    pub fn replace(&self, snapshot: Snapshot) {
        let next = Arc::new(snapshot);
        let present = self.snapshot.load_full();
        // First, so that no refusal by the next one comes before it is known what was in force.
        self.note_replaced(&present, &next);
        let past = self.snapshot.swap(Arc::clone(&next));
        if !Arc::ptr_eq(&past, &present) {
            self.note_replaced(&past, &next);
        }
    }

    /// What decides the same has not been replaced: a reload that changes nothing takes nobody's place.
    fn note_replaced(&self, past: &Snapshot, next: &Snapshot) {
        if !next.decides_as(past) {
            let now = Instant::now();
            self.before.note(&Past::of(past, (now, Timestamp::now())), now);
        }
    }

    /// How long what one policy refuses is held against nobody whom the one before would have let in.
    pub const EXCUSED_FOR: Duration = COUNTS_FOR;

    /// This was in force until then, in an earlier process: what it would have permitted is held against nobody, as if it had been replaced in this
    /// one. What was replaced earlier is told first. Longer ago than [`Self::EXCUSED_FOR`] it counts for nothing.
    pub fn was_replaced(&self, policy: Arc<Policy>, pages: Option<PagesSettings>, at: Timestamp) {
        let now = Instant::now();
        if let Some(past) = Past::replaced_at(policy, pages, at, (now, Timestamp::now())) {
            self.before.note(&past, now);
        }
    }

    /// Has another policy decide for some callers from now on, or none: the one in force for all others stays, and is not a policy of before.
    pub fn stage(&self, staged: Option<Arc<Staged>>) {
        let present = self.snapshot.load_full();
        self.snapshot.store(Arc::new(present.with_policy(Arc::clone(&present.policy)).with_staged(staged)));
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
