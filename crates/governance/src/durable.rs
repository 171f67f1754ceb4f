//! Small files beside the store that say how far something has come: whole, or as they were before.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

pub(crate) use portcullis_durable::beside;
use portcullis_durable::{DurableError, Rights};

/// No such file is longer, in bytes.
const MOST: u64 = 512;

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

/// Writes it. It is on the disk when this returns, and as it was before when this fails. Whoever may write the store may write what is beside it: also where
/// somebody else, as root often does, was the first to open it.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    let rights = Rights::OwnerOf(&path.with_extension(""));
    portcullis_durable::write(path, beside(path, ".new"), rights, text.as_bytes()).map_err(DurableError::into_source)
}

/// Takes it away, where it is there.
///
/// # Errors
/// It is still there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    portcullis_durable::remove(path).map_err(DurableError::into_source)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, chown};

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
        for suffix in [".head", ".steps", ".recovery", ".revoked"] {
            let path = beside(&store, suffix);
            for text in ["one\n", "two\n"] {
                write(&path, text).unwrap();
                assert_eq!(read(&path).unwrap().as_deref(), Some(text));
                assert_eq!(owner_of(&path), owner_of(&store), "{suffix}, and given: {given}");
                assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
            }
        }
    }

    /// Finding of 2026-11: whoever could write to the folder of the store could have root, who looks at it now and then, write over any file.
    #[test]
    fn a_link_in_the_place_of_a_draft_is_not_followed() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let precious = elsewhere.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        let path = beside(&folder.path().join("portcullis.db"), ".head");
        write(&path, "one\n").unwrap();
        std::os::unix::fs::symlink(&precious, beside(&path, ".new")).unwrap();
        let refused = write(&path, "two\n").unwrap_err();
        assert!(refused.to_string().ends_with("portcullis.db.head.new)"), "{refused}");
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        assert_eq!(read(&path).unwrap().as_deref(), Some("one\n"));
    }
}
