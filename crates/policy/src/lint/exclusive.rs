//! Separation of duty: who holds more roles of an `[[exclusive]]` than it may (static separation of duty with hierarchy,
//! ANSI INCITS 359 section 6.3). Whoever holds a role holds those that it inherits; conditions of assignments do not
//! matter, for a duty that is separated only at night is not separated.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::draft::*;
use crate::lint::findings::{Budget, Findings};
use crate::lint::{View, listed, ranked};
use crate::policy::{PeriodState, SubjectId, Subjects};

/// Principals that are reported for each set; the rest is counted.
const MOST_NAMED: usize = 20;
/// Roles, assignments and principals that are looked at.
const MOST_STEPS: usize = 2_000_000;

/// For each role of a set, by its place in the set: where it comes from.
type Held = BTreeMap<usize, Source>;

/// Why somebody holds a role: the assignment, or the credential that carries it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    at: Position,
    note: String,
}

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    if view.draft.exclusives.is_empty() {
        return;
    }
    let mut check = Check::new(view);
    for set in ranked(&view.draft.exclusives, |each| &each.name) {
        check.set(set, findings);
    }
    if check.budget.is_spent() {
        findings.incomplete("who holds roles that exclude each other");
    }
}

struct Check<'v, 'a> {
    view: &'v View<'a>,
    /// By role: those that inherit from it directly.
    heirs: HashMap<&'a str, Vec<&'a str>>,
    /// By role: who is granted it, the enforced grants that have not expired.
    grants: HashMap<&'a str, Vec<usize>>,
    /// By group: who is in it, directly or not.
    members: Vec<Vec<SubjectId>>,
    budget: Budget,
}

impl<'v, 'a> Check<'v, 'a> {
    fn new(view: &'v View<'a>) -> Self {
        let mut heirs: HashMap<&str, Vec<&str>> = HashMap::new();
        for role in &view.roles {
            for parent in &role.inherits {
                heirs.entry(&parent.value).or_default().push(&role.name.value);
            }
        }
        let mut grants: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, (draft, assignment)) in view.assignments.iter().zip(&view.policy.assignments).enumerate() {
            let over = view.facts.now.is_some_and(|now| assignment.period.state(now) == PeriodState::After);
            if !assignment.shadow && !over {
                grants.entry(&draft.role.value).or_default().push(index);
            }
        }
        let list = &view.policy.subjects.list;
        let mut members = vec![Vec::new(); list.len()];
        for (subject, id) in list.iter().zip(0u32..) {
            for group in &subject.groups {
                if let Some(members) = members.get_mut(group.0 as usize) {
                    members.push(SubjectId(id));
                }
            }
        }
        Self { view, heirs, grants, members, budget: Budget::new(MOST_STEPS) }
    }

    fn set(&mut self, set: &'a ExclusiveDraft, findings: &mut Findings) {
        let max = set.max.as_ref().map_or(1, |max| max.value);
        let mut roles: Vec<&str> = set.roles.iter().map(|role| role.value.as_str()).collect();
        roles.sort_unstable();
        let conferred = self.conferred(&roles);
        let named = self.named(&conferred);
        let mut violations = Violations { set, roles: &roles, max, shown: 0, more: 0 };
        // What everybody holds is everybody's: it is said once.
        for (subject, who) in [(Subjects::ANYONE, "anyone"), (Subjects::AUTHENTICATED, "everybody with a credential")] {
            let held = self.effective(subject, &named);
            if held.len() > max {
                violations.report(who, &held, findings);
                return;
            }
        }
        let by_credential = self.with_credentials(&named, &conferred);
        let mut candidates: BTreeSet<(&str, SubjectId)> = BTreeSet::new();
        for holder in named.keys() {
            let members = self.members.get(holder.0 as usize).map_or(&[][..], Vec::as_slice);
            if !self.budget.spend(1 + members.len()) {
                break;
            }
            for subject in members.iter().chain([holder]) {
                let Some(facts) = self.view.policy.subjects.get(*subject) else { continue };
                // The members of a group speak for themselves, unless there may be some that the policy does not name.
                let group = facts.name.strip_prefix("group:");
                let open = group.is_none_or(|group| !facts.declared || self.view.is_claimed(group));
                if open && !by_credential.contains_key(&*facts.name) {
                    candidates.insert((&*facts.name, *subject));
                }
            }
        }
        let mut holders: BTreeMap<String, Held> = by_credential;
        for (name, subject) in candidates {
            let facts = self.view.policy.subjects.get(subject);
            if !self.budget.spend(3 + facts.map_or(0, |facts| facts.groups.len())) {
                break;
            }
            let held = self.effective(subject, &named);
            if held.len() > max {
                holders.insert(name.to_owned(), held);
            }
        }
        for (name, held) in holders.iter().filter(|(_, held)| held.len() > max) {
            violations.report(&format!("`{name}`"), held, findings);
        }
        violations.report_rest(findings);
    }

    /// For each role that confers some of the set: which of them, by place.
    fn conferred(&mut self, roles: &[&'a str]) -> BTreeMap<&'a str, BTreeSet<usize>> {
        let mut conferred: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        for (place, role) in roles.iter().enumerate() {
            let mut next = vec![*role];
            while let Some(each) = next.pop() {
                if self.budget.spend(1) && conferred.entry(each).or_default().insert(place) {
                    next.extend(self.heirs.get(each).into_iter().flatten());
                }
            }
        }
        conferred
    }

    /// Whom grants name, with what each of them confers.
    fn named(&mut self, conferred: &BTreeMap<&str, BTreeSet<usize>>) -> BTreeMap<SubjectId, Held> {
        let mut named: BTreeMap<SubjectId, Held> = BTreeMap::new();
        for (role, places) in conferred {
            for index in self.grants.get(role).into_iter().flatten() {
                let (Some(draft), Some(assignment)) =
                    (self.view.assignments.get(*index), self.view.policy.assignments.get(*index))
                else {
                    continue;
                };
                if !self.budget.spend(assignment.principals.len()) {
                    return named;
                }
                let note = format!("`{role}` through `{}`", draft.name.value);
                let source = Source { at: draft.name.at, note };
                for principal in &assignment.principals {
                    add(named.entry(*principal).or_default(), places, &source);
                }
            }
        }
        named
    }

    /// What a subject holds, with its groups and with what everybody holds.
    fn effective(&self, subject: SubjectId, named: &BTreeMap<SubjectId, Held>) -> Held {
        let mut held = Held::new();
        for each in self.view.is_also(subject) {
            for (place, source) in named.get(&each).into_iter().flatten() {
                add(&mut held, &BTreeSet::from([*place]), source);
            }
        }
        held
    }

    /// By principal: what it holds together with what its credentials carry.
    fn with_credentials(
        &mut self,
        named: &BTreeMap<SubjectId, Held>,
        conferred: &BTreeMap<&str, BTreeSet<usize>>,
    ) -> BTreeMap<String, Held> {
        let mut holders: BTreeMap<String, Held> = BTreeMap::new();
        for credential in &self.view.facts.credentials {
            let groups = credential.groups.iter().filter_map(|name| self.view.subject(&format!("group:{name}")));
            let own = self.view.subject(&credential.principal).unwrap_or(Subjects::AUTHENTICATED);
            let held = holders.entry(credential.principal.clone()).or_default();
            for subject in groups.chain([own]) {
                if !self.budget.spend(1) {
                    return holders;
                }
                for (place, source) in self.effective(subject, named) {
                    add(held, &BTreeSet::from([place]), &source);
                }
            }
            for role in &credential.roles {
                if let Some(places) = conferred.get(role.value.as_str()) {
                    let note = format!("`{}` through its credential", role.value);
                    add(held, places, &Source { at: role.at, note });
                }
            }
        }
        holders
    }
}

/// The first source by place and name is kept, whatever the order in which they come.
fn add(held: &mut Held, places: &BTreeSet<usize>, source: &Source) {
    for place in places {
        let kept = held.entry(*place).or_insert_with(|| source.clone());
        if source < kept {
            *kept = source.clone();
        }
    }
}

struct Violations<'s> {
    set: &'s ExclusiveDraft,
    /// By place.
    roles: &'s [&'s str],
    max: usize,
    shown: usize,
    more: usize,
}

impl Violations<'_> {
    fn report(&mut self, who: &str, held: &Held, findings: &mut Findings) {
        if self.shown == MOST_NAMED {
            self.more += 1;
            return;
        }
        self.shown += 1;
        let names: Vec<&str> = held.keys().filter_map(|place| self.roles.get(*place).copied()).collect();
        let message = format!(
            "{who} holds {}, and [[exclusive]] `{}` lets nobody hold more than {}",
            listed(&names, 8),
            self.set.name.value,
            if self.max == 1 { "one of them".to_owned() } else { format!("{} of them", self.max) }
        );
        let mut related: Vec<(Position, String)> =
            held.values().map(|source| (source.at, source.note.clone())).collect();
        related.sort();
        related.dedup();
        related.truncate(8);
        let help = "take one of the roles away, or raise `max`";
        findings.add_related(ProblemKind::ExclusiveHeld, self.set.name.at, message, help, related);
    }

    fn report_rest(&self, findings: &mut Findings) {
        if self.more > 0 {
            let message =
                format!("{} more principals hold too many roles of [[exclusive]] `{}`", self.more, self.set.name.value);
            let help = "take roles away from those that are named, and check again";
            findings.add(ProblemKind::ExclusiveHeld, self.set.name.at, message, help);
        }
    }
}
