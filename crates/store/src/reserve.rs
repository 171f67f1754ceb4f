//! Room on the disk that is kept for what must find some: a file beside the store, of which nothing is read. Where the disk is full a piece of it is given up, and what that
//! took is free at once. Who else waits for room may be faster, and then has that piece alone: whoever needs it tries again right then, and as long as there are pieces.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use portcullis_durable::{DurableError, Rights, beside};

use crate::database::MODE;

/// A hundred revocations and more, and what SQLite writes around them, in bytes.
const BYTES: usize = 1 << 20;
/// What is given up at once, in bytes: more than SQLite writes for one revocation, and no more than others may take of it.
const PIECE: u64 = 64 << 10;

/// The file.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// That of a store.
    pub(crate) fn beside(store: &Path) -> Self {
        Self { path: beside(store, "-reserve") }
    }

    /// Keeps the room, where it is not kept already. Says whether it was not. What is left of it stays, and the rest is added. A file that takes less room than it seems to, as
    /// a copy may, is made anew.
    ///
    /// # Errors
    /// There is none to keep; then none is taken, and what is left of it stays.
    pub(crate) fn keep(&self) -> io::Result<bool> {
        match self.held() {
            Some(held) if held >= BYTES as u64 => return Ok(false),
            Some(held) if held > 0 => return self.add_to(held).map(|()| true),
            Some(_) | None => {}
        }
        let new = beside(&self.path, "-new");
        for short in [&self.path, &new] {
            match fs::remove_file(short) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        // Where it cannot be, what it has taken is needed, and given back.
        portcullis_durable::write(&self.path, new, Rights::Mode(MODE), &noise()).map_err(DurableError::into_source)?;
        Ok(true)
    }

    /// How much room the file takes, in bytes; `None` where it is no file, or does not take all that it seems to.
    fn held(&self) -> Option<u64> {
        let found = fs::symlink_metadata(&self.path).ok().filter(fs::Metadata::is_file)?;
        (found.blocks().saturating_mul(512) >= found.len()).then_some(found.len())
    }

    /// Takes the rest of the room, behind what is held already.
    fn add_to(&self, held: u64) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        let noise = noise();
        let rest = usize::try_from(held).ok().and_then(|held| noise.get(held..)).unwrap_or_default();
        let added = file.write_all(rest).and_then(|()| file.sync_all());
        added.inspect_err(|_| {
            // What it has taken is needed.
            let _ = file.set_len(held);
        })
    }

    /// Gives a piece of the room up: all of it at once where nobody knows how much there is. Says whether there may have been any.
    pub(crate) fn give_piece(&self) -> bool {
        match self.held() {
            Some(held) if held > PIECE => {
                let file = OpenOptions::new().write(true).open(&self.path);
                file.and_then(|file| file.set_len(held - PIECE)).is_ok()
            }
            Some(held) => fs::remove_file(&self.path).is_ok() && held > 0,
            // How much it takes is not told, or it is no file: a copy that leaves room out, a file system that compresses or does not count. Whatever that is, is free.
            None => fs::remove_file(&self.path).is_ok(),
        }
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
    use std::fs::File;

    use super::*;

    #[test]
    fn room_is_kept_once_and_given_up_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store.db");
        let reserve = Reserve::beside(&store);
        assert!(!reserve.give_piece(), "there is none");
        assert!(reserve.keep().unwrap() && !reserve.keep().unwrap());
        let found = fs::metadata(folder.path().join("store.db-reserve")).unwrap();
        assert_eq!((found.len(), found.mode() & 0o777), (BYTES as u64, 0o600));
        assert!(found.blocks() * 512 >= BYTES as u64, "it takes the room");
        // As often as there are pieces, so that whoever is faster has one of them alone.
        let holds = || fs::metadata(folder.path().join("store.db-reserve")).map_or(0, |found| found.len());
        assert!(reserve.give_piece());
        assert_eq!(holds(), BYTES as u64 - PIECE);
        assert!(reserve.keep().unwrap() && holds() == BYTES as u64, "what is gone is added");
        let pieces = std::iter::from_fn(|| reserve.give_piece().then_some(())).count();
        assert_eq!((pieces as u64, holds()), (BYTES as u64 / PIECE, 0));
        assert!(reserve.keep().unwrap() && !reserve.keep().unwrap());
    }

    /// In the process that may write no file longer than this store's reserve is: where it is.
    const SHORT_OF_ROOM: &str = "PORTCULLIS_TEST_SHORT_OF_ROOM";

    #[test]
    fn where_no_more_room_can_be_kept_what_is_left_of_it_stays() {
        if let Some(store) = std::env::var_os(SHORT_OF_ROOM) {
            let reserve = Reserve::beside(Path::new(&store));
            let held = reserve.held().unwrap();
            reserve.keep().expect_err("there is no more room");
            assert_eq!(reserve.held(), Some(held), "what is left of it stays, and nothing that was begun");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store.db");
        let reserve = Reserve::beside(&store);
        reserve.keep().unwrap();
        while reserve.held().unwrap() > BYTES as u64 / 2 {
            assert!(reserve.give_piece());
        }
        // A quarter more than it has, and no more, as on a disk that is full then: also for whoever may do everything. In units of 512 bytes (POSIX).
        let most = BYTES * 3 / 4 / 512;
        let test = "reserve::tests::where_no_more_room_can_be_kept_what_is_left_of_it_stays";
        let child = std::process::Command::new("sh")
            .args(["-c", &format!("trap '' XFSZ; ulimit -f {most} && exec \"$0\" --exact {test} --nocapture")])
            .arg(std::env::current_exe().unwrap())
            .env(SHORT_OF_ROOM, &store)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("1 passed"), "{child:?}");
        assert!(reserve.keep().unwrap() && reserve.held() == Some(BYTES as u64), "and there is room again");
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
    fn a_file_of_which_nobody_knows_what_it_takes_is_given_up_whole() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::beside(&folder.path().join("store.db"));
        let path = folder.path().join("store.db-reserve");
        // Half of it takes room, and the file system tells less than its length.
        fs::write(&path, noise().get(..BYTES / 2).unwrap()).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(BYTES as u64).unwrap();
        assert!(fs::metadata(&path).unwrap().blocks() * 512 < BYTES as u64);
        assert!(reserve.give_piece() && !path.exists());
        assert!(!reserve.give_piece(), "and that was all");
        // What is no file is in nobody's way, and nothing but its name is taken away.
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, "x").unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(reserve.give_piece() && !reserve.give_piece() && elsewhere.exists());
        fs::create_dir(&path).unwrap();
        assert!(!reserve.give_piece() && path.exists());
    }

    #[test]
    fn where_there_is_no_folder_no_room_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Reserve::beside(&folder.path().join("gone/store.db")).keep().is_err());
    }
}
