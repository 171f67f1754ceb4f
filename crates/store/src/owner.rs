//! Who owns the file where several gateways have it open: the one that began last.
//!
//! Each start counts a generation in `kept` up. Whoever finds another generation than its own is the older one of a takeover (or of two
//! gateways on one file by mistake): it adds what it has banned and demanded since the newer one began, and neither removes nor replaces
//! anything, so that what the newer one lifted stays lifted. Where the owner has ended in order, an older one that still runs owns it again.

use jiff::Timestamp;
use rusqlite::Connection;

use crate::database::Database;
use crate::error::{StoreError, Trouble};
use crate::risk::{keep, kept};

/// The generation of the owner.
const GENERATION: &str = "generation";
/// When the owner began, by the time of day; not there where it has ended.
pub(crate) const SINCE: &str = "since";

/// What one process knows of its ownership.
#[derive(Debug, Default)]
pub(crate) struct Owner {
    /// The generation that is its own, once that is noted.
    pub(crate) generation: Option<i64>,
    /// When it read what is kept. Everything that is there by then it knows.
    pub(crate) began: Option<Timestamp>,
    /// Another one began since.
    pub(crate) is_older: bool,
}

/// What a transaction may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// Everything: it is the owner's, of this generation.
    All(i64),
    /// Add what began since then, in microseconds.
    Add(i64),
}

impl Database {
    /// Whether a process that began before has not ended in order: it runs still, or was killed. Asked before this one has written anything.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn has_owner(&self) -> Result<bool, StoreError> {
        kept(&self.db, SINCE).map(|since| since.is_some()).map_err(|trouble| self.error(trouble))
    }
}

impl Owner {
    /// What the process may do; it becomes the owner where it has just begun, or where there is none.
    pub(crate) fn right(&self, transaction: &Connection, now: Timestamp) -> Result<Right, Trouble> {
        let found = kept(transaction, GENERATION)?.unwrap_or(0);
        let since = kept(transaction, SINCE)?;
        match (self.generation, since) {
            (Some(own), _) if own == found => Ok(Right::All(own)),
            (Some(_), Some(since)) => Ok(Right::Add(since)),
            (Some(_), None) | (None, _) => {
                let next = found.wrapping_add(1);
                keep(transaction, GENERATION, next)?;
                let began = self.began.filter(|_| self.generation.is_none()).unwrap_or(now);
                keep(transaction, SINCE, began.as_microsecond())?;
                Ok(Right::All(next))
            }
        }
    }

    /// The same where nothing is to be changed.
    pub(crate) fn owns(&self, db: &Connection) -> Result<bool, Trouble> {
        Ok(self.generation.is_some() && self.generation == kept(db, GENERATION)?)
    }

    /// Notes what was written with. Says whether the process owns the file again, and so has to write all it has.
    pub(crate) fn note(&mut self, right: Right, path: &std::path::Path) -> bool {
        let was_older = self.is_older;
        match right {
            Right::All(generation) => {
                (self.generation, self.is_older) = (Some(generation), false);
                if was_older {
                    tracing::info!(path = %path.display(), "the other gateway on the store has ended: it is this one's again");
                }
                was_older
            }
            Right::Add(_) => {
                self.is_older = true;
                if !was_older {
                    tracing::warn!(
                        path = %path.display(),
                        "another gateway has begun on the store: this one only adds what it bans or demands from now on"
                    );
                }
                false
            }
        }
    }

    /// The owner ends: whoever runs still may own it.
    pub(crate) fn end(&self, transaction: &Connection) -> Result<(), Trouble> {
        if self.owns(transaction)? {
            transaction.execute("DELETE FROM kept WHERE name = ?1", [SINCE])?;
        }
        Ok(())
    }
}
