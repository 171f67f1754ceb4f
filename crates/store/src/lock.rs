//! Who uses a store: gateways share it, and who changes it without one has it alone.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Whoever holds it uses the store: a gateway shares it, and who changes the store without one has it alone. It ends with the process.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why a store is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A gateway runs on it.
    #[error("a gateway runs on the store {}, and has to be asked: its control channel does not answer", .0.display())]
    Busy(PathBuf),
    /// The file of the lock.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Lock {
    /// Shares it with other gateways: during a takeover there are two.
    ///
    /// # Errors
    /// Somebody has it alone, or the file cannot be made.
    pub fn share(store: &Path) -> Result<Self, LockError> {
        Self::take(store, File::try_lock_shared)
    }

    /// Has it alone.
    ///
    /// # Errors
    /// A gateway runs, or the file cannot be made.
    pub fn alone(store: &Path) -> Result<Self, LockError> {
        Self::take(store, File::try_lock)
    }

    /// Has it alone for a look, without making or writing anything; `None`: nobody ever took it there.
    ///
    /// # Errors
    /// A gateway runs, or the file cannot be read.
    pub fn look(store: &Path) -> Result<Option<Self>, LockError> {
        let path = place(store);
        match File::open(&path) {
            Ok(file) => Self::alone_at_last(store, path, file).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LockError::Io { path, source }),
        }
    }

    /// Whoever looks has it alone as well, and not for long: that is waited for. A gateway shares it.
    fn alone_at_last(store: &Path, path: PathBuf, file: File) -> Result<Self, LockError> {
        let began = Instant::now();
        loop {
            let locked = match file.try_lock() {
                // Shared it is to be had where a gateway shares it, and where whoever had it alone has just gone.
                Err(TryLockError::WouldBlock) => match file.try_lock_shared() {
                    Ok(()) => file.try_lock(),
                    Err(TryLockError::WouldBlock) if began.elapsed() < PATIENCE => {
                        std::thread::sleep(POLL);
                        continue;
                    }
                    other => other,
                },
                locked => locked,
            };
            return match locked {
                Ok(()) => Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) => Err(LockError::Busy(store.to_owned())),
                Err(TryLockError::Error(source)) => Err(LockError::Io { path, source }),
            };
        }
    }

    fn take(store: &Path, lock: fn(&File) -> Result<(), TryLockError>) -> Result<Self, LockError> {
        let path = place(store);
        let io = |source| LockError::Io { path: path.clone(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        Self::locked(store, path, file, lock)
    }

    fn locked(
        store: &Path,
        path: PathBuf,
        file: File,
        lock: fn(&File) -> Result<(), TryLockError>,
    ) -> Result<Self, LockError> {
        match lock(&file) {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Busy(store.to_owned())),
            Err(TryLockError::Error(source)) => Err(LockError::Io { path, source }),
        }
    }
}

/// Whoever has a store alone has it so long, and no longer, for a look.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// The file of the lock of a store.
fn place(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_shares_the_store_and_whoever_has_it_alone_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.db");
        let first = Lock::share(&path).unwrap();
        let second = Lock::share(&path).unwrap();
        assert!(matches!(Lock::alone(&path), Err(LockError::Busy(_))));
        drop((first, second));
        let alone = Lock::alone(&path).unwrap();
        assert!(matches!(Lock::share(&path), Err(LockError::Busy(_))));
        drop(alone);
        Lock::share(&path).unwrap();
    }

    #[test]
    fn two_who_look_wait_for_one_another_and_a_gateway_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.db");
        assert!(Lock::look(&path).unwrap().is_none() && std::fs::read_dir(folder.path()).unwrap().count() == 0);
        let first = Lock::alone(&path).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| Lock::look(&path).map(|lock| lock.is_some()));
            std::thread::sleep(POLL);
            drop(first);
            assert!(second.join().unwrap().unwrap());
        });
        let gateway = Lock::share(&path).unwrap();
        assert!(matches!(Lock::look(&path), Err(LockError::Busy(_))));
        // Nor is it kept from anything by that.
        let other = Lock::share(&path).unwrap();
        drop((gateway, other));
        assert!(Lock::look(&path).unwrap().is_some());
    }
}
