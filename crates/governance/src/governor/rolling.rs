//! Versions that come into force step by step.

use jiff::Timestamp;

use super::{Governor, How};
use crate::change::{Change, ChangeId, Kind, MAX_TEXT};
use crate::content::Content;
use crate::error::{GovernanceError, LedgerError};
use crate::hash::Hash;
use crate::rollout::Rollout;
use crate::steps::Steps;
use crate::version::{MadeLive, Version};

/// As whom the gateway takes a version back.
const ITSELF: &str = "portcullis";

impl Governor {
    /// Appends a change as a version that is rolled out step by step: until that is over, the one before it serves. What it may be is asked as of any
    /// other. Says also what could not be written of it.
    ///
    /// # Errors
    /// Why it may not be, or that another one is being rolled out.
    pub fn begin_rollout(
        &mut self,
        id: ChangeId,
        made: impl Into<MadeLive>,
        now: Timestamp,
    ) -> Result<(Version, Option<GovernanceError>), GovernanceError> {
        if let Some(Rollout { n, .. }) = self.rollout {
            return Err(GovernanceError::RollingOut(n));
        }
        let (proposal, _, new) = self.admitted(id, now)?;
        if proposal.change.kind == Kind::Recovery {
            return Err(GovernanceError::Invalid("a recovery has a delay, and no steps".to_owned()));
        }
        let rollout = Rollout::new(self.n().saturating_add(1), id);
        let how = How { made: made.into(), blobs: &[], rollout: Some(rollout) };
        self.append(proposal.change, proposal.approvals, new, how, now)
    }

    /// Appends a change as a version that is live for everybody at once, and still has to be written to the files: until [`Self::finish_rollout`] it is known,
    /// also after a restart, that some of them may hold what was there before. What it may be is asked as of any other.
    ///
    /// # Errors
    /// Why it may not be: nothing has changed then.
    pub fn activate_and_write(
        &mut self,
        id: ChangeId,
        made: impl Into<MadeLive>,
        now: Timestamp,
    ) -> Result<(Version, Option<GovernanceError>), GovernanceError> {
        let (proposal, _, new) = self.admitted(id, now)?;
        let rollout = Rollout::at_once(self.n().saturating_add(1), id);
        let how = How { made: made.into(), blobs: &[], rollout: Some(rollout) };
        self.append(proposal.change, proposal.approvals, new, how, now)
    }

    /// What is beside the store says before a version is appended in which step that begins; and nothing of one that takes none, though another program that
    /// ended in between had noted it. Returns what it said until then, where that is another thing.
    pub(super) fn note_begun(
        &mut self,
        (n, change): (u64, ChangeId),
        rollout: Option<Rollout>,
    ) -> Result<Option<Steps>, GovernanceError> {
        let noted = self.head.steps()?;
        let known = match rollout.filter(|rollout| !rollout.is_at_once()) {
            Some(rollout) => steps_of(&rollout),
            // Only then: what it says of another version is of one that is in a step.
            None if noted.is_some_and(|noted| noted.is_of(n, change)) => Steps::NONE,
            None => return Ok(None),
        };
        self.head.write_steps(known)?;
        Ok(Some(noted.unwrap_or(Steps::NONE)))
    }

    /// What is beside the store says from now on what it did not yet, or not of this log.
    pub(super) fn note_steps(&mut self, noted: Option<Steps>) -> Result<(), GovernanceError> {
        let known = match (&self.rollout, noted) {
            // In which step it is, is what nobody can tell.
            (Some(rollout), _) if rollout.is_held() => return Ok(()),
            (Some(rollout), _) if !rollout.is_at_once() => steps_of(rollout),
            (_, Some(noted)) => noted,
            (_, None) => Steps::NONE,
        };
        if noted == Some(known) { Ok(()) } else { self.head.write_steps(known) }
    }

    /// The number of the version that serves whoever is not decided for by the one that is rolled out; 0 for none.
    pub fn serving(&self) -> u64 {
        let last = self.n();
        if self.rollout.is_none_or(|rollout| rollout.is_at_once()) { last } else { last.saturating_sub(1) }
    }

    /// That version and its files.
    ///
    /// # Errors
    /// They are not there, or not what they were.
    pub fn served(&self) -> Result<(Version, Content), GovernanceError> {
        let version = self.serving_version()?;
        let content = self.content_of(&version)?;
        Ok((version, content))
    }

    /// The store may hold another record under that number by now: the last version says which it is.
    fn serving_version(&self) -> Result<Version, GovernanceError> {
        let serving = self.serving();
        match &self.last {
            Some(last) if last.n == serving => Ok(last.clone()),
            Some(last) => {
                let version = self.version(serving)?;
                match version.hash() == last.prev {
                    true => Ok(version),
                    false => {
                        Err(GovernanceError::Broken { n: serving, why: "the store was changed meanwhile".to_owned() })
                    }
                }
            }
            None => self.version(serving),
        }
    }

    /// Keeps how far it has come.
    ///
    /// # Errors
    /// It is not what is rolled out, or cannot be written: then the next start goes on from an earlier moment. Where another process has written it meanwhile,
    /// that is what is known from then on.
    pub fn note_progress(&mut self, rollout: Rollout) -> Result<(), GovernanceError> {
        let is_it = |kept: Rollout| (kept.n, kept.change) == (rollout.n, rollout.change);
        // Of one that is held nobody knows more than before, until it is live for everybody.
        if !self.rollout.is_some_and(|kept| is_it(kept) && (!kept.is_held() || rollout.is_ending())) {
            return Err(GovernanceError::Unknown(format!("version {} that is rolled out", rollout.n)));
        }
        self.keep(Some(rollout))?;
        // Behind the row: what a process that was overtaken would have written is nothing that happened.
        let steps = steps_of(&rollout);
        match self.head.steps()? {
            Some(noted) if noted == steps => Ok(()),
            _ => self.head.write_steps(steps),
        }
    }

    /// Writes it in the place of what was known.
    fn keep(&mut self, rollout: Option<Rollout>) -> Result<(), GovernanceError> {
        let record = rollout.map(|rollout| rollout.encode());
        if let Err(error) = self.ledger.set_rollout(self.kept.as_deref(), record.as_deref()) {
            if error == LedgerError::Overtaken {
                self.catch_up()?;
            }
            return Err(error.into());
        }
        (self.rollout, self.kept) = (rollout, record);
        Ok(())
    }

    /// The version of this number is what is rolled out, and is the last one.
    ///
    /// # Errors
    /// It is not: it is over, was taken back, or another version became live meanwhile.
    pub fn rolls_out(&self, n: u64) -> Result<Rollout, GovernanceError> {
        let rollout = self.rollout.filter(|rollout| rollout.n == n && self.n() == n);
        rollout.ok_or_else(|| GovernanceError::Unknown(format!("version {n} that is rolled out")))
    }

    /// When the steps of the version of this number were over, by the clock of the disk, and it decided for everybody; `None`: it took none, another one did
    /// after it, or that is not known.
    pub fn steps_over_at(&self, n: u64) -> Option<Timestamp> {
        let noted = self.head.steps().ok()??;
        let is_over = noted.is_of(n, self.version(n).ok()?.change.id) && noted.stage.is_none();
        is_over.then(|| self.head.steps_written()).flatten()
    }

    /// The version of this number decides for everybody from now on.
    ///
    /// # Errors
    /// It is not what is rolled out, or that cannot be written: it is still rolled out then.
    pub fn finish_rollout(&mut self, n: u64) -> Result<(), GovernanceError> {
        let rollout = self.rolls_out(n)?;
        // From here on it is over, whatever is in the store.
        let noted = self.head.steps()?;
        if noted.is_some_and(|noted| noted.is_of(n, rollout.change) && noted.stage.is_some()) {
            self.head.write_steps(Steps { stage: None, ..steps_of(&rollout) })?;
        }
        self.keep(None)
    }

    /// Takes the version that is rolled out back: the one before it becomes live again, as a new version, which nobody has to approve since it was
    /// approved before and still serves. `by`: every name of who wants that; empty: the gateway itself. Says also what could not be written.
    ///
    /// # Errors
    /// Nothing is rolled out, or it has come through its steps and its files may hold it in part, or it cannot be written: it is still rolled out then.
    pub fn take_back(
        &mut self,
        reason: &str,
        by: &[String],
        now: Timestamp,
    ) -> Result<(Version, Option<GovernanceError>), GovernanceError> {
        let (Some(rollout), Some(last)) = (self.rollout, self.last.clone()) else {
            return Err(GovernanceError::Unknown("version that is rolled out".to_owned()));
        };
        if rollout.is_ending() {
            return Err(GovernanceError::Ending(rollout.n));
        }
        let earlier = self.serving_version()?;
        let (base_n, base) = self.base();
        let change = Change {
            id: ChangeId::random()?,
            kind: Kind::Revert,
            class: last.change.class.back(),
            base_n,
            base,
            impact: Hash::NONE,
            restores: earlier.n,
            authors: if by.is_empty() { vec![ITSELF.to_owned()] } else { by.to_vec() },
            reason: in_a_line(reason),
            ticket: last.change.ticket,
            created: now.as_microsecond(),
            expires: Change::end(&self.rules(), now).as_microsecond(),
            recovers: Hash::NONE,
            ..earlier.change
        };
        if let Some(problem) = change.text_problem() {
            return Err(GovernanceError::Invalid(problem));
        }
        let set = self.approvers.clone();
        let by = change.authors.first().cloned().unwrap_or_default();
        self.append(change, Vec::new(), set, How { made: (&*by).into(), blobs: &[], rollout: None }, now)
    }
}

/// How far this version has come by that record; `None`: it is of another one. What cannot be read is held against it: it may have been in a step, and so it
/// decides for nobody, and the one before it, which was live for everybody, serves.
pub(super) fn kept_of(record: &[u8], last: &Version) -> Option<Rollout> {
    let is_last = |(n, change): (u64, ChangeId)| (n, change) == (last.n, last.change.id);
    if let Ok(kept) = Rollout::decode(record) {
        return Some(kept).filter(|kept| is_last((kept.n, kept.change)));
    }
    let can_be_staged = last.n > 1 && last.change.kind.can_take_steps();
    let may_be_its = Rollout::whose(record).is_none_or(is_last);
    (can_be_staged && may_be_its).then(|| Rollout::held(last.n, last.change.id))
}

fn steps_of(rollout: &Rollout) -> Steps {
    Steps { n: rollout.n, change: rollout.change, stage: Some(rollout.stage) }
}

/// A reason on one line, as long as it may be.
fn in_a_line(reason: &str) -> String {
    let mut text: String =
        reason.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}
