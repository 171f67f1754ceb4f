//! The counterfactual: the smallest sets of changes that would let a refused request pass.
//!
//! The search is breadth first over supposed changes. From each refusal it derives the changes that could lift just that
//! refusal, supposes one, and evaluates again, so every set it returns was decided. It is bounded by a number of
//! evaluations, whatever the size of the policy.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::{Timestamp, ToSpan as _};

use crate::condition::{ConditionKind, Truth, span_text};
use crate::decision::Nearest;
use crate::draft::{AuthenticationRule, Hours};
use crate::evaluate::*;
use crate::network::{NetworkId, NetworkSetId};
use crate::policy::*;
use crate::reason::{Reason, Stage};
use crate::record::Silent;
use crate::request::{CountryCode, RiskLevel};
use crate::route::RouteId;

/// The most suggestions.
const MOST: usize = 5;
/// The most changes in one suggestion.
const MOST_CHANGES: usize = 3;
/// The most evaluations for one refusal.
const MOST_EVALUATIONS: usize = 400;
/// The most candidates of one kind that one refusal leads to.
const MOST_CANDIDATES: usize = 32;

/// One supposed change.
#[derive(Debug, Clone)]
enum Change {
    Role(RoleId),
    Group(SubjectId),
    Network(NetworkId),
    Country(CountryCode),
    Hours(Arc<str>, Timestamp),
    CompliantDevice,
    FreshMfa,
    /// The caller authenticated at most so many seconds ago.
    Authenticated(u64),
    RiskAtMost(RiskLevel),
    AnyCredential,
    AnyCertificate,
    Activation(Arc<str>),
}

/// Changes in the form of the contract, sorted, each once.
type Needs = Vec<Arc<str>>;

/// A view with the changes that led to it.
struct Supposition<'a> {
    view: View<'a>,
    /// What refuses it, once that is known.
    stop: Option<Stop>,
    needs: Needs,
    changes: Vec<Change>,
}

/// From where a supposed request is still refused, and by what.
type Refused = (Option<NetworkSetId>, Stop);

impl Policy {
    /// The smallest changes that would let the request pass, fewest first, then by name; at most five. Empty where only
    /// lifting a deny or a ban would help.
    ///
    /// `stop` is what refuses the request.
    pub(crate) fn nearest(&self, view: &View<'_>, stop: Stop) -> Vec<Nearest> {
        let mut budget = MOST_EVALUATIONS;
        let mut found: Vec<(Needs, Option<AssignmentId>)> = Vec::new();
        let mut seen: BTreeSet<Needs> = BTreeSet::new();
        let mut level = vec![Supposition { stop: Some(stop), ..Supposition::of(view.clone()) }];
        for _ in 0..MOST_CHANGES {
            let mut next = Vec::new();
            let mut passing: Vec<(Needs, Option<AssignmentId>)> = Vec::new();
            for (needs, supposition, change) in self.steps(&level, &found, &mut seen) {
                // They come by name, so what is left would be cut off again. A low risk may still give way to a medium one.
                let kept = passing.iter().filter(|(needs, _)| !asks_low_risk(needs)).count();
                if found.len() + kept >= MOST || budget == 0 {
                    break;
                }
                let Some(mut supposed) = self.suppose(supposition, needs, change) else { continue };
                match self.passes(&supposed, &mut budget) {
                    Ok(grant) if self.is_minimal(view, &supposed, &mut budget) => passing.push((supposed.needs, grant)),
                    Ok(_) => {}
                    Err((networks, stop)) => {
                        // What is tried next must help where it does not pass yet.
                        supposed.view.networks = networks;
                        supposed.stop = Some(stop);
                        next.push(supposed);
                    }
                }
            }
            found.extend(passing.iter().filter(|(needs, _)| !asks_too_much(needs, &passing)).cloned());
            if found.len() >= MOST || budget == 0 {
                break;
            }
            level = next;
        }
        found.truncate(MOST);
        let held = self.held_assignments(view);
        found.into_iter().map(|(needs, grant)| self.suggestion(view.request.route, &held, needs, grant)).collect()
    }

    /// The assignments on the route that name the caller, whether or not they apply; at most [`MOST_EVALUATIONS`].
    fn held_assignments(&self, view: &View<'_>) -> BTreeSet<AssignmentId> {
        let mut held = BTreeSet::new();
        let Some((route, resource)) = self.resource_of(view) else { return held };
        let caller = view.caller(resource.authentication);
        let _ = self.for_each_subject(view, caller, &mut |subject| {
            held.extend(subject.assignments.on(route).take(MOST_EVALUATIONS));
            if held.len() < MOST_EVALUATIONS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        held
    }

    fn suggestion(
        &self,
        route: Option<RouteId>,
        held: &BTreeSet<AssignmentId>,
        needs: Needs,
        grant: Option<AssignmentId>,
    ) -> Nearest {
        // A role alone names no assignment: point at one that would give it on this route, if there is one. One that the
        // caller holds already is what did not help.
        let named_role =
            needs.iter().find_map(|need| need.strip_prefix("role:")).and_then(|name| self.role_by_name.get(name));
        let through_role =
            || self.assignments_by_role.get(named_role?.0 as usize)?.on(route?).filter(|id| !held.contains(id)).min();
        let grant = grant.or_else(through_role).and_then(|id| self.rule(RuleId::Assignment(id))).cloned();
        let role = || named_role.and_then(|role| self.roles.get(role.0 as usize)).map(|role| role.rule.clone());
        Nearest { needs: needs.iter().map(|need| need.to_string()).collect(), at: grant.clone().or_else(role), grant }
    }

    /// The assignment that grants the supposed request, when it is permitted; else from where it is not. A supposed
    /// network must pass from every address in it.
    fn passes(&self, supposed: &Supposition<'_>, budget: &mut usize) -> Result<Option<AssignmentId>, Refused> {
        let permit = |view: &View<'_>, budget: &mut usize| {
            *budget = budget.saturating_sub(1);
            match self.evaluate(view, &mut Silent) {
                Verdict::Permit(grant) => Ok(grant),
                Verdict::Stop(stop) => Err((view.networks, stop)),
            }
        };
        let sets = supposed.view.supposed.network.and_then(|network| self.sets_of(network)).unwrap_or_default();
        let Some((first, more)) = sets.split_first() else { return permit(&supposed.view, budget) };
        let mut view = supposed.view.clone();
        view.networks = Some(*first);
        let mut grant = permit(&view, budget)?;
        for set in more {
            view.networks = Some(*set);
            grant = permit(&view, budget)?;
        }
        Ok(grant)
    }

    /// No change can be left out.
    fn is_minimal(&self, base: &View<'_>, supposed: &Supposition<'_>, budget: &mut usize) -> bool {
        if supposed.changes.len() < 2 {
            return true;
        }
        (0..supposed.changes.len()).all(|left_out| {
            let mut fewer = Supposition::of(base.clone());
            for (index, change) in supposed.changes.iter().enumerate() {
                if index != left_out {
                    match self.suppose(&fewer, Needs::new(), change.clone()) {
                        Some(next) => fewer = next,
                        None => return true,
                    }
                }
            }
            self.passes(&fewer, budget).is_err()
        })
    }

    /// Every set of networks that an address of this network is in. A network that others cut into too many is not
    /// suggested.
    fn sets_of(&self, network: NetworkId) -> Option<&[NetworkSetId]> {
        let sets = self.networks.sets_within(network);
        (!sets.is_empty()).then_some(sets)
    }

    /// Every way from these suppositions to one with one change more, each once, by name.
    fn steps<'s, 'a>(
        &self,
        level: &'s [Supposition<'a>],
        found: &[(Needs, Option<AssignmentId>)],
        seen: &mut BTreeSet<Needs>,
    ) -> Vec<(Needs, &'s Supposition<'a>, Change)> {
        let mut steps = Vec::new();
        for supposition in level {
            let Some(stop) = supposition.stop else { continue };
            for change in self.candidates(&supposition.view, stop) {
                let Some(need) = self.need_of(&change) else { continue };
                let Err(place) = supposition.needs.binary_search(&need) else { continue };
                let mut needs = Vec::with_capacity(supposition.needs.len() + 1);
                needs.extend_from_slice(&supposition.needs);
                needs.insert(place, need);
                let known = found.iter().any(|(known, _)| is_subset(known, &needs));
                if !known && seen.insert(needs.clone()) {
                    steps.push((needs, supposition, change));
                }
            }
        }
        steps.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        steps
    }

    /// A change in the form of the contract.
    fn need_of(&self, change: &Change) -> Option<Arc<str>> {
        Some(match change {
            Change::Role(role) => format!("role:{}", self.roles.get(role.0 as usize)?.rule.name).into(),
            Change::Group(group) => self.subjects.get(*group)?.name.clone(),
            Change::Network(network) => {
                format!("network:{}", self.network_facts.get(network.0 as usize)?.rule.name).into()
            }
            Change::Country(country) => format!("country:{}", country.as_str()).into(),
            Change::Hours(text, _) => format!("hours:{text}").into(),
            Change::CompliantDevice => "device:compliant".into(),
            Change::FreshMfa => "assurance:mfa".into(),
            Change::Authenticated(age_s) => format!("authentication:{}", span_text(*age_s)).into(),
            Change::RiskAtMost(level) => format!("risk:{}", level.as_str()).into(),
            Change::AnyCredential => "credential:any".into(),
            Change::AnyCertificate => "credential:certificate".into(),
            Change::Activation(assignment) => format!("activation:{assignment}").into(),
        })
    }

    /// The supposition with one change more, with which it needs `needs`.
    fn suppose<'a>(&self, from: &Supposition<'a>, needs: Needs, change: Change) -> Option<Supposition<'a>> {
        let mut view = from.view.clone();
        match &change {
            Change::Role(role) => view.supposed.role = Some(*role),
            Change::Group(group) => view.supposed.group = Some(*group),
            Change::Network(network) => {
                view.supposed.network = Some(*network);
                view.networks = Some(*self.sets_of(*network)?.first()?);
            }
            Change::Country(country) => view.country = Some(*country),
            Change::Hours(text, at) => {
                view.now = *at;
                view.supposed.hours = Some(text.clone());
            }
            Change::CompliantDevice => view.supposed.compliant_device = true,
            Change::FreshMfa => view.supposed.fresh_mfa = true,
            Change::Authenticated(age_s) => {
                let before = view.supposed.authenticated_s;
                view.supposed.authenticated_s = Some(before.map_or(*age_s, |before| before.min(*age_s)));
            }
            Change::RiskAtMost(level) => {
                view.level = *level;
                view.evidence = false;
            }
            Change::AnyCredential | Change::AnyCertificate => view.supposed.any_credential = true,
            Change::Activation(assignment) => view.supposed.activated = Some(assignment.clone()),
        }
        let mut changes = Vec::with_capacity(from.changes.len() + 1);
        changes.extend_from_slice(&from.changes);
        changes.push(change);
        Some(Supposition { view, stop: None, needs, changes })
    }

    /// The changes that could lift the refusal that this view meets first, which is `stop`.
    fn candidates(&self, view: &View<'_>, stop: Stop) -> Vec<Change> {
        let Some((route, resource)) = self.resource_of(view) else { return Vec::new() };
        match stop.reason {
            Reason::IpNotAllowed if view.supposed.network.is_none() => {
                resource.allow.iter().take(MOST_CANDIDATES).map(|network| Change::Network(*network)).collect()
            }
            // On a route where credentials are optional, less than a credential may do.
            Reason::AuthnMissing if stop.stage == Stage::Grants => {
                let mut changes = self.credential(view, route, resource);
                changes.extend(self.grant_candidates(view, route, resource));
                changes
            }
            Reason::AuthnMissing | Reason::Authn(_) => self.credential(view, route, resource),
            Reason::RiskTooHigh | Reason::StepUpRequired => {
                let mut changes = vec![Change::RiskAtMost(RiskLevel::Medium), Change::RiskAtMost(RiskLevel::Low)];
                changes.retain(|change| !matches!(change, Change::RiskAtMost(level) if *level >= view.level));
                match (stop.stage, view.caller(resource.authentication)) {
                    (Stage::StepUp, Caller::Anonymous) => changes.extend(self.credential(view, route, resource)),
                    (Stage::StepUp, caller @ (Caller::Verified(_) | Caller::SomeVerified)) => {
                        changes.push(Change::FreshMfa);
                        let wanted = resource.proof.max_age_s.filter(|_| !resource.shadow);
                        let wanted = wanted.filter(|most| !self.has_authenticated(view, caller, *most));
                        changes.extend(wanted.map(Change::Authenticated));
                    }
                    _ => {}
                }
                changes.extend(self.grant_candidates(view, route, resource));
                changes
            }
            Reason::NoMatchingGrant | Reason::AssignmentExpired | Reason::NotYetActive | Reason::ConditionUnmet => {
                self.grant_candidates(view, route, resource)
            }
            Reason::IpNotAllowed
            | Reason::BanActive
            | Reason::RouteNotFound
            | Reason::IpDenied
            | Reason::ExplicitDeny
            | Reason::KeysUnavailable
            | Reason::FeedStale
            | Reason::StoreUnavailable
            | Reason::DirectoryUnavailable
            | Reason::PolicyUnavailable => Vec::new(),
        }
    }

    /// Some credential, if it does not matter whose.
    fn credential(&self, view: &View<'_>, route: RouteId, resource: &Resource) -> Vec<Change> {
        let change = match resource.authentication {
            AuthenticationRule::Certificate => Change::AnyCertificate,
            AuthenticationRule::Required | AuthenticationRule::Optional | AuthenticationRule::None => {
                Change::AnyCredential
            }
        };
        if self.no_deny_could_apply(view, route) { vec![change] } else { Vec::new() }
    }

    /// `credential:any` must hold for whoever brings one, so no deny may touch the action, whomever it names.
    fn no_deny_could_apply(&self, view: &View<'_>, route: RouteId) -> bool {
        let mut touching = 0;
        self.denies_by_route.on(route).all(|id| {
            touching += 1;
            let applies = self
                .denies
                .get(id.0 as usize)
                .is_none_or(|deny| !deny.shadow && deny.actions.contains(&view.matched, view.method));
            touching <= MOST_EVALUATIONS && !applies
        })
    }

    fn grant_candidates(&self, view: &View<'_>, route: RouteId, resource: &Resource) -> Vec<Change> {
        let caller = view.caller(resource.authentication);
        let mut changes = self.condition_candidates(view, route, caller);
        let has_principal =
            matches!(caller, Caller::Verified(_)) && resource.authentication != AuthenticationRule::None;
        if has_principal && view.supposed.role.is_none() && view.supposed.group.is_none() {
            let roles = self.permitting_roles(view);
            let mut groups: BTreeSet<(&str, SubjectId)> = BTreeSet::new();
            for role in &roles {
                let assignments = self.assignments_by_role.get(role.0 as usize).into_iter();
                for assignment in assignments
                    .flat_map(|assignments| assignments.on(route).take(MOST_CANDIDATES))
                    .filter_map(|id| self.assignments.get(id.0 as usize))
                {
                    let subjects = assignment.principals.iter().take(MOST_CANDIDATES);
                    groups.extend(
                        subjects
                            .filter_map(|id| self.subjects.get(*id).map(|subject| (&*subject.name, *id)))
                            .filter(|(name, _)| name.starts_with("group:")),
                    );
                }
            }
            changes.extend(groups.into_iter().take(MOST_CANDIDATES).map(|(_, group)| Change::Group(group)));
            changes.extend(roles.into_iter().map(Change::Role));
        }
        changes
    }

    /// The roles that permit the action, by name.
    pub(crate) fn permitting_roles(&self, view: &View<'_>) -> Vec<RoleId> {
        let mut roles: BTreeSet<RoleId> = BTreeSet::new();
        for pattern in view.matched.iter() {
            let by_method = self.roles_by_pattern.get(pattern.0 as usize).into_iter().flatten();
            for (_, candidates) in by_method.filter(|(mask, _)| mask.holds(view.method)) {
                let permitting = candidates.iter().take(MOST_CANDIDATES * 8);
                roles.extend(permitting.filter(|role| self.role_permits(**role, view)).take(MOST_CANDIDATES));
            }
        }
        roles.into_iter().take(MOST_CANDIDATES).collect()
    }

    /// What the grants that the caller holds already are waiting for.
    fn condition_candidates(&self, view: &View<'_>, route: RouteId, caller: Caller<'_>) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut looked_at = 0;
        let _ = self.for_each_subject(view, caller, &mut |subject| {
            for id in subject.assignments.on(route) {
                let Some(assignment) = self.assignments.get(id.0 as usize) else { continue };
                if assignment.shadow
                    || !self.role_permits(assignment.role, view)
                    || assignment.period.state(view.now) != PeriodState::Within
                {
                    continue;
                }
                looked_at += 1;
                if looked_at > MOST_CANDIDATES {
                    return ControlFlow::Break(());
                }
                self.changes_for(view, assignment, caller, &mut changes);
            }
            ControlFlow::Continue(())
        });
        changes
    }

    fn changes_for(&self, view: &View<'_>, assignment: &Assignment, caller: Caller<'_>, changes: &mut Vec<Change>) {
        let when = &assignment.when;
        for kind in ConditionKind::ALL {
            if self.condition(view, when, kind, caller) == Truth::Yes {
                continue;
            }
            match kind {
                ConditionKind::Networks if view.supposed.network.is_none() => {
                    changes.extend(
                        when.networks.iter().flatten().take(MOST_CANDIDATES).map(|network| Change::Network(*network)),
                    );
                }
                ConditionKind::Networks => {}
                ConditionKind::Hours => {
                    if let Some(hours) = &when.hours
                        && view.supposed.hours.is_none()
                        && let Some(at) = next_within(hours, view.now)
                    {
                        changes.push(Change::Hours(hours.text.clone(), at));
                    }
                }
                ConditionKind::Countries => {
                    changes.extend(
                        when.countries.iter().flatten().take(MOST_CANDIDATES).map(|country| Change::Country(*country)),
                    );
                }
                ConditionKind::Device => changes.push(Change::CompliantDevice),
                ConditionKind::Assurance => changes.push(Change::FreshMfa),
                ConditionKind::MaxAge => changes.extend(when.max_age_s.map(Change::Authenticated)),
                ConditionKind::MaxRisk => changes.extend(when.max_risk.map(Change::RiskAtMost)),
                ConditionKind::Activation => {
                    changes.extend(when.activation.as_ref().map(|each| Change::Activation(each.assignment.clone())));
                }
            }
        }
    }
}

impl<'a> Supposition<'a> {
    /// Nothing supposed yet.
    fn of(view: View<'a>) -> Self {
        Self { view, stop: None, needs: Vec::new(), changes: Vec::new() }
    }
}

/// Whether all of `some`, which are few, are among `all`.
fn is_subset(some: &Needs, all: &Needs) -> bool {
    some.iter().all(|need| all.contains(need))
}

fn asks_low_risk(needs: &Needs) -> bool {
    needs.iter().any(|need| **need == *"risk:low")
}

/// Whether the same with a risk of at most medium is enough.
fn asks_too_much(needs: &Needs, passing: &[(Needs, Option<AssignmentId>)]) -> bool {
    let eased = |other: &Needs| {
        let medium_for_low = |(one, other): (&Arc<str>, &Arc<str>)| match &**one {
            "risk:low" => **other == *"risk:medium",
            one => *one == **other,
        };
        // Nothing sorts between the two, so they stand at the same place.
        needs.len() == other.len() && needs.iter().zip(other).all(medium_for_low)
    };
    asks_low_risk(needs) && passing.iter().any(|(other, _)| eased(other))
}

/// The first moment from now on that is within the hours.
fn next_within(hours: &Hours, now: Timestamp) -> Option<Timestamp> {
    if hours.hold(now) {
        return Some(now);
    }
    let today = hours.zone.to_datetime(now).date();
    let hour = i8::try_from(hours.from_minute / 60).ok()?;
    let minute = i8::try_from(hours.from_minute % 60).ok()?;
    let begins = (0..=8i64).filter_map(|days| {
        let from = hours.zone.to_ambiguous_timestamp(today.checked_add(days.days()).ok()?.at(hour, minute, 0, 0));
        // A clock that is put back shows the same time twice.
        Some([from.earlier().ok()?, from.later().ok()?])
    });
    // A clock that is put forward or back may jump into the hours.
    let jumps = hours.zone.following(now).take(1).map(|transition| transition.timestamp());
    begins.flatten().chain(jumps).filter(|at| *at >= now && hours.hold(*at)).min()
}
