//! LP02 of what has to be activated first: who could take a role for a time and never does.
//!
//! An activation is written down when it happens, whoever counts requests, so the window is one of days by the clock.

use std::collections::{HashMap, HashSet};

use portcullis_policy::{AssignmentDraft, Mode};

use super::{Findings, Said};
use crate::audit::edit::Edit;
use crate::audit::finding::{Evidence, Kind, Severity, shown};
use crate::audit::history::Part;

pub(super) fn look(findings: &mut Findings<'_, '_>) {
    let (draft, now) = (findings.input.draft, findings.input.now);
    let is_eligible = |each: &&AssignmentDraft| {
        each.activation.is_some() && each.mode == Mode::Enforce && each.expires.is_none_or(|ends| ends > now)
    };
    let eligible: Vec<&AssignmentDraft> = draft.assignments.iter().filter(is_eligible).collect();
    if eligible.is_empty() {
        return;
    }
    let edge = now.as_second().saturating_sub(findings.input.settings.unused_after_s());
    let Some(activations) = findings.input.activations else {
        let why = "of eligible assignments: no record of activations is kept, or it cannot be read";
        return not_looked_at(findings, why);
    };
    if let Err(why) = findings.ages_reach(edge) {
        return not_looked_at(findings, &format!("of eligible assignments: {why}"));
    }
    let mut last: HashMap<(&str, &str), i64> = HashMap::new();
    for each in activations {
        let known = last.entry((each.assignment.as_str(), each.principal.as_str())).or_insert(each.at);
        *known = (*known).max(each.at);
    }
    let used: HashSet<&str> = last.iter().filter(|(_, at)| **at >= edge).map(|((name, _), _)| *name).collect();
    for assignment in eligible {
        let name = assignment.name.value.as_str();
        let since = |principal: &str| {
            let part = Part::Holds {
                assignment: name.into(),
                role: assignment.role.value.as_str().into(),
                principal: principal.into(),
            };
            findings.input.history.since(&part)
        };
        let old: Vec<(&str, i64)> = assignment
            .principals
            .iter()
            .filter_map(|principal| Some((principal.value.as_str(), since(&principal.value)?)))
            .filter(|(_, since)| *since <= edge)
            .collect();
        // Who is in a group by a credential is not known here: of a group it counts whether anybody did.
        let of_nobody = !used.contains(name) && old.len() == assignment.principals.len();
        let idle = |principal: &str| last.get(&(name, principal)).is_none_or(|at| *at < edge);
        for (principal, granted) in old {
            let is_group = !principal.starts_with("user:") && !principal.starts_with("service:");
            if (is_group && !of_nobody) || (!is_group && !idle(principal)) {
                continue;
            }
            report(findings, assignment, (principal, granted), last.get(&(name, principal)).copied());
        }
    }
}

fn not_looked_at(findings: &mut Findings<'_, '_>, why: &str) {
    findings.not_looked_at.entry(Kind::UnusedRoleBinding.id().to_owned()).or_insert_with(|| why.to_owned());
}

fn report(
    findings: &mut Findings<'_, '_>,
    assignment: &AssignmentDraft,
    (principal, granted): (&str, i64),
    last: Option<i64>,
) {
    let (name, role, days) = (&assignment.name.value, &assignment.role.value, findings.days());
    let said = Said {
        principal: Some(principal),
        permission: Some(role),
        about: name,
        place: findings.place("assignment", name, assignment.name.at),
        evidence: Evidence {
            granted_at: Some(granted).filter(|since| *since > i64::MIN).map(shown),
            last_used: last.map(shown),
            facts: vec![format!("`{name}` is eligible: it gives nothing before it is activated")],
            ..Evidence::default()
        },
        edits: vec![Edit::DropPrincipal { assignment: name.clone(), principal: principal.to_owned() }],
        ..Said::plain(
            Kind::UnusedRoleBinding,
            Severity::Medium,
            format!("`{principal}` could activate `{role}` by `{name}` and has not for {days} days"),
            "take it back: who needs it again can ask for it",
        )
    };
    findings.add(said);
}
