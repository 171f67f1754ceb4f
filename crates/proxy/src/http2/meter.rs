//! What an HTTP/2 connection has done so far, counted by its frames: how much work it made that asked for nothing, and which
//! requests h2 refused by itself.
//!
//! **Work for nothing.** A PING must be answered, a reset stream has cost its request, settings must be acknowledged, and none of it
//! moves anything: floods of those are how HTTP/2 servers are worn down (CVE-2019-9512, -9515, -9518, CVE-2023-44487,
//! CVE-2024-27316, CVE-2025-8671). h2 bounds what it keeps of them, not how often they come. So each costs from a budget that
//! time, answers and data fill again; a connection that uses it up is closed. An honest client that cancels half of its requests
//! never comes near it.
//!
//! **Refused by h2.** A head that is malformed in HTTP/2's own terms never reaches the stack: h2 resets its stream, or answers 431. The
//! meter sees the head come and the reset go, and tells, so that this refusal has its event, too.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::frames::{FrameHeader, Frames, flag, kind};

/// What a frame that asks for nothing costs.
const FRAME: i64 = 10;
/// A window update: one or two for each frame of data are usual, and cost little.
const WINDOW_UPDATE: i64 = 1;
/// Priorities, and frames of an unknown type: ignored, so they cost less.
const IGNORED: i64 = 5;
/// What a connection may do at once: 256 of the dear frames.
const BUDGET: i64 = 256 * FRAME;
/// What it gets back each second: 64 of them.
const PER_SECOND: i64 = 64 * FRAME;
/// Each answer pays for one reset.
const ANSWER: i64 = FRAME;
/// So many bytes of data that were sent pay for one window update. Clients that open their windows most often do it for each 4 KiB
/// that they read, for the stream and for the connection; one that takes data byte by byte is not paid for (CVE-2019-9511).
const PAID_BYTES: usize = 1_024;
/// A proxy in front speaks for many clients on one connection, and passes on their resets.
const TRUSTED: i64 = 16;
/// Heads that may wait to be accepted by h2 before it is a flood, where the limit of streams is not higher: h2 reads all that is there
/// before it hands on.
const MIN_UNACCEPTED: usize = 1_024;
/// The client's preface (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The limit in words, for whoever reads that it was passed.
pub(super) const LIMIT: &str =
    "256 frames at once, and 64 a second, that ask for nothing (resets, PING, SETTINGS, empty DATA)";

/// A request that h2 refused before anybody saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unseen {
    pub(super) stream: u32,
    /// The error code of the reset (RFC 9113 §7); `None` where h2 answered 431.
    pub(super) code: Option<u32>,
}

/// The meter of one connection.
#[derive(Debug)]
pub(super) struct Meter {
    inbound: Frames,
    outbound: Frames,
    left: i64,
    /// How much more than others this client may do.
    scale: i64,
    filled: Instant,
    exhausted: bool,
    last_read: Instant,
    /// Bytes of the preface have come.
    begun: bool,
    last_stream: u32,
    /// The head whose fields are arriving.
    arriving: Option<u32>,
    /// When the first of its frames came.
    arriving_since: Option<Instant>,
    /// The last frame was one of a head.
    in_head: bool,
    /// Heads that came whole and that h2 has not handed on.
    unaccepted: VecDeque<u32>,
    max_unaccepted: usize,
    unseen: VecDeque<Unseen>,
    /// The client takes no byte since then.
    pub(super) write_wait_since: Option<Instant>,
    /// The connection is over but for the client's end, which has a time of its own.
    pub(super) parting: bool,
    /// When data was sent last.
    sent_data: Option<Instant>,
    /// Bytes of data that have not paid for a window update yet.
    unpaid: usize,
    /// Something of a stream was sent since the last PING: clients measure their way by one then, and that one is free.
    ping_is_due: bool,
    /// The stream whose data is arriving.
    receiving: Option<u32>,
}

impl Meter {
    /// Of a connection that may have so many streams; of a proxy that is trusted or of a client.
    pub(super) fn new(max_streams: u32, trusted: bool) -> Self {
        let scale = if trusted { TRUSTED } else { 1 };
        let now = Instant::now();
        Self {
            inbound: Frames::behind(PREFACE.len()),
            outbound: Frames::default(),
            left: BUDGET * scale,
            scale,
            filled: now,
            exhausted: false,
            last_read: now,
            begun: false,
            last_stream: 0,
            arriving: None,
            arriving_since: None,
            in_head: false,
            unaccepted: VecDeque::new(),
            max_unaccepted: (max_streams as usize).saturating_mul(2).max(MIN_UNACCEPTED),
            unseen: VecDeque::new(),
            write_wait_since: None,
            parting: false,
            sent_data: None,
            unpaid: 0,
            ping_is_due: false,
            receiving: None,
        }
    }

    /// The client sent these bytes.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        self.begun |= !bytes.is_empty();
        self.last_read = Instant::now();
        let mut rest = bytes;
        while let Some(frame) = self.inbound.next(&mut rest) {
            self.received(frame);
        }
        if self.arriving.is_none() && !(self.in_head && self.inbound.is_in_payload()) {
            self.arriving_since = None;
        }
    }

    /// These bytes were sent to the client.
    pub(super) fn wrote(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(frame) = self.outbound.next(&mut rest) {
            self.sent(frame);
        }
    }

    fn received(&mut self, frame: FrameHeader) {
        self.in_head = matches!(frame.kind, kind::HEADERS | kind::CONTINUATION);
        self.receiving = (frame.kind == kind::DATA).then_some(frame.stream);
        let spent = match frame.kind {
            kind::DATA if frame.length == 0 && frame.flags & flag::END_STREAM == 0 => FRAME,
            kind::DATA => 0,
            kind::HEADERS => {
                self.head(frame);
                0
            }
            kind::CONTINUATION => {
                if frame.flags & flag::END_HEADERS != 0 {
                    let arrived = self.arriving.take();
                    self.arrived(arrived);
                }
                FRAME
            }
            kind::PING if frame.flags & flag::ACK == 0 && std::mem::take(&mut self.ping_is_due) => 0,
            kind::SETTINGS | kind::PING if frame.flags & flag::ACK != 0 => IGNORED,
            kind::RST_STREAM | kind::SETTINGS | kind::PING | kind::GOAWAY | kind::PUSH_PROMISE => FRAME,
            kind::WINDOW_UPDATE => WINDOW_UPDATE,
            kind::PRIORITY => IGNORED,
            _ => IGNORED,
        };
        self.left -= spent;
    }

    /// A HEADERS frame: of a new stream, or of trailers.
    fn head(&mut self, frame: FrameHeader) {
        self.arriving_since = Some(self.last_read);
        let opened = (frame.stream > self.last_stream).then_some(frame.stream);
        self.last_stream = self.last_stream.max(frame.stream);
        if frame.flags & flag::END_HEADERS != 0 {
            self.arrived(opened);
        } else {
            // Of trailers only the time is of interest.
            self.arriving = Some(opened.unwrap_or(0));
        }
    }

    fn arrived(&mut self, stream: Option<u32>) {
        let Some(stream) = stream.filter(|stream| *stream != 0) else { return };
        if self.unaccepted.len() >= self.max_unaccepted {
            self.left = i64::MIN / 2;
            return;
        }
        self.unaccepted.push_back(stream);
    }

    fn sent(&mut self, frame: FrameHeader) {
        self.ping_is_due |= matches!(frame.kind, kind::DATA | kind::HEADERS);
        match frame.kind {
            kind::DATA => {
                self.sent_data = Some(Instant::now());
                self.unpaid += frame.length;
                let paid = self.unpaid / PAID_BYTES;
                self.unpaid %= PAID_BYTES;
                self.refund(i64::try_from(paid).unwrap_or(0) * WINDOW_UPDATE);
            }
            kind::HEADERS if self.forget(frame.stream) => {
                self.unseen.push_back(Unseen { stream: frame.stream, code: None });
            }
            kind::RST_STREAM => {
                if self.forget(frame.stream) {
                    self.unseen.push_back(Unseen { stream: frame.stream, code: Some(frame.code) });
                }
                // Made to reset: the client broke the protocol on this stream.
                if is_clients_fault(frame.code) {
                    self.left -= FRAME;
                }
            }
            _ => {}
        }
    }

    /// h2 handed on the request of this stream. It may have been reset already, for what came behind its head.
    pub(super) fn accepted(&mut self, stream: u32) {
        if !self.forget(stream) {
            self.unseen.retain(|unseen| unseen.stream != stream);
        }
    }

    /// A request was answered to its end.
    pub(super) fn answered(&mut self) {
        self.refund(ANSWER);
    }

    /// A request that h2 refused, if there is another one to tell of. To be asked when h2 has nothing more to hand on.
    pub(super) fn unseen(&mut self) -> Option<Unseen> {
        self.unseen.pop_front()
    }

    /// Whether the connection made too much work for nothing. Once it did, it stays so.
    pub(super) fn is_exhausted(&mut self) -> bool {
        if self.exhausted || self.left > 0 {
            return self.exhausted;
        }
        // Only now is it worth looking at the clock.
        let now = Instant::now();
        let ms = i64::try_from((now - self.filled).as_millis()).unwrap_or(i64::MAX);
        self.filled = now;
        self.refund(ms.saturating_mul(PER_SECOND * self.scale) / 1_000);
        self.exhausted = self.left <= 0;
        self.exhausted
    }

    /// When the head that arrives must be there.
    pub(super) fn head_deadline(&self, timeout: Duration) -> Option<Instant> {
        self.arriving_since.map(|since| since + timeout)
    }

    /// When a byte came last.
    pub(super) fn last_read(&self) -> Instant {
        self.last_read
    }

    /// When data of this stream came last, as long as the frame that it comes in is not whole: h2 does not tell of it before.
    pub(super) fn receiving(&self, stream: u32) -> Option<Instant> {
        (self.receiving == Some(stream) && self.inbound.is_in_payload()).then_some(self.last_read)
    }

    /// When data was sent last.
    pub(super) fn sent_data(&self) -> Option<Instant> {
        self.sent_data
    }

    /// Whether any byte came.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    fn refund(&mut self, paid: i64) {
        self.left = self.left.saturating_add(paid).min(BUDGET * self.scale);
    }

    fn forget(&mut self, stream: u32) -> bool {
        match self.unaccepted.iter().position(|each| *each == stream) {
            Some(index) => self.unaccepted.remove(index).is_some(),
            None => false,
        }
    }
}

/// Whether a reset with this code answers a breach of the protocol by the client (RFC 9113 §7).
fn is_clients_fault(code: u32) -> bool {
    const NO_ERROR: u32 = 0x0;
    const INTERNAL_ERROR: u32 = 0x2;
    const CANCEL: u32 = 0x8;
    !matches!(code, NO_ERROR | INTERNAL_ERROR | CANCEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn metered() -> Meter {
        let mut meter = Meter::new(100, false);
        meter.read(PREFACE);
        meter.read(&frame(kind::SETTINGS, 0, 0, b""));
        meter
    }

    #[tokio::test(start_paused = true)]
    async fn work_for_nothing_ends_a_connection_and_other_work_does_not() {
        let check = |kind, flags, stream: u32, payload: &[u8], expected: Option<usize>| {
            let mut meter = metered();
            let count = (1..=5_000).find(|_| {
                meter.read(&frame(kind, flags, stream, payload));
                meter.is_exhausted()
            });
            assert_eq!(count, expected, "{kind} {flags}");
        };
        check(kind::PING, 0, 0, &[0; 8], Some(255));
        check(kind::SETTINGS, 0, 0, b"", Some(255));
        check(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8], Some(255));
        check(kind::DATA, 0, 1, b"", Some(255));
        check(kind::CONTINUATION, 0, 1, b"", Some(255));
        check(kind::PRIORITY, 0, 1, &[0; 5], Some(510));
        check(0xfa, 0, 0, b"?", Some(510));
        check(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1], Some(2_550));
        check(kind::DATA, 0, 1, b"x", None);
        check(kind::DATA, flag::END_STREAM, 1, b"", None);
    }

    #[tokio::test(start_paused = true)]
    async fn time_answers_and_data_fill_the_budget_again() {
        let mut meter = metered();
        let ping = frame(kind::PING, 0, 0, &[0; 8]);
        for _ in 0..10 {
            (0..64).for_each(|_| meter.read(&ping));
            assert!(!meter.is_exhausted());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let reset = frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]);
        for _ in 0..10_000 {
            meter.read(&reset);
            meter.answered();
            assert!(!meter.is_exhausted());
        }
        // Go's client opens both windows for each 4 KiB that it reads, and gRPC's measures its way by a PING for each message.
        let (update, piece) = (frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 16, 0]), frame(kind::DATA, 0, 1, &[0; 4_096]));
        for _ in 0..10_000 {
            meter.wrote(&piece);
            meter.read(&[update.clone(), update.clone()].concat());
            assert!(!meter.is_exhausted());
        }
        for _ in 0..10_000 {
            meter.wrote(&frame(kind::DATA, 0, 1, b"message"));
            meter.read(&ping);
            assert!(!meter.is_exhausted());
        }
        // Byte by byte (CVE-2019-9511).
        let taken = (1..100_000).find(|_| {
            meter.wrote(&frame(kind::DATA, 0, 1, b"x"));
            meter.read(&update);
            meter.is_exhausted()
        });
        assert!(taken.is_some_and(|taken| taken < 4_000), "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_makes_the_server_reset_pays_for_it() {
        let check = |code: u8, expected: Option<usize>| {
            let mut meter = metered();
            let count = (1..=1_000).find(|_| {
                meter.wrote(&frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, code]));
                meter.is_exhausted()
            });
            assert_eq!(count, expected, "{code}");
        };
        for ours in [0, 2, 8] {
            check(ours, None);
        }
        for theirs in [1, 3, 5, 6, 7, 11] {
            check(theirs, Some(255));
        }
    }

    #[test]
    fn a_head_that_h2_refuses_is_told_once() {
        let mut meter = metered();
        let head = |stream| frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream, b"block");
        for stream in [1, 3, 5, 7] {
            meter.read(&head(stream));
        }
        meter.accepted(3);
        meter.accepted(7);
        assert_eq!(meter.unseen(), None, "as long as h2 has not said so");
        meter.read(&head(9));
        meter.wrote(&frame(kind::RST_STREAM, 0, 9, &[0, 0, 0, 3]));
        meter.accepted(9);
        assert_eq!(meter.unseen(), None, "it was reset for its body, and is handed on all the same");
        meter.wrote(&frame(kind::RST_STREAM, 0, 5, &[0, 0, 0, 1]));
        meter.wrote(&frame(kind::HEADERS, flag::END_HEADERS, 3, b"200"));
        meter.wrote(&frame(kind::RST_STREAM, 0, 3, &[0, 0, 0, 1]));
        meter.wrote(&frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1, b"431"));
        meter.wrote(&frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 7]));
        assert_eq!(meter.unseen(), Some(Unseen { stream: 5, code: Some(1) }));
        assert_eq!(meter.unseen(), Some(Unseen { stream: 1, code: None }));
        assert_eq!(meter.unseen(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_time_from_its_first_frame_to_its_last_byte() {
        const TEN: Duration = Duration::from_secs(10);
        let mut meter = metered();
        assert_eq!(meter.head_deadline(TEN), None);
        let began = Instant::now();
        meter.read(&frame(kind::HEADERS, 0, 1, b"block"));
        tokio::time::advance(Duration::from_secs(5)).await;
        let last = frame(kind::CONTINUATION, flag::END_HEADERS, 1, b"block");
        meter.read(&last[..11]);
        assert_eq!(meter.head_deadline(TEN), Some(began + TEN));
        meter.read(&last[11..]);
        assert_eq!(meter.head_deadline(TEN), None);
        // A body that comes in pieces is none.
        meter.read(&frame(kind::DATA, 0, 1, &[0; 100])[..50]);
        assert_eq!(meter.head_deadline(TEN), None);
    }

    #[test]
    fn a_flood_of_heads_that_h2_does_not_take_is_bounded() {
        let mut meter = metered();
        for stream in 0..5_000u32 {
            meter.read(&frame(kind::HEADERS, flag::END_HEADERS, stream * 2 + 1, b"block"));
        }
        assert!(meter.is_exhausted());
        assert_eq!(meter.unaccepted.len(), MIN_UNACCEPTED);
        let mut meter = Meter::new(5_000, false);
        for stream in 0..5_000u32 {
            meter.read(&frame(kind::HEADERS, flag::END_HEADERS, stream * 2 + 1, b"block"));
        }
        assert!(!meter.is_exhausted(), "as many as are permitted, in one read");
    }

    #[test]
    fn a_trusted_proxy_may_do_more() {
        let mut meter = Meter::new(100, true);
        meter.read(PREFACE);
        let reset = frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]);
        let count = (1..10_000).find(|_| {
            meter.read(&reset);
            meter.is_exhausted()
        });
        assert!(count.is_some_and(|count| count >= 4_096), "{count:?}");
    }
}
