//! `[risk]`, `[step_up]` and `[ban]` of the policy.

use serde_json::{Value, json};

use crate::file::{CalibrationKind, MAX_NATS, MAX_REPUTATION_NATS, POSTURE_HEADER, REPUTATION_NATS};
use crate::kinds::{Decimal, FilePath, Flag, Header, Integer, Name, Percentage, Text, Time};

use super::{Key, Table, choice, list, one, one_or_list, several, table, within};

pub(super) fn risk() -> Table {
    table(
        "[risk]",
        "How risky a caller looks, as a score in nats.",
        [
            choice(
                "mode",
                &["enforce", "monitor", "off"],
                "`enforce`: the score decides; `monitor`: it is only reported; `off`: there is none.",
            )
            .default("monitor"),
            within("thresholds", thresholds()),
            within("signals", signals()),
            one_or_list("corporate_egress", Name, "Networks whose addresses are never new."),
            several("reputation", reputation()),
            choice(
                "services",
                &["allow", "deny"],
                "What a risk that asks for a step-up means to a service or the holder of a certificate, which cannot answer one.",
            )
            .default("allow"),
            one(
                "step_up_budget",
                Percentage,
                "The share of good traffic that may be asked to step up, from 0.01% to 50%: sets the thresholds that are left out.",
            ),
            one(
                "calibration",
                CalibrationKind,
                "Who has thresholds worked out from `step_up_budget`: `daily`: the gateway, and puts them in force; `by_hand`: `risk calibration propose` and `activate`; `sha256:…`: that one is in force and no other.",
            )
            .default("daily"),
            within("posture", posture()),
        ],
    )
}

fn posture() -> Table {
    table(
        "[risk.posture]",
        "A header that says whether a user's device meets the organisation's rules.",
        [
            one("header", Header, "Its name. No upstream sees it.").default(POSTURE_HEADER.as_str()),
            choice(
                "from",
                &["proxy", "agent"],
                "`proxy`: a trusted proxy sets it; `agent`: an agent on the device signs it.",
            )
            .required(),
            one("max_age", Time::within("1s", "30d"), "What is older is no news.").default("10m"),
            one("keys", FilePath, "With `from = \"agent\"`: the public keys of the agents, a JWK set."),
        ],
    )
    // An agent's word is nobody's without keys.
    .rule(json!({ "anyOf": [
        { "not": { "properties": { "from": { "enum": ["agent"] } }, "required": ["from"] } },
        { "required": ["keys"] },
    ] }))
}

fn reputation() -> Table {
    table(
        "[[risk.reputation]]",
        "A network whose addresses are evidence against whoever comes from them.",
        [
            one("network", Name, "Its name.").required(),
            one("nats", Decimal(0.0..=MAX_REPUTATION_NATS), "What it contributes; from 1.5 on it can deny.")
                .default(REPUTATION_NATS),
        ],
    )
}

fn thresholds() -> Table {
    table(
        "[risk.thresholds]",
        "Where a score becomes a step-up or, with evidence of an attack, a denial; by the resource's sensitivity.",
        [
            within("low", threshold("[risk.thresholds.low]", 2.5, 4.5)),
            within("normal", threshold("[risk.thresholds.normal]", 2.0, 4.0)),
            within("high", threshold("[risk.thresholds.high]", 1.2, 3.2)),
        ],
    )
}

fn threshold(title: &'static str, step_up: f64, deny: f64) -> Table {
    table(
        title,
        "The thresholds of resources of this sensitivity, in nats.",
        [
            one("step_up", Decimal(0.0..=MAX_NATS), "From here on the caller must authenticate again.")
                .default(step_up),
            one("deny", Decimal(0.0..=MAX_NATS), "From here on the caller is refused.").default(deny),
        ],
    )
}

fn signals() -> Table {
    table(
        "[risk.signals]",
        "What makes up the score.",
        [
            within(
                "network",
                signal(
                    "[risk.signals.network]",
                    "Is the network new for this caller, the system it belongs to, the country?",
                    -3.0,
                    4.0,
                ),
            ),
            within(
                "device",
                signal("[risk.signals.device]", "Is the device new that the credential is bound to?", -3.0, 2.5),
            ),
            within(
                "user_agent",
                signal("[risk.signals.user_agent]", "Is the software new for this caller?", -1.0, 2.0),
            ),
            within("hour", signal("[risk.signals.hour]", "Does the caller come at this hour of the week?", 0.0, 1.0)),
            within(
                "travel",
                signal(
                    "[risk.signals.travel]",
                    "Could the caller have travelled here since it was last let in?",
                    0.0,
                    3.0,
                ),
            ),
            within(
                "behaviour",
                signal("[risk.signals.behaviour]", "Do the caller or its peers use this route?", 0.0, 2.0),
            ),
            within(
                "posture",
                signal("[risk.signals.posture]", "Does the device meet the organisation's rules?", 0.0, 3.0),
            ),
            within(
                "reputation",
                signal("[risk.signals.reputation]", "Is the address in a network of `reputation`?", 0.0, 4.0),
            ),
            within(
                "failures",
                signal("[risk.signals.failures]", "Did others fail on this account a moment ago?", 0.0, 3.0),
            ),
            within(
                "spraying",
                signal("[risk.signals.spraying]", "Does this address try one account after the other?", 0.0, 3.0),
            ),
            within(
                "token",
                signal("[risk.signals.token]", "Was the same token used elsewhere a moment ago?", 0.0, 4.0),
            ),
            within(
                "step_up",
                signal("[risk.signals.step_up]", "Did the caller pass a step-up from here within 12 hours?", -3.0, 0.0),
            ),
        ],
    )
}

fn signal(title: &'static str, doc: &'static str, least: f64, most: f64) -> Table {
    let cap = "The least and the most that it can contribute, in nats, such as `[-3.0, 4.0]`.";
    table(
        title,
        doc,
        [
            one("enabled", Flag, "`false`: it is not looked at.").default(true),
            one("weight", Decimal(0.0..=10.0), "What its contribution is multiplied by.").default(1.0),
            list("cap", Decimal(-MAX_NATS..=MAX_NATS), cap).default(json!([least, most])),
        ],
    )
}

pub(super) fn step_up() -> Table {
    table(
        "[step_up]",
        "What counts as fresh and strong authentication.",
        [
            within("mfa", mfa()),
            one("max_age", Time::within("1s", "365d"), "How long ago, since `auth_time`, it may have been.")
                .default("12h"),
        ],
    )
}

fn mfa() -> Table {
    table(
        "[step_up.mfa]",
        "What counts as assurance `mfa`: any of these.",
        [
            one_or_list("acr", Text, "Values of the claim that says how strongly the caller authenticated."),
            one_or_list("amr", Text, "Values of the claim that says by which means (RFC 8176)."),
        ],
    )
    .rule(any_of(&["acr", "amr"]))
}

/// One of the keys must be there.
pub(super) fn any_of(keys: &[&str]) -> Value {
    let each: Vec<Value> = keys.iter().map(|key| json!({ "required": [key] })).collect();
    json!({ "anyOf": each })
}

pub(super) fn ban() -> Table {
    let time = |name, doc| one(name, Time::within("1s", "365d"), doc);
    table(
        "[ban]",
        "Who is kept out for a while.",
        [
            choice("mode", &["enforce", "simulate", "off"], "`simulate`: only reported; `off`: no bans.")
                .default("enforce"),
            one_or_list("never", Name, "Networks that are never banned."),
            time("first", "The first ban.").default("10m"),
            one("factor", Integer(1..=100), "Each further ban is this many times longer.").default(2),
            time("longest", "No ban is longer.").default("24h"),
            time("forget_half", "Offences count half after this time.").default("7d"),
            within("probing", probing()),
            within("credentials", credentials()),
            within("spraying", spraying()),
            within("signatures", signatures()),
            within("flood", flood()),
            within("blast_radius", blast_radius()),
        ],
    )
}

fn level(default: u64) -> Key {
    one("level", Decimal(0.1..=10_000.0), "How many are too many.").default(default)
}

fn half(default: &'static str) -> Key {
    one("half", Time::within("1s", "1d"), "They count half after this time.").default(default)
}

fn probing() -> Table {
    table(
        "[ban.probing]",
        "Refusals on distinct paths.",
        [level(4), one("ratio", Percentage, "Their least share of all requests.").default("25%"), half("5m")],
    )
}

fn credentials() -> Table {
    table("[ban.credentials]", "Bad credentials.", [level(5), half("2m")])
}

fn spraying() -> Table {
    table(
        "[ban.spraying]",
        "One address that tries many callers' names.",
        [
            one("principals", Integer(2..=10_000), "How many names are too many.").default(5),
            one("window", Time::within("1s", "1d"), "Within this time.").default("10m"),
        ],
    )
}

fn flood() -> Table {
    table(
        "[ban.flood]",
        "More requests than fit, whatever became of them. `rate_limit` refuses what is too much, and bans nobody.",
        [
            one("enabled", Flag, "Whether requests are counted.").default(false),
            one(
                "requests",
                Integer(10..=100_000_000),
                "More than so many of one caller within `window` are an offence.",
            )
            .default(3_000),
            one("window", Time::within("1s", "1d"), "See `requests`.").default("1m"),
        ],
    )
}

fn blast_radius() -> Table {
    table(
        "[ban.blast_radius]",
        "How many callers that are known (principals, and addresses from which they were let in) the gateway bans by itself at once. The greater of the two holds; further bans are only reported.",
        [
            one("bans", Integer(0..=1_000_000), "So many, however few are known.").default(20),
            one("share", Percentage, "This share of those who were active in the last 24 hours.").default("10%"),
        ],
    )
}

fn signatures() -> Table {
    table(
        "[ban.signatures]",
        "Requests that nobody sends by accident.",
        [
            one("enabled", Flag, "Whether requests are looked at.").default(true),
            one("level", Decimal(0.1..=10_000.0), "How much is too much; what is unmistakable counts 3.").default(2.5),
            half("5m"),
        ],
    )
}
