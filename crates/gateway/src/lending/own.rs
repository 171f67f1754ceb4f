//! What a principal does about its own power, as the data plane has verified it: asks for access that it was refused, activates what it is eligible for,
//! looks at both, and gives up what it has.
//!
//! Nothing here takes a name from its caller: whose it is, is who asks. Who else had a word in it is not shown.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use portcullis_events::EventKind;
use portcullis_governance::power::{
    Asked, GRANTED, MAX_REASON, MAX_TICKET, Power, PowerError, PowerKind, PowerState, names_of_principal, text_problem,
};
use portcullis_policy::{
    AccessRequest, ActivationRules, Eligible, KeptIdentity, KeptRequest, Policy, Principal, Reason,
};
use portcullis_proxy::requestable::Refused;
use portcullis_store::Used;
use serde_json::{Value, json};
use uuid::Uuid;

use super::requesting::asked_about;
use super::{Kept, Lender, shown};

/// What a principal asks for in an hour, at most: each is in the log, and somebody reads it.
const OF_ONE: usize = 12;
/// The same of all of them, so that many who ask do not have the log forget what was.
const OF_ALL: usize = 600;
const WINDOW: SignedDuration = SignedDuration::from_hours(1);
/// How often it is tried where another process writes at the same moment.
const TRIES: usize = 3;
/// The shortest activation, in seconds.
const SHORTEST_S: u64 = 60;
/// Of each list, the last.
const MOST_SHOWN: usize = 100;

/// Which of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// Requests for access, and what they led to.
    Requests,
    /// Activations of what it is eligible for.
    Activations,
}

impl Section {
    fn has(self, kind: PowerKind) -> bool {
        match kind {
            PowerKind::Request | PowerKind::Loan => self == Self::Requests,
            PowerKind::Activation => self == Self::Activations,
            // Those are for emergencies, and an operator's matter.
            PowerKind::Seal | PowerKind::BreakGlass => false,
        }
    }
}

/// What a principal wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Access that it was refused.
    Access {
        /// The refusal's event.
        event: String,
        /// Why.
        justification: String,
    },
    /// An assignment that it is eligible for.
    Activation {
        /// Its name.
        assignment: String,
        /// In seconds; `None`: as long as may be.
        for_s: Option<u64>,
        /// Why.
        justification: String,
        /// Where more is said; empty: nowhere.
        ticket: String,
    },
}

/// From where a principal asks, for the event.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    /// Who, as the credential has proven it.
    pub(crate) principal: Arc<Principal>,
    /// The client's address, where it is known.
    pub(crate) client: Option<IpAddr>,
    /// The request's id, as the caller sees it.
    pub(crate) request: String,
    /// What decisions about it rest on.
    pub(crate) standing: Option<KeptRequest>,
    /// The policy that decides for it.
    pub(crate) policy: Arc<Policy>,
}

impl Asker {
    /// The same, once its principal has shown more.
    pub(crate) fn raised(self, principal: Arc<Principal>) -> Self {
        let standing = self
            .standing
            .map(|standing| KeptRequest { identity: KeptIdentity::Verified(Arc::clone(&principal)), ..standing });
        Self { principal, standing, ..self }
    }

    /// What keeps it from all that it asks for, whatever it is granted there.
    ///
    /// # Errors
    /// The reason; or that nothing is known of it, so that nobody can say.
    fn is_let_come(&self, held_back: impl FnOnce(&AccessRequest<'_>) -> Option<Reason>) -> Result<(), OwnProblem> {
        let held = self.standing.as_ref().and_then(|standing| standing.under(&self.policy, held_back));
        match held {
            Some(None) => Ok(()),
            Some(Some(Reason::StepUpRequired)) => Err(OwnProblem::StepUp),
            Some(Some(reason)) => Err(OwnProblem::HeldBack(reason)),
            None => Err(OwnProblem::HeldBack(Reason::PolicyUnavailable)),
        }
    }
}

/// What its holder is shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shown {
    /// Its number; 0 of a list.
    pub(crate) id: u64,
    /// It gives something.
    pub(crate) is_in_force: bool,
    /// As JSON.
    pub(crate) body: Value,
}

impl Shown {
    fn list(body: Value) -> Self {
        Self { id: 0, is_in_force: false, body }
    }
}

/// Why it is not done: the texts are for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OwnProblem {
    /// Nothing more can be asked for now, or the process ends; for the operator. It is nobody's own doing.
    Busy(String),
    /// There is no such thing of its own. Whether somebody else has it is not said.
    NotFound(&'static str),
    /// What is said does not suffice.
    Unfit(String),
    /// It is there already.
    Exists(String),
    /// There is too much of it.
    TooMany(String),
    /// It must authenticate with several factors first.
    StepUp,
    /// What it asks for it could use nowhere: the routes that it is for, or the risk, keep it out whatever it has.
    HeldBack(Reason),
    /// Another process was faster: to be tried again.
    Conflict,
    /// It is not written; for the operator.
    Failed(String),
}

impl From<PowerError> for OwnProblem {
    fn from(error: PowerError) -> Self {
        match error {
            PowerError::Refused(why) => Self::Exists(why),
            PowerError::Full(why) => Self::Busy(why),
            PowerError::Conflict => Self::Conflict,
            PowerError::WrongCode | PowerError::Ledger(_) | PowerError::Broken { .. } => {
                Self::Failed(error.to_string())
            }
        }
    }
}

const NO_REFUSAL: &str = "Nothing that you may ask for was refused to you as this event within the last hour.";
const NOT_ELIGIBLE: &str = "You are not eligible for an assignment of this name.";
const NONE_OF_YOURS: &str = "You have none of this number.";

impl Lender {
    /// Uses up what confirms something once, by its hash, so that neither a restart nor the other process of a takeover takes it again. Says whether it was not used before;
    /// after `until` it is good for nothing anyway.
    ///
    /// # Errors
    /// Nobody can say: it cannot be noted.
    pub(crate) fn use_up(&self, hash: [u8; 32], until: Timestamp, now: Timestamp) -> Result<bool, OwnProblem> {
        let used = self.used.as_ref().ok_or_else(ends)?;
        match used.take(hash, until, now).map_err(|error| OwnProblem::Failed(error.to_string()))? {
            Used::First => Ok(true),
            Used::Again => Ok(false),
            Used::Full => Err(OwnProblem::Busy("more logins than can be told apart are used at once".to_owned())),
        }
    }

    /// Begins what a principal wants for itself. It is in force, or waits for others.
    pub(crate) fn begin_own(&self, wanted: &Wanted, from: &Asker) -> Result<Shown, OwnProblem> {
        let whose = from.principal.reference();
        // What is in force is looked up by the name.
        if super::principal(&whose).is_none() {
            return Err(OwnProblem::Unfit("Nothing can be given for a time under a name like yours.".to_owned()));
        }
        let names: Vec<String> = names_of_principal(&whose).into_iter().map(str::to_owned).collect();
        self.with_own(|kept, now| {
            let asked = match wanted {
                Wanted::Access { event, justification } => self.own_request(kept, from, event, justification)?,
                Wanted::Activation { assignment, for_s, justification, ticket } => {
                    let texts = [justification.as_str(), ticket.as_str()];
                    self.own_activation(kept, from, assignment, (*for_s, texts), now)?
                }
            };
            let since = now.checked_sub(WINDOW).unwrap_or(Timestamp::MIN);
            match kept.book.asked_by_themselves(&whose, since) {
                (own, _) if own >= OF_ONE => {
                    return Err(OwnProblem::TooMany(format!("You have asked {OF_ONE} times within the last hour.")));
                }
                (_, all) if all >= OF_ALL => {
                    return Err(OwnProblem::Busy(format!("principals have asked {OF_ALL} times within the last hour")));
                }
                _ if !kept.book.has_room_for(&asked, now) => {
                    let why = "As much as may be is in force or waits for you already: give something up first.";
                    return Err(OwnProblem::TooMany(why.to_owned()));
                }
                _ => {}
            }
            let power = kept.book.ask_by_itself(asked, &names, now)?;
            if let PowerState::InForce { .. } = power.state {
                self.publish(kept, now);
                self.tell_extended(kept, &power);
                self.tell_from(EventKind::GrantBegan, &power, Some(from));
            } else {
                self.tell_from(EventKind::GrantRequested, &power, Some(from));
            }
            Ok(own(&power))
        })
    }

    /// Looks whether an activation could begin, or wait, but for the second factor: before somebody is asked for one.
    pub(crate) fn could_begin_own(&self, wanted: &Wanted, from: &Asker) -> Result<(), OwnProblem> {
        let Wanted::Activation { assignment, for_s, justification, ticket } = wanted else { return Ok(()) };
        self.look_at_own(|kept| {
            let texts = [justification.as_str(), ticket.as_str()];
            match self.own_activation(kept, from, assignment, (*for_s, texts), Timestamp::now()) {
                Ok(_) | Err(OwnProblem::StepUp) => Ok(()),
                Err(problem) => Err(problem),
            }
        })
    }

    fn own_request(&self, kept: &Kept, from: &Asker, event: &str, justification: &str) -> Result<Asked, OwnProblem> {
        let id = event.strip_prefix("urn:uuid:").unwrap_or(event);
        let id: Uuid = id
            .parse()
            .map_err(|_| OwnProblem::Unfit("`event` is a UUID, as `instance` of the refusal has it.".to_owned()))?;
        let refused = self.shared.requestable.find_of(&from.principal.reference(), id, self.shared.clock.now());
        // The policy may be another one than that which refused.
        let policy = &from.policy;
        let route =
            |refused: &Refused| policy.route_named(&refused.route).filter(|route| policy.is_requestable(*route));
        let (refused, route) = refused
            .and_then(|refused| route(&refused).map(|route| (refused, route)))
            .ok_or(OwnProblem::NotFound(NO_REFUSAL))?;
        from.is_let_come(|request| policy.held_back(&AccessRequest { route: Some(route), ..*request }))?;
        let reason = text("justification", justification, MAX_REASON, true)?;
        asked_about(&refused, reason, kept.book.limits().waits_s).map_err(OwnProblem::Unfit)
    }

    fn own_activation(
        &self,
        kept: &Kept,
        from: &Asker,
        assignment: &str,
        (for_s, [justification, ticket]): (Option<u64>, [&str; 2]),
        now: Timestamp,
    ) -> Result<Asked, OwnProblem> {
        let (policy, principal) = (&from.policy, &*from.principal);
        let eligible = self.eligible_of(from, assignment).ok_or(OwnProblem::NotFound(NOT_ELIGIBLE))?;
        if takes_mfa(&eligible) && !policy.is_mfa_fresh(principal, now) {
            return Err(OwnProblem::StepUp);
        }
        // By the routes that it is for, and not by the one where it is asked for: whoever asks picks that.
        from.is_let_come(|request| policy.held_back_from_all_of(assignment, request))?;
        let rules = eligible.rules;
        let lasts_s = for_s.unwrap_or(rules.max_s);
        if lasts_s < SHORTEST_S.min(rules.max_s) || lasts_s > rules.max_s {
            return Err(OwnProblem::Unfit(format!("`for_s` is {SHORTEST_S} to {} here.", rules.max_s)));
        }
        Ok(Asked {
            kind: PowerKind::Activation,
            principal: principal.reference(),
            gives: assignment.to_owned(),
            lasts_s,
            reason: text("justification", justification, MAX_REASON, rules.justification_required)?,
            ticket: text("ticket", ticket, MAX_TICKET, rules.ticket_required)?,
            approvals: rules.approvals,
            waits_s: kept.book.limits().waits_s,
        })
    }

    /// What somebody is eligible for by the policy that decides for it. Where that is one which comes into force step by step, the one in force has a word, too: of
    /// what both demand the more. Where the one in force decides, one that is rolled out to others has none: what it would not give ends when it comes into force.
    fn eligible_of(&self, from: &Asker, assignment: &str) -> Option<Eligible> {
        // Here the very principal is there, with the groups that it brings.
        let names = from.policy.names(assignment, &from.principal);
        let mut eligible = from.policy.eligible(assignment).filter(|each| !each.shadow && names)?;
        let in_force = self.policy();
        if let Some(before) = in_force.eligible(assignment).filter(|_| !Arc::ptr_eq(&in_force, &from.policy)) {
            eligible.rules = stricter(eligible.rules, before.rules);
            eligible.mfa |= before.mfa;
        }
        Some(eligible)
    }

    /// What a principal has asked for, the last first; and of activations also what it is eligible for.
    pub(crate) fn own(&self, from: &Asker, section: Section) -> Result<Shown, OwnProblem> {
        let whose = from.principal.reference();
        self.look_at_own(|kept| {
            let of_it = kept.book.powers().filter(|power| is_own(power, &whose, section)).take(MOST_SHOWN);
            let list: Vec<Value> = of_it.map(|power| own(power).body).collect();
            Ok(Shown::list(match section {
                Section::Requests => json!({ "requests": list }),
                Section::Activations => {
                    json!({ "activations": list, "eligible": self.own_eligible(from) })
                }
            }))
        })
    }

    fn own_eligible(&self, from: &Asker) -> Vec<Value> {
        let all = from.policy.all_eligible(super::MOST_ELIGIBLE);
        let of_it = all.iter().filter_map(|each| self.eligible_of(from, &each.assignment));
        let shown = of_it.map(|eligible| {
            json!({
                "assignment": eligible.assignment,
                "role": eligible.role,
                "max_s": eligible.rules.max_s,
                "justification": eligible.rules.justification_required,
                "ticket": eligible.rules.ticket_required,
                "approvals": eligible.rules.approvals,
                "mfa": takes_mfa(&eligible),
            })
        });
        shown.collect()
    }

    /// One of its own.
    pub(crate) fn one_of_own(&self, from: &Asker, section: Section, n: u64) -> Result<Shown, OwnProblem> {
        let whose = from.principal.reference();
        self.look_at_own(|kept| Ok(own(find(kept, &whose, section, n)?)))
    }

    /// Takes back what waits, or gives up what is in force.
    pub(crate) fn end_own(&self, section: Section, n: u64, from: &Asker) -> Result<Shown, OwnProblem> {
        let whose = from.principal.reference();
        let names: Vec<String> = names_of_principal(&whose).into_iter().map(str::to_owned).collect();
        self.with_own(|kept, now| {
            let waits = matches!(find(kept, &whose, section, n)?.state, PowerState::Waiting { .. });
            if waits {
                let power = kept.book.reject(n, "taken back", &names, now)?;
                self.tell_from(EventKind::GrantWithdrawn, &power, Some(from));
                return Ok(own(&power));
            }
            let power = kept.book.end(n, "given up", &names, now)?;
            self.publish(kept, now);
            self.tell_from(EventKind::GrantEnded, &power, Some(from));
            Ok(own(&power))
        })
    }

    /// Under the lock, once what is over has ended. Where another process writes at the same moment it is done again.
    fn with_own<T>(&self, act: impl Fn(&mut Kept, Timestamp) -> Result<T, OwnProblem>) -> Result<T, OwnProblem> {
        let mut guard = self.kept();
        let kept = guard.as_mut().ok_or_else(ends)?;
        let mut once = || {
            let now = self.begin(kept, Timestamp::now)?;
            let done = act(kept, now);
            self.settle(kept, now);
            done
        };
        let mut done = once();
        for _ in 1..TRIES {
            if !matches!(done, Err(OwnProblem::Conflict)) {
                break;
            }
            done = once();
        }
        done
    }

    /// Looks at what is known, and asks no disk: that is a second old at most. Nobody who looks again and again keeps those who do something waiting for it.
    fn look_at_own<T>(&self, look: impl FnOnce(&Kept) -> Result<T, OwnProblem>) -> Result<T, OwnProblem> {
        look(self.kept().as_ref().ok_or_else(ends)?)
    }
}

/// It stops, or has no store any more.
fn ends() -> OwnProblem {
    OwnProblem::Busy("the process ends".to_owned())
}

/// Whether its holder shows several factors before it activates it by itself: where the assignment counts only then; and where it does not say that a credential is
/// enough, and nobody else stands between whoever has stolen one and what it gives.
fn takes_mfa(eligible: &Eligible) -> bool {
    eligible.mfa || (!eligible.rules.by_oneself && eligible.rules.approvals == 0)
}

/// Of two that hold at once, the more of each.
fn stricter(one: ActivationRules, other: ActivationRules) -> ActivationRules {
    // Exhaustive on purpose: a new rule must be given its place here.
    let ActivationRules { max_s, justification_required, ticket_required, approvals, by_oneself } = other;
    ActivationRules {
        max_s: one.max_s.min(max_s),
        justification_required: one.justification_required || justification_required,
        ticket_required: one.ticket_required || ticket_required,
        approvals: one.approvals.max(approvals),
        by_oneself: one.by_oneself && by_oneself,
    }
}

fn is_own(power: &Power, whose: &str, section: Section) -> bool {
    power.asked.principal == whose && section.has(power.asked.kind)
}

fn find<'k>(kept: &'k Kept, whose: &str, section: Section, n: u64) -> Result<&'k Power, OwnProblem> {
    let power = kept.book.power(n).ok().filter(|power| is_own(power, whose, section));
    power.ok_or(OwnProblem::NotFound(NONE_OF_YOURS))
}

/// A text of the caller's.
fn text(name: &str, text: &str, most: usize, is_required: bool) -> Result<String, OwnProblem> {
    let text = text.trim();
    match text_problem(text, most) {
        Some(problem) => Err(OwnProblem::Unfit(format!("`{name}` is {problem}."))),
        None if text.is_empty() && is_required => Err(OwnProblem::Unfit(format!("`{name}` is missing."))),
        None => Ok(text.to_owned()),
    }
}

/// It as its holder sees it: nothing of who else had a word in it.
fn own(power: &Power) -> Shown {
    let (began, until, why) = match &power.state {
        PowerState::Waiting { until } => (None, Some(*until), None),
        PowerState::InForce { began, until } => (Some(*began), Some(*until), None),
        PowerState::Ended { began, ended, reason, .. } => (Some(*began), Some(*ended), Some(reason.as_str())),
        PowerState::Rejected { reason, .. } => (None, None, Some(reason.as_str())),
        PowerState::Lapsed => (None, None, Some("nobody answered in time")),
    };
    let loan = why.and_then(|why| why.strip_prefix(GRANTED)).and_then(|number| number.parse::<u64>().ok());
    let is_request = power.asked.kind == PowerKind::Request;
    let body = json!({
        "id": power.n,
        "kind": power.asked.kind.as_str(),
        "state": if loan.is_some() { "granted" } else { power.state.as_str() },
        "about": power.asked.gives,
        "justification": power.asked.reason,
        "event": if is_request || power.asked.kind == PowerKind::Loan { Some(&power.asked.ticket) } else { None },
        "ticket": if power.asked.kind == PowerKind::Activation { Some(&power.asked.ticket) } else { None },
        "asked": shown::time(power.at),
        "began": began.map(shown::time),
        "until": until.map(shown::time),
        "approvals": power.asked.approvals,
        "approved": power.approved.len(),
        "loan": loan,
        "end": why.filter(|_| loan.is_none()),
    });
    Shown { id: power.n, is_in_force: matches!(power.state, PowerState::InForce { .. }), body }
}
