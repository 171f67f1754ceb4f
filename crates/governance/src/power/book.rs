//! What the log comes to, and who alone appends to it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::error::LedgerError;
use crate::hash::Hash;
use crate::power::anchor::{Place, PowerAnchor};
use crate::power::entry::{Act, Asked, Entry};
use crate::power::state::{Power, PowerState, happened};
use crate::power::unheard::Heard;

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

    /// Appends the record that says so under this number, and removes those of these numbers, which ascend: all or nothing.
    ///
    /// # Errors
    /// As of [`Self::append`]. They are all still there.
    fn forget(&mut self, n: u64, record: &[u8], gone: &[u64]) -> Result<(), LedgerError>;

    /// How far the log had come when it was last appended to, kept in another place than the rows; `None`: nobody keeps that. What is appended is noted
    /// there before it is among the rows.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    fn anchor(&self) -> Result<Option<PowerAnchor>, LedgerError> {
        Ok(None)
    }

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
    /// Entries that are kept: beyond it the oldest go that are about nothing that is open, or not reviewed.
    pub entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { most: 1_000, waits_s: 24 * 3_600, entries: 100_000 }
    }
}

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
            LedgerError::Overtaken | LedgerError::Full(_) | LedgerError::Failed(_) => Self::Ledger(error),
        }
    }
}

pub(super) fn refused<T>(why: impl Into<String>) -> Result<T, PowerError> {
    Err(PowerError::Refused(why.into()))
}

/// The log, and what it comes to.
#[derive(Debug)]
pub struct PowerBook {
    pub(super) ledger: Box<dyn PowerLedger>,
    pub(super) limits: Limits,
    /// Of the last entry.
    pub(super) last: (u64, Hash),
    pub(super) entries: usize,
    /// Those of them that are about what principals asked for by themselves.
    pub(super) own: usize,
    /// Up to there some were let go.
    pub(super) forgot: u64,
    /// The latest time of day that was seen, in microseconds.
    seen: i64,
    pub(super) powers: BTreeMap<u64, Power>,
    /// What this book has ended since its time was over, and nobody has taken yet. Bounded by what can be in force.
    over: Vec<Power>,
    /// What the anchor ends with, and where the rows end that only take away behind it: it was said that they are there.
    pub(super) beyond: Option<(Place, Place)>,
    /// How many such rows were heard that nobody has taken yet.
    pub(super) unknown: usize,
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
            own: 0,
            forgot: 0,
            seen: i64::MIN,
            powers: BTreeMap::new(),
            over: Vec::new(),
            beyond: None,
            unknown: 0,
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
        let Heard { entries, beyond, unknown } = self.heard()?;
        let is_less = entries.iter().any(|(entry, _)| matches!(entry.act, Act::Forgot { .. }));
        if is_less && self.entries > 0 {
            self.read_anew()?
        } else {
            self.take_in(&entries)?
        }
        self.beyond = beyond;
        self.unknown = self.unknown.saturating_add(unknown);
        Ok(())
    }

    /// What is stored behind this number, each with its hash.
    pub(super) fn entries_after(&self, n: u64) -> Result<Vec<(Entry, Hash)>, PowerError> {
        let mut last = n;
        let mut read = |record: Vec<u8>| {
            let broken = PowerError::Broken { n: last.saturating_add(1), why: "it cannot be read" };
            let entry = Entry::decode(&record).map_err(|_| broken)?;
            last = entry.n;
            Ok((entry, Hash::of(&record)))
        };
        self.ledger.after(n)?.into_iter().map(&mut read).collect()
    }

    /// Takes in what follows on what is known. Of a log that was cut off at its beginning the first entry is believed, and where old entries were let go
    /// those that are left are what the entry says that let them go.
    fn take_in(&mut self, heard: &[(Entry, Hash)]) -> Result<(), PowerError> {
        let forgot = heard.iter().rev().find_map(|(entry, _)| match entry.act {
            Act::Forgot { up_to, left } => Some((up_to, left)),
            _ => None,
        });
        let up_to = forgot.map_or(0, |(up_to, _)| up_to);
        let mut found = Vec::new();
        for (entry, hash) in heard {
            let broken = |why| Err(PowerError::Broken { n: entry.n, why });
            let follows = entry.n == self.last.0.saturating_add(1) && entry.prev == self.last.1;
            if entry.n <= up_to {
                if entry.n <= self.last.0 {
                    return broken("it does not follow on the one before");
                }
                found.extend(hash.0);
            } else if self.last.0 <= up_to && up_to > 0 {
                if entry.n != up_to.saturating_add(1) {
                    return broken("the one before it is missing");
                }
            } else if self.entries > 0 && !follows {
                return broken("it does not follow on the one before");
            }
            self.take(entry, *hash)?;
        }
        match forgot {
            Some((n, left)) if left != Hash::of(&found) => {
                Err(PowerError::Broken { n, why: "what was left of the entries up to it is not there any more" })
            }
            _ => Ok(()),
        }
    }

    /// Reads all of it once more, since another process has let something of it go.
    fn read_anew(&mut self) -> Result<(), PowerError> {
        let all = self.entries_after(0)?;
        let (known, seen) = (self.last.0, self.seen);
        let before = (self.last, self.entries, self.own, self.forgot, std::mem::take(&mut self.powers));
        (self.last, self.entries, self.own, self.forgot) = ((0, Hash::NONE), 0, 0, 0);
        match self.take_in(&all) {
            Ok(()) => {
                // The clock of what was known is known.
                self.seen = seen;
                let is_new = |entry: &&Entry| entry.n > known;
                let new = all.iter().map(|(entry, _)| entry).filter(is_new);
                self.seen = new.fold(seen, seen_behind);
                Ok(())
            }
            Err(error) => {
                self.seen = seen;
                (self.last, self.entries, self.own, self.forgot, self.powers) = before;
                Err(error)
            }
        }
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
        let of_late = self.powers().take_while(|power| power.at >= since.as_microsecond());
        let of_late = of_late.filter(|power| power.is_self_asked());
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
    pub(super) fn take(&mut self, entry: &Entry, hash: Hash) -> Result<(), PowerError> {
        let broken = |why| PowerError::Broken { n: entry.n, why };
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
                        words: Vec::new(),
                        reviewed: Vec::new(),
                        statement: None,
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
            }
            Act::Forgot { up_to, .. } => {
                if *up_to >= entry.n || *up_to < self.forgot {
                    return Err(broken("entries that were let go before they were there"));
                }
                self.forgot = *up_to;
            }
            Act::Signed { of, .. }
            | Act::Approved { of, .. }
            | Act::Rejected { of, .. }
            | Act::Began { of, .. }
            | Act::Ended { of, .. }
            | Act::Unvouched { of, .. }
            | Act::Reviewed { of, .. } => {
                // What it is about may have been let go with the oldest entries.
                if let Some(power) = self.powers.get_mut(of) {
                    happened(power, entry).map_err(broken)?;
                }
            }
        }
        let of = entry.act.of(entry.n).and_then(|of| self.powers.get(&of));
        self.own = self.own.saturating_add(usize::from(of.is_some_and(Power::is_self_asked)));
        self.seen = seen_behind(self.seen, entry);
        self.entries = self.entries.saturating_add(1);
        self.last = (entry.n, hash);
        Ok(())
    }
}

/// The latest time of day that was seen, behind an entry: a clock that was set back shows what it shows.
fn seen_behind(seen: i64, entry: &Entry) -> i64 {
    if matches!(entry.act, Act::SetBack { .. }) { entry.at } else { seen.max(entry.at) }
}

pub(super) fn micros(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

pub(super) fn began(of: u64, asked: &Asked, now: Timestamp) -> Act {
    Act::Began { of, until: now.as_microsecond().saturating_add(micros(asked.lasts_s)) }
}
