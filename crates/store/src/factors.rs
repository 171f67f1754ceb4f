//! The rows of second factors. Each change is on the disk when the call returns, for what was used must stay used: a connection of its own, whose
//! transactions are forced.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use portcullis_identity::mfa::factor::{Attempts, FactorId, FactorKind, FactorStore, FactorStoreError, StoredFactor};
use portcullis_identity::mfa::seal::Sealed;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, TransactionBehavior, params};

use crate::database::{Database, PATIENCE};
use crate::error::{StoreError, Trouble};
use crate::risk::time;

/// Second factors that are kept in the file of a store.
#[derive(Debug)]
pub struct KeptFactors {
    db: Mutex<Connection>,
}

const COLUMNS: &str = "principal, id, kind, name, created, used, confirmed, counter, credential, key, sealed, version";
/// The most rows of one principal that are read.
const MOST: i64 = 64;

impl KeptFactors {
    /// Those in the file of a store that has been opened, and so verified.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn open(database: &Database) -> Result<Self, StoreError> {
        match open(&database.path) {
            Ok(db) => Ok(Self { db: Mutex::new(db) }),
            Err(trouble) => Err(database.error(trouble)),
        }
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One transaction, which nobody else's comes between.
    fn change<T>(&self, act: impl FnOnce(&Connection) -> Result<T, Trouble>) -> Result<T, FactorStoreError> {
        let mut db = self.db();
        let changed = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Trouble::from);
        let changed = changed.and_then(|transaction| {
            let value = act(&transaction)?;
            transaction.commit()?;
            Ok(value)
        });
        changed.map_err(said)
    }
}

fn open(path: &std::path::Path) -> Result<Connection, Trouble> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(PATIENCE)?;
    db.execute_batch("PRAGMA synchronous = FULL")?;
    Ok(db)
}

fn said(trouble: impl Into<Trouble>) -> FactorStoreError {
    FactorStoreError(trouble.into().to_string())
}

impl FactorStore for KeptFactors {
    fn factors(&self, principal: &str) -> Result<Vec<StoredFactor>, FactorStoreError> {
        let text = format!("SELECT {COLUMNS} FROM factor WHERE principal = ?1 ORDER BY created, id LIMIT {MOST}");
        let rows = rows(&self.db(), &text, params![principal]).map_err(said)?;
        Ok(rows.into_iter().map(|(_, factor)| factor).collect())
    }

    fn add(&self, principal: &str, factor: &StoredFactor, most: usize) -> Result<bool, FactorStoreError> {
        self.change(|db| {
            let count: i64 =
                db.query_row("SELECT count(*) FROM factor WHERE principal = ?1", [principal], |row| row.get(0))?;
            let taken: bool = db.query_row(
                "SELECT EXISTS (SELECT 1 FROM factor WHERE credential = ?1)",
                [credential(factor)],
                |row| row.get(0),
            )?;
            if taken || usize::try_from(count).is_ok_and(|count| count >= most) {
                return Ok(false);
            }
            let values = (1..=12).map(|place| format!("?{place}")).collect::<Vec<_>>().join(", ");
            db.execute(
                &format!("INSERT INTO factor ({COLUMNS}) VALUES ({values})"),
                params![
                    principal,
                    factor.id.0,
                    factor.kind.number(),
                    factor.name,
                    factor.created.as_microsecond(),
                    factor.used.map(Timestamp::as_microsecond),
                    factor.confirmed,
                    factor.counter,
                    credential(factor),
                    factor.sealed.key,
                    &*factor.sealed.bytes,
                    factor.version,
                ],
            )?;
            Ok(true)
        })
    }

    fn replace(&self, principal: &str, factor: &StoredFactor) -> Result<bool, FactorStoreError> {
        self.change(|db| {
            // Kind and credential are what it is: they stay.
            let changed = db.execute(
                "UPDATE factor SET name = ?1, used = ?2, confirmed = ?3, counter = ?4, key = ?5, sealed = ?6, version = ?7
                 WHERE principal = ?8 AND id = ?9 AND version = ?7 - 1",
                params![
                    factor.name,
                    factor.used.map(Timestamp::as_microsecond),
                    factor.confirmed,
                    factor.counter,
                    factor.sealed.key,
                    &*factor.sealed.bytes,
                    factor.version,
                    principal,
                    factor.id.0,
                ],
            )?;
            Ok(changed == 1)
        })
    }

    fn remove(&self, principal: &str, id: FactorId) -> Result<bool, FactorStoreError> {
        self.change(|db| {
            let removed =
                db.execute("DELETE FROM factor WHERE principal = ?1 AND id = ?2", params![principal, id.0])?;
            Ok(removed == 1)
        })
    }

    fn reset(&self, principal: &str) -> Result<usize, FactorStoreError> {
        self.change(|db| {
            db.execute("DELETE FROM factor_attempt WHERE principal = ?1", [principal])?;
            Ok(db.execute("DELETE FROM factor WHERE principal = ?1", [principal])?)
        })
    }

    fn begin_attempt(&self, principal: &str, now: i64) -> Result<Result<Attempts, Attempts>, FactorStoreError> {
        self.change(|db| {
            let attempts = db
                .query_row(
                    "SELECT failures, last, until FROM factor_attempt WHERE principal = ?1",
                    [principal],
                    |row| {
                        let failures: i64 = row.get(0)?;
                        let failures = u32::try_from(failures).unwrap_or(u32::MAX);
                        Ok(Attempts { failures, last: row.get(1)?, until: row.get(2)? })
                    },
                )
                .optional()?
                .unwrap_or_default();
            if attempts.wait(now).is_some() {
                return Ok(Err(attempts));
            }
            let attempts = attempts.failed(now);
            db.execute(
                "INSERT OR REPLACE INTO factor_attempt (principal, failures, last, until) VALUES (?1, ?2, ?3, ?4)",
                params![principal, attempts.failures, attempts.last, attempts.until],
            )?;
            Ok(Ok(attempts))
        })
    }

    fn clear_attempts(&self, principal: &str) -> Result<(), FactorStoreError> {
        self.change(|db| {
            db.execute("DELETE FROM factor_attempt WHERE principal = ?1", [principal])?;
            Ok(())
        })
    }

    fn sealed_by_key(&self) -> Result<Vec<(i64, usize)>, FactorStoreError> {
        let counts = || -> Result<Vec<(i64, usize)>, Trouble> {
            let db = self.db();
            let mut statement = db.prepare("SELECT key, count(*) FROM factor GROUP BY key")?;
            let counts = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
            let counts =
                counts.map(|each| each.map(|(key, count)| (key, usize::try_from(count).unwrap_or(usize::MAX))));
            Ok(counts.collect::<Result<_, rusqlite::Error>>()?)
        };
        counts().map_err(said)
    }

    fn sealed_with(&self, key: i64, most: usize) -> Result<Vec<(String, StoredFactor)>, FactorStoreError> {
        let text = format!("SELECT {COLUMNS} FROM factor WHERE key = ?1 ORDER BY principal, id LIMIT ?2");
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        rows(&self.db(), &text, params![key, most]).map_err(said)
    }
}

/// No credential is no value: any number of factors may have none.
fn credential(factor: &StoredFactor) -> Option<&[u8]> {
    Some(&*factor.credential).filter(|credential| !credential.is_empty())
}

fn rows(
    db: &Connection,
    text: &str,
    parameters: &[&dyn rusqlite::ToSql],
) -> Result<Vec<(String, StoredFactor)>, Trouble> {
    let mut statement = db.prepare(text)?;
    let mut found = statement.query(parameters)?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        rows.push((row.get(0)?, factor(row)?));
    }
    Ok(rows)
}

fn factor(row: &Row<'_>) -> Result<StoredFactor, Trouble> {
    let bytes: Option<Vec<u8>> = row.get(8)?;
    let sealed: Vec<u8> = row.get(10)?;
    let used: Option<i64> = row.get(5)?;
    let kind = FactorKind::from_number(row.get(2)?);
    Ok(StoredFactor {
        id: FactorId(row.get(1)?),
        kind: kind.ok_or_else(|| Trouble::Damaged("a factor is of no kind".to_owned()))?,
        name: row.get(3)?,
        created: time(row.get(4)?)?,
        used: used.map(time).transpose()?,
        confirmed: row.get(6)?,
        counter: row.get(7)?,
        credential: bytes.unwrap_or_default().into_boxed_slice(),
        sealed: Sealed { key: row.get(9)?, bytes: sealed.into_boxed_slice() },
        version: row.get(11)?,
    })
}

#[cfg(test)]
mod tests;
