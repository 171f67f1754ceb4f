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
    read_most(path, MOST)
}

/// The same of a longer one. `most`: in bytes; what is longer is cut off there.
///
/// # Errors
/// It cannot be read, or is no text.
pub(crate) fn read_most(path: &Path, most: u64) -> io::Result<Option<String>> {
    let mut text = String::new();
    match File::open(path) {
        Ok(file) => file.take(most).read_to_string(&mut text).map(|_| Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes it. It is on the disk when this returns, and as it was before when this fails.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    let draft = beside(path, ".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    belong_with_the_store(&file, path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Whoever may write the store may write what is beside it: also where somebody else, as root often does, was the first to open it.
fn belong_with_the_store(file: &File, path: &Path) -> io::Result<()> {
    let owner = fs::metadata(path.with_extension("")).or_else(|_| fs::metadata(path));
    let Ok(owner) = owner else { return Ok(()) };
    let mine = file.metadata()?;
    if (mine.uid(), mine.gid()) == (owner.uid(), owner.gid()) {
        return Ok(());
    }
    match fchown(file, Some(owner.uid()), Some(owner.gid())) {
        // Who may not give files away has one of their own, as before.
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
    use std::os::unix::fs::chown;

    use super::*;

    /// Finding of 2026-11: what root wrote beside the store, by looking at it, kept the gateway from starting under its own account.
    #[test]
    fn what_is_beside_a_store_belongs_to_whoever_the_store_belongs_to() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("portcullis.db");
        fs::write(&store, "").unwrap();
        let owner_of = |path: &Path| {
            let metadata = fs::metadata(path).unwrap();
            (metadata.uid(), metadata.gid())
        };
        // Nobody but root gives files away: whoever else runs this sees that it is written.
        let given = chown(&store, Some(4_242), Some(4_243)).is_ok();
        for suffix in [".head", ".steps", ".revoked"] {
            let path = beside(&store, suffix);
            for text in ["one\n", "two\n"] {
                write(&path, text).unwrap();
                assert_eq!(read(&path).unwrap().as_deref(), Some(text));
                assert_eq!(owner_of(&path), owner_of(&store), "{suffix}, and given: {given}");
                assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
            }
        }
    }
}
