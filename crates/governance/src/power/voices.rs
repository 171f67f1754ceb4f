//! What other persons say of it: approvals, and reviews. One person is one voice, and none in what is theirs.

use jiff::Timestamp;

use crate::approval::Decision;
use crate::approver::ApproverSet;
use crate::hash::Hash;
use crate::power::book::{PowerBook, PowerError, refused};
use crate::power::entry::{Act, MAX_REASON, PowerKind, text_problem};
use crate::power::persons::Names;
use crate::power::state::{Power, PowerState, standing};
use crate::power::word::Word;

/// Clocks of signers may be so far off, in microseconds: five minutes.
pub(super) const SKEW: i64 = 300_000_000;

/// Who has looked at what was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reviewer<'r> {
    /// An account of the system.
    Account {
        /// Every name of it.
        names: &'r [String],
        /// It is one of many, and says nothing of who it is.
        is_shared: bool,
    },
    /// An approver has signed.
    Signed {
        /// What.
        word: Word,
        /// As which gateway's.
        instance: Hash,
    },
}

impl PowerBook {
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
        counts_as_person(is_shared, approvers)?;
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
        let by = self.signer(of, &word, instance, approvers, now)?;
        match word.decision {
            Decision::Approve => self.count(of, &by, Some(word), approvers, now),
            Decision::Reject => self.reject(of, "an approver said no", &by, now),
        }
    }

    /// All names of who has signed under what asks for it.
    fn signer(
        &self,
        of: u64,
        word: &Word,
        instance: Hash,
        approvers: &ApproverSet,
        now: Timestamp,
    ) -> Result<Vec<String>, PowerError> {
        let power = self.power(of)?;
        let Some((approver, key)) = approvers.owner(&word.key) else {
            return refused(format!("the key {} is nobody's who may approve, or is revoked", word.key.id()));
        };
        let late = now.as_microsecond().saturating_add(SKEW);
        if !word.is_valid(instance, power.hash) {
            return refused("the signature is not one under this");
        }
        if word.signed < key.added || word.signed > late {
            return refused("it was signed before the key was enrolled, or lies ahead: look at the clocks");
        }
        Ok(std::iter::once(&approver.person).chain(&approver.aliases).cloned().collect())
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
        if power.asked.kind == PowerKind::Request {
            return refused(format!("{of} is a request: grant it, with a role and a time"));
        }
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
        let begins = if is_enough { self.begins(of, &power.asked, now) } else { Vec::new() };
        self.append(std::iter::once(Act::Approved { of, word }).chain(begins).collect(), by, now)?;
        Ok(self.power(of)?.clone())
    }

    /// A person has looked at what was done with a broken seal. Whoever it was for, or broke it, cannot.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn review(
        &mut self,
        of: u64,
        remark: &str,
        who: Reviewer<'_>,
        approvers: &ApproverSet,
        now: Timestamp,
    ) -> Result<Power, PowerError> {
        self.tell_time(now)?;
        if let Some(problem) = text_problem(remark, MAX_REASON) {
            return refused(format!("the remark is {problem}"));
        }
        let power = self.power(of)?;
        if power.asked.kind != PowerKind::BreakGlass {
            return refused(format!("{of} is no broken seal: there is nothing to review"));
        }
        let (by, word) = match who {
            Reviewer::Account { names, is_shared } => {
                counts_as_person(is_shared, approvers)?;
                (names.to_vec(), None)
            }
            Reviewer::Signed { word, instance } => {
                let by = self.signer(of, &word, instance, approvers, now)?;
                // What was done is done: a no takes nothing back, and must not count as a look.
                if word.decision == Decision::Reject {
                    return refused(
                        "a signed no is no review: sign that you have looked, and say what you found in the remark",
                    );
                }
                (by, Some(word))
            }
        };
        let power = self.power(of)?;
        let person = Names::of(by.iter().map(String::as_str), approvers);
        if power.interested(approvers).iter().any(|names| person.may_be(names)) {
            return refused(format!("{of} was for or by the same person, who cannot review it under any name"));
        }
        let same = |names: &Vec<String>| Names::of(names.iter().map(String::as_str), approvers).may_be(&person);
        if power.reviewed.iter().any(|(names, _)| same(names)) {
            return refused(format!("{of} is reviewed by the same person already: one person, one voice"));
        }
        self.append(vec![Act::Reviewed { of, remark: remark.to_owned(), word }], &by, now)?;
        Ok(self.power(of)?.clone())
    }
}

/// Whether an account's word is a person's.
fn counts_as_person(is_shared: bool, approvers: &ApproverSet) -> Result<(), PowerError> {
    if approvers.active() > 0 {
        return refused("approvers are enrolled, and only what they sign counts: use `--key`");
    }
    if is_shared {
        return refused("this account is one of many, and says nothing of who it is: enrol approvers with keys");
    }
    Ok(())
}
