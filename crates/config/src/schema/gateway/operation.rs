//! How the process runs, and how it is watched: `[process]`, `[shutdown]`, `[ops]` and `[control]`.

use crate::kinds::{FilePath, Flag, Integer, Name, Socket, Time};
use crate::schema::{Table, one, table};

pub(super) fn process() -> Table {
    table(
        "[process]",
        "How the process runs.",
        [one("workers", Integer(1..=1_024), "Threads; left out: one for each processor.")],
    )
}

pub(super) fn shutdown() -> Table {
    table(
        "[shutdown]",
        "How the process ends.",
        [
            one("delay", Time::within("0s", "1h"), "How long /readyz says no before the listeners close.")
                .default("0s"),
            one("grace", Time::within("0s", "1d"), "How long requests in flight may then take.").default("30s"),
        ],
    )
}

pub(super) fn ops() -> Table {
    table(
        "[ops]",
        "Where /livez, /readyz and /metrics are served.",
        [
            one("enabled", Flag, "`false`: nowhere.").default(true),
            one("address", Socket, "Where it listens.").default("127.0.0.1:9090"),
        ],
    )
}

pub(super) fn control() -> Table {
    table(
        "[control]",
        "The socket over which operators ask the running gateway; changing it needs a restart.",
        [
            one("enabled", Flag, "`false`: there is none.").default(true),
            one(
                "socket",
                FilePath,
                "Left out: /run/portcullis/control.sock for a configuration below /etc, else beside it, such as portcullis.sock.",
            ),
            one("group", Name, "The group, by name or number, whose members may use it besides root and its owner."),
        ],
    )
}
