//! LP01, LP02, LP03 and LP06: what is granted and not used.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Findings, Said, counted, listed};
use crate::audit::edit::Edit;
use crate::audit::finding::{Kind, Severity};
use crate::audit::model::{Held, Holder, Unit, Via};
use crate::audit::rightsize::{Split, peers_who_use, right_size, split};

const KINDS: [Kind; 4] = [Kind::UnusedPermission, Kind::UnusedRoleBinding, Kind::DormantPrincipal, Kind::OverExposure];
/// Unused weight from which on holding too much is bad, and from which on it is very bad.
const HEAVY: u32 = 40;
const VERY_HEAVY: u32 = 160;
/// Whoever holds fewer units does not hold too much.
const FEW: usize = 4;

pub(super) fn look(findings: &mut Findings<'_, '_>) {
    let edge = match findings.edge(findings.input.usage.since()) {
        Ok(edge) => edge,
        Err(why) => return findings.skip(&KINDS, &why),
    };
    if let Err(why) = findings.ages_reach(edge) {
        return findings.skip(&KINDS, &why);
    }
    say_what_is_not_judged(findings);
    let everybody_leaves = unused_by_everybody(findings, edge);
    let model = findings.model;
    let splits = splits(findings, edge);
    for holder in &model.holders {
        if !findings.input.usage.is_sure_of(&holder.name, edge) {
            continue;
        }
        if is_dormant(findings, holder, edge) {
            dormant(findings, holder, edge);
            continue;
        }
        for held in &holder.held {
            bindings(findings, holder, held, edge, &everybody_leaves, &splits);
        }
        over_exposure(findings, holder, edge, &splits);
    }
}

/// By grant and group.
type Splits = HashMap<(usize, String), Split>;

/// What each group that holds a grant could hold in its place.
fn splits(findings: &Findings<'_, '_>, edge: i64) -> Splits {
    let model = findings.model;
    let mut splits = Splits::new();
    for (place, grant) in model.grants.iter().enumerate() {
        let principals = grant.assignment.into_iter().flat_map(|assignment| &assignment.principals);
        for group in principals.filter_map(|principal| principal.value.strip_prefix("group:")) {
            let found = split(findings.input, model, place, group, edge);
            splits.extend(found.map(|found| ((place, group.to_owned()), found)));
        }
    }
    splits
}

fn split_of<'s>(splits: &'s Splits, held: &Held) -> Option<&'s Split> {
    match &held.via {
        Via::Group(group) => splits.get(&(held.grant, group.clone())),
        Via::Named | Via::Credential => None,
    }
}

/// What there is that these findings cannot be made of, or no change be proposed for.
fn say_what_is_not_judged(findings: &mut Findings<'_, '_>) {
    let gaps = findings.input.history.gaps().join("; ");
    if !gaps.is_empty() {
        findings.skip(&KINDS, &format!("at all places: {gaps}"));
    }
}

/// No request at all, permitted or refused.
fn is_dormant(findings: &Findings<'_, '_>, holder: &Holder, edge: i64) -> bool {
    let mut rows = findings.input.usage.rows_of(&holder.name);
    rows.all(|(_, _, row)| !row.is_used_since(edge) && i64::from(row.last_denied) < edge)
}

fn dormant(findings: &mut Findings<'_, '_>, holder: &Holder, edge: i64) {
    let old: Vec<&Held> = holder.held.iter().filter(|held| is_old(findings, holder, held, None, edge)).collect();
    let (Some(first), true) = (old.first(), holder.declared) else { return };
    let granted = findings.model.granted_since(findings.input.history, holder, first, None);
    let last = findings.input.usage.rows_of(&holder.name).map(|(_, _, row)| row.last).max().filter(|last| *last > 0);
    let names: BTreeSet<&str> =
        old.iter().filter_map(|held| Some(findings.model.grants.get(held.grant)?.name())).collect();
    let edits = old.iter().filter_map(|held| removal(findings, holder, held, edge)).collect::<BTreeSet<Edit>>();
    let days = findings.days();
    let said = Said {
        principal: Some(&holder.name),
        evidence: findings.observed(granted, last),
        place: place_of(findings, first),
        edits: edits.into_iter().collect(),
        ..Said::plain(
            Kind::DormantPrincipal,
            Severity::Medium,
            format!(
                "`{}` holds {} ({}) and has made no request for {days} days",
                holder.name,
                counted(names.len(), "grant", "grants"),
                listed(names.iter().copied(), 5)
            ),
            "take its grants away, and its credentials if it is gone",
        )
    };
    findings.add(said);
}

/// What one grant of somebody's is used for.
fn bindings(
    findings: &mut Findings<'_, '_>,
    holder: &Holder,
    held: &Held,
    edge: i64,
    gone: &HashSet<usize>,
    splits: &Splits,
) {
    let model = findings.model;
    let Some(grant) = model.grants.get(held.grant) else { return };
    let units: Vec<(usize, &Unit<'_>)> = model.units_of(held.grant).collect();
    if units.is_empty() {
        return;
    }
    let last = |unit: &Unit<'_>| model.last_used(holder, held.grant, unit);
    let is_used = |unit: &Unit<'_>| last(unit).is_some_and(|last| i64::from(last) >= edge);
    if !units.iter().any(|(_, unit)| is_used(unit)) {
        if is_old(findings, holder, held, None, edge)
            && units.iter().any(|(_, unit)| is_old(findings, holder, held, Some(unit), edge))
        {
            unused_binding(findings, holder, held, edge);
        }
        return;
    }
    for (place, unit) in units.iter().filter(|(place, unit)| !gone.contains(place) && !is_used(unit)) {
        if !is_old(findings, holder, held, Some(unit), edge) {
            continue;
        }
        let (users, peers) = peers_who_use(model, holder, (*place, unit), edge);
        // Likely to be needed: it is kept, and nothing is said.
        if peers > 0 && f64::from(users) >= findings.input.settings.keep_share * f64::from(peers) {
            continue;
        }
        // The group keeps it where enough of its members use it.
        let split = split_of(splits, held).filter(|split| !split.shared.contains(place));
        let edit = right_size(findings.input, model, holder, held, edge).or_else(|| Some(split?.edit.clone()));
        let granted = model.granted_since(findings.input.history, holder, held, Some(unit));
        let mut evidence = findings.observed(granted, last(unit));
        evidence.peers = (peers > 0).then(|| format!("{users} of {peers} others who hold it used it"));
        let change = match &held.via {
            Via::Named => "give narrower roles in place of this one".to_owned(),
            Via::Group(group) if edit.is_some() => format!(
                "it comes with the group `{group}`: give the group what enough of it use, and the rest by name to those who use it"
            ),
            Via::Group(group) => {
                format!("it comes with the group `{group}`: split the role, or take the principal out of the group")
            }
            Via::Credential => {
                "its credential carries the role: split the role, or take it out of the credential".to_owned()
            }
        };
        let days = findings.days();
        let said = Said {
            principal: Some(&holder.name),
            permission: Some(&unit.text),
            about: grant.name(),
            evidence,
            place: findings.place("role", unit.role, unit.at),
            edits: edit.into_iter().collect(),
            ..Said::plain(
                Kind::UnusedPermission,
                Severity::Medium,
                format!("`{}` has not used `{}` of the role `{}` for {days} days", holder.name, unit.text, grant.role),
                &change,
            )
        };
        findings.add(said);
    }
}

fn unused_binding(findings: &mut Findings<'_, '_>, holder: &Holder, held: &Held, edge: i64) {
    let model = findings.model;
    let Some(grant) = model.grants.get(held.grant) else { return };
    let granted = model.granted_since(findings.input.history, holder, held, None);
    let last = model.units_of(held.grant).filter_map(|(_, unit)| model.last_used(holder, held.grant, unit)).max();
    let edit = removal(findings, holder, held, edge);
    let change = match (&held.via, &edit) {
        (Via::Named, _) => format!("take it out of `{}`", grant.name()),
        (Via::Group(group), Some(_)) => {
            format!("take it out of the group `{group}`: nothing that the group gives is used")
        }
        (Via::Group(group), None) => format!(
            "it comes with the group `{group}`, of which other grants are used or which the policy does not fill"
        ),
        (Via::Credential, _) => "take the role out of its credential".to_owned(),
    };
    let days = findings.days();
    let said = Said {
        principal: Some(&holder.name),
        permission: Some(grant.role),
        about: grant.name(),
        evidence: findings.observed(granted, last),
        place: place_of(findings, held),
        edits: edit.into_iter().collect(),
        ..Said::plain(
            Kind::UnusedRoleBinding,
            Severity::Medium,
            format!(
                "`{}` holds the role `{}` {} and has used nothing of it for {days} days",
                holder.name,
                grant.role,
                match held.via {
                    Via::Named | Via::Group(_) => format!("through `{}`", grant.name()),
                    Via::Credential => "by its credential".to_owned(),
                }
            ),
            &change,
        )
    };
    findings.add(said);
}

/// What takes an unused grant away; `None`: nothing that the policy says does that alone.
fn removal(findings: &Findings<'_, '_>, holder: &Holder, held: &Held, edge: i64) -> Option<Edit> {
    let model = findings.model;
    match &held.via {
        Via::Named => {
            let assignment = model.grants.get(held.grant)?.assignment?;
            Some(Edit::DropPrincipal { assignment: assignment.name.value.clone(), principal: holder.name.clone() })
        }
        Via::Group(group) => {
            let declared = findings.input.draft.groups.iter().find(|each| each.name.value == *group)?;
            let is_member = declared.members.iter().any(|member| member.value == holder.name);
            let of_group = holder.held.iter().filter(|each| each.via == held.via);
            let unused = of_group.into_iter().all(|each| {
                model.units_of(each.grant).all(|(_, unit)| {
                    model.last_used(holder, each.grant, unit).is_none_or(|last| i64::from(last) < edge)
                })
            });
            // A group that is in other groups may give more than what is listed under its own name.
            let is_nested = findings
                .input
                .draft
                .groups
                .iter()
                .any(|other| other.members.iter().any(|member| member.value == format!("group:{group}")));
            (is_member && unused && !is_nested)
                .then(|| Edit::DropMember { group: group.clone(), member: holder.name.clone() })
        }
        Via::Credential => None,
    }
}

/// Units that nobody uses who holds them, of roles of which others are used. They are reported once, for all.
fn unused_by_everybody(findings: &mut Findings<'_, '_>, edge: i64) -> HashSet<usize> {
    let model = findings.model;
    let mut gone = HashSet::new();
    let is_used = |unit: usize| {
        let Some(found) = model.units.get(unit) else { return true };
        let grants = model.grants_of.get(unit).into_iter().flatten();
        grants
            .into_iter()
            .any(|grant| model.last_used_by_anybody(*grant, found).is_some_and(|last| i64::from(last) >= edge))
    };
    let used: Vec<bool> = (0..model.units.len()).map(is_used).collect();
    // Roles of which something is used, by themselves or by what inherits them.
    let mut live: HashSet<&str> = HashSet::new();
    for units in model.role_units.values().filter(|units| units.iter().any(|unit| used.get(*unit) == Some(&true))) {
        live.extend(units.iter().filter_map(|unit| model.units.get(*unit)).map(|unit| unit.role));
    }
    for (place, unit) in model.units.iter().enumerate() {
        let grants = model.grants_of.get(place).map_or(&[][..], Vec::as_slice);
        if used.get(place) == Some(&true) || grants.is_empty() || !live.contains(unit.role) {
            continue;
        }
        let mut holders: BTreeSet<&str> = BTreeSet::new();
        let (mut judged, mut granted) = (true, None);
        for grant in grants {
            if model.grants.get(*grant).is_some_and(|grant| grant.collective) {
                // Everybody: only if all who ever came are known.
                let since = model.granted_to_all_since(findings.input.history, *grant, unit);
                judged &= !findings.input.usage.is_crowded_since(edge) && since.is_some_and(|since| since <= edge);
                granted = granted.max(since);
            }
            for holder in
                model.holders_of.get(*grant).into_iter().flatten().filter_map(|place| model.holders.get(*place))
            {
                holders.insert(&holder.name);
                let held = holder.held.iter().find(|held| held.grant == *grant);
                let since = held.and_then(|held| model.granted_since(findings.input.history, holder, held, Some(unit)));
                judged &=
                    findings.input.usage.is_sure_of(&holder.name, edge) && since.is_some_and(|since| since <= edge);
                granted = granted.max(since);
            }
        }
        if !judged {
            continue;
        }
        gone.insert(place);
        let last = grants.iter().filter_map(|grant| model.last_used_by_anybody(*grant, unit)).max();
        let only = match holders.iter().collect::<Vec<_>>().as_slice() {
            [only] => Some((**only).to_owned()),
            _ => None,
        };
        let who = match (&only, holders.len()) {
            (Some(only), _) => format!("`{only}`, who alone holds it,"),
            (None, 0) => "nobody".to_owned(),
            (None, count) => format!("none of the {count} who hold it"),
        };
        let verb = if only.is_some() { "has not used" } else { "has used" };
        let mut evidence = findings.observed(granted, last);
        evidence.peers = Some(format!("0 of {} who hold it used it", holders.len()));
        let days = findings.days();
        let said = Said {
            principal: only.as_deref(),
            permission: Some(&unit.text),
            about: unit.role,
            evidence,
            place: findings.place("role", unit.role, unit.at),
            edits: vec![Edit::DropUnit {
                role: unit.role.to_owned(),
                permission: unit.permission,
                action: unit.action,
                method: unit.method.clone(),
            }],
            ..Said::plain(
                Kind::UnusedPermission,
                Severity::Medium,
                format!("{who} {verb} `{}` of the role `{}` for {days} days", unit.text, unit.role),
                "take it out of the role",
            )
        };
        findings.add(said);
    }
    gone
}

/// By weight: how much of what somebody may do is unused.
fn over_exposure(findings: &mut Findings<'_, '_>, holder: &Holder, edge: i64, splits: &Splits) {
    let model = findings.model;
    // Each permission once: by its greatest weight, and used where it is by any of the grants that give it.
    let mut permissions: BTreeMap<usize, (u32, bool)> = BTreeMap::new();
    for held in &holder.held {
        let Some(grant) = model.grants.get(held.grant) else { continue };
        for (place, unit) in model.units_of(held.grant) {
            if is_old(findings, holder, held, Some(unit), edge) {
                let used = model.last_used(holder, held.grant, unit).is_some_and(|last| i64::from(last) >= edge);
                let found = permissions.entry(place).or_default();
                *found = (found.0.max(unit.weight.saturating_mul(grant.weight)), found.1 || used);
            }
        }
    }
    let weigh = |permissions: &mut dyn Iterator<Item = &(u32, bool)>| {
        permissions.fold(0_u32, |sum, (weight, _)| sum.saturating_add(*weight))
    };
    let all = weigh(&mut permissions.values());
    let unused = weigh(&mut permissions.values().filter(|(_, used)| !used));
    let (count, used_count) = (permissions.len(), permissions.values().filter(|(_, used)| *used).count());
    let index = f64::from(unused) / f64::from(all.max(1));
    if count < FEW || used_count == 0 || index < findings.input.settings.over_exposure {
        return;
    }
    let severity = match unused {
        VERY_HEAVY.. => Severity::High,
        HEAVY.. => Severity::Medium,
        _ => Severity::Low,
    };
    let mut edits: BTreeSet<Edit> = BTreeSet::new();
    for held in &holder.held {
        let is_used = model
            .units_of(held.grant)
            .any(|(_, unit)| model.last_used(holder, held.grant, unit).is_some_and(|last| i64::from(last) >= edge));
        match is_used {
            true => {
                edits.extend(right_size(findings.input, model, holder, held, edge));
                edits.extend(split_of(splits, held).map(|split| split.edit.clone()));
            }
            false if is_old(findings, holder, held, None, edge) => edits.extend(removal(findings, holder, held, edge)),
            false => {}
        }
    }
    let mut evidence = findings.observed(None, None);
    let percent = format!("{:.0}", 100.0 * index);
    evidence.facts.push(format!("permission creep index {percent} of 100: weight {unused} of {all} is unused"));
    evidence.facts.push(format!("{used_count} of {} used", counted(count, "permission", "permissions")));
    // Where the one that gives most of it stands.
    let by_weight = |held: &&Held| {
        let weights = model.units_of(held.grant).map(|(_, unit)| unit.weight);
        (model.grants.get(held.grant).is_some_and(|grant| grant.assignment.is_some()), weights.sum::<u32>())
    };
    let heaviest = holder.held.iter().max_by_key(by_weight).and_then(|held| place_of(findings, held));
    let change = match edits.is_empty() {
        true => "what it holds comes with its groups or its credential: split their roles, or take it out of them",
        false => "give narrower roles in place of these",
    };
    let said = Said {
        principal: Some(&holder.name),
        evidence,
        place: heaviest,
        edits: edits.into_iter().collect(),
        ..Said::plain(
            Kind::OverExposure,
            severity,
            format!(
                "{percent} % of what `{}` may do, by weight, is not used: {used_count} of {count} permissions are",
                holder.name
            ),
            change,
        )
    };
    findings.add(said);
}

/// Whether somebody has held it for the whole window.
fn is_old(findings: &Findings<'_, '_>, holder: &Holder, held: &Held, unit: Option<&Unit<'_>>, edge: i64) -> bool {
    findings.model.granted_since(findings.input.history, holder, held, unit).is_some_and(|since| since <= edge)
}

fn place_of(findings: &Findings<'_, '_>, held: &Held) -> Option<crate::audit::finding::Place> {
    let assignment = findings.model.grants.get(held.grant)?.assignment?;
    findings.place("assignment", &assignment.name.value, assignment.name.at)
}
