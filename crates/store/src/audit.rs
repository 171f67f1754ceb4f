//! The rows of audits: what was used, the runs that were made, and what is suppressed. A connection of its own, so that nobody waits for it.
//!
//! What the rows mean is known by those who write them. Two gateways may write at once, while one takes over from the other: then of each
//! row the wider span and the larger count stay, so that a use is never lost to a process that did not see it.

mod names;
mod runs;
mod suppressions;
mod usage;

pub use suppressions::SuppressionRow;
pub use usage::{PrincipalRow, UsageRows, UseRow};

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::database::{Database, PATIENCE, Settings};
use crate::error::{StoreError, Trouble};

/// The rows of audits in a store.
#[derive(Debug)]
pub struct AuditBook {
    db: Connection,
    path: PathBuf,
}

impl AuditBook {
    /// Those in the file of a store that has been opened, and so verified.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn open(database: &Database) -> Result<Self, StoreError> {
        Self::at(&database.path).map_err(|trouble| database.error(trouble))
    }

    /// Those in the store of these settings, which is verified first.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn open_store(settings: &Settings) -> Result<Self, StoreError> {
        let database = Database::open(settings)?;
        Self::open(&database)
    }

    fn at(path: &Path) -> Result<Self, Trouble> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(PATIENCE)?;
        // Usage may be counted too low: a loss of power may take the last seconds.
        db.execute_batch("PRAGMA synchronous = NORMAL")?;
        Ok(Self { db, path: path.to_owned() })
    }

    fn error(&self, trouble: impl Into<Trouble>) -> StoreError {
        StoreError { path: self.path.clone(), trouble: trouble.into() }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::PrincipalKind;

    use super::*;

    fn book() -> (tempfile::TempDir, AuditBook) {
        let folder = tempfile::tempdir().unwrap();
        let book = AuditBook::open_store(&Settings { path: folder.path().join("portcullis.db") }).unwrap();
        (folder, book)
    }

    fn rows() -> UsageRows {
        UsageRows {
            since: Some(100),
            addresses_since: Some(101),
            crowded: Some(105),
            principals: vec![
                PrincipalRow {
                    kind: Some(PrincipalKind::User),
                    id: "alice".to_owned(),
                    groups: vec![("staff\n".to_owned(), true), ("x\0".to_owned(), false)],
                    roles: vec!["reader".to_owned()],
                    first: 110,
                    last: 120,
                    overflowed: 119,
                },
                PrincipalRow {
                    kind: None,
                    id: String::new(),
                    groups: Vec::new(),
                    roles: Vec::new(),
                    first: 1,
                    last: 2,
                    overflowed: 0,
                },
            ],
            uses: vec![
                UseRow {
                    principal: 0,
                    route: "app".to_owned(),
                    action: "GET /a".to_owned(),
                    numbers: [110, 120, 7, 3, 0, 0],
                },
                UseRow {
                    principal: 1,
                    route: "app".to_owned(),
                    action: "GET /a".to_owned(),
                    numbers: [0, 0, 0, 0, 4, 2],
                },
            ],
            addresses: vec![("192.0.2.1/32".parse().unwrap(), 1, 2, 3)],
            rules: vec![("assignment".to_owned(), "a".to_owned(), 1, 2, u64::from(u32::MAX) + 1)],
        }
    }

    #[test]
    fn usage_comes_back_as_it_was() {
        let (_folder, mut book) = book();
        assert_eq!(book.usage().unwrap(), UsageRows::default());
        book.write(&rows()).unwrap();
        assert_eq!(book.usage().unwrap(), rows());
        // Writing the same again changes nothing.
        book.write(&rows()).unwrap();
        assert_eq!(book.usage().unwrap(), rows());
        book.end_observation().unwrap();
        let ended = book.usage().unwrap();
        assert_eq!((ended.since, ended.addresses_since, ended.uses.len()), (None, None, 2));
    }

    #[test]
    fn a_mark_of_an_earlier_version_gets_a_time() {
        let (_folder, mut book) = book();
        let mut undated = rows();
        undated.crowded = Some(1);
        undated.principals[0].overflowed = 1;
        book.write(&undated).unwrap();
        book.date_marks(500).unwrap();
        book.date_marks(900).unwrap();
        let dated = book.usage().unwrap();
        let marks: Vec<u32> = dated.principals.iter().map(|row| row.overflowed).collect();
        assert_eq!((dated.crowded, marks), (Some(500), vec![500, 0]));
        // The later one stays.
        book.write(&rows()).unwrap();
        assert_eq!(book.usage().unwrap().crowded, Some(500));
    }

    #[test]
    fn of_two_who_write_no_use_is_lost() {
        let (_folder, mut book) = book();
        let with = |numbers: [u32; 6]| {
            let mut rows = rows();
            rows.uses.truncate(1);
            rows.uses[0].numbers = numbers;
            rows
        };
        let check = |book: &mut AuditBook, numbers: [u32; 6], expected: [u32; 6]| {
            book.write(&with(numbers)).unwrap();
            assert_eq!(book.usage().unwrap().uses[0].numbers, expected, "{numbers:?}");
        };
        check(&mut book, [0, 0, 0, 0, 5, 90], [0, 0, 0, 0, 5, 90]);
        check(&mut book, [110, 120, 7, 3, 0, 0], [110, 120, 7, 3, 5, 90]);
        // The one that is older, and has seen less, takes nothing away.
        check(&mut book, [105, 115, 1, 1, 6, 80], [105, 120, 7, 3, 5, 90]);
        check(&mut book, [112, 130, 9, 1, 6, 95], [105, 130, 9, 1, 6, 95]);
    }

    #[test]
    fn what_is_long_unused_is_forgotten() {
        let (_folder, mut book) = book();
        book.write(&rows()).unwrap();
        book.prune(50).unwrap();
        let left = book.usage().unwrap();
        assert_eq!((left.principals.len(), left.uses.len(), left.addresses.len(), left.rules.len()), (1, 1, 0, 0));
        assert_eq!(left.principals[0].id, "alice");
    }

    #[test]
    fn of_the_runs_the_last_ones_are_kept() {
        let (_folder, mut book) = book();
        for number in 0..5_i64 {
            book.add_run(&format!("run-{number}"), number, format!("report {number}").as_bytes(), 3).unwrap();
        }
        let ids: Vec<String> = book.runs().unwrap().into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, ["run-4", "run-3", "run-2"]);
        assert_eq!(book.run("run-3").unwrap().unwrap(), b"report 3");
        assert_eq!(book.run("run-0").unwrap(), None);
    }

    #[test]
    fn a_suppression_is_replaced_and_taken_back() {
        let (_folder, book) = book();
        let of = |owner: &str| SuppressionRow {
            fingerprint: "0123456789abcdef".to_owned(),
            owner: owner.to_owned(),
            reason: "why".to_owned(),
            made: 1,
            until: 2,
        };
        assert!(book.suppress(&of("ana")).unwrap() && book.suppress(&of("ben")).unwrap());
        assert_eq!(book.suppressions().unwrap(), [of("ben")]);
        assert!(book.unsuppress("0123456789abcdef").unwrap() && !book.unsuppress("0123456789abcdef").unwrap());
    }
}
