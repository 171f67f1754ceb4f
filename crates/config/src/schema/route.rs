//! What a `[[route]]` does besides sending requests on as they are.

use serde_json::{Value, json};

use crate::file::HeaderFields;
use crate::kinds::{AnyText, FilePath, Flag, Header, Integer, Name, PrefixOrNetwork, Protocol, Text, Time};

use super::{Key, Table, choice, flag_or_within, list, one, several, table, within};

/// The keys of a route that `file::route` reads.
pub(super) fn treatment() -> Vec<Key> {
    vec![
        several("split", branch()),
        choice("sticky", &["none", "principal", "address"], "Who keeps the upstream that `split` chose.")
            .default("none"),
        within("redirect", redirect()),
        within("respond", respond()),
        one("strip_prefix", Text, "Taken off the path before it goes to the upstream."),
        one("add_prefix", Text, "Put before the path that goes to the upstream."),
        one(
            "rewrite",
            Text,
            "The path that goes to the upstream, such as `/v2/{name}/**`: segments of the route's path.",
        ),
        one(
            "rewrite_location",
            Flag,
            "An upstream that names itself in `Location` or `Content-Location` is named as the caller knows it.",
        )
        .default(false),
        within("timeouts", timeouts()),
        one("upstream_host", Text, "The `Host` that goes to the upstream; left out: the caller's."),
        list("upgrades", Protocol, "What a connection may be switched to, such as `websocket`."),
        within("request_headers", rules("`request_headers` of [[route]]", "Header fields on the way to the upstream.")),
        within("response_headers", rules("`response_headers` of [[route]]", "Header fields on the way to the caller.")),
        within("cors", cors()),
        flag_or_within("maintenance", maintenance()),
    ]
}

/// A route does something with a request.
pub(super) fn one_action() -> Value {
    json!({ "anyOf": [{ "required": ["upstream"] }, { "required": ["split"] }, { "required": ["redirect"] }, { "required": ["respond"] }] })
}

fn timeouts() -> Table {
    table(
        "`timeouts` of [[route]]",
        "How long it may take, where it is not as the upstream says.",
        [
            one("connect", Time::within("1ms", "1h"), "To open a connection."),
            one("first_byte", Time::within("1ms", "1d"), "From the request sent to the head of the answer."),
            one("idle", Time::within("0s", "1d"), "Between two pieces of a body, either way; `0s`: any time."),
            one("total", Time::within("0s", "7d"), "For the whole exchange; `0s`: any time."),
        ],
    )
}

fn branch() -> Table {
    table(
        "`split` of [[route]]",
        "Upstreams that share the route's permitted requests.",
        [
            one("upstream", Name, "The upstream.").required(),
            one("weight", Integer(0..=10_000), "Its part, as a share of all weights.").default(1),
            within("when", when()),
        ],
    )
}

fn when() -> Table {
    table(
        "`when` of `split` of [[route]]",
        "Only for requests that have these fields, which then go nowhere else.",
        [one("headers", HeaderFields, "The fields, with their values.").required()],
    )
}

fn redirect() -> Table {
    table(
        "`redirect` of [[route]]",
        "The caller is sent elsewhere.",
        [
            one("to", Text, "A path on the same host, or a link; it may name segments of the route's path.").required(),
            one("status", Integer(301..=308), "301, 302, 303, 307 or 308.").default(308),
            one("keep_query", Flag, "The request's query is kept.").default(true),
        ],
    )
}

fn respond() -> Table {
    table(
        "`respond` of [[route]]",
        "An answer that never changes.",
        [
            one("status", Integer(200..=599), "Its status.").required(),
            one("body", AnyText, "Its body."),
            one("file", FilePath, "The file that holds its body, a text."),
            one("content_type", Text, "The body's media type; left out: `text/plain; charset=utf-8`."),
            one("headers", HeaderFields, "Further header fields."),
        ],
    )
}

fn rules(title: &'static str, doc: &'static str) -> Table {
    table(
        title,
        doc,
        [
            list("remove", Header, "Removed, before the others are set."),
            one("set", HeaderFields, "Set, in place of what is there."),
            one("add", HeaderFields, "Added to what is there."),
        ],
    )
}

fn cors() -> Table {
    table(
        "`cors` of [[route]]",
        "Whose scripts a browser lets read the answers.",
        [
            list("origins", Text, "Such as `https://app.example`; or `*`, everybody's, without credentials.")
                .required()
                .not_empty(),
            list("methods", Text, "Which methods they may use.").default(vec!["GET", "HEAD", "POST"]),
            list("headers", Text, "Which header fields their requests may carry."),
            list("expose", Text, "Which header fields of answers they may read."),
            one("credentials", Flag, "Whether the browser sends the caller's cookies along.").default(false),
            one("max_age", Time::within("0s", "1d"), "How long a browser need not ask again.").default("10m"),
        ],
    )
}

fn maintenance() -> Table {
    table(
        "`maintenance` of [[route]]",
        "Permitted requests are answered with 503.",
        [
            one("retry_after", Time::within("1s", "365d"), "When to come again."),
            list(
                "except",
                PrefixOrNetwork,
                "Clients from here are served as usual: prefixes, and networks of the policy.",
            ),
        ],
    )
}
