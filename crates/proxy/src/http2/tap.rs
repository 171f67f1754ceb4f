//! The socket as h2 sees it: what was read of it before comes first, and the meter sees every byte in both directions.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::meter::Meter;

/// An IO whose frames are counted.
#[derive(Debug)]
pub(super) struct Tap<IO> {
    io: IO,
    /// What was read from it before.
    ahead: Bytes,
    meter: Rc<RefCell<Meter>>,
}

impl<IO> Tap<IO> {
    pub(super) fn new(io: IO, ahead: Bytes, meter: Rc<RefCell<Meter>>) -> Self {
        Self { io, ahead, meter }
    }

    /// Notes how a write went.
    fn wrote(&self, written: &Poll<io::Result<usize>>, slices: &[IoSlice<'_>]) {
        let mut meter = self.meter.borrow_mut();
        match written {
            Poll::Pending => {
                meter.write_wait_since.get_or_insert_with(Instant::now);
            }
            Poll::Ready(result) => {
                meter.write_wait_since = None;
                let mut left = result.as_ref().copied().unwrap_or_default();
                for slice in slices {
                    let sent = slice.get(..left.min(slice.len())).unwrap_or_default();
                    left -= sent.len();
                    meter.wrote(sent);
                }
            }
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Tap<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        if tap.meter.borrow_mut().is_exhausted() {
            // Nothing of it is worth reading any more. The connection's own task, which woke for this, closes it.
            return Poll::Pending;
        }
        let before = out.filled().len();
        if tap.ahead.is_empty() {
            ready!(Pin::new(&mut tap.io).poll_read(cx, out))?;
        } else {
            let taken = tap.ahead.len().min(out.remaining());
            out.put_slice(tap.ahead.get(..taken).unwrap_or_default());
            tap.ahead.advance(taken);
        }
        tap.meter.borrow_mut().read(out.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Tap<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let tap = self.get_mut();
        let written = Pin::new(&mut tap.io).poll_write(cx, bytes);
        tap.wrote(&written, &[IoSlice::new(bytes)]);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let tap = self.get_mut();
        let written = Pin::new(&mut tap.io).poll_write_vectored(cx, slices);
        tap.wrote(&written, slices);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
