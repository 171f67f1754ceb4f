//! Asking for power, and ending it.

use jiff::Timestamp;

use crate::approver::ApproverSet;
use crate::hash::Hash;
use crate::power::book::{PowerBook, PowerError, began, micros, refused};
use crate::power::entry::{Act, Asked, MAX_REASON, MAX_TICKET, PowerKind, text_problem};
use crate::power::extending::{EXTENDED, is_extended};
use crate::power::persons::{Names, names_of_principal};
use crate::power::room::Asker;
use crate::power::state::{GRANTED, Power, PowerState, standing};
use crate::power::vouched::{OPENED, Unvouched};

/// The longest time for which any power is given, in seconds.
const LONGEST_S: u64 = 366 * 86_400;

impl PowerBook {
    /// Asks for power. Where nobody must approve it is in force when this returns.
    ///
    /// # Errors
    /// A text that is none, no room, or it is not written.
    pub fn ask(&mut self, asked: Asked, by: &[String], now: Timestamp) -> Result<Power, PowerError> {
        self.ask_as(Asker::Operator, asked, by, now)
    }

    /// The same by the very principal: all who ask by themselves have a share of what there may be, so that they keep no operator from anything.
    ///
    /// # Errors
    /// As of [`Self::ask`].
    pub fn ask_by_itself(&mut self, asked: Asked, by: &[String], now: Timestamp) -> Result<Power, PowerError> {
        self.ask_as(Asker::Itself, asked, by, now)
    }

    fn ask_as(&mut self, asker: Asker, asked: Asked, by: &[String], now: Timestamp) -> Result<Power, PowerError> {
        self.check(&asked, asker, now)?;
        self.make_room(now)?;
        let of = self.last.0.saturating_add(1);
        // A request waits for somebody who grants it, however few must approve.
        let begins = asked.approvals == 0 && asked.kind != PowerKind::Request;
        let begins = if begins { self.begins(of, &asked, now) } else { Vec::new() };
        self.append(std::iter::once(Act::Asked(asked)).chain(begins).collect(), by, now)?;
        Ok(self.power(of)?.clone())
    }

    /// Has a code lie sealed. Where nobody has to approve it, whoever it is for cannot have it made: a loan to oneself is refused, too.
    ///
    /// # Errors
    /// As of [`Self::ask`].
    pub fn seal(
        &mut self,
        asked: Asked,
        by: &[String],
        approvers: &ApproverSet,
        now: Timestamp,
    ) -> Result<Power, PowerError> {
        let person = Names::of(by.iter().map(String::as_str), approvers);
        let holder = Names::of(names_of_principal(&asked.principal), approvers);
        if asked.approvals == 0 && person.may_be(&holder) {
            return refused(format!(
                "the code is for {}, who cannot have it sealed under any name where nobody approves it: somebody else does",
                asked.principal
            ));
        }
        self.ask(asked, by, now)
    }

    /// Breaks a seal: its code is good once, for the principal that it was made for, and power begins at once, however much there is already.
    ///
    /// # Errors
    /// A code that opens nothing, or it is not written.
    pub fn break_seal(&mut self, code: Hash, asked: Asked, by: &[String], now: Timestamp) -> Result<Power, PowerError> {
        self.tell_time(now)?;
        let opens = |power: &&Power| {
            power.asked.kind == PowerKind::Seal && power.is_in_force(now) && power.asked.gives == code.to_string()
        };
        // Who tries a code of somebody else learns no more than who tries one that is none.
        let seal = self.powers.values().find(opens).filter(|seal| seal.asked.principal == asked.principal);
        let Some(seal) = seal.map(|seal| seal.n) else { return Err(PowerError::WrongCode) };
        self.check(&asked, Asker::Emergency, now)?;
        match self.make_room(now) {
            // There are no more of these than seals.
            Ok(()) | Err(PowerError::Full(_)) => {}
            Err(error) => return Err(error),
        }
        let of = self.last.0.saturating_add(2);
        let used = Act::Ended { of: seal, reason: format!("{OPENED}{of}") };
        let begins = began(of, &asked, now);
        self.append(vec![used, Act::Asked(asked), begins], by, now)?;
        Ok(self.power(of)?.clone())
    }

    /// Grants a request: a loan takes its place, which may wait for approvals. Whoever it is for cannot grant it.
    ///
    /// # Errors
    /// It does not wait, no room, or it is not written.
    pub fn grant(
        &mut self,
        request: u64,
        loan: Asked,
        by: &[String],
        approvers: &ApproverSet,
        now: Timestamp,
    ) -> Result<Power, PowerError> {
        self.tell_time(now)?;
        let power = self.power(request)?;
        let waits = matches!(power.state, PowerState::Waiting { .. });
        if power.asked.kind != PowerKind::Request || !waits {
            return refused(format!("{request} is no request that waits: it {}", standing(&power.state)));
        }
        let person = Names::of(by.iter().map(String::as_str), approvers);
        let [holder, _] = power.interested(approvers);
        if person.may_be(&holder) || power.asked.principal != loan.principal {
            return refused(format!("{request} is for {}, who cannot grant it under any name", power.asked.principal));
        }
        self.check(&loan, Asker::Operator, now)?;
        self.make_room(now)?;
        let of = self.last.0.saturating_add(2);
        let granted = Act::Rejected { of: request, reason: format!("{GRANTED}{of}") };
        let begins = (loan.approvals == 0).then(|| began(of, &loan, now));
        self.append([granted, Act::Asked(loan)].into_iter().chain(begins).collect(), by, now)?;
        Ok(self.power(of)?.clone())
    }

    /// Whether somebody may have this.
    pub(super) fn check(&mut self, asked: &Asked, asker: Asker, now: Timestamp) -> Result<(), PowerError> {
        for (what, text, most) in [("the reason", &asked.reason, MAX_REASON), ("the ticket", &asked.ticket, MAX_TICKET)]
        {
            if let Some(problem) = text_problem(text, most) {
                return refused(format!("{what} is {problem}"));
            }
        }
        if asked.lasts_s == 0 || asked.lasts_s > LONGEST_S {
            return refused("power is given for a second to a year");
        }
        self.tell_time(now)?;
        self.check_room(asked, asker, now)?;
        let until = now.as_microsecond().saturating_add(micros(asked.lasts_s));
        let same = |power: &&Power| {
            power.asked.principal == asked.principal
                && power.asked.gives == asked.gives
                && match (asker, &power.state) {
                    // Nobody keeps anybody from the emergency way by what waits or is about to end: only the same, for at least as long, makes one more of it needless.
                    (Asker::Emergency, PowerState::InForce { until: ends, .. }) => {
                        power.asked.kind == PowerKind::BreakGlass && *ends >= until
                    }
                    (Asker::Emergency, _) => false,
                    (Asker::Itself | Asker::Operator, _) => {
                        power.asked.kind.gives_access() == asked.kind.gives_access()
                    }
                }
        };
        // What takes the place of another one is no second one.
        let stands = |power: &&Power| power.state.is_open() && !is_extended(power, asked, now);
        match self.powers.values().filter(stands).find(same) {
            Some(power) => {
                refused(format!("{} of {} is the same, and {}", power.n, asked.principal, standing(&power.state)))
            }
            None => Ok(()),
        }
    }

    /// Refuses what waits.
    ///
    /// # Errors
    /// It does not wait, or it is not written.
    pub fn reject(&mut self, of: u64, reason: &str, by: &[String], now: Timestamp) -> Result<Power, PowerError> {
        self.tell_time(now)?;
        let reason = given_reason(reason)?;
        let state = &self.power(of)?.state;
        let PowerState::Waiting { .. } = state else {
            return refused(format!("{of} {}: there is nothing to reject", standing(state)));
        };
        self.append(vec![Act::Rejected { of, reason }], by, now)?;
        Ok(self.power(of)?.clone())
    }

    /// Ends what is in force.
    ///
    /// # Errors
    /// It is not in force, or it is not written.
    pub fn end(&mut self, of: u64, reason: &str, by: &[String], now: Timestamp) -> Result<Power, PowerError> {
        self.tell_time(now)?;
        let reason = given_reason(reason)?;
        let state = &self.power(of)?.state;
        let PowerState::InForce { .. } = state else {
            return refused(format!("{of} {}: there is nothing to end", standing(state)));
        };
        self.append(vec![Act::Ended { of, reason }], by, now)?;
        Ok(self.power(of)?.clone())
    }

    /// Ends what is in force and nobody can have approved as it had to be: no gateway wrote that it began. It is known of it from then on, by no text.
    ///
    /// # Errors
    /// It is not in force, or it is not written.
    pub fn end_unvouched(&mut self, of: u64, why: Unvouched, now: Timestamp) -> Result<Power, PowerError> {
        self.tell_time(now)?;
        let state = &self.power(of)?.state;
        let PowerState::InForce { .. } = state else {
            return refused(format!("{of} {}: there is nothing to end", standing(state)));
        };
        self.append(vec![Act::Unvouched { of, reason: why.to_string() }], &[], now)?;
        Ok(self.power(of)?.clone())
    }

    /// Ends all that is in force and rejects all that waits: of a log that may be older than what happened.
    ///
    /// # Errors
    /// It is not written.
    pub fn end_all(&mut self, reason: &str, by: &[String], now: Timestamp) -> Result<usize, PowerError> {
        self.tell_time(now)?;
        let reason = given_reason(reason)?;
        let open: Vec<(u64, bool)> = self
            .powers
            .values()
            .filter(|power| power.state.is_open())
            .map(|power| (power.n, matches!(power.state, PowerState::InForce { .. })))
            .collect();
        let act = |(of, is_in_force): &(u64, bool)| {
            let (of, reason) = (*of, reason.clone());
            if *is_in_force { Act::Ended { of, reason } } else { Act::Rejected { of, reason } }
        };
        self.append(open.iter().map(act).collect(), by, now)?;
        Ok(open.len())
    }
}

/// A reason that somebody gives. None of it says what the log itself says by a reason: that other power took the place of this.
fn given_reason(text: &str) -> Result<String, PowerError> {
    let text = text.trim();
    // Nobody who reads the log looks at its capitals.
    let begins = |prefix: &str| text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    match text_problem(text, MAX_REASON) {
        Some(problem) => refused(format!("the reason is {problem}")),
        None if text.is_empty() => refused("say why: a reason is missing"),
        None => match [EXTENDED, GRANTED, OPENED].into_iter().find(|prefix| begins(prefix)) {
            Some(prefix) => refused(format!(
                "a reason does not begin with `{}`: the log says so itself of what other power took the place of; say it in other words",
                prefix.trim_end()
            )),
            None => Ok(text.to_owned()),
        },
    }
}
