//! A request on its way up: its head as it is written, and its body, framed by what it says of itself.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderMap, TRAILER, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use hyper::body::{Body, Frame};

use super::super::error::{BoxError, UpstreamError};
use super::super::upload::{is_idempotent, passing, usually_has_a_body};
use super::super::wire::Wire;
use crate::trailers::{Trailers, Way, ends_with_the_connection};

/// Pieces up to this size are copied behind what is to be written already: one write of one buffer costs less.
const COPIED_BYTES_MAX: usize = 8 * 1024;

/// A request that is to be sent.
pub(super) struct Outgoing<B> {
    method: Method,
    uri: Uri,
    /// Emptied when the answer comes: its fields go here.
    pub(super) headers: HeaderMap,
    /// As far as it was not sent.
    body: Option<B>,
    coding: Coding,
    /// Sending it twice does no more than sending it once, and it has no body that would have to be kept.
    repeatable: bool,
    /// Some of its body has been taken: it is not there for another connection any more.
    begun: bool,
    /// Which trailers pass, if any.
    pub(super) trailers: Option<Trailers>,
}

/// How the body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    /// There is none; `true`: which is said.
    Empty(bool),
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
}

impl<B: Body<Data = Bytes>> Outgoing<B> {
    /// Makes a request ready to be written: HTTP/1.1, origin-form (or `*`), and framed by what its body says of itself. What the
    /// caller wrote as framing is never copied (RFC 9112 section 6).
    pub(super) fn new(request: Request<B>) -> Self {
        let (mut head, body) = request.into_parts();
        let body = (!body.is_end_stream()).then_some(body);
        let trailers = head.extensions.remove::<Trailers>();
        if trailers.is_some() {
            ends_with_the_connection(&mut head.headers);
        }
        head.headers.remove(TRANSFER_ENCODING);
        let had_length = head.headers.remove(CONTENT_LENGTH).is_some();
        let coding = match body.as_ref().map(|body| body.size_hint().exact()) {
            Some(Some(length)) => Coding::Length(length),
            Some(None) => Coding::Chunked,
            // RFC 9110 section 8.6: a method that usually has a body says so when it has none.
            None => Coding::Empty(had_length || usually_has_a_body(&head.method)),
        };
        let repeatable = body.is_none() && is_idempotent(&head.method);
        let begun = false;
        Self { method: head.method, uri: head.uri, headers: head.headers, body, coding, repeatable, begun, trailers }
    }
}

impl<B> Outgoing<B> {
    /// Whether it can be sent again where nobody knows whether it was received.
    pub(super) fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    /// Whether all of it is still there, so that it can go over another connection.
    pub(super) fn is_whole(&self) -> bool {
        !self.begun
    }

    /// Whether it is a HEAD.
    pub(super) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// Whether nothing more is to be taken of its body, or it has none.
    pub(super) fn is_taken(&self) -> bool {
        self.body.is_none()
    }

    /// Whether the head says that a trailer field of this name will come.
    fn announces(&self, name: &HeaderName) -> bool {
        let listed =
            self.headers.get_all(TRAILER).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        listed.into_iter().any(|listed| listed.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
    }

    /// Writes the head (RFC 9112 sections 2 to 6).
    pub(super) fn write_head(&self, out: &mut BytesMut) {
        let target = self.uri.path_and_query().map_or("/", |target| target.as_str());
        let fields: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        out.reserve(self.method.as_str().len() + target.len() + fields + HEAD_BYTES_BESIDE);
        out.put_slice(self.method.as_str().as_bytes());
        out.put_u8(b' ');
        out.put_slice(target.as_bytes());
        out.put_slice(b" HTTP/1.1\r\n");
        put_fields(out, self.headers.iter());
        match self.coding {
            Coding::Empty(false) => {}
            Coding::Empty(true) => out.put_slice(b"content-length: 0\r\n"),
            Coding::Length(length) => {
                out.put_slice(b"content-length: ");
                out.put_slice(itoa::Buffer::new().format(length).as_bytes());
                out.put_slice(b"\r\n");
            }
            Coding::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
        }
        out.put_slice(b"\r\n");
    }
}

/// Puts a line for each of these fields.
fn put_fields<'f>(out: &mut BytesMut, fields: impl Iterator<Item = (&'f HeaderName, &'f HeaderValue)>) {
    for (name, value) in fields {
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
}

/// The version, the field for framing, and the empty line.
const HEAD_BYTES_BESIDE: usize = 64;

/// What is to be written next: `before`, then `piece`, then `after`.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    /// What is copied together: a head, the size of a chunk, small pieces.
    pub(super) before: BytesMut,
    /// A large piece of a body, as it came.
    pub(super) piece: Bytes,
    /// What ends a chunk.
    pub(super) after: &'static [u8],
    /// How much memory `before` has taken, the part of it that was written included.
    held: usize,
}

impl Unwritten {
    pub(super) fn is_empty(&self) -> bool {
        self.before.is_empty() && self.piece.is_empty() && self.after.is_empty()
    }

    /// Whether another piece of a body may be put behind it.
    pub(super) fn has_room(&self) -> bool {
        self.piece.is_empty() && self.after.is_empty() && self.before.len() < COPIED_BYTES_MAX
    }

    /// Gives memory back, where it is more than this.
    pub(super) fn shrink_to(&mut self, most: usize) {
        if self.held > most {
            *self = Self::default();
        }
    }

    /// Puts data there.
    fn put(&mut self, data: Bytes, chunked: bool) {
        if data.is_empty() {
            // An empty chunk would end the body.
            return;
        }
        if chunked {
            put_size(&mut self.before, data.len());
        }
        let ending: &[u8] = if chunked { b"\r\n" } else { b"" };
        if data.len() <= COPIED_BYTES_MAX && (chunked || !self.before.is_empty()) {
            self.before.extend_from_slice(&data);
            self.before.extend_from_slice(ending);
        } else {
            (self.piece, self.after) = (data, ending);
        }
    }

    /// So many bytes of it are written.
    pub(super) fn wrote(&mut self, mut bytes: usize) {
        self.held = self.held.max(self.before.capacity());
        let taken = bytes.min(self.before.len());
        if taken == self.before.len() {
            // The room is used again.
            self.before.clear();
        } else {
            let _ = self.before.split_to(taken);
        }
        bytes -= taken;
        let taken = bytes.min(self.piece.len());
        let _ = self.piece.split_to(taken);
        bytes -= taken;
        if self.piece.is_empty() {
            self.piece = Bytes::new();
        }
        self.after = self.after.get(bytes.min(self.after.len())..).unwrap_or_default();
    }
}

/// The size of a chunk (RFC 9112 section 7.1).
fn put_size(out: &mut BytesMut, size: usize) {
    use std::fmt::Write as _;
    // It grows as it must: writing to it cannot fail.
    let _ = write!(out, "{size:x}\r\n");
}

impl<B> Outgoing<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Takes what the body has, as far as there is room. Ready when nothing more will come.
    ///
    /// # Errors
    /// The body's own, or that it is not as long as it said: the request cannot be completed.
    pub(super) fn poll_body(
        &mut self,
        out: &mut Unwritten,
        wire: &Wire,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UpstreamError>> {
        let broken = |error| Poll::Ready(Err(UpstreamError::request_body(error)));
        while out.has_room() {
            let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
            let frame = match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err(error))) => return broken(error.into()),
                Poll::Ready(Some(Ok(frame))) => Some(frame),
                Poll::Ready(None) => None,
            };
            if let Err(error) = self.take(frame, out, wire) {
                return broken(error);
            }
        }
        if self.body.is_none() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// A frame came, or the end.
    fn take(&mut self, frame: Option<Frame<Bytes>>, out: &mut Unwritten, wire: &Wire) -> Result<(), BoxError> {
        self.begun = true;
        let trailers = match frame.map(Frame::into_data) {
            Some(Ok(data)) => {
                wire.moved();
                if let Coding::Length(left) = &mut self.coding {
                    *left = left.checked_sub(data.len() as u64).ok_or(WRONG_LENGTH)?;
                    if *left == 0 {
                        self.body = None;
                    }
                }
                out.put(data, self.coding == Coding::Chunked);
                return Ok(());
            }
            Some(Err(frame)) => passing(self.trailers.as_ref(), Way::Up, frame)?,
            None => None,
        };
        self.body = None;
        match self.coding {
            Coding::Length(left) if left > 0 => Err(WRONG_LENGTH.into()),
            Coding::Length(_) | Coding::Empty(_) => Ok(()),
            Coding::Chunked => {
                out.before.put_slice(b"0\r\n");
                if let Some(fields) = trailers {
                    // HTTP/1.1 carries those that were announced (RFC 9110 section 6.6.2): the others would surprise.
                    put_fields(&mut out.before, fields.iter().filter(|(name, _)| self.announces(name)));
                }
                out.before.put_slice(b"\r\n");
                Ok(())
            }
        }
    }
}

const WRONG_LENGTH: &str = "the body is not as long as it said";

#[cfg(test)]
mod tests {
    use http::Version;
    use http_body_util::{BodyExt as _, Empty, Full, StreamBody};

    use super::*;

    type Any = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

    fn streamed(pieces: &[&'static str]) -> Any {
        let frames = pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))));
        StreamBody::new(futures_util::stream::iter(frames.collect::<Vec<_>>())).boxed_unsync()
    }

    fn whole(text: &'static str) -> Any {
        Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {}).boxed_unsync()
    }

    fn none() -> Any {
        Empty::new().map_err(|never| match never {}).boxed_unsync()
    }

    /// All that is written of a request.
    fn written(method: &str, uri: &str, fields: &[(&str, &str)], body: Any) -> String {
        let mut request = Request::builder().method(method).uri(uri).version(Version::HTTP_2);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut outgoing = Outgoing::new(request.body(body).unwrap());
        let (mut out, wire) = (Unwritten::default(), Wire::default());
        outgoing.write_head(&mut out.before);
        let mut text = Vec::new();
        loop {
            let taken = outgoing.poll_body(&mut out, &wire, &mut Context::from_waker(std::task::Waker::noop()));
            // Three bytes at a time.
            while !out.is_empty() {
                let next: Vec<u8> = [&out.before[..], &out.piece[..], out.after].concat().into_iter().take(3).collect();
                out.wrote(next.len());
                text.extend(next);
            }
            match taken {
                Poll::Ready(Ok(())) => return String::from_utf8(text).unwrap(),
                Poll::Ready(Err(error)) => return format!("{}!{error}", String::from_utf8(text).unwrap()),
                Poll::Pending => {}
            }
        }
    }

    #[test]
    fn framing_is_made_anew() {
        let check = |method, fields: &[(&str, &str)], body, expected| {
            assert_eq!(written(method, "/a?b", fields, body), expected, "{method} {fields:?}");
        };
        check("GET", &[("host", "h")], none(), "GET /a?b HTTP/1.1\r\nhost: h\r\n\r\n");
        check("GET", &[("content-length", "0")], none(), "GET /a?b HTTP/1.1\r\ncontent-length: 0\r\n\r\n");
        check("GET", &[("content-length", "7")], none(), "GET /a?b HTTP/1.1\r\ncontent-length: 0\r\n\r\n");
        check("DELETE", &[], none(), "DELETE /a?b HTTP/1.1\r\n\r\n");
        check("POST", &[], none(), "POST /a?b HTTP/1.1\r\ncontent-length: 0\r\n\r\n");
        let five = "POST /a?b HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello";
        check("POST", &[("content-length", "7")], whole("hello"), five);
        check("POST", &[("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")], whole("hello"), five);
        let chunked = "GET /a?b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
        check("GET", &[("content-length", "3"), ("content-length", "4")], streamed(&["he", "", "llo"]), chunked);
        check("GET", &[("transfer-encoding", "gzip, chunked")], streamed(&["he", "llo"]), chunked);
    }

    #[test]
    fn a_target_is_in_origin_form() {
        for (uri, expected) in [
            ("/", "/"),
            ("/a%20b?q=1&r=%2f", "/a%20b?q=1&r=%2f"),
            ("http://elsewhere.example/x", "/x"),
            ("http://elsewhere.example", "/"),
            ("*", "*"),
        ] {
            assert_eq!(written("OPTIONS", uri, &[], none()), format!("OPTIONS {expected} HTTP/1.1\r\n\r\n"));
        }
    }

    #[test]
    fn a_large_piece_goes_out_as_it_came() {
        let large: &'static str = "x".repeat(COPIED_BYTES_MAX + 1).leak();
        let size = format!("{:x}", large.len());
        let head = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        let expected = format!("{head}1\r\na\r\n{size}\r\n{large}\r\n1\r\nb\r\n0\r\n\r\n");
        assert_eq!(written("POST", "/", &[], streamed(&["a", large, "b"])), expected);
        let expected = format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n{large}", large.len());
        assert_eq!(written("POST", "/", &[], whole(large)), expected);
    }

    #[test]
    fn a_body_that_is_not_as_long_as_it_said_completes_no_request() {
        struct Lying(Option<&'static str>);
        impl Body for Lying {
            type Data = Bytes;
            type Error = BoxError;

            fn poll_frame(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
                Poll::Ready(self.0.take().map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
            }

            fn size_hint(&self) -> hyper::body::SizeHint {
                hyper::body::SizeHint::with_exact(3)
            }
        }
        let head = "POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\n";
        for (text, expected) in
            [("abc", "abc"), ("ab", "ab!the request's body broke off"), ("abcd", "!the request's body broke off")]
        {
            let sent = written("POST", "/", &[], Lying(Some(text)).boxed_unsync());
            assert_eq!(sent, format!("{head}{expected}"));
        }
    }
}
