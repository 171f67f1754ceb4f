//! Counting by name, in bounded memory and in a fixed order.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Different names that are counted apart.
const NAMES_MAX: usize = 50_000;
/// Names that a report shows.
const SHOWN: usize = 50;

/// How often each name came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    counted: HashMap<Box<str>, u64>,
    /// Of names for which there was no room.
    others: u64,
}

/// One name and how often it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Count {
    /// The name.
    pub name: String,
    /// How often.
    pub requests: u64,
}

impl Counts {
    /// Counts a name.
    pub fn add(&mut self, name: &str, requests: u64) {
        if let Some(count) = self.counted.get_mut(name) {
            *count = count.saturating_add(requests);
        } else if self.counted.len() < NAMES_MAX {
            self.counted.insert(name.into(), requests);
        } else {
            self.others = self.others.saturating_add(requests);
        }
    }

    /// How many different names came, at least.
    pub fn distinct(&self) -> u64 {
        self.counted.len() as u64 + u64::from(self.others > 0)
    }

    /// The most frequent ones, of equals the one first by name.
    pub fn top(&self, most: usize) -> Vec<Count> {
        let mut all: Vec<(&str, u64)> = self.counted.iter().map(|(name, count)| (&**name, *count)).collect();
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        all.into_iter().take(most).map(|(name, requests)| Count { name: name.to_owned(), requests }).collect()
    }

    /// Those that a report shows.
    pub fn shown(&self) -> Vec<Count> {
        self.top(SHOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_come_first_and_equals_by_name() {
        let mut counts = Counts::default();
        for name in ["b", "c", "a", "c", "b", "c"] {
            counts.add(name, 1);
        }
        counts.add("a", 1);
        let top: Vec<(String, u64)> = counts.top(3).into_iter().map(|count| (count.name, count.requests)).collect();
        assert_eq!(top, [("c".to_owned(), 3), ("a".to_owned(), 2), ("b".to_owned(), 2)]);
        assert_eq!((counts.top(1).len(), counts.distinct()), (1, 3));
    }

    #[test]
    fn beyond_the_bound_names_are_counted_together() {
        let mut counts = Counts::default();
        for number in 0..NAMES_MAX + 10 {
            counts.add(&number.to_string(), 1);
        }
        counts.add("0", 1);
        assert_eq!((counts.distinct(), counts.others), (NAMES_MAX as u64 + 1, 10));
        assert_eq!(counts.top(1)[0].requests, 2);
    }
}
