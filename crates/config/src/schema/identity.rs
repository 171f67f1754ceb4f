//! `[identity]` of `portcullis.toml`.

use serde_json::json;

use crate::file::receiver::Link;
use crate::file::{BESIDE_CREDENTIAL, SAN};
use crate::kinds::{AnyText, Choice, FilePath, Flag, Header, Integer, Name, Text, Time};

use super::{Table, choice, list, one, one_or_list, receiver, several, table, within};

pub(super) fn identity() -> Table {
    table(
        "[identity]",
        "Who is calling.",
        [
            several("jwt", jwt()),
            several("api_key", api_key()),
            several("certificate", certificate()),
            one("token_cache", Integer(1..=10_000_000), "Verified tokens that are remembered until they expire.")
                .default(65_536),
            within("headers", headers()),
            within("assertion", assertion()),
        ],
    )
}

fn jwt() -> Table {
    table(
        "[[identity.jwt]]",
        "Tokens in `Authorization: Bearer`, signed with RS256, ES256 or EdDSA.",
        [
            one("name", Name, "Unique; shown in events.").required(),
            one("issuer", Text, "The exact `iss`.").required(),
            list("audiences", Text, "A token must be meant for one of these (`aud`).").required().not_empty(),
            within("jwks", jwks()).required(),
            within("claims", claims()),
            choice("principal", &["user", "service"], "What its subjects are.").default("user"),
            one("prefix", AnyText, "Put before ids and groups, such as `partner:`; one provider may leave it empty.")
                .default(""),
            list("trust_groups", Text, "Local groups of the policy that its tokens may put callers into."),
            one("leeway", Time::within("0s", "60s"), "How far clocks may differ.").default("30s"),
        ],
    )
}

fn jwks() -> Table {
    table(
        "`jwks` of [[identity.jwt]]",
        "The issuer's public keys.",
        [
            one("file", FilePath, "A key set (RFC 7517), read at each reload. Or `url`, or `discover`."),
            one("url", Link { path: true }, "Where the key set is fetched from."),
            one("discover", Flag, "`true`: where the issuer's OpenID Connect discovery document says.").default(false),
            one("allow_http", Flag, "`true`: in plain text, too.").default(false),
            one(
                "ca",
                FilePath,
                "The authorities that may have signed the server's certificate (PEM); left out: the system's.",
            ),
            one("refresh", Time::within("1s", "7d"), "How often it is fetched, give or take a tenth. Default 10m."),
            one(
                "max_stale",
                Time::within("1s", "90d"),
                "How long the last good set is used; then tokens get 503. Default 24h.",
            ),
            one(
                "cooldown",
                Time::within("100ms", "1h"),
                "Between two fetches for keys that nobody knows, and after one that failed. Default 5s.",
            ),
            one("timeout", Time::within("100ms", "30s"), "How long fetching one document may take. Default 5s."),
        ],
    )
    .rule(json!({ "anyOf": [
        { "required": ["file"] },
        { "required": ["url"] },
        { "required": ["discover"], "properties": { "discover": { "not": { "enum": [false] } } } },
    ] }))
}

fn claims() -> Table {
    table(
        "`claims` of [[identity.jwt]]",
        "Which claim carries what.",
        [
            one("id", Text, "The caller's id.").default("sub"),
            one("groups", Text, "The groups.").default("groups"),
            one("email", Text, "The address of the caller's mail.").default("email"),
            one("name", Text, "The caller's name, for people.").default("name"),
            one("device", Text, "The device's id.").default("device_id"),
            one("device_compliant", Text, "Whether the device meets the rules: true or false.")
                .default("device_compliant"),
            one("acr", Text, "How strongly the caller authenticated (OpenID Connect).").default("acr"),
            one("amr", Text, "By which means (RFC 8176).").default("amr"),
            one("auth_time", Text, "When; without it no authentication counts as fresh.").default("auth_time"),
        ],
    )
}

fn api_key() -> Table {
    table(
        "[[identity.api_key]]",
        "API keys in a header.",
        [
            one("name", Name, "Unique; shown in events.").required(),
            one("header", Header, "The header that carries the key.").required(),
            one("file", FilePath, "Ids and hashes; `portcullis key create` adds to it.").required(),
        ],
    )
}

fn certificate() -> Table {
    let san: Vec<&str> = SAN.iter().map(|(word, _)| *word).collect();
    let beside: Vec<&str> = BESIDE_CREDENTIAL.iter().map(|(word, _)| *word).collect();
    table(
        "[[identity.certificate]]",
        "Client certificates as principals `certificate:NAME`, by a subject alternative name.",
        [
            one("name", Name, "Unique; shown in events.").required(),
            one_or_list("listeners", Name, "On which listeners they count; left out: on all with `client_auth`.")
                .not_empty(),
            one_or_list("san", Choice(SAN), "The kinds of name that count, the preferred one first.")
                .not_empty()
                .default(san),
            one("prefix", AnyText, "Put before the names, such as `partner:`; one provider may leave it empty.")
                .default(""),
            choice(
                "beside_credential",
                &beside,
                "Who calls where a token or key comes, too: nobody, the certificate's holder, or whom the token or key names.",
            )
            .default("refuse"),
        ],
    )
}

fn assertion() -> Table {
    table(
        "[identity.assertion]",
        "A short-lived token (JWT) that tells upstreams who calls; its public keys are under /.well-known/portcullis/jwks.json.",
        [
            one("issuer", Text, "Its `iss`.").required(),
            within("key", receiver::secret("[identity.assertion.key]")).required(),
            within("other_key", receiver::secret("[identity.assertion.other_key]")),
            one("lifetime", Time::within("10s", "1h"), "How long it holds; it is sent again for half of that.")
                .default("60s"),
        ],
    )
}

fn headers() -> Table {
    table(
        "[identity.headers]",
        "What the upstream is told about the caller; each is sent only if named here. The same header from a client is removed first.",
        [
            one("user", Header, "The caller's id."),
            one("groups", Header, "The groups."),
            one("roles", Header, "The roles."),
            one("email", Header, "The address of the caller's mail."),
            one("assertion", Header, "All of it, signed: see [identity.assertion]."),
        ],
    )
}
