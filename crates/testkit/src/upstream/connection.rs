//! One connection of the stub: requests in, replies out, until either side is done.

use std::io::{self, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use serde_json::json;
use socket2::SockRef;

use super::reply::{Body, Ending, Reply};
use super::{RecordedRequest, RequestHead, Shared};
use crate::message::{Fields, Framing, Incoming, ReadError, declared_framing, parse_head};

/// How much of a body is kept, in bytes.
const BODY_KEPT: usize = 64 * 1024;

/// Serves one connection to its end.
pub(super) fn serve(shared: &Shared, stream: TcpStream, number: usize) {
    let reset = converse(shared, stream, number);
    // Now only this handle is left: dropping it is what closes the connection.
    let handle = shared.seen().open.remove(&number);
    if let Some(handle) = handle {
        let ended = if reset {
            SockRef::from(&handle).set_linger(Some(Duration::ZERO))
        } else {
            handle.shutdown(Shutdown::Both)
        };
        // It fails when the peer was first.
        drop(ended);
    }
}

/// Answers request after request; says whether the connection shall end in a reset.
fn converse(shared: &Shared, stream: TcpStream, number: usize) -> bool {
    let Ok(peer) = stream.peer_addr() else { return false };
    // Without this each small write waits for an acknowledgement. It fails only on a connection that is gone.
    drop(stream.set_nodelay(true));
    let mut incoming = Incoming::new(stream);
    for place in 0.. {
        match exchange(shared, &mut incoming, number, place, peer) {
            Ok(Ending::KeepOpen) => {}
            Ok(Ending::Reset) => return true,
            Ok(Ending::AnnounceAndClose | Ending::Close) | Err(ReadError::Closed) => return false,
            Err(error) => {
                shared.record_malformed(error.to_string());
                return false;
            }
        }
    }
    false
}

/// One request and its reply. `Closed` also stands for a peer that took no more of the reply.
fn exchange(
    shared: &Shared,
    incoming: &mut Incoming,
    connection: usize,
    place: usize,
    peer: SocketAddr,
) -> Result<Ending, ReadError> {
    let head = read_head(incoming, connection, place, peer)?;
    let framing = declared_framing(&head.headers)?.unwrap_or(Framing::None);
    let reply = (shared.choose)(&head);
    let request = if reply.early {
        recorded(head, &[], 0, digest::Context::new(&digest::SHA256), None)
    } else {
        if head.header("expect").is_some_and(|expected| expected.eq_ignore_ascii_case("100-continue")) {
            incoming.stream().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").map_err(|_| ReadError::Closed)?;
        }
        read_body(incoming, head, framing)
    };
    let complete = request.complete;
    shared.record(request.clone());
    if !(complete || reply.early) {
        return Ok(Ending::Close);
    }
    if !reply.delay.is_zero() && !shared.pause(reply.delay) {
        return Ok(Ending::Close);
    }
    if reply.told && !matches!(reply.body, Body::Drip { .. }) && !shared.wait_until_told() {
        return Ok(Ending::Close);
    }
    let closes = asks_to_close(&request.head);
    let ending = if closes && reply.ending == Ending::KeepOpen { Ending::AnnounceAndClose } else { reply.ending };
    write_reply(shared, incoming, &request, &reply, ending).map_err(|_| ReadError::Closed)?;
    if matches!(reply.body, Body::Never) {
        // Until the peer, or the stub as it stops, closes the connection.
        while incoming.fill()? {
            incoming.take_unused();
        }
        return Ok(Ending::Close);
    }
    Ok(ending)
}

fn read_head(
    incoming: &mut Incoming,
    connection: usize,
    place: usize,
    peer: SocketAddr,
) -> Result<RequestHead, ReadError> {
    let raw = incoming.head()?;
    let ([method, target, version], headers) = parse_head(&raw)?;
    if !matches!(version.as_str(), "HTTP/1.1" | "HTTP/1.0") {
        return Err(ReadError::Malformed(format!("request line {method} {target} {version}")));
    }
    Ok(RequestHead { raw, connection, place, peer, method, target, version, headers })
}

fn read_body(incoming: &mut Incoming, head: RequestHead, framing: Framing) -> RecordedRequest {
    let mut start = Vec::new();
    let mut length = 0;
    let mut sha256 = digest::Context::new(&digest::SHA256);
    let trailers = incoming.body(framing, &mut |piece| {
        let room = BODY_KEPT - start.len();
        start.extend_from_slice(piece.get(..room).unwrap_or(piece));
        length += piece.len() as u64;
        sha256.update(piece);
    });
    recorded(head, &start, length, sha256, trailers.ok())
}

fn recorded(
    head: RequestHead,
    start: &[u8],
    length: u64,
    sha256: digest::Context,
    trailers: Option<Fields>,
) -> RecordedRequest {
    RecordedRequest {
        head,
        body_length: length,
        body_sha256: HEXLOWER.encode(sha256.finish().as_ref()),
        body_start: start.to_vec(),
        complete: trailers.is_some(),
        trailers: trailers.unwrap_or_default(),
    }
}

/// Whether the peer wants the connection closed after this request (RFC 9112 section 9.3).
fn asks_to_close(head: &RequestHead) -> bool {
    let options: Vec<String> = head
        .header_values("connection")
        .iter()
        .flat_map(|value| value.split(','))
        .map(|option| option.trim().to_ascii_lowercase())
        .collect();
    let has = |wanted: &str| options.iter().any(|option| option == wanted);
    if head.version == "HTTP/1.0" { !has("keep-alive") } else { has("close") }
}

fn write_reply(
    shared: &Shared,
    incoming: &mut Incoming,
    request: &RecordedRequest,
    reply: &Reply,
    ending: Ending,
) -> io::Result<()> {
    let stream = incoming.stream();
    match &reply.body {
        Body::Never => Ok(()),
        Body::Raw(bytes) => stream.write_all(bytes),
        Body::Echo => write_bytes(stream, request, reply, ending, echo(request).as_bytes()),
        Body::Bytes(bytes) => write_bytes(stream, request, reply, ending, bytes),
        Body::Huge(length) => write_huge(stream, request, reply, ending, *length),
        Body::Drip { pieces, pause } => {
            stream.write_all(head(reply, ending, Some(("transfer-encoding", "chunked"))).as_bytes())?;
            for piece in pieces.iter().filter(|piece| !piece.is_empty() && has_body(request, reply)) {
                let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
                stream.write_all(&chunk)?;
                if !shared.pause(*pause) || (reply.told && !shared.wait_until_told()) {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
            }
            stream.write_all(if has_body(request, reply) { b"0\r\n\r\n" } else { b"" })
        }
    }
}

fn write_bytes(
    stream: &mut TcpStream,
    request: &RecordedRequest,
    reply: &Reply,
    ending: Ending,
    body: &[u8],
) -> io::Result<()> {
    let length = body.len().to_string();
    let framing = Some(("content-length", length.as_str())).filter(|_| may_have_length(reply));
    // One write, so that a whole small reply arrives together with the close that may follow.
    let mut bytes = head(reply, ending, framing).into_bytes();
    if has_body(request, reply) {
        bytes.extend_from_slice(body);
    }
    stream.write_all(&bytes)
}

fn write_huge(
    stream: &mut TcpStream,
    request: &RecordedRequest,
    reply: &Reply,
    ending: Ending,
    length: u64,
) -> io::Result<()> {
    let framing = length.to_string();
    stream.write_all(head(reply, ending, Some(("content-length", &framing))).as_bytes())?;
    let piece = [b'x'; 16 * 1024];
    let mut left = if has_body(request, reply) { length } else { 0 };
    while left > 0 {
        let now = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
        stream.write_all(piece.get(..now).unwrap_or(&piece))?;
        left -= now as u64;
    }
    Ok(())
}

/// RFC 9110 section 6.4.1: no body in an answer to `HEAD`, nor under these codes.
fn has_body(request: &RecordedRequest, reply: &Reply) -> bool {
    request.head.method != "HEAD" && may_have_length(reply) && reply.status != 304
}

/// RFC 9110 section 8.6: no `content-length` under these codes.
fn may_have_length(reply: &Reply) -> bool {
    !matches!(reply.status, 100..=199 | 204)
}

fn head(reply: &Reply, ending: Ending, framing: Option<(&str, &str)>) -> String {
    let own = reply.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let closing = Some(("connection", "close")).filter(|_| ending == Ending::AnnounceAndClose);
    let mut head = format!("HTTP/1.1 {} Stub\r\n", reply.status);
    for (name, value) in own.chain(framing).chain(closing) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head
}

fn echo(request: &RecordedRequest) -> String {
    json!({
        "method": request.head.method,
        "target": request.head.target,
        "version": request.head.version,
        "headers": request.head.headers,
        "body_length": request.body_length,
        "body_sha256": request.body_sha256,
        "connection": request.head.connection,
        "place": request.head.place,
    })
    .to_string()
}
