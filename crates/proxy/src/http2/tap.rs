//! The socket as h2 sees it: what was read of it before comes first, and the meter sees every byte in both directions.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::meter::Meter;
use crate::wire::alarm::Alarm;

/// An IO whose frames are counted.
#[derive(Debug)]
pub(super) struct Tap<IO> {
    io: IO,
    /// What was read from it before.
    ahead: Bytes,
    meter: Rc<RefCell<Meter>>,
    /// The client's end was seen once.
    ended: bool,
    goodbye: Option<Goodbye>,
}

/// The end of a connection, once the write side is shut. A socket that is closed while its client still sends (it opens its windows
/// while it reads) is reset, and the reset destroys what the client has not read. So what comes is read and dropped, until the client
/// ends its side, or says nothing any more.
#[derive(Debug)]
struct Goodbye {
    until: Instant,
    quiet_since: Instant,
    alarm: Alarm,
}

/// How long a client that reads an answer may say nothing meanwhile.
const QUIET: Duration = Duration::from_secs(3);
/// A client that was sent data within this time may still be reading it.
const READS_ON: Duration = Duration::from_secs(30);
/// How long it has at most.
const LONGEST_GOODBYE: Duration = Duration::from_secs(120);

impl<IO> Tap<IO> {
    pub(super) fn new(io: IO, ahead: Bytes, meter: Rc<RefCell<Meter>>) -> Self {
        Self { io, ahead, meter, ended: false, goodbye: None }
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
        if out.filled().len() == before && out.remaining() > 0 && !std::mem::replace(&mut tap.ended, true) {
            // h2 would end here, with what it has to say to the client's last frames unsaid. It gets to that first.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        tap.meter.borrow_mut().read(out.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tap<IO> {
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
        let tap = self.get_mut();
        if tap.goodbye.is_none() {
            ready!(Pin::new(&mut tap.io).poll_shutdown(cx))?;
        }
        let now = Instant::now();
        let mut meter = tap.meter.borrow_mut();
        let reads_on = meter.sent_data().is_some_and(|sent| sent + READS_ON > now);
        if tap.ended || meter.is_exhausted() || !reads_on {
            return Poll::Ready(Ok(()));
        }
        meter.parting = true;
        drop(meter);
        let goodbye = tap.goodbye.get_or_insert_with(|| Goodbye {
            until: now + LONGEST_GOODBYE,
            quiet_since: now,
            alarm: Alarm::default(),
        });
        let mut space = [const { MaybeUninit::uninit() }; 4096];
        loop {
            let mut dropped = ReadBuf::uninit(&mut space);
            match Pin::new(&mut tap.io).poll_read(cx, &mut dropped) {
                Poll::Ready(Err(_)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) if dropped.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => goodbye.quiet_since = Instant::now(),
                Poll::Pending => {
                    let deadline = goodbye.until.min(goodbye.quiet_since + QUIET);
                    return goodbye.alarm.poll_passed(cx, deadline).map(Ok);
                }
            }
            if Instant::now() >= goodbye.until {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
