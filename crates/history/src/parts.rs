//! What a filter wants in parts: a search that goes on where an earlier one ended, and a walk over at most so many events.

use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;

use jiff::Timestamp;
use uuid::Uuid;

use crate::facts::{Facts, Order};
use crate::files::EventFile;
use crate::filter::Filter;
use crate::index::Index;
use crate::plan::Plan;
use crate::scan::{Trouble, scan_while};
use crate::search::{Bounds, Found, search_within};

/// Where a part of a search ended: the oldest event of it. As text it is for whoever asks for the next part, and for nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(Order);

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self((time_us, seq, id)) = self;
        write!(formatter, "{time_us}.{seq}.{id}")
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '.');
        let mut next = || parts.next().ok_or(());
        let (time_us, seq, id) = (next()?, next()?, next()?);
        let time_us: i64 = time_us.parse().map_err(|_| ())?;
        // A time that there is.
        Timestamp::from_microsecond(time_us).map_err(|_| ())?;
        Ok(Self((time_us, seq.parse().map_err(|_| ())?, Uuid::try_parse(id).map_err(|_| ())?)))
    }
}

impl Cursor {
    fn of_line(line: &str) -> Option<Self> {
        Facts::of_line(line.as_bytes()).map(|facts| Self(facts.order()))
    }
}

/// A part of a search.
#[derive(Debug, Default)]
pub struct Part {
    /// What was found: `matches` counts these events and the older ones.
    pub found: Found,
    /// Where it ended; `None`: there are no older ones.
    pub next: Option<Cursor>,
}

/// The newest `limit` events that the filter wants and that are older than the one where a part before ended. Together they are at most `bytes` long, where
/// one alone is not longer; the next part has those that are left out for that.
pub fn search_part(
    files: &[EventFile],
    index: Option<&Index>,
    filter: &Filter,
    (limit, bytes): (usize, usize),
    after: Option<Cursor>,
) -> Part {
    let mut filter = filter.clone();
    let before = after.map(|Cursor(order)| order);
    if let Some((time_us, ..)) = before {
        // That moment is of this part, too: several events may have one time.
        let until = Timestamp::from_microsecond(time_us.saturating_add(1)).unwrap_or(Timestamp::MAX);
        filter.until = Some(filter.until.map_or(until, |other| other.min(until)));
    }
    let mut found = search_within(files, index, &filter, Bounds { limit: limit.saturating_add(1), bytes, before });
    let is_more = found.events.len() > limit || found.is_cut;
    found.events.truncate(limit);
    let next = found.events.last().filter(|_| is_more).and_then(|line| Cursor::of_line(line));
    Part { found, next }
}

/// Calls `take` with at most `limit` events that the filter wants, file by file: the one that was begun last first, and each from its beginning. Says whether
/// there are more, and what could not be read.
pub fn for_each_event(
    files: &[EventFile],
    filter: &Filter,
    limit: u64,
    take: &mut dyn FnMut(&[u8]),
) -> (bool, Trouble) {
    let (plan, mut trouble, mut taken) = (Plan::reading(files, filter), Trouble::default(), 0);
    let mut take_some = |_: Facts, line: &[u8]| {
        if taken == limit {
            return ControlFlow::Break(());
        }
        taken += 1;
        take(line);
        ControlFlow::Continue(())
    };
    let is_more = plan.parts.iter().any(|part| scan_while(part, &mut trouble, &mut take_some).is_break());
    (is_more, trouble)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::files::files_of;

    fn line(micros: u32, n: u128) -> String {
        let id = Uuid::from_u128(n);
        format!(
            "{{\"id\":\"{id}\",\"time\":\"2026-11-22T19:04:00.{micros:06}Z\",\"kind\":\"access.denied\",\"seq\":1,\"reason\":\"a.x\"}}\n"
        )
    }

    fn numbers(part: &Part) -> Vec<u128> {
        part.found.events.iter().map(|line| Facts::of_line(line.as_bytes()).unwrap().id.as_u128()).collect()
    }

    #[test]
    fn the_parts_of_a_search_are_the_search_also_where_many_events_have_one_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.jsonl");
        // 40 of one microsecond, which is more than are looked at once more at first, in the middle of others.
        let micros = |n: u128| match n {
            0..30 => n as u32,
            30..70 => 500,
            _ => 1_000 + n as u32,
        };
        fs::write(&path, (0..100).map(|n| line(micros(n), n)).collect::<String>()).unwrap();
        let (files, _) = files_of(&path);
        let whole: Vec<u128> = (0..100).rev().collect();
        for limit in [1, 7, 33, 99, 100, 1_000] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let part = search_part(&files, None, &Filter::default(), (limit, usize::MAX), after);
                assert_eq!(part.found.matches, 100 - seen.len() as u64, "{limit}");
                seen.extend(numbers(&part));
                let Some(next) = part.next else { break };
                assert_eq!(next.to_string().parse(), Ok(next));
                after = Some(next);
            }
            assert_eq!(seen, whole, "{limit}");
        }
    }

    /// Whatever order they stand in, and how long each is: nothing is missing between two parts, and no part is longer.
    #[test]
    fn a_part_is_as_many_bytes_as_are_wanted_or_one_event() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.jsonl");
        let long = |n: u128| {
            let pad = "x".repeat((n as usize * 37) % 400);
            line(if n < 50 { 500 } else { n as u32 + 500 }, n).replace("}\n", &format!(",\"pad\":\"{pad}\"}}\n"))
        };
        let mixed: Vec<u128> = (0..100).map(|n| n * 61 % 100).collect();
        fs::write(&path, mixed.iter().map(|n| long(*n)).collect::<String>()).unwrap();
        let (files, _) = files_of(&path);
        let whole: Vec<u128> = (0..100).rev().collect();
        for (limit, bytes) in [(1_000, 1), (1_000, 700), (3, 900), (1_000, 5_000), (1_000, 1_000_000)] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let part = search_part(&files, None, &Filter::default(), (limit, bytes), after);
                let length: usize = part.found.events.iter().map(String::len).sum();
                assert!(length <= bytes || part.found.events.len() == 1, "{length} of {bytes}");
                assert_eq!(part.found.matches, 100 - seen.len() as u64);
                seen.extend(numbers(&part));
                let Some(next) = part.next else { break };
                after = Some(next);
            }
            assert_eq!(seen, whole, "{limit} {bytes}");
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in [
            "",
            "1",
            "1.2",
            "1.2.x",
            "x.2.00000000-0000-0000-0000-000000000001",
            "9223372036854775807.1.00000000-0000-0000-0000-000000000001",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(()), "{text}");
        }
    }

    #[test]
    fn at_most_so_many_events_are_walked_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.jsonl");
        fs::write(&path, (0..10).map(|n| line(n as u32, n)).collect::<String>()).unwrap();
        fs::write(folder.path().join("e.jsonl.1"), "no event\n").unwrap();
        let (files, _) = files_of(&path);
        let check = |limit: u64, count: usize, is_more: bool| {
            let mut seen = 0;
            let (more, _) = for_each_event(&files, &Filter::default(), limit, &mut |_| seen += 1);
            assert_eq!((seen, more), (count, is_more), "{limit}");
        };
        check(9, 9, true);
        check(10, 10, false);
        check(11, 10, false);
        check(0, 0, true);
    }
}
