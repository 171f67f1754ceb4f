//! The HTTP/2 connections of one worker to one upstream.
//!
//! A request takes a stream of the first connection that has one. While a connection is being opened, everybody else waits for
//! it: a burst of requests must not become a burst of connections. Where all streams are taken a request waits its turn, within
//! the time for a connection; as many may wait as there are streams.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::settings::{Http2Settings, UpstreamHttp, UpstreamSettings};

use super::super::Stream;
use super::super::connect::Endpoints;
use super::super::deadline::after;
use super::super::error::{FaultKind, UpstreamError};
use super::super::tls::Offer;
use super::channel::{Channel, Seat};

/// How a request gets to its endpoint.
pub(super) enum Way {
    /// On a stream of an HTTP/2 connection.
    Stream(Seat),
    /// The endpoint chose HTTP/1.1, over this connection if one was opened for it.
    Http1(Option<Stream>),
}

/// The connections, by endpoint.
pub(in crate::upstream) struct Pool {
    settings: Http2Settings,
    offer: Offer,
    keep_alive: Duration,
    places: Vec<Place>,
}

/// Those to one endpoint.
#[derive(Default)]
struct Place {
    channels: RefCell<Vec<Channel>>,
    /// Somebody opens one.
    opening: Cell<bool>,
    /// How many wait for a stream.
    waiting: Cell<usize>,
    turn: Rc<Notify>,
    /// Until when it is taken for one that speaks HTTP/1.1, having chosen that.
    http1_until: Cell<Option<Instant>>,
}

/// How long an endpoint that chose HTTP/1.1 is not asked again which it prefers.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

impl Pool {
    /// `None` for an upstream that is spoken to in HTTP/1.1.
    pub(in crate::upstream) fn of(settings: &UpstreamSettings) -> Option<Self> {
        let offer = match settings.http {
            UpstreamHttp::One => return None,
            UpstreamHttp::Two => Offer::Http2,
            UpstreamHttp::Auto => Offer::Either,
        };
        Some(Self {
            settings: settings.http2,
            offer,
            keep_alive: settings.timeouts.keep_alive,
            places: settings.endpoints.iter().map(|_| Place::default()).collect(),
        })
    }

    /// What connections offer to speak.
    pub(in crate::upstream) fn offer(&self) -> Offer {
        self.offer
    }

    /// The way to the endpoint at this place.
    ///
    /// # Errors
    /// It took no connection, or not in time; or no stream became free until `end` ([`FaultKind::Busy`]).
    pub(super) async fn way(&self, endpoints: &Endpoints, place: usize, end: Instant) -> Result<Way, UpstreamError> {
        let Some(at) = self.places.get(place) else {
            return Err(UpstreamError::new(FaultKind::Unreachable, "no endpoint"));
        };
        loop {
            if let Some(seat) = at.seat(self.settings.max_streams) {
                return Ok(Way::Stream(seat));
            }
            if at.http1_until.get().is_some_and(|until| Instant::now() < until) {
                return Ok(Way::Http1(None));
            }
            if at.opening.get() || at.is_full(self.settings.max_connections) {
                let most = self.settings.max_streams.saturating_mul(self.settings.max_connections);
                if at.waiting.get() >= most {
                    return Err(UpstreamError::new(FaultKind::Busy, "as many requests wait for a stream as may"));
                }
                let _waiting = Waiting::begin(&at.waiting);
                if timeout_at(end, at.turn.notified()).await.is_err() {
                    let busy = || UpstreamError::new(FaultKind::Busy, "no stream became free in time");
                    return Err(if at.opening.get() { endpoints.too_slow(place) } else { busy() });
                }
                continue;
            }
            let _opening = Opening::begin(at);
            let opened = timeout_at(end, self.open(endpoints, place, at)).await;
            if let Some(stream) = opened.map_err(|_elapsed| endpoints.too_slow(place))?? {
                return Ok(Way::Http1(Some(stream)));
            }
        }
    }

    /// Opens a connection; one that HTTP/1.1 is spoken over is given back.
    async fn open(&self, endpoints: &Endpoints, place: usize, at: &Place) -> Result<Option<Stream>, UpstreamError> {
        let (stream, http2) = endpoints.connect_once(place, self.offer).await?;
        if !http2 {
            at.http1_until.set(Some(after(Instant::now(), REMEMBERED_FOR)));
            return Ok(Some(stream));
        }
        let channel = Channel::open(stream, self.settings, &at.turn).await?;
        at.channels.borrow_mut().push(channel);
        Ok(None)
    }

    /// Closes the connections that have had nothing to do for longer than `timeouts.keep_alive`.
    pub(in crate::upstream) fn discard_expired(&self, now: Instant) {
        for at in &self.places {
            at.channels
                .borrow_mut()
                .retain(|channel| channel.takes_requests() && !channel.has_idled(self.keep_alive, now));
        }
    }

    /// How many connections are open.
    #[cfg(test)]
    pub(in crate::upstream) fn len(&self) -> usize {
        self.places.iter().map(|at| at.channels.borrow().len()).sum()
    }
}

impl Place {
    fn seat(&self, most: usize) -> Option<Seat> {
        let mut channels = self.channels.borrow_mut();
        channels.retain(Channel::takes_requests);
        channels.iter().find_map(|channel| channel.seat(most))
    }

    /// Whether no further connection may be opened. Those that are doubted make room for others, but not for any number.
    fn is_full(&self, most: usize) -> bool {
        let channels = self.channels.borrow();
        let trusted = channels.iter().filter(|channel| !channel.is_doubted()).count();
        trusted >= most || channels.len() >= most.saturating_mul(2)
    }
}

/// Somebody opens a connection, until this is dropped.
struct Opening<'a>(&'a Place);

impl<'a> Opening<'a> {
    fn begin(place: &'a Place) -> Self {
        place.opening.set(true);
        Self(place)
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.opening.set(false);
        self.0.turn.notify_waiters();
    }
}

/// Somebody waits, until this is dropped.
struct Waiting<'a>(&'a Cell<usize>);

impl<'a> Waiting<'a> {
    fn begin(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}
