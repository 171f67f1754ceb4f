//! All that a principal may do: route by route, every grant that reaches it and every deny that touches it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::action::Action;
use crate::decision::RuleRef;
use crate::evaluate::{Caller, View};
use crate::path::CanonicalPath;
use crate::policy::*;
use crate::principal::Principal;
use crate::questions::actions::{ActionsOnRoute, EffectiveAction, ListedAction};
use crate::questions::{Circumstances, Demands, MOST_ACTIONS, MOST_ENTRIES, Obstacle, Standing};
use crate::request::IdentityFact;
use crate::route::RouteId;

/// All that a principal may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Every route, in the order of the configuration; where a host was named, those that may answer for it.
    pub routes: Vec<RouteListing>,
    /// How many grants and denies were left out, because there are more than [`MOST_ENTRIES`].
    pub omitted: usize,
    /// Whether anything may be done under the given facts: an enforced grant is in force on a route that can be entered,
    /// and for at least one of its actions no single deny that is or may be in force covers all of it.
    pub permits_now: bool,
}

/// What a principal may do on one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteListing {
    /// The route's name.
    pub name: Arc<str>,
    /// The route.
    pub route: RouteId,
    /// Its hosts, as `portcullis.toml` writes them; `*` is any host.
    pub hosts: Vec<String>,
    /// Its path patterns.
    pub paths: Vec<String>,
    /// What it demands of everyone.
    pub demands: Demands,
    /// Why it refuses the principal whatever it holds; empty: it can be entered.
    pub obstacles: Vec<Obstacle>,
    /// The grants, roles held directly first, then assignments by name. Those of which no action can happen on this route
    /// are left out.
    pub grants: Vec<ListedGrant>,
    /// The denies that name the principal or one of its groups, by name. Likewise.
    pub denies: Vec<ListedDeny>,
}

/// A role that a principal holds on a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGrant {
    /// The role.
    pub role: RuleRef,
    /// The assignment that grants it; `None` for a role that the credential carries, or that is lent for a time.
    pub assignment: Option<RuleRef>,
    /// As whom the principal holds it: itself, `anyone`, `authenticated`, `group:NAME`.
    pub through: Vec<Arc<str>>,
    /// Whether it is in force.
    pub standing: Standing,
    /// It is only reported, and never effective.
    pub shadow: bool,
    /// Its actions that can happen on this route, by text; at most [`MOST_ACTIONS`]. A path of them that a more specific
    /// route answers for belongs to that route.
    pub actions: Vec<ListedAction>,
    /// How many actions were left out.
    pub more_actions: usize,
}

/// A deny that names a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDeny {
    /// The deny.
    pub rule: RuleRef,
    /// As whom it names the principal.
    pub through: Vec<Arc<str>>,
    /// Whether it is in force. One of which all needs are unknown leaves the answer undecided ([`Standing::may_be_now`]).
    pub standing: Standing,
    /// It is only reported.
    pub shadow: bool,
    /// Its actions that can happen on this route, by text; at most [`MOST_ACTIONS`].
    pub actions: Vec<String>,
    /// How many actions were left out.
    pub more_actions: usize,
}

impl Policy {
    /// All that a principal may do, or all that an anonymous caller may (`None`); on every route, or only on those that may
    /// answer for `host` (in the form of [`crate::canonical_host`]).
    ///
    /// What is in force now, on a route without obstacles, and touched by no deny that is or may be in force, is what
    /// [`Policy::decide`] permits; and everything that it permits is among it. That holds for the same facts, without
    /// bans, and for an answer that leaves nothing out.
    ///
    /// ```
    /// # use portcullis_policy::*;
    /// let draft = PolicyDraft {
    ///     routes: vec![RouteDraft::new("billing", ["/api/**"])],
    ///     roles: vec![RoleDraft::new("reader", ["GET /api/invoices/**"])],
    ///     assignments: vec![AssignmentDraft {
    ///         when: WhenDraft { assurance_mfa: true, ..WhenDraft::default() },
    ///         ..AssignmentDraft::new("alice-reads", "reader", ["user:alice"])
    ///     }],
    ///     ..PolicyDraft::default()
    /// };
    /// let (policy, _) = Policy::compile(&draft).expect("the draft has no errors");
    /// let circumstances = Circumstances::at("2026-11-23T10:00:00Z".parse().expect("a time"));
    ///
    /// let listing = policy.list(Some(&Principal::user("alice")), None, &circumstances);
    /// let grant = &listing.routes[0].grants[0];
    /// assert_eq!(grant.actions[0].action, "GET /api/invoices/**");
    /// assert_eq!(grant.standing.needs()[0].text, "assurance:mfa");
    /// assert!(!listing.permits_now);
    /// ```
    pub fn list(&self, who: Option<&Principal>, host: Option<&str>, circumstances: &Circumstances<'_>) -> Listing {
        self.list_from(who, host, circumstances, 0, usize::MAX).0
    }

    /// A part of it: at most `most` of those routes that come after the one of this name, and whether others come after them. `None`: there is no
    /// such route. `permits_now` is of all routes, and the bound of entries that of this part.
    pub fn list_after(
        &self,
        who: Option<&Principal>,
        host: Option<&str>,
        circumstances: &Circumstances<'_>,
        (after, most): (Option<&str>, usize),
    ) -> Option<(Listing, bool)> {
        let first = match after {
            None => 0,
            Some(name) => self.route_names.iter().position(|each| **each == *name)? + 1,
        };
        Some(self.list_from(who, host, circumstances, first, most))
    }

    fn list_from(
        &self,
        who: Option<&Principal>,
        host: Option<&str>,
        circumstances: &Circumstances<'_>,
        first: usize,
        most: usize,
    ) -> (Listing, bool) {
        let (mut routes, mut more) = (Vec::new(), false);
        let mut tally = Tally { left: MOST_ENTRIES, omitted: 0, permits_now: false, writes: true };
        let entries = self.routes.entries(self.route_names.len());
        let path = CanonicalPath::root();
        for (route, mut entries) in (0u32..).map(RouteId).zip(entries) {
            entries.retain(|(pattern, _)| host.is_none_or(|host| pattern.holds(host)));
            let Some(resource) = self.resources.get(route.index()).filter(|_| !entries.is_empty()) else { continue };
            let identity = who.map_or(IdentityFact::Anonymous, IdentityFact::Verified);
            let request = circumstances.request("", &path, route, identity);
            let view = View::new(self, &request);
            let caller = view.caller(resource.authentication);
            let mut asked = Asked {
                policy: self,
                route,
                caller,
                subjects: self.subjects_of(&view, caller).iter().filter_map(|id| self.subjects.get(*id)).collect(),
                actions: ActionsOnRoute::new(self, entries),
                view: &view,
            };
            tally.writes = route.index() >= first && routes.len() < most;
            more |= route.index() >= first && !tally.writes;
            if !tally.writes && tally.permits_now {
                continue;
            }
            let listed = asked.list(resource, &mut tally);
            if tally.writes {
                routes.push(listed);
            }
        }
        (Listing { routes, omitted: tally.omitted, permits_now: tally.permits_now }, more)
    }
}

/// What all routes together come to.
struct Tally {
    /// How many entries may still be written down.
    left: usize,
    omitted: usize,
    permits_now: bool,
    /// This route is a part of the answer.
    writes: bool,
}

impl Tally {
    /// Whether one entry more may be written down; it is counted either way.
    fn has_room(&mut self) -> bool {
        if !self.writes {
            return false;
        }
        match self.left.checked_sub(1) {
            Some(fewer) => self.left = fewer,
            None => self.omitted += 1,
        }
        self.omitted == 0
    }
}

/// One principal on one route.
struct Asked<'a> {
    policy: &'a Policy,
    view: &'a View<'a>,
    route: RouteId,
    caller: Caller<'a>,
    subjects: Vec<&'a Subject>,
    actions: ActionsOnRoute<'a>,
}

/// A deny that names the caller, with its actions on the route.
struct Touching<'a> {
    deny: &'a Deny,
    standing: Standing,
    actions: Vec<Action>,
}

impl Touching<'_> {
    fn may_refuse(&self) -> bool {
        !self.deny.shadow && self.standing.may_be_now()
    }

    fn refuses_always(&self) -> bool {
        !self.deny.shadow && self.deny.when.is_empty() && self.standing.is_now()
    }
}

/// A grant before it is written down.
struct Held<'a> {
    role: RoleId,
    assignment: Option<&'a Assignment>,
    through: Vec<Arc<str>>,
}

impl<'a> Asked<'a> {
    fn list(&mut self, resource: &Resource, tally: &mut Tally) -> RouteListing {
        let (hosts, paths) = self.actions.places();
        let mut found = RouteListing {
            name: self.policy.route_names.get(self.route.index()).cloned().unwrap_or_default(),
            route: self.route,
            hosts,
            paths,
            demands: self.policy.demands(resource),
            obstacles: self.obstacles(resource),
            grants: Vec::new(),
            denies: Vec::new(),
        };
        let denies = self.denies();
        for (through, touching) in &denies {
            if tally.has_room() {
                found.denies.push(self.written_deny(through.clone(), touching));
            }
        }
        for held in self.held() {
            let actions = self.actions.of_role(held.role);
            if actions.is_empty() {
                continue;
            }
            let standing = self.standing(&held);
            let effective =
                standing.is_now() && found.obstacles.is_empty() && held.assignment.is_none_or(|each| !each.shadow);
            if effective && !tally.permits_now {
                let refused =
                    |action: &EffectiveAction| self.covering(action, &denies, |each| each.may_refuse()).is_some();
                tally.permits_now = actions.iter().any(|action| !refused(action));
            }
            if tally.has_room() {
                found.grants.extend(self.written_grant(held, standing, &actions, &denies));
            }
        }
        found
    }

    /// In the order in which they refuse.
    fn obstacles(&self, resource: &Resource) -> Vec<Obstacle> {
        let network = self.policy.network_obstacle(self.view, self.route, resource);
        let authentication = self.policy.authentication_obstacle(self.view, resource);
        let risk = match authentication {
            Some(_) => None,
            None => self.policy.risk_obstacle(self.view, self.route, resource, self.caller),
        };
        network.into_iter().chain(authentication).chain(risk).collect()
    }

    /// By name.
    fn denies(&mut self) -> Vec<(Vec<Arc<str>>, Touching<'a>)> {
        let mut named: BTreeMap<DenyId, Vec<Arc<str>>> = BTreeMap::new();
        for subject in &self.subjects {
            for id in subject.denies.on(self.route) {
                named.entry(id).or_default().push(subject.name.clone());
            }
        }
        let mut found = Vec::new();
        for (id, through) in named {
            let Some(deny) = self.policy.denies.get(id.0 as usize) else { continue };
            let actions = self.actions.of_deny(deny);
            if !actions.is_empty() {
                let standing = self.policy.standing(self.view, deny.period, &deny.when, self.caller);
                found.push((through, Touching { deny, standing, actions }));
            }
        }
        found
    }

    /// Roles held directly, then assignments, each by name.
    fn held(&self) -> Vec<Held<'a>> {
        let mut direct: BTreeSet<RoleId> = BTreeSet::new();
        let mut myself: Arc<str> = Arc::default();
        if let Caller::Verified(principal) = self.caller {
            myself = principal.reference().into();
            direct.extend(self.policy.direct_roles(principal, self.route));
            direct.extend(self.policy.lent_roles(self.view, self.caller).map(|(role, _)| role));
        }
        let direct = direct.into_iter().map(|role| Held { role, assignment: None, through: vec![myself.clone()] });
        let mut through: BTreeMap<AssignmentId, Vec<Arc<str>>> = BTreeMap::new();
        for subject in &self.subjects {
            for id in subject.assignments.on(self.route) {
                through.entry(id).or_default().push(subject.name.clone());
            }
        }
        let assigned = through.into_iter().filter_map(|(id, through)| {
            let assignment = self.policy.assignments.get(id.0 as usize)?;
            Some(Held { role: assignment.role, assignment: Some(assignment), through })
        });
        direct.chain(assigned).collect()
    }

    fn standing(&self, held: &Held<'_>) -> Standing {
        held.assignment.map_or(Standing::Now, |assignment| {
            self.policy.standing(self.view, assignment.period, &assignment.when, self.caller)
        })
    }

    /// A deny that covers all of an action.
    fn covering(
        &self,
        action: &EffectiveAction,
        denies: &'a [(Vec<Arc<str>>, Touching<'_>)],
        counts: impl Fn(&Touching<'_>) -> bool,
    ) -> Option<&'a RuleRef> {
        let narrow = (action.pattern, action.mask);
        let covers = |touching: &&Touching<'_>| touching.actions.iter().any(|wide| self.policy.covers(*wide, narrow));
        let mut counting = denies.iter().map(|(_, touching)| touching).filter(|touching| counts(touching));
        counting.find(covers).map(|touching| &touching.deny.rule)
    }

    fn written_grant(
        &self,
        held: Held<'_>,
        standing: Standing,
        actions: &[EffectiveAction],
        denies: &[(Vec<Arc<str>>, Touching<'_>)],
    ) -> Option<ListedGrant> {
        let written = |action: &EffectiveAction| ListedAction {
            action: self.policy.action_text((action.pattern, action.mask)),
            except: self.policy.action_texts(&action.except),
            denied_by: self.covering(action, denies, |each| each.refuses_always()).cloned(),
        };
        Some(ListedGrant {
            role: self.policy.roles.get(held.role.0 as usize)?.rule.clone(),
            assignment: held.assignment.map(|assignment| assignment.rule.clone()),
            through: held.through,
            standing,
            shadow: held.assignment.is_some_and(|assignment| assignment.shadow),
            actions: actions.iter().take(MOST_ACTIONS).map(written).collect(),
            more_actions: actions.len().saturating_sub(MOST_ACTIONS),
        })
    }

    fn written_deny(&self, through: Vec<Arc<str>>, touching: &Touching<'_>) -> ListedDeny {
        ListedDeny {
            rule: touching.deny.rule.clone(),
            through,
            standing: touching.standing.clone(),
            shadow: touching.deny.shadow,
            actions: touching.actions.iter().take(MOST_ACTIONS).map(|each| self.policy.action_text(*each)).collect(),
            more_actions: touching.actions.len().saturating_sub(MOST_ACTIONS),
        }
    }
}
