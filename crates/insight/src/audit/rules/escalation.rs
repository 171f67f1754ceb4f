//! LP10: who can change what is granted to themselves.

use std::collections::BTreeSet;

use super::{Findings, Said, listed};
use crate::audit::finding::{Evidence, Kind, Severity};

pub(super) fn look(findings: &mut Findings<'_, '_>) {
    through_routes(findings);
    through_approvals(findings);
}

/// Routes that lead to where the policy, or membership in groups, is kept: whoever may write there may grant.
fn through_routes(findings: &mut Findings<'_, '_>) {
    let routes = &findings.input.settings.control_routes;
    if routes.is_empty() {
        let why = "`[audit] control_routes` names no routes through which the policy can be changed: only approvals were looked at";
        return findings.skip(&[Kind::SelfEscalationPath], why);
    }
    let model = findings.model;
    let policy_grants =
        |holder: &crate::audit::model::Holder, place: usize| holder.held.iter().any(|held| held.grant != place);
    for (place, grant) in model.grants.iter().enumerate() {
        let covered: Vec<&str> = routes.iter().map(String::as_str).filter(|route| grant.covers(route)).collect();
        let writes: BTreeSet<&str> = model
            .units_of(place)
            .filter(|(_, unit)| !is_safe(unit.method.as_deref()))
            .map(|(_, unit)| unit.text.as_str())
            .collect();
        if covered.is_empty() || writes.is_empty() {
            continue;
        }
        let at = grant
            .assignment
            .and_then(|assignment| findings.place("assignment", &assignment.name.value, assignment.name.at));
        let mut whom: Vec<String> = Vec::new();
        if grant.collective {
            whom.push("everybody".to_owned());
        }
        let holders = model.holders_of.get(place).into_iter().flatten().filter_map(|holder| model.holders.get(*holder));
        whom.extend(
            holders
                .filter(|holder| policy_grants(holder, place) || holder.held.len() == 1)
                .map(|holder| holder.name.clone()),
        );
        for name in whom {
            let said = Said {
                principal: Some(&name),
                permission: covered.first().copied(),
                about: grant.name(),
                place: at.clone(),
                evidence: Evidence {
                    facts: vec![format!(
                        "may {} on {}",
                        listed(writes.iter().copied(), 4),
                        listed(covered.iter().copied(), 4)
                    )],
                    ..Evidence::default()
                },
                ..Said::plain(
                    Kind::SelfEscalationPath,
                    Severity::Critical,
                    format!(
                        "`{name}` may write on {}, through which grants are changed: it can give itself what it likes",
                        listed(covered.iter().copied(), 4)
                    ),
                    "demand approvals of others for changes of the policy, or leave writing there to those who hold no other grant",
                )
            };
            findings.add(said);
        }
    }
}

/// Methods that change nothing (RFC 9110 section 9.2.1).
fn is_safe(method: Option<&str>) -> bool {
    matches!(method, Some("GET" | "HEAD" | "OPTIONS" | "TRACE"))
}

/// Approvals that one person can give alone.
fn through_approvals(findings: &mut Findings<'_, '_>) {
    let writers = findings.input.writers;
    if writers.approvers.is_empty() {
        return;
    }
    let model = findings.model;
    if !writers.required {
        let said = Said {
            evidence: Evidence {
                facts: vec![format!("approvers: {}", listed(writers.approvers.iter().map(|(person, _)| person.as_str()), 8))],
                ..Evidence::default()
            },
            ..Said::plain(
                Kind::SelfEscalationPath,
                Severity::Critical,
                "there are approvers, and `[governance] required` is off: whoever can write the policy's file grants alone".to_owned(),
                "write `required = true`",
            )
        };
        findings.add(said);
        return;
    }
    if writers.loosen >= 2 {
        return;
    }
    for (person, names) in &writers.approvers {
        let is_it = |holder: &&crate::audit::model::Holder| {
            let id = holder.name.split_once(':').map_or("", |(_, id)| id);
            !holder.held.is_empty() && (id == person || names.iter().any(|name| name == id || *name == holder.name))
        };
        for holder in model.holders.iter().filter(is_it) {
            let said = Said {
                principal: Some(&holder.name),
                about: person,
                ..Said::plain(
                    Kind::SelfEscalationPath,
                    Severity::Critical,
                    format!(
                        "`{}` is the approver {person}, and one approval is enough to loosen the policy: with one other person it can give itself what it likes",
                        holder.name
                    ),
                    "demand two approvals for what loosens: `[governance.approvals] loosen = 2`",
                )
            };
            findings.add(said);
        }
    }
}
