//! The lingering close (RFC 9112 §9.6).
//!
//! A socket that is closed with unread bytes resets the connection, and the reset can destroy an answer that the client
//! has not read. So the write side is shut first, and for a short while what still arrives is read and dropped.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use super::alarm::Alarm;

/// How long to wait for the client's end.
const LINGER_TIME: Duration = Duration::from_secs(1);
/// How many bytes to drop: more than any socket buffer that a well-meaning client could have filled meanwhile.
const LINGER_BYTES: usize = 256 * 1024;

/// One lingering close under way.
#[derive(Debug)]
pub(super) struct Linger {
    until: Instant,
    bytes_left: usize,
}

impl Linger {
    pub(super) fn begin() -> Self {
        Self { until: Instant::now() + LINGER_TIME, bytes_left: LINGER_BYTES }
    }

    /// Ready when the client has ended, or had its time or its bytes. An error is an end, too.
    pub(super) fn poll_end<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        alarm: &mut Alarm,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut space = [const { MaybeUninit::uninit() }; 4096];
        while self.bytes_left > 0 {
            let mut dropped = ReadBuf::uninit(&mut space);
            match Pin::new(&mut *io).poll_read(cx, &mut dropped) {
                Poll::Pending => return alarm.poll_passed(cx, self.until),
                Poll::Ready(Err(_)) => break,
                Poll::Ready(Ok(())) if dropped.filled().is_empty() => break,
                Poll::Ready(Ok(())) => self.bytes_left = self.bytes_left.saturating_sub(dropped.filled().len()),
            }
        }
        Poll::Ready(())
    }
}
