//! Which version a client of a plain-text listener speaks: HTTP/2 by prior knowledge begins with its preface (RFC 9113 §3.3), and
//! anything else is for the gate in front of HTTP/1.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use super::meter::PREFACE;
use crate::wire::alarm::Alarm;
use crate::wire::{GateHandle, WireLimits};

/// What a client begins with.
#[derive(Debug)]
pub(crate) enum Opening {
    /// The preface of HTTP/2, and what came with it.
    Http2(BytesMut),
    /// Something else; or nothing yet that tells, and its time is up. The gate goes on from here.
    Http1(BytesMut),
    /// It went away, or never said a word.
    Closed,
}

/// Read at once: what most heads fit in.
const READ_BYTES: usize = 8 * 1024;

/// Reads until it is clear how the client begins, at most as long as it has for its first byte.
pub(crate) async fn opening<IO: AsyncRead + Unpin>(io: &mut IO, limits: &WireLimits, handle: &GateHandle) -> Opening {
    let began = Instant::now();
    let mut alarm = Alarm::default();
    let mut seen = BytesMut::new();
    poll_fn(|cx| {
        loop {
            match poll_read(io, cx, &mut seen) {
                Poll::Ready(Ok(0) | Err(_)) if seen.is_empty() => return Poll::Ready(Opening::Closed),
                // Its end is for the gate to see again.
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Opening::Http1(std::mem::take(&mut seen))),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
                    let deadline = limits.first_byte_deadline(began, handle.poll_drain(cx.waker()));
                    ready!(alarm.poll_passed(cx, deadline));
                    return Poll::Ready(match seen.is_empty() {
                        true => Opening::Closed,
                        false => Opening::Http1(std::mem::take(&mut seen)),
                    });
                }
            }
            if !seen.iter().zip(PREFACE).all(|(byte, expected)| byte == expected) {
                return Poll::Ready(Opening::Http1(std::mem::take(&mut seen)));
            }
            if seen.len() >= PREFACE.len() {
                return Poll::Ready(Opening::Http2(std::mem::take(&mut seen)));
            }
        }
    })
    .await
}

/// Reads once, behind what was read before.
fn poll_read<IO: AsyncRead + Unpin>(io: &mut IO, cx: &mut Context<'_>, seen: &mut BytesMut) -> Poll<io::Result<usize>> {
    let mut space = [const { MaybeUninit::uninit() }; READ_BYTES];
    let mut fresh = ReadBuf::uninit(&mut space);
    ready!(Pin::new(io).poll_read(cx, &mut fresh))?;
    seen.extend_from_slice(fresh.filled());
    Poll::Ready(Ok(fresh.filled().len()))
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::settings::Limits;

    fn limits() -> Rc<WireLimits> {
        Rc::new(WireLimits::from(&Limits { first_byte_timeout: Duration::from_secs(3), ..Limits::default() }))
    }

    /// What is made of these pieces, each sent when the one before has been read.
    async fn told(pieces: &[&[u8]], ends: bool) -> (Opening, Duration) {
        let (mut client, mut server) = tokio::io::duplex(64);
        let began = Instant::now();
        let (limits, handle) = (limits(), GateHandle::new());
        let sending = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            if ends {
                client.shutdown().await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            opening = opening(&mut server, &limits, &handle) => (opening, began.elapsed()),
            () = sending => unreachable!(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_preface_and_nothing_else_is_http2() {
        let check = async |pieces: &[&[u8]], ends: bool, expected: &str, seconds: u64| {
            let (opening, waited) = told(pieces, ends).await;
            let found = match opening {
                Opening::Http2(bytes) => format!("2 {}", bytes.escape_ascii()),
                Opening::Http1(bytes) => format!("1 {}", bytes.escape_ascii()),
                Opening::Closed => "closed".to_owned(),
            };
            assert_eq!((found.as_str(), waited.as_secs()), (expected, seconds), "{pieces:?}");
        };
        check(&[PREFACE], false, r"2 PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0).await;
        check(&[b"PRI * HT", b"TP/2.0\r\n\r\nSM\r\n\r\n..."], false, r"2 PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n...", 0).await;
        check(&[b"GET / HTTP/1.1\r\n"], false, r"1 GET / HTTP/1.1\r\n", 0).await;
        check(&[b"P", b"UT /"], false, "1 PUT /", 0).await;
        check(&[b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"], false, r"1 PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 0).await;
        check(&[b"PRI * "], false, "1 PRI * ", 3).await;
        check(&[b"PRI * "], true, "1 PRI * ", 0).await;
        check(&[], false, "closed", 3).await;
        check(&[], true, "closed", 0).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_not_waited_for_when_the_gateway_goes() {
        let (_client, mut server) = tokio::io::duplex(64);
        let (limits, handle, began) = (limits(), GateHandle::new(), Instant::now());
        let draining = handle.clone();
        let (opening, ()) = tokio::join!(opening(&mut server, &limits, &handle), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            draining.drain();
        });
        assert!(matches!(opening, Opening::Closed));
        assert_eq!(began.elapsed(), Duration::from_millis(1_500));
    }
}
