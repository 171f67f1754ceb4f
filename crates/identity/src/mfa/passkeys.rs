//! Passkeys: what a browser is asked, and what it answers.

use std::sync::PoisonError;
use std::time::Duration;

use jiff::Timestamp;

use super::factor::{FactorKind, StoredFactor};
use super::refusal::{FactorRefusal, Outcome};
use super::webauthn::{Assertion, Challenge, Registration, RelyingParty};
use super::{Added, Passed, SecondFactors};

/// A challenge is good for so long, and so many are at once.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5 * 60);
const MOST_CHALLENGES: usize = 10_000;

/// For what a challenge was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
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

impl SecondFactors {
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
}
