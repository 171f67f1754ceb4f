//! What the folder is after whatever a process has left in it.

use super::*;
use crate::settings::Fsync;
use crate::sinks::Sink as _;
use crate::sinks::durable::Durability;
use std::sync::Arc;

fn settings(folder: &Path) -> SpoolSettings {
    SpoolSettings { max_size: 1_000, segment_size: 300, ..SpoolSettings::new(folder) }
}

fn open(folder: &Path) -> (Arc<Spool>, Found) {
    let (spool, found) = Spool::open(&settings(folder)).unwrap();
    (Arc::new(spool), found)
}

fn append(spool: &Arc<Spool>, lines: &[&str]) {
    let mut sink = SpoolSink::open(Arc::clone(spool), Durability::new(Fsync::Always, Duration::ZERO)).unwrap();
    for line in lines {
        let line = format!("{line}\n");
        assert_eq!(sink.write(line.as_bytes()).unwrap(), line.len());
        sink.flush().unwrap();
    }
}

fn read_all(spool: &Arc<Spool>, sink: usize) -> (Vec<String>, reader::Gaps) {
    let mut reader = Reader::new(Arc::clone(spool), sink);
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        if reader.read(&mut line).unwrap().is_none() {
            return (lines, reader.take_gaps());
        }
        lines.push(String::from_utf8(line).unwrap());
    }
}

/// Makes a segment one that the disk does not give: to read this file at its beginning is `EIO`.
fn scratch(folder: &Path, first: u64) {
    let path = segment::path(folder, first);
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/proc/self/mem", path).unwrap();
}

#[test]
fn a_folder_is_opened_again_with_everything_that_was_appended() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("deep").join("spool");
    let (spool, found) = open(&folder);
    assert_eq!(found, Found::default());
    append(&spool, &["one", "two"]);
    drop(spool);
    let (spool, found) = open(&folder);
    assert_eq!((found.torn, &found.tail[..]), (0, &b"one\ntwo\n"[..]));
    append(&spool, &["three"]);
    let sink = spool.add_sink(None, OnFull::Drop);
    assert_eq!(spool.waiting(sink), 3);
    assert_eq!(read_all(&spool, sink), (vec!["one".into(), "two".into(), "three".into()], reader::Gaps::default()));
}

#[test]
fn a_torn_tail_is_cut_off_at_every_length() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    append(&spool, &["one", "two"]);
    drop(spool);
    let path = segment::path(folder.path(), 1);
    let whole = fs::read(&path).unwrap();
    let size = record::HEADER + "two".len();
    for cut in 1..size {
        fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        let (spool, found) = open(folder.path());
        assert_eq!((found.torn, &found.tail[..]), ((size - cut) as u64, &b"one\n"[..]));
        append(&spool, &["new"]);
        let sink = spool.add_sink(None, OnFull::Drop);
        assert_eq!(read_all(&spool, sink).0, ["one", "new"]);
    }
}

#[test]
fn a_segment_that_was_just_being_made_does_not_stand_in_the_way() {
    for left in ["", "PCSPOOL1", "rubbish that is longer than a header"] {
        let folder = tempfile::tempdir().unwrap();
        let (spool, _) = open(folder.path());
        append(&spool, &["one"]);
        drop(spool);
        fs::write(segment::path(folder.path(), 2), left).unwrap();
        let (spool, found) = open(folder.path());
        assert_eq!(found.tail, b"one\n");
        append(&spool, &["two"]);
        let sink = spool.add_sink(None, OnFull::Drop);
        assert_eq!(read_all(&spool, sink).0, ["one", "two"], "{left:?}");
    }
}

#[test]
fn segments_are_deleted_once_every_sink_has_passed_them_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let (fast, slow) = (spool.add_sink(None, OnFull::Drop), spool.add_sink(None, OnFull::Drop));
    let long = "x".repeat(200);
    append(&spool, &[&long, &long, &long]);
    assert_eq!(segment::list(folder.path()).unwrap(), [1, 2, 3]);
    spool.took(fast, 4);
    assert_eq!(segment::list(folder.path()).unwrap(), [1, 2, 3]);
    spool.took(slow, 2);
    assert_eq!(segment::list(folder.path()).unwrap(), [2, 3]);
    spool.took(slow, 4);
    // The last one stays: it holds the end of the chain.
    assert_eq!(segment::list(folder.path()).unwrap(), [3]);
}

#[test]
fn at_the_bound_the_oldest_goes_unless_a_sink_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let behind = spool.add_sink(None, OnFull::Drop);
    let long = "x".repeat(200);
    append(&spool, &[&long, &long, &long, &long]);
    append(&spool, &[&long]);
    let (lines, gaps) = read_all(&spool, behind);
    assert_eq!((lines.len(), gaps), (4, reader::Gaps { given_up: 1, damaged: 0 }));
    assert!(spool.stats().bytes <= 1_000);

    spool.took(behind, 6);
    let blocking = spool.add_sink(None, OnFull::Block);
    append(&spool, &[&long, &long, &long]);
    let mut sink = SpoolSink::open(Arc::clone(&spool), Durability::none()).unwrap();
    let line = format!("{long}\n");
    assert_eq!(sink.write(line.as_bytes()).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(read_all(&spool, blocking).1, reader::Gaps::default());
    spool.took(blocking, 9);
    assert_eq!(sink.write(line.as_bytes()).unwrap(), line.len());
}

#[test]
fn a_place_that_cannot_be_is_the_oldest_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    append(&spool, &["one", "two"]);
    for (saved, taken) in [(None, 1), (Some(2), 2), (Some(3), 3), (Some(4), 1), (Some(u64::MAX), 1)] {
        let sink = spool.add_sink(saved, OnFull::Drop);
        assert_eq!(spool.taken(sink), taken, "{saved:?}");
    }
}

#[test]
fn what_an_attempt_left_does_not_stand_in_the_way_of_a_new_segment() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let mut sink = SpoolSink::open(Arc::clone(&spool), Durability::new(Fsync::Always, Duration::ZERO)).unwrap();
    let line = format!("{}\n", "x".repeat(200));
    sink.write(line.as_bytes()).unwrap();
    let next = spool.state().next;
    fs::write(segment::path(folder.path(), next), "half a header").unwrap();
    sink.write(line.as_bytes()).unwrap_err();
    assert_eq!(sink.write(line.as_bytes()).unwrap(), line.len());
    let reader = spool.add_sink(None, OnFull::Drop);
    assert_eq!(read_all(&spool, reader), (vec!["x".repeat(200); 2], reader::Gaps::default()));
}

#[test]
fn a_sink_that_has_had_more_than_a_loss_of_power_left_passes_over_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    append(&spool, &["one", "two", "three", "four"]);
    drop(spool);
    // Two sinks had taken three and one of them; then the machine lost all but the first event.
    cursor::Cursor::open(folder.path(), "far").save(4).unwrap();
    cursor::Cursor::open(folder.path(), "near").save(2).unwrap();
    let path = segment::path(folder.path(), 1);
    let size = segment::HEADER as usize + record::HEADER + "one".len();
    fs::write(&path, &fs::read(&path).unwrap()[..size]).unwrap();

    let (spool, found) = open(folder.path());
    assert_eq!((found.lost, &found.tail[..]), (2, &b"one\n"[..]));
    let place = |name: &str| spool.add_sink(cursor::Cursor::open(folder.path(), name).saved(), OnFull::Drop);
    let (far, near) = (place("far"), place("near"));
    append(&spool, &["five", "six"]);
    assert_eq!(read_all(&spool, far), (vec!["five".into(), "six".into()], reader::Gaps::default()));
    // What this one had not had is lost, and counted.
    assert_eq!(read_all(&spool, near), (vec!["five".into(), "six".into()], reader::Gaps { given_up: 0, damaged: 2 }));
    drop(spool);
    // It stays like that, although no cursor was written meanwhile.
    let (spool, found) = open(folder.path());
    assert_eq!(found.lost, 0);
    let far = spool.add_sink(cursor::Cursor::open(folder.path(), "far").saved(), OnFull::Drop);
    assert_eq!(read_all(&spool, far).0, ["five", "six"]);
}

#[test]
fn a_folder_that_was_emptied_goes_on_behind_every_place() {
    let folder = tempfile::tempdir().unwrap();
    cursor::Cursor::open(folder.path(), "gone").save(500).unwrap();
    let (spool, _) = open(folder.path());
    append(&spool, &["one"]);
    let sink = spool.add_sink(cursor::Cursor::open(folder.path(), "gone").saved(), OnFull::Drop);
    assert_eq!(read_all(&spool, sink), (vec!["one".into()], reader::Gaps::default()));
}

#[test]
fn the_tail_goes_back_over_several_segments() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    spool.add_sink(None, OnFull::Drop);
    let lines: Vec<String> = (0..3).map(|number| number.to_string().repeat(200)).collect();
    append(&spool, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    drop(spool);
    assert_eq!(segment::list(folder.path()).unwrap().len(), 3);
    let (_, found) = open(folder.path());
    assert_eq!(found.tail, format!("{}\n", lines.join("\n")).as_bytes());
}

#[test]
fn the_segment_before_an_empty_one_stays_since_it_holds_the_end_of_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let reader = spool.add_sink(None, OnFull::Drop);
    let line = format!("{}\n", "x".repeat(200));
    let mut sink = SpoolSink::open(Arc::clone(&spool), Durability::none()).unwrap();
    sink.write(line.as_bytes()).unwrap();
    // The next segment was begun, and then the disk was full.
    sink.roll(2, 220).unwrap();
    spool.took(reader, 2);
    assert_eq!(segment::list(folder.path()).unwrap(), [1, 2]);
    drop((sink, spool));
    let (spool, found) = open(folder.path());
    assert_eq!(found.tail, line.as_bytes(), "the next start knows the last line");
    let reader = spool.add_sink(Some(2), OnFull::Drop);
    append(&spool, &["two"]);
    assert_eq!(read_all(&spool, reader).0, ["two"]);
    spool.took(reader, 3);
    assert_eq!(segment::list(folder.path()).unwrap(), [2]);
}

#[test]
fn the_bound_does_not_take_the_only_segment_that_holds_anything() {
    let folder = tempfile::tempdir().unwrap();
    let settings = SpoolSettings { max_size: 400, segment_size: 300, ..SpoolSettings::new(folder.path()) };
    let spool = Arc::new(Spool::open(&settings).unwrap().0);
    spool.add_sink(None, OnFull::Drop);
    let line = format!("{}\n", "x".repeat(200));
    let mut sink = SpoolSink::open(Arc::clone(&spool), Durability::none()).unwrap();
    sink.write(line.as_bytes()).unwrap();
    sink.roll(2, 220).unwrap();
    sink.write(line.as_bytes()).unwrap();
    assert_eq!(segment::list(folder.path()).unwrap(), [1, 2]);
    sink.write(line.as_bytes()).unwrap();
    assert_eq!(segment::list(folder.path()).unwrap(), [2, 3]);
}

#[test]
fn a_segment_that_the_disk_does_not_give_is_passed_over_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = open(folder.path());
    let reader = spool.add_sink(None, OnFull::Drop);
    let long = "x".repeat(200);
    append(&spool, &[&long, &long, &long]);
    scratch(folder.path(), 1);
    let mut reader = Reader::new(Arc::clone(&spool), reader);
    let mut line = Vec::new();
    for attempt in 1..=3 {
        assert!(reader.read(&mut line).is_err(), "attempt {attempt}: perhaps it can be read the next time");
    }
    assert_eq!(reader.read(&mut line).unwrap(), Some(2));
    assert_eq!(reader.take_gaps(), reader::Gaps { given_up: 0, damaged: 1 });
}

#[test]
fn a_segment_that_the_disk_does_not_give_keeps_nobody_from_starting() {
    for first in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let (spool, _) = open(folder.path());
        spool.add_sink(None, OnFull::Drop);
        let long = "x".repeat(200);
        append(&spool, &[&long, &long, &long]);
        drop(spool);
        scratch(folder.path(), first);
        let (spool, found) = open(folder.path());
        let tail = [&long, "\n"].concat();
        assert_eq!(found.tail, tail.repeat(2).as_bytes(), "{first}: what can be read is");
        let reader = spool.add_sink(None, OnFull::Drop);
        append(&spool, &["new"]);
        // What was last is set aside, not deleted: somebody may still get at it.
        let aside = segment::path(folder.path(), first).with_extension("damaged");
        assert_eq!(fs::symlink_metadata(&aside).is_ok(), first == 3);
        assert_eq!(spool.stats().set_aside, usize::from(first == 3), "and told of");
        let mut reader = Reader::new(Arc::clone(&spool), reader);
        let (mut found, mut line) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            if let Ok(Some(number)) = reader.read(&mut line) {
                found.push(number);
            }
        }
        assert_eq!(found, if first == 1 { vec![2, 3, 4] } else { vec![1, 2, 3] }, "{first}");
        if first == 3 {
            drop((reader, spool));
            assert_eq!(open(folder.path()).0.stats().set_aside, 1, "for as long as nobody has taken it away");
            fs::remove_file(aside).unwrap();
            assert_eq!(open(folder.path()).0.stats().set_aside, 0);
        }
    }
}
