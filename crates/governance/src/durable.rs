//! Small files beside the store that say how far something has come: whole, or as they were before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

/// No such file is longer, in bytes.
const MOST: u64 = 512;

/// The file of this name beside a store: `portcullis.db` and `.steps` are `portcullis.db.steps`.
pub(crate) fn beside(store: &Path, suffix: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What it holds; `None`: there is none.
///
/// # Errors
/// It cannot be read, or is no text.
pub(crate) fn read(path: &Path) -> io::Result<Option<String>> {
    let mut text = String::new();
    match File::open(path) {
        Ok(file) => file.take(MOST).read_to_string(&mut text).map(|_| Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes it, as a file of whoever owns the store. It is on the disk when this returns, and as it was before when this fails.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write(path: &Path, store: &Path, text: &str) -> io::Result<()> {
    let draft = beside(path, ".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    owned_as(&file, store)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Gives a file to the owner of the store: what an administrator writes the account of the gateway must read.
///
/// # Errors
/// It is still somebody else's, and could be given away.
pub(crate) fn owned_as(file: &File, store: &Path) -> io::Result<()> {
    // A store that is not there yet is nobody's.
    let Ok(wanted) = fs::metadata(store) else { return Ok(()) };
    let mine = file.metadata()?;
    if (mine.uid(), mine.gid()) == (wanted.uid(), wanted.gid()) {
        return Ok(());
    }
    match fchown(file, Some(wanted.uid()), Some(wanted.gid())) {
        // Only an administrator can. Others who write here are the account that reads it, too.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        done => done,
    }
}

/// Takes it away, where it is there.
///
/// # Errors
/// It is still there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finding of 2026-11: what an administrator wrote the account of the gateway could not read.
    #[test]
    fn what_is_written_belongs_to_whoever_owns_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("portcullis.db");
        fs::write(&store, "").unwrap();
        let own = fs::metadata(&store).unwrap();
        // Only an administrator can give a file away; everybody else has one account.
        let wanted = if own.uid() == 0 { (4_000_000_001, 4_000_000_002) } else { (own.uid(), own.gid()) };
        std::os::unix::fs::chown(&store, Some(wanted.0), Some(wanted.1)).unwrap();
        for (suffix, again) in [(".steps", false), (".steps", true), (".power", false)] {
            let path = beside(&store, suffix);
            write(&path, &store, "x").unwrap();
            let found = fs::metadata(&path).unwrap();
            assert_eq!(
                (found.uid(), found.gid(), found.mode() & 0o777),
                (wanted.0, wanted.1, 0o600),
                "{suffix} {again}"
            );
        }
    }
}
