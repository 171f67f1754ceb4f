//! Who can call: one caller for each class that the rules at a place tell apart, and the groups and roles that a
//! credential can add.

use std::collections::BTreeMap;

use super::rules::{LocalKey, LocalRules, Side};
use super::*;
use crate::principal::{CredentialProblem, CredentialProblemKind, Device, GroupClaim};
use crate::spelling::Spelling;

/// A class of verified callers without groups and directly held roles.
#[derive(Debug, Clone)]
pub(super) struct CallerClass {
    pub(super) principal: Principal,
    /// As the contract writes them, such as `user:alice`; empty: any of this kind that no rule names.
    names: BTreeSet<Arc<str>>,
}

impl CallerClass {
    /// `user:alice`, or `user:*` for any that no rule names.
    pub(super) fn shown(&self) -> Vec<Arc<str>> {
        if self.names.is_empty() {
            return vec![format!("{}:*", self.principal.kind.as_str()).into()];
        }
        self.names.iter().cloned().collect()
    }
}

/// The class of a principal, whose ids are compared so.
pub(super) fn caller_of(classes: &[CallerClass], who: &Principal, spelling: &Spelling) -> Option<usize> {
    let name = who.reference();
    let name = spelling.name(&name);
    let named = classes.iter().position(|class| class.names.contains(&*name));
    named.or_else(|| classes.iter().position(|class| class.names.is_empty() && class.principal.kind == who.kind))
}

/// What a credential may carry besides.
#[derive(Debug, Clone)]
pub(super) struct ClaimClass {
    /// The caller that carries it and nothing else.
    pub(super) principal: Principal,
    /// `group:NAME` or `role:NAME`, any of which is enough.
    names: BTreeSet<Arc<str>>,
    trust: Trust,
}

/// Whether it matters that the provider is trusted with a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Trust {
    Either,
    Trusted,
    Untrusted,
}

impl ClaimClass {
    pub(super) fn shown(&self) -> Vec<String> {
        let suffix = match self.trust {
            Trust::Untrusted => " (from a provider that is not trusted with it)",
            Trust::Either | Trust::Trusted => "",
        };
        self.names.iter().map(|name| format!("{name}{suffix}")).collect()
    }

    /// Whether the principal carries one of them.
    pub(super) fn is_carried_by(&self, who: &Principal) -> bool {
        let fits = |trusted: bool| match self.trust {
            Trust::Either => true,
            Trust::Trusted => trusted,
            Trust::Untrusted => !trusted,
        };
        who.groups.iter().any(|claim| fits(claim.trusted) && self.names.contains(&*format!("group:{}", claim.name)))
            || who.roles.iter().any(|role| self.names.contains(&*format!("role:{role}")))
    }
}

/// A principal whom no rule names. Not every policy leaves this id free: [`classes`] looks for one that is.
pub(super) fn somebody(kind: PrincipalKind) -> Principal {
    Principal::stated(kind, "somebody")
}

/// A device that is or is not compliant.
pub(super) fn device(compliant: Option<bool>) -> Option<Device> {
    compliant.map(|compliant| Device { id: "device".into(), compliant: Some(compliant) })
}

/// A credential that was refused; which way makes no difference to a policy.
pub(super) fn rejected() -> CredentialProblem {
    CredentialProblem { kind: CredentialProblemKind::Invalid, detail: String::new(), provider: None }
}

/// Which rules a subject is named by, on either side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Touched {
    before: Vec<u32>,
    after: Vec<u32>,
}

/// What a name reaches when its claim is trusted, and when it is not.
#[derive(Debug, Clone, Default)]
struct Reached {
    trusted: Touched,
    untrusted: Touched,
}

/// The classes of callers, and of what their credentials may add, that the rules at a place tell apart.
pub(super) fn classes(
    sides: [&Side<'_>; 2],
    rules: [&LocalRules; 2],
    keys: [&LocalKey; 2],
) -> (Vec<CallerClass>, Vec<ClaimClass>) {
    let mut reached: BTreeMap<Arc<str>, Reached> = BTreeMap::new();
    for (number, (side, rules)) in sides.iter().zip(rules).enumerate() {
        reach(side, rules, number == 0, &mut reached);
    }
    let mut callers: BTreeMap<(PrincipalKind, Touched), BTreeSet<Arc<str>>> = BTreeMap::new();
    let mut claims: BTreeMap<(Touched, Trust), BTreeSet<Arc<str>>> = BTreeMap::new();
    for (name, reached) in reached {
        let kind = match name.split_once(':') {
            Some(("user", _)) => PrincipalKind::User,
            Some(("service", _)) => PrincipalKind::Service,
            Some(("certificate", _)) => PrincipalKind::Certificate,
            Some(("group", _)) => {
                let either = reached.trusted == reached.untrusted;
                let trust = if either { Trust::Either } else { Trust::Trusted };
                claims.entry((reached.trusted, trust)).or_default().insert(name.clone());
                if !either && reached.untrusted != Touched::default() {
                    claims.entry((reached.untrusted, Trust::Untrusted)).or_default().insert(name);
                }
                continue;
            }
            _ => continue,
        };
        callers.entry((kind, reached.trusted)).or_default().insert(name);
    }
    let kinds = [PrincipalKind::User, PrincipalKind::Service, PrincipalKind::Certificate];
    let mut caller_classes: Vec<CallerClass> =
        kinds.map(|kind| CallerClass { principal: unnamed(kind, sides), names: BTreeSet::new() }).into();
    for ((kind, _), names) in callers {
        let Some((_, id)) = names.first().and_then(|name| name.split_once(':')) else { continue };
        caller_classes.push(CallerClass { principal: Principal { id: id.into(), ..somebody(kind) }, names });
    }
    let bare = unnamed(PrincipalKind::User, sides);
    let mut claim_classes: Vec<ClaimClass> = Vec::new();
    for ((_, trust), names) in claims {
        let Some(name) = names.first().and_then(|name| name.strip_prefix("group:")) else { continue };
        let groups = vec![GroupClaim { name: name.into(), trusted: trust != Trust::Untrusted }];
        claim_classes.push(ClaimClass { principal: Principal { groups, ..bare.clone() }, names, trust });
    }
    claim_classes.extend(role_claims(keys, &bare));
    (caller_classes, claim_classes)
}

/// A principal of a kind that no rule names.
fn unnamed(kind: PrincipalKind, sides: [&Side<'_>; 2]) -> Principal {
    let mut who = somebody(kind);
    let mut number = 1;
    while sides.iter().any(|side| side.policy.subjects.of_principal(&who).is_some()) {
        number += 1;
        who.id = format!("somebody-{number}").into();
    }
    who
}

/// For everybody whom the rules of one side name, directly or through groups, which rules those are.
fn reach(side: &Side<'_>, rules: &LocalRules, is_before: bool, reached: &mut BTreeMap<Arc<str>, Reached>) {
    // Assignments by even numbers, denies by odd ones: both go into one list.
    let mut named: BTreeMap<SubjectId, Vec<u32>> = BTreeMap::new();
    for id in &rules.assignments {
        let principals = side.policy.assignments.get(id.0 as usize).map(|each| &*each.principals);
        for subject in principals.unwrap_or_default() {
            named.entry(*subject).or_default().push(id.0 * 2);
        }
    }
    for id in &rules.denies {
        for subject in side.deny_principals.get(id.0 as usize).into_iter().flatten() {
            named.entry(*subject).or_default().push(id.0 * 2 + 1);
        }
    }
    let mut touched: BTreeMap<SubjectId, BTreeSet<u32>> = BTreeMap::new();
    for (subject, rules) in &named {
        for member in side.members.get(subject.0 as usize).into_iter().flatten() {
            touched.entry(*member).or_default().extend(rules);
        }
    }
    for (id, rules) in touched {
        let Some(subject) = side.policy.subjects.get(id) else { continue };
        let entry = reached.entry(subject.name.clone()).or_default();
        let rules: Vec<u32> = rules.into_iter().collect();
        let put = |touched: &mut Touched| match is_before {
            true => touched.before.clone_from(&rules),
            false => touched.after.clone_from(&rules),
        };
        put(&mut entry.trusted);
        if !subject.declared {
            put(&mut entry.untrusted);
        }
    }
}

/// Roles that permit the action to whoever holds them directly: before, after, or both.
fn role_claims(keys: [&LocalKey; 2], bare: &Principal) -> Vec<ClaimClass> {
    let [before, after] = keys.map(|key| key.roles.iter().cloned().collect::<BTreeSet<Arc<str>>>());
    let classes: [Vec<&Arc<str>>; 3] = [
        before.difference(&after).collect(),
        after.difference(&before).collect(),
        before.intersection(&after).collect(),
    ];
    let mut claims = Vec::new();
    for names in classes {
        let Some(first) = names.first() else { continue };
        claims.push(ClaimClass {
            principal: Principal { roles: vec![(&***first).into()], ..bare.clone() },
            names: names.iter().map(|name| format!("role:{name}").into()).collect(),
            trust: Trust::Either,
        });
    }
    claims
}
