//! Whether an upstream refuses everybody. One that does says nothing about any of them: it has lost its sessions, its licence or
//! its own database, and honest callers that try again must not be banned for that.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::moment::{seconds, seconds_before};

/// Of each route: who was refused since its upstream last let somebody in.
#[derive(Debug)]
pub(crate) struct Climate(Box<[Slot]>);

#[derive(Debug, Default)]
struct Slot {
    /// The actors, by one bit of 64 of their key.
    refused: AtomicU64,
    /// When the first of them was, in seconds since 1970.
    since: AtomicU32,
}

/// Routes beyond share a slot with another one.
const SLOTS: usize = 64;
/// So many different ones, and nobody let in meanwhile: it is not the caller.
const EVERYBODY: u32 = 2;
/// Ten minutes. Refusals that are further apart have nothing to do with one another.
const WINDOW_TICKS: u64 = 600 * 16;

impl Climate {
    pub(crate) fn new() -> Self {
        Self((0..SLOTS).map(|_| Slot::default()).collect())
    }

    /// The upstream let somebody in. One atomic load while it refuses nobody.
    pub(crate) fn let_in(&self, route: usize) {
        if let Some(slot) = self.0.get(route % SLOTS)
            && slot.refused.load(Ordering::Relaxed) != 0
        {
            slot.refused.store(0, Ordering::Relaxed);
        }
    }

    /// The upstream refused this actor; says whether it refuses everybody.
    pub(crate) fn refuses_everybody(&self, route: usize, actor: u64, now: u64) -> bool {
        let Some(slot) = self.0.get(route % SLOTS) else { return false };
        let since = slot.since.load(Ordering::Relaxed);
        if slot.refused.load(Ordering::Relaxed) == 0 || since < seconds_before(now, WINDOW_TICKS) {
            slot.since.store(seconds(now), Ordering::Relaxed);
            slot.refused.store(0, Ordering::Relaxed);
        }
        let bit = 1_u64 << (actor >> 58);
        let refused = slot.refused.fetch_or(bit, Ordering::Relaxed) | bit;
        refused.count_ones() >= EVERYBODY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 28_000_000_000;

    #[test]
    fn it_takes_two_and_nobody_who_is_let_in() {
        let climate = Climate::new();
        let refuses = |actor: u64, later: u64| climate.refuses_everybody(3, actor << 58, NOW + later);
        assert!(!refuses(1, 0) && !refuses(1, 0), "one alone may be the one who is meant");
        assert!(refuses(2, 0) && refuses(1, 0));
        climate.let_in(4);
        assert!(refuses(3, 0), "another route says nothing of this one");
        climate.let_in(3);
        assert!(!refuses(1, 0));
        assert!(refuses(2, WINDOW_TICKS - 16));
        assert!(!refuses(3, 2 * WINDOW_TICKS), "that was long ago");
    }
}
