//! When somebody counted: the spans of time in which a use would have been seen. What lies between them, while no process ran, says nothing of
//! what was unused.

use std::collections::BTreeMap;

/// Two beats that are so far apart, in seconds, are of one span: longer than it takes to hand over to a new process, and shorter than it takes to
/// put a backup back.
const BRIDGED_S: i64 = 60;
/// Spans that are kept. Of more the oldest ones are forgotten: then less counts as observed.
const MOST_SPANS: usize = 4_096;

/// Spans, each from its first second to its last, disjoint. Seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed(BTreeMap<i64, i64>);

impl Observed {
    /// Of spans that may overlap.
    pub(super) fn of(spans: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let mut sorted: Vec<(i64, i64)> = spans.into_iter().filter(|(began, until)| began <= until).collect();
        sorted.sort_unstable();
        let mut observed = Self::default();
        let mut open: Option<(i64, i64)> = None;
        for (began, until) in sorted {
            open = match open {
                Some((first, last)) if began <= last => Some((first, last.max(until))),
                closed => {
                    observed.0.extend(closed);
                    Some((began, until))
                }
            };
        }
        observed.0.extend(open);
        observed.bound();
        observed
    }

    fn bound(&mut self) {
        while self.0.len() > MOST_SPANS {
            self.0.pop_first();
        }
    }

    /// Somebody counts now. Returns the beginning of the span that this is in.
    pub(super) fn beat(&mut self, now: i64) -> i64 {
        let last = self.0.range_mut(..=now).next_back();
        if let Some((began, until)) = last.filter(|(_, until)| now.saturating_sub(**until) <= BRIDGED_S) {
            *until = (*until).max(now);
            return *began;
        }
        self.0.insert(now, now);
        self.bound();
        now
    }

    /// The spans, the oldest first.
    pub fn spans(&self) -> impl Iterator<Item = (i64, i64)> {
        self.0.iter().map(|(began, until)| (*began, *until))
    }

    /// The end of the span that begins there.
    pub(super) fn until(&self, began: i64) -> Option<i64> {
        self.0.get(&began).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many seconds of the time between were observed.
    pub fn seconds(&self, since: i64, now: i64) -> i64 {
        self.within(since, now).map(|(began, until)| until.saturating_sub(began)).fold(0, i64::saturating_add)
    }

    /// The latest time from which on so many seconds were observed till now, none of them before `since`.
    pub fn edge(&self, since: i64, now: i64, needed: i64) -> Option<i64> {
        let mut left = needed;
        for (began, until) in self.within(since, now) {
            let seconds = until.saturating_sub(began);
            if seconds >= left {
                return Some(until.saturating_sub(left));
            }
            left -= seconds;
        }
        None
    }

    /// The spans between these times, the last one first, cut to them.
    fn within(&self, since: i64, now: i64) -> impl Iterator<Item = (i64, i64)> {
        let before = self.0.range(..=now).rev();
        let cut = before.map(move |(began, until)| ((*began).max(since), (*until).min(now)));
        cut.take_while(move |(_, until)| *until >= since).filter(|(began, until)| began < until)
    }

    /// Forgets what ended before that, and what would begin after `latest`: it was of a clock that went wrong.
    pub(super) fn prune(&mut self, before: i64, latest: i64) {
        self.0.retain(|began, until| *until >= before && *began <= latest);
        self.0.values_mut().for_each(|until| *until = (*until).min(latest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn spans(observed: &Observed) -> Vec<(i64, i64)> {
        observed.spans().collect()
    }

    #[test]
    fn what_lies_between_two_processes_was_not_observed() {
        let mut observed = Observed::default();
        (0..=100).for_each(|second| {
            observed.beat(1_000 + second);
        });
        assert_eq!(spans(&observed), [(1_000, 1_100)]);
        // Handed over, and killed and started a day later.
        observed.beat(1_100 + BRIDGED_S);
        observed.beat(1_160 + DAY);
        observed.beat(1_161 + DAY);
        assert_eq!(spans(&observed), [(1_000, 1_160), (1_160 + DAY, 1_161 + DAY)]);
        assert_eq!(observed.seconds(0, 2 * DAY), 161);
        assert_eq!(observed.seconds(1_100, 1_160 + DAY), 60);
    }

    #[test]
    fn the_edge_is_as_far_back_as_it_takes() {
        let observed = Observed::of([(0, 10 * DAY), (90 * DAY, 100 * DAY)]);
        let edge = |since: i64, needed: i64| observed.edge(since, 100 * DAY, needed * DAY).map(|edge| edge / DAY);
        assert_eq!(
            [edge(0, 5), edge(0, 10), edge(0, 12), edge(0, 20), edge(0, 21), edge(95 * DAY, 6), edge(2 * DAY, 18)],
            [Some(95), Some(90), Some(8), Some(0), None, None, Some(2)]
        );
    }

    #[test]
    fn a_clock_that_went_wrong_says_little_and_stops_nothing() {
        let now = 20_000 * DAY;
        let mut observed = Observed::of([(now - 5 * DAY, now)]);
        // After a start in 1970, and one in ten years.
        (0..300).for_each(|second| {
            observed.beat(second);
            observed.beat(now + 3_650 * DAY + second);
        });
        (0..=DAY).for_each(|second| {
            observed.beat(now + second);
        });
        assert_eq!(observed.edge(0, now + DAY, 6 * DAY), Some(now - 5 * DAY));
        assert_eq!(observed.seconds(0, now + DAY), 6 * DAY + 299);
        observed.prune(now - 400 * DAY, now + DAY);
        assert_eq!(spans(&observed), [(now - 5 * DAY, now + DAY)]);
        // A step back of some seconds.
        observed.beat(now + DAY - 30);
        assert_eq!(observed.spans().count(), 1);
    }

    #[test]
    fn spans_that_overlap_are_one_and_there_are_not_too_many() {
        assert_eq!(spans(&Observed::of([(5, 9), (0, 6), (20, 30), (9, 9), (3, 1)])), [(0, 9), (20, 30)]);
        let many = i64::try_from(MOST_SPANS).unwrap() + 10;
        let mut observed = Observed::default();
        (0..many).for_each(|number| {
            observed.beat(number * 1_000);
        });
        assert_eq!((observed.spans().count(), observed.spans().next()), (MOST_SPANS, Some((10_000, 10_000))));
    }
}
