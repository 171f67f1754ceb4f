//! The rows of audits: what was used, the runs that were made, and what is suppressed. A connection of its own, so that nobody waits for it.
//!
//! What the rows mean is known by those who write them. Two gateways may write at once, while one takes over from the other: then of each
//! row the wider span and the larger count stay, so that a use is never lost to a process that did not see it.

mod names;
mod runs;
mod suppressions;
mod untold;
mod usage;

pub use names::CarriedRow;
pub use suppressions::SuppressionRow;
pub use usage::{PrincipalRow, UsageRows, UseRow};

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::database::{Database, PATIENCE, Settings};
use crate::error::{StoreError, Trouble};
use crate::lock::Lock;

/// The rows of audits in a store.
#[derive(Debug)]
pub struct AuditBook {
    db: Connection,
    path: PathBuf,
    /// Where it is only looked at: nobody opens the store meanwhile.
    _lock: Option<Lock>,
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

    /// Those in the store of these settings, to look at them: nothing is written.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn look(settings: &Settings) -> Result<Self, StoreError> {
        let opened = crate::looking::open(&settings.path);
        let path = settings.path.clone();
        match opened {
            Ok((db, lock)) => Ok(Self { db, path, _lock: lock }),
            Err(trouble) => Err(StoreError { path, trouble }),
        }
    }

    /// When API keys were last used, in seconds since 1970, by their ids.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn key_uses(&self) -> Result<Vec<(String, i64)>, StoreError> {
        crate::revocation::uses(&self.db).map_err(|trouble| StoreError { path: self.path.clone(), trouble })
    }

    fn at(path: &Path) -> Result<Self, Trouble> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(PATIENCE)?;
        // Usage may be counted too low: a loss of power may take the last seconds.
        db.execute_batch("PRAGMA synchronous = NORMAL")?;
        Ok(Self { db, path: path.to_owned(), _lock: None })
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

    fn carried(name: &str, trusted: bool, since: u32) -> CarriedRow {
        CarriedRow { name: name.to_owned(), trusted, since }
    }

    fn rows() -> UsageRows {
        UsageRows {
            since: Some(100),
            addresses_since: Some(101),
            crowded: Some(105),
            observed: vec![(100, 160), (300, 300)],
            forgotten: None,
            principals: vec![
                PrincipalRow {
                    kind: Some(PrincipalKind::User),
                    id: "alice".to_owned(),
                    groups: vec![carried("staff\n", true, 111), carried("x\0", false, 0)],
                    roles: vec![carried("reader", true, 112)],
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
        assert!(ended.observed.is_empty());
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
            // The second one was made under a clock that was years ahead: it goes when its turn comes, like all others.
            let at = if number == 1 { 1 << 40 } else { number };
            assert!(book.add_run(&format!("run-{number}"), at, format!("report {number}").as_bytes(), 3).unwrap());
        }
        assert!(!book.add_run("run-4", 9, b"another", 3).unwrap(), "the name is taken");
        let ids: Vec<String> = book.runs().unwrap().into_iter().map(|(id, _)| id).collect();
        assert_eq!(book.scheduled().unwrap(), None);
        for at in [7, 5] {
            book.note_scheduled(at).unwrap();
            assert_eq!(book.scheduled().unwrap(), Some(at));
        }
        assert_eq!(ids, ["run-4", "run-3", "run-2"]);
        assert_eq!(book.run("run-3").unwrap().unwrap(), b"report 3");
        assert_eq!(book.run("run-4").unwrap().unwrap(), b"report 4");
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
            made_by: "uid 0".to_owned(),
            severity: "high".to_owned(),
            names: vec!["ana".to_owned(), "uid:7".to_owned()],
            confirmed_by: "ben".to_owned(),
        };
        assert!(book.suppress(&of("ana")).unwrap() && book.suppress(&of("ben")).unwrap());
        assert_eq!(book.suppressions().unwrap(), [of("ben")]);
        assert!(book.unsuppress("0123456789abcdef").unwrap() && !book.unsuppress("0123456789abcdef").unwrap());
    }

    #[test]
    fn the_end_of_a_suppression_is_told_once_and_again_where_it_was_made_anew() {
        let (_folder, book) = book();
        let until = |until: i64| SuppressionRow {
            fingerprint: "0123456789abcdef".to_owned(),
            owner: "ana".to_owned(),
            reason: "why".to_owned(),
            made: 1,
            until,
            made_by: String::new(),
            severity: String::new(),
            names: Vec::new(),
            confirmed_by: String::new(),
        };
        book.suppress(&until(10)).unwrap();
        assert_eq!((book.ended(9).unwrap(), book.ended(10).unwrap()), (Vec::new(), vec![until(10)]));
        book.end_told("0123456789abcdef").unwrap();
        assert!(book.ended(10).unwrap().is_empty());
        book.suppress(&until(20)).unwrap();
        assert_eq!((book.ended(19).unwrap(), book.ended(20).unwrap()), (Vec::new(), vec![until(20)]));
    }

    #[test]
    fn what_is_later_than_now_is_of_now() {
        let (_folder, mut book) = book();
        let mut ahead = rows();
        (ahead.since, ahead.crowded) = (Some(9_000), Some(9_001));
        ahead.principals[0].overflowed = 9_002;
        ahead.uses[0].numbers = [110, 9_003, 7, 3, 4, 9_004];
        ahead.observed.extend([(8_000, 9_500), (100, 160)]);
        book.write(&ahead).unwrap();
        book.clamp(500).unwrap();
        let left = book.usage().unwrap();
        assert_eq!((left.since, left.crowded, left.principals[0].overflowed), (Some(500), Some(500), 500));
        assert_eq!((left.uses[0].numbers, left.observed), ([110, 500, 7, 3, 4, 500], vec![(100, 160), (300, 300)]));
    }

    #[test]
    fn what_was_done_while_no_gateway_ran_waits_until_it_is_told() {
        let (_folder, book) = book();
        book.leave_untold(7, "one").unwrap();
        book.leave_untold(8, "two").unwrap();
        let untold = book.untold().unwrap();
        let said: Vec<(i64, &str)> = untold.iter().map(|(_, at, message)| (*at, message.as_str())).collect();
        assert_eq!(said, [(7, "one"), (8, "two")]);
        book.told(untold[0].0).unwrap();
        assert_eq!(book.untold().unwrap(), untold[1..]);
    }

    /// A store of the version before this one: its runs keep their order, and its suppressions have no author.
    #[test]
    fn a_store_of_an_earlier_version_is_brought_to_this_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.db");
        let db = Connection::open(&path).unwrap();
        crate::schema::migrate_before(&db, "audit_observed");
        db.execute_batch(
            "INSERT INTO audit_run VALUES ('z', 1, x''), ('ahead', 99999999999, x''), ('a', 2, x'');
             INSERT INTO audit_suppression VALUES ('0123456789abcdef', 'ana', 'why', 1, 2);
             INSERT INTO usage_principal VALUES (1, 1, 'bob', x'2b0100000061', 10, 20, 0);",
        )
        .unwrap();
        drop(db);
        let book = AuditBook::open_store(&Settings { path }).unwrap();
        let ids: Vec<String> = book.runs().unwrap().into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, ["a", "ahead", "z"]);
        assert_eq!(book.suppressions().unwrap()[0].made_by, "");
        assert_eq!(book.usage().unwrap().principals[0].groups, [carried("a", true, 20)]);
    }
}
