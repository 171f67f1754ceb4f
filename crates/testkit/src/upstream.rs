//! A stub upstream: an HTTP/1.1 server on loopback that records each request byte by byte and answers as the test says,
//! well or badly.
//!
//! By default it answers 200 with a JSON echo of what arrived, and keeps connections open. It is lenient in nothing: what it
//! cannot read as HTTP/1.1 is kept in [`Upstream::malformed`], so that a test can say that there is none.

mod connection;
mod reply;

use std::collections::HashMap;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::message::{Fields, values};
use crate::wait::{self, PATIENCE};

pub use reply::Reply;

/// How many requests are kept, and how many malformed messages. More are counted by nobody: such a test is a bench.
const RECORDS_MAX: usize = 100_000;

/// The head of a request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// Exactly as it came, with its empty line.
    pub raw: Vec<u8>,
    /// Which connection it came on: the first is 0.
    pub connection: usize,
    /// Its place on that connection: the first is 0.
    pub place: usize,
    /// Where it came from.
    pub peer: SocketAddr,
    /// The method.
    pub method: String,
    /// The request target.
    pub target: String,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    /// The header fields.
    pub headers: Fields,
}

impl RequestHead {
    /// The value of the one field of that name, or `None`.
    ///
    /// # Panics
    /// When there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = values(&self.headers, name);
        let first = found.next();
        assert!(found.next().is_none(), "several {name} in {:?}", self.headers);
        first
    }

    /// The values of all fields of that name, in order.
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        values(&self.headers, name).collect()
    }
}

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedRequest {
    /// Its head.
    pub head: RequestHead,
    /// How many bytes of its body arrived, without the chunked coding.
    pub body_length: u64,
    /// SHA-256 of them, in lower-case hexadecimal.
    pub body_sha256: String,
    /// The first 64 KiB of them.
    pub body_start: Vec<u8>,
    /// The fields after a chunked body.
    pub trailers: Fields,
    /// Whether the body was read to its end: not when the peer went away in the middle, nor when the reply did not wait
    /// for it.
    pub complete: bool,
}

impl RecordedRequest {
    /// The value of the one header field of that name, or `None`.
    ///
    /// # Panics
    /// When there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }
}

/// A running stub. Dropping it closes its connections and waits for its threads.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Upstream {
    /// One that echoes.
    ///
    /// # Panics
    /// When no port can be bound.
    pub fn start() -> Self {
        Self::replying(Reply::echo())
    }

    /// One that gives every request the same reply.
    ///
    /// # Panics
    /// When no port can be bound.
    pub fn replying(reply: Reply) -> Self {
        Self::choosing(move |_| reply.clone())
    }

    /// One that chooses the reply by the head of the request.
    ///
    /// # Panics
    /// When no port can be bound.
    pub fn choosing(choose: impl Fn(&RequestHead) -> Reply + Send + Sync + 'static) -> Self {
        Self::choosing_on((Ipv4Addr::LOCALHOST, 0).into(), choose)
    }

    /// As [`Self::choosing`], on a certain address: for an upstream that comes back after it was gone, on a port from
    /// [`crate::ports::free_port`].
    ///
    /// # Panics
    /// When the address cannot be bound.
    pub fn choosing_on(address: SocketAddr, choose: impl Fn(&RequestHead) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap_or_else(|error| panic!("{address} cannot be bound: {error}"));
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            choose: Box::new(choose),
            seen: Mutex::default(),
            stopping: Mutex::new(false),
            told: AtomicBool::new(false),
            bell: Condvar::new(),
        });
        let accepting = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&listener, &shared))
        };
        Self { address, shared, accepting: Some(accepting) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://` and [`Self::address`].
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, in the order in which their bodies ended.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.seen().requests.clone()
    }

    /// The one request so far.
    ///
    /// # Panics
    /// When there is none, or another one.
    pub fn only_request(&self) -> RecordedRequest {
        match <[RecordedRequest; 1]>::try_from(self.requests()) {
            Ok([request]) => request,
            Err(requests) => panic!("one request was expected, there are {}: {requests:#?}", requests.len()),
        }
    }

    /// Waits until there are at least `count` requests, [`PATIENCE`] at most, and returns all there are then.
    ///
    /// # Panics
    /// When there are fewer after that time.
    pub fn wait_for_requests(&self, count: usize) -> Vec<RecordedRequest> {
        let found = wait::until(PATIENCE, || Some(self.requests()).filter(|requests| requests.len() >= count));
        found.unwrap_or_else(|| panic!("{count} requests were awaited, there are: {:#?}", self.requests()))
    }

    /// What arrived that is no HTTP/1.1 request: why, and the bytes.
    pub fn malformed(&self) -> Vec<String> {
        self.shared.seen().malformed.clone()
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.seen().connections
    }

    /// How many connections are open now.
    pub fn open_connections(&self) -> usize {
        self.shared.seen().open.len()
    }

    /// Waits until exactly `count` connections are open, [`PATIENCE`] at most.
    ///
    /// # Panics
    /// When another number is open after that time.
    pub fn wait_for_open_connections(&self, count: usize) {
        let reached = wait::until(PATIENCE, || (self.open_connections() == count).then_some(()));
        assert!(reached.is_some(), "{count} open connections were awaited, there are {}", self.open_connections());
    }

    /// Closes all connections and goes on accepting new ones, as an upstream whose keep-alive time is up.
    pub fn close_connections(&self) {
        self.shared.seen().close_all();
    }

    /// Lets the replies that wait for it go on, and those that come later not wait at all.
    pub fn go_on(&self) {
        let stopping = self.shared.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.told.store(true, SeqCst);
        drop(stopping);
        self.shared.bell.notify_all();
    }

    fn stop(&mut self) {
        let Some(accepting) = self.accepting.take() else { return };
        *self.shared.stopping.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.bell.notify_all();
        // The accepting thread looks at `stopping` after each connection, so it is given one more.
        drop(TcpStream::connect(self.address));
        // It fails only when a reply was chosen by a closure that panicked; that has been printed.
        drop(accepting.join());
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the threads of one stub share.
struct Shared {
    choose: Box<dyn Fn(&RequestHead) -> Reply + Send + Sync>,
    seen: Mutex<Seen>,
    stopping: Mutex<bool>,
    /// Replies that wait for it go on.
    told: AtomicBool,
    /// Rung when one of the two becomes true.
    bell: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits; `false` when the stub is stopped meanwhile.
    fn pause(&self, time: Duration) -> bool {
        let stopping = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.bell.wait_timeout_while(stopping, time, |stopping| !*stopping);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits for [`Upstream::go_on`]; `false` when the stub is stopped before.
    fn wait_until_told(&self) -> bool {
        let stopping = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.bell.wait_while(stopping, |stopping| !*stopping && !self.told.load(SeqCst));
        drop(waited);
        self.told.load(SeqCst)
    }

    fn record(&self, request: RecordedRequest) {
        let mut seen = self.seen();
        if seen.requests.len() < RECORDS_MAX {
            seen.requests.push(request);
        }
    }

    fn record_malformed(&self, why: String) {
        let mut seen = self.seen();
        if seen.malformed.len() < RECORDS_MAX {
            seen.malformed.push(why);
        }
    }
}

#[derive(Debug, Default)]
struct Seen {
    requests: Vec<RecordedRequest>,
    malformed: Vec<String>,
    connections: usize,
    /// The open connections by number; a second handle on each, to close it from outside.
    open: HashMap<usize, TcpStream>,
}

impl Seen {
    fn close_all(&self) {
        for stream in self.open.values() {
            // It fails when the peer was first.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

/// Accepts until the stub stops, then closes all connections and waits for their threads.
fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut serving = Vec::new();
    for stream in listener.incoming() {
        if shared.is_stopping() {
            break;
        }
        let Some((stream, handle)) = stream.ok().and_then(|stream| Some((stream.try_clone().ok()?, stream))) else {
            continue;
        };
        let number = {
            let mut seen = shared.seen();
            let number = seen.connections;
            seen.connections += 1;
            seen.open.insert(number, handle);
            number
        };
        let shared = Arc::clone(shared);
        serving.push(thread::spawn(move || connection::serve(&shared, stream, number)));
    }
    shared.seen().close_all();
    for thread in serving {
        // A panic in the test's own closure has been printed.
        drop(thread.join());
    }
}

#[cfg(test)]
mod tests;
