//! The governor, held by whoever asks or changes it; and what whoever lends power goes by, for which nobody waits.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, MutexGuard};

use arc_swap::ArcSwap;
use portcullis_governance::Governor;
use portcullis_governance::power::Demands;

/// What has to be signed by the version that is live.
#[derive(Debug)]
pub(super) struct Demanded {
    /// Of which version that is; `None`: since when anything is demanded could not be read, and is asked for again.
    n: Option<u64>,
    /// Nobody has to sign anything where [`Demands::loosen`] is 0.
    demands: Arc<Demands>,
}

impl Demanded {
    /// By the last version.
    pub(super) fn of(governor: &Governor) -> Self {
        let standing = governor.standing();
        let rules = standing.version.as_ref().map(|version| version.rules()).filter(|rules| rules.required);
        let since = governor.required_since();
        let n = since.as_ref().ok().map(|_| governor.n());
        let demands = Demands {
            approvers: standing.approvers,
            instance: standing.instance,
            loosen: rules.map_or(0, |rules| rules.loosen),
            // Where that cannot be told, always.
            since: since.ok().flatten().unwrap_or(i64::MIN),
        };
        Self { n, demands: Arc::new(demands) }
    }

    pub(super) fn demands(&self) -> &Arc<Demands> {
        &self.demands
    }
}

/// The governor. Once it is let go, what is demanded is what its last version says.
pub(super) struct Held<'g> {
    governor: MutexGuard<'g, Governor>,
    demanded: &'g ArcSwap<Demanded>,
}

impl<'g> Held<'g> {
    pub(super) fn new(governor: MutexGuard<'g, Governor>, demanded: &'g ArcSwap<Demanded>) -> Self {
        #[cfg(test)]
        super::tests::beside::HELD.with(|held| held.set(held.get() + 1));
        Self { governor, demanded }
    }
}

impl Deref for Held<'_> {
    type Target = Governor;

    fn deref(&self) -> &Governor {
        &self.governor
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Governor {
        &mut self.governor
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        #[cfg(test)]
        super::tests::beside::HELD.with(|held| held.set(held.get() - 1));
        if self.demanded.load().n != Some(self.governor.n()) {
            self.demanded.store(Arc::new(Demanded::of(&self.governor)));
        }
    }
}
