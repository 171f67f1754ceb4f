//! LP16 and LP17: roles that are there twice, and rules that never decide.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use portcullis_policy::{Position, ProblemKind, RuleKind, lint};

use super::{Findings, Said};
use crate::audit::edit::Edit;
use crate::audit::finding::{Evidence, Kind, Severity};

/// From this share of common units on two roles are nearly the same.
const ALIKE: f64 = 0.95;
/// Pairs of roles that are compared.
const MOST_PAIRS: usize = 2_000_000;

pub(super) fn look(findings: &mut Findings<'_, '_>) {
    duplicates(findings);
    shadowed(findings);
}

fn duplicates(findings: &mut Findings<'_, '_>) {
    let model = findings.model;
    /// Actions, each with what is taken out of it again.
    type Permitted<'m> = BTreeSet<(&'m str, &'m [&'m str])>;
    let mut sets: Vec<(&str, Position, Permitted<'_>)> = Vec::new();
    for role in &findings.input.draft.roles {
        let units = model
            .role_units
            .get(role.name.value.as_str())
            .into_iter()
            .flatten()
            .filter_map(|unit| model.units.get(*unit));
        let set: Permitted<'_> = units.map(|unit| (unit.text.as_str(), unit.except.as_slice())).collect();
        if !set.is_empty() {
            sets.push((&role.name.value, role.name.at, set));
        }
    }
    // Only roles of nearly the same size can be alike: sorted, they stand beside each other.
    sets.sort_by(|one, other| (one.2.len(), one.0).cmp(&(other.2.len(), other.0)));
    let mut left = MOST_PAIRS;
    for (place, (name, _, set)) in sets.iter().enumerate() {
        for (other, at, larger) in sets.iter().skip(place + 1) {
            if as_float(set.len()) < ALIKE * as_float(larger.len()) {
                break;
            }
            if left == 0 {
                return findings
                    .skip(&[Kind::DuplicateRole], "there are too many roles of one size to compare all of them");
            }
            left -= 1;
            let common = set.intersection(larger).count();
            let all = set.len() + larger.len() - common;
            let share = as_float(common) / as_float(all);
            if share < ALIKE {
                continue;
            }
            let exactly = if common == all { "exactly the same" } else { "nearly the same" };
            let said = Said {
                permission: Some(other),
                about: name,
                place: findings.place("role", other, *at),
                evidence: Evidence {
                    facts: vec![format!("{common} of {all} permissions are common")],
                    ..Evidence::default()
                },
                ..Said::plain(
                    Kind::DuplicateRole,
                    Severity::Low,
                    format!("the roles `{name}` and `{other}` permit {exactly}"),
                    "keep one of them, or let one inherit the other",
                )
            };
            findings.add(said);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are fewer permissions than a float can count")]
fn as_float(count: usize) -> f64 {
    count as f64
}

/// What the lint proves to be without effect. Where usage is counted, and it says that the rule has decided all the same, nothing is said.
fn shadowed(findings: &mut Findings<'_, '_>) {
    let (draft, policy) = (findings.input.draft, findings.input.policy);
    let problems = lint(draft, policy, findings.input.lint);
    let by_place: BTreeMap<Position, &str> =
        draft.assignments.iter().map(|each| (each.name.at, each.name.value.as_str())).collect();
    let mut names: HashSet<&str> = HashSet::new();
    for problem in &problems {
        let what = match problem.kind {
            ProblemKind::RedundantGrant
            | ProblemKind::DeniedGrant
            | ProblemKind::UnreachableGrant
            | ProblemKind::ContradictingNetworks
            | ProblemKind::HoursNeverOccur
            | ProblemKind::GrantToNobody => problem,
            _ => continue,
        };
        let Some(name) = by_place.get(&what.at) else { continue };
        let edge = findings.edge(findings.input.usage.since()).ok();
        let seen = findings.input.usage.rule(RuleKind::Assignment, name);
        // It decides today where two grants hold alike: that of the first name is named. Then it can go all the same.
        let decided = seen.is_some_and(|seen| edge.is_some_and(|edge| i64::from(seen.last) >= edge));
        if decided || !names.insert(name) {
            continue;
        }
        let mut evidence = match edge {
            Some(_) => findings.observed(None, seen.map(|seen| seen.last)),
            None => Evidence::default(),
        };
        evidence.facts.extend(what.related.iter().map(|(at, note)| match findings.place("", "", *at) {
            Some(place) => format!("{}:{}: {note}", place.file, place.line),
            None => note.clone(),
        }));
        let said = Said {
            permission: Some(name),
            place: findings.place("assignment", name, what.at),
            evidence,
            edits: vec![Edit::DropAssignment { assignment: (*name).to_owned() }],
            ..Said::plain(
                Kind::ShadowedRule,
                Severity::Low,
                what.message.clone(),
                what.help.as_deref().unwrap_or("remove it"),
            )
        };
        findings.add(said);
    }
}
