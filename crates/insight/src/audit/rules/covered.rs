//! LP17 beside assignments: denies, entries of resources and their networks that can never decide, because another one always decides before or
//! with them. Only what the policy itself proves is said, and nothing of a rule that has decided within the window.

use std::collections::{BTreeSet, HashMap, HashSet};

use ipnet::IpNet;
use portcullis_policy::{
    AuthenticationRule, DenyDraft, Mode, NetworkDraft, ProofDraft, ResourceDraft, RuleKind, ScopeDraft, Sensitivity,
    WhenDraft, WrittenAction,
};

use super::{Findings, Said};
use crate::audit::finding::{Evidence, Kind, Place, Severity};

/// Pairs of rules, and of prefixes, that are compared.
const MOST_PAIRS: usize = 1_000_000;

pub(super) fn look(findings: &mut Findings<'_, '_>) {
    let mut left = MOST_PAIRS;
    let spent = denies(findings, &mut left).and_then(|()| networks(findings, &mut left)).is_none();
    resources(findings);
    if spent {
        findings.skip(
            &[Kind::ShadowedRule],
            "there are too many denies and networks to compare all of them; assignments were looked at",
        );
    }
}

/// Takes so many of what is left; `None`: there are not so many.
fn spend(left: &mut usize, many: usize) -> Option<()> {
    *left = left.checked_sub(many)?;
    Some(())
}

fn say(
    findings: &mut Findings<'_, '_>,
    (kind, name): (RuleKind, &str),
    about: &str,
    place: Option<Place>,
    message: String,
    why: String,
) {
    let edge = findings.edge(findings.input.usage.since()).ok();
    let seen = findings.input.usage.rule(kind, name);
    if seen.is_some_and(|seen| edge.is_some_and(|edge| i64::from(seen.last) >= edge)) {
        return;
    }
    let mut evidence = match edge {
        Some(_) => findings.observed(None, seen.map(|seen| seen.last)),
        None => Evidence::default(),
    };
    evidence.facts.push(why);
    let said = Said {
        permission: Some(name),
        about,
        place,
        evidence,
        ..Said::plain(Kind::ShadowedRule, Severity::Low, message, "remove it, or say in it what is meant")
    };
    findings.add(said);
}

/// Denies that another one includes. Of two that include each other the later by name is said.
fn denies(findings: &mut Findings<'_, '_>, left: &mut usize) -> Option<()> {
    let (draft, now) = (findings.input.draft, findings.input.now);
    let mut drafts: Vec<&DenyDraft> = draft.denies.iter().filter(|each| each.mode == Mode::Enforce).collect();
    drafts.sort_by(|one, other| one.name.value.cmp(&other.name.value));
    let groups: HashMap<&str, HashSet<&str>> = draft
        .groups
        .iter()
        .map(|group| (group.name.value.as_str(), group.members.iter().map(|member| member.value.as_str()).collect()))
        .collect();
    for (index, deny) in drafts.iter().enumerate() {
        let name = &deny.name.value;
        let place = |findings: &Findings<'_, '_>| findings.place("deny", name, deny.name.at);
        if let Some(ended) = deny.expires.filter(|ends| *ends <= now) {
            let message = format!("the deny `{name}` ended at {ended} and forbids nothing any more");
            say(findings, (RuleKind::Deny, name), "", place(findings), message, format!("it ended at {ended}"));
            continue;
        }
        spend(left, drafts.len())?;
        let wider = drafts.iter().enumerate().find(|(other, wider)| {
            let includes = *other != index && includes(wider, deny, &groups);
            includes && (*other < index || !self::includes(deny, wider, &groups))
        });
        if let Some((_, wider)) = wider {
            let message = format!("the deny `{name}` forbids nothing that `{}` does not forbid", wider.name.value);
            let why = format!("`{}` is about the same principals, routes and actions, always", wider.name.value);
            say(findings, (RuleKind::Deny, name), &wider.name.value, place(findings), message, why);
        }
    }
    Some(())
}

/// Whether a deny forbids all that another one does, always and without a condition.
fn includes(wider: &DenyDraft, deny: &DenyDraft, groups: &HashMap<&str, HashSet<&str>>) -> bool {
    if !is_unconditional(&wider.when) || wider.starts.is_some() || wider.expires.is_some() {
        return false;
    }
    let named: HashSet<&str> = wider.principals.iter().map(|each| each.value.as_str()).collect();
    let everybody = named.contains("anyone");
    let holds = |principal: &str| {
        everybody
            || named.contains(principal)
            || (named.contains("authenticated") && principal != "anyone")
            || named
                .iter()
                .filter_map(|name| groups.get(name.strip_prefix("group:")?))
                .any(|members| members.contains(principal))
    };
    let covers = |action: &str| {
        let Some(action) = WrittenAction::parse(action) else { return false };
        let holds = |own: &WrittenAction| {
            let methods = own.methods.is_empty()
                || !action.methods.is_empty() && action.methods.iter().all(|method| own.methods.contains(method));
            methods && own.holds_paths_of(&action)
        };
        wider.actions.iter().filter_map(|own| WrittenAction::parse(&own.value)).any(|own| holds(&own))
    };
    is_within(&deny.scope, &wider.scope)
        && deny.principals.iter().all(|principal| holds(&principal.value))
        && deny.actions.iter().all(|action| covers(&action.value))
}

fn is_unconditional(when: &WhenDraft) -> bool {
    let WhenDraft { networks, hours, countries, compliant_device, assurance_mfa, max_age_s, max_risk } = when;
    let none =
        networks.is_none() && hours.is_none() && countries.is_none() && max_age_s.is_none() && max_risk.is_none();
    none && !compliant_device && !assurance_mfa
}

/// A deny on every route holds on those that are the gateway's own, too.
fn is_within(scope: &ScopeDraft, wider: &ScopeDraft) -> bool {
    match (scope, wider) {
        (_, ScopeDraft::All) => true,
        (ScopeDraft::All, ScopeDraft::Routes(_)) => false,
        (ScopeDraft::Routes(own), ScopeDraft::Routes(all)) => {
            own.iter().all(|route| all.iter().any(|each| each.value == route.value))
        }
    }
}

/// Entries that say no more than holds without them.
fn resources(findings: &mut Findings<'_, '_>) {
    for resource in &findings.input.draft.resources {
        let ResourceDraft { route, authentication, allow, deny, sensitivity, mode, proof, public, requestable, at } =
            resource;
        let says_nothing = *authentication == AuthenticationRule::Required
            && allow.is_empty()
            && deny.is_empty()
            && *sensitivity == Sensitivity::Normal
            && *proof == ProofDraft::default()
            && !public.value
            && !requestable;
        if !says_nothing {
            continue;
        }
        let shadow = if *mode == Mode::Shadow { ", and in shadow mode" } else { "" };
        let (name, place) = (&route.value, findings.place("resource", &route.value, *at));
        let message =
            format!("the resource of the route `{name}` demands nothing that is not demanded without it{shadow}");
        say(findings, (RuleKind::Resource, name), "", place, message, "every key has its default".to_owned());
    }
}

/// Networks of a resource that other ones of the same resource include: whom they let in, or keep out, these do.
fn networks(findings: &mut Findings<'_, '_>, left: &mut usize) -> Option<()> {
    let draft = findings.input.draft;
    let by_name: HashMap<&str, &NetworkDraft> =
        draft.networks.iter().map(|network| (network.name.value.as_str(), network)).collect();
    // What is in a list that is fetched changes by itself.
    let known =
        |name: &str| by_name.get(name).filter(|network| !network.unknown && !network.prefixes.is_empty()).copied();
    for resource in &draft.resources {
        for (list, key) in [(&resource.allow, "allow"), (&resource.deny, "deny")] {
            let list: Vec<&str> =
                list.iter().map(|name| name.value.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
            for (index, name) in list.iter().enumerate() {
                let Some(network) = known(name) else { continue };
                let others: Vec<(usize, &NetworkDraft)> = list
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != index)
                    .filter_map(|(other, name)| Some((other, known(name)?)))
                    .collect();
                let work =
                    |(_, other): &(usize, &NetworkDraft)| other.prefixes.len().saturating_mul(network.prefixes.len());
                spend(left, others.iter().map(work).fold(others.len(), usize::saturating_add))?;
                let wider = others.iter().find(|(other, wider)| {
                    within(&network.prefixes, &wider.prefixes)
                        && (*other < index || !within(&wider.prefixes, &network.prefixes))
                });
                let Some((_, wider)) = wider else { continue };
                let (wider, route) = (&wider.name.value, &resource.route.value);
                let message =
                    format!("the network `{name}` in `{key}` of the route `{route}` adds nothing to `{wider}`");
                let about = format!("{route} {key} {wider}");
                let place = findings.place("resource", route, resource.at);
                let why = format!("each of its {} prefixes lies in one of `{wider}`", network.prefixes.len());
                say(findings, (RuleKind::Network, name), &about, place, message, why);
            }
        }
    }
    Some(())
}

fn within(prefixes: &[IpNet], wider: &[IpNet]) -> bool {
    prefixes.iter().all(|prefix| wider.iter().any(|each| each.contains(prefix)))
}
