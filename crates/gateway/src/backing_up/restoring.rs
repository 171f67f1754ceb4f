//! A backup in the place of a store: what of the store that was there is kept, and what has to be wanted, or approved.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use portcullis_governance::backup::BackupKey;
use portcullis_governance::power::AnchorFile;
use portcullis_governance::{Approval, GovernanceError, Hash, Head, HeadFile, HeadPlace as _, Ledger as _, Request};
use portcullis_store::{Lock, Versions, end_all_power};

use super::{BackingUpError, Checked, FEEDS, STORE, check, head_of, lists, open, scratch};

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
    let there = copied(restoring, parent)?;
    let readable = there.as_ref().and_then(|there| there.as_ref().ok()).map(CopiedStore::path);
    let mut unread = String::new();
    if let Some(Err(why)) = &there {
        if !restoring.accept_rollback {
            let message = format!(
                "the store that is there cannot be read ({why}), so that it is not known what was revoked in it and which sessions were ended: with --accept-rollback it is taken for lost"
            );
            return Err(BackingUpError::Refused(message));
        }
        unread = format!("; the store that was there could not be read ({why})");
    }
    let words = match keep_newer_log(restoring, &checked, known, readable.as_deref())? {
        Fate::AsItIs => "its log is the newest".to_owned(),
        Fate::NewerKept(n) => {
            format!("the log of the store that was there is newer, and was kept: version {n} is live")
        }
        Fate::Lost(head) => match accept(restoring, &checked, head)? {
            Accepted::Yes(words) => words,
            Accepted::ToSign(request) => return Ok(Restored::ToSign(request)),
        },
    };
    let ended = match &readable {
        Some(_) => String::new(),
        None => without_sessions(&checked)?,
    };
    let rolling = match &readable {
        Some(_) => String::new(),
        None => rolling_out(restoring, &checked)?,
    };
    let words = format!("{words}{ended}{rolling}{unread}");
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

/// A copy of the store that was there, in a folder of its own, so that the store stays as it is whatever happens.
struct CopiedStore(tempfile::TempDir);

impl CopiedStore {
    fn path(&self) -> PathBuf {
        self.0.path().join(STORE)
    }
}

/// Copies the store that is there. `None`: there is none. An error in it: it cannot be read.
fn copied(restoring: &Restoring<'_>, parent: &Path) -> Result<Option<Result<CopiedStore, String>>, BackingUpError> {
    match fs::metadata(restoring.store) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(BackingUpError::io(restoring.store)(error)),
        Ok(_) => {}
    }
    let beside = std::env::temp_dir();
    let copy = CopiedStore(scratch(if restoring.drill { &beside } else { parent })?);
    let opened = Versions::open(&portcullis_store::Settings { path: restoring.store.to_owned() });
    let copied = opened.map_err(|error| error.to_string());
    let copied = copied.and_then(|current| current.copy_to(&copy.path()).map_err(|trouble| trouble.to_string()));
    Ok(Some(copied.map(|()| copy)))
}

/// Where nobody knows which sessions were ended since, none is open.
fn without_sessions(checked: &Checked) -> Result<String, BackingUpError> {
    let of = |trouble| BackingUpError::Copy { path: checked.store(), trouble };
    let mut versions = Versions::open(&portcullis_store::Settings { path: checked.store() })?;
    let ended = versions.end_sessions().map_err(of)?;
    versions.close().map_err(of)?;
    Ok(if ended == 0 { String::new() } else { format!("; {ended} sessions in it are ended") })
}

/// Where nobody knows whether the steps of a version are over, they are done again from where they were.
fn rolling_out(restoring: &Restoring<'_>, checked: &Checked) -> Result<String, BackingUpError> {
    let governor = open(restoring.config, &checked.store(), None)?;
    let rollout = governor.standing().rollout;
    Ok(rollout.map_or_else(String::new, |rollout| {
        format!(
            "; version {0} is rolled out from the step that it was in, and version {1} serves meanwhile: `portcullis policy activate {2} --now` has it live for everybody, if it was",
            rollout.n,
            governor.serving(),
            rollout.change.short()
        )
    }))
}

/// `there`: a copy of the store that is to be replaced, where that can be read.
fn keep_newer_log(
    restoring: &Restoring<'_>,
    checked: &Checked,
    known: Option<Head>,
    there: Option<&Path>,
) -> Result<Fate, BackingUpError> {
    let settings = portcullis_store::Settings { path: checked.store() };
    let of = |trouble| BackingUpError::Copy { path: checked.store(), trouble };
    let mut versions = Versions::open(&settings)?;
    let goes_on = there.map(|there| versions.take_from(there, false)).transpose().map_err(of)?;
    if goes_on != Some(true) {
        // What of the power for a time was ended since nobody knows.
        let ended = end_all_power(&settings, "a backup was restored", &restoring.who, Timestamp::now());
        ended.map_err(|error| BackingUpError::Refused(error.to_string()))?;
    }
    // How far it had come, by the store itself where it can be read: the head file may be gone, or one version behind.
    let there_now = there.map(head_of).transpose()?.filter(|head| head.n > 0);
    let known = match (known, there_now) {
        (Some(known), Some(now)) if now.n > known.n => Some(now),
        (known, now) => known.or(now),
    };
    let Some(known) = known else { return Ok(Fate::AsItIs) };
    let record = versions.record(known.n).map_err(GovernanceError::from)?;
    if record.is_some_and(|record| Hash::of(&record) == known.hash) {
        return Ok(Fate::AsItIs);
    }
    let readable = there.and_then(|there| open(restoring.config, there, Some(known)).ok());
    let Some(current) = readable.filter(|current| current.verify_all().is_ok()) else { return Ok(Fate::Lost(known)) };
    let knows = current.version(checked.head.n).is_ok_and(|version| version.hash() == checked.head.hash);
    if !(knows || checked.head.n == 0) {
        return Err(BackingUpError::Refused(
            "the backup is of another gateway: its log and that of the store have gone different ways".to_owned(),
        ));
    }
    let n = current.n();
    drop(current);
    if let Some(there) = there {
        versions.take_from(there, true).map_err(of)?;
    }
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
        return Ok(Accepted::ToSign(Box::new(governor.request(change)?)));
    };
    if request.change.reason != reason || request.instance != governor.standing().instance {
        return Err(BackingUpError::Refused("what was signed is about another backup or another store".to_owned()));
    }
    let by = restoring.who.first().map_or("somebody", String::as_str);
    let version = governor.restore(request.change.clone(), approvals.clone(), by, Timestamp::now())?;
    Ok(Accepted::Yes(format!("versions after {n} are lost, as approved: version {} is live", version.n)))
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
    // They know the store that is laid aside. The one that takes its place is another one, and they are written anew at the next start.
    HeadFile::beside(store).forget_steps()?;
    let anchor = AnchorFile::beside(store);
    anchor.forget().map_err(BackingUpError::io(anchor.path()))?;
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
