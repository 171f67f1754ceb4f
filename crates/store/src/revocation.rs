//! The rows of revocations. An operator waits for them: a revocation is on the disk before it is answered.
//!
//! It is written on a connection of its own, opened for each change: that happens seldom, and the thread that writes the rest is not in the
//! way. Times are by the clocks of those who issue credentials, so they stay as they are when this machine's clock is set.

use std::path::PathBuf;

use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use crate::database::{Database, PATIENCE, Settings};
use crate::error::{StoreError, Trouble};
use crate::schema;

/// One revocation. Times are microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationRow {
    /// `token`, `key` or `principal`.
    pub what: String,
    /// Its name.
    pub name: String,
    /// What was issued until then counts no longer.
    pub before: i64,
    /// When it was made.
    pub made: i64,
    /// When it ends, where it does.
    pub until: Option<i64>,
    /// Why.
    pub reason: String,
}

/// Where revocations are written to.
#[derive(Debug)]
pub struct RevocationBook {
    path: PathBuf,
}

impl Database {
    /// All that were written.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn revocations(&self) -> Result<Vec<RevocationRow>, StoreError> {
        read(&self.db).map_err(|trouble| self.error(trouble))
    }
}

impl RevocationBook {
    /// That of a store which was opened before.
    pub fn of(settings: &Settings) -> Self {
        Self { path: settings.path.clone() }
    }

    /// Writes one, and forgets those that ended before `now`. It returns when it is on the disk.
    ///
    /// # Errors
    /// It is not written.
    pub fn write(&self, row: &RevocationRow, now: i64) -> Result<(), StoreError> {
        self.with(|db| {
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute("DELETE FROM revocation WHERE until <= ?1", [now])?;
            transaction.execute(
                "INSERT OR REPLACE INTO revocation (what, name, before, made, until, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![row.what, row.name, row.before, row.made, row.until, row.reason],
            )?;
            Ok(transaction.commit()?)
        })
    }

    /// Forgets one. It returns when that is on the disk.
    ///
    /// # Errors
    /// It is not written.
    pub fn remove(&self, what: &str, name: &str) -> Result<(), StoreError> {
        self.with(|db| {
            db.execute("DELETE FROM revocation WHERE what = ?1 AND name = ?2", [what, name])?;
            Ok(())
        })
    }

    fn with(&self, work: impl FnOnce(&mut Connection) -> Result<(), Trouble>) -> Result<(), StoreError> {
        let done = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let mut db = Connection::open_with_flags(&self.path, flags)?;
            db.busy_timeout(PATIENCE)?;
            schema::check(&db)?;
            // Each transaction is forced to the disk before it is done.
            db.pragma_update(None, "synchronous", "FULL")?;
            work(&mut db)
        };
        done().map_err(|trouble| StoreError { path: self.path.clone(), trouble })
    }
}

fn read(db: &Connection) -> Result<Vec<RevocationRow>, Trouble> {
    let mut statement =
        db.prepare("SELECT what, name, before, made, until, reason FROM revocation ORDER BY made DESC")?;
    let rows = statement.query_map([], |row| {
        Ok(RevocationRow {
            what: row.get(0)?,
            name: row.get(1)?,
            before: row.get(2)?,
            made: row.get(3)?,
            until: row.get(4)?,
            reason: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(what: &str, name: &str, until: Option<i64>) -> RevocationRow {
        RevocationRow { what: what.into(), name: name.into(), before: 5, made: 7, until, reason: "lost".into() }
    }

    #[test]
    fn what_was_written_is_there_after_a_restart_and_what_was_lifted_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { path: folder.path().join("store.db") };
        let first = Database::open(&settings).unwrap();
        let book = RevocationBook::of(&settings);
        assert!(first.revocations().unwrap().is_empty());
        for each in [row("token", "a", Some(100)), row("key", "a", None), row("principal", "user:a", None)] {
            book.write(&each, 1).unwrap();
        }
        // Another process that is killed has written it all the same: nothing is closed here.
        let second = Database::open(&settings).unwrap();
        assert_eq!(second.revocations().unwrap().len(), 3);
        book.write(&RevocationRow { reason: "again".into(), ..row("key", "a", None) }, 1).unwrap();
        book.remove("principal", "user:a").unwrap();
        book.remove("principal", "user:nobody").unwrap();
        let mut left = second.revocations().unwrap();
        left.sort_by(|one, other| one.what.cmp(&other.what));
        assert_eq!(left.len(), 2, "{left:?}");
        assert_eq!((&*left[0].what, &*left[0].reason), ("key", "again"));
        // What has ended goes with the next one.
        book.write(&row("token", "b", None), 100).unwrap();
        assert_eq!(
            second.revocations().unwrap().iter().filter(|each| each.name == "a" && each.what == "token").count(),
            0
        );
    }

    #[test]
    fn a_file_that_is_gone_or_another_programs_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { path: folder.path().join("store.db") };
        let book = RevocationBook::of(&settings);
        assert!(book.write(&row("token", "a", None), 1).is_err(), "it is not made here");
        let other = Connection::open(&settings.path).unwrap();
        other.execute_batch("CREATE TABLE other (a)").unwrap();
        assert!(book.write(&row("token", "a", None), 1).unwrap_err().to_string().contains("another program"));
    }
}
