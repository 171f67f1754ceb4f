//! LP16 and LP17: roles that are there twice or within another one, and rules that never decide.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use portcullis_policy::{Position, ProblemKind, RuleKind, lint};

use super::{Findings, Said, covered};
use crate::audit::edit::Edit;
use crate::audit::finding::{Evidence, Kind, Severity};

/// From this share of common units on two roles are nearly the same.
const ALIKE: f64 = 0.95;
/// Pairs of roles that are compared.
const MOST_PAIRS: usize = 2_000_000;
/// A role of fewer permissions is in others by chance.
const LEAST_SUBSET: usize = 2;

pub(super) fn look(findings: &mut Findings<'_, '_>) {
    duplicates(findings);
    shadowed(findings);
    covered::look(findings);
}

/// Actions, each with what is taken out of it again.
type Permitted<'m> = BTreeSet<(&'m str, &'m [&'m str])>;

fn duplicates(findings: &mut Findings<'_, '_>) {
    let model = findings.model;
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
    subsets(findings, &sets);
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
                held: vec![format!("role {name}")],
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

/// Roles of which everything is written again in a larger one that does not inherit them: whoever changes the one will not think of the other.
fn subsets(findings: &mut Findings<'_, '_>, sets: &[(&str, Position, Permitted<'_>)]) {
    let mut with: HashMap<(&str, &[&str]), Vec<usize>> = HashMap::new();
    for (place, (.., set)) in sets.iter().enumerate() {
        set.iter().for_each(|unit| with.entry(*unit).or_default().push(place));
    }
    let mut left = MOST_PAIRS;
    for (place, (name, at, set)) in sets.iter().enumerate().filter(|(_, (.., set))| set.len() >= LEAST_SUBSET) {
        // Whoever holds all of it holds what the fewest hold.
        let rarest = set.iter().filter_map(|unit| with.get(unit)).min_by_key(|roles| roles.len());
        let Some(candidates) = rarest else { continue };
        if left < candidates.len() {
            return findings.skip(
                &[Kind::DuplicateRole],
                "there are too many roles with common permissions to compare all of them",
            );
        }
        left -= candidates.len();
        let mut larger: Vec<(usize, &str)> = Vec::new();
        for (other, (wider, _, all)) in candidates.iter().filter_map(|other| Some((*other, sets.get(*other)?))) {
            // What is nearly the same is said to be so.
            let is_wider = other != place && as_float(set.len()) < ALIKE * as_float(all.len()) && set.is_subset(all);
            if is_wider && !findings.model.roles_of(wider).contains(name) {
                larger.push((all.len(), wider));
            }
        }
        let Some((size, wider)) = larger.into_iter().min() else { continue };
        let said = Said {
            permission: Some(name),
            about: wider,
            held: vec![format!("role {wider}")],
            place: findings.place("role", name, *at),
            evidence: Evidence {
                facts: vec![format!("all {} permissions are among the {size} of `{wider}`", set.len())],
                ..Evidence::default()
            },
            ..Said::plain(
                Kind::DuplicateRole,
                Severity::Info,
                format!("all that the role `{name}` permits is written in `{wider}` again"),
                "let the larger one inherit it, so that one change is enough",
            )
        };
        findings.add(said);
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
