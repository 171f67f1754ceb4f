//! LP07 and LP09: roles that hardly any peer holds, and roles that exclude each other.

use std::collections::{BTreeMap, BTreeSet};

use super::{Findings, Said, counted, listed};
use crate::audit::edit::Edit;
use crate::audit::finding::{Kind, Severity};
use crate::audit::model::{Holder, Via};

/// Within so many seconds roles that exclude each other are used together.
const TOGETHER_S: i64 = 30 * 24 * 60 * 60;

pub(super) fn look(findings: &mut Findings<'_, '_>) {
    outliers(findings);
    exclusives(findings);
}

/// The members of each group, and the holders of each role: the two ways to be peers.
fn circles<'h>(findings: &Findings<'_, 'h>) -> BTreeMap<String, Vec<&'h Holder>> {
    let model = findings.model;
    let mut circles: BTreeMap<String, Vec<&Holder>> = BTreeMap::new();
    for holder in &model.holders {
        for group in &holder.groups {
            circles.entry(format!("group {group}")).or_default().push(holder);
        }
        let roles: BTreeSet<&str> =
            holder.held.iter().filter_map(|held| Some(model.grants.get(held.grant)?.role)).collect();
        for role in roles {
            circles.entry(format!("role {role}")).or_default().push(holder);
        }
    }
    circles
}

fn outliers(findings: &mut Findings<'_, '_>) {
    let model = findings.model;
    let (least, share) = (findings.input.settings.peers, findings.input.settings.outlier_share);
    let circles = circles(findings);
    // By principal and role: the largest circle in which that is out of the ordinary. It must be so in every one that is large enough.
    /// Others who hold it, of how many, in which circle; `None`: it is usual somewhere.
    type Verdict = Option<(usize, usize, String)>;
    let mut verdicts: BTreeMap<(&str, &str), Verdict> = BTreeMap::new();
    for (circle, members) in &circles {
        // The holder aside there must be enough.
        if members.len() <= least {
            continue;
        }
        let mut held: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for member in members {
            let roles: BTreeSet<&str> =
                member.held.iter().filter_map(|held| Some(model.grants.get(held.grant)?.role)).collect();
            for role in roles {
                held.entry(role).or_default().push(&member.name);
            }
        }
        for (role, who) in held {
            // Those who hold a role all hold it.
            if *circle == format!("role {role}") {
                continue;
            }
            for name in &who {
                let (others, peers) = (who.len() - 1, members.len() - 1);
                let odd = fraction(others, peers) < share;
                let verdict = verdicts.entry((name, role)).or_insert_with(|| Some((0, 0, String::new())));
                match verdict {
                    Some(found) if odd && peers > found.1 => *found = (others, peers, circle.clone()),
                    Some(_) if !odd => *verdict = None,
                    Some(_) | None => {}
                }
            }
        }
    }
    for ((name, role), verdict) in verdicts {
        let Some((others, peers, circle)) = verdict.filter(|(_, peers, _)| *peers > 0) else { continue };
        let Some(holder) = model.holder(name) else { continue };
        let Some(held) =
            holder.held.iter().find(|held| model.grants.get(held.grant).is_some_and(|grant| grant.role == role))
        else {
            continue;
        };
        let Some(grant) = model.grants.get(held.grant) else { continue };
        let last = model.units_of(held.grant).filter_map(|(_, unit)| model.last_used(holder, held.grant, unit)).max();
        let granted = model.granted_since(findings.input.history, holder, held, None);
        let mut evidence = findings.observed(granted, last);
        evidence.peers = Some(format!("{others} of {peers} peers ({circle}) hold it"));
        let used = last.is_some();
        let edit = match (&held.via, grant.assignment) {
            (Via::Named, Some(assignment)) if !used => {
                Some(Edit::DropPrincipal { assignment: assignment.name.value.clone(), principal: name.to_owned() })
            }
            _ => None,
        };
        // Without counts of usage nothing is known to be unused.
        let edge = findings.edge(findings.input.usage.since());
        let edit = edit.filter(|_| edge.is_ok_and(|edge| findings.input.usage.is_sure_of(name, edge)));
        let change = if used {
            "look whether it is still needed: it is used"
        } else {
            "take it away, if nobody can say what it is for"
        };
        let place = grant
            .assignment
            .and_then(|assignment| findings.place("assignment", &assignment.name.value, assignment.name.at));
        let said = Said {
            principal: Some(name),
            permission: Some(role),
            evidence,
            place,
            edits: edit.into_iter().collect(),
            ..Said::plain(
                Kind::PeerOutlierGrant,
                Severity::Medium,
                format!("`{name}` holds the role `{role}`, which {others} of {peers} peers ({circle}) hold"),
                change,
            )
        };
        findings.add(said);
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are fewer principals than a float can count")]
fn fraction(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn exclusives(findings: &mut Findings<'_, '_>) {
    let model = findings.model;
    let draft = findings.input.draft;
    if draft.exclusives.is_empty() {
        return findings.skip(
            &[Kind::ToxicCombination],
            "the policy has no [[exclusive]]: it names no roles that exclude each other",
        );
    }
    let edge = findings.input.now.as_second().saturating_sub(TOGETHER_S);
    for set in &draft.exclusives {
        let max = set.max.as_ref().map_or(1, |max| max.value);
        let wanted: BTreeSet<&str> = set.roles.iter().map(|role| role.value.as_str()).collect();
        for holder in &model.holders {
            // By role of the set: through which assignment, and whether it was used lately.
            let mut held: BTreeMap<&str, (String, bool)> = BTreeMap::new();
            let everybody =
                model.grants.iter().enumerate().filter(|(_, grant)| grant.collective).map(|(place, _)| place);
            for place in holder.held.iter().map(|held| held.grant).chain(everybody) {
                let Some(grant) = model.grants.get(place) else { continue };
                let used = model
                    .units_of(place)
                    .any(|(_, unit)| model.last_used(holder, place, unit).is_some_and(|last| i64::from(last) >= edge));
                for role in model.roles_of(grant.role).into_iter().filter(|role| wanted.contains(role)) {
                    held.entry(role).or_insert_with(|| (grant.name().to_owned(), false)).1 |= used;
                }
            }
            if held.len() <= max {
                continue;
            }
            let used: Vec<&str> = held.iter().filter(|(_, (_, used))| *used).map(|(role, _)| *role).collect();
            let mut evidence = findings.observed(None, None);
            evidence.facts.push(match used.len() > max {
                true => format!("used within 30 days: {}", listed(used.iter().copied(), 8)),
                false => "they were not used together within 30 days".to_owned(),
            });
            evidence.facts.extend(held.iter().map(|(role, (through, _))| format!("`{role}` through `{through}`")));
            let said = Said {
                principal: Some(&holder.name),
                permission: Some(&set.name.value),
                place: findings.place("exclusive", &set.name.value, set.name.at),
                evidence,
                ..Said::plain(
                    Kind::ToxicCombination,
                    Severity::High,
                    format!(
                        "`{}` holds {} of [[exclusive]] `{}`, which lets nobody hold more than {max}",
                        holder.name,
                        listed(held.keys().copied(), 8),
                        set.name.value
                    ),
                    &format!("take {} away", counted(held.len() - max, "of the roles", "of the roles")),
                )
            };
            findings.add(said);
        }
    }
}
