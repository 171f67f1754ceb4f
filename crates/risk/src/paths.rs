//! Tells apart the paths that one actor was refused on, in six words. It may take a new path for a known one, which
//! counts less against the actor, and never a known one for a new one within its time.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::moment::before;
use crate::recent::RecentSet;

/// Which paths were refused, by a keyed hash: all of them by one bit of 64, and the last four by 28 bits each. A default
/// offence is four new paths; were they told apart by their bits alone, two would share one in every eleventh case.
/// Begins anew after two half-lives.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    last: RecentSet<LAST_PATHS>,
    bits: AtomicU64,
    since: AtomicU64,
}

const LAST_PATHS: usize = 4;

impl Paths {
    /// Whether this path was not refused yet, as far as the bits can tell.
    pub(crate) fn note(&self, path: u64, half: u64, now: u64) -> bool {
        let since = self.since.load(Ordering::Relaxed);
        if since < before(now, half.saturating_mul(2))
            && self.since.compare_exchange(since, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.clear();
        }
        // While there is room for four, they are all there are, and no bit is needed to know a path again.
        let bits_decide = self.last.seen_after(0) == LAST_PATHS;
        let bit = 1_u64 << (path >> 58);
        let is_new_bit = self.bits.fetch_or(bit, Ordering::Relaxed) & bit == 0;
        self.last.note(path, now) && (is_new_bit || !bits_decide)
    }

    /// Linear counting: −64 · ln(zeros / 64) (Whang, Vander-Zanden, Taylor 1990). A full map counts as 64 · ln 64.
    pub(crate) fn estimate(&self) -> f64 {
        let zeros = self.bits.load(Ordering::Relaxed).count_zeros().max(1);
        -64.0 * (f64::from(zeros) / 64.0).ln()
    }

    pub(crate) fn clear(&self) {
        self.last.clear();
        self.bits.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: u64 = 5 * 60 * 16;
    const NOW: u64 = 28_000_000_000;

    /// A path whose hash sets bit `n` and is told apart from all others.
    fn path(n: u64) -> u64 {
        (n << 58) | (n + 1)
    }

    #[test]
    fn the_map_begins_anew_after_two_half_lives() {
        let paths = Paths::default();
        for n in 0..64 {
            assert!(paths.note(path(n), HALF, NOW));
            assert!(!paths.note(path(n), HALF, NOW));
        }
        assert!((266.0..267.0).contains(&paths.estimate()));
        assert!(!paths.note(path(1), HALF, NOW + 2 * HALF));
        assert!(paths.note(path(1), HALF, NOW + 2 * HALF + 1));
        assert!((0.5..1.5).contains(&paths.estimate()));
    }

    #[test]
    fn the_first_four_paths_are_told_apart_though_they_share_a_bit() {
        let paths = Paths::default();
        for path in 1..=4 {
            assert!(paths.note(path << 40, HALF, NOW));
            assert!(!paths.note(path << 40, HALF, NOW));
        }
        assert!(!paths.note(5 << 40, HALF, NOW), "the fifth has only its bit");
        assert!(!paths.note(1 << 40, HALF, NOW));
    }
}
