//! Versions that come into force step by step.

use jiff::Timestamp;

use super::Governor;
use crate::change::{Change, ChangeId, Kind, MAX_TEXT};
use crate::content::Content;
use crate::error::GovernanceError;
use crate::hash::Hash;
use crate::rollout::Rollout;
use crate::steps::Steps;
use crate::version::Version;

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
        by: &str,
        now: Timestamp,
    ) -> Result<(Version, Option<GovernanceError>), GovernanceError> {
        if let Some(Rollout { n, .. }) = self.rollout {
            return Err(GovernanceError::RollingOut(n));
        }
        // Before it is a version: a crash between the two leaves a note on a version that there is not. `activate` takes it out where it would be one.
        let (proposal, _, new) = self.admitted(id, now)?;
        let rollout = Rollout::new(self.n().saturating_add(1), id);
        self.head.write_steps(steps_of(&rollout))?;
        self.ledger.set_rollout(Some(&rollout.encode()))?;
        self.rollout = Some(rollout);
        let appended = self.append(proposal.change, proposal.approvals, new, by, &[], now);
        if appended.is_err() {
            self.rollout = None;
        }
        appended
    }

    /// Takes out what a rollout of this change left that never became a version: else the version that it becomes now, for everybody at once, would
    /// be rolled out at the next start.
    pub(super) fn forget_begun(&mut self, id: ChangeId) -> Result<(), GovernanceError> {
        let left = self.ledger.rollout()?.and_then(|record| Rollout::decode(&record).ok());
        let would_be = (self.n().saturating_add(1), id);
        if left.is_some_and(|left| (left.n, left.change) == would_be) {
            self.ledger.set_rollout(None)?;
        }
        let noted = self.head.steps()?;
        if noted.is_some_and(|noted| noted.rolls_out(would_be.0, id)) {
            self.head.write_steps(Steps::NONE)?;
        }
        Ok(())
    }

    /// What is beside the store says from now on what it did not yet, or not of this log.
    pub(super) fn note_steps(&mut self, noted: Option<Steps>) -> Result<(), GovernanceError> {
        let known = match (&self.rollout, noted) {
            (Some(rollout), _) => steps_of(rollout),
            (None, Some(noted)) => noted,
            (None, None) => Steps::NONE,
        };
        if noted == Some(known) { Ok(()) } else { self.head.write_steps(known) }
    }

    /// The number of the version that serves whoever is not decided for by the one that is rolled out; 0 for none.
    pub fn serving(&self) -> u64 {
        let last = self.n();
        if self.rollout.is_some() { last.saturating_sub(1) } else { last }
    }

    /// That version and its files.
    ///
    /// # Errors
    /// They are not there, or not what they were.
    pub fn served(&self) -> Result<(Version, Content), GovernanceError> {
        let version = match (self.rollout, &self.last) {
            (None, Some(last)) => last.clone(),
            _ => self.version(self.serving())?,
        };
        let content = self.content_of(&version)?;
        Ok((version, content))
    }

    /// Keeps how far it has come.
    ///
    /// # Errors
    /// It is not what is rolled out, or cannot be written: then the next start goes on from an earlier moment.
    pub fn note_progress(&mut self, rollout: Rollout) -> Result<(), GovernanceError> {
        if self.rollout.is_none_or(|kept| (kept.n, kept.change) != (rollout.n, rollout.change)) {
            return Err(GovernanceError::Unknown(format!("version {} that is rolled out", rollout.n)));
        }
        self.ledger.set_rollout(Some(&rollout.encode()))?;
        if self.rollout.is_none_or(|kept| kept.stage != rollout.stage) {
            self.head.write_steps(steps_of(&rollout))?;
        }
        self.rollout = Some(rollout);
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

    /// The version of this number decides for everybody from now on.
    ///
    /// # Errors
    /// It is not what is rolled out, or that cannot be written: it is still rolled out then.
    pub fn finish_rollout(&mut self, n: u64) -> Result<(), GovernanceError> {
        let rollout = self.rolls_out(n)?;
        // From here on it is over, whatever is in the store.
        self.head.write_steps(Steps { stage: None, ..steps_of(&rollout) })?;
        self.ledger.set_rollout(None)?;
        self.rollout = None;
        Ok(())
    }

    /// Takes the version that is rolled out back: the one before it becomes live again, as a new version, which nobody has to approve since it was
    /// approved before and still serves. `by`: every name of who wants that; empty: the gateway itself. Says also what could not be written.
    ///
    /// # Errors
    /// Nothing is rolled out, or it cannot be written: it is still rolled out then.
    pub fn take_back(
        &mut self,
        reason: &str,
        by: &[String],
        now: Timestamp,
    ) -> Result<(Version, Option<GovernanceError>), GovernanceError> {
        let (Some(_), Some(last)) = (self.rollout, self.last.clone()) else {
            return Err(GovernanceError::Unknown("version that is rolled out".to_owned()));
        };
        let earlier = self.version(self.serving())?;
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
            ..earlier.change
        };
        if let Some(problem) = change.text_problem() {
            return Err(GovernanceError::Invalid(problem));
        }
        let set = self.approvers.clone();
        let by = change.authors.first().cloned().unwrap_or_default();
        self.append(change, Vec::new(), set, &by, &[], now)
    }

    /// What the store knows of a version that is rolled out; nothing, where that is not the last one.
    pub(super) fn kept_rollout(&self) -> Result<Option<Rollout>, GovernanceError> {
        let kept = self.ledger.rollout()?.and_then(|record| Rollout::decode(&record).ok());
        Ok(kept.filter(|kept| self.last.as_ref().is_some_and(|last| (last.n, last.change.id) == (kept.n, kept.change))))
    }
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
