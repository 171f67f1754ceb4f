//! Which tokens a principal used last, and from which systems: one that is used from two at once may have been stolen.
//!
//! Four uses, each one atomic word: 24 bits of the token, 12 of the system, 28 of the time in steps of 16 seconds. So two tokens of one principal
//! pass for the same one in 17 million cases, and of two systems one in 4,096 passes for the other, which then says nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::commons::mix;
use crate::moment::before;

pub(super) const USES_MAX: usize = 4;
/// A token that is used from two systems within this: 5 minutes, or up to 16 seconds less.
const TOGETHER_TICKS: u64 = 5 * 60 * 16;
/// 256 ticks are 16 seconds.
const STEP_BITS: u32 = 8;
const TIME_BITS: u32 = 28;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
const SYSTEM_BITS: u32 = 12;
const SYSTEM_MASK: u64 = (1 << SYSTEM_BITS) - 1;
/// How many bits of a token are told apart.
pub(crate) const TOKEN_MASK: u64 = 0xff_ffff;

#[derive(Debug, Default)]
pub(super) struct Tokens([AtomicU64; USES_MAX]);

impl Tokens {
    /// Notes a use. Over four, the one that is longest ago makes room.
    pub(super) fn note(&self, token: u32, asn: u32, now: u64) {
        let (tag, time) = (tag(token, asn), time(now));
        let mut oldest: Option<(&AtomicU64, u64)> = None;
        for slot in &self.0 {
            let word = slot.load(Ordering::Relaxed);
            if word != 0 && word >> TIME_BITS == tag {
                if time > word & TIME_MASK {
                    slot.store((tag << TIME_BITS) | time, Ordering::Relaxed);
                }
                return;
            }
            if oldest.is_none_or(|(_, best)| (word & TIME_MASK) < (best & TIME_MASK)) {
                oldest = Some((slot, word));
            }
        }
        if let Some((slot, word)) = oldest {
            // A loser of this race only forgets what it was about to remember.
            let _ = slot.compare_exchange(word, (tag << TIME_BITS) | time, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether the token was used from another system a moment ago.
    pub(super) fn used_elsewhere(&self, token: u32, asn: u32, now: u64) -> bool {
        let (tag, since) = (tag(token, asn), time(before(now, TOGETHER_TICKS)));
        let uses = self.0.iter().map(|slot| slot.load(Ordering::Relaxed)).filter(|word| word & TIME_MASK > since);
        uses.map(|word| word >> TIME_BITS).any(|other| other != tag && other >> SYSTEM_BITS == tag >> SYSTEM_BITS)
    }

    pub(super) fn clear(&self) {
        self.0.iter().for_each(|slot| slot.store(0, Ordering::Relaxed));
    }

    pub(super) fn words(&self) -> [u64; USES_MAX] {
        std::array::from_fn(|n| self.0.get(n).map_or(0, |slot| slot.load(Ordering::Relaxed)))
    }

    /// What was kept. Any words do; nothing was used later than now.
    pub(super) fn of_words(words: [u64; USES_MAX], now: u64) -> Self {
        Self(words.map(|word| {
            let at = (word & TIME_MASK).min(time(now));
            AtomicU64::new(if word == 0 { 0 } else { (word & !TIME_MASK) | at })
        }))
    }
}

/// A kept word with its time moved by so many ticks.
pub(super) fn moved(word: u64, by: i64) -> u64 {
    let at = (word & TIME_MASK).saturating_add_signed(by >> STEP_BITS).clamp(1, TIME_MASK);
    if word == 0 { 0 } else { (word & !TIME_MASK) | at }
}

fn tag(token: u32, asn: u32) -> u64 {
    ((u64::from(token) & TOKEN_MASK) << SYSTEM_BITS) | (mix(u64::from(asn)) & SYSTEM_MASK)
}

fn time(ticks: u64) -> u64 {
    ((ticks >> STEP_BITS) & TIME_MASK).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a whole step.
    const NOW: u64 = 1_795_428_000 * 16;

    #[test]
    fn a_token_is_told_from_another_by_all_of_its_bits() {
        let tokens = Tokens::default();
        tokens.note(0x00_0001, 1, NOW);
        for bit in 0..24 {
            let other = 1_u32 << bit;
            assert_eq!(tokens.used_elsewhere(other, 2, NOW), other == 1, "{bit}");
        }
        assert!(!tokens.used_elsewhere(1, 1, NOW), "it is where it was");
    }

    #[test]
    fn what_was_used_is_there_for_five_minutes_and_a_use_renews_it() {
        let tokens = Tokens::default();
        let elsewhere = |later: u64| tokens.used_elsewhere(7, 2, NOW + later);
        tokens.note(7, 1, NOW);
        assert!(elsewhere(0) && elsewhere(TOGETHER_TICKS - 1) && !elsewhere(TOGETHER_TICKS));
        tokens.note(7, 1, NOW + 256);
        assert!(elsewhere(TOGETHER_TICKS + 255) && !elsewhere(TOGETHER_TICKS + 256));
        for n in 0..4 {
            tokens.note(100 + n, 1, NOW + 512);
        }
        assert!(!elsewhere(512), "four are remembered");
        tokens.clear();
        assert_eq!(tokens.words(), [0; 4]);
    }

    #[test]
    fn what_is_kept_is_moved_and_never_of_the_future() {
        let tokens = Tokens::default();
        tokens.note(7, 1, NOW);
        let again = Tokens::of_words(tokens.words(), NOW - 256);
        assert!(again.used_elsewhere(7, 2, NOW - 256));
        let [first, none, ..] = tokens.words();
        assert_eq!((moved(first, 256), moved(none, 256)), (first + 1, 0));
        assert_eq!(moved(moved(first, -2_560), 2_560), first);
        assert_eq!(moved(first, i64::MIN) & TIME_MASK, 1);
    }
}
