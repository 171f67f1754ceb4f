//! A raw HTTP/2 client: it sends exactly the frames of the test and shows exactly which came back.
//!
//! Header blocks are written without compression (RFC 7541 section 6.2.3), so that a test can send names and values that no library
//! would. Nothing is corrected; settings and pings are acknowledged, and windows opened again, unless the test says otherwise.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use loona_hpack::Decoder;
use serde_json::Value;
use socket2::SockRef;

use crate::wait::PATIENCE;

/// What a client begins with (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113 section 6).
pub mod kind {
    /// DATA
    pub const DATA: u8 = 0x0;
    /// HEADERS
    pub const HEADERS: u8 = 0x1;
    /// PRIORITY
    pub const PRIORITY: u8 = 0x2;
    /// RST_STREAM
    pub const RST_STREAM: u8 = 0x3;
    /// SETTINGS
    pub const SETTINGS: u8 = 0x4;
    /// PING
    pub const PING: u8 = 0x6;
    /// GOAWAY
    pub const GOAWAY: u8 = 0x7;
    /// WINDOW_UPDATE
    pub const WINDOW_UPDATE: u8 = 0x8;
    /// CONTINUATION
    pub const CONTINUATION: u8 = 0x9;
}

/// Flags of frames (RFC 9113 section 6).
pub mod flag {
    /// END_STREAM
    pub const END_STREAM: u8 = 0x1;
    /// ACK, of SETTINGS and PING.
    pub const ACK: u8 = 0x1;
    /// END_HEADERS
    pub const END_HEADERS: u8 = 0x4;
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// Its bytes.
    ///
    /// # Panics
    /// When the payload is longer than 2²⁴ − 1 bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a payload that no frame holds");
        assert!(length < 1 << 24, "a payload that no frame holds");
        let [_, length @ ..] = length.to_be_bytes();
        [&length, [self.kind, self.flags].as_slice(), &self.stream.to_be_bytes(), &self.payload].concat()
    }

    /// The number that its payload begins with: the code of RST_STREAM, the increment of WINDOW_UPDATE.
    pub fn number(&self) -> Option<u32> {
        self.payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// The error code of a GOAWAY.
    pub fn goaway_code(&self) -> Option<u32> {
        self.payload.get(4..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

/// A header block, each field as a literal that is never indexed.
///
/// # Panics
/// When a name or value is longer than 64 KiB.
pub fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0x10);
        for text in [name.as_ref(), value.as_ref()] {
            put_length(&mut block, text.len());
            block.extend_from_slice(text);
        }
    }
    block
}

/// RFC 7541 section 5.1, with a prefix of 7 bits.
fn put_length(block: &mut Vec<u8>, length: usize) {
    assert!(length <= 1 << 16, "a text of {length} bytes");
    let Some(mut rest) = length.checked_sub(127) else {
        block.push(u8::try_from(length).expect("under 127"));
        return;
    };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).expect("under 128") | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).expect("under 128"));
}

/// The fields of a well-formed head.
pub fn head<'f>(method: &'f str, path: &'f str, more: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
    let mut fields = vec![(":method", method), (":scheme", "http"), (":authority", "gateway.test"), (":path", path)];
    fields.extend_from_slice(more);
    fields
}

/// What came back on one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status of each head: interim ones, and the final one.
    pub statuses: Vec<u16>,
    /// The fields of the final head, without its status.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The fields behind the body.
    pub trailers: Option<Vec<(String, String)>>,
    /// Whether the stream was ended in order.
    pub ended: bool,
    /// The code that the stream was reset with.
    pub reset: Option<u32>,
    /// The code of the connection's GOAWAY, where one came meanwhile.
    pub goaway: Option<u32>,
    /// Whether the connection was closed meanwhile.
    pub closed: bool,
}

impl Answer {
    /// The final status; 0 where there was none.
    pub fn status(&self) -> u16 {
        self.statuses.last().copied().unwrap_or(0)
    }

    /// The value of the one field of that name, or `None`.
    ///
    /// # Panics
    /// When there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(given, _)| given == name);
        let first = found.next();
        assert!(found.next().is_none(), "several {name} in {:?}", self.fields);
        first.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    fn is_over(&self) -> bool {
        self.ended || self.reset.is_some() || self.closed
    }
}

/// One connection.
pub struct Http2 {
    socket: TcpStream,
    decoder: Decoder<'static>,
    unread: Vec<u8>,
    next_stream: u32,
    /// Whether windows are opened again as data comes. Default: yes.
    pub opens_windows: bool,
    /// Whether pings of the server are answered. Default: yes.
    pub answers_pings: bool,
    /// The code of the last GOAWAY.
    pub goaway: Option<u32>,
    /// The settings that the server sent, by number.
    pub settings: Vec<(u16, u32)>,
    /// How many PING frames of this client the server has acknowledged, as far as it was read.
    pub pongs: usize,
    /// By how much the server opened which window.
    windows: Vec<(u32, u32)>,
}

impl std::fmt::Debug for Http2 {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Http2").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Http2 {
    /// A connection that has said nothing yet.
    ///
    /// # Panics
    /// When there is nobody to connect to.
    pub fn silent(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("nobody listens"))
    }

    /// A connection that has sent the preface and empty settings.
    ///
    /// # Panics
    /// As [`Self::silent`].
    pub fn open(address: SocketAddr) -> Self {
        let mut client = Self::silent(address);
        client.greet();
        client
    }

    fn over(socket: TcpStream) -> Self {
        socket.set_nodelay(true).expect("a socket without TCP_NODELAY");
        Self {
            socket,
            decoder: Decoder::new(),
            unread: Vec::new(),
            next_stream: 1,
            opens_windows: true,
            answers_pings: true,
            goaway: None,
            settings: Vec::new(),
            pongs: 0,
            windows: Vec::new(),
        }
    }

    fn greet(&mut self) {
        let settings = Frame::new(kind::SETTINGS, 0, 0, []);
        self.send_bytes(&[PREFACE, &settings.bytes()].concat());
    }

    /// Has the kernel hold no more than about so many bytes that came and were not read.
    ///
    /// # Panics
    /// When it will not.
    pub fn receive_at_once(&self, bytes: usize) {
        SockRef::from(&self.socket).set_recv_buffer_size(bytes).expect("a receive buffer of that size");
    }

    /// Ends the client's side.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn end(&self) {
        self.socket.shutdown(Shutdown::Write).expect("a connection that can be ended");
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// When they cannot be sent.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.try_send_bytes(bytes).expect("the connection takes nothing");
    }

    /// As [`Self::send_bytes`], for a server that may have closed.
    ///
    /// # Errors
    /// When they cannot be sent in [`PATIENCE`].
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.set_write_timeout(Some(PATIENCE))?;
        self.socket.write_all(bytes)
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn send(&mut self, frame: &Frame) {
        self.send_bytes(&frame.bytes());
    }

    /// The number of the next stream that the client opens.
    pub fn new_stream(&mut self) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        stream
    }

    /// Opens a stream with these fields; `ends` where no body follows. Gives its number.
    ///
    /// # Panics
    /// As [`Self::send`].
    pub fn request<N: AsRef<[u8]>, V: AsRef<[u8]>>(&mut self, fields: &[(N, V)], ends: bool) -> u32 {
        let stream = self.new_stream();
        let flags = flag::END_HEADERS | if ends { flag::END_STREAM } else { 0 };
        let block = block(fields);
        // A frame holds 16 KiB (RFC 9113 section 4.2).
        let pieces: Vec<&[u8]> = block.chunks(16 * 1024).collect();
        for (index, piece) in pieces.iter().enumerate() {
            let (kind, flags) = match index {
                0 => (kind::HEADERS, flags),
                _ => (kind::CONTINUATION, flags & flag::END_HEADERS),
            };
            let flags = if index + 1 == pieces.len() { flags } else { flags & !flag::END_HEADERS };
            self.send(&Frame::new(kind, flags, stream, *piece));
        }
        stream
    }

    /// Sends a GET and reads its answer.
    ///
    /// # Panics
    /// As [`Self::answer`].
    pub fn get(&mut self, path: &str, more: &[(&str, &str)]) -> Answer {
        let stream = self.request(&head("GET", path, more), true);
        self.answer(stream)
    }

    /// A piece of a body.
    ///
    /// # Panics
    /// As [`Self::send`].
    pub fn data(&mut self, stream: u32, piece: &[u8], ends: bool) {
        self.send(&Frame::new(kind::DATA, if ends { flag::END_STREAM } else { 0 }, stream, piece));
    }

    /// A whole body, no faster than the server's windows let it. Only one on a connection: what others took of its window is not
    /// counted.
    ///
    /// # Panics
    /// When they do not open for longer than [`PATIENCE`].
    pub fn upload(&mut self, stream: u32, body: &[u8]) {
        const MAX_FRAME: usize = 16 * 1024;
        /// What a connection begins with, and a stream where the settings say nothing (RFC 9113 section 6.9.2).
        const INITIAL: u64 = 65_535;
        let mut sent = 0;
        while sent < body.len() {
            let of_stream = self.settings.iter().rev().find(|(number, _)| *number == 4);
            let of_stream = of_stream.map_or(INITIAL, |(_, window)| u64::from(*window)) + self.opened(stream);
            let room =
                usize::try_from(of_stream.min(INITIAL + self.opened(0))).unwrap_or(usize::MAX).saturating_sub(sent);
            if room == 0 {
                let before = (self.opened(stream), self.opened(0));
                let until = Instant::now() + PATIENCE;
                while before == (self.opened(stream), self.opened(0)) {
                    assert!(Instant::now() < until, "the window stays closed after {sent} bytes");
                    self.read_window(Duration::from_millis(50));
                }
                continue;
            }
            let end = (sent + room.min(MAX_FRAME)).min(body.len());
            self.data(stream, body.get(sent..end).unwrap_or_default(), end == body.len());
            sent = end;
        }
    }

    fn opened(&self, stream: u32) -> u64 {
        self.windows.iter().filter(|(given, _)| *given == stream).map(|(_, opened)| u64::from(*opened)).sum()
    }

    /// Reads what there is of window updates; another frame waits.
    fn read_window(&mut self, within: Duration) {
        if let Some(frame) = self.frame_within(within) {
            panic!("in the middle of an upload came {frame:?}");
        }
    }

    /// Reads until this stream is over.
    ///
    /// # Panics
    /// When that takes longer than [`PATIENCE`].
    pub fn answer(&mut self, stream: u32) -> Answer {
        let answer = self.answer_until(stream, PATIENCE, Answer::is_over);
        assert!(answer.is_over(), "stream {stream} is not over: {answer:?}");
        answer
    }

    /// Reads until what came on this stream is enough, or the time is over. Frames of other streams are lost.
    pub fn answer_until(&mut self, stream: u32, within: Duration, enough: impl Fn(&Answer) -> bool) -> Answer {
        let mut answer = Answer::default();
        self.read_on(&mut answer, stream, within, enough);
        answer
    }

    /// As [`Self::answer_until`], on top of what came before.
    pub fn read_on(&mut self, answer: &mut Answer, stream: u32, within: Duration, enough: impl Fn(&Answer) -> bool) {
        let until = Instant::now() + within;
        while !enough(answer) {
            let Some(frame) = self.frame_within(until.saturating_duration_since(Instant::now())) else {
                answer.goaway = self.goaway;
                answer.closed = self.is_closed();
                return;
            };
            if frame.kind == kind::HEADERS {
                // Of every stream, or the decoder's table would go astray.
                let fields = self.fields(&frame.payload);
                if frame.stream == stream {
                    take_head(answer, fields);
                }
            }
            if frame.stream == stream {
                match frame.kind {
                    kind::DATA => answer.body.extend_from_slice(&frame.payload),
                    kind::RST_STREAM => answer.reset = frame.number(),
                    _ => {}
                }
                answer.ended |= matches!(frame.kind, kind::DATA | kind::HEADERS) && frame.flags & flag::END_STREAM != 0;
            }
            answer.goaway = self.goaway;
        }
    }

    fn fields(&mut self, block: &[u8]) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields = self.decoder.decode(block).unwrap_or_else(|error| panic!("a header block: {error:?}"));
        fields.iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    /// The next frame, unless none comes within this time or the connection ends. Acknowledgements, and what this client answers by
    /// itself, are not shown.
    pub fn frame_within(&mut self, within: Duration) -> Option<Frame> {
        let until = Instant::now() + within;
        loop {
            let frame = self.any_frame(until)?;
            match (frame.kind, frame.flags & flag::ACK) {
                (kind::SETTINGS, 0) => {
                    for setting in frame.payload.chunks_exact(6) {
                        if let [a, b, value @ ..] = setting {
                            let value = u32::from_be_bytes(value.try_into().unwrap_or_default());
                            self.settings.push((u16::from_be_bytes([*a, *b]), value));
                        }
                    }
                    self.answer_with(&Frame::new(kind::SETTINGS, flag::ACK, 0, []));
                }
                (kind::PING, 0) if self.answers_pings => {
                    self.answer_with(&Frame::new(kind::PING, flag::ACK, 0, frame.payload));
                }
                (kind::SETTINGS, flag::ACK) => {}
                (kind::PING, flag::ACK) => self.pongs += 1,
                (kind::WINDOW_UPDATE, _) => self.windows.push((frame.stream, frame.number().unwrap_or(0))),
                (kind::DATA, _) if self.opens_windows && !frame.payload.is_empty() => {
                    let length = u32::try_from(frame.payload.len()).unwrap_or(u32::MAX).to_be_bytes();
                    self.answer_with(&Frame::new(kind::WINDOW_UPDATE, 0, 0, length));
                    self.answer_with(&Frame::new(kind::WINDOW_UPDATE, 0, frame.stream, length));
                    return Some(frame);
                }
                (kind::GOAWAY, _) => {
                    self.goaway = frame.goaway_code();
                    return Some(frame);
                }
                _ => return Some(frame),
            }
        }
    }

    /// A server that has closed takes no answer, and need not.
    fn answer_with(&mut self, frame: &Frame) {
        drop(self.try_send_bytes(&frame.bytes()));
    }

    fn any_frame(&mut self, until: Instant) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take_frame() {
                return Some(frame);
            }
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(left)).ok()?;
            let mut piece = [0; 16 * 1024];
            match self.socket.read(&mut piece) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.unread.extend_from_slice(piece.get(..count)?),
            }
        }
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let [a, b, c, kind, flags, stream @ ..] = *self.unread.first_chunk::<9>()?;
        let end = 9 + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c));
        let payload = self.unread.get(9..end)?.to_vec();
        self.unread.drain(..end);
        Some(Frame { kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff, payload })
    }

    /// Whether the server has closed the connection, as far as can be told at once.
    pub fn is_closed(&self) -> bool {
        let mut byte = [0];
        let blocking = self.socket.set_read_timeout(Some(Duration::from_millis(1)));
        match blocking.and_then(|()| self.socket.peek(&mut byte)) {
            Ok(count) => count == 0,
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        }
    }

    /// Reads until the server closes the connection, and says whether it did within this time.
    pub fn closed_within(&mut self, within: Duration) -> bool {
        let until = Instant::now() + within;
        while self.frame_within(until.saturating_duration_since(Instant::now())).is_some() {}
        self.is_closed()
    }
}

fn take_head(answer: &mut Answer, fields: Vec<(String, String)>) {
    let status = fields.iter().find(|(name, _)| name == ":status").and_then(|(_, status)| status.parse().ok());
    match status {
        Some(status) => {
            answer.statuses.push(status);
            answer.fields = fields.into_iter().filter(|(name, _)| name != ":status").collect();
        }
        None => answer.trailers = Some(fields),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_read_back_by_a_decoder() {
        let long = "x".repeat(20_000);
        let fields = [(":method", "GET"), ("x-empty", ""), ("x-127", &"a".repeat(127)), ("x-long", &long)];
        let read = Decoder::new().decode(&block(&fields)).unwrap();
        let read: Vec<_> =
            read.iter().map(|(name, value)| (str::from_utf8(name).unwrap(), str::from_utf8(value).unwrap())).collect();
        assert_eq!(read, fields);
    }

    #[test]
    fn a_frame_is_nine_bytes_and_its_payload() {
        let frame = Frame::new(kind::RST_STREAM, 0, 5, 8u32.to_be_bytes());
        assert_eq!(frame.bytes(), [0, 0, 4, 3, 0, 0, 0, 0, 5, 0, 0, 0, 8]);
        assert_eq!(frame.number(), Some(8));
    }
}
