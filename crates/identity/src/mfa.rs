//! Second factors: codes by the time, recovery codes and passkeys, and what it takes to add, use and remove one.
//!
//! [`SecondFactors`] is called for somebody whose first factor was verified, on a thread that may block: what counts is on the disk before it answers. So a
//! code is good once, however many gateways ask the same store, and a crash between the answer and the disk cannot give it back.
//!
//! Wrong codes are counted for the principal and make the next one wait, up to four hours; a passkey cannot be guessed, so it is neither counted nor kept
//! waiting. Nobody without the first factor can make the owner wait.

pub mod factor;
mod recovery;
pub mod seal;
pub mod totp;
pub mod webauthn;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use factor::{Attempts, FactorId, FactorKind, FactorStore, FactorStoreError, StoredFactor};
use recovery::RecoveryCodes;
use seal::{FactorKeys, OpenError};
use totp::TotpSecret;
use webauthn::{Assertion, Challenge, PasskeyError, Registration, RelyingParty};

pub use recovery::CODES as RECOVERY_CODES;

/// Factors of one principal, recovery codes counted as one.
pub const MOST_FACTORS: usize = 12;
/// Of these at most so many are apps with codes by the time: each of them is one more code that a guess can hit.
pub const MOST_TOTP: usize = 3;
/// A factor's name is no longer, in characters.
pub const MOST_NAME: usize = 64;
/// What was begun has to be confirmed within this.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(10 * 60);
/// A challenge is good for so long, and so many are at once.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5 * 60);
const MOST_CHALLENGES: usize = 10_000;
/// Rows that are sealed anew in one go.
const RESEALED_AT_ONCE: usize = 500;

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

/// For what a challenge was given.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    principal: Box<str>,
    /// The session, or whatever else the answer must come from.
    asker: Box<str>,
    purpose: Purpose,
    until: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Add,
    Use,
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

/// Codes by the time that were begun.
#[derive(Debug)]
pub struct Enrolment {
    /// What is to be confirmed.
    pub id: FactorId,
    /// The secret, for who types it.
    pub secret: String,
    /// The address that an app reads.
    pub uri: String,
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

/// What a browser needs to ask an authenticator.
#[derive(Debug, Clone)]
pub struct Question {
    /// What is to be signed.
    pub challenge: Challenge,
    /// For whom.
    pub party: RelyingParty,
    /// The passkeys that there are: those that may answer, or of which no second one is wanted.
    pub credentials: Vec<Box<[u8]>>,
}

/// Why a factor was not accepted, added or removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactorRefusal {
    /// The code is none of now.
    #[error("the code is wrong")]
    Wrong,
    /// The code was right once, and was used.
    #[error("the code was used already")]
    Replayed,
    /// Too many were wrong: after how many seconds one is looked at again.
    #[error("too many codes were wrong; the next is looked at in {0} s")]
    Locked(u64),
    /// It was the last of too many: what is wrong with it, and after how many seconds the next one is looked at.
    #[error("{0}; it was the last of too many, and the next is looked at in {1} s")]
    Locking(Box<FactorRefusal>, u64),
    /// There is no such factor.
    #[error("there is no such factor")]
    None,
    /// What was begun was not confirmed in time, or another one answers.
    #[error("it was not begun here, or too long ago")]
    TooLate,
    /// There are too many factors.
    #[error("there are as many factors already as there can be")]
    TooMany,
    /// The passkey is there already.
    #[error("the passkey is there already")]
    Known,
    /// The kind is switched off.
    #[error("this kind of factor is switched off")]
    Off,
    /// The name is too long, or has a control character.
    #[error("a name has 1 to {MOST_NAME} characters")]
    BadName,
    /// The passkey does not hold.
    #[error("the passkey was not accepted: {0}")]
    Passkey(#[from] PasskeyError),
    /// What is kept does not open.
    #[error("what is kept of the factor cannot be used: {0}")]
    Unusable(#[from] OpenError),
    /// The store does not answer: nothing is known.
    #[error("{0}")]
    Store(#[from] FactorStoreError),
    /// The system gives no random bytes.
    #[error("no random bytes")]
    NoRandomness,
}

impl FactorRefusal {
    /// Whether nobody can say anything now, so that it is no "no".
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unusable(_) | Self::Store(_) | Self::NoRandomness)
    }
}

type Outcome<T> = Result<T, FactorRefusal>;

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

    /// Begins codes by the time. They count once they are [confirmed](Self::confirm_totp).
    ///
    /// # Errors
    /// They are switched off, the name is none, there are too many, or the store does not answer.
    pub fn begin_totp(&self, principal: &str, name: &str, now: Timestamp) -> Outcome<Enrolment> {
        if !self.settings.load().totp {
            return Err(FactorRefusal::Off);
        }
        let factors = self.store.factors(principal)?;
        let is_totp = |factor: &&StoredFactor| factor.confirmed && factor.kind == FactorKind::Totp;
        if factors.iter().filter(is_totp).count() >= MOST_TOTP {
            return Err(FactorRefusal::TooMany);
        }
        // Only the last one that was begun can be confirmed.
        for factor in factors.iter().filter(|factor| !factor.confirmed) {
            self.store.remove(principal, factor.id)?;
        }
        let secret = TotpSecret::random().ok_or(FactorRefusal::NoRandomness)?;
        let factor = self.sealed(principal, FactorKind::Totp, name, secret.as_bytes(), now)?;
        let id = factor.id;
        self.add(principal, &factor)?;
        let account = principal.split_once(':').map_or(principal, |(_, id)| id);
        let uri = secret.uri(&self.settings.load().issuer, account);
        Ok(Enrolment { id, secret: secret.base32(), uri })
    }

    /// Confirms codes by the time with one of them, which is used then.
    ///
    /// # Errors
    /// They were not begun, or too long ago; the code is wrong, or has to wait; the store does not answer.
    pub fn confirm_totp(&self, principal: &str, id: FactorId, code: &str, now: Timestamp) -> Outcome<Added> {
        let factor = self.store.factors(principal)?.into_iter().find(|factor| factor.id == id && !factor.confirmed);
        let mut factor = factor.filter(|factor| factor.kind == FactorKind::Totp).ok_or(FactorRefusal::TooLate)?;
        if now.duration_since(factor.created).unsigned_abs() > CONFIRMED_WITHIN {
            self.store.remove(principal, id)?;
            return Err(FactorRefusal::TooLate);
        }
        let attempt = self.begin_attempt(principal, now)?;
        let step = self.totp_secret(principal, &factor)?.matched(code, now.as_second(), None);
        factor.counter = step.ok_or_else(|| counted(FactorRefusal::Wrong, &attempt, now))?;
        factor.confirmed = true;
        self.replace(principal, factor)?;
        self.store.clear_attempts(principal)?;
        self.added(principal, id, FactorKind::Totp, now)
    }

    /// New recovery codes in the place of those that there were: shown this once.
    ///
    /// # Errors
    /// The store does not answer.
    pub fn renew_recovery(&self, principal: &str, now: Timestamp) -> Outcome<Vec<String>> {
        for factor in self.confirmed(principal)?.into_iter().filter(|factor| factor.kind == FactorKind::Recovery) {
            self.store.remove(principal, factor.id)?;
        }
        let (codes, shown) = RecoveryCodes::random().ok_or(FactorRefusal::NoRandomness)?;
        let mut factor = self.sealed(principal, FactorKind::Recovery, "recovery codes", &codes.to_bytes(), now)?;
        factor.confirmed = true;
        self.add(principal, &factor)?;
        Ok(shown)
    }

    /// Whether a code, by the time or of recovery, is one of the principal's. It is used then.
    ///
    /// # Errors
    /// It is not, or was used; too many were wrong; there is nothing to hold it against; the store does not answer.
    pub fn verify_code(&self, principal: &str, code: &str, now: Timestamp) -> Outcome<Passed> {
        let is_recovery = recovery::looks_like_one(code);
        let kind = if is_recovery { FactorKind::Recovery } else { FactorKind::Totp };
        let is_off = !is_recovery && !self.settings.load().totp;
        let factors = self.confirmed(principal)?;
        // Whoever has nothing that a code could be of is told so, and nothing is counted.
        if is_off || !factors.iter().any(|factor| factor.kind != FactorKind::Passkey) {
            return Err(FactorRefusal::None);
        }
        let attempt = self.begin_attempt(principal, now)?;
        let mut was_used = false;
        for factor in factors.into_iter().filter(|factor| factor.kind == kind) {
            let passed = match kind {
                FactorKind::Recovery => self.use_recovery(principal, factor, code, now),
                FactorKind::Totp | FactorKind::Passkey => self.use_totp(principal, factor, code, now),
            };
            match passed {
                Ok(passed) => {
                    self.store.clear_attempts(principal)?;
                    return Ok(passed);
                }
                Err(FactorRefusal::Replayed) => was_used = true,
                Err(FactorRefusal::Wrong) => {}
                Err(other) => return Err(other),
            }
        }
        Err(counted(if was_used { FactorRefusal::Replayed } else { FactorRefusal::Wrong }, &attempt, now))
    }

    fn use_totp(&self, principal: &str, mut factor: StoredFactor, code: &str, now: Timestamp) -> Outcome<Passed> {
        let secret = self.totp_secret(principal, &factor)?;
        match secret.matched(code, now.as_second(), Some(factor.counter)) {
            Some(step) => factor.counter = step,
            None if secret.matched(code, now.as_second(), None).is_some() => return Err(FactorRefusal::Replayed),
            None => return Err(FactorRefusal::Wrong),
        }
        let passed = Passed { id: factor.id, kind: factor.kind, added: factor.created, left: None };
        factor.used = Some(now);
        // Another one may have used it at the same instant: then the row is another one.
        self.replace(principal, factor)?;
        Ok(passed)
    }

    fn use_recovery(&self, principal: &str, mut factor: StoredFactor, code: &str, now: Timestamp) -> Outcome<Passed> {
        let rest = self.recovery_codes(principal, &factor)?.without(code).ok_or(FactorRefusal::Wrong)?;
        let passed = Passed { id: factor.id, kind: factor.kind, added: factor.created, left: Some(rest.left()) };
        let sealed = self.keys.load().seal(principal, factor.id, factor.kind, &rest.to_bytes());
        factor.sealed = sealed.ok_or(FactorRefusal::NoRandomness)?;
        factor.used = Some(now);
        self.replace(principal, factor)?;
        Ok(passed)
    }

    /// What is needed to make a passkey. `asker`: the session that the answer must come from.
    ///
    /// # Errors
    /// They are switched off; too many answers are awaited; the store does not answer.
    pub fn ask_for_new_passkey(&self, principal: &str, asker: &str, now: Timestamp) -> Outcome<Question> {
        self.ask(principal, asker, Purpose::Add, now)
    }

    /// What is needed to use a passkey.
    ///
    /// # Errors
    /// There is none, and the same.
    pub fn ask_for_passkey(&self, principal: &str, asker: &str, now: Timestamp) -> Outcome<Question> {
        let question = self.ask(principal, asker, Purpose::Use, now)?;
        if question.credentials.is_empty() { Err(FactorRefusal::None) } else { Ok(question) }
    }

    fn ask(&self, principal: &str, asker: &str, purpose: Purpose, now: Timestamp) -> Outcome<Question> {
        let party = self.settings.load().passkeys.clone().ok_or(FactorRefusal::Off)?;
        let passkeys = self.confirmed(principal)?.into_iter().filter(|factor| factor.kind == FactorKind::Passkey);
        let credentials = passkeys.map(|factor| factor.credential).collect();
        let challenge = Challenge::random().ok_or(FactorRefusal::NoRandomness)?;
        let until = now.saturating_add(ANSWERED_WITHIN).unwrap_or(now);
        let asked = Asked { principal: principal.into(), asker: asker.into(), purpose, until };
        let mut challenges = self.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        if challenges.len() >= MOST_CHALLENGES {
            challenges.retain(|_, asked| asked.until > now);
        }
        // A session that asks again and again is answered by its last question.
        let of_asker = |other: &Asked| other.asker == asked.asker && other.purpose == purpose;
        challenges.retain(|_, other| !of_asker(other));
        if challenges.len() >= MOST_CHALLENGES {
            return Err(FactorRefusal::TooMany);
        }
        challenges.insert(challenge, asked);
        Ok(Question { challenge, party, credentials })
    }

    /// Takes a challenge that was given for this: it is answered once.
    fn take(&self, challenge: &Challenge, asked: (&str, &str, Purpose), now: Timestamp) -> Outcome<RelyingParty> {
        let taken = self.challenges.lock().unwrap_or_else(PoisonError::into_inner).remove(challenge);
        let (principal, asker, purpose) = asked;
        let is_it = |taken: &Asked| {
            *taken.principal == *principal && *taken.asker == *asker && taken.purpose == purpose && taken.until > now
        };
        taken.filter(is_it).ok_or(FactorRefusal::TooLate)?;
        self.settings.load().passkeys.clone().ok_or(FactorRefusal::Off)
    }

    /// Adds the passkey that was made for this challenge.
    ///
    /// # Errors
    /// It does not hold, or is there already; the store does not answer.
    pub fn add_passkey(
        &self,
        (principal, asker): (&str, &str),
        challenge: &Challenge,
        made: Registration<'_>,
        name: &str,
        now: Timestamp,
    ) -> Outcome<Added> {
        let party = self.take(challenge, (principal, asker, Purpose::Add), now)?;
        let passkey = party.register(challenge, made)?;
        let mut factor = self.sealed(principal, FactorKind::Passkey, name, &passkey.public_key, now)?;
        factor.credential = passkey.credential;
        factor.counter = passkey.counter.into();
        factor.confirmed = true;
        self.add(principal, &factor)?;
        self.added(principal, factor.id, FactorKind::Passkey, now)
    }

    /// Whether a passkey of the principal's has signed this challenge.
    ///
    /// # Errors
    /// It has not, or it is nobody's; the store does not answer.
    pub fn verify_passkey(
        &self,
        (principal, asker): (&str, &str),
        challenge: &Challenge,
        used: Assertion<'_>,
        now: Timestamp,
    ) -> Outcome<Passed> {
        let party = self.take(challenge, (principal, asker, Purpose::Use), now)?;
        let is_it =
            |factor: &StoredFactor| factor.kind == FactorKind::Passkey && *factor.credential == *used.credential;
        let mut factor = self.confirmed(principal)?.into_iter().find(is_it).ok_or(FactorRefusal::None)?;
        let public_key = self.keys.load().open(principal, factor.id, factor.kind, &factor.sealed)?;
        factor.counter = party.verify(challenge, used, &public_key, factor.counter)?.into();
        factor.used = Some(now);
        let passed = Passed { id: factor.id, kind: factor.kind, added: factor.created, left: None };
        self.replace(principal, factor)?;
        Ok(passed)
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

    fn begin_attempt(&self, principal: &str, now: Timestamp) -> Outcome<Attempts> {
        let now = now.as_second();
        match self.store.begin_attempt(principal, now)? {
            Ok(attempts) => Ok(attempts),
            Err(attempts) => Err(FactorRefusal::Locked(attempts.wait(now).unwrap_or(1))),
        }
    }

    fn confirmed(&self, principal: &str) -> Outcome<Vec<StoredFactor>> {
        Ok(self.store.factors(principal)?.into_iter().filter(|factor| factor.confirmed).collect())
    }

    fn totp_secret(&self, principal: &str, factor: &StoredFactor) -> Outcome<TotpSecret> {
        let plain = self.keys.load().open(principal, factor.id, factor.kind, &factor.sealed)?;
        TotpSecret::from_bytes(&plain).ok_or(FactorRefusal::Unusable(OpenError::Changed))
    }

    fn recovery_codes(&self, principal: &str, factor: &StoredFactor) -> Outcome<RecoveryCodes> {
        let plain = self.keys.load().open(principal, factor.id, factor.kind, &factor.sealed)?;
        RecoveryCodes::from_bytes(&plain).ok_or(FactorRefusal::Unusable(OpenError::Changed))
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

/// What a failure comes to, with what was counted at its beginning.
fn counted(refusal: FactorRefusal, attempts: &Attempts, now: Timestamp) -> FactorRefusal {
    match attempts.wait(now.as_second()) {
        Some(seconds) if attempts.has_just_locked() => FactorRefusal::Locking(Box::new(refusal), seconds),
        Some(_) | None => refusal,
    }
}

#[cfg(test)]
mod tests;
