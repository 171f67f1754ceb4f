//! A file of users with passwords.

use crate::file::{FileVersion, HashText, UserName};
use crate::kinds::{Flag, Moment, Name};

use super::{Table, list, one, several, table};

pub(super) fn file() -> Table {
    table(
        "users.toml",
        "Users with passwords: names, hashes and groups, never a password. `portcullis user` edits it.",
        [one("version", FileVersion, "The version of the shape of this file.").required(), several("user", user())],
    )
}

fn user() -> Table {
    table(
        "[[user]]",
        "One user.",
        [
            one("name", UserName, "What is typed; unique over all files of users.").required(),
            one("hash", HashText, "The Argon2id hash of the password; `portcullis hash-password` makes one.")
                .required(),
            list("groups", Name, "Local groups of the policy that the user is in."),
            one("disabled", Flag, "`true`: refused from the next reload on.").default(false),
            one("created", Moment, "When the user was added; for people."),
            one("expires", Moment, "From when on the user is refused; left out: never."),
        ],
    )
}
