//! A raw HTTP/1.1 client: it sends exactly the bytes of the test and shows exactly what came back.
//!
//! It never corrects, retries or follows anything. [`send`] is one request on a connection of its own; [`Conn`] is a connection
//! for several requests, pipelining, slow or unfinished ones.

use std::io::{self, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};

pub use crate::message::{Fields, Framing, ReadError};
use crate::message::{Incoming, declared_framing, parse_head, values};
use crate::wait::PATIENCE;

/// Sends `bytes` on a new connection and reads one answer.
///
/// # Panics
/// When no whole answer came in [`PATIENCE`].
pub fn send(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Answer {
    let mut connection = Conn::open(address);
    connection.send(bytes);
    connection.answer()
}

/// As [`send`], for tests in which no answer is one of the right outcomes.
///
/// # Errors
/// When no whole answer came in [`PATIENCE`].
///
/// # Panics
/// When no connection could be made.
pub fn try_send(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Result<Answer, ReadError> {
    let mut connection = Conn::open(address);
    // A peer that answers before it has read everything and then closes makes the rest of the sending fail.
    drop(connection.try_send(bytes));
    connection.try_answer()
}

/// The bytes of a well-formed request: `host: gateway.test` is added unless given, and `content-length` for a body.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let given = |name: &str| headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if !given("host") {
        head.push_str("host: gateway.test\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() && !given("content-length") && !given("transfer-encoding") {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// A `GET` of `target` with these header fields, on a new connection.
///
/// # Panics
/// As [`send`].
pub fn get(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Answer {
    send(address, request("GET", target, headers, b""))
}

/// The bytes of a body in the chunked coding (RFC 9112 section 7.1), one chunk per piece.
pub fn chunked(pieces: &[&[u8]]) -> Vec<u8> {
    let mut coded = Vec::new();
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        coded.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        coded.extend_from_slice(piece);
        coded.extend_from_slice(b"\r\n");
    }
    coded.extend_from_slice(b"0\r\n\r\n");
    coded
}

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Exactly as it came, with its empty line.
    pub raw: Vec<u8>,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    /// The status code.
    pub status: u16,
    /// The words after it.
    pub reason: String,
    /// The header fields.
    pub headers: Fields,
}

impl Head {
    fn parse(raw: Vec<u8>) -> Result<Self, ReadError> {
        let ([version, status, reason], headers) = parse_head(&raw)?;
        let malformed = || ReadError::Malformed(format!("status line {version} {status} {reason}"));
        if !matches!(version.as_str(), "HTTP/1.1" | "HTTP/1.0") || status.len() != 3 {
            return Err(malformed());
        }
        let status = status.parse().map_err(|_| malformed())?;
        Ok(Self { raw, version, status, reason, headers })
    }

    /// The value of the one field of that name, or `None`.
    ///
    /// # Panics
    /// When there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = values(&self.headers, name);
        let first = found.next();
        assert!(found.next().is_none(), "several {name} in {:?}", self.headers);
        first
    }

    /// The values of all fields of that name, in order.
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        values(&self.headers, name).collect()
    }

    fn framing(&self) -> Result<Framing, ReadError> {
        if matches!(self.status, 100..=199 | 204 | 304) {
            return Ok(Framing::None);
        }
        Ok(declared_framing(&self.headers)?.unwrap_or(Framing::UntilClose))
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its head; that of the final answer, not of an interim one.
    pub head: Head,
    /// Its body, without the chunked coding.
    pub body: Vec<u8>,
    /// How the body's end was found.
    pub framing: Framing,
    /// The fields after a chunked body.
    pub trailers: Fields,
    /// The status codes of the interim answers before it (RFC 9110 section 15.2).
    pub interim: Vec<u16>,
}

impl Answer {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The value of the one header field of that name, or `None`.
    ///
    /// # Panics
    /// When there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The body as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not.
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(json) => json,
            Err(error) => panic!("the body is no JSON: {error}: {:?}", String::from_utf8_lossy(&self.body)),
        }
    }
}

/// A connection to the gateway, or to anything that speaks HTTP/1.1. Dropping it closes it.
#[derive(Debug)]
pub struct Conn {
    incoming: Incoming,
    patience: Duration,
}

impl Conn {
    /// Connects.
    ///
    /// # Panics
    /// When nothing accepts the connection.
    pub fn open(address: SocketAddr) -> Self {
        match Self::try_open(address) {
            Ok(connection) => connection,
            Err(error) => panic!("{address} does not accept a connection: {error}"),
        }
    }

    /// As [`Self::open`], for peers that may have gone.
    ///
    /// # Errors
    /// When nothing accepts the connection.
    pub fn try_open(address: SocketAddr) -> io::Result<Self> {
        TcpStream::connect_timeout(&address, PATIENCE).map(Self::over)
    }

    /// Connects from another address of this machine: all of 127.0.0.0/8 is loopback, so `127.0.0.7` is a client that the
    /// gateway tells apart.
    ///
    /// # Panics
    /// When the address cannot be taken or nothing accepts the connection.
    pub fn open_from(source: IpAddr, address: SocketAddr) -> Self {
        let connect = || -> io::Result<TcpStream> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
            socket.connect_timeout(&address.into(), PATIENCE)?;
            Ok(socket.into())
        };
        match connect() {
            Ok(stream) => Self::over(stream),
            Err(error) => panic!("no connection from {source} to {address}: {error}"),
        }
    }

    fn over(stream: TcpStream) -> Self {
        // Small writes must leave at once, or a test of unfinished heads waits for acknowledgements.
        stream.set_nodelay(true).expect("a connected socket takes the option");
        Self { incoming: Incoming::new(stream), patience: PATIENCE }
    }

    /// How long one answer may take from now on, in place of [`PATIENCE`].
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// This end's address: the gateway's `PeerAddr`.
    ///
    /// # Panics
    /// Never on a connected socket.
    pub fn local_address(&mut self) -> SocketAddr {
        self.incoming.stream().local_addr().expect("a connected socket has an address")
    }

    /// Sends exactly these bytes.
    ///
    /// # Panics
    /// When the peer has closed the connection.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        if let Err(error) = self.try_send(bytes) {
            panic!("the peer takes no more bytes: {error}");
        }
    }

    /// As [`Self::send`], for peers that may have closed the connection.
    ///
    /// # Errors
    /// When they have.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.incoming.stream().write_all(bytes.as_ref())
    }

    /// Reads the next answer. Not for an answer to `HEAD`: see [`Self::answer_without_body`].
    ///
    /// # Panics
    /// When no whole answer comes in time.
    pub fn answer(&mut self) -> Answer {
        self.try_answer().unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// As [`Self::answer`].
    ///
    /// # Errors
    /// When no whole answer comes in time.
    pub fn try_answer(&mut self) -> Result<Answer, ReadError> {
        let (head, interim) = self.final_head()?;
        let framing = head.framing()?;
        let mut body = Vec::new();
        let trailers =
            self.incoming.body(framing, &mut |piece| body.extend_from_slice(piece)).map_err(|error| match error {
                // Only before the head is a closed connection no answer at all.
                ReadError::Closed => ReadError::CutOff(Vec::new()),
                other => other,
            })?;
        Ok(Answer { head, body, framing, trailers, interim })
    }

    /// Reads the next answer, to `HEAD`: whatever its head says, no body follows (RFC 9112 section 6.3).
    ///
    /// # Panics
    /// When none comes in time.
    pub fn answer_without_body(&mut self) -> Answer {
        let (head, interim) = self.final_head().unwrap_or_else(|error| panic!("no answer: {error}"));
        Answer { head, body: Vec::new(), framing: Framing::None, trailers: Fields::new(), interim }
    }

    fn final_head(&mut self) -> Result<(Head, Vec<u16>), ReadError> {
        let mut interim = Vec::new();
        loop {
            let head = self.try_head()?;
            match head.status {
                // 101 is final: another protocol follows.
                100 | 102..=199 => interim.push(head.status),
                _ => return Ok((head, interim)),
            }
        }
    }

    /// Reads one head, be it an interim one, and leaves what follows: for `100 Continue` and for bodies that the test reads
    /// itself.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn try_head(&mut self) -> Result<Head, ReadError> {
        self.incoming.give_up_after(self.patience);
        Head::parse(self.incoming.head()?)
    }

    /// The next bytes, as they come: at least one, or none at the end of the stream.
    ///
    /// # Errors
    /// When none came in time.
    pub fn next_bytes(&mut self) -> Result<Vec<u8>, ReadError> {
        if self.incoming.unused().is_empty() {
            self.incoming.give_up_after(self.patience);
            self.incoming.fill()?;
        }
        Ok(self.incoming.take_unused())
    }

    /// Whether the peer closes the connection `within` that time. What it sends before is kept and can still be read.
    pub fn closed_within(&mut self, within: Duration) -> bool {
        self.incoming.give_up_after(within);
        loop {
            match self.incoming.fill() {
                Ok(true) => {}
                Ok(false) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Says that nothing more will be sent, and goes on reading.
    ///
    /// # Panics
    /// When the peer has reset the connection.
    pub fn finish_sending(&mut self) {
        self.incoming.stream().shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// Closes the connection with a reset, as a client that crashes.
    ///
    /// # Panics
    /// Never on a connected socket.
    pub fn reset(mut self) {
        SockRef::from(&*self.incoming.stream()).set_linger(Some(Duration::ZERO)).expect("a socket takes the option");
    }
}

#[cfg(test)]
mod tests;
