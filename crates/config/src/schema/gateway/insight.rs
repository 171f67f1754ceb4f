//! What is learned of the requests that came: `[audit]`, `[sample]` and `[spike]`.

use portcullis_insight::AuditSettings;
use serde_json::json;

use crate::file::{
    AUDIT_DENIALS, AUDIT_KEPT, AUDIT_PEERS, AuditWhen, AuditZone, SAMPLE_MOST, SAMPLE_RECENT, SPIKE_EXCESS,
};
use crate::kinds::{Flag, Integer, Name, Percentage, Text, Time};
use crate::schema::{Table, list, one, table};

pub(super) fn audit() -> Table {
    table(
        "[audit]",
        "Which permissions are used is counted in the store, and grants that are unused, too wide or dangerous are reported. Needs [store]; changing `enabled` needs a restart.",
        [
            one("enabled", Flag, "`false`: nothing is counted. With [store] and without this table usage is counted, and nobody looks by itself.")
                .default(true),
            one("schedule", AuditWhen, "When the gateway looks by itself.").default("weekly"),
            one("unused_after", Time::within("1s", "366d"), "What was not used for so long is unused.").default("90d"),
            one("min_observed", Time::within("1s", "366d"), "Before usage was counted for so long, nothing is called unused.")
                .default("90d"),
            one("keep", Integer(AUDIT_KEPT), "How many runs are kept; the oldest goes.").default(52),
            one("over_exposure", Percentage, "Who does not use so much of what it may do, by weight, holds too much.")
                .default("60%"),
            one("outlier_share", Percentage, "A role that fewer of the peers hold is out of the ordinary.").default("5%"),
            one("peers", Integer(AUDIT_PEERS), "Of fewer peers nothing is said.").default(10),
            one("keep_share", Percentage, "What so many peers use is not taken from one of them that does not.").default("20%"),
            one("denials", Integer(AUDIT_DENIALS), "So many refusals in 30 days look like a permission that is missing.").default(5),
            one("zone", AuditZone, "By whose clocks a grant was made at an unusual hour.").default("UTC"),
            list("temporary_words", Text, "An assignment with one of these words in its name was meant for a time.")
                .default(json!(AuditSettings::default().temporary_words)),
            list("control_routes", Name, "Routes through which the policy, or who is in which group, can be changed."),
        ],
    )
}

pub(super) fn sample() -> Table {
    table(
        "[sample]",
        "The requests that are kept for a while, in memory, so that `policy preview` can try a change on them: no bodies, no queries, no credentials. Changing it needs a restart.",
        [
            one("enabled", Flag, "`false`: none are kept.").default(true),
            one("recent", Integer(SAMPLE_RECENT), "The last requests.").default(10_000),
            one("most", Integer(SAMPLE_MOST), "Altogether: beyond the last ones the newest of each kind.")
                .default(40_000),
        ],
    )
}

pub(super) fn spike() -> Table {
    table(
        "[spike]",
        "More refusals than usual are noticed and explained, by the requests that `[sample]` keeps. Changing it needs a restart.",
        [
            one("enabled", Flag, "`false`: nobody looks.").default(true),
            one("bucket", Time::within("1s", "5m"), "What is counted together.").default("10s"),
            one("min_excess", Integer(SPIKE_EXCESS), "Fewer refusals than these beyond the usual are no spike.")
                .default(20),
            one("lookback", Time::within("1m", "1d"), "A change is a suspect that came at most so long before.")
                .default("15m"),
        ],
    )
}
