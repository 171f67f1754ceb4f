//! LP10: who can change what is granted to themselves.

use std::collections::BTreeSet;

use portcullis_policy::WrittenAction;

use super::{Findings, Said, listed};
use crate::audit::finding::{Evidence, Kind, Severity};
use crate::audit::model::{Unit, reserved_in};

pub(super) fn look(findings: &mut Findings<'_, '_>) {
    through_routes(findings);
    through_the_api(findings);
    through_approvals(findings);
}

/// Routes that lead to where the policy, or membership in groups, is kept: whoever may write there may grant.
fn through_routes(findings: &mut Findings<'_, '_>) {
    // What can be done through the gateway's own API is known verb by verb.
    let own = reserved_in(findings.input.draft);
    let routes: Vec<&str> =
        findings.input.settings.control_routes.iter().map(String::as_str).filter(|route| own != Some(*route)).collect();
    if routes.is_empty() && own.is_none() {
        let why = "`[audit] control_routes` names no routes through which the policy can be changed: only approvals were looked at";
        return findings.skip(&[Kind::SelfEscalationPath], why);
    }
    let model = findings.model;
    let policy_grants =
        |holder: &crate::audit::model::Holder, place: usize| holder.held.iter().any(|held| held.grant != place);
    for (place, grant) in model.grants.iter().enumerate() {
        let covered: Vec<&str> = routes.iter().copied().filter(|route| grant.covers(route)).collect();
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

/// What can be done through the operators' API that comes to power: what all of these give, how bad that is, and what it comes to.
const POWERS: [(&[&str], Severity, &str); 2] = [
    (
        &["POST /v1/govern/propose", "POST /v1/govern/activate"],
        Severity::Critical,
        "may propose and activate a policy through the operators' API, and no approval of others is demanded: it can give itself what it likes",
    ),
    (
        &["POST /v1/factors/enroll", "POST /v1/factors/confirm"],
        Severity::High,
        "may set the second factors of others through the operators' API",
    ),
];

/// The gateway's own route: whoever may use what gives power there.
fn through_the_api(findings: &mut Findings<'_, '_>) {
    let Some(route) = reserved_in(findings.input.draft) else { return };
    let (model, writers) = (findings.model, findings.input.writers);
    for (actions, severity, what) in POWERS {
        // Others stand between a proposal and its activation.
        if severity == Severity::Critical && writers.required && writers.loosen > 0 {
            continue;
        }
        let gives = |grant: usize, action: &str| {
            let covers = model.grants.get(grant).is_some_and(|grant| grant.covers(route));
            covers && model.units_of(grant).any(|(_, unit)| permits(unit, action))
        };
        for holder in &model.holders {
            let by = |action: &&str| holder.held.iter().map(|held| held.grant).find(|grant| gives(*grant, action));
            let grants: Vec<usize> = actions.iter().filter_map(by).collect();
            let Some(grant) = grants.last().and_then(|grant| model.grants.get(*grant)) else { continue };
            if grants.len() < actions.len() {
                continue;
            }
            let at = grant.assignment;
            let at = at.and_then(|found| findings.place("assignment", &found.name.value, found.name.at));
            let said = Said {
                principal: Some(&holder.name),
                permission: Some(route),
                about: actions.first().copied().unwrap_or_default(),
                place: at,
                evidence: Evidence {
                    facts: vec![format!("may {}", listed(actions.iter().copied(), 4))],
                    ..Evidence::default()
                },
                ..Said::plain(
                    Kind::SelfEscalationPath,
                    severity,
                    format!("`{}` {what}", holder.name),
                    "demand approvals of others for changes of the policy, and name the actions of the API that are needed",
                )
            };
            findings.add(said);
        }
    }
}

/// Whether a unit permits an action on one path.
fn permits(unit: &Unit<'_>, action: &str) -> bool {
    let (Some((method, _)), Some(wanted)) = (action.split_once(' '), WrittenAction::parse(action)) else {
        return false;
    };
    let holds = |text: &str, of: Option<&str>| {
        of.is_none_or(|own| own == method) && WrittenAction::parse(text).is_some_and(|own| own.holds_paths_of(&wanted))
    };
    let is_out = |text: &&str| {
        let methods = text.split_once(' ').map_or("", |(methods, _)| methods);
        let named = methods == "*" || methods.split(',').any(|each| each == method);
        named && holds(text, None)
    };
    holds(&unit.text, unit.method.as_deref()) && !unit.except.iter().any(is_out)
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
