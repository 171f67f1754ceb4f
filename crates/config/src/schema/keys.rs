//! A key file.

use crate::file::{FileVersion, KeyId, KeyPrincipal, Sha256};
use crate::kinds::{Flag, Moment, Name};

use super::{Table, list, one, several, table, within};

pub(super) fn file() -> Table {
    table(
        "keys.toml",
        "API keys: ids and hashes, never a secret. `portcullis key create` adds to it.",
        [one("version", FileVersion, "The version of the shape of this file.").required(), several("key", key())],
    )
}

fn key() -> Table {
    table(
        "[[key]]",
        "One API key.",
        [
            one("id", KeyId, "Part of the key's text; unique over all key files.").required(),
            one("sha256", Sha256, "The SHA-256 of the secret in hexadecimal.").required(),
            one("principal", KeyPrincipal, "Whom the key stands for: `user:ID` or `service:ID`.").required(),
            list("groups", Name, "Groups that it carries."),
            list("roles", Name, "Roles that it carries."),
            list("routes", Name, "The routes that it is for; left out: all."),
            list("networks", Name, "The networks of the policy that it may come from; left out: any."),
            one("created", Moment, "When it was made: what is revoked of its principal until then counts no longer."),
            one("expires", Moment, "From when on it is refused; left out: never."),
            within("previous", previous()),
            one("revoked", Flag, "`true`: refused from the next reload on.").default(false),
        ],
    )
}

fn previous() -> Table {
    table(
        "`previous` of [[key]]",
        "The secret of before `portcullis key rotate`, which is good beside the new one for a while.",
        [
            one("sha256", Sha256, "Its SHA-256 in hexadecimal.").required(),
            one("until", Moment, "From when on it is refused.").required(),
        ],
    )
}
