//! The lint: what a policy may say and its author hardly meant.
//!
//! It looks at a policy that compiled, and at the draft that it was compiled from, for the places. It changes nothing and
//! forbids nothing: all it gives are warnings, the same for every order of entries. What it calls pointless is proved so;
//! where it is in doubt, or a proof would cost too much, it is silent, and the latter it says.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use crate::action::{ActionSet, MethodMask, PatternId};
use crate::draft::*;
use crate::pattern::Pattern;
use crate::policy::{Policy, RoleId, SubjectId, Subjects};

mod breadth;
mod denied;
mod exclusive;
mod findings;
mod grants;
mod networks;
mod reach;
mod redundant;
mod roles;

use findings::{Budget, Findings};

/// Exceptions of one permission that are looked at; of one with more nothing is said that hangs on them.
const MOST_EXCEPTIONS: usize = 64;
/// Exceptions of all permissions that are held against their actions.
const MOST_COMPARED: usize = 10_000_000;

/// What the lint must know besides the policy.
#[derive(Debug, Clone, Default)]
pub struct LintFacts {
    /// What time it is. Without it nothing is said about time.
    pub now: Option<Timestamp>,
    /// The groups of the policy that a token may put its caller into: they may have members that the policy does not name.
    pub claimed_groups: Vec<String>,
    /// Nobody is in a group but by the policy and by what `credentials` carry: no provider brings groups that the policy does not declare.
    pub no_claims: bool,
    /// What credentials carry that the gateway knows beforehand, such as API keys.
    pub credentials: Vec<CredentialFacts>,
}

/// A credential that the gateway knows beforehand.
#[derive(Debug, Clone, Default)]
pub struct CredentialFacts {
    /// Whom it stands for, such as `service:reporting`.
    pub principal: String,
    /// The groups that it puts its holder into.
    pub groups: Vec<String>,
    /// The roles that it carries.
    pub roles: Vec<Placed<String>>,
}

/// Everything that is questionable about a policy, by position. `policy` was compiled from `draft`.
pub fn lint(draft: &PolicyDraft, policy: &Policy, facts: &LintFacts) -> Vec<Problem> {
    let view = View::new(draft, policy, facts);
    let mut findings = Findings::new(draft);
    if view.left_out {
        findings.incomplete(&format!(
            "permissions with more than {MOST_EXCEPTIONS} `not_actions`, or with too many in all"
        ));
    }
    let dead = grants::check(&view, &mut findings);
    roles::check(&view, &mut findings);
    redundant::check(&view, &dead, &mut findings);
    breadth::check(&view, &dead, &mut findings);
    networks::check(&view, &mut findings);
    exclusive::check(&view, &mut findings);
    findings.sorted()
}

/// The draft beside the policy: entries in the order of their ids.
struct View<'a> {
    draft: &'a PolicyDraft,
    policy: &'a Policy,
    facts: &'a LintFacts,
    roles: Vec<&'a RoleDraft>,
    assignments: Vec<&'a AssignmentDraft>,
    patterns: Vec<&'a Pattern>,
    /// The actions of permissions of which their exceptions leave nothing.
    taken_out: HashSet<(u32, PatternId, MethodMask)>,
    /// Some exceptions were not looked at.
    left_out: bool,
}

impl<'a> View<'a> {
    fn new(draft: &'a PolicyDraft, policy: &'a Policy, facts: &'a LintFacts) -> Self {
        let mut view = Self {
            draft,
            policy,
            facts,
            roles: ranked(&draft.roles, |each| &each.name),
            assignments: ranked(&draft.assignments, |each| &each.name),
            patterns: policy.actions.patterns(),
            taken_out: HashSet::new(),
            left_out: policy.not_actions.iter().any(|set| set.tagged().len() > MOST_EXCEPTIONS),
        };
        view.take_out();
        view
    }

    /// Finds the actions of which nothing is left, each once, however many roles inherit it.
    fn take_out(&mut self) {
        let mut budget = Budget::new(MOST_COMPARED);
        let mut taken_out = HashSet::new();
        let (mut first_tag, mut gave_up) = (0u32, false);
        for (role, id) in self.roles.iter().zip(0u32..) {
            // INVARIANT: permissions are numbered by role, and within a role as they are written.
            let next_tag = first_tag.saturating_add(u32::try_from(role.permissions.len()).unwrap_or(u32::MAX));
            for action in self.actions(RoleId(id)).filter(|each| (first_tag..next_tag).contains(&each.permission)) {
                if !budget.spend(self.not_actions(action.permission).count()) {
                    gave_up = true;
                    break;
                }
                if self.is_taken_out(action.pattern, action.methods, action.permission) {
                    taken_out.insert((action.permission, action.id, action.methods));
                }
            }
            first_tag = next_tag;
        }
        self.taken_out = taken_out;
        self.left_out |= gave_up;
    }

    fn pattern(&self, id: PatternId) -> Option<&'a Pattern> {
        self.patterns.get(id.0 as usize).copied()
    }

    /// The actions of a role, its own and inherited ones, each with its methods and its permission.
    fn actions(&self, role: RoleId) -> impl Iterator<Item = Action<'a>> + use<'a, '_> {
        let tagged = self.policy.roles.get(role.0 as usize).map_or(&[][..], |role| role.actions.tagged());
        tagged.iter().filter_map(|(id, methods, permission)| {
            Some(Action { id: *id, pattern: self.pattern(*id)?, methods: *methods, permission: *permission })
        })
    }

    /// The actions of a role of which something is left.
    fn live_actions(&self, role: RoleId) -> impl Iterator<Item = Action<'a>> + use<'a, '_> {
        self.actions(role).filter(|action| !self.taken_out.contains(&(action.permission, action.id, action.methods)))
    }

    /// What a permission takes out again.
    fn not_actions(&self, permission: u32) -> impl Iterator<Item = (&'a Pattern, MethodMask)> + use<'a, '_> {
        let tagged = self.policy.not_actions.get(permission as usize).map_or(&[][..], |set| set.tagged());
        tagged.iter().filter_map(|(id, methods, _)| Some((self.pattern(*id)?, *methods)))
    }

    /// Whether the permission takes these paths and methods out again, each method by patterns that hold all the paths.
    /// Of a permission with too many exceptions that is not known, and the answer is no.
    fn is_taken_out(&self, pattern: &Pattern, methods: MethodMask, permission: u32) -> bool {
        let known = |set: &ActionSet| set.tagged().len() <= MOST_EXCEPTIONS;
        self.policy.not_actions.get(permission as usize).is_some_and(known)
            && covered(self.not_actions(permission), pattern, methods)
    }

    /// The subject that a policy file writes like this.
    fn subject(&self, text: &str) -> Option<SubjectId> {
        let subjects = &self.policy.subjects;
        match text.split_once(':') {
            None if text == "anyone" => Some(Subjects::ANYONE),
            None if text == "authenticated" => Some(Subjects::AUTHENTICATED),
            None => None,
            Some((kind, name)) => {
                let map = match kind {
                    "user" => &subjects.users,
                    "service" => &subjects.services,
                    "certificate" => &subjects.certificates,
                    _ => &subjects.groups,
                };
                map.get(name).copied()
            }
        }
    }

    /// Everyone that a subject is, for the rules: itself, its groups, `authenticated`, `anyone`, and the groups of these.
    fn is_also(&self, subject: SubjectId) -> Vec<SubjectId> {
        let mut all = vec![subject];
        if subject != Subjects::ANYONE {
            all.push(Subjects::ANYONE);
            // A group that holds anyone has members without a credential.
            if subject != Subjects::AUTHENTICATED && !self.names(&[subject], Subjects::ANYONE) {
                all.push(Subjects::AUTHENTICATED);
            }
        }
        for index in 0..all.len() {
            let groups = all.get(index).and_then(|each| self.policy.subjects.get(*each)).map(|each| &each.groups);
            all.extend(groups.into_iter().flatten());
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether the principals of a rule are, or hold, `anyone` or `authenticated`.
    fn names(&self, principals: &[SubjectId], everybody: SubjectId) -> bool {
        let groups = self.policy.subjects.get(everybody).map_or(&[][..], |subject| &subject.groups);
        principals.iter().any(|each| *each == everybody || groups.contains(each))
    }

    /// Whether callers may be in the declared group by what a credential says.
    fn is_claimed(&self, group: &str) -> bool {
        self.facts.claimed_groups.iter().any(|name| name == group)
            || self.facts.credentials.iter().any(|each| each.groups.iter().any(|name| name == group))
    }
}

/// One action of a role.
#[derive(Debug, Clone, Copy)]
struct Action<'a> {
    id: PatternId,
    pattern: &'a Pattern,
    methods: MethodMask,
    /// The index of its permission among those of all roles.
    permission: u32,
}

/// Whether the actions hold these paths and methods: each method by patterns that alone hold all the paths.
fn covered<'p>(
    actions: impl Iterator<Item = (&'p Pattern, MethodMask)>,
    pattern: &Pattern,
    methods: MethodMask,
) -> bool {
    let mut held = MethodMask::NONE;
    for (each, mask) in actions {
        if each.covers(pattern) {
            held = held.union(mask);
            if held.covers(methods) {
                return true;
            }
        }
    }
    false
}

/// INVARIANT: as in the policy, ids are ranks by name; names are unique in a draft that compiled.
fn ranked<T>(entries: &[T], name: impl Fn(&T) -> &Placed<String>) -> Vec<&T> {
    let mut sorted: Vec<&T> = entries.iter().collect();
    sorted.sort_by(|a, b| name(a).value.cmp(&name(b).value));
    sorted
}

/// Entries by the names that refer to them.
fn by_name<'a, T>(entries: impl IntoIterator<Item = &'a T>, name: impl Fn(&T) -> &str) -> HashMap<String, &'a T> {
    entries.into_iter().map(|each| (name(each).to_owned(), each)).collect()
}

/// `a`, `b and c`, `a, b and 7 more`: at most `most` names.
fn listed(names: &[&str], most: usize) -> String {
    let shown: Vec<String> = names.iter().take(most).map(|name| format!("`{name}`")).collect();
    match (shown.as_slice(), names.len().saturating_sub(most)) {
        (all, more) if more > 0 => format!("{} and {more} more", all.join(", ")),
        ([first @ .., last], _) if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        (all, _) => all.concat(),
    }
}
