//! The idle connections of HTTP/1.1 to one upstream, kept by one worker.
//!
//! Last in, first out for each endpoint: the warmest connection is used first, and the others age until they are dropped. Nothing watches an
//! idle connection. Whether it still lives shows when it is used: it is read before it is written, and the request goes over
//! another if the connection has ended meanwhile.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::http1::Link;

/// The connections that wait for a request, oldest first.
pub(super) struct Idle<B> {
    links: RefCell<VecDeque<Box<Link<B>>>>,
    most: usize,
    keep_alive: Duration,
}

impl<B> Idle<B> {
    pub(super) fn new(most: usize, keep_alive: Duration) -> Self {
        Self { links: RefCell::default(), most, keep_alive }
    }

    /// The connection to the endpoint at `place` that was used last, unless it has waited too long.
    pub(super) fn take(&self, place: usize, now: Instant) -> Option<Box<Link<B>>> {
        let mut links = self.links.borrow_mut();
        let newest = links.iter().rposition(|link| link.place == place)?;
        let link = links.remove(newest)?;
        drop(links);
        if now.saturating_duration_since(link.idle_since) < self.keep_alive.min(link.keep_for) {
            return Some(link);
        }
        self.discard_expired(now);
        None
    }

    /// Keeps a connection that is ready for another request; the oldest make room for it.
    pub(super) fn put(&self, mut link: Box<Link<B>>) {
        link.rest();
        let now = link.idle_since;
        self.links.borrow_mut().push_back(link);
        self.discard_expired(now);
    }

    /// Drops what has waited too long, and the oldest of what is too many.
    pub(super) fn discard_expired(&self, now: Instant) {
        loop {
            let mut links = self.links.borrow_mut();
            let Some(oldest) = links.front() else { return };
            let expired = now.saturating_duration_since(oldest.idle_since) >= self.keep_alive;
            if !expired && links.len() <= self.most {
                return;
            }
            let dropped = links.pop_front();
            drop(links);
            drop(dropped);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.links.borrow().len()
    }
}
