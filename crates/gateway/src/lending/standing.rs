//! What the log says, held against the clocks and the policy, and put in force: the table that requests are decided by follows the log, never the other way.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use portcullis_events::EventKind;
use portcullis_governance::Hash;
use portcullis_governance::power::{Asked, Power, PowerBook, PowerError, PowerState};
use portcullis_policy::{Activation, ActivationRules, Lent, Policy};
use portcullis_proxy::lending::LentTo;

use super::breaking::Wrong;
use super::holding::Holding;
use super::{Lender, principal, shown};

/// How often the time of day is noted while anything is in force or waits.
const NOTE: SignedDuration = SignedDuration::from_secs(60);
/// How long a refusal says that something has ended.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);
/// Two clocks that are read one after the other differ by less.
const JITTER: SignedDuration = SignedDuration::from_secs(1);

/// The log, and how far it is in force.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) book: PowerBook,
    /// When each ends by the clock that nobody sets. It only ever becomes earlier.
    deadlines: HashMap<u64, Timestamp>,
    /// The last entry that what is in force was made of. It stays behind where something fails in between, until it is made anew.
    published: Hash,
    /// What gives something by the table that was made then.
    in_force: HashSet<u64>,
    /// Nothing is in force for which the policy demands more by now.
    pub(super) is_held: bool,
    /// When the time of day was last noted, by the clock that nobody sets.
    noted: Timestamp,
    pub(super) wrong: Wrong,
    /// What was last said to be wrong with the log.
    pub(super) alarmed: Option<String>,
}

impl Kept {
    pub(super) fn of(book: PowerBook, steady: Timestamp) -> Self {
        Self {
            book,
            deadlines: HashMap::new(),
            published: Hash::NONE,
            in_force: HashSet::new(),
            is_held: false,
            noted: steady,
            wrong: Wrong::default(),
            alarmed: None,
        }
    }

    /// How much gives something by the table.
    #[cfg(test)]
    pub(super) fn in_force(&self) -> usize {
        self.in_force.len()
    }

    /// When it ends, by the clock that nobody sets.
    #[cfg(test)]
    pub(super) fn deadline(&self, n: u64) -> Option<Timestamp> {
        self.deadlines.get(&n).copied()
    }

    /// Whether its time is over, by whichever clock.
    fn is_over(&self, n: u64, now: Timestamp, steady: Timestamp) -> bool {
        let by_time_of_day = || !self.book.power(n).is_ok_and(|power| power.is_in_force(now));
        self.deadlines.get(&n).is_some_and(|deadline| *deadline <= steady) || by_time_of_day()
    }
}

/// Whether an activation that somebody asked for could be asked for under these rules.
pub(super) fn is_within(asked: &Asked, rules: &ActivationRules) -> bool {
    // Exhaustive on purpose: a new rule must be given its place here.
    let ActivationRules { max_s, justification_required, ticket_required, approvals, by_oneself: _ } = *rules;
    asked.lasts_s <= max_s
        && asked.approvals >= approvals
        && !(justification_required && asked.reason.is_empty())
        && !(ticket_required && asked.ticket.is_empty())
}

impl Lender {
    /// Ends what is over, hears what another process did, and notes the time of day. `false`: nothing is kept.
    pub(super) fn look(&self, clock: impl FnOnce() -> Timestamp) -> Result<bool, PowerError> {
        let mut guard = self.kept();
        let Some(kept) = guard.as_mut() else { return Ok(false) };
        self.begin(kept, clock)?;
        let steady = self.shared.clock.now();
        if steady.duration_since(kept.noted) >= NOTE {
            if kept.book.is_anything_open() {
                kept.book.note_seen()?;
            }
            kept.noted = steady;
        }
        Ok(true)
    }

    /// Takes in what another process wrote, and ends what is over. Whatever fails, what is in force is what the log and the clocks say.
    ///
    /// The clock is read here, under the lock and behind what others wrote: a time that was read before somebody waited for the lock would look like
    /// a clock that was set back.
    pub(super) fn begin(&self, kept: &mut Kept, clock: impl FnOnce() -> Timestamp) -> Result<Timestamp, PowerError> {
        let before = kept.book.head().1;
        let heard = kept.book.catch_up();
        self.say_broken(kept, &heard);
        self.say_unknown(kept);
        // Another process may have another policy.
        kept.is_held &= kept.book.head().1 == before;
        let (now, steady) = (clock(), self.shared.clock.now());
        let over: Vec<u64> =
            kept.deadlines.iter().filter(|(_, deadline)| **deadline <= steady).map(|(n, _)| *n).collect();
        let done = heard.and_then(|()| kept.book.run_out(&over, now)).and_then(|()| self.hold(kept, now));
        self.settle(kept, now);
        done.map(|()| now)
    }

    /// Puts in force what the log says, where that is something else than is in force, and tells of what has ended.
    pub(super) fn settle(&self, kept: &mut Kept, now: Timestamp) {
        let steady = self.shared.clock.now();
        let is_behind = kept.published != kept.book.head().1;
        if is_behind || kept.in_force.iter().any(|n| kept.is_over(*n, now, steady)) {
            self.publish(kept, now);
        }
        for power in kept.book.take_over() {
            self.tell(EventKind::GrantEnded, &power);
        }
    }

    /// Puts in force what the log says. What is over by a clock gives nothing, whether the log has its end by then or not.
    pub(super) fn publish(&self, kept: &mut Kept, now: Timestamp) {
        let (policy, steady) = (self.policy(), self.shared.clock.now());
        let (demands, rules) = (self.demands(), self.break_glass.load_full());
        let holding = Holding { policy: &policy, demands: demands.as_deref(), break_glass: rules.as_ref().as_ref() };
        let (mut in_force, mut ended) = (Vec::new(), Vec::new());
        let mut deadlines = HashMap::new();
        let mut given = HashSet::new();
        for power in kept.book.powers().filter(|power| power.asked.kind.gives_access()) {
            match power.state {
                PowerState::InForce { began, until } => {
                    let Ok(until) = holding.until(&kept.book, power, began, until) else { continue };
                    let left = SignedDuration::from_micros(until.saturating_sub(now.as_microsecond()));
                    let deadline = steady.saturating_add(left).unwrap_or(steady);
                    let before = kept.deadlines.get(&power.n).copied();
                    let deadline = before.filter(|before| before.duration_since(deadline) < JITTER).unwrap_or(deadline);
                    deadlines.insert(power.n, deadline);
                    if deadline <= steady || until <= now.as_microsecond() {
                        ended.extend(lent(&policy, power, until.min(now.as_microsecond()), Timestamp::MIN));
                    } else {
                        given.insert(power.n);
                        in_force.extend(lent(&policy, power, until, deadline));
                    }
                }
                // Nobody gave it, so that nobody can be surprised that it is gone.
                PowerState::Ended { is_unvouched: true, .. } => {}
                PowerState::Ended { ended: at, .. } => {
                    let age = SignedDuration::from_micros(now.as_microsecond().saturating_sub(at));
                    if age <= REMEMBERED {
                        ended.extend(lent(&policy, power, at, Timestamp::MIN));
                    }
                }
                PowerState::Waiting { .. } | PowerState::Rejected { .. } | PowerState::Lapsed => {}
            }
        }
        (kept.deadlines, kept.in_force, kept.published) = (deadlines, given, kept.book.head().1);
        self.shared.lending.replace(in_force, ended);
    }
}

/// It as requests see it: of a principal under its id as it is compared, however whoever gave it spelled that.
fn lent(policy: &Policy, power: &Power, until: i64, deadline: Timestamp) -> Option<LentTo> {
    let (kind, id) = principal(&power.asked.principal)?;
    let id = policy.spelling().id(kind, id);
    let until = Timestamp::from_microsecond(until).ok()?;
    let activation = Activation { gives: Lent::parse(&power.asked.gives), until, note: shown::note(power).into() };
    Some(LentTo { kind, id: id.into(), activation, deadline })
}
