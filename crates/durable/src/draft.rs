//! The new content of a file, beside it until it takes its place: by one at a time.
//!
//! Whoever writes a draft holds a lock on it, which ends with the process: so a draft that nobody holds was left by one that was killed, and is removed
//! by whoever comes next.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::{DurableError, sync_folder_of};

/// Whose the file is that takes a place, and who may read it.
#[derive(Debug, Clone, Copy)]
pub enum Rights<'a> {
    /// Owner, group and mode of the one that it replaces: whoever could read it before can read it after, and nobody else. Where there is none, its owner
    /// alone may read and write it. Where they cannot be given, nothing is replaced.
    Kept,
    /// This mode less the umask; it belongs to whoever writes it.
    Mode(u32),
    /// Its owner alone may read and write it, and has this file as well; where that is not there, has the one that is replaced. Who may not give files away
    /// has it.
    OwnerOf(&'a Path),
}

/// The file that will take the place of another. While it is held nobody else begins one. Dropped, nothing is left of it, and the other is as it was.
#[derive(Debug)]
pub struct Draft {
    target: PathBuf,
    path: PathBuf,
    file: File,
    is_on_disk: bool,
    is_in_place: bool,
}

/// What becomes of a draft in the way where the file system has no locks, so that nobody knows whether somebody still writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WithoutLocks {
    Left,
    TakenOver,
}

/// Drafts that are begun before it is said that another change is under way.
const ATTEMPTS: usize = 8;
/// How often its turn is looked for, and how long is waited in between.
const TURNS: usize = 1_000;
const PAUSE: Duration = Duration::from_millis(5);

impl Draft {
    /// Begins the draft of a file, which need not exist, at this path beside it. Where a file system has no locks, a draft that was left keeps others away
    /// until somebody removes it by hand: this is for changes of which two at once must not both succeed.
    ///
    /// # Errors
    /// Another one is under way, or it cannot be made.
    pub fn begin(target: &Path, draft: PathBuf, rights: Rights<'_>) -> Result<Self, DurableError> {
        Self::try_begin(target, &draft, rights, WithoutLocks::Left)
    }

    /// The same in its turn: who is told that another change is under way tries again, for some seconds. Where a file system has no locks, it is as if
    /// nobody else were there: this is for files of which the last one counts.
    ///
    /// # Errors
    /// Another one is still under way, or it cannot be made.
    pub fn in_turn(target: &Path, draft: PathBuf, rights: Rights<'_>) -> Result<Self, DurableError> {
        for _ in 0..TURNS {
            match Self::try_begin(target, &draft, rights, WithoutLocks::TakenOver) {
                // What is no file does not go away by itself.
                Err(DurableError::Busy(path)) if is_file(&path) => thread::sleep(PAUSE),
                begun => return begun,
            }
        }
        Err(DurableError::Busy(draft))
    }

    fn try_begin(
        target: &Path,
        draft: &Path,
        rights: Rights<'_>,
        without_locks: WithoutLocks,
    ) -> Result<Self, DurableError> {
        let io = DurableError::io;
        let mode = match rights {
            Rights::Mode(mode) => mode,
            Rights::Kept | Rights::OwnerOf(_) => 0o600,
        };
        for _ in 0..ATTEMPTS {
            match OpenOptions::new().write(true).create_new(true).mode(mode).open(draft) {
                Ok(file) if is_held(&file, draft).map_err(io(draft))? => {
                    let begun = Self {
                        target: target.to_owned(),
                        path: draft.to_owned(),
                        file,
                        is_on_disk: false,
                        is_in_place: false,
                    };
                    give(&begun.file, target, rights).map_err(io(target))?;
                    return Ok(begun);
                }
                // Somebody took it for one that was left, before it was held.
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if !remove_what_nobody_holds(draft, without_locks).map_err(io(draft))? {
                        break;
                    }
                }
                Err(source) => return Err(io(draft)(source)),
            }
        }
        Err(DurableError::Busy(draft.to_owned()))
    }

    /// Forces what was written to the disk: what is left to be done needs no room.
    ///
    /// # Errors
    /// It is not on the disk.
    pub fn to_disk(&mut self) -> Result<(), DurableError> {
        if !self.is_on_disk {
            self.file.sync_all().map_err(DurableError::io(&self.target))?;
            self.is_on_disk = true;
        }
        Ok(())
    }

    /// Has it take the file's place, once it is on the disk.
    ///
    /// # Errors
    /// The file is as it was; or it was replaced, and the folder could not be forced to the disk.
    pub fn put_in_place(mut self) -> Result<(), DurableError> {
        self.to_disk()?;
        let io = DurableError::io;
        // Where there are no locks, another one may have its draft there by now.
        if !is_same(&self.file, &self.path).map_err(io(&self.path))? {
            return Err(DurableError::Busy(self.path.clone()));
        }
        fs::rename(&self.path, &self.target).map_err(io(&self.target))?;
        self.is_in_place = true;
        sync_folder_of(&self.target)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.is_on_disk = false;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // What is left is removed by whoever comes next.
        if !self.is_in_place && is_same(&self.file, &self.path).unwrap_or_default() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn give(file: &File, target: &Path, rights: Rights<'_>) -> io::Result<()> {
    let own = |owner: &fs::Metadata| -> io::Result<()> {
        let mine = file.metadata()?;
        if (mine.uid(), mine.gid()) == (owner.uid(), owner.gid()) {
            return Ok(());
        }
        fchown(file, Some(owner.uid()), Some(owner.gid()))
    };
    match rights {
        Rights::Mode(_) => Ok(()),
        Rights::Kept => match fs::symlink_metadata(target) {
            Ok(before) if before.is_file() => {
                // The owner first: giving a file away takes rights from its mode.
                own(&before)?;
                file.set_permissions(before.permissions())
            }
            // A link is replaced itself, and has no rights of its own.
            Ok(_) | Err(_) => Ok(()),
        },
        Rights::OwnerOf(other) => match fs::metadata(other).or_else(|_| fs::symlink_metadata(target)) {
            Ok(owner) => match own(&owner) {
                Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
                done => done,
            },
            Err(_) => Ok(()),
        },
    }
}

/// Takes the lock on a draft that was just made. Says whether the file is still that draft.
fn is_held(file: &File, path: &Path) -> io::Result<bool> {
    match file.try_lock() {
        // A file system without locks: that it was not there before is what keeps others away.
        Ok(()) | Err(TryLockError::Error(_)) => is_same(file, path),
        Err(TryLockError::WouldBlock) => Ok(false),
    }
}

/// Removes a draft, unless somebody holds it. Says whether another one can be tried.
fn remove_what_nobody_holds(path: &Path, without_locks: WithoutLocks) -> io::Result<bool> {
    let gone = |error: io::Error| if error.kind() == ErrorKind::NotFound { Ok(true) } else { Err(error) };
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => return Ok(false),
        Ok(_) => {}
        Err(error) => return gone(error),
    }
    // To write, since some file systems give a lock to nobody else; who may not do that may read it, perhaps.
    let opened = OpenOptions::new().write(true).open(path).or_else(|error| match error.kind() {
        ErrorKind::PermissionDenied => File::open(path),
        _ => Err(error),
    });
    let file = match opened {
        Ok(file) => file,
        Err(error) => return gone(error),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(_)) if without_locks == WithoutLocks::Left => return Ok(false),
        Err(TryLockError::Error(_)) => {}
    }
    // Whoever held it may have put it in its place meanwhile: that is no draft any more.
    if is_same(&file, path)? {
        fs::remove_file(path).or_else(|error| gone(error).map(drop))?;
    }
    Ok(true)
}

fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    let mine = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((mine.dev(), mine.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_file(path: &Path) -> bool {
    // Where it is gone, it can be tried again.
    fs::symlink_metadata(path).map_or(true, |found| found.is_file())
}
