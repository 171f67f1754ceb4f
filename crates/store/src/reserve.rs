//! Room on the disk that is kept for what must find some: a file beside the store, of which nothing is read. Where the disk is full it is given up, and what it took is
//! free at once. Who else waits for room may be faster; whoever needs it tries again right then.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::database::MODE;

/// A hundred revocations and more, and what SQLite writes around them, in bytes.
const BYTES: usize = 1 << 20;

/// The file.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// That of a store.
    pub(crate) fn beside(store: &Path) -> Self {
        let mut path = store.as_os_str().to_owned();
        path.push("-reserve");
        Self { path: path.into() }
    }

    /// Keeps the room, where it is not kept already. Says whether it was not.
    ///
    /// # Errors
    /// There is none to keep; then none is taken.
    pub(crate) fn keep(&self) -> io::Result<bool> {
        let mut file = match OpenOptions::new().write(true).create_new(true).mode(MODE).open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(error),
        };
        let filled = file.write_all(&noise()).and_then(|()| file.sync_all());
        if let Err(error) = filled {
            self.give_up();
            return Err(error);
        }
        Ok(true)
    }

    /// Gives the room up. Says whether there was any.
    pub(crate) fn give_up(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }
}

/// What no file system can keep in less room than it takes.
fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(BYTES);
    while bytes.len() < BYTES {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn room_is_kept_once_and_given_up_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store.db");
        let reserve = Reserve::beside(&store);
        assert!(!reserve.give_up(), "there is none");
        assert!(reserve.keep().unwrap() && !reserve.keep().unwrap());
        let found = fs::metadata(folder.path().join("store.db-reserve")).unwrap();
        assert_eq!((found.len(), found.mode() & 0o777), (BYTES as u64, 0o600));
        assert!(found.blocks() * 512 >= BYTES as u64, "it takes the room");
        assert!(reserve.give_up() && !reserve.give_up());
        assert!(reserve.keep().unwrap());
    }

    #[test]
    fn where_there_is_no_folder_no_room_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Reserve::beside(&folder.path().join("gone/store.db")).keep().is_err());
    }
}
