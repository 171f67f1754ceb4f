//! A backup of the store as it is at one moment, if a start would take it: what is not believed here is in no backup, and so in no restored store.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use portcullis_governance::backup::{BackupKey, Manifest, create, is_backup};
use portcullis_governance::power::{Limits, PowerAnchorFile, PowerBook};
use portcullis_governance::{Hash, RevokedKeys};
use portcullis_store::{PowerLog, Versions};

use super::judging::{Beside, look};
use super::lists::copied_lists;
use super::{BackingUpError, HEAD, REVOKED, STORE, SUFFIX, check, folder_of, head_of, scratch};

/// So often a store is copied whose log grows meanwhile.
const TRIES: u32 = 5;

/// The same as [`make`], in the place of an earlier backup, which stays as it is until the new one is whole.
pub(crate) fn make_again(
    config: &Path,
    store: &portcullis_store::Settings,
    feeds: Option<&Path>,
    out: &Path,
    key: Option<&BackupKey>,
) -> Result<Manifest, BackingUpError> {
    if fs::symlink_metadata(out).is_err() {
        return make(config, store, feeds, out, key);
    }
    if !is_backup(out).map_err(BackingUpError::io(out))? {
        let message = format!("{}: what is there is no backup, and stays as it is", out.display());
        return Err(BackingUpError::Refused(message));
    }
    let folder = scratch(folder_of(out))?;
    let made = folder.path().join("made");
    let manifest = make(config, store, feeds, &made, key)?;
    fs::rename(&made, out).map_err(BackingUpError::io(out))?;
    // It is on the disk, and so has its name to be, before anybody is told.
    portcullis_durable::sync_folder_of(out).map_err(|error| BackingUpError::io(out)(error.into_source()))?;
    Ok(manifest)
}

/// Whether it is one of the names that belong to a store: whatever is written there is taken for the store's.
fn is_of_store(out: &Path, store: &Path) -> bool {
    let real =
        |path: &Path| fs::canonicalize(folder_of(path)).ok().zip(path.file_name().map(std::ffi::OsStr::to_owned));
    let (Some((folder, name)), Some((there, of))) = (real(out), real(store)) else { return false };
    let (name, of) = (name.to_string_lossy(), of.to_string_lossy());
    let rest = name.strip_prefix(&*of).filter(|rest| rest.is_empty() || rest.starts_with(['-', '.']));
    folder == there && rest.is_some_and(|rest| !rest.ends_with(SUFFIX))
}

/// Copies the store, how far its log has come, and the lists of networks that were last good, into one file that is not there yet. A store on which no gateway
/// would start is not copied.
pub(crate) fn make(
    config: &Path,
    store: &portcullis_store::Settings,
    feeds: Option<&Path>,
    out: &Path,
    key: Option<&BackupKey>,
) -> Result<Manifest, BackingUpError> {
    if is_of_store(out, &store.path) {
        let message = format!("{}: that is a name of the store: name another file", out.display());
        return Err(BackingUpError::Refused(message));
    }
    if fs::symlink_metadata(out).is_ok() {
        return Err(BackingUpError::There(out.to_owned()));
    }
    let parent = folder_of(out);
    fs::create_dir_all(parent).map_err(BackingUpError::io(parent))?;
    let scratch = scratch(parent)?;
    let copy = scratch.path().join(STORE);
    let (instance, revoked) = copy_judged(config, store, &copy)?;
    // What the copy itself says, so that the two belong together.
    let head = head_of(&copy)?;
    let head_file = scratch.path().join(HEAD);
    fs::write(&head_file, head.to_text()).map_err(BackingUpError::io(&head_file))?;
    let mut files = vec![(STORE.to_owned(), copy.clone()), (HEAD.to_owned(), head_file)];
    if !revoked.is_empty() {
        let list = scratch.path().join(REVOKED);
        fs::write(&list, revoked.to_text()).map_err(BackingUpError::io(&list))?;
        files.push((REVOKED.to_owned(), list));
    }
    files.extend(feeds.map(|feeds| copied_lists(feeds, scratch.path())).transpose()?.unwrap_or_default());
    let manifest = Manifest {
        created: Timestamp::now().as_microsecond(),
        n: head.n,
        head: head.hash,
        instance,
        files: Vec::new(),
    };
    let manifest = create(out, manifest, &files, key)?;
    // What cannot be restored is no backup, and must not push older ones out.
    if let Err(error) = check(config, out, key, parent) {
        let _ = fs::remove_file(out);
        return Err(error);
    }
    Ok(manifest)
}

/// Copies the store, and holds the copy to all that a start would hold the store to. Says which gateway's it is, and which keys of approvers were revoked.
fn copy_judged(
    config: &Path,
    store: &portcullis_store::Settings,
    copy: &Path,
) -> Result<(Hash, RevokedKeys), BackingUpError> {
    let of = |trouble| BackingUpError::Copy { path: store.path.clone(), trouble };
    let not_believed = |why: String| BackingUpError::NotBelieved { store: store.path.clone(), why };
    let unfit = |error| match error {
        BackingUpError::Governance(why) => not_believed(why.to_string()),
        error => error,
    };
    let read = || Beside::of(&store.path).map_err(|why| not_believed(why.to_string()));
    let versions = Versions::open_made(store)?;
    let mut beside = read()?;
    for _ in 0..TRIES {
        if copy.exists() {
            fs::remove_file(copy).map_err(BackingUpError::io(copy))?;
        }
        versions.copy_to(copy).map_err(of)?;
        // A version that became live meanwhile is in the copy or is not, and the files beside the store say otherwise.
        let now = read()?;
        if now == beside {
            break;
        }
        beside = now;
    }
    let governor = look(config, copy, beside.clone()).map_err(unfit)?;
    let standing = governor.standing();
    power_is_known(store, standing.rules.required).map_err(not_believed)?;
    Ok((standing.instance, beside.into_revoked()))
}

/// Whether the log of temporary power in a store that is open is whole, and where approvals are required what is known of it beside the store. While a gateway
/// appends to it, it is asked once more.
///
/// # Errors
/// What is wrong.
pub(super) fn power_is_known(store: &portcullis_store::Settings, required: bool) -> Result<(), String> {
    let anchor = || PowerAnchorFile::beside(&store.path).read().ok();
    let read = || {
        let log = PowerLog::read(store).map_err(|error| error.to_string())?;
        let read = if required { PowerBook::read } else { PowerBook::read_rows };
        read(Box::new(log), Limits::default()).map(drop).map_err(|error| error.to_string())
    };
    let mut known = anchor();
    let mut found = read();
    for _ in 0..TRIES {
        let now = anchor();
        if found.is_ok() || now == known {
            break;
        }
        (known, found) = (now, read());
    }
    found
}
