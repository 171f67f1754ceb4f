//! `portcullis.toml`

mod events;
mod exchange;
mod governance;
mod insight;
mod limits;
mod listener;
mod operation;
mod places;
mod route;
mod store;

use serde_json::json;

use crate::file::FileVersion;
use crate::kinds::{FilePath, Text};

use self::events::{access_log, event, index, sink, spool};
use self::exchange::{client_address, forwarding, refusal};
use self::governance::{access, governance};
use self::insight::{audit, sample, spike};
use self::limits::limits;
use self::listener::{admin, listener};
use self::operation::{control, ops, process, shutdown};
use self::places::{feeds, geo};
use self::route::route;
use self::store::{backup, mfa, store};
use super::identity::identity;
use super::upstream::upstream;
use super::{Table, alert, list, one, receiver, several, table, within};

pub(super) fn file() -> Table {
    table(
        "portcullis.toml",
        "How the gateway runs: where it listens, what it protects, whom it believes.",
        [
            one("version", FileVersion, "The version of the shape of this file.").required(),
            list("include", Text, "Further files, such as `[\"routes/*.toml\"]`: below this folder, sorted by name."),
            within("policy", policy()),
            several("listener", listener()),
            several("upstream", upstream()),
            several("route", route()),
            within("client_address", client_address()),
            within("forwarding", forwarding()),
            within("identity", identity()),
            within("limits", limits()),
            within("refusal", refusal()),
            within("process", process()),
            within("shutdown", shutdown()),
            within("ops", ops()),
            within("control", control()),
            within("index", index()),
            within("store", store()),
            within("governance", governance()),
            within("access", access()),
            within("backup", backup()),
            within("mfa", mfa()),
            within("sample", sample()),
            within("spike", spike()),
            within("feeds", feeds()),
            within("geo", geo()),
            within("event", event()),
            within("spool", spool()),
            several("sink", sink()),
            several("alert", alert::alert()),
            several("notifier", alert::notifier()),
            several("mute", alert::silence()),
            within("access_log", access_log()),
            within("trace", receiver::trace()),
            within("admin", admin()),
            within("audit", audit()),
        ],
    )
}

fn policy() -> Table {
    table("[policy]", "Who may do what.", [one("path", FilePath, "The policy's file.").default("policy.toml")])
}

pub(super) fn words<V>(choices: &[(&'static str, V)]) -> Vec<&'static str> {
    choices.iter().map(|(word, _)| *word).collect()
}

pub(super) fn not_of_kind(kind: &str) -> serde_json::Value {
    json!({ "properties": { "kind": { "not": { "enum": [kind] } } } })
}
