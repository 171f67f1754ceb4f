//! What of the log is believed. Where approvals are required a row says nothing by itself: what is in force is held to the signatures in it, to the approvers and
//! the rules of now, and to the policy; and what is not is ended, with an alarm where no gateway can have written it.

use std::sync::Arc;

use jiff::Timestamp;
use portcullis_events::EventKind;
use portcullis_governance::power::{
    BreakGlassRules, Demands, Power, PowerBook, PowerError, PowerKind, PowerState, Unvouched,
};
use portcullis_policy::{Lent, Policy};

use super::{Kept, Lender, shown};

/// Why something in the log gives nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotHeld {
    /// More is demanded by now.
    TooFew,
    /// `[break_glass]` does not give it any more.
    NotOpened,
    /// It was rightly approved, and is not any more.
    NoMore(Unvouched),
    /// The gateway cannot have written it.
    Forged(Unvouched),
}

impl NotHeld {
    /// Ends it in the log, where `access verify` finds what was forged.
    fn end(self, book: &mut PowerBook, n: u64, now: Timestamp) -> Result<Power, PowerError> {
        match self {
            Self::TooFew => book.end(n, "the policy demands more approvals of it now", &[], now),
            Self::NotOpened => book.end(n, "`[break_glass]` of the policy does not give it any more", &[], now),
            Self::NoMore(why) => book.end(n, &why.to_string(), &[], now),
            Self::Forged(why) => book.end_unvouched(n, why, now),
        }
    }
}

impl From<Unvouched> for NotHeld {
    fn from(why: Unvouched) -> Self {
        match why {
            Unvouched::TooFew => Self::TooFew,
            Unvouched::CountsNoMore | Unvouched::Before => Self::NoMore(why),
            Unvouched::Unsigned | Unvouched::NoSeal | Unvouched::NotStated => Self::Forged(why),
        }
    }
}

/// What it is held to.
pub(super) struct Holding<'h> {
    pub(super) policy: &'h Policy,
    /// `None`: nobody must sign anything.
    pub(super) demands: Option<&'h Demands>,
    pub(super) break_glass: Option<&'h BreakGlassRules>,
}

impl Holding<'_> {
    /// Until when what is in force gives something by the policy of now: not where it has fewer approvals than are demanded, and no longer than the policy
    /// allows. An assignment that is gone gives nothing whatever the log says.
    pub(super) fn until(&self, book: &PowerBook, power: &Power, began: i64, until: i64) -> Result<i64, NotHeld> {
        let rules = match power.asked.kind {
            PowerKind::Activation => self.policy.eligible(&power.asked.gives).map(|eligible| eligible.rules),
            PowerKind::Seal | PowerKind::BreakGlass | PowerKind::Request | PowerKind::Loan => None,
        };
        if let Some(demands) = self.demands {
            book.held_to(demands, power, rules.map_or(0, |rules| rules.approvals))?;
            let is_named =
                power.statement.is_none() || demands.breaker(power).is_some_and(|person| self.names(&person.person));
            if power.asked.kind == PowerKind::BreakGlass && !(is_named && self.may_be_opened(&power.asked.gives)) {
                return Err(NotHeld::NotOpened);
            }
        }
        let Some(rules) = rules else { return Ok(until) };
        let most = i64::try_from(rules.max_s).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        let has_enough = power.approved.len() >= usize::from(rules.approvals);
        if has_enough { Ok(until.min(began.saturating_add(most))) } else { Err(NotHeld::TooFew) }
    }

    /// Whether the policy lets this person break glass by a key.
    fn names(&self, person: &str) -> bool {
        self.break_glass.is_some_and(|rules| rules.signers.iter().any(|signer| signer == person))
    }

    fn may_be_opened(&self, gives: &str) -> bool {
        let (Some(rules), Lent::Role { role, routes }) = (self.break_glass, Lent::parse(gives)) else { return false };
        let is_within = rules.routes.is_empty()
            || (!routes.is_empty() && routes.iter().all(|route| rules.routes.iter().any(|each| **each == **route)));
        is_within && rules.roles.iter().any(|each| **each == *role)
    }
}

impl Lender {
    /// What has to be signed; `None`: nothing.
    pub(super) fn demands(&self) -> Option<Arc<Demands>> {
        self.governing.as_ref()?.demands()
    }

    /// Ends what may not be in force any more, or never might. It gives nothing already.
    pub(super) fn hold(&self, kept: &mut Kept, now: Timestamp) -> Result<(), PowerError> {
        if kept.is_held {
            return Ok(());
        }
        let (policy, demands, rules) = (self.policy(), self.demands(), self.break_glass.load_full());
        let holding = Holding { policy: &policy, demands: demands.as_deref(), break_glass: rules.as_ref().as_ref() };
        let mut ended = Vec::new();
        for power in kept.book.powers() {
            if let PowerState::InForce { began, until } = power.state
                && let Err(why) = holding.until(&kept.book, power, began, until)
            {
                ended.push((power.n, why));
            }
        }
        for (n, why) in ended {
            let power = why.end(&mut kept.book, n, now)?;
            self.tell(EventKind::GrantEnded, &power);
            if let NotHeld::Forged(why) = why {
                self.alarm(&format!(
                    "{} is in the log of temporary power, and {why}: it gives nothing, and was ended; somebody has written to the store",
                    shown::name(&power)
                ));
            }
        }
        kept.is_held = true;
        Ok(())
    }

    /// Says that the log holds rows which no gateway of this version wrote, and that they were taken since they give nobody anything.
    pub(super) fn say_unknown(&self, kept: &mut Kept) {
        match kept.book.take_unknown() {
            0 => {}
            count => self.alarm(&format!(
                "{count} entries of the log of temporary power, by which some of it ended, are not known to the file beside the store: they were taken; where no earlier version of the program was replaced just now somebody has written to the store"
            )),
        }
    }

    /// Says once that the log is not what it was.
    pub(super) fn say_broken(&self, kept: &mut Kept, heard: &Result<(), PowerError>) {
        let Err(PowerError::Broken { .. }) = heard else { return };
        let message = heard.as_ref().err().map(ToString::to_string).unwrap_or_default();
        if kept.alarmed.as_ref() == Some(&message) {
            return;
        }
        self.alarm(&format!("{message}; what was in force before ends in its time, and nothing else is given"));
        kept.alarmed = Some(message);
    }

    fn alarm(&self, message: &str) {
        let mut event = self.shared.event(EventKind::PolicyTampered, Timestamp::now());
        tracing::error!("{message}");
        event.message = Some(message.to_owned());
        self.shared.recorder.record(event);
    }

    /// What of the log is not what approvers have signed, whatever became of it since.
    ///
    /// # Errors
    /// The first of it.
    pub(super) fn verify(&self, book: &PowerBook) -> Result<(), String> {
        let Some(demands) = self.demands() else { return Ok(()) };
        if let Some(power) = book.first_false_signature(demands.instance) {
            return Err(format!("{} holds an approval that is signed under something else", shown::name(power)));
        }
        let forged = |power: &&Power| match &power.state {
            PowerState::Ended { is_unvouched, .. } => *is_unvouched,
            PowerState::InForce { .. }
            | PowerState::Waiting { .. }
            | PowerState::Rejected { .. }
            | PowerState::Lapsed => false,
        };
        match book.powers().find(forged) {
            Some(power) => Err(format!(
                "{} was in the log without the signatures that it needs, and was ended: somebody has written to the store",
                shown::name(power)
            )),
            None => Ok(()),
        }
    }
}
