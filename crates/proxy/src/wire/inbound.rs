//! What may be handed on to hyper: the pure part of the gate, bytes in and bytes out, without a socket or a clock.

use hyper::rt::ReadBufCursor;

use super::WireLimits;
use super::exchange::{BodyProblem, HeadEvent};
use super::framing::{BodyFraming, ChunkedProgress, ChunkedTracker};
use super::head::{HeadScanner, Scan};
use super::refusal::HeadRefusal;

/// Where the connection is, seen from what the client sends.
#[derive(Debug)]
pub(super) struct Inbound {
    state: State,
    scanner: HeadScanner,
}

#[derive(Debug)]
enum State {
    /// Before a head, or in one that is not complete: nothing of it was handed on.
    Head,
    /// A head passed; `left` bytes of it are still to be handed on.
    HandingOn { left: usize, framing: BodyFraming },
    /// In a body of known length.
    Length { left: u64 },
    /// In a chunked body.
    Chunked(Box<ChunkedTracker>),
    /// A head was refused; the stand-in is handed on.
    StandIn { left: &'static [u8] },
    /// Nothing is handed on any more.
    Over,
}

/// What handing on came to.
pub(super) struct HandedOn {
    /// How many of the bytes are done with: handed on, or dropped.
    pub(super) consumed: usize,
    /// A head was decided upon.
    pub(super) event: Option<HeadEvent>,
    /// What is needed to go on.
    pub(super) wants: Wants,
}

/// What the gate waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// More of a head, or its first byte.
    Head,
    /// The end of the exchange: only then may the next head be looked at.
    EndOfExchange,
    /// More of a body.
    Body,
    /// Room at hyper's side.
    Room,
    /// Nothing: the connection hands on no more.
    Nothing,
    /// To fail, because the body's framing is broken.
    Failure(BodyProblem),
}

/// The request that hyper sees in place of a refused one. `refused.invalid` is no more than a label (RFC 6761 §6.4): the
/// service knows a stand-in by its event, never by its host.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused.invalid\r\nconnection: close\r\n\r\n";
/// The same for HEAD, so that the refusal has no body.
const STAND_IN_FOR_HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nhost: refused.invalid\r\nconnection: close\r\n\r\n";

impl Inbound {
    pub(super) fn new() -> Self {
        Self { state: State::Head, scanner: HeadScanner::default() }
    }

    /// Hands on nothing from now on.
    pub(super) fn end(&mut self) {
        self.state = State::Over;
    }

    /// Refuses the head that is arriving, because it did not end in time.
    pub(super) fn time_out(&mut self, head: &[u8], limits: &WireLimits) -> HeadEvent {
        let refusal = self.scanner.timed_out(head, &limits.head);
        self.refuse(refusal)
    }

    /// Hands on what may be handed on of `bytes`, the bytes that no earlier call consumed. `in_exchange` says that an
    /// earlier request is still being answered.
    pub(super) fn hand_on(
        &mut self,
        bytes: &[u8],
        out: &mut ReadBufCursor<'_>,
        mut in_exchange: bool,
        limits: &WireLimits,
    ) -> HandedOn {
        let mut consumed = 0;
        let mut event = None;
        let wants = loop {
            let rest = bytes.get(consumed..).unwrap_or_default();
            match &mut self.state {
                State::Head if in_exchange => break Wants::EndOfExchange,
                State::Head => {
                    let skipped = self.scanner.skip_empty_lines(rest);
                    consumed += skipped;
                    match self.scanner.scan(rest.get(skipped..).unwrap_or_default(), &limits.head) {
                        Scan::Incomplete => break Wants::Head,
                        Scan::Complete { head_len, facts } => {
                            self.scanner = HeadScanner::default();
                            self.state = State::HandingOn { left: head_len, framing: facts.framing };
                            event = Some(HeadEvent::Accepted(facts));
                        }
                        Scan::Refused(refusal) => event = Some(self.refuse(refusal)),
                    }
                    in_exchange = true;
                }
                State::HandingOn { left, framing } => {
                    let taken = put(out, rest, *left);
                    consumed += taken;
                    *left -= taken;
                    if *left > 0 {
                        break Wants::Room;
                    }
                    self.state = match *framing {
                        BodyFraming::None | BodyFraming::Length(0) => State::Head,
                        BodyFraming::Length(left) => State::Length { left },
                        BodyFraming::Chunked => {
                            State::Chunked(Box::new(ChunkedTracker::new(limits.head.max_header_fields)))
                        }
                    };
                }
                State::Length { left } => {
                    let taken = put(out, rest, usize::try_from(*left).unwrap_or(usize::MAX));
                    consumed += taken;
                    *left -= taken as u64;
                    if *left > 0 {
                        break if taken < rest.len() { Wants::Room } else { Wants::Body };
                    }
                    self.state = State::Head;
                }
                State::Chunked(tracker) => {
                    let offered = rest.get(..out.remaining()).unwrap_or(rest);
                    let fed = tracker.feed(offered);
                    consumed += put(out, offered, fed.consumed);
                    match fed.progress {
                        ChunkedProgress::More if offered.len() < rest.len() => break Wants::Room,
                        ChunkedProgress::More => break Wants::Body,
                        ChunkedProgress::Ended => self.state = State::Head,
                        // The tracker stays as it is and says so again, once hyper has taken the bytes before.
                        ChunkedProgress::Malformed(detail) => {
                            break Wants::Failure(BodyProblem::Malformed(detail));
                        }
                    }
                }
                State::StandIn { left } => {
                    let taken = put(out, left, usize::MAX);
                    *left = left.get(taken..).unwrap_or_default();
                    if !left.is_empty() {
                        break Wants::Room;
                    }
                    self.state = State::Over;
                }
                // What a client sends behind a refusal is dropped, so that nothing can ever take it for a request.
                State::Over => {
                    consumed = bytes.len();
                    break Wants::Nothing;
                }
            }
        };
        HandedOn { consumed, event, wants }
    }

    fn refuse(&mut self, refusal: HeadRefusal) -> HeadEvent {
        let stand_in = if refusal.method.as_deref() == Some("HEAD") { STAND_IN_FOR_HEAD } else { STAND_IN };
        self.scanner = HeadScanner::default();
        self.state = State::StandIn { left: stand_in };
        HeadEvent::Refused(refusal)
    }
}

/// Puts as many of `bytes` as are permitted and fit, and says how many those are.
fn put(out: &mut ReadBufCursor<'_>, bytes: &[u8], permitted: usize) -> usize {
    let taken = bytes.len().min(permitted).min(out.remaining());
    out.put_slice(bytes.get(..taken).unwrap_or_default());
    taken
}
