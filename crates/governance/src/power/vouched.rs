//! By whose signatures power is what it is. What was counted when somebody approved is counted again whenever it is read: a row of the store says nothing by
//! itself.

use std::collections::BTreeSet;

use crate::approval::Decision;
use crate::approver::{Approver, ApproverSet};
use crate::hash::Hash;
use crate::key::PublicKey;
use crate::power::book::PowerBook;
use crate::power::entry::PowerKind;
use crate::power::persons::Names;
use crate::power::state::{Power, PowerState};
use crate::power::voices::SKEW;

/// Before the number of the power that a sealed code was opened as, in the reason why the seal ended.
pub(super) const OPENED: &str = "opened as ";

/// Why power is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unvouched {
    /// More is demanded by now than when it was approved.
    #[error("more approvals are demanded of it now")]
    TooFew,
    /// As many signed it as it says, and not all of them count any more.
    #[error(
        "not all who approved it count any more: a key was revoked, or whoever signed is known by now as who asked or whose it is"
    )]
    CountsNoMore,
    /// It was asked for when nobody had to approve it.
    #[error("it is from before approvals were required")]
    Before,
    /// It is in the log, and was never approved as it says.
    #[error("its approvals are not signed by persons who may")]
    Unsigned,
    /// Glass was broken, and no sealed code was opened for it, nor has anybody signed for it who may.
    #[error("no sealed code of its principal was opened for it, and nobody signed it")]
    NoSeal,
    /// Glass was broken by a statement that its principal did not sign, or that was for something else, or used before.
    #[error("what it was broken by is no statement of its principal that was good for it")]
    NotStated,
}

impl Unvouched {
    /// Whether that cannot come about by the gateway itself.
    pub fn is_forged(self) -> bool {
        match self {
            Self::TooFew | Self::CountsNoMore | Self::Before => false,
            Self::Unsigned | Self::NoSeal | Self::NotStated => true,
        }
    }
}

/// By whom power must be approved where approvals are required.
#[derive(Debug, Clone)]
pub struct Demands {
    /// Who may approve, and who could.
    pub approvers: ApproverSet,
    /// Which gateway's signatures count.
    pub instance: Hash,
    /// Persons for what the policy does not give by itself.
    pub loosen: u8,
    /// Since when anything must be approved, in microseconds since 1970; [`i64::MIN`]: always.
    pub since: i64,
}

impl Demands {
    /// Persons whose signature under it counts: with a key that is enrolled, and was not revoked when it was signed; neither for whom it is nor who asked.
    pub fn signers<'d>(&'d self, power: &Power) -> BTreeSet<&'d str> {
        let [holder, asker] = power.interested(&self.approvers);
        let mut found = BTreeSet::new();
        for word in power.words.iter().filter(|word| word.decision == Decision::Approve) {
            let Some(approver) = self.owner_at(&word.key, word.signed) else { continue };
            let person = Names::of([approver.person.as_str()], &self.approvers);
            if !person.may_be(&holder) && !person.may_be(&asker) && word.is_valid(self.instance, power.hash) {
                found.insert(approver.person.as_str());
            }
        }
        found
    }

    /// Whose key it was that broke glass, when that was signed; `None`: nobody's, or it was not broken by a key.
    pub fn breaker<'d>(&'d self, power: &Power) -> Option<&'d Approver> {
        let statement = power.statement.as_ref()?;
        self.owner_at(&statement.key, statement.signed)
    }

    /// Persons whose signature under it counted at some time: with a key that is enrolled, revoked or not, by the names that nobody adds later. That is more
    /// than [`Self::signers`], and no store has it without their keys.
    fn ever_signers(&self, power: &Power) -> BTreeSet<&str> {
        let [holder, asker] = power.interested(&ApproverSet::default());
        let mut found = BTreeSet::new();
        for word in power.words.iter().filter(|word| word.decision == Decision::Approve) {
            let Some(approver) = self.approvers.approvers.iter().find(|approver| has_key(approver, &word.key)) else {
                continue;
            };
            let person = Names::of([approver.person.as_str()], &ApproverSet::default());
            if !person.may_be(&holder) && !person.may_be(&asker) && word.is_valid(self.instance, power.hash) {
                found.insert(approver.person.as_str());
            }
        }
        found
    }

    /// Whose key it was at that time, in microseconds since 1970.
    pub(super) fn owner_at(&self, public: &PublicKey, signed: i64) -> Option<&Approver> {
        self.approvers.approvers.iter().find(|approver| {
            let held = approver.keys.iter().find(|key| key.public == *public);
            held.is_some_and(|key| key.added <= signed && key.revoked.is_none_or(|revoked| signed < revoked))
        })
    }

    /// Whether so many persons have signed it, and as many as it says.
    fn is_signed(&self, power: &Power, needed: u8) -> Result<(), Unvouched> {
        let (signed, said) = (self.signers(power).len(), usize::from(power.asked.approvals));
        if said == 0 && needed > 0 {
            return Err(if power.at < self.since { Unvouched::Before } else { Unvouched::Unsigned });
        }
        if signed < said {
            let ever = self.ever_signers(power).len();
            return Err(if ever < said { Unvouched::Unsigned } else { Unvouched::CountsNoMore });
        }
        if signed < usize::from(needed) { Err(Unvouched::TooFew) } else { Ok(()) }
    }
}

/// Whether it ever was the key of this person.
fn has_key(approver: &Approver, public: &PublicKey) -> bool {
    approver.keys.iter().any(|key| key.public == *public)
}

impl PowerBook {
    /// Holds what began to whoever had to approve it. `policy`: persons whom the policy demands for it, where it is the policy that gives it.
    ///
    /// # Errors
    /// Why it gives nothing.
    pub fn held_to(&self, demands: &Demands, power: &Power, policy: u8) -> Result<(), Unvouched> {
        match power.asked.kind {
            PowerKind::Activation => demands.is_signed(power, policy),
            PowerKind::Loan | PowerKind::Seal => demands.is_signed(power, demands.loosen),
            PowerKind::BreakGlass if power.statement.is_some() => self.is_stated(demands, power),
            PowerKind::BreakGlass => {
                let seal = self.seal_of(power).ok_or(Unvouched::NoSeal)?;
                demands.is_signed(seal, demands.loosen)
            }
            // It gives nothing.
            PowerKind::Request => Ok(()),
        }
    }

    /// Whether it was broken by what its principal has signed for just this, with a key that was enrolled then, and by nothing that broke anything else.
    fn is_stated(&self, demands: &Demands, power: &Power) -> Result<(), Unvouched> {
        let holds = power.statement.as_ref().is_some_and(|statement| {
            let hash = statement.hash();
            let is_again =
                |other: &Power| other.n < power.n && other.statement.as_ref().is_some_and(|used| used.hash() == hash);
            statement.is_valid()
                && !demands.instance.is_none()
                && statement.breaking.instance == demands.instance
                && statement.wants(&power.asked)
                && statement.is_short()
                && power.at < statement.until
                && statement.signed <= power.at.saturating_add(SKEW)
                && demands.breaker(power).is_some_and(|approver| statement.is_of(approver))
                && !self.powers.values().any(is_again)
        });
        if holds { Ok(()) } else { Err(Unvouched::NotStated) }
    }

    /// The sealed code that was opened for it.
    pub(super) fn seal_of(&self, power: &Power) -> Option<&Power> {
        let opened = format!("{OPENED}{}", power.n);
        let is_it = |seal: &&Power| {
            let ended = matches!(&seal.state, PowerState::Ended { reason, .. } if *reason == opened);
            ended && seal.asked.kind == PowerKind::Seal && seal.asked.principal == power.asked.principal
        };
        self.powers.values().find(is_it)
    }

    /// The first that holds a signature which is none under it: no gateway took it.
    pub fn first_false_signature(&self, instance: Hash) -> Option<&Power> {
        let is_false = |power: &&Power| {
            let stated = power.statement.as_ref();
            power.words.iter().any(|word| !word.is_valid(instance, power.hash))
                || stated.is_some_and(|statement| !statement.is_valid() || statement.breaking.instance != instance)
        };
        self.powers.values().find(is_false)
    }
}
