//! One HTTP/2 connection to an endpoint, and the task that drives it.
//!
//! It counts as open only once the endpoint's settings have come: before that nothing is sent, so that what does not speak
//! HTTP/2 gets no request, and no more streams are begun than the endpoint allows.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::Instant;

use crate::settings::Http2Settings;

use super::super::error::{FaultKind, UpstreamError};
use super::super::stream::Stream;
use super::pulse::Pulse;

/// A connection that requests can go over. When it is dropped, the requests under way on it still end as they would have.
#[derive(Debug)]
pub(super) struct Channel {
    // Before `shared`: the driver ends when it finds that no sender is left.
    sender: SendRequest<Bytes>,
    shared: Rc<Shared>,
}

/// What the driver and the requests tell each other.
#[derive(Debug)]
pub(super) struct Shared {
    /// Requests under way.
    pub(super) active: Cell<usize>,
    /// How many streams the endpoint allows at once; 0 until it has said so.
    allowed: Cell<usize>,
    /// Grows with every piece of an answer.
    pub(super) heard: Cell<u64>,
    /// A time ran out on it: it is asked for a sign of life, and takes no request until that has come.
    pub(super) doubted: Cell<bool>,
    /// What ended it.
    ended: RefCell<Option<String>>,
    /// A request came to its end on it.
    used: Cell<bool>,
    idle_since: Cell<Instant>,
    driver: RefCell<Option<Waker>>,
    /// Tells who opened it that the endpoint's settings came, or that it ended.
    settled: Notify,
    /// Tells those who wait for a stream that there may be one.
    pub(super) turn: Rc<Notify>,
}

/// A place for one request on a connection.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) sender: SendRequest<Bytes>,
    shared: Rc<Shared>,
}

impl Channel {
    /// Speaks HTTP/2 over a fresh connection, and waits until the endpoint has answered with its settings.
    ///
    /// # Errors
    /// [`FaultKind::Unreachable`] when it answers anything else. The caller holds the time.
    pub(super) async fn open(
        stream: Stream,
        settings: Http2Settings,
        turn: &Rc<Notify>,
    ) -> Result<Self, UpstreamError> {
        let speaks_not = |why: &dyn std::fmt::Display| {
            UpstreamError::new(FaultKind::Unreachable, format!("it does not answer in HTTP/2: {why}"))
        };
        let (sender, connection) = builder(&settings).handshake(stream).await.map_err(|error| speaks_not(&error))?;
        let shared = Rc::new(Shared {
            active: Cell::new(0),
            allowed: Cell::new(0),
            heard: Cell::new(0),
            doubted: Cell::new(false),
            ended: RefCell::default(),
            used: Cell::new(false),
            idle_since: Cell::new(Instant::now()),
            driver: RefCell::default(),
            settled: Notify::new(),
            turn: Rc::clone(turn),
        });
        let channel = Self { sender, shared };
        spawn_local(drive(connection, Rc::clone(&channel.shared), settings));
        while channel.shared.allowed.get() == 0 {
            if let Some(why) = &*channel.shared.ended.borrow() {
                return Err(speaks_not(why));
            }
            channel.shared.settled.notified().await;
        }
        Ok(channel)
    }

    /// A place for one more request, if there is one for it among `most` and what the endpoint allows.
    pub(super) fn seat(&self, most: usize) -> Option<Seat> {
        let Shared { active, allowed, doubted, .. } = &*self.shared;
        if doubted.get() || active.get() >= most.min(allowed.get()) {
            return None;
        }
        active.set(active.get() + 1);
        Some(Seat { sender: self.sender.clone(), shared: Rc::clone(&self.shared) })
    }

    /// Whether further requests can go over it: not after its end, nor after the endpoint's `GOAWAY`.
    pub(super) fn takes_requests(&self) -> bool {
        let mut sender = self.sender.clone();
        let ready = sender.poll_ready(&mut Context::from_waker(Waker::noop()));
        self.shared.ended.borrow().is_none() && !matches!(ready, Poll::Ready(Err(_)))
    }

    /// Whether somebody waits for a sign of life.
    pub(super) fn is_doubted(&self) -> bool {
        self.shared.doubted.get()
    }

    /// Whether it has had nothing to do for this long.
    pub(super) fn has_idled(&self, wait: Duration, now: Instant) -> bool {
        self.shared.active.get() == 0 && now.saturating_duration_since(self.shared.idle_since.get()) >= wait
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.shared.wake_driver();
    }
}

impl Shared {
    fn wake_driver(&self) {
        if let Some(driver) = &*self.driver.borrow() {
            driver.wake_by_ref();
        }
    }
}

impl Seat {
    /// Whether a request came to its end on this connection before.
    pub(super) fn was_used(&self) -> bool {
        self.shared.used.get()
    }

    /// A piece of the answer came.
    pub(super) fn heard(&self) {
        self.shared.heard.set(self.shared.heard.get().wrapping_add(1));
    }

    /// The endpoint has been silent for too long: is the connection still there?
    pub(super) fn doubt(&self) {
        self.shared.doubted.set(true);
        self.shared.wake_driver();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Shared { active, used, idle_since, turn, .. } = &*self.shared;
        active.set(active.get().saturating_sub(1));
        used.set(true);
        idle_since.set(Instant::now());
        turn.notify_one();
    }
}

/// What is said at the beginning of a connection. Nothing is pushed, and no stream begins before the endpoint's settings came.
fn builder(settings: &Http2Settings) -> Builder {
    let mut builder = Builder::new();
    // Room for all streams at once: the answers that nobody reads must not hold up the others.
    let streams = u32::try_from(settings.max_streams).unwrap_or(u32::MAX);
    let room = STREAM_WINDOW.saturating_mul(streams).clamp(STREAM_WINDOW, WINDOW_MAX);
    builder
        .enable_push(false)
        .initial_max_send_streams(0)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(room)
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_send_buffer_size(SEND_BUFFER);
    builder
}

/// How much of an answer may be on its way to the gateway unread, as with HTTP/1.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The largest window that there is (RFC 9113 section 6.9.1).
const WINDOW_MAX: u32 = (1 << 31) - 1;
/// The most that the head of an answer may hold (RFC 9113 section 6.5.2), as with HTTP/1.
const HEAD_BYTES_MAX: u32 = 64 * 1024;
/// The most of a request's body that is buffered on a stream.
const SEND_BUFFER: usize = 64 * 1024;

/// Drives a connection to its end: the endpoint's, the last request's once nobody keeps the connection, or the end of patience
/// with it.
async fn drive(connection: Connection<Stream, Bytes>, shared: Rc<Shared>, settings: Http2Settings) {
    let mut connection = pin!(connection);
    let mut pulse = Pulse::new(connection.ping_pong(), settings);
    let why = poll_fn(|cx| {
        let known = shared.driver.borrow().as_ref().is_some_and(|driver| driver.will_wake(cx.waker()));
        if !known {
            shared.driver.replace(Some(cx.waker().clone()));
        }
        let ended = connection.as_mut().poll(cx);
        let allowed = connection.max_concurrent_send_streams();
        if shared.allowed.replace(allowed) != allowed {
            shared.settled.notify_waiters();
            shared.turn.notify_waiters();
        }
        match ended {
            Poll::Ready(Ok(())) => Poll::Ready("it closed the connection".to_owned()),
            Poll::Ready(Err(error)) => Poll::Ready(error.to_string()),
            Poll::Pending => pulse.poll(&shared, cx).map(|()| "no sign of life in time".to_owned()),
        }
    })
    .await;
    shared.ended.replace(Some(why));
    shared.settled.notify_waiters();
    shared.turn.notify_waiters();
}
