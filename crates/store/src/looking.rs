//! A store that is looked at while no gateway has it open, by whoever may only read: nothing is written, and no file is made beside it.
//!
//! SQLite writes beside a file also for who reads it (`-wal`, `-shm`). Where nothing is left to be worked in, the file alone is read, as one that does not
//! change. Where a process was killed, what it wrote ahead is read with it, and what SQLite needs to find its way in that is held in memory. Both are right only
//! while nobody writes, which the lock beside the store says.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::database::PATIENCE;
use crate::error::Trouble;
use crate::lock::{Lock, LockError};
use crate::schema;

/// Pages that are copied at a time, where the tables are those of an earlier version.
const PAGES: i32 = 1_024;

/// Opens it. Whoever holds what comes with the connection keeps gateways from opening the store; `None`: one has it open, or no lock was ever made there.
///
/// # Errors
/// It cannot be read, or is not what this program writes.
pub(crate) fn open(path: &Path) -> Result<(Connection, Option<Lock>), Trouble> {
    match Lock::look(path) {
        Ok(lock) => Ok((alone(path)?, lock)),
        // What SQLite needs beside it is there: a process has it open.
        Err(LockError::Busy(_)) => Ok((shared(path)?, None)),
        Err(LockError::Io { source, .. }) => Err(Trouble::Look(source)),
    }
}

/// While a process has it open that writes to it.
///
/// # Errors
/// It cannot be read.
pub(crate) fn shared(path: &Path) -> Result<Connection, Trouble> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(PATIENCE)?;
    schema::check(&db)?;
    Ok(db)
}

/// While nobody else has it open.
pub(crate) fn alone(path: &Path) -> Result<Connection, Trouble> {
    if !std::fs::metadata(path).map_err(Trouble::Look)?.is_file() {
        return Err(Trouble::NoFile);
    }
    let mut ahead = path.as_os_str().to_owned();
    ahead.push("-wal");
    let is_ahead = std::fs::metadata(&ahead).is_ok_and(|found| found.len() > 0);
    let how = if is_ahead { "vfs=unix-none" } else { "immutable=1" };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(format!("file:{}?mode=ro&{how}", escaped(path)), flags)?;
    // The last one to close a store works in what was written ahead, and removes it.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    if is_ahead {
        // Before anything is read: then the way into what was written ahead is in memory, and no file.
        db.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |row| row.get::<_, String>(0))?;
    }
    schema::check(&db)?;
    if schema::is_known(&db)? { Ok(db) } else { brought_forward(&db) }
}

/// The tables of an earlier version are brought to those of now in memory alone.
fn brought_forward(db: &Connection) -> Result<Connection, Trouble> {
    let mut copy = Connection::open_in_memory()?;
    Backup::new(db, &mut copy)?.run_to_completion(PAGES, Duration::ZERO, None)?;
    schema::migrate(&mut copy)?;
    Ok(copy)
}

/// A path in an address: all but what stands for itself everywhere by its number.
fn escaped(path: &Path) -> String {
    let mut text = String::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => text.push(char::from(*byte)),
            _ => {
                // Writing to a text does not fail.
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use super::*;
    use crate::database::{Database, Settings};

    /// What is in a folder, with the time of each and its own.
    fn seen(folder: &Path) -> BTreeMap<String, (SystemTime, Vec<u8>)> {
        let mut seen: BTreeMap<_, _> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let modified = entry.metadata().unwrap().modified().unwrap();
                (entry.file_name().to_string_lossy().into_owned(), (modified, std::fs::read(entry.path()).unwrap()))
            })
            .collect();
        seen.insert(".".to_owned(), (std::fs::metadata(folder).unwrap().modified().unwrap(), Vec::new()));
        seen
    }

    fn count(db: &Connection) -> i64 {
        db.query_row("SELECT count(*) FROM kept", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_store_is_looked_at_and_nothing_is_written_whatever_a_process_left() {
        let folder = tempfile::tempdir().unwrap();
        // A name that means something in an address.
        let path = folder.path().join("a?b#c%41 é.db");
        let settings = Settings { path: path.clone() };
        let database = Database::open(&settings).unwrap();
        let write = |name: &str| database.db.execute("INSERT INTO kept VALUES (?1, 1)", [name]).unwrap();
        write("one");
        let before = count(&database.db);
        // Killed: what it wrote ahead is there, and is not in the file yet.
        let left = tempfile::tempdir().unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for suffix in ["", "-wal"] {
            let from = folder.path().join(format!("{name}{suffix}"));
            std::fs::copy(from, left.path().join(format!("{name}{suffix}"))).unwrap();
        }
        let copy = left.path().join(&name);
        assert!(std::fs::metadata(left.path().join(format!("{name}-wal"))).unwrap().len() > 0);
        let as_left = seen(left.path());
        for _ in 0..2 {
            let (db, lock) = open(&copy).unwrap();
            assert_eq!((count(&db), lock.is_none()), (before, true));
            assert!(db.execute("INSERT INTO kept VALUES ('two', 1)", []).is_err(), "it is looked at");
            drop(db);
            assert_eq!(seen(left.path()), as_left);
        }
        // While another process has it open; and once it has ended in order.
        let lock = Lock::share(&path).unwrap();
        let (db, none) = open(&path).unwrap();
        write("two");
        assert_eq!((count(&db), none.is_none()), (before + 1, true));
        drop((db, lock));
        database.close().unwrap();
        let as_left = seen(folder.path());
        let (db, lock) = open(&path).unwrap();
        assert_eq!((count(&db), lock.is_some()), (before + 1, true));
        assert!(matches!(Lock::share(&path), Err(LockError::Busy(_))), "a gateway waits that long");
        drop((db, lock));
        assert_eq!(seen(folder.path()), as_left);
        Lock::share(&path).unwrap();
    }

    #[test]
    fn an_earlier_store_is_read_by_the_tables_of_now_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let db = Connection::open(&path).unwrap();
        schema::migrate_before(&db, "power");
        db.execute("INSERT INTO kept VALUES ('one', 1)", []).unwrap();
        drop(db);
        let before = seen(folder.path());
        let (db, _) = open(&path).unwrap();
        assert_eq!(count(&db), 1);
        let powers: i64 = db.query_row("SELECT count(*) FROM power", [], |row| row.get(0)).unwrap();
        assert_eq!(powers, 0);
        drop(db);
        assert_eq!(seen(folder.path()), before);
        // What is none is none, and is not made.
        assert!(open(&folder.path().join("none.db")).is_err() && !folder.path().join("none.db").exists());
        std::fs::write(folder.path().join("text.db"), "no store at all, and longer than nothing").unwrap();
        assert!(matches!(open(&folder.path().join("text.db")), Err(Trouble::Damaged(_) | Trouble::Foreign)));
        assert!(matches!(open(folder.path()), Err(Trouble::NoFile)));
    }
}
