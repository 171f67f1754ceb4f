//! How large bodies may be: a request's, on the way to the upstream, and a response's, on the way back. What announces its
//! length is refused before it is passed on; what does not is cut where it grows over its limit.
//!
//! A cut answer is too late for a refusal, but not for its event: routes that have such a limit keep what is known of the
//! request until its answer has ended. Routes without one keep nothing.

use std::error::Error as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{LengthLimitError, Limited};
use hyper::body::{Body, Frame, SizeHint};
use portcullis_events::ReasonCode;

use crate::malformation::Malformation;
use crate::refusal::Refusal;
use crate::settings::RouteLimits;
use crate::transit::{RequestBody, Transit};
use crate::upstream::{FaultKind, UpstreamBody, UpstreamError};
use crate::worker::Worker;

/// A request's body as the upstream gets it: it breaks off where it is larger than its route allows.
pub type SentBody = Limited<RequestBody>;

/// The body, unless it says itself that it is too large.
///
/// # Errors
/// 413 `request.too_large`.
pub(crate) fn bounded(body: RequestBody, limits: &RouteLimits) -> Result<SentBody, Malformation> {
    let most = limits.max_request_body.unwrap_or(usize::MAX);
    if body.size_hint().lower() > most as u64 {
        return Err(too_large(limits));
    }
    Ok(Limited::new(body, most))
}

/// Whether an exchange failed because the request's body grew over its limit.
pub(crate) fn is_too_large(error: &UpstreamError) -> bool {
    error.kind == FaultKind::RequestBody && error.source().is_some_and(|source| source.is::<LengthLimitError>())
}

/// What such a request is refused with.
pub(crate) fn too_large(limits: &RouteLimits) -> Malformation {
    let most = limits.max_request_body.unwrap_or_default();
    Malformation::new(
        ReasonCode::RequestTooLarge,
        format!("the request's body is larger than the {most} bytes of `max_request_body`"),
    )
}

/// What an answer is refused with that says itself that it is too large (502 `upstream.protocol`), if it does.
pub(crate) fn oversized(body: &UpstreamBody<SentBody>, limits: &RouteLimits) -> Option<UpstreamError> {
    let most = limits.max_response_body? as u64;
    (body.size_hint().lower() > most).then(|| response_too_large(limits))
}

/// A response's body, cut where it is larger than its route allows.
pub struct Watched {
    body: UpstreamBody<SentBody>,
    /// Bytes that may still come.
    left: u64,
    story: Option<Box<Story>>,
}

/// What the event of a cut answer tells.
struct Story {
    worker: Rc<Worker>,
    transit: Box<Transit>,
    limits: RouteLimits,
    status: StatusCode,
}

impl Watched {
    /// The body of an answer to a route without such limits.
    pub(crate) fn unlimited(body: UpstreamBody<SentBody>) -> Self {
        Self { body, left: u64::MAX, story: None }
    }

    /// The body of an answer with this status on a route with these limits.
    pub(crate) fn limited(
        body: UpstreamBody<SentBody>,
        status: StatusCode,
        limits: &RouteLimits,
        worker: &Rc<Worker>,
        transit: Box<Transit>,
    ) -> Self {
        let left = limits.max_response_body.map_or(u64::MAX, |most| most as u64);
        let story = Story { worker: Rc::clone(worker), transit, limits: limits.clone(), status };
        Self { body, left, story: Some(Box::new(story)) }
    }

    /// The answer breaks off: records why, where a limit is the reason.
    fn cut(&mut self, error: &UpstreamError, by_response: bool) {
        let Some(story) = self.story.take() else { return };
        let Story { worker, transit, limits, status } = *story;
        let refusal = if by_response {
            Refusal::UpstreamFailed(response_too_large(&limits))
        } else if is_too_large(error) {
            Refusal::Malformed(too_large(&limits))
        } else {
            return;
        };
        worker.report_cut(&refusal, &transit, status);
    }
}

fn response_too_large(limits: &RouteLimits) -> UpstreamError {
    let most = limits.max_response_body.unwrap_or_default();
    let detail = format!("the answer's body is larger than the {most} bytes of `max_response_body`");
    UpstreamError::new(FaultKind::Protocol, detail)
}

impl Body for Watched {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                match this.left.checked_sub(length) {
                    Some(left) => this.left = left,
                    None => {
                        let error = this.story.as_ref().map_or_else(
                            || UpstreamError::new(FaultKind::Protocol, "the answer's body is too large"),
                            |story| response_too_large(&story.limits),
                        );
                        this.left = 0;
                        this.cut(&error, true);
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
            Poll::Ready(Some(Err(error))) => this.cut(error, false),
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
