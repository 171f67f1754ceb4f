//! The newest events that a filter wants.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::io::{self, Read as _};

use uuid::Uuid;

use crate::facts::{Facts, Order};
use crate::files::EventFile;
use crate::filter::Filter;
use crate::index::{Index, IndexError, Place};
use crate::plan::Plan;
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
    /// Older ones are left out, as these are as many bytes as are wanted.
    pub(crate) is_cut: bool,
}

/// What of that which a filter wants is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// At most so many events.
    pub(crate) limit: usize,
    /// Together at most so many bytes, or one event.
    pub(crate) bytes: usize,
    /// Only what is older than this.
    pub(crate) before: Option<Order>,
}

/// The newest `limit` events of these files that the filter wants. An index of them makes it quick, and changes nothing else.
pub fn search(files: &[EventFile], index: Option<&Index>, filter: &Filter, limit: usize) -> Found {
    search_within(files, index, filter, Bounds { limit, bytes: usize::MAX, before: None })
}

/// The same within these bounds, which hold for what is in memory meanwhile, too.
pub(crate) fn search_within(files: &[EventFile], index: Option<&Index>, filter: &Filter, bounds: Bounds) -> Found {
    let (plan, usable) = Plan::best(index, files, filter);
    let mut search =
        Search { newest: Newest::new(bounds), trouble: Trouble { index: usable.err(), ..Trouble::default() } };
    let asked = index.filter(|_| !plan.indexed.is_empty()).map(|index| search.ask(index, &plan, filter));
    if let Some(Err(error)) = asked {
        // It cannot be relied on: everything is read instead.
        let trouble = Trouble { index: Some(error), ..Trouble::default() };
        search = Search { newest: Newest::new(bounds), trouble };
        let plan = Plan::reading(files, filter);
        search.read(&plan);
        return search.finish(&plan);
    }
    search.read(&plan);
    search.finish(&plan)
}

/// A search under way.
struct Search {
    newest: Newest,
    trouble: Trouble,
}

impl Search {
    fn ask(&mut self, index: &Index, plan: &Plan<'_>, filter: &Filter) -> Result<(), IndexError> {
        let Bounds { limit, before, .. } = self.newest.bounds;
        let (hits, matches) = index.newest(&plan.numbers(), filter, limit, before)?;
        (self.trouble.too_long, self.trouble.malformed) = plan.unreadable;
        for (order, place) in hits {
            self.newest.add(order, place.length, || What::At(place));
        }
        // Those that were handed over are among them.
        self.newest.matches = matches;
        Ok(())
    }

    fn read(&mut self, plan: &Plan<'_>) {
        for part in &plan.parts {
            let newest = &mut self.newest;
            scan(part, &mut self.trouble, &mut |facts: Facts, line: &[u8]| {
                newest.add(facts.order(), line.len(), || What::Line(line.into()));
            });
        }
    }

    fn finish(mut self, plan: &Plan<'_>) -> Found {
        // The order of `Reverse` is the newest first.
        let is_cut = self.newest.cut.is_some();
        let hits: Vec<Hit> = self.newest.heap.into_sorted_vec().into_iter().map(|Reverse(hit)| hit).collect();
        let mut fetched = fetch(&hits, plan, &mut self.trouble);
        let events = hits.into_iter().filter_map(|hit| match hit.what {
            What::Line(line) => Some(String::from_utf8_lossy(&line).into_owned()),
            What::At(place) => fetched.remove(&place),
        });
        Found { events: events.collect(), matches: self.newest.matches, trouble: self.trouble, is_cut }
    }
}

/// The lines at the places that the index named, each file read from its beginning to its end once.
fn fetch(hits: &[Hit], plan: &Plan<'_>, trouble: &mut Trouble) -> HashMap<Place, String> {
    let mut places: BTreeMap<i64, Vec<(Place, Uuid)>> = BTreeMap::new();
    for hit in hits {
        if let What::At(place) = hit.what {
            places.entry(place.file).or_default().push((place, hit.order.2));
        }
    }
    let mut lines = HashMap::new();
    for (number, mut places) in places {
        let Some(file) = plan.file(number) else { continue };
        places.sort_unstable_by_key(|(place, _)| place.offset);
        if let Err(error) = fetch_from(file, &places, &mut lines, trouble) {
            trouble.files.push((file.path.clone(), error));
        }
    }
    lines
}

fn fetch_from(
    file: &EventFile,
    places: &[(Place, Uuid)],
    lines: &mut HashMap<Place, String>,
    trouble: &mut Trouble,
) -> io::Result<()> {
    let mut reader = None;
    let mut at = 0;
    for (place, id) in places {
        // To skip in a plain file costs nothing, and in a compressed one as much as to read.
        let mut from = match reader.take() {
            Some(reader) if file.compressed => reader,
            _ => {
                at = place.offset;
                file.reader(place.offset)?
            }
        };
        io::copy(&mut (&mut from).take(place.offset.saturating_sub(at)), &mut io::sink())?;
        let mut line = vec![0; place.length];
        from.read_exact(&mut line)?;
        at = place.offset + place.length as u64;
        reader = Some(from);
        // The file may have been exchanged since it was indexed.
        if Facts::of_line(&line).is_some_and(|facts| facts.id == *id) {
            lines.insert(*place, String::from_utf8_lossy(&line).into_owned());
        } else {
            trouble.malformed += 1;
        }
    }
    Ok(())
}

/// The newest events so far.
struct Newest {
    /// The oldest of them on top.
    heap: BinaryHeap<Reverse<Hit>>,
    bounds: Bounds,
    /// Of those in the heap.
    bytes: usize,
    /// The newest that had to go for its bytes. Older ones come no more, so that nothing is missing between those that stay.
    cut: Option<Order>,
    matches: u64,
}

/// An event, with what events are ordered by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Hit {
    order: Order,
    length: usize,
    what: What,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Line(Box<[u8]>),
    At(Place),
}

impl Newest {
    fn new(bounds: Bounds) -> Self {
        Self { heap: BinaryHeap::new(), bounds, bytes: 0, cut: None, matches: 0 }
    }

    fn add(&mut self, order: Order, length: usize, what: impl FnOnce() -> What) {
        if self.bounds.before.is_some_and(|before| order >= before) {
            return;
        }
        self.matches += 1;
        if self.cut.is_some_and(|cut| order <= cut) {
            return;
        }
        if self.heap.len() >= self.bounds.limit {
            if self.heap.peek().is_none_or(|oldest| oldest.0.order >= order) {
                return;
            }
            self.pop();
        }
        self.heap.push(Reverse(Hit { order, length, what: what() }));
        self.bytes = self.bytes.saturating_add(length);
        while self.bytes > self.bounds.bytes && self.heap.len() > 1 {
            self.cut = self.pop().or(self.cut);
        }
    }

    fn pop(&mut self) -> Option<Order> {
        let Reverse(oldest) = self.heap.pop()?;
        self.bytes = self.bytes.saturating_sub(oldest.length);
        Some(oldest.order)
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
            let found = search(&files, None, filter, limit);
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
        let found = search(&files_of(&path).0, None, &Filter::default(), 10);
        assert_eq!((found.events.len(), found.trouble.malformed), (2, 1));
    }
}
