//! Thresholds from a budget: where a score must begin to be asked about, so that no more than a share of good traffic is.
//!
//! A calibration is a record that never changes: made from counts ([`passed`](crate::passed)) at a time, named by its number and a digest of these
//! counts. Under the same record the same score means the same, so a decision of then can be worked out again today. Which one is in force is another
//! matter: records are listed, put in force and taken back by their ids, and the last 32 are kept.

mod records;

use std::sync::Arc;

use jiff::Timestamp;
use portcullis_policy::RiskThresholds;
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use std::hash::Hasher as _;
use thiserror::Error;

use crate::ln::ln_ratio_mnats;
use crate::passed::{BUCKETS, Counts, STEP_MNATS, bucket};

pub(crate) use records::Calibrations;
pub use records::Settled;

/// Thresholds and what scores mean, worked out from what was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calibration {
    /// Its number and the beginning of the digest, such as `c12-4f0c93ab`.
    pub id: Arc<str>,
    /// When it was made.
    pub made_at: Timestamp,
    /// The share of good traffic that may be asked to step up, in millionths.
    pub budget: u32,
    /// From how many visits of users, to resources of low, normal and high sensitivity.
    pub counted: [u64; 3],
    /// Of the counts (SipHash-1-3 of 128 bits without a key). It tells records apart and is no seal.
    pub digest: u128,
    /// Thresholds for each sensitivity; `None` where too little was counted, and those that are built in stay.
    pub thresholds: [Option<RiskThresholds>; 3],
    /// What the steps of a score mean, from 0 to 1,000.
    display: Vec<u16>,
}

/// Why there is no calibration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CalibrationError {
    /// `[risk] step_up_budget` is not set.
    #[error("there is no budget: set `step_up_budget` in [risk] of the policy, and visits are counted from then on")]
    NoBudget,
    /// Too little was counted of every sensitivity.
    #[error(
        "too little is counted for a calibration: {counted} visits of users at most to resources of one sensitivity, of {enough} that are enough"
    )]
    TooLittle {
        /// Of the sensitivity that most was counted of.
        counted: u64,
        /// What would be enough.
        enough: u64,
    },
    /// There is no record of that id.
    #[error("there is no calibration of that id")]
    Unknown,
    /// The configuration says which one is in force.
    #[error(
        "the policy names the calibration that is in force: another one is, once `calibration` in its [risk] names that"
    )]
    Named,
    /// Nothing was in force before.
    #[error("no calibration is in force, so there is none to take back")]
    NoneInForce,
}

/// A threshold is never lower or higher than this, in milli-nats, whatever was counted.
const STEP_UP_MNATS: (i32, i32) = (1_000, 4_000);
/// A denial begins so much above.
const DENY_ABOVE_MNATS: i32 = 2_000;
/// What the counts of one day alone raise a threshold by, at most: whoever sends for a day moves it by no more than this.
const RISE_MNATS: i32 = 250;
/// Where a policy has no calibration a step-up is asked for from here on: low, normal, high.
const BUILT_IN_MNATS: [i32; 3] = [2_500, 2_000, 1_200];
/// So many visits above the threshold are expected among what is enough, which tells their share to about a fifth.
const ABOVE_MIN: u64 = 20;
const ENOUGH_MIN: u64 = 1_000;
const MILLION: u64 = 1_000_000;

/// From how many visits a budget, in millionths, can be told: 20 that are above the threshold, and no fewer than 1,000.
#[must_use]
pub fn enough(budget: u32) -> u64 {
    (ABOVE_MIN * MILLION).div_ceil(u64::from(budget.max(1))).max(ENOUGH_MIN)
}

impl Calibration {
    /// Works it out. The same counts, budget, number and time give the same record.
    pub(crate) fn of(counts: &Counts, budget: u32, number: u64, made_at: Timestamp) -> Result<Self, CalibrationError> {
        let (counted, enough) = (counts.totals(), enough(budget));
        let most = counted.iter().copied().max().unwrap_or(0);
        if most < enough {
            return Err(CalibrationError::TooLittle { counted: most, enough });
        }
        let mut least = STEP_UP_MNATS.1;
        let mut thresholds = [None; 3];
        for ((threshold, row), counted) in thresholds.iter_mut().zip(&counts.0).zip(counted) {
            if counted >= enough {
                // What does more harm is never asked about later than what does less.
                least = least.min(quantile(row, counted, budget));
                *threshold =
                    Some(RiskThresholds { step_up_mnats: least, deny_mnats: least.saturating_add(DENY_ABOVE_MNATS) });
            }
        }
        let digest = digest(counts);
        let id = format!("c{number}-{:08x}", digest >> 96).into();
        Ok(Self { id, made_at, budget, counted, digest, thresholds, display: display(counts) })
    }

    /// The same with thresholds that are higher than those in force by a quarter of a nat at most: what nobody has looked at.
    pub(crate) fn rising_slowly_from(mut self, in_force: Option<&Self>) -> Self {
        let mut least = STEP_UP_MNATS.1;
        for (n, threshold) in self.thresholds.iter_mut().enumerate() {
            let Some(threshold) = threshold else { continue };
            let in_force = in_force.and_then(|made| made.thresholds.get(n).copied().flatten());
            let now = in_force.map(|threshold| threshold.step_up_mnats).or_else(|| BUILT_IN_MNATS.get(n).copied());
            let most = now.unwrap_or(STEP_UP_MNATS.0).saturating_add(RISE_MNATS);
            least = least.min(threshold.step_up_mnats.min(most));
            *threshold = RiskThresholds { step_up_mnats: least, deny_mnats: least.saturating_add(DENY_ABOVE_MNATS) };
        }
        self
    }

    /// What a score means, from 0 (all good traffic scores as much) to 1,000 (one visit in ten thousand, or fewer).
    #[must_use]
    pub fn display(&self, mnats: i32) -> u16 {
        self.display.get(bucket(mnats)).copied().unwrap_or(0)
    }

    /// All that it is, in the form in which it is kept: whoever names it by a digest names this.
    #[must_use]
    pub fn text(&self) -> String {
        records::text_of(self)
    }

    /// Whether thresholds are such as are worked out.
    fn is_one(threshold: RiskThresholds) -> bool {
        let RiskThresholds { step_up_mnats, deny_mnats } = threshold;
        (STEP_UP_MNATS.0..=STEP_UP_MNATS.1).contains(&step_up_mnats)
            && deny_mnats == step_up_mnats.saturating_add(DENY_ABOVE_MNATS)
    }

    /// Its number, by which records follow one another.
    pub(crate) fn number(&self) -> u64 {
        number_of(&self.id).unwrap_or(0)
    }
}

fn number_of(id: &str) -> Option<u64> {
    id.strip_prefix('c')?.split_once('-')?.0.parse().ok()
}

/// The lowest step that no more than the budget scores at least.
fn quantile(row: &[u32; BUCKETS], counted: u64, budget: u32) -> i32 {
    let mut above = 0;
    let mut step = BUCKETS;
    for (index, count) in row.iter().enumerate().rev() {
        above += u64::from(*count);
        if above.saturating_mul(MILLION) > u64::from(budget).saturating_mul(counted) {
            break;
        }
        step = index;
    }
    let mnats = i32::try_from(step).unwrap_or(i32::MAX).saturating_mul(STEP_MNATS);
    mnats.clamp(STEP_UP_MNATS.0, STEP_UP_MNATS.1)
}

/// Straight lines over the logarithm of the share of good traffic that scores at least as much: all 0, one in 20 500, one in 1,000 900, one in
/// 10,000 1,000. A score that nobody had is as rare as what was counted can tell, and no rarer.
fn display(counts: &Counts) -> Vec<u16> {
    let counted: u64 = counts.totals().iter().sum();
    let mut above = 0;
    let mut all: Vec<u16> = (0..BUCKETS)
        .rev()
        .map(|index| {
            above += counts.0.iter().filter_map(|row| row.get(index)).map(|count| u64::from(*count)).sum::<u64>();
            displayed(ln_ratio_mnats(u128::from(counted) + 1, u128::from(above) + 1))
        })
        .collect();
    all.reverse();
    all
}

/// ln 20, ln 1,000 and ln 10,000 in thousandths, and what they are displayed as.
const POINTS: [(i32, i32); 4] = [(0, 0), (2_996, 500), (6_908, 900), (9_210, 1_000)];

fn displayed(rarity: i32) -> u16 {
    let line = POINTS.iter().zip(POINTS.iter().skip(1)).find(|(_, (to, _))| rarity < *to);
    let shown = line.map_or(1_000, |((from, low), (to, high))| low + (rarity - from) * (high - low) / (to - from));
    u16::try_from(shown.clamp(0, 1_000)).unwrap_or(0)
}

fn digest(counts: &Counts) -> u128 {
    let mut hasher = SipHasher13::new();
    hasher.write(&counts.encode());
    hasher.finish128().as_u128()
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    /// So many of normal sensitivity with each score.
    pub(crate) fn counts(of_normal: &[(i32, u32)]) -> Counts {
        let mut counts = Counts([[0; BUCKETS]; 3]);
        for (mnats, count) in of_normal {
            counts.0[1][bucket(*mnats)] += count;
        }
        counts
    }

    fn normal(counts: &Counts, budget: u32) -> Option<i32> {
        let calibration = Calibration::of(counts, budget, 1, AT).ok()?;
        calibration.thresholds[1].map(|threshold| threshold.step_up_mnats)
    }

    #[test]
    fn a_threshold_is_the_lowest_that_keeps_to_the_budget() {
        let check = |what: &str, scores: &[(i32, u32)], budget: u32, expected: Option<i32>| {
            assert_eq!(normal(&counts(scores), budget), expected, "{what}");
        };
        let usual = [(0, 9_700), (1_500, 200), (2_500, 90), (3_500, 10)];
        check("one in a hundred scores 2.5 or more", &usual, 10_000, Some(1_550));
        check("a little less than that", &usual, 9_999, Some(2_550));
        check("one in a thousand, of which there are too few to tell", &usual, 1_000, None);
        check("three in a hundred", &usual, 30_000, Some(1_000));
        check("everybody scores much: no higher than 4", &[(5_000, 10_000)], 10_000, Some(4_000));
        check("nobody scores: no lower than 1", &[(0, 10_000)], 10_000, Some(1_000));
        check("enough", &[(0, 2_000)], 10_000, Some(1_000));
        check("one too few", &[(0, 1_999)], 10_000, None);
        check("never fewer than a thousand", &[(0, 999)], 500_000, None);
        check("a thousand", &[(0, 1_000)], 500_000, Some(1_000));
    }

    #[test]
    fn what_is_enough_follows_from_the_budget() {
        assert_eq!(
            [1_000_000, 20_000, 10_000, 1_000, 100, 0].map(enough),
            [1_000, 1_000, 2_000, 20_000, 200_000, 20_000_000]
        );
    }

    #[test]
    fn what_is_sensitive_is_never_asked_about_later() {
        let mut all = counts(&[(0, 9_900), (1_200, 100)]);
        all.0[0] = counts(&[(0, 9_000), (3_000, 1_000)]).0[1];
        all.0[2] = counts(&[(0, 9_000), (2_000, 1_000)]).0[1];
        let found = Calibration::of(&all, 10_000, 1, AT).unwrap().thresholds.map(|each| each.unwrap());
        assert_eq!(found.map(|each| each.step_up_mnats), [3_050, 1_000, 1_000]);
        assert_eq!(found.map(|each| each.deny_mnats), [5_050, 3_000, 3_000]);
    }

    #[test]
    fn a_day_raises_a_threshold_by_a_quarter_of_a_nat_and_lowers_it_at_once() {
        let rules = portcullis_policy::RiskRules::default();
        assert_eq!(rules.thresholds.map(|each| each.step_up_mnats), BUILT_IN_MNATS);
        let made = |scores: &[(i32, u32)]| Calibration::of(&counts(scores), 10_000, 1, AT).unwrap();
        let [high, low] = [made(&[(0, 9_000), (3_500, 1_000)]), made(&[(0, 9_900), (1_500, 100)])];
        let normal = |made: &Calibration| made.thresholds[1].map(|each| (each.step_up_mnats, each.deny_mnats));
        assert_eq!((normal(&high), normal(&low)), (Some((3_550, 5_550)), Some((1_000, 3_000))));
        let mut in_force = high.clone().rising_slowly_from(None);
        assert_eq!(normal(&in_force), Some((2_250, 4_250)), "from what is built in");
        for expected in [2_500, 2_750, 3_000, 3_250, 3_500, 3_550, 3_550] {
            in_force = high.clone().rising_slowly_from(Some(&in_force));
            assert_eq!(normal(&in_force), Some((expected, expected + 2_000)));
        }
        assert_eq!(normal(&low.clone().rising_slowly_from(Some(&in_force))), Some((1_000, 3_000)));
        let all = Counts([high, low.clone(), low].map(|_| counts(&[(0, 9_000), (3_500, 1_000)]).0[1]));
        let all = Calibration::of(&all, 10_000, 1, AT).unwrap().rising_slowly_from(None);
        assert_eq!(all.thresholds.map(|each| each.unwrap().step_up_mnats), [2_750, 2_250, 1_450]);
    }

    #[test]
    fn a_score_is_displayed_by_how_rare_it_is() {
        // Of a million: one in 20, in 1,000, in 10,000, and one.
        let all = counts(&[(0, 950_000), (1_000, 49_000), (2_000, 900), (3_000, 99), (4_000, 1)]);
        let calibration = Calibration::of(&all, 10_000, 7, AT).unwrap();
        let check = |mnats: i32, expected: u16| {
            let found = calibration.display(mnats);
            assert!(found.abs_diff(expected) <= 1, "{mnats}: {found}");
        };
        check(-500, 0);
        check(0, 0);
        check(1_000, 500);
        check(2_000, 900);
        check(3_000, 1_000);
        check(9_000, 1_000);
        assert!(calibration.id.starts_with("c7-"));
        // Of a thousand nothing can be told that is rarer than one in a thousand.
        let few = Calibration::of(&counts(&[(0, 1_000)]), 500_000, 1, AT).unwrap();
        assert!(few.display(5_000) <= 901, "{}", few.display(5_000));
    }

    proptest! {
        #[test]
        fn any_counts_give_thresholds_within_their_bounds(
            scores in prop::collection::vec((0..3_usize, 0..BUCKETS, any::<u32>()), 0..60), budget in any::<u32>(),
        ) {
            let mut counts = Counts([[0; BUCKETS]; 3]);
            scores.into_iter().for_each(|(row, bucket, count)| counts.0[row][bucket] = count);
            let made = Calibration::of(&counts, budget, 3, AT);
            prop_assert_eq!(&made, &Calibration::of(&counts, budget, 3, AT));
            if let Ok(made) = made {
                prop_assert!(made.thresholds.iter().any(Option::is_some));
                for threshold in made.thresholds.iter().flatten() {
                    prop_assert!((1_000..=4_000).contains(&threshold.step_up_mnats));
                    prop_assert!(threshold.deny_mnats >= threshold.step_up_mnats + 2_000);
                }
                prop_assert!(made.display.is_sorted() && made.display.iter().all(|shown| *shown <= 1_000));
            }
        }
    }
}
