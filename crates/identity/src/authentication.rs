//! What comes of asking who makes a request: an identity, or what to wait for to know it.

use std::sync::Arc;
use std::time::Duration;

use portcullis_policy::{Dependency, IdentityFact, Principal};

use crate::directory::GroupsAwaited;
use crate::introspection::TokenAwaited;
use crate::jwt::Unverified;
use crate::password::{PasswordAwaited, Unchecked, is_password, is_user_name};
use crate::refusal::{Challenge, Rejection};
use crate::remote::KeysAwaited;
use crate::secret::SecretText;

/// Who makes a request, as far as its credentials say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// No credential was given.
    Anonymous,
    /// The one credential holds.
    Verified(Arc<Principal>),
    /// A credential was given and is bad, or more than one was given.
    Rejected(Box<Rejection>),
    /// A credential was given and what would check it is missing, as the text says. Key sets that are read at start
    /// are never missing: without them there is no [`Authenticator`](crate::Authenticator). Those that are fetched can be.
    Unavailable(Dependency, String),
    /// A password was given and not looked at. Whoever asks refuses at once, and decides nothing.
    Unchecked(Unchecked),
}

/// Who makes a request, or what to wait for to know.
#[derive(Debug)]
pub enum Authentication {
    /// It is known.
    Known(Identity),
    /// What would tell is being fetched: wait for that, and ask again. It may bring nothing.
    Awaited {
        /// What to wait for.
        awaited: Awaited,
        /// What holds as long as nothing else is known.
        otherwise: Identity,
    },
    /// A name and a password were given: [`Authenticator::check_password`](crate::Authenticator::check_password) says whose they are, to who knows where the request comes from.
    Typed(Typed),
}

/// A name and a password that were not looked at yet.
#[derive(Debug)]
pub struct Typed {
    pub(crate) name: Box<str>,
    pub(crate) password: SecretText<'static>,
}

impl Typed {
    /// What was typed in a form; `None` where it can be nobody's.
    pub fn new(name: &str, password: &str) -> Option<Self> {
        let is_good = is_user_name(name) && is_password(password);
        is_good.then(|| Self { name: name.into(), password: SecretText::new(password.to_owned()) })
    }
}

/// What a request may wait for.
#[derive(Debug)]
pub enum Awaited {
    /// A provider's keys.
    Keys(KeysAwaited),
    /// What its provider says of a token.
    Token(TokenAwaited),
    /// What a directory says of the caller.
    Groups(GroupsAwaited),
    /// Whether a password is right.
    Password(PasswordAwaited),
}

impl Awaited {
    /// How long to wait at most.
    pub fn patience(&self) -> Duration {
        match self {
            Self::Keys(keys) => keys.patience(),
            Self::Token(token) => token.patience(),
            Self::Groups(groups) => groups.patience(),
            Self::Password(password) => password.patience(),
        }
    }

    /// Ends when it is there, or does not come. Whoever waits bounds it by [`patience`](Self::patience).
    pub async fn ended(&mut self) {
        match self {
            Self::Keys(keys) => keys.ended().await,
            Self::Token(token) => token.ended().await,
            Self::Groups(groups) => groups.ended().await,
            Self::Password(password) => password.ended().await,
        }
    }
}

impl Authentication {
    /// What holds without waiting for anything.
    pub fn settled(self) -> Identity {
        match self {
            Self::Known(identity) | Self::Awaited { otherwise: identity, .. } => identity,
            Self::Typed(_) => Identity::Unchecked(Unchecked::Full),
        }
    }
}

impl Identity {
    /// The fact that the policy decides on.
    pub fn fact(&self) -> IdentityFact<'_> {
        match self {
            Self::Anonymous => IdentityFact::Anonymous,
            Self::Verified(principal) => IdentityFact::Verified(principal),
            Self::Rejected(rejection) => IdentityFact::Rejected(&rejection.problem),
            Self::Unavailable(dependency, _) => IdentityFact::Unavailable(*dependency),
            // INVARIANT: nobody asks. Were it asked, nothing is known of the caller, and so nothing can be decided.
            Self::Unchecked(_) => IdentityFact::Unavailable(Dependency::Keys),
        }
    }

    /// What a caller whose token is bound to a key is to be told.
    pub fn challenge(&self) -> Option<&Challenge> {
        match self {
            Self::Rejected(rejection) => rejection.challenge.as_ref(),
            Self::Anonymous | Self::Verified(_) | Self::Unavailable(..) | Self::Unchecked(_) => None,
        }
    }

    /// The **unverified** name that a refused credential claims, for counting how many an address tries.
    pub fn attempted_id(&self) -> Option<&str> {
        match self {
            Self::Rejected(rejection) => rejection.attempted.as_deref(),
            Self::Unchecked(Unchecked::Locked { attempted, .. }) => Some(attempted),
            Self::Anonymous | Self::Verified(_) | Self::Unavailable(..) | Self::Unchecked(Unchecked::Full) => None,
        }
    }
}

impl From<Identity> for Authentication {
    fn from(identity: Identity) -> Self {
        Self::Known(identity)
    }
}

impl From<Unverified> for Authentication {
    fn from(unverified: Unverified) -> Self {
        match unverified {
            Unverified::Rejected(rejection) => Self::Known(Identity::Rejected(Box::new(rejection))),
            Unverified::AwaitedToken(token, detail) => {
                let otherwise = Identity::Unavailable(Dependency::Store, detail);
                Self::Awaited { awaited: Awaited::Token(token), otherwise }
            }
            Unverified::NoAnswer(detail) => Self::Known(Identity::Unavailable(Dependency::Store, detail)),
            Unverified::NoMemory => {
                let detail = "as many proofs are remembered as may be (`[identity.dpop] remembered`)".to_owned();
                Self::Known(Identity::Unavailable(Dependency::Store, detail))
            }
            Unverified::NoKeys(detail) => Self::Known(Identity::Unavailable(Dependency::Keys, detail)),
            Unverified::Awaited(keys, detail) => {
                let otherwise = Identity::Unavailable(Dependency::Keys, detail);
                Self::Awaited { awaited: Awaited::Keys(keys), otherwise }
            }
        }
    }
}
