//! Backups: made while the gateway runs, verified to the last signature, and put in the place of a store that is lost.
//!
//! A backup never takes the log of versions back. Where the store that it replaces can be read and knows more versions, these go into the
//! restored store: what was revoked stays revoked, and `policy rollback` is how an earlier policy comes back. Sessions and second factors are those of now,
//! too. Only where that store is lost a backup takes its place as it is, without sessions, and where approvals are required only with approvals, by keys
//! that were not revoked since. So it is where neither a store nor its head file is there: then nothing says that the backup is the newest.

mod accepting;
mod asked;
mod dropping;
mod files;
mod judging;
mod lists;
mod making;
mod restoring;
mod resuming;
mod returning;
mod settling;
mod telling;
#[cfg(test)]
mod tests;
mod unknown;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use portcullis_events::EventKind;
use portcullis_governance::backup::{BackupError, BackupKey, Manifest, Settings, unpack};
use portcullis_governance::{
    GovernanceError, Governor, Hash, Head, HeadFile, HeadPlace as _, Ledger as _, RevokedKeys,
};
use portcullis_store::{LockError, StoreError, Trouble, Versions};
use thiserror::Error;

pub(crate) use asked::Backups;
pub(crate) use files::lay_files;
pub(crate) use making::{make, make_again};
pub(crate) use restoring::{Restored, Restoring, restore};
pub(crate) use telling::tell_restored;

use crate::governing::{LayingError, Source};
use crate::running::Running;

/// Why there is no backup, or none is restored.
#[derive(Debug, Error)]
pub(crate) enum BackingUpError {
    #[error("{0}")]
    Backup(#[from] BackupError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{}: {trouble}", path.display())]
    Copy { path: PathBuf, trouble: Trouble },
    #[error("{0}")]
    Governance(#[from] GovernanceError),
    #[error("{0}")]
    Lock(#[from] LockError),
    #[error("the store {} is in use: a gateway runs on it, or another command changes it; stop that, and restore then", .0.display())]
    InUse(PathBuf),
    #[error("{}: a file is there already: name another one, or, where it is an earlier backup, --force puts this one in its place", .0.display())]
    There(PathBuf),
    #[error("{0}")]
    Laying(#[from] LayingError),
    #[error(
        "the store {} is not backed up, since no gateway would start on it: {why}; `portcullis backup restore FILE` of an earlier backup (`portcullis backup list`) goes on with what is believed of its log, and says what is dropped; whoever wants to keep what is there as it is copies {} and the files beside it whose names begin with that",
        store.display(), store.display()
    )]
    NotBelieved { store: PathBuf, why: String },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{0}")]
    Refused(String),
}

impl BackingUpError {
    fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// Names in a backup.
const STORE: &str = "store.db";
const HEAD: &str = "head";
const REVOKED: &str = "revoked";
const FEEDS: &str = "feeds";
/// What the gateway's own backups are called.
const PREFIX: &str = "portcullis-";
/// What those are called that an operator asked for.
const ASKED: &str = "asked-";
const SUFFIX: &str = ".backup";

/// Reads the key of backups.
pub(crate) fn read_key(file: &Path) -> Result<BackupKey, BackingUpError> {
    let text = fs::read_to_string(file).map_err(BackingUpError::io(file))?;
    let wrong = || BackingUpError::Refused(format!("{}: it is no key of `portcullis backup keygen`", file.display()));
    BackupKey::from_text(&text).ok_or_else(wrong)
}

/// Where the backup of this moment goes.
pub(crate) fn place(folder: &Path, now: Timestamp) -> PathBuf {
    folder.join(format!("{PREFIX}{}{SUFFIX}", now.strftime("%Y%m%dT%H%M%SZ")))
}

/// The folder of a file.
pub(crate) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn scratch(parent: &Path) -> Result<tempfile::TempDir, BackingUpError> {
    tempfile::Builder::new().prefix(".portcullis-").tempdir_in(parent).map_err(BackingUpError::io(parent))
}

/// How far the log in a store has come.
fn head_of(store: &Path) -> Result<Head, BackingUpError> {
    let versions = Versions::open(&portcullis_store::Settings { path: store.to_owned() })?;
    let last = versions.last().map_err(GovernanceError::from)?;
    let Some((n, record)) = last else { return Ok(Head { n: 0, hash: Hash::NONE, required: false }) };
    let broken = |_| GovernanceError::Broken { n, why: "it cannot be read".to_owned() };
    let version = portcullis_governance::Version::decode(&record).map_err(broken)?;
    versions.close().map_err(|trouble| BackingUpError::Copy { path: store.to_owned(), trouble })?;
    Ok(Head { n, hash: version.hash(), required: version.rules().required })
}

/// Opens the log of a store that nobody else uses. `head`: what the head file is to say before.
fn open(config: &Path, store: &Path, head: Option<Head>) -> Result<Governor, BackingUpError> {
    let mut place = HeadFile::beside(store);
    let versions = Versions::open(&portcullis_store::Settings { path: store.to_owned() })?;
    let head = match head {
        Some(head) => Some(head),
        None => Some(head_of_versions(&versions)?),
    };
    if let Some(head) = head.filter(|head| head.n > 0) {
        place.write(head)?;
    }
    let source = Source { config: config.to_owned() };
    Ok(Governor::open(Box::new(versions), Box::new(place), Box::new(source), None)?.0)
}

fn head_of_versions(versions: &Versions) -> Result<Head, BackingUpError> {
    let last = versions.last().map_err(GovernanceError::from)?;
    let Some((n, record)) = last else { return Ok(Head { n: 0, hash: Hash::NONE, required: false }) };
    let broken = |_| GovernanceError::Broken { n, why: "it cannot be read".to_owned() };
    let version = portcullis_governance::Version::decode(&record).map_err(broken)?;
    Ok(Head { n, hash: version.hash(), required: version.rules().required })
}

/// A backup that was unpacked and held to everything that it can be held to.
struct Checked {
    folder: tempfile::TempDir,
    manifest: Manifest,
    head: Head,
    /// Keys of approvers that were revoked when it was made.
    revoked: RevokedKeys,
}

impl Checked {
    fn store(&self) -> PathBuf {
        self.folder.path().join(STORE)
    }
}

fn check(config: &Path, archive: &Path, key: Option<&BackupKey>, parent: &Path) -> Result<Checked, BackingUpError> {
    let folder = scratch(parent)?;
    let manifest = unpack(archive, key, folder.path())?;
    let refused = |what: &str| BackingUpError::Refused(format!("{}: {what}", archive.display()));
    // Nothing beside the store that is opened with it: not a log to be worked in, nor a head file.
    let is_known = |name: &str| {
        matches!(name, STORE | HEAD | REVOKED) || name.strip_prefix("feeds/").is_some_and(|rest| !rest.contains('/'))
    };
    if !manifest.files.iter().all(|file| is_known(&file.name)) {
        return Err(refused("it holds files that are no part of a backup"));
    }
    let store = folder.path().join(STORE);
    let head_file = folder.path().join(HEAD);
    let text = fs::read_to_string(&head_file).map_err(BackingUpError::io(&head_file))?;
    let head = Head::from_text(&text).ok_or_else(|| refused("its head cannot be read"))?;
    let revoked = match fs::read_to_string(folder.path().join(REVOKED)) {
        Ok(text) => RevokedKeys::from_text(&text).ok_or_else(|| refused("its list of revoked keys cannot be read"))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => RevokedKeys::default(),
        Err(error) => return Err(BackingUpError::io(&folder.path().join(REVOKED))(error)),
    };
    let governor = open(config, &store, Some(head))?;
    governor.verify_all()?;
    let standing = governor.standing();
    if (head.n, head.hash, governor.n(), standing.instance) != (manifest.n, manifest.head, head.n, manifest.instance) {
        return Err(refused("its parts do not belong together"));
    }
    Ok(Checked { folder, manifest, head, revoked })
}

/// Holds a backup to its manifest, its chain and its signatures, and its last versions to what the engine says of them.
pub(crate) fn verify(config: &Path, archive: &Path, key: Option<&BackupKey>) -> Result<Manifest, BackingUpError> {
    let checked = check(config, archive, key, &std::env::temp_dir())?;
    judging::by_itself(config, &checked.store())?;
    Ok(checked.manifest)
}

/// The thread that makes backups by itself.
#[derive(Debug)]
pub(crate) struct BackingUp {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A backup that failed is tried again after this, or at its time.
const AGAIN: Duration = Duration::from_secs(10 * 60);

impl BackingUp {
    /// Begins, where the gateway has a store and is told to.
    pub(crate) fn start(
        settings: Settings,
        config: &Path,
        feeds: PathBuf,
        running: &Arc<Running>,
    ) -> std::io::Result<Option<Self>> {
        let Some(governing) = running.governing() else { return Ok(None) };
        let (store, config, running) = (governing.store().clone(), config.to_owned(), Arc::clone(running));
        let (stop, stopped) = channel();
        let thread = thread::Builder::new().name("backup".to_owned()).spawn(move || {
            let mut wait = due(&settings);
            loop {
                match stopped.recv_timeout(wait) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
                wait = match back_up(&settings, &config, &store, &feeds) {
                    Ok(message) => {
                        tracing::info!("{message}");
                        running.record(EventKind::BackupCreated, message);
                        settings.every
                    }
                    Err(error) => {
                        let message = format!("no backup was made: {error}");
                        tracing::error!("{message}");
                        running.record(EventKind::BackupFailed, message);
                        settings.every.min(AGAIN)
                    }
                };
            }
        })?;
        Ok(Some(Self { stop: Some(stop), thread: Some(thread) }))
    }
}

impl Drop for BackingUp {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How long until the next one: what is left since the newest that is there.
fn due(settings: &Settings) -> Duration {
    let newest = own(&settings.path).last().and_then(|path| fs::metadata(path).ok()?.modified().ok());
    let age = newest.and_then(|newest| SystemTime::now().duration_since(newest).ok());
    age.map_or(Duration::ZERO, |age| settings.every.saturating_sub(age))
}

/// The gateway's own backups, the oldest first: their names sort by time.
fn own(folder: &Path) -> Vec<PathBuf> {
    named(folder, PREFIX)
}

/// Likewise of those whose names begin so.
fn named(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_own = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(prefix) && name.ends_with(SUFFIX))
    };
    let mut files: Vec<PathBuf> = entries.filter(is_own).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn back_up(
    settings: &Settings,
    config: &Path,
    store: &portcullis_store::Settings,
    feeds: &Path,
) -> Result<String, BackingUpError> {
    let key = settings.key.as_deref().map(read_key).transpose()?;
    let out = place(&settings.path, Timestamp::now());
    let manifest = make(config, store, Some(feeds), &out, key.as_ref())?;
    let files = own(&settings.path);
    let gone = files.len().saturating_sub(settings.keep);
    for file in files.iter().take(gone) {
        fs::remove_file(file).map_err(BackingUpError::io(file))?;
    }
    Ok(format!("a backup with version {}: {}; {gone} old ones removed", manifest.n, out.display()))
}
