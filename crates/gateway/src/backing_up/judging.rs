//! The log of the store that a backup replaces, held to all that a start holds it to: what nothing but that store vouches for is checked once more, before it goes
//! on in the restored one.

use std::path::Path;

use portcullis_governance::{Governor, Hash, Head, HeadFile, Ledger as _};
use portcullis_store::Versions;

use super::{BackingUpError, open};

/// What is to be thought of that log.
pub(super) enum Judged {
    /// All of it is what it should be.
    Good(Box<Governor>),
    /// From behind this version on nothing else vouches for it, and a start would refuse it: why.
    Not(u64, String),
    /// It cannot be read.
    Unreadable,
}

/// Judges a copy of the store that is to be replaced. `vouching`: what else knows how far its log had come, and the end of the backup.
pub(super) fn judge(
    config: &Path,
    [store, copy]: [&Path; 2],
    vouching: impl IntoIterator<Item = Head>,
) -> Result<Judged, BackingUpError> {
    let Ok(mut held) = held_by(copy, vouching) else { return Ok(Judged::Unreadable) };
    if held.is_empty() {
        // Nobody had to approve the first one, and all others are held to what came before.
        held.extend(first_of(copy)?);
    }
    let Some(vouched) = held.into_iter().max_by_key(|head| head.n) else { return Ok(Judged::Unreadable) };
    HeadFile::beside(store).carry_to(&HeadFile::beside(copy))?;
    let judged = open(config, copy, Some(vouched)).and_then(|governor| {
        governor.verify_all()?;
        Ok(governor)
    });
    Ok(match judged {
        Ok(governor) => Judged::Good(Box::new(governor)),
        Err(BackingUpError::Governance(why)) => Judged::Not(vouched.n, why.to_string()),
        Err(_) => Judged::Unreadable,
    })
}

/// Those of these that are in the log of a store.
pub(super) fn held_by(store: &Path, heads: impl IntoIterator<Item = Head>) -> Result<Vec<Head>, BackingUpError> {
    let of = |trouble| BackingUpError::Copy { path: store.to_owned(), trouble };
    let versions = Versions::open(&portcullis_store::Settings { path: store.to_owned() })?;
    let mut held = Vec::new();
    for head in heads {
        let record = versions.record(head.n).map_err(portcullis_governance::GovernanceError::from)?;
        if record.is_some_and(|record| Hash::of(&record) == head.hash) {
            held.push(head);
        }
    }
    versions.close().map_err(of)?;
    Ok(held)
}

/// Where the log of a store begins; `None`: nowhere, or that is no version.
fn first_of(store: &Path) -> Result<Option<Head>, BackingUpError> {
    let versions = Versions::open(&portcullis_store::Settings { path: store.to_owned() })?;
    let record = versions.record(1).map_err(portcullis_governance::GovernanceError::from)?;
    let version = record.and_then(|record| portcullis_governance::Version::decode(&record).ok());
    Ok(version.map(|version| Head { n: 1, hash: version.hash(), required: version.rules().required }))
}
