//! What waits to become live, as it stands now.

use jiff::Timestamp;

use super::{Governor, Proposal};
use crate::approval::Approval;
use crate::change::{Change, ChangeId, Kind};
use crate::content::Content;
use crate::error::GovernanceError;
use crate::ledger::{ChangeState, StoredChange};
use crate::threshold::{Count, Need};

impl Governor {
    /// A proposal by its id.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn proposal(&self, id: ChangeId, now: Timestamp) -> Result<Proposal, GovernanceError> {
        let mut all = self.ledger.changes()?.into_iter();
        let found = all.find(|(each, _)| *each == id);
        let (_, stored) = found.ok_or_else(|| GovernanceError::Unknown(format!("change {}", id.short())))?;
        self.read(id, &stored, now)
    }

    /// The proposals, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn proposals(&self, now: Timestamp) -> Result<Vec<Proposal>, GovernanceError> {
        self.ledger.changes()?.iter().map(|(id, stored)| self.read(*id, stored, now)).collect()
    }

    /// Those that can still become live. Nothing else is asked of them.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn waiting_changes(&self, now: Timestamp) -> Result<Vec<ChangeId>, GovernanceError> {
        let waits = |stored: &StoredChange| {
            let change = Change::decode(&stored.record).ok().filter(|_| stored.state == ChangeState::Open);
            change.is_some_and(|change| !change.has_expired(now) && (change.base_n, change.base) == self.base())
        };
        Ok(self.ledger.changes()?.into_iter().filter(|(_, stored)| waits(stored)).map(|(id, _)| id).collect())
    }

    /// The files of a proposal, whatever became of it. Nothing else is asked of it, so that nothing is read for that.
    ///
    /// # Errors
    /// There is none, or they are not there, or not what they were.
    pub fn content_proposed(&self, id: ChangeId) -> Result<Content, GovernanceError> {
        let unknown = || GovernanceError::Unknown(format!("change {}", id.short()));
        let (_, stored) = self.ledger.changes()?.into_iter().find(|(each, _)| *each == id).ok_or_else(unknown)?;
        self.content_of_change(&Change::decode(&stored.record).map_err(|_| unknown())?)
    }

    /// The one proposal whose id begins so.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn find(&self, beginning: &str) -> Result<ChangeId, GovernanceError> {
        let changes = self.ledger.changes()?;
        let matching: Vec<ChangeId> =
            changes.iter().map(|(id, _)| *id).filter(|id| id.to_string().starts_with(beginning)).collect();
        match matching.as_slice() {
            [id] if beginning.len() >= 4 => Ok(*id),
            [] => Err(GovernanceError::Unknown(format!("change `{}`", beginning.escape_debug()))),
            _ => Err(GovernanceError::Unknown(format!(
                "one change that `{}` stands for: write more of its id",
                beginning.escape_debug()
            ))),
        }
    }

    fn read(&self, id: ChangeId, stored: &StoredChange, now: Timestamp) -> Result<Proposal, GovernanceError> {
        let damaged = || GovernanceError::Unknown(format!("change {} that can be read", id.short()));
        let change = Change::decode(&stored.record).map_err(|_| damaged())?;
        if change.id != id {
            return Err(damaged());
        }
        let approvals: Vec<Approval> =
            stored.approvals.iter().filter_map(|record| Approval::decode(record).ok()).collect();
        let is_over = change.has_expired(now);
        let state = match (stored.state, (change.base_n, change.base) == self.base()) {
            (ChangeState::Open, _) | (ChangeState::Overtaken, true) if is_over => ChangeState::Expired,
            // Another process appended a version that is not known here yet: whoever appends one hears of it.
            (ChangeState::Overtaken, true) => ChangeState::Open,
            // Also where it could not be written yet.
            (ChangeState::Open, false) => ChangeState::Overtaken,
            (state, _) => state,
        };
        // One that has ended is not read any more.
        let need = match state {
            ChangeState::Open => self.need_of(&change),
            ChangeState::Activated | ChangeState::Rejected | ChangeState::Expired | ChangeState::Overtaken => {
                Need::of(&self.rules(), &change)
            }
        };
        // One that has ended may refer to approvers that are not there any more.
        let new = if state == ChangeState::Open { self.set_of(&change)? } else { self.approvers.clone() };
        let count = Count::of(self.instance(), &change, &approvals, [&self.approvers, &new], now);
        let missing = count.meets(need).err();
        Ok(Proposal { change, state, approvals, count, need, missing })
    }

    /// How many persons a change needs: whoever changes any part of `[governance]` changes what protects all the rest. What cannot be told counts as that.
    pub(super) fn need_of(&self, change: &Change) -> Need {
        let rules = self.rules();
        if let (Kind::Recovery, Some(recovery)) = (change.kind, &self.approvers.recovery) {
            return Need::of_recovery(recovery);
        }
        let need = Need::of(&rules, change);
        let can_matter = need.old > 0 && rules.keys > rules.loosen;
        let Some(last) = self.last.as_ref().filter(|last| can_matter && last.change.content != change.content) else {
            return need;
        };
        let of = |content: Result<_, GovernanceError>| {
            content.ok().and_then(|content| self.source.governance(&content).ok())
        };
        match (of(self.content_of(last)), of(self.content_of_change(change))) {
            (Some(before), Some(after)) if before == after => need,
            _ => need.of_governance(&rules),
        }
    }

    /// A proposal that can still become live.
    pub(super) fn waiting(&self, id: ChangeId, now: Timestamp) -> Result<Proposal, GovernanceError> {
        let proposal = self.proposal(id, now)?;
        match proposal.state {
            ChangeState::Open => Ok(proposal),
            ChangeState::Overtaken => {
                let (id, base, head) = (id.short(), proposal.change.base_n, self.n());
                Err(GovernanceError::StaleBase { id, base, head })
            }
            ChangeState::Activated | ChangeState::Rejected | ChangeState::Expired => Err(closed(&proposal)),
        }
    }

    /// Ends what has waited too long, and what was to follow on another version than the last one.
    pub(super) fn expire(&mut self, now: Timestamp) -> Result<(), GovernanceError> {
        let base = self.base();
        for (id, stored) in self.ledger.changes()?.into_iter().filter(|(_, stored)| stored.state == ChangeState::Open) {
            match Change::decode(&stored.record) {
                Ok(change) if !change.has_expired(now) && (change.base_n, change.base) == base => {}
                Ok(change) if !change.has_expired(now) => self.ledger.close(id, ChangeState::Overtaken)?,
                Ok(_) | Err(_) => self.ledger.close(id, ChangeState::Expired)?,
            }
        }
        Ok(())
    }
}

pub(super) fn closed(proposal: &Proposal) -> GovernanceError {
    GovernanceError::Closed { id: proposal.change.id.short(), state: proposal.state.as_str() }
}
