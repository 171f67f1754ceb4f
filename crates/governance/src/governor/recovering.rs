//! Other keys for approvers who have lost theirs: begun, vetoed, ended. Each is a version, so that a restart, a backup and whoever verifies the log know of it.

use jiff::Timestamp;

use super::{Governor, How};
use crate::approval::{Approval, Decision};
use crate::approver::ApproverSet;
use crate::change::{Change, ChangeId, Class, Kind};
use crate::error::GovernanceError;
use crate::hash::Hash;
use crate::head::Head;
use crate::recovery::{self, Recovering};
use crate::version::Version;

impl Governor {
    /// The recovery that has begun with the last version; `None`: none has. It may have lapsed.
    ///
    /// # Errors
    /// What it leads to is not there, or not what it was.
    pub fn recovering(&self) -> Result<Option<Recovering>, GovernanceError> {
        let Some((last, recovery)) = self.last.as_ref().zip(self.approvers.recovery.as_ref()) else { return Ok(None) };
        if last.change.kind != Kind::Recovery {
            return Ok(None);
        }
        let persons = self.set_meant(&last.change)?.replaced_since(&self.approvers).unwrap_or_default();
        let (due, lapses) = self.window(last, recovery);
        Ok(Some(Recovering { n: last.n, persons, due, lapses }))
    }

    /// Whether the last version is the beginning of a recovery that is this change.
    pub fn is_recovering(&self, id: ChangeId) -> bool {
        self.last.as_ref().is_some_and(|last| last.change.kind == Kind::Recovery && last.change.id == id)
    }

    /// Whether a recovery may be proposed and begun: it replaces keys of persons who are enrolled, and nothing else.
    pub(super) fn check_recovery(
        &self,
        change: &Change,
        successors: &ApproverSet,
        now: Timestamp,
    ) -> Result<(), GovernanceError> {
        let refused = |why: &str| Err(GovernanceError::Invalid(why.to_owned()));
        let Some(last) = self.last.as_ref().filter(|last| last.rules().required) else {
            return refused("approvals are not required: there is nothing to recover");
        };
        if self.approvers.recovery.is_none() {
            return refused(
                "no recovery keys are enrolled: `portcullis approver recovery` proposes them, while enough approvers can sign",
            );
        }
        if (change.content, change.governed, change.rules)
            != (last.change.content, last.change.governed, last.change.rules)
            || successors.replaced_since(&self.approvers).is_none()
        {
            return refused("a recovery replaces keys of approvers who are enrolled, and changes nothing else");
        }
        if let Some(revived) = self.head.revoked()?.revived_in(successors).into_iter().next() {
            return Err(GovernanceError::Revived { person: revived.person, key: revived.key });
        }
        if let Some(rollout) = self.rollout {
            return Err(GovernanceError::RollingOut(rollout.n));
        }
        if now.as_microsecond() < last.time {
            return refused("by the clock it is earlier than when the last version became live: set the clock right");
        }
        Ok(())
    }

    /// Whether a signature can count for anything by its key.
    pub(super) fn can_count(
        &self,
        approval: &Approval,
        change: &Change,
        new: &ApproverSet,
    ) -> Result<(), GovernanceError> {
        let approves = [&self.approvers, new].into_iter().any(|set| set.owner(&approval.key).is_some());
        let recovers = self.approvers.recovery.as_ref().is_some_and(|each| each.holder(&approval.key).is_some());
        match (change.kind, approval.decision) {
            (Kind::Recovery, Decision::Approve) if recovers => Ok(()),
            (Kind::Recovery, Decision::Approve) if approves => Err(GovernanceError::BadApproval(
                "a recovery is signed with recovery keys; an approver can only say no to it",
            )),
            (Kind::Recovery, Decision::Reject) if recovers => Err(GovernanceError::BadApproval(
                "a recovery key says no to nothing: whoever holds it just does not sign",
            )),
            (_, _) if approves => Ok(()),
            (_, _) if recovers => Err(GovernanceError::BadApproval(
                "a recovery key approves nothing but a recovery (`portcullis approver recover`)",
            )),
            (_, _) => Err(GovernanceError::BadApproval("its key is not enrolled, or revoked")),
        }
    }

    /// Ends the recovery that has begun: from now on the approvers sign with their other keys. Nobody signs once more. Says also what could not be written of it.
    ///
    /// # Errors
    /// None has begun, its delay is not over, or it has lapsed; or it cannot be written: nothing has changed then.
    pub fn end_recovery(
        &mut self,
        by: &str,
        now: Timestamp,
    ) -> Result<(Version, Option<GovernanceError>), GovernanceError> {
        let (last, recovering) = self.begun()?;
        if self.is_unheard() {
            return Err(GovernanceError::Invalid(
                "the recovery is not told yet, and its delay counts from then on: a gateway that runs tells of it"
                    .to_owned(),
            ));
        }
        if recovering.due >= recovering.lapses {
            return Err(GovernanceError::Invalid(
                "the recovery was told so late that its time is over before its delay is: it has to be proposed and signed again".to_owned(),
            ));
        }
        if now.as_microsecond() >= recovering.lapses {
            return Err(GovernanceError::Invalid(
                "the recovery was not ended in its time: it has to be proposed and signed again".to_owned(),
            ));
        }
        if now.as_microsecond() < recovering.due {
            let due = Timestamp::from_microsecond(recovering.due).unwrap_or(Timestamp::MAX);
            return Err(GovernanceError::Invalid(format!(
                "the recovery can be ended from {due:.0} on, and until then any approver can say no"
            )));
        }
        // A start believes the end of one only where it is written beside the store that it had begun.
        let head = Head { n: last.n, hash: last.hash(), required: last.rules().required };
        if self.head.read()? != Some(head) {
            self.head.write(head)?;
        }
        let set = self.set_meant(&last.change)?;
        // What was revoked meanwhile, in any store, does not come back by it.
        if let Some(revived) = self.head.revoked()?.revived_in(&set).into_iter().next() {
            return Err(GovernanceError::Revived { person: revived.person, key: revived.key });
        }
        let change = self.part(&last, Kind::Recovered, last.change.recovers, now)?;
        self.append(change, Vec::new(), set, How { made: by.into(), blobs: &[], rollout: None }, now)
    }

    /// An approver's signed no to the recovery that has begun. Says also what could not be written of it.
    ///
    /// # Errors
    /// None has begun, or the signature is no such no; or it cannot be written: nothing has changed then.
    pub fn veto(
        &mut self,
        approval: &Approval,
        now: Timestamp,
    ) -> Result<(Version, String, Option<GovernanceError>), GovernanceError> {
        let (last, _) = self.begun()?;
        if !approval.is_valid(self.instance(), &last.change) {
            return Err(GovernanceError::BadApproval("it is not signed under this change of this gateway"));
        }
        let voice = recovery::voice(&last.change, approval, &self.approvers, now);
        let Some((person, Decision::Reject)) = voice else {
            return Err(GovernanceError::BadApproval(
                "the recovery has begun, and from then on only a no counts, by somebody who approves, signed since it was proposed",
            ));
        };
        let change = self.part(&last, Kind::Veto, last.change.approvers, now)?;
        let set = self.approvers.clone();
        let how = How { made: person.as_str().into(), blobs: &[], rollout: None };
        let (version, trouble) = self.append(change, vec![approval.clone()], set, how, now)?;
        Ok((version, person, trouble))
    }

    fn begun(&self) -> Result<(Version, Recovering), GovernanceError> {
        let recovering = self.recovering()?;
        self.last.clone().zip(recovering).ok_or_else(|| GovernanceError::Unknown("recovery that has begun".to_owned()))
    }

    /// The change that a later part of a recovery is.
    fn part(&self, begun: &Version, kind: Kind, approvers: Hash, now: Timestamp) -> Result<Change, GovernanceError> {
        // The log would be refused at the next start.
        if now.as_microsecond() < begun.time {
            return Err(GovernanceError::Invalid(
                "by the clock it is earlier than when the recovery began: set the clock right".to_owned(),
            ));
        }
        let (base_n, base) = self.base();
        Ok(Change {
            id: ChangeId::random()?,
            kind,
            class: Class::Neutral,
            base_n,
            base,
            approvers,
            recovers: Hash::NONE,
            impact: Hash::NONE,
            restores: 0,
            created: now.as_microsecond(),
            expires: Change::end(&self.rules(), now).as_microsecond(),
            ..begun.change.clone()
        })
    }
}
