//! Another key for what is sealed: what the key before sealed is sealed anew, and what would not open any more is counted.

use super::SecondFactors;
use super::refusal::{FactorRefusal, Outcome};
use super::seal::FactorKeys;

/// Rows that are sealed anew in one go.
pub(super) const RESEALED_AT_ONCE: usize = 500;

impl SecondFactors {
    /// Seals what the other key sealed with the key of now, at most some hundreds of rows. Says how many, and how many do not open.
    ///
    /// # Errors
    /// The store does not answer.
    pub fn reseal(&self) -> Outcome<(usize, usize)> {
        let keys = self.keys.load();
        let sealed = self.store.sealed_by_key()?;
        let (mut resealed, mut closed) =
            (0, sealed.iter().filter(|(key, _)| !keys.has(*key)).map(|(_, count)| count).sum());
        let other = keys.other().map(|other| self.store.sealed_with(other, RESEALED_AT_ONCE)).transpose()?;
        for (principal, mut factor) in other.into_iter().flatten() {
            let Ok(plain) = keys.open(&principal, factor.id, factor.kind, &factor.sealed) else {
                closed += 1;
                continue;
            };
            let sealed = keys.seal(&principal, factor.id, factor.kind, &plain);
            factor.sealed = sealed.ok_or(FactorRefusal::NoRandomness)?;
            // One that was used meanwhile was sealed anew by that, or is the next time.
            if self.replace(&principal, factor).is_ok() {
                resealed += 1;
            }
        }
        Ok((resealed, closed))
    }

    /// How many factors are sealed with a key of now that is none of these. Where none of now goes away nobody is asked, so that it is known whatever the store does.
    ///
    /// # Errors
    /// The store does not answer.
    pub fn closed_by(&self, keys: &FactorKeys) -> Outcome<usize> {
        let present = self.keys.load();
        let goes = |key: i64| present.has(key) && !keys.has(key);
        if !present.numbers().any(goes) {
            return Ok(0);
        }
        Ok(self.store.sealed_by_key()?.into_iter().filter(|(key, _)| goes(*key)).map(|(_, count)| count).sum())
    }
}
