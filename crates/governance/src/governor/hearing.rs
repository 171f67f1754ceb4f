//! What became of recoveries of approvers' keys, and whether a gateway has told of it. Only what was told of can be ended, and its delay counts from then on: the
//! time that stands in the store is whatever was written there.

use jiff::Timestamp;

use super::Governor;
use crate::approval::Decision;
use crate::change::Kind;
use crate::error::GovernanceError;
use crate::heard::Heard;
use crate::recovery;
use crate::threshold::SKEW;
use crate::version::Version;

/// What a version did to a recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// The version.
    pub n: u64,
    /// What.
    pub what: What,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It has begun, for the keys of these persons.
    Begun(Vec<String>),
    /// It is done: the keys were replaced.
    Done,
    /// This person has said no.
    Refused(String),
    /// It began with that version, and the one that followed is another change.
    Over(u64),
}

impl Governor {
    /// What became of recoveries since that was told last, in order. Empty: nothing.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn untold(&self) -> Result<Vec<Happened>, GovernanceError> {
        let (mut happened, mut before) = (Vec::new(), None);
        for n in self.told.saturating_add(1)..=self.n() {
            let version = self.version(n)?;
            if before.is_none() && n > 1 {
                before = Some(self.version(n.saturating_sub(1))?);
            }
            if let Some(what) = self.what_became(before.as_ref(), &version) {
                happened.push(Happened { n, what });
            }
            before = Some(version);
        }
        Ok(happened)
    }

    fn what_became(&self, before: Option<&Version>, version: &Version) -> Option<What> {
        let begun = before.filter(|before| before.change.kind == Kind::Recovery);
        match version.change.kind {
            Kind::Recovery => {
                let sets = self.set_meant(&version.change).ok().zip(self.set_of(&version.change).ok());
                let persons = sets.and_then(|(after, before)| after.replaced_since(&before));
                Some(What::Begun(persons.unwrap_or_default()))
            }
            Kind::Recovered => Some(What::Done),
            Kind::Veto => {
                let of = |begun: &Version| {
                    let (set, time) =
                        (self.set_of(&begun.change).ok()?, Timestamp::from_microsecond(version.time).ok()?);
                    let voices =
                        version.approvals.iter().filter_map(|each| recovery::voice(&begun.change, each, &set, time));
                    let mut noes = voices.filter(|(_, decision)| *decision == Decision::Reject);
                    noes.next().map(|(person, _)| person)
                };
                Some(What::Refused(begun.and_then(of).unwrap_or_else(|| version.by.clone())))
            }
            _ => begun.map(|begun| What::Over(begun.n)),
        }
    }

    /// Whether [`Self::have_told`] has something to write.
    pub fn has_to_tell(&self) -> bool {
        self.told < self.n() || self.is_unheard() || self.unknown.is_some()
    }

    /// A gateway has told what became of recoveries, up to the last version: from now on the delay of the one that has begun counts.
    ///
    /// # Errors
    /// It cannot be written: the delay counts from when it can be.
    pub fn have_told(&mut self, now: Timestamp) -> Result<(), GovernanceError> {
        let n = self.n();
        // What is in the place of the file and is none is written over.
        let concerns =
            self.heard.is_some() || self.unknown.is_some() || !self.untold()?.is_empty() || self.is_unheard();
        self.told = n;
        if !concerns {
            return Ok(());
        }
        let known = self.heard.unwrap_or(Heard::NONE);
        let heard = match &self.last {
            Some(last) if self.is_unheard() => {
                Heard { n: last.n, hash: last.hash(), since: now.as_microsecond(), told: n }
            }
            _ => Heard { told: n, ..known },
        };
        if self.heard == Some(heard) {
            return Ok(());
        }
        self.head.hear(heard)?;
        (self.heard, self.unknown) = (Some(heard), None);
        Ok(())
    }

    /// Reads what is beside the store of that. `known`: up to where the head file knows the log.
    pub(super) fn read_heard(&mut self, known: u64) -> Result<(), GovernanceError> {
        self.read_again()?;
        // One of a store that was another one counts for nothing.
        let told = self.heard.map_or(known, |heard| heard.told);
        self.told = if told > self.n() { known.min(self.n()) } else { told };
        Ok(())
    }

    /// Reads it once more. Something else in its place is as if there were nothing, which ends no recovery sooner; what is to be said of that, where it is new.
    pub(super) fn read_again(&mut self) -> Result<Option<String>, GovernanceError> {
        let known = self.unknown.take();
        match self.head.heard() {
            Ok(heard) => self.heard = heard,
            Err(error @ GovernanceError::HeardDamaged { .. }) => {
                (self.heard, self.unknown) = (None, Some(error.to_string()));
            }
            Err(error) => return Err(error),
        }
        Ok(if self.unknown == known { None } else { self.unknown_recovery() })
    }

    /// What is to be said where something else is in the place of the file beside the store that says since when a recovery was told; `None`: nothing is.
    pub fn unknown_recovery(&self) -> Option<String> {
        let why = self.unknown.as_ref()?;
        Some(format!(
            "{why}: the delay of a recovery of approvers' keys that is under way counts anew, from when it is told"
        ))
    }

    /// Whether a recovery has begun that nobody was told of yet.
    pub(super) fn is_unheard(&self) -> bool {
        let begun = self.last.as_ref().filter(|last| last.change.kind == Kind::Recovery);
        begun.is_some_and(|begun| self.heard_since(begun).is_none())
    }

    fn heard_since(&self, begun: &Version) -> Option<i64> {
        self.heard.filter(|heard| heard.is_of(begun.n, begun.hash())).map(|heard| heard.since)
    }

    /// From when on a recovery can be ended, and until when, in microseconds since 1970: its delay counts from when it began, and from when it was told.
    pub(super) fn window(&self, begun: &Version, recovery: &recovery::Recovery) -> (i64, i64) {
        let (due, lapses) = recovery::window(begun, recovery);
        let since = self.heard_since(begun).unwrap_or_else(|| self.head.now().as_microsecond());
        (due.saturating_add(since.saturating_sub(begun.time).max(0)), lapses)
    }

    /// Holds a version that nothing but the store vouches for to the clock: whoever writes there chooses its time. `known`: up to where the head file vouches.
    pub(super) fn held_to_the_clock(&self, before: &Version, version: &Version, known: u64) -> Result<(), String> {
        if !before.rules().required {
            return Ok(());
        }
        let now = self.head.now().as_microsecond();
        in_time(version, now)?;
        if version.change.kind != Kind::Recovered {
            return Ok(());
        }
        if before.n > known || self.heard_since(before).is_none() {
            return Err("it ends a recovery that no gateway has told of, so that nobody could say no".to_owned());
        }
        let set = self.set_of(&before.change).map_err(|error| error.to_string())?;
        let due = set.recovery.as_ref().map_or(i64::MAX, |recovery| self.window(before, recovery).0);
        match due <= now && due <= version.time {
            true => Ok(()),
            false => Err("it was ended before its delay was over, counted from when it was told".to_owned()),
        }
    }

    /// Holds the times of all versions to the clock.
    ///
    /// # Errors
    /// The first that is dated later than now.
    pub fn verify_times(&self, now: Timestamp) -> Result<(), GovernanceError> {
        for n in 1..=self.n() {
            in_time(&self.version(n)?, now.as_microsecond()).map_err(|why| GovernanceError::Broken { n, why })?;
        }
        Ok(())
    }
}

/// Whether a version is not of a time to come; clocks may be a little off.
fn in_time(version: &Version, now: i64) -> Result<(), String> {
    let skew = i64::try_from(SKEW.as_micros()).unwrap_or(0);
    if version.time <= now.saturating_add(skew) {
        return Ok(());
    }
    let time = Timestamp::from_microsecond(version.time).unwrap_or(Timestamp::MAX);
    Err(format!("it says that it became live at {time:.0}, which is later than now by the clock"))
}
