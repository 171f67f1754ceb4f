//! What each refused request is due to.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use portcullis_events::ReasonCode;
use portcullis_policy::{KeptIdentity, KeptRequest, Outcome, Policy, PrincipalKind};

use crate::again::{Again, Missing, Unknown, again};
use crate::sample::{Answered, Seen, network_of};
use crate::spike::answered::Upstreams;
use crate::spike::beyond::{Beyond, OwnBan, OwnBans, Who};
use crate::spike::blind::Sight;
use crate::spike::bystanders::{Bystanders, Verdict, is_failed_credential, is_nobody};
use crate::spike::changes::{ChangeKind, RecentChange};
use crate::spike::familiar::Familiar;

/// One principal with more than this share of what is left is a cause of its own, in percent.
const ONE_PRINCIPAL: u64 = 60;

/// What one refused request is due to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Class {
    /// The change of this index.
    Change(usize),
    /// The change of this index with others that came at the same moment: each of them alone would have turned it away.
    Together(usize),
    /// What an operator did beyond the policy, of this index.
    Deed(usize),
    /// The clock: until a moment ago this assignment let it in; empty: a role that was held for a time.
    Over(Box<str>),
    /// A ban of the gateway's own on somebody who would be let in without, and of which none of these is the reason.
    Banned,
    /// The upstream refuses whom it answered before.
    Upstream,
    /// Credentials do not verify any more of those whose did before.
    Keys,
    /// A software that nobody came with before.
    Release,
    /// Nobody that was ever let in, or somebody who tries beside those that are.
    Attack,
    /// One principal that does what it may not.
    OnePrincipal(PrincipalKind, Box<str>),
    /// None of these.
    Other,
}

impl Class {
    /// Equals come in this order.
    pub(super) fn order(&self) -> u8 {
        match self {
            Self::Change(_) | Self::Together(_) => 0,
            Self::Deed(_) => 1,
            Self::Over(_) => 2,
            Self::Upstream => 3,
            Self::Keys => 4,
            Self::Release => 5,
            Self::Banned => 6,
            Self::OnePrincipal(..) => 7,
            Self::Attack => 8,
            Self::Other => 9,
        }
    }

    /// Whether it is something that was done, or the clock, and no matter of who comes: it is told of however much else there is.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Change(_) | Self::Together(_) | Self::Deed(_) | Self::Over(_) => true,
            Self::Banned | Self::Upstream | Self::Keys | Self::Release => false,
            Self::Attack | Self::OnePrincipal(..) | Self::Other => false,
        }
    }
}

/// What a class is told by.
pub(super) struct Circumstances<'s> {
    pub(super) changes: &'s [&'s RecentChange],
    pub(super) familiar: &'s Familiar,
    pub(super) bystanders: &'s Bystanders,
    pub(super) upstreams: &'s Upstreams,
    pub(super) beyond: Beyond<'s>,
    pub(super) bans: &'s OwnBans,
    sight: Sight<'s>,
    /// When keys were withdrawn lately.
    withdrawn: Option<Timestamp>,
    /// Networks from where somebody guesses.
    guessing: HashSet<u64>,
    /// What led to a ban of the gateway's own on somebody.
    led: HashMap<Who, Class>,
}

impl<'s> Circumstances<'s> {
    pub(super) fn new(
        changes: &'s [&'s RecentChange],
        (bystanders, sight): (&'s Bystanders, Sight<'s>),
        upstreams: &'s Upstreams,
        (beyond, bans): (Beyond<'s>, &'s OwnBans),
        refused: &[&Seen],
    ) -> Self {
        let familiar = sight.familiar;
        let withdrawn = changes.iter().filter(|change| change.kind == ChangeKind::Keys).map(|change| change.at).min();
        let guessing = HashSet::new();
        let led = HashMap::new();
        let mut circumstances =
            Self { changes, familiar, bystanders, upstreams, beyond, bans, sight, withdrawn, guessing, led };
        let guesses = |seen: &&&Seen| match seen.answered {
            Answered::Refused(code) if is_failed_credential(code) => {
                circumstances.failed_credential(&seen.request, code) == Class::Attack
            }
            Answered::Refused(_) | Answered::Permitted(_) => false,
        };
        let guessing = refused.iter().filter(guesses).filter_map(|seen| network_of(seen.request.client.ip())).collect();
        circumstances.guessing = guessing;
        circumstances.led = circumstances.leading(refused);
        circumstances
    }

    /// What most of the refusals were due to that came before each ban of the gateway's own.
    fn leading(&self, refused: &[&Seen]) -> HashMap<Who, Class> {
        let mut counts: HashMap<Who, HashMap<Class, u64>> = HashMap::new();
        for seen in refused {
            let Some(principal) = seen.request.principal() else { continue };
            let own = self.bans.of_principal(principal).filter(|own| seen.request.now <= own.after);
            if own.is_some() && self.bans.of_freed(seen).is_none() {
                let who = (principal.kind, principal.id.clone());
                *counts.entry(who).or_default().entry(self.class(seen)).or_default() += 1;
            }
        }
        let most = |classes: HashMap<Class, u64>| {
            classes.into_iter().max_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.order().cmp(&a.0.order())))
        };
        counts.into_iter().filter_map(|(who, classes)| Some((who, most(classes)?.0))).collect()
    }

    /// All of them by class.
    pub(super) fn classified<'r>(&self, refused: &[&'r Seen]) -> HashMap<Class, Vec<&'r Seen>> {
        let mut classes: HashMap<Class, Vec<&Seen>> = HashMap::new();
        for &seen in refused {
            classes.entry(self.class(seen)).or_default().push(seen);
        }
        // Somebody who is known and is refused more than all others together.
        let others = classes.get(&Class::Other).map(Vec::as_slice).unwrap_or_default();
        let mut principals: HashMap<(PrincipalKind, Box<str>), u64> = HashMap::new();
        for principal in others.iter().filter_map(|seen| seen.request.principal()) {
            *principals.entry((principal.kind, principal.id.clone())).or_default() += 1;
        }
        let most = principals.into_iter().max_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(&a.0)));
        let one = most.filter(|(_, count)| count * 100 > others.len() as u64 * ONE_PRINCIPAL);
        if let Some(((kind, id), _)) = one {
            let is_it = |seen: &&Seen| seen.request.principal().is_some_and(|it| it.kind == kind && it.id == id);
            let (its, others) = others.iter().copied().partition(is_it);
            classes.insert(Class::Other, others);
            classes.insert(Class::OnePrincipal(kind, id), its);
        }
        classes
    }

    fn class(&self, seen: &Seen) -> Class {
        let request = &seen.request;
        let code = match seen.answered {
            Answered::Permitted(_) => return self.refused_upstream(request),
            Answered::Refused(code) => code,
        };
        // The last change that turned it is the one that did.
        let flips = |(_, change): &(usize, &&RecentChange)| self.is_due_to(change, seen);
        if let Some((index, _)) = self.changes.iter().enumerate().rev().find(flips) {
            return Class::Change(index);
        }
        let flips = |(_, change): &(usize, &&RecentChange)| {
            let whole = change.whole();
            whole.is_some_and(|whole| self.is_due_to(&whole, seen))
        };
        if let Some((index, _)) = self.changes.iter().enumerate().find(flips) {
            return Class::Together(index);
        }
        if let Some(class) = self.beyond_the_policy(seen, code) {
            return class;
        }
        let of_keys = || self.failed_credential(request, code) == Class::Keys;
        let is_due = |change: &RecentChange| self.sight.is_due_to(change, request, code, of_keys);
        if let Some(index) = self.changes.iter().rposition(|change| is_due(change)) {
            return Class::Change(index);
        }
        let new_software = !self.familiar.has_software(request.software());
        if code == ReasonCode::RequestMalformed && request.identity == KeptIdentity::NotLookedAt {
            return self.unread(request, new_software);
        }
        let known = self.familiar.has_caller(request);
        match code {
            ReasonCode::DependencyKeysUnavailable if known => Class::Keys,
            // What the gateway could not decide is nobody's attack.
            ReasonCode::DependencyKeysUnavailable
            | ReasonCode::DependencyFeedStale
            | ReasonCode::DependencyStoreUnavailable
            | ReasonCode::DependencyDirectoryUnavailable => Class::Other,
            _ if !known => Class::Attack,
            code if is_nobody(request) && is_failed_credential(code) => self.failed_credential(request, code),
            _ if is_nobody(request) && self.is_attacked_from(request, code) => Class::Attack,
            _ if new_software => Class::Release,
            _ => Class::Other,
        }
    }

    /// What an operator or the clock did, or a ban of the gateway's own.
    fn beyond_the_policy(&self, seen: &Seen, code: ReasonCode) -> Option<Class> {
        let request = &seen.request;
        // Who guesses from where good callers come is banned for that by whoever looks, and goes on.
        let is_attacked = || is_nobody(request) && self.is_attacked_from(request, code);
        if let Some(index) = self.beyond.deed(seen).filter(|_| !is_attacked()) {
            return Some(Class::Deed(index));
        }
        if self.bans.of_freed(seen).is_none() {
            return self.beyond.over(request, code).map(Class::Over);
        }
        let ruling = self.beyond.ruling(request)?;
        let Some(reason) = ruling.reason else {
            // It would be let in: what led to the ban, if that was nobody's own doing, led to this, too.
            let principal = request.principal()?;
            let led = self.led.get(&(principal.kind, principal.id.clone()));
            return Some(led.filter(|class| class.is_done()).cloned().unwrap_or(Class::Banned));
        };
        self.beyond.over(request, reason.into()).map(Class::Over)
    }

    /// Whether a change turned the answer to a request. A ban that began since then came of it, and one that had begun before did not.
    fn is_due_to(&self, change: &RecentChange, seen: &Seen) -> bool {
        let began_since = |own: &OwnBan| own.after >= change.at;
        self.bans.of_freed(seen).is_none_or(began_since) && is_due_to(change, seen, self.familiar)
    }

    /// What cannot be read is the software's doing, also where the head says too late which one that is.
    fn unread(&self, request: &KeptRequest, new_software: bool) -> Class {
        // Behind a proxy nobody knows from whom it came: neither that they are known nor that they attack.
        if request.client.ip().is_none() {
            return if new_software { Class::Release } else { Class::Other };
        }
        match self.familiar.has_network(request.client.ip()) {
            true if new_software || request.software().is_empty() => Class::Release,
            true => Class::Other,
            false => Class::Attack,
        }
    }

    /// A credential that does not verify, from where good callers come.
    fn failed_credential(&self, request: &KeptRequest, code: ReasonCode) -> Class {
        if !self.familiar.has_caller(request) {
            return Class::Attack;
        }
        let new_software = !self.familiar.has_software(request.software());
        let of_keys = if new_software { Class::Release } else { Class::Keys };
        let failed = self.bystanders.failed(request);
        let (beyond, few) = failed.map_or((false, true), |failed| (failed.beyond, failed.few));
        match self.bystanders.verdict(request) {
            // Nobody but the provider withdraws a key, and whoever makes one up that was never there does not silence its regulars.
            Verdict::Disturbed if beyond && self.is_withdrawn(request, code) => of_keys,
            // Accounts that fall silent as a flood begins may be the attacker's own. What is wrong with keys is wrong elsewhere, too.
            Verdict::Disturbed if beyond && !self.bystanders.is_disturbed_elsewhere(request) => Class::Other,
            Verdict::Disturbed => of_keys,
            // Too few to tell by: it is told by what they come with, and how often. Many more than good callers ask for are not those of good callers,
            // and what else they are is not known.
            Verdict::Unknown if new_software && beyond => Class::Attack,
            Verdict::Unknown if beyond && !self.bystanders.is_missed(request) => Class::Other,
            Verdict::Unknown => of_keys,
            // Everybody else is let in as ever. Whoever is not any more may be one of those whose credential was withdrawn, or who have got a new one
            // at once; else it is somebody who guesses.
            Verdict::Undisturbed if self.bystanders.is_missed(request) => of_keys,
            Verdict::Undisturbed if few && !new_software && code != ReasonCode::AuthnInvalid => Class::Keys,
            Verdict::Undisturbed => Class::Attack,
        }
    }

    /// Whether it shows a key that nobody knows since one was withdrawn.
    fn is_withdrawn(&self, request: &KeptRequest, code: ReasonCode) -> bool {
        code == ReasonCode::AuthnUnknownKey && self.withdrawn.is_some_and(|withdrawn| request.now >= withdrawn)
    }

    /// Whether a caller who is not verified attacks from where good callers come: it looks about, or is stopped for guessing.
    fn is_attacked_from(&self, request: &KeptRequest, code: ReasonCode) -> bool {
        let stopped = matches!(code, ReasonCode::BanActive | ReasonCode::LimitRate);
        let guessing = || network_of(request.client.ip()).is_some_and(|network| self.guessing.contains(&network));
        let strange = || !self.familiar.has_place(request) && self.bystanders.is_searched_from(request);
        (stopped && guessing()) || strange()
    }

    /// Permitted here, and refused by the upstream itself.
    fn refused_upstream(&self, request: &KeptRequest) -> Class {
        let principal = self.familiar.has_principal(request);
        if self.upstreams.knows(request) {
            // One of many who are answered as ever does something else than they.
            return if self.upstreams.refuses_many(request) { Class::Upstream } else { Class::Other };
        }
        match self.upstreams.refuses_many(request) {
            true if self.familiar.has_network(request.client.ip()) || principal => Class::Upstream,
            _ if principal => Class::Other,
            _ => Class::Attack,
        }
    }
}

/// Whether a change turned the answer to a request.
fn is_due_to(change: &RecentChange, seen: &Seen, familiar: &Familiar) -> bool {
    if seen.permitted() != Some(false) || seen.request.now < change.at || !change.kind.is_replayed() {
        return false;
    }
    let answer = |policy| again(policy, &seen.request, &Unknown::default());
    let Again::Ruled(after) = answer(&change.after) else { return false };
    if after.outcome == Outcome::Permit {
        return false;
    }
    match answer(&change.before) {
        Again::Ruled(before) => before.outcome == Outcome::Permit,
        // At the door nobody looked at who it was. Before, the door was open: to everybody, or whoever is known there was let in.
        Again::Depends(Missing::Identity) => {
            familiar.has_people(seen.request.client.ip()) || lets_anybody_in(&change.before, &seen.request)
        }
        Again::Depends(
            Missing::Claims | Missing::Cut | Missing::Country | Missing::Risk | Missing::Alert | Missing::Request,
        ) => false,
    }
}

/// Whether a policy permits a request of nobody in particular.
pub(super) fn lets_anybody_in(policy: &Policy, request: &KeptRequest) -> bool {
    let anybody = KeptRequest { identity: KeptIdentity::Anonymous, ..request.clone() };
    matches!(again(policy, &anybody, &Unknown::default()), Again::Ruled(ruling) if ruling.outcome == Outcome::Permit)
}
