//! What the log comes to, and who alone appends to it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::approval::Decision;
use crate::approver::ApproverSet;
use crate::error::LedgerError;
use crate::hash::Hash;
use crate::power::entry::{Act, Asked, Entry, MAX_REASON, MAX_TICKET, text_problem};
use crate::power::persons::{Names, names_of_principal};
use crate::power::word::Word;

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
}

impl Default for Limits {
    fn default() -> Self {
        Self { most: 1_000, waits_s: 24 * 3_600 }
    }
}

/// Of one principal at once.
const MOST_OF_ONE: usize = 16;
/// The longest time for which any power is given, in seconds.
const LONGEST_S: u64 = 366 * 86_400;
/// Entries that are kept: beyond it the oldest go that nothing open begins with.
const MOST_ENTRIES: usize = 20_000;
/// So many are let go at once.
const LET_GO: usize = 4_000;
/// A clock that shows less than before by this was set back.
const SET_BACK: SignedDuration = SignedDuration::from_secs(1);
/// Clocks of signers may be so far off.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Power that somebody asked for, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Power {
    /// What it is called: the number of the entry that asks for it.
    pub n: u64,
    /// The hash of the entry before that one.
    pub prev: Hash,
    /// The hash of that entry: what approvers sign.
    pub hash: Hash,
    /// What is asked for.
    pub asked: Asked,
    /// When, in microseconds since 1970.
    pub at: i64,
    /// Every name of who asked.
    pub by: Vec<String>,
    /// Who has approved: all names of each.
    pub approved: Vec<Vec<String>>,
    /// What became of it.
    pub state: PowerState,
}

/// What became of it. Times are microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PowerState {
    /// Somebody must approve until then.
    Waiting {
        /// When it is too late.
        until: i64,
    },
    /// It gives something.
    InForce {
        /// Since then.
        began: i64,
        /// Until then.
        until: i64,
    },
    /// It does not any more.
    Ended {
        /// Since when it did.
        began: i64,
        /// When it ended.
        ended: i64,
        /// Why.
        reason: String,
        /// Every name of who ended it; nobody: its time was over.
        by: Vec<String>,
    },
    /// Somebody said no.
    Rejected {
        /// Why.
        reason: String,
        /// Every name of who did.
        by: Vec<String>,
    },
    /// Nobody approved in time.
    Lapsed,
}

impl PowerState {
    /// The word for it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::InForce { .. } => "in_force",
            Self::Ended { .. } => "ended",
            Self::Rejected { .. } => "rejected",
            Self::Lapsed => "lapsed",
        }
    }

    fn is_open(&self) -> bool {
        matches!(self, Self::Waiting { .. } | Self::InForce { .. })
    }
}

impl Power {
    /// The entry that asks for it: what approvers look at.
    pub fn entry(&self) -> Entry {
        Entry { n: self.n, prev: self.prev, at: self.at, by: self.by.clone(), act: Act::Asked(self.asked.clone()) }
    }

    /// Whether it is in force at this time, by the time of day.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        matches!(self.state, PowerState::InForce { until, .. } if now.as_microsecond() < until)
    }

    /// Every name of those on whose side it is: for whom it is, and who asked for it.
    fn interested(&self, approvers: &ApproverSet) -> [Names; 2] {
        let by = self.by.iter().map(String::as_str);
        [Names::of(names_of_principal(&self.asked.principal), approvers), Names::of(by, approvers)]
    }
}

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

fn refused<T>(why: impl Into<String>) -> Result<T, PowerError> {
    Err(PowerError::Refused(why.into()))
}

/// The log, and what it comes to.
#[derive(Debug)]
pub struct PowerBook {
    ledger: Box<dyn PowerLedger>,
    limits: Limits,
    /// Of the last entry.
    last: (u64, Hash),
    entries: usize,
    /// The latest time of day that was seen, in microseconds.
    seen: i64,
    powers: BTreeMap<u64, Power>,
}

impl PowerBook {
    /// Reads the log, and holds it to its chain. What it comes to is judged for `now`: where the clock shows less than it did, what is in force
    /// is shortened.
    ///
    /// # Errors
    /// It cannot be read, or is not what it was.
    pub fn open(ledger: Box<dyn PowerLedger>, limits: Limits, now: Timestamp) -> Result<Self, PowerError> {
        let mut book =
            Self { ledger, limits, last: (0, Hash::NONE), entries: 0, seen: i64::MIN, powers: BTreeMap::new() };
        book.catch_up()?;
        book.seen = book.seen.max(book.ledger.seen()?.unwrap_or(i64::MIN));
        book.tell_time(now)?;
        Ok(book)
    }

    /// Takes in what another process has appended. Says whether there was anything.
    ///
    /// # Errors
    /// It cannot be read, or is not what it was.
    pub fn catch_up(&mut self) -> Result<bool, PowerError> {
        let records = self.ledger.after(self.last.0)?;
        let any = !records.is_empty();
        for record in records {
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
        Ok(any)
    }

    /// Notes what the clock shows. One that was set back shortens what is in force by as much. What has ended by now is ended in the log; returns
    /// that, each once in the life of the log.
    ///
    /// # Errors
    /// It is not written. What is in force then ends all the same: whoever holds it judges by the time.
    pub fn tell_time(&mut self, now: Timestamp) -> Result<Vec<Power>, PowerError> {
        let at = now.as_microsecond();
        let back = self.seen.saturating_sub(at);
        if self.seen != i64::MIN && SignedDuration::from_micros(back) > SET_BACK {
            match self.entries {
                0 => self.seen = at,
                _ => self.append(vec![Act::SetBack { by: back }], &[], now).map(drop)?,
            }
        }
        self.seen = self.seen.max(at);
        self.lapse(at);
        let is_over = |power: &&Power| matches!(power.state, PowerState::InForce { until, .. } if until <= at);
        let over: Vec<u64> = self.powers.values().filter(is_over).map(|power| power.n).collect();
        let mut ended = Vec::new();
        for of in over {
            self.append(vec![Act::Ended { of, reason: "its time is over".to_owned() }], &[], now)?;
            ended.extend(self.powers.get(&of).cloned());
        }
        Ok(ended)
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

    /// Asks for power. Where nobody must approve it is in force when this returns.
    ///
    /// # Errors
    /// A text that is none, no room, or it is not written.
    pub fn ask(&mut self, asked: Asked, by: &[String], now: Timestamp) -> Result<Power, PowerError> {
        for (what, text, most) in [("the reason", &asked.reason, MAX_REASON), ("the ticket", &asked.ticket, MAX_TICKET)]
        {
            if let Some(problem) = text_problem(text, most) {
                return refused(format!("{what} is {problem}"));
            }
        }
        if asked.lasts_s == 0 || asked.lasts_s > LONGEST_S {
            return refused("power is given for a second to a year");
        }
        self.tell_time(now)?;
        let open = || self.powers.values().filter(|power| power.state.is_open());
        if open().count() >= self.limits.most {
            return refused(format!(
                "{} are in force or wait already, as many as `[access] most` allows",
                self.limits.most
            ));
        }
        if open().filter(|power| power.asked.principal == asked.principal).count() >= MOST_OF_ONE {
            return refused(format!("{} has {MOST_OF_ONE} that are in force or wait already", asked.principal));
        }
        let same = |power: &&Power| power.asked.principal == asked.principal && power.asked.gives == asked.gives;
        if let Some(power) = open().find(same) {
            return refused(format!("{} of {} is the same, and {}", power.n, asked.principal, standing(&power.state)));
        }
        self.make_room()?;
        let of = self.last.0.saturating_add(1);
        let begins = (asked.approvals == 0).then(|| began(of, &asked, now));
        self.append(std::iter::once(Act::Asked(asked)).chain(begins).collect(), by, now)?;
        Ok(self.power(of)?.clone())
    }

    /// An account of the system approves; the approver must be neither for whom it is nor who asked, under any name. Where approvers with keys are
    /// enrolled only these count.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn approve_as(
        &mut self,
        of: u64,
        by: &[String],
        is_shared: bool,
        approvers: &ApproverSet,
        now: Timestamp,
    ) -> Result<Power, PowerError> {
        self.tell_time(now)?;
        if approvers.active() > 0 {
            return refused("approvers are enrolled, and only what they sign counts: use `--key`");
        }
        if is_shared {
            return refused("this account is one of many, and says nothing of who approves: enrol approvers with keys");
        }
        self.count(of, by, None, approvers, now)
    }

    /// An approver has signed.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn approve_signed(
        &mut self,
        of: u64,
        word: Word,
        instance: Hash,
        approvers: &ApproverSet,
        now: Timestamp,
    ) -> Result<Power, PowerError> {
        self.tell_time(now)?;
        let power = self.power(of)?;
        let Some((approver, key)) = approvers.owner(&word.key) else {
            return refused(format!("the key {} is nobody's who may approve, or is revoked", word.key.id()));
        };
        let late = now.as_microsecond().saturating_add(i64::try_from(SKEW.as_micros()).unwrap_or(i64::MAX));
        if !word.is_valid(instance, power.hash) {
            return refused("the signature is not one under this");
        }
        if word.signed < key.added || word.signed > late {
            return refused("it was signed before the key was enrolled, or lies ahead: look at the clocks");
        }
        let by: Vec<String> = std::iter::once(&approver.person).chain(&approver.aliases).cloned().collect();
        match word.decision {
            Decision::Approve => self.count(of, &by, Some(word), approvers, now),
            Decision::Reject => self.reject(of, "an approver said no", &by, now),
        }
    }

    fn count(
        &mut self,
        of: u64,
        by: &[String],
        word: Option<Word>,
        approvers: &ApproverSet,
        now: Timestamp,
    ) -> Result<Power, PowerError> {
        let power = self.power(of)?;
        let PowerState::Waiting { .. } = power.state else {
            return refused(format!("{of} {}: there is nothing to approve", standing(&power.state)));
        };
        let person = Names::of(by.iter().map(String::as_str), approvers);
        let [holder, asker] = power.interested(approvers);
        if person.may_be(&holder) {
            return refused(format!("{of} is for {}, who cannot approve it under any name", power.asked.principal));
        }
        if person.may_be(&asker) {
            return refused(format!("{of} was asked for by the same person, who cannot approve it under any name"));
        }
        let has_approved = |names: &Vec<String>| Names::of(names.iter().map(String::as_str), approvers).may_be(&person);
        if power.approved.iter().any(has_approved) {
            return refused(format!("{of} is approved by the same person already: one person, one voice"));
        }
        let is_enough = power.approved.len().saturating_add(1) >= usize::from(power.asked.approvals);
        let begins = is_enough.then(|| began(of, &power.asked, now));
        self.append(std::iter::once(Act::Approved { of, word }).chain(begins).collect(), by, now)?;
        Ok(self.power(of)?.clone())
    }

    /// Refuses what waits.
    ///
    /// # Errors
    /// It does not wait, or it is not written.
    pub fn reject(&mut self, of: u64, reason: &str, by: &[String], now: Timestamp) -> Result<Power, PowerError> {
        self.tell_time(now)?;
        let reason = reason_of(reason)?;
        let state = &self.power(of)?.state;
        let PowerState::Waiting { .. } = state else {
            return refused(format!("{of} {}: there is nothing to reject", standing(state)));
        };
        self.append(vec![Act::Rejected { of, reason }], by, now)?;
        Ok(self.power(of)?.clone())
    }

    /// Ends what is in force.
    ///
    /// # Errors
    /// It is not in force, or it is not written.
    pub fn end(&mut self, of: u64, reason: &str, by: &[String], now: Timestamp) -> Result<Power, PowerError> {
        self.tell_time(now)?;
        let reason = reason_of(reason)?;
        let state = &self.power(of)?.state;
        let PowerState::InForce { .. } = state else {
            return refused(format!("{of} {}: there is nothing to end", standing(state)));
        };
        self.append(vec![Act::Ended { of, reason }], by, now)?;
        Ok(self.power(of)?.clone())
    }

    /// Ends all that is in force and rejects all that waits: of a log that may be older than what happened.
    ///
    /// # Errors
    /// It is not written.
    pub fn end_all(&mut self, reason: &str, by: &[String], now: Timestamp) -> Result<usize, PowerError> {
        self.tell_time(now)?;
        let reason = reason_of(reason)?;
        let open: Vec<(u64, bool)> = self
            .powers
            .values()
            .filter(|power| power.state.is_open())
            .map(|power| (power.n, matches!(power.state, PowerState::InForce { .. })))
            .collect();
        let act = |(of, is_in_force): &(u64, bool)| {
            let (of, reason) = (*of, reason.clone());
            if *is_in_force { Act::Ended { of, reason } } else { Act::Rejected { of, reason } }
        };
        self.append(open.iter().map(act).collect(), by, now)?;
        Ok(open.len())
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
    fn append(&mut self, acts: Vec<Act>, by: &[String], now: Timestamp) -> Result<(), PowerError> {
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
            Act::Approved { of, .. } | Act::Rejected { of, .. } | Act::Began { of, .. } | Act::Ended { of, .. } => {
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
    fn make_room(&mut self) -> Result<(), PowerError> {
        if self.entries < MOST_ENTRIES {
            return Ok(());
        }
        let first = self.last.0.saturating_sub(self.entries as u64);
        let wanted = first.saturating_add(LET_GO as u64);
        let open = self.powers.values().find(|power| power.state.is_open()).map_or(u64::MAX, |power| power.n);
        let up_to = wanted.min(open.saturating_sub(1));
        if up_to <= first {
            return refused("the log of temporary power is full, and its oldest entry is still open: end it");
        }
        self.ledger.forget(up_to)?;
        self.powers.retain(|n, _| *n > up_to);
        self.entries = usize::try_from(self.last.0.saturating_sub(up_to)).unwrap_or(self.entries);
        Ok(())
    }
}

fn micros(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

fn began(of: u64, asked: &Asked, now: Timestamp) -> Act {
    Act::Began { of, until: now.as_microsecond().saturating_add(micros(asked.lasts_s)) }
}

/// What one entry makes of the power that it is about.
fn happened(power: &mut Power, entry: &Entry) -> Result<(), &'static str> {
    match (&entry.act, &power.state) {
        (Act::Approved { .. }, PowerState::Waiting { .. }) => power.approved.push(entry.by.clone()),
        (Act::Rejected { reason, .. }, PowerState::Waiting { .. }) => {
            power.state = PowerState::Rejected { reason: reason.clone(), by: entry.by.clone() };
        }
        (Act::Began { until, .. }, PowerState::Waiting { .. }) => {
            if power.approved.len() < usize::from(power.asked.approvals) {
                return Err("it began with too few approvals");
            }
            if until.saturating_sub(entry.at) > micros(power.asked.lasts_s) {
                return Err("it lasts longer than was asked for");
            }
            power.state = PowerState::InForce { began: entry.at, until: *until };
        }
        (Act::Ended { reason, .. }, PowerState::InForce { began, until }) => {
            let ended = entry.at.min(*until);
            power.state = PowerState::Ended { began: *began, ended, reason: reason.clone(), by: entry.by.clone() };
        }
        _ => return Err("it was not in a state in which that can happen"),
    }
    Ok(())
}

fn reason_of(text: &str) -> Result<String, PowerError> {
    let text = text.trim();
    match text_problem(text, MAX_REASON) {
        Some(problem) => refused(format!("the reason is {problem}")),
        None if text.is_empty() => refused("say why: a reason is missing"),
        None => Ok(text.to_owned()),
    }
}

/// How it stands, behind its number.
fn standing(state: &PowerState) -> &'static str {
    match state {
        PowerState::Waiting { .. } => "waits for an approval",
        PowerState::InForce { .. } => "is in force",
        PowerState::Ended { .. } => "has ended",
        PowerState::Rejected { .. } => "is rejected",
        PowerState::Lapsed => "was not approved in time",
    }
}
