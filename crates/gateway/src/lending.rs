//! Power for a time, in a running gateway: asked for, approved, written down, then in force, and ended by whichever clock comes first.
//!
//! The log is `governance`'s and lies in the store; what requests see is `proxy`'s table. This is where the two meet (`standing`): each change goes into
//! the log first. A look each second ends what is over, hears what another process of a takeover did, and notes the time of day.

mod breaking;
pub(crate) mod ending;
mod holding;
pub(crate) mod offline;
pub(crate) mod own;
mod requesting;
mod shown;
mod standing;
pub(crate) mod taking;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use portcullis_admin::access::{Access, Activation as Wanted, Answer};
use portcullis_events::EventKind;
use portcullis_events::event::Identity;
use portcullis_governance::power::{
    Asked, BreakGlassRules, Limits, Power, PowerBook, PowerError, PowerKind, PowerState, Word,
};
use portcullis_governance::{ApproverSet, Decision, Hash, LedgerError};
use portcullis_policy::{Policy, Principal, PrincipalKind};
use portcullis_proxy::Shared;
use portcullis_store::{PowerLog, Settings, UsedBook};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::governing::{Governing, Who};
use standing::Kept;

/// Who has what for a time, and where that is written down.
#[derive(Debug)]
pub(crate) struct Lender {
    /// `None`: there is no store, or the process ends.
    kept: Mutex<Option<Kept>>,
    /// What confirmed an activation and is good once; `None`: there is no store.
    used: Option<UsedBook>,
    shared: Arc<Shared>,
    governing: Option<Arc<Governing>>,
    /// What breaking a seal gives.
    break_glass: ArcSwap<Option<BreakGlassRules>>,
}

/// How often it is looked what is over.
const LOOK: Duration = Duration::from_secs(1);
/// Eligible assignments that are listed.
const MOST_ELIGIBLE: usize = 1_000;

impl Lender {
    /// Takes up what the store has in force.
    ///
    /// # Errors
    /// A log that cannot be read, or is not what it was.
    pub(crate) fn open(
        store: Option<&Settings>,
        (limits, break_glass): (Limits, Option<BreakGlassRules>),
        shared: &Arc<Shared>,
        governing: Option<Arc<Governing>>,
    ) -> Result<Self, PowerError> {
        let now = Timestamp::now();
        let open = |store: &Settings| {
            let mut log = PowerLog::open(store).map_err(|error| LedgerError::Failed(error.to_string()))?;
            // Where nothing has to be approved a store may be moved away and put back; where something has, it is what it was.
            let is_required = governing.as_ref().is_some_and(|governing| governing.is_required());
            if log.take_as_it_is(is_required)? {
                tracing::warn!("the log of temporary power is another one than before: it is taken as it is");
            }
            let book = PowerBook::open(Box::new(log), limits, now)?;
            Ok::<_, PowerError>(Kept::of(book, shared.clock.now()))
        };
        let kept = store.map(open).transpose()?;
        let lender = Self {
            kept: Mutex::new(kept),
            used: store.map(UsedBook::of),
            shared: Arc::clone(shared),
            governing,
            break_glass: ArcSwap::from_pointee(break_glass),
        };
        if let Some(store) = store {
            lender.tell_taken(store);
        }
        if let Some(kept) = lender.kept().as_mut() {
            lender.say_unknown(kept);
            lender.publish(kept, now);
            // What ended while nobody ran is told as well.
            lender.settle(kept, now);
            let count = kept.book.powers().filter(|power| power.is_in_force(now)).count();
            if count > 0 {
                tracing::info!(count, "power that was given for a time before is in force");
            }
        }
        Ok(lender)
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes other limits, and what breaking a seal gives from now on.
    pub(crate) fn configure(&self, limits: Limits, break_glass: Option<BreakGlassRules>) {
        self.break_glass.store(Arc::new(break_glass));
        if let Some(kept) = self.kept().as_mut() {
            kept.book.limit(limits);
            // The policy may be another one.
            kept.is_held = false;
            let now = Timestamp::now();
            self.publish(kept, now);
            self.settle(kept, now);
        }
    }

    /// Looks each second what is over, as long as the process lives.
    pub(crate) async fn follow(lender: Arc<Self>) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tick.tick().await;
            let looking = Arc::clone(&lender);
            let looked = tokio::task::spawn_blocking(move || looking.look(Timestamp::now)).await;
            let error = match looked {
                Ok(Ok(true)) => None,
                Ok(Ok(false)) => return,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(error) = error.as_ref().filter(|_| !failing) {
                tracing::error!(%error, "that temporary power has ended cannot be written down: it has ended all the same");
            }
            failing = error.is_some();
        }
    }

    /// No more is looked at: the process ends, and whoever closes the store last has it stand alone.
    pub(crate) fn shutdown(&self) {
        *self.kept() = None;
    }

    /// Does what is wanted, at the time that the clock shows when it is its turn.
    ///
    /// # Errors
    /// Why it is not done, in a sentence.
    pub(crate) fn perform(
        &self,
        wanted: &Access,
        who: &Who,
        clock: impl FnOnce() -> Timestamp,
    ) -> Result<Answer, String> {
        let mut guard = self.kept();
        let Some(kept) = guard.as_mut() else {
            return Err("temporary power is kept in the store, and there is none: add `[store]`".to_owned());
        };
        // What is over has ended before anything else happens.
        let now = self.begin(kept, clock).map_err(said)?;
        let answer = self.act(kept, wanted, who, now);
        self.settle(kept, now);
        answer.map(|mut answer| {
            self.say_what_opens(&mut answer);
            answer
        })
    }

    fn act(&self, kept: &mut Kept, wanted: &Access, who: &Who, now: Timestamp) -> Result<Answer, String> {
        match wanted {
            Access::List { all } => Ok(self.list(kept, *all, now)),
            Access::Show { id } => {
                let power = kept.book.power(*id).map_err(said)?;
                let instance = self.approvers().1;
                let mut answer = shown::answer(format!("{id} of {}", power.asked.principal), [power]);
                answer.suggested = self.suggested(power);
                answer.instance = (!instance.is_none()).then(|| instance.to_string());
                Ok(answer)
            }
            Access::Verify => {
                self.verify(&kept.book)?;
                let (entries, head) = kept.book.head();
                let message = format!("{entries} entries follow one on the other, up to {head}");
                Ok(Answer { message, ..Answer::default() })
            }
            Access::Activate(wanted) => self.activate(kept, wanted, who, now),
            Access::Approve { id, approval } => self.approve(kept, *id, approval.as_deref(), who, now),
            Access::Reject { id, reason } => {
                let power = kept.book.reject(*id, reason, &who.names, now).map_err(said)?;
                Ok(shown::answer(format!("{}: rejected by {}: {reason}", shown::name(&power), who.first()), [&power]))
            }
            Access::Seal(seal) => self.seal(kept, seal, who, now),
            Access::BreakGlass(wanted) => self.break_glass(kept, wanted, who, now),
            Access::BreakGlassSigned { statement } => self.break_glass_signed(kept, statement, who, now),
            Access::Review { id, remark, approval } => self.review(kept, (*id, remark, approval.as_deref()), who, now),
            Access::Request(wanted) => self.request(kept, wanted, who, now),
            Access::Grant(wanted) => self.grant(kept, wanted, who, now),
            Access::End { id, reason } => {
                let power = kept.book.end(*id, reason, &who.names, now).map_err(said)?;
                self.publish(kept, now);
                self.tell(EventKind::GrantEnded, &power);
                Ok(shown::answer(format!("{}: ended by {}: {reason}", shown::name(&power), who.first()), [&power]))
            }
        }
    }

    /// How many persons must approve what the policy does not give by itself: as many as a change of the policy that loosens it.
    fn loosen(&self) -> u8 {
        self.governing.as_ref().map_or(0, |governing| governing.loosen())
    }

    fn approvers(&self) -> (ApproverSet, Hash) {
        self.governing.as_ref().map_or_else(|| (ApproverSet::default(), Hash::NONE), |governing| governing.approvers())
    }

    fn list(&self, kept: &Kept, all: bool, now: Timestamp) -> Answer {
        let is_open = |power: &&Power| {
            power.is_unreviewed() || matches!(power.state, PowerState::Waiting { .. } | PowerState::InForce { .. })
        };
        let mut answer = shown::answer(String::new(), kept.book.powers().filter(|power| all || is_open(power)));
        let gives = |power: &&Power| power.is_in_force(now) && power.asked.kind.gives_access();
        let in_force = kept.book.powers().filter(gives).count();
        let eligible = self.shared.snapshot().load().policy.all_eligible(MOST_ELIGIBLE);
        answer.message = format!("{in_force} in force, {} eligible", eligible.len());
        answer.eligible = eligible.iter().map(shown::eligible).collect();
        let instance = self.approvers().1;
        answer.instance = (!instance.is_none()).then(|| instance.to_string());
        answer
    }

    fn activate(&self, kept: &mut Kept, wanted: &Wanted, who: &Who, now: Timestamp) -> Result<Answer, String> {
        let policy = self.policy();
        let eligible = policy.eligible(&wanted.assignment).ok_or_else(|| {
            format!(
                "there is no eligible assignment `{}`: see `portcullis access list`",
                wanted.assignment.escape_debug()
            )
        })?;
        let (kind, id) = principal(&wanted.principal).ok_or_else(|| {
            format!(
                "`{}` is no principal: write `user:ID`, `service:ID` or `certificate:SAN`",
                wanted.principal.escape_debug()
            )
        })?;
        let id = policy.spelling().id(kind, id);
        let is_named = policy.names(&wanted.assignment, &Principal::stated(kind, &id));
        let by_group = eligible.principals.iter().any(|name| name.starts_with("group:"));
        if !is_named && !by_group {
            return Err(format!("assignment {} does not name {}", wanted.assignment, wanted.principal));
        }
        let rules = eligible.rules;
        let lasts_s = wanted.for_s.unwrap_or(rules.max_s);
        if lasts_s == 0 || lasts_s > rules.max_s {
            let most = SignedDuration::from_secs(i64::try_from(rules.max_s).unwrap_or(i64::MAX));
            return Err(format!("assignment {} can be activated for a second to {most:#}", wanted.assignment));
        }
        let (reason, ticket) = (wanted.reason.trim(), wanted.ticket.as_deref().unwrap_or_default().trim());
        if rules.justification_required && reason.is_empty() {
            return Err(format!("assignment {} demands a justification: say why, with `--reason`", wanted.assignment));
        }
        if rules.ticket_required && ticket.is_empty() {
            return Err(format!("assignment {} demands a ticket: name it, with `--ticket`", wanted.assignment));
        }
        let asked = Asked {
            kind: PowerKind::Activation,
            principal: format!("{}:{id}", kind.as_str()),
            gives: wanted.assignment.clone(),
            lasts_s,
            reason: reason.to_owned(),
            ticket: ticket.to_owned(),
            approvals: rules.approvals,
            waits_s: kept.book.limits().waits_s,
        };
        let power = kept.book.ask(asked, &who.names, now).map_err(said)?;
        let mut message = self.began_or_waits(kept, &power, now);
        if !is_named {
            message.push_str("; the policy alone does not name them there: it gives something to who brings the group");
        }
        if eligible.shadow {
            message.push_str("; the assignment is in shadow mode, and gives nothing");
        }
        Ok(shown::answer(message, [&power]))
    }

    fn approve(
        &self,
        kept: &mut Kept,
        id: u64,
        approval: Option<&str>,
        who: &Who,
        now: Timestamp,
    ) -> Result<Answer, String> {
        let (approvers, instance) = self.approvers();
        let of_it = kept.book.power(id).map_err(said)?;
        let is_waiting = matches!(of_it.state, PowerState::Waiting { .. });
        // A no is as good as ever.
        let word = approval.and_then(|text| Word::from_armored(text).ok());
        if is_waiting && word.is_none_or(|(_, word)| word.decision == Decision::Approve) {
            self.may_still_begin(of_it)?;
        }
        let power = match approval {
            None => kept.book.approve_as(id, &who.names, who.is_shared, &approvers, now),
            Some(text) => {
                let (of, word) = Word::from_armored(text).map_err(|error| format!("the approval: {error}"))?;
                if of != id {
                    return Err(format!("the approval is of {of}, and not of {id}"));
                }
                kept.book.approve_signed(id, word, instance, &approvers, now)
            }
        }
        .map_err(said)?;
        let message = match power.state {
            PowerState::Rejected { .. } => format!("{}: an approver said no", shown::name(&power)),
            _ => {
                let by = power.approved.last().and_then(|names| names.first()).cloned().unwrap_or_default();
                format!("approved by {by}; {}", self.began_or_waits(kept, &power, now))
            }
        };
        Ok(shown::answer(message, [&power]))
    }

    /// Whether what waits could be asked for today: the policy may demand more by now than it did then.
    fn may_still_begin(&self, power: &Power) -> Result<(), String> {
        if power.asked.kind != PowerKind::Activation {
            return Ok(());
        }
        match self.policy().eligible(&power.asked.gives) {
            Some(eligible) if standing::is_within(&power.asked, &eligible.rules) => Ok(()),
            Some(_) => Err(format!(
                "the policy demands more of {} now than when it was asked for: reject {}, and ask again",
                power.asked.gives, power.n
            )),
            None => Err(format!("the policy has no eligible assignment `{}` any more", power.asked.gives)),
        }
    }

    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.shared.snapshot().load().policy)
    }

    /// Puts in force what has just begun, and says so.
    fn began_or_waits(&self, kept: &mut Kept, power: &Power, now: Timestamp) -> String {
        let name = shown::name(power);
        match power.state {
            PowerState::InForce { until, .. } => {
                self.publish(kept, now);
                let extended = self.tell_extended(kept, power);
                self.tell(EventKind::GrantBegan, power);
                let place = extended.map_or_else(String::new, |n| format!("; it takes the place of {n}"));
                format!("{name} is in force until {}{place}{}", shown::time(until), self.banned(power))
            }
            PowerState::Waiting { until } => {
                let missing = usize::from(power.asked.approvals).saturating_sub(power.approved.len());
                let persons = if missing == 1 { "1 other person has" } else { "other persons have" };
                let count = if missing == 1 { String::new() } else { format!("{missing} ") };
                let (id, banned) = (power.n, self.banned(power));
                let goes_on = kept.book.extended_by(&power.asked, now).first().map_or_else(String::new, |n| {
                    format!("; {n} goes on until its own end, and ends when this begins before that")
                });
                format!(
                    "{name} waits until {}: {count}{persons} to approve it, with `portcullis access approve {id}` (with `--key FILE` where approvers are enrolled){goes_on}{banned}",
                    shown::time(until)
                )
            }
            PowerState::Ended { .. } | PowerState::Rejected { .. } | PowerState::Lapsed => name,
        }
    }

    /// That a ban keeps whose power it is from using it, and what lifts that; empty: none does.
    fn banned(&self, power: &Power) -> String {
        let Some((kind, id)) = principal(&power.asked.principal) else { return String::new() };
        let whose = Principal::stated(kind, &self.policy().spelling().id(kind, id));
        let ban = self.shared.risk.ban_on_principal(&whose, self.shared.clock.now()).filter(|ban| !ban.simulated);
        ban.map_or_else(String::new, |ban| shown::banned(&whose, &ban))
    }

    /// Records what ended since this took its place, before it is recorded that this began; which one that was.
    fn tell_extended(&self, kept: &Kept, power: &Power) -> Option<u64> {
        let mut last = None;
        for before in kept.book.extended_as(power) {
            self.tell(EventKind::GrantEnded, before);
            last = Some(before.n);
        }
        last
    }

    /// Records that power has begun or ended: exactly one event.
    fn tell(&self, kind: EventKind, power: &Power) {
        self.tell_from(kind, power, None);
    }

    /// The same, with where the principal itself asked from.
    fn tell_from(&self, kind: EventKind, power: &Power, asker: Option<&own::Asker>) {
        // A seal that is broken, or too old, gave nobody anything.
        let is_asked = matches!(kind, EventKind::GrantRequested | EventKind::GrantWithdrawn);
        if !power.asked.kind.gives_access() && !is_asked {
            return;
        }
        let mut event = self.shared.event(kind, Timestamp::now());
        event.policy.rule = Some(power.asked.gives.as_str().into());
        if let Some((kind, id)) = principal(&power.asked.principal) {
            event.identity.id = Some(id.to_owned());
            event.identity.kind = Some(kind.as_str());
        }
        if let Some(asker) = asker {
            event.identity = Identity::of(&asker.principal, &[], event.time);
            event.client.ip = asker.client;
            event.request.id = Uuid::parse_str(&asker.request).ok().map(Into::into);
        }
        let message = shown::sentence(power);
        tracing::warn!("{message}");
        event.message = Some(message);
        self.shared.recorder.record(event);
    }
}

fn said(error: PowerError) -> String {
    error.to_string()
}

/// A principal that somebody wrote: one, and no group.
fn principal(text: &str) -> Option<(PrincipalKind, &str)> {
    let (kind, id) = text.split_once(':')?;
    let kinds = [PrincipalKind::User, PrincipalKind::Service, PrincipalKind::Certificate];
    let kind = kinds.into_iter().find(|each| each.as_str() == kind)?;
    let is_name = !id.is_empty() && id.len() <= MAX_ID && !id.chars().any(char::is_control);
    is_name.then_some((kind, id))
}

/// The longest id of a principal, in bytes.
const MAX_ID: usize = 256;
