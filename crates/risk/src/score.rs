//! Contributions to a score, in integer milli-nats, and their sum. Pure and without floating point, so that a replay
//! gives the same answer on every machine (risk.md 1.2).

use portcullis_policy::SignalFamily;

use crate::settings::{SIGNALS, Settings, SignalSetting};

/// What each family may add up to, in milli-nats. What is usual about a caller makes up for what is new, and never for evidence: an
/// intruder who looks like the principal is one all the same. Trust, which is proved, makes up for either.
pub(crate) fn family_bounds(family: SignalFamily) -> (i32, i32) {
    match family {
        SignalFamily::Novelty => (0, 4_000),
        SignalFamily::Evidence => (0, 4_000),
        SignalFamily::Posture => (0, 3_000),
        SignalFamily::Trust => (-3_000, 0),
    }
}

/// The sum of all contributions, each family clipped to its bounds.
pub fn total(contributions: impl Iterator<Item = (SignalFamily, i32)> + Clone) -> i32 {
    let families = [SignalFamily::Novelty, SignalFamily::Evidence, SignalFamily::Posture, SignalFamily::Trust];
    families.into_iter().fold(0, |sum: i32, family| {
        let of_family = contributions.clone().filter(|(of, _)| *of == family).map(|(_, mnats)| mnats);
        sum.saturating_add(clipped(family, of_family))
    })
}

/// What contributions of one family add up to.
pub(crate) fn clipped(family: SignalFamily, mnats: impl Iterator<Item = i32>) -> i32 {
    let (low, high) = family_bounds(family);
    mnats.fold(0_i32, i32::saturating_add).clamp(low, high)
}

/// How much something new says about a principal with `history` remembered successes: min(2.5, 0.6 · ln(1 + n)) nats.
/// Without any history nothing is new.
pub(crate) fn surprise_mnats(history: u32) -> i32 {
    let index = usize::try_from(history).unwrap_or(usize::MAX);
    SURPRISE_MNATS.get(index).copied().unwrap_or(SURPRISE_MAX_MNATS)
}

const SURPRISE_MAX_MNATS: i32 = 2_500;

/// round(600 · ln(1 + n)) for n from 0; from 64 on the bound holds.
const SURPRISE_MNATS: [i32; 64] = [
    0, 416, 659, 832, 966, 1075, 1168, 1248, 1318, 1382, 1439, 1491, 1539, 1583, 1625, 1664, 1700, 1734, 1767, 1797,
    1827, 1855, 1881, 1907, 1931, 1955, 1978, 1999, 2020, 2041, 2060, 2079, 2098, 2116, 2133, 2150, 2167, 2183, 2198,
    2213, 2228, 2243, 2257, 2271, 2284, 2297, 2310, 2323, 2335, 2347, 2359, 2371, 2382, 2393, 2404, 2415, 2426, 2436,
    2447, 2457, 2467, 2476, 2486, 2495,
];

/// How one signal is weighed: `[risk] signals.NAME`, or what holds without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weight {
    milli: i32,
    cap_mnats: (i32, i32),
    enabled: bool,
}

impl Weight {
    /// The weighted and bounded contribution; 0 where the signal is off.
    pub(crate) fn apply(self, mnats: i32) -> i32 {
        if !self.enabled {
            return 0;
        }
        let weighted = i64::from(mnats) * i64::from(self.milli) / 1_000;
        let (low, high) = (i64::from(self.cap_mnats.0), i64::from(self.cap_mnats.1));
        // `config` refuses a lower bound above the upper one; should one come through, the upper one holds.
        let clipped = weighted.max(low).min(high);
        i32::try_from(clipped).unwrap_or(if clipped < 0 { i32::MIN } else { i32::MAX })
    }

    /// Thousandths, bounds, and whether it is looked at: what [`Self::of_parts`] takes.
    pub(crate) fn parts(self) -> (i32, (i32, i32), bool) {
        (self.milli, self.cap_mnats, self.enabled)
    }

    pub(crate) fn of_parts(milli: i32, cap_mnats: (i32, i32), enabled: bool) -> Self {
        Self { milli, cap_mnats, enabled }
    }

    /// The upper bound, in milli-nats.
    pub(crate) fn most(self) -> i32 {
        self.cap_mnats.1
    }

    pub(crate) fn is_enabled(self) -> bool {
        self.enabled && self.milli != 0
    }
}

impl From<&SignalSetting> for Weight {
    fn from(setting: &SignalSetting) -> Self {
        Self { milli: setting.weight_milli, cap_mnats: setting.cap_mnats, enabled: setting.enabled }
    }
}

/// The weights of all signals, in the order of [`SIGNALS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weights([Weight; SIGNALS.len()]);

/// A group of signals that one entry of `[risk] signals` weighs, as an index into [`SIGNALS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Network,
    Device,
    UserAgent,
    Hour,
    Travel,
    Behaviour,
    Posture,
    Reputation,
    Failures,
    Spraying,
    Token,
    StepUp,
}

impl Weights {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self(SIGNALS.map(|(name, cap_mnats)| {
            let setting = settings.signals.iter().find(|setting| setting.name == name);
            setting.map_or(Weight { milli: 1_000, cap_mnats, enabled: true }, Weight::from)
        }))
    }

    /// In the order of [`SIGNALS`].
    pub(crate) fn all(&self) -> &[Weight] {
        &self.0
    }

    /// Another weight for the signal at this place of [`SIGNALS`]; `None` where there is no such place.
    pub(crate) fn set(&mut self, index: usize, weight: Weight) -> Option<()> {
        *self.0.get_mut(index)? = weight;
        Some(())
    }

    pub(crate) fn get(&self, source: Source) -> Weight {
        self.0.get(source as usize).copied().unwrap_or(Weight { milli: 0, cap_mnats: (0, 0), enabled: false })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_table_is_the_formula() {
        for history in 0..200_u32 {
            let expected = (600.0 * f64::from(1 + history).ln()).round().min(2_500.0);
            assert!((f64::from(surprise_mnats(history)) - expected).abs() < 0.5, "{history}");
        }
        assert_eq!(surprise_mnats(u32::MAX), 2_500);
    }

    #[test]
    fn a_weight_multiplies_then_clips() {
        let check = |milli: i32, cap_mnats: (i32, i32), enabled: bool, mnats: i32, expected: i32| {
            assert_eq!(Weight { milli, cap_mnats, enabled }.apply(mnats), expected);
        };
        check(1_000, (-3_000, 4_000), true, 2_500, 2_500);
        check(500, (-3_000, 4_000), true, 2_500, 1_250);
        check(2_000, (-3_000, 4_000), true, 2_500, 4_000);
        check(2_000, (-3_000, 4_000), true, -2_500, -3_000);
        check(1_000, (-3_000, 4_000), false, 2_500, 0);
        check(i32::MAX, (i32::MIN, i32::MAX), true, i32::MAX, i32::MAX);
        check(i32::MAX, (i32::MIN, i32::MAX), true, i32::MIN, i32::MIN);
        check(1_000, (2, 1), true, 5, 1);
    }

    #[test]
    fn each_family_is_clipped_before_the_sum() {
        use SignalFamily::{Evidence, Novelty, Trust};
        let check = |contributions: &[(SignalFamily, i32)], expected: i32| {
            assert_eq!(total(contributions.iter().copied()), expected);
        };
        check(&[], 0);
        check(&[(Novelty, 2_500), (Novelty, 2_500)], 4_000);
        check(&[(Novelty, 2_500), (Trust, -1_500)], 1_000);
        check(&[(Trust, 1_000)], 0);
        check(&[(Novelty, -2_500), (Evidence, 2_500)], 2_500);
        check(&[(Evidence, 3_000), (Novelty, 9_000), (Trust, -9_000)], 4_000);
    }

    #[test]
    fn each_source_is_weighed_by_the_entry_of_its_name() {
        let check = |source: Source, name: &str| assert_eq!(SIGNALS[source as usize].0, name);
        check(Source::Network, "network");
        check(Source::Device, "device");
        check(Source::UserAgent, "user_agent");
        check(Source::Hour, "hour");
        check(Source::Travel, "travel");
        check(Source::Behaviour, "behaviour");
        check(Source::Posture, "posture");
        check(Source::Reputation, "reputation");
        check(Source::Failures, "failures");
        check(Source::Spraying, "spraying");
        check(Source::Token, "token");
        check(Source::StepUp, "step_up");
        assert_eq!(SIGNALS.len(), Source::StepUp as usize + 1);
    }

    proptest! {
        #[test]
        fn the_sum_stays_within_the_bounds_of_its_families(mnats in prop::collection::vec((0..4_usize, any::<i32>()), 0..20)) {
            let families = [SignalFamily::Novelty, SignalFamily::Evidence, SignalFamily::Posture, SignalFamily::Trust];
            let sum = total(mnats.iter().map(|&(family, mnats)| (families[family], mnats)));
            prop_assert!((-3_000..=11_000).contains(&sum));
        }
    }
}
