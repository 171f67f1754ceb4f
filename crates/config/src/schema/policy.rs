//! `policy.toml`

use crate::file::FileVersion;
use crate::kinds::{
    Action, Country, FilePath, Flag, Integer, Moment, Name, Prefix, PrincipalName, Text, Time, WeeklyHours,
};

use super::risk::{any_of, ban, risk, step_up};
use super::{Key, Table, choice, list, one, one_or_list, several, table, within, without_effect};

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
            without_effect("source"),
        ],
    )
    .rule(any_of(&["addresses", "file", "files", "source"]))
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
            mode("`shadow`: networks and sensitivity are only reported."),
            one("public", Flag, "It is meant to be reached without a credential: silences the warning.").default(false),
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

fn activation() -> Table {
    table(
        "`activation` of [[assignment]]",
        "The assignment is only eligible: it grants while its holder has activated it.",
        [
            one("max", Time::within("1s", "365d"), "The longest time for which it is activated at once.").required(),
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
        one_or_list("countries", Country, "The client is in one of them (ISO 3166-1); unknown in this version.")
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
            choice("max_risk", &["low", "medium", "high"], "The caller looks at most this risky."),
        ],
    )
}

fn when_of_deny() -> Table {
    table("`when` of [[deny]]", "Every condition must hold; left out: always.", conditions())
}
