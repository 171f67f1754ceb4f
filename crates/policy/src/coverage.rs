//! Which rules of a policy a set of requests puts to the test. Bookkeeping only: each request is decided once more by the stages
//! that decide live, and what it rested on is noted.
//!
//! What counts as covered: an assignment through which some request is permitted; a deny that refused one; a permission, of a
//! role that is assigned, that a permitted request used; a resource on whose route a request got as far as each of its demands;
//! and a condition of an assignment that was seen to hold and, in a request that is refused, not to hold. A rule in shadow mode
//! counts apart, and is covered where its finding shows. More requests never cover less.

use std::ops::ControlFlow;

use crate::condition::{ConditionKind, Conditions, Truth};
use crate::decision::{RuleKind, RuleRef, ShadowFinding};
use crate::draft::AuthenticationRule;
use crate::evaluate::*;
use crate::policy::*;
use crate::reason::{Outcome, Reason, Stage};
use crate::record::{Record, Silent};
use crate::request::AccessRequest;

mod report;

pub use report::{Count, CoverageItem, CoverageKind, CoverageReport};

/// What the requests so far have shown of a policy.
#[derive(Debug, Clone)]
pub struct Coverage<'p> {
    policy: &'p Policy,
    /// By assignment; of one in shadow mode, whether its finding showed.
    assignments: Vec<CoverageLevel>,
    /// By deny; the same.
    denies: Vec<CoverageLevel>,
    /// By permission; `None` where no assignment gives it to anybody.
    permissions: Vec<Option<CoverageLevel>>,
    /// By route.
    resources: Vec<CoverageLevel>,
    /// By assignment.
    conditions: Vec<Shown>,
}

/// How far a rule was put to the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CoverageLevel {
    /// No request has anything to do with it.
    Untouched,
    /// It took part, but not in the way that it is there for.
    Touched,
    /// It did what it is there for.
    Covered,
}

/// Which conditions of an assignment were seen to hold, and which not to; a bit for each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Shown {
    met: u8,
    unmet: u8,
}

impl<'p> Coverage<'p> {
    /// Of a policy, before any request.
    pub fn of(policy: &'p Policy) -> Self {
        let mut permissions = vec![None; policy.permissions.len()];
        let mut seen = vec![false; policy.roles.len()];
        for assignment in policy.assignments.iter().filter(|assignment| !assignment.shadow) {
            let index = assignment.role.0 as usize;
            let (Some(role), Some(seen)) = (policy.roles.get(index), seen.get_mut(index)) else { continue };
            if std::mem::replace(seen, true) {
                continue;
            }
            for tag in role.actions.all_tags() {
                if let Some(permission) = permissions.get_mut(tag as usize) {
                    *permission = Some(CoverageLevel::Untouched);
                }
            }
        }
        Self {
            policy,
            assignments: vec![CoverageLevel::Untouched; policy.assignments.len()],
            denies: vec![CoverageLevel::Untouched; policy.denies.len()],
            permissions,
            resources: vec![CoverageLevel::Untouched; policy.resources.len()],
            conditions: vec![Shown::default(); policy.assignments.len()],
        }
    }

    /// Notes what a request shows.
    pub fn add(&mut self, request: &AccessRequest<'_>) {
        let view = View::new(self.policy, request);
        let mut findings = Findings::default();
        let verdict = self.policy.evaluate(&view, &mut findings);
        self.note_verdict(verdict);
        let Some((route, resource)) = self.policy.resource_of(&view) else { return };
        self.note_findings(&findings.0, route.index(), resource.shadow);
        let last = match verdict {
            Verdict::Permit(_) => None,
            Verdict::Stop(stop) => Some(stop.stage),
        };
        if !resource.shadow {
            self.note_resource(route.index(), resource, last);
        }
        let caller = view.caller(resource.authentication);
        if let Verdict::Permit(grant) = verdict {
            self.note_permissions(&view, caller, grant);
        }
        if matches!(last, None | Some(Stage::Grants | Stage::Risk | Stage::StepUp)) {
            self.note_conditions(&view, route, caller);
        }
    }

    fn note_verdict(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Permit(None) => {}
            Verdict::Permit(Some(id)) => raise(&mut self.assignments, id.0 as usize, CoverageLevel::Covered),
            Verdict::Stop(Stop { rule: Some(RuleId::Assignment(id)), .. }) => {
                raise(&mut self.assignments, id.0 as usize, CoverageLevel::Touched);
            }
            Verdict::Stop(Stop { rule: Some(RuleId::Deny(id)), reason: Reason::ExplicitDeny, .. }) => {
                raise(&mut self.denies, id.0 as usize, CoverageLevel::Covered);
            }
            Verdict::Stop(Stop { rule: Some(RuleId::Deny(id)), .. }) => {
                raise(&mut self.denies, id.0 as usize, CoverageLevel::Touched);
            }
            Verdict::Stop(Stop { rule: None | Some(RuleId::Resource(_) | RuleId::Network(_)), .. }) => {}
        }
    }

    /// INVARIANT: only a grant in shadow mode is a finding that permits, and only a deny in shadow mode one of a deny. What a
    /// resource's network or the risk would have done speaks of the resource only where that is in shadow mode; else it is the
    /// risk that is monitored.
    fn note_findings(&mut self, findings: &[ShadowFinding], route: usize, shadow_resource: bool) {
        for finding in findings {
            let rule = finding.rule.as_ref();
            match (finding.outcome, rule.map(|rule| rule.kind)) {
                (Outcome::Permit, _) => {
                    let found = rule.and_then(|rule| position(&self.policy.assignments, |each| &each.rule, rule));
                    raise(&mut self.assignments, found.unwrap_or(usize::MAX), CoverageLevel::Covered);
                }
                (_, Some(RuleKind::Deny)) => {
                    let found = rule.and_then(|rule| position(&self.policy.denies, |each| &each.rule, rule));
                    raise(&mut self.denies, found.unwrap_or(usize::MAX), CoverageLevel::Covered);
                }
                (_, Some(_)) if shadow_resource => raise(&mut self.resources, route, CoverageLevel::Covered),
                (_, Some(_) | None) => {}
            }
        }
    }

    fn note_resource(&mut self, route: usize, resource: &Resource, last: Option<Stage>) {
        let level = match last {
            Some(Stage::Ban | Stage::Route) => return,
            Some(Stage::Network) if resource.authentication != AuthenticationRule::None => CoverageLevel::Touched,
            _ => CoverageLevel::Covered,
        };
        raise(&mut self.resources, route, level);
    }

    /// The permissions that a permitted request used: those of the decisive grant's role, or of the roles held directly.
    fn note_permissions(&mut self, view: &View<'_>, caller: Caller<'_>, grant: Option<AssignmentId>) {
        let policy = self.policy;
        let mut roles: Vec<RoleId> = Vec::new();
        match (grant, caller) {
            (Some(id), _) => {
                roles.extend(policy.assignments.get(id.0 as usize).map(|assignment| assignment.role));
            }
            (None, Caller::Verified(principal)) => {
                roles.extend(principal.roles.iter().filter_map(|name| policy.role_by_name.get(&**name)));
            }
            (None, Caller::Anonymous | Caller::SomeVerified) => {}
        }
        for role in roles.iter().filter_map(|role| policy.roles.get(role.0 as usize)) {
            for tag in role.actions.tags(&view.matched, view.method) {
                let index = tag as usize;
                let excluded = policy.not_actions.get(index).is_none_or(|not| not.contains(&view.matched, view.method));
                if let Some(Some(level)) = self.permissions.get_mut(index).filter(|_| !excluded) {
                    *level = CoverageLevel::Covered;
                }
            }
        }
    }

    /// A condition is seen to hold where the assignment grants, and either way where nothing grants: only there does it matter.
    fn note_conditions(&mut self, view: &View<'_>, route: crate::route::RouteId, caller: Caller<'_>) {
        let policy = self.policy;
        let granted = policy.grants_stage(view, route, caller, &mut Silent);
        if let GrantOutcome::Granted(id) = granted {
            let found = id
                .and_then(|id| Some((policy.assignments.get(id.0 as usize)?, self.conditions.get_mut(id.0 as usize)?)));
            if let Some((assignment, shown)) = found {
                shown.met |= demanded(&assignment.when).fold(0, |bits, kind| bits | bit(kind));
            }
            return;
        }
        let _ = policy.for_each_subject(view, caller, &mut |subject| {
            for id in subject.assignments.on(route) {
                let index = id.0 as usize;
                let Some(assignment) = policy.assignments.get(index).filter(|each| !each.shadow) else { continue };
                let applies = assignment.period.state(view.now) == PeriodState::Within
                    && policy.role_permits(assignment.role, view);
                let Some(shown) = self.conditions.get_mut(index).filter(|_| applies) else { continue };
                for kind in demanded(&assignment.when) {
                    match policy.condition(view, &assignment.when, kind, caller) {
                        Truth::Yes => shown.met |= bit(kind),
                        Truth::No | Truth::Unknown => shown.unmet |= bit(kind),
                    }
                }
            }
            ControlFlow::<()>::Continue(())
        });
    }
}

/// Every finding of one request. They are noted and dropped, so the bound for a trace does not hold here.
#[derive(Debug, Default)]
struct Findings(Vec<ShadowFinding>);

impl Record for Findings {
    fn shadow(&mut self, make: impl FnOnce() -> ShadowFinding) {
        self.0.push(make());
    }
}

fn raise(levels: &mut [CoverageLevel], index: usize, level: CoverageLevel) {
    if let Some(found) = levels.get_mut(index) {
        *found = level.max(*found);
    }
}

/// The index of a rule among rules that are sorted by name.
fn position<T>(rules: &[T], rule_of: impl Fn(&T) -> &RuleRef, wanted: &RuleRef) -> Option<usize> {
    rules.binary_search_by(|each| rule_of(each).name.cmp(&wanted.name)).ok()
}

fn bit(kind: ConditionKind) -> u8 {
    match kind {
        ConditionKind::Networks => 1,
        ConditionKind::Hours => 2,
        ConditionKind::Countries => 4,
        ConditionKind::Device => 8,
        ConditionKind::Assurance => 16,
        ConditionKind::MaxRisk => 32,
        ConditionKind::Activation => 64,
        ConditionKind::MaxAge => 128,
    }
}

/// The conditions that are written.
fn demanded(when: &Conditions) -> impl Iterator<Item = ConditionKind> {
    ConditionKind::ALL.into_iter().filter(|kind| match kind {
        ConditionKind::Networks => when.networks.is_some(),
        ConditionKind::Hours => when.hours.is_some(),
        ConditionKind::Countries => when.countries.is_some(),
        ConditionKind::Device => when.compliant_device,
        ConditionKind::Assurance => when.assurance_mfa,
        ConditionKind::MaxAge => when.max_age_s.is_some(),
        ConditionKind::MaxRisk => when.max_risk.is_some(),
        ConditionKind::Activation => when.activation.is_some(),
    })
}
