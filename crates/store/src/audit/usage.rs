//! What was used, by whom, from where and by which rule.

use ipnet::IpNet;
use portcullis_policy::PrincipalKind;
use rusqlite::{Connection, Row, TransactionBehavior, params};

use crate::error::{StoreError, Trouble};
use crate::risk::{keep, kept, number, principal_kind};

use super::AuditBook;
use super::names::{CarriedRow, bytes, names};

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

const SINCE: &str = "usage_since";
const ADDRESSES_SINCE: &str = "usage_addresses_since";
const CROWDED: &str = "usage_crowded";
const FORGOTTEN: &str = "usage_forgotten";

/// Nobody in particular.
const NOBODY: i64 = 0;

impl AuditBook {
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
