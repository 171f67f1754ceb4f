//! The proof that an event is where it must be before its answer is sent.
//!
//! Usually nothing is waited for: a receipt is then settled from the start and costs nothing. Where the configuration wants
//! events on disk before the answer (`fsync = "always"`), or lets answers wait for a place (`on_full = "block"`), each sink that is
//! waited for reports to the receipt once it has written the event. The one who waits is woken once, by the last.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// What an answer waits for before it is sent.
#[derive(Debug, Default)]
#[must_use = "an answer must not be sent before its receipt is settled"]
pub struct Receipt(Option<Arc<Outstanding>>);

impl Receipt {
    /// One that is never settled: the event is lost, and the answer must not be sent without it.
    pub(crate) fn never() -> Self {
        Self(Some(Arc::new(Outstanding { sinks: AtomicUsize::new(1), waker: AtomicWaker::new() })))
    }

    /// Whether nothing is waited for (any more).
    pub fn is_settled(&self) -> bool {
        self.0.as_ref().is_none_or(|outstanding| outstanding.sinks.load(SeqCst) == 0)
    }

    /// Ready once every sink that is waited for has the event.
    pub fn poll_settled(&self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(outstanding) = &self.0 {
            outstanding.waker.register(cx.waker());
        }
        // Looked at after the waker is there: whoever settles it in between wakes it.
        if self.is_settled() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// What a receipt waits for.
#[derive(Debug)]
pub(crate) struct Outstanding {
    /// How many sinks have not reported yet.
    sinks: AtomicUsize,
    waker: AtomicWaker,
}

/// A receipt as its sinks see it, and which of them it waits for: one bit for each.
#[derive(Debug, Clone)]
pub(crate) struct Awaited {
    outstanding: Arc<Outstanding>,
    sinks: u64,
}

impl Awaited {
    /// A receipt that waits for these sinks: one bit for each, at least one.
    pub(crate) fn new(sinks: u64) -> (Self, Receipt) {
        let count = usize::try_from(sinks.count_ones()).unwrap_or_default();
        let outstanding = Arc::new(Outstanding { sinks: AtomicUsize::new(count), waker: AtomicWaker::new() });
        (Self { outstanding: Arc::clone(&outstanding), sinks }, Receipt(Some(outstanding)))
    }

    /// This sink has the event. Of one that was lost nobody reports, and its answer is never sent.
    fn report(&self, sink: u64) {
        if self.sinks & sink != 0 && self.outstanding.sinks.fetch_sub(1, SeqCst) == 1 {
            self.outstanding.waker.wake();
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
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_receipt_that_waits_for_nothing_is_settled() {
        assert!(Receipt::default().is_settled());
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(Receipt::default().poll_settled(&mut cx), Poll::Ready(()));
    }

    #[test]
    fn a_receipt_of_what_was_lost_is_never_settled() {
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(Receipt::never().poll_settled(&mut cx), Poll::Pending);
    }

    #[test]
    fn a_receipt_is_settled_by_the_last_of_its_sinks_and_by_no_other() {
        let (awaited, receipt) = Awaited::new(0b101);
        let waiting = Waiting::new(vec![awaited]);
        let mut cx = Context::from_waker(Waker::noop());
        waiting.report(0b010);
        waiting.report(0b001);
        assert_eq!(receipt.poll_settled(&mut cx), Poll::Pending);
        waiting.report(0b100);
        assert_eq!(receipt.poll_settled(&mut cx), Poll::Ready(()));
        assert!(receipt.is_settled());
    }
}
