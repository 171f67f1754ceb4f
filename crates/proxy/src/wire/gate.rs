//! The gate itself: an IO for hyper around the IO of the socket. It decides nothing about bytes (`inbound` does); it moves
//! them, keeps what may not pass yet, and watches the clock.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::WireLimits;
use super::alarm::Alarm;
use super::exchange::{BodyProblem, GateHandle, HeadEvent, Shared};
use super::inbound::{HandedOn, Inbound, Wants};
use super::linger::Linger;

/// A strict gate in front of hyper's `http1` server. Needs a tokio runtime with time, and stays on one thread.
#[derive(Debug)]
pub struct Gate<IO> {
    io: IO,
    limits: Rc<WireLimits>,
    shared: Rc<Shared>,
    inbound: Inbound,
    /// Bytes that arrived and may not pass yet. Holds no memory while it is empty.
    held: BytesMut,
    alarm: Alarm,
    /// A head was decided upon on this connection.
    had_head: bool,
    /// When the first byte of the head that is arriving came.
    head_since: Option<Instant>,
    /// Since when hyper waits for a piece of a body.
    body_wait_since: Option<Instant>,
    /// Since when the client takes no byte of an answer.
    write_wait_since: Option<Instant>,
    /// The client ended its side.
    client_ended: bool,
    end: Option<End>,
    closing: Closing,
}

/// How the gate ended the read side.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Between two requests: nothing is owed to the client.
    Idle,
    /// The client went away first.
    ClientGone,
    /// In the middle of a body.
    Failed(BodyProblem),
}

#[derive(Debug)]
enum Closing {
    Open,
    Lingering(Linger),
    Closed,
}

/// What a deadline that passed means.
enum Expired {
    Idle,
    Head,
    Body,
}

/// Read at once from the socket, on the stack.
const READ_BYTES: usize = 16 * 1024;
/// Held at most of what a client sends ahead of its answer: then its socket is not read any more.
const READ_AHEAD_BYTES: usize = 16 * 1024;
/// A head and a body that are together no longer than this are written as one: copying them costs less than having the kernel
/// gather them.
const SMALL_WRITE: usize = 1024;
/// What a connection that never sent a byte still has when the worker drains.
pub(super) const FIRST_BYTE_GRACE: Duration = Duration::from_millis(500);

impl<IO> Gate<IO> {
    /// Puts a gate around `io`, a connection that was just accepted, and gives the handle for its service. The clock for
    /// the first byte starts now.
    pub fn new(io: IO, limits: Rc<WireLimits>) -> (Self, GateHandle) {
        let handle = GateHandle::new();
        (Self::with_handle(io, limits, &handle), handle)
    }

    /// The same for a handle that was made before: its clock for the first byte begins anew.
    pub fn with_handle(io: IO, limits: Rc<WireLimits>, handle: &GateHandle) -> Self {
        let shared = Rc::clone(handle.shared());
        shared.touch();
        Self {
            io,
            limits,
            shared,
            inbound: Inbound::new(),
            held: BytesMut::new(),
            alarm: Alarm::default(),
            had_head: false,
            head_since: None,
            body_wait_since: None,
            write_wait_since: None,
            client_ended: false,
            end: None,
            closing: Closing::Open,
        }
    }

    /// The same for a connection of which some was read already.
    #[must_use]
    pub fn behind(mut self, read: BytesMut) -> Self {
        self.held = read;
        self
    }

    /// Takes the gate away, for a connection that was upgraded: the socket, and what arrived on it and was not handed on.
    /// What hyper gives as `Parts::read_buf` arrived before that.
    pub fn into_parts(self) -> (IO, Bytes) {
        (self.io, self.held.freeze())
    }

    /// How many bytes of memory the gate keeps for this connection's input at the moment; 0 while it is idle.
    #[must_use]
    pub fn held_capacity(&self) -> usize {
        self.held.capacity()
    }

    /// Hands on what may be handed on of the bytes that are held.
    fn hand_on_held(&mut self, out: &mut ReadBufCursor<'_>) -> Wants {
        let handed = self.inbound.hand_on(&self.held, out, self.shared.in_exchange(), &self.limits);
        self.held.advance(handed.consumed);
        self.account_for(handed)
    }

    /// Hands on what may be handed on of bytes that just came, and holds the rest. Most often there is no rest, and the
    /// bytes go straight through.
    fn hand_on_fresh(&mut self, fresh: &[u8], out: &mut ReadBufCursor<'_>) -> Wants {
        if !self.held.is_empty() {
            self.held.extend_from_slice(fresh);
            return self.hand_on_held(out);
        }
        let handed = self.inbound.hand_on(fresh, out, self.shared.in_exchange(), &self.limits);
        self.held.extend_from_slice(fresh.get(handed.consumed..).unwrap_or_default());
        self.account_for(handed)
    }

    fn account_for(&mut self, handed: HandedOn) -> Wants {
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
        if let Some(event) = handed.event {
            self.open_exchange(event);
        } else if handed.wants == Wants::Head && !self.held.is_empty() {
            self.head_since.get_or_insert_with(Instant::now);
        }
        handed.wants
    }

    fn open_exchange(&mut self, event: HeadEvent) {
        self.had_head = true;
        self.head_since = None;
        self.shared.open_exchange(event);
    }

    /// The client ended its side while the gate wanted `wants`.
    fn read_end(&mut self, cx: &mut Context<'_>, wants: Wants) -> Poll<io::Result<()>> {
        self.client_ended = true;
        match wants {
            // Requests that were sent before the end are still answered, one after the other.
            Wants::EndOfExchange if !self.held.is_empty() => {
                self.shared.park_reader(cx.waker(), true);
                return Poll::Pending;
            }
            Wants::Body => self.shared.set_body_problem(BodyProblem::Truncated),
            Wants::Head | Wants::EndOfExchange | Wants::Room | Wants::Nothing | Wants::Failure(_) => {}
        }
        self.finish(End::ClientGone)
    }

    /// Ends the read side. hyper sees an end of input, or an error where it is in the middle of a body.
    fn finish(&mut self, end: End) -> Poll<io::Result<()>> {
        self.inbound.end();
        self.held = BytesMut::new();
        let end = *self.end.get_or_insert(end);
        Poll::Ready(match end {
            End::Idle | End::ClientGone => Ok(()),
            End::Failed(BodyProblem::TimedOut) => Err(io::Error::new(io::ErrorKind::TimedOut, "body idle")),
            End::Failed(BodyProblem::Truncated) => Err(io::ErrorKind::UnexpectedEof.into()),
            End::Failed(BodyProblem::Malformed(detail)) => Err(io::Error::new(io::ErrorKind::InvalidData, detail)),
        })
    }

    fn fail(&mut self, problem: BodyProblem) -> Poll<io::Result<()>> {
        self.shared.set_body_problem(problem);
        self.finish(End::Failed(problem))
    }

    /// Nothing came. Looks at the clock, and sees to it that the task is woken when it is time.
    fn poll_expired(&mut self, cx: &mut Context<'_>, wants: Wants) -> Poll<Expired> {
        let waits = wants == Wants::EndOfExchange && (!self.held.is_empty() || self.client_ended);
        self.shared.park_reader(cx.waker(), waits);
        let (deadline, expired) = match wants {
            // There is no deadline while an answer is on its way. When it is done, `resting` sees the idle time begin.
            Wants::EndOfExchange => return Poll::Pending,
            Wants::Head if self.write_wait_since.is_some() => return Poll::Pending,
            Wants::Head if self.held.is_empty() => {
                self.shared.grant_rest();
                match self.idle_deadline() {
                    Some(deadline) => (deadline, Expired::Idle),
                    None => return Poll::Ready(Expired::Idle),
                }
            }
            Wants::Head => {
                let since = *self.head_since.get_or_insert_with(Instant::now);
                (since + self.limits.header_timeout, Expired::Head)
            }
            Wants::Body => {
                let since = *self.body_wait_since.get_or_insert_with(Instant::now);
                (since + self.limits.body_idle_timeout, Expired::Body)
            }
            Wants::Room | Wants::Nothing | Wants::Failure(_) => return Poll::Pending,
        };
        ready!(self.alarm.poll_passed(cx, deadline));
        Poll::Ready(expired)
    }

    /// When the connection, which waits for the first byte of a head, is closed; `None` for at once.
    fn idle_deadline(&self) -> Option<Instant> {
        let since = self.shared.idle_since();
        match (self.had_head, self.shared.draining_since()) {
            (true, Some(_)) => None,
            (true, None) => Some(since + self.limits.keep_alive_timeout),
            (false, draining) => Some(self.limits.first_byte_deadline(since, draining)),
        }
    }

    /// A client that takes no byte for the idle time is given up: it would hold its answer in memory for ever.
    fn watch_write(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(_) => {
                if self.write_wait_since.take().is_some() {
                    self.shared.touch();
                }
                written
            }
            Poll::Pending if self.shared.is_upgraded() => Poll::Pending,
            Poll::Pending => {
                let since = *self.write_wait_since.get_or_insert_with(Instant::now);
                ready!(self.alarm.poll_passed(cx, since + self.limits.body_idle_timeout));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes no bytes")))
            }
        }
    }
}

impl<IO: AsyncRead + Unpin> Gate<IO> {
    /// Ready when there is something for a server: bytes, which are held, or the end of the connection.
    pub(super) fn poll_stirred(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.held.is_empty() && !self.is_over() {
            let mut space = [const { MaybeUninit::uninit() }; READ_BYTES];
            let mut fresh = ReadBuf::uninit(&mut space);
            match Pin::new(&mut self.io).poll_read(cx, &mut fresh) {
                Poll::Ready(Ok(())) if !fresh.filled().is_empty() => self.held.extend_from_slice(fresh.filled()),
                // An error is an end, too: nothing is under way that it could be told of.
                Poll::Ready(Ok(()) | Err(_)) => self.client_ended = true,
                Poll::Pending => {
                    ready!(self.poll_expired(cx, Wants::Head));
                    self.end = Some(End::Idle);
                }
            }
        }
        Poll::Ready(())
    }

    /// Whether nothing comes any more.
    pub(super) fn is_over(&self) -> bool {
        self.held.is_empty() && (self.client_ended || self.end.is_some())
    }

    /// Reads once from the socket and hands on what may pass. `None` is the client's end.
    fn poll_more(&mut self, cx: &mut Context<'_>, out: &mut ReadBufCursor<'_>) -> Poll<io::Result<Option<Wants>>> {
        if self.client_ended {
            return Poll::Ready(Ok(None));
        }
        let mut space = [const { MaybeUninit::uninit() }; READ_BYTES];
        // No more than hyper has room for: so a body goes straight through, and nothing of it must be held.
        let permitted = out.remaining().min(READ_BYTES);
        let mut fresh = ReadBuf::uninit(space.get_mut(..permitted).unwrap_or_default());
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut fresh))?;
        if fresh.filled().is_empty() {
            return Poll::Ready(Ok(None));
        }
        Poll::Ready(Ok(Some(self.hand_on_fresh(fresh.filled(), out))))
    }

    fn poll_read_gated(&mut self, cx: &mut Context<'_>, mut out: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let room = out.remaining();
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut wants = self.hand_on_held(&mut out);
        loop {
            if out.remaining() < room {
                self.body_wait_since = None;
                return Poll::Ready(Ok(()));
            }
            match wants {
                Wants::Failure(problem) => return self.fail(problem),
                Wants::Nothing => return self.end.map_or(Poll::Pending, |end| self.finish(end)),
                Wants::EndOfExchange if self.held.len() >= READ_AHEAD_BYTES => {
                    self.shared.park_reader(cx.waker(), true);
                    return Poll::Pending;
                }
                Wants::EndOfExchange | Wants::Head | Wants::Body | Wants::Room => {}
            }
            wants = match self.poll_more(cx, &mut out)? {
                Poll::Ready(Some(wants)) => wants,
                Poll::Ready(None) => return self.read_end(cx, wants),
                Poll::Pending => match ready!(self.poll_expired(cx, wants)) {
                    Expired::Idle => return self.finish(End::Idle),
                    Expired::Body => return self.fail(BodyProblem::TimedOut),
                    Expired::Head => {
                        let event = self.inbound.time_out(&self.held, &self.limits);
                        self.held = BytesMut::new();
                        self.open_exchange(event);
                        self.hand_on_held(&mut out)
                    }
                },
            };
        }
    }

    /// For a connection that was upgraded: what is held first, then what comes.
    fn poll_read_through(&mut self, cx: &mut Context<'_>, mut out: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            let mut space = [const { MaybeUninit::uninit() }; READ_BYTES];
            let permitted = out.remaining().min(READ_BYTES);
            let mut fresh = ReadBuf::uninit(space.get_mut(..permitted).unwrap_or_default());
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut fresh))?;
            out.put_slice(fresh.filled());
        } else {
            let taken = self.held.len().min(out.remaining());
            out.put_slice(&self.held.split_to(taken));
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + Unpin> hyper::rt::Read for Gate<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        if gate.shared.is_upgraded() { gate.poll_read_through(cx, out) } else { gate.poll_read_gated(cx, out) }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> hyper::rt::Write for Gate<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        let written = Pin::new(&mut gate.io).poll_write(cx, bytes);
        gate.watch_write(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        let mut space = [0; SMALL_WRITE];
        let written = match in_one_piece(slices, &mut space) {
            Some(bytes) => Pin::new(&mut gate.io).poll_write(cx, bytes),
            None => Pin::new(&mut gate.io).poll_write_vectored(cx, slices),
        };
        gate.watch_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    /// Shuts the write side, and lingers unless nothing can be on its way from the client that is worth it.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        if let Closing::Open = gate.closing {
            ready!(Pin::new(&mut gate.io).poll_shutdown(cx))?;
            let nothing_owed = gate.client_ended || matches!(gate.end, Some(End::Idle));
            gate.closing = if nothing_owed { Closing::Closed } else { Closing::Lingering(Linger::begin()) };
        }
        if let Closing::Lingering(linger) = &mut gate.closing {
            ready!(linger.poll_end(&mut gate.io, &mut gate.alarm, cx));
            gate.closing = Closing::Closed;
        }
        Poll::Ready(Ok(()))
    }
}

/// All slices behind one another, when they fit.
fn in_one_piece<'s>(slices: &[IoSlice<'_>], space: &'s mut [u8; SMALL_WRITE]) -> Option<&'s [u8]> {
    let mut filled = 0;
    for slice in slices {
        let end = filled + slice.len();
        space.get_mut(filled..end)?.copy_from_slice(slice);
        filled = end;
    }
    space.get(..filled)
}
