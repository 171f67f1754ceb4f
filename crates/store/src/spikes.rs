//! The rows of spikes of refusals: what is known of usual days, and the last spikes that were explained. A connection of its own, so that nobody
//! waits for it.
//!
//! What the rows mean is known by those who write them. While one gateway takes over from another, both have the store open, and the one that began last
//! writes: what the other one knows, which drains, would be put in the place of what is so by now. Where the newer one ends in order, an older one
//! that still runs writes again.

use std::path::PathBuf;

use portcullis_risk::state::Secret;
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
/// Under this name stands which process serves, while one does.
const SERVING: &str = "serving";

/// What is to be written of spikes.
#[derive(Debug, Default)]
pub struct SpikeRows<'r> {
    /// What is known, by name.
    pub known: Vec<(&'r str, Vec<u8>)>,
    /// Spikes, each with its report in the place of what was said of it before. Of all spikes the last 64 are kept.
    pub found: Vec<(String, Vec<u8>)>,
    /// The process ends in order: whoever else runs serves from now on.
    pub is_last: bool,
}

/// Whose the rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpikesOf {
    /// They are written.
    ThisProcess,
    /// Another one took over: nothing is written.
    AnotherProcess,
}

/// The rows of spikes in a store.
#[derive(Debug)]
pub struct SpikeBook {
    db: Connection,
    path: PathBuf,
    /// What tells this process from others.
    own: [u8; 16],
    /// It has written.
    has_served: bool,
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
        Ok(Self::of(db, database.path.clone(), None))
    }

    /// Those in the store of these settings, to look at them: nothing is written.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn look(settings: &Settings) -> Result<Self, StoreError> {
        let opened = looking::open(&settings.path);
        let path = settings.path.clone();
        match opened {
            Ok((db, lock)) => Ok(Self::of(db, path, lock)),
            Err(trouble) => Err(StoreError { path, trouble }),
        }
    }

    fn of(db: Connection, path: PathBuf, lock: Option<Lock>) -> Self {
        Self { db, path, own: Secret::random().to_bytes(), has_served: false, _lock: lock }
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

    /// Writes all of these at once, or nothing of it, where another process serves: of two on one store the one that wrote first after the other had,
    /// which is the one that began last. What is there already is not written.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn write(&mut self, rows: &SpikeRows<'_>) -> Result<SpikesOf, StoreError> {
        let written = self.try_write(rows);
        written.map_err(|trouble| self.error(trouble))
    }

    fn try_write(&mut self, rows: &SpikeRows<'_>) -> Result<SpikesOf, Trouble> {
        let mut known = Vec::new();
        for (name, value) in &rows.known {
            known.push((*name, pack(value).map_err(Trouble::File)?));
        }
        let mut found = Vec::new();
        for (id, report) in &rows.found {
            found.push((id.as_str(), pack(report).map_err(Trouble::File)?));
        }
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let look = "SELECT value FROM spike_known WHERE name = ?1";
        let serving: Option<Vec<u8>> = transaction.query_row(look, [SERVING], |row| row.get(0)).optional()?;
        let is_own = serving.as_deref() == Some(self.own.as_slice());
        // Whoever has served and finds another one has been taken over from.
        if self.has_served && !is_own && serving.is_some() {
            return Ok(SpikesOf::AnotherProcess);
        }
        let keep = "INSERT INTO spike_known (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value
             WHERE value IS NOT excluded.value";
        for (name, packed) in known {
            transaction.execute(keep, params![name, packed])?;
        }
        for (id, packed) in found {
            transaction.execute(
                "INSERT INTO spike_found (id, report) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET report = excluded.report",
                params![id, packed],
            )?;
            transaction.execute(
                "DELETE FROM spike_found WHERE n NOT IN (SELECT n FROM spike_found ORDER BY n DESC LIMIT ?1)",
                [MOST_FOUND],
            )?;
        }
        if rows.is_last {
            transaction.execute("DELETE FROM spike_known WHERE name = ?1", [SERVING])?;
        } else if !is_own {
            transaction.execute(keep, params![SERVING, self.own])?;
        }
        transaction.commit()?;
        self.has_served = true;
        Ok(SpikesOf::ThisProcess)
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

    fn folder() -> (tempfile::TempDir, Database) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&Settings { path: folder.path().join("portcullis.db") }).unwrap();
        (folder, database)
    }

    fn book() -> (tempfile::TempDir, SpikeBook) {
        let (folder, database) = folder();
        let book = SpikeBook::open(&database).unwrap();
        (folder, book)
    }

    fn known<'r>(name: &'r str, value: &[u8]) -> SpikeRows<'r> {
        SpikeRows { known: vec![(name, value.to_vec())], ..SpikeRows::default() }
    }

    fn spike(id: &str, report: &[u8]) -> SpikeRows<'static> {
        SpikeRows { found: vec![(id.to_owned(), report.to_vec())], ..SpikeRows::default() }
    }

    #[track_caller]
    fn write(book: &mut SpikeBook, rows: &SpikeRows<'_>) {
        assert_eq!(book.write(rows).unwrap(), SpikesOf::ThisProcess);
    }

    #[test]
    fn what_is_known_is_the_last_that_was_kept() {
        let (_folder, mut book) = book();
        assert_eq!(book.known("usual").unwrap(), None);
        write(&mut book, &known("usual", b"one"));
        write(&mut book, &known("usual", b"other"));
        let changes = book.db.total_changes();
        write(&mut book, &known("usual", b"other"));
        assert_eq!(book.db.total_changes(), changes, "the same is not written again");
        write(&mut book, &known("familiar", b""));
        assert_eq!(book.known("usual").unwrap().unwrap(), b"other");
        assert_eq!(book.known("familiar").unwrap().unwrap(), b"");
        book.forget("usual").unwrap();
        assert_eq!(book.known("usual").unwrap(), None);
    }

    #[test]
    fn of_the_spikes_the_last_ones_are_kept_each_with_what_was_said_last() {
        let (_folder, mut book) = book();
        for number in 0..70 {
            write(&mut book, &spike(&format!("spike-{number}"), b"first"));
        }
        write(&mut book, &spike("spike-10", b"again"));
        let found = book.found().unwrap();
        assert_eq!((found.len(), found[0].0.as_str(), found[63].0.as_str()), (64, "spike-6", "spike-69"));
        assert_eq!(found[4].1.as_ref().unwrap(), b"again");
    }

    /// A row that is damaged is no reason to read none.
    #[test]
    fn what_is_damaged_is_told_apart_from_what_is_not() {
        let (_folder, mut book) = book();
        write(&mut book, &spike("a", b"report"));
        write(&mut book, &spike("b", b"report"));
        book.db.execute("UPDATE spike_found SET report = x'ffff' WHERE id = 'a'", []).unwrap();
        let found = book.found().unwrap();
        assert!(found[0].1.is_err());
        assert_eq!(found[1].1.as_ref().unwrap(), b"report");
        book.forget_found("a").unwrap();
        assert_eq!(book.found().unwrap().len(), 1);
        write(&mut book, &known("usual", b"one"));
        book.db.execute("UPDATE spike_known SET value = x'ffff'", []).unwrap();
        assert!(book.known("usual").is_err());
    }

    /// A takeover: the older one drains, and may still learn something.
    #[test]
    fn the_one_that_began_last_writes_and_the_other_one_does_not() {
        let (_folder, database) = folder();
        let mut old = SpikeBook::open(&database).unwrap();
        write(&mut old, &known("states", b"old"));
        let mut new = SpikeBook::open(&database).unwrap();
        // Not before it serves: a start may come to nothing.
        write(&mut old, &known("states", b"old, still"));
        write(&mut new, &known("states", b"new"));
        for is_last in [false, true] {
            let late = SpikeRows { is_last, ..known("states", b"old, late") };
            assert_eq!(old.write(&late).unwrap(), SpikesOf::AnotherProcess);
            assert_eq!(
                old.write(&SpikeRows { is_last, ..spike("late", b"report") }).unwrap(),
                SpikesOf::AnotherProcess
            );
        }
        assert_eq!((new.known("states").unwrap().unwrap(), new.found().unwrap().len()), (b"new".to_vec(), 0));
        write(&mut new, &known("states", b"new, later"));
        // The newer one goes first.
        write(&mut new, &SpikeRows { is_last: true, ..known("states", b"new, last") });
        write(&mut old, &known("states", b"old, again"));
        assert_eq!(old.known("states").unwrap().unwrap(), b"old, again");
        // One that was killed keeps nobody from serving.
        drop((old, new));
        write(&mut SpikeBook::open(&database).unwrap(), &known("states", b"next"));
    }
}
