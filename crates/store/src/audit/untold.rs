//! What was done while no gateway ran, until one has told it.

use rusqlite::params;

use crate::error::StoreError;

use super::AuditBook;

/// What was done while no gateway ran and is to be told, at most. Of more the newest stay untold in the store.
const MOST_UNTOLD: i64 = 10_000;

impl AuditBook {
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
}
