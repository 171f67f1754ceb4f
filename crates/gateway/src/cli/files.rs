//! Files that are named on the command line. What is none is refused at once: a queue that nobody writes to would hold the verb for ever.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use portcullis_governance::MAX_CONTENT;
use rustix::fs::OFlags;

/// Opens a file to be read.
///
/// # Errors
/// It is not there, may not be read, or is no regular file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // Whoever opens a queue waits for who writes to it, unless told not to. A file heeds that in nothing.
    let wait = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(wait).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

/// All of a file that holds a text, of at most as many bytes as a version may have.
///
/// # Errors
/// As of [`open`]; it is larger; or it is no text.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    let most = u64::try_from(MAX_CONTENT).unwrap_or(u64::MAX);
    let mut text = String::new();
    open(path)?.take(most.saturating_add(1)).read_to_string(&mut text)?;
    if text.len() > MAX_CONTENT {
        return Err(io::Error::other(format!("it is larger than {} MiB", MAX_CONTENT >> 20)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    /// Finding of 2026-11: `policy propose` of a queue waited for ever.
    #[test]
    fn what_is_no_file_is_refused_at_once_and_what_is_too_large_is_not_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), "text").unwrap();
        mknodat(CWD, path("queue"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert_eq!(text(&path("file")).unwrap(), "text");
        assert_eq!(text(&path("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        for other in [path("queue"), folder.path().to_owned(), Path::new("/dev/zero").to_owned()] {
            let why = text(&other).unwrap_err().to_string();
            assert_eq!(why, "it is not a regular file", "{}", other.display());
        }
        File::create(path("large")).unwrap().set_len(MAX_CONTENT as u64 + 1).unwrap();
        assert!(text(&path("large")).unwrap_err().to_string().contains("it is larger than"));
    }
}
