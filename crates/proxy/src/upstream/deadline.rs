//! The deadlines of one exchange, held by one timer.
//!
//! A timer that is set and cleared three times per request costs more than the waiting itself. So each connection owns one,
//! which is never moved later: when it rings early it looks at the deadline that counts by then, and sleeps on. On a busy
//! connection that is one ring in many requests.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::settings::UpstreamTimeouts;

use super::error::{FaultKind, TimeoutPhase, UpstreamError};
use super::wire::Wire;

/// What an exchange waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// That more of the request's body moves: a slow upload is fine as long as it goes on.
    Upload,
    /// The response's head, the request being sent.
    Head,
    /// That more of the response's body moves.
    Body,
}

/// The deadlines of the exchange that a connection carries now.
#[derive(Debug)]
pub(super) struct Deadlines {
    timeouts: UpstreamTimeouts,
    /// When the whole exchange must be over.
    end: Instant,
    phase: Phase,
    /// Since when nothing has moved in this phase; `None` while it is not waited for.
    since: Option<Instant>,
    /// The wire's activity as of `since`.
    seen: u64,
}

impl Deadlines {
    /// For an exchange that began at `started` and is sent at `now`.
    pub(super) fn new(timeouts: UpstreamTimeouts, started: Instant, now: Instant) -> Self {
        let end = after(started, timeouts.total);
        Self { timeouts, end, phase: Phase::Head, since: Some(now), seen: 0 }
    }

    /// A piece of the response came: the wait for the next one begins when somebody asks for it.
    pub(super) fn progressed(&mut self) {
        self.since = None;
    }

    /// Ready with what ran out, else wakes the task before anything can.
    pub(super) fn poll(
        &mut self,
        phase: Phase,
        wire: &Wire,
        alarm: &mut Alarm,
        cx: &mut Context<'_>,
    ) -> Poll<UpstreamError> {
        // The head's deadline runs from the end of the request, however many bytes of a head may trickle in.
        let moved = phase != Phase::Head && wire.activity() != self.seen;
        let since = match self.since {
            Some(since) if phase == self.phase && !moved => since,
            _ => {
                self.phase = phase;
                self.seen = wire.activity();
                *self.since.insert(Instant::now())
            }
        };
        let limit = match phase {
            Phase::Upload | Phase::Body => self.timeouts.idle,
            Phase::Head => self.timeouts.first_byte,
        };
        let deadline = after(since, limit);
        alarm.poll(deadline.min(self.end), cx).map(|()| {
            if self.end <= deadline {
                return UpstreamError::timeout(TimeoutPhase::Total);
            }
            match phase {
                Phase::Upload if wire.write_blocked.get() => UpstreamError::timeout(TimeoutPhase::Send),
                Phase::Upload => UpstreamError::new(FaultKind::RequestBody, "the request's body stalled"),
                Phase::Head => UpstreamError::timeout(TimeoutPhase::FirstByte),
                Phase::Body => UpstreamError::timeout(TimeoutPhase::Idle),
            }
        })
    }
}

/// The one timer of a connection, made when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once `deadline` has passed. Until then the task is woken at some time not after it.
    fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

/// `start` plus `wait`, or a year later where the clock cannot hold it.
pub(super) fn after(start: Instant, wait: Duration) -> Instant {
    start.checked_add(wait.min(YEAR)).unwrap_or(start)
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
