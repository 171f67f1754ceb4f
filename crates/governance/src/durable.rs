//! Small files beside the store that say how far something has come: whole, or as they were before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
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
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
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
