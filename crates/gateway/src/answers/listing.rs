//! All that a principal may do, route by route, as it is shown.

use portcullis_admin::api::PolicyInForce;
use portcullis_policy::{ListedAction, ListedDeny, ListedGrant, Listing, Principal, RouteListing};
use serde_json::{Value, json};

use super::standing::{
    demand_words, demands_json, deny_words, object, obstacle_json, obstacle_words, place, rule_json, standing_json,
    words,
};
use super::table::table;

/// The most routes without a grant that are named for people.
const MOST_NAMED: usize = 20;

/// What the answer calls whom it is about.
pub(crate) fn name_of(principal: Option<&Principal>) -> String {
    principal.map_or_else(
        || "anyone".to_owned(),
        |principal| match &*principal.id {
            // Some principal, and nobody in particular: no credential has such a name.
            " " => "authenticated".to_owned(),
            _ => principal.reference(),
        },
    )
}

/// All of it for machines: of these routes, each as [`route_json`] has it.
pub(crate) fn to_json(
    principal: &str,
    permits_now: bool,
    routes: &[Value],
    omitted: u64,
    policy: &PolicyInForce,
) -> Value {
    json!({
        "principal": principal,
        "permits_now": permits_now,
        "route": routes,
        "omitted": omitted,
        "policy": policy,
    })
}

/// A route of it for machines.
pub(crate) fn route_json(route: &RouteListing) -> Value {
    object([
        ("name", json!(&*route.name)),
        ("hosts", json!(route.hosts)),
        ("paths", json!(route.paths)),
        ("demands", demands_json(&route.demands)),
        ("enter", json!(if route.obstacles.is_empty() { "now" } else { "refused" })),
        ("obstacle", route.obstacles.iter().map(obstacle_json).collect()),
        ("grant", route.grants.iter().map(|grant| object(grant_parts(grant))).collect()),
        ("deny", route.denies.iter().map(|deny| object(deny_parts(deny))).collect()),
    ])
}

fn grant_parts(grant: &ListedGrant) -> impl Iterator<Item = (&'static str, Value)> {
    let actions: Vec<Value> = grant
        .actions
        .iter()
        .map(|each| {
            let denied_by = each.denied_by.as_ref().map(rule_json);
            json!({ "action": each.action, "except": each.except, "denied_by": denied_by })
        })
        .collect();
    let rule = grant.assignment.as_ref().unwrap_or(&grant.role);
    let first = [
        ("effect", json!("grant")),
        ("assignment", json!(grant.assignment.as_ref().map(|rule| &*rule.name))),
        ("role", json!(&*grant.role.name)),
        ("through", json!(grant.through)),
    ];
    let last = [
        ("shadow", json!(grant.shadow)),
        ("actions", json!(actions)),
        ("more_actions", json!(grant.more_actions)),
        ("file", json!(&*rule.file)),
        ("line", json!(rule.line)),
    ];
    first.into_iter().chain(standing_json(&grant.standing)).chain(last)
}

fn deny_parts(deny: &ListedDeny) -> impl Iterator<Item = (&'static str, Value)> {
    let first = [("effect", json!("deny")), ("deny", json!(&*deny.rule.name)), ("through", json!(deny.through))];
    let last = [
        ("undecided", json!(!deny.standing.is_now() && deny.standing.may_be_now())),
        ("shadow", json!(deny.shadow)),
        ("actions", json!(deny.actions)),
        ("more_actions", json!(deny.more_actions)),
        ("file", json!(&*deny.rule.file)),
        ("line", json!(deny.rule.line)),
    ];
    first.into_iter().chain(standing_json(&deny.standing)).chain(last)
}

/// It in words.
pub(crate) fn for_people(who: &str, listing: &Listing) -> String {
    let mut parts =
        vec![format!("{who} may {}", if listing.permits_now { "do what is `now`" } else { "do nothing now" })];
    let (without, with): (Vec<&RouteListing>, Vec<&RouteListing>) =
        listing.routes.iter().partition(|route| route.grants.is_empty());
    parts.extend(with.into_iter().map(route_for_people));
    if !without.is_empty() {
        let names: Vec<&str> = without.iter().take(MOST_NAMED).map(|route| &*route.name).collect();
        let more = match without.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        parts.push(format!("no grant on {}{more}", names.join(", ")));
    }
    if parts.iter().any(|part| part.contains('?')) {
        parts.push(
            "?  what it asks for is unknown: a fact that was left out, or a network that was never loaded".to_owned(),
        );
    }
    parts.join("\n\n")
}

fn route_for_people(route: &RouteListing) -> String {
    let mut lines = vec![
        format!("route {}  {} {}", route.name, route.hosts.join(" "), route.paths.join(" ")),
        format!("  {}", demand_words(&route.demands)),
    ];
    lines.extend(route.obstacles.iter().map(|obstacle| format!("  cannot be entered: {}", obstacle_words(obstacle))));
    let mut rows = Vec::new();
    for grant in &route.grants {
        rows.extend(grant_rows(grant));
    }
    for deny in &route.denies {
        let shadow = if deny.shadow { ", only reported" } else { "" };
        let by = format!("deny {} {}", deny.rule.name, place(&deny.rule));
        let state = format!("{}{shadow}", deny_words(&deny.standing));
        rows.extend(action_rows(&state, &deny.actions, deny.more_actions, &deny.through.join(", "), &by));
    }
    lines.push(table(["STATE", "ACTION", "HELD AS", "BY"], &rows));
    lines.join("\n")
}

fn grant_rows(grant: &ListedGrant) -> Vec<[String; 4]> {
    let state = |action: &ListedAction| {
        let shadow = if grant.shadow { ", only reported" } else { "" };
        let denied = action.denied_by.as_ref().map(|rule| format!(", denied by {}", rule.name)).unwrap_or_default();
        format!("{}{shadow}{denied}", words(&grant.standing))
    };
    let by = match &grant.assignment {
        Some(rule) => format!("{} {} {}", grant.role.name, rule.name, place(rule)),
        None => format!("{} directly {}", grant.role.name, place(&grant.role)),
    };
    let through = grant.through.join(", ");
    let mut rows: Vec<[String; 4]> = grant
        .actions
        .iter()
        .map(|each| {
            let except =
                if each.except.is_empty() { String::new() } else { format!(" except {}", each.except.join(", ")) };
            [state(each), format!("{}{except}", each.action), through.clone(), by.clone()]
        })
        .collect();
    rows.extend(more_row(grant.more_actions));
    rows
}

fn action_rows(state: &str, actions: &[String], more: usize, through: &str, by: &str) -> Vec<[String; 4]> {
    let row = |action: &String| [state.to_owned(), action.clone(), through.to_owned(), by.to_owned()];
    actions.iter().map(row).chain(more_row(more)).collect()
}

fn more_row(more: usize) -> Option<[String; 4]> {
    (more > 0).then(|| [String::new(), format!("and {more} more actions"), String::new(), String::new()])
}
