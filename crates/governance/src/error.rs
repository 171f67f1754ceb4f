//! Why something is not done.

use std::path::PathBuf;

use crate::anchor::Anchor;
use crate::change::Class;
use crate::hash::Hash;
use crate::threshold::Shortfall;

/// Why the log cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Another process appended a version meanwhile.
    #[error("another version became live meanwhile")]
    Conflict,
    /// Another process wrote meanwhile how far the last version has come.
    #[error("another process wrote meanwhile how far the version has come")]
    Overtaken,
    /// A bound is reached.
    #[error("{0}")]
    Full(&'static str),
    /// The store cannot do it.
    #[error("the store: {0}")]
    Failed(String),
}

/// Why something is not done. Whatever was in force stays so.
#[derive(Debug, thiserror::Error)]
pub enum GovernanceError {
    /// The log.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// The file that says how far the log has come.
    #[error("the head file {}: {why}", path.display())]
    Head {
        /// The file.
        path: PathBuf,
        /// Why it cannot be used.
        why: String,
    },
    /// The file beside the store that says since when a recovery was told holds something else. It is as if there were none.
    #[error("{} is not what this program writes", path.display())]
    HeardDamaged {
        /// The file.
        path: PathBuf,
    },
    /// The file is not there, and the store says that governance is required.
    #[error(
        "the head file is not there, and the store holds {found} versions of which the last demands approvals: put the file back, or restore a backup"
    )]
    HeadMissing {
        /// The last version.
        found: u64,
    },
    /// The store is not the one that the head file was written for.
    #[error(
        "the store is older than it was, or another one: the head file knows version {head}, and the store has {found}; put the newest store back, or restore a backup"
    )]
    Downgraded {
        /// What the head file says.
        head: u64,
        /// What the store has.
        found: String,
    },
    /// The gateway was told to run governed, and the store is not.
    #[error("the store is not governed, and the gateway was told to start only so: see `portcullis governance init`")]
    NotGoverned,
    /// The store is another gateway's.
    #[error("the store belongs to the instance {found}, and the gateway was told to start only as {wanted}")]
    WrongInstance {
        /// What was wanted.
        wanted: Hash,
        /// What is there.
        found: Hash,
    },
    /// The store is older than what was written down elsewhere.
    #[error(
        "the store does not hold version {}, which the gateway was told to have at least ({wanted}): it is older than it was, or another one, and has {found} versions",
        wanted.n
    )]
    Behind {
        /// What it was told.
        wanted: Anchor,
        /// The last version there.
        found: u64,
    },
    /// A key counts that was revoked.
    #[error(
        "the key {key} of {person} was revoked, and stays so: the store, or what was proposed, says that it counts; put the newest store back, or restore a backup"
    )]
    Revived {
        /// Whose it is.
        person: String,
        /// Its id.
        key: String,
    },
    /// A version is not what it should be.
    #[error("version {n} is not what was approved: {why}")]
    Broken {
        /// Which.
        n: u64,
        /// What is wrong.
        why: String,
    },
    /// There is no such thing.
    #[error("there is no {0}")]
    Unknown(String),
    /// A change is closed.
    #[error("the change {id} is {state}: propose it again")]
    Closed {
        /// Which.
        id: String,
        /// How it ended.
        state: &'static str,
    },
    /// A change was made for another version.
    #[error(
        "the change {id} was proposed when version {base} was live, and {head} is now: propose it again, so that it is approved against what it changes"
    )]
    StaleBase {
        /// Which.
        id: String,
        /// Its base.
        base: u64,
        /// What is live.
        head: u64,
    },
    /// Another version is on its way.
    #[error(
        "version {0} is being rolled out: wait until it is live for everybody or was taken back, or have this one live at once with --now and a reason"
    )]
    RollingOut(u64),
    /// A version that has come through its steps is written to the files.
    #[error(
        "version {0} has come through its steps, and its files are being written: it is live for everybody, and `portcullis policy rollback` takes it back"
    )]
    Ending(u64),
    /// The content cannot be put in force.
    #[error("{0}")]
    Invalid(String),
    /// The engine says otherwise than when it was proposed.
    #[error("the change was proposed as one that {proposed}, and is one that {found} now: propose it again")]
    ClassChanged {
        /// What was signed.
        proposed: &'static str,
        /// What is found now.
        found: &'static str,
    },
    /// Nothing would change.
    #[error("nothing that is governed would change")]
    NothingChanges,
    /// Too few may approve.
    #[error("{have} persons could approve, and the rules demand {need}: nothing could be changed any more")]
    TooFewApprovers {
        /// With a key that is not revoked.
        have: usize,
        /// By the rules.
        need: usize,
    },
    /// A signature counts for nothing.
    #[error("that approval counts for nothing: {0}")]
    BadApproval(&'static str),
    /// Not enough approve.
    #[error("not enough approve: {0}")]
    Shortfall(#[from] Shortfall),
    /// It is not done while approvals are required.
    #[error("approvals are required: {0}")]
    Required(&'static str),
    /// It began already.
    #[error("governance has begun already, with version {0}: change the approvers by `portcullis approver`")]
    Begun(u64),
    /// A key.
    #[error("{0}")]
    Key(#[from] crate::KeyError),
}

impl GovernanceError {
    /// Whether the disk is not what it was, rather than that somebody asks for what may not be.
    pub fn is_tampering(&self) -> bool {
        matches!(
            self,
            Self::HeadMissing { .. }
                | Self::Downgraded { .. }
                | Self::NotGoverned
                | Self::WrongInstance { .. }
                | Self::Behind { .. }
                | Self::Revived { .. }
                | Self::Broken { .. }
        )
    }

    pub(crate) fn of_class(proposed: Class, found: Class) -> Self {
        Self::ClassChanged { proposed: proposed.as_str(), found: found.as_str() }
    }
}
