//! HTTP/2 on a listener (RFC 9113): over TLS where ALPN chose it, in plain text by prior knowledge.
//!
//! h2 is the implementation: frames, HPACK, flow control, the states of streams. It is used without hyper between, because a
//! gateway has to know what hyper keeps for itself: which stream a request came on, so that each that h2 refuses by itself has
//! its event; and how to close a connection with a reason. Everything above the protocol is shared with HTTP/1: a stream becomes
//! a `Transit` and goes through the same stack, its head is held to the same rules ([`wire::parts`](crate::wire::parts)), and
//! its deadlines are the same settings.
//!
//! ```text
//! socket ─▶ Tap { Meter } ─▶ h2 ─▶ Exchange { head checked ▸ stack ▸ answer }   one future for each stream, all in one task
//!               └── floods, heads that h2 refused ──▶ events, GOAWAY
//! ```
//!
//! **One task a connection.** The streams are futures inside the connection's own task: what ends the connection ends them, and
//! their uploads and upstreams with them, at once.
//!
//! **Floods.** h2 bounds what it keeps: CONTINUATION, streams that are reset before they are accepted, small DATA. What it
//! must do for a peer again and again the meter bounds.

mod answer;
mod body;
mod date;
mod frames;
mod meter;
pub(crate) mod preface;
mod serve;
mod tap;

pub use body::{BodyBroken, StreamBody};
pub(crate) use serve::{Served, serve};

use crate::wire::WireLimits;

/// ALPN's name of HTTP/2 over TLS (RFC 9113 §3.2).
pub(crate) const ALPN: &[u8] = b"h2";

/// h2's server, within these limits.
fn builder(limits: &WireLimits) -> h2::server::Builder {
    /// Of streams that the client reset before they could be accepted, and of those that h2 had to reset (CVE-2023-44487,
    /// CVE-2025-8671): the meter closes such a connection sooner.
    const RESET_STREAMS: usize = 100;
    /// Of one stream's answer, handed to h2 and not yet taken by the socket: one frame. A client that opens every stream and window
    /// and then reads nothing holds so much of each, for the idle time.
    const SEND_BUFFER: usize = answer::PIECE;
    let mut builder = h2::server::Builder::new();
    // Twice what is accepted: so a head that is too large is refused with a body and an event by the same rules as in HTTP/1,
    // and only one that is out of all proportion by h2, with a bare 431.
    let header_list = u32::try_from(limits.head.max_header_bytes.saturating_mul(2)).unwrap_or(u32::MAX);
    builder
        .max_header_list_size(header_list)
        .max_concurrent_streams(limits.http2.max_streams)
        .initial_window_size(limits.http2.stream_window)
        .initial_connection_window_size(limits.http2.connection_window)
        .max_concurrent_reset_streams(RESET_STREAMS)
        .max_pending_accept_reset_streams(RESET_STREAMS)
        .max_local_error_reset_streams(Some(RESET_STREAMS))
        .max_send_buffer_size(SEND_BUFFER);
    builder
}
