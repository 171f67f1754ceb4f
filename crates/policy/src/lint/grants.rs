//! Grants that can never apply. One warning for each, with the first reason there is.

use std::collections::{HashMap, HashSet};

use crate::draft::*;
use crate::lint::denied::Denied;
use crate::lint::findings::{Budget, Findings};
use crate::lint::reach::Reach;
use crate::lint::{View, listed};
use crate::network::{Members, NetworkId};
use crate::policy::{Assignment, Resource, RoleId, Scope, SubjectId};
use crate::route::RouteId;

/// Paths of routes, and sets of networks, that are looked at.
const MOST_STEPS: usize = 4_000_000;
/// Minutes at which hours are asked whether they hold.
const MOST_MINUTES: usize = 200_000;
/// Within eight days every hour of the week occurs once.
const WEEK_S: i64 = 8 * 24 * 60 * 60;

/// Reports grants that can never apply, and gives for each assignment whether it is one.
pub(super) fn check(view: &View<'_>, findings: &mut Findings) -> Vec<bool> {
    let mut check = Check {
        view,
        reach: Reach::new(view),
        denied: Denied::new(view),
        populated: populated(view),
        permits: Answers::new(),
        networks: Answers::new(),
        minutes: Budget::new(MOST_MINUTES),
    };
    let mut dead = Vec::with_capacity(view.assignments.len());
    for (draft, assignment) in view.assignments.iter().zip(&view.policy.assignments) {
        dead.push(!assignment.shadow && check.is_dead(draft, assignment, findings));
    }
    let spent = [
        (check.permits.budget.is_spent(), "whether roles permit anything on the routes of their grants"),
        (check.networks.budget.is_spent(), "whether the networks of grants contradict those of their routes"),
        (check.minutes.is_spent(), "whether the hours of grants occur within their periods"),
        (check.denied.is_spent(), "whether denies take grants away"),
    ];
    spent.into_iter().filter(|(spent, _)| *spent).for_each(|(_, what)| findings.incomplete(what));
    dead
}

struct Check<'v, 'a> {
    view: &'v View<'a>,
    reach: Reach<'a>,
    denied: Denied<'v, 'a>,
    /// By subject: it may be somebody.
    populated: Vec<bool>,
    /// By role and scope: whether it permits something there.
    permits: Answers<(RoleId, Option<&'a [RouteId]>)>,
    /// By networks of a grant and by resource: whether some address is in both.
    networks: Answers<(&'a [NetworkId], Option<RouteId>)>,
    minutes: Budget,
}

/// What was asked before, and how much more may be asked.
struct Answers<K> {
    known: HashMap<K, bool>,
    budget: Budget,
}

impl<K> Answers<K> {
    fn new() -> Self {
        Self { known: HashMap::new(), budget: Budget::new(MOST_STEPS) }
    }
}

impl<'a> Check<'_, 'a> {
    fn is_dead(&mut self, draft: &AssignmentDraft, assignment: &'a Assignment, findings: &mut Findings) -> bool {
        self.has_expired(draft, findings)
            || self.is_for_nobody(draft, assignment, findings)
            || self.contradicts_networks(draft, assignment, findings)
            || self.has_no_hours(draft, findings)
            || self.permits_nothing(draft, assignment, findings)
            || self.is_denied(draft, assignment, findings)
    }

    fn has_expired(&self, draft: &AssignmentDraft, findings: &mut Findings) -> bool {
        let (Some(expires), Some(now)) = (draft.expires, self.view.facts.now) else { return false };
        if now < expires {
            return false;
        }
        let message = format!("the assignment `{}` expired at {expires}", draft.name.value);
        findings.add(ProblemKind::ExpiredGrant, draft.name.at, message, "remove it, or give it another `expires`");
        true
    }

    fn is_for_nobody(&self, draft: &AssignmentDraft, assignment: &Assignment, findings: &mut Findings) -> bool {
        let somebody = |subject: &SubjectId| self.populated.get(subject.0 as usize).copied().unwrap_or(true);
        if assignment.principals.is_empty() || assignment.principals.iter().any(somebody) {
            return false;
        }
        let mut groups: Vec<&str> = draft.principals.iter().map(|each| each.value.as_str()).collect();
        groups.sort_unstable();
        groups.dedup();
        let message = format!(
            "the assignment `{}` is for nobody: {} {} no members",
            draft.name.value,
            listed(&groups, 3),
            if groups.len() == 1 { "has" } else { "have" }
        );
        let help = "add members, or let a provider fill the group with `trust_groups`";
        findings.add(ProblemKind::GrantToNobody, draft.name.at, message, help);
        true
    }

    fn contradicts_networks(
        &mut self,
        draft: &AssignmentDraft,
        assignment: &'a Assignment,
        findings: &mut Findings,
    ) -> bool {
        let Some(networks) = assignment.when.networks.as_deref() else { return false };
        let policy = self.view.policy;
        let facts = |network: &NetworkId| policy.network_facts.get(network.0 as usize);
        if networks.iter().any(|network| facts(network).is_none_or(|facts| facts.unknown)) {
            return false;
        }
        let possible = match &assignment.scope {
            Scope::All => (0u32..).take(policy.resources.len()).any(|route| self.meets(networks, RouteId(route))),
            Scope::Routes(routes) => routes.iter().any(|route| self.meets(networks, *route)),
        };
        if possible {
            return false;
        }
        let names: Vec<&str> = networks.iter().filter_map(facts).map(|facts| &*facts.rule.name).collect();
        let message = format!(
            "the assignment `{}` never holds: no address is in {} and let in by its routes",
            draft.name.value,
            listed(&names, 3)
        );
        let at = draft.when.networks.iter().flatten().map(|name| name.at).min().unwrap_or(draft.name.at);
        let help = "compare `when.networks` with `networks` of the [[resource]]";
        let related = self.resources_of(&assignment.scope);
        findings.add_related(ProblemKind::ContradictingNetworks, at, message, help, related);
        true
    }

    /// Whether some address of the networks is let in by the route. When the budget is spent, it may be.
    fn meets(&mut self, networks: &'a [NetworkId], route: RouteId) -> bool {
        if !self.networks.budget.spend(1) {
            return true;
        }
        let index = &self.view.policy.networks;
        let bounding =
            |resource: &&Resource| !(resource.shadow || resource.allow.is_empty() && resource.deny.is_empty());
        let resource = self.view.policy.resources.get(route.index()).filter(bounding);
        let key = (networks, resource.map(|_| route));
        if let Some(known) = self.networks.known.get(&key) {
            return *known;
        }
        let unknown = |network: &NetworkId| {
            self.view.policy.network_facts.get(network.0 as usize).is_none_or(|facts| facts.unknown)
        };
        let let_in = |members: Members<'_>| {
            let Some(resource) = resource else { return true };
            let within = |list: &[NetworkId]| list.iter().any(|network| members.contains(*network));
            !within(&resource.deny) && (resource.allow.is_empty() || within(&resource.allow))
        };
        // What is in an unknown network nobody knows, so that it may let in any address.
        let open = resource.is_some_and(|resource| resource.allow.iter().any(unknown));
        // The sets of a network that is cut into too many are not kept: then some address may be let in.
        let draft = self.view.draft;
        let is_left_out = |network: &NetworkId| {
            let name = self.view.policy.network_facts.get(network.0 as usize).map(|facts| &*facts.rule.name);
            let written = || draft.networks.iter().find(|each| Some(each.name.value.as_str()) == name);
            index.sets_within(*network).is_empty()
                && written().is_some_and(|each| !each.unknown && !each.prefixes.is_empty())
        };
        let mut met = open || networks.iter().any(is_left_out);
        for set in networks.iter().flat_map(|network| index.sets_within(*network)) {
            if met {
                break;
            }
            met = !self.networks.budget.spend(1) || let_in(index.members(*set));
        }
        self.networks.known.insert(key, met);
        met
    }

    fn resources_of(&self, scope: &Scope) -> Vec<(Position, String)> {
        let Scope::Routes(routes) = scope else { return Vec::new() };
        let names: Vec<&str> = routes.iter().map(|route| self.view.policy.route_name(*route)).collect();
        let mut places: Vec<(Position, String)> = (self.view.draft.resources.iter())
            .filter(|resource| names.contains(&resource.route.value.as_str()))
            .map(|resource| (resource.route.at, "what the route lets in".to_owned()))
            .collect();
        places.sort();
        places.truncate(3);
        places
    }

    fn has_no_hours(&mut self, draft: &AssignmentDraft, findings: &mut Findings) -> bool {
        let (Some(hours), Some(expires)) = (&draft.when.hours, draft.expires) else { return false };
        let Some(from) = draft.starts.max(self.view.facts.now) else { return false };
        if expires.as_second().saturating_sub(from.as_second()) > WEEK_S {
            return false;
        }
        let mut at = Some(from);
        while let Some(moment) = at.filter(|moment| *moment < expires) {
            if !self.minutes.spend(1) || hours.value.hold(moment) {
                return false;
            }
            // Clocks of all zones are whole minutes apart, so that hours begin and end on the minute here, too.
            let next = (moment.as_second().div_euclid(60) + 1).saturating_mul(60);
            at = jiff::Timestamp::from_second(next).ok();
        }
        let message = format!(
            "the assignment `{}` never holds: until {expires} there is no `{}`",
            draft.name.value, hours.value.text
        );
        let help = "compare `hours` with `starts` and `expires`";
        findings.add(ProblemKind::HoursNeverOccur, hours.at, message, help);
        true
    }

    fn permits_nothing(
        &mut self,
        draft: &AssignmentDraft,
        assignment: &'a Assignment,
        findings: &mut Findings,
    ) -> bool {
        let scope = match &assignment.scope {
            Scope::All => None,
            Scope::Routes(routes) => Some(&**routes),
        };
        let key = (assignment.role, scope);
        let permits = match self.permits.known.get(&key) {
            Some(known) => *known,
            None => {
                let mut actions = self.view.live_actions(assignment.role).peekable();
                // A role without anything is reported itself, once.
                let permits = actions.peek().is_none()
                    || self
                        .reach
                        .any_reaches(self.view, actions, &assignment.scope, &mut self.permits.budget)
                        .unwrap_or(true);
                self.permits.known.insert(key, permits);
                permits
            }
        };
        if permits {
            return false;
        }
        let message = format!(
            "the assignment `{}` permits nothing: no path of role `{}` leads to {}",
            draft.name.value,
            draft.role.value,
            match &draft.scope {
                ScopeDraft::All => "a route".to_owned(),
                ScopeDraft::Routes(routes) => {
                    let mut names: Vec<&str> = routes.iter().map(|route| route.value.as_str()).collect();
                    names.sort_unstable();
                    listed(&names, 3)
                }
            }
        );
        let help = "compare the role's `actions` with `paths` of the [[route]]; the most specific route takes a path";
        findings.add(ProblemKind::UnreachableGrant, draft.name.at, message, help);
        true
    }

    fn is_denied(&mut self, draft: &AssignmentDraft, assignment: &'a Assignment, findings: &mut Findings) -> bool {
        let Some(deny) = self.denied.deny_over(assignment, &self.reach) else { return false };
        let message = format!(
            "the assignment `{}` never applies: the deny `{}` forbids all of it to all of them",
            draft.name.value, deny.name.value
        );
        let help = "remove one of them, or narrow the deny";
        let related = vec![(deny.name.at, "this deny is stronger".to_owned())];
        findings.add_related(ProblemKind::DeniedGrant, draft.name.at, message, help, related);
        true
    }
}

/// By subject: whether it may be somebody. A declared group is, and any where nobody brings others, through whoever is in it, or by what a credential says.
fn populated(view: &View<'_>) -> Vec<bool> {
    let list = &view.policy.subjects.list;
    let claimed: HashSet<&str> = (view.facts.claimed_groups.iter())
        .chain(view.facts.credentials.iter().flat_map(|each| &each.groups))
        .map(String::as_str)
        .collect();
    let mut populated = vec![false; list.len()];
    for (index, subject) in list.iter().enumerate() {
        let group = subject.name.strip_prefix("group:");
        // Of a group that is not declared a provider may bring members, where there is one.
        let is_told = subject.declared || (view.facts.no_claims && group.is_some());
        if is_told && !claimed.contains(group.unwrap_or_default()) {
            continue;
        }
        for id in std::iter::once(index).chain(subject.groups.iter().map(|group| group.0 as usize)) {
            if let Some(slot) = populated.get_mut(id) {
                *slot = true;
            }
        }
    }
    populated
}
