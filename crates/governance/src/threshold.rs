//! Whether enough persons approve. Persons are counted, not keys and not signatures.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::approval::{Approval, Decision};
use crate::approver::ApproverSet;
use crate::change::{Change, Class, Kind, Rules};
use crate::hash::Hash;
use crate::recovery::{self, Recovery};

/// Clocks of signers may be so far off.
pub(crate) const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// How many persons a change needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Of those who may approve now.
    pub old: usize,
    /// Of those who may from then on: only of a change of the approvers more than 0.
    pub new: usize,
}

impl Need {
    /// What the rules that are in force demand of a change. Another class than the engine's words is counted as the strictest.
    pub fn of(rules: &Rules, change: &Change) -> Self {
        if !rules.required {
            return Self { old: 0, new: 0 };
        }
        let of_class = match change.class {
            Class::Neutral | Class::Tightens => rules.tighten,
            Class::Loosens | Class::Mixed => rules.loosen,
        };
        let of_kind = match change.kind {
            Kind::Keys => rules.keys,
            // By keys of its own, or by nobody: whoever asks here counts approvers, and needs as many as for what it does.
            Kind::Recovery | Kind::Recovered | Kind::Veto => rules.keys.max(rules.loosen),
            Kind::Change
            | Kind::Rollback
            | Kind::Feed
            | Kind::Calibration
            | Kind::BreakGlass
            | Kind::Revert
            | Kind::Undo => 0,
        };
        // Who lowers the rules lowers what protects all the rest.
        let of_rules = if change.rules == *rules { 0 } else { rules.keys.max(rules.loosen) };
        let old = usize::from(of_class.max(of_kind).max(of_rules)).max(1);
        Self { old, new: if change.kind == Kind::Keys { usize::from(rules.keys).max(1) } else { 0 } }
    }

    /// What a recovery needs: so many holders of recovery keys, and nobody who approves.
    pub fn of_recovery(recovery: &Recovery) -> Self {
        Self { old: usize::from(recovery.quorum).max(1), new: 0 }
    }

    /// The same of one that changes another part of what `[governance]` says: the steps, by what a version is taken back, how long glass is broken.
    #[must_use]
    pub fn of_governance(self, rules: &Rules) -> Self {
        let old = if rules.required { self.old.max(usize::from(rules.keys.max(rules.loosen))) } else { self.old };
        Self { old, ..self }
    }
}

/// Who said what of a change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Count {
    /// Who approves, by the approvers of now.
    pub old: BTreeSet<String>,
    /// Who approves, by the approvers from then on.
    pub new: BTreeSet<String>,
    /// Who rejects.
    pub rejected: BTreeSet<String>,
}

/// Why a change may not become live.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Shortfall {
    /// Somebody said no.
    #[error("rejected by {0}")]
    Rejected(String),
    /// Too few.
    #[error("{} of {} approvals by persons other than the author{}", have.len(), need, names(have))]
    TooFew {
        /// Who approves.
        have: BTreeSet<String>,
        /// How many must.
        need: usize,
    },
    /// Too few of those who are to approve from then on.
    #[error("{} of {} approvals by those who are approvers afterwards{}", have.len(), need, names(have))]
    TooFewNew {
        /// Who approves.
        have: BTreeSet<String>,
        /// How many must.
        need: usize,
    },
}

fn names(have: &BTreeSet<String>) -> String {
    if have.is_empty() { String::new() } else { format!(" ({})", have.iter().cloned().collect::<Vec<_>>().join(", ")) }
}

impl Count {
    /// Counts what is valid: signed under this very change, within its time, with a key that is enrolled and not revoked, by somebody who is
    /// not the author under any name.
    pub fn of(
        instance: Hash,
        change: &Change,
        approvals: &[Approval],
        [old, new]: [&ApproverSet; 2],
        now: Timestamp,
    ) -> Self {
        let mut count = Self::default();
        for approval in approvals.iter().filter(|approval| approval.is_valid(instance, change)) {
            // No approver can say yes to it, and no recovery key to anything else.
            if change.kind == Kind::Recovery {
                match recovery::voice(change, approval, old, now) {
                    Some((holder, Decision::Approve)) => count.old.insert(holder),
                    Some((person, Decision::Reject)) => count.rejected.insert(person),
                    None => false,
                };
                continue;
            }
            if let Some(person) = person(change, approval, old, now) {
                match approval.decision {
                    Decision::Approve => count.old.insert(person),
                    // Whoever has stolen a key must not be able to have it kept.
                    Decision::Reject if revokes(new, approval) => false,
                    Decision::Reject => count.rejected.insert(person),
                };
            }
            if let Some(person) = person(change, approval, new, now) {
                match approval.decision {
                    Decision::Approve => count.new.insert(person),
                    Decision::Reject => count.rejected.insert(person),
                };
            }
        }
        count
    }

    /// Whether it is enough.
    ///
    /// # Errors
    /// Why it is not.
    pub fn meets(&self, need: Need) -> Result<(), Shortfall> {
        if need.old == 0 {
            return Ok(());
        }
        if let Some(person) = self.rejected.first() {
            return Err(Shortfall::Rejected(person.clone()));
        }
        if self.old.len() < need.old {
            return Err(Shortfall::TooFew { have: self.old.clone(), need: need.old });
        }
        if self.new.len() < need.new {
            return Err(Shortfall::TooFewNew { have: self.new.clone(), need: need.new });
        }
        Ok(())
    }
}

/// Whether the key of it is revoked by the very change.
fn revokes(new: &ApproverSet, approval: &Approval) -> bool {
    let mut keys = new.approvers.iter().flat_map(|approver| &approver.keys);
    keys.any(|key| key.public == approval.key && key.revoked.is_some())
}

/// Whose approval it is, where it counts.
fn person(change: &Change, approval: &Approval, set: &ApproverSet, now: Timestamp) -> Option<String> {
    let (approver, key) = set.owner(&approval.key)?;
    let skew = i64::try_from(SKEW.as_micros()).unwrap_or(0);
    let begins = change.created.max(key.added).saturating_sub(skew);
    let ends = change.expires.min(now.as_microsecond().saturating_add(skew));
    let is_author = change.authors.iter().any(|author| approver.is_called(author));
    // An author may take it back.
    let counts = !is_author || approval.decision == Decision::Reject;
    (counts && (begins..=ends).contains(&approval.signed)).then(|| approver.person.clone())
}
