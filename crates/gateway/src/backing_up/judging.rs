//! A log of versions, held to all that a start holds it to, by what is known beside the store: before it is backed up, before a backup of it is believed, and
//! before what stands in the store that is replaced goes on in the restored one. What is not believed is dropped from the copy that is judged, and the rest stays.

use std::collections::BTreeSet;
use std::path::Path;

use portcullis_governance::{
    ChangeId, GovernanceError, Governor, Hash, Head, HeadFile, HeadPlace, Heard, Ledger as _, MAX_VERSIONS,
    RevokedKeys, Rollout, Steps, Version,
};
use portcullis_store::Versions;

use super::BackingUpError;
use crate::governing::{Source, verify_classes};

/// Comparisons with the engine are begun for so long.
const BUDGET: std::time::Duration = std::time::Duration::from_secs(20);
/// So often it is tried to keep more than what is vouched for.
const ROUNDS: u32 = 4;

/// What is known beside a store of its log, as of one moment. It is as the files say it, and nothing is written to these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Beside {
    head: Option<Head>,
    revoked: RevokedKeys,
    steps: Option<Steps>,
    heard: Option<Heard>,
}

impl Beside {
    /// As a start reads it.
    ///
    /// # Errors
    /// What keeps a gateway from starting.
    pub(super) fn of(store: &Path) -> Result<Self, GovernanceError> {
        let files = HeadFile::beside(store);
        let heard = match files.heard() {
            // That is as if there were none.
            Err(GovernanceError::HeardDamaged { .. }) => None,
            heard => heard?,
        };
        Ok(Self { head: files.read()?, revoked: files.revoked()?, steps: files.steps()?, heard })
    }

    /// To judge a log by that is to be restored: what is damaged vouches for nothing, and how far the log had come others say.
    pub(super) fn of_steps(store: &Path) -> Self {
        let files = HeadFile::beside(store);
        Self {
            steps: files.steps().unwrap_or(Some(Steps::NONE)),
            heard: files.heard().unwrap_or_default(),
            ..Self::default()
        }
    }

    /// The keys that were ever revoked.
    pub(super) fn into_revoked(self) -> RevokedKeys {
        self.revoked
    }

    fn with(&self, head: Head) -> Self {
        Self { head: Some(head), ..self.clone() }
    }
}

impl HeadPlace for Beside {
    fn read(&self) -> Result<Option<Head>, GovernanceError> {
        Ok(self.head)
    }

    fn write(&mut self, head: Head) -> Result<(), GovernanceError> {
        self.head = Some(head);
        Ok(())
    }

    fn revoked(&self) -> Result<RevokedKeys, GovernanceError> {
        Ok(self.revoked.clone())
    }

    fn revoke(&mut self, keys: &RevokedKeys) -> Result<(), GovernanceError> {
        self.revoked = keys.clone();
        Ok(())
    }

    fn steps(&self) -> Result<Option<Steps>, GovernanceError> {
        Ok(self.steps)
    }

    fn steps_written(&self) -> Option<jiff::Timestamp> {
        None
    }

    fn write_steps(&mut self, steps: Steps) -> Result<(), GovernanceError> {
        self.steps = Some(steps);
        Ok(())
    }

    fn heard(&self) -> Result<Option<Heard>, GovernanceError> {
        Ok(self.heard)
    }

    fn hear(&mut self, heard: Heard) -> Result<(), GovernanceError> {
        self.heard = Some(heard);
        Ok(())
    }
}

/// Reads the log in a copy of a store as a start does, by what was beside the store, and all that its versions hold.
///
/// # Errors
/// What a start says of it.
pub(super) fn look(config: &Path, copy: &Path, beside: Beside) -> Result<Governor, BackingUpError> {
    let versions = Versions::look(&portcullis_store::Settings { path: copy.to_owned() })?;
    let source = Source { config: config.to_owned() };
    let (governor, _) = Governor::look(Box::new(versions), Box::new(beside), Box::new(source))?;
    governor.verify_all()?;
    Ok(governor)
}

/// Judges a log by itself, since nothing vouches for any of it: its chain, the signatures, and by the engine what its last versions did, as far as that can be
/// told. Says what cannot; nothing where all can.
///
/// # Errors
/// What is not what it says.
pub(super) fn by_itself(config: &Path, copy: &Path) -> Result<String, BackingUpError> {
    let Some(last) = end_of(copy)? else { return Ok(String::new()) };
    let governor = look(config, copy, Beside::default().with(last))?;
    Ok(verify_classes(&governor, last.n, BUDGET)?)
}

/// What is to be thought of a log.
pub(super) enum Judged {
    /// All of it is what a start takes.
    Good,
    /// Nothing vouches for it, and a start could not tell that it is what it should be: why. What can be told of it is well.
    Untold(String),
    /// What is behind a version is not believed, and was dropped.
    Cut(Cut),
    /// Not even what is vouched for is what it should be, or nothing would be left: why.
    Not(String),
}

/// Versions that are not believed.
pub(super) struct Cut {
    /// Where the log ended.
    pub(super) last: Head,
    /// Where it ends now.
    pub(super) kept: u64,
    /// The last version for which something else vouches.
    pub(super) vouched: Option<u64>,
    pub(super) why: String,
    /// By their numbers; of each what it is, where that can be read.
    pub(super) dropped: Vec<(u64, Option<Version>)>,
}

/// Judges the log in a copy of a store, and drops from the copy what is not believed. `beside`: what is known of its steps and of a recovery. `vouching`: what
/// knows how far it had come.
///
/// # Errors
/// It cannot be read.
pub(super) fn judge(
    config: &Path,
    copy: &Path,
    beside: &Beside,
    vouching: impl IntoIterator<Item = Head>,
) -> Result<Judged, BackingUpError> {
    let vouched = held_by(copy, vouching)?.into_iter().max_by_key(|head| head.n);
    let Some(last) = end_of(copy)? else { return Ok(Judged::Good) };
    // Nobody had to approve the first one, and all others are held to what came before.
    let first = || Ok::<_, BackingUpError>(version_of(copy, 1)?.map(|first| head_at(&first)));
    let Some(from) = vouched.map_or_else(first, |head| Ok(Some(head)))? else {
        return Ok(Judged::Not("it begins with no version".to_owned()));
    };
    let Err(refused) = said(look(config, copy, beside.with(from)).map(drop))? else { return Ok(Judged::Good) };
    let once_more = || match vouched {
        Some(vouched) => said(look(config, copy, beside.with(vouched)).map(drop)),
        None => said(by_itself(config, copy).map(drop)),
    };
    let mut wrong = match vouched {
        Some(_) => refused,
        None => match once_more()? {
            Ok(()) => return Ok(Judged::Untold(refused.to_string())),
            Err(wrong) => wrong,
        },
    };
    let why = wrong.to_string();
    let floor = vouched.map_or(0, |head| head.n);
    let dropped = versions_after(copy, floor)?;
    for round in 1..=ROUNDS {
        let end = match &wrong {
            GovernanceError::Broken { n, .. } if round < ROUNDS => n.saturating_sub(1).max(floor),
            _ => floor,
        };
        if end == 0 {
            break;
        }
        drop_after(copy, end, &dropped)?;
        match once_more()? {
            Ok(()) => {
                let dropped = dropped.into_iter().filter(|(n, _)| *n > end).collect();
                let vouched = vouched.map(|head| head.n);
                return Ok(Judged::Cut(Cut { last, kept: end, vouched, why, dropped }));
            }
            Err(_) if end == floor => break,
            Err(next) => wrong = next,
        }
    }
    Ok(Judged::Not(why))
}

/// What is wrong with a log, and what keeps it from being read.
fn said<T>(looked: Result<T, BackingUpError>) -> Result<Result<T, GovernanceError>, BackingUpError> {
    match looked {
        Ok(looked) => Ok(Ok(looked)),
        Err(BackingUpError::Governance(wrong)) => Ok(Err(wrong)),
        Err(error) => Err(error),
    }
}

/// What vouches for a version.
fn head_at(version: &Version) -> Head {
    Head { n: version.n, hash: version.hash(), required: version.rules().required }
}

/// Where the log in a store ends, whatever stands there; `None`: nothing does.
///
/// # Errors
/// It cannot be read.
pub(super) fn end_of(store: &Path) -> Result<Option<Head>, BackingUpError> {
    let versions = Versions::look(&portcullis_store::Settings { path: store.to_owned() })?;
    let last = versions.last().map_err(GovernanceError::from)?;
    Ok(last.map(|(n, record)| {
        // What cannot be read may have demanded it.
        let required = Version::decode(&record).map_or(true, |version| version.rules().required);
        Head { n, hash: Hash::of(&record), required }
    }))
}

/// A version in a store; `None`: it is not there, or cannot be read.
///
/// # Errors
/// The store cannot be read.
pub(super) fn version_of(store: &Path, n: u64) -> Result<Option<Version>, BackingUpError> {
    let versions = Versions::look(&portcullis_store::Settings { path: store.to_owned() })?;
    let record = versions.record(n).map_err(GovernanceError::from)?;
    Ok(record.and_then(|record| Version::decode(&record).ok()))
}

/// Whether two logs have gone different ways from the first version on.
///
/// # Errors
/// One of them cannot be read.
pub(super) fn begin_apart(one: &Path, other: &Path) -> Result<bool, BackingUpError> {
    Ok(version_of(one, 1)?.zip(version_of(other, 1)?).is_some_and(|(one, other)| one.hash() != other.hash()))
}

/// What stands behind a version.
fn versions_after(store: &Path, n: u64) -> Result<Vec<(u64, Option<Version>)>, BackingUpError> {
    let versions = Versions::look(&portcullis_store::Settings { path: store.to_owned() })?;
    let last = versions.last().map_err(GovernanceError::from)?.map_or(0, |(n, _)| n);
    let mut found = Vec::new();
    for n in n.saturating_add(1)..=last.min(MAX_VERSIONS) {
        let record = versions.record(n).map_err(GovernanceError::from)?;
        found.extend(record.map(|record| (n, Version::decode(&record).ok())));
    }
    Ok(found)
}

fn drop_after(store: &Path, end: u64, versions: &[(u64, Option<Version>)]) -> Result<(), BackingUpError> {
    let of = |trouble| BackingUpError::Copy { path: store.to_owned(), trouble };
    let behind = versions.iter().filter(|(n, _)| *n > end);
    let mut changes: BTreeSet<ChangeId> =
        behind.filter_map(|(_, version)| version.as_ref()).map(|version| version.change.id).collect();
    let mut versions = Versions::open(&portcullis_store::Settings { path: store.to_owned() })?;
    // Whoever forged a version may have it name the change of one that stays.
    for n in 1..=end.min(MAX_VERSIONS) {
        let record = versions.record(n).map_err(GovernanceError::from)?;
        if let Some(Ok(stays)) = record.map(|record| Version::decode(&record)) {
            changes.remove(&stays.change.id);
        }
    }
    let rollout = versions.rollout().map_err(GovernanceError::from)?;
    let is_of_these = |record: &Vec<u8>| Rollout::whose(record).is_none_or(|(n, _)| n <= end);
    let changes: Vec<ChangeId> = changes.into_iter().collect();
    versions.drop_after(end, &changes, rollout.filter(is_of_these).as_deref()).map_err(of)?;
    versions.close().map_err(of)
}

/// Those of these that are in the log of a store, which somebody else may have open.
pub(super) fn held_by(store: &Path, heads: impl IntoIterator<Item = Head>) -> Result<Vec<Head>, BackingUpError> {
    let versions = Versions::open(&portcullis_store::Settings { path: store.to_owned() })?;
    let mut held = Vec::new();
    for head in heads {
        let record = versions.record(head.n).map_err(GovernanceError::from)?;
        if record.is_some_and(|record| Hash::of(&record) == head.hash) {
            held.push(head);
        }
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_judged_by_what_is_beside_the_store_and_by_nothing_that_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("portcullis.db");
        assert_eq!(Beside::of_steps(&store), Beside::default());
        let mut file = HeadFile::beside(&store);
        let heard = Heard { n: 7, hash: Hash([9; 32]), since: 5, told: 8 };
        let steps = Steps { n: 7, change: ChangeId([9; 16]), stage: Some(3) };
        file.hear(heard).unwrap();
        file.write_steps(steps).unwrap();
        let known = Beside { steps: Some(steps), heard: Some(heard), ..Beside::default() };
        assert_eq!((Beside::of_steps(&store), Beside::of(&store).unwrap()), (known.clone(), known));
        for suffix in [".recovery", ".steps"] {
            std::fs::write(folder.path().join(format!("portcullis.db{suffix}")), "torn").unwrap();
        }
        assert_eq!(Beside::of_steps(&store), Beside { steps: Some(Steps::NONE), ..Beside::default() });
        // No gateway starts with such a file.
        assert!(Beside::of(&store).is_err());
    }
}
