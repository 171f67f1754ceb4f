//! What a sink that sends over the network needs.

use serde_json::json;

use crate::file::HeaderFields;
use crate::file::receiver::{FACILITIES, Labels, Link, MECHANISMS, ReceiverAddress, SecretLink, Topic, Word};
use crate::file::sink_options::DEAD_LETTER_SIZES;
use crate::kinds::{FilePath, Flag, Header, Integer, Percentage, Size, Text, Time};

use super::{Key, Table, choice, list, one, one_or_within, table, within};

pub(super) fn syslog() -> Table {
    let facilities: Vec<&str> = FACILITIES.0.iter().map(|(word, _)| *word).collect();
    table(
        "`syslog` of [[sink]]",
        "A syslog receiver (RFC 5424).",
        [
            one("address", ReceiverAddress, "Where it listens.").required(),
            choice(
                "transport",
                &["udp", "tcp", "tls"],
                "How it is reached: datagrams, or frames with their length before them.",
            )
            .default("tls"),
            within("tls", tls("`tls` of `syslog` of [[sink]]")),
            choice("facility", &facilities, "The facility of every message.").default("local0"),
            one("app_name", Text, "APP-NAME: at most 48 visible ASCII characters.").default("portcullis"),
            one(
                "enterprise_id",
                Integer(1..=u64::from(u32::MAX)),
                "The private enterprise number of the structured data; the default is the one for documentation.",
            )
            .default(32_473),
            one("max_datagram", Size(1_024..=65_507), "Over UDP: what is longer is sent as its sentence.")
                .default("2KiB"),
            one("timeout", Time::within("100ms", "5m"), "For connecting, and for each write.").default("10s"),
        ],
    )
}

pub(super) fn http() -> Table {
    table(
        "`http` of [[sink]]",
        "A receiver of POST requests.",
        [
            one("url", Link { path: true }, "Where to.").required(),
            one("allow_http", Flag, "`true`: in plain text, too.").default(false),
            choice(
                "body",
                &["ndjson", "array", "splunk_hec", "elastic_bulk", "loki"],
                "The shape of a body: lines, an array, or what Splunk, Elasticsearch or Loki takes.",
            )
            .default("ndjson"),
            one("index", Text, "Elasticsearch's index or data stream, or Splunk's index."),
            one("source", Text, "Splunk's `source`; left out: `portcullis`."),
            one("sourcetype", Text, "Splunk's `sourcetype`; left out: `portcullis:event`."),
            one("labels", Labels, "Loki's labels beside `kind` and `severity`; left out: `job`."),
            within(
                "auth",
                auth(
                    "`auth` of `http` of [[sink]]",
                    [
                        "`bearer` of `auth` of `http` of [[sink]]",
                        "`password` of `auth` of `http` of [[sink]]",
                        "`value` of `auth` of `http` of [[sink]]",
                    ],
                ),
            ),
            one("headers", HeaderFields, "Further header fields."),
            gzip(),
            timeout(),
            within("tls", tls("`tls` of `http` of [[sink]]")),
            within("batch", batch("`batch` of `http` of [[sink]]")),
        ],
    )
    .rule(json!({
        "anyOf": [{ "properties": { "body": { "not": { "enum": ["elastic_bulk"] } } } }, { "required": ["index"] }]
    }))
}

pub(super) fn otlp() -> Table {
    table(
        "`otlp` of [[sink]]",
        "A receiver of OpenTelemetry logs over HTTP.",
        [
            one("url", Link { path: true }, "Where to; it usually ends in `/v1/logs`.").required(),
            one("allow_http", Flag, "`true`: in plain text, too.").default(false),
            within(
                "auth",
                auth(
                    "`auth` of `otlp` of [[sink]]",
                    [
                        "`bearer` of `auth` of `otlp` of [[sink]]",
                        "`password` of `auth` of `otlp` of [[sink]]",
                        "`value` of `auth` of `otlp` of [[sink]]",
                    ],
                ),
            ),
            one("headers", HeaderFields, "Further header fields."),
            gzip(),
            timeout(),
            within("tls", tls("`tls` of `otlp` of [[sink]]")),
            within("batch", batch("`batch` of `otlp` of [[sink]]")),
        ],
    )
}

pub(super) fn kafka() -> Table {
    let mechanisms: Vec<&str> = MECHANISMS.0.iter().map(|(word, _)| *word).collect();
    table(
        "`kafka` of [[sink]]",
        "A topic of Apache Kafka; only in a program that was built with the feature `kafka`.",
        [
            list("brokers", ReceiverAddress, "Brokers that are asked who leads the topic.").required(),
            one("topic", Topic, "The topic; it is not made.").required(),
            choice("transport", &["tcp", "tls"], "How brokers are reached.").default("tls"),
            within("tls", tls("`tls` of `kafka` of [[sink]]")),
            within(
                "sasl",
                table(
                    "`sasl` of `kafka` of [[sink]]",
                    "What proves who the gateway is, besides a certificate.",
                    [
                        choice("mechanism", &mechanisms, "How the password is shown; `plain` only over TLS.")
                            .required(),
                        one("user", Text, "The name.").required(),
                        within("password", secret("`password` of `sasl` of `kafka` of [[sink]]")).required(),
                    ],
                ),
            ),
            gzip(),
            timeout(),
            within(
                "batch",
                table(
                    "`batch` of `kafka` of [[sink]]",
                    "How much one request holds at most.",
                    [
                        one("events", Integer(1..=10_000), "Events.").default(500),
                        one("size", Size(1 << 10..=16 << 20), "Bytes of native lines.").default("768KiB"),
                    ],
                ),
            ),
        ],
    )
}

pub(super) fn trace() -> Table {
    table(
        "[trace]",
        "The spans of sampled requests; changing it needs a restart.",
        [within(
            "otlp",
            table(
                "[trace.otlp]",
                "A receiver of OpenTelemetry traces over HTTP, in JSON. Left out: there are no traces.",
                [
                    one("url", Link { path: true }, "Where to; it usually ends in `/v1/traces`.").required(),
                    one("sample", Percentage, "How many traces, chosen by their ids.").default("1%"),
                    one(
                        "queue",
                        Integer(1..=1_000_000),
                        "Requests that may wait; a further one is dropped and counted.",
                    )
                    .default(4_096),
                    one("allow_http", Flag, "`true`: in plain text, too.").default(false),
                    within(
                        "auth",
                        auth(
                            "[trace.otlp.auth]",
                            ["[trace.otlp.auth.bearer]", "[trace.otlp.auth.password]", "[trace.otlp.auth.value]"],
                        ),
                    ),
                    one("headers", HeaderFields, "Further header fields."),
                    gzip(),
                    timeout(),
                    within("tls", tls("[trace.otlp.tls]")),
                ],
            ),
        )],
    )
}

pub(super) fn sentinel() -> Table {
    table(
        "`sentinel` of [[sink]]",
        "Azure Monitor's Logs Ingestion API, which Microsoft Sentinel reads from.",
        [
            one("endpoint", Link { path: false }, "The data collection endpoint, or the rule's own.").required(),
            one("rule", Word("a rule's immutable id"), "The immutable id of the data collection rule.").required(),
            one("stream", Word("a stream"), "The stream that the rule declares.").default("Custom-Portcullis_CL"),
            one("tenant", Word("a directory"), "The directory of the application.").required(),
            one("client_id", Word("an application's id"), "The application that sends.").required(),
            within("client_secret", secret("`client_secret` of `sentinel` of [[sink]]")).required(),
            one("authority", Link { path: false }, "Where tokens are given out; other clouds have their own.")
                .default("https://login.microsoftonline.com"),
            one("audience", Text, "What a token is for; other clouds have their own.")
                .default("https://monitor.azure.com"),
            one("allow_http", Flag, "`true`: in plain text, too.").default(false),
            gzip(),
            timeout(),
            within("tls", tls("`tls` of `sentinel` of [[sink]]")),
        ],
    )
}

pub(super) fn fold() -> Table {
    table(
        "`fold` of [[sink]]",
        "Over a network: refusals that are alike become one record. Left out: each is one.",
        [one("window", Time::within("1s", "1h"), "For how long after the first of them those like it are gathered.")],
    )
}

pub(super) fn retry() -> Table {
    table(
        "`retry` of [[sink]]",
        "Over a network: how an attempt that failed is made again, after pauses that double.",
        [
            one("first", Time::within("10ms", "10m"), "The first pause. Left out: 500ms."),
            one("longest", Time::within("10ms", "1h"), "The longest, unless the receiver asks for more. Left out: 1m."),
            one(
                "give_up",
                Time::within("1m", "366d"),
                "What has failed for so long goes to the dead letters. Left out: it waits as long as the spool has room.",
            ),
        ],
    )
}

pub(super) fn dead_letter() -> Table {
    table(
        "`dead_letter` of [[sink]]",
        "Over a network: the file of what the receiver refuses for good.",
        [
            one("path", FilePath, "The file; left out: in the spool's folder, such as dead-siem.jsonl."),
            one(
                "max_size",
                Size(DEAD_LETTER_SIZES),
                "At this size it becomes PATH.1, in place of an earlier one. Left out: 64MiB.",
            ),
        ],
    )
}

fn gzip() -> Key {
    one("gzip", Flag, "Whether bodies are compressed.").default(true)
}

pub(super) fn timeout() -> Key {
    one("timeout", Time::within("100ms", "5m"), "For a request and its answer, connecting included.").default("30s")
}

pub(super) fn tls(title: &'static str) -> Table {
    table(
        title,
        "How TLS is spoken. The receiver's certificate is always verified.",
        [
            one("ca", FilePath, "The roots that are believed, as PEM; left out: those of this system."),
            one("certificate", FilePath, "The certificate that the gateway shows, as PEM with its chain."),
            one("key", FilePath, "The private key of `certificate`, as PEM."),
            one("server_name", Text, "The name that the certificate must have; left out: the host."),
        ],
    )
}

fn batch(title: &'static str) -> Table {
    table(
        title,
        "How much one request holds at most.",
        [
            one("events", Integer(1..=10_000), "Events.").default(500),
            one("size", Size(1 << 10..=16 << 20), "Bytes of native lines.").default("1MiB"),
        ],
    )
}

/// The titles of the secrets are given, since each must be a word of its own.
fn auth(title: &'static str, [bearer, password, value]: [&'static str; 3]) -> Table {
    table(
        title,
        "What proves who the gateway is: `bearer`, or `user` and `password`, or `header` and `value`.",
        [
            within("bearer", secret(bearer)),
            one("user", Text, "The name of Basic authentication."),
            within("password", secret(password)),
            one("header", Header, "A header field of the receiver's own."),
            within("value", secret(value)),
        ],
    )
}

pub(super) fn secret(title: &'static str) -> Table {
    table(
        title,
        "A secret: one of these.",
        [
            one("file", FilePath, "A file with the secret alone."),
            one("env", Word("the name of an environment variable"), "An environment variable."),
            one("credential", Word("the name of a systemd credential"), "A credential that systemd hands over."),
        ],
    )
}

/// Where to post, and how.
pub(super) fn posting(
    tls_title: &'static str,
    auth_title: &'static str,
    secrets: [&'static str; 3],
    url_title: &'static str,
) -> [Key; 6] {
    [
        one_or_within("url", SecretLink, secret(url_title), "Where to: the link, or what has it.").required(),
        one("allow_http", Flag, "`true`: in plain text, too.").default(false),
        within("auth", auth(auth_title, secrets)),
        one("headers", HeaderFields, "Further header fields."),
        timeout(),
        within("tls", tls(tls_title)),
    ]
}
