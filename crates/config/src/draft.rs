//! The new text of a file, beside it until it takes its place: the file is replaced as a whole or not at all, and by one
//! at a time.
//!
//! Whoever writes a draft holds a lock on it, which ends with the process: so a draft that nobody holds was left by one that was killed, and is removed
//! by whoever comes next. Only where a file system has no locks does it stay, and keep others away, until somebody removes it by hand.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// The file that will take the place of another. While it is held nobody else begins one.
#[derive(Debug)]
pub(crate) struct Draft {
    target: PathBuf,
    path: PathBuf,
    file: File,
    done: bool,
}

/// Why a file was not replaced. It is as it was.
#[derive(Debug)]
pub(crate) enum DraftError {
    /// Another change is under way, and holds this file.
    Busy(PathBuf),
    /// Reading, writing or renaming failed.
    Io { path: PathBuf, source: std::io::Error },
}

/// Replaces a file by a text, or makes it: as a whole or not at all, with the rights that it had.
///
/// # Errors
/// Why it is as it was, in a sentence.
pub fn replace_file(path: &Path, text: &str) -> Result<(), String> {
    Replacement::prepare(path, text)?.put_in_place()
}

/// The new text of a file, on the disk beside it: what is left to be done needs no room. Dropped, the file is as it was.
#[derive(Debug)]
pub struct Replacement(Draft);

impl Replacement {
    /// Writes the text beside the file, which need not exist.
    ///
    /// # Errors
    /// Why it cannot be, in a sentence. Nothing is left of it.
    pub fn prepare(path: &Path, text: &str) -> Result<Self, String> {
        // A link is followed: what it leads to is replaced.
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        Draft::begin(&target).and_then(|draft| draft.write(text)).map(Self).map_err(in_a_sentence)
    }

    /// Has it take the file's place.
    ///
    /// # Errors
    /// Why it cannot, in a sentence. The file is as it was, or the folder could not be forced to the disk after it.
    pub fn put_in_place(self) -> Result<(), String> {
        self.0.put_in_place().map_err(in_a_sentence)
    }
}

fn in_a_sentence(error: DraftError) -> String {
    match error {
        DraftError::Busy(path) => format!("{}: another change is under way", path.display()),
        DraftError::Io { path, source } => format!("{}: {source}", path.display()),
    }
}

impl Draft {
    /// Begins a draft for a file, which need not exist. A link must have been followed: it would be replaced itself.
    pub(crate) fn begin(target: &Path) -> Result<Self, DraftError> {
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().unwrap_or_else(|| "keys".as_ref()));
        name.push(".new");
        let path = target.with_file_name(name);
        let io = |source| DraftError::Io { path: path.clone(), source };
        for _ in 0..ATTEMPTS {
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) if is_held(&file, &path).map_err(io)? => {
                    return Ok(Self { target: target.to_owned(), path, file, done: false });
                }
                // Somebody took it for one that was left, before it was held.
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if !remove_what_nobody_holds(&path).map_err(io)? {
                        return Err(DraftError::Busy(path));
                    }
                }
                Err(source) => return Err(DraftError::Io { path, source }),
            }
        }
        Err(DraftError::Busy(path))
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
        if let Ok(before) = std::fs::metadata(&self.target) {
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
        std::fs::rename(&self.path, &self.target)?;
        self.done = true;
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn failed(&self, source: std::io::Error) -> DraftError {
        DraftError::Io { path: self.target.clone(), source }
    }
}

/// Drafts that are begun before it is said that another change is under way.
const ATTEMPTS: usize = 8;

/// Takes the lock on a draft that was just made. Says whether the file is still that draft.
fn is_held(file: &File, path: &Path) -> std::io::Result<bool> {
    match file.try_lock() {
        // A file system without locks: that it was not there before is what keeps others away.
        Ok(()) | Err(TryLockError::Error(_)) => is_same(file, path),
        Err(TryLockError::WouldBlock) => Ok(false),
    }
}

/// Removes a draft, unless somebody holds it. Says whether another one can be tried.
fn remove_what_nobody_holds(path: &Path) -> std::io::Result<bool> {
    let gone = |error: std::io::Error| if error.kind() == ErrorKind::NotFound { Ok(true) } else { Err(error) };
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => return Ok(false),
        Ok(_) => {}
        Err(error) => return gone(error),
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return gone(error),
    };
    if file.try_lock().is_err() {
        return Ok(false);
    }
    // Whoever held it may have put it in its place meanwhile: that is no draft any more.
    if is_same(&file, path)? {
        std::fs::remove_file(path).or_else(|error| gone(error).map(drop))?;
    }
    Ok(true)
}

fn is_same(file: &File, path: &Path) -> std::io::Result<bool> {
    let mine = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok((mine.dev(), mine.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.done {
            // What is left is removed by whoever comes next.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        names
    }

    /// A process that was killed while it wrote leaves its draft, and nobody has to remove that by hand.
    #[test]
    fn a_draft_that_was_left_behind_keeps_nobody_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        std::fs::write(&path, "before").unwrap();
        std::fs::write(folder.path().join(".policy.toml.new"), "half a").unwrap();
        assert_eq!(replace_file(&path, "after"), Ok(()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "after");
        assert_eq!(names(folder.path()), ["policy.toml"]);
    }

    #[test]
    fn a_draft_that_is_held_keeps_others_away_and_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        let held = Replacement::prepare(&path, "mine").unwrap();
        let refused = replace_file(&path, "other").unwrap_err();
        assert!(refused.ends_with(".policy.toml.new: another change is under way"), "{refused}");
        held.put_in_place().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        // Dropped, nothing of it is left.
        drop(Replacement::prepare(&path, "never").unwrap());
        assert_eq!(
            (std::fs::read_to_string(&path).unwrap().as_str(), names(folder.path())),
            ("mine", vec!["policy.toml".to_owned()])
        );
    }

    #[test]
    fn what_is_no_draft_is_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let (path, target) = (folder.path().join("policy.toml"), elsewhere.path().join("precious"));
        std::fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, folder.path().join(".policy.toml.new")).unwrap();
        assert!(replace_file(&path, "x").unwrap_err().contains("another change"));
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
        std::fs::remove_file(folder.path().join(".policy.toml.new")).unwrap();
        std::fs::create_dir(folder.path().join(".policy.toml.new")).unwrap();
        assert!(replace_file(&path, "x").unwrap_err().contains("another change"));
    }
}
