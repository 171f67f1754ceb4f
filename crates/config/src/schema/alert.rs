//! `[[alert]]` and `[[notifier]]`.

use serde_json::{Value, json};

use crate::file::alert::{
    BANNED, BATCH, CONTAINED, COOL_DOWN, COUNTS, FACETS, FOR, KEYS, LEARN, MEMORY, PER, REVOKED, STEPPED_UP, TIGHTENED,
    WINDOW, time,
};
use crate::file::receiver::ReceiverAddress;
use crate::file::receiver::notifier::{ATTEMPTS, NOTIFIERS, SECURITIES, SHAPES};
use crate::file::sink_options::{KindPattern, ReasonPattern, SEVERITIES};
use crate::kinds::{AnyText, FilePath, Flag, Integer, Moment, Name, Text, WeeklyHours};

use super::gateway::words;
use super::{Key, Table, choice, list, one, one_or_list, one_or_several, receiver, table, within};

pub(super) fn alert() -> Table {
    table(
        "[[alert]]",
        "A rule over the events: when it holds for a key, that is an event, somebody is told, and the key can be contained.",
        [
            one("name", Name, "Unique; a label in metrics.").required(),
            one("enabled", Flag, "`false`: it is checked and not watched for.").default(true),
            within("when", when()),
            one("count", Integer(COUNTS), "How many events, or different values with `distinct`."),
            one("window", time(WINDOW), "Within how long; left out: 5m."),
            choice(
                "distinct",
                &words(FACETS),
                "Different values of this are counted instead of events; of principals those that are only claimed, too.",
            ),
            choice("new", &words(FACETS), "Instead of a threshold: a value of this that the key did not have before."),
            one("memory", time(MEMORY), "With `new`: how long a value is remembered; left out: 7d."),
            one(
                "learn",
                time(LEARN),
                "With `new`: from the start on nothing is new for so long, and everything is learnt; left out: 1d.",
            ),
            choice("per", &words(PER), "Which events are counted together; an IPv6 address counts as its /64.")
                .default("all"),
            one("cool_down", time(COOL_DOWN), "How long a key that fired does not fire again.").default("15m"),
            one("batch", time(BATCH), "How long what fires is gathered into one notification.").default("30s"),
            one("resolve", Flag, "`true`: it is said, too, when a key is under its threshold again."),
            choice("severity", &words(SEVERITIES), "Of its events.").default("high"),
            one_or_several("mute", mute()),
            one("runbook", Text, "The page that says what to do; left out: the one of the reason."),
            one_or_list("notify", Name, "The notifiers that tell it; left out: it is an event and nothing more."),
            one_or_several("contain", contain()),
            one(
                "max_contained",
                Integer(CONTAINED),
                "How many keys it may contain within its window, or while that lasts where it is longer.",
            )
            .default(100),
            one("max_keys", Integer(KEYS), "How many keys are kept apart; one that was seen once goes first.")
                .default(10_000),
        ],
    )
    .rule(json!({ "anyOf": [{ "required": ["count"] }, { "required": ["new"] }] }))
}

fn when() -> Table {
    table(
        "`when` of [[alert]]",
        "Which events count; left out: every refusal.",
        [
            one_or_list("kinds", KindPattern, "Only these kinds; left out: `access.denied`. Never those of alerts."),
            one_or_list("reasons", ReasonPattern, "Only these reasons, such as `authn.*`."),
            one_or_list("routes", Name, "Only events of these routes."),
            choice("severity", &words(SEVERITIES), "Only events of this severity, or a higher one."),
            one_or_list("status", Integer(100..=599), "Only these statuses, such as 403."),
        ],
    )
}

fn mute() -> Table {
    let doc = "When nobody is told and nothing is contained; the event is recorded all the same.";
    table("`mute` of [[alert]]", doc, times()).rule(one_time())
}

pub(super) fn silence() -> Table {
    let alerts = one_or_list("alerts", Name, "Whose; left out: all alerts'.").not_empty();
    let doc = "When several alerts tell nobody and contain nothing; their events are recorded all the same.";
    table("[[mute]]", doc, [alerts].into_iter().chain(times())).rule(one_time())
}

fn times() -> [Key; 4] {
    [
        one("from", Moment, "Once: from this time on."),
        one("to", Moment, "Until this time."),
        one("hours", WeeklyHours, "Every week, such as `Sun 02:00-04:00 Europe/Berlin`."),
        one("reason", Text, "Why; left out: `maintenance`."),
    ]
}

fn one_time() -> Value {
    json!({ "anyOf": [{ "required": ["from", "to"] }, { "required": ["hours"] }] })
}

fn contain() -> Table {
    table(
        "`contain` of [[alert]]",
        "What is done to a key when it fires; `per` must count what is contained.",
        [
            choice("ban", &words(BANNED), "It is banned, as `[ban]` of the policy has it."),
            choice("step_up", &words(STEPPED_UP), "It must bring a fresh mfa, as `[step_up]` of the policy has it."),
            choice("revoke", &words(REVOKED), "What it was issued until then is refused: `authn.revoked`."),
            choice("tighten", &words(TIGHTENED), "Whoever comes to it must bring a fresh mfa."),
            one("for", time(FOR), "For how long; left out: 1h, and 1d for `revoke`."),
        ],
    )
}

pub(super) fn notifier() -> Table {
    table(
        "[[notifier]]",
        "Who is told when an alert fires; a table of the kind's name says how.",
        [
            one("name", Name, "Unique; a label in metrics.").required(),
            choice("kind", &words(NOTIFIERS), "How: by a POST request, by mail, or by running a program.").required(),
            one("attempts", Integer(ATTEMPTS), "How often a notification is tried, with pauses of 1s, 2s, 4s to 1m.")
                .default(6),
            within("webhook", webhook()),
            within("email", email()),
            within("exec", exec()),
        ],
    )
    .rule(json!({ "anyOf": [super::gateway::not_of_kind("webhook"), { "required": ["webhook"] }] }))
    .rule(json!({ "anyOf": [super::gateway::not_of_kind("email"), { "required": ["email"] }] }))
    .rule(json!({ "anyOf": [super::gateway::not_of_kind("exec"), { "required": ["exec"] }] }))
}

fn webhook() -> Table {
    table(
        "`webhook` of [[notifier]]",
        "A receiver of POST requests.",
        receiver::posting(
            "`tls` of `webhook` of [[notifier]]",
            "`auth` of `webhook` of [[notifier]]",
            [
                "`bearer` of `auth` of `webhook` of [[notifier]]",
                "`password` of `auth` of `webhook` of [[notifier]]",
                "`value` of `auth` of `webhook` of [[notifier]]",
            ],
            "`url` of `webhook` of [[notifier]]",
        )
        .into_iter()
        .chain([
            choice("shape", &words(SHAPES), "The body: everything as JSON, or what Slack or Teams takes.")
                .default("generic"),
            within("secret", receiver::secret("`secret` of `webhook` of [[notifier]]")),
        ]),
    )
}

fn email() -> Table {
    table(
        "`email` of [[notifier]]",
        "A mail server that takes mail from the gateway.",
        [
            one("address", ReceiverAddress, "Where it listens, such as `mail.example:587`.").required(),
            choice("security", &words(SECURITIES), "TLS after STARTTLS, TLS from the first byte, or none.")
                .default("starttls"),
            within("tls", receiver::tls("`tls` of `email` of [[notifier]]")),
            one("user", Text, "The name to log in with; left out: it is not logged in."),
            within("password", receiver::secret("`password` of `email` of [[notifier]]")),
            one("hello", Text, "What the gateway calls itself to the server; left out: an address literal."),
            one("from", Text, "Who writes, such as `Portcullis <portcullis@example.com>`.").required(),
            one_or_list("to", Text, "Who gets the mail.").required().not_empty(),
            receiver::timeout(),
        ],
    )
}

fn exec() -> Table {
    table(
        "`exec` of [[notifier]]",
        "A program that is run for each notification, which it gets as JSON on standard input.",
        [
            one("program", FilePath, "Its absolute path; no shell is asked.").required(),
            list("args", AnyText, "Its arguments, as they are."),
            receiver::timeout(),
        ],
    )
}
