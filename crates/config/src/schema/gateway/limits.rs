//! How much is accepted: `[limits]`, and what routes say of it for themselves.

use crate::file::limits::{BODY_SIZES, MAX_CONCURRENT, MAX_COUNT, MAX_STREAMS, PER, WINDOWS};
use crate::kinds::{Integer, Size, Time};
use crate::schema::{Table, choice, one, one_or_several, table, within};

pub(super) fn limits() -> Table {
    let time = |name, most, doc| one(name, Time::within("1ms", most), doc);
    let count = |name, most: u64, doc| one(name, Integer(1..=most), doc);
    table(
        "[limits]",
        "How much is accepted.",
        [
            time("first_byte_timeout", "1h", "From a connection to its first byte.").default("10s"),
            time("tls_handshake_timeout", "1h", "From accept to the end of the TLS handshake.").default("10s"),
            time("header_timeout", "1h", "From the first byte of a head to its end.").default("10s"),
            time("keep_alive_timeout", "1d", "Between two requests on one connection.").default("75s"),
            time("body_idle_timeout", "1d", "Between two pieces of a request's body.").default("30s"),
            count("max_header_fields", 10_000, "Fields in a head.").default(100),
            one("max_header_bytes", Size(8 << 10..=16 << 20), "A whole head.").default("64KiB"),
            one("max_field_bytes", Size(256..=16 << 20), "One field.").default("16KiB"),
            one("max_uri_bytes", Size(64..=65_534), "The request target.").default("8KiB"),
            count("max_connections", 10_000_000, "Over all workers.").default(10_000),
            count(
                "max_connections_per_client",
                MAX_CONCURRENT,
                "Of one address or IPv6 /64; a further one is closed. Trusted proxies have any number. Left out: any number.",
            ),
            count("max_requests", 10_000_000, "In flight over all workers; a further one gets 503.").default(10_000),
            one(
                "shed_after",
                Time::within("0s", "1m"),
                "How long what is ready may wait for its thread before some requests get 503; `0s`: any time.",
            )
            .default("100ms"),
            one_or_several(
                "rate_limit",
                rate_limit("[limits.rate_limit]", "What holds on routes that have no `rate_limit`."),
            ),
            within(
                "max_concurrent",
                max_concurrent("[limits.max_concurrent]", "What holds on routes that have no `max_concurrent`."),
            ),
            one("max_request_body", Size(BODY_SIZES), "Of routes that have no `max_request_body`. Left out: any size."),
            one(
                "max_response_body",
                Size(BODY_SIZES),
                "Of routes that have no `max_response_body`. Left out: any size.",
            ),
            count("http2_max_streams", MAX_STREAMS, "Requests at once on one HTTP/2 connection.").default(100),
            one("http2_stream_window", Size(WINDOWS), "Of one request's body that an HTTP/2 client may send ahead.")
                .default("64KiB"),
            one("http2_connection_window", Size(WINDOWS), "The same of all requests on a connection.").default("1MiB"),
            one("upgrade_idle_timeout", Time::within("1s", "7d"), "How long nothing may move in a tunnel.")
                .default("1h"),
            one("recheck", Time::within("1s", "30s"), "How often what is under way for long is decided on again.")
                .default("10s"),
        ],
    )
}

pub(super) fn rate_limit(title: &'static str, doc: &'static str) -> Table {
    let words: Vec<&str> = PER.iter().map(|(word, _)| *word).collect();
    table(
        title,
        doc,
        [
            choice("per", &words, "Whose requests are counted together; an IPv6 address counts as its /64.").required(),
            one("requests", Integer(1..=MAX_COUNT), "How many in a window, in the long run.").required(),
            one("window", Time::within("1s", "1d"), "The window.").required(),
            one("burst", Integer(1..=MAX_COUNT), "How many at once; left out: as many as `requests`."),
        ],
    )
}

pub(super) fn max_concurrent(title: &'static str, doc: &'static str) -> Table {
    let count = |name, doc| one(name, Integer(1..=MAX_CONCURRENT), doc);
    table(
        title,
        doc,
        [
            count("route", "For everybody together; a further one gets 503. Left out: any number."),
            count("principal", "For one principal; a further one gets 429. Left out: any number."),
        ],
    )
}
