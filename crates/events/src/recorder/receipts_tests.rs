//! What an answer waits for, and what it is told: the event is kept, or it is lost. Nobody waits for what cannot come.

use std::task::{Context, Poll, Wake, Waker};

use super::start::assemble;
use super::tests::{Gate, LONG, SHORT, event, opened, stats};
use super::*;
use crate::receipt::Settled;
use crate::settings::{Fsync, OnFull, SinkKind, SinkSettings};

fn poll(receipt: &Receipt) -> Poll<Settled> {
    receipt.poll_settled(&mut Context::from_waker(Waker::noop()))
}

fn settled(receipt: &Receipt) -> Option<Settled> {
    testing::until(LONG, || match poll(receipt) {
        Poll::Ready(settled) => Some(settled),
        Poll::Pending => None,
    })
}

/// A recorder whose sinks are gates: those with a name that begins with `b` block.
fn recorder(queue: usize, fsync: Fsync, gates: &[(&str, &Gate)]) -> Recorder {
    let sinks = gates.iter().map(|(name, gate)| {
        let mut opened = opened(name, queue, Box::new((*gate).clone()));
        opened.settings.on_full = if name.starts_with('b') { OnFull::Block } else { OnFull::Drop };
        if name.ends_with("file") {
            opened.settings.kind = SinkKind::File { path: "/dev/null".into() };
        }
        opened
    });
    assemble(&Settings { fsync, ..Settings::default() }, sinks.collect()).unwrap()
}

fn held() -> Gate {
    let gate = Gate::default();
    gate.set(|state| state.held = true);
    gate
}

/// Fills a lane that blocks up to its last place, and leaves one event in the hands of its writer.
fn fill(recorder: &Recorder, gate: &Gate) -> u64 {
    recorder.record(event());
    gate.wait_for_attempts(1);
    let mut recorded = 1;
    while stats(recorder).dropped() == 0 {
        recorder.record(event());
        recorded += 1;
    }
    recorded
}

#[test]
fn an_answer_waits_for_a_place_in_a_sink_that_blocks_beyond_every_bound_and_nothing_is_dropped() {
    let gate = held();
    let recorder = recorder(4, Fsync::Interval, &[("block", &gate)]);
    let recorded = fill(&recorder, &gate);
    let waiting: Vec<Receipt> = (0..50).map(|_| recorder.record_answered(event())).collect();
    assert!(waiting.iter().all(|receipt| poll(receipt).is_pending()));
    // What has no answer to hold back was dropped once, to find the bound. Nothing else is.
    assert_eq!(stats(&recorder).dropped(), 1);
    assert_eq!(recorder.blocked().0, 50);
    gate.set(|state| state.held = false);
    assert!(waiting.iter().all(|receipt| settled(receipt) == Some(Settled::Kept)));
    assert!(recorder.blocked().1 > Duration::ZERO);
    let stats = stats(&recorder);
    assert_eq!((stats.exported, stats.dropped()), (recorded - 1 + 50, 1));
    assert_eq!(recorder.recorded(), recorded + 50);
    assert_eq!(recorder.shutdown(LONG), 0);
    let numbers: Vec<u64> = gate.log().iter().map(|number| number.parse().unwrap()).collect();
    assert!(numbers.is_sorted() && numbers.last() == Some(&(recorded + 50)));
}

#[test]
fn a_caller_that_hangs_up_does_not_take_its_event_with_it() {
    let (gate, other) = (held(), Gate::default());
    let recorder = recorder(4, Fsync::Interval, &[("block", &gate), ("other", &other)]);
    let recorded = fill(&recorder, &gate);
    assert!(recorder.shared.feeds[1].lane.wait_resolved(Instant::now() + LONG));
    drop((0..3).map(|_| recorder.record_answered(event())).collect::<Vec<Receipt>>());
    gate.set(|state| state.held = false);
    // A flush waits for what has its places, and these have none until the recorder's thread finds them some.
    let all = || recorder.stats().iter().all(|stats| stats.exported + stats.dropped() == recorded + 3).then_some(());
    assert!(testing::until(LONG, all).is_some(), "{:?}", recorder.stats());
    let [blocking, free] = recorder.stats().try_into().unwrap();
    // What has no answer to hold back was dropped once, to find the bound.
    assert_eq!((blocking.exported, blocking.dropped_queue_full, blocking.dropped()), (recorded - 1 + 3, 1, 1));
    assert_eq!(free.exported + free.dropped(), recorded + 3);
    assert_eq!(recorder.shutdown(LONG), 0);
}

#[test]
fn events_of_callers_that_hung_up_have_a_bound_and_beyond_it_are_counted_as_that() {
    let (gate, other) = (held(), Gate::default());
    let recorder = recorder(4, Fsync::Interval, &[("block", &gate), ("other", &other)]);
    let recorded = fill(&recorder, &gate);
    assert!(recorder.shared.feeds[1].lane.wait_resolved(Instant::now() + LONG));
    // One whose caller stays counts for nothing there.
    let stays = recorder.record_answered(event());
    let mut hung_up = 0;
    let bound = testing::until(LONG, || {
        drop(recorder.record_answered(event()));
        hung_up += 1;
        // The recorder's thread has to notice each: until it has, there is nothing to see.
        (stats(&recorder).dropped_hung_up > 0).then_some(())
    });
    assert!(bound.is_some(), "there is no bound");
    gate.set(|state| state.held = false);
    assert_eq!(settled(&stays), Some(Settled::Kept));
    let all = |stats: &SinkStats| stats.exported + stats.dropped() == recorded + 1 + hung_up;
    assert!(
        testing::until(LONG, || recorder.stats().iter().all(all).then_some(())).is_some(),
        "{:?}",
        recorder.stats()
    );
    let [blocking, free] = recorder.stats().try_into().unwrap();
    assert_eq!(blocking.dropped(), blocking.dropped_hung_up + 1, "{blocking:?}");
    assert_eq!(free.dropped_hung_up, 0, "{free:?}");
    assert_eq!(recorder.shutdown(LONG), 0);
}

#[test]
fn a_sink_that_blocks_and_is_closed_withholds_the_answer_as_a_file_under_always_does() {
    let gate = Gate::default();
    let recorder = recorder(4, Fsync::Interval, &[("block", &gate), ("other", &Gate::default())]);
    let kept = recorder.record_answered(event());
    assert_eq!(settled(&kept), Some(Settled::Kept));
    assert_eq!(recorder.shutdown(LONG), 0);
    assert_eq!(poll(&recorder.record_answered(event())), Poll::Ready(Settled::Lost));
    assert_eq!(stats(&recorder).dropped_closed, 1);
}

#[test]
fn under_always_an_answer_waits_for_a_place_in_a_file_and_then_for_the_disk() {
    let gate = held();
    let recorder = recorder(2, Fsync::Always, &[("file", &gate)]);
    let first = recorder.record_answered(event());
    gate.wait_for_attempts(1);
    let others: Vec<Receipt> = (0..5).map(|_| recorder.record_answered(event())).collect();
    assert!(poll(&first).is_pending() && others.iter().all(|receipt| poll(receipt).is_pending()));
    gate.set(|state| state.held = false);
    assert!(others.iter().chain([&first]).all(|receipt| settled(receipt) == Some(Settled::Kept)));
    assert_eq!((stats(&recorder).exported, stats(&recorder).dropped()), (6, 0));
    assert_eq!(recorder.shutdown(LONG), 0);
}

#[test]
fn what_a_shutdown_leaves_unwritten_is_lost_and_nobody_waits_for_it() {
    let gate = Gate::default();
    gate.set(|state| state.fails = true);
    let recorder = recorder(2, Fsync::Always, &[("file", &gate)]);
    let receipts: Vec<Receipt> = (0..5).map(|_| recorder.record_answered(event())).collect();
    gate.wait_for_attempts(1);
    recorder.shutdown(SHORT);
    assert!(receipts.iter().all(|receipt| settled(receipt) == Some(Settled::Lost)), "{:?}", stats(&recorder));
    // And what comes afterwards.
    let late = recorder.record_answered(event());
    assert_eq!((poll(&late), late.is_settled()), (Poll::Ready(Settled::Lost), false));
    let stats = stats(&recorder);
    assert_eq!((stats.exported, stats.dropped_closed, stats.queue_depth), (0, 6, 0));
    assert_eq!(recorder.recorded(), 6);
}

#[test]
fn by_default_no_answer_waits_whatever_becomes_of_its_event() {
    let gate = held();
    let recorder = recorder(1, Fsync::Interval, &[("drop", &gate)]);
    for _ in 0..20 {
        let receipt = recorder.record_answered(event());
        assert!(receipt.is_settled() && poll(&receipt) == Poll::Ready(Settled::Kept));
    }
    assert_eq!((stats(&recorder).dropped(), recorder.blocked().0), (19, 0));
    gate.set(|state| state.held = false);
    recorder.shutdown(LONG);
    assert!(recorder.record_answered(event()).is_settled());
}

#[test]
fn a_sink_whose_thread_is_gone_has_lost_what_it_was_to_write() {
    struct Panics;
    impl crate::sinks::Sink for Panics {
        fn write(&mut self, _lines: &[u8]) -> std::io::Result<usize> {
            panic!("on purpose")
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut sink = opened("file", 10, Box::new(Panics));
    sink.settings = SinkSettings::new("file", SinkKind::File { path: "/dev/null".into() });
    let recorder = assemble(&Settings { fsync: Fsync::Always, ..Settings::default() }, vec![sink]).unwrap();
    let first = recorder.record_answered(event());
    assert_eq!(settled(&first), Some(Settled::Lost));
    let second = recorder.record_answered(event());
    assert_eq!(settled(&second), Some(Settled::Lost));
    recorder.shutdown(SHORT);
}

/// Looks at the counters when it is told.
struct Looks {
    recorder: Recorder,
    seen: Mutex<Option<SinkStats>>,
}

impl Wake for Looks {
    fn wake(self: Arc<Self>) {
        *self.seen.lock().unwrap() = Some(stats(&self.recorder));
    }
}

/// Whoever has an answer, and then looks at the metrics, sees its event there.
#[test]
fn an_answer_is_told_of_its_event_once_that_is_counted() {
    for (fails, counted) in [(false, (1, 0, 0)), (true, (0, 1, 0))] {
        let gate = held();
        let recorder = recorder(2, Fsync::Always, &[("file", &gate)]);
        let receipt = recorder.record_answered(event());
        gate.wait_for_attempts(1);
        let looks = Arc::new(Looks { recorder: recorder.clone(), seen: Mutex::default() });
        let waker = Waker::from(Arc::clone(&looks));
        assert!(receipt.poll_settled(&mut Context::from_waker(&waker)).is_pending());
        gate.set(|state| (state.held, state.fails) = (false, fails));
        if fails {
            assert_eq!(recorder.shutdown(SHORT), 1);
        } else {
            assert!(recorder.flush(LONG));
            assert!(receipt.is_settled(), "after a flush no answer waits for what it has written");
        }
        let seen = testing::until(LONG, || looks.seen.lock().unwrap().clone()).unwrap();
        assert_eq!((seen.exported, seen.dropped_closed, seen.queue_depth), counted);
    }
}
