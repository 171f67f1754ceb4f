//! LP04 and LP12: principals that nobody is, and power for emergencies that nobody has looked at.

use std::collections::BTreeMap;

use portcullis_policy::Position;

use super::{Findings, Said, counted};
use crate::audit::edit::Edit;
use crate::audit::finding::{Evidence, Kind, Severity, shown};

/// A day for somebody else to look.
const REVIEW_WITHIN_S: i64 = 24 * 60 * 60;

pub(super) fn look(findings: &mut Findings<'_, '_>) {
    orphans(findings);
    break_glass(findings);
}

fn orphans(findings: &mut Findings<'_, '_>) {
    let draft = findings.input.draft;
    if !findings.input.known.unasked.is_empty() {
        let why = format!("at all places: {}", findings.input.known.unasked.join("; "));
        findings.skip(&[Kind::OrphanPrincipal], &why);
    }
    let mut named: BTreeMap<&str, (Vec<Edit>, &str, &str, Position)> = BTreeMap::new();
    for assignment in &draft.assignments {
        for principal in &assignment.principals {
            let edit =
                Edit::DropPrincipal { assignment: assignment.name.value.clone(), principal: principal.value.clone() };
            let at = (Vec::new(), "assignment", assignment.name.value.as_str(), principal.at);
            named.entry(&principal.value).or_insert(at).0.push(edit);
        }
    }
    for group in &draft.groups {
        for member in &group.members {
            let edit = Edit::DropMember { group: group.name.value.clone(), member: member.value.clone() };
            named.entry(&member.value).or_insert((Vec::new(), "group", &group.name.value, member.at)).0.push(edit);
        }
    }
    for (principal, (edits, kind, name, at)) in named {
        if let Some((_, why)) = findings.input.known.empty.iter().find(|(empty, _)| empty == principal) {
            let mut evidence = Evidence::default();
            evidence.facts.push(why.clone());
            let said = Said {
                principal: Some(principal),
                place: findings.place(kind, name, at),
                evidence,
                ..Said::plain(
                    Kind::OrphanPrincipal,
                    Severity::Low,
                    format!(
                        "`{principal}` is named in {} and is nobody: {why}",
                        counted(edits.len(), "place", "places")
                    ),
                    "take it out if nobody is to come into it",
                )
            };
            findings.add(said);
            continue;
        }
        let Some(why) = findings.input.known.why_orphan(principal) else { continue };
        // Whoever came lately is somebody.
        let edge = findings.input.now.as_second().saturating_sub(REVIEW_WITHIN_S);
        let came = findings.input.usage.rows_of(principal).any(|(_, _, row)| row.is_used_since(edge));
        if came {
            continue;
        }
        let last = findings.input.usage.rows_of(principal).map(|(_, _, row)| row.last).max().filter(|last| *last > 0);
        let mut evidence = findings.observed(None, last);
        evidence.facts.push(why.clone());
        let said = Said {
            principal: Some(principal),
            place: findings.place(kind, name, at),
            evidence,
            ..Said::plain(
                Kind::OrphanPrincipal,
                Severity::High,
                format!("`{principal}` is named in {} and is nobody: {why}", counted(edits.len(), "place", "places")),
                "take it out: whoever gets that name next would hold its grants",
            )
        };
        findings.add(Said { edits, ..said });
    }
}

fn break_glass(findings: &mut Findings<'_, '_>) {
    let Some(uses) = findings.input.break_glass else {
        return findings.skip(&[Kind::BreakGlassUnreviewed], "no record of power for emergencies is kept");
    };
    let now = findings.input.now.as_second();
    for used in uses {
        let waits = now.saturating_sub(used.at);
        if used.reviewed || waits <= REVIEW_WITHIN_S {
            continue;
        }
        let about = format!("{}", used.at);
        let said = Said {
            principal: Some(&used.principal),
            permission: Some(&used.what),
            about: &about,
            evidence: Evidence { last_used: Some(shown(used.at)), ..Evidence::default() },
            ..Said::plain(
                Kind::BreakGlassUnreviewed,
                Severity::High,
                format!(
                    "`{}` used power for emergencies ({}) {} ago, and its review is not complete",
                    used.principal,
                    used.what,
                    counted(usize::try_from(waits / 3_600).unwrap_or(usize::MAX), "hour", "hours")
                ),
                "have somebody else review it",
            )
        };
        findings.add(said);
    }
}
