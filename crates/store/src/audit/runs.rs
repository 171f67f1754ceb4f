//! The runs that were made, and their reports.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use crate::error::{StoreError, Trouble};
use crate::packed::{pack, unpack};

use super::AuditBook;

/// The longest report, in bytes.
const MAX_REPORT: u64 = 256 << 20;
const SCHEDULED: &str = "audit_scheduled";

impl AuditBook {
    /// Keeps a run, and of all runs the last ones. Says whether it did: another run may be called so already, and stays as it is.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn add_run(&mut self, id: &str, at: i64, report: &[u8], most: usize) -> Result<bool, StoreError> {
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

    /// When one was made by itself last, in seconds since 1970; `None`: never, as far as is known.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn scheduled(&self) -> Result<Option<i64>, StoreError> {
        let kept =
            self.db.query_row("SELECT value FROM kept WHERE name = ?1", [SCHEDULED], |row| row.get(0)).optional();
        kept.map_err(|error| self.error(error))
    }

    /// One was made by itself at this time.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn note_scheduled(&self, at: i64) -> Result<(), StoreError> {
        let kept = self.db.execute(
            "INSERT INTO kept (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value",
            params![SCHEDULED, at],
        );
        kept.map(drop).map_err(|error| self.error(error))
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
}

fn add_run(db: &mut Connection, id: &str, at: i64, report: &[u8], most: usize) -> Result<bool, Trouble> {
    let packed = pack(report).map_err(Trouble::File)?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let added = transaction.execute(
        "INSERT INTO audit_made (id, at, report) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        params![id, at, packed],
    )?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    transaction
        .execute("DELETE FROM audit_made WHERE n NOT IN (SELECT n FROM audit_made ORDER BY n DESC LIMIT ?1)", [most])?;
    transaction.commit()?;
    Ok(added > 0)
}
