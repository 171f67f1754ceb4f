//! How large bodies may be: a request's, on the way to the upstream, and a response's, on the way back. What announces its
//! length is refused before it is passed on; what does not is cut where it grows over its limit.
//!
//! A cut answer is too late for a refusal, but not for its event (see `watched`).

use std::error::Error as _;

use http_body_util::{LengthLimitError, Limited};
use hyper::body::Body as _;
use portcullis_events::ReasonCode;

use crate::malformation::Malformation;
use crate::settings::RouteLimits;
use crate::transit::RequestBody;
use crate::upstream::{FaultKind, UpstreamBody, UpstreamError};

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

/// What an answer is cut with that grows over its limit.
pub(crate) fn response_too_large(limits: &RouteLimits) -> UpstreamError {
    let most = limits.max_response_body.unwrap_or_default();
    let detail = format!("the answer's body is larger than the {most} bytes of `max_response_body`");
    UpstreamError::new(FaultKind::Protocol, detail)
}
