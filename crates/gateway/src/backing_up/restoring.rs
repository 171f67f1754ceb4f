//! A backup in the place of a store: what of the store that was there is kept, and what has to be wanted, or approved.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use portcullis_governance::backup::BackupKey;
use portcullis_governance::power::PowerAnchorFile;
use portcullis_governance::{
    Anchor, Approval, Governor, Head, HeadFile, HeadPlace as _, Request, Revived, RevokedKeys,
};
use portcullis_store::{Lock, LockError, PowerLog, Versions, end_all_power};

use super::judging::{Judged, held_by, judge};
use super::returning::report;
use super::{BackingUpError, Checked, FEEDS, STORE, check, head_of, lists, open, scratch};

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
    fn written_down(&self) -> Option<Head> {
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
    let checked = check(restoring.config, archive, key, if restoring.drill { &beside } else { parent })?;
    let beside_it = HeadFile::beside(restoring.store);
    let known = beside_it.read()?;
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
    let (fate, changes) = keep_newer_log(restoring, &checked, known, readable.as_deref())?;
    let fate = match fate {
        // What was revoked is known better than how far the log had come.
        Fate::AsItIs(words) => match revived_in(restoring, &checked, &revoked)? {
            revived if revived.is_empty() => Fate::AsItIs(words),
            _ => Fate::Lost(Lost::Revived),
        },
        fate => fate,
    };
    let words = match fate {
        Fate::AsItIs(words) => words,
        Fate::NewerKept(n) => {
            format!("the log of the store that was there is newer, and was kept: version {n} is live")
        }
        Fate::Lost(lost) => match accept(restoring, &checked, lost, (&revoked, listed))? {
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
    let closed = if changes { String::new() } else { without_changes(&checked)? };
    let words = format!("{words}{ended}{closed}{rolling}{unread}{unlisted}");
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

/// What becomes of the log that was there.
enum Fate {
    /// The backup knows all of it, or nothing is demanded: a sentence.
    AsItIs(String),
    /// It knows more, and goes into the restored store.
    NewerKept(u64),
    /// It knew more, or may have, and cannot be read.
    Lost(Lost),
}

/// Why a backup is not known to be the newest.
enum Lost {
    /// The log had come so far.
    Newer(Head),
    /// The log ended so, and from behind the version `vouched` on it is not what a start would take.
    NotBelieved { last: Head, vouched: u64, required: bool, why: String },
    /// Nothing says how far it had come.
    Unknown,
    /// Keys count in it that are known to be revoked.
    Revived,
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

/// Where nobody knows which proposals were rejected since, none waits.
fn without_changes(checked: &Checked) -> Result<String, BackingUpError> {
    let of = |trouble| BackingUpError::Copy { path: checked.store(), trouble };
    let mut versions = Versions::open(&portcullis_store::Settings { path: checked.store() })?;
    let closed = versions.close_changes().map_err(of)?;
    versions.close().map_err(of)?;
    Ok(match closed {
        0 => String::new(),
        closed => format!(
            "; {closed} proposals that waited in it are ended, since nobody knows which were rejected meanwhile: propose them again"
        ),
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

/// Where nobody knows whether the steps of a version are over, they are done again from where they were.
fn rolling_out(restoring: &Restoring<'_>, checked: &Checked) -> Result<String, BackingUpError> {
    let governor = open(restoring.config, &checked.store(), None)?;
    // What is live for everybody, and still to be written to the files, is in no step.
    let rollout = governor.standing().rollout.filter(|rollout| !rollout.is_at_once());
    Ok(rollout.map_or_else(String::new, |rollout| {
        format!(
            "; version {0} is rolled out from the step that it was in, and version {1} serves meanwhile: `portcullis policy activate {2} --now` has it live for everybody, if it was",
            rollout.n,
            governor.serving(),
            rollout.change.short()
        )
    }))
}

/// `beside`: what the head file says. `there`: a copy of the store that is to be replaced, where that can be read. Says whether what waits in it is known, too.
fn keep_newer_log(
    restoring: &Restoring<'_>,
    checked: &Checked,
    beside: Option<Head>,
    there: Option<&Path>,
) -> Result<(Fate, bool), BackingUpError> {
    let settings = portcullis_store::Settings { path: checked.store() };
    let of = |trouble| BackingUpError::Copy { path: checked.store(), trouble };
    let mut versions = Versions::open(&settings)?;
    let taken = there.map(|there| versions.take_from(there, false)).transpose().map_err(of)?;
    let changes = taken.is_some_and(|taken| taken.changes);
    if !taken.is_some_and(|taken| taken.power) {
        // What of the power for a time was ended since nobody knows.
        let ended = end_all_power(&settings, "a backup was restored", &restoring.who, Timestamp::now());
        ended.map_err(|error| BackingUpError::Refused(error.to_string()))?;
    }
    // How far it had come, by the store itself where it can be read: the head file may be gone, or one version behind. And by what was written down elsewhere.
    let there_now = there.map(head_of).transpose()?.filter(|head| head.n > 0);
    let written_down = restoring.written_down();
    let vouching: Vec<Head> = [beside, there_now, written_down].into_iter().flatten().collect();
    let demanded = checked.head.required || restoring.demanded;
    let Some(highest) = vouching.iter().max_by_key(|head| head.n) else {
        let fate = match demanded {
            true => Fate::Lost(Lost::Unknown),
            false => Fate::AsItIs("nothing was there that it could be compared with".to_owned()),
        };
        return Ok((fate, changes));
    };
    let backed_up = open(restoring.config, &checked.store(), Some(checked.head))?;
    let lacks = |governor: &Governor| {
        let mut lacking = None;
        for head in &vouching {
            if !governor.holds(Anchor { n: head.n, hash: head.hash })? {
                lacking = [lacking, Some(*head)].into_iter().flatten().max_by_key(|head: &Head| head.n);
            }
        }
        Ok::<_, BackingUpError>(lacking)
    };
    let Some(known) = lacks(&backed_up)? else {
        // A version long before its end tells a backup from those of other gateways, and says nothing of its age; and that with which governance
        // began is what every gateway is called by.
        let is_vouched = beside.is_some()
            || there_now.is_some()
            || written_down.is_some_and(|head| head.n == checked.head.n && head.hash != checked.manifest.instance);
        if demanded && !is_vouched {
            return Ok((Fate::Lost(Lost::Unknown), changes));
        }
        let fate = Fate::AsItIs(match highest.n == checked.head.n {
            true => "its log is the newest that is known".to_owned(),
            false => format!("its log goes on from version {}, the newest that was known", highest.n),
        });
        return Ok((fate, changes));
    };
    drop(backed_up);
    let Some(there) = there else { return Ok((Fate::Lost(Lost::Newer(known)), changes)) };
    let knows = checked.head.n == 0 || held_by(there, [checked.head]).is_ok_and(|held| !held.is_empty());
    // That it is in the store says nothing of who wrote it there. Of another gateway nothing is kept, whatever it is.
    let others = if knows { [Some(checked.head), beside, written_down] } else { [Some(known), None, None] };
    let current = match judge(restoring.config, [restoring.store, there], others.into_iter().flatten())? {
        Judged::Good(current) => current,
        Judged::Unreadable => return Ok((Fate::Lost(Lost::Newer(known)), changes)),
        Judged::Not(vouched, why) => {
            let required = vouching.iter().any(|head| head.required);
            let lost = Lost::NotBelieved { last: there_now.unwrap_or(known), vouched, required, why };
            return Ok((Fate::Lost(lost), changes));
        }
    };
    if let Some(known) = lacks(&current)? {
        return Ok((Fate::Lost(Lost::Newer(known)), changes));
    }
    if !knows {
        return Err(BackingUpError::Refused(
            "the backup is of another gateway: its log and that of the store have gone different ways".to_owned(),
        ));
    }
    let n = current.n();
    drop(current);
    let taken = versions.take_from(there, true).map_err(of)?;
    versions.close().map_err(of)?;
    Ok((Fate::NewerKept(n), taken.changes))
}

enum Accepted {
    Yes(String),
    ToSign(Box<Request>),
}

/// Keys of approvers that count in the backup, and are known to be revoked.
fn revived_in(
    restoring: &Restoring<'_>,
    checked: &Checked,
    revoked: &RevokedKeys,
) -> Result<Vec<Revived>, BackingUpError> {
    // By the log that is to be put in place: what it took from a newer one counts.
    let standing = open(restoring.config, &checked.store(), None)?.standing();
    Ok(if standing.rules.required { revoked.revived_in(&standing.approvers) } else { Vec::new() })
}

/// The log is lost, or may be: somebody has to want that.
fn accept(
    restoring: &Restoring<'_>,
    checked: &Checked,
    lost: Lost,
    (revoked, listed): (&RevokedKeys, bool),
) -> Result<Accepted, BackingUpError> {
    let n = checked.head.n;
    let was_required = match &lost {
        Lost::Newer(head) => head.required,
        Lost::NotBelieved { required, .. } => *required,
        Lost::Unknown => restoring.demanded,
        Lost::Revived => true,
    };
    if was_required && !checked.head.required {
        let message = format!(
            "the backup ends with version {n}, before approvals were required, and the store that is lost required them, or the configuration does: restore a later backup"
        );
        return Err(BackingUpError::Refused(message));
    }
    let (what, written_down) = match lost {
        Lost::Newer(head) => (
            format!("the store was at version {}, and cannot be read", head.n),
            format!("version {} ({}) is lost", head.n, head.hash),
        ),
        Lost::NotBelieved { last, vouched, why, .. } => (
            format!(
                "the log of the store that is there goes on to version {}, and what stands in it after version {vouched}, the last for which anything else vouches, is not believed ({why})",
                last.n
            ),
            format!("the log up to version {} ({}) is not believed, and is lost", last.n, last.hash),
        ),
        Lost::Unknown => (
            match restoring.written_down {
                None => "neither a store nor its head file is there, so that nothing says whether it is the newest: with --head and what was written down elsewhere it is known".to_owned(),
                Some(Anchor { n: early, .. }) => format!(
                    "neither a store nor its head file is there, and that it holds version {early} says nothing of its age: --head has to name the last version that there was, and not the one with which governance began"
                ),
            },
            "how far the log had come is not known".to_owned(),
        ),
        Lost::Revived => (
            "keys of approvers count in it that were revoked since".to_owned(),
            "keys were revoked since".to_owned(),
        ),
    };
    if !restoring.accept_rollback {
        let message = format!(
            "the backup ends with version {n}, and {what}: with --accept-rollback what came after it is lost, and what was revoked in that has to be revoked again"
        );
        return Err(BackingUpError::Refused(message));
    }
    if !was_required && !checked.head.required {
        return Ok(Accepted::Yes(format!("versions after {n} are lost")));
    }
    let mut governor = open(restoring.config, &checked.store(), Some(checked.head))?;
    let reason = format!("restore: {written_down}, and version {n} of a backup takes its place");
    let Some((request, approvals)) = &restoring.signed else {
        let revived = revoked.revived_in(&governor.standing().approvers);
        let report = report(restoring.config, &governor.live()?, &revived, listed);
        let who = restoring.who.clone();
        return Ok(Accepted::ToSign(Box::new(governor.restoration(
            who,
            reason,
            (revoked, report),
            Timestamp::now(),
        )?)));
    };
    if request.change.reason != reason || request.instance != governor.standing().instance {
        return Err(BackingUpError::Refused("what was signed is about another backup or another store".to_owned()));
    }
    let by = restoring.who.first().map_or("somebody", String::as_str);
    let version = governor.restore(request, revoked, approvals.clone(), by, Timestamp::now())?;
    Ok(Accepted::Yes(format!("versions after {n} are lost, as approved: version {} is live", version.n)))
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

/// Puts the lists of a backup where there are none. A feed's files belong together: where one of them is there it is newer, and what is not there beside
/// it is not by intention, as the list before one that somebody went back from.
pub(super) fn lay_lists(from: &Path, feeds: &Path) -> Result<(), BackingUpError> {
    let of = |name: &str| {
        name.trim_start_matches("feeds/").rsplit_once('.').map_or_else(|| name.to_owned(), |(feed, _)| feed.to_owned())
    };
    // A draft is none: whoever was killed left it behind.
    let there: HashSet<String> =
        lists(feeds).into_iter().filter(|(name, _)| !name.ends_with(".new")).map(|(name, _)| of(&name)).collect();
    for (name, path) in lists(from) {
        let to = feeds.join(name.trim_start_matches("feeds/"));
        if !there.contains(&of(&name)) && !to.exists() {
            let copied = fs::create_dir_all(feeds).and_then(|()| fs::copy(&path, &to));
            copied.map_err(BackingUpError::io(&to))?;
        }
    }
    Ok(())
}
