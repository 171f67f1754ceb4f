//! Breaking glass by a key: whoever may, says so in a signed statement, and has power at once.

use jiff::Timestamp;

use crate::approver::ApproverSet;
use crate::hash::Hash;
use crate::power::book::{PowerBook, PowerError, began, refused};
use crate::power::entry::{Act, Asked, PowerKind};
use crate::power::room::Asker;
use crate::power::state::Power;
use crate::power::statement::Statement;
use crate::power::voices::SKEW;

/// Broken by the key of one person and not reviewed yet, at most: each stays in the log until it is.
pub const UNREVIEWED: usize = 16;

/// The longest principal, and the longest list of what is given, in bytes: both stay in the log and in memory.
const MOST_BYTES: usize = 4 << 10;

/// Who may break glass by a key, and where.
#[derive(Debug, Clone, Copy)]
pub struct KeyTerms<'t> {
    /// The gateway.
    pub instance: Hash,
    /// Whose keys are enrolled.
    pub approvers: &'t ApproverSet,
    /// Those of them who may, by the policy.
    pub signers: &'t [String],
    /// How long anything waits, in seconds: a value of each entry.
    pub waits_s: u64,
}

impl PowerBook {
    /// Breaks glass by what a person has signed: power begins at once, for nobody but the signer. What it gives was held to the policy before.
    ///
    /// # Errors
    /// Why the statement does not hold, or it is not written.
    pub fn break_by_key(
        &mut self,
        statement: &Statement,
        terms: KeyTerms<'_>,
        by: &[String],
        now: Timestamp,
    ) -> Result<Power, PowerError> {
        self.tell_time(now)?;
        self.check_statement(statement, terms, now)?;
        let breaking = &statement.breaking;
        if breaking.reason.trim().is_empty() {
            return refused("the statement does not say why");
        }
        let asked = Asked {
            kind: PowerKind::BreakGlass,
            principal: breaking.principal.clone(),
            gives: breaking.gives.clone(),
            lasts_s: breaking.lasts_s,
            reason: breaking.reason.clone(),
            ticket: breaking.ticket.clone(),
            approvals: 0,
            waits_s: terms.waits_s,
        };
        self.check(&asked, Asker::Emergency, now)?;
        match self.make_room(now) {
            // There are so many of these that are not reviewed, and no more.
            Ok(()) | Err(PowerError::Full(_)) => {}
            Err(error) => return Err(error),
        }
        let of = self.last.0.saturating_add(1);
        let begins = began(of, &asked, now);
        let signed = Act::Signed { of, statement: Box::new(statement.clone()) };
        self.append(vec![Act::Asked(asked), signed, begins], by, now)?;
        Ok(self.power(of)?.clone())
    }

    fn check_statement(&self, statement: &Statement, terms: KeyTerms<'_>, now: Timestamp) -> Result<(), PowerError> {
        let breaking = &statement.breaking;
        let Some((approver, key)) = terms.approvers.owner(&statement.key) else {
            return refused(format!("the key {} is nobody's who is enrolled, or is revoked", statement.key.id()));
        };
        if !statement.is_valid() {
            return refused("the signature is not one under this statement");
        }
        if terms.instance.is_none() || breaking.instance != terms.instance {
            return refused("the statement is for another gateway");
        }
        if !terms.signers.contains(&approver.person) {
            return refused(format!(
                "`[break_glass] signers` of the policy does not name {}, whose key it is",
                approver.person
            ));
        }
        if !statement.is_of(approver) {
            return refused(format!(
                "{} is not {}: by a key one breaks glass for oneself alone",
                approver.person, breaking.principal
            ));
        }
        if breaking.principal.len().max(breaking.gives.len()) > MOST_BYTES {
            return refused(format!("its principal, or its role and routes, is longer than {MOST_BYTES} bytes"));
        }
        let at = now.as_microsecond();
        let ahead = at.saturating_add(SKEW);
        if statement.signed < key.added || statement.signed > ahead {
            return refused("it was signed before the key was enrolled, or lies ahead: look at the clocks");
        }
        if !statement.is_short() {
            return refused("it is good for longer than a statement may be");
        }
        if statement.until <= at {
            return refused("its time to be used is over: sign another one");
        }
        let hash = statement.hash();
        if self.powers.values().any(|power| power.statement.as_ref().is_some_and(|used| used.hash() == hash)) {
            return refused("it was used already: a statement is good once");
        }
        // By the person, whatever name of theirs it is for: one who has many breaks no more glass than one who has none.
        let is_theirs = |used: &Statement| {
            terms.approvers.owner(&used.key).is_some_and(|(owner, _)| owner.person == approver.person)
        };
        let open = self.powers.values().filter(|power| {
            let by_them = power.statement.as_deref().map(is_theirs);
            power.is_unreviewed()
                && by_them.is_some_and(|by_them| by_them || power.asked.principal == breaking.principal)
        });
        if open.count() >= UNREVIEWED {
            return refused(format!(
                "{UNREVIEWED} that {} broke by a key are not reviewed: have them reviewed first",
                approver.person
            ));
        }
        Ok(())
    }
}
