//! What a writer does when its sink misbehaves: half-taken lines, errors, a new file in between.

use jiff::Timestamp;
use uuid::Uuid;

use super::*;
use crate::event::{Event, EventKind};
use crate::line::Lines;

/// Takes `takes` bytes at each call, in turn; 0 stands for an error.
struct Stubborn {
    takes: Vec<usize>,
    got: Vec<u8>,
}

impl Sink for Stubborn {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let most = if self.takes.is_empty() { usize::MAX } else { self.takes.remove(0) };
        if most == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = most.min(lines.len());
        self.got.extend_from_slice(&lines[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn batch(lines: &str) -> Batch {
    Batch { lines: lines.into(), events: lines.lines().count(), ..Batch::default() }
}

#[test]
fn a_batch_goes_on_at_the_byte_where_the_sink_stopped() {
    let mut batch = batch("first\nsecond\n");
    let mut sink = Stubborn { takes: vec![3, 0, 5, 0], got: Vec::new() };
    batch.write_to(&mut sink).unwrap_err();
    assert_eq!(sink.got, b"fir");
    batch.write_to(&mut sink).unwrap_err();
    batch.write_to(&mut sink).unwrap();
    assert_eq!(sink.got, b"first\nsecond\n");
}

#[test]
fn a_new_file_gets_the_interrupted_line_from_its_start_and_no_earlier_line_again() {
    for (taken, rest) in [(0, "first\nsecond\n"), (5, "first\nsecond\n"), (6, "second\n"), (9, "second\n"), (13, "")] {
        let mut batch = batch("first\nsecond\n");
        batch.written = taken;
        batch.rewind_to_line();
        let mut new_file = Stubborn { takes: Vec::new(), got: Vec::new() };
        batch.write_to(&mut new_file).unwrap();
        assert_eq!(new_file.got, rest.as_bytes(), "after {taken} bytes");
    }
}

#[test]
fn a_sink_that_takes_nothing_is_an_error_and_not_an_endless_loop() {
    struct Nothing;
    impl Sink for Nothing {
        fn write(&mut self, _lines: &[u8]) -> io::Result<usize> {
            Ok(0)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    assert_eq!(batch("first\n").write_to(&mut Nothing).unwrap_err().kind(), io::ErrorKind::WriteZero);
}

#[test]
fn a_batch_is_full_by_events_or_by_bytes() {
    let queued = |message: &str| {
        let mut event = Event::new(EventKind::GatewayStarted, Uuid::nil(), Timestamp::UNIX_EPOCH);
        event.message = Some(message.into());
        Queued { record: event, bytes: 10, events: 1, waiting: Waiting::default() }
    };
    let mut small = Batch::default();
    for _ in 0..BATCH_EVENTS {
        assert!(!small.is_full());
        small.add(&queued(""), Format::Native).unwrap();
        // So that the bytes do not fill it first.
        small.lines.clear();
    }
    assert!(small.is_full());
    assert_eq!((small.events, small.held_bytes), (BATCH_EVENTS, 10 * BATCH_EVENTS));

    let mut large = Batch::default();
    large.add(&queued(&"x".repeat(BATCH_BYTES)), Format::Native).unwrap();
    assert!(large.is_full());
    large.clear();
    assert!(!large.is_full() && large.lines.capacity() <= KEPT_BUFFER_BYTES);
}

/// Cannot force anything to the disk the first time.
#[derive(Default)]
struct Forgetful {
    got: Vec<u8>,
    asked: bool,
}

impl Sink for Forgetful {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.got.extend_from_slice(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.asked, true) { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
    }
}

#[test]
fn what_could_not_be_forced_to_the_disk_is_written_again() {
    let mut batch = batch("first\nsecond\n");
    let mut sink = Forgetful::default();
    batch.write_to(&mut sink).unwrap_err();
    batch.write_to(&mut sink).unwrap();
    assert_eq!(sink.got, b"first\nsecond\nfirst\nsecond\n");
}

#[test]
fn native_lines_are_brought_into_the_form_of_the_sink_and_what_is_no_event_is_left_out_and_counted() {
    let event = || Event::new(EventKind::GatewayStarted, Uuid::nil(), Timestamp::UNIX_EPOCH);
    let mut lines = Vec::new();
    event().append(&mut lines).unwrap();
    lines.extend_from_slice(b"rubbish\n");
    event().append(&mut lines).unwrap();
    for format in Format::ALL {
        let queued =
            Queued { record: Lines(Arc::new(lines.clone())), bytes: 9, events: 3, waiting: Waiting::default() };
        let mut batch = batch("before\n");
        let lost = batch.add(&queued, format).unwrap();
        let text = String::from_utf8(batch.lines).unwrap();
        // The native form is not looked at again: it is what was written.
        let (expected, records) = if format == Format::Native { (0, 4) } else { (1, 3) };
        assert_eq!((lost, batch.events, batch.held_bytes), (expected, records, 9), "{}", format.as_str());
        assert_eq!((text.lines().count(), text.starts_with("before\n")), (records, true), "{text}");
        let mut one = Vec::new();
        format.append(lines.split(|byte| *byte == b'\n').next().unwrap(), &mut one).unwrap();
        assert_eq!(text.lines().last().unwrap().as_bytes(), one, "{}", format.as_str());
    }
}
