//! Tells apart the paths that one actor was refused on. It may take a new path for a known one, which counts less against the actor,
//! and never a known one for a new one within its time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::moment::{seconds, seconds_before};
use crate::recent::RecentSet;

/// Which paths were refused, by one bit of 64 of a keyed hash. A default offence is four new paths; were they told apart by their bits
/// alone, two would share one in every eleventh case: so the last four are told apart by 28 bits each, where there is room to remember
/// them. Begins anew after two half-lives.
#[derive(Debug, Default)]
pub(crate) struct PathMap {
    bits: AtomicU64,
    /// In seconds since 1970.
    since: AtomicU32,
}

/// The last paths that an actor was refused on.
pub(crate) type LastPaths = RecentSet<LAST_PATHS>;

const LAST_PATHS: usize = 4;

impl PathMap {
    /// Whether this path was not refused yet, as far as the bits can tell.
    pub(crate) fn note(&self, path: u64, last: Option<&LastPaths>, half: u64, now: u64) -> bool {
        let since = self.since.load(Ordering::Relaxed);
        if since < seconds_before(now, half.saturating_mul(2))
            && self.since.compare_exchange(since, seconds(now), Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.clear();
            if let Some(last) = last {
                last.clear();
            }
        }
        let bit = 1_u64 << (path >> 58);
        let is_new_bit = self.bits.fetch_or(bit, Ordering::Relaxed) & bit == 0;
        let Some(last) = last else { return is_new_bit };
        // While there is room for four, they are all there are, and no bit is needed to know a path again.
        let bits_decide = last.seen_after(0) == LAST_PATHS;
        last.note(path, now) && (is_new_bit || !bits_decide)
    }

    /// Linear counting: −64 · ln(zeros / 64) (Whang, Vander-Zanden, Taylor 1990). A full map counts as 64 · ln 64.
    pub(crate) fn estimate(&self) -> f64 {
        let zeros = self.bits.load(Ordering::Relaxed).count_zeros().max(1);
        -64.0 * (f64::from(zeros) / 64.0).ln()
    }

    pub(crate) fn clear(&self) {
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
        let (paths, last) = (PathMap::default(), LastPaths::default());
        let note = |n: u64, now: u64| paths.note(path(n), Some(&last), HALF, now);
        for n in 0..64 {
            assert!(note(n, NOW));
            assert!(!note(n, NOW));
        }
        assert!((266.0..267.0).contains(&paths.estimate()));
        assert!(!note(1, NOW + 2 * HALF));
        assert!(note(1, NOW + 2 * HALF + 16));
        assert!((0.5..1.5).contains(&paths.estimate()));
    }

    #[test]
    fn the_first_four_paths_are_told_apart_though_they_share_a_bit() {
        let (paths, last) = (PathMap::default(), LastPaths::default());
        let note = |path: u64| paths.note(path << 40, Some(&last), HALF, NOW);
        for path in 1..=4 {
            assert!(note(path));
            assert!(!note(path));
        }
        assert!(!note(5), "the fifth has only its bit");
        assert!(!note(1));
    }

    #[test]
    fn where_the_last_ones_are_not_remembered_the_bits_decide() {
        let paths = PathMap::default();
        assert!(paths.note(path(1), None, HALF, NOW) && !paths.note(path(1), None, HALF, NOW));
        assert!(!paths.note((1 << 58) | 77, None, HALF, NOW), "it shares its bit");
        assert!(paths.note(path(2), None, HALF, NOW));
    }
}
