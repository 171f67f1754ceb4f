//! The little of WebSocket (RFC 6455) that a gateway needs: whether the upstream's 101 answers this handshake, where a frame
//! ends, and how to say goodbye. It reads no payload.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use data_encoding::BASE64;
use http::header::{HeaderMap, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};

/// The upgrade token.
pub const PROTOCOL: &str = "websocket";

/// Close codes (RFC 6455 section 7.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// The server goes down.
    GoingAway,
    /// What goes on here violates the server's policy.
    PolicyViolation,
}

impl CloseCode {
    fn number(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::PolicyViolation => 1008,
        }
    }
}

/// The one key of a handshake: 16 bytes in base64 (RFC 6455 section 4.2.1).
///
/// # Errors
/// What is wrong with it, for the operator.
pub fn key(headers: &HeaderMap) -> Result<String, &'static str> {
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err("not exactly one Sec-WebSocket-Key") };
    let valid = BASE64.decode(key.as_bytes()).is_ok_and(|bytes| bytes.len() == 16);
    let text = key.to_str().ok().filter(|_| valid).ok_or("a Sec-WebSocket-Key that is not 16 bytes in base64")?;
    Ok(text.to_owned())
}

/// Whether the head of an answer accepts the handshake of this key: exactly one `Sec-WebSocket-Accept`, and the right one.
/// Anything else would have been said without regard to the request, by a cache for example.
pub fn accepts(headers: &HeaderMap, key: &str) -> bool {
    const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let expected = BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, [key, GUID].concat().as_bytes()).as_ref());
    let mut accepts = headers.get_all(SEC_WEBSOCKET_ACCEPT).iter();
    matches!((accepts.next(), accepts.next()), (Some(accept), None) if accept.as_bytes() == expected.as_bytes())
}

/// A close frame from the server's side, unmasked. The reason is cut to the 123 bytes that fit.
pub fn close_frame(code: CloseCode, reason: &str) -> Vec<u8> {
    const FIN_AND_CLOSE: u8 = 0x88;
    const REASON_BYTES: usize = 123;
    let reason = reason.get(..reason.floor_char_boundary(REASON_BYTES)).unwrap_or_default();
    // INVARIANT: at most 125.
    let length = u8::try_from(reason.len() + 2).unwrap_or(2);
    let mut frame = vec![FIN_AND_CLOSE, length];
    frame.extend_from_slice(&code.number().to_be_bytes());
    frame.extend_from_slice(reason.as_bytes());
    frame
}

/// Follows the frames of one direction, to know whether one is under way. It keeps at most the 14 bytes of a frame's head.
#[derive(Debug, Clone, Default)]
pub struct Frames {
    head: [u8; 14],
    head_len: usize,
    /// What is left of the payload of the frame whose head is complete.
    payload_left: u64,
    /// A close frame has passed.
    closed: bool,
}

impl Frames {
    /// These bytes passed.
    pub fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let taken = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(bytes.len());
                self.payload_left -= taken as u64;
                bytes = bytes.get(taken..).unwrap_or_default();
                continue;
            }
            let Some((byte, rest)) = bytes.split_first() else { return };
            bytes = rest;
            if let Some(place) = self.head.get_mut(self.head_len) {
                *place = *byte;
                self.head_len += 1;
            }
            self.finish_head();
        }
    }

    /// Whether another frame may be written here, and would be read.
    pub fn is_at_boundary(&self) -> bool {
        self.head_len == 0 && self.payload_left == 0 && !self.closed
    }

    /// RFC 6455 section 5.2.
    fn finish_head(&mut self) {
        const CLOSE: u8 = 0x8;
        let [first, second, rest @ ..] = self.head;
        if self.head_len < 2 {
            return;
        }
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        if self.head_len < 2 + extended + mask {
            return;
        }
        let long = |bytes: &[u8]| bytes.iter().fold(0, |length: u64, byte| (length << 8) | u64::from(*byte));
        self.payload_left = match extended {
            0 => u64::from(second & 0x7f),
            _ => long(rest.get(..extended).unwrap_or_default()),
        };
        self.closed |= first & 0x0f == CLOSE;
        self.head_len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    /// The example of RFC 6455 section 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn only_the_answer_to_this_very_key_is_accepted() {
        let check = |values: &[&str], expected: bool| {
            assert_eq!(accepts(&headers("sec-websocket-accept", values), KEY), expected, "{values:?}");
        };
        check(&[ACCEPT], true);
        check(&[], false);
        check(&[ACCEPT, ACCEPT], false);
        check(&["S3pPLMBiTxaQ9kYGzzhZRbK+xOo="], false);
        check(&[KEY], false);
        check(&[""], false);
    }

    #[test]
    fn a_key_is_one_and_of_16_bytes() {
        let check = |values: &[&str], expected: bool| {
            assert_eq!(key(&headers("sec-websocket-key", values)).is_ok(), expected, "{values:?}");
        };
        check(&[KEY], true);
        check(&[], false);
        check(&[KEY, KEY], false);
        check(&["AAAA"], false);
        check(&["dGhlIHNhbXBsZSBub25jZQ"], false);
        check(&["x"], false);
        check(&["AAAAAAAAAAAAAAAAAAAAAAA="], false);
    }

    #[test]
    fn a_close_frame_has_its_code_and_a_reason_that_fits() {
        assert_eq!(close_frame(CloseCode::GoingAway, ""), [0x88, 2, 0x03, 0xe9]);
        assert_eq!(close_frame(CloseCode::PolicyViolation, "ab"), [0x88, 4, 0x03, 0xf0, b'a', b'b']);
        let long = close_frame(CloseCode::PolicyViolation, &"é".repeat(100));
        assert_eq!((long[1], long.len()), (124, 126));
        let mut frames = Frames::default();
        frames.follow(&long);
        assert!(!frames.is_at_boundary(), "behind a close nothing may follow");
    }

    /// Frames of every form of length, masked and not, with a payload that looks like heads.
    fn samples() -> Vec<Vec<u8>> {
        let mut samples = Vec::new();
        for (opcode, length) in [(0x81_u8, 0_usize), (0x82, 1), (0x01, 125), (0x80, 126), (0x89, 5), (0x82, 70_000)] {
            for mask in [false, true] {
                let mut frame = vec![opcode];
                let bit = if mask { 0x80 } else { 0 };
                match length {
                    0..=125 => frame.push(bit | u8::try_from(length).unwrap()),
                    126..=0xffff => {
                        frame.push(bit | 126);
                        frame.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
                    }
                    _ => {
                        frame.push(bit | 127);
                        frame.extend_from_slice(&(length as u64).to_be_bytes());
                    }
                }
                if mask {
                    frame.extend_from_slice(&[1, 2, 3, 4]);
                }
                frame.extend(std::iter::repeat_n(0x88, length));
                samples.push(frame);
            }
        }
        samples
    }

    #[test]
    fn a_boundary_is_known_however_the_bytes_are_cut() {
        for frame in samples() {
            for piece in [1, 2, 3, 7, 16 * 1024] {
                let mut frames = Frames::default();
                let mut passed = 0;
                for bytes in frame.chunks(piece) {
                    frames.follow(bytes);
                    passed += bytes.len();
                    assert_eq!(frames.is_at_boundary(), passed == frame.len(), "{piece}: {passed} of {}", frame.len());
                }
            }
        }
        let mut frames = Frames::default();
        frames.follow(&samples().concat());
        assert!(frames.is_at_boundary());
    }

    #[test]
    fn a_length_that_nobody_can_send_is_counted_and_no_more() {
        let mut frames = Frames::default();
        frames.follow(&[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 2, 3]);
        assert!(!frames.is_at_boundary());
    }
}
