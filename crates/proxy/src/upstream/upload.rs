//! What is the same of a request on its way up, whatever version of HTTP it goes over.

use bytes::Bytes;
use http::{HeaderMap, Method};
use hyper::body::Frame;

use crate::trailers::{TooManyTrailers, Trailers, Way};

/// What crosses of a frame of trailers; `None` where nothing does.
pub(super) fn passing(
    trailers: Option<&Trailers>,
    way: Way,
    frame: Frame<Bytes>,
) -> Result<Option<HeaderMap>, TooManyTrailers> {
    let (Some(trailers), Ok(fields)) = (trailers, frame.into_trailers()) else { return Ok(None) };
    Ok(Some(trailers.filter(way, fields)?).filter(|fields| !fields.is_empty()))
}

/// Whether a request of this method says so when it has no body (RFC 9110 section 8.6).
pub(super) fn usually_has_a_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Whether sending it twice does no more than sending it once (RFC 9110 section 9.2.2).
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_idempotent_methods_may_be_sent_twice() {
        let check = |method: &str, expected| {
            assert_eq!(is_idempotent(&Method::from_bytes(method.as_bytes()).unwrap()), expected, "{method}");
        };
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"] {
            check(method, true);
        }
        for method in ["POST", "PATCH", "CONNECT", "LOCK", "get"] {
            check(method, false);
        }
    }
}
