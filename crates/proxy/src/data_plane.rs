//! The threads: one worker each, with its own listening sockets, connections and runtime.
//!
//! Every worker listens on the same addresses (`SO_REUSEPORT`), so the kernel spreads connections and no thread hands work
//! to another. Draining is the careful part: a listening socket that is closed resets what still waits in its queue, so
//! that is accepted first.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout};

use crate::connection::{Accepted, serve};
use crate::seats::Seat;
use crate::settings::{InboundSettings, ListenerSettings, ProcessSettings};
use crate::snapshot::Shared;
use crate::stack::stack;
use crate::wire::GateHandle;
use crate::worker::{Loaded, Worker};

/// How many connections may wait to be accepted, on each worker's socket.
const BACKLOG: i32 = 4096;
/// How long a draining worker waits for the next connection that the kernel has queued, or whose handshake is under way.
const LAST_ACCEPTS: Duration = Duration::from_millis(50);
/// What open streams have to say goodbye, once the grace is over.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How often idle upstream connections and open streams are looked through.
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// How long accepting pauses when the process is out of file descriptors.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// Why the data plane did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A listener could not bind.
    #[error("listener {name} cannot listen on {address}")]
    Bind {
        /// The listener's name.
        name: Arc<str>,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A listener that was passed on cannot be used.
    #[error("the passed socket {name:?} cannot be used")]
    Inherited {
        /// Its name.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// A socket was passed on for nothing. It would be open, and nobody would accept.
    #[error("the passed socket {name:?} on {address} is neither named as a listener nor bound to the address of one")]
    Unclaimed {
        /// Its name.
        name: String,
        /// Its address.
        address: SocketAddr,
    },
    /// A worker could not be started.
    #[error("a worker thread cannot be started")]
    Thread(#[source] io::Error),
}

/// How far the process is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Draining,
    Stopping,
}

/// A listening socket that another process opened and passed on.
#[derive(Debug)]
pub struct Inherited {
    /// Its name, or nothing. That of a listener makes it that listener's, whatever its address.
    pub name: String,
    /// The socket.
    pub socket: std::net::TcpListener,
}

/// A listening socket of one worker.
struct Listening<T> {
    /// The name of its listener.
    name: Arc<str>,
    socket: T,
    /// Somebody else has it, too, and keeps it open.
    inherited: bool,
}

/// The running workers.
#[derive(Debug)]
pub struct DataPlane {
    addresses: Vec<(Arc<str>, SocketAddr)>,
    phase: watch::Sender<Phase>,
    workers: Vec<JoinHandle<usize>>,
}

impl DataPlane {
    /// Binds every listener, unless its socket was passed on, and starts the workers. When this returns, connections are
    /// accepted.
    ///
    /// # Errors
    /// An address that cannot be bound, or a thread that cannot be started.
    pub fn start(
        process: &ProcessSettings,
        shared: &Arc<Shared>,
        mut inherited: Vec<Inherited>,
    ) -> Result<Self, StartError> {
        let workers = process.workers.max(1);
        let mut addresses = Vec::new();
        let mut sockets: Vec<Vec<Listening<std::net::TcpListener>>> = (0..workers).map(|_| Vec::new()).collect();
        for listener in &process.listeners {
            if let Some(socket) = claimed(&mut inherited, listener) {
                addresses.push((Arc::clone(&listener.name), share(listener, socket, &mut sockets)?));
                continue;
            }
            let mut address = listener.address;
            for slot in &mut sockets {
                let socket = bind(listener, address)?;
                // With port 0 the first worker's socket chooses the port, and the others join it.
                address = socket.local_addr().unwrap_or(address);
                slot.push(Listening { name: Arc::clone(&listener.name), socket, inherited: false });
            }
            addresses.push((Arc::clone(&listener.name), address));
        }
        if let Some(Inherited { name, socket }) = inherited.pop() {
            let address = socket.local_addr().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
            return Err(StartError::Unclaimed { name, address });
        }
        let (phase, watcher) = watch::channel(Phase::Serving);
        let (ready, started) = std::sync::mpsc::channel();
        let mut threads = Vec::with_capacity(workers);
        for (index, sockets) in sockets.into_iter().enumerate() {
            let (shared, watcher, ready) = (Arc::clone(shared), watcher.clone(), ready.clone());
            let grace = process.shutdown.grace;
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || run_worker(shared, index, workers, sockets, watcher, grace, &ready))
                .map_err(StartError::Thread)?;
            threads.push(thread);
        }
        drop(ready);
        let data_plane = Self { addresses, phase, workers: threads };
        // Every worker says once whether it serves; one that ends without a word does not.
        for _ in 0..workers {
            let word = started.recv().unwrap_or_else(|_| Err(io::Error::other("a worker ended at once")));
            if let Err(error) = word {
                data_plane.control().stop();
                data_plane.join();
                return Err(StartError::Thread(error));
            }
        }
        Ok(data_plane)
    }

    /// Where it listens: each listener's name and address, with the port that was chosen where 0 was asked for.
    pub fn addresses(&self) -> &[(Arc<str>, SocketAddr)] {
        &self.addresses
    }

    /// What tells the workers to end, also while somebody waits in [`Self::join`].
    pub fn control(&self) -> Control {
        Control { phase: self.phase.clone() }
    }

    /// Waits until all workers have ended, at most the grace after [`Control::drain`]. Returns how many connections were cut.
    pub fn join(self) -> usize {
        self.workers.into_iter().map(|worker| worker.join().unwrap_or(0)).sum()
    }
}

/// Tells the workers to end.
#[derive(Debug, Clone)]
pub struct Control {
    phase: watch::Sender<Phase>,
}

impl Control {
    /// Stops accepting, lets requests finish, and closes idle connections.
    pub fn drain(&self) {
        // Who was told already to cut everything must not go back to waiting.
        self.phase.send_if_modified(|phase| {
            let earlier = *phase < Phase::Draining;
            if earlier {
                *phase = Phase::Draining;
            }
            earlier
        });
    }

    /// Cuts what is still open.
    pub fn stop(&self) {
        self.phase.send_replace(Phase::Stopping);
    }
}

/// The socket that was passed on for a listener: the one with its name, else the one with its address.
fn claimed(inherited: &mut Vec<Inherited>, listener: &ListenerSettings) -> Option<Inherited> {
    let named = inherited.iter().position(|each| *each.name == *listener.name);
    let bound = || inherited.iter().position(|each| each.socket.local_addr().is_ok_and(|it| it == listener.address));
    let index = named.or_else(bound)?;
    Some(inherited.swap_remove(index))
}

/// Gives each worker a handle on one socket: they share its queue, and whoever is free accepts.
fn share(
    listener: &ListenerSettings,
    inherited: Inherited,
    sockets: &mut [Vec<Listening<std::net::TcpListener>>],
) -> Result<SocketAddr, StartError> {
    let Inherited { name, socket } = inherited;
    let attempt = |sockets: &mut [Vec<Listening<std::net::TcpListener>>]| {
        socket.set_nonblocking(true)?;
        for slot in sockets {
            slot.push(Listening { name: Arc::clone(&listener.name), socket: socket.try_clone()?, inherited: true });
        }
        socket.local_addr()
    };
    attempt(sockets).map_err(|source| StartError::Inherited { name, source })
}

fn bind(listener: &ListenerSettings, address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
    let attempt = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            // An IPv6 listener does not answer for IPv4: who wants both names both.
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    attempt().map_err(|source| StartError::Bind { name: Arc::clone(&listener.name), address, source })
}

/// Runs one worker to its end; returns how many connections were cut.
fn run_worker(
    shared: Arc<Shared>,
    index: usize,
    workers: usize,
    sockets: Vec<Listening<std::net::TcpListener>>,
    phase: watch::Receiver<Phase>,
    grace: Duration,
    ready: &Sender<io::Result<()>>,
) -> usize {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Whoever starts the workers waits for this word.
            let _ = ready.send(Err(error));
            return 0;
        }
    };
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, async {
        let listening = |Listening { name, socket, inherited }: Listening<std::net::TcpListener>| {
            io::Result::Ok(Listening { name, socket: TcpListener::from_std(socket)?, inherited })
        };
        let listeners: io::Result<Vec<Listening<TcpListener>>> = sockets.into_iter().map(listening).collect();
        match listeners {
            Ok(listeners) => {
                let _ = ready.send(Ok(()));
                work(shared, index, workers, listeners, phase, grace).await
            }
            Err(error) => {
                let _ = ready.send(Err(error));
                0
            }
        }
    })
}

async fn work(
    shared: Arc<Shared>,
    index: usize,
    workers: usize,
    listeners: Vec<Listening<TcpListener>>,
    mut phase: watch::Receiver<Phase>,
    grace: Duration,
) -> usize {
    let max_connections = (shared.snapshot().load().settings.limits.max_connections / workers).max(1);
    let worker = Worker::new(shared, index, workers);
    let open = Rc::new(Open {
        room: Arc::new(Semaphore::new(max_connections)),
        gates: RefCell::default(),
        last: Cell::new(0),
        draining: Cell::new(false),
    });
    let accepting = |listening| accept(Rc::clone(&worker), listening, Rc::clone(&open), phase.clone());
    let acceptors: Vec<_> = listeners.into_iter().map(accepting).map(tokio::task::spawn_local).collect();
    let tidying = Rc::clone(&worker);
    tokio::task::spawn_local(async move {
        loop {
            tidying.tend_shared();
            sleep(TIDY_EVERY).await;
            tidying.discard_expired();
            tidying.recheck_streams();
            tidying.hand_over_usage();
            tidying.beat();
        }
    });
    let sampled = Rc::clone(&worker);
    tokio::task::spawn_local(async move { sampled.load.sample().await });
    // An error means that the sender is gone: then there is nothing to wait for, either.
    let _ = phase.wait_for(|phase| *phase >= Phase::Draining).await;
    for acceptor in acceptors {
        let _ = acceptor.await;
    }
    open.drain();
    let deadline = Instant::now() + grace;
    while open.count() > 0 && Instant::now() < deadline && *phase.borrow() < Phase::Stopping {
        sleep(Duration::from_millis(5)).await;
    }
    let cut = open.count();
    worker.streams.stop();
    let last = Instant::now() + LAST_WORDS;
    while open.count() > 0 && Instant::now() < last {
        sleep(Duration::from_millis(5)).await;
    }
    worker.hand_over_usage();
    cut
}

/// The open connections of a worker.
struct Open {
    /// The worker's share of `limits.max_connections`.
    room: Arc<Semaphore>,
    gates: RefCell<HashMap<u64, GateHandle>>,
    last: Cell<u64>,
    /// Whoever is put in from now on drains at once.
    draining: Cell<bool>,
}

impl Open {
    fn next_id(&self) -> u64 {
        self.last.set(self.last.get().wrapping_add(1));
        self.last.get()
    }

    fn count(&self) -> usize {
        self.gates.borrow().len()
    }

    fn drain(&self) {
        self.draining.set(true);
        for gate in self.gates.borrow().values() {
            gate.drain();
        }
    }
}

async fn accept(
    worker: Rc<Worker>,
    Listening { name, socket: listener, inherited }: Listening<TcpListener>,
    open: Rc<Open>,
    mut phase: watch::Receiver<Phase>,
) {
    let inbound = Inbound::new(name);
    loop {
        let accepting = async {
            // Without room nothing is accepted: the kernel keeps what comes, up to its backlog.
            let room = Arc::clone(&open.room).acquire_owned().await.ok();
            (listener.accept().await, room)
        };
        tokio::select! {
            (accepted, room) = accepting => match accepted {
                Ok((stream, peer)) => open_connection(&worker, &open, &inbound, stream, peer, room),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(PAUSE_AFTER_ERROR).await;
                }
            },
            _ = phase.wait_for(|phase| *phase >= Phase::Draining) => break,
        }
    }
    if inherited {
        // Whoever passed it on keeps it open: what waits is for the next process.
        return;
    }
    turn_away(&listener);
    // What waits in the queue would be reset when the socket closes.
    while let Ok(Ok((stream, peer))) = timeout(LAST_ACCEPTS, listener.accept()).await {
        // There may be no room left; but who waits here has waited, and the next process cannot have them.
        let room = Arc::clone(&open.room).try_acquire_owned().ok();
        open_connection(&worker, &open, &inbound, stream, peer, room);
    }
}

/// Lets no further connection begin on a socket that is about to be closed, so that its queue can be emptied for good.
///
/// A classic packet filter drops what asks for a connection (SYN), without an answer. The caller's system asks again a second
/// later, and then only sockets that are still open are asked: those of the process that takes over, where there is one.
/// Handshakes that had begun are completed.
fn turn_away(listener: &TcpListener) {
    /// The byte of the flags, from the beginning of a TCP header (RFC 9293 section 3.1).
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    let filter = [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(JUMP_IF_SET, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    if let Err(error) = SockRef::from(listener).attach_filter(&filter) {
        tracing::debug!(%error, "connections may still come while the listener closes");
    }
}

fn open_connection(
    worker: &Rc<Worker>,
    open: &Rc<Open>,
    inbound: &Inbound,
    stream: TcpStream,
    peer: SocketAddr,
    room: Option<OwnedSemaphorePermit>,
) {
    // Too many of one client: it is closed without a word, before it costs more than this.
    let Ok(seat) = worker.shared.clients.admit(peer.ip(), &worker.shared.snapshot().load().settings) else { return };
    let Some(settings) = inbound.settings(&worker.loaded()) else { return };
    let listed = Listed::new(worker, open, room, seat);
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let layers = stack(&worker);
        serve(worker, layers, Accepted { stream, peer, settings }, |gate| listed.put(gate)).await;
    });
}

/// How the connections of one listener are served.
struct Inbound {
    name: Arc<str>,
    last: RefCell<Option<Arc<InboundSettings>>>,
}

impl Inbound {
    fn new(name: Arc<str>) -> Self {
        Self { name, last: RefCell::default() }
    }

    /// As the configuration in force says; where it has this listener no longer, which needs a restart, as the last one that
    /// had it said.
    fn settings(&self, loaded: &Loaded) -> Option<Arc<InboundSettings>> {
        let current = loaded.snapshot.settings.inbound.iter().find(|inbound| inbound.name == self.name);
        if let Some(current) = current {
            let known = self.last.borrow().as_ref().is_some_and(|last| Arc::ptr_eq(last, current));
            if !known {
                self.last.replace(Some(Arc::clone(current)));
            }
        }
        self.last.borrow().clone()
    }
}

/// A connection's place in the list and in the counts, given back however its task ends.
struct Listed {
    id: u64,
    worker: Rc<Worker>,
    open: Rc<Open>,
    _room: Option<OwnedSemaphorePermit>,
    /// The client's place among its own connections, where they are limited.
    _seat: Option<Seat>,
}

impl Listed {
    fn new(worker: &Rc<Worker>, open: &Rc<Open>, room: Option<OwnedSemaphorePermit>, seat: Option<Seat>) -> Self {
        worker.shared.metrics.connections.fetch_add(1, Ordering::Relaxed);
        Self { id: open.next_id(), worker: Rc::clone(worker), open: Rc::clone(open), _room: room, _seat: seat }
    }

    fn put(&self, gate: GateHandle) {
        if self.open.draining.get() {
            gate.drain();
        }
        self.open.gates.borrow_mut().insert(self.id, gate);
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.open.gates.borrow_mut().remove(&self.id);
        self.worker.shared.metrics.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
