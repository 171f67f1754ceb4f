//! What was used and is good once, such as the login that confirms an activation: noted by its hash until it is over, so that neither a restart nor the other
//! process of a takeover takes it a second time.
//!
//! It is on the disk before whoever shows it is answered, on a connection of its own that is opened for each: that happens seldom.

use std::path::PathBuf;

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, TransactionBehavior, params};

use crate::database::{Settings, change};
use crate::error::StoreError;

/// Where it is noted.
#[derive(Debug)]
pub struct UsedBook {
    path: PathBuf,
}

/// Whether something is used for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Used {
    /// It is, and that is on the disk.
    First,
    /// It was used before.
    Again,
    /// Nobody can say: as much is noted as there can be.
    Full,
}

/// The most that is noted: far more than can be used within the minutes for which each is good, by people who have logged in for it.
const MOST: i64 = 65_536;
/// What is over is forgotten a day later: a clock that jumped ahead and is set back makes nothing good again. Microseconds.
const FORGET_AFTER: i64 = 86_400_000_000;

impl UsedBook {
    /// That of a store which was opened before.
    pub fn of(settings: &Settings) -> Self {
        Self { path: settings.path.clone() }
    }

    /// Uses what this is the hash of; after `until` it is good for nobody anyway.
    ///
    /// # Errors
    /// It cannot be noted: nobody can say whether it was used.
    pub fn take(&self, hash: [u8; 32], until: Timestamp, now: Timestamp) -> Result<Used, StoreError> {
        self.take_of(MOST, hash, until, now)
    }

    fn take_of(&self, most: i64, hash: [u8; 32], until: Timestamp, now: Timestamp) -> Result<Used, StoreError> {
        change(&self.path, |db| {
            // Immediate: of two that show the same at the same instant, in whichever process, one comes after the other.
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let over = now.as_microsecond().saturating_sub(FORGET_AFTER);
            transaction.execute("DELETE FROM used_once WHERE until <= ?1", [over])?;
            let there = "SELECT 1 FROM used_once WHERE hash = ?1";
            if transaction.query_row(there, [hash], |_| Ok(())).optional()?.is_some() {
                return Ok(Used::Again);
            }
            let count: i64 = transaction.query_row("SELECT count(*) FROM used_once", [], |row| row.get(0))?;
            if count >= most {
                return Ok(Used::Full);
            }
            transaction.execute(
                "INSERT INTO used_once (hash, until) VALUES (?1, ?2)",
                params![hash, until.as_microsecond()],
            )?;
            transaction.commit()?;
            Ok(Used::First)
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;
    use crate::database::Database;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn what_was_used_stays_used_whichever_process_is_asked_and_is_forgotten_when_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { path: folder.path().join("store.db") };
        let first = Database::open(&settings).unwrap();
        let (one, other) = (UsedBook::of(&settings), UsedBook::of(&settings));
        assert_eq!(one.take([1; 32], at(300), at(0)).unwrap(), Used::First);
        assert_eq!(one.take([1; 32], at(300), at(1)).unwrap(), Used::Again);
        assert_eq!(other.take([1; 32], at(300), at(1)).unwrap(), Used::Again, "the other process of a takeover");
        assert_eq!(other.take([2; 32], at(300), at(1)).unwrap(), Used::First);
        drop(first);
        let _second = Database::open(&settings).unwrap();
        assert_eq!(UsedBook::of(&settings).take([1; 32], at(300), at(2)).unwrap(), Used::Again, "after a restart");
        // A clock that jumps ahead and is set back makes nothing good again, until it has been ahead for a day.
        let day = at(300) + 24.hours();
        assert_eq!(one.take([3; 32], at(300) + 24.hours(), day - 1.seconds()).unwrap(), Used::First);
        assert_eq!(one.take([1; 32], at(300), at(2)).unwrap(), Used::Again);
        assert_eq!(one.take([4; 32], day, day).unwrap(), Used::First);
        assert_eq!(one.take([1; 32], at(300), at(2)).unwrap(), Used::First, "its row has gone");
    }

    #[test]
    fn where_it_is_full_nothing_is_new_and_what_cannot_be_noted_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { path: folder.path().join("store.db") };
        let book = UsedBook::of(&settings);
        assert!(book.take([1; 32], at(300), at(0)).is_err(), "there is no store");
        let _database = Database::open(&settings).unwrap();
        for place in 0..3 {
            assert_eq!(book.take_of(3, [place; 32], at(300), at(0)).unwrap(), Used::First);
        }
        assert_eq!(book.take_of(3, [9; 32], at(300), at(0)).unwrap(), Used::Full);
        assert_eq!(book.take_of(3, [0; 32], at(300), at(0)).unwrap(), Used::Again);
        let day = at(300) + 24.hours();
        assert_eq!(book.take_of(3, [9; 32], day + 5.minutes(), day).unwrap(), Used::First, "those of before are over");
    }
}
