//! What is kept of a factor, and the trait by which it is kept.

use std::fmt;

use aws_lc_rs::rand;
use data_encoding::HEXLOWER;
use jiff::Timestamp;

use super::seal::Sealed;

/// Failed attempts before anybody waits, the first wait and the longest, in seconds.
const FREE: u32 = 5;
const FIRST_WAIT_S: i64 = 60;
const LONGEST_WAIT_S: i64 = 4 * 60 * 60;
/// After this without a failure it begins anew.
const FORGOTTEN_AFTER_S: i64 = 24 * 60 * 60;

/// What a factor is known by: random, and no secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FactorId(pub [u8; 16]);

impl FactorId {
    pub(crate) fn random() -> Option<Self> {
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// As [`Display`](fmt::Display) writes it.
    pub fn parse(text: &str) -> Option<Self> {
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for FactorId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for FactorId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "FactorId({self})")
    }
}

/// The kinds of factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FactorKind {
    /// Codes by the time, from an app (RFC 6238).
    Totp,
    /// Codes on paper.
    Recovery,
    /// A passkey, or a security key that knows its holder (WebAuthn).
    Passkey,
}

impl FactorKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Totp, Self::Recovery, Self::Passkey];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Recovery => "recovery",
            Self::Passkey => "passkey",
        }
    }

    /// The method as `amr` names it (RFC 8176 section 2).
    pub fn method(self) -> &'static str {
        match self {
            Self::Totp | Self::Recovery => "otp",
            Self::Passkey => "hwk",
        }
    }

    /// What it is in a store. Never changed.
    pub fn number(self) -> u8 {
        match self {
            Self::Totp => 1,
            Self::Recovery => 2,
            Self::Passkey => 3,
        }
    }

    /// The kind of a number.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| i64::from(kind.number()) == number)
    }
}

/// A factor as a store has it. Times are by the time of day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFactor {
    /// What it is known by.
    pub id: FactorId,
    /// What it is.
    pub kind: FactorKind,
    /// What its owner calls it; at most 64 characters.
    pub name: String,
    /// When it was added.
    pub created: Timestamp,
    /// When it was last used.
    pub used: Option<Timestamp>,
    /// Its owner has shown that it works. One that was not confirmed proves nothing.
    pub confirmed: bool,
    /// What only grows: the last step of codes by the time, the signature counter of a passkey.
    pub counter: i64,
    /// The id of a passkey, which is no secret; empty for other kinds. No two factors share one.
    pub credential: Box<[u8]>,
    /// The secret, sealed for this row.
    pub sealed: Sealed,
    /// Counts the changes of the row: a change is made to the one that was read, or not at all.
    pub version: i64,
}

/// How often codes of a principal were wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attempts {
    /// Since one was right.
    pub failures: u32,
    /// When the last one was, in seconds since 1970.
    pub last: i64,
    /// Before then none is looked at.
    pub until: i64,
}

impl Attempts {
    /// In how many seconds the next one is looked at, if not now. A clock that was set back makes nobody wait longer than the longest wait.
    pub fn wait(&self, now: i64) -> Option<u64> {
        let left = self.until.min(now.saturating_add(LONGEST_WAIT_S)).saturating_sub(now);
        u64::try_from(left).ok().filter(|left| *left > 0)
    }

    /// With one more, which counts as failed until it has succeeded.
    #[must_use]
    pub fn failed(self, now: i64) -> Self {
        let before = if self.last.saturating_add(FORGOTTEN_AFTER_S) <= now { 0 } else { self.failures };
        let failures = before.saturating_add(1);
        let wait = match failures.checked_sub(FREE) {
            None => 0,
            Some(doublings) => (FIRST_WAIT_S << doublings.min(16)).min(LONGEST_WAIT_S),
        };
        Self { failures, last: now, until: now.saturating_add(wait) }
    }

    /// Whether the next one has to wait because of this one.
    pub fn has_just_locked(&self) -> bool {
        self.failures >= FREE
    }
}

/// Why the store did not do something, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store of factors: {0}")]
pub struct FactorStoreError(pub String);

/// Where factors are kept. Each call is on the disk when it returns; it may block.
pub trait FactorStore: Send + Sync + fmt::Debug {
    /// The factors of a principal, the oldest first.
    ///
    /// # Errors
    /// They cannot be read.
    fn factors(&self, principal: &str) -> Result<Vec<StoredFactor>, FactorStoreError>;

    /// Adds one, unless the principal has `most` already or another factor has its credential. Says whether it did.
    ///
    /// # Errors
    /// It cannot be written.
    fn add(&self, principal: &str, factor: &StoredFactor, most: usize) -> Result<bool, FactorStoreError>;

    /// Puts a factor in the place of the one of its id, whose version is one less. Says whether it was.
    ///
    /// # Errors
    /// It cannot be written.
    fn replace(&self, principal: &str, factor: &StoredFactor) -> Result<bool, FactorStoreError>;

    /// Removes one. Says whether it was there.
    ///
    /// # Errors
    /// It cannot be written.
    fn remove(&self, principal: &str, id: FactorId) -> Result<bool, FactorStoreError>;

    /// Removes all factors of a principal, and what was counted. Says how many factors there were.
    ///
    /// # Errors
    /// It cannot be written.
    fn reset(&self, principal: &str) -> Result<usize, FactorStoreError>;

    /// Counts one more attempt as failed, unless it has to wait. Returns what was counted before where it has to, and after it where not.
    ///
    /// # Errors
    /// It cannot be written.
    fn begin_attempt(&self, principal: &str, now: i64) -> Result<Result<Attempts, Attempts>, FactorStoreError>;

    /// The attempt was right: it begins anew.
    ///
    /// # Errors
    /// It cannot be written.
    fn clear_attempts(&self, principal: &str) -> Result<(), FactorStoreError>;

    /// The number of each key that a secret is sealed with, and of how many factors.
    ///
    /// # Errors
    /// They cannot be read.
    fn sealed_by_key(&self) -> Result<Vec<(i64, usize)>, FactorStoreError>;

    /// Factors whose secret is sealed with this key, at most so many, each with its principal.
    ///
    /// # Errors
    /// They cannot be read.
    fn sealed_with(&self, key: i64, most: usize) -> Result<Vec<(String, StoredFactor)>, FactorStoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * 60;

    /// Attempts of so many days that are looked at, where somebody tries all the time.
    fn guesses(days: i64) -> u32 {
        let (mut attempts, mut begun, mut now) = (Attempts::default(), 0, 0);
        while now < days * DAY {
            match attempts.wait(now) {
                Some(wait) => now += i64::try_from(wait).unwrap(),
                None => {
                    attempts = attempts.failed(now);
                    begun += 1;
                }
            }
        }
        begun
    }

    /// The numbers that docs/mfa.md gives.
    #[test]
    fn so_many_guesses_are_possible() {
        assert_eq!(guesses(1), 17);
        assert_eq!(guesses(2) - guesses(1), 6);
        assert_eq!(guesses(365), 2_201);
    }

    #[test]
    fn waits_grow_and_end() {
        let mut attempts = Attempts::default();
        for _ in 0..4 {
            attempts = attempts.failed(1_000);
            assert_eq!((attempts.wait(1_000), attempts.has_just_locked()), (None, false));
        }
        for wait in [60, 120, 240, 480, 960, 1_920, 3_840, 7_680, 14_400, 14_400] {
            attempts = attempts.failed(1_000);
            assert_eq!(attempts.wait(1_000), Some(wait));
            assert_eq!(attempts.wait(1_000 + i64::try_from(wait).unwrap()), None);
            assert!(attempts.has_just_locked());
        }
        assert_eq!(attempts.wait(-100 * DAY), Some(14_400), "a clock that was set back");
        assert_eq!(attempts.failed(1_000 + DAY).failures, 1, "a day without a failure");
        assert_eq!(attempts.failed(1_000 + DAY - 1).failures, 15);
    }

    #[test]
    fn ids_and_kinds_are_read_back() {
        let id = FactorId::random().unwrap();
        assert_eq!(FactorId::parse(&id.to_string()), Some(id));
        for text in ["", "00", &"G".repeat(32), &"0".repeat(33)] {
            assert_eq!(FactorId::parse(text), None, "{text}");
        }
        for kind in FactorKind::ALL {
            assert_eq!(FactorKind::from_number(i64::from(kind.number())), Some(kind));
        }
        assert_eq!(FactorKind::from_number(0), None);
    }
}
