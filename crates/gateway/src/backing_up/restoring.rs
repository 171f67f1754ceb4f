//! A backup in the place of a store: what of the store that was there is kept, and what has to be wanted, or approved.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use portcullis_governance::backup::BackupKey;
use portcullis_governance::power::PowerAnchorFile;
use portcullis_governance::{Anchor, Approval, Head, HeadFile, HeadPlace as _, Request, RevokedKeys};
use portcullis_store::{Lock, LockError, PowerLog, Versions};

use super::accepting::{Accepted, Known, Lost, accept, revived_in};
use super::dropping::dropped;
use super::judging::held_by;
use super::lists::lay_lists;
use super::resuming::resume;
use super::settling::{Settled, copied, settle};
use super::unknown::{rolling_out, without_changes, without_sessions};
use super::{BackingUpError, Checked, FEEDS, check, head_of};

/// How a backup is to be restored.
pub(crate) struct Restoring<'r> {
    pub(crate) config: &'r Path,
    pub(crate) store: &'r Path,
    pub(crate) feeds: Option<&'r Path>,
    pub(crate) drill: bool,
    pub(crate) accept_rollback: bool,
    /// The last version that the operator knows of.
    pub(crate) written_down: Option<Anchor>,
    /// The configuration demands approvals.
    pub(crate) demanded: bool,
    /// What was to be signed, and what was.
    pub(crate) signed: Option<(Request, Vec<Approval>)>,
    pub(crate) who: Vec<String>,
}

impl Restoring<'_> {
    pub(super) fn written_down(&self) -> Option<Head> {
        self.written_down.map(|Anchor { n, hash }| Head { n, hash, required: true })
    }
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
    let _lock = if restoring.drill { None } else { Some(alone(restoring.store)?) };
    // Beside the store, so that it is put in place by a rename; a drill leaves no trace anywhere.
    let beside = std::env::temp_dir();
    let mut checked = check(restoring.config, archive, key, if restoring.drill { &beside } else { parent })?;
    let beside_it = HeadFile::beside(restoring.store);
    // One that is damaged says no more than one that is gone, either.
    let (known, headless) = match beside_it.read() {
        Ok(known) => (known, String::new()),
        Err(why) => (None, format!("; how far the log had come could not be read ({why})")),
    };
    // A list that is damaged says no more than one that is gone: a backup is what mends it.
    let (mut revoked, listed, unlisted) = match beside_it.revoked() {
        Ok(revoked) => (revoked, beside_it.list().exists(), String::new()),
        Err(why) => (
            RevokedKeys::default(),
            false,
            format!(
                "; which keys were revoked could not be read ({why}): what neither the backup nor the log knows of has to be revoked again"
            ),
        ),
    };
    revoked.take(&checked.revoked);
    let there = copied(restoring, parent)?;
    let readable = there.as_ref().and_then(|there| there.as_ref().ok());
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
    let Settled { fate, cuts, changes, powerless } = settle(restoring, &mut checked, known, readable)?;
    let (words, lost) = match fate {
        Ok(words) => match revived_in(restoring, &checked, &revoked)? {
            revived if revived.is_empty() => (words, None),
            // What was revoked is known better than how far the log had come.
            _ => (words, Some(Lost::Revived)),
        },
        Err(lost) => (String::new(), Some(lost)),
    };
    let words = match accept(restoring, &checked, (lost, &cuts), Known { revoked: &revoked, listed })? {
        Accepted::AsItIs => words,
        Accepted::Yes(words) => words,
        Accepted::ToSign(request) => return Ok(Restored::ToSign(request)),
    };
    let ended = match &readable {
        Some(_) => String::new(),
        None => without_sessions(&checked)?,
    };
    let is_other = resume(restoring, &checked, known, &cuts)?;
    let rolling = match &readable {
        Some(_) if cuts.is_empty() && !is_other => String::new(),
        Some(_) | None => rolling_out(restoring, &checked)?,
    };
    let closed = if changes { String::new() } else { without_changes(&checked)? };
    let dropped = dropped(restoring, &checked, &cuts)?;
    let words = format!("{words}{dropped}{ended}{powerless}{closed}{rolling}{unread}{headless}{unlisted}");
    let (n, created) = (checked.manifest.n, checked.manifest.created());
    if restoring.drill {
        return Ok(Restored::Done(format!(
            "a drill: the backup of {created:.0} with version {n} can be restored; {words}"
        )));
    }
    leave_word(restoring, &checked, archive, &words)?;
    let aside = put_in_place(restoring, &checked, &revoked, known)?;
    let aside = aside.map_or_else(String::new, |aside| format!("; what was there is {}", aside.display()));
    Ok(Restored::Done(format!("the backup of {created:.0} with version {n} is restored; {words}{aside}")))
}

/// Nobody else uses the store meanwhile.
fn alone(store: &Path) -> Result<Lock, BackingUpError> {
    Lock::alone(store).map_err(|error| match error {
        // No gateway can be asked for this.
        LockError::Busy(store) => BackingUpError::InUse(store),
        error => error.into(),
    })
}

/// Writes into the restored store where it comes from, for the gateway that starts on it to tell.
fn leave_word(restoring: &Restoring<'_>, checked: &Checked, archive: &Path, words: &str) -> Result<(), BackingUpError> {
    let of = |trouble| BackingUpError::Copy { path: checked.store(), trouble };
    let now = Timestamp::now();
    let vouching = match restoring.written_down {
        Some(Anchor { n, hash }) => format!(" with --head {n}:{hash}"),
        None => String::new(),
    };
    let message = format!(
        "the store was restored at {now:.0} by {} from {}, a backup of {:.0} with version {}{vouching}: {words}",
        restoring.who.join(", "),
        archive.display(),
        checked.manifest.created(),
        checked.manifest.n
    );
    let mut versions = Versions::open(&portcullis_store::Settings { path: checked.store() })?;
    versions.leave_restored(now.as_microsecond(), &message).map_err(of)?;
    versions.close().map_err(of)
}

/// Up to which version of the restored log a gateway has told what became of recoveries. `known`: what the head file says.
fn told_up_to(restoring: &Restoring<'_>, checked: &Checked, known: Option<Head>) -> Result<u64, BackingUpError> {
    let restored = checked.store();
    let held = held_by(&restored, [known, restoring.written_down()].into_iter().flatten())?;
    let vouched = held.iter().map(|head| head.n).max().unwrap_or(checked.head.n);
    // One that is damaged says nothing.
    let Some(heard) = HeadFile::beside(restoring.store).heard().ok().flatten() else { return Ok(vouched) };
    let begun = Head { n: heard.n, hash: heard.hash, required: true };
    let is_of_it = heard.n == 0 || !held_by(&restored, [begun])?.is_empty();
    Ok(if is_of_it { vouched.min(heard.told) } else { vouched })
}

/// Lays what is there aside, and puts the restored store in its place. A start in between finds no store, and refuses.
fn put_in_place(
    restoring: &Restoring<'_>,
    checked: &Checked,
    revoked: &RevokedKeys,
    known: Option<Head>,
) -> Result<Option<PathBuf>, BackingUpError> {
    let restored = checked.store();
    let head = head_of(&restored)?;
    let store = restoring.store;
    let told = told_up_to(restoring, checked, known)?;
    let beside = |suffix: &str| {
        let mut name = store.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    // They know the store that is laid aside. The one that takes its place is another one, and they are written anew at the next start.
    HeadFile::beside(store).forget_steps()?;
    HeadFile::beside(store).forget_recovery()?;
    PowerLog::without_anchor(&portcullis_store::Settings { path: restored.clone() })?;
    let anchor = PowerAnchorFile::beside(store);
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
    if !revoked.is_empty() || HeadFile::beside(store).list().exists() {
        HeadFile::beside(store).revoke(revoked)?;
    }
    fs::rename(&restored, store).map_err(BackingUpError::io(store))?;
    // That it is the restored one is on the disk before anything says so.
    portcullis_durable::sync_folder_of(store).map_err(|error| BackingUpError::io(store)(error.into_source()))?;
    if head.n > 0 {
        // The head file vouches for all of it from now on, and nobody has heard of what nothing vouched for before.
        if told < head.n {
            HeadFile::beside(store).tell_recoveries_since(told)?;
        }
        HeadFile::beside(store).write(head)?;
    }
    if let Some(feeds) = restoring.feeds {
        lay_lists(&checked.folder.path().join(FEEDS), feeds)?;
    }
    Ok(aside)
}
