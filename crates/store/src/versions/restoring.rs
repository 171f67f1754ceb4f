//! What a store that comes from a backup takes from the one that it replaces, what it takes back by no means, and that it was restored.

use std::path::Path;

use portcullis_governance::{ChangeId, ChangeState};
use rusqlite::{Connection, TransactionBehavior, params};

use super::{Versions, number};
use crate::database::Settings;
use crate::error::{StoreError, Trouble};

/// Tables that are those of now, whatever an older store says: in it are sessions that were ended since, factors that were lost and removed,
/// codes that were used, findings of audits whose suppression was lifted, and what was told since.
const NEVER_BACK: [&str; 7] =
    ["session", "factor", "factor_attempt", "key_use", "audit_suppression", "audit_untold", "used_once"];
/// The log as a whole, with what waits.
const LOG: [&str; 5] = ["version", "blob", "change", "approval", "rollout"];
/// Rows of the table `kept` that say that a backup was restored, which no start has told yet: their names go on with a number.
const RESTORED: &str = "restored/";
/// So many of them at most: of more the last ones are not kept.
const MOST_RESTORED: i64 = 100;

/// What was taken from a newer store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Its log of temporary power goes on from this one's, and is in its place: else nobody knows what was ended since.
    pub power: bool,
    /// Its proposals and approvals are in the place of this one's: else nobody knows which of these were rejected since.
    pub changes: bool,
}

impl Versions {
    /// Takes from a newer store what must never be taken back: what was revoked and who was banned since, which sessions there are, second factors with
    /// what was used of them, what of audits is suppressed, and the log of temporary power; and where that is wanted its log, proposals and approvals
    /// with it, in place of this one's. All of it or nothing. Where both logs end alike, what waits and how far the last version has come are taken,
    /// too: proposals were rejected and steps are over, maybe.
    ///
    /// # Errors
    /// One of the two cannot be used.
    pub fn take_from(&mut self, newer: &Path, log: bool) -> Result<Taken, Trouble> {
        self.db.execute("ATTACH DATABASE ?1 AS newer", [newer.to_string_lossy()])?;
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("INSERT OR REPLACE INTO main.revocation SELECT * FROM newer.revocation", [])?;
        let power = crate::power::take_newer(&transaction)?;
        take_bans(&transaction)?;
        transaction
            .execute("INSERT OR REPLACE INTO main.kept SELECT * FROM newer.kept WHERE name GLOB ?1", [told()])?;
        let last = |store: &str| format!("(SELECT hash FROM {store}.version ORDER BY n DESC LIMIT 1)");
        let ends_alike = format!("SELECT {} IS {}", last("main"), last("newer"));
        let ends_alike = !log && transaction.query_row(&ends_alike, [], |row| row.get(0))?;
        for table in NEVER_BACK {
            replace(&transaction, table)?;
        }
        if log {
            for table in LOG {
                replace(&transaction, table)?;
            }
        } else if ends_alike {
            take_changes(&transaction)?;
        }
        transaction.commit()?;
        self.db.execute("DETACH DATABASE newer", [])?;
        Ok(Taken { power, changes: log || ends_alike })
    }

    /// Drops the versions behind this one, which are not believed, and how far the last of them had come; that stays where it is this (`rollout`), which is
    /// of a version that stays. What became live with the dropped ones (`changes`) is as if another version had overtaken it: it can be proposed again. All
    /// of it or nothing.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn drop_after(&mut self, n: u64, changes: &[ChangeId], rollout: Option<&[u8]>) -> Result<(), Trouble> {
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("DELETE FROM version WHERE n > ?1", [n.cast_signed()])?;
        transaction.execute("DELETE FROM rollout WHERE record IS NOT ?1", [rollout])?;
        let [activated, overtaken] = [ChangeState::Activated, ChangeState::Overtaken].map(number);
        for id in changes {
            let sql = "UPDATE change SET state = ?3 WHERE id = ?1 AND state = ?2";
            transaction.execute(sql, params![&id.0[..], activated, overtaken])?;
        }
        Ok(transaction.commit()?)
    }

    /// Forgets the log of temporary power in a store that is to be replaced, where that is not believed: what is restored takes none of it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn drop_power(settings: &Settings) -> Result<(), StoreError> {
        let of = |trouble| StoreError { path: settings.path.clone(), trouble };
        let versions = Self::open_made(settings)?;
        versions.db.execute("DELETE FROM power", []).map_err(|error| of(error.into()))?;
        versions.close().map_err(of)
    }

    /// Ends all proposals that wait: where nobody knows which of them were rejected since. Returns how many.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn close_changes(&mut self) -> Result<usize, Trouble> {
        let [open, rejected] = [ChangeState::Open, ChangeState::Rejected].map(number);
        Ok(self.db.execute("UPDATE change SET state = ?2 WHERE state = ?1", [open, rejected])?)
    }

    /// Keeps that it comes from a backup, for the gateway that starts on it to tell. `at`: in microseconds since 1970.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn leave_restored(&mut self, at: i64, message: &str) -> Result<(), Trouble> {
        self.db.execute(
            "INSERT INTO kept (name, value) SELECT ?1, ?2 WHERE (SELECT count(*) FROM kept WHERE name GLOB ?3) < ?4
             ON CONFLICT DO UPDATE SET value = excluded.value",
            // As many digits as a number has: names sort by time.
            params![format!("{RESTORED}{at:020}"), message, told(), MOST_RESTORED],
        )?;
        Ok(())
    }

    /// What of that nobody has told yet, the oldest first. Once it is told, [`Versions::told_restored`].
    ///
    /// # Errors
    /// It cannot be read.
    pub fn restored(&self) -> Result<Vec<String>, Trouble> {
        let mut statement = self.db.prepare("SELECT value FROM kept WHERE name GLOB ?1 ORDER BY name")?;
        let rows = statement.query_map([told()], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// All of it was told.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn told_restored(&mut self) -> Result<(), Trouble> {
        self.db.execute("DELETE FROM kept WHERE name GLOB ?1", [told()])?;
        Ok(())
    }
}

fn told() -> String {
    format!("{RESTORED}*")
}

fn replace(transaction: &Connection, table: &str) -> rusqlite::Result<()> {
    transaction.execute(&format!("DELETE FROM main.{table}"), [])?;
    transaction.execute(&format!("INSERT INTO main.{table} SELECT * FROM newer.{table}"), [])?;
    Ok(())
}

/// Whoever is banned, or has to show more, by one of the two stores is so by both: until the later end. One that was lifted since is in force again.
fn take_bans(transaction: &Connection) -> rusqlite::Result<()> {
    const SAME: &str = "old.kind = new.kind AND old.name = new.name";
    let later = format!("SELECT 1 FROM main.ban AS old WHERE {SAME} AND old.until > new.until");
    let taken = format!("SELECT kind, name FROM newer.ban AS new WHERE NOT EXISTS ({later})");
    transaction.execute(&format!("DELETE FROM main.evidence WHERE (kind, name) IN ({taken})"), [])?;
    transaction.execute(
        &format!("INSERT INTO main.evidence SELECT * FROM newer.evidence WHERE (kind, name) IN ({taken})"),
        [],
    )?;
    transaction.execute(
        &format!("INSERT OR REPLACE INTO main.ban SELECT * FROM newer.ban AS new WHERE NOT EXISTS ({later})"),
        [],
    )?;
    transaction.execute(
        &format!(
            "INSERT OR REPLACE INTO main.demand SELECT * FROM newer.demand AS new WHERE NOT EXISTS (
                 SELECT 1 FROM main.demand AS old
                 WHERE {SAME} AND old.what = new.what AND old.alert = new.alert AND old.until > new.until)"
        ),
        [],
    )?;
    Ok(())
}

/// What waits, with who has approved it, is what the newer store says; but what this one knows to have ended stays so.
fn take_changes(transaction: &Connection) -> rusqlite::Result<()> {
    transaction.execute_batch("CREATE TEMP TABLE ended AS SELECT id, state FROM main.change WHERE state <> 0")?;
    for table in ["change", "approval", "rollout"] {
        replace(transaction, table)?;
    }
    transaction.execute("INSERT OR IGNORE INTO main.blob SELECT * FROM newer.blob", [])?;
    transaction.execute(
        "UPDATE main.change SET state = (SELECT state FROM temp.ended AS ended WHERE ended.id = change.id)
         WHERE state = 0 AND id IN (SELECT id FROM temp.ended)",
        [],
    )?;
    transaction.execute_batch("DROP TABLE temp.ended")
}
