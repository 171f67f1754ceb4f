//! Why a factor was not accepted, added or removed.

use super::MOST_NAME;
use super::factor::FactorStoreError;
use super::seal::OpenError;
use super::webauthn::PasskeyError;

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

pub(super) type Outcome<T> = Result<T, FactorRefusal>;
