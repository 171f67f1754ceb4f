//! What all workers know of the upstreams: whether a circuit is open, which endpoints are ejected, and what is counted.
//!
//! A reload keeps the state of an upstream whose settings did not change; one whose settings changed begins anew. What is
//! read for every request are atomics that are written when something fails.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::settings::{EjectionSettings, HealthSettings, UpstreamSettings};

use super::breaker::{Breaker, Passage};
use super::error::{FaultKind, UpstreamError};

/// The states of all upstreams.
#[derive(Debug, Default)]
pub struct UpstreamStates(Mutex<Vec<Arc<UpstreamState>>>);

impl UpstreamStates {
    /// The state of an upstream with these settings: the one that is there, or a new one in place of what had its name.
    pub(crate) fn of(&self, settings: &UpstreamSettings) -> Arc<UpstreamState> {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = states.iter().find(|state| state.settings == *settings) {
            return Arc::clone(state);
        }
        let state = Arc::new(UpstreamState::new(settings));
        states.retain(|state| state.settings.name != settings.name);
        states.push(Arc::clone(&state));
        state
    }

    /// Forgets the upstreams that are no longer there.
    pub(crate) fn retain(&self, settings: &[UpstreamSettings]) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states.retain(|state| settings.iter().any(|settings| settings.name == state.settings.name));
    }

    /// All of them, for those who count.
    pub fn all(&self) -> Vec<Arc<UpstreamState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The state of one upstream.
#[derive(Debug)]
pub struct UpstreamState {
    settings: UpstreamSettings,
    breaker: Option<Breaker>,
    started: Instant,
    endpoints: Vec<EndpointState>,
    /// Requests under way, where their number is limited.
    under_way: AtomicUsize,
    /// Requests that were sent a second time.
    pub(super) retries: AtomicU64,
    /// Those that would have been, had the budget not been spent.
    pub(super) over_budget: AtomicU64,
}

/// The state of one endpoint.
#[derive(Debug)]
pub struct EndpointState {
    name: Arc<str>,
    /// Its place in the configuration, from 1: a label that holds no address.
    label: String,
    /// Failures since the last answer.
    in_a_row: AtomicU32,
    /// In milliseconds since the upstream's `started`, until when no request goes there; 0 for one that is not ejected, and
    /// [`DOWN`] until its checks say otherwise.
    ejected_until: AtomicU64,
    /// In milliseconds since `started`, when its checks let it in again; 0 for never.
    came_up_at: AtomicU64,
    failed_checks: AtomicU64,
    /// How often it was ejected without having worked since.
    ejections_in_a_row: AtomicU32,
    ejections: AtomicU64,
    failures: AtomicU64,
}

/// Out because of its checks, however long.
const DOWN: u64 = u64::MAX;

/// How an endpoint does, for those who count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointReport<'a> {
    /// Its place in the configuration, from 1.
    pub label: &'a str,
    /// As the configuration writes it.
    pub name: &'a str,
    /// It is passed over because of requests that failed.
    pub ejected: bool,
    /// It is passed over because of checks that failed.
    pub down: bool,
    /// How often it was ejected.
    pub ejections: u64,
    /// How often it failed.
    pub failures: u64,
    /// How many checks failed.
    pub failed_checks: u64,
}

/// A request that counts as under way until this is dropped.
#[derive(Debug)]
pub(super) struct Admitted(Arc<UpstreamState>);

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl UpstreamState {
    pub(crate) fn new(settings: &UpstreamSettings) -> Self {
        let endpoint = |(index, name): (usize, String)| EndpointState {
            name: name.into(),
            label: (index + 1).to_string(),
            in_a_row: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            came_up_at: AtomicU64::new(0),
            failed_checks: AtomicU64::new(0),
            ejections_in_a_row: AtomicU32::new(0),
            ejections: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        };
        Self {
            breaker: settings.breaker.map(Breaker::new),
            started: Instant::now(),
            endpoints: settings.endpoints.iter().map(ToString::to_string).enumerate().map(endpoint).collect(),
            settings: settings.clone(),
            under_way: AtomicUsize::new(0),
            retries: AtomicU64::new(0),
            over_budget: AtomicU64::new(0),
        }
    }

    /// The upstream's name.
    pub fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    /// Whether its circuit is open.
    pub fn is_open(&self) -> bool {
        self.breaker.as_ref().is_some_and(Breaker::is_open)
    }

    /// How often its circuit opened.
    pub fn opened(&self) -> u64 {
        self.breaker.as_ref().map_or(0, Breaker::opened)
    }

    /// How many requests were sent a second time, and how many were not because the budget was spent.
    pub fn retries(&self) -> (u64, u64) {
        (self.retries.load(Ordering::Relaxed), self.over_budget.load(Ordering::Relaxed))
    }

    /// Its endpoints, in the order of the configuration.
    pub fn endpoints(&self) -> impl Iterator<Item = EndpointReport<'_>> {
        let now = Instant::now();
        self.endpoints.iter().enumerate().map(move |(place, endpoint)| {
            let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let down = load(&endpoint.ejected_until) == DOWN;
            EndpointReport {
                label: &endpoint.label,
                name: &endpoint.name,
                ejected: !down && !self.is_available(place, now),
                down,
                ejections: load(&endpoint.ejections),
                failures: load(&endpoint.failures),
                failed_checks: load(&endpoint.failed_checks),
            }
        })
    }

    /// How its endpoints are checked, if they are.
    pub fn health(&self) -> Option<&HealthSettings> {
        self.settings.health.as_ref()
    }

    /// Requests under way; `None` where their number is not limited, and so not counted.
    pub fn under_way(&self) -> Option<usize> {
        self.settings.max_requests.map(|_| self.under_way.load(Ordering::Relaxed))
    }

    /// A place for one more request, where their number is limited.
    ///
    /// # Errors
    /// [`FaultKind::Busy`]
    pub(super) fn enter(self: &Arc<Self>) -> Result<Option<Admitted>, UpstreamError> {
        let Some(most) = self.settings.max_requests else { return Ok(None) };
        let admitted = Admitted(Arc::clone(self));
        if self.under_way.fetch_add(1, Ordering::Relaxed) >= most {
            return Err(UpstreamError::new(
                FaultKind::Busy,
                "as many requests are under way to it as `max_requests` allows",
            ));
        }
        Ok(Some(admitted))
    }

    /// A check of an endpoint is over.
    pub(super) fn checked(&self, place: usize, good: bool) {
        if let Some(endpoint) = self.endpoints.get(place).filter(|_| !good) {
            endpoint.failed_checks.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// So many checks of an endpoint failed that it is passed over.
    pub(super) fn went_down(&self, place: usize, why: &dyn std::fmt::Display) {
        let Some(endpoint) = self.endpoints.get(place) else { return };
        if endpoint.ejected_until.swap(DOWN, Ordering::Relaxed) != DOWN {
            tracing::warn!(upstream = %self.settings.name, endpoint = %endpoint.name, %why, "the endpoint is down");
        }
    }

    /// So many checks of an endpoint were good that it gets requests again, if it got none.
    pub(super) fn came_up(&self, place: usize) {
        let Some(endpoint) = self.endpoints.get(place) else { return };
        if endpoint.ejected_until.compare_exchange(DOWN, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            endpoint.came_up_at.store(self.millis(Instant::now()).max(1), Ordering::Relaxed);
            endpoint.in_a_row.store(0, Ordering::Relaxed);
            endpoint.ejections_in_a_row.store(0, Ordering::Relaxed);
            tracing::info!(upstream = %self.settings.name, endpoint = %endpoint.name, "the endpoint is up");
        }
    }

    /// How much of its share an endpoint that has come back gets, of a thousand: more with the time, a tenth at first.
    pub(super) fn warmth(&self, place: usize, now: Instant) -> u32 {
        let Some(endpoint) = self.endpoints.get(place).filter(|_| !self.settings.slow_start.is_zero()) else {
            return WARM;
        };
        let (ejected, up) =
            (endpoint.ejected_until.load(Ordering::Relaxed), endpoint.came_up_at.load(Ordering::Relaxed));
        let back = if ejected == DOWN { up } else { ejected.max(up) };
        if back == 0 {
            return WARM;
        }
        let passed = u128::from(self.millis(now).saturating_sub(back)) * u128::from(WARM);
        let share = passed / self.settings.slow_start.as_millis().max(1);
        u32::try_from(share).unwrap_or(WARM).clamp(WARM / 10, WARM)
    }

    /// Lets a request through.
    ///
    /// # Errors
    /// [`FaultKind::CircuitOpen`]
    pub(super) fn admit(&self, now: Instant) -> Result<Passage, UpstreamError> {
        let Some(breaker) = &self.breaker else { return Ok(Passage::Free) };
        breaker.admit(now).map_err(|wait| {
            let retry_after_s = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let detail = format!("it failed too often; the next attempt is made in {retry_after_s} s");
            UpstreamError::new(FaultKind::CircuitOpen { retry_after_s: retry_after_s.max(1) }, detail)
        })
    }

    /// A request did not get an answer.
    pub(super) fn failed(&self, error: &UpstreamError, passage: Passage) {
        if let Some(breaker) = self.breaker.as_ref().filter(|_| is_its_fault(error.kind))
            && let Some(wait) = breaker.failed(passage, Instant::now())
        {
            tracing::warn!(upstream = %self.settings.name, %error, ?wait, "the circuit is open");
        }
    }

    /// An endpoint answered.
    pub(super) fn answered(&self, place: usize, status: StatusCode) {
        if let Some(breaker) = &self.breaker
            && breaker.succeeded()
        {
            tracing::info!(upstream = %self.settings.name, "the circuit is closed");
        }
        if matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) {
            self.endpoint_failed(place);
        } else if let Some(endpoint) = self.endpoints.get(place)
            && endpoint.in_a_row.load(Ordering::Relaxed) != 0
        {
            endpoint.in_a_row.store(0, Ordering::Relaxed);
            endpoint.ejections_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// An exchange with an endpoint failed, which the error then names.
    pub(super) fn failed_at(&self, place: usize, error: &mut UpstreamError) {
        error.endpoint = self.endpoints.get(place).map(|endpoint| Arc::clone(&endpoint.name));
        self.exchange_failed(place, error.kind);
    }

    pub(super) fn exchange_failed(&self, place: usize, kind: FaultKind) {
        if is_its_fault(kind) {
            self.endpoint_failed(place);
        }
    }

    fn endpoint_failed(&self, place: usize) {
        let Some(endpoint) = self.endpoints.get(place) else { return };
        endpoint.failures.fetch_add(1, Ordering::Relaxed);
        let in_a_row = endpoint.in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if let Some(ejection) = self.settings.ejection.filter(|ejection| in_a_row >= ejection.failures) {
            self.eject(place, endpoint, ejection, Instant::now());
        }
    }

    /// Ejects an endpoint, unless too many of them are ejected already: something else is wrong then.
    fn eject(&self, place: usize, endpoint: &EndpointState, ejection: EjectionSettings, now: Instant) {
        let ejected =
            (0..self.endpoints.len()).filter(|other| *other != place && !self.is_available(*other, now)).count();
        let most = self.endpoints.len().saturating_mul(usize::from(ejection.max_share_percent)) / 100;
        if ejected >= most || !self.is_available(place, now) {
            return;
        }
        let times = endpoint.ejections_in_a_row.fetch_add(1, Ordering::Relaxed);
        let wait = ejection.first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(ejection.longest);
        let until = self.millis(now).saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        endpoint.ejected_until.store(until.clamp(1, DOWN - 1), Ordering::Relaxed);
        endpoint.ejections.fetch_add(1, Ordering::Relaxed);
        // One more failure after its return ejects it again.
        endpoint.in_a_row.store(ejection.failures.saturating_sub(1), Ordering::Relaxed);
        tracing::warn!(upstream = %self.settings.name, endpoint = %endpoint.name, ?wait, "the endpoint is ejected");
    }

    /// Whether requests go to the endpoint at this place. The clock is not asked for one that was never ejected.
    pub(super) fn is_available(&self, place: usize, now: Instant) -> bool {
        let until = self.endpoints.get(place).map_or(0, |endpoint| endpoint.ejected_until.load(Ordering::Relaxed));
        until == 0 || self.millis(now) >= until
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }
}

/// All of its share.
const WARM: u32 = 1_000;

/// Whether the upstream is to blame, and not the caller or the gateway.
fn is_its_fault(kind: FaultKind) -> bool {
    match kind {
        FaultKind::Unreachable | FaultKind::Timeout(_) | FaultKind::Protocol => true,
        FaultKind::RequestBody | FaultKind::Busy | FaultKind::CircuitOpen { .. } => false,
    }
}

/// How many requests a worker may send a second time: a share of all its requests, saved up to a bound.
#[derive(Debug)]
pub(super) struct RetryBudget {
    /// What each request adds, in thousandths of a retry.
    share: u32,
    saved: std::cell::Cell<u32>,
}

impl RetryBudget {
    /// One retry is there at the start, unless there are none at all.
    pub(super) fn new(percent: u8) -> Self {
        Self { share: u32::from(percent) * 10, saved: std::cell::Cell::new(if percent == 0 { 0 } else { RETRY }) }
    }

    /// A request is made.
    pub(super) fn earn(&self) {
        self.saved.set((self.saved.get() + self.share).min(SAVED_MAX));
    }

    /// Takes one retry, if there is one.
    pub(super) fn spend(&self) -> bool {
        let left = self.saved.get().checked_sub(RETRY);
        if let Some(left) = left {
            self.saved.set(left);
        }
        left.is_some()
    }
}

const RETRY: u32 = 1_000;
/// Twenty retries: those of 100 requests, at 20 %.
const SAVED_MAX: u32 = 20 * RETRY;

/// How long a `Keep-Alive: timeout=N` lets a connection be used: four fifths of it, so that the upstream is never first.
pub(super) fn keep_alive_timeout(value: &[u8]) -> Option<Duration> {
    let options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let mut timeout = options.filter_map(|option| {
        let (name, seconds) = option.split_at_checked("timeout=".len())?;
        name.eq_ignore_ascii_case(b"timeout=").then_some(seconds)
    });
    let seconds: u32 = std::str::from_utf8(timeout.next_back()?.trim_ascii()).ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.into()).saturating_mul(4) / 5)
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
