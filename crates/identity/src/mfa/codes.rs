//! Codes: those by the time, and those of recovery. Each is good once, and wrong ones are counted.

use std::time::Duration;

use jiff::Timestamp;

use super::factor::{Attempts, FactorId, FactorKind, StoredFactor};
use super::recovery::{self, RecoveryCodes};
use super::refusal::{FactorRefusal, Outcome};
use super::seal::OpenError;
use super::totp::TotpSecret;
use super::{Added, MOST_TOTP, Passed, SecondFactors};

/// What was begun has to be confirmed within this.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(10 * 60);

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

impl SecondFactors {
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

    fn begin_attempt(&self, principal: &str, now: Timestamp) -> Outcome<Attempts> {
        let now = now.as_second();
        match self.store.begin_attempt(principal, now)? {
            Ok(attempts) => Ok(attempts),
            Err(attempts) => Err(FactorRefusal::Locked(attempts.wait(now).unwrap_or(1))),
        }
    }

    fn totp_secret(&self, principal: &str, factor: &StoredFactor) -> Outcome<TotpSecret> {
        let plain = self.keys.load().open(principal, factor.id, factor.kind, &factor.sealed)?;
        TotpSecret::from_bytes(&plain).ok_or(FactorRefusal::Unusable(OpenError::Changed))
    }

    pub(super) fn recovery_codes(&self, principal: &str, factor: &StoredFactor) -> Outcome<RecoveryCodes> {
        let plain = self.keys.load().open(principal, factor.id, factor.kind, &factor.sealed)?;
        RecoveryCodes::from_bytes(&plain).ok_or(FactorRefusal::Unusable(OpenError::Changed))
    }
}

/// What a failure comes to, with what was counted at its beginning.
fn counted(refusal: FactorRefusal, attempts: &Attempts, now: Timestamp) -> FactorRefusal {
    match attempts.wait(now.as_second()) {
        Some(seconds) if attempts.has_just_locked() => FactorRefusal::Locking(Box::new(refusal), seconds),
        Some(_) | None => refusal,
    }
}
