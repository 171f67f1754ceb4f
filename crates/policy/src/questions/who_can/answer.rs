//! The question who may do one thing, and the form of its answer.

use std::sync::Arc;

use crate::decision::RuleRef;
use crate::path::CanonicalPath;
use crate::questions::{Circumstances, Demands, Obstacle, Standing};
use crate::route::RouteId;

/// One action, and what is known of whoever would do it.
#[derive(Debug, Clone, Copy)]
pub struct ActionQuestion<'a> {
    /// The method.
    pub method: &'a str,
    /// The path.
    pub path: &'a CanonicalPath,
    /// The route that it leads to ([`Policy::find_route`](crate::Policy::find_route)).
    pub route: RouteId,
    /// From where and when.
    pub circumstances: Circumstances<'a>,
    /// Whether callers' devices meet the rules, where that is known.
    pub compliant_device: Option<bool>,
    /// Callers have a fresh second factor.
    pub fresh_mfa: bool,
    /// How long ago they authenticated, in seconds.
    pub authenticated_s: Option<u64>,
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
    /// How many subjects were left out, because there are more than [`MOST_ENTRIES`](crate::MOST_ENTRIES).
    pub omitted: usize,
}

impl WhoCan {
    /// Whether some subject that the policy names may do it, now, or once what it needs is met and what is unknown turns out
    /// well.
    pub fn is_possible(&self) -> bool {
        self.obstacles.iter().all(Obstacle::may_be_lifted)
            && self.allowed.iter().any(|each| {
                each.risk.iter().all(Obstacle::may_be_lifted)
                    && each.grants.iter().any(|grant| matches!(grant.standing, Standing::Now | Standing::Needs(_)))
            })
    }
}

/// A subject that may do it, at least under conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedSubject {
    /// As a policy file writes it: `user:ID`, `service:ID`, `certificate:SAN`, `group:NAME`, `anyone`, `authenticated`.
    pub subject: Arc<str>,
    /// Whether [`Policy::decide`](crate::Policy::decide) permits it under the given facts to whoever is this subject and no more than that. A
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
    /// The first [`MOST_MEMBERS`](crate::MOST_MEMBERS): those with the shortest way first, then by name.
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
    /// Whom it names, by name; at most [`MOST_MEMBERS`](crate::MOST_MEMBERS).
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
    /// By name; at most [`MOST_ENTRIES`](crate::MOST_ENTRIES).
    pub roles: Vec<RuleRef>,
    /// Whether it is permitted under the given facts to a user whom no rule names.
    pub now: bool,
    /// A deny of `anyone` or `authenticated` that is or may be in force.
    pub denied_by: Option<RuleRef>,
    /// What the risk asks of such a user.
    pub risk: Option<Obstacle>,
}
