//! What the answer says of one subject: asked about as whoever is this subject and no more than that.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use crate::decision::RuleRef;
use crate::draft::AuthenticationRule;
use crate::evaluate::{Caller, View};
use crate::policy::*;
use crate::principal::PrincipalKind;
use crate::questions::who_can::answer::*;
use crate::questions::who_can::{Asked, NamedDeny};
use crate::questions::{MOST_ENTRIES, MOST_MEMBERS, Standing};
use crate::request::IdentityFact;

/// Someone the question is asked about: everything it is for the rules.
struct Candidate<'a> {
    identities: &'a [SubjectId],
    caller: Caller<'a>,
    view: &'a View<'a>,
}

impl Asked<'_> {
    /// What the answer says of one subject; `None` where nobody can be it.
    pub(super) fn subject(
        &self,
        id: SubjectId,
        assignments: &BTreeSet<AssignmentId>,
        is_open: bool,
    ) -> Option<Result<AllowedSubject, DeniedSubject>> {
        let subject = self.policy.subjects.get(id)?;
        let is_anonymous = match self.resource.authentication {
            AuthenticationRule::Required | AuthenticationRule::Certificate => false,
            AuthenticationRule::Optional | AuthenticationRule::None => self.anonymous.contains(&id),
        };
        if self.resource.authentication == AuthenticationRule::None && !is_anonymous || !self.is_taken(subject) {
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

    /// Whether the route takes the credential of whoever is this subject.
    fn is_taken(&self, subject: &Subject) -> bool {
        let other = subject.name.starts_with("user:") || subject.name.starts_with("service:");
        self.resource.authentication != AuthenticationRule::Certificate || !other
    }

    /// The kind of somebody of whom only a group is known.
    fn usual_kind(&self) -> PrincipalKind {
        match self.resource.authentication {
            AuthenticationRule::Certificate => PrincipalKind::Certificate,
            AuthenticationRule::Required | AuthenticationRule::Optional | AuthenticationRule::None => {
                PrincipalKind::User
            }
        }
    }

    /// Asks about whoever is this subject and no more than that.
    fn as_candidate<T>(&self, subject: &Subject, is_anonymous: bool, ask: impl FnOnce(&Candidate<'_>) -> T) -> T {
        let kind = match subject.name.split_once(':') {
            Some(("service", _)) => PrincipalKind::Service,
            Some(("certificate", _)) => PrincipalKind::Certificate,
            Some(("user", _)) => PrincipalKind::User,
            _ => self.usual_kind(),
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
                if !self.is_taken(member) {
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

    pub(super) fn held_directly(&self, roles: &BTreeSet<RoleId>, is_open: bool) -> Option<DirectRoles> {
        if self.resource.authentication == AuthenticationRule::None || !self.policy.counts_directly(self.question.route)
        {
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
    pub(super) fn touching_denies(&self) -> Vec<TouchingDeny> {
        let somebody = self.question.somebody(self.usual_kind());
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
