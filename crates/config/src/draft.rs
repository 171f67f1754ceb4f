//! The new text of a file, beside it until it takes its place: the file is replaced as a whole or not at all, and by one
//! at a time.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// The file that will take the place of another. While it exists nobody else begins one.
pub(crate) struct Draft<'p> {
    target: &'p Path,
    path: PathBuf,
    file: File,
    done: bool,
}

/// Why a file was not replaced. It is as it was.
#[derive(Debug)]
pub(crate) enum DraftError {
    /// Another change is under way, or one was cut off and left this file behind.
    Busy(PathBuf),
    /// Reading, writing or renaming failed.
    Io { path: PathBuf, source: std::io::Error },
}

/// Replaces a file by a text, or makes it: as a whole or not at all, with the rights that it had.
///
/// # Errors
/// Why it is as it was, in a sentence.
pub fn replace_file(path: &Path, text: &str) -> Result<(), String> {
    // A link is followed: what it leads to is replaced.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let done = Draft::begin(&target).and_then(|draft| draft.write(text)).and_then(Draft::put_in_place);
    done.map_err(|error| match error {
        DraftError::Busy(path) => {
            format!("{}: another change is under way, or one was cut off: remove this file then", path.display())
        }
        DraftError::Io { path, source } => format!("{}: {source}", path.display()),
    })
}

impl<'p> Draft<'p> {
    /// Begins a draft for a file, which need not exist. A link must have been followed: it would be replaced itself.
    pub(crate) fn begin(target: &'p Path) -> Result<Self, DraftError> {
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().unwrap_or_else(|| "keys".as_ref()));
        name.push(".new");
        let path = target.with_file_name(name);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => Ok(Self { target, path, file, done: false }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(DraftError::Busy(path)),
            Err(source) => Err(DraftError::Io { path, source }),
        }
    }

    /// Writes the new text to the disk, with the rights of the file that it will replace.
    pub(crate) fn write(mut self, text: &str) -> Result<Self, DraftError> {
        self.try_write(text).map_err(|source| self.failed(source))?;
        Ok(self)
    }

    /// Renames the draft to its target.
    pub(crate) fn put_in_place(mut self) -> Result<(), DraftError> {
        self.try_put_in_place().map_err(|source| self.failed(source))
    }

    fn try_write(&mut self, text: &str) -> std::io::Result<()> {
        if let Ok(before) = std::fs::metadata(self.target) {
            // Whoever could read the file before can read it after, and nobody else.
            let mine = self.file.metadata()?;
            if (mine.uid(), mine.gid()) != (before.uid(), before.gid()) {
                fchown(&self.file, Some(before.uid()), Some(before.gid()))?;
            }
            self.file.set_permissions(before.permissions())?;
        }
        self.file.write_all(text.as_bytes())?;
        self.file.sync_all()
    }

    fn try_put_in_place(&mut self) -> std::io::Result<()> {
        std::fs::rename(&self.path, self.target)?;
        self.done = true;
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn failed(&self, source: std::io::Error) -> DraftError {
        DraftError::Io { path: self.target.to_path_buf(), source }
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.done {
            // Failing to clean up is told by the next run (`Busy`); there is nobody to tell here.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
