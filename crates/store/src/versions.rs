//! The rows of governance: the log of versions, what they hold, and what is proposed.
//!
//! They are written through a connection of their own, so that whoever activates a version does not wait for what is gathered of risk, and
//! every transaction is on the disk when it returns (`synchronous = FULL`, `fullfsync` where the system has it).

mod restoring;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use portcullis_governance::{
    ChangeId, ChangeState, Hash, Ledger, LedgerError, MAX_CONTENT, MAX_OPEN, MAX_VERSIONS, NewVersion, PublicKey,
    StoredChange,
};
use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};

use crate::database::{self, Settings};
use crate::error::{StoreError, Trouble};
use crate::looking;
use crate::packed::{pack, unpack};

pub use restoring::Taken;

/// The log in a store.
#[derive(Debug)]
pub struct Versions {
    db: Connection,
}

/// A blob unpacked is no larger than a content with its names and lengths.
const MAX_BLOB: u64 = (MAX_CONTENT as u64) + (1 << 20);
/// Blobs altogether as they are stored: beyond it nothing new is taken.
const MAX_STORED: i64 = 8 << 30;
/// Of those that were overtaken the files of so many are kept, so that they can be proposed again.
const AGAIN: i64 = 16;
/// Proposals that ended and are still shown.
const ENDED: i64 = 1_000;
/// Pages copied at a time, and the pause for others between.
const PAGES: i32 = 256;
const PAUSE: Duration = Duration::from_millis(2);

impl Versions {
    /// Opens the log in a store, which is made where there is none.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub fn open(settings: &Settings) -> Result<Self, StoreError> {
        database::prepare(&settings.path).map_err(|trouble| StoreError { path: settings.path.clone(), trouble })?;
        Self::open_made(settings)
    }

    /// The same of a store that is there. None is made: an empty file in the place of one that was moved away for a moment would have SQLite remove what was
    /// written ahead of it.
    ///
    /// # Errors
    /// A file that is not there, or cannot be used.
    pub fn open_made(settings: &Settings) -> Result<Self, StoreError> {
        let of = |trouble| StoreError { path: settings.path.clone(), trouble };
        let (db, _) = database::open(&settings.path).map_err(of)?;
        db.pragma_update(None, "synchronous", "FULL").map_err(|error| of(error.into()))?;
        Ok(Self { db })
    }

    /// Opens the log of a store to look at it: nothing is written, neither to the store nor beside it. Whoever calls has it alone, by [`Lock::look`].
    ///
    /// # Errors
    /// A file that cannot be read.
    ///
    /// [`Lock::look`]: crate::Lock::look
    pub fn look(settings: &Settings) -> Result<Self, StoreError> {
        let of = |trouble| StoreError { path: settings.path.clone(), trouble };
        Ok(Self { db: looking::alone(&settings.path).map_err(of)? })
    }

    /// Opens the log of a store once more, to look at it while this process has it open.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn look_beside(settings: &Settings) -> Result<Self, StoreError> {
        let of = |trouble| StoreError { path: settings.path.clone(), trouble };
        Ok(Self { db: looking::shared(&settings.path).map_err(of)? })
    }

    /// Copies the whole store, as it is at one moment, to a file that is not there yet, while others write to it.
    ///
    /// # Errors
    /// It cannot be read, or the copy cannot be written.
    pub fn copy_to(&self, file: &Path) -> Result<(), Trouble> {
        // Made here, so that there is no instant at which others can open it.
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(Trouble::File)?;
        let mut copy = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        Backup::new(&self.db, &mut copy)?.run_to_completion(PAGES, PAUSE, None)?;
        // One file alone, without a log beside it.
        copy.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get::<_, String>(0))?;
        // Nor is there anything else beside it, which nobody has removed.
        copy.execute("DELETE FROM kept WHERE name = ?1", [crate::power::ANCHORED])?;
        copy.close().map_err(|(_, error)| Trouble::from(error))
    }

    /// Ends all sessions in it: where nobody knows which of them were ended since.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end_sessions(&mut self) -> Result<usize, Trouble> {
        Ok(self.db.execute("DELETE FROM session", [])?)
    }

    /// Ends it in order: the file stands alone.
    ///
    /// # Errors
    /// What was written ahead cannot be worked in.
    pub fn close(self) -> Result<(), Trouble> {
        self.db.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get::<_, String>(0))?;
        self.db.close().map_err(|(_, error)| Trouble::from(error))
    }

    fn begin(&mut self) -> Result<Transaction<'_>, LedgerError> {
        self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)
    }
}

fn failed(error: rusqlite::Error) -> LedgerError {
    LedgerError::Failed(error.to_string())
}

fn store_blobs(transaction: &Connection, blobs: &[(Hash, &[u8])]) -> Result<(), LedgerError> {
    for (hash, bytes) in blobs {
        let there = "SELECT 1 FROM blob WHERE hash = ?1";
        if transaction.query_row(there, [&hash.0[..]], |_| Ok(())).optional().map_err(failed)?.is_some() {
            continue;
        }
        let stored: i64 = transaction
            .query_row("SELECT coalesce(sum(length(bytes)), 0) FROM blob", [], |row| row.get(0))
            .map_err(failed)?;
        let packed = pack(bytes).map_err(|error| LedgerError::Failed(error.to_string()))?;
        if bytes.len() as u64 > MAX_BLOB
            || stored.saturating_add(i64::try_from(packed.len()).unwrap_or(i64::MAX)) > MAX_STORED
        {
            return Err(LedgerError::Full("the contents of all versions are larger than a store may hold"));
        }
        transaction
            .execute("INSERT INTO blob (hash, bytes) VALUES (?1, ?2)", params![&hash.0[..], packed])
            .map_err(failed)?;
    }
    Ok(())
}

fn state(number: i64) -> Result<ChangeState, LedgerError> {
    let index = usize::try_from(number).ok();
    index
        .and_then(|index| ChangeState::ALL.get(index).copied())
        .ok_or_else(|| LedgerError::Failed(format!("a proposal has a state {number}")))
}

fn number(state: ChangeState) -> i64 {
    match state {
        ChangeState::Open => 0,
        ChangeState::Activated => 1,
        ChangeState::Rejected => 2,
        ChangeState::Expired => 3,
        ChangeState::Overtaken => 4,
    }
}

fn set_state(transaction: &Connection, id: ChangeId, state: ChangeState) -> Result<(), LedgerError> {
    transaction
        .execute("UPDATE change SET state = ?2 WHERE id = ?1", params![&id.0[..], number(state)])
        .map(drop)
        .map_err(failed)
}

impl Ledger for Versions {
    fn last(&self) -> Result<Option<(u64, Vec<u8>)>, LedgerError> {
        let query = "SELECT n, record FROM version ORDER BY n DESC LIMIT 1";
        let row =
            self.db.query_row(query, [], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?))).optional().map_err(failed)?;
        Ok(row.map(|(n, record)| (n.cast_unsigned(), record)))
    }

    fn record(&self, n: u64) -> Result<Option<Vec<u8>>, LedgerError> {
        let query = "SELECT record FROM version WHERE n = ?1";
        self.db.query_row(query, [n.cast_signed()], |row| row.get(0)).optional().map_err(failed)
    }

    fn blob(&self, hash: Hash) -> Result<Option<Vec<u8>>, LedgerError> {
        let query = "SELECT bytes FROM blob WHERE hash = ?1";
        let packed: Option<Vec<u8>> =
            self.db.query_row(query, [&hash.0[..]], |row| row.get(0)).optional().map_err(failed)?;
        packed
            .map(|packed| unpack(&packed, MAX_BLOB).map_err(|error| LedgerError::Failed(error.to_string())))
            .transpose()
    }

    fn append(&mut self, version: NewVersion<'_>, blobs: &[(Hash, &[u8])]) -> Result<(), LedgerError> {
        let NewVersion { n, hash, record, refers: [content, approvers, impact], done, rollout } = version;
        if n > MAX_VERSIONS {
            return Err(LedgerError::Full("the log has as many versions as it can hold"));
        }
        let transaction = self.begin()?;
        let last: i64 =
            transaction.query_row("SELECT coalesce(max(n), 0) FROM version", [], |row| row.get(0)).map_err(failed)?;
        if last.cast_unsigned().checked_add(1) != Some(n) {
            return Err(LedgerError::Conflict);
        }
        forget_ended(&transaction).map_err(failed)?;
        store_blobs(&transaction, blobs)?;
        transaction
            .execute(
                "INSERT INTO version (n, hash, content, approvers, impact, record) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![n.cast_signed(), &hash.0[..], &content.0[..], &approvers.0[..], named(&impact), record],
            )
            .map_err(failed)?;
        if let Some(id) = done {
            set_state(&transaction, id, ChangeState::Activated)?;
        }
        transaction.execute("DELETE FROM rollout", []).map_err(failed)?;
        if let Some(rollout) = rollout {
            transaction.execute("INSERT INTO rollout (place, record) VALUES (1, ?1)", [rollout]).map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    fn propose(
        &mut self,
        id: ChangeId,
        record: &[u8],
        [content, approvers, impact]: [Hash; 3],
        blobs: &[(Hash, &[u8])],
    ) -> Result<(), LedgerError> {
        let transaction = self.begin()?;
        let open: i64 = transaction
            .query_row("SELECT count(*) FROM change WHERE state = 0", [], |row| row.get(0))
            .map_err(failed)?;
        if usize::try_from(open).is_ok_and(|open| open >= MAX_OPEN) {
            return Err(LedgerError::Full("as many proposals wait as can: activate or reject some"));
        }
        forget_ended(&transaction).map_err(failed)?;
        store_blobs(&transaction, blobs)?;
        transaction
            .execute(
                "INSERT INTO change (id, state, content, approvers, impact, record) VALUES (?1, 0, ?2, ?3, ?4, ?5)",
                params![&id.0[..], &content.0[..], &approvers.0[..], named(&impact), record],
            )
            .map_err(failed)?;
        transaction.commit().map_err(failed)
    }

    fn changes(&self) -> Result<Vec<(ChangeId, StoredChange)>, LedgerError> {
        let mut changes = Vec::new();
        let mut statement =
            self.db.prepare("SELECT id, state, record FROM change ORDER BY place DESC").map_err(failed)?;
        let mut of = self.db.prepare("SELECT record FROM approval WHERE change = ?1 ORDER BY key").map_err(failed)?;
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, i64>(1)?, row.get(2)?)))
            .map_err(failed)?;
        for row in rows {
            let (id, number, record) = row.map_err(failed)?;
            let approvals = of.query_map([&id[..]], |row| row.get(0)).map_err(failed)?;
            let approvals = approvals.collect::<Result<_, _>>().map_err(failed)?;
            changes.push((ChangeId(id), StoredChange { record, state: state(number)?, approvals }));
        }
        Ok(changes)
    }

    fn add_approval(&mut self, id: ChangeId, key: PublicKey, record: &[u8]) -> Result<(), LedgerError> {
        let transaction = self.begin()?;
        transaction
            .execute(
                "INSERT OR REPLACE INTO approval (change, key, record) VALUES (?1, ?2, ?3)",
                params![&id.0[..], key.id(), record],
            )
            .map_err(failed)?;
        transaction.commit().map_err(failed)
    }

    fn close(&mut self, id: ChangeId, state: ChangeState) -> Result<(), LedgerError> {
        let transaction = self.begin()?;
        set_state(&transaction, id, state)?;
        transaction.commit().map_err(failed)
    }

    fn rollout(&self) -> Result<Option<Vec<u8>>, LedgerError> {
        let query = "SELECT record FROM rollout WHERE place = 1";
        self.db.query_row(query, [], |row| row.get(0)).optional().map_err(failed)
    }

    fn set_rollout(&mut self, known: Option<&[u8]>, record: Option<&[u8]>) -> Result<(), LedgerError> {
        let transaction = self.begin()?;
        let rows = match (known, record) {
            (Some(known), Some(record)) => {
                transaction.execute("UPDATE rollout SET record = ?2 WHERE place = 1 AND record = ?1", [known, record])
            }
            (Some(known), None) => transaction.execute("DELETE FROM rollout WHERE place = 1 AND record = ?1", [known]),
            (None, Some(record)) => transaction
                .execute("INSERT INTO rollout (place, record) VALUES (1, ?1) ON CONFLICT DO NOTHING", [record]),
            (None, None) => transaction
                .query_row("SELECT count(*) = 0 FROM rollout", [], |row| row.get::<_, u16>(0))
                .map(usize::from),
        };
        match rows.map_err(failed)? {
            1 => transaction.commit().map_err(failed),
            _ => Err(LedgerError::Overtaken),
        }
    }
}

/// A hash as a row names it: nothing where there is none.
fn named(hash: &Hash) -> &[u8] {
    if hash.is_none() { &[] } else { &hash.0 }
}

/// Those that ended long ago, and what only such referred to that ended at all: whoever proposes and has it rejected, again and again, fills no store. What
/// became live is in the log, with all that was signed.
fn forget_ended(transaction: &Connection) -> rusqlite::Result<()> {
    transaction.execute(
        "DELETE FROM change WHERE state <> 0 AND place NOT IN (SELECT place FROM change WHERE state <> 0 ORDER BY place DESC LIMIT ?1)",
        [ENDED],
    )?;
    transaction.execute("DELETE FROM approval WHERE change NOT IN (SELECT id FROM change)", [])?;
    transaction.execute(
        "WITH again AS (SELECT content, approvers, impact FROM change WHERE state = 4 ORDER BY place DESC LIMIT ?1) \
         DELETE FROM blob WHERE hash NOT IN (SELECT content FROM version UNION SELECT approvers FROM version \
         UNION SELECT impact FROM version UNION SELECT content FROM change WHERE state = 0 \
         UNION SELECT approvers FROM change WHERE state = 0 UNION SELECT impact FROM change WHERE state = 0 \
         UNION SELECT content FROM again UNION SELECT approvers FROM again UNION SELECT impact FROM again)",
        [AGAIN],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests;
