//! What is counted beforehand, hour by hour, so that statistics of many events need not look at each of them.
//!
//! It is written in the transaction that writes the events, so the two never differ. Of an hour that was pruned in part nothing is left here:
//! what remains of it is counted event by event, as are the ends of a time span that begins or ends within an hour.

use std::collections::HashMap;
use std::ops::Range;

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::build::Numbers;
use super::by_number::ByNumber;
use super::{Index, IndexError, What, address_bytes, unsigned};
use crate::facts::Facts;
use crate::filter::Filter;
use crate::stats::{MINUTE_US, Tally};

pub(super) const TABLE: &str = "
    CREATE TABLE tally (
        hour INTEGER NOT NULL, file INTEGER NOT NULL, refusal INTEGER NOT NULL, what INTEGER NOT NULL, value BLOB NOT NULL,
        events INTEGER NOT NULL,
        PRIMARY KEY (hour, file, refusal, what, value)
    ) WITHOUT ROWID;
";

/// An hour in microseconds.
const HOUR_US: i64 = 60 * MINUTE_US;
/// What a value of the table stands for, besides [`What`].
const ADDRESS: i64 = 4;
const MINUTE: i64 = 5;

/// What one batch of events adds.
#[derive(Debug, Default)]
pub(super) struct Sums(HashMap<(i64, bool, i64, Counted), i64>);

/// A value that is counted.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Counted {
    /// The number of a word, or of a minute since the epoch.
    Number(i64),
    Address([u8; 16]),
}

impl Sums {
    /// Adds one event.
    pub(super) fn add(&mut self, facts: &Facts, words: &Numbers) {
        let words = [
            (What::Kind, words.kind),
            (What::Reason, words.reason),
            (What::Route, words.route),
            (What::Principal, words.principal),
        ];
        let words = words.into_iter().filter_map(|(what, word)| Some((what as i64, Counted::Number(word?))));
        let address = facts.address.map(|address| (ADDRESS, Counted::Address(address_bytes(address))));
        let minute = (MINUTE, Counted::Number(facts.time_us.div_euclid(MINUTE_US)));
        for (what, counted) in words.chain(address).chain([minute]) {
            let key = (facts.time_us.div_euclid(HOUR_US), facts.is_refusal(), what, counted);
            *self.0.entry(key).or_default() += 1;
        }
    }

    /// Writes it for a file.
    pub(super) fn write(self, db: &Connection, file: i64) -> Result<(), IndexError> {
        let mut statement = db.prepare(
            "INSERT INTO tally (hour, file, refusal, what, value, events) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO UPDATE SET events = events + excluded.events",
        )?;
        for ((hour, refusal, what, counted), events) in self.0 {
            let value = match counted {
                Counted::Number(number) => Value::Integer(number),
                Counted::Address(bytes) => Value::Blob(bytes.to_vec()),
            };
            statement.execute(params![hour, file, refusal, what, value, events])?;
        }
        Ok(())
    }
}

/// Forgets the hours of which events before this moment are gone.
pub(super) fn prune(db: &Connection, end_us: i64) -> Result<(), IndexError> {
    db.execute("DELETE FROM tally WHERE hour < ?1", [ceil_hour(end_us)])?;
    Ok(())
}

/// Forgets a file.
pub(super) fn forget(db: &Connection, file: i64) -> Result<(), IndexError> {
    db.execute("DELETE FROM tally WHERE file = ?1", [file])?;
    Ok(())
}

impl Index {
    /// Adds what there is to count of the events of these files that the filter wants.
    pub(crate) fn count(&self, files: &[i64], filter: &Filter, tally: &mut Tally) -> Result<(), IndexError> {
        let mut counted = ByNumber::of(self)?;
        match Span::of(filter, self.pruned_before) {
            None => self.each(files, filter, &mut counted)?,
            Some(Span { first, last, edges }) => {
                for edge in edges.into_iter().flatten() {
                    self.each(files, &edge, &mut counted)?;
                }
                self.hours(files, first..last, filter.refusals, &mut counted)?;
            }
        }
        counted.into_tally(self, tally)
    }

    /// Adds what was counted beforehand of these hours since the epoch.
    fn hours(
        &self,
        files: &[i64],
        hours: Range<i64>,
        refusals: bool,
        counted: &mut ByNumber,
    ) -> Result<(), IndexError> {
        let files: Vec<String> = files.iter().map(i64::to_string).collect();
        let refusals = if refusals { "AND refusal" } else { "" };
        let mut statement = self.db.prepare(&format!(
            "SELECT what, value, events FROM tally WHERE hour >= ?1 AND hour < ?2 AND file IN ({}) {refusals}",
            files.join(",")
        ))?;
        let mut rows = statement.query([hours.start, hours.end])?;
        while let Some(row) = rows.next()? {
            let events = unsigned(row.get(2)?);
            match row.get::<_, i64>(0)? {
                ADDRESS => counted.address(row.get(1)?, events),
                MINUTE => counted.minute(row.get(1)?, events),
                what => {
                    if let Some(what) = WORDS.into_iter().find(|word| *word as i64 == what) {
                        counted.word(what, row.get(1)?, events);
                    }
                }
            }
        }
        Ok(())
    }
}

/// What is counted by the numbers of words.
const WORDS: [What; 4] = [What::Kind, What::Reason, What::Route, What::Principal];

/// The whole hours of a time span, and what is left at its ends.
struct Span {
    /// The first hour since the epoch,
    first: i64,
    /// and the one after the last.
    last: i64,
    edges: [Option<Filter>; 2],
}

impl Span {
    /// `None`: it wants more than is counted beforehand, or no hour is whole.
    fn of(filter: &Filter, pruned_before: i64) -> Option<Self> {
        let Filter { since, until, refusals: _, reason, principal, network, route, id } = filter;
        if reason.is_some() || principal.is_some() || network.is_some() || route.is_some() || id.is_some() {
            return None;
        }
        let since_us = since.map_or(i64::MIN, Timestamp::as_microsecond).max(pruned_before);
        let first = ceil_hour(since_us);
        let last = until.map_or(i64::MAX, |until| until.as_microsecond().div_euclid(HOUR_US));
        if first >= last {
            return None;
        }
        let moment = |hour: i64| Timestamp::from_microsecond(hour.checked_mul(HOUR_US)?).ok();
        // Where there is no earlier bound, the first hour is that of the earliest event there can be.
        let before = match since_us {
            i64::MIN => None,
            since_us if since_us.rem_euclid(HOUR_US) == 0 => None,
            _ => Some(Filter { until: Some(moment(first)?), ..filter.clone() }),
        };
        let after = match until {
            Some(until) if until.as_microsecond().rem_euclid(HOUR_US) != 0 => {
                Some(Filter { since: Some(moment(last)?), ..filter.clone() })
            }
            Some(_) | None => None,
        };
        Some(Self { first, last, edges: [before, after] })
    }
}

/// The first hour that begins at this moment or later.
fn ceil_hour(moment_us: i64) -> i64 {
    moment_us.div_euclid(HOUR_US) + i64::from(moment_us.rem_euclid(HOUR_US) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_hours_are_counted_beforehand_and_the_ends_are_not() {
        let at = |second: i64| Timestamp::from_second(second).ok();
        /// The hours, and the ends in seconds.
        type Expected = Option<(i64, i64, Option<i64>, Option<i64>)>;
        let check = |since: Option<i64>, until: Option<i64>, pruned: i64, expected: Expected| {
            let filter = Filter { since: since.and_then(at), until: until.and_then(at), ..Filter::default() };
            let found = Span::of(&filter, pruned).map(|Span { first, last, edges: [before, after] }| {
                let before = before.map(|edge| edge.until.unwrap().as_second());
                (first, last, before, after.map(|edge| edge.since.unwrap().as_second()))
            });
            assert_eq!(found, expected, "{since:?} {until:?} {pruned}");
        };
        let always = i64::MIN;
        check(Some(0), Some(7_200), always, Some((0, 2, None, None)));
        check(Some(1), Some(7_200), always, Some((1, 2, Some(3_600), None)));
        check(Some(0), Some(7_201), always, Some((0, 2, None, Some(7_200))));
        check(Some(3_599), Some(7_199), always, None);
        check(Some(3_600), Some(7_199), always, None);
        check(Some(-1), Some(3_600), always, Some((0, 1, Some(0), None)));
        check(Some(0), None, always, Some((0, i64::MAX, None, None)));
        check(Some(0), Some(7_200), 1, Some((1, 2, Some(3_600), None)));
        check(Some(7_200), Some(0), always, None);
        let whole = Span::of(&Filter::default(), always).unwrap();
        assert!(whole.first < -1_000_000 && whole.edges == [None, None]);
        assert!(Span::of(&Filter { route: Some("a".into()), ..Filter::default() }, always).is_none());
    }
}
