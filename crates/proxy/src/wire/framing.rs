//! Where a message's body ends: the three framings of a request, and a tracker for the chunked one (RFC 9112 §7.1).
//!
//! Of a request the tracker decodes nothing. It tells how many of the bytes at hand still belong to the body, so that the gate hands
//! on exactly those, and it is at least as strict as the decoder behind it: what that one would read differently, or
//! answer in its own words, is malformed here first. Of an answer it is the decoder, and takes what servers are known to send besides.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::fields::split_field_line;
use super::grammar::trim_ows;

/// How the end of a request's body is found (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFraming {
    /// Neither Content-Length nor Transfer-Encoding: no body.
    None,
    /// Content-Length, in bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// Follows one chunked body.
#[derive(Debug, Clone)]
pub struct ChunkedTracker {
    state: State,
    /// Digits of the chunk size, or extension bytes, on this line.
    line_bytes: usize,
    extension_bytes: usize,
    trailer_bytes: usize,
    trailer_fields: usize,
    max_trailer_fields: usize,
    of_answer: bool,
    /// The trailer line that is not complete; empty, and not allocated, while there are no trailers.
    trailer_line: Vec<u8>,
    /// The trailer fields, where somebody wants them.
    trailers: Option<Box<HeaderMap>>,
}

/// What `ChunkedTracker::feed` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fed {
    /// How many of the bytes belong to the body and are well-formed.
    pub consumed: usize,
    /// What comes behind them.
    pub progress: ChunkedProgress,
}

/// What `ChunkedTracker::next_piece` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextPiece {
    /// How many bytes of framing come first.
    pub framing: usize,
    /// How many bytes of data follow them; 0 where none are there.
    pub data: usize,
    /// What comes behind them.
    pub progress: ChunkedProgress,
}

/// How far a chunked body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkedProgress {
    /// The body goes on.
    More,
    /// The body ended with the last consumed byte.
    Ended,
    /// The byte behind the consumed ones breaks the framing. The text is for the operator.
    Malformed(&'static str),
}

/// 64 bits.
const MAX_SIZE_DIGITS: usize = 16;
/// Extensions of one chunk, semicolon included.
const MAX_EXTENSION_BYTES: usize = 256;
/// Extensions of the whole body: hyper gives up at 16 KiB, without an event.
const MAX_EXTENSION_BYTES_OF_BODY: usize = 16 * 1024 - 1;
/// Trailer lines of a request, line ends included.
const MAX_TRAILER_BYTES: usize = 8 * 1024;
/// The same of an answer. Fewer of them pass on; those that do not may be more.
const MAX_TRAILER_BYTES_OF_ANSWER: usize = 64 * 1024;
/// Blanks behind the size of a chunk of an answer.
const MAX_BLANKS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size { size: u64 },
    Blanks { size: u64 },
    Extension { size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailer,
    TrailerLf,
    Ended,
    Malformed(&'static str),
}

impl ChunkedTracker {
    /// Begins at the first byte of a body; at most `max_trailer_fields` fields may follow its last chunk.
    #[must_use]
    pub fn new(max_trailer_fields: usize) -> Self {
        Self {
            state: State::Size { size: 0 },
            line_bytes: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
            trailer_fields: 0,
            max_trailer_fields,
            of_answer: false,
            trailer_line: Vec::new(),
            trailers: None,
        }
    }

    /// The same for the body of an answer, which is read a little less strictly, since nobody else reads it after this: blanks may
    /// stand behind the size of a chunk, extensions and trailers may be longer.
    #[must_use]
    pub fn of_an_answer(max_trailer_fields: usize) -> Self {
        Self { of_answer: true, ..Self::new(max_trailer_fields) }
    }

    /// Follows the body through `bytes`. Consumes all of them unless the body ends or breaks among them; once it did,
    /// consumes none.
    pub fn feed(&mut self, bytes: &[u8]) -> Fed {
        let mut consumed = 0;
        while let Some(rest) = bytes.get(consumed..).filter(|rest| !rest.is_empty()) {
            match self.state {
                State::Ended | State::Malformed(_) => break,
                State::Data { left } => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    consumed += taken;
                    let left = left - taken as u64;
                    self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                }
                _ => {
                    self.state = rest.first().map_or(self.state, |&byte| self.step(byte));
                    if !matches!(self.state, State::Malformed(_)) {
                        consumed += 1;
                    }
                }
            }
        }
        Fed { consumed, progress: self.progress() }
    }

    /// The same, one piece of the data at a time, for who takes the body apart: the framing before the next data, and as much of
    /// that as is there. Call again for more until there is none.
    pub fn next_piece(&mut self, bytes: &[u8]) -> NextPiece {
        let mut framing = 0;
        while let Some(byte) = bytes.get(framing) {
            match self.state {
                State::Ended | State::Malformed(_) => break,
                State::Data { left } => {
                    let data = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - framing);
                    let left = left - data as u64;
                    self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                    return NextPiece { framing, data, progress: ChunkedProgress::More };
                }
                _ => {
                    self.state = self.step(*byte);
                    if !matches!(self.state, State::Malformed(_)) {
                        framing += 1;
                    }
                }
            }
        }
        NextPiece { framing, data: 0, progress: self.progress() }
    }

    /// Keeps the trailer fields from now on.
    pub fn keep_trailers(&mut self) {
        self.trailers.get_or_insert_default();
    }

    /// The trailer fields, where they are kept.
    pub fn take_trailers(&mut self) -> Option<Box<HeaderMap>> {
        self.trailers.take()
    }

    fn progress(&self) -> ChunkedProgress {
        match self.state {
            State::Ended => ChunkedProgress::Ended,
            State::Malformed(detail) => ChunkedProgress::Malformed(detail),
            _ => ChunkedProgress::More,
        }
    }

    /// The state behind one byte outside chunk data.
    fn step(&mut self, byte: u8) -> State {
        match (self.state, byte) {
            (State::Size { size }, _) => self.step_size(size, byte),
            (State::Blanks { size }, _) => self.step_blanks(size, byte),
            (State::Extension { size }, b'\r') => State::SizeLf { size },
            (State::Extension { size }, b'\t' | b' '..=b'~') => self.count_extension_byte(size),
            (State::Extension { size }, 0x80..) if self.of_answer => self.count_extension_byte(size),
            (State::Extension { .. }, _) => State::Malformed("a byte that a chunk extension cannot have"),
            (State::SizeLf { size: 0 }, b'\n') => State::Trailer,
            (State::SizeLf { size }, b'\n') => State::Data { left: size },
            (State::SizeLf { .. }, _) => State::Malformed("a chunk size line that does not end in CRLF"),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.line_bytes = 0;
                State::Size { size: 0 }
            }
            (State::DataCr | State::DataLf, _) => State::Malformed("chunk data that does not end in CRLF"),
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::Trailer, b'\n') => State::Malformed("a trailer line that ends in a bare LF"),
            (State::Trailer, _) => self.extend_trailer_line(byte),
            (State::TrailerLf, b'\n') => self.end_trailer_line(),
            (State::TrailerLf, _) => State::Malformed("a bare CR in a trailer line"),
            (State::Data { .. } | State::Ended | State::Malformed(_), _) => self.state,
        }
    }

    fn step_size(&mut self, size: u64, byte: u8) -> State {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ if self.line_bytes == 0 => return State::Malformed("a chunk without a size"),
            b'\r' => return State::SizeLf { size },
            b';' => {
                self.line_bytes = 0;
                return self.count_extension_byte(size);
            }
            b' ' | b'\t' if self.of_answer => {
                self.line_bytes = 0;
                return self.step_blanks(size, byte);
            }
            _ => return State::Malformed("a byte that a chunk size cannot have"),
        };
        if self.line_bytes == MAX_SIZE_DIGITS {
            return State::Malformed("a chunk size over 16 digits");
        }
        self.line_bytes += 1;
        // INVARIANT: at most 16 digits of 4 bits each were shifted in, so none is lost.
        State::Size { size: size << 4 | u64::from(digit) }
    }

    /// Behind the size of a chunk that servers fill up with blanks.
    fn step_blanks(&mut self, size: u64, byte: u8) -> State {
        match byte {
            b' ' | b'\t' if self.line_bytes < MAX_BLANKS => {
                self.line_bytes += 1;
                State::Blanks { size }
            }
            b'\r' => State::SizeLf { size },
            b';' => {
                self.line_bytes = 0;
                self.count_extension_byte(size)
            }
            _ => State::Malformed("a byte that a chunk size cannot have"),
        }
    }

    fn count_extension_byte(&mut self, size: u64) -> State {
        self.line_bytes += 1;
        self.extension_bytes += 1;
        let of_chunk = if self.of_answer { MAX_EXTENSION_BYTES_OF_BODY } else { MAX_EXTENSION_BYTES };
        if self.line_bytes > of_chunk || self.extension_bytes > MAX_EXTENSION_BYTES_OF_BODY {
            return State::Malformed("chunk extensions over the limit");
        }
        State::Extension { size }
    }

    fn extend_trailer_line(&mut self, byte: u8) -> State {
        // Two more bytes end the line, two more the trailers.
        let most = if self.of_answer { MAX_TRAILER_BYTES_OF_ANSWER } else { MAX_TRAILER_BYTES };
        if self.trailer_bytes + self.trailer_line.len() + 1 + 4 > most {
            return State::Malformed("trailers over the limit");
        }
        self.trailer_line.push(byte);
        State::Trailer
    }

    fn end_trailer_line(&mut self) -> State {
        if self.trailer_line.is_empty() {
            return State::Ended;
        }
        if self.trailer_fields == self.max_trailer_fields {
            return State::Malformed("too many trailer fields");
        }
        let Ok((name, value)) = split_field_line(&self.trailer_line) else {
            return State::Malformed("a trailer line that is not a field");
        };
        if let Some(trailers) = &mut self.trailers {
            let kept = HeaderName::from_bytes(name).ok().zip(HeaderValue::from_bytes(trim_ows(value)).ok());
            if kept.is_none_or(|(name, value)| trailers.try_append(name, value).is_err()) {
                return State::Malformed("a trailer line that is not a field");
            }
        }
        self.trailer_fields += 1;
        self.trailer_bytes += self.trailer_line.len() + 2;
        self.trailer_line.clear();
        State::Trailer
    }
}
