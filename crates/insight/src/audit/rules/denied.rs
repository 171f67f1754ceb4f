//! LP18: who is refused again and again what most peers may do. It costs somebody's time, and teaches people to ask for too much.

use std::collections::{BTreeMap, BTreeSet};

use super::{Findings, Said};
use crate::audit::edit::Edit;
use crate::audit::finding::{Kind, Severity};
use crate::audit::model::{Holder, Model};

/// Only of peers that are so many something is said.
const LEAST_PEERS: usize = 3;
const RECENT_S: i64 = 30 * 24 * 60 * 60;

pub(super) fn look(findings: &mut Findings<'_, '_>) {
    if findings.input.usage.since().is_none() {
        return findings.skip(&[Kind::UnderPrivileged], "nothing counts what is refused: there is no store");
    }
    let now = findings.input.now.as_second();
    let model = findings.model;
    let least = findings.input.settings.denials;
    let wanted: Vec<(String, String, String, u32)> = findings
        .input
        .usage
        .rows()
        .filter(|(seen, ..)| seen.kind.is_some())
        .filter(|(.., row)| i64::from(row.last_denied) >= now.saturating_sub(RECENT_S) && row.denied_at(now) >= least)
        .map(|(seen, route, action, row)| (seen.reference(), route.to_owned(), action.to_owned(), row.denied_at(now)))
        .collect();
    for (name, route, action, denials) in wanted {
        let Some(holder) = model.holder(&name) else { continue };
        let Some((circle, peers)) = circle_of(model, holder) else { continue };
        let by: BTreeMap<usize, usize> = grants_among(model, &peers, &route, &action);
        let holding: BTreeSet<&str> = peers
            .iter()
            .filter(|peer| grants(model, peer, &route, &action).next().is_some())
            .map(|peer| peer.name.as_str())
            .collect();
        if grants(model, holder, &route, &action).next().is_some() || 2 * holding.len() < peers.len() {
            continue;
        }
        // The grant that most of them have it by.
        let most =
            by.iter().max_by_key(|(grant, count)| (**count, std::cmp::Reverse(**grant))).map(|(grant, _)| *grant);
        let assignment = most.and_then(|grant| model.grants.get(grant)?.assignment);
        let named = assignment.filter(|found| {
            found.principals.iter().any(|principal| peers.iter().any(|peer| peer.name == principal.value))
        });
        let edits =
            named.map(|found| Edit::AddPrincipal { assignment: found.name.value.clone(), principal: name.clone() });
        let mut evidence = findings.observed(None, None);
        evidence.denials = Some(u64::from(denials));
        evidence.peers = Some(format!("{} of {} peers ({circle}) may", holding.len(), peers.len()));
        let change = match (assignment, &edits) {
            (Some(found), Some(_)) => {
                format!("name it in the assignment `{}`, as its peers are, if it is to do that", found.name.value)
            }
            (Some(found), None) => format!(
                "its peers have it by the assignment `{}`: put it into their group, if it is to do that",
                found.name.value
            ),
            (None, _) => "its peers have it by what their credentials carry".to_owned(),
        };
        let permission = format!("{action} on {route}");
        let said = Said {
            principal: Some(&name),
            permission: Some(&permission),
            place: assignment.and_then(|found| findings.place("assignment", &found.name.value, found.name.at)),
            evidence,
            edits: edits.into_iter().collect(),
            ..Said::plain(
                Kind::UnderPrivileged,
                Severity::Info,
                format!(
                    "`{name}` was refused `{permission}` {denials} times in 30 days, and {} of {} peers may do it",
                    holding.len(),
                    peers.len()
                ),
                &change,
            )
        };
        findings.add(said);
    }
}

/// The smallest group that is large enough, else those who hold the same role: who is most like it.
fn circle_of<'m>(model: &'m Model<'_>, holder: &Holder) -> Option<(String, Vec<&'m Holder>)> {
    let others = |is_in: &dyn Fn(&Holder) -> bool| -> Vec<&'m Holder> {
        model.holders.iter().filter(|other| other.name != holder.name && is_in(other)).collect()
    };
    let of_groups =
        holder.groups.iter().map(|group| (format!("group {group}"), others(&|other| other.groups.contains(group))));
    let roles: BTreeSet<&str> =
        holder.held.iter().filter_map(|held| Some(model.grants.get(held.grant)?.role)).collect();
    let of_roles = roles.into_iter().map(|role| {
        let holds = |other: &Holder| {
            other.held.iter().any(|held| model.grants.get(held.grant).is_some_and(|grant| grant.role == role))
        };
        (format!("role {role}"), others(&holds))
    });
    let large = |circle: &(String, Vec<&Holder>)| circle.1.len() >= LEAST_PEERS;
    let of_groups = of_groups.filter(large).min_by_key(|(_, peers)| peers.len());
    of_groups.or_else(|| of_roles.filter(large).min_by_key(|(_, peers)| peers.len()))
}

/// The grants by which somebody may do it.
fn grants<'m>(
    model: &'m Model<'_>,
    holder: &'m Holder,
    route: &'m str,
    action: &'m str,
) -> impl Iterator<Item = usize> + 'm {
    let is_it = move |grant: usize| {
        model.grants.get(grant).is_some_and(|found| found.covers(route))
            && model.units_of(grant).any(|(_, unit)| unit.text == action || is_any_method_of(&unit.text, action))
    };
    holder.held.iter().map(|held| held.grant).filter(move |grant| is_it(*grant))
}

fn is_any_method_of(unit: &str, action: &str) -> bool {
    let pattern = |text: &str| text.split_once(' ').map(|(_, pattern)| pattern.to_owned());
    unit.starts_with("* ") && pattern(unit) == pattern(action)
}

fn grants_among(model: &Model<'_>, peers: &[&Holder], route: &str, action: &str) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    for peer in peers {
        for grant in grants(model, peer, route, action) {
            *counts.entry(grant).or_insert(0) += 1;
        }
    }
    counts
}
