//! How many connections one client may have open, over all workers: counted when they are accepted, before a byte is read.
//!
//! A client is the socket's peer, IPv6 by /64. Trusted proxies are not counted: their connections carry many clients.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::client_address::is_trusted;
use crate::rate::AddressKey;
use crate::seats::{LazySeats, Seat};
use crate::settings::Settings;

/// The connections of each client.
#[derive(Debug)]
pub struct Clients {
    seats: LazySeats,
    refused: AtomicU64,
    logged: Seldom,
}

/// A client has as many connections as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Clients {
    pub(crate) fn new() -> Self {
        Self { seats: LazySeats::default(), refused: AtomicU64::new(0), logged: Seldom::new(Duration::from_secs(1)) }
    }

    /// A place for one more connection of this peer, given back when it is dropped; `None` where there is no limit for it.
    /// A connection that was accepted without a limit is not counted later.
    pub(crate) fn admit(&self, peer: IpAddr, settings: &Settings) -> Result<Option<Seat>, TooMany> {
        let Some(most) = settings.limits.max_connections_per_client else { return Ok(None) };
        let peer = peer.to_canonical();
        if is_trusted(peer, &settings.client_address.trusted_proxies) {
            return Ok(None);
        }
        let client = AddressKey::of(peer);
        let seats = self.seats.get_or_make(settings.limits.max_connections);
        if let Some(seat) = seats.take(client, most) {
            return Ok(Some(seat));
        }
        let refused = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        if self.logged.is_due(Instant::now()) {
            tracing::warn!(%client, most, refused, "a client has too many connections: further ones are closed");
        }
        Err(TooMany)
    }

    /// How many connections were closed because their client had too many.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// Says yes at most once in a while, so that a flood does not become one in the log.
#[derive(Debug)]
struct Seldom {
    every: Duration,
    start: Instant,
    /// Milliseconds from the start; 0 for never.
    next: AtomicU64,
}

impl Seldom {
    fn new(every: Duration) -> Self {
        Self { every, start: Instant::now(), next: AtomicU64::new(0) }
    }

    fn is_due(&self, now: Instant) -> bool {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let now = ms(now.saturating_duration_since(self.start));
        let next = self.next.load(Ordering::Relaxed);
        now >= next
            && self
                .next
                .compare_exchange(next, now.saturating_add(ms(self.every)), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_logged_once_in_a_while() {
        let seldom = Seldom::new(Duration::from_secs(1));
        let at = |ms| seldom.start + Duration::from_millis(ms);
        let due: Vec<u64> = (0..3_000).step_by(10).filter(|ms| seldom.is_due(at(*ms))).collect();
        assert_eq!(due, [0, 1_000, 2_000]);
    }
}
