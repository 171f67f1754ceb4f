//! A file on the disk, as it is: one that is a file. Whoever can edit the configuration could lay something in its place that never ends, or never begins.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use portcullis_governance::MAX_CONTENT;
use rustix::fs::OFlags;

/// What it holds; `None`: there is none.
///
/// # Errors
/// A sentence: it cannot be read, is no regular file, or is larger than all files of a version may be.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    // A queue that nobody writes to is opened at once, and is no file.
    let wait = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = match OpenOptions::new().read(true).custom_flags(wait).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&error)),
    };
    if !file.metadata().map_err(|error| failed(&error))?.is_file() {
        return Err(failed(&"it is not a regular file"));
    }
    let most = u64::try_from(MAX_CONTENT).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if bytes.len() > MAX_CONTENT {
        return Err(failed(&format_args!("it is larger than {} MiB", MAX_CONTENT >> 20)));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    /// Finding of 2026-11: a queue in the place of `policy.toml` held whoever activated anything, and with it all who looked, for ever.
    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), "text").unwrap();
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
        mknodat(CWD, path("queue"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert_eq!(read(&path("file")), Ok(Some(b"text".to_vec())));
        assert_eq!(read(&path("link")), Ok(Some(b"text".to_vec())));
        assert_eq!(read(&path("none")), Ok(None));
        for other in [path("queue"), folder.path().to_owned(), Path::new("/dev/zero").to_owned()] {
            let why = read(&other).unwrap_err();
            assert!(why.contains("it is not a regular file"), "{why}");
        }
    }
}
