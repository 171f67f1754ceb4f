//! Whose turn it is among an upstream's endpoints, and connections to them.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout};

use crate::settings::{Endpoint, EndpointAddress, EndpointScheme, UpstreamSettings};

use super::deadline::after;
use super::error::{FaultKind, TimeoutPhase, UpstreamError};
use super::state::UpstreamState;
use super::stream::Stream;
use super::tls::{ClientTls, Offer, chose_http2};

/// How many endpoints a request tries to connect to, at most.
pub(super) const ATTEMPTS_MAX: usize = 3;

/// The endpoints of one upstream and whose turn it is.
#[derive(Debug)]
pub(super) struct Endpoints {
    list: Vec<Target>,
    /// Whose turn follows whose, by place: once around, and each as often as its weight says.
    turns: Vec<usize>,
    /// Endpoints that have come back get less at first.
    slow_start: bool,
    next: Cell<usize>,
    /// For choices; what it holds need not be hard to guess.
    random: Cell<u32>,
    state: Arc<UpstreamState>,
}

/// A request under way at an endpoint, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Visit(Rc<Cell<u32>>);

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Endpoints {
    pub(super) fn new(settings: &UpstreamSettings, state: Arc<UpstreamState>) -> Self {
        let list = settings.endpoints.iter().map(|endpoint| Target::new(endpoint, settings)).collect();
        let weights: Vec<u32> = settings.endpoints.iter().map(|endpoint| endpoint.weight.max(1)).collect();
        let (turns, slow_start) = (round(&weights), !settings.slow_start.is_zero());
        Self { list, turns, slow_start, next: Cell::new(0), random: Cell::new(0x9e37_79b9), state }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The place of the endpoint for a request: the one whose turn it is, or another chosen at random if that has less to do on
    /// this worker (the power of two choices), by their weights. One that is ejected or down is passed over, unless all are.
    pub(super) fn choose(&self, now: Instant) -> usize {
        let turn = self.turn();
        let first = self.at(turn);
        if self.list.len() < 2 {
            return first;
        }
        let other = self.another(turn);
        let chosen = match (self.state.is_available(first, now), self.state.is_available(other, now)) {
            (true, true) if self.is_busier(first, other) => other,
            (true, _) => first,
            (false, true) => other,
            (false, false) => self.other(first, now),
        };
        if self.slow_start && self.random() % 1_000 >= self.state.warmth(chosen, now) {
            return self.other(chosen, now);
        }
        chosen
    }

    /// Whether the first has more to do than the other, for its weight.
    fn is_busier(&self, first: usize, other: usize) -> bool {
        let load = |place: usize, weight_of: usize| {
            u64::from(self.active(place))
                * u64::from(self.list.get(weight_of).map_or(1, |target| target.endpoint.weight))
        };
        load(other, first) < load(first, other)
    }

    /// The next endpoint behind this one that is not ejected; this one, if there is none.
    pub(super) fn other(&self, place: usize, now: Instant) -> usize {
        let count = self.list.len().max(1);
        let others = (1..count).map(|step| (place + step) % count);
        others.into_iter().find(|other| self.state.is_available(*other, now)).unwrap_or(place)
    }

    /// Counts a request at an endpoint; with a single one there is nothing to compare.
    pub(super) fn visit(&self, place: usize) -> Option<Visit> {
        let target = self.list.get(place).filter(|_| self.list.len() > 1)?;
        target.active.set(target.active.get().saturating_add(1));
        Some(Visit(Rc::clone(&target.active)))
    }

    fn active(&self, place: usize) -> u32 {
        self.list.get(place).map_or(u32::MAX, |target| target.active.get())
    }

    /// Any place but that of this turn.
    fn another(&self, turn: usize) -> usize {
        let (count, place) = (self.turns.len().max(2), self.at(turn));
        let from = turn + 1 + usize::try_from(self.random()).unwrap_or(0) % (count - 1);
        let others = (from..from + count).map(|turn| self.at(turn % count));
        others.into_iter().find(|other| *other != place).unwrap_or(place)
    }

    /// The next number (xorshift32).
    fn random(&self) -> u32 {
        let mut random = self.random.get();
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        self.random.set(random);
        random
    }

    /// Each request takes one turn.
    fn turn(&self) -> usize {
        let next = self.next.get();
        self.next.set(next.wrapping_add(1));
        next % self.turns.len().max(1)
    }

    /// The place of the endpoint whose turn this is.
    fn at(&self, turn: usize) -> usize {
        self.turns.get(turn).copied().unwrap_or(0)
    }

    /// A connection to the endpoint at this place, or to the next that takes one, with its place: three at most, each tried
    /// once and for at most `limit`, its TLS handshake included, all together until `end`. What is ejected comes last.
    ///
    /// # Errors
    /// [`FaultKind::Unreachable`] or a [`TimeoutPhase::Connect`], as the last endpoint failed.
    pub(super) async fn connect(
        &self,
        first: usize,
        limit: Duration,
        end: Instant,
    ) -> Result<(Stream, usize), UpstreamError> {
        let mut last = UpstreamError::new(FaultKind::Unreachable, "no endpoint");
        let mut place = first;
        for attempt in 0..self.list.len().min(ATTEMPTS_MAX) {
            let now = Instant::now();
            if attempt > 0 {
                place = self.other(place, now);
            }
            let Some(target) = self.list.get(place) else { break };
            if now >= end {
                return Err(UpstreamError::timeout(TimeoutPhase::Connect));
            }
            match timeout(limit.min(end - now), target.connect(Offer::Http1)).await {
                Ok(Ok((stream, _))) => return Ok((stream, place)),
                Ok(Err(error)) => last = target.unreachable(&error),
                Err(_elapsed) => last = target.too_slow(),
            }
            self.state.failed_at(place, &mut last);
        }
        Err(last)
    }

    /// A connection to the endpoint at this place, and whether HTTP/2 is spoken over it.
    ///
    /// # Errors
    /// [`FaultKind::Unreachable`]; the caller holds the time.
    pub(super) async fn connect_once(&self, place: usize, offer: Offer) -> Result<(Stream, bool), UpstreamError> {
        let target = self.list.get(place).ok_or_else(|| UpstreamError::new(FaultKind::Unreachable, "no endpoint"))?;
        target.connect(offer).await.map_err(|error| target.unreachable(&error))
    }

    /// The error of an endpoint that took no connection in time.
    pub(super) fn too_slow(&self, place: usize) -> UpstreamError {
        self.list.get(place).map_or_else(|| UpstreamError::timeout(TimeoutPhase::Connect), Target::too_slow)
    }

    /// The endpoint at this place.
    pub(super) fn endpoint(&self, place: usize) -> Option<&Endpoint> {
        self.list.get(place).map(|target| &target.endpoint)
    }
}

/// One round of turns by weight, as even as can be: whoever is furthest behind its share is next.
fn round(weights: &[u32]) -> Vec<usize> {
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    let shares: Vec<i64> = weights.iter().map(|weight| i64::from(weight / divisor)).collect();
    let all: i64 = shares.iter().sum();
    let mut behind = vec![0_i64; shares.len()];
    let mut turns = Vec::new();
    for _ in 0..all {
        for (behind, share) in behind.iter_mut().zip(&shares) {
            *behind += share;
        }
        // Of equals the first.
        let furthest = behind.iter().enumerate().rev().max_by_key(|(_, behind)| **behind).map(|(place, _)| place);
        let Some(place) = furthest else { break };
        if let Some(behind) = behind.get_mut(place) {
            *behind -= all;
        }
        turns.push(place);
    }
    turns
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// One endpoint. A literal address needs no resolver.
#[derive(Debug)]
struct Target {
    endpoint: Endpoint,
    address: Option<SocketAddr>,
    tls: Option<ClientTls>,
    /// Requests under way there from this worker.
    active: Rc<Cell<u32>>,
    /// The last answer of the resolver and until when it is used.
    resolved: RefCell<Option<(Instant, Rc<[SocketAddr]>)>>,
    /// How long that is.
    dns_refresh: Duration,
    /// Which of several addresses is tried first.
    next_address: Cell<usize>,
}

impl Target {
    fn new(endpoint: &Endpoint, settings: &UpstreamSettings) -> Self {
        let address = match &endpoint.address {
            EndpointAddress::Tcp { host, port } => host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, *port)),
            EndpointAddress::Unix(_) => None,
        };
        Self {
            endpoint: endpoint.clone(),
            address,
            tls: settings.tls.clone(),
            active: Rc::default(),
            resolved: RefCell::default(),
            dns_refresh: settings.dns_refresh,
            next_address: Cell::new(0),
        }
    }

    /// A connection, and whether HTTP/2 is spoken over it.
    async fn connect(&self, offer: Offer) -> io::Result<(Stream, bool)> {
        let known = offer == Offer::Http2;
        let (host, port) = match &self.endpoint.address {
            EndpointAddress::Unix(path) => return Ok((Stream::Unix(UnixStream::connect(path).await?), known)),
            EndpointAddress::Tcp { host, port } => (host, *port),
        };
        let stream = match self.address {
            Some(address) => TcpStream::connect(address).await?,
            None => TcpStream::connect(&*self.in_turn(&self.resolve(host, port).await?)).await?,
        };
        // A head and a small body must not wait for the acknowledgement of what went before.
        stream.set_nodelay(true)?;
        match self.endpoint.scheme {
            EndpointScheme::Http | EndpointScheme::H2c => Ok((Stream::Tcp(stream), known)),
            EndpointScheme::Https => self.shake_hands(stream, host, offer).await,
        }
    }

    async fn shake_hands(&self, stream: TcpStream, host: &str, offer: Offer) -> io::Result<(Stream, bool)> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        // INVARIANT: an upstream with an `https` endpoint has TLS settings; without them nothing is sent in plain text.
        let tls = self.tls.as_ref().ok_or_else(|| invalid("TLS is not set up"))?;
        let name = tls.server_name(host).ok_or_else(|| invalid("no name that a certificate could have"))?;
        let stream = tls.connector(offer).connect(name, stream).await?;
        let http2 = chose_http2(stream.get_ref().1);
        if offer == Offer::Http2 && !http2 {
            // One that knows no ALPN would be spoken to in a language that it may not understand (RFC 9113 section 3.2).
            return Err(invalid("it does not speak HTTP/2"));
        }
        Ok((Stream::Tls(Box::new(stream)), http2))
    }

    /// The addresses in the order in which they are tried: each connection begins with the next.
    fn in_turn(&self, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        let first = self.next_address.get();
        self.next_address.set(first.wrapping_add(1));
        let (before, from) = addresses.split_at(first % addresses.len().max(1));
        [from, before].concat()
    }

    /// The addresses of the name, at most [`ADDRESSES_MAX`], asked of the system's resolver off this thread. An answer is
    /// used for `dns_refresh`, so that a burst of new connections does not become a burst of lookups; and as long as the
    /// resolver fails, for it is better than none.
    async fn resolve(&self, host: &Arc<str>, port: u16) -> io::Result<Rc<[SocketAddr]>> {
        let now = Instant::now();
        if let Some((until, addresses)) = &*self.resolved.borrow()
            && now < *until
        {
            return Ok(Rc::clone(addresses));
        }
        let found = lookup_host((&**host, port)).await.map(|found| found.take(ADDRESSES_MAX).collect::<Rc<[_]>>());
        let found = found.and_then(|found| match found.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
            false => Ok(found),
        });
        self.settle(now, found)
    }

    /// What is used from now on, given what the resolver says.
    fn settle(&self, now: Instant, found: io::Result<Rc<[SocketAddr]>>) -> io::Result<Rc<[SocketAddr]>> {
        let last = self.resolved.borrow().as_ref().map(|(_, addresses)| Rc::clone(addresses));
        let addresses = match (found, last) {
            (Ok(found), _) => found,
            (Err(error), Some(last)) => {
                tracing::warn!(endpoint = %self.endpoint, %error, "not resolved: the last answer stays in use");
                last
            }
            (Err(error), None) => return Err(error),
        };
        self.resolved.replace(Some((after(now, self.dns_refresh), Rc::clone(&addresses))));
        Ok(addresses)
    }

    fn unreachable(&self, error: &io::Error) -> UpstreamError {
        UpstreamError::new(FaultKind::Unreachable, format!("{}: {error}", self.endpoint))
    }

    fn too_slow(&self) -> UpstreamError {
        let phase = FaultKind::Timeout(TimeoutPhase::Connect);
        UpstreamError::new(phase, format!("{}: no connection in time", self.endpoint))
    }
}

const ADDRESSES_MAX: usize = 8;

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
