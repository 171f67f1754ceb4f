//! How the log and the proposals are stored: by whoever has a place for them.

use crate::change::ChangeId;
use crate::error::LedgerError;
use crate::hash::Hash;
use crate::key::PublicKey;

/// Versions that a log can hold.
pub const MAX_VERSIONS: u64 = 100_000;
/// Proposals that can wait at once.
pub const MAX_OPEN: usize = 256;
/// So many of them of one person.
pub const MAX_OPEN_OF_ONE: usize = 64;
/// The last places are for what cannot wait: what tightens, other keys, a recovery, and a way back. Of one person that may be [`URGENT_OF_ONE`] more.
pub const URGENT_OPEN: usize = 32;
/// As said.
pub const URGENT_OF_ONE: usize = 16;
/// Whoever has so many waiting that cannot wait gets none of the last places: a few who propose one rollback after the other would have all of them else.
pub const URGENT_LAST_OF_ONE: usize = 4;

/// How a proposal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeState {
    /// It waits.
    Open,
    /// It became a version.
    Activated,
    /// Somebody said no.
    Rejected,
    /// Its time was over.
    Expired,
    /// Another version became live than the one that it was to follow on.
    Overtaken,
}

impl ChangeState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Open, Self::Activated, Self::Rejected, Self::Expired, Self::Overtaken];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Activated => "activated",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Overtaken => "overtaken",
        }
    }
}

/// A proposal as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChange {
    /// `Change::encode`
    pub record: Vec<u8>,
    /// How it stands.
    pub state: ChangeState,
    /// `Approval::encode`, each key once.
    pub approvals: Vec<Vec<u8>>,
}

/// A new link of the log.
#[derive(Debug, Clone, Copy)]
pub struct NewVersion<'v> {
    /// Its number.
    pub n: u64,
    /// Its hash.
    pub hash: Hash,
    /// `Version::encode`
    pub record: &'v [u8],
    /// The blobs that it refers to: content, approvers, and the report on its impact, or none.
    pub refers: [Hash; 3],
    /// The proposal that it was.
    pub done: Option<ChangeId>,
    /// What is kept from then on in the place of [`Ledger::rollout`]; `None`: nothing, since what was kept of the one before is of no version any more.
    pub rollout: Option<&'v [u8]>,
}

/// Where the log and the proposals are. Every method is one transaction, which is on the disk when it returns.
pub trait Ledger {
    /// The number and the record of the last version; `None`: there is none.
    ///
    /// # Errors
    /// The store cannot be read.
    fn last(&self) -> Result<Option<(u64, Vec<u8>)>, LedgerError>;

    /// The record of a version.
    ///
    /// # Errors
    /// The store cannot be read.
    fn record(&self, n: u64) -> Result<Option<Vec<u8>>, LedgerError>;

    /// Bytes by their hash.
    ///
    /// # Errors
    /// The store cannot be read.
    fn blob(&self, hash: Hash) -> Result<Option<Vec<u8>>, LedgerError>;

    /// Adds a version after the one of the number before, ends its proposal, and keeps how it comes into force: all of it, or nothing.
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] where the last one is another by now; otherwise that it cannot be written.
    fn append(&mut self, version: NewVersion<'_>, blobs: &[(Hash, &[u8])]) -> Result<(), LedgerError>;

    /// Adds a proposal.
    ///
    /// # Errors
    /// That it cannot be written, or that there is no room.
    fn propose(
        &mut self,
        id: ChangeId,
        record: &[u8],
        refers: [Hash; 3],
        blobs: &[(Hash, &[u8])],
    ) -> Result<(), LedgerError>;

    /// The proposals, the newest first; of those that ended the last ones.
    ///
    /// # Errors
    /// The store cannot be read.
    fn changes(&self) -> Result<Vec<(ChangeId, StoredChange)>, LedgerError>;

    /// Adds what somebody signed under a proposal, in place of what the same key signed before.
    ///
    /// # Errors
    /// That it cannot be written.
    fn add_approval(&mut self, id: ChangeId, key: PublicKey, record: &[u8]) -> Result<(), LedgerError>;

    /// Ends a proposal.
    ///
    /// # Errors
    /// That it cannot be written.
    fn close(&mut self, id: ChangeId, state: ChangeState) -> Result<(), LedgerError>;

    /// What was last kept of a version that is rolled out.
    ///
    /// # Errors
    /// The store cannot be read.
    fn rollout(&self) -> Result<Option<Vec<u8>>, LedgerError>;

    /// Keeps that in the place of what is kept, if that still is what the caller knows. `None`: nothing.
    ///
    /// # Errors
    /// [`LedgerError::Overtaken`] where something else is kept by now; otherwise that it cannot be written.
    fn set_rollout(&mut self, known: Option<&[u8]>, record: Option<&[u8]>) -> Result<(), LedgerError>;
}
