//! Keeps every policy that was ever live, and lets another one become live only as the rules say.
//!
//! The story in one page. What decides on requests is a [`Content`]: the policy, and of the gateway's files what says who is who and what is
//! protected. A [`Version`] is a content that was live, with who wanted it, why, what it does ([`Class`], computed by the engine, never
//! declared) and who approved it. Versions are a log that only grows, each bound to the one before it by its hash; a rollback is a new
//! version with old content. A [`Change`] is a content that somebody proposes. An [`Approval`] is a person's signature (Ed25519) under a
//! change, this one and no other. [`Governor`] is the only one who appends to the log, and it does so only for a change with enough valid
//! approvals of distinct persons other than the author.
//!
//! Two things hold what is on the disk to what was: the chain of hashes in the store, and a file beside it that says how far the log has come
//! ([`HeadFile`]), so that an older copy of the store is not taken for the newest. Which keys were ever revoked is in a file there, too
//! ([`RevokedKeys`]): what was revoked stays so, whatever store is put in place.
//!
//! Power that is given for a time is a log of its own ([`power`]).
//!
//! What it deliberately does not: read TOML or compile a policy. [`PolicySource`] is the trait for that, which the program implements; and
//! [`Ledger`] is the one by which the log is stored. Time is passed in; what is found in the
//! store is held to the clock of [`HeadPlace::now`].

mod anchor;
mod approval;
mod approver;
pub mod backup;
mod beside;
mod change;
mod content;
mod encrypted;
mod error;
mod governor;
mod hash;
mod head;
mod heard;
mod key;
mod ledger;
pub mod power;
mod recovery;
mod request;
mod revoked;
mod rollout;
mod seal;
mod steps;
mod threshold;
mod version;
mod wire;

#[cfg(test)]
mod tests;

pub use anchor::Anchor;
pub use approval::{Approval, Decision};
pub use approver::{Approver, ApproverSet, EnrolledKey, MAX_KEYS, MAX_PERSONS, name_problem};
pub use change::{Change, ChangeId, Class, Kind, Rules};
pub use content::{Content, MAX_CONTENT};
pub use error::{GovernanceError, LedgerError};
pub use governor::{Assessed, GoesOn, Governor, Happened, MAX_IMPACT, PolicySource, Proposal, Standing, What, Wish};
pub use hash::Hash;
pub use head::{Head, HeadFile, HeadPlace};
pub use heard::Heard;
pub use key::{KeyError, PublicKey, SigningKey};
pub use ledger::{
    ChangeState, Ledger, MAX_OPEN, MAX_OPEN_OF_ONE, MAX_VERSIONS, NewVersion, StoredChange, URGENT_LAST_OF_ONE,
    URGENT_OF_ONE, URGENT_OPEN,
};
pub use recovery::{LONGEST_DELAY, MAX_RECOVERY_KEYS, Recovering, Recovery, RecoveryKey, SHORTEST_DELAY};
pub use request::{Base, Request, armored_approval, parse_approval};
pub use revoked::{Revived, RevokedKeys};
pub use rollout::{CALLERS_KEPT, MAX_STEPS, Rollout, Stage, Stages, WHOLE_PPM};
pub use steps::Steps;
pub use threshold::{Count, Need, Shortfall};
pub use version::{Exceptions, MadeLive, Version};
