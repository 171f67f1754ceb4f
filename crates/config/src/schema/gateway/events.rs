//! What is written down, and where it goes: `[event]`, `[spool]`, `[[sink]]`, `[access_log]` and `[index]`.

use serde_json::json;

use crate::file::sink_options::{KindPattern, ROTATE_SIZES, ReasonPattern, SEVERITIES};
use crate::file::spool::{CHECKPOINT_EVENTS, FSYNC, INTEGRITY, SEGMENT_SIZES, SPOOL_SIZES};
use crate::file::{INDEX_SIZES, ON_FULL, SinkKind};
use crate::kinds::{FilePath, Flag, Integer, Name, Percentage, Size, Time};
use crate::schema::{Key, Table, choice, one, one_or_list, receiver, table, within};

use super::{not_of_kind, words};

pub(super) fn event() -> Table {
    table(
        "[event]",
        "What every event says of its gateway.",
        [
            one("node", Name, "Left out: the host's name."),
            one("cluster", Name, "Where there is one."),
            choice("integrity", &words(INTEGRITY), "`chain`: each event bears the hash of the one before and its own.")
                .default("chain"),
            within("checkpoint", checkpoint()),
            within("permits", permits()),
            one(
                "upstream_refusals",
                Flag,
                "Whether an upstream's own 401 and 403 are recorded, with `origin` `upstream`.",
            )
            .default(false),
        ],
    )
}

fn checkpoint() -> Table {
    table(
        "[event.checkpoint]",
        "The chain is signed now and then, so that nobody else can write it anew.",
        [
            within("key", receiver::secret("[event.checkpoint.key]")).required(),
            one("every", Time::within("1s", "1d"), "The longest time from an event to its checkpoint.").default("1m"),
            one("events", Integer(CHECKPOINT_EVENTS), "The most events between two checkpoints.").default(10_000),
        ],
    )
}

fn permits() -> Table {
    table(
        "[event.permits]",
        "Which permitted requests are recorded, as `access.allowed`, for sinks whose `kinds` ask for them. Left out: none.",
        [
            one("sample", Percentage, "How many of them, chosen by their ids."),
            one_or_list("routes", Name, "Only those of these routes. Left out: of all."),
        ],
    )
}

pub(super) fn spool() -> Table {
    table(
        "[spool]",
        "Where events wait for sinks over a network, and when events are forced to the disk; changing it needs a restart.",
        [
            one("path", FilePath, "The spool's folder, for one process; such sinks need it. Left out: there is none."),
            one("max_size", Size(SPOOL_SIZES), "How much it may hold, in all.").default("1GiB"),
            one("segment_size", Size(SEGMENT_SIZES), "How large its files become.").default("16MiB"),
            choice(
                "fsync",
                &words(FSYNC),
                "When the spool and event files are forced to the disk: before each answer, soon, or when the system does.",
            )
            .default("interval"),
            one("fsync_interval", Time::within("10ms", "10s"), "How soon, with `interval`.").default("100ms"),
        ],
    )
}

pub(super) fn sink() -> Table {
    table(
        "[[sink]]",
        "Where events go; without any: to standard output.",
        [
            one("name", Name, "Unique; a label in metrics.").required(),
            one(
                "kind",
                SinkKind,
                "Lines on standard output, or in a file that is reopened on SIGHUP; or a receiver, with a table of that name.",
            )
            .required(),
            path(),
            choice(
                "format",
                &["native", "ecs", "ocsf", "asim", "cef", "leef"],
                "The form of each event, where a receiver's kind has none of its own. Only native lines are chained, searched and indexed.",
            )
            .default("native"),
            within("syslog", receiver::syslog()),
            within("http", receiver::http()),
            within("sentinel", receiver::sentinel()),
            within("otlp", receiver::otlp()),
            within("kafka", receiver::kafka()),
            one("queue", Integer(1..=10_000_000), "Events that may wait in memory.").default(65_536),
            choice(
                "on_full",
                &words(ON_FULL),
                "Over that, or in a full spool: `drop` and count it, or `block` the answers to refusals until there is room.",
            )
            .default("drop"),
            one_or_list("kinds", KindPattern, "Only these kinds, such as `access.denied`, or `admin.*`."),
            one_or_list("reasons", ReasonPattern, "Only these reasons, such as `rbac.no_matching_grant`, or `rbac.*`."),
            one_or_list("routes", Name, "Only events of these routes."),
            choice("severity", &words(SEVERITIES), "Only events of this severity, or a higher one."),
            one("rotate_size", Size(ROTATE_SIZES), "Of a file: a new one begins before it becomes larger."),
            one("rotate_every", Time::within("1m", "366d"), "Of a file: a new one begins when it is so old."),
            one("rotate_keep", Integer(0..=10_000), "How many old files are kept. Left out: 10."),
            one("rotate_compress", Flag, "Whether old files are compressed with gzip. Left out: they are."),
            within("fold", receiver::fold()),
            within("retry", receiver::retry()),
            within("dead_letter", receiver::dead_letter()),
        ],
    )
    .rule(json!({ "anyOf": [not_of_kind("file"), { "required": ["path"] }] }))
    .rule(json!({ "anyOf": [not_of_kind("stdout"), { "not": { "required": ["path"] } }] }))
    .rule(json!({ "anyOf": [not_of_kind("syslog"), { "required": ["syslog"] }] }))
    .rule(json!({ "anyOf": [not_of_kind("http"), { "required": ["http"] }] }))
    .rule(json!({ "anyOf": [not_of_kind("sentinel"), { "required": ["sentinel"] }] }))
    .rule(json!({ "anyOf": [not_of_kind("otlp"), { "required": ["otlp"] }] }))
    .rule(json!({ "anyOf": [not_of_kind("kafka"), { "required": ["kafka"] }] }))
}

fn path() -> Key {
    one("path", FilePath, "The file; only with `kind = \"file\"`.")
}

pub(super) fn access_log() -> Table {
    table(
        "[access_log]",
        "One line for each request, permitted ones too, beside the events; changing it needs a restart.",
        [
            choice("kind", &["off", "stdout", "file"], "Where it goes; a file is reopened on SIGHUP.").default("off"),
            one("path", FilePath, "The file; only with `kind = \"file\"`."),
            choice("format", &["json", "combined"], "JSON lines, or the form of Apache and nginx.").default("json"),
            one("sample", Percentage, "How many of the requests it has.").default("100%"),
            one("queue", Integer(1..=10_000_000), "Lines that may wait; a further one is dropped and counted.")
                .default(65_536),
            one("query", Flag, "`true`: with the queries, which often hold secrets.").default(false),
        ],
    )
    .rule(json!({ "anyOf": [not_of_kind("file"), { "required": ["path"] }] }))
}

pub(super) fn index() -> Table {
    table(
        "[index]",
        "An index of the first event file and those rotated beside it, so that `events search` answers at once; changing it needs a restart.",
        [
            one("enabled", Flag, "`true`: it is kept.").default(false),
            one("path", FilePath, "Where; left out: beside the event file, such as events.jsonl.index."),
            one("max_age", Time::within("1h", "3660d"), "Older events are found in the files.").default("31d"),
            one("max_size", Size(INDEX_SIZES), "On disk; the oldest events go first.").default("2GiB"),
        ],
    )
}
