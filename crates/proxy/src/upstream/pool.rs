//! The idle connections to one upstream, kept by one worker.
//!
//! Last in, first out for each endpoint: the warmest connection is used first, and the others age until they are dropped. Nothing watches an
//! idle connection. Whether it still lives shows when it is used: hyper reads before it writes, and hands the request back
//! if the connection has ended meanwhile.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::connect::Visit;
use super::deadline::{Alarm, Deadlines, Phase};
use super::error::{BoxError, UpstreamError};
use super::rouser::Rouser;
use super::stream::Stream;
use super::upload::Upload;
use super::wire::{Socket, Wire};
use crate::trailers::Trailers;

/// One HTTP/1.1 connection to an upstream, with the exchange that it carries now.
pub(super) struct Link<B> {
    pub(super) sender: SendRequest<Upload<B>>,
    /// hyper's connection, until it has ended. Its type would make whatever holds a link name the bounds of a body.
    connection: Option<Pin<Box<dyn Conversation>>>,
    /// It is kept when it has ended, to be taken apart.
    pub(super) kept: bool,
    ended: bool,
    rouser: Rouser,
    pub(super) wire: Rc<Wire>,
    pub(super) deadlines: Deadlines,
    alarm: Alarm,
    /// The place of the endpoint it leads to.
    pub(super) place: usize,
    /// The request that it carries, where they are counted.
    pub(super) visit: Option<Visit>,
    /// Which trailers of the answer pass, if any.
    pub(super) trailers: Option<Trailers>,
    /// How long it may wait for another request, as the upstream says.
    pub(super) keep_for: Duration,
    /// No further request may go over it.
    pub(super) last: bool,
    idle_since: Instant,
}

impl<B> Link<B>
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<BoxError>,
{
    /// Speaks HTTP/1.1 over a fresh connection.
    pub(super) async fn open(
        (stream, place): (Stream, usize),
        deadlines: Deadlines,
    ) -> Result<Box<Self>, UpstreamError> {
        let wire = Rc::new(Wire::default());
        let socket = TokioIo::new(Socket::new(stream, Rc::clone(&wire)));
        let (sender, connection) = Builder::new()
            // One write of one buffer: a small request costs 2 to 4 % less than with a vectored write.
            .writev(false)
            .max_buf_size(BUFFER_BYTES_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .handshake(socket)
            .await
            .map_err(|error| UpstreamError::protocol("handshake", &error))?;
        let (alarm, idle_since) = (Alarm::default(), Instant::now());
        Ok(Box::new(Self {
            sender,
            connection: Some(Box::pin(connection)),
            kept: false,
            ended: false,
            rouser: Rouser::new(),
            wire,
            deadlines,
            alarm,
            place,
            visit: None,
            trailers: None,
            keep_for: Duration::MAX,
            last: false,
            idle_since,
        }))
    }
}

impl<B> Link<B> {
    /// Moves bytes in both directions as far as they go. `false` once the connection has ended; everything that waited for
    /// it has been told then. A task that has to wait says so by polling one of the deadlines.
    pub(super) fn drive(&mut self) -> bool {
        if !self.ended
            && let Some(connection) = &mut self.connection
            && connection.as_mut().poll(&mut self.rouser.drive()).is_ready()
        {
            self.ended = true;
            if !self.kept {
                // What still waits in it is handed back.
                self.connection = None;
            }
        }
        !self.ended
    }

    /// Takes the connection apart, for one that was `kept` and has switched protocols: the stream, and what has been read from
    /// it behind the head of the answer.
    pub(super) fn into_stream(self) -> Option<(Stream, Bytes)> {
        self.connection.map(|connection| connection.take_apart())
    }

    /// Ready when the wait for the response's head has been too long. Until then the task is woken when the connection can go
    /// on.
    pub(super) fn poll_head_deadline(&mut self, cx: &mut Context<'_>) -> Poll<UpstreamError> {
        self.rouser.wait(cx);
        let sent = self.wire.upload_over.get() && !self.wire.write_blocked.get();
        let phase = if sent { Phase::Head } else { Phase::Upload };
        self.deadlines.poll(phase, &self.wire, &mut self.alarm, cx)
    }

    /// The same for more of the response's body.
    pub(super) fn poll_body_deadline(&mut self, cx: &mut Context<'_>) -> Poll<UpstreamError> {
        self.rouser.wait(cx);
        self.deadlines.poll(Phase::Body, &self.wire, &mut self.alarm, cx)
    }

    /// Whether the exchange is over in both directions and another may follow. In doubt it may not: bytes left over from
    /// one exchange must never become part of another (security rule F2).
    pub(super) fn is_ready_for_another(&self) -> bool {
        let settled = self.wire.upload_over.get() && !self.wire.write_blocked.get() && !self.wire.write_failed.get();
        !self.ended && self.sender.is_ready() && settled && !self.last
    }
}

/// hyper's side of a link, whatever the requests' bodies are.
trait Conversation: Future<Output = hyper::Result<()>> {
    fn take_apart(self: Pin<Box<Self>>) -> (Stream, Bytes);
}

impl<B> Conversation for Connection<TokioIo<Socket>, Upload<B>>
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<BoxError>,
{
    fn take_apart(self: Pin<Box<Self>>) -> (Stream, Bytes) {
        let parts = Pin::into_inner(self).into_parts();
        (parts.io.into_inner().into_stream(), parts.read_buf)
    }
}

/// The most that is buffered in each direction of a connection, and so the largest piece of a body: hyper reads more at once while
/// reads are full. Twice the half costs a tenth less for each megabyte, in calls and in waking the other side; a client that reads
/// slowly holds one piece.
pub(super) const BUFFER_BYTES_MAX: usize = 128 * 1024;

/// The most that the head of a response may have.
const HEAD_BYTES_MAX: usize = 64 * 1024;

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
        let now = Instant::now();
        link.idle_since = now;
        link.visit = None;
        link.rouser.rest();
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
