//! Files that are replaced as a whole: whoever reads one at any moment, after a crash or a loss of power too, has the old one or the new one, and never a part.
//!
//! What is new is written to a [`Draft`] beside the file, by one at a time, and forced to the disk; then it is renamed, and the folder is forced to the
//! disk. A draft that a process left which was killed is in nobody's way. No link is followed: neither in the draft's place, where it is left alone, nor in
//! that of the file, where it is replaced itself.
//!
//! What is appended to (events, letters that could not be delivered, spools) and what SQLite keeps is no matter of this crate.

mod draft;
mod folders;

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

pub use draft::{Draft, Rights};
pub use folders::{make_folders_of, remove_empty};

/// Why a file was not replaced. It is as it was, unless it is the folder that could not be forced to the disk.
#[derive(Debug, thiserror::Error)]
pub enum DurableError {
    /// Somebody else writes this draft, or what stands there is no draft and is left alone.
    #[error("{}: another change is under way", _0.display())]
    Busy(PathBuf),
    /// Reading, writing or renaming failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Of what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl DurableError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// Why, for whoever names the path in words of their own.
    pub fn into_source(self) -> io::Error {
        match self {
            Self::Busy(path) => {
                io::Error::new(ErrorKind::ResourceBusy, format!("another change is under way ({})", path.display()))
            }
            Self::Io { source, .. } => source,
        }
    }
}

/// Replaces a file by these bytes, or makes it, and waits for its turn for some seconds where somebody else does. It is on the disk when this returns.
///
/// # Errors
/// See [`DurableError`].
pub fn write(target: &Path, draft: PathBuf, rights: Rights<'_>, bytes: &[u8]) -> Result<(), DurableError> {
    let mut draft = Draft::in_turn(target, draft, rights)?;
    draft.write_all(bytes).map_err(DurableError::io(target))?;
    draft.put_in_place()
}

/// Makes a file that is not there yet, with this mode less the umask. It is on the disk when this returns.
///
/// # Errors
/// There is something of this name, which stays as it is; or it cannot be written, and nothing is left of it.
pub fn create(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), DurableError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.map_err(DurableError::io(path))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(source) = written {
        // The first error is the one that says why.
        let _ = fs::remove_file(path);
        return Err(DurableError::Io { path: path.to_owned(), source });
    }
    sync_folder_of(path)
}

/// Takes a file away, where it is there.
///
/// # Errors
/// It is still there, or the folder could not be forced to the disk.
pub fn remove(path: &Path) -> Result<(), DurableError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(DurableError::io(path)(error)),
        Ok(()) => sync_folder_of(path),
    }
}

/// Forces to the disk what a folder says of a name: that something was made there, renamed or removed.
///
/// # Errors
/// The folder cannot be read, or forced to the disk.
pub fn sync_folder_of(path: &Path) -> Result<(), DurableError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(DurableError::io(folder))
}

/// A name beside a file that begins with its name: `portcullis.db` and `.new` are `portcullis.db.new`.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A name beside a file that people do not see, and no pattern for its kind finds: `policy.toml` has `.policy.toml.new`.
pub fn hidden_beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_else(|| "file".as_ref()));
    name.push(".new");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests;
