//! The socket under an upstream connection, watched.
//!
//! hyper hides from its user what the retry rule and the timeouts need to know: whether a byte of an answer has come,
//! whether the upstream still takes what is written, and what exactly was written. The socket notes it on the way through.
//! It does not interpret HTTP.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::error::BoxError;
use super::stream::Stream;

/// What is known about the request that a connection carries now. One per connection, reused from request to request.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// Grows with every byte that moves and every piece of the request's body.
    activity: Cell<u64>,
    /// A byte of the answer has come.
    answered: Cell<bool>,
    /// The kernel does not take more: the upstream reads slower than the caller sends, or not at all.
    pub(super) write_blocked: Cell<bool>,
    /// The upstream no longer takes anything: what is written goes nowhere.
    pub(super) write_failed: Cell<bool>,
    /// hyper is done with the request's body, or there was none.
    pub(super) upload_over: Cell<bool>,
    /// The error that the request's body gave.
    pub(super) upload_error: RefCell<Option<BoxError>>,
    /// Ask the kernel, before the next read, whether the connection is still alive.
    look_first: Cell<bool>,
    /// Whether to keep what is written in `written`.
    remember: Cell<bool>,
    /// The head as it was written, while `remember` is set.
    written: RefCell<Vec<u8>>,
}

impl Wire {
    /// Forgets the last request.
    pub(super) fn begin(&self) {
        self.answered.set(false);
        self.upload_over.set(false);
        self.look_first.set(false);
        self.remember.set(false);
    }

    /// The request may be sent again if this connection turns out to be dead: its head is kept.
    pub(super) fn remember_head(&self) {
        let mut written = self.written.borrow_mut();
        written.clear();
        written.shrink_to(HEAD_BYTES_KEPT);
        self.remember.set(true);
    }

    /// The request may not be sent twice: the kernel is asked whether the connection lives before anything is written,
    /// because the event loop may not have heard yet.
    pub(super) fn look_first(&self) {
        self.look_first.set(true);
    }

    /// The head that was written, if it was to be remembered and no byte of an answer came.
    pub(super) fn unanswered_head(&self) -> Option<Vec<u8>> {
        (self.remember.get() && !self.answered.get()).then(|| self.written.take())
    }

    /// Changes whenever something moves.
    pub(super) fn activity(&self) -> u64 {
        self.activity.get()
    }

    /// Something moved.
    pub(super) fn moved(&self) {
        self.activity.set(self.activity.get().wrapping_add(1));
    }

    fn wrote(&self, bytes: &[u8]) {
        self.moved();
        if self.remember.get() {
            self.written.borrow_mut().extend_from_slice(bytes);
        }
    }
}

/// How much room for a head an idle connection keeps.
const HEAD_BYTES_KEPT: usize = 4 * 1024;

/// A connection that notes on its [`Wire`] what happens.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    wire: Rc<Wire>,
}

impl Socket {
    pub(super) fn new(stream: Stream, wire: Rc<Wire>) -> Self {
        Self { stream, wire }
    }

    /// The connection itself, from now on unwatched.
    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.wire.look_first.take()
            && let Some(end) = this.stream.look()
        {
            return Poll::Ready(end);
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            this.wire.answered.set(true);
            this.wire.moved();
        }
        read
    }
}

impl AsyncWrite for Socket {
    /// A failed write is not reported but noted: an upstream that answers early and closes (a 413, say) makes writes fail
    /// while its answer still waits to be read. If there is none, the next read fails.
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.wire.write_failed.get() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = match Pin::new(&mut this.stream).poll_write(cx, bytes) {
            Poll::Pending => {
                this.wire.write_blocked.set(true);
                return Poll::Pending;
            }
            Poll::Ready(Ok(written)) => written,
            Poll::Ready(Err(_)) => {
                this.wire.write_failed.set(true);
                bytes.len()
            }
        };
        this.wire.write_blocked.set(false);
        this.wire.wrote(bytes.get(..written).unwrap_or(bytes));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
