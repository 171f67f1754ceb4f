//! Everybody who may do something, and what each of them still needs: for a machine, and for people.

use portcullis_policy::{AllowedSubject, DirectRoles, Policy, Standing, TouchingDeny, WhoCan};
use serde_json::{Value, json};

use super::standing::{
    demand_words, demands_json, deny_words, object, obstacle_json, obstacle_words, place, rule_json, standing_json,
    words,
};
use super::table::table;
use super::verdict::asked;

/// The most roles held directly that are named for people.
const MOST_NAMED: usize = 20;

/// All of it, for a machine.
pub(crate) fn to_json(policy: &Policy, method: &str, path: &str, who: &WhoCan) -> Value {
    object([
        ("method", json!(method)),
        ("path", json!(path)),
        ("route", json!(&*who.route)),
        ("demands", demands_json(&who.demands)),
        ("possible", json!(who.is_possible())),
        ("obstacle", who.obstacles.iter().map(obstacle_json).collect()),
        ("allowed", who.allowed.iter().map(|each| object(allowed_parts(each))).collect()),
        ("denied", denied_json(who).collect()),
        ("deny", who.denies.iter().map(deny_json).collect()),
        ("held_directly", who.held_directly.as_ref().map(direct_json).unwrap_or_default()),
        ("omitted", json!(who.omitted)),
        ("policy", json!(asked(policy))),
    ])
}

/// Where the request leads nowhere.
pub(crate) fn no_route(method: &str, url: &str) -> String {
    format!("nobody can {method} {url}: no route leads there")
}

/// Of one of them, to be part of an object.
pub(crate) fn allowed_parts(each: &AllowedSubject) -> impl Iterator<Item = (&'static str, Value)> {
    let grants = each.grants.iter().map(|grant| {
        let first = [("assignment", json!(&*grant.assignment.name)), ("role", json!(&*grant.role.name))];
        let last = [("file", json!(&*grant.assignment.file)), ("line", json!(grant.assignment.line))];
        object(first.into_iter().chain(standing_json(&grant.standing)).chain(last))
    });
    let denies = each
        .denies
        .iter()
        .map(|(rule, standing)| object([("rule", rule_json(rule))].into_iter().chain(standing_json(standing))));
    let members = each.members.as_ref().map(|members| {
        let shown: Vec<Value> = members
            .shown
            .iter()
            .map(|member| {
                let denied_by = member.denied_by.as_ref().map(rule_json);
                json!({ "subject": &*member.subject, "through": member.through, "denied_by": denied_by })
            })
            .collect();
        json!({ "total": members.total, "shown": shown })
    });
    [
        ("subject", json!(&*each.subject)),
        ("now", json!(each.now)),
        ("grant", grants.collect()),
        ("deny", denies.collect()),
        ("risk", each.risk.as_ref().map(obstacle_json).unwrap_or_default()),
        ("members", members.unwrap_or_default()),
    ]
    .into_iter()
}

fn denied_json(who: &WhoCan) -> impl Iterator<Item = Value> {
    who.denied.iter().map(|each| json!({ "subject": &*each.subject, "denied_by": rule_json(&each.deny) }))
}

fn deny_json(deny: &TouchingDeny) -> Value {
    let first = [
        ("rule", rule_json(&deny.rule)),
        ("principals", json!(deny.principals)),
        ("more_principals", json!(deny.more_principals)),
    ];
    let last =
        [("undecided", json!(!deny.standing.is_now() && deny.standing.may_be_now())), ("shadow", json!(deny.shadow))];
    object(first.into_iter().chain(standing_json(&deny.standing)).chain(last))
}

fn direct_json(direct: &DirectRoles) -> Value {
    json!({
        "roles": direct.roles.iter().map(|rule| &*rule.name).collect::<Vec<_>>(),
        "now": direct.now,
        "denied_by": direct.denied_by.as_ref().map(rule_json),
        "risk": direct.risk.as_ref().map(obstacle_json),
    })
}

/// The same for people. `action`: what they would do.
pub(crate) fn for_people(action: &str, who: &WhoCan) -> String {
    let mut head = vec![format!("{action}  route {}", who.route), format!("  {}", demand_words(&who.demands))];
    head.extend(who.obstacles.iter().map(|obstacle| format!("  cannot be entered: {}", obstacle_words(obstacle))));
    let mut parts = vec![head.join("\n")];
    if who.allowed.is_empty() {
        parts.push("nobody that the policy names".to_owned());
    } else {
        let rows: Vec<[String; 3]> = who.allowed.iter().flat_map(allowed_rows).collect();
        parts.push(table(["WHO", "STATE", "BY"], &rows));
    }
    parts.extend(who.held_directly.as_ref().filter(|direct| !direct.roles.is_empty()).map(direct_words));
    if !who.denied.is_empty() {
        let row = |each: &portcullis_policy::DeniedSubject| {
            [each.subject.to_string(), format!("deny {} {}", each.deny.name, place(&each.deny))]
        };
        parts.push(table(["REFUSED", "BY"], &who.denied.iter().map(row).collect::<Vec<_>>()));
    }
    if !who.denies.is_empty() {
        parts.push(table(["DENY", "STATE", "WHOM"], &who.denies.iter().map(deny_row).collect::<Vec<_>>()));
    }
    if parts.iter().any(|part| part.contains('?')) {
        parts.push(
            "?  what it asks for is unknown: a fact that was left out, or a network that was never loaded".to_owned(),
        );
    }
    parts.join("\n\n")
}

fn allowed_rows(each: &AllowedSubject) -> Vec<[String; 3]> {
    let mut rows = Vec::new();
    let subject = match (&*each.subject, &each.members) {
        (name, None) if name.starts_with("group:") => format!("{name} (claimed)"),
        (name, Some(members)) => format!("{name} ({})", members.total),
        (name, None) => name.to_owned(),
    };
    for (index, grant) in each.grants.iter().enumerate() {
        let who = if index == 0 { subject.clone() } else { String::new() };
        let by = format!("{} {} {}", grant.role.name, grant.assignment.name, place(&grant.assignment));
        rows.push([who, state(&grant.standing, each), by]);
    }
    for (rule, standing) in &each.denies {
        rows.push([String::new(), deny_words(standing), format!("deny {} {}", rule.name, place(rule))]);
    }
    if let Some(members) = &each.members {
        rows.extend(members.shown.iter().map(|member| {
            let denied = member.denied_by.as_ref().map(|rule| format!("deny {} {}", rule.name, place(rule)));
            let state = if denied.is_some() { "refused" } else { "" };
            [
                format!("  {} through {}", member.subject, member.through.join(" > ")),
                state.to_owned(),
                denied.unwrap_or_default(),
            ]
        }));
        if let Some(more) = members.total.checked_sub(members.shown.len()).filter(|more| *more > 0) {
            rows.push([format!("  and {more} more"), String::new(), String::new()]);
        }
    }
    rows
}

/// Of a grant in force, what the risk still asks for.
fn state(standing: &Standing, each: &AllowedSubject) -> String {
    match &each.risk {
        Some(risk) if standing.is_now() => obstacle_words(risk),
        _ => words(standing),
    }
}

fn direct_words(direct: &DirectRoles) -> String {
    let names: Vec<&str> = direct.roles.iter().take(MOST_NAMED).map(|rule| &*rule.name).collect();
    let more = match direct.roles.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let but = match (&direct.denied_by, &direct.risk) {
        (Some(rule), _) => format!("; deny {} refuses them ({})", rule.name, place(rule)),
        (None, Some(risk)) => format!("; {}", obstacle_words(risk)),
        (None, None) => String::new(),
    };
    format!("and whoever holds a role directly (key or token): {}{more}{but}", names.join(", "))
}

fn deny_row(deny: &TouchingDeny) -> [String; 3] {
    let more = if deny.more_principals > 0 { format!(" and {} more", deny.more_principals) } else { String::new() };
    let shadow = if deny.shadow { ", only reported" } else { "" };
    [
        format!("{} {}", deny.rule.name, place(&deny.rule)),
        format!("{}{shadow}", deny_words(&deny.standing)),
        format!("{}{more}", deny.principals.join(", ")),
    ]
}
