//! What the log comes to, and who alone appends to it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::error::LedgerError;
use crate::hash::Hash;
use crate::power::entry::{Act, Asked, Entry};
use crate::power::state::{Power, PowerState, happened};

/// Where the log is stored. What is appended is on the disk when the call returns.
pub trait PowerLedger: fmt::Debug + Send {
    /// The records behind this number, in order.
    ///
    /// # Errors
    /// It cannot be read.
    fn after(&self, n: u64) -> Result<Vec<Vec<u8>>, LedgerError>;

    /// Appends all or nothing, the first under this number, if the last number is the one before.
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] where somebody else was there first; or it is not on the disk.
    fn append(&mut self, n: u64, records: &[Vec<u8>]) -> Result<(), LedgerError>;

    /// Removes the records up to this number.
    ///
    /// # Errors
    /// They are still there.
    fn forget(&mut self, up_to: u64) -> Result<(), LedgerError>;

    /// The latest time of day that was noted, in microseconds since 1970.
    ///
    /// # Errors
    /// It cannot be read.
    fn seen(&self) -> Result<Option<i64>, LedgerError>;

    /// Notes the time of day.
    ///
    /// # Errors
    /// It is not on the disk.
    fn note_seen(&mut self, at: i64) -> Result<(), LedgerError>;
}

/// How much there may be: `[access]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// What is in force or waits at once.
    pub most: usize,
    /// How long an approval may be waited for, in seconds.
    pub waits_s: u64,
    /// Entries that are kept: beyond it the oldest go that nothing open begins with.
    pub entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { most: 1_000, waits_s: 24 * 3_600, entries: 100_000 }
    }
}

/// One in so many is let go at once.
const LET_GO: usize = 5;
/// A clock that shows less than before by this was set back.
const SET_BACK: SignedDuration = SignedDuration::from_secs(1);

/// Why it is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PowerError {
    /// Another process was faster.
    #[error("something else happened in the log of temporary power meanwhile: look again")]
    Conflict,
    /// Where it is stored.
    #[error("{0}")]
    Ledger(LedgerError),
    /// An entry that cannot be, or is not what it was.
    #[error("the log of temporary power is not what it was: entry {n}: {why}")]
    Broken {
        /// Which.
        n: u64,
        /// Why.
        why: &'static str,
    },
    /// The code opens nothing for the principal: there is none such, it was used, or it is another's.
    #[error("the code opens nothing for this principal")]
    WrongCode,
    /// There is as much as there may be.
    #[error("{0}")]
    Full(String),
    /// It makes no sense, or may not be.
    #[error("{0}")]
    Refused(String),
}

impl From<LedgerError> for PowerError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Conflict => Self::Conflict,
            LedgerError::Full(_) | LedgerError::Failed(_) => Self::Ledger(error),
        }
    }
}

pub(super) fn refused<T>(why: impl Into<String>) -> Result<T, PowerError> {
    Err(PowerError::Refused(why.into()))
}

/// The log, and what it comes to.
#[derive(Debug)]
pub struct PowerBook {
    ledger: Box<dyn PowerLedger>,
    pub(super) limits: Limits,
    /// Of the last entry.
    pub(super) last: (u64, Hash),
    entries: usize,
    /// The latest time of day that was seen, in microseconds.
    seen: i64,
    pub(super) powers: BTreeMap<u64, Power>,
    /// What this book has ended since its time was over, and nobody has taken yet. Bounded by what can be in force.
    over: Vec<Power>,
}

/// Why power ended that nobody ended.
const TIME_IS_OVER: &str = "its time is over";

impl PowerBook {
    /// Reads the log, and holds it to its chain. What it comes to is judged for `now`: where the clock shows less than it did, what is in force
    /// is shortened. What ended while nobody looked is ended now, and [`Self::take_over`] has it.
    ///
    /// # Errors
    /// It cannot be read, or is not what it was.
    pub fn open(ledger: Box<dyn PowerLedger>, limits: Limits, now: Timestamp) -> Result<Self, PowerError> {
        let mut book = Self::read(ledger, limits)?;
        book.seen = book.seen.max(book.ledger.seen()?.unwrap_or(i64::MIN));
        book.tell_time(now)?;
        Ok(book)
    }

    /// Reads the log to look at it: nothing is judged by the time, and nothing appended.
    ///
    /// # Errors
    /// It cannot be read, or is not what it was.
    pub fn read(ledger: Box<dyn PowerLedger>, limits: Limits) -> Result<Self, PowerError> {
        let mut book = Self {
            ledger,
            limits,
            last: (0, Hash::NONE),
            entries: 0,
            seen: i64::MIN,
            powers: BTreeMap::new(),
            over: Vec::new(),
        };
        book.catch_up()?;
        Ok(book)
    }

    /// Takes in what another process has appended. Whoever holds something of what the log comes to sees by [`Self::head`] that it is not that any more,
    /// also where a later call fails.
    ///
    /// # Errors
    /// It cannot be read, or is not what it was.
    pub fn catch_up(&mut self) -> Result<(), PowerError> {
        for record in self.ledger.after(self.last.0)? {
            let broken = |why| PowerError::Broken { n: self.last.0.saturating_add(1), why };
            let entry = Entry::decode(&record).map_err(|_| broken("it cannot be read"))?;
            // Of a log that was cut off at its beginning the first entry is believed.
            let is_first = self.entries == 0;
            if !is_first && (entry.n != self.last.0.saturating_add(1) || entry.prev != self.last.1) {
                return Err(broken("it does not follow on the one before"));
            }
            let hash = Hash::of(&record);
            self.take(&entry, hash)?;
        }
        Ok(())
    }

    /// Notes what the clock shows. One that was set back shortens what is in force by as much. What has ended by now is ended in the log, all of it or
    /// nothing, and [`Self::take_over`] has it.
    ///
    /// # Errors
    /// It is not written. What is in force then ends all the same: whoever holds it judges by the time.
    pub fn tell_time(&mut self, now: Timestamp) -> Result<(), PowerError> {
        self.run_out(&[], now)
    }

    /// The same, and these are over as well: by a clock that nobody sets.
    ///
    /// # Errors
    /// As of [`Self::tell_time`].
    pub fn run_out(&mut self, over: &[u64], now: Timestamp) -> Result<(), PowerError> {
        let at = now.as_microsecond();
        let back = self.seen.saturating_sub(at);
        if self.seen != i64::MIN && SignedDuration::from_micros(back) > SET_BACK {
            match self.entries {
                0 => self.seen = at,
                _ => {
                    self.append(vec![Act::SetBack { by: back }], &[], now)?;
                    // Behind it: what was noted before is by the clock of before. Cut off in between, it is shortened twice.
                    self.ledger.note_seen(at)?;
                }
            }
        }
        self.seen = self.seen.max(at);
        self.lapse(at);
        let is_over = |power: &&Power| match power.state {
            PowerState::InForce { until, .. } => until <= at || over.contains(&power.n),
            PowerState::Waiting { .. }
            | PowerState::Ended { .. }
            | PowerState::Rejected { .. }
            | PowerState::Lapsed => false,
        };
        let over: Vec<u64> = self.powers.values().filter(is_over).map(|power| power.n).collect();
        let ends = |of: &u64| Act::Ended { of: *of, reason: TIME_IS_OVER.to_owned() };
        self.append(over.iter().map(ends).collect(), &[], now)?;
        let ended = over.iter().filter_map(|of| self.powers.get(of)).cloned();
        self.over.extend(ended);
        Ok(())
    }

    /// What this book has ended because its time was over, also when it was opened, each once: whoever takes it tells of it. What another process of a
    /// takeover ended that one tells of.
    pub fn take_over(&mut self) -> Vec<Power> {
        std::mem::take(&mut self.over)
    }

    /// How often a principal has asked for itself since then, and all principals together: it goes by the log, so that no restart and no takeover begins to
    /// count anew.
    pub fn asked_by_themselves(&self, principal: &str, since: Timestamp) -> (usize, usize) {
        let is_own = |power: &&Power| power.by.first() == Some(&power.asked.principal);
        let of_late = self.powers().take_while(|power| power.at >= since.as_microsecond()).filter(is_own);
        of_late.fold((0, 0), |(own, all), power| (own + usize::from(power.asked.principal == principal), all + 1))
    }

    /// Whether anything is in force or waits: then what the clock shows has to be noted.
    pub fn is_anything_open(&self) -> bool {
        self.powers.values().any(|power| power.state.is_open())
    }

    /// Writes down what the clock shows, so that a later start can tell that it was set back meanwhile.
    ///
    /// # Errors
    /// It is not written.
    pub fn note_seen(&mut self) -> Result<(), PowerError> {
        Ok(self.ledger.note_seen(self.seen)?)
    }

    /// All that is known, the last asked for first.
    pub fn powers(&self) -> impl Iterator<Item = &Power> {
        self.powers.values().rev()
    }

    /// How much there may be.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Takes other limits. What is there by then stays.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// One of them.
    ///
    /// # Errors
    /// There is none of that number.
    pub fn power(&self, n: u64) -> Result<&Power, PowerError> {
        self.powers.get(&n).ok_or_else(|| PowerError::Refused(format!("there is no {n}: see `portcullis access list`")))
    }

    /// How many entries there are, all of which were held to their chain, and the hash of the last.
    pub fn head(&self) -> (usize, Hash) {
        (self.entries, self.last.1)
    }

    /// What nobody approved in time.
    fn lapse(&mut self, at: i64) {
        for power in self.powers.values_mut() {
            if matches!(power.state, PowerState::Waiting { until } if until <= at) {
                power.state = PowerState::Lapsed;
            }
        }
    }

    /// All of it, or nothing.
    pub(super) fn append(&mut self, acts: Vec<Act>, by: &[String], now: Timestamp) -> Result<(), PowerError> {
        if acts.is_empty() {
            return Ok(());
        }
        let (mut n, mut prev) = self.last;
        let first = n.saturating_add(1);
        let mut entries = Vec::with_capacity(acts.len());
        let mut records = Vec::with_capacity(acts.len());
        for act in acts {
            n = n.saturating_add(1);
            let entry = Entry { n, prev, at: now.as_microsecond(), by: by.to_vec(), act };
            let record = entry.encode();
            prev = Hash::of(&record);
            entries.push((entry, prev));
            records.push(record);
        }
        self.ledger.append(first, &records)?;
        entries.iter().try_for_each(|(entry, hash)| self.take(entry, *hash))
    }

    /// What one entry makes of it. What the rules of this book would not have written is no entry.
    fn take(&mut self, entry: &Entry, hash: Hash) -> Result<(), PowerError> {
        let broken = |why| PowerError::Broken { n: entry.n, why };
        let mut seen = self.seen.max(entry.at);
        match &entry.act {
            Act::Asked(asked) => {
                let until = entry.at.saturating_add(micros(asked.waits_s));
                self.powers.insert(
                    entry.n,
                    Power {
                        n: entry.n,
                        prev: entry.prev,
                        hash,
                        asked: asked.clone(),
                        at: entry.at,
                        by: entry.by.clone(),
                        approved: Vec::new(),
                        reviewed: Vec::new(),
                        state: PowerState::Waiting { until },
                    },
                );
            }
            Act::SetBack { by } => {
                if *by <= 0 {
                    return Err(broken("a clock that was set back by nothing"));
                }
                for power in self.powers.values_mut() {
                    if let PowerState::InForce { until, .. } | PowerState::Waiting { until } = &mut power.state {
                        *until = until.saturating_sub(*by);
                    }
                }
                seen = entry.at;
            }
            Act::Approved { of, .. }
            | Act::Rejected { of, .. }
            | Act::Began { of, .. }
            | Act::Ended { of, .. }
            | Act::Reviewed { of, .. } => {
                // What it is about may have been let go with the oldest entries.
                if let Some(power) = self.powers.get_mut(of) {
                    happened(power, entry).map_err(broken)?;
                }
            }
        }
        self.seen = seen;
        self.entries = self.entries.saturating_add(1);
        self.last = (entry.n, hash);
        Ok(())
    }

    /// Lets the oldest go where there are too many, up to the first that is still open.
    pub(super) fn make_room(&mut self) -> Result<(), PowerError> {
        if self.entries < self.limits.entries {
            return Ok(());
        }
        let first = self.last.0.saturating_sub(self.entries as u64);
        let wanted = first.saturating_add((self.limits.entries / LET_GO) as u64);
        let open = self.powers.values().find(|power| power.is_kept()).map_or(u64::MAX, |power| power.n);
        let up_to = wanted.min(open.saturating_sub(1));
        if up_to <= first {
            let full = "the log of temporary power is full, and its oldest entry is still open, or not reviewed";
            return Err(PowerError::Full(full.to_owned()));
        }
        self.ledger.forget(up_to)?;
        self.powers.retain(|n, _| *n > up_to);
        self.entries = usize::try_from(self.last.0.saturating_sub(up_to)).unwrap_or(self.entries);
        Ok(())
    }
}

pub(super) fn micros(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

pub(super) fn began(of: u64, asked: &Asked, now: Timestamp) -> Act {
    Act::Began { of, until: now.as_microsecond().saturating_add(micros(asked.lasts_s)) }
}
