//! Where addresses are: `[feeds]`, the lists of networks, and `[geo]`, the databases.

use crate::kinds::{FilePath, Integer, Time};
use crate::schema::{Table, one, table};

pub(super) fn feeds() -> Table {
    table(
        "[feeds]",
        "Where the lists of networks with a `source` are kept, so that a start needs nobody.",
        [one(
            "path",
            FilePath,
            "The folder, for one process. Left out: /var/lib/portcullis/feeds for a configuration below /etc, else feeds beside it.",
        )],
    )
}

pub(super) fn geo() -> Table {
    table(
        "[geo]",
        "Databases in MaxMind's format that say where an address is; a file that changes is read anew.",
        [
            one("city", FilePath, "Countries, regions and cities."),
            one("country", FilePath, "Countries; it comes before `city`."),
            one("asn", FilePath, "Autonomous systems."),
            one("refresh", Time::within("1s", "1d"), "How often it is looked whether a file has changed.")
                .default("1m"),
            one(
                "max_speed_kmh",
                Integer(100..=10_000),
                "What anybody travels, in kilometres an hour: a caller that came farther is a signal of [risk].",
            )
            .default(900),
        ],
    )
}
