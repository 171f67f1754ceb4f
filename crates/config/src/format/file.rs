//! A file with its canonical layout, written in place as a whole or not at all.

use std::path::{Path, PathBuf};

use crate::diagnostics::Report;
use crate::document::{MAX_POLICY_FILE, add_text, parse_document, read_bytes};
use crate::draft::{Draft, DraftError};
use crate::environment::ProcessEnvironment;
use crate::section::Reader;

use super::{Refusal, canonical};

/// The byte order mark in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file, and what it would be in canonical layout.
#[derive(Debug)]
pub struct FileToFormat {
    /// Links are followed, so that renaming does not replace one.
    path: PathBuf,
    before: Vec<u8>,
    after: String,
}

/// Why something was not formatted. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It cannot be read: it is missing, a folder, or larger than 64 MiB.
    #[error("{0}")]
    Unreadable(String),
    /// It is not TOML, not UTF-8, or nested deeper than the configuration may be.
    #[error("it is not TOML: {}", .0.summary_line())]
    Invalid(Box<Report>),
    /// It is no longer what was read.
    #[error("`{0}` was changed meanwhile: it is left as it is")]
    Changed(PathBuf),
    /// The file could not be replaced.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// It would be larger than 64 MiB: deep lists are indented.
    #[error("it would be larger than 64 MiB")]
    TooLarge,
    /// Formatting would change what the file says. That is a defect of this program.
    #[error("the formatter is wrong about this file, which is left as it is: {0}")]
    Unsound(&'static str),
}

impl FileToFormat {
    /// Reads a file of at most 64 MiB and lays it out.
    ///
    /// # Errors
    /// See [`FormatError`]; nothing is written here.
    pub fn read(path: &Path) -> Result<Self, FormatError> {
        let before = read_bytes(path, MAX_POLICY_FILE).map_err(FormatError::Unreadable)?;
        let after = format_bytes(path, &before)?;
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        Ok(Self { path, before, after })
    }

    /// Whether it is in canonical layout already.
    pub fn is_formatted(&self) -> bool {
        self.before == self.after.as_bytes()
    }

    /// What is in the file. A byte order mark is part of it.
    pub fn before(&self) -> &str {
        // It was read as UTF-8.
        std::str::from_utf8(&self.before).unwrap_or_default()
    }

    /// What it would be.
    pub fn after(&self) -> &str {
        &self.after
    }

    /// Writes the canonical layout, unless it is there already: beside the file, synced, with its owner and its
    /// permissions, and renamed.
    ///
    /// # Errors
    /// See [`FormatError`]; the file is then as it was. So it is where its owner cannot be kept.
    pub fn write(&self) -> Result<(), FormatError> {
        if self.is_formatted() {
            return Ok(());
        }
        let draft = Draft::begin(&self.path)?.write(&self.after)?;
        if read_bytes(&self.path, MAX_POLICY_FILE).ok().as_deref() != Some(self.before.as_slice()) {
            return Err(FormatError::Changed(self.path.clone()));
        }
        Ok(draft.put_in_place()?)
    }
}

impl From<Refusal> for FormatError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooLarge => Self::TooLarge,
            Refusal::Unsound(problem) => Self::Unsound(problem),
        }
    }
}

/// The canonical layout of what is in a file, or would be: `name` is only for the report.
///
/// # Errors
/// [`FormatError::Invalid`] with every syntax error, [`FormatError::TooLarge`], or [`FormatError::Unsound`].
pub fn format_bytes(name: &Path, bytes: &[u8]) -> Result<String, FormatError> {
    let reader = Reader::new(&ProcessEnvironment);
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let laid_out = add_text(&reader, name, &name.display().to_string(), bytes).and_then(|(source, text)| {
        // Only the syntax: what the keys mean is no business of the layout.
        let parsed = parse_document(&reader, source, &text, |document| canonical(&text, document.values()));
        parsed.value.filter(|_| parsed.whole)
    });
    laid_out.map_or_else(
        || {
            let report = Report::new(reader.sources.into_inner(), reader.diagnostics.into_inner());
            Err(FormatError::Invalid(Box::new(report)))
        },
        |canonical| canonical.map_err(FormatError::from),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};

    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        std::fs::write(&path, "a=1 # x\n").unwrap();
        (folder, path)
    }

    #[test]
    fn a_file_is_replaced_with_its_permissions_and_nothing_is_left_behind() {
        let (folder, path) = folder();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let before = std::fs::metadata(&path).unwrap();
        let file = FileToFormat::read(&path).unwrap();
        assert!(!file.is_formatted());
        file.write().unwrap();
        let after = std::fs::metadata(&path).unwrap();
        assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), file.after());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

        let again = FileToFormat::read(&path).unwrap();
        assert!(again.is_formatted());
        again.write().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), after.ino(), "what is formatted is not written");
    }

    #[test]
    fn a_link_is_followed_and_stays_a_link() {
        let (folder, path) = folder();
        let link = folder.path().join("link.toml");
        symlink(&path, &link).unwrap();
        FileToFormat::read(&link).unwrap().write().unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("a = 1 "));
    }

    #[test]
    fn a_file_that_was_changed_meanwhile_is_left_as_it_is() {
        let (folder, path) = folder();
        let file = FileToFormat::read(&path).unwrap();
        std::fs::write(&path, "a=2 # x\n").unwrap();
        assert!(matches!(file.write(), Err(FormatError::Changed(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a=2 # x\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        std::fs::remove_file(&path).unwrap();
        assert!(file.write().is_err());
        assert!(!path.exists(), "a file that was removed does not come back");
    }

    #[test]
    fn two_changes_at_once_exclude_each_other() {
        let (_folder, path) = folder();
        let file = FileToFormat::read(&path).unwrap();
        let draft = Draft::begin(&path).unwrap();
        assert!(matches!(file.write(), Err(FormatError::Draft(DraftError::Busy(_)))));
        drop(draft);
        file.write().unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_told_apart_from_what_is_no_toml() {
        let (folder, path) = folder();
        let missing = folder.path().join("none.toml");
        assert!(matches!(FileToFormat::read(&missing), Err(FormatError::Unreadable(_))));
        assert!(matches!(FileToFormat::read(folder.path()), Err(FormatError::Unreadable(_))));
        std::fs::write(&path, "[a\n").unwrap();
        assert!(matches!(FileToFormat::read(&path), Err(FormatError::Invalid(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "[a\n");
    }
}
