//! A file of test cases: requests, and what the policy is expected to answer.

use serde_json::{Value, json};

use crate::kinds::{Country, Integer, Moment, Text};

use super::{Key, Shape, Table, choice, list, one, several, shaped, table, within};

pub(super) fn file() -> Table {
    table(
        "cases.toml",
        "Requests, and what the policy is expected to answer.",
        [within("defaults", defaults()), several("case", case())],
    )
}

fn defaults() -> Table {
    let mut table = table("[defaults]", "Facts of every case that does not state its own.", []);
    table.keys = facts();
    table
}

fn case() -> Table {
    let mut table = table(
        "[[case]]",
        "One request and its expected answer.",
        [
            one("name", Text, "What the case shows; unique.").required(),
            shaped("request", Shape::Values(request()), "Method and target, such as `GET /api/invoices/7`.").required(),
            choice("expect", &["permit", "deny", "challenge", "step_up", "undecided"], "The outcome.").required(),
            one("reason", Text, "The reason's code, where it is not a permit."),
            one("rule", Text, "The name of the rule that decides."),
            one("status", Integer(100..=599), "The status that the caller gets."),
            list("nearest", Text, "What would permit it, such as `role:billing.reader`."),
            shaped("skip", Shape::Values(skip()), "Leaves the case out: `true`, or why."),
        ],
    );
    table.keys.extend(facts());
    table
}

/// What is known of a request besides its method and target.
fn facts() -> Vec<Key> {
    vec![
        one("host", Text, "The host that is asked."),
        one("as", Text, "Who asks: `user:ID`, `service:ID`, `certificate:SAN`, or `anyone`."),
        list("groups", Text, "Groups that the credential carries."),
        list("roles", Text, "Roles that the credential carries."),
        shaped("ip", Shape::Values(address()), "The client's address; left out: unknown."),
        one("country", Country, "The client's country, as two letters; left out: unknown."),
        choice("device", &["compliant", "noncompliant"], "Whether the device meets the rules; left out: unknown."),
        choice("assurance", &["mfa"], "How strong and fresh the authentication is."),
        choice("risk", &["low", "medium", "high"], "How risky the caller looks."),
        one("at", Moment, "When it happens."),
    ]
}

fn request() -> Value {
    json!({ "type": "string", "pattern": "^[^ ]+ [^ ]" })
}

fn address() -> Value {
    json!({ "type": "string", "pattern": "^[0-9A-Fa-f:.]+$" })
}

fn skip() -> Value {
    json!({ "anyOf": [{ "type": "boolean" }, { "type": "string", "minLength": 1 }] })
}
