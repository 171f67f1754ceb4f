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
    /// The spans of time in which somebody counted, each from its first second to its last.
    pub observed: Vec<(i64, i64)>,
    /// Before when what was not used is forgotten. It is written by [`AuditBook::prune`].
    pub forgotten: Option<i64>,
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
    pub groups: Vec<CarriedRow>,
    /// Roles.
    pub roles: Vec<CarriedRow>,
    /// When it was first seen.
    pub first: u32,
    /// When last.
    pub last: u32,
    /// When a use was last not kept, because it uses so much; 0: never; 1: at some time.
    pub overflowed: u32,
}

/// A group or a role that a credential carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedRow {
    /// Its name.
    pub name: String,
    /// Of a group: whether it may join a local one. Of a role: true.
    pub trusted: bool,
    /// Since when it is known to be carried. What an earlier version wrote without a time is dated by when its principal was last seen: it was carried
    /// then, and nobody knows since when.
    pub since: u32,
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
    /// Who made it; empty: an earlier version, which did not write that.
    pub made_by: String,
    /// How bad the finding was then; empty likewise.
    pub severity: String,
}

const SINCE: &str = "usage_since";
const ADDRESSES_SINCE: &str = "usage_addresses_since";
const CROWDED: &str = "usage_crowded";
const FORGOTTEN: &str = "usage_forgotten";
/// What was done while no gateway ran and is to be told, at most. Of more the newest stay untold in the store.
const MOST_UNTOLD: i64 = 10_000;
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
        let end = || -> Result<(), rusqlite::Error> {
            self.db.execute("DELETE FROM kept WHERE name IN (?1, ?2)", [SINCE, ADDRESSES_SINCE])?;
            self.db.execute("DELETE FROM audit_observed", [])?;
            Ok(())
        };
        end().map_err(|error| self.error(error))
    }

    /// Takes times of usage that are later than this, in seconds since 1970, to be of it: the clock was wrong when they were written.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn clamp(&mut self, latest: i64) -> Result<(), StoreError> {
        let clamped = clamp(&mut self.db, latest);
        clamped.map_err(|trouble| self.error(trouble))
    }

    /// Keeps a sentence on what was done while no gateway ran, for one that does to tell.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn leave_untold(&self, at: i64, message: &str) -> Result<(), StoreError> {
        let left = self.db.execute(
            "INSERT INTO audit_untold (at, message) SELECT ?1, ?2 WHERE (SELECT count(*) FROM audit_untold) < ?3",
            params![at, message, MOST_UNTOLD],
        );
        left.map(drop).map_err(|error| self.error(error))
    }

    /// What was done while no gateway ran, the oldest first: when, and what. It is to be told, and then [`AuditBook::told`].
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn untold(&self) -> Result<Vec<(i64, i64, String)>, StoreError> {
        let rows = || -> Result<_, rusqlite::Error> {
            let mut statement = self.db.prepare("SELECT n, at, message FROM audit_untold ORDER BY n")?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
        };
        rows().map_err(|error| self.error(error))
    }

    /// Up to this one they were told.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn told(&self, last: i64) -> Result<(), StoreError> {
        let told = self.db.execute("DELETE FROM audit_untold WHERE n <= ?1", [last]);
        told.map(drop).map_err(|error| self.error(error))
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

    /// The runs that are kept and when they were made by the clock of then, the last one that was made first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn runs(&self) -> Result<Vec<(String, i64)>, StoreError> {
        let runs = || -> Result<_, rusqlite::Error> {
            let mut statement = self.db.prepare("SELECT id, at FROM audit_made ORDER BY n DESC")?;
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
            self.db.query_row("SELECT report FROM audit_made WHERE id = ?1", [id], |row| row.get(0)).optional();
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
                "SELECT fingerprint, owner, reason, made, until, made_by, severity FROM audit_suppression ORDER BY fingerprint",
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
        let SuppressionRow { fingerprint, owner, reason, made, until, made_by, severity } = row;
        let added = self.db.execute(
            "INSERT INTO audit_suppression (fingerprint, owner, reason, made, until, made_by, severity) SELECT ?1, ?2, ?3, ?4, ?5, ?7, ?8
             WHERE (SELECT count(*) FROM audit_suppression) < ?6 OR EXISTS (SELECT 1 FROM audit_suppression WHERE fingerprint = ?1)
             ON CONFLICT DO UPDATE SET owner = excluded.owner, reason = excluded.reason, made = excluded.made, until = excluded.until,
                 made_by = excluded.made_by, severity = excluded.severity",
            params![fingerprint, owner, reason, made, until, MOST_SUPPRESSIONS, made_by, severity],
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
        made_by: row.get(5)?,
        severity: row.get(6)?,
    })
}

fn usage(db: &Connection) -> Result<UsageRows, Trouble> {
    // All that is read is of one moment.
    let reading = db.unchecked_transaction()?;
    let mut rows = UsageRows {
        since: kept(&reading, SINCE)?,
        addresses_since: kept(&reading, ADDRESSES_SINCE)?,
        crowded: kept(&reading, CROWDED)?.filter(|crowded| *crowded != 0),
        forgotten: kept(&reading, FORGOTTEN)?,
        ..UsageRows::default()
    };
    let mut statement = reading.prepare("SELECT began, until FROM audit_observed ORDER BY began")?;
    rows.observed = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
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
    let last: u32 = row.get(5)?;
    let (groups, roles) =
        names(&carried, last).ok_or_else(|| Trouble::Damaged("usage_principal has names that are none".to_owned()))?;
    Ok(PrincipalRow { kind, id: row.get(2)?, groups, roles, first: row.get(4)?, last, overflowed: row.get(6)? })
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
    let mut upsert = transaction.prepare(
        "INSERT INTO audit_observed (began, until) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET until = max(until, excluded.until)",
    )?;
    for (began, until) in &rows.observed {
        upsert.execute([began, until])?;
    }
    drop(upsert);
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
    transaction.execute("DELETE FROM audit_observed WHERE until < ?1", [before])?;
    let forgotten = kept(&transaction, FORGOTTEN)?.unwrap_or(before);
    keep(&transaction, FORGOTTEN, forgotten.max(before))?;
    transaction.commit()?;
    Ok(())
}

fn clamp(db: &mut Connection, latest: i64) -> Result<(), Trouble> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for name in [SINCE, ADDRESSES_SINCE, CROWDED, FORGOTTEN] {
        transaction.execute("UPDATE kept SET value = ?1 WHERE name = ?2 AND value > ?1", params![latest, name])?;
    }
    for sql in [
        "DELETE FROM audit_observed WHERE began > ?1",
        "UPDATE audit_observed SET until = ?1 WHERE until > ?1",
        "UPDATE usage SET last = min(last, ?1), last_denied = min(last_denied, ?1) WHERE last > ?1 OR last_denied > ?1",
        "UPDATE usage_principal SET last = min(last, ?1), overflowed = min(overflowed, ?1) WHERE last > ?1 OR overflowed > ?1",
        "UPDATE usage_address SET last = ?1 WHERE last > ?1",
        "UPDATE usage_rule SET last = ?1 WHERE last > ?1",
    ] {
        transaction.execute(sql, [latest])?;
    }
    transaction.commit()?;
    Ok(())
}

fn add_run(db: &mut Connection, id: &str, at: i64, report: &[u8], most: usize) -> Result<(), Trouble> {
    let packed = pack(report).map_err(Trouble::File)?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction
        .execute("INSERT OR REPLACE INTO audit_made (id, at, report) VALUES (?1, ?2, ?3)", params![id, at, packed])?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    transaction
        .execute("DELETE FROM audit_made WHERE n NOT IN (SELECT n FROM audit_made ORDER BY n DESC LIMIT ?1)", [most])?;
    transaction.commit()?;
    Ok(())
}

/// Groups and roles: a sign, since when and the length in four bytes each, the name. A name may hold anything. Earlier versions wrote other signs,
/// and no time.
fn bytes(groups: &[CarriedRow], roles: &[CarriedRow]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let groups = groups.iter().map(|group| (if group.trusted { b'T' } else { b'U' }, group));
    for (sign, carried) in groups.chain(roles.iter().map(|role| (b'R', role))) {
        bytes.push(sign);
        bytes.extend_from_slice(&carried.since.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(carried.name.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(carried.name.as_bytes());
    }
    bytes
}

type Names = (Vec<CarriedRow>, Vec<CarriedRow>);

/// `undated`: the time of what an earlier version wrote.
fn names(mut bytes: &[u8], undated: u32) -> Option<Names> {
    let (mut groups, mut roles) = Names::default();
    while let Some((sign, rest)) = bytes.split_first() {
        let (since, rest) = match sign {
            b'T' | b'U' | b'R' => {
                rest.split_first_chunk::<4>().map(|(since, rest)| (u32::from_le_bytes(*since), rest))?
            }
            _ => (undated, rest),
        };
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let name = std::str::from_utf8(name).ok()?.to_owned();
        let carried = |trusted: bool| CarriedRow { name, trusted, since };
        match sign {
            b'T' | b'+' => groups.push(carried(true)),
            b'U' | b'-' => groups.push(carried(false)),
            b'R' | b'r' => roles.push(carried(true)),
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
            book.add_run(&format!("run-{number}"), at, format!("report {number}").as_bytes(), 3).unwrap();
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
            made_by: "uid 0".to_owned(),
            severity: "high".to_owned(),
        };
        assert!(book.suppress(&of("ana")).unwrap() && book.suppress(&of("ben")).unwrap());
        assert_eq!(book.suppressions().unwrap(), [of("ben")]);
        assert!(book.unsuppress("0123456789abcdef").unwrap() && !book.unsuppress("0123456789abcdef").unwrap());
    }

    #[test]
    fn names_that_were_cut_are_no_names() {
        let whole = bytes(&[carried("a", true, 7)], &[carried("b", true, 8)]);
        assert!(names(&whole, 0).is_some() && names(&[], 0).is_some());
        // What is whole up to a name is whole; everything between is not.
        let whole_at: Vec<usize> = (0..whole.len()).filter(|end| names(&whole[..*end], 0).is_some()).collect();
        assert_eq!(whole_at, [0, 10]);
        assert!(names(b"x\x01\0\0\0a", 0).is_none());
    }

    /// What an earlier version wrote has no times: it was carried when its principal was last seen.
    #[test]
    fn names_of_an_earlier_version_are_as_old_as_is_known() {
        let (groups, roles) = names(b"+\x01\0\0\0a-\x01\0\0\0br\x01\0\0\0c", 500).unwrap();
        assert_eq!(
            (groups, roles),
            (vec![carried("a", true, 500), carried("b", false, 500)], vec![carried("c", true, 500)])
        );
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
