//! That every event reaches a remote sink at least once and in order, or is counted: through outages, refusals, restarts, damage
//! and a full spool.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Condvar, Mutex};

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::event::Event;
use crate::reason_code::ReasonCode;
use crate::recorder::testing::{Opened, Target, assemble};
use crate::settings::{FoldSettings, OnFull, Settings, SinkKind, SinkSettings, SpoolSettings};
use crate::{Recorder, SinkStats};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

/// A receiver that a test scripts, and that keeps the numbers it accepted.
#[derive(Clone, Default)]
struct Receiver(Arc<(Mutex<Kept>, Condvar)>);

#[derive(Default)]
struct Kept {
    accepted: Vec<u64>,
    calls: usize,
    largest: usize,
    /// What it says next; then it accepts.
    script: VecDeque<Delivery>,
    /// It accepts nothing.
    down: bool,
    /// It says that of everybody, for so long as it is there.
    always: Option<Delivery>,
    /// It takes no batch of more events.
    most: Option<usize>,
}

impl Receiver {
    fn set(&self, change: impl FnOnce(&mut Kept)) {
        change(&mut self.0.0.lock().unwrap());
    }

    fn accepted(&self) -> Vec<u64> {
        self.0.0.lock().unwrap().accepted.clone()
    }

    fn wait(&self, done: impl Fn(&Kept) -> bool) {
        let kept = self.0.0.lock().unwrap();
        let (kept, _) = self.0.1.wait_timeout_while(kept, LONG, |kept| !done(kept)).unwrap();
        assert!(done(&kept), "accepted {} in {} calls", kept.accepted.len(), kept.calls);
    }
}

impl Remote for Receiver {
    fn deliver(&mut self, batch: &[Line<'_>]) -> Delivery {
        let mut kept = self.0.0.lock().unwrap();
        kept.calls += 1;
        kept.largest = kept.largest.max(batch.len());
        self.0.1.notify_all();
        if kept.most.is_some_and(|most| batch.len() > most) {
            return Delivery::TooLarge;
        }
        if kept.down {
            return Delivery::Retry { after: None, why: "down".into() };
        }
        if let Some(always) = &kept.always {
            return always.clone();
        }
        let answer = kept.script.pop_front().unwrap_or(Delivery::Accepted);
        let numbers =
            batch.iter().map(|line| serde_json::from_slice::<Value>(line.json).unwrap()["seq"].as_u64().unwrap());
        match &answer {
            Delivery::Accepted => kept.accepted.extend(numbers),
            Delivery::Refused { which, .. } if which.is_empty() => {}
            Delivery::Refused { which, .. } => {
                let taken: Vec<u64> =
                    numbers.enumerate().filter(|(place, _)| !which.contains(place)).map(|(_, number)| number).collect();
                kept.accepted.extend(taken);
            }
            Delivery::Retry { .. } | Delivery::Barred { .. } | Delivery::TooLarge => {}
        }
        answer
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits { events: 100, bytes: 1 << 20 }
    }
}

fn settings(folder: &Path) -> Settings {
    Settings { spool: Some(SpoolSettings::new(folder.join("spool"))), ..Settings::default() }
}

fn sink(name: &str) -> SinkSettings {
    let retry = RetrySettings { first: Duration::from_millis(1), longest: Duration::from_millis(20), give_up: None };
    SinkSettings { retry, ..SinkSettings::new(name, SinkKind::Stdout) }
}

fn start(settings: &Settings, sinks: &[(SinkSettings, &Receiver)]) -> Recorder {
    let started = || {
        let opened = sinks.iter().map(|(sink, receiver)| Opened {
            settings: sink.clone(),
            target: Target::Remote(Box::new((*receiver).clone())),
        });
        assemble(settings, opened.collect()).ok()
    };
    // A thread that the one before was given too little time to wait for has the spool for a moment longer.
    crate::recorder::testing::until(LONG, started).expect("a recorder that starts")
}

fn record(recorder: &Recorder, events: usize) {
    for _ in 0..events {
        recorder.record(Event::denied(Uuid::now_v7(), Timestamp::UNIX_EPOCH, ReasonCode::RbacNoMatchingGrant));
    }
}

fn stats(recorder: &Recorder) -> SinkStats {
    recorder.stats().remove(0)
}

fn numbers(from: u64, to: u64) -> Vec<u64> {
    (from..=to).collect()
}

#[test]
fn everything_arrives_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::default();
    let recorder = start(&settings(folder.path()), &[(sink("siem"), &receiver)]);
    record(&recorder, 1_000);
    assert!(recorder.flush(LONG));
    assert_eq!(receiver.accepted(), numbers(1, 1_000));
    assert!(receiver.0.0.lock().unwrap().largest <= 100);
    let stats = stats(&recorder);
    assert_eq!((stats.exported, stats.dropped(), stats.queue_depth), (1_000, 0, 0));
    assert_eq!(recorder.shutdown(LONG), 0);
}

#[test]
fn what_fails_for_too_long_is_a_dead_letter_and_what_comes_later_is_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::default();
    receiver.set(|kept| kept.down = true);
    let mut siem = sink("siem");
    siem.retry.give_up = Some(SHORT);
    siem.dead_letter.path = Some(folder.path().join("dead.jsonl"));
    let recorder = start(&settings(folder.path()), &[(siem, &receiver)]);
    record(&recorder, 3);
    let refused = until(|| stats(&recorder).refused == 3);
    assert!(refused, "{:?}", stats(&recorder));
    receiver.set(|kept| kept.down = false);
    record(&recorder, 2);
    assert!(recorder.flush(LONG));
    assert_eq!(receiver.accepted(), numbers(4, 5));
    let stats = stats(&recorder);
    assert_eq!((stats.exported, stats.refused, stats.dropped()), (2, 3, 3));
    let letters = std::fs::read_to_string(folder.path().join("dead.jsonl")).unwrap();
    let letters: Vec<Value> = letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(letters.iter().map(|letter| letter["event"]["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(letters.iter().all(|letter| letter["why"] == "given up: down"), "{letters:?}");
    recorder.shutdown(LONG);
}

/// Looks again and again whether it has come to that.
fn until(done: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while !done() {
        if began.elapsed() > LONG {
            return false;
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    true
}

#[test]
fn an_outage_and_a_restart_in_it_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::default();
    let settings = settings(folder.path());
    let recorder = start(&settings, &[(sink("siem"), &receiver)]);
    record(&recorder, 10);
    assert!(recorder.flush(LONG));
    receiver.set(|kept| kept.down = true);
    record(&recorder, 500);
    receiver.wait(|kept| kept.calls > 3);
    assert!(!recorder.flush(SHORT));
    // What is on its way into the spool waits twice for a moment.
    assert!(recorder.written(LONG));
    assert_eq!(stats(&recorder).queue_depth, 500);
    // What a remote sink has not taken stays in the spool: that is no loss.
    assert_eq!(recorder.shutdown(SHORT), 0);
    drop(recorder);

    let recorder = start(&settings, &[(sink("siem"), &receiver)]);
    assert_eq!(stats(&recorder).queue_depth, 500);
    record(&recorder, 5);
    receiver.set(|kept| kept.down = false);
    assert!(recorder.flush(LONG));
    assert_eq!(receiver.accepted(), [numbers(1, 510), numbers(1, 5)].concat());
    assert_eq!(stats(&recorder).exported, 505);
    recorder.shutdown(LONG);
}

#[test]
fn a_sink_gets_only_what_its_filter_takes_and_goes_on_behind_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let (some, all) = (Receiver::default(), Receiver::default());
    let filter = Filter { reasons: vec![ReasonCode::BanActive], ..Filter::default() };
    let filtering = SinkSettings { filter, ..sink("some") };
    let recorder = start(&settings(folder.path()), &[(filtering, &some), (sink("all"), &all)]);
    record(&recorder, 300);
    recorder.record(Event::denied(Uuid::now_v7(), Timestamp::UNIX_EPOCH, ReasonCode::BanActive));
    record(&recorder, 300);
    assert!(recorder.flush(LONG));
    assert_eq!((some.accepted(), all.accepted().len()), (vec![301], 601));
    let stats = stats(&recorder);
    assert_eq!((stats.exported, stats.filtered, stats.dropped(), stats.queue_depth), (1, 600, 0, 0));
    recorder.shutdown(LONG);
}

#[test]
fn a_sink_that_is_down_does_not_hold_up_another() {
    let folder = tempfile::tempdir().unwrap();
    let (down, up) = (Receiver::default(), Receiver::default());
    down.set(|kept| kept.down = true);
    let recorder = start(&settings(folder.path()), &[(sink("down"), &down), (sink("up"), &up)]);
    record(&recorder, 300);
    up.wait(|kept| kept.accepted.len() == 300);
    assert!(recorder.written(LONG));
    let [down_stats, up_stats] = recorder.stats().try_into().unwrap();
    assert_eq!((down_stats.exported, down_stats.queue_depth), (0, 300));
    assert_eq!(&*up_stats.name, "up");
    recorder.shutdown(SHORT);
}

#[test]
fn what_is_refused_for_good_is_a_dead_letter_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::default();
    receiver.set(|kept| {
        kept.script.push_back(Delivery::Refused { which: vec![0, 7_000, 0], why: "bad\nfield".into() });
    });
    let recorder = start(&settings(folder.path()), &[(sink("si/em"), &receiver)]);
    record(&recorder, 5);
    assert!(recorder.flush(LONG));
    assert_eq!(receiver.accepted(), numbers(2, 5));
    receiver.set(|kept| kept.script.push_back(Delivery::Refused { which: vec![], why: "all".into() }));
    record(&recorder, 1);
    assert!(recorder.flush(LONG));
    let stats = stats(&recorder);
    assert_eq!((stats.exported, stats.refused, stats.dropped(), stats.queue_depth), (4, 2, 2, 0));
    recorder.shutdown(LONG);
    let letters = std::fs::read_to_string(folder.path().join("spool/dead-si%2fem.jsonl")).unwrap();
    let letters: Vec<Value> = letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let read: Vec<_> = letters.iter().map(|letter| (letter["event"]["seq"].as_u64(), letter["why"].as_str())).collect();
    assert_eq!(read, [(Some(1), Some("bad\nfield")), (Some(6), Some("all"))]);
}

#[test]
fn a_batch_that_is_too_large_comes_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::default();
    receiver.set(|kept| kept.most = Some(3));
    let recorder = start(&settings(folder.path()), &[(sink("siem"), &receiver)]);
    record(&recorder, 50);
    assert!(recorder.flush(LONG));
    assert_eq!(receiver.accepted(), numbers(1, 50));
    receiver.set(|kept| kept.most = Some(0));
    record(&recorder, 2);
    assert!(recorder.flush(LONG));
    assert_eq!((stats(&recorder).exported, stats(&recorder).refused), (50, 2));
    recorder.shutdown(LONG);
}

#[test]
fn a_retry_pauses_at_least_as_long_as_the_receiver_asks() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::default();
    let after = Duration::from_millis(300);
    receiver.set(|kept| kept.script.push_back(Delivery::Retry { after: Some(after), why: "busy".into() }));
    let recorder = start(&settings(folder.path()), &[(sink("siem"), &receiver)]);
    let began = Instant::now();
    record(&recorder, 1);
    assert!(recorder.flush(LONG));
    assert!(began.elapsed() >= after);
    assert_eq!((stats(&recorder).failed, stats(&recorder).exported), (1, 1));
    recorder.shutdown(LONG);
}

/// A spool of at most about four segments.
fn small(folder: &Path) -> Settings {
    let spool = SpoolSettings { max_size: 40_000, segment_size: 10_000, ..SpoolSettings::new(folder.join("spool")) };
    Settings { spool: Some(spool), ..Settings::default() }
}

/// Records in small groups, so that segments do not grow past their size at once.
fn record_slowly(recorder: &Recorder, events: usize) {
    for _ in 0..events {
        record(recorder, 1);
        assert!(recorder.written(LONG));
    }
}

#[test]
fn a_full_spool_gives_up_the_oldest_of_the_sink_that_is_behind_and_counts_it() {
    let folder = tempfile::tempdir().unwrap();
    let (down, up) = (Receiver::default(), Receiver::default());
    down.set(|kept| kept.down = true);
    let recorder = start(&small(folder.path()), &[(sink("down"), &down), (sink("up"), &up)]);
    for accepted in (10..=100).step_by(10) {
        record_slowly(&recorder, 10);
        up.wait(|kept| kept.accepted.len() == accepted);
    }
    down.set(|kept| kept.down = false);
    assert!(recorder.flush(LONG));
    let [down_stats, up_stats] = recorder.stats().try_into().unwrap();
    assert_eq!((up_stats.exported, up_stats.dropped()), (100, 0));
    assert!(down_stats.dropped_spool_full > 0, "{down_stats:?}");
    assert_eq!(down_stats.exported + down_stats.dropped(), 100, "{down_stats:?}");
    let accepted = down.accepted();
    assert!(accepted.is_sorted() && accepted.last() == Some(&100));
    let spool = recorder.spool_stats().unwrap();
    assert!(spool.bytes <= spool.max_bytes, "{spool:?}");
    recorder.shutdown(LONG);
}

#[test]
fn a_full_spool_of_a_sink_that_blocks_makes_answers_wait_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::default();
    receiver.set(|kept| kept.down = true);
    let blocking = SinkSettings { on_full: OnFull::Block, queue: 4, ..sink("siem") };
    let recorder = start(&small(folder.path()), &[(blocking, &receiver)]);
    let mut receipts = Vec::new();
    let mut recorded = 0;
    while receipts.iter().all(crate::Receipt::is_settled) {
        let event = Event::denied(Uuid::now_v7(), Timestamp::UNIX_EPOCH, ReasonCode::RbacNoMatchingGrant);
        receipts.push(recorder.record_answered(event));
        recorded += 1;
        assert!(recorded < 10_000, "nobody has to wait");
        thread::yield_now();
    }
    receiver.set(|kept| kept.down = false);
    assert!(recorder.flush(LONG));
    assert!(receipts.iter().all(crate::Receipt::is_settled));
    assert_eq!(receiver.accepted(), numbers(1, recorded));
    assert_eq!(stats(&recorder).dropped(), 0);
    recorder.shutdown(LONG);
}

#[test]
fn damage_in_the_spool_is_passed_over_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::default();
    receiver.set(|kept| kept.down = true);
    let settings = small(folder.path());
    let recorder = start(&settings, &[(sink("siem"), &receiver)]);
    record_slowly(&recorder, 12);
    recorder.shutdown(SHORT);
    drop(recorder);
    let mut segments: Vec<_> = std::fs::read_dir(folder.path().join("spool"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    segments.sort();
    assert!(segments.len() >= 3, "{segments:?}");
    // One record in the middle of the first segment; all of the second; and a record of the last one half written.
    let mut bytes = std::fs::read(&segments[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segments[0], &bytes).unwrap();
    std::fs::write(&segments[1], b"rubbish").unwrap();
    let last = std::fs::read(segments.last().unwrap()).unwrap();
    std::fs::write(segments.last().unwrap(), &last[..last.len() - 3]).unwrap();

    let recorder = start(&settings, &[(sink("siem"), &receiver)]);
    // Not before: a thread of the recorder before may have the spool for a moment longer, until this one has it.
    receiver.set(|kept| kept.down = false);
    assert!(recorder.flush(LONG));
    let accepted = receiver.accepted();
    let stats = stats(&recorder);
    assert!(accepted.is_sorted());
    // The torn one had not been written; its number is used again.
    assert_eq!(accepted.len() as u64 + stats.dropped_damaged, 11, "{accepted:?} {stats:?}");
    assert!(stats.dropped_damaged >= 2);
    recorder.shutdown(LONG);
}

#[test]
fn a_second_process_cannot_use_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let recorder = start(&settings, &[]);
    let error = assemble(&settings, Vec::new()).unwrap_err();
    assert!(matches!(error, crate::StartError::Spool { .. }), "{error}");
    recorder.shutdown(LONG);
}

#[test]
fn a_remote_sink_needs_a_spool() {
    let opened = Opened { settings: sink("siem"), target: Target::Remote(Box::new(Receiver::default())) };
    let error = assemble(&Settings::default(), vec![opened]).unwrap_err();
    assert_eq!(error.to_string(), "sink `siem` needs a spool");
}

#[test]
fn the_chain_goes_on_from_one_process_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::default();
    let settings = settings(folder.path());
    let mut hashes = Vec::new();
    for _ in 0..3 {
        let watching = Watching { receiver: receiver.clone(), seals: Arc::default() };
        let opened = Opened { settings: sink("siem"), target: Target::Remote(Box::new(watching.clone())) };
        let recorder = assemble(&settings, vec![opened]).unwrap();
        record(&recorder, 5);
        assert!(recorder.flush(LONG));
        recorder.shutdown(LONG);
        hashes.extend(watching.seals.lock().unwrap().drain(..));
    }
    assert_eq!(hashes.len(), 15);
    assert!(hashes[0].prev.is_none() && hashes[0].genesis.is_some());
    assert!(hashes.iter().all(|seal| seal.is_right));
    assert!(hashes.windows(2).all(|pair| pair[1].prev == Some(pair[0].hash)));
}

/// Keeps the seals as well.
#[derive(Clone)]
struct Watching {
    receiver: Receiver,
    seals: Arc<Mutex<Vec<crate::chain::Seal>>>,
}

impl Remote for Watching {
    fn deliver(&mut self, batch: &[Line<'_>]) -> Delivery {
        self.seals.lock().unwrap().extend(batch.iter().map(|line| crate::chain::read(line.json).unwrap()));
        self.receiver.deliver(batch)
    }

    fn limits(&self) -> BatchLimits {
        self.receiver.limits()
    }
}

#[test]
fn pauses_are_between_a_half_and_the_whole() {
    let pause = Duration::from_millis(100);
    let drawn: Vec<Duration> = (0..200).map(|_| jittered(pause)).collect();
    assert!(drawn.iter().all(|drawn| *drawn >= pause / 2 && *drawn <= pause));
    assert!(drawn.iter().any(|other| *other != drawn[0]));
}

#[test]
fn who_is_refused_as_such_waits_for_a_time_and_then_goes_to_the_dead_letters_batch_by_batch() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::default();
    let barred = || Delivery::Barred { after: None, why: "no such credential (401)".into() };
    let settings = settings(folder.path());
    // Waited out: nothing is lost although it takes many attempts.
    receiver.set(|kept| kept.always = Some(barred()));
    let recorder = start(&settings, &[(sink("siem"), &receiver)]);
    record(&recorder, 3);
    receiver.wait(|kept| kept.calls >= 5);
    assert_eq!(stats(&recorder).trouble.as_deref(), Some("no such credential (401)"));
    receiver.set(|kept| kept.always = None);
    assert!(recorder.flush(LONG));
    let told = stats(&recorder);
    assert_eq!((receiver.accepted(), told.refused, told.trouble), (numbers(1, 3), 0, None));
    recorder.shutdown(LONG);
    drop(recorder);
    // Given up: what is in hand goes, and what comes once it is mended arrives.
    let hasty =
        SinkSettings { retry: RetrySettings { give_up: Some(Duration::ZERO), ..sink("siem").retry }, ..sink("siem") };
    receiver.set(|kept| kept.script.push_back(barred()));
    let recorder = start(&settings, &[(hasty, &receiver)]);
    record(&recorder, 1);
    assert!(recorder.flush(LONG));
    record(&recorder, 1);
    assert!(recorder.flush(LONG));
    assert_eq!((receiver.accepted(), stats(&recorder).refused), (vec![1, 2, 3, 2], 1));
    recorder.shutdown(LONG);
    let letter: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("spool/dead-siem.jsonl")).unwrap()).unwrap();
    assert_eq!((&letter["why"], &letter["event"]["seq"]), (&"given up: no such credential (401)".into(), &1.into()));
}

#[test]
fn dead_letters_that_cannot_be_written_are_tried_again_and_do_not_hold_up_the_rest_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::default();
    let refused = || Delivery::Refused { which: vec![], why: "no".into() };
    receiver.set(|kept| kept.script.push_back(refused()));
    let missing = folder.path().join("later");
    let mut one = sink("siem");
    one.dead_letter.path = Some(missing.join("dead.jsonl"));
    // It is tried ten times, and there must be time to make the folder before the last.
    one.retry.longest = Duration::from_secs(1);
    let recorder = start(&settings(folder.path()), &[(one, &receiver)]);
    record(&recorder, 1);
    receiver.wait(|kept| kept.calls >= 1);
    std::fs::create_dir(&missing).unwrap();
    assert!(recorder.flush(LONG));
    record(&recorder, 1);
    assert!(recorder.flush(LONG));
    assert_eq!((receiver.accepted(), stats(&recorder).refused), (vec![2], 1));
    recorder.shutdown(LONG);
}

#[test]
fn dead_letters_that_cannot_be_written_at_all_are_lost_and_counted_as_that() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::default();
    receiver.set(|kept| kept.script.push_back(Delivery::Refused { which: vec![], why: "no".into() }));
    let mut one = sink("siem");
    one.dead_letter.path = Some(folder.path().join("never/dead.jsonl"));
    let recorder = start(&settings(folder.path()), &[(one, &receiver)]);
    record(&recorder, 1);
    assert!(recorder.flush(LONG));
    receiver.set(|kept| kept.script.push_front(Delivery::Refused { which: vec![], why: "no".into() }));
    record(&recorder, 1);
    assert!(recorder.flush(LONG), "the others are not held up for ever");
    record(&recorder, 1);
    assert!(recorder.flush(LONG));
    let stats = stats(&recorder);
    assert_eq!((stats.exported, stats.refused, stats.dropped_lost, stats.dropped()), (1, 0, 2, 2), "{stats:?}");
    recorder.shutdown(LONG);
}

#[test]
fn a_receiver_may_ask_for_a_pause_of_an_hour_and_no_more() {
    let hour = Duration::from_secs(60 * 60);
    for (asked, pause) in [(hour, hour), (hour / 2, hour / 2), (2 * hour, hour), (Duration::MAX, hour)] {
        assert_eq!(pause_for(Duration::from_millis(1), Some(asked)), pause);
    }
    assert!(pause_for(Duration::from_millis(8), None) >= Duration::from_millis(4));
}

#[test]
fn what_the_spool_lacks_at_the_start_waits_for_room_in_it_however_long_that_takes() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::default();
    receiver.set(|kept| kept.down = true);
    let file = SinkSettings::new("file", SinkKind::File { path: folder.path().join("e.jsonl") });
    let blocking = SinkSettings { on_full: OnFull::Block, ..sink("siem") };
    let settings = Settings { sinks: vec![file], ..small(folder.path()) };
    let start = || {
        let file = settings.sinks[0].clone();
        let target = crate::sinks::open(&file, crate::sinks::durable::Durability::none()).unwrap();
        let file = Opened { settings: file, target: Target::Local(target) };
        let siem = Opened { settings: blocking.clone(), target: Target::Remote(Box::new(receiver.clone())) };
        assemble(&settings, vec![file, siem])
    };
    // The spool is full, so only the file has the last ones when the process ends.
    let recorder = start().unwrap();
    for recorded in 1..=40 {
        record(&recorder, 1);
        assert!(until(|| recorder.stats()[0].exported == recorded));
    }
    recorder.shutdown(SHORT);
    assert!(until(|| recorder.stats()[1].dropped_closed > 0), "{:?}", recorder.stats());
    drop(recorder);
    // A writer that was waiting for room has the folder for a moment longer.
    let recorder = crate::recorder::testing::until(LONG, || start().ok()).unwrap();
    assert!(receiver.accepted().is_empty());
    receiver.set(|kept| kept.down = false);
    assert!(recorder.flush(LONG));
    assert_eq!(receiver.accepted(), numbers(1, 40));
    recorder.shutdown(LONG);
}

/// Would not end if it waited.
const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn a_shutdown_does_not_wait_for_a_receiver_that_is_down() {
    let folder = tempfile::tempdir().unwrap();
    let (down, up) = (Receiver::default(), Receiver::default());
    down.set(|kept| kept.down = true);
    let settings = settings(folder.path());
    let recorder = start(&settings, &[(sink("down"), &down), (sink("up"), &up)]);
    record(&recorder, 20);
    assert_eq!(recorder.shutdown(FOR_EVER), 0);
    assert_eq!((up.accepted(), down.accepted()), (numbers(1, 20), vec![]));
    drop(recorder);
    down.set(|kept| kept.down = false);
    let recorder = start(&settings, &[(sink("down"), &down), (sink("up"), &up)]);
    assert_eq!(recorder.shutdown(FOR_EVER), 0);
    assert_eq!(down.accepted(), numbers(1, 20), "the last attempt delivers what was left");
}

#[test]
fn a_spool_that_feeds_nobody_is_seen_among_the_sinks() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = start(&settings(folder.path()), &[]);
    record(&recorder, 7);
    assert!(recorder.flush(LONG));
    let stats = stats(&recorder);
    assert_eq!((&*stats.name, stats.exported, stats.dropped(), stats.queue_depth), ("(spool)", 7, 0, 0));
    recorder.shutdown(LONG);
}

/// Looks again and again whether it has come to that.
fn comes(done: impl Fn() -> bool) -> bool {
    crate::recorder::testing::until(LONG, || done().then_some(())).is_some()
}

/// Refusals of one caller's.
fn record_repeats(recorder: &Recorder, user: &str, events: usize) {
    for _ in 0..events {
        let mut event = Event::denied(Uuid::now_v7(), Timestamp::now(), ReasonCode::RbacNoMatchingGrant);
        event.identity.id = Some(user.to_owned());
        recorder.record(event);
    }
}

/// A receiver that keeps what it accepted: of each record its number and for how many events it stands.
#[derive(Clone, Default)]
struct Counting(Arc<Mutex<Vec<(u64, u64)>>>);

impl Remote for Counting {
    fn deliver(&mut self, batch: &[Line<'_>]) -> Delivery {
        let values = batch.iter().map(|line| serde_json::from_slice::<Value>(line.json).unwrap());
        let counted = values.map(|value| (value["seq"].as_u64().unwrap(), value["count"].as_u64().unwrap_or(1)));
        self.0.lock().unwrap().extend(counted);
        Delivery::Accepted
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits { events: 100, bytes: 1 << 20 }
    }
}

fn start_folding(folder: &Path, window: Duration) -> (Recorder, Counting) {
    let counting = Counting::default();
    let settings = SinkSettings { fold: Some(FoldSettings { window }), ..sink("siem") };
    let target = Target::Remote(Box::new(counting.clone()));
    (assemble(&self::settings(folder), vec![Opened { settings, target }]).unwrap(), counting)
}

#[test]
fn repeats_become_one_record_at_the_end_of_their_window_and_each_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (recorder, counting) = start_folding(folder.path(), Duration::from_secs(1));
    record_repeats(&recorder, "alice", 50);
    record_repeats(&recorder, "bob", 2);
    let counted = || counting.0.lock().unwrap().iter().map(|(_, events)| events).sum::<u64>();
    assert!(comes(|| counted() == 52), "{:?}", counting.0.lock().unwrap());
    let mut records = counting.0.lock().unwrap().clone();
    records.sort_unstable();
    // On a machine that is held up for longer than a window there are more than four of them; each goes on where the one before ends.
    assert_eq!((records[0], records.len() < 10), ((1, 1), true), "{records:?}");
    let ends = records.iter().fold(1, |next, (first, events)| if *first == next { next + events } else { 0 });
    assert_eq!(ends, 53, "{records:?}");
    assert!(recorder.flush(LONG), "the place in the spool follows");
    let stats = stats(&recorder);
    assert_eq!((stats.exported, stats.dropped(), stats.queue_depth), (52, 0, 0));
    recorder.shutdown(LONG);
}

#[test]
fn a_stop_within_the_window_hands_over_what_was_gathered() {
    let folder = tempfile::tempdir().unwrap();
    let (recorder, counting) = start_folding(folder.path(), Duration::from_secs(600));
    record_repeats(&recorder, "alice", 50);
    assert_eq!(recorder.shutdown(LONG), 0);
    drop(recorder);
    assert_eq!(*counting.0.lock().unwrap(), [(1, 1), (2, 49)]);
    // Nothing is left for the next process.
    let (recorder, counting) = start_folding(folder.path(), Duration::from_secs(600));
    assert!(recorder.flush(LONG));
    assert!(counting.0.lock().unwrap().is_empty());
    recorder.shutdown(LONG);
}

#[test]
fn what_was_gathered_and_not_handed_over_comes_again_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (recorder, counting) = start_folding(folder.path(), Duration::from_secs(600));
    record_repeats(&recorder, "alice", 50);
    record_repeats(&recorder, "bob", 1);
    assert!(comes(|| counting.0.lock().unwrap().len() == 2), "the first of each is there at once");
    // The sink hears of them a moment before the place in the spool moves.
    assert!(comes(|| stats(&recorder).queue_depth == 50), "the place in the spool waits for what is gathered");
    // As a crash leaves it: the folder as it is now, with the cursor as it was saved.
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("spool")).unwrap();
    for entry in std::fs::read_dir(folder.path().join("spool")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, copy.path().join("spool").join(path.file_name().unwrap())).unwrap();
        }
    }
    recorder.shutdown(LONG);
    let (recorder, counting) = start_folding(copy.path(), Duration::from_secs(600));
    recorder.shutdown(LONG);
    let events: u64 = counting.0.lock().unwrap().iter().map(|(_, events)| events).sum();
    assert!((50..=51).contains(&events), "each that was not handed over, and perhaps the first once more: {events}");
}

#[test]
fn permits_go_to_the_sink_that_asks_for_them_and_leave_no_gap_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let (siem, traffic) = (Receiver::default(), Receiver::default());
    let mut asking = sink("traffic");
    asking.filter.kinds = vec![crate::EventKind::AccessAllowed];
    let recorder = start(&settings(folder.path()), &[(sink("siem"), &siem), (asking, &traffic)]);
    for _ in 0..3 {
        record(&recorder, 1);
        let permit = Event::new(crate::EventKind::AccessAllowed, Uuid::now_v7(), Timestamp::UNIX_EPOCH);
        recorder.record(permit);
    }
    assert!(recorder.flush(LONG));
    assert_eq!((siem.accepted(), traffic.accepted()), (numbers(1, 3), vec![0; 3]));
    let stats = recorder.stats();
    assert_eq!((stats[0].exported, stats[0].filtered, stats[0].dropped()), (3, 3, 0));
    assert_eq!((stats[1].exported, stats[1].filtered, stats[1].dropped()), (3, 3, 0));
    recorder.shutdown(LONG);
}

#[test]
fn permits_that_nobody_asks_for_take_no_place() {
    let folder = tempfile::tempdir().unwrap();
    let siem = Receiver::default();
    let recorder = start(&settings(folder.path()), &[(sink("siem"), &siem)]);
    let permit = Event::new(crate::EventKind::AccessAllowed, Uuid::now_v7(), Timestamp::UNIX_EPOCH);
    recorder.record(permit);
    record(&recorder, 1);
    assert!(recorder.flush(LONG));
    assert_eq!(siem.accepted(), [1]);
    recorder.shutdown(LONG);
}
