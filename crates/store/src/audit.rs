//! The rows of audits: what was used, the runs that were made, and what is suppressed. A connection of its own, so that nobody waits for it.
//!
//! What the rows mean is known by those who write them. Two gateways may write at once, while one takes over from the other: then of each
//! row the wider span and the larger count stay, so that a use is never lost to a process that did not see it.

use std::path::{Path, PathBuf};

use ipnet::IpNet;
use portcullis_policy::PrincipalKind;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, TransactionBehavior, params};

use crate::database::{Database, PATIENCE, Settings};
use crate::error::{StoreError, Trouble};
use crate::packed::{pack, unpack};
use crate::risk::{keep, kept, number, principal_kind};

/// The rows of audits in a store.
#[derive(Debug)]
pub struct AuditBook {
    db: Connection,
    path: PathBuf,
}

/// What was used, as it is kept. Times are seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UsageRows {
    /// Since when everything is counted.
    pub since: Option<i64>,
    /// Since when all addresses are.
    pub addresses_since: Option<i64>,
    /// When there was last no room for all; 1: at some time, by a version that did not write when.
    pub crowded: Option<i64>,
    /// Who was seen.
    pub principals: Vec<PrincipalRow>,
    /// What they used.
    pub uses: Vec<UseRow>,
    /// From where: first, last, how often.
    pub addresses: Vec<(IpNet, u32, u32, u64)>,
    /// The rules that decided, by kind and name: first, last, how often.
    pub rules: Vec<(String, String, u32, u32, u64)>,
}

/// Somebody who was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalRow {
    /// What kind; `None`: nobody in particular.
    pub kind: Option<PrincipalKind>,
    /// The id.
    pub id: String,
    /// Groups, each with whether it may join a local one.
    pub groups: Vec<(String, bool)>,
    /// Roles.
    pub roles: Vec<String>,
    /// When it was first seen.
    pub first: u32,
    /// When last.
    pub last: u32,
    /// When a use was last not kept, because it uses so much; 0: never; 1: at some time.
    pub overflowed: u32,
}

/// One permission of one principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseRow {
    /// A place among the principals.
    pub principal: usize,
    /// The route.
    pub route: String,
    /// The action.
    pub action: String,
    /// First and last use, count, days, refusals, and the last of these.
    pub numbers: [u32; 6],
}

/// A suppression. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuppressionRow {
    /// Of which finding.
    pub fingerprint: String,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// When it was made.
    pub made: i64,
    /// When it ends.
    pub until: i64,
}

const SINCE: &str = "usage_since";
const ADDRESSES_SINCE: &str = "usage_addresses_since";
const CROWDED: &str = "usage_crowded";
/// The longest report, in bytes.
const MAX_REPORT: u64 = 256 << 20;
/// Suppressions that can be there at once.
const MOST_SUPPRESSIONS: i64 = 10_000;

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

    /// All that was used.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn usage(&self) -> Result<UsageRows, StoreError> {
        usage(&self.db).map_err(|trouble| self.error(trouble))
    }

    /// Writes what has changed.
    ///
    /// # Errors
    /// The store cannot be written; then nothing of it is.
    pub fn write(&mut self, rows: &UsageRows) -> Result<(), StoreError> {
        let written = write(&mut self.db, rows);
        written.map_err(|trouble| self.error(trouble))
    }

    /// Nobody counts any more: what is counted later begins anew.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn end_observation(&self) -> Result<(), StoreError> {
        let names = [SINCE, ADDRESSES_SINCE];
        let ended = self.db.execute("DELETE FROM kept WHERE name IN (?1, ?2)", names);
        ended.map(drop).map_err(|error| self.error(error))
    }

    /// Gives this time to what there was no room for at some time: earlier versions did not write when.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn date_marks(&self, now: i64) -> Result<(), StoreError> {
        let dated = || -> Result<(), rusqlite::Error> {
            self.db.execute("UPDATE kept SET value = ?1 WHERE name = ?2 AND value = 1", params![now, CROWDED])?;
            self.db.execute("UPDATE usage_principal SET overflowed = ?1 WHERE overflowed = 1", [now])?;
            Ok(())
        };
        dated().map_err(|error| self.error(error))
    }

    /// Forgets what was neither used nor refused since then, in seconds since 1970.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn prune(&mut self, before: i64) -> Result<(), StoreError> {
        let pruned = prune(&mut self.db, before);
        pruned.map_err(|trouble| self.error(trouble))
    }

    /// Keeps a run, and of all runs the last ones.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn add_run(&mut self, id: &str, at: i64, report: &[u8], most: usize) -> Result<(), StoreError> {
        let added = add_run(&mut self.db, id, at, report, most);
        added.map_err(|trouble| self.error(trouble))
    }

    /// The runs that are kept and when they were made, the last one first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn runs(&self) -> Result<Vec<(String, i64)>, StoreError> {
        let runs = || -> Result<_, rusqlite::Error> {
            let mut statement = self.db.prepare("SELECT id, at FROM audit_run ORDER BY at DESC, id DESC")?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        runs().map_err(|error| self.error(error))
    }

    /// A run's report.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn run(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let packed: Result<Option<Vec<u8>>, _> =
            self.db.query_row("SELECT report FROM audit_run WHERE id = ?1", [id], |row| row.get(0)).optional();
        let packed = packed.map_err(|error| self.error(error))?;
        packed
            .map(|packed| unpack(&packed, MAX_REPORT))
            .transpose()
            .map_err(|error| self.error(Trouble::Damaged(error.to_string())))
    }

    /// The suppressions, those that are over too, by fingerprint.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn suppressions(&self) -> Result<Vec<SuppressionRow>, StoreError> {
        let rows = || -> Result<_, rusqlite::Error> {
            let mut statement = self.db.prepare(
                "SELECT fingerprint, owner, reason, made, until FROM audit_suppression ORDER BY fingerprint",
            )?;
            statement.query_map([], suppression)?.collect()
        };
        rows().map_err(|error| self.error(error))
    }

    /// Adds a suppression, in place of one of the same finding. Says whether there was room for it.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn suppress(&self, row: &SuppressionRow) -> Result<bool, StoreError> {
        let SuppressionRow { fingerprint, owner, reason, made, until } = row;
        let added = self.db.execute(
            "INSERT INTO audit_suppression (fingerprint, owner, reason, made, until) SELECT ?1, ?2, ?3, ?4, ?5
             WHERE (SELECT count(*) FROM audit_suppression) < ?6 OR EXISTS (SELECT 1 FROM audit_suppression WHERE fingerprint = ?1)
             ON CONFLICT DO UPDATE SET owner = excluded.owner, reason = excluded.reason, made = excluded.made, until = excluded.until",
            params![fingerprint, owner, reason, made, until, MOST_SUPPRESSIONS],
        );
        added.map(|rows| rows > 0).map_err(|error| self.error(error))
    }

    /// Takes a suppression back. Says whether there was one.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn unsuppress(&self, fingerprint: &str) -> Result<bool, StoreError> {
        let removed = self.db.execute("DELETE FROM audit_suppression WHERE fingerprint = ?1", [fingerprint]);
        removed.map(|rows| rows > 0).map_err(|error| self.error(error))
    }
}

fn suppression(row: &Row<'_>) -> rusqlite::Result<SuppressionRow> {
    Ok(SuppressionRow {
        fingerprint: row.get(0)?,
        owner: row.get(1)?,
        reason: row.get(2)?,
        made: row.get(3)?,
        until: row.get(4)?,
    })
}

fn usage(db: &Connection) -> Result<UsageRows, Trouble> {
    // All that is read is of one moment.
    let reading = db.unchecked_transaction()?;
    let mut rows = UsageRows {
        since: kept(&reading, SINCE)?,
        addresses_since: kept(&reading, ADDRESSES_SINCE)?,
        crowded: kept(&reading, CROWDED)?.filter(|crowded| *crowded != 0),
        ..UsageRows::default()
    };
    let mut places = std::collections::HashMap::new();
    let mut statement =
        reading.prepare("SELECT id, kind, name, carried, first, last, overflowed FROM usage_principal ORDER BY id")?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let id: i64 = row.get(0)?;
        places.insert(id, rows.principals.len());
        rows.principals.push(principal(row)?);
    }
    let mut statement = reading.prepare(
        "SELECT usage.principal, route, name, first, last, uses, days, denied, last_denied
         FROM usage JOIN usage_action ON usage_action.id = usage.action ORDER BY usage.principal, usage.action",
    )?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let whose: i64 = row.get(0)?;
        let Some(principal) = places.get(&whose).copied() else { continue };
        let mut numbers = [0; 6];
        for (place, each) in numbers.iter_mut().enumerate() {
            *each = row.get(place + 3)?;
        }
        rows.uses.push(UseRow { principal, route: row.get(1)?, action: row.get(2)?, numbers });
    }
    let mut statement = reading.prepare("SELECT network, first, last, times FROM usage_address ORDER BY network")?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let network: String = row.get(0)?;
        let network =
            network.parse().map_err(|_| Trouble::Damaged("usage_address has a network that is none".to_owned()))?;
        rows.addresses.push((network, row.get(1)?, row.get(2)?, times(row, 3)?));
    }
    let mut statement = reading.prepare("SELECT kind, name, first, last, times FROM usage_rule ORDER BY kind, name")?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        rows.rules.push((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, times(row, 4)?));
    }
    Ok(rows)
}

fn times(row: &Row<'_>, column: usize) -> Result<u64, Trouble> {
    Ok(row.get::<_, i64>(column)?.cast_unsigned())
}

/// Nobody in particular.
const NOBODY: i64 = 0;

fn principal(row: &Row<'_>) -> Result<PrincipalRow, Trouble> {
    let kind = match row.get(1)? {
        NOBODY => None,
        kind => Some(principal_kind(kind)?),
    };
    let carried: Vec<u8> = row.get(3)?;
    let (groups, roles) =
        names(&carried).ok_or_else(|| Trouble::Damaged("usage_principal has names that are none".to_owned()))?;
    Ok(PrincipalRow {
        kind,
        id: row.get(2)?,
        groups,
        roles,
        first: row.get(4)?,
        last: row.get(5)?,
        overflowed: row.get(6)?,
    })
}

fn write(db: &mut Connection, rows: &UsageRows) -> Result<(), Trouble> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // None of them ever goes back: of two who write, the one that is surer of less is right.
    for (name, value) in [(SINCE, rows.since), (ADDRESSES_SINCE, rows.addresses_since), (CROWDED, rows.crowded)] {
        if let Some(value) = value {
            let before = kept(&transaction, name)?.unwrap_or(value);
            keep(&transaction, name, value.max(before))?;
        }
    }
    let ids = write_principals(&transaction, &rows.principals)?;
    write_uses(&transaction, &rows.uses, &ids)?;
    let mut upsert = transaction.prepare(
        "INSERT INTO usage_address (network, first, last, times) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last), times = max(times, excluded.times)",
    )?;
    for (network, first, last, times) in &rows.addresses {
        upsert.execute(params![network.to_string(), first, last, times.cast_signed()])?;
    }
    drop(upsert);
    let mut upsert = transaction.prepare(
        "INSERT INTO usage_rule (kind, name, first, last, times) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last), times = max(times, excluded.times)",
    )?;
    for (kind, name, first, last, times) in &rows.rules {
        upsert.execute(params![kind, name, first, last, times.cast_signed()])?;
    }
    drop(upsert);
    transaction.commit()?;
    Ok(())
}

fn write_principals(transaction: &Connection, principals: &[PrincipalRow]) -> Result<Vec<i64>, Trouble> {
    let mut upsert = transaction.prepare(
        "INSERT INTO usage_principal (kind, name, carried, first, last, overflowed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET carried = excluded.carried, first = min(first, excluded.first), last = max(last, excluded.last),
             overflowed = max(overflowed, excluded.overflowed)
         RETURNING id",
    )?;
    let mut ids = Vec::with_capacity(principals.len());
    for row in principals {
        let kind = row.kind.map_or(NOBODY, number);
        let carried = bytes(&row.groups, &row.roles);
        let values = params![kind, row.id, carried, row.first, row.last, row.overflowed];
        ids.push(upsert.query_row(values, |row| row.get(0))?);
    }
    Ok(ids)
}

fn write_uses(transaction: &Connection, uses: &[UseRow], ids: &[i64]) -> Result<(), Trouble> {
    let mut add_action =
        transaction.prepare("INSERT INTO usage_action (route, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    let mut find_action = transaction.prepare("SELECT id FROM usage_action WHERE route = ?1 AND name = ?2")?;
    // 0 is never: the least of two first uses is that of the one who used it.
    let mut upsert = transaction.prepare(
        "INSERT INTO usage (principal, action, first, last, uses, days, denied, last_denied) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT DO UPDATE SET
             first = CASE WHEN first = 0 THEN excluded.first WHEN excluded.first = 0 THEN first ELSE min(first, excluded.first) END,
             days = CASE WHEN excluded.last >= last THEN excluded.days ELSE days END,
             uses = CASE WHEN excluded.last >= last THEN excluded.uses ELSE uses END,
             denied = CASE WHEN excluded.last_denied >= last_denied THEN excluded.denied ELSE denied END,
             last = max(last, excluded.last), last_denied = max(last_denied, excluded.last_denied)",
    )?;
    for row in uses {
        let Some(principal) = ids.get(row.principal) else { continue };
        add_action.execute(params![row.route, row.action])?;
        let action: i64 = find_action.query_row(params![row.route, row.action], |row| row.get(0))?;
        let [first, last, count, days, denied, last_denied] = row.numbers;
        upsert.execute(params![principal, action, first, last, count, days, denied, last_denied])?;
    }
    Ok(())
}

fn prune(db: &mut Connection, before: i64) -> Result<(), Trouble> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("DELETE FROM usage WHERE last < ?1 AND last_denied < ?1", [before])?;
    transaction.execute("DELETE FROM usage_principal WHERE id NOT IN (SELECT principal FROM usage)", [])?;
    transaction.execute("DELETE FROM usage_action WHERE id NOT IN (SELECT action FROM usage)", [])?;
    transaction.execute("DELETE FROM usage_address WHERE last < ?1", [before])?;
    transaction.execute("DELETE FROM usage_rule WHERE last < ?1", [before])?;
    transaction.commit()?;
    Ok(())
}

fn add_run(db: &mut Connection, id: &str, at: i64, report: &[u8], most: usize) -> Result<(), Trouble> {
    let packed = pack(report).map_err(Trouble::File)?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction
        .execute("INSERT OR REPLACE INTO audit_run (id, at, report) VALUES (?1, ?2, ?3)", params![id, at, packed])?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    transaction.execute(
        "DELETE FROM audit_run WHERE id NOT IN (SELECT id FROM audit_run ORDER BY at DESC, id DESC LIMIT ?1)",
        [most],
    )?;
    transaction.commit()?;
    Ok(())
}

/// Groups and roles: a sign, the length in four bytes, the name. A name may hold anything.
fn bytes(groups: &[(String, bool)], roles: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let groups = groups.iter().map(|(name, trusted)| (if *trusted { b'+' } else { b'-' }, name));
    for (sign, name) in groups.chain(roles.iter().map(|name| (b'r', name))) {
        bytes.push(sign);
        bytes.extend_from_slice(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes
}

type Names = (Vec<(String, bool)>, Vec<String>);

fn names(mut bytes: &[u8]) -> Option<Names> {
    let (mut groups, mut roles) = Names::default();
    while let Some((sign, rest)) = bytes.split_first() {
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let name = std::str::from_utf8(name).ok()?.to_owned();
        match sign {
            b'+' => groups.push((name, true)),
            b'-' => groups.push((name, false)),
            b'r' => roles.push(name),
            _ => return None,
        }
        bytes = rest;
    }
    Some((groups, roles))
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn names_that_were_cut_are_no_names() {
        let whole = bytes(&[("a".to_owned(), true)], &["b".to_owned()]);
        assert!(names(&whole).is_some() && names(&[]).is_some());
        // What is whole up to a name is whole; everything between is not.
        let whole_at: Vec<usize> = (0..whole.len()).filter(|end| names(&whole[..*end]).is_some()).collect();
        assert_eq!(whole_at, [0, 6]);
        assert!(names(b"x\x01\0\0\0a").is_none());
    }
}
