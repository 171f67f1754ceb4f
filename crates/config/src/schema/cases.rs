//! A file of test cases: requests, and what the policy is expected to answer.

use crate::file::{Address, CaseName, FileVersion, Host, Need, OrUnknown, Reason, Request, StatedPrincipal};
use crate::kinds::{Country, Flag, Integer, Moment, Text, Time};

use super::{Key, Table, choice, list, one, several, table, within};

pub(super) fn file() -> Table {
    table(
        "cases.toml",
        "Requests, and what the policy is expected to answer.",
        [
            one("version", FileVersion, "The version of the shape of this file."),
            within("defaults", defaults()),
            several("case", case()),
        ],
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
            one("name", CaseName, "What the case shows; unique.").required(),
            one("request", Request, "Method and target, such as `GET /api/invoices/7`.").required(),
            choice("expect", &["permit", "deny", "challenge", "step_up", "undecided"], "The outcome.").required(),
            one("reason", Reason, "The reason's code, where it is not a permit."),
            one("rule", Text, "The name of the rule that decides."),
            one("status", Integer(400..=599), "The status that the caller gets."),
            list("nearest", Need, "What one suggestion asks for, such as `role:billing.reader`."),
            one("shadow", Flag, "Whether a rule in shadow mode would have decided otherwise."),
            one("skip", Text, "Leaves the case out, and says why."),
        ],
    );
    table.keys.extend(facts());
    table
}

/// What is known of a request besides its method and target.
fn facts() -> Vec<Key> {
    vec![
        one("host", Host, "The host that is asked."),
        one("as", StatedPrincipal, "Who asks: `user:ID`, `service:ID`, `certificate:SAN`, or `anyone`."),
        list("groups", Text, "Groups that the credential carries."),
        list("roles", Text, "Roles that the credential carries."),
        list("activated", Text, "Eligible assignments that the principal has activated."),
        one("ip", OrUnknown(Address), "The client's address; left out: unknown."),
        one("country", OrUnknown(Country), "The client's country, as two letters; left out: unknown."),
        choice(
            "device",
            &["compliant", "noncompliant", "unknown"],
            "Whether the device meets the rules; left out: unknown.",
        ),
        choice("assurance", &["mfa", "none"], "How strong and fresh the authentication is."),
        one(
            "authenticated",
            Time::within("0s", "3660d"),
            "How long ago the caller authenticated; left out, nobody knows.",
        ),
        choice("risk", &["low", "medium", "high"], "How risky the caller looks."),
        one("at", Moment, "When it happens."),
    ]
}
