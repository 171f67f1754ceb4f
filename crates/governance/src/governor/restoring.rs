//! A log in the place of one that is lost, and what it must not bring back.

use jiff::Timestamp;

use super::{Governor, How};
use crate::anchor::Anchor;
use crate::approval::Approval;
use crate::change::{Change, ChangeId, Class, Kind};
use crate::error::GovernanceError;
use crate::hash::Hash;
use crate::request::{Base, Request};
use crate::revoked::RevokedKeys;
use crate::threshold::{Count, Need};
use crate::version::Version;

impl Governor {
    /// Whether a version is in the log.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn holds(&self, anchor: Anchor) -> Result<bool, GovernanceError> {
        Ok(self.ledger.record(anchor.n)?.is_some_and(|record| Hash::of(&record) == anchor.hash))
    }

    /// Holds the approvers to what was written down beside the store: what was revoked once stays so, also where the store is an older one.
    pub(super) fn hold_to_revocations(&self, remarks: &mut Vec<String>) -> Result<(), GovernanceError> {
        let revived = self.head.revoked()?.revived_in(&self.approvers);
        if let Some(first) = revived.into_iter().next() {
            let error = GovernanceError::Revived { person: first.person, key: first.key };
            if self.is_required() {
                return Err(error);
            }
            remarks.push(error.to_string());
        }
        Ok(())
    }

    /// Writes down beside the store what is revoked by now.
    pub(super) fn list_revocations(&mut self) -> Result<(), GovernanceError> {
        let now = RevokedKeys::of(&self.approvers);
        if now.is_empty() {
            return Ok(());
        }
        let mut listed = self.head.revoked()?;
        if listed.take(&now) { self.head.revoke(&listed) } else { Ok(()) }
    }

    /// What has to be signed to put a backup in the place of a log that is lost: a version on top of the backup's last one, with its content, and with
    /// its approvers but for those whose keys were revoked since. `report`: what comes back with it, for whoever signs.
    ///
    /// # Errors
    /// The backup holds no version, so few of its approvers are left that nobody could change anything, or no random bytes.
    pub fn restoration(
        &self,
        authors: Vec<String>,
        reason: String,
        (revoked, report): (&RevokedKeys, Vec<u8>),
        now: Timestamp,
    ) -> Result<Request, GovernanceError> {
        let last = self.last.as_ref().ok_or_else(|| GovernanceError::Unknown("version in it".to_owned()))?;
        let (base_n, base) = self.base();
        let mut approvers = self.approvers.clone();
        approvers.take_revocations(revoked);
        let change = Change {
            id: ChangeId::random()?,
            kind: if approvers == self.approvers { Kind::Rollback } else { Kind::Keys },
            class: Class::Mixed,
            base_n,
            base,
            restores: base_n,
            approvers: approvers.hash(),
            impact: if report.is_empty() { Hash::NONE } else { Hash::of(&report) },
            authors,
            reason,
            ticket: String::new(),
            created: now.as_microsecond(),
            expires: Change::end(&self.rules(), now).as_microsecond(),
            recovers: Hash::NONE,
            ..last.change.clone()
        };
        if let Some(problem) = change.text_problem() {
            return Err(GovernanceError::Invalid(problem));
        }
        let Need { old, new } = Need::of(&self.rules(), &change);
        let (have, need) = (approvers.active(), old.max(new));
        if have < need {
            return Err(GovernanceError::TooFewApprovers { have, need });
        }
        let content = self.content_of(last)?;
        let before = Base { version: last.clone(), content: content.clone(), approvers: self.approvers.clone() };
        Ok(Request { instance: self.instance(), change, content, base: Some(before), approvers, impact: report })
    }

    /// Appends that, if enough have signed it whose keys were not revoked since.
    ///
    /// # Errors
    /// It is not such a change of this log, its time is over, or not enough have.
    pub fn restore(
        &mut self,
        request: &Request,
        revoked: &RevokedKeys,
        approvals: Vec<Approval>,
        by: &str,
        now: Timestamp,
    ) -> Result<Version, GovernanceError> {
        let change = &request.change;
        let known = (revoked, request.impact.clone());
        let expected = self.restoration(change.authors.clone(), change.reason.clone(), known, now)?;
        let Change { id, created, expires, .. } = *change;
        if (Change { id, created, expires, ..expected.change }) != *change || change.has_expired(now) {
            return Err(GovernanceError::Invalid(
                "what was signed is not the restoration of this backup, keys were revoked since, or its time is over"
                    .to_owned(),
            ));
        }
        let set = expected.approvers;
        let need = Need::of(&self.rules(), change);
        Count::of(self.instance(), change, &approvals, [&set, &set], now).meets(need)?;
        let encoded = set.encode();
        let blobs = [(change.approvers, encoded.as_slice()), (change.impact, request.impact.as_slice())];
        let blobs: Vec<(Hash, &[u8])> = blobs.into_iter().filter(|(hash, _)| !hash.is_none()).collect();
        let (version, trouble) =
            self.append(change.clone(), approvals, set, How { made: by.into(), blobs: &blobs, rollout: None }, now)?;
        trouble.map_or(Ok(version), Err)
    }
}
