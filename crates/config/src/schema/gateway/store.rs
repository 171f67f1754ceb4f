//! What is kept over a restart: `[store]`, its copies (`[backup]`), and second factors (`[mfa]`), which are kept in it.

use crate::file::{FIRST_FACTOR, MFA_ISSUER};
use crate::kinds::{FilePath, Flag, Integer, Text, Time};
use crate::schema::{Table, choice, list, one, receiver, table, within};

use super::words;

pub(super) fn store() -> Table {
    table(
        "[store]",
        "The SQLite file of what survives a restart: bans, past offences, risk profiles, what alerts demand. Without this table all of it is in memory; changing it needs a restart.",
        [
            one("enabled", Flag, "`false`: in memory, as without this table.").default(true),
            one(
                "path",
                FilePath,
                "The file, mode 0600. Left out: /var/lib/portcullis/portcullis.db for a configuration below /etc, else portcullis.db beside it.",
            ),
        ],
    )
}

pub(super) fn backup() -> Table {
    table(
        "[backup]",
        "Copies of the store, made by the gateway. Needs [store]; changing it needs a restart.",
        [
            one("enabled", Flag, "`false`: none, as without this table.").default(true),
            one("path", FilePath, "The folder; it is made. Left out: `backups` beside the store."),
            one("every", Time::within("1m", "30d"), "How often.").default("6h"),
            one("keep", Integer(1..=10_000), "How many are kept; the oldest goes.").default(28),
            one(
                "key",
                FilePath,
                "Encrypts them: a file of `portcullis backup keygen`. Left out: they are not encrypted.",
            ),
        ],
    )
}

pub(super) fn mfa() -> Table {
    table(
        "[mfa]",
        "Second factors that the gateway keeps in the store, for sessions of browsers. Turning it on or off needs a restart.",
        [
            one("enabled", Flag, "`false`: as without this table.").default(true),
            within("key", receiver::secret("[mfa.key]")).required(),
            within("other_key", receiver::secret("[mfa.other_key]")),
            one("issuer", Text, "What authenticator apps show.").default(MFA_ISSUER),
            one("totp", Flag, "`false`: no codes of apps.").default(true),
            choice(
                "first_factor",
                &words(FIRST_FACTOR),
                "Who gives somebody their first factor: they add it after a login for just that, or an operator does.",
            )
            .default("login"),
            within("passkeys", passkeys()),
        ],
    )
}

fn passkeys() -> Table {
    table(
        "[mfa.passkeys]",
        "Passkeys (WebAuthn); left out: none.",
        [
            one("rp_id", Text, "The domain that passkeys are bound to: the host of each origin, or one above it.")
                .required(),
            list("origins", Text, "Where passkeys are shown, such as `https://app.example.com`.")
                .required()
                .not_empty(),
        ],
    )
}
