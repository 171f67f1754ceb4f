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
use super::stream::Stream;
use super::tls::ClientTls;

/// The endpoints of one upstream and whose turn it is.
#[derive(Debug)]
pub(super) struct Endpoints {
    list: Vec<Target>,
    next: Cell<usize>,
}

impl Endpoints {
    pub(super) fn new(settings: &UpstreamSettings) -> Self {
        let list = settings.endpoints.iter().map(|endpoint| Target::new(endpoint, settings.tls.as_ref())).collect();
        Self { list, next: Cell::new(0) }
    }

    /// The place of the endpoint whose turn it is. Each request takes one turn.
    pub(super) fn turn(&self) -> usize {
        let next = self.next.get();
        self.next.set(next.wrapping_add(1));
        next % self.list.len().max(1)
    }

    /// A connection to the endpoint at this place, or to the next that takes one, with its place. Each is tried at most
    /// once and for at most `limit`, its TLS handshake included, all together until `end`.
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
        for turn in 0..self.list.len() {
            let place = first.wrapping_add(turn) % self.list.len();
            let Some(target) = self.list.get(place) else { break };
            let now = Instant::now();
            if now >= end {
                return Err(UpstreamError::timeout(TimeoutPhase::Connect));
            }
            match timeout(limit.min(end - now), target.connect()).await {
                Ok(Ok(stream)) => return Ok((stream, place)),
                Ok(Err(error)) => last = target.unreachable(&error),
                Err(_elapsed) => last = target.too_slow(),
            }
        }
        Err(last)
    }
}

/// One endpoint. A literal address needs no resolver.
#[derive(Debug)]
struct Target {
    endpoint: Endpoint,
    address: Option<SocketAddr>,
    tls: Option<ClientTls>,
    /// The last answer of the resolver and until when it is used.
    resolved: RefCell<Option<(Instant, Rc<[SocketAddr]>)>>,
}

impl Target {
    fn new(endpoint: &Endpoint, tls: Option<&ClientTls>) -> Self {
        let address = match &endpoint.address {
            EndpointAddress::Tcp { host, port } => host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, *port)),
            EndpointAddress::Unix(_) => None,
        };
        Self { endpoint: endpoint.clone(), address, tls: tls.cloned(), resolved: RefCell::default() }
    }

    async fn connect(&self) -> io::Result<Stream> {
        let (host, port) = match &self.endpoint.address {
            EndpointAddress::Unix(path) => return UnixStream::connect(path).await.map(Stream::Unix),
            EndpointAddress::Tcp { host, port } => (host, *port),
        };
        let stream = match self.address {
            Some(address) => TcpStream::connect(address).await?,
            None => TcpStream::connect(&*self.resolve(host, port).await?).await?,
        };
        // A head and a small body must not wait for the acknowledgement of what went before.
        stream.set_nodelay(true)?;
        match self.endpoint.scheme {
            EndpointScheme::Http => Ok(Stream::Tcp(stream)),
            EndpointScheme::Https => self.shake_hands(stream, host).await,
        }
    }

    async fn shake_hands(&self, stream: TcpStream, host: &str) -> io::Result<Stream> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        // INVARIANT: an upstream with an `https` endpoint has TLS settings; without them nothing is sent in plain text.
        let tls = self.tls.as_ref().ok_or_else(|| invalid("TLS is not set up"))?;
        let name = tls.server_name(host).ok_or_else(|| invalid("no name that a certificate could have"))?;
        let stream = tls.connector().connect(name, stream).await?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// The addresses of the name, at most [`ADDRESSES_MAX`], asked of the system's resolver off this thread. An answer is
    /// used for [`RESOLVED_FOR`], so that a burst of new connections does not become a burst of lookups.
    async fn resolve(&self, host: &Arc<str>, port: u16) -> io::Result<Rc<[SocketAddr]>> {
        let now = Instant::now();
        if let Some((until, addresses)) = &*self.resolved.borrow()
            && now < *until
        {
            return Ok(Rc::clone(addresses));
        }
        let found = lookup_host((&**host, port)).await?;
        let addresses: Rc<[SocketAddr]> = found.take(ADDRESSES_MAX).collect();
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        self.resolved.replace(Some((after(now, RESOLVED_FOR), Rc::clone(&addresses))));
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
const RESOLVED_FOR: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::net::TcpListener;

    async fn connect(endpoints: &[(&str, u16)]) -> (Endpoints, Result<Stream, UpstreamError>) {
        let list = endpoints.iter().map(|(host, port)| Endpoint::http(*host, *port)).collect();
        let endpoints = Endpoints::new(&UpstreamSettings::new("test", list));
        let end = after(Instant::now(), Duration::from_secs(5));
        let stream = endpoints.connect(endpoints.turn(), Duration::from_secs(5), end).await;
        (endpoints, stream.map(|(stream, _)| stream))
    }

    async fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    fn port_of(stream: &Stream) -> u16 {
        let Stream::Tcp(stream) = stream else { panic!("{stream:?}") };
        stream.peer_addr().unwrap().port()
    }

    /// A port on which nobody listens.
    async fn closed_port() -> u16 {
        listener().await.1
    }

    #[tokio::test]
    async fn a_refusing_endpoint_is_passed_over() {
        let (_open, port) = listener().await;
        let (_, stream) = connect(&[("127.0.0.1", closed_port().await), ("127.0.0.1", port)]).await;
        assert_eq!(port_of(&stream.unwrap()), port);
    }

    #[tokio::test]
    async fn endpoints_take_turns() {
        let ((_a, port_a), (_b, port_b)) = (listener().await, listener().await);
        let (endpoints, first) = connect(&[("127.0.0.1", port_a), ("127.0.0.1", port_b)]).await;
        let end = after(Instant::now(), Duration::from_secs(5));
        let second = endpoints.connect(endpoints.turn(), Duration::from_secs(5), end).await;
        assert_eq!(port_of(&first.unwrap()), port_a);
        assert_eq!(port_of(&second.unwrap().0), port_b);
    }

    #[tokio::test]
    async fn no_endpoint_that_listens_is_unreachable() {
        let (_, stream) = connect(&[("127.0.0.1", closed_port().await), ("127.0.0.1", closed_port().await)]).await;
        assert_eq!(stream.unwrap_err().kind, FaultKind::Unreachable);
    }

    #[tokio::test]
    async fn a_name_is_resolved() {
        let (_open, port) = listener().await;
        let (_, stream) = connect(&[("localhost", port)]).await;
        assert!(stream.is_ok());
    }

    #[tokio::test]
    async fn no_time_left_is_a_timeout() {
        let (_open, port) = listener().await;
        let endpoints = Endpoints::new(&UpstreamSettings::new("test", vec![Endpoint::http("127.0.0.1", port)]));
        let error = endpoints.connect(0, Duration::from_secs(5), Instant::now()).await.unwrap_err();
        assert_eq!(error.kind, FaultKind::Timeout(TimeoutPhase::Connect));
    }
}
