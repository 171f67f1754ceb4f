//! How scores are distributed, to a hundredth of a nat: what share of them reaches a threshold, and which threshold a share asks for.

use super::rates::Share;

/// Counts of scores by hundredths of a nat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scores {
    counts: Vec<u64>,
    all: u64,
}

const LOWEST_MNATS: i32 = -3_000;
const HIGHEST_MNATS: i32 = 11_000;
const STEP_MNATS: i32 = 10;

impl Default for Scores {
    fn default() -> Self {
        let steps = usize::try_from((HIGHEST_MNATS - LOWEST_MNATS) / STEP_MNATS + 1).unwrap_or(1);
        Self { counts: vec![0; steps], all: 0 }
    }
}

impl Scores {
    /// One more.
    pub fn add(&mut self, mnats: i32) {
        if let Some(count) = self.counts.get_mut(step(mnats)) {
            *count += 1;
            self.all += 1;
        }
    }

    /// How many of them reach a threshold, a multiple of 10 milli-nats.
    #[must_use]
    pub fn share_from(&self, mnats: i32) -> Share {
        Share { part: self.counts.iter().skip(step(mnats)).sum(), whole: self.all }
    }

    /// The lowest threshold that no larger share reaches, in milli-nats: a challenge budget's, within bounds that keep it sensible.
    #[must_use]
    pub fn threshold(&self, budget: f64, bounds_mnats: (i32, i32)) -> i32 {
        let (low, high) = bounds_mnats;
        let steps = (low..=high).step_by(usize::try_from(STEP_MNATS).unwrap_or(1));
        let holds = |mnats: &i32| self.share_from(*mnats).value().is_none_or(|share| share <= budget);
        steps.into_iter().find(holds).unwrap_or(high)
    }
}

/// The step of a score, the nearest one outside the bounds.
fn step(mnats: i32) -> usize {
    let clamped = mnats.clamp(LOWEST_MNATS, HIGHEST_MNATS);
    usize::try_from((clamped - LOWEST_MNATS).div_euclid(STEP_MNATS)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_keeps_the_budget_at_its_border() {
        let mut scores = Scores::default();
        for n in 0..100 {
            scores.add(n * 50);
        }
        assert_eq!(scores.share_from(4_950), Share { part: 1, whole: 100 });
        assert_eq!(scores.share_from(4_960), Share { part: 0, whole: 100 });
        let check = |budget: f64, bounds: (i32, i32), expected: i32| {
            assert_eq!(scores.threshold(budget, bounds), expected, "{budget}");
        };
        check(0.5, (0, 10_000), 2_460);
        check(0.01, (0, 10_000), 4_910);
        check(0.0, (0, 10_000), 4_960);
        check(0.01, (1_000, 4_000), 4_000);
        check(0.9, (1_000, 4_000), 1_000);
        assert_eq!(Scores::default().threshold(0.01, (1_000, 4_000)), 1_000);
    }

    #[test]
    fn scores_outside_the_bounds_count_at_their_border() {
        let mut scores = Scores::default();
        [i32::MIN, i32::MAX].into_iter().for_each(|mnats| scores.add(mnats));
        assert_eq!(scores.share_from(11_000), Share { part: 1, whole: 2 });
    }
}
