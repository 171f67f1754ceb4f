//! The rows of spikes of refusals: what is known of usual days, and the last spikes that were explained. A connection of its own, so that nobody
//! waits for it.
//!
//! What the rows mean is known by those who write them. Two gateways may write at once, while one takes over from the other: of each row the last
//! one stays, and each spike has an id of its own.

use std::path::PathBuf;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};

use crate::database::{Database, PATIENCE, Settings};
use crate::error::{StoreError, Trouble};
use crate::lock::Lock;
use crate::looking;
use crate::packed::{pack, unpack};

/// The largest value, in bytes: more is not read, whoever wrote it.
const MAX_VALUE: u64 = 16 << 20;
/// Spikes that are kept.
const MOST_FOUND: i64 = 64;

/// The rows of spikes in a store.
#[derive(Debug)]
pub struct SpikeBook {
    db: Connection,
    path: PathBuf,
    /// Where it is only looked at: nobody opens the store meanwhile.
    _lock: Option<Lock>,
}

impl SpikeBook {
    /// Those in the file of a store that has been opened, and so verified.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn open(database: &Database) -> Result<Self, StoreError> {
        let open = || -> Result<Connection, Trouble> {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let db = Connection::open_with_flags(&database.path, flags)?;
            db.busy_timeout(PATIENCE)?;
            // A loss of power may take the last seconds: what is usual is about the same then.
            db.execute_batch("PRAGMA synchronous = NORMAL")?;
            Ok(db)
        };
        let db = open().map_err(|trouble| database.error(trouble))?;
        Ok(Self { db, path: database.path.clone(), _lock: None })
    }

    /// Those in the store of these settings, to look at them: nothing is written.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn look(settings: &Settings) -> Result<Self, StoreError> {
        let opened = looking::open(&settings.path);
        let path = settings.path.clone();
        match opened {
            Ok((db, lock)) => Ok(Self { db, path, _lock: lock }),
            Err(trouble) => Err(StoreError { path, trouble }),
        }
    }

    /// What was kept under a name; `None`: nothing, or too much to be read.
    ///
    /// # Errors
    /// The store cannot be read, or what it holds is none of its own bytes.
    pub fn known(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let most = i64::try_from(MAX_VALUE).unwrap_or(i64::MAX);
        let packed: Result<Option<Vec<u8>>, _> = self
            .db
            .query_row(
                "SELECT value FROM spike_known WHERE name = ?1 AND length(value) <= ?2",
                params![name, most],
                |row| row.get(0),
            )
            .optional();
        let packed = packed.map_err(|error| self.error(error))?;
        packed.map(|packed| self.unpacked(&packed)).transpose()
    }

    /// Keeps something under a name, in the place of what was. What is there already is not written.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn keep(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let packed = pack(value).map_err(|error| self.error(Trouble::File(error)))?;
        let kept = self.db.execute(
            "INSERT INTO spike_known (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value
             WHERE value IS NOT excluded.value",
            params![name, packed],
        );
        kept.map(drop).map_err(|error| self.error(error))
    }

    /// Forgets what is kept under a name.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn forget(&self, name: &str) -> Result<(), StoreError> {
        let gone = self.db.execute("DELETE FROM spike_known WHERE name = ?1", [name]);
        gone.map(drop).map_err(|error| self.error(error))
    }

    /// The spikes that are kept, the oldest first: the id of each, and its report or what is wrong with it.
    ///
    /// # Errors
    /// The store cannot be read.
    #[expect(clippy::type_complexity, reason = "an id and a report, each of which may be damaged alone")]
    pub fn found(&self) -> Result<Vec<(String, Result<Vec<u8>, StoreError>)>, StoreError> {
        let rows = || -> Result<Vec<(String, Vec<u8>)>, rusqlite::Error> {
            let mut statement = self.db.prepare(
                "SELECT id, report FROM (SELECT n, id, report FROM spike_found WHERE length(report) <= ?1 ORDER BY n DESC LIMIT ?2) ORDER BY n",
            )?;
            let most = i64::try_from(MAX_VALUE).unwrap_or(i64::MAX);
            statement.query_map(params![most, MOST_FOUND], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        let rows = rows().map_err(|error| self.error(error))?;
        Ok(rows.into_iter().map(|(id, packed)| (id, self.unpacked(&packed))).collect())
    }

    /// Keeps a spike, in the place of what was said of it before, and of all spikes the last 64.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn add_found(&mut self, id: &str, report: &[u8]) -> Result<(), StoreError> {
        let packed = pack(report).map_err(|error| self.error(Trouble::File(error)))?;
        let mut add = || -> Result<(), rusqlite::Error> {
            let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute(
                "INSERT INTO spike_found (id, report) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET report = excluded.report",
                params![id, packed],
            )?;
            transaction.execute(
                "DELETE FROM spike_found WHERE n NOT IN (SELECT n FROM spike_found ORDER BY n DESC LIMIT ?1)",
                [MOST_FOUND],
            )?;
            transaction.commit()
        };
        let added = add();
        added.map_err(|error| self.error(error))
    }

    /// Forgets a spike that cannot be read.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn forget_found(&self, id: &str) -> Result<(), StoreError> {
        let gone = self.db.execute("DELETE FROM spike_found WHERE id = ?1", [id]);
        gone.map(drop).map_err(|error| self.error(error))
    }

    fn unpacked(&self, packed: &[u8]) -> Result<Vec<u8>, StoreError> {
        unpack(packed, MAX_VALUE).map_err(|error| self.error(Trouble::Damaged(error.to_string())))
    }

    fn error(&self, trouble: impl Into<Trouble>) -> StoreError {
        StoreError { path: self.path.clone(), trouble: trouble.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> (tempfile::TempDir, SpikeBook) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&Settings { path: folder.path().join("portcullis.db") }).unwrap();
        let book = SpikeBook::open(&database).unwrap();
        (folder, book)
    }

    #[test]
    fn what_is_known_is_the_last_that_was_kept() {
        let (_folder, book) = book();
        assert_eq!(book.known("usual").unwrap(), None);
        book.keep("usual", b"one").unwrap();
        book.keep("usual", b"other").unwrap();
        let changes = book.db.total_changes();
        book.keep("usual", b"other").unwrap();
        assert_eq!(book.db.total_changes(), changes, "the same is not written again");
        book.keep("familiar", b"").unwrap();
        assert_eq!(book.known("usual").unwrap().unwrap(), b"other");
        assert_eq!(book.known("familiar").unwrap().unwrap(), b"");
        book.forget("usual").unwrap();
        assert_eq!(book.known("usual").unwrap(), None);
    }

    #[test]
    fn of_the_spikes_the_last_ones_are_kept_each_with_what_was_said_last() {
        let (_folder, mut book) = book();
        for number in 0..70 {
            book.add_found(&format!("spike-{number}"), b"first").unwrap();
        }
        book.add_found("spike-10", b"again").unwrap();
        let found = book.found().unwrap();
        assert_eq!((found.len(), found[0].0.as_str(), found[63].0.as_str()), (64, "spike-6", "spike-69"));
        assert_eq!(found[4].1.as_ref().unwrap(), b"again");
    }

    /// A row that is damaged is no reason to read none.
    #[test]
    fn what_is_damaged_is_told_apart_from_what_is_not() {
        let (_folder, mut book) = book();
        book.add_found("a", b"report").unwrap();
        book.add_found("b", b"report").unwrap();
        book.db.execute("UPDATE spike_found SET report = x'ffff' WHERE id = 'a'", []).unwrap();
        let found = book.found().unwrap();
        assert!(found[0].1.is_err());
        assert_eq!(found[1].1.as_ref().unwrap(), b"report");
        book.forget_found("a").unwrap();
        assert_eq!(book.found().unwrap().len(), 1);
        book.keep("usual", b"one").unwrap();
        book.db.execute("UPDATE spike_known SET value = x'ffff'", []).unwrap();
        assert!(book.known("usual").is_err());
    }
}
