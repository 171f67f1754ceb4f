//! The file: made, verified, and brought to the version of now.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use portcullis_risk::state::Secret;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use crate::error::{StoreError, Trouble};
use crate::owner::Owner;
use crate::schema;

/// What a store needs to know, as plain values. The shape of TOML (`[store]`) lives in `config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file. SQLite has two more beside it while it is open: `-wal` and `-shm`.
    pub path: PathBuf,
}

/// An open store.
#[derive(Debug)]
pub struct Database {
    pub(crate) db: Connection,
    pub(crate) path: PathBuf,
    pub(crate) secret: Secret,
    /// The way that keys are made from now on, until that is noted.
    pub(crate) unsettled: Option<u64>,
    pub(crate) owner: Owner,
    /// The time of day is ahead of the engine's clock by this; seen once and followed, so that it is the same to the microsecond.
    pub(crate) ahead: Option<SignedDuration>,
}

/// Only the gateway's user may read who is banned, or the secret of the profiles.
pub(crate) const MODE: u32 = 0o600;
/// How long a process waits for another one that writes: one that takes over.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// The log that is written ahead is cut to this when it has been worked in, in bytes.
const LOG_BYTES: i64 = 4 << 20;
/// Where the secret is in the table `kept`.
const SECRET: &str = "secret";

impl Database {
    /// Opens the store, or makes it where there is no file. It is verified as a whole (`PRAGMA integrity_check`), which takes a
    /// fraction of a second for as many profiles as there can be.
    ///
    /// # Errors
    /// A file that cannot be used. It is as it was before.
    pub fn open(settings: &Settings) -> Result<Self, StoreError> {
        let path = settings.path.clone();
        let opened = prepare(&path).and_then(|()| open(&path));
        match opened {
            Ok((db, secret)) => Ok(Self { db, path, secret, unsettled: None, owner: Owner::default(), ahead: None }),
            Err(trouble) => Err(StoreError { path, trouble }),
        }
    }

    pub(crate) fn error(&self, trouble: impl Into<Trouble>) -> StoreError {
        StoreError { path: self.path.clone(), trouble: trouble.into() }
    }

    /// Ends it in order: what was written ahead is worked in, and the file stands alone.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        self.owner.end(&self.db).map_err(|trouble| self.error(trouble))?;
        let path = self.path;
        self.db.close().map_err(|(_, error)| StoreError { path, trouble: error.into() })
    }
}

/// Makes the file where there is none, and sees to it that nobody else can use it.
pub(crate) fn prepare(path: &Path) -> Result<(), Trouble> {
    // Made here and not by SQLite, so that there is no instant at which others can open it.
    match OpenOptions::new().write(true).create_new(true).mode(MODE).open(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Trouble::File(error)),
    }
    let found = fs::metadata(path).map_err(Trouble::File)?;
    if !found.is_file() {
        return Err(Trouble::NoFile);
    }
    close_to_others(path, &found)?;
    // What is not worked in yet holds the same. SQLite makes these two with the mode of the file, but it leaves those that it finds.
    for suffix in ["-wal", "-shm"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        match fs::metadata(&beside) {
            Ok(found) => close_to_others(Path::new(&beside), &found)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Trouble::File(error)),
        }
    }
    Ok(())
}

fn close_to_others(path: &Path, found: &fs::Metadata) -> Result<(), Trouble> {
    if found.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    match fs::set_permissions(path, fs::Permissions::from_mode(MODE)) {
        Ok(()) => tracing::warn!(path = %path.display(), "others could use the store: its mode is 0600 now"),
        // Another process that ends has taken it away.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Trouble::Open(error)),
    }
    Ok(())
}

pub(crate) fn open(path: &Path) -> Result<(Connection, Secret), Trouble> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(PATIENCE)?;
    schema::check(&db)?;
    let verdict: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(Trouble::Damaged(verdict.lines().last().unwrap_or_default().to_owned()));
    }
    // Writers and readers do not wait for one another, and a transaction is one write to the log.
    db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0))?;
    db.query_row(&format!("PRAGMA journal_size_limit = {LOG_BYTES}"), [], |row| row.get::<_, i64>(0))?;
    schema::migrate(&mut db)?;
    let secret = secret(&db)?;
    Ok((db, secret))
}

/// One change on a connection of its own, forced to the disk when it is done: what happens seldom and must not wait for the thread that writes
/// the rest. The file is not made here.
pub(crate) fn change<T>(
    path: &Path,
    work: impl FnOnce(&mut Connection) -> Result<T, Trouble>,
) -> Result<T, StoreError> {
    let done = || {
        let mut db = connect(path)?;
        db.pragma_update(None, "synchronous", "FULL")?;
        work(&mut db)
    };
    done().map_err(|trouble| StoreError { path: path.to_owned(), trouble })
}

/// A connection to a store that was opened, and so verified, before.
pub(crate) fn connect(path: &Path) -> Result<Connection, Trouble> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(PATIENCE)?;
    schema::check(&db)?;
    Ok(db)
}

/// The secret, made where there is none yet.
fn secret(db: &Connection) -> Result<Secret, Trouble> {
    let look = || db.query_row("SELECT value FROM kept WHERE name = ?1", [SECRET], |row| row.get(0)).optional();
    let mut kept: Option<Vec<u8>> = look()?;
    if kept.is_none() {
        let made = Secret::random().to_bytes();
        // Of two processes that make one, the first has made it.
        db.execute("INSERT INTO kept (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING", params![SECRET, made])?;
        kept = look()?;
    }
    let bytes = kept.and_then(|kept| <[u8; 16]>::try_from(kept).ok());
    bytes.map(Secret::from_bytes).ok_or_else(|| Trouble::Damaged("its secret has not 16 bytes".to_owned()))
}
