//! The newest events that a filter wants.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use uuid::Uuid;

use crate::facts::Facts;
use crate::files::EventFile;
use crate::filter::Filter;
use crate::scan::{Trouble, scan};

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    /// Native lines, the newest first.
    pub events: Vec<String>,
    /// How many the filter wants; as many as there are events, or more than the limit.
    pub matches: u64,
    /// What could not be read.
    pub trouble: Trouble,
}

/// The newest `limit` events of these files that the filter wants.
pub fn search(files: &[EventFile], filter: &Filter, limit: usize) -> Found {
    let mut newest = Newest { heap: BinaryHeap::new(), limit, matches: 0 };
    let mut trouble = Trouble::default();
    let (since, until) = (filter.since.map(|at| at.as_microsecond()), filter.until.map(|at| at.as_microsecond()));
    for file in files.iter().filter(|file| file.may_hold(since, until)) {
        scan(file, filter, &mut trouble, &mut |facts, line| newest.add(&facts, line));
    }
    newest.into_found(trouble)
}

/// The newest lines so far.
struct Newest {
    /// The oldest of them on top.
    heap: BinaryHeap<Reverse<Hit>>,
    limit: usize,
    matches: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Hit {
    order: (i64, u64, Uuid),
    line: Box<[u8]>,
}

impl Newest {
    fn add(&mut self, facts: &Facts, line: &[u8]) {
        self.matches += 1;
        let order = facts.order();
        if self.heap.len() >= self.limit {
            if self.heap.peek().is_none_or(|oldest| oldest.0.order >= order) {
                return;
            }
            self.heap.pop();
        }
        self.heap.push(Reverse(Hit { order, line: line.into() }));
    }

    fn into_found(self, trouble: Trouble) -> Found {
        // The order of `Reverse` is the newest first.
        let hits = self.heap.into_sorted_vec();
        let events = hits.into_iter().map(|Reverse(hit)| String::from_utf8_lossy(&hit.line).into_owned()).collect();
        Found { events, matches: self.matches, trouble }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::files::files_of;

    fn line(second: u32, reason: &str) -> String {
        let id = Uuid::from_u128(u128::from(second));
        format!(
            "{{\"id\":\"{id}\",\"time\":\"2026-11-22T19:04:{second:02}.000000Z\",\"kind\":\"access.denied\",\"seq\":{second},\
             \"reason\":\"{reason}\",\"pad\":\"{:>300}\"}}\n",
            ""
        )
    }

    #[test]
    fn the_newest_come_first_from_whatever_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.jsonl");
        fs::write(&path, [line(30, "b.x"), line(32, "a.x"), line(31, "a.y")].concat()).unwrap();
        fs::write(folder.path().join("e.jsonl.1"), [line(10, "a.x"), line(12, "b.x"), "{\"cut".into()].concat())
            .unwrap();
        let (files, _) = files_of(&path);
        let check = |filter: &Filter, limit: usize, expected: &[u32], matches: u64| {
            let found = search(&files, filter, limit);
            let seconds: Vec<u32> = found
                .events
                .iter()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap() as u32)
                .collect();
            assert_eq!((seconds.as_slice(), found.matches), (expected, matches), "{filter:?}");
            assert!(found.trouble.is_none());
        };
        check(&Filter::default(), 10, &[32, 31, 30, 12, 10], 5);
        check(&Filter::default(), 2, &[32, 31], 5);
        check(&Filter::default(), 0, &[], 5);
        check(&Filter { reason: Some("a.*".into()), ..Filter::default() }, 10, &[32, 31, 10], 3);
        let since = Some("2026-11-22T19:04:12Z".parse().unwrap());
        check(&Filter { since, ..Filter::default() }, 10, &[32, 31, 30, 12], 4);
        check(&Filter { until: since, ..Filter::default() }, 10, &[10], 1);
        check(&Filter { id: Some(Uuid::from_u128(12)), ..Filter::default() }, 10, &[12], 1);
    }

    #[test]
    fn what_cannot_be_read_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.jsonl");
        fs::write(&path, [line(1, "a"), "garbage\n".into(), "\n".into(), line(2, "a")].concat()).unwrap();
        let found = search(&files_of(&path).0, &Filter::default(), 10);
        assert_eq!((found.events.len(), found.trouble.malformed), (2, 1));
    }
}
