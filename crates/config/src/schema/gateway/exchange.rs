//! What passes between callers, gateway and upstreams: `[client_address]`, `[forwarding]` and `[refusal]`.

use crate::kinds::{AnyText, FilePath, Prefix, Text};
use crate::schema::{Table, choice, list, one, table};

pub(super) fn client_address() -> Table {
    table(
        "[client_address]",
        "Who the client is, behind proxies.",
        [
            list("trusted_proxies", Prefix, "Whose word about the client's address is believed."),
            choice("header", &["x-forwarded-for", "forwarded"], "The header in which they say it.")
                .default("x-forwarded-for"),
        ],
    )
}

pub(super) fn forwarding() -> Table {
    table(
        "[forwarding]",
        "What upstreams are told about the way of a request.",
        [
            one("via", AnyText, "The gateway's name in `Via`; empty: it does not name itself.").default("portcullis"),
            choice("request_id", &["own", "trusted"], "`trusted`: the `X-Request-Id` of a trusted proxy is kept.")
                .default("own"),
            choice("trace", &["continue", "begin", "off"], "What becomes of `traceparent` and `tracestate`.")
                .default("continue"),
        ],
    )
}

pub(super) fn refusal() -> Table {
    table(
        "[refusal]",
        "What the caller is told.",
        [
            one("help", Text, "The page about a refusal is this link followed by the reason's code.")
                .default("https://portcullis.example/denials/"),
            one("realm", Text, "Of the 401 challenge.").default("portcullis"),
            one("html", FilePath, "A page for browsers, with `{{title}}` and the like; left out: the gateway's own."),
            one("html_4xx", FilePath, "The same for 400 to 499."),
            one("html_5xx", FilePath, "The same for 500 to 599."),
        ],
    )
}
