//! Roles that permit nothing, that nobody holds, or that are there twice.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use crate::action::{MethodMask, PatternId};
use crate::draft::*;
use crate::lint::findings::Findings;
use crate::lint::{View, by_name};
use crate::pattern::Pattern;
use crate::policy::RoleId;

/// A role with more actions is compared as it is written, without taking out what other actions of it hold already.
const MOST_REDUCED: usize = 64;

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    nothing_left(view, findings);
    empty(view, findings);
    unheld(view, findings);
    duplicates(view, findings);
}

/// Permissions whose `not_actions` take out all that their `actions` give.
fn nothing_left(view: &View<'_>, findings: &mut Findings) {
    let mut tag = 0u32;
    for (role, id) in view.roles.iter().zip(0u32..) {
        let mut left: HashMap<u32, bool> = HashMap::new();
        for action in view.actions(RoleId(id)) {
            let more = !view.taken_out.contains(&(action.permission, action.id, action.methods));
            *left.entry(action.permission).or_default() |= more;
        }
        // INVARIANT: permissions are numbered by role, and within a role as they are written.
        for permission in &role.permissions {
            if left.get(&tag) == Some(&false) {
                let at = permission.not_actions.iter().map(|text| text.at).min().unwrap_or(role.name.at);
                let message = format!(
                    "a permission of role `{}` permits nothing: its `not_actions` take out all of its `actions`",
                    role.name.value
                );
                let help = "narrow `not_actions`, or remove the permission";
                findings.add(ProblemKind::NothingLeft, at, message, help);
            }
            tag = tag.saturating_add(1);
        }
    }
}

fn empty(view: &View<'_>, findings: &mut Findings) {
    for (role, id) in view.roles.iter().zip(0u32..) {
        if view.actions(RoleId(id)).next().is_none() {
            let message = format!("the role `{}` has no permission, and inherits none", role.name.value);
            let help = "add `permissions` or `inherits`, or remove it";
            findings.add(ProblemKind::EmptyRole, role.name.at, message, help);
        }
    }
}

/// Roles that no assignment grants, no credential carries, and no role that is held inherits.
fn unheld(view: &View<'_>, findings: &mut Findings) {
    let roles = by_name(view.roles.iter().copied(), |role| &role.name.value);
    let granted = view.draft.assignments.iter().map(|each| each.role.value.as_str());
    let carried = view.facts.credentials.iter().flat_map(|each| &each.roles).map(|role| role.value.as_str());
    let mut held: HashSet<&str> = HashSet::new();
    let mut next: Vec<&str> = granted.chain(carried).collect();
    while let Some(name) = next.pop() {
        if held.insert(name) {
            let inherited = roles.get(name).map(|role| role.inherits.as_slice()).unwrap_or_default();
            next.extend(inherited.iter().map(|name| name.value.as_str()));
        }
    }
    for role in view.roles.iter().filter(|role| !held.contains(role.name.value.as_str())) {
        let message = format!("nobody holds the role `{}`", role.name.value);
        let help = "assign it, let an assigned role inherit it, or remove it";
        findings.add(ProblemKind::UnheldRole, role.name.at, message, help);
    }
}

/// Roles that permit exactly the same, inherited permissions included.
fn duplicates(view: &View<'_>, findings: &mut Findings) {
    // A fingerprint of each, and not the form itself: all of them together would be as large as the policy.
    let hasher = RandomState::new();
    let mut seen: HashMap<u64, Vec<RoleId>> = HashMap::new();
    for (role, id) in view.roles.iter().zip(0u32..) {
        let own = permitted(view, RoleId(id));
        if own.is_empty() {
            continue;
        }
        let alike = seen.entry(hasher.hash_one(&own)).or_default();
        let Some(first) = alike.iter().copied().find(|other| permitted(view, *other) == own) else {
            alike.push(RoleId(id));
            continue;
        };
        let Some(first) = view.roles.get(first.0 as usize) else { continue };
        let message = format!("the roles `{}` and `{}` permit exactly the same", first.name.value, role.name.value);
        let help = "keep one of them";
        let related = vec![(first.name.at, "the other one".to_owned())];
        findings.add_related(ProblemKind::DuplicateRole, role.name.at, message, help, related);
    }
}

/// Actions by pattern, with all the methods of each.
type ByPattern = BTreeMap<PatternId, MethodMask>;

/// What a role permits, in a form in which many ways to write the same are one: what it permits without exceptions, and
/// the permissions with exceptions. Equal forms permit the same; the other way round is not sure.
#[derive(PartialEq, Eq, Hash)]
struct EffectiveActions {
    plain: ByPattern,
    with_exceptions: BTreeSet<(ByPattern, ByPattern)>,
}

impl EffectiveActions {
    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.with_exceptions.is_empty()
    }
}

fn permitted(view: &View<'_>, role: RoleId) -> EffectiveActions {
    let mut permissions: BTreeMap<u32, ByPattern> = BTreeMap::new();
    for action in view.live_actions(role) {
        add(permissions.entry(action.permission).or_default(), action.id, action.methods);
    }
    let mut permitted = EffectiveActions { plain: ByPattern::new(), with_exceptions: BTreeSet::new() };
    for (permission, actions) in permissions {
        let exceptions = exceptions(view, permission, &actions);
        if exceptions.is_empty() {
            actions.into_iter().for_each(|(id, methods)| add(&mut permitted.plain, id, methods));
        } else {
            permitted.with_exceptions.insert((reduced(view, actions), reduced(view, exceptions)));
        }
    }
    permitted.plain = reduced(view, permitted.plain);
    permitted
}

/// What the permission takes out again of these actions; exceptions that concern none of them are left out.
fn exceptions(view: &View<'_>, permission: u32, actions: &ByPattern) -> ByPattern {
    let mut exceptions = ByPattern::new();
    let tagged = view.policy.not_actions.get(permission as usize).map_or(&[][..], |set| set.tagged());
    let too_many = actions.len() > MOST_REDUCED || tagged.len() > MOST_REDUCED;
    for (id, methods, _) in tagged {
        let Some(pattern) = view.pattern(*id) else { continue };
        let concerns = |(action, own): (&PatternId, &MethodMask)| {
            own.meets(*methods) && view.pattern(*action).is_some_and(|action| action.meets(pattern))
        };
        if too_many || actions.iter().any(concerns) {
            add(&mut exceptions, *id, *methods);
        }
    }
    exceptions
}

fn add(actions: &mut ByPattern, id: PatternId, methods: MethodMask) {
    let held = actions.entry(id).or_insert(MethodMask::NONE);
    *held = held.union(methods);
}

/// Without the actions that other actions hold.
fn reduced(view: &View<'_>, actions: ByPattern) -> ByPattern {
    if actions.len() > MOST_REDUCED {
        return actions;
    }
    let with_patterns: Vec<(PatternId, &Pattern, MethodMask)> =
        actions.iter().filter_map(|(id, methods)| Some((*id, view.pattern(*id)?, *methods))).collect();
    let is_held = |(id, pattern, methods): &(PatternId, &Pattern, MethodMask)| {
        let mut held = MethodMask::NONE;
        for (other, its, mask) in &with_patterns {
            if other != id && its.covers(pattern) {
                held = held.union(*mask);
            }
        }
        held.covers(*methods)
    };
    with_patterns.iter().filter(|each| !is_held(each)).map(|(id, _, methods)| (*id, *methods)).collect()
}
