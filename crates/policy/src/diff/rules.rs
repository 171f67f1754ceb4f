//! Which rules look at a request, and when those of two policies say the same.
//!
//! Everything that a rule says is interned by its content, with references followed: two rules have one id exactly when
//! they say the same of everybody, whatever their names, their places and their files.

use std::collections::HashMap;
use std::hash::Hash;

use super::*;
use crate::action::{ActionSet, MethodMask, PatternId};
use crate::condition::Conditions;
use crate::draft::{AuthenticationRule, ProofDraft, Sensitivity};
use crate::pattern::Pattern;

/// Contents of any kind, each with a number.
#[derive(Debug)]
struct Interner<T> {
    ids: HashMap<T, u32>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { ids: HashMap::new() }
    }
}

impl<T: Hash + Eq> Interner<T> {
    fn id(&mut self, content: T) -> u32 {
        let next = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        *self.ids.entry(content).or_insert(next)
    }
}

/// What two policies say, in one numbering.
#[derive(Debug, Default)]
pub(super) struct Contents {
    reach: Interner<Vec<(Arc<str>, bool)>>,
    networks: Interner<(Vec<u32>, bool)>,
    conditions: Interner<ConditionContent>,
    actions: Interner<ActionContent>,
    permissions: Interner<Vec<(u32, u32)>>,
    rules: Interner<RuleContent>,
    resources: Interner<ResourceContent>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ConditionContent {
    networks: Option<Vec<u32>>,
    hours: Option<(Arc<str>, u8, u16, u16)>,
    countries: Option<Vec<CountryCode>>,
    compliant_device: bool,
    assurance_mfa: bool,
    max_age_s: Option<u64>,
    max_risk: Option<RiskLevel>,
    activation: Option<Arc<str>>,
}

/// Patterns with their methods; `None`: every method.
type ActionContent = Vec<(Pattern, Option<Vec<Box<str>>>)>;

#[derive(Debug, PartialEq, Eq, Hash)]
struct RuleContent {
    /// Whom it names, each by everybody who is that.
    reach: Vec<u32>,
    conditions: u32,
    starts: Option<Timestamp>,
    expires: Option<Timestamp>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ResourceContent {
    authentication: AuthenticationRule,
    allow: Vec<u32>,
    deny: Vec<u32>,
    sensitivity: Sensitivity,
    proof: ProofDraft,
    shadow: bool,
}

/// One policy with the numbers of its contents.
pub(super) struct Side<'p> {
    pub(super) policy: &'p Policy,
    route_by_name: HashMap<&'p str, RouteId>,
    /// By pattern id.
    pub(super) patterns: Vec<&'p Pattern>,
    /// By subject: the subjects that are it, itself included.
    pub(super) members: Vec<Vec<SubjectId>>,
    assignments: Vec<u32>,
    denies: Vec<u32>,
    resources: Vec<u32>,
    /// By role: what it permits.
    roles: Vec<u32>,
    deny_actions: Vec<u32>,
    /// By deny: whom it names.
    pub(super) deny_principals: Vec<Vec<SubjectId>>,
    /// By route: everything that is said about it.
    pub(super) fingerprints: Vec<Fingerprint>,
}

/// Everything that is said about a route: equal fingerprints, equal answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Fingerprint {
    resource: u32,
    assignments: Vec<(u32, u32)>,
    denies: Vec<(u32, u32)>,
}

/// The rules that look at one action on one route, by content. Equal in both policies, nothing differs there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct LocalKey {
    /// `None`: there is no route.
    resource: Option<u32>,
    assignments: Vec<u32>,
    denies: Vec<u32>,
    /// The names of the roles that permit the action: who holds one directly needs no assignment.
    pub(super) roles: Vec<Arc<str>>,
}

impl LocalKey {
    /// The resource is alike, and so are the roles that permit the action.
    pub(super) fn is_alike_but_for_rules(&self, other: &Self) -> bool {
        self.resource == other.resource && self.roles == other.roles
    }
}

/// The same, by id.
#[derive(Debug, Clone, Default)]
pub(super) struct LocalRules {
    pub(super) assignments: Vec<AssignmentId>,
    pub(super) denies: Vec<DenyId>,
}

impl<'p> Side<'p> {
    /// `in_pairs`: for each network, the pairs of joint sets that hold it.
    pub(super) fn new(policy: &'p Policy, in_pairs: Vec<Vec<u32>>, contents: &mut Contents) -> Self {
        let mut side = Self {
            policy,
            route_by_name: policy.route_names.iter().zip(0u32..).map(|(name, id)| (&**name, RouteId(id))).collect(),
            patterns: policy.actions.patterns(),
            members: members(policy),
            assignments: Vec::new(),
            denies: Vec::new(),
            resources: Vec::new(),
            roles: Vec::new(),
            deny_actions: Vec::new(),
            deny_principals: principals_of_denies(policy),
            fingerprints: Vec::new(),
        };
        let networks: Vec<u32> = (in_pairs.into_iter().zip(&policy.network_facts))
            .map(|(pairs, facts)| contents.networks.id((pairs, facts.unknown)))
            .collect();
        let reach: Vec<u32> = side.members.iter().map(|members| contents.reach.id(side.names(members))).collect();
        let rule = |contents: &mut Contents, principals: &[SubjectId], when: &Conditions, period: Period| {
            let mut reached: Vec<u32> = principals.iter().filter_map(|id| reach.get(id.0 as usize)).copied().collect();
            reached.sort_unstable();
            reached.dedup();
            let conditions = condition_content(when, &networks);
            let conditions = contents.conditions.id(conditions);
            let (starts, expires) = (period.starts, period.expires);
            contents.rules.id(RuleContent { reach: reached, conditions, starts, expires })
        };
        side.assignments =
            (policy.assignments.iter()).map(|each| rule(contents, &each.principals, &each.when, each.period)).collect();
        side.denies = (policy.denies.iter().zip(&side.deny_principals))
            .map(|(each, principals)| rule(contents, principals, &each.when, each.period))
            .collect();
        let of = |list: &[NetworkId]| {
            let mut ids: Vec<u32> = list.iter().filter_map(|id| networks.get(id.0 as usize)).copied().collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        side.resources = (policy.resources.iter())
            .map(|each| {
                contents.resources.id(ResourceContent {
                    authentication: each.authentication,
                    allow: of(&each.allow),
                    deny: of(&each.deny),
                    sensitivity: each.sensitivity,
                    proof: each.proof,
                    shadow: each.shadow,
                })
            })
            .collect();
        side.roles = policy.roles.iter().map(|role| side.role_content(role, contents)).collect();
        side.deny_actions = (policy.denies.iter())
            .map(|deny| contents.actions.id(side.action_content(deny.actions.actions())))
            .collect();
        side.fingerprints = side.fingerprints();
        side
    }

    pub(super) fn route_named(&self, name: &str) -> Option<RouteId> {
        self.route_by_name.get(name).copied()
    }

    fn names(&self, members: &[SubjectId]) -> Vec<(Arc<str>, bool)> {
        let subjects = members.iter().filter_map(|id| self.policy.subjects.get(*id));
        let mut names: Vec<(Arc<str>, bool)> =
            subjects.map(|subject| (subject.name.clone(), subject.declared)).collect();
        names.sort_unstable();
        names
    }

    /// A role's permissions, each as its actions and what it takes out again.
    fn role_content(&self, role: &Role, contents: &mut Contents) -> u32 {
        let mut tagged: BTreeMap<u32, Vec<(PatternId, MethodMask)>> = BTreeMap::new();
        for (pattern, mask, tag) in role.actions.tagged().iter().copied() {
            tagged.entry(tag).or_default().push((pattern, mask));
        }
        let mut permissions: Vec<(u32, u32)> = Vec::with_capacity(tagged.len());
        for (tag, actions) in tagged {
            let none = ActionSet::default();
            let excluded = self.policy.not_actions.get(tag as usize).unwrap_or(&none);
            let actions = contents.actions.id(self.action_content(actions.into_iter()));
            permissions.push((actions, contents.actions.id(self.action_content(excluded.actions()))));
        }
        permissions.sort_unstable();
        permissions.dedup();
        contents.permissions.id(permissions)
    }

    fn action_content(&self, actions: impl Iterator<Item = (PatternId, MethodMask)>) -> ActionContent {
        let mut content: ActionContent = actions
            .filter_map(|(pattern, mask)| {
                let methods = self.policy.actions.names_of(mask);
                let methods = methods.map(|names| names.into_iter().map(Box::from).collect());
                Some(((*self.patterns.get(pattern.0 as usize)?).clone(), methods))
            })
            .collect();
        content.sort_unstable();
        content.dedup();
        content
    }

    fn fingerprints(&self) -> Vec<Fingerprint> {
        let mut of_all = Fingerprint::default();
        let mut fingerprints: Vec<Fingerprint> = (self.resources.iter())
            .map(|resource| Fingerprint { resource: *resource, ..Fingerprint::default() })
            .collect();
        for (assignment, rule) in self.policy.assignments.iter().zip(&self.assignments) {
            if assignment.shadow {
                continue;
            }
            let entry = (*rule, self.roles.get(assignment.role.0 as usize).copied().unwrap_or(u32::MAX));
            match &assignment.scope {
                Scope::All => of_all.assignments.push(entry),
                Scope::Routes(routes) => {
                    for route in routes {
                        if let Some(fingerprint) = fingerprints.get_mut(route.index()) {
                            fingerprint.assignments.push(entry);
                        }
                    }
                }
            }
        }
        for (index, fingerprint) in fingerprints.iter_mut().enumerate() {
            let route = RouteId(u32::try_from(index).unwrap_or(u32::MAX));
            let denies = self.policy.denies_by_route.on(route);
            fingerprint.denies.extend(denies.filter_map(|id| {
                let enforced = self.policy.denies.get(id.0 as usize).is_some_and(|deny| !deny.shadow);
                let rule = *self.denies.get(id.0 as usize).filter(|_| enforced)?;
                Some((rule, self.deny_actions.get(id.0 as usize).copied()?))
            }));
            fingerprint.assignments.extend(&of_all.assignments);
            fingerprint.assignments.sort_unstable();
            fingerprint.assignments.dedup();
            fingerprint.denies.sort_unstable();
            fingerprint.denies.dedup();
        }
        fingerprints
    }

    pub(super) fn assignment_content(&self, id: AssignmentId) -> u32 {
        self.assignments.get(id.0 as usize).copied().unwrap_or(u32::MAX)
    }

    pub(super) fn deny_content(&self, id: DenyId) -> u32 {
        self.denies.get(id.0 as usize).copied().unwrap_or(u32::MAX)
    }

    /// Everything that any role permits to whoever holds it directly, whatever the route.
    pub(super) fn roles_by_name(&self) -> Vec<(Arc<str>, u32)> {
        self.policy.roles.iter().zip(&self.roles).map(|(role, content)| (role.rule.name.clone(), *content)).collect()
    }

    /// The rules that look at an action on a route. `work` counts what was looked at.
    pub(super) fn local(&self, view: &View<'_>, work: &mut u64) -> (LocalKey, LocalRules) {
        let mut rules = LocalRules::default();
        let mut key = LocalKey { resource: None, assignments: Vec::new(), denies: Vec::new(), roles: Vec::new() };
        let Some(route) = view.request.route else { return (key, rules) };
        key.resource = self.resources.get(route.index()).copied();
        let mut roles: BTreeSet<RoleId> = BTreeSet::new();
        for pattern in view.matched.iter() {
            let by_method = self.policy.roles_by_pattern.get(pattern.0 as usize).into_iter().flatten();
            for (_, candidates) in by_method.filter(|(mask, _)| mask.holds(view.method)) {
                *work += candidates.len() as u64;
                roles.extend(candidates.iter().filter(|role| self.policy.role_permits(**role, view)));
            }
        }
        for role in &roles {
            key.roles.extend(self.policy.roles.get(role.0 as usize).map(|role| role.rule.name.clone()));
            let held = self.policy.assignments_by_role.get(role.0 as usize);
            rules.assignments.extend(held.into_iter().flat_map(|held| held.on(route)));
        }
        let touches = |id: &DenyId| {
            let deny = self.policy.denies.get(id.0 as usize);
            deny.is_some_and(|deny| !deny.shadow && deny.actions.contains(&view.matched, view.method))
        };
        rules.denies.extend(self.policy.denies_by_route.on(route).filter(touches));
        *work += (rules.assignments.len() + rules.denies.len()) as u64;
        key.assignments =
            rules.assignments.iter().filter_map(|id| self.assignments.get(id.0 as usize)).copied().collect();
        key.denies = rules.denies.iter().filter_map(|id| self.denies.get(id.0 as usize)).copied().collect();
        for list in [&mut key.assignments, &mut key.denies] {
            list.sort_unstable();
            list.dedup();
        }
        (key, rules)
    }
}

fn condition_content(when: &Conditions, networks: &[u32]) -> ConditionContent {
    ConditionContent {
        networks: when.networks.as_deref().map(|list| {
            let mut ids: Vec<u32> = list.iter().filter_map(|id| networks.get(id.0 as usize)).copied().collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        }),
        hours: when.hours.as_ref().map(|hours| (hours.text.clone(), hours.days, hours.from_minute, hours.to_minute)),
        countries: when.countries.as_deref().map(<[CountryCode]>::to_vec),
        compliant_device: when.compliant_device,
        assurance_mfa: when.assurance_mfa,
        max_age_s: when.max_age_s,
        max_risk: when.max_risk,
        activation: when.activation.as_ref().map(|eligible| eligible.assignment.clone()),
    }
}

/// By subject: everybody who is it: itself, and the members of a group, directly or not.
fn members(policy: &Policy) -> Vec<Vec<SubjectId>> {
    let mut members: Vec<Vec<SubjectId>> =
        (0u32..).take(policy.subjects.list.len()).map(|id| vec![SubjectId(id)]).collect();
    for (subject, id) in policy.subjects.list.iter().zip(0u32..) {
        for group in subject.groups.iter().filter(|group| group.0 != id) {
            if let Some(list) = members.get_mut(group.0 as usize) {
                list.push(SubjectId(id));
            }
        }
    }
    members
}

/// By deny: whom it names. The policy keeps it by subject.
fn principals_of_denies(policy: &Policy) -> Vec<Vec<SubjectId>> {
    let mut principals: Vec<Vec<SubjectId>> = vec![Vec::new(); policy.denies.len()];
    for (subject, id) in policy.subjects.list.iter().zip(0u32..) {
        for deny in subject.denies.every() {
            if let Some(list) = principals.get_mut(deny.0 as usize)
                && list.last() != Some(&SubjectId(id))
            {
                list.push(SubjectId(id));
            }
        }
    }
    principals
}
