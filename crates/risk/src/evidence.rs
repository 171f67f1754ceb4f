//! The last offending requests of everybody, so that a ban can show what led to it.
//!
//! One ring for the whole process: it is bounded whoever floods it, and a flood only costs samples. A slot that another
//! thread holds is passed over, so nobody waits.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::actor::first_bytes;

/// One request that led to a ban.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BanSample {
    /// The reason code of the refusal, or `upstream.NNN` where the upstream itself answered with this status.
    pub reason: Box<str>,
    /// The path without its query. At most 128 bytes.
    pub path: Box<str>,
}

#[derive(Debug)]
pub(crate) struct EvidenceRing {
    slots: Box<[Mutex<Option<Noted>>]>,
    next: AtomicUsize,
}

#[derive(Debug, Clone)]
struct Noted {
    actor_key: u64,
    sample: BanSample,
}

const SLOTS: usize = 2_048;
const SAMPLES_MAX: usize = 5;
const PATH_BYTES_MAX: usize = 128;
const REASON_BYTES_MAX: usize = 64;

impl EvidenceRing {
    pub(crate) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| Mutex::new(None)).collect(), next: AtomicUsize::new(0) }
    }

    pub(crate) fn note(&self, actor_key: u64, reason: Option<&str>, status: u16, path: &str) {
        let reason = match reason {
            Some(code) => first_bytes(code, REASON_BYTES_MAX).into(),
            None => format!("upstream.{status}").into_boxed_str(),
        };
        let path = first_bytes(path.split('?').next().unwrap_or(path), PATH_BYTES_MAX).into();
        let index = self.next.fetch_add(1, Ordering::Relaxed) % SLOTS;
        if let Some(mut slot) = self.slots.get(index).and_then(|slot| slot.try_lock().ok()) {
            *slot = Some(Noted { actor_key, sample: BanSample { reason, path } });
        }
    }

    /// The newest samples of an actor, newest first, at most five.
    pub(crate) fn samples(&self, actor_key: u64) -> Vec<BanSample> {
        let next = self.next.load(Ordering::Relaxed);
        (1..=SLOTS)
            .filter_map(|back| self.slots.get(next.wrapping_sub(back) % SLOTS)?.try_lock().ok()?.clone())
            .filter(|noted| noted.actor_key == actor_key)
            .map(|noted| noted.sample)
            .take(SAMPLES_MAX)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_samples_of_one_actor_come_back_bounded() {
        let ring = EvidenceRing::new();
        for n in 0..3_000_u32 {
            ring.note(u64::from(n % 2), Some("rbac.explicit_deny"), 403, &format!("/{n}?secret=1"));
        }
        ring.note(0, None, 404, &"é".repeat(100));
        let samples = ring.samples(0);
        let paths: Vec<&str> = samples.iter().skip(1).map(|sample| &*sample.path).collect();
        assert_eq!(paths, ["/2998", "/2996", "/2994", "/2992"]);
        assert_eq!(samples[0], BanSample { reason: "upstream.404".into(), path: "é".repeat(64).into() });
        assert!(ring.samples(7).is_empty());
    }
}
