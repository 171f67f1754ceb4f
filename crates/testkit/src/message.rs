//! Reading HTTP/1.1 messages off a socket (RFC 9112): heads byte by byte, bodies by their framing.
//!
//! It is strict where a test must notice: line ends are CRLF, framing is unambiguous. It keeps a head exactly as it came.

use std::fmt;
use std::io::{self, Read as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The largest head that is read, in bytes; a longer one is malformed.
const HEAD_MAX: usize = 1 << 20;

/// Header or trailer fields, in order, names as they came.
pub type Fields = Vec<(String, String)>;

/// Why no whole message was read.
#[derive(Debug)]
pub enum ReadError {
    /// The peer closed or reset the connection before the first byte.
    Closed,
    /// The peer closed or reset it in the middle of a message; these bytes had not been made sense of.
    CutOff(Vec<u8>),
    /// Time was up; these bytes had not been made sense of.
    TimedOut(Vec<u8>),
    /// What came is no HTTP/1.1 message.
    Malformed(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => formatter.write_str("closed before the first byte"),
            Self::CutOff(left) => write!(formatter, "closed in the middle of a message; left over: {:?}", Shown(left)),
            Self::TimedOut(left) => write!(formatter, "time was up; left over: {:?}", Shown(left)),
            Self::Malformed(why) => write!(formatter, "malformed: {why}"),
        }
    }
}

impl std::error::Error for ReadError {}

/// The first bytes of something long, as text.
struct Shown<'a>(&'a [u8]);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.0.get(..200).unwrap_or(self.0);
        write!(formatter, "{:?} ({} bytes)", String::from_utf8_lossy(start), self.0.len())
    }
}

/// How a body's end is found (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// `Content-Length`, in bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Until the connection closes; answers only.
    UntilClose,
}

/// What the head says of the framing; `None` when it says nothing.
pub(crate) fn declared_framing(headers: &Fields) -> Result<Option<Framing>, ReadError> {
    let codings: Vec<&str> = values(headers, "transfer-encoding").collect();
    if !codings.is_empty() {
        let chunked = codings.iter().any(|coding| coding.trim().eq_ignore_ascii_case("chunked"));
        let malformed = || ReadError::Malformed(format!("transfer-encoding: {codings:?}"));
        return if chunked && codings.len() == 1 { Ok(Some(Framing::Chunked)) } else { Err(malformed()) };
    }
    let lengths: Vec<&str> = values(headers, "content-length").collect();
    match lengths.as_slice() {
        [] => Ok(None),
        [length] if length.bytes().all(|byte| byte.is_ascii_digit()) && length.parse::<u64>().is_ok() => {
            Ok(length.parse().ok().map(Framing::Length))
        }
        _ => Err(ReadError::Malformed(format!("content-length: {lengths:?}"))),
    }
}

/// The values of all fields of that name, in order.
pub(crate) fn values<'a>(fields: &'a Fields, name: &str) -> impl Iterator<Item = &'a str> {
    fields.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// The start line's three parts and the header fields of a head that ends in an empty line.
pub(crate) fn parse_head(raw: &[u8]) -> Result<([String; 3], Fields), ReadError> {
    let text = String::from_utf8_lossy(raw);
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let start = lines.next().unwrap_or_default();
    let mut parts = start.splitn(3, ' ').map(str::to_owned);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(first), Some(second), third) => Ok(([first, second, third.unwrap_or_default()], parse_fields(lines)?)),
        _ => Err(ReadError::Malformed(format!("start line {start:?}"))),
    }
}

fn parse_fields<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Fields, ReadError> {
    lines
        .map(|line| match line.split_once(':') {
            Some((name, value)) if !name.is_empty() && !name.contains([' ', '\t']) => {
                Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
            }
            _ => Err(ReadError::Malformed(format!("header line {line:?}"))),
        })
        .collect()
}

/// A socket and what was read from it but not yet used.
#[derive(Debug)]
pub(crate) struct Incoming {
    stream: TcpStream,
    unused: Vec<u8>,
    /// When reading gives up; without one it waits for ever.
    deadline: Option<Instant>,
}

impl Incoming {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, unused: Vec::new(), deadline: None }
    }

    /// From now on reading gives up after that time.
    pub(crate) fn give_up_after(&mut self, within: Duration) {
        self.deadline = Some(Instant::now() + within);
    }

    /// The socket, for writing.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// What was read and not yet used.
    pub(crate) fn unused(&self) -> &[u8] {
        &self.unused
    }

    /// Takes all that was read and not yet used.
    pub(crate) fn take_unused(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unused)
    }

    /// Reads what there is, waiting for it; `false` at the end of the stream. A reset counts as an end: what a peer that
    /// closes with unread input does is the kernel's choice.
    pub(crate) fn fill(&mut self) -> Result<bool, ReadError> {
        let mut bytes = [0; 16 * 1024];
        loop {
            let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) || self.stream.set_read_timeout(left).is_err() {
                return Err(ReadError::TimedOut(self.unused.clone()));
            }
            match self.stream.read(&mut bytes) {
                Ok(length) => {
                    self.unused.extend_from_slice(bytes.get(..length).unwrap_or_default());
                    return Ok(length > 0);
                }
                Err(error) => match error.kind() {
                    // Timed out: the loop's check of the deadline says so.
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {}
                    _ => return Ok(false),
                },
            }
        }
    }

    /// A head up to and with its empty line, exactly as it came.
    pub(crate) fn head(&mut self) -> Result<Vec<u8>, ReadError> {
        let mut searched = 0;
        loop {
            let tail = self.unused.get(searched..).unwrap_or_default();
            if let Some(end) = tail.windows(4).position(|window| window == b"\r\n\r\n") {
                return Ok(self.unused.drain(..searched + end + 4).collect());
            }
            if self.unused.len() > HEAD_MAX {
                return Err(ReadError::Malformed(format!("no end of the head: {:?}", Shown(&self.unused))));
            }
            searched = self.unused.len().saturating_sub(3);
            self.more()?;
        }
    }

    /// A body, given piece by piece to `sink`, and its trailer fields.
    pub(crate) fn body(&mut self, framing: Framing, sink: &mut impl FnMut(&[u8])) -> Result<Fields, ReadError> {
        match framing {
            Framing::None => Ok(Fields::new()),
            Framing::Length(length) => self.exactly(length, sink).map(|()| Fields::new()),
            Framing::Chunked => self.chunks(sink),
            Framing::UntilClose => loop {
                sink(&self.take_unused());
                if !self.fill()? {
                    return Ok(Fields::new());
                }
            },
        }
    }

    fn exactly(&mut self, length: u64, sink: &mut impl FnMut(&[u8])) -> Result<(), ReadError> {
        let mut left = length;
        while left > 0 {
            if self.unused.is_empty() {
                self.more()?;
            }
            let now = usize::try_from(left).map_or(self.unused.len(), |left| left.min(self.unused.len()));
            let piece: Vec<u8> = self.unused.drain(..now).collect();
            sink(&piece);
            left -= now as u64;
        }
        Ok(())
    }

    /// The chunked coding (RFC 9112 section 7.1).
    fn chunks(&mut self, sink: &mut impl FnMut(&[u8])) -> Result<Fields, ReadError> {
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size =
                u64::from_str_radix(size, 16).map_err(|_| ReadError::Malformed(format!("chunk size {line:?}")))?;
            if size == 0 {
                break;
            }
            self.exactly(size, sink)?;
            let end = self.line()?;
            if !end.is_empty() {
                return Err(ReadError::Malformed(format!("{end:?} after a chunk")));
            }
        }
        let mut trailers = Vec::new();
        loop {
            match self.line()? {
                line if line.is_empty() => return parse_fields(trailers.iter().map(String::as_str)),
                line => trailers.push(line),
            }
        }
    }

    fn line(&mut self) -> Result<String, ReadError> {
        loop {
            if let Some(end) = self.unused.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.unused.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(line.strip_suffix(b"\r\n").unwrap_or(&line)).into_owned());
            }
            if self.unused.len() > HEAD_MAX {
                return Err(ReadError::Malformed(format!("no end of the line: {:?}", Shown(&self.unused))));
            }
            self.more()?;
        }
    }

    /// Reads more or says why there is no more.
    fn more(&mut self) -> Result<(), ReadError> {
        if self.fill()? {
            Ok(())
        } else if self.unused.is_empty() {
            Err(ReadError::Closed)
        } else {
            Err(ReadError::CutOff(self.take_unused()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(headers: &[(&str, &str)]) -> Result<Option<Framing>, String> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        declared_framing(&headers).map_err(|error| error.to_string())
    }

    #[test]
    fn framing_is_taken_only_when_it_is_unambiguous() {
        assert_eq!(framing(&[]), Ok(None));
        assert_eq!(framing(&[("Content-Length", "0")]), Ok(Some(Framing::Length(0))));
        assert_eq!(framing(&[("Transfer-Encoding", "Chunked")]), Ok(Some(Framing::Chunked)));
        for ambiguous in [
            [("content-length", "1"), ("content-length", "1")].as_slice(),
            &[("content-length", "+1")],
            &[("content-length", "")],
            &[("content-length", "1, 1")],
            &[("content-length", "18446744073709551616")],
            &[("transfer-encoding", "gzip")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        ] {
            assert!(framing(ambiguous).is_err(), "{ambiguous:?}");
        }
    }

    #[test]
    fn a_head_is_parsed_strictly() {
        let (start, headers) = parse_head(b"GET /a b HTTP/1.1\r\nHost:  x \r\nEmpty:\r\n\r\n").unwrap();
        assert_eq!(start, ["GET", "/a", "b HTTP/1.1"]);
        assert_eq!(headers, [("Host".to_owned(), "x".to_owned()), ("Empty".to_owned(), String::new())]);
        for malformed in ["GET\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n", "GET / HTTP/1.1\r\nspace : x\r\n\r\n"] {
            assert!(parse_head(malformed.as_bytes()).is_err(), "{malformed:?}");
        }
    }
}
