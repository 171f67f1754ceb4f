//! How much a network says about who calls, from the finest level to the coarsest: the network, its autonomous system, its country
//! (risk.md 1.2, after Freeman et al., NDSS 2016).
//!
//! Two questions are compared: how likely would this network be if the caller were anybody in the world, and how likely is it for this
//! principal? The second backs off: what the principal itself has not used falls back on what it used of the coarser level, and
//! that on what all principals of this gateway use. An attacker may come from anywhere; a colleague comes from where colleagues do.

use crate::decay::ONCE;
use crate::ln::ln_ratio_mnats;

/// What is known of one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Level {
    /// How often the principal was seen there, in sixteenths; 0: never.
    pub(crate) own: u32,
    /// How many principals were.
    pub(crate) principals: u32,
}

/// The levels of one network. Those that no database knows are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Levels {
    /// How often the principal was let in at all, in sixteenths.
    pub(crate) history: u32,
    /// How many principals there are.
    pub(crate) principals: u32,
    pub(crate) country: Option<Level>,
    pub(crate) asn: Option<Level>,
    pub(crate) network: Level,
}

/// 1 in Q64.
const ONE: u128 = 1 << 64;
/// The share of the world that one country, one autonomous system of a country, and one network of a system counts as.
const WORLD_COUNTRY: u128 = ONE >> 5;
const WORLD_ASN: u128 = ONE >> 4;
const WORLD_NETWORK: u128 = ONE >> 6;

impl Levels {
    /// The natural logarithm of how much likelier the network is for anybody than for this principal, in milli-nats. A network that
    /// is new to it never speaks for the caller, and one that it uses never against.
    pub(crate) fn novelty_mnats(&self) -> i32 {
        // What a missing level would have contributed stands in the level below.
        let (asn_share, network_share) = match (self.country, self.asn) {
            (Some(_), Some(_)) => (WORLD_ASN, WORLD_NETWORK),
            (None, _) => (times(WORLD_COUNTRY, WORLD_ASN), WORLD_NETWORK),
            (Some(_), None) => (WORLD_ASN, times(WORLD_ASN, WORLD_NETWORK)),
        };
        let mut world = ONE;
        let mut likely = ONE;
        let mut of = self.principals;
        let steps = [
            self.country.map(|level| (level, WORLD_COUNTRY)),
            self.asn.map(|level| (level, asn_share)),
            Some((self.network, network_share)),
        ];
        for (level, share) in steps.into_iter().flatten() {
            world = times(world, share);
            likely = self.at(level, share, likely, of);
            of = level.principals;
        }
        let mnats = ln_ratio_mnats(world, likely);
        if self.network.own == 0 { mnats.max(0) } else { mnats.min(0) }
    }

    /// The probability of a level for the principal: (own + likely · q) / (history + 1), where `likely` is that of the level above
    /// and q the share of the principals who are there among those who are at the level above.
    fn at(&self, level: Level, share: u128, likely: u128, of: u32) -> u128 {
        let there = u128::from(level.principals.min(of));
        let colleagues = ((there << 64) + share) / (u128::from(of) + 1);
        let once = u128::from(ONCE);
        let own = u128::from(level.own) << 64;
        let sum = own + once * times(likely.min(ONE), colleagues.min(ONE));
        (sum / (u128::from(self.history.max(level.own)) + once)).max(1)
    }
}

/// The product of two Q64 numbers from 0 to 1.
fn times(a: u128, b: u128) -> u128 {
    match (a >= ONE, b >= ONE) {
        (true, _) => b.min(ONE),
        (_, true) => a,
        (false, false) => (a * b) >> 64,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A principal let in `history` times, of a hundred, of whom so many share each level.
    fn levels(history: u32, own: [u32; 3], principals: [u32; 3]) -> Levels {
        let level = |n: usize| Level { own: own[n] * ONCE, principals: principals[n] };
        Levels {
            history: history * ONCE,
            principals: 100,
            country: Some(level(0)),
            asn: Some(level(1)),
            network: level(2),
        }
    }

    #[test]
    fn the_coarser_the_new_level_the_more_it_says() {
        let check = |what: &str, levels: Levels, expected: i32| {
            let found = levels.novelty_mnats();
            assert!((found - expected).abs() <= 2, "{what}: {found}, not {expected}");
        };
        check("a usual network", levels(40, [40, 40, 40], [90, 50, 20]), -10_382);
        check("a network used once", levels(40, [40, 40, 1], [90, 50, 2]), -6_722);
        check("a new network of a usual system", levels(40, [40, 40, 0], [90, 50, 0]), 1_418);
        check("a new system of a usual country", levels(40, [40, 0, 0], [90, 0, 0]), 8_475);
        check("a system that colleagues use", levels(40, [40, 0, 0], [90, 50, 20]), 0);
        check("a new country", levels(40, [0, 0, 0], [0, 0, 0]), 15_756);
        check("a country where colleagues are", levels(40, [0, 0, 0], [10, 5, 2]), 4_920);
    }

    /// Smoothed alike on both sides, what a principal never used would look harmless (a known mistake of the method's first code).
    #[test]
    fn what_nobody_knows_never_looks_harmless() {
        for history in 1..200 {
            let mnats = levels(history, [0; 3], [0; 3]).novelty_mnats();
            assert!(mnats >= 3 * 693, "{history}: {mnats}");
        }
    }

    #[test]
    fn levels_that_no_database_knows_are_left_out() {
        let known = levels(40, [40, 40, 0], [90, 50, 0]);
        let without_country = Levels { country: None, ..known };
        let without_asn = Levels { asn: None, ..known };
        let check =
            |levels: Levels, expected: i32| assert!((levels.novelty_mnats() - expected).abs() <= 2, "{levels:?}");
        check(without_country, 1_419);
        check(without_asn, 4_761);
    }

    proptest! {
        #[test]
        fn any_counts_give_an_answer_of_the_right_sign(
            history in any::<u32>(), principals in any::<u32>(), own in any::<[u32; 3]>(), others in any::<[u32; 3]>(),
            has in any::<[bool; 2]>(),
        ) {
            let level = |n: usize| Level { own: own[n], principals: others[n] };
            let levels = Levels {
                history, principals, country: has[0].then(|| level(0)), asn: has[1].then(|| level(1)), network: level(2),
            };
            let mnats = levels.novelty_mnats();
            let right = if own[2] == 0 { mnats >= 0 } else { mnats <= 0 };
            prop_assert!(right, "{mnats}");
            prop_assert_eq!(mnats, levels.novelty_mnats());
        }
    }
}
