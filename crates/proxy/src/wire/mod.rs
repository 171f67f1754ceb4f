//! The wire side of a client connection: a strict gate between the socket and hyper's HTTP/1 server.
//!
//! hyper is the HTTP/1 implementation here, and stays it. But it accepts what a gateway must refuse (two Hosts, no Host, a
//! target that disagrees with Host, Content-Length beside Transfer-Encoding), it drops a fragment without a word, and what
//! it does refuse it answers with a bare 400 that no event tells of. So the gate reads each head first and lets pass only
//! what has one meaning (RFC 9112 §2–§7, RFC 9110 §5–§7). What passes reaches hyper byte for byte: nothing is rewritten,
//! so what was judged is what is parsed.
//!
//! ```text
//! socket ─▶ Gate { HeadScanner ▸ ChunkedTracker ▸ Inbound } ─▶ hyper http1 ─▶ service
//!                      └── HeadEvent: Accepted | Refused ── GateHandle ──▶ ┘
//! ```
//!
//! **A refused head is an ordinary refusal.** hyper is given a small stand-in request, and the service finds a
//! `HeadEvent::Refused` for it, so that the answer has its body and its event like any other refusal. The connection
//! closes behind it, and what the client sent after the refused head is dropped unread.
//!
//! **One exchange at a time.** The gate hands on one head, then exactly the bytes of its body, and looks at the bytes
//! behind only when the answer is over (`Exchange`). So head events and service calls pair up one to one, pipelined
//! requests wait in the gate, and no body can smuggle a request: where it ends was decided here.
//!
//! **The gate holds the deadlines** (first byte, head, idle, between pieces of a body, and a client that takes no bytes),
//! all on one timer; hyper's own stay off, because its header timeout also runs while a connection is idle. An idle
//! connection holds no buffer: not in the gate, and hyper's server is there only while there is something to serve (`serve`).
//!
//! HTTP/2 has a framing of its own, and no gate: see [`http2`](crate::http2). But what a head may say is the same there, and is held
//! to the same rules, in [`parts`].
//!
//! What it deliberately does not: judge paths, choose a route, or write an answer.

pub(crate) mod alarm;
pub mod authority;
mod exchange;
mod fields;
pub mod framing;
mod gate;
pub(crate) mod grammar;
pub mod head;
mod inbound;
mod linger;
pub mod parts;
mod refusal;
mod request_line;
mod resting;
#[cfg(test)]
mod tests;

use std::time::Duration;

use hyper::server::conn::http1;
use tokio::time::Instant;

use crate::settings::Limits;

pub use exchange::{BodyProblem, Exchange, GateHandle, HeadEvent};
pub use framing::BodyFraming;
pub use gate::Gate;
pub use head::{HeadFacts, HeadLimits};
pub(crate) use refusal::quoted_user_agent;
pub use refusal::{HeadRefusal, HeadRefusalKind};
pub use request_line::{HttpVersion, TargetForm};
pub use resting::{Ended, serve};

/// What the gate needs of the limits; made once per settings, shared by the connections of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireLimits {
    /// The bounds of a head.
    pub head: HeadLimits,
    /// From accept to the first byte.
    pub first_byte_timeout: Duration,
    /// From the first byte of a head to its end.
    pub header_timeout: Duration,
    /// From the end of an answer to the first byte of the next head.
    pub keep_alive_timeout: Duration,
    /// Between two pieces of a body that hyper waits for; also how long a client may take no byte of an answer.
    pub body_idle_timeout: Duration,
    /// The bounds of an HTTP/2 connection.
    pub http2: Http2Limits,
}

/// What an HTTP/2 connection may have open and under way. The client is told (RFC 9113 §6.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2Limits {
    /// Requests at once, at least 1.
    pub max_streams: u32,
    /// Bytes of a body that may be under way unread, of one request.
    pub stream_window: u32,
    /// The same of all requests together.
    pub connection_window: u32,
}

impl WireLimits {
    /// When a client that has said nothing since then is given up; sooner where the gateway drains.
    pub(crate) fn first_byte_deadline(&self, since: Instant, draining_since: Option<Instant>) -> Instant {
        let deadline = since + self.first_byte_timeout;
        draining_since.map_or(deadline, |drain| deadline.min(drain + gate::FIRST_BYTE_GRACE))
    }
}

impl From<&Limits> for WireLimits {
    /// Takes over the limits, bounded by what hyper and its types can hold: beyond that, hyper would refuse in its own
    /// words, or panic.
    fn from(limits: &Limits) -> Self {
        Self {
            head: HeadLimits {
                max_header_fields: limits.max_header_fields.min(MAX_HEADER_FIELDS),
                max_header_bytes: limits.max_header_bytes.min(MAX_HEADER_BYTES),
                max_field_bytes: limits.max_field_bytes.min(MAX_FIELD_BYTES),
                max_uri_bytes: limits.max_uri_bytes.min(MAX_URI_BYTES),
            },
            first_byte_timeout: limits.first_byte_timeout,
            header_timeout: limits.header_timeout,
            keep_alive_timeout: limits.keep_alive_timeout,
            body_idle_timeout: limits.body_idle_timeout,
            http2: Http2Limits {
                max_streams: limits.http2_max_streams.max(1),
                stream_window: limits.http2_stream_window.min(MAX_WINDOW),
                connection_window: limits.http2_connection_window.min(MAX_WINDOW),
            },
        }
    }
}

/// RFC 9113 §6.9.1.
const MAX_WINDOW: u32 = (1 << 31) - 1;
/// `http::HeaderMap` panics beyond 24,576 fields.
const MAX_HEADER_FIELDS: usize = 8 * 1024;
/// No honest head is larger.
const MAX_HEADER_BYTES: usize = 4 * 1024 * 1024;
/// A `http::HeaderName` has fewer than 64 KiB.
const MAX_FIELD_BYTES: usize = 64 * 1024 - 2;
/// A `http::Uri` has fewer than 64 KiB.
const MAX_URI_BYTES: usize = 64 * 1024 - 2;

/// hyper's HTTP/1 server, set up to stand behind a gate: no timers of its own, and room for every head that passes.
#[must_use]
pub fn http1_builder(limits: &WireLimits) -> http1::Builder {
    /// hyper's own default for fields: it keeps room for so many on the stack.
    const FIELDS_WITHOUT_ALLOCATION: usize = 100;
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).keep_alive(true).half_close(false);
    builder.max_buf_size(limits.head.max_header_bytes.max(64 * 1024));
    if limits.head.max_header_fields > FIELDS_WITHOUT_ALLOCATION {
        builder.max_headers(limits.head.max_header_fields);
    }
    builder
}
