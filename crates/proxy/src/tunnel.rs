//! A tunnel: a caller's connection and an upstream's, joined after a switch of protocols.
//!
//! Bytes pass unread in both directions, each of which may end before the other. What arrived early, behind a head, goes
//! first. The tunnel ends when both directions have, when nothing moved for `limits.upgrade_idle_timeout`, when it is no
//! longer permitted, or when the gateway stops. A WebSocket is then told so in a close frame, where a frame can stand.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout};

use crate::redecide::{Ending, redecide};
use crate::snapshot::Shared;
use crate::streams::{Watch, Word};
use crate::transit::Transit;
use crate::upstream::Switched;
use crate::websocket::{self, CloseCode, Frames, close_frame};

/// A tunnel that is ready to be opened, once the caller has its 101.
pub struct Tunnel {
    upstream: Switched,
    protocol: String,
    watch: Watch,
    transit: Box<Transit>,
    /// What counts the request as one in flight.
    held: Option<Box<dyn Any>>,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

/// How a tunnel ended.
enum Over {
    /// Both directions ended, or one of the connections broke.
    Closed,
    /// Nothing moved for too long.
    Idle,
    /// The gateway ended it.
    Ended(Ending),
}

/// Read at once, on the stack. It also bounds what waits in a direction whose receiver is slow.
const PIECE_BYTES: usize = 16 * 1024;
/// How long a caller has to take the last words and to end its side.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How much a caller may still send meanwhile.
const LAST_BYTES: u64 = 256 * 1024;

impl Tunnel {
    pub(crate) fn new(upstream: Switched, protocol: String, watch: Watch, transit: Box<Transit>) -> Self {
        Self { upstream, protocol, watch, transit, held: None }
    }

    /// Keeps what is counted until the tunnel ends.
    pub(crate) fn hold(&mut self, held: Box<dyn Any>) {
        self.held = Some(held);
    }

    /// Carries bytes until it ends. `early` is what the caller sent behind its head.
    pub(crate) async fn run<IO: AsyncRead + AsyncWrite + Unpin>(self, client: IO, early: Bytes) {
        let Self { upstream, protocol, watch, transit, held: _held } = self;
        let _open = Open::new(&watch.worker().shared);
        let mut ends = Ends {
            client,
            upstream: upstream.stream,
            up: Direction::new(early, None),
            down: Direction::new(upstream.early, (protocol == websocket::PROTOCOL).then(Frames::default)),
        };
        let mut subject = Subject { watch, transit, protocol };
        match subject.carry(&mut ends).await {
            Over::Closed => {}
            Over::Idle => tracing::debug!(request = %subject.transit.facts.id, "a tunnel was idle for too long"),
            Over::Ended(ending) => {
                subject.watch.worker().report_ended(&subject.transit, &subject.protocol, &ending);
                ends.say_goodbye(&ending).await;
            }
        }
    }
}

/// What the tunnel is decided on by.
struct Subject {
    watch: Watch,
    transit: Box<Transit>,
    protocol: String,
}

impl Subject {
    async fn carry<C, U>(&mut self, ends: &mut Ends<C, U>) -> Over
    where
        C: AsyncRead + AsyncWrite + Unpin,
        U: AsyncRead + AsyncWrite + Unpin,
    {
        let idle = self.transit.facts.loaded.snapshot.settings.limits.upgrade_idle_timeout;
        let mut moved_at = Instant::now();
        let mut alarm = pin!(sleep_until(moved_at + idle));
        poll_fn(|cx| {
            if let Poll::Ready(ending) = self.poll_ended(cx) {
                return Poll::Ready(Over::Ended(ending));
            }
            let mut moved = false;
            match ends.poll(cx, &mut moved) {
                Poll::Ready(Ok(())) => return Poll::Ready(Over::Closed),
                Poll::Ready(Err(error)) => {
                    tracing::debug!(request = %self.transit.facts.id, %error, "a tunnel broke");
                    return Poll::Ready(Over::Closed);
                }
                Poll::Pending => {}
            }
            if moved {
                moved_at = Instant::now();
            }
            // Never set earlier, and set later only when it rings: most tunnels move more often than that.
            while alarm.as_mut().poll(cx).is_ready() {
                if moved_at.elapsed() >= idle {
                    return Poll::Ready(Over::Idle);
                }
                alarm.as_mut().reset(moved_at + idle);
            }
            Poll::Pending
        })
        .await
    }

    /// Ready when the tunnel must end.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            match ready!(self.watch.poll(cx)) {
                Word::Stop => return Poll::Ready(Ending::Stopped),
                Word::Recheck => match redecide(self.watch.worker(), &mut self.transit, Some(&self.protocol)) {
                    Ok(()) => self.watch.permitted(),
                    Err(refusal) => return Poll::Ready(Ending::Refused(refusal)),
                },
            }
        }
    }
}

/// The two connections, and what is on its way between them.
struct Ends<C, U> {
    client: C,
    upstream: U,
    up: Direction,
    down: Direction,
}

impl<C, U> Ends<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    /// Ready when both directions have ended.
    fn poll(&mut self, cx: &mut Context<'_>, moved: &mut bool) -> Poll<io::Result<()>> {
        let up = self.up.poll(&mut self.client, &mut self.upstream, cx, moved)?;
        let down = self.down.poll(&mut self.upstream, &mut self.client, cx, moved)?;
        if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Tells a WebSocket why it ends, and ends the caller's side in order: a connection that is closed over unread bytes is
    /// reset, and the last words are lost.
    async fn say_goodbye(&mut self, ending: &Ending) {
        let (code, reason) = match ending {
            Ending::Refused(_) => (CloseCode::PolicyViolation, "no longer permitted"),
            Ending::Stopped => (CloseCode::GoingAway, "the gateway stops"),
        };
        let can_speak = self.down.frames.as_ref().is_some_and(Frames::is_at_boundary);
        let client = &mut self.client;
        let goodbye = async {
            if can_speak {
                client.write_all(&close_frame(code, reason)).await?;
            }
            client.shutdown().await?;
            let mut sink = [0; 1024];
            let mut rest = client.take(LAST_BYTES);
            while rest.read(&mut sink).await? > 0 {}
            io::Result::Ok(())
        };
        // A caller that is gone, or does not listen, needs no goodbye.
        let _ = timeout(LAST_WORDS, goodbye).await;
    }
}

/// One direction. Holds no memory while nothing waits in it.
struct Direction {
    waiting: BytesMut,
    frames: Option<Frames>,
    source_ended: bool,
    over: bool,
}

impl Direction {
    fn new(early: Bytes, frames: Option<Frames>) -> Self {
        Self { waiting: early.into(), frames, source_ended: false, over: false }
    }

    /// Moves what can be moved. Ready when the source has ended and the other side was told.
    fn poll(
        &mut self,
        source: &mut (impl AsyncRead + Unpin),
        sink: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
        moved: &mut bool,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.over {
                return Poll::Ready(Ok(()));
            }
            while !self.waiting.is_empty() {
                let written = ready!(Pin::new(&mut *sink).poll_write(cx, &self.waiting))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.passed(written);
                *moved = true;
            }
            if self.source_ended {
                ready!(Pin::new(&mut *sink).poll_shutdown(cx))?;
                self.over = true;
                continue;
            }
            self.waiting = BytesMut::new();
            let mut space = [const { MaybeUninit::uninit() }; PIECE_BYTES];
            let mut fresh = ReadBuf::uninit(&mut space);
            match Pin::new(&mut *source).poll_read(cx, &mut fresh)? {
                Poll::Pending => {
                    // What TLS holds back goes out before this waits.
                    let _ = Pin::new(&mut *sink).poll_flush(cx)?;
                    return Poll::Pending;
                }
                Poll::Ready(()) if fresh.filled().is_empty() => self.source_ended = true,
                Poll::Ready(()) => {
                    *moved = true;
                    self.pass_on(fresh.filled(), sink, cx)?;
                }
            }
        }
    }

    /// Writes what the sink takes now; the rest waits.
    fn pass_on(&mut self, fresh: &[u8], sink: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> io::Result<()> {
        let written = match Pin::new(sink).poll_write(cx, fresh)? {
            Poll::Ready(written) => written,
            Poll::Pending => 0,
        };
        let (gone, rest) = fresh.split_at_checked(written).unwrap_or((fresh, &[]));
        if let Some(frames) = &mut self.frames {
            frames.follow(gone);
        }
        self.waiting.extend_from_slice(rest);
        Ok(())
    }

    fn passed(&mut self, written: usize) {
        if let Some(frames) = &mut self.frames {
            frames.follow(self.waiting.get(..written).unwrap_or(&self.waiting));
        }
        self.waiting.advance(written.min(self.waiting.len()));
    }
}

/// Counts an open tunnel.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.metrics.tunnels.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.tunnels.fetch_sub(1, Ordering::Relaxed);
    }
}
