//! The proof that an event is where it must be before its answer is sent.
//!
//! Usually nothing is waited for: a receipt is then settled from the start and costs nothing. Where the configuration wants
//! events on disk before the answer (`fsync = "always"`), or lets answers wait for a place (`on_full = "block"`), each sink that is
//! waited for reports to the receipt once it has written the event, or that it never will. The one who waits is woken once, by the
//! last. A sink that goes away without a word has lost the event: nobody waits for what cannot come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

/// What an answer waits for before it is sent.
#[derive(Debug, Default)]
#[must_use = "an answer must not be sent before its receipt is settled"]
pub struct Receipt(Option<Arc<Outstanding>>);

/// What came of the waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The event is wherever it must be: the answer may be sent.
    Kept,
    /// A sink that must have it never will, such as one that was shut down meanwhile. The loss is counted there.
    Lost,
}

impl Receipt {
    /// One of an event that is lost from the start.
    pub(crate) fn lost() -> Self {
        let outstanding = Outstanding { lost: AtomicBool::new(true), ..Outstanding::of(0, None) };
        Self(Some(Arc::new(outstanding)))
    }

    /// Whether the event is kept and nothing is waited for (any more).
    pub fn is_settled(&self) -> bool {
        self.0.as_ref().is_none_or(|outstanding| outstanding.settled() == Some(Settled::Kept))
    }

    /// Ready once every sink that is waited for has the event, or will never have it.
    pub fn poll_settled(&self, cx: &mut Context<'_>) -> Poll<Settled> {
        let Some(outstanding) = &self.0 else { return Poll::Ready(Settled::Kept) };
        outstanding.waker.register(cx.waker());
        // Looked at after the waker is there: whoever settles it in between wakes it.
        outstanding.settled().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(outstanding) = &self.0 {
            outstanding.forsaken.store(true, SeqCst);
        }
    }
}

/// What a receipt waits for.
#[derive(Debug)]
struct Outstanding {
    /// How many sinks have not reported yet.
    sinks: AtomicUsize,
    /// One of them never will have the event.
    lost: AtomicBool,
    /// Nobody waits any more.
    forsaken: AtomicBool,
    waker: AtomicWaker,
    /// Since when a full sink has held up the answer, and where that is counted.
    blocked: Option<(Instant, Arc<Blocked>)>,
}

impl Outstanding {
    fn of(sinks: usize, blocked: Option<Arc<Blocked>>) -> Self {
        Self {
            sinks: AtomicUsize::new(sinks),
            lost: AtomicBool::new(false),
            forsaken: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            blocked: blocked.map(|blocked| (Instant::now(), blocked)),
        }
    }

    fn settled(&self) -> Option<Settled> {
        if self.sinks.load(SeqCst) > 0 {
            return None;
        }
        Some(if self.lost.load(SeqCst) { Settled::Lost } else { Settled::Kept })
    }

    /// The last sink has reported.
    fn settle(&self) {
        if let Some((since, blocked)) = &self.blocked {
            let waited = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
            blocked.micros.fetch_add(waited, SeqCst);
        }
        self.waker.wake();
    }
}

/// How often, and how long, answers were held up because a sink that blocks was full.
#[derive(Debug, Default)]
pub(crate) struct Blocked {
    pub(crate) answers: AtomicU64,
    micros: AtomicU64,
}

impl Blocked {
    pub(crate) fn time(&self) -> Duration {
        Duration::from_micros(self.micros.load(SeqCst))
    }
}

/// A receipt as its sinks see it, and which of them it waits for: one bit for each.
#[derive(Debug)]
pub(crate) struct Awaited {
    outstanding: Arc<Outstanding>,
    sinks: u64,
}

impl Awaited {
    /// A receipt that waits for these sinks: one bit for each, at least one. `blocked`: where it is counted that a full one makes it wait.
    pub(crate) fn new(sinks: u64, blocked: Option<&Arc<Blocked>>) -> (Self, Receipt) {
        if let Some(blocked) = blocked {
            blocked.answers.fetch_add(1, SeqCst);
        }
        let count = usize::try_from(sinks.count_ones()).unwrap_or_default();
        let outstanding = Arc::new(Outstanding::of(count, blocked.cloned()));
        (Self { outstanding: Arc::clone(&outstanding), sinks }, Receipt(Some(outstanding)))
    }

    /// Whether the one who waited has gone away.
    pub(crate) fn is_forsaken(&self) -> bool {
        self.outstanding.forsaken.load(SeqCst)
    }

    /// This sink has the event.
    fn report(&self, sink: u64) {
        if self.sinks & sink != 0 && self.outstanding.sinks.fetch_sub(1, SeqCst) == 1 {
            self.outstanding.settle();
        }
    }

    /// This sink will never have it.
    pub(crate) fn lose(&self, sink: u64) {
        if self.sinks & sink != 0 {
            self.outstanding.lost.store(true, SeqCst);
            self.report(sink);
        }
    }
}

impl Drop for Awaited {
    /// Whoever has not reported by now never will.
    fn drop(&mut self) {
        if self.outstanding.sinks.load(SeqCst) > 0 {
            self.outstanding.lost.store(true, SeqCst);
            self.outstanding.sinks.store(0, SeqCst);
            self.outstanding.settle();
        }
    }
}

/// The receipts of a group of events, shared by the sinks; usually there is none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting(Option<Arc<[Awaited]>>);

impl Waiting {
    pub(crate) fn new(awaited: Vec<Awaited>) -> Self {
        Self((!awaited.is_empty()).then(|| awaited.into()))
    }

    /// Whether anybody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The sink of this bit has written the group.
    pub(crate) fn report(&self, sink: u64) {
        self.0.iter().flat_map(|awaited| awaited.iter()).for_each(|awaited| awaited.report(sink));
    }

    /// The sink of this bit will never write it.
    pub(crate) fn lose(&self, sink: u64) {
        self.0.iter().flat_map(|awaited| awaited.iter()).for_each(|awaited| awaited.lose(sink));
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn poll(receipt: &Receipt) -> Poll<Settled> {
        receipt.poll_settled(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_receipt_that_waits_for_nothing_is_settled() {
        assert!(Receipt::default().is_settled());
        assert_eq!(poll(&Receipt::default()), Poll::Ready(Settled::Kept));
    }

    #[test]
    fn a_receipt_of_what_was_lost_says_so_and_nobody_waits_for_it() {
        let receipt = Receipt::lost();
        assert!(!receipt.is_settled());
        assert_eq!(poll(&receipt), Poll::Ready(Settled::Lost));
    }

    #[test]
    fn a_receipt_is_settled_by_the_last_of_its_sinks_and_by_no_other() {
        let (awaited, receipt) = Awaited::new(0b101, None);
        let waiting = Waiting::new(vec![awaited]);
        waiting.report(0b010);
        waiting.report(0b001);
        assert_eq!(poll(&receipt), Poll::Pending);
        waiting.report(0b100);
        assert_eq!(poll(&receipt), Poll::Ready(Settled::Kept));
        assert!(receipt.is_settled());
        drop(waiting);
        assert!(receipt.is_settled(), "what was kept stays kept");
    }

    #[test]
    fn one_sink_that_loses_it_is_enough_once_the_others_have_said_what_became_of_it() {
        let (awaited, receipt) = Awaited::new(0b11, None);
        awaited.lose(0b100);
        awaited.lose(0b001);
        assert_eq!(poll(&receipt), Poll::Pending);
        awaited.report(0b010);
        assert_eq!(poll(&receipt), Poll::Ready(Settled::Lost));
    }

    #[test]
    fn a_sink_that_goes_away_without_a_word_has_lost_it() {
        let (awaited, receipt) = Awaited::new(0b11, None);
        let waiting = Waiting::new(vec![awaited]);
        let other = waiting.clone();
        waiting.report(0b01);
        drop(waiting);
        assert_eq!(poll(&receipt), Poll::Pending);
        drop(other);
        assert_eq!(poll(&receipt), Poll::Ready(Settled::Lost));
    }

    #[test]
    fn what_held_up_an_answer_is_counted_and_who_goes_away_is_known() {
        let blocked = Arc::new(Blocked::default());
        let (awaited, receipt) = Awaited::new(0b1, Some(&blocked));
        assert_eq!((blocked.answers.load(SeqCst), awaited.is_forsaken()), (1, false));
        drop(receipt);
        assert!(awaited.is_forsaken());
        std::thread::sleep(Duration::from_millis(2));
        awaited.report(0b1);
        assert!(blocked.time() >= Duration::from_millis(2));
    }
}
