//! With an index and without one every question has the same answer, whatever became of the files and of the index meanwhile.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a broken expectation is a failure")]

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use portcullis_history::{Filter, Index, IndexSettings, Indexer, files_of, search, stats};
use uuid::Uuid;

/// A folder with event files and an index.
struct Archive {
    folder: tempfile::TempDir,
    next: u64,
}

const BEGIN: i64 = 1_790_000_000;

impl Archive {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), next: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn settings(&self) -> IndexSettings {
        IndexSettings {
            path: self.path("e.jsonl.index"),
            events: self.path("e.jsonl"),
            // The events are of another year.
            max_age: Duration::from_secs(100 * 365 * 24 * 60 * 60),
            max_bytes: u64::MAX,
        }
    }

    /// One more event of a made-up kind: all that is looked at depends on its number.
    fn line(&mut self) -> String {
        let n = self.next;
        self.next += 1;
        let pick = |from: &[&str], n: u64| from[usize::try_from(n).unwrap() % from.len()].to_owned();
        let quoted = |text: String| if text.is_empty() { "null".to_owned() } else { format!("{text:?}") };
        let time =
            jiff::Timestamp::from_microsecond(BEGIN * 1_000_000 + i64::try_from(n / 3).unwrap() * 7_000_000).unwrap();
        format!(
            "{{\"schema\":\"portcullis.event/1\",\"id\":\"{}\",\"time\":\"{time:.6}\",\"kind\":{},\"seq\":{n},\"reason\":{},\
             \"policy\":{{\"route\":{}}},\"client\":{{\"ip\":{}}},\"identity\":{{\"id\":{},\"type\":\"user\"}},\"pad\":\"{:>200}\"}}\n",
            Uuid::from_u128(u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834)),
            quoted(pick(&["access.denied", "access.denied", "gateway.started"], n)),
            quoted(pick(&["rbac.no_matching_grant", "authn.missing", "", "rbac.explicit_deny", "ban.active"], n)),
            quoted(pick(&["billing", "payroll", ""], n / 2)),
            quoted(pick(&["203.0.113.7", "2001:db8::1", "", "203.0.113.9", "::ffff:198.51.100.1", "127.0.0.1"], n / 3)),
            quoted(pick(&["alice", "bob", "", "c:d"], n / 5)),
            "",
        )
    }

    fn append(&mut self, name: &str, count: usize) {
        let text: String = (0..count).map(|_| self.line()).collect();
        OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn compress(&self, from: &str, to: &str) {
        let mut gz = GzEncoder::new(File::create(self.path(to)).unwrap(), Compression::fast());
        gz.write_all(&fs::read(self.path(from)).unwrap()).unwrap();
        gz.finish().unwrap();
        fs::remove_file(self.path(from)).unwrap();
    }

    fn index(&self) {
        Indexer::open(self.settings()).unwrap().catch_up().unwrap();
    }

    /// Every question has the same answer with the index and without it. Returns how many events there are.
    #[track_caller]
    fn check(&self) -> u64 {
        self.check_all(&filters(), &[1, 7, 10_000])
    }

    /// The same for some of the questions, where there are many events.
    #[track_caller]
    fn check_some(&self) -> u64 {
        let time = |second: i64| jiff::Timestamp::from_second(BEGIN + second).ok();
        let some = [
            Filter::default(),
            Filter { since: time(35), until: time(12_000), principal: Some("alice".into()), ..Filter::default() },
        ];
        self.check_all(&some, &[50])
    }

    #[track_caller]
    fn check_all(&self, filters: &[Filter], limits: &[usize]) -> u64 {
        let (files, failures) = files_of(&self.path("e.jsonl"));
        assert!(failures.is_empty(), "{failures:?}");
        let index = Index::open(&self.path("e.jsonl.index")).unwrap().unwrap();
        for filter in filters {
            for limit in limits.iter().copied() {
                let read = search(&files, None, filter, limit);
                let indexed = search(&files, Some(&index), filter, limit);
                assert!(indexed.trouble.index.is_none() && indexed.trouble.files.is_empty(), "{:?}", indexed.trouble);
                assert_eq!(indexed.matches, read.matches, "{filter:?}");
                assert_eq!(indexed.events, read.events, "{filter:?} {limit}");
            }
            let (read, indexed) = (stats(&files, None, filter, 3), stats(&files, Some(&index), filter, 3));
            assert_eq!((indexed.events, indexed.refusals), (read.events, read.refusals), "{filter:?}");
            assert_eq!(indexed.reasons, read.reasons, "{filter:?}");
            assert_eq!(indexed.routes, read.routes, "{filter:?}");
            assert_eq!(indexed.principals, read.principals, "{filter:?}");
            assert_eq!(indexed.addresses, read.addresses, "{filter:?}");
            assert_eq!((indexed.pieces, indexed.series), (read.pieces, read.series), "{filter:?}");
        }
        search(&files, Some(&index), &Filter::default(), 1).matches
    }
}

/// Questions of every kind.
fn filters() -> Vec<Filter> {
    let time = |second: i64| jiff::Timestamp::from_second(BEGIN + second).ok();
    let mut filters = vec![Filter::default(), Filter { refusals: true, ..Filter::default() }];
    for reason in ["rbac.*", "*", "authn.missing", "none.*", "*grant"] {
        filters.push(Filter { reason: Some(reason.into()), ..Filter::default() });
    }
    for principal in ["alice", "user:bob", "service:alice", "d", "c:d", "user:c:d", "nobody"] {
        filters.push(Filter { principal: Some(principal.into()), ..Filter::default() });
    }
    for network in
        ["203.0.113.7/32", "203.0.113.0/24", "0.0.0.0/0", "::/0", "2001:db8::/32", "198.51.100.1/32", "10.0.0.0/8"]
    {
        filters.push(Filter { network: network.parse().ok(), ..Filter::default() });
    }
    for route in ["billing", "none"] {
        filters.push(Filter { route: Some(route.into()), ..Filter::default() });
    }
    for (since, until) in [(None, time(70)), (time(70), None), (time(35), time(140)), (time(140), time(35))] {
        filters.push(Filter { since, until, ..Filter::default() });
        filters.push(Filter { since, until, principal: Some("alice".into()), refusals: true, ..Filter::default() });
    }
    let id = Uuid::from_u128(11_u128.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834));
    filters.push(Filter { id: Some(id), ..Filter::default() });
    filters.push(Filter { id: Some(Uuid::nil()), reason: Some("rbac.*".into()), ..Filter::default() });
    filters
}

/// Questions about spans of time, some of which begin or end with an hour.
fn spans() -> Vec<Filter> {
    let hour = BEGIN / 3_600 * 3_600;
    let time = |second: i64| jiff::Timestamp::from_second(hour + second).ok();
    let mut filters = vec![Filter::default(), Filter { refusals: true, ..Filter::default() }];
    for (since, until) in [(3_600, 10_800), (3_601, 10_799), (3_599, 7_201), (-3_600, 36_000)] {
        let (since, until) = (time(since), time(until));
        filters.push(Filter { since, until, ..Filter::default() });
        filters.push(Filter { since, refusals: true, ..Filter::default() });
    }
    filters
}

#[test]
fn an_index_changes_no_answer() {
    let mut archive = Archive::new();
    archive.append("e.jsonl", 40);
    archive.index();
    assert_eq!(archive.check(), 40, "all of it is indexed");
    archive.append("e.jsonl", 10);
    assert_eq!(archive.check(), 50, "the end is read");
    fs::rename(archive.path("e.jsonl"), archive.path("e.jsonl.1")).unwrap();
    archive.append("e.jsonl", 20);
    assert_eq!(archive.check(), 70, "a file is known by another name, and a new one is read");
    archive.index();
    assert_eq!(archive.check(), 70);
    archive.compress("e.jsonl.1", "e.jsonl.1.gz");
    assert_eq!(archive.check(), 70, "a compressed file is the same");
    archive.index();
    assert_eq!(archive.check(), 70);
    fs::rename(archive.path("e.jsonl"), archive.path("e.jsonl.2")).unwrap();
    archive.compress("e.jsonl.2", "e.jsonl.2.gz");
    archive.append("e.jsonl", 3);
    fs::remove_file(archive.path("e.jsonl.1.gz")).unwrap();
    assert_eq!(archive.check(), 23, "what is gone is found no more");
    archive.index();
    assert_eq!(archive.check(), 23);
}

#[test]
fn hours_that_were_counted_beforehand_change_no_answer_and_are_few() {
    let mut archive = Archive::new();
    // Three events each seven seconds: more than three hours.
    archive.append("e.jsonl", 5_000);
    archive.index();
    assert_eq!(archive.check_all(&spans(), &[]), 5_000);
    let db = rusqlite::Connection::open(archive.path("e.jsonl.index")).unwrap();
    let count = |query: &str| db.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    // Of each hour sixty minutes and some twenty values, for refusals and for others.
    let rows = count("SELECT count(*) FROM tally");
    assert!(rows <= 6 * 2 * (60 + 20), "{rows} rows for 5,000 events");
    assert_eq!(count("SELECT sum(events) FROM tally WHERE what = 5"), 5_000);
    archive.append("e.jsonl", 1_000);
    assert_eq!(archive.check_all(&spans(), &[]), 6_000, "the end is read");
    archive.index();
    assert_eq!(archive.check_all(&spans(), &[]), 6_000, "and then counted with the others");
    // What is indexed again is not counted again.
    db.execute("UPDATE file SET indexed = 0, finished = 0", []).unwrap();
    archive.index();
    assert_eq!(archive.check_all(&spans(), &[]), 6_000);
    assert_eq!(count("SELECT sum(events) FROM tally WHERE what = 5"), 6_000);
}

#[test]
fn lines_that_are_no_events_and_one_that_is_not_finished_change_nothing() {
    let mut archive = Archive::new();
    archive.append("e.jsonl", 5);
    let half = archive.line();
    let mut file = OpenOptions::new().append(true).open(archive.path("e.jsonl")).unwrap();
    file.write_all(format!("garbage\n\n{{}}\n{}", &half[..100]).as_bytes()).unwrap();
    archive.index();
    assert_eq!(archive.check(), 5);
    file.write_all(&half.as_bytes()[100..]).unwrap();
    assert_eq!(archive.check(), 6);
    archive.index();
    assert_eq!(archive.check(), 6);
    let (files, _) = files_of(&archive.path("e.jsonl"));
    let index = Index::open(&archive.path("e.jsonl.index")).unwrap().unwrap();
    assert_eq!(search(&files, Some(&index), &Filter::default(), 9).trouble.malformed, 2);
}

#[test]
fn a_file_that_was_cut_is_indexed_anew() {
    let mut archive = Archive::new();
    archive.append("e.jsonl", 30);
    archive.index();
    let text = fs::read(archive.path("e.jsonl")).unwrap();
    let third = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2).unwrap().0;
    // As `copytruncate` does, and then other events behind the same beginning.
    fs::write(archive.path("e.jsonl"), &text[..=third]).unwrap();
    assert_eq!(archive.check(), 3);
    archive.append("e.jsonl", 4);
    archive.index();
    assert_eq!(archive.check(), 7);
}

#[test]
fn what_the_index_gave_up_is_found_in_the_files() {
    let mut archive = Archive::new();
    archive.append("e.jsonl", 5_600);
    archive.index();
    let whole = fs::metadata(archive.path("e.jsonl.index")).unwrap().len();
    let mut smaller = Indexer::open(IndexSettings { max_bytes: whole / 3, ..archive.settings() }).unwrap();
    smaller.catch_up().unwrap();
    drop(smaller);
    assert_eq!(archive.check_some(), 5_600);
    assert_eq!(
        archive.check_all(&spans(), &[]),
        5_600,
        "of an hour that was pruned in part nothing is counted beforehand"
    );
    // By age as well: an event is an age in microseconds here.
    let mut younger = Indexer::open(IndexSettings { max_age: Duration::from_secs(1), ..archive.settings() }).unwrap();
    younger.catch_up().unwrap();
    drop(younger);
    assert_eq!(archive.check_some(), 5_600, "an index that is empty");
    archive.append("e.jsonl", 5);
    archive.index();
    assert_eq!(archive.check_some(), 5_605);
}

#[test]
fn a_damaged_index_or_one_of_another_version_is_made_anew() {
    let mut archive = Archive::new();
    archive.append("e.jsonl", 10);
    fs::write(
        archive.path("e.jsonl.index"),
        "this is no database at all, and long enough to be looked at as one".repeat(100),
    )
    .unwrap();
    assert!(Index::open(&archive.path("e.jsonl.index")).is_err());
    archive.index();
    assert_eq!(archive.check(), 10);
    let db = rusqlite::Connection::open(archive.path("e.jsonl.index")).unwrap();
    db.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(db);
    assert!(Index::open(&archive.path("e.jsonl.index")).is_err());
    archive.index();
    assert_eq!(archive.check(), 10);
    assert!(Index::open(Path::new("/none/at/all")).unwrap().is_none());
}

#[test]
fn readers_and_the_writer_do_not_wait_for_each_other() {
    let mut archive = Archive::new();
    archive.append("e.jsonl", 50);
    archive.index();
    let index = Index::open(&archive.path("e.jsonl.index")).unwrap().unwrap();
    archive.append("e.jsonl", 50);
    archive.index();
    let (files, _) = files_of(&archive.path("e.jsonl"));
    assert_eq!(search(&files, Some(&index), &Filter::default(), 1).matches, 100, "what it did not see is read");
    assert_eq!(archive.check(), 100);
}
