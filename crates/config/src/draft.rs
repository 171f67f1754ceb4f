//! The new text of a file, beside it until it takes its place: the file is replaced as a whole or not at all, and by one
//! at a time, so that of two changes neither is lost.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use portcullis_durable::{DurableError, Rights, hidden_beside};

/// The file that will take the place of another. While it is held nobody else begins one.
#[derive(Debug)]
pub(crate) struct Draft {
    target: PathBuf,
    draft: portcullis_durable::Draft,
}

/// Why a file was not replaced. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// Another change is under way, and holds this file.
    #[error("`{0}` exists: wait for the other change, or remove it if there is none")]
    Busy(PathBuf),
    /// Reading, writing or renaming failed.
    #[error("cannot write `{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl From<DurableError> for DraftError {
    fn from(error: DurableError) -> Self {
        match error {
            DurableError::Busy(path) => Self::Busy(path),
            DurableError::Io { path, source } => Self::Io { path, source },
        }
    }
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
    /// Begins a draft for a file, which need not exist, with the rights that it has. A link must have been followed: it would be replaced itself.
    pub(crate) fn begin(target: &Path) -> Result<Self, DraftError> {
        let draft = portcullis_durable::Draft::begin(target, hidden_beside(target), Rights::Kept)?;
        Ok(Self { target: target.to_owned(), draft })
    }

    /// Writes the new text to the disk.
    pub(crate) fn write(mut self, text: &str) -> Result<Self, DraftError> {
        let written = self.draft.write_all(text.as_bytes());
        written.map_err(|source| DraftError::Io { path: self.target.clone(), source })?;
        self.draft.to_disk()?;
        Ok(self)
    }

    /// Renames the draft to its target.
    pub(crate) fn put_in_place(self) -> Result<(), DraftError> {
        Ok(self.draft.put_in_place()?)
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
