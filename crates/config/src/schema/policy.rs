//! `policy.toml`

use serde_json::json;

use crate::file::{
    APPROVALS, ColumnName, Delimiter, FEED_FORMATS, FEED_SIZES, FileVersion, Link, ListHash, MinisignKey, ON_STALE,
    PointerText, PresetName, REDIRECTS, Share, Suffix,
};
use crate::kinds::{
    Action, Country, FilePath, Flag, Integer, Moment, Name, Prefix, PrincipalName, Size, Text, Time, WeeklyHours,
};

use super::risk::{any_of, ban, risk, step_up};
use super::{Key, Table, choice, list, one, one_or_list, several, table, within};

pub(super) fn file() -> Table {
    table(
        "policy.toml",
        "Who may do what. The order of entries never changes a decision.",
        [
            one("version", FileVersion, "The version of the shape of this file.").required(),
            list("include", Text, "Further files, such as `[\"policy/*.toml\"]`: below this folder, sorted by name."),
            several("network", network()),
            several("resource", resource()),
            several("role", role()),
            several("group", group()),
            several("assignment", assignment()),
            several("deny", deny()),
            several("exclusive", exclusive()),
            within("risk", risk()),
            within("step_up", step_up()),
            within("ban", ban()),
            within("break_glass", break_glass()),
        ],
    )
}

fn network() -> Table {
    table(
        "[[network]]",
        "A named set of addresses.",
        [
            one("name", Name, "Unique.").required(),
            list("addresses", Prefix, "Prefixes, or single addresses."),
            one("file", FilePath, "A file with one prefix per line; `#` begins a comment."),
            list("files", FilePath, "The same for several files."),
            within("source", source()),
        ],
    )
    .rule(any_of(&["addresses", "file", "files", "source"]))
}

fn source() -> Table {
    let formats: Vec<&str> = FEED_FORMATS.iter().map(|(word, _)| *word).collect();
    let stale: Vec<&str> = ON_STALE.iter().map(|(word, _)| *word).collect();
    let redirects: Vec<&str> = REDIRECTS.iter().map(|(word, _)| *word).collect();
    table(
        "`source` of [[network]]",
        "Where the list of its addresses is fetched, again and again, besides those of `addresses`.",
        [
            one("url", Link { path: true }, "Where the list is; or `file`, or `preset`."),
            one(
                "file",
                FilePath,
                "A file that something else keeps current; it is looked at as often as `refresh` says.",
            ),
            one("preset", PresetName, "A list that a provider publishes about its own networks."),
            one("allow_http", Flag, "`true`: `url` may begin with `http://`.").default(false),
            choice("redirects", &redirects, "`same_host`: to the same scheme, host and port they are followed.")
                .default("none"),
            one(
                "ca",
                FilePath,
                "The authorities that may have signed the server's certificate; PEM. Left out: the system's.",
            ),
            choice("format", &formats, "What the list looks like.").default("text"),
            one("column", ColumnName, "Of a table: the number of the column from 1, or its name in the first line."),
            one("delimiter", Delimiter, "Of a table: what stands between two columns; left out: a comma."),
            one_or_list("pointer", PointerText, "Of JSON: where the prefixes are; `*` is every element or member.")
                .not_empty(),
            one(
                "refresh",
                Time::within("1s", "30d"),
                "How often it is fetched, give or take a tenth. Left out: 6h, of a file 1m.",
            ),
            one("timeout", Time::within("100ms", "50s"), "How long one fetch may take.").default("10s"),
            one("max_size", Size(FEED_SIZES), "How large the list may be, decompressed.").default("4MiB"),
            one("min_entries", Integer(1..=1_000_000), "A list with fewer entries is held back.").default(1),
            one("max_shrink", Share { most: 10_000 }, "An update of which more is gone is held back.").default("20%"),
            one("max_grow", Share { most: 100_000_000 }, "An update that grows by more is held back.").default("50%"),
            one("private", Flag, "`true`: private, reserved and documentation addresses may be in it.").default(false),
            one(
                "compare_over",
                Time::within("1s", "30d"),
                "Over how long `max_shrink` and `max_grow` hold, however many updates there are.",
            )
            .default("24h"),
            one("max_age", Time::within("1s", "3660d"), "How old a list may be since it was last confirmed.")
                .default("7d"),
            choice("on_stale", &stale, "With an older one: `keep` goes on, `undecided` makes the network unknown.")
                .default("keep"),
            within("signature", signature()),
            list("accepted", ListHash, "Lists that may be in force whatever the guards say, each by its SHA-256."),
        ],
    )
    .rule(any_of(&["url", "file", "preset"]))
    .rule(json!({ "anyOf": [not_of_format("csv"), { "required": ["column"] }] }))
    .rule(json!({ "anyOf": [not_of_format("json"), { "required": ["pointer"] }] }))
}

fn not_of_format(format: &str) -> serde_json::Value {
    json!({ "properties": { "format": { "not": { "enum": [format] } } } })
}

fn signature() -> Table {
    table(
        "`signature` of `source` of [[network]]",
        "Who must have signed the list with minisign.",
        [
            one("key", MinisignKey, "The public key.").required(),
            one("suffix", Suffix, "What is put behind the path of the list to find its signature.").default(".minisig"),
            one(
                "max_age",
                Time::within("1m", "3660d"),
                "How long ago the list may have been signed, however often it is given out; left out: for ever.",
            ),
        ],
    )
}

fn resource() -> Table {
    table(
        "[[resource]]",
        "What a route demands before grants are looked at. A route without one demands authentication, and nothing else.",
        [
            one("route", Name, "A `[[route]]` of portcullis.toml.").required(),
            choice(
                "authentication",
                &["required", "optional", "none", "certificate"],
                "`optional`: without a credential the caller is `anyone`; `none`: credentials are not looked at, and pass on unchanged; `certificate`: nobody may come without a client certificate.",
            )
            .default("required"),
            within("networks", resource_networks()),
            choice("sensitivity", &["low", "normal", "high"], "Chooses the thresholds of `[risk]`.").default("normal"),
            choice("assurance", &["mfa"], "Whoever comes there must have authenticated so, whatever it is granted: see `[step_up]`."),
            one(
                "max_age",
                Time::within("1s", "365d"),
                "How long ago whoever comes there may have authenticated; left out: as long as the credential holds.",
            ),
            mode("`shadow`: networks, sensitivity, `assurance` and `max_age` are only reported."),
            one("public", Flag, "It is meant to be reached without a credential: silences the warning.").default(false),
            one("requestable", Flag, "Whoever was refused may ask for access.").default(false),
        ],
    )
}

fn resource_networks() -> Table {
    table(
        "`networks` of [[resource]]",
        "From where it can be reached; left out: from every address.",
        [
            one_or_list("allow", Name, "Networks that are let in; left out: every address.").not_empty(),
            one_or_list("deny", Name, "Networks that are kept out."),
        ],
    )
}

fn mode(doc: &'static str) -> Key {
    choice("mode", &["enforce", "shadow"], doc).default("enforce")
}

fn role() -> Table {
    table(
        "[[role]]",
        "A set of permissions.",
        [
            one("name", Name, "Unique.").required(),
            list("inherits", Name, "Roles whose permissions it has, too."),
            several("permissions", permission()),
        ],
    )
}

fn permission() -> Table {
    table(
        "`permissions` of [[role]]",
        "Actions that it permits.",
        [
            actions("actions", "`METHOD PATTERN`, such as `GET /api/**`; the method may be a comma list or `*`.")
                .required(),
            actions("not_actions", "Taken out again, of this permission alone."),
        ],
    )
}

fn actions(name: &'static str, doc: &'static str) -> Key {
    list(name, Action, doc)
}

fn principals() -> Key {
    list(
        "principals",
        PrincipalName,
        "Whom it is about: `user:ID`, `service:ID`, `certificate:SAN`, `group:NAME`, `anyone` or `authenticated`.",
    )
    .required()
}

fn group() -> Table {
    table(
        "[[group]]",
        "A local group.",
        [
            one("name", Name, "Unique.").required(),
            list("members", PrincipalName, "Principals, and other groups.").required(),
        ],
    )
}

fn assignment() -> Table {
    table(
        "[[assignment]]",
        "A grant: these principals hold this role here.",
        [
            one("name", Name, "Unique; refusals and events name it.").required(),
            one("role", Name, "The role.").required(),
            principals(),
            scope(),
            one("starts", Moment, "Left out: from always."),
            one("expires", Moment, "Left out: for ever."),
            within("when", when_of_assignment()),
            within("activation", activation()),
            mode("`shadow`: reported, never effective."),
        ],
    )
}

fn break_glass() -> Table {
    table(
        "[break_glass]",
        "What one person gets at once with a code that was sealed beforehand, or with a key.",
        [
            list("roles", Name, "The roles that it may give.").required().not_empty(),
            scope(),
            one("max", Time::within("1m", "4h"), "For how long at most.").default("1h"),
            list(
                "signers",
                Text,
                "The approvers who may break glass for themselves by what they sign with an enrolled key; left out: nobody.",
            ),
        ],
    )
}

fn activation() -> Table {
    table(
        "`activation` of [[assignment]]",
        "The assignment is only eligible: it grants while its holder has activated it.",
        [
            one("max", Time::within("1s", "365d"), "The longest time for which it is activated at once.").required(),
            choice("ticket", &["required", "optional"], "Whether whoever activates it names a ticket.")
                .default("optional"),
            one("approvals", Integer(APPROVALS), "How many other persons must approve first.").default(0),
            one("self", Flag, "Whether its holder activates it by itself with nothing but a credential, where [access] has `self_service`.")
                .default(false),
            choice("justification", &["required", "optional"], "Whether whoever activates it says why.")
                .default("required"),
        ],
    )
}

fn exclusive() -> Table {
    table(
        "[[exclusive]]",
        "Separation of duties: roles of which one principal holds few.",
        [
            one("name", Name, "Unique.").required(),
            list("roles", Name, "At least two roles.").required(),
            one("max", Integer(1..=63), "How many of them one principal may hold.").default(1),
        ],
    )
}

fn deny() -> Table {
    table(
        "[[deny]]",
        "An explicit no, stronger than any grant.",
        [
            one("name", Name, "Unique; refusals and events name it.").required(),
            principals(),
            actions("actions", "`METHOD PATTERN`, such as `GET /api/**`.").required(),
            scope(),
            one("starts", Moment, "Left out: from always."),
            one("expires", Moment, "Left out: for ever."),
            within("when", when_of_deny()),
            one("explain", Text, "Told to the caller."),
            mode("`shadow`: reported, never effective."),
        ],
    )
}

fn scope() -> Key {
    one_or_list("scope", Name, "A route, a list of routes, or `*` for all.").required()
}

fn conditions() -> [Key; 4] {
    [
        one_or_list("networks", Name, "The client's address is in one of them.").not_empty(),
        one("hours", WeeklyHours, "Days, hours and IANA time zone, such as `Mon-Fri 08:00-18:00 Europe/Berlin`."),
        one_or_list(
            "countries",
            Country,
            "The client is in one of them (ISO 3166-1, by `[geo]`); `ZZ`: a private address.",
        )
        .not_empty(),
        choice("device", &["compliant"], "The credential says that the device meets the rules."),
    ]
}

fn when_of_assignment() -> Table {
    let [networks, hours, countries, device] = conditions();
    table(
        "`when` of [[assignment]]",
        "Every condition must hold; each may be left out.",
        [
            networks,
            hours,
            countries,
            device,
            choice("assurance", &["mfa"], "The authentication is fresh and counts as this: see `[step_up]`."),
            one(
                "max_age",
                Time::within("1s", "365d"),
                "The caller authenticated at most so long ago, by whatever means.",
            ),
            choice("max_risk", &["low", "medium", "high"], "The caller looks at most this risky."),
        ],
    )
}

fn when_of_deny() -> Table {
    table("`when` of [[deny]]", "Every condition must hold; left out: always.", conditions())
}
