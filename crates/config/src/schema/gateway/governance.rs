//! Who may change what is allowed, and for how long: `[governance]` and `[access]`.

use crate::file::{ACCESS_MOST, DENIED_CALLERS, STEP_CALLERS, STEP_REQUESTS};
use crate::kinds::{Flag, Integer, Percentage, Text, Time};
use crate::schema::{Table, list, one, one_or_list, table, within};

pub(super) fn governance() -> Table {
    let persons = |name, default: u64, what| one(name, Integer(1..=16), what).default(default);
    table(
        "[governance]",
        "Who must approve what becomes live. Needs [store]; where it is required, `portcullis governance init` comes before the first start.",
        [
            one("required", Flag, "Only what was approved becomes live, whatever the files say.").default(false),
            within(
                "approvals",
                table(
                    "[governance.approvals]",
                    "How many persons other than the author approve a change, by what the engine finds that it does.",
                    [
                        persons("tighten", 1, "Of one that only tightens, or changes no answer."),
                        persons("loosen", 2, "Of one that loosens, or may."),
                        persons("keys", 2, "Of one of the approvers, by old and by new ones; and of this table."),
                    ],
                ),
            ),
            one(
                "break_glass_max",
                Time::within("1m", "4h"),
                "Glass is broken for no longer, whatever the policy says.",
            )
            .default("4h"),
            one("proposal_ttl", Time::within("1m", "30d"), "How long a proposal can be approved and activated.")
                .default("72h"),
            one(
                "shadow",
                Time::within("0s", "7d"),
                "How long an activated version is only tried beside the live one; 0s: not at all. Needs [store] and [sample].",
            )
            .default("0s"),
            list(
                "canary",
                Percentage,
                "For what share of the callers it decides then, step by step, such as [\"5%\", \"25%\", \"100%\"]; empty: for all at once.",
            ),
            one("canary_step", Time::within("1s", "7d"), "How long each of these lasts.").default("10m"),
            one(
                "max_newly_denied",
                Percentage,
                "It is taken back when it denies something in a larger share of the turns of callers, of those who were let in before; what a caller asks for within a minute is one turn.",
            )
            .default("0.1%"),
            one(
                "min_denied_callers",
                Integer(DENIED_CALLERS),
                "And only when it denies something to so many different ones.",
            )
            .default(3),
            one(
                "min_requests",
                Integer(STEP_REQUESTS),
                "A step does not end by itself before both versions have decided on so many requests that one of them permits; 0: it ends by the clock alone, and an event says where nothing came.",
            )
            .default(20),
            one(
                "min_callers",
                Integer(STEP_CALLERS),
                "Nor before they came from so many different callers, unless `min_requests` is 0; 1 for a gateway with a single caller.",
            )
            .default(2),
            one(
                "max_wait",
                Time::within("1s", "30d"),
                "So long a step whose time is over waits for these; then the version is taken back, unless it only tightens.",
            )
            .default("7d"),
        ],
    )
}

pub(super) fn access() -> Table {
    table(
        "[access]",
        "Power for a time: see docs/temporary-power.md. It is kept in [store].",
        [
            one("most", Integer(ACCESS_MOST), "What can be in force or wait at once.").default(1_000),
            one("wait", Time::within("1m", "30d"), "How long an approval is waited for.").default("24h"),
            one(
                "self_service",
                Flag,
                "Whoever is verified can ask for access that was refused, and activate what they are eligible for, under `/.portcullis/`.",
            )
            .default(false),
            one_or_list(
                "hosts",
                Text,
                "Hosts where nothing but the gateway's own pages is: there a person activates with a browser, at `/.portcullis/access`. Needs [identity.login].",
            ),
        ],
    )
}
