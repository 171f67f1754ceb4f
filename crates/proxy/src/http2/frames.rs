//! The frames of one direction of an HTTP/2 connection, seen by their headers (RFC 9113 §4.1). Payloads are skipped unread, but
//! for the code of a reset.

/// What one frame says in its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Bytes of payload.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    /// The error code of an RST_STREAM; 0 for any other frame.
    pub(super) code: u32,
}

/// Types of frames (RFC 9113 §6).
pub(super) mod kind {
    pub(in crate::http2) const DATA: u8 = 0x0;
    pub(in crate::http2) const HEADERS: u8 = 0x1;
    pub(in crate::http2) const PRIORITY: u8 = 0x2;
    pub(in crate::http2) const RST_STREAM: u8 = 0x3;
    pub(in crate::http2) const SETTINGS: u8 = 0x4;
    pub(in crate::http2) const PUSH_PROMISE: u8 = 0x5;
    pub(in crate::http2) const PING: u8 = 0x6;
    pub(in crate::http2) const GOAWAY: u8 = 0x7;
    pub(in crate::http2) const WINDOW_UPDATE: u8 = 0x8;
    pub(in crate::http2) const CONTINUATION: u8 = 0x9;
}

/// Flags of frames (RFC 9113 §6).
pub(super) mod flag {
    pub(in crate::http2) const END_STREAM: u8 = 0x1;
    /// Of SETTINGS and PING.
    pub(in crate::http2) const ACK: u8 = 0x1;
    pub(in crate::http2) const END_HEADERS: u8 = 0x4;
}

/// A frame's header.
const HEADER: usize = 9;
/// An error code behind it.
const CODE: usize = 4;

/// Cuts a direction into frames, whatever pieces its bytes come in.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Bytes that are none of a frame that is looked at: the client's preface, or the rest of a payload.
    skip: usize,
    held: [u8; HEADER + CODE],
    have: usize,
}

impl Frames {
    /// Of a direction whose first `skip` bytes are no frames.
    pub(super) fn behind(skip: usize) -> Self {
        Self { skip, ..Self::default() }
    }

    /// The next frame whose header is complete in `bytes`, which is cut off up to there. `None` when the bytes are used up.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<FrameHeader> {
        loop {
            let skipped = self.skip.min(bytes.len());
            *bytes = bytes.get(skipped..).unwrap_or_default();
            self.skip -= skipped;
            let wanted = self.wanted();
            let taken = (wanted - self.have).min(bytes.len());
            let (piece, rest) = bytes.split_at_checked(taken)?;
            self.held.get_mut(self.have..self.have + taken)?.copy_from_slice(piece);
            *bytes = rest;
            self.have += taken;
            if self.have < wanted {
                return None;
            }
            // Seen only now: that it is a reset, and goes on.
            if self.have < self.wanted() {
                continue;
            }
            return Some(self.take());
        }
    }

    /// Whether some of the last frame's payload is still to come.
    pub(super) fn is_in_payload(&self) -> bool {
        self.skip > 0
    }

    /// How many bytes are held before the frame that arrives can be told.
    fn wanted(&self) -> usize {
        let is_reset = self.have >= HEADER && self.held.get(3) == Some(&kind::RST_STREAM) && self.length() >= CODE;
        if is_reset { HEADER + CODE } else { HEADER }
    }

    fn length(&self) -> usize {
        let [a, b, c, ..] = self.held;
        usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
    }

    fn take(&mut self) -> FrameHeader {
        let [_, _, _, kind, flags, stream @ .., c0, c1, c2, c3] = self.held;
        let has_code = self.have > HEADER;
        let length = self.length();
        self.skip = length - if has_code { CODE } else { 0 };
        self.have = 0;
        FrameHeader {
            length,
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
            code: if has_code { u32::from_be_bytes([c0, c1, c2, c3]) } else { 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn all(frames: &mut Frames, pieces: &[&[u8]]) -> Vec<FrameHeader> {
        let mut found = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            found.extend(std::iter::from_fn(|| frames.next(&mut rest)));
            assert!(rest.is_empty());
        }
        found
    }

    #[test]
    fn payloads_are_skipped_and_the_code_of_a_reset_is_read() {
        let bytes = [
            b"preface".to_vec(),
            frame(kind::HEADERS, flag::END_HEADERS, 1, b"block"),
            frame(kind::DATA, flag::END_STREAM, 1, b""),
            frame(kind::RST_STREAM, 0, 0x8000_0003, &[0, 0, 0, 8]),
            frame(kind::RST_STREAM, 0, 5, &[1, 2]),
            frame(kind::PING, flag::ACK, 0, &[0; 8]),
        ]
        .concat();
        let expected = |kind, flags, stream, length, code| FrameHeader { length, kind, flags, stream, code };
        let wanted = vec![
            expected(kind::HEADERS, flag::END_HEADERS, 1, 5, 0),
            expected(kind::DATA, flag::END_STREAM, 1, 0, 0),
            expected(kind::RST_STREAM, 0, 3, 4, 8),
            // Its size is wrong, which is for h2 to say.
            expected(kind::RST_STREAM, 0, 5, 2, 0),
            expected(kind::PING, flag::ACK, 0, 8, 0),
        ];
        let mut frames = Frames::behind(7);
        assert_eq!(all(&mut frames, &[&bytes]), wanted);
        assert!(!frames.is_in_payload());
        let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(all(&mut Frames::behind(7), &bytewise), wanted);
    }

    proptest! {
        #[test]
        fn any_bytes_cut_anywhere_are_the_same_frames(bytes: Vec<u8>, cut in 0..200usize) {
            let cut = cut.min(bytes.len());
            let whole = all(&mut Frames::behind(3), &[&bytes]);
            prop_assert_eq!(all(&mut Frames::behind(3), &[&bytes[..cut], &bytes[cut..]]), whole);
        }
    }
}
