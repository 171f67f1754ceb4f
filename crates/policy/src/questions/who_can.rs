//! All who may do one thing: every subject that an assignment names, with what it still needs, and whom a deny refuses.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use crate::decision::RuleRef;
use crate::draft::AuthenticationRule;
use crate::evaluate::{Caller, View};
use crate::path::CanonicalPath;
use crate::policy::*;
use crate::principal::{Device, Principal, PrincipalKind};
use crate::questions::{Circumstances, Demands, MOST_ENTRIES, MOST_MEMBERS, Obstacle, Standing};
use crate::request::{AccessRequest, IdentityFact};
use crate::route::RouteId;

/// One action, and what is known of whoever would do it.
#[derive(Debug, Clone, Copy)]
pub struct ActionQuestion<'a> {
    /// The method.
    pub method: &'a str,
    /// The path.
    pub path: &'a CanonicalPath,
    /// The route that it leads to ([`Policy::find_route`]).
    pub route: RouteId,
    /// From where and when.
    pub circumstances: Circumstances<'a>,
    /// Whether callers' devices meet the rules, where that is known.
    pub compliant_device: Option<bool>,
    /// Callers have a fresh second factor.
    pub fresh_mfa: bool,
}

/// All who may do one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhoCan {
    /// The route's name.
    pub route: Arc<str>,
    /// What the route demands of everyone.
    pub demands: Demands,
    /// Why the route refuses whoever comes from there; empty: it can be entered. A missing credential is none: each subject
    /// is asked about as if it had proved who it is.
    pub obstacles: Vec<Obstacle>,
    /// Whoever is named by an enforced assignment whose role permits the action, unless an unconditional deny refuses it.
    /// By kind, then by name.
    pub allowed: Vec<AllowedSubject>,
    /// Whoever would be among them but for an unconditional deny.
    pub denied: Vec<DeniedSubject>,
    /// Every deny of the action on this route, by name.
    pub denies: Vec<TouchingDeny>,
    /// Whoever's credential carries a role that permits it; `None` where credentials are ignored.
    pub held_directly: Option<DirectRoles>,
    /// How many subjects were left out, because there are more than [`MOST_ENTRIES`].
    pub omitted: usize,
}

impl WhoCan {
    /// Whether some subject that the policy names may do it, now or once what it needs is met.
    pub fn is_possible(&self) -> bool {
        let liftable = |obstacle: &Obstacle| !obstacle.needs.is_empty();
        self.obstacles.iter().all(liftable)
            && self.allowed.iter().any(|each| {
                each.risk.iter().all(liftable)
                    && each.grants.iter().any(|grant| matches!(grant.standing, Standing::Now | Standing::Needs(_)))
            })
    }
}

/// A subject that may do it, at least under conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedSubject {
    /// As a policy file writes it: `user:ID`, `service:ID`, `certificate:SAN`, `group:NAME`, `anyone`, `authenticated`.
    pub subject: Arc<str>,
    /// Whether [`Policy::decide`] permits it under the given facts to whoever is this subject and no more than that. A
    /// member of a group may be refused on its own account: see [`Member::denied_by`].
    pub now: bool,
    /// The grants that it holds: those in force first, then by name.
    pub grants: Vec<SubjectGrant>,
    /// The enforced denies with conditions that name it and are, or may be, in force.
    pub denies: Vec<(RuleRef, Standing)>,
    /// What the risk asks of it; of a group, of the people in it: a service cannot answer a step-up and is not asked.
    pub risk: Option<Obstacle>,
    /// Of a group: who is in it. `None` for a group that the policy does not declare: whoever's credential claims it.
    pub members: Option<Members>,
}

/// A grant of the action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectGrant {
    /// The assignment.
    pub assignment: RuleRef,
    /// Its role.
    pub role: RuleRef,
    /// Whether it is in force.
    pub standing: Standing,
}

/// Who is in a group by the policy's own `[[group]]` entries. Credentials may put more into it (`trust_groups`, API keys).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// How many there are, each counted once, the groups between not counted.
    pub total: usize,
    /// The first [`MOST_MEMBERS`]: those with the shortest way first, then by name.
    pub shown: Vec<Member>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// As a policy file writes it.
    pub subject: Arc<str>,
    /// The groups that lead to it, the asked one first.
    pub through: Vec<Arc<str>>,
    /// An enforced deny that names it, or one of its groups, and is or may be in force.
    pub denied_by: Option<RuleRef>,
}

/// A subject that would be allowed but for a deny.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeniedSubject {
    /// As a policy file writes it.
    pub subject: Arc<str>,
    /// The first by name of the unconditional denies that refuse it.
    pub deny: RuleRef,
}

/// A deny of the action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TouchingDeny {
    /// The deny.
    pub rule: RuleRef,
    /// Whom it names, by name; at most [`MOST_MEMBERS`].
    pub principals: Vec<Arc<str>>,
    /// How many more it names.
    pub more_principals: usize,
    /// Whether it is in force. One of which all needs are unknown leaves the answer undecided ([`Standing::may_be_now`]).
    pub standing: Standing,
    /// It is only reported.
    pub shadow: bool,
}

/// The roles that permit the action to whoever's credential carries one, which is unknown to the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectRoles {
    /// By name; at most [`MOST_ENTRIES`].
    pub roles: Vec<RuleRef>,
    /// Whether it is permitted under the given facts to a user whom no rule names.
    pub now: bool,
    /// A deny of `anyone` or `authenticated` that is or may be in force.
    pub denied_by: Option<RuleRef>,
    /// What the risk asks of such a user.
    pub risk: Option<Obstacle>,
}

impl Policy {
    /// All who may do one thing: every subject that an assignment names, under which conditions, and whom a deny refuses.
    ///
    /// Whoever is permitted by [`Policy::decide`] is one of the allowed subjects, or holds one of the roles directly. That
    /// holds for the same facts, without bans, and for an answer that leaves nothing out. The roles and their assignments
    /// are found through indexes, so the cost grows with what the answer holds.
    ///
    /// ```
    /// # use portcullis_policy::*;
    /// let draft = PolicyDraft {
    ///     routes: vec![RouteDraft::new("billing", ["/api/**"])],
    ///     roles: vec![RoleDraft::new("reader", ["GET /api/invoices/**"])],
    ///     groups: vec![GroupDraft { name: "finance".to_owned().into(), members: vec!["user:alice".to_owned().into()] }],
    ///     assignments: vec![AssignmentDraft::new("finance-reads", "reader", ["group:finance"])],
    ///     ..PolicyDraft::default()
    /// };
    /// let (policy, _) = Policy::compile(&draft).expect("the draft has no errors");
    /// let path = CanonicalPath::parse("/api/invoices/7").expect("a canonical path");
    ///
    /// let who = policy.who_can(&ActionQuestion {
    ///     method: "GET",
    ///     path: &path,
    ///     route: policy.find_route("billing.internal", &path).expect("the route of /api"),
    ///     circumstances: Circumstances::at("2026-11-23T10:00:00Z".parse().expect("a time")),
    ///     compliant_device: None,
    ///     fresh_mfa: false,
    /// });
    /// assert_eq!(&*who.allowed[0].subject, "group:finance");
    /// assert!(who.allowed[0].now);
    /// assert_eq!(&*who.allowed[0].members.as_ref().expect("a declared group").shown[0].subject, "user:alice");
    /// ```
    pub fn who_can(&self, question: &ActionQuestion<'_>) -> WhoCan {
        let nothing = Resource::default();
        let resource = self.resources.get(question.route.index()).unwrap_or(&nothing);
        let request = question.request(IdentityFact::Anonymous);
        let view = View::new(self, &request);
        let asked = Asked {
            policy: self,
            question,
            resource,
            denies: self.denies_of(&view, question.route),
            anonymous: self.subjects_of(&view, Caller::Anonymous),
        };
        let obstacles = Vec::from_iter(self.network_obstacle(&view, question.route, resource));
        let (roles, named) = self.holders(&view, question.route);
        let mut found = WhoCan {
            route: self.route_names.get(question.route.index()).cloned().unwrap_or_default(),
            demands: self.demands(resource),
            held_directly: asked.held_directly(&roles, obstacles.is_empty()),
            obstacles,
            allowed: Vec::new(),
            denied: Vec::new(),
            denies: asked.touching_denies(),
            omitted: 0,
        };
        for (subject, assignments) in self.by_kind_and_name(named) {
            if found.allowed.len() + found.denied.len() >= MOST_ENTRIES {
                found.omitted += 1;
                continue;
            }
            match asked.subject(subject, &assignments, found.obstacles.is_empty()) {
                Some(Ok(allowed)) => found.allowed.push(allowed),
                Some(Err(denied)) => found.denied.push(denied),
                None => {}
            }
        }
        found
    }

    /// The roles that permit the action, and whom assignments give one of them on the route.
    fn holders(
        &self,
        view: &View<'_>,
        route: RouteId,
    ) -> (BTreeSet<RoleId>, BTreeMap<SubjectId, BTreeSet<AssignmentId>>) {
        let mut roles: BTreeSet<RoleId> = BTreeSet::new();
        for pattern in view.matched.iter() {
            let by_method = self.roles_by_pattern.get(pattern.0 as usize).into_iter().flatten();
            let candidates = by_method.filter(|(mask, _)| mask.holds(view.method)).flat_map(|(_, roles)| roles);
            roles.extend(candidates.filter(|role| self.role_permits(**role, view)));
        }
        let mut named: BTreeMap<SubjectId, BTreeSet<AssignmentId>> = BTreeMap::new();
        for role in &roles {
            for id in self.assignments_by_role.get(role.0 as usize).into_iter().flat_map(|list| list.on(route)) {
                for subject in self.assignments.get(id.0 as usize).into_iter().flat_map(|each| &each.principals) {
                    named.entry(*subject).or_default().insert(id);
                }
            }
        }
        (roles, named)
    }

    /// The denies of the action, by name, each with whom it names.
    fn denies_of(&self, view: &View<'_>, route: RouteId) -> Vec<NamedDeny<'_>> {
        let mut ids: Vec<DenyId> = self.denies_by_route.on(route).collect();
        ids.sort_unstable();
        let touching = ids.into_iter().filter_map(|id| {
            let deny = self.denies.get(id.0 as usize)?;
            let principals = self.subjects.denied.get(id.0 as usize)?;
            deny.actions.contains(&view.matched, view.method).then(|| NamedDeny {
                deny,
                principals,
                named: principals.iter().copied().collect(),
            })
        });
        touching.collect()
    }

    /// Everyone first, then single principals, then groups.
    fn by_kind_and_name<T>(&self, named: BTreeMap<SubjectId, T>) -> Vec<(SubjectId, T)> {
        let mut sorted: Vec<(SubjectId, T)> = named.into_iter().collect();
        sorted.sort_by_cached_key(|(id, _)| {
            let name = self.subjects.get(*id).map(|subject| subject.name.clone()).unwrap_or_default();
            let kind = ["anyone", "authenticated", "user:", "service:", "certificate:"];
            (kind.iter().position(|kind| name.starts_with(kind)).unwrap_or(kind.len()), name)
        });
        sorted
    }
}

impl<'a> ActionQuestion<'a> {
    fn request(&self, identity: IdentityFact<'a>) -> AccessRequest<'a> {
        let circumstances = Circumstances { activations: &[], ..self.circumstances };
        circumstances.request(self.method, self.path, self.route, identity)
    }

    /// Somebody of this kind of whom only what the question says is known. The name is nobody's.
    fn somebody(&self, kind: PrincipalKind) -> Principal {
        let mut somebody = Principal::stated(kind, "");
        somebody.device =
            self.compliant_device.map(|compliant| Device { id: Box::default(), compliant: Some(compliant) });
        somebody.authentication.stated_mfa = self.fresh_mfa;
        somebody
    }
}

/// A deny of the action.
struct NamedDeny<'a> {
    deny: &'a Deny,
    principals: &'a [SubjectId],
    named: HashSet<SubjectId>,
}

/// The question, with what is the same for every subject.
struct Asked<'a> {
    policy: &'a Policy,
    question: &'a ActionQuestion<'a>,
    resource: &'a Resource,
    denies: Vec<NamedDeny<'a>>,
    /// What a caller is who proved nothing.
    anonymous: Vec<SubjectId>,
}

/// Someone the question is asked about: everything it is for the rules.
struct Candidate<'a> {
    identities: &'a [SubjectId],
    caller: Caller<'a>,
    view: &'a View<'a>,
}

impl Asked<'_> {
    /// What the answer says of one subject; `None` where nobody can be it.
    fn subject(
        &self,
        id: SubjectId,
        assignments: &BTreeSet<AssignmentId>,
        is_open: bool,
    ) -> Option<Result<AllowedSubject, DeniedSubject>> {
        let subject = self.policy.subjects.get(id)?;
        let is_anonymous = match self.resource.authentication {
            AuthenticationRule::Required => false,
            AuthenticationRule::Optional | AuthenticationRule::None => self.anonymous.contains(&id),
        };
        if self.resource.authentication == AuthenticationRule::None && !is_anonymous {
            return None;
        }
        self.as_candidate(subject, is_anonymous, |candidate| {
            if let Some(deny) = self.unconditional_deny(candidate) {
                return Some(Err(DeniedSubject { subject: subject.name.clone(), deny: deny.clone() }));
            }
            let grants = self.grants(candidate, assignments);
            let denies = self.possible_denies(candidate);
            let risk = self.policy.risk_obstacle(candidate.view, self.question.route, self.resource, candidate.caller);
            let granted = grants.iter().any(|grant| grant.standing.is_now());
            Some(Ok(AllowedSubject {
                subject: subject.name.clone(),
                now: is_open && granted && denies.is_empty() && risk.is_none(),
                grants,
                denies,
                risk,
                members: subject.declared.then(|| self.members(id)),
            }))
        })
    }

    /// Asks about whoever is this subject and no more than that.
    fn as_candidate<T>(&self, subject: &Subject, is_anonymous: bool, ask: impl FnOnce(&Candidate<'_>) -> T) -> T {
        let kind = match subject.name.split_once(':') {
            Some(("service", _)) => PrincipalKind::Service,
            Some(("certificate", _)) => PrincipalKind::Certificate,
            _ => PrincipalKind::User,
        };
        let somebody = self.question.somebody(kind);
        let identity = if is_anonymous { IdentityFact::Anonymous } else { IdentityFact::Verified(&somebody) };
        let request = self.question.request(identity);
        let view = View::new(self.policy, &request);
        let caller = view.caller(self.resource.authentication);
        let mut identities = self.policy.subjects_of(&view, caller);
        if !is_anonymous {
            identities.extend(self.policy.subjects.named(&subject.name));
            identities.extend(&subject.groups);
        }
        ask(&Candidate { identities: &identities, caller, view: &view })
    }

    fn naming<'b>(&'b self, candidate: &'b Candidate<'_>) -> impl Iterator<Item = &'b Deny> {
        let enforced = self.denies.iter().filter(|each| !each.deny.shadow);
        enforced.filter(|each| candidate.identities.iter().any(|id| each.named.contains(id))).map(|each| each.deny)
    }

    fn deny_standing(&self, candidate: &Candidate<'_>, deny: &Deny) -> Standing {
        self.policy.standing(candidate.view, deny.period, &deny.when, candidate.caller)
    }

    fn unconditional_deny(&self, candidate: &Candidate<'_>) -> Option<&RuleRef> {
        let mut naming = self.naming(candidate).filter(|deny| deny.when.is_empty());
        let found =
            naming.find(|deny| self.deny_standing(candidate, deny).is_now()).map(|deny| deny.rule.name.clone())?;
        self.denies.iter().map(|each| &each.deny.rule).find(|rule| rule.name == found)
    }

    fn possible_denies(&self, candidate: &Candidate<'_>) -> Vec<(RuleRef, Standing)> {
        let naming = self.naming(candidate).map(|deny| (deny.rule.clone(), self.deny_standing(candidate, deny)));
        naming.filter(|(_, standing)| standing.may_be_now()).collect()
    }

    fn grants(&self, candidate: &Candidate<'_>, assignments: &BTreeSet<AssignmentId>) -> Vec<SubjectGrant> {
        let held = assignments.iter().filter_map(|id| self.policy.assignments.get(id.0 as usize));
        let mut grants: Vec<SubjectGrant> = held
            .filter_map(|assignment| {
                Some(SubjectGrant {
                    assignment: assignment.rule.clone(),
                    role: self.policy.roles.get(assignment.role.0 as usize)?.rule.clone(),
                    standing: self.policy.standing(
                        candidate.view,
                        assignment.period,
                        &assignment.when,
                        candidate.caller,
                    ),
                })
            })
            .collect();
        // Stable: assignments are in the order of their names.
        grants.sort_by_key(|grant| !grant.standing.is_now());
        grants
    }

    /// Who is in a group, found group by group, so that the way shown is a shortest one.
    fn members(&self, group: SubjectId) -> Members {
        let subjects = &self.policy.subjects;
        // Each group with the one that led to it, in the order of their discovery.
        let mut ways: Vec<(SubjectId, Option<usize>)> = vec![(group, None)];
        let mut seen: HashSet<SubjectId> = HashSet::from([group]);
        let mut members = Members { total: 0, shown: Vec::new() };
        let mut next = VecDeque::from([0]);
        while let Some(at) = next.pop_front() {
            let inside = ways.get(at).and_then(|(group, _)| subjects.get(*group)).map_or(&[][..], |each| &each.members);
            for id in inside {
                let Some(member) = subjects.get(*id).filter(|_| seen.insert(*id)) else { continue };
                if member.declared {
                    next.push_back(ways.len());
                    ways.push((*id, Some(at)));
                    continue;
                }
                members.total += 1;
                if members.shown.len() < MOST_MEMBERS {
                    members.shown.push(Member {
                        subject: member.name.clone(),
                        through: self.way(&ways, at),
                        denied_by: self.as_candidate(member, false, |candidate| {
                            self.possible_denies(candidate).into_iter().next().map(|(rule, _)| rule)
                        }),
                    });
                }
            }
        }
        members
    }

    fn way(&self, ways: &[(SubjectId, Option<usize>)], at: usize) -> Vec<Arc<str>> {
        let mut names = Vec::new();
        let mut next = Some(at);
        while let Some((group, from)) = next.and_then(|at| ways.get(at)) {
            names.extend(self.policy.subjects.get(*group).map(|subject| subject.name.clone()));
            next = *from;
        }
        names.reverse();
        names
    }

    fn held_directly(&self, roles: &BTreeSet<RoleId>, is_open: bool) -> Option<DirectRoles> {
        if self.resource.authentication == AuthenticationRule::None {
            return None;
        }
        let everyone = self.policy.subjects.get(Subjects::AUTHENTICATED)?;
        self.as_candidate(everyone, false, |candidate| {
            let risk = self.policy.risk_obstacle(candidate.view, self.question.route, self.resource, candidate.caller);
            let denied_by = self.possible_denies(candidate).into_iter().next().map(|(rule, _)| rule);
            let listed = roles.iter().take(MOST_ENTRIES).filter_map(|role| self.policy.roles.get(role.0 as usize));
            let now = is_open && risk.is_none() && denied_by.is_none();
            Some(DirectRoles { roles: listed.map(|role| role.rule.clone()).collect(), now, denied_by, risk })
        })
    }

    /// As they are for somebody who proved who it is.
    fn touching_denies(&self) -> Vec<TouchingDeny> {
        let somebody = self.question.somebody(PrincipalKind::User);
        let request = self.question.request(IdentityFact::Verified(&somebody));
        let view = View::new(self.policy, &request);
        let caller = view.caller(self.resource.authentication);
        let written = |each: &NamedDeny<'_>| {
            let named = each.principals.iter().take(MOST_MEMBERS).filter_map(|id| self.policy.subjects.get(*id));
            TouchingDeny {
                rule: each.deny.rule.clone(),
                principals: named.map(|subject| subject.name.clone()).collect(),
                more_principals: each.principals.len().saturating_sub(MOST_MEMBERS),
                standing: self.policy.standing(&view, each.deny.period, &each.deny.when, caller),
                shadow: each.deny.shadow,
            }
        };
        self.denies.iter().take(MOST_ENTRIES).map(written).collect()
    }
}
