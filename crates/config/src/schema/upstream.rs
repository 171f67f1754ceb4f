//! `[[upstream]]`

use crate::file::HTTP;
use crate::kinds::{AnyText, EndpointLink, FilePath, Flag, Integer, Name, Text, Time};

use super::{Table, choice, list, one, table, within};

pub(super) fn upstream() -> Table {
    let words: Vec<&str> = HTTP.iter().map(|(word, _)| *word).collect();
    table(
        "[[upstream]]",
        "Where requests go.",
        [
            one("name", Name, "Unique; routes name it.").required(),
            list(
                "endpoints",
                EndpointLink,
                "The one with the least to do is preferred; `http://HOST:PORT`, `https://HOST:PORT` or `h2c://HOST:PORT` without a path, or `unix:/PATH`.",
            )
            .required()
            .not_empty(),
            within("timeouts", timeouts()),
            one("max_idle", Integer(0..=100_000), "Unused connections that each worker keeps.").default(128),
            within("tls", upstream_tls()),
            within("breaker", breaker()),
            within("ejection", ejection()),
            within("retries", retries()),
            choice(
                "http",
                &words,
                "The version that is spoken: `auto` is what the endpoint chooses over TLS. `h2c://` endpoints speak 2.",
            )
            .default("1"),
            within("http2", http2()),
            within("health", health()),
            one("slow_start", Time::within("0s", "1h"), "How long an endpoint that has come back gets less than its share.")
                .default("0s"),
            one(
                "max_requests",
                Integer(1..=10_000_000),
                "Under way to it over all workers; a further one gets 503. Left out: any number.",
            ),
            one("dns_refresh", Time::within("100ms", "1d"), "How long an answer of the resolver is used.").default("5s"),
        ],
    )
}

fn health() -> Table {
    table(
        "`health` of [[upstream]]",
        "How its endpoints are checked without requests; left out: they are not.",
        [
            one("path", AnyText, "What is asked for (GET); empty: a connection is enough.").required(),
            list("status", Integer(200..=599), "The statuses that are good; left out: 200 to 399."),
            one("interval", Time::within("100ms", "1h"), "Between two checks of an endpoint.").default("5s"),
            one("timeout", Time::within("10ms", "1m"), "How long one may take.").default("2s"),
            one("healthy", Integer(1..=100), "After so many good ones in a row it gets requests again.").default(2),
            one("unhealthy", Integer(1..=100), "After so many bad ones in a row it gets none.").default(3),
        ],
    )
}

fn http2() -> Table {
    table(
        "`http2` of [[upstream]]",
        "How HTTP/2 is spoken, where it is.",
        [
            one("max_connections", Integer(1..=1_000), "To an endpoint, from each worker.").default(4),
            one("max_streams", Integer(1..=100_000), "Requests under way on a connection, if the endpoint allows as many.")
                .default(100),
            one(
                "ping_interval",
                Time::within("0s", "1d"),
                "After such a silence a connection with requests under way is asked for a sign of life; `0s`: only when a time ran out on it.",
            )
            .default("0s"),
            one("ping_timeout", Time::within("100ms", "1h"), "How long it has for that sign.").default("5s"),
        ],
    )
}

fn breaker() -> Table {
    table(
        "`breaker` of [[upstream]]",
        "When it is not asked any more for a while: its requests get 503 at once.",
        [
            one("enabled", Flag, "`false`: never.").default(true),
            one("failures", Integer(1..=1_000), "So many requests in a row must fail.").default(5),
            one("window", Time::within("1s", "1h"), "Within this time.").default("10s"),
            one("open", Time::within("10ms", "1h"), "How long it is then not asked, until one request tries.")
                .default("5s"),
            one("longest", Time::within("10ms", "1h"), "The most that `open` becomes, doubled when that fails.")
                .default("30s"),
        ],
    )
}

fn ejection() -> Table {
    table(
        "`ejection` of [[upstream]]",
        "When an endpoint is passed over for a while, as long as there are others.",
        [
            one("enabled", Flag, "`false`: never.").default(true),
            one("failures", Integer(1..=1_000), "After so many failures, or answers 502, 503, 504, in a row.")
                .default(5),
            one("first", Time::within("10ms", "1h"), "How long the first time.").default("10s"),
            one("longest", Time::within("10ms", "1d"), "The most that it becomes, doubled each time.").default("5m"),
            one("max_share_percent", Integer(0..=100), "The most endpoints at once, of a hundred.").default(50),
        ],
    )
}

fn retries() -> Table {
    table(
        "`retries` of [[upstream]]",
        "Which requests are sent again: without a body, idempotent, and not a byte of an answer came.",
        [one("budget_percent", Integer(0..=100), "The most of them, of a hundred requests; 0: none.").default(20)],
    )
}

fn upstream_tls() -> Table {
    table(
        "`tls` of [[upstream]]",
        "How TLS is spoken to its `https://` endpoints. Their certificates are always verified.",
        [
            one("ca", FilePath, "The roots that are believed, as PEM; left out: those of this system."),
            one("certificate", FilePath, "The certificate that the gateway shows, as PEM with its chain."),
            one("key", FilePath, "The private key of `certificate`, as PEM."),
            one("server_name", Text, "The name that the certificates must have; left out: the endpoint's host."),
        ],
    )
}

fn timeouts() -> Table {
    table(
        "`timeouts` of [[upstream]]",
        "How long it may take.",
        [
            one("connect", Time::within("1ms", "1h"), "To open a connection.").default("2s"),
            one("first_byte", Time::within("1ms", "1d"), "From the request sent to the head of the answer.")
                .default("15s"),
            one("idle", Time::within("0s", "1d"), "Between two pieces of a body, either way; `0s`: any time.")
                .default("60s"),
            one("total", Time::within("0s", "7d"), "For the whole exchange; `0s`: any time.").default("300s"),
            one("keep_alive", Time::within("0s", "1d"), "How long an unused connection is kept.").default("4s"),
        ],
    )
}
