//! The software that a principal came with last: who is found here needs no further look.
//!
//! First in, first out: one that has gone costs a look at its family the next time, and counts as new to nobody.

use std::sync::atomic::{AtomicU32, Ordering};

pub(super) const AGENTS_MAX: usize = 4;

/// 28 bits of each, the latest first; 0 where there is none.
#[derive(Debug, Default)]
pub(super) struct Agents([AtomicU32; AGENTS_MAX]);

impl Agents {
    pub(super) fn contains(&self, agent: u64) -> bool {
        let tag = tag(agent);
        self.0.iter().any(|slot| slot.load(Ordering::Relaxed) == tag)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|slot| slot.load(Ordering::Relaxed) == 0)
    }

    /// Notes one, and says whether it was none of them. What two threads note at one instant may be there twice, or not at all: it is noted at its
    /// next sight.
    pub(super) fn note(&self, agent: u64) -> bool {
        if self.contains(agent) {
            return false;
        }
        let mut next = tag(agent);
        for slot in &self.0 {
            next = slot.swap(next, Ordering::Relaxed);
            if next == 0 {
                break;
            }
        }
        true
    }

    pub(super) fn clear(&self) {
        self.0.iter().for_each(|slot| slot.store(0, Ordering::Relaxed));
    }

    /// Two to a word, for keeping.
    pub(super) fn values(&self) -> [u64; AGENTS_MAX] {
        std::array::from_fn(|n| self.0.get(n).map_or(0, |slot| slot.load(Ordering::Relaxed).into()))
    }

    /// What was kept. Any values do.
    pub(super) fn of_values(values: [u64; AGENTS_MAX]) -> Self {
        Self(values.map(|value| AtomicU32::new(u32::try_from(value & 0xffff_ffff).unwrap_or(0))))
    }
}

fn tag(agent: u64) -> u32 {
    u32::try_from(agent >> 36).unwrap_or(0).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_four_are_known() {
        let agents = Agents::default();
        let agent = |n: u64| n << 36;
        assert!(agents.is_empty() && !agents.contains(agent(1)));
        for n in 1..=6 {
            assert!(agents.note(agent(n)), "{n}");
            assert!(!agents.note(agent(n)), "{n}");
        }
        let known = |agents: &Agents| (0..10).filter(|n| agents.contains(agent(*n))).collect::<Vec<_>>();
        assert_eq!(known(&agents), [3, 4, 5, 6]);
        assert_eq!(known(&Agents::of_values(agents.values())), [3, 4, 5, 6]);
        agents.clear();
        assert!(agents.is_empty());
        assert!(agents.note(0) && agents.contains(0), "a hash that begins with nothing is one, too");
    }
}
