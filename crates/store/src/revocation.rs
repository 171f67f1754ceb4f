//! The rows of revocations, and when API keys were last used. An operator waits for the former: a revocation is on the disk before it is
//! answered, and in force after it.
//!
//! It is written on a connection of its own, opened for each change: that happens seldom, and the thread that writes the rest is not in the
//! way. Where the disk is full it takes the room that is [kept](crate::reserve) for it. Times are by the clocks of those who issue credentials, so they stay as they are when this machine's clock is set.

use std::io;
use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use crate::database::{Database, Settings, change, connect};
use crate::error::{StoreError, Trouble};
use crate::reserve::Reserve;
use crate::risk::{keep, kept};

/// How often revocations were changed, by whichever process: in the table `kept`.
const CHANGES: &str = "revocations";
/// What has ended is forgotten a day later: a clock that jumped ahead and is set back has cost nothing. Microseconds.
const FORGET_AFTER: i64 = 86_400_000_000;

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
    reserve: Reserve,
}

/// Sees what others wrote: in a takeover there are two processes, and an operator may have spoken to either.
#[derive(Debug)]
pub struct RevocationFollower {
    db: Connection,
    path: PathBuf,
    seen: Option<i64>,
}

impl RevocationFollower {
    /// All that are written, where that changed since it was asked the last time.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn look(&mut self) -> Result<Option<Vec<RevocationRow>>, StoreError> {
        let mut look = || {
            let transaction = self.db.transaction()?;
            let changes = Some(kept(&transaction, CHANGES)?.unwrap_or(0));
            if changes == self.seen {
                return Ok(None);
            }
            let rows = read(&transaction)?;
            self.seen = changes;
            Ok(Some(rows))
        };
        look().map_err(|trouble| StoreError { path: self.path.clone(), trouble })
    }
}

impl Database {
    /// All that were written.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn revocations(&self) -> Result<Vec<RevocationRow>, StoreError> {
        read(&self.db).map_err(|trouble| self.error(trouble))
    }

    /// When keys were last used, in seconds since 1970, by their ids.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn key_uses(&self) -> Result<Vec<(String, i64)>, StoreError> {
        uses(&self.db).map_err(|trouble| self.error(trouble))
    }
}

impl RevocationBook {
    /// That of a store which was opened before.
    pub fn of(settings: &Settings) -> Self {
        Self { path: settings.path.clone(), reserve: Reserve::beside(&settings.path) }
    }

    /// Keeps room on the disk for revocations to come, where none is kept. Says whether it was not.
    ///
    /// # Errors
    /// There is none to keep.
    pub fn keep_room(&self) -> io::Result<bool> {
        self.reserve.keep()
    }

    /// Writes one, and forgets those that ended a day before `now`. It never makes one that is in force milder, whoever wrote that: the
    /// later moment and the later end stay. It returns what stands there when it is on the disk. Where that is full, the room that is kept for it is given up, piece by piece.
    ///
    /// # Errors
    /// It is not written.
    pub fn write(&self, row: &RevocationRow, now: i64) -> Result<RevocationRow, StoreError> {
        let mut written = self.write_once(row, now);
        while let Err(error) = &written
            && error.trouble.is_for_room()
            && self.reserve.give_piece()
        {
            tracing::warn!(%error, "a revocation takes room on the disk that was kept for it");
            written = self.write_once(row, now);
        }
        written
    }

    fn write_once(&self, row: &RevocationRow, now: i64) -> Result<RevocationRow, StoreError> {
        change(&self.path, |db| {
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute("DELETE FROM revocation WHERE until <= ?1", [now.saturating_sub(FORGET_AFTER)])?;
            let row = match in_force(&transaction, row, now)? {
                Some((before, until)) => RevocationRow {
                    before: row.before.max(before),
                    until: row.until.zip(until).map(|(one, other)| one.max(other)),
                    ..row.clone()
                },
                None => row.clone(),
            };
            transaction.execute(
                "INSERT OR REPLACE INTO revocation (what, name, before, made, until, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![row.what, row.name, row.before, row.made, row.until, row.reason],
            )?;
            count(&transaction)?;
            transaction.commit()?;
            Ok(row)
        })
    }

    /// Looks what others write from now on.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn follow(&self) -> Result<RevocationFollower, StoreError> {
        let db = connect(&self.path).map_err(|trouble| StoreError { path: self.path.clone(), trouble })?;
        Ok(RevocationFollower { db, path: self.path.clone(), seen: None })
    }

    /// Forgets one. It returns when that is on the disk.
    ///
    /// # Errors
    /// It is not written.
    pub fn remove(&self, what: &str, name: &str) -> Result<(), StoreError> {
        change(&self.path, |db| {
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute("DELETE FROM revocation WHERE what = ?1 AND name = ?2", [what, name])?;
            count(&transaction)?;
            Ok(transaction.commit()?)
        })
    }

    /// Notes when keys were last used, in seconds since 1970, by their ids. What is there and later stays.
    ///
    /// # Errors
    /// It is not written.
    pub fn note_uses(&self, uses: &[(String, i64)]) -> Result<(), StoreError> {
        change(&self.path, |db| {
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for (id, used) in uses {
                transaction.execute(
                    "INSERT INTO key_use (id, used) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET used = max(used, excluded.used)",
                    params![id, used],
                )?;
            }
            transaction.execute(
                "DELETE FROM key_use WHERE id NOT IN (SELECT id FROM key_use ORDER BY used DESC LIMIT ?1)",
                [MOST_KEYS],
            )?;
            Ok(transaction.commit()?)
        })
    }
}

/// The moment and the end of the one of the same that is in force.
fn in_force(db: &Connection, row: &RevocationRow, now: i64) -> Result<Option<(i64, Option<i64>)>, Trouble> {
    let found = db.query_row(
        "SELECT before, until FROM revocation WHERE what = ?1 AND name = ?2 AND (until IS NULL OR until > ?3)",
        params![row.what, row.name, now],
        |row| Ok((row.get(0)?, row.get(1)?)),
    );
    Ok(found.optional()?)
}

/// Others see that something changed.
fn count(transaction: &Transaction<'_>) -> Result<(), Trouble> {
    let changes = kept(transaction, CHANGES)?.unwrap_or(0);
    keep(transaction, CHANGES, changes.wrapping_add(1))
}

/// Of how many keys it is kept when they were used.
const MOST_KEYS: i64 = 100_000;

fn read(db: &Connection) -> Result<Vec<RevocationRow>, Trouble> {
    let mut statement =
        db.prepare("SELECT what, name, before, made, until, reason FROM revocation ORDER BY made DESC")?;
    // One that is damaged is in the way of no other: its texts are empty then, which name nothing.
    let text = |row: &Row<'_>, place| match row.get(place) {
        Ok(text) => Ok(text),
        Err(rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::Utf8Error(..)) => Ok(String::new()),
        Err(error) => Err(error),
    };
    let rows = statement.query_map([], |row| {
        Ok(RevocationRow {
            what: text(row, 0)?,
            name: text(row, 1)?,
            before: row.get(2)?,
            made: row.get(3)?,
            until: row.get(4)?,
            reason: text(row, 5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn uses(db: &Connection) -> Result<Vec<(String, i64)>, Trouble> {
    let mut statement = db.prepare("SELECT id, used FROM key_use")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
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
        // What has ended goes with the next one, a day later.
        book.write(&row("token", "b", None), 100 + FORGET_AFTER).unwrap();
        assert_eq!(
            second.revocations().unwrap().iter().filter(|each| each.name == "a" && each.what == "token").count(),
            0
        );
    }

    #[test]
    fn the_stricter_one_stays_whoever_wrote_it_and_others_hear_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { path: folder.path().join("store.db") };
        let _made = Database::open(&settings).unwrap();
        // Two processes of a takeover.
        let (one, other) = (RevocationBook::of(&settings), RevocationBook::of(&settings));
        let mut follower = other.follow().unwrap();
        assert_eq!(follower.look().unwrap(), Some(Vec::new()));
        assert_eq!(follower.look().unwrap(), None);
        one.write(&RevocationRow { before: 90, ..row("principal", "user:a", None) }, 1).unwrap();
        assert_eq!(follower.look().unwrap().map(|rows| rows.len()), Some(1));
        assert_eq!(follower.look().unwrap(), None);
        let stands = other.write(&row("principal", "user:a", Some(500)), 1).unwrap();
        assert_eq!((stands.before, stands.until), (90, None));
        // One that is over says nothing any more.
        one.write(&RevocationRow { before: 90, ..row("key", "k", Some(50)) }, 1).unwrap();
        let stands = other.write(&row("key", "k", Some(60)), 50).unwrap();
        assert_eq!((stands.before, stands.until), (5, Some(60)));
        one.remove("key", "k").unwrap();
        assert_eq!(follower.look().unwrap().map(|rows| rows.len()), Some(1));
    }

    #[test]
    fn a_row_whose_texts_are_none_is_in_the_way_of_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { path: folder.path().join("store.db") };
        let database = Database::open(&settings).unwrap();
        let book = RevocationBook::of(&settings);
        book.write(&row("token", "a", None), 1).unwrap();
        let damage = "INSERT INTO revocation (what, name, before, made, until, reason) VALUES ('key', CAST(x'ff' AS TEXT), 5, 7, NULL, CAST(x'fe' AS TEXT))";
        database.db.execute_batch(damage).unwrap();
        let mut read = database.revocations().unwrap();
        read.sort_by(|one, other| one.what.cmp(&other.what));
        let nameless = RevocationRow { reason: String::new(), ..row("key", "", None) };
        assert_eq!(read, [nameless, row("token", "a", None)]);
    }

    #[test]
    fn the_last_use_of_a_key_only_moves_on() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { path: folder.path().join("store.db") };
        let database = Database::open(&settings).unwrap();
        let book = RevocationBook::of(&settings);
        book.note_uses(&[("a".to_owned(), 10), ("b".to_owned(), 20)]).unwrap();
        book.note_uses(&[("a".to_owned(), 15), ("b".to_owned(), 5)]).unwrap();
        let mut uses = database.key_uses().unwrap();
        uses.sort();
        assert_eq!(uses, [("a".to_owned(), 15), ("b".to_owned(), 20)]);
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
