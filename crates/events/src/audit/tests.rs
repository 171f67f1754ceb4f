//! That no change of a file goes unnoticed, and that none is seen where there is none.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::Recorder;
use crate::chain::Chain;
use crate::checkpoint::{CheckpointSettings, SigningKey};
use crate::event::Event;
use crate::line::append_json;
use crate::reason_code::ReasonCode;
use crate::settings::{Settings, SinkKind, SinkSettings};

/// Sealed lines, as the recorder writes them.
fn lines(count: usize) -> Vec<Vec<u8>> {
    let mut chain = Chain::begin("test");
    let line = |number: usize| {
        let time = Timestamp::from_second(i64::try_from(number).unwrap()).unwrap();
        let mut event = Event::denied(Uuid::now_v7(), time, ReasonCode::RbacNoMatchingGrant);
        event.seq = number as u64 + 1;
        event.message = Some(format!("\"seq\":7,\"time\":\"x\" {number}"));
        let mut line = Vec::new();
        append_json(&mut line, &event).unwrap();
        chain.seal(&mut line, 0);
        line
    };
    (0..count).map(line).collect()
}

fn audit_of(texts: &[&[u8]]) -> Audit {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        let file = folder.path().join(format!("events-{number}.jsonl"));
        std::fs::write(&file, text).unwrap();
        files.push(file);
    }
    verify(&files, Expected::default()).unwrap()
}

fn problems(text: &[u8]) -> Vec<(u64, Problem)> {
    audit_of(&[text]).findings.into_iter().map(|finding| (finding.line, finding.problem)).collect()
}

/// A record of a permit, as the recorder writes it.
fn permit() -> Vec<u8> {
    let mut event = Event::new(EventKind::AccessAllowed, Uuid::now_v7(), Timestamp::UNIX_EPOCH);
    event.message = Some("\"integrity\":null}".to_owned());
    let mut line = Vec::new();
    append_json(&mut line, &event).unwrap();
    line
}

#[test]
fn records_of_permits_are_counted_apart_and_break_no_chain() {
    let lines = lines(3);
    let text = [permit(), lines[0].clone(), permit(), lines[1].clone(), lines[2].clone(), permit()].concat();
    let audit = audit_of(&[&text]);
    assert_eq!((audit.events, audit.permits, &*audit.findings, audit.last_seq), (3, 3, &[][..], Some(3)));
    let alone = audit_of(&[&permit()]);
    assert_eq!((alone.events, alone.permits, &*alone.findings), (0, 1, &[][..]));
}

#[test]
fn what_is_no_whole_record_of_a_permit_is_found() {
    let whole = String::from_utf8(permit()).unwrap();
    let (before, sealed) = (whole.trim_end(), lines(3));
    for changed in [
        before.replace("access.allowed", "access.denied"),
        before.replace("\"seq\":0,", "\"seq\":4,"),
        before.replace("\"seq\":0,", "\"seq\":0"),
        before.replace("\"integrity\":null}", "\"integrity\":null"),
        before.get(40..).unwrap().to_owned(),
    ] {
        assert_ne!(changed, before);
        let text = [&*sealed[0], changed.as_bytes(), b"\n", &sealed[1]].concat();
        assert_eq!(problems(&text), [(2, Problem::Unsealed)], "{changed}");
    }
    // An event that was made a permit is missed where it stood.
    let hidden = [sealed[0].clone(), permit(), sealed[2].clone()].concat();
    assert!(!problems(&hidden).is_empty());
}

#[test]
fn an_untouched_file_is_whole() {
    let lines = lines(5);
    let audit = audit_of(&[&lines.concat()]);
    assert_eq!((audit.events, &*audit.findings, audit.after, audit.last_seq), (5, &[][..], None, Some(5)));
    assert_eq!(audit.end.unwrap(), chain::shown(&chain::read(lines[4].trim_ascii_end()).unwrap().hash));
    assert_eq!((audit.beginnings.len(), audit.beginnings[0].line), (1, 1));
    assert_eq!(audit_of(&[b""]).events, 0);
}

#[test]
fn rotated_and_compressed_files_are_read_in_their_order_however_they_are_named() {
    let lines = lines(9);
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&lines[..3].concat()).unwrap();
    let packed = packed.finish().unwrap();
    let (middle, last) = (lines[3..6].concat(), lines[6..].concat());
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let texts = order.map(|number| [&packed[..], &middle, &last][number]);
        let audit = audit_of(&texts);
        assert_eq!((audit.events, audit.findings.len()), (9, 0), "{:?}", audit.findings);
    }
    // Without the file in the middle.
    let audit = audit_of(&[&last, &packed]);
    let found: Vec<_> = audit.findings.iter().map(|found| (found.line, &found.problem)).collect();
    assert_eq!(found, [(1, &Problem::Unlinked { numbers: Some((3, 7)) })]);
    assert!(audit.findings[0].file.ends_with("events-0.jsonl"));
}

/// The lines with the times that a clock showed which was set back by a day before the fourth.
fn lines_of_a_clock_that_stepped_back(count: usize) -> Vec<Vec<u8>> {
    let mut chain = Chain::begin("test");
    let line = |number: usize| {
        let second = if number < 3 { 86_400 + number } else { number };
        let mut event = Event::denied(
            Uuid::now_v7(),
            Timestamp::from_second(i64::try_from(second).unwrap()).unwrap(),
            ReasonCode::RbacNoMatchingGrant,
        );
        event.seq = number as u64 + 1;
        let mut line = Vec::new();
        append_json(&mut line, &event).unwrap();
        chain.seal(&mut line, 0);
        line
    };
    (0..count).map(line).collect()
}

#[test]
fn a_clock_that_was_set_back_accuses_nobody() {
    let lines = lines_of_a_clock_that_stepped_back(9);
    let parts = [lines[..3].concat(), lines[3..6].concat(), lines[6..].concat()];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let audit = audit_of(&order.map(|number| &parts[number][..]));
        assert_eq!((audit.events, audit.findings.len()), (9, 0), "{order:?}: {:?}", audit.findings);
        assert_eq!((audit.after, audit.last_seq), (None, Some(9)));
    }
    // What is missing is still found.
    assert_eq!(audit_of(&[&parts[0], &parts[2]]).findings.len(), 1);
}

#[test]
fn what_is_no_event_file_or_is_there_twice_is_named_and_not_counted() {
    let lines = lines(6);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&lines[..3].concat()).unwrap();
    let packed = packed.finish().unwrap();
    let old = file("e.jsonl-1", &lines[..3].concat());
    let files = [
        file("e.jsonl", &lines[3..].concat()),
        old.clone(),
        file("e.jsonl-1.gz", &packed),
        file("e.jsonl-1.gz.tmp", &packed[..40]),
        file("e.jsonl.index", b"SQLite format 3\0"),
        file("e.jsonl.index-wal", b"x"),
        file("e.jsonl.index-shm", b"x"),
    ];
    let audit = verify(&files, Expected::default()).unwrap();
    assert_eq!((audit.events, &audit.findings[..]), (6, &[][..]));
    let skipped: Vec<_> = audit.skipped.iter().map(|skipped| (&skipped.file, &skipped.why)).collect();
    assert_eq!(skipped[0], (&files[2], &WhySkipped::SameAs(old)));
    assert_eq!(skipped.iter().map(|(file, _)| *file).collect::<Vec<_>>(), files[2..].iter().collect::<Vec<_>>());
    // A copy that is not the same is none, and what differs is found.
    let forged = String::from_utf8(lines[..3].concat()).unwrap().replacen("\"status\":403", "\"status\":200", 1);
    let audit =
        verify(&[files[0].clone(), files[1].clone(), file("forged", forged.as_bytes())], Expected::default()).unwrap();
    assert!(audit.skipped.is_empty() && audit.findings.iter().any(|found| found.problem == Problem::Changed));
}

#[test]
fn each_kind_of_change_is_found_where_it_is() {
    let lines = lines(6);
    let without = |gone: usize| [&lines[..gone], &lines[gone + 1..]].concat().concat();
    assert_eq!(problems(&without(2)), [(3, Problem::Unlinked { numbers: Some((2, 4)) })]);
    let twice = [&lines[..3], &lines[2..]].concat().concat();
    assert_eq!(problems(&twice), [(4, Problem::Unlinked { numbers: Some((3, 3)) })]);
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    let found: Vec<u64> = problems(&swapped.concat()).into_iter().map(|(line, _)| line).collect();
    assert_eq!(found, [3, 4, 5]);
    let text = String::from_utf8(lines.concat()).unwrap();
    let changed = text.replacen("\\\"x\\\" 3", "\\\"x\\\" 4", 1);
    assert_eq!(problems(changed.as_bytes()), [(4, Problem::Changed)]);
    let added = [&lines[..2], &[b"{\"added\":1}\n".to_vec()][..], &lines[2..]].concat().concat();
    assert_eq!(problems(&added), [(3, Problem::Unsealed)]);
    let whole = lines.concat();
    assert_eq!(problems(&whole[..whole.len() - 20]), [(6, Problem::Unsealed)]);
    let other = tests::lines(2).concat();
    let mixed = [whole.clone(), other].concat();
    assert!(matches!(&problems(&mixed)[..], [(7, Problem::NewChain { .. })]));
}

#[test]
fn what_is_missing_at_either_end_is_found_by_what_is_known_from_elsewhere() {
    let lines = lines(5);
    let hash = |number: usize| chain::shown(&chain::read(lines[number].trim_ascii_end()).unwrap().hash);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let (first, last) = (hash(0), hash(4));
    let check = |from: usize, to: usize, expected: &[Problem]| {
        std::fs::write(&file, lines[from..to].concat()).unwrap();
        let known = Expected { after: Some(&first), end: Some(&last), ..Expected::default() };
        let audit = verify(std::slice::from_ref(&file), known).unwrap();
        let found: Vec<Problem> = audit.findings.into_iter().map(|finding| finding.problem).collect();
        assert_eq!(found, expected, "{from}..{to}");
    };
    check(1, 5, &[]);
    check(2, 5, &[Problem::WrongStart]);
    check(1, 4, &[Problem::WrongEnd]);
    check(2, 4, &[Problem::WrongStart, Problem::WrongEnd]);
    check(1, 1, &[Problem::WrongStart, Problem::WrongEnd]);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let (file, error) = verify(&["/no/such/file".into()], Expected::default()).unwrap_err();
    assert_eq!((file, error.kind()), ("/no/such/file".into(), io::ErrorKind::NotFound));
    let broken = [&[0x1f, 0x8b][..], b"rubbish"].concat();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl.gz");
    std::fs::write(&file, broken).unwrap();
    assert!(verify(&[file], Expected::default()).is_err());
}

#[test]
fn findings_have_a_bound() {
    let text = b"rubbish\n".repeat(MAX_FINDINGS + 5);
    let audit = audit_of(&[&text]);
    assert_eq!((audit.findings.len(), audit.more_findings, audit.events), (MAX_FINDINGS, 5, 0));
}

/// Lines of a recorder that signs every third event, and the key.
fn signed_lines(events: usize) -> (Vec<Vec<u8>>, SigningKey) {
    let (key, _) = SigningKey::generate().unwrap();
    let checkpoint = CheckpointSettings { key: key.clone(), every: Duration::from_secs(86_400), events: 3 };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.jsonl");
    let file = SinkSettings::new("file", SinkKind::File { path: path.clone() });
    let settings = Settings { sinks: vec![file], checkpoint: Some(checkpoint), ..Settings::default() };
    let recorder = Recorder::start(&settings).unwrap();
    for _ in 0..events {
        recorder.record(Event::denied(Uuid::now_v7(), Timestamp::now(), ReasonCode::RbacNoMatchingGrant));
    }
    assert_eq!(recorder.shutdown(Duration::from_secs(20)), 0);
    assert_eq!(recorder.stats()[0].exported, recorder.recorded());
    let text = std::fs::read(&path).unwrap();
    (text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect(), key)
}

/// Problems of lines by these keys; the last good checkpoint's line; how many events follow.
fn signed_audit(lines: &[Vec<u8>], keys: &[PublicKey]) -> (Vec<(u64, Problem)>, Option<u64>, u64) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("e.jsonl");
    std::fs::write(&file, lines.concat()).unwrap();
    let audit = verify(&[file], Expected { keys, ..Expected::default() }).unwrap();
    let problems = audit.findings.into_iter().map(|found| (found.line, found.problem)).collect();
    (problems, audit.signed.map(|signed| signed.line), audit.unsigned.events)
}

/// The lines with the third one changed, and every hash computed anew as somebody would who can write the file.
fn forged(lines: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut chain = Chain::begin("no earlier event is there");
    let reseal = |(number, line): (usize, &Vec<u8>)| {
        let text = String::from_utf8(line.clone()).unwrap();
        let open = text.rfind("\"integrity\":{").unwrap();
        let mut line = format!("{}\"integrity\":null}}\n", &text[..open]);
        if number == 2 {
            line = line.replacen("\"status\":403", "\"status\":200", 1);
        }
        let mut line = line.into_bytes();
        chain.seal(&mut line, 0);
        line
    };
    lines.iter().enumerate().map(reseal).collect()
}

#[test]
fn a_file_that_was_written_anew_as_a_whole_is_found_by_its_checkpoints() {
    // Three events and a checkpoint, twice, and two events.
    let (lines, key) = signed_lines(8);
    let keys = [key.public()];
    assert_eq!(lines.len(), 10);
    assert_eq!(signed_audit(&lines, &keys), (vec![], Some(8), 2));
    let forged = forged(&lines);
    assert_eq!(signed_audit(&forged, &[]).0, [], "the hashes are as good as new");
    let bad = |line| (line, Problem::BadCheckpoint(BadCheckpoint::WrongLine));
    assert_eq!(signed_audit(&forged, &keys), (vec![bad(4), bad(8), (10, Problem::Unsigned)], None, 10));
    // Without checkpoints.
    let kept: Vec<Vec<u8>> = [&lines[..3], &lines[4..7]].concat();
    let (problems, signed, unsigned) = signed_audit(&self::forged(&kept), &keys);
    assert_eq!((problems, signed, unsigned), (vec![(6, Problem::Unsigned)], None, 6));
    // By somebody with another key.
    let (other, _) = SigningKey::generate().unwrap();
    let strange = Problem::BadCheckpoint(BadCheckpoint::UnknownKey(key.public().id()));
    let (problems, ..) = signed_audit(&lines, &[other.public()]);
    assert_eq!(problems, [(4, strange.clone()), (8, strange), (10, Problem::Unsigned)]);
    assert_eq!(signed_audit(&lines, &[other.public(), key.public()]).1, Some(8), "a key that was changed meanwhile");
    // What follows the last checkpoint is covered by none, which is said.
    assert_eq!(signed_audit(&lines[..9], &keys), (vec![], Some(8), 1));
    assert_eq!(signed_audit(&lines[..3], &keys), (vec![(3, Problem::Unsigned)], None, 3));
}

/// Sealed lines: the kind of each event and its second; `checkpoint` is signed.
fn told(events: &[(&str, i64)], key: &SigningKey) -> Vec<Vec<u8>> {
    let mut chain = Chain::begin("test");
    let line = |(number, (kind, second)): (usize, &(&str, i64))| {
        let time = Timestamp::from_second(*second).unwrap();
        let kind = match *kind {
            "start" => EventKind::GatewayStarted,
            "checkpoint" => EventKind::IntegrityCheckpoint,
            _ => EventKind::AccessDenied,
        };
        let mut event = Event::new(kind, Uuid::now_v7(), time);
        event.seq = number as u64 + 1;
        event.node = "gw".into();
        if let (EventKind::IntegrityCheckpoint, Chain::After(hash)) = (kind, &chain) {
            event.checkpoint = Some(Box::new(key.sign("gw", &format!("{time:.6}"), number as u64, hash)));
        }
        let mut line = Vec::new();
        append_json(&mut line, &event).unwrap();
        chain.seal(&mut line, 0);
        line
    };
    events.iter().enumerate().map(line).collect()
}

#[test]
fn what_follows_on_the_last_checkpoint_has_a_bound_of_events_and_of_time() {
    let (key, _) = SigningKey::generate().unwrap();
    let most = Unsigned { events: 3, time: Duration::from_secs(60) };
    // In one file, and with a file for each event behind the second.
    let check = |events: &[(&str, i64)], expected: Option<(u64, u64)>| {
        let lines = told(events, &key);
        let folder = tempfile::tempdir().unwrap();
        let mut files = vec![(0, lines[..2].concat())];
        files.extend(lines[2..].iter().cloned().enumerate().map(|(number, line)| (number + 1, line)));
        for files in [vec![(0, lines.concat())], files] {
            let write = |(number, text): &(usize, Vec<u8>)| {
                let file = folder.path().join(format!("e{number}.jsonl"));
                std::fs::write(&file, text).unwrap();
                file
            };
            let files: Vec<PathBuf> = files.iter().map(write).collect();
            let keys = [key.public()];
            let known = Expected { keys: &keys, most_unsigned: Some(most), ..Expected::default() };
            let audit = verify(&files, known).unwrap();
            let found: Vec<Problem> = audit.findings.into_iter().map(|finding| finding.problem).collect();
            let unsigned = |(events, time)| Unsigned { events, time: Duration::from_secs(time) };
            let wanted: Vec<Problem> = expected.map(unsigned).map(Problem::UnsignedEnd).into_iter().collect();
            assert_eq!(found, wanted, "{events:?} in {} files", files.len());
            // Whoever sets no bound is told all the same.
            let audit = verify(&files, Expected { keys: &keys, ..Expected::default() }).unwrap();
            assert_eq!(audit.findings.len(), 0);
        }
    };
    let signed = [("start", 0), ("denied", 1), ("checkpoint", 2)];
    let and = |more: &[(&'static str, i64)]| [&signed[..], more].concat();
    check(&signed, None);
    check(&and(&[("denied", 3), ("denied", 4), ("denied", 5)]), None);
    check(&and(&[("denied", 3), ("denied", 4), ("denied", 5), ("denied", 6)]), Some((4, 3)));
    // A quiet hour before the first of them was covered; one among them was not.
    check(&and(&[("denied", 3_600), ("denied", 3_660)]), None);
    check(&and(&[("denied", 3_600), ("denied", 3_661)]), Some((2, 61)));
    // Nobody signs while no gateway runs; but a start may be made up, so it counts for a minute. And a clock may be set back.
    check(&and(&[("denied", 3), ("start", 86_400)]), None);
    check(&and(&[("denied", 3), ("start", 86_400), ("start", 172_800)]), Some((3, 120)));
    check(&and(&[("denied", 3_600), ("denied", 5), ("denied", 66)]), Some((3, 61)));
    // What lies between two is covered by the later one, however much it is.
    let many: Vec<(&str, i64)> = (3..50).map(|second| ("denied", second * 60)).chain([("checkpoint", 3_000)]).collect();
    check(&and(&many), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// But for the line feed at the very end, every bit counts.
    #[test]
    fn no_bit_can_change_unnoticed(at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut text = lines(4).concat();
        let at = at.index(text.len() - 1);
        text[at] ^= 1 << bit;
        prop_assert!(!problems(&text).is_empty(), "byte {at}, bit {bit}");
    }

    #[test]
    fn no_line_can_go_or_move_unnoticed(from in 0..8_usize, to in 0..8_usize) {
        let lines = lines(8);
        if from > 0 && from < 7 {
            let mut fewer = lines.clone();
            fewer.remove(from);
            prop_assert!(!problems(&fewer.concat()).is_empty());
        }
        if from != to {
            let mut moved = lines.clone();
            moved.swap(from, to);
            prop_assert!(!problems(&moved.concat()).is_empty());
        }
    }
}
