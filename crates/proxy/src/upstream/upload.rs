//! The request on its way up: its framing, its body as hyper pulls it, and its head brought back for a second try.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, Method, Request, Uri, Version};
use hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::error::BoxError;
use super::wire::Wire;
use crate::trailers::{TooManyTrailers, Trailers, Way, ends_with_the_connection};

pin_project! {
    /// The body of a request, without its trailers, unless they pass. It notes its progress on the wire.
    pub(super) struct Upload<B> {
        #[pin]
        body: Option<B>,
        wire: UploadWire,
        trailers: Option<Trailers>,
    }
}

/// The wire that an upload goes over. When hyper lets go of the upload, it is over.
struct UploadWire(Option<Rc<Wire>>);

impl Drop for UploadWire {
    fn drop(&mut self) {
        if let Some(wire) = &self.0 {
            wire.upload_over.set(true);
        }
    }
}

impl<B> Upload<B> {
    /// From now on progress is noted on this wire.
    pub(super) fn go_over(&mut self, wire: &Rc<Wire>) {
        self.wire = UploadWire(Some(Rc::clone(wire)));
    }

    /// Which trailers pass, if any.
    pub(super) fn trailers(&self) -> Option<&Trailers> {
        self.trailers.as_ref()
    }

    /// Whether there is nothing to upload: such a request can be sent again.
    pub(super) fn is_empty(&self) -> bool {
        self.body.is_none()
    }
}

impl<B> Body for Upload<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = UploadBroken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadBroken>>> {
        let this = self.project();
        let (Some(mut body), Some(wire)) = (this.body.as_pin_mut(), &this.wire.0) else {
            return Poll::Ready(None);
        };
        if wire.write_failed.get() {
            // Nobody takes it any more; what is left to do is to read the early answer, and reading wakes the task.
            return Poll::Pending;
        }
        loop {
            match body.as_mut().poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                    wire.moved();
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Ok(frame))) => match passing(this.trailers.as_ref(), Way::Up, frame) {
                    Ok(None) => {}
                    Ok(Some(fields)) => return Poll::Ready(Some(Ok(Frame::trailers(fields)))),
                    Err(error) => {
                        wire.upload_error.replace(Some(error.into()));
                        return Poll::Ready(Some(Err(UploadBroken)));
                    }
                },
                Poll::Ready(Some(Err(error))) => {
                    wire.upload_error.replace(Some(error.into()));
                    return Poll::Ready(Some(Err(UploadBroken)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

/// What crosses of a frame of trailers; `None` where nothing does.
pub(super) fn passing(
    trailers: Option<&Trailers>,
    way: Way,
    frame: Frame<Bytes>,
) -> Result<Option<HeaderMap>, TooManyTrailers> {
    let (Some(trailers), Ok(fields)) = (trailers, frame.into_trailers()) else { return Ok(None) };
    Ok(Some(trailers.filter(way, fields)?).filter(|fields| !fields.is_empty()))
}

/// Tells hyper that the request cannot be completed; the error itself waits on the wire.
#[derive(Debug, thiserror::Error)]
#[error("the request's body broke off")]
pub(super) struct UploadBroken;

/// Makes a request ready to be written: HTTP/1.1, origin-form (or `*`), and framed by what its body says of itself. What the
/// caller wrote as framing is never copied (RFC 9112 section 6).
pub(super) fn prepare<B: Body<Data = Bytes>>(request: Request<B>) -> Request<Upload<B>> {
    let (mut head, body) = request.into_parts();
    head.version = Version::HTTP_11;
    if head.uri.authority().is_some() {
        head.uri = head.uri.path_and_query().cloned().map(Uri::from).unwrap_or_default();
    }
    let body = (!body.is_end_stream()).then_some(body);
    let trailers = head.extensions.remove::<Trailers>();
    if trailers.is_some() {
        ends_with_the_connection(&mut head.headers);
    }
    frame(&head.method, &mut head.headers, body.as_ref().map(|body| body.size_hint().exact()));
    Request::from_parts(head, Upload { body, wire: UploadWire(None), trailers })
}

/// `length` is `None` without a body, `Some(None)` for a body of unknown length.
fn frame(method: &Method, headers: &mut HeaderMap, length: Option<Option<u64>>) {
    headers.remove(TRANSFER_ENCODING);
    let had_length = headers.remove(CONTENT_LENGTH).is_some();
    match length {
        // hyper writes the length.
        Some(Some(_)) => {}
        // Said outright, because hyper takes a GET of unknown length for one without a body.
        Some(None) => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        // RFC 9110 section 8.6: a method that usually has a body says so when it has none.
        None if had_length || usually_has_a_body(method) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        None => {}
    }
}

/// Whether a request of this method says so when it has no body (RFC 9110 section 8.6).
pub(super) fn usually_has_a_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Whether sending it twice does no more than sending it once (RFC 9110 section 9.2.2).
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE)
}

/// The request of a head that hyper wrote for a request without a body, so that the same bytes can be sent again. `None` if
/// the head is not whole.
///
/// Reading back the rare head that is needed twice is cheaper than copying every request's headers in case it is.
pub(super) fn again<B>(head: &[u8]) -> Option<Request<Upload<B>>> {
    let whole = head.strip_suffix(b"\r\n\r\n")?;
    let mut lines = whole.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let mut request = Request::new(Upload { body: None, wire: UploadWire(None), trailers: None });
    *request.method_mut() = Method::from_bytes(words.next()?).ok()?;
    *request.uri_mut() = Uri::try_from(words.next()?).ok()?;
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?.trim_ascii());
        let name = HeaderName::from_bytes(name).ok()?;
        request.headers_mut().append(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(method: &str, given: &[(&str, &str)], length: Option<Option<u64>>) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        frame(&Method::from_bytes(method.as_bytes()).unwrap(), &mut headers, length);
        let written: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        written.join("; ")
    }

    #[test]
    fn framing_is_made_anew() {
        let check = |method, given: &[(&str, &str)], length, expected| {
            assert_eq!(framing(method, given, length), expected, "{method} {given:?} {length:?}");
        };
        check("GET", &[], None, "");
        check("GET", &[("content-length", "0")], None, "content-length: 0");
        check("DELETE", &[], None, "");
        check("POST", &[], None, "content-length: 0");
        check("POST", &[("content-length", "7")], Some(Some(5)), "");
        check("POST", &[("transfer-encoding", "gzip, chunked")], Some(None), "transfer-encoding: chunked");
        check("GET", &[("content-length", "3"), ("content-length", "4")], Some(None), "transfer-encoding: chunked");
    }

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

    #[test]
    fn a_written_head_is_read_back_unchanged() {
        let head = b"PUT /a%20b?q=1 HTTP/1.1\r\nhost: a.internal:8080\r\nx-note: a: b\xff\r\nx-note: \r\n\r\n";
        let request = again::<String>(head).unwrap();
        assert_eq!(request.method(), Method::PUT);
        assert_eq!(request.uri(), "/a%20b?q=1");
        assert_eq!(request.headers()["host"], "a.internal:8080");
        let notes: Vec<_> = request.headers().get_all("x-note").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(notes, [b"a: b\xff".as_slice(), b""]);
    }

    #[test]
    fn a_head_that_was_cut_is_not_sent_again() {
        let head = b"GET /long HTTP/1.1\r\nhost: a.internal\r\n\r\n";
        for end in 0..head.len() {
            assert!(again::<String>(&head[..end]).is_none(), "{end}");
        }
        assert!(again::<String>(head).is_some());
    }
}
