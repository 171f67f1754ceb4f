//! Rows that the file beside the store does not know, taken as they are since an operator says so: an earlier version of the program, which keeps no such file,
//! ran on the store meanwhile. What each of them needs to have been signed for is held to that before; what cannot be told is not taken. And taking gives
//! nobody anything: what they gave is ended.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::approval::Decision;
use crate::error::LedgerError;
use crate::hash::Hash;
use crate::power::anchor::PowerAnchor;
use crate::power::book::{Limits, PowerBook, PowerError, PowerLedger};
use crate::power::entry::{Act, Entry};
use crate::power::state::{Power, PowerState};
use crate::power::voices::SKEW;
use crate::power::vouched::Demands;
use crate::power::word::Word;

/// Why rows are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untakeable {
    /// Rows are missing, and nobody may say that they never were.
    #[error(
        "entry {0}, which the file beside the store knows, is not there any more, or is another one: nobody can take back that it was; restore a backup"
    )]
    CutOff(u64),
    /// What was let go may have been the end of something that is in force.
    #[error("entry {0} lets older ones go, and it cannot be told any more what they were: restore a backup")]
    Forgot(u64),
    /// It was written by nobody's clock.
    #[error("entry {0} lies ahead of the time of day: look at the clock, or restore a backup")]
    Ahead(u64),
    /// A word that is nobody's.
    #[error("entry {0} is an approval or a review that nobody has signed who may: restore a backup")]
    Unsigned(u64),
}

/// A log of which the rows alone are read.
#[derive(Debug)]
struct Rows(Box<dyn PowerLedger>);

impl PowerLedger for Rows {
    fn after(&self, n: u64) -> Result<Vec<Vec<u8>>, LedgerError> {
        self.0.after(n)
    }

    fn append(&mut self, n: u64, records: &[Vec<u8>]) -> Result<(), LedgerError> {
        self.0.append(n, records)
    }

    fn forget(&mut self, n: u64, record: &[u8], gone: &[u64]) -> Result<(), LedgerError> {
        self.0.forget(n, record, gone)
    }

    fn seen(&self) -> Result<Option<i64>, LedgerError> {
        self.0.seen()
    }

    fn note_seen(&mut self, at: i64) -> Result<(), LedgerError> {
        self.0.note_seen(at)
    }
}

impl PowerBook {
    /// Reads the rows as they are, held to their chain and to nothing beside them. Nothing is judged by the time, and nothing appended.
    ///
    /// # Errors
    /// They cannot be read, or do not follow one on the other.
    pub fn read_rows(ledger: Box<dyn PowerLedger>, limits: Limits) -> Result<Self, PowerError> {
        Self::read(Box::new(Rows(ledger)), limits)
    }

    /// The entries that the anchor does not know; `None`: it cannot be read, and knows none.
    ///
    /// # Errors
    /// They cannot be read; or one that it knows is not there.
    pub fn unknown_to(&self, anchor: Option<&PowerAnchor>) -> Result<Result<Vec<Entry>, Untakeable>, PowerError> {
        let entries = self.entries_after(0)?;
        let behind = |place: (u64, Hash)| {
            let at = entries.iter().position(|(entry, hash)| (entry.n, *hash) == place)?;
            entries.get(at.saturating_add(1)..)
        };
        let unknown = match anchor {
            None => Some(&*entries),
            Some(anchor) if anchor.known.0 == 0 => Some(behind(anchor.next).unwrap_or(&entries)),
            Some(anchor) => behind(anchor.next).or_else(|| behind(anchor.known)),
        };
        let known = anchor.map_or(0, |anchor| anchor.known.0);
        Ok(unknown
            .map(|unknown| unknown.iter().map(|(entry, _)| entry.clone()).collect())
            .ok_or(Untakeable::CutOff(known)))
    }

    /// Holds entries that nobody knows to what can be told of each alone: that whoever had to sign one did, and that none takes away what others say. What they
    /// come to is for [`Self::held_to`] to judge.
    ///
    /// # Errors
    /// The first that may not be taken.
    pub fn are_takeable(&self, unknown: &[Entry], demands: &Demands, now: Timestamp) -> Result<(), Untakeable> {
        let ahead = now.as_microsecond().saturating_add(SKEW);
        for entry in unknown {
            if entry.at > ahead {
                return Err(Untakeable::Ahead(entry.n));
            }
            match &entry.act {
                Act::Forgot { .. } => return Err(Untakeable::Forgot(entry.n)),
                Act::Approved { of, word } | Act::Reviewed { of, word, .. } => {
                    if !self.is_said(*of, word.as_ref(), demands) {
                        return Err(Untakeable::Unsigned(entry.n));
                    }
                }
                // What gives something is judged by what it comes to; these others only take away.
                Act::Asked(_)
                | Act::Signed { .. }
                | Act::Began { .. }
                | Act::Rejected { .. }
                | Act::Ended { .. }
                | Act::Unvouched { .. }
                | Act::SetBack { .. } => {}
            }
        }
        Ok(())
    }

    /// Whether it is a yes that an approver has signed under just this.
    fn is_said(&self, of: u64, word: Option<&Word>, demands: &Demands) -> bool {
        let (Some(word), Ok(power)) = (word, self.power(of)) else { return false };
        word.decision == Decision::Approve
            && demands.owner_at(&word.key, word.signed).is_some()
            && word.is_valid(demands.instance, power.hash)
    }

    /// What these entries are about, each once, as far as it was ever in force or waits.
    pub fn touched_by(&self, entries: &[Entry]) -> Vec<&Power> {
        let of: BTreeSet<u64> = entries.iter().filter_map(|entry| entry.act.of(entry.n)).collect();
        of.iter().filter_map(|n| self.powers.get(n)).collect()
    }

    /// Ends what these entries are about, as far as it is in force or waits: all of it or nothing. No signature says when something ended, so that nobody could
    /// tell where an end was taken away; and what needed no signature anybody could have written who can write to the store. Returns how many there were. What
    /// is appended has all entries before it be known.
    ///
    /// # Errors
    /// It is not written.
    pub fn end_what_is_touched(
        &mut self,
        entries: &[Entry],
        reason: &str,
        by: &[String],
        now: Timestamp,
    ) -> Result<usize, PowerError> {
        let why = || reason.to_owned();
        let end = |power: &Power| match power.state {
            PowerState::InForce { .. } => Some(Act::Ended { of: power.n, reason: why() }),
            // Its rejection may have been taken away, too.
            PowerState::Waiting { .. } | PowerState::Lapsed => Some(Act::Rejected { of: power.n, reason: why() }),
            PowerState::Ended { .. } | PowerState::Rejected { .. } => None,
        };
        let ends: Vec<Act> = self.touched_by(entries).into_iter().filter_map(end).collect();
        let ended = ends.len();
        self.append(ends, by, now)?;
        Ok(ended)
    }
}
