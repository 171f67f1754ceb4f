//! Room on the disk that is kept for what must find some: a file beside the store, of which nothing is read. Where the disk is full it is given up, and what it took is
//! free at once. Who else waits for room may be faster; whoever needs it tries again right then.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
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

    /// Keeps the room, where it is not kept already. Says whether it was not. A file that holds less, as a copy may, or one that was begun when the machine lost its power, is made anew.
    ///
    /// # Errors
    /// There is none to keep; then none is taken.
    pub(crate) fn keep(&self) -> io::Result<bool> {
        if self.holds() {
            return Ok(false);
        }
        let mut new = self.path.clone().into_os_string();
        new.push("-new");
        let new = PathBuf::from(new);
        for short in [&self.path, &new] {
            match fs::remove_file(short) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        let filled = fill(&new).and_then(|()| fs::rename(&new, &self.path));
        if let Err(error) = filled {
            // What it has taken is needed.
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        // So that it is found again after a loss of power.
        if let Some(folder) = self.path.parent() {
            File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?.sync_all()?;
        }
        Ok(true)
    }

    /// Whether the file takes the room.
    fn holds(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| {
            let bytes = BYTES as u64;
            found.is_file() && found.len() >= bytes && found.blocks().saturating_mul(512) >= bytes
        })
    }

    /// Gives the room up. Says whether there was any.
    pub(crate) fn give_up(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }
}

/// Makes it. When it returns, the room is taken on the disk.
fn fill(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(&noise())?;
    file.sync_all()
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
    fn a_file_that_holds_no_room_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::beside(&folder.path().join("store.db"));
        let path = folder.path().join("store.db-reserve");
        let takes = || fs::metadata(&path).unwrap().blocks() * 512 >= BYTES as u64;
        // Begun and not ended; of another's; as a copy has it that leaves room out.
        fs::write(&path, "").unwrap();
        assert!(reserve.keep().unwrap() && takes());
        fs::write(&path, noise().split_last().unwrap().1).unwrap();
        assert!(reserve.keep().unwrap() && takes());
        File::create(&path).unwrap().set_len(BYTES as u64).unwrap();
        assert!(!takes() && reserve.keep().unwrap() && takes());
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).unwrap();
        assert!(reserve.keep().unwrap() && takes() && !folder.path().join("elsewhere").exists());
        // What was left of one that was being made is in nobody's way, and nothing is left.
        fs::remove_file(&path).unwrap();
        fs::write(folder.path().join("store.db-reserve-new"), "x").unwrap();
        assert!(reserve.keep().unwrap() && takes() && !reserve.keep().unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn where_there_is_no_folder_no_room_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Reserve::beside(&folder.path().join("gone/store.db")).keep().is_err());
    }
}
