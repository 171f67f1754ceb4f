//! Second factors: codes by the time, recovery codes and passkeys, and what it takes to add, use and remove one.
//!
//! [`SecondFactors`] is called for somebody whose first factor was verified, on a thread that may block: what counts is on the disk before it answers. So a
//! code is good once, however many gateways ask the same store, and a crash between the answer and the disk cannot give it back.
//!
//! Wrong codes are counted for the principal and make the next one wait, up to four hours; a passkey cannot be guessed, so it is neither counted nor kept
//! waiting. Nobody without the first factor can make the owner wait.

mod codes;
pub mod factor;
mod passkeys;
mod recovery;
mod refusal;
mod rekeying;
pub mod seal;
pub mod totp;
pub mod webauthn;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use jiff::Timestamp;

use factor::{FactorId, FactorKind, FactorStore, StoredFactor};
use passkeys::Asked;
use refusal::Outcome;
use seal::FactorKeys;
use webauthn::{Challenge, RelyingParty};

pub use codes::Enrolment;
pub use passkeys::Question;
pub use recovery::CODES as RECOVERY_CODES;
pub use refusal::FactorRefusal;

/// Factors of one principal, recovery codes counted as one.
pub const MOST_FACTORS: usize = 12;
/// Of these at most so many are apps with codes by the time: each of them is one more code that a guess can hit.
pub const MOST_TOTP: usize = 3;
/// A factor's name is no longer, in characters.
pub const MOST_NAME: usize = 64;

/// `[mfa]`, as plain values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MfaSettings {
    /// What authenticator apps show beside a code.
    pub issuer: Box<str>,
    /// Codes by the time can be added and used.
    pub totp: bool,
    /// Whoever has none yet adds the first one after a login that is for just that. `false`: an operator gives it to them. Default `true`.
    pub first_by_login: bool,
    /// For whom passkeys are; `None`: they can be neither added nor used.
    pub passkeys: Option<RelyingParty>,
}

/// The second factors of everybody.
#[derive(Debug)]
pub struct SecondFactors {
    store: Arc<dyn FactorStore>,
    keys: ArcSwap<FactorKeys>,
    settings: ArcSwap<MfaSettings>,
    challenges: Mutex<HashMap<Challenge, Asked>>,
}

/// A factor, as its owner may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownFactor {
    /// What it is known by.
    pub id: FactorId,
    /// What it is.
    pub kind: FactorKind,
    /// What its owner calls it.
    pub name: String,
    /// When it was added.
    pub created: Timestamp,
    /// When it was last used.
    pub used: Option<Timestamp>,
    /// Recovery codes that are left; `None` for other kinds, and where nobody can tell.
    pub left: Option<usize>,
}

/// A factor that was just added.
#[derive(Debug)]
pub struct Added {
    /// What it is known by.
    pub id: FactorId,
    /// What it is.
    pub kind: FactorKind,
    /// Recovery codes, where there were none: shown this once.
    pub recovery: Option<Vec<String>>,
}

/// A factor that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Which.
    pub id: FactorId,
    /// What it is.
    pub kind: FactorKind,
    /// When it was added.
    pub added: Timestamp,
    /// Recovery codes that are left, where it was one.
    pub left: Option<usize>,
}

impl SecondFactors {
    /// Those that this store keeps.
    pub fn new(store: Arc<dyn FactorStore>, keys: FactorKeys, settings: MfaSettings) -> Self {
        Self {
            store,
            keys: ArcSwap::from_pointee(keys),
            settings: ArcSwap::from_pointee(settings),
            challenges: Mutex::default(),
        }
    }

    /// Goes on with other keys and settings.
    pub fn configure(&self, keys: FactorKeys, settings: MfaSettings) {
        self.keys.store(Arc::new(keys));
        self.settings.store(Arc::new(settings));
    }

    /// What is in force.
    pub fn settings(&self) -> Arc<MfaSettings> {
        self.settings.load_full()
    }

    /// What a principal has, the oldest first.
    ///
    /// # Errors
    /// The store does not answer.
    pub fn list(&self, principal: &str) -> Outcome<Vec<ShownFactor>> {
        let shown = |factor: StoredFactor| {
            let left = (factor.kind == FactorKind::Recovery)
                .then(|| self.recovery_codes(principal, &factor).ok().map(|codes| codes.left()));
            let StoredFactor { id, kind, name, created, used, .. } = factor;
            ShownFactor { id, kind, name, created, used, left: left.flatten() }
        };
        Ok(self.confirmed(principal)?.into_iter().map(shown).collect())
    }

    /// Removes a factor.
    ///
    /// # Errors
    /// There is none of this id; the store does not answer.
    pub fn remove(&self, principal: &str, id: FactorId) -> Outcome<()> {
        if self.store.remove(principal, id)? { Ok(()) } else { Err(FactorRefusal::None) }
    }

    /// Removes all factors of a principal, recovery codes too, and lets them try at once. Says how many there were.
    ///
    /// # Errors
    /// The store does not answer.
    pub fn reset(&self, principal: &str) -> Outcome<usize> {
        Ok(self.store.reset(principal)?)
    }

    fn confirmed(&self, principal: &str) -> Outcome<Vec<StoredFactor>> {
        Ok(self.store.factors(principal)?.into_iter().filter(|factor| factor.confirmed).collect())
    }

    /// A new row, not confirmed.
    fn sealed(
        &self,
        principal: &str,
        kind: FactorKind,
        name: &str,
        plain: &[u8],
        now: Timestamp,
    ) -> Outcome<StoredFactor> {
        let name = name.trim();
        let count = name.chars().count();
        if count == 0 || count > MOST_NAME || name.chars().any(char::is_control) {
            return Err(FactorRefusal::BadName);
        }
        let id = FactorId::random().ok_or(FactorRefusal::NoRandomness)?;
        let sealed = self.keys.load().seal(principal, id, kind, plain).ok_or(FactorRefusal::NoRandomness)?;
        Ok(StoredFactor {
            id,
            kind,
            name: name.to_owned(),
            created: now,
            used: None,
            confirmed: false,
            counter: 0,
            credential: Box::default(),
            sealed,
            version: 0,
        })
    }

    fn add(&self, principal: &str, factor: &StoredFactor) -> Outcome<()> {
        if self.store.add(principal, factor, MOST_FACTORS)? {
            return Ok(());
        }
        let is_full = self.store.factors(principal)?.len() >= MOST_FACTORS;
        Err(if is_full { FactorRefusal::TooMany } else { FactorRefusal::Known })
    }

    /// Puts a changed row in the place of the one that was read. Where that was changed meanwhile, somebody else used it.
    fn replace(&self, principal: &str, mut factor: StoredFactor) -> Outcome<()> {
        factor.version += 1;
        if self.store.replace(principal, &factor)? { Ok(()) } else { Err(FactorRefusal::Replayed) }
    }

    /// Recovery codes go with the first factor.
    fn added(&self, principal: &str, id: FactorId, kind: FactorKind, now: Timestamp) -> Outcome<Added> {
        let has_codes = self.confirmed(principal)?.iter().any(|factor| factor.kind == FactorKind::Recovery);
        let recovery = if has_codes { None } else { Some(self.renew_recovery(principal, now)?) };
        Ok(Added { id, kind, recovery })
    }
}

#[cfg(test)]
mod tests;
