//! What turned callers away beyond a change of the policy: what an operator did, what the clock did, and bans of the gateway's own.
//!
//! Each is undone on the very requests, as a change of the policy is: a request is put down to it only where it would be let in without. Of a ban of
//! the gateway's own on a verified principal it is asked besides what it came of: whoever was refused by a change, and was banned for asking again, was
//! turned away by that change.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use portcullis_events::ReasonCode;
use portcullis_policy::{Ban, KeptRequest, Lent, Outcome, Policy, Principal, PrincipalKind, RuleRef, Ruling};

use crate::again::{Again, Missing, Unknown, again};
use crate::sample::{Answered, Outlook, Seen};
use crate::spike::classes::lets_anybody_in;
use crate::spike::deeds::{Deed, DeedKind};
use crate::spike::familiar::Familiar;

/// Who is banned.
pub(super) type Who = (PrincipalKind, Box<str>);

/// A ban of the gateway's own on a principal, that began while it was looked.
#[derive(Debug, Clone)]
pub(super) struct OwnBan {
    /// The principal came once more without it at that time: it began later.
    pub(super) after: Timestamp,
    pub(super) ban: Ban,
}

/// The bans of the gateway's own on principals that were verified.
#[derive(Debug, Default)]
pub(super) struct OwnBans(HashMap<Who, OwnBan>);

impl OwnBans {
    /// Those that refusals were for. Of one of which it is not known when it began nothing is undone.
    pub(super) fn of(refused: &[&Seen], sample: &Outlook) -> Self {
        let mut first: HashMap<Who, (Timestamp, &Ban)> = HashMap::new();
        for seen in refused {
            let Some((who, ban)) = own_ban(seen) else { continue };
            let known = first.entry(who).or_insert((seen.request.now, ban));
            if seen.request.now < known.0 {
                *known = (seen.request.now, ban);
            }
        }
        if first.is_empty() {
            return Self::default();
        }
        let mut last: HashMap<Who, Timestamp> = HashMap::new();
        let kinds = sample.older.iter().chain(&sample.lasting).map(|one| &one.seen);
        for seen in sample.recent.iter().chain(&sample.refusals).chain(kinds) {
            let Some(principal) = seen.request.principal() else { continue };
            let who = (principal.kind, principal.id.clone());
            let Some((began, _)) = first.get(&who) else { continue };
            if seen.request.now <= *began && own_ban(seen).is_none() {
                let known = last.entry(who).or_insert(seen.request.now);
                *known = seen.request.now.max(*known);
            }
        }
        let known = first.into_iter().filter_map(|(who, (_, ban))| {
            let after = *last.get(&who)?;
            Some((who, OwnBan { after, ban: ban.clone() }))
        });
        Self(known.collect())
    }

    /// The same refusals as they would be without these bans, for what led to them.
    pub(super) fn without(&self, refused: &[&Seen]) -> HashMap<*const Seen, Seen> {
        let freed = |seen: &&Seen| {
            let (who, _) = own_ban(seen)?;
            self.0.get(&who)?;
            let request = seen.request.without_bans()?;
            Some((std::ptr::from_ref(*seen), Seen { request, answered: seen.answered }))
        };
        refused.iter().filter_map(freed).collect()
    }

    /// The ban that such a refusal was for; `None`: it is of no such ban.
    pub(super) fn of_freed(&self, seen: &Seen) -> Option<&OwnBan> {
        let is_freed = seen.answered == Answered::Refused(ReasonCode::BanActive)
            && seen
                .request
                .rare
                .as_deref()
                .is_none_or(|rare| rare.principal_ban.is_none() && rare.address_ban.is_none());
        let principal = seen.request.principal().filter(|_| is_freed)?;
        self.of_principal(principal)
    }

    /// The ban of a principal.
    pub(super) fn of_principal(&self, principal: &Principal) -> Option<&OwnBan> {
        self.0.get(&(principal.kind, principal.id.clone()))
    }
}

/// The ban of the gateway's own that a verified principal was refused for.
fn own_ban(seen: &Seen) -> Option<(Who, &Ban)> {
    let principal = seen.request.principal()?;
    let ban = seen.request.rare.as_deref()?.principal_ban.as_ref()?;
    let is_it = seen.answered == Answered::Refused(ReasonCode::BanActive) && ban.offences > 0 && !ban.simulated;
    is_it.then(|| ((principal.kind, principal.id.clone()), ban))
}

/// What is undone beside the policy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beyond<'s> {
    /// The policy in force; `None`: nobody says, and nothing is undone.
    pub(super) policy: Option<&'s Policy>,
    pub(super) deeds: &'s [Deed],
    pub(super) familiar: &'s Familiar,
    /// What an operator or the clock did before that is no suspect.
    pub(super) from: Timestamp,
}

impl<'s> Beyond<'s> {
    /// What the policy in force says of a request.
    pub(super) fn ruling(&self, request: &KeptRequest) -> Option<Ruling<'s>> {
        match again(self.policy?, request, &Unknown::default()) {
            Again::Ruled(ruling) => Some(ruling),
            Again::Depends(_) => None,
        }
    }

    /// The last thing that an operator did and that turned a caller away who is known.
    pub(super) fn deed(&self, seen: &Seen) -> Option<usize> {
        let request = &seen.request;
        if !self.familiar.has_caller(request) {
            return None;
        }
        let is_it = |deed: &Deed| {
            deed.at >= self.from
                && deed.stands_before(request)
                && match deed.what {
                    DeedKind::Ban { .. } => self.is_let_in_without_bans(request),
                    // Whoever shows what is revoked was verified by that: nobody keeps what it would have been let in to.
                    DeedKind::Revocation { .. } => true,
                }
        };
        self.deeds.iter().rposition(is_it)
    }

    /// The deed of this index, which turned these away. Where another one may be it as well it is named after none.
    pub(super) fn told(&self, index: usize, seens: &[&Seen]) -> Option<Deed> {
        let deed = self.deeds.get(index)?;
        let is_revocation = matches!(deed.what, DeedKind::Revocation { .. });
        let is_alike = |other: &Deed| {
            deed.is_of_another(other) && seens.first().is_some_and(|seen| other.stands_before(&seen.request))
        };
        Some(if is_revocation && self.deeds.iter().any(is_alike) { deed.unnamed() } else { deed.clone() })
    }

    fn is_let_in_without_bans(&self, request: &KeptRequest) -> bool {
        let (Some(policy), Some(free)) = (self.policy, request.without_bans()) else { return false };
        match again(policy, &free, &Unknown::default()) {
            Again::Ruled(ruling) => ruling.outcome == Outcome::Permit,
            // At the door nobody looked at who it was.
            Again::Depends(Missing::Identity) => {
                self.familiar.has_people(free.client.ip()) || lets_anybody_in(policy, &free)
            }
            Again::Depends(_) => false,
        }
    }

    /// The assignment that let a caller in until the clock went on, and nothing else did; empty: a role that it held for a time. `None`: it was not
    /// the clock.
    pub(super) fn over(&self, request: &KeptRequest, code: ReasonCode) -> Option<Box<str>> {
        if !may_be_the_clocks(code) {
            return None;
        }
        let held = request.rare.as_deref().is_some_and(|rare| !rare.activations.is_empty());
        if !held && !self.policy?.depends_on_time() {
            return None;
        }
        let is_refused = self.ruling(request)?.outcome != Outcome::Permit;
        let (_, rule) = self.while_let_in(request).filter(|_| is_refused)?;
        Some(rule.map(|rule| Box::from(&*rule.name)).unwrap_or_default())
    }

    /// A time before, not too long ago, at which the policy of now lets this very request in, and by which assignment.
    fn while_let_in(&self, request: &KeptRequest) -> Option<(Timestamp, Option<&'s RuleRef>)> {
        let let_in_at = |at: Timestamp| {
            let ruling = self.ruling(&KeptRequest { now: at, ..request.clone() })?;
            (ruling.outcome == Outcome::Permit).then_some((at, ruling.rule))
        };
        // Then step by step: what holds for a time may have begun since.
        let back = (0..32_u32).map_while(|step| {
            let at = request.now.checked_sub(SignedDuration::from_secs(1_i64 << step)).ok()?;
            (at > self.from).then_some(at)
        });
        let_in_at(self.from).or_else(|| back.into_iter().find_map(let_in_at))
    }

    /// Until when that let it in, to the second, and by which assignment.
    pub(super) fn ended(&self, request: &KeptRequest) -> Option<(Timestamp, Option<&'s RuleRef>)> {
        let (mut let_in, mut rule) = self.while_let_in(request)?;
        let mut over = request.now;
        for _ in 0..32 {
            let span = over.duration_since(let_in);
            if span <= SignedDuration::from_millis(10) {
                break;
            }
            let Ok(middle) = let_in.checked_add(span / 2) else { break };
            match self.ruling(&KeptRequest { now: middle, ..request.clone() }) {
                Some(ruling) if ruling.outcome == Outcome::Permit => (let_in, rule) = (middle, ruling.rule),
                Some(_) | None => over = middle,
            }
        }
        Some((over, rule))
    }
}

/// What may come of the time of day alone.
fn may_be_the_clocks(code: ReasonCode) -> bool {
    matches!(code, ReasonCode::RbacAssignmentExpired | ReasonCode::RbacConditionUnmet | ReasonCode::RbacNoMatchingGrant)
}

/// Whether a caller had activated this assignment, and that is over.
pub(super) fn was_activated(request: &KeptRequest, assignment: &str) -> bool {
    let rare = request.rare.as_deref();
    rare.is_some_and(|rare| {
        rare.activations.iter().any(|each| each.assignment() == Some(assignment) && !each.is_in_force(request.now))
    })
}

/// What of a role for a time is said of it: who gave it, why and by whose approval.
pub(super) fn lent_role(request: &KeptRequest) -> Option<String> {
    let rare = request.rare.as_deref()?;
    let over = rare.activations.iter().filter(|each| !each.is_in_force(request.now));
    let role = over.filter(|each| matches!(each.gives, Lent::Role { .. })).max_by_key(|each| each.until)?;
    Some(role.gives.to_string())
}

/// These refusals, and in the place of each that such a ban made the same without it.
pub(super) fn freed_or_made<'s>(refused: &[&'s Seen], freed: &'s HashMap<*const Seen, Seen>) -> Vec<&'s Seen> {
    refused.iter().map(|seen| freed.get(&std::ptr::from_ref(*seen)).unwrap_or(seen)).collect()
}
