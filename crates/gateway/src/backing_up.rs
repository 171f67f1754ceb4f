//! Backups: made while the gateway runs, verified to the last signature, and put in the place of a store that is lost.
//!
//! A backup never takes the log of versions back. Where the store that it replaces can be read and knows more versions, these go into the
//! restored store: what was revoked stays revoked, and `policy rollback` is how an earlier policy comes back. Only where that log is lost a
//! backup takes its place as it is, and where approvals are required only with approvals.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use portcullis_events::EventKind;
use portcullis_governance::backup::{BackupError, BackupKey, Manifest, Settings, create, unpack};
use portcullis_governance::{
    Approval, Change, GovernanceError, Governor, Hash, Head, HeadFile, HeadPlace as _, Ledger as _, Request,
};
use portcullis_store::{Lock, LockError, StoreError, Trouble, Versions, end_all_power};
use thiserror::Error;

use crate::governing::Source;
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
const FEEDS: &str = "feeds";
/// What the gateway's own backups are called.
const PREFIX: &str = "portcullis-";
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

/// Copies the store, how far its log has come, and the lists of networks that were last good, into one file.
pub(crate) fn make(
    config: &Path,
    store: &portcullis_store::Settings,
    feeds: Option<&Path>,
    out: &Path,
    key: Option<&BackupKey>,
) -> Result<Manifest, BackingUpError> {
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(BackingUpError::io(parent))?;
    let scratch = scratch(parent)?;
    let copy = scratch.path().join(STORE);
    let of = |trouble| BackingUpError::Copy { path: store.path.clone(), trouble };
    Versions::open(store)?.copy_to(&copy).map_err(of)?;
    // What the copy itself says, so that the two belong together.
    let head = head_of(&copy)?;
    let head_file = scratch.path().join(HEAD);
    fs::write(&head_file, head.to_text()).map_err(BackingUpError::io(&head_file))?;
    let mut files = vec![(STORE.to_owned(), copy.clone()), (HEAD.to_owned(), head_file)];
    files.extend(feeds.map(lists).unwrap_or_default());
    let manifest = Manifest {
        created: Timestamp::now().as_microsecond(),
        n: head.n,
        head: head.hash,
        instance: instance_of(config, &copy)?,
        files: Vec::new(),
    };
    Ok(create(out, manifest, &files, key)?)
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

fn instance_of(config: &Path, store: &Path) -> Result<Hash, BackingUpError> {
    Ok(open(config, store, None)?.standing().instance)
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

/// The lists of networks in the folder where they are kept: plain files, none below.
fn lists(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<(String, PathBuf)> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .filter_map(|path| Some((format!("{FEEDS}/{}", path.file_name()?.to_str()?), path)))
        .collect();
    files.sort();
    files
}

/// A backup that was unpacked and held to everything that it can be held to.
struct Checked {
    folder: tempfile::TempDir,
    manifest: Manifest,
    head: Head,
}

impl Checked {
    fn store(&self) -> PathBuf {
        self.folder.path().join(STORE)
    }
}

fn check(config: &Path, archive: &Path, key: Option<&BackupKey>, parent: &Path) -> Result<Checked, BackingUpError> {
    let folder = scratch(parent)?;
    let manifest = unpack(archive, key, folder.path())?;
    let store = folder.path().join(STORE);
    let head_file = folder.path().join(HEAD);
    let text = fs::read_to_string(&head_file).map_err(BackingUpError::io(&head_file))?;
    let refused = |what: &str| BackingUpError::Refused(format!("{}: {what}", archive.display()));
    let head = Head::from_text(&text).ok_or_else(|| refused("its head cannot be read"))?;
    let governor = open(config, &store, Some(head))?;
    governor.verify_all()?;
    let standing = governor.standing();
    if (head.n, head.hash, governor.n(), standing.instance) != (manifest.n, manifest.head, head.n, manifest.instance) {
        return Err(refused("its parts do not belong together"));
    }
    Ok(Checked { folder, manifest, head })
}

/// Holds a backup to its manifest, its chain and its signatures.
pub(crate) fn verify(config: &Path, archive: &Path, key: Option<&BackupKey>) -> Result<Manifest, BackingUpError> {
    Ok(check(config, archive, key, &std::env::temp_dir())?.manifest)
}

/// How a backup is to be restored.
pub(crate) struct Restoring<'r> {
    pub(crate) config: &'r Path,
    pub(crate) store: &'r Path,
    pub(crate) feeds: Option<&'r Path>,
    pub(crate) drill: bool,
    pub(crate) accept_rollback: bool,
    /// What was to be signed, and what was.
    pub(crate) signed: Option<(Request, Vec<Approval>)>,
    pub(crate) who: Vec<String>,
}

/// What came of it.
pub(crate) enum Restored {
    /// It is in place, or would be: a sentence.
    Done(String),
    /// First this has to be signed.
    ToSign(Box<Request>),
}

/// Puts a backup in the place of the store.
pub(crate) fn restore(
    archive: &Path,
    key: Option<&BackupKey>,
    restoring: &Restoring<'_>,
) -> Result<Restored, BackingUpError> {
    let parent = restoring.store.parent().unwrap_or(Path::new("."));
    let _lock = if restoring.drill { None } else { Some(Lock::alone(restoring.store)?) };
    // Beside the store, so that it is put in place by a rename; a drill leaves no trace anywhere.
    let beside = std::env::temp_dir();
    let checked = check(restoring.config, archive, key, if restoring.drill { &beside } else { parent })?;
    let known = HeadFile::beside(restoring.store).read()?;
    let words = match keep_newer_log(restoring, &checked, known)? {
        Fate::AsItIs => "its log is the newest".to_owned(),
        Fate::NewerKept(n) => {
            format!("the log of the store that was there is newer, and was kept: version {n} is live")
        }
        Fate::Lost(head) => match accept(restoring, &checked, head)? {
            Accepted::Yes(words) => words,
            Accepted::ToSign(request) => return Ok(Restored::ToSign(request)),
        },
    };
    let (n, created) = (checked.manifest.n, checked.manifest.created());
    if restoring.drill {
        return Ok(Restored::Done(format!(
            "a drill: the backup of {created:.0} with version {n} can be restored; {words}"
        )));
    }
    let aside = put_in_place(restoring, &checked)?;
    let aside = aside.map_or_else(String::new, |aside| format!("; what was there is {}", aside.display()));
    Ok(Restored::Done(format!("the backup of {created:.0} with version {n} is restored; {words}{aside}")))
}

/// What becomes of the log that was there.
enum Fate {
    /// There was none, or the backup knows all of it.
    AsItIs,
    /// It knows more, and goes into the restored store.
    NewerKept(u64),
    /// It knew more, and cannot be read.
    Lost(Head),
}

fn keep_newer_log(restoring: &Restoring<'_>, checked: &Checked, known: Option<Head>) -> Result<Fate, BackingUpError> {
    let settings = portcullis_store::Settings { path: checked.store() };
    let of = |trouble| BackingUpError::Copy { path: checked.store(), trouble };
    let mut versions = Versions::open(&settings)?;
    // A copy of the store that was there, so that it stays as it is whatever happens.
    let there = checked.folder.path().join("there.db");
    let copied = fs::metadata(restoring.store)
        .map_err(|_| ())
        .and_then(|_| Versions::open(&portcullis_store::Settings { path: restoring.store.to_owned() }).map_err(drop))
        .and_then(|current| current.copy_to(&there).map_err(drop));
    if copied.is_err() || !versions.take_from(&there, false).map_err(of)? {
        // What was ended since nobody knows.
        let ended = end_all_power(&settings, "a backup was restored", &restoring.who, Timestamp::now());
        ended.map_err(|error| BackingUpError::Refused(error.to_string()))?;
    }
    // How far it had come, by the store itself where it can be read: the head file may be gone, or one version behind.
    let there_now = copied.is_ok().then(|| head_of(&there)).transpose()?.filter(|head| head.n > 0);
    let known = match (known, there_now) {
        (Some(known), Some(now)) if now.n > known.n => Some(now),
        (known, now) => known.or(now),
    };
    let Some(known) = known else { return Ok(Fate::AsItIs) };
    let record = versions.record(known.n).map_err(GovernanceError::from)?;
    if record.is_some_and(|record| Hash::of(&record) == known.hash) {
        return Ok(Fate::AsItIs);
    }
    let readable = copied.ok().and_then(|()| open(restoring.config, &there, Some(known)).ok());
    let Some(current) = readable.filter(|current| current.verify_all().is_ok()) else { return Ok(Fate::Lost(known)) };
    let knows = current.version(checked.head.n).is_ok_and(|version| version.hash() == checked.head.hash);
    if !(knows || checked.head.n == 0) {
        return Err(BackingUpError::Refused(
            "the backup is of another gateway: its log and that of the store have gone different ways".to_owned(),
        ));
    }
    let n = current.n();
    drop(current);
    versions.take_from(&there, true).map_err(of)?;
    versions.close().map_err(of)?;
    Ok(Fate::NewerKept(n))
}

enum Accepted {
    Yes(String),
    ToSign(Box<Request>),
}

/// The newer log is lost: somebody has to want that.
fn accept(restoring: &Restoring<'_>, checked: &Checked, lost: Head) -> Result<Accepted, BackingUpError> {
    let n = checked.head.n;
    if lost.required && !checked.head.required {
        let message = format!(
            "the backup ends with version {n}, before approvals were required, and the store that is lost required them: restore a later backup"
        );
        return Err(BackingUpError::Refused(message));
    }
    if !restoring.accept_rollback {
        let message = format!(
            "the backup ends with version {n}, the store was at version {}, and cannot be read: with --accept-rollback these versions are lost, and what was revoked in them has to be revoked again",
            lost.n
        );
        return Err(BackingUpError::Refused(message));
    }
    if !lost.required && !checked.head.required {
        return Ok(Accepted::Yes(format!("versions after {n} are lost")));
    }
    let mut governor = open(restoring.config, &checked.store(), Some(checked.head))?;
    let reason =
        format!("restore: version {} ({}) is lost, and version {n} of a backup takes its place", lost.n, lost.hash);
    let Some((request, approvals)) = &restoring.signed else {
        let change = governor.restoration(restoring.who.clone(), reason, Timestamp::now())?;
        return Ok(Accepted::ToSign(Box::new(request_of(&governor, change)?)));
    };
    if request.change.reason != reason || request.instance != governor.standing().instance {
        return Err(BackingUpError::Refused("what was signed is about another backup or another store".to_owned()));
    }
    let by = restoring.who.first().map_or("somebody", String::as_str);
    let version = governor.restore(request.change.clone(), approvals.clone(), by, Timestamp::now())?;
    Ok(Accepted::Yes(format!("versions after {n} are lost, as approved: version {} is live", version.n)))
}

fn request_of(governor: &Governor, change: Change) -> Result<Request, GovernanceError> {
    let content = governor.live()?;
    let standing = governor.standing();
    Ok(Request { instance: standing.instance, change, base: content.clone(), content, approvers: standing.approvers })
}

/// Lays what is there aside, and puts the restored store in its place. A start in between finds no store, and refuses.
fn put_in_place(restoring: &Restoring<'_>, checked: &Checked) -> Result<Option<PathBuf>, BackingUpError> {
    let restored = checked.store();
    let head = head_of(&restored)?;
    let store = restoring.store;
    let beside = |suffix: &str| {
        let mut name = store.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut aside = None;
    // The log that is written ahead belongs to its file.
    for suffix in ["", "-wal", "-shm"] {
        let (from, to) = (beside(suffix), beside(&format!(".before-{now}{suffix}")));
        match fs::rename(&from, &to) {
            Ok(()) if suffix.is_empty() => aside = Some(to),
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(BackingUpError::io(&from)(error)),
        }
    }
    fs::rename(&restored, store).map_err(BackingUpError::io(store))?;
    if head.n > 0 {
        HeadFile::beside(store).write(head)?;
    }
    if let Some(feeds) = restoring.feeds {
        for (name, path) in lists(&checked.folder.path().join(FEEDS)) {
            let to = feeds.join(name.trim_start_matches("feeds/"));
            // A list that is there is newer.
            if !to.exists() {
                let copied = fs::create_dir_all(feeds).and_then(|()| fs::copy(&path, &to));
                copied.map_err(BackingUpError::io(&to))?;
            }
        }
    }
    Ok(aside)
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
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_own = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
    };
    let mut files: Vec<PathBuf> = entries.filter(is_own).collect();
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
