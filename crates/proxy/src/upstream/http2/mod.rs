//! HTTP/2 to upstreams (RFC 9113): many requests on one connection, each on a stream of its own.
//!
//! A connection is driven by a task of its own on the worker's thread, since its requests come and go. Everything else, a
//! request's body, its deadlines and its answer, stays in the request's own task, as with HTTP/1. What an endpoint has not
//! begun to process is sent again, whatever its method: that is what `REFUSED_STREAM` and `GOAWAY` are for (section 8.7).

mod answer;
mod channel;
mod exchange;
mod pool;
mod pulse;
mod upload;

use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Body;
use tokio::time::Instant;

use super::connect::ATTEMPTS_MAX;
use super::deadline::after;
use super::error::{BoxError, UpstreamError};
use super::{Allowed, Upstream, UpstreamBody};
use crate::trailers::Trailers;

use exchange::{Failed, Lost, Sent};
use pool::Way;
use upload::Source;

pub(super) use answer::StreamedAnswer;
pub(super) use pool::Pool;

/// How many attempts a request has, at most, while connection after connection is ended in order before its turn: endpoints
/// that renew their connections often take only so many requests on each.
const FAREWELLS_MAX: usize = 32;

impl<B> Upstream<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Sends a request to an upstream that may speak HTTP/2, and waits for the head of its answer.
    pub(super) async fn send_multiplexed(
        self: &Rc<Self>,
        pool: &Pool,
        allowed: Allowed<'_>,
        request: Request<B>,
    ) -> Result<Response<UpstreamBody<B>>, UpstreamError> {
        let (mut head, body) = request.into_parts();
        let trailers = head.extensions.remove::<Trailers>();
        let mut source = Source::new(body, trailers.clone());
        let repeatable = source.is_empty() && super::upload::is_idempotent(&head.method);
        let (started, end) = (allowed.started, allowed.end());
        let mut place = self.endpoints.choose(started);
        let mut attempt = 1;
        loop {
            let now = Instant::now();
            let way = pool.way(&self.endpoints, place, end.min(after(now, allowed.timeouts.connect))).await;
            let seat = match way {
                Ok(Way::Stream(seat)) => seat,
                Ok(Way::Http1(stream)) => {
                    let Some(body) = source.into_unread() else {
                        return Err(UpstreamError::new(super::FaultKind::Protocol, "it no longer speaks HTTP/2"));
                    };
                    trailers.map(|trailers| head.extensions.insert(trailers));
                    return self.send_on(allowed, place, stream, Request::from_parts(head, body)).await;
                }
                Err(mut error) => {
                    self.state.failed_at(place, &mut error);
                    if attempt >= self.endpoints.len().min(ATTEMPTS_MAX) || now >= end {
                        return Err(error);
                    }
                    attempt += 1;
                    place = self.endpoints.other(place, now);
                    continue;
                }
            };
            let used = seat.was_used();
            let sent = Sent { head: &head, source, place, allowed, trailers: trailers.as_ref() };
            let Failed { mut error, lost, source: unsent } = match self.exchange_stream(seat, sent).await {
                Ok(response) => return Ok(response),
                Err(failed) => *failed,
            };
            source = unsent;
            let more = attempt < ATTEMPTS_MAX;
            let again = match lost {
                // As a connection of HTTP/1 that turns out to be closed, this costs nothing but another attempt.
                Lost::Unsent => attempt < FAREWELLS_MAX && source.rewind(),
                Lost::Refused => more && source.rewind() && self.may_retry(),
                Lost::Unanswered => more && repeatable && (used || self.endpoints.len() > 1) && self.may_retry(),
                Lost::Final => false,
            };
            if !again || lost == Lost::Unanswered {
                self.state.failed_at(place, &mut error);
            }
            if !again {
                return Err(error);
            }
            attempt += 1;
            if lost != Lost::Unsent {
                // Where there is another endpoint, it may take what this one did not.
                place = self.endpoints.other(place, Instant::now());
            }
        }
    }
}
