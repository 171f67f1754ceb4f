//! What is suppressed, by whom and until when.

use rusqlite::{Row, params};

use crate::error::StoreError;

use super::AuditBook;

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
    /// All names by which whoever made it is known; empty likewise.
    pub names: Vec<String>,
    /// Who else has confirmed it; empty: nobody.
    pub confirmed_by: String,
}

/// Suppressions that can be there at once.
const MOST_SUPPRESSIONS: i64 = 10_000;

impl AuditBook {
    /// The suppressions, those that are over too, by fingerprint.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn suppressions(&self) -> Result<Vec<SuppressionRow>, StoreError> {
        let rows = || -> Result<_, rusqlite::Error> {
            let mut statement = self.db.prepare(
                "SELECT fingerprint, owner, reason, made, until, made_by, severity, names, confirmed_by
                 FROM audit_suppression ORDER BY fingerprint",
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
        let SuppressionRow { fingerprint, owner, reason, made, until, made_by, severity, names, confirmed_by } = row;
        let added = self.db.execute(
            "INSERT INTO audit_suppression (fingerprint, owner, reason, made, until, made_by, severity, names, confirmed_by)
             SELECT ?1, ?2, ?3, ?4, ?5, ?7, ?8, ?9, ?10
             WHERE (SELECT count(*) FROM audit_suppression) < ?6 OR EXISTS (SELECT 1 FROM audit_suppression WHERE fingerprint = ?1)
             ON CONFLICT DO UPDATE SET owner = excluded.owner, reason = excluded.reason, made = excluded.made, until = excluded.until,
                 made_by = excluded.made_by, severity = excluded.severity, names = excluded.names, confirmed_by = excluded.confirmed_by,
                 end_told = 0",
            params![
                fingerprint,
                owner,
                reason,
                made,
                until,
                MOST_SUPPRESSIONS,
                made_by,
                severity,
                names.join("\n"),
                confirmed_by
            ],
        );
        added.map(|rows| rows > 0).map_err(|error| self.error(error))
    }

    /// The suppressions that are over by this time and whose end nobody has told yet, the oldest first. They are to be told, and then
    /// [`AuditBook::end_told`].
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn ended(&self, now: i64) -> Result<Vec<SuppressionRow>, StoreError> {
        let rows = || -> Result<_, rusqlite::Error> {
            let mut statement = self.db.prepare(
                "SELECT fingerprint, owner, reason, made, until, made_by, severity, names, confirmed_by
                 FROM audit_suppression WHERE until <= ?1 AND end_told = 0 ORDER BY until, fingerprint",
            )?;
            statement.query_map([now], suppression)?.collect()
        };
        rows().map_err(|error| self.error(error))
    }

    /// The end of the suppression of this finding was told.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn end_told(&self, fingerprint: &str) -> Result<(), StoreError> {
        let told = self.db.execute("UPDATE audit_suppression SET end_told = 1 WHERE fingerprint = ?1", [fingerprint]);
        told.map(drop).map_err(|error| self.error(error))
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
        names: row.get::<_, String>(7)?.lines().map(str::to_owned).collect(),
        confirmed_by: row.get(8)?,
    })
}
