//! `[identity]` of `portcullis.toml`.

use serde_json::json;

use crate::file::receiver::Link;
use crate::file::{
    ASSERTION_SIZES, AT_INTROSPECTION, AT_LOGIN, Attribute, BESIDE_CREDENTIAL, FilterText, GROUP_FILTER, HEADER_SIZES,
    ID_CASE, NESTED, PROOF_ALGORITHMS, PagePath, REMEMBERED, REQUIRE, RESPONSE_MODES, SAN, SCOPES, ServerUrl,
    TOKEN_TYPES,
};
use crate::kinds::{AnyText, Choice, FilePath, Flag, Header, Integer, Name, Size, Text, Time};

use super::client::{client, is_proven};
use super::gateway::words;
use super::{Table, choice, list, one, one_or_list, receiver, several, table, within};

pub(super) fn identity() -> Table {
    table(
        "[identity]",
        "Who is calling.",
        [
            several("jwt", jwt()),
            several("introspection", introspection()),
            several("api_key", api_key()),
            several("certificate", certificate()),
            several("password", password()),
            several("ldap", directory()),
            several("oidc", oidc()),
            within("login", login()),
            one("token_cache", Integer(1..=10_000_000), "Verified tokens that are remembered until they expire.")
                .default(65_536),
            one(
                "password_threads",
                Integer(1..=64),
                "Passwords that are checked at once, each on a thread of its own.",
            )
            .default(1),
            one("password_waiting", Integer(1..=10_000), "Checks of passwords that may wait; who comes then gets 503.")
                .default(64),
            within("headers", headers()),
            within("assertion", assertion()),
            within("dpop", dpop()),
        ],
    )
}

fn jwt() -> Table {
    let require: Vec<&str> = REQUIRE.iter().map(|(word, _)| *word).collect();
    table(
        "[[identity.jwt]]",
        "Tokens in `Authorization: Bearer`, signed with RS256, ES256 or EdDSA.",
        [
            one("name", Name, "Unique; shown in events.").required(),
            one("issuer", Text, "The exact `iss`.").required(),
            list("audiences", Text, "A token must be meant for one of these (`aud`).").required().not_empty(),
            within("jwks", jwks()).required(),
            within("claims", claims("`claims` of [[identity.jwt]]")),
            choice("principal", &["user", "service"], "What its subjects are.").default("user"),
            one("prefix", AnyText, "Put before ids and groups, such as `partner:`; one provider may leave it empty.")
                .default(""),
            list("trust_groups", Text, "Local groups of the policy that its tokens may put callers into."),
            one("leeway", Time::within("0s", "60s"), "How far clocks may differ.").default("30s"),
            choice(
                "require",
                &require,
                "What its tokens must be bound to: nothing, a client certificate, a key, or either.",
            )
            .default("none"),
            choice(
                "typ",
                &words(TOKEN_TYPES),
                "Which of its tokens count, by the `typ` of their header: `jwt`: access tokens, and those that do not say what they are; `at+jwt`: those that say that they are access tokens (RFC 9068).",
            )
            .default("jwt"),
        ],
    )
}

fn dpop() -> Table {
    let algorithms: Vec<&str> = PROOF_ALGORITHMS.iter().map(|(word, _)| *word).collect();
    table(
        "[identity.dpop]",
        "How proofs of tokens that are bound to a key are verified (DPoP, RFC 9449).",
        [
            one_or_list("algorithms", Choice(PROOF_ALGORITHMS), "What may sign them.").not_empty().default(algorithms),
            one("max_age", Time::within("1s", "10m"), "How long ago one may have been made.").default("60s"),
            one("leeway", Time::within("0s", "60s"), "How far a caller's clock may be ahead.").default("30s"),
            one("nonce", Flag, "`true`: each must have a nonce that the gateway gave.").default(false),
            one("nonce_lifetime", Time::within("1s", "1h"), "How long a nonce is good.").default("5m"),
            one("remembered", Integer(REMEMBERED), "Used ones that are remembered until they are too old; then 503.")
                .default(500_000),
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

fn claims(title: &'static str) -> Table {
    table(
        title,
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

fn introspection() -> Table {
    let require: Vec<&str> = REQUIRE.iter().map(|(word, _)| *word).collect();
    table(
        "[[identity.introspection]]",
        "Who is asked about tokens that are no signed ones of a known issuer (RFC 7662).",
        [
            one("name", Name, "Unique; shown in events.").required(),
            one("url", Link { path: true }, "Where it is asked.").required(),
            one("allow_http", Flag, "`true`: in plain text, too.").default(false),
            one(
                "ca",
                FilePath,
                "The authorities that may have signed the server's certificate (PEM); left out: the system's.",
            ),
            one("client_id", Text, "As whom it is asked.").required(),
        ]
        .into_iter()
        .chain(client(
            ("`client_secret` of [[identity.introspection]]", "`client_key` of [[identity.introspection]]"),
            AT_INTROSPECTION,
            "Whom what it signs is for: the provider's `issuer`, which has to be written then, or the address `url`. Default, where there is a key, `issuer`.",
        ))
        .chain([
            one("issuer", Text, "The exact `iss`, where an answer has one."),
            list("audiences", Text, "A token must be meant for one of these (`aud`)."),
            list("clients", Text, "A token must have been given to one of these (`client_id`)."),
            within("claims", claims("`claims` of [[identity.introspection]]")),
            choice("principal", &["user", "service"], "What its subjects are.").default("user"),
            one("prefix", AnyText, "Put before ids and groups, such as `partner:`.").default(""),
            list("trust_groups", Text, "Local groups of the policy that it may put callers into."),
            one("leeway", Time::within("0s", "60s"), "How far clocks may differ.").default("30s"),
            choice("require", &require, "What its tokens must be bound to.").default("none"),
            one("timeout", Time::within("100ms", "30s"), "How long one question may take.").default("5s"),
            one("max_cache", Time::within("1s", "1h"), "How long it counts that a token is good.").default("60s"),
            one("negative", Time::within("1s", "1h"), "How long it counts that one is not.").default("10s"),
            one("entries", Integer(1..=1_000_000), "Tokens that are remembered.").default(10_000),
            one("connections", Integer(1..=64), "Questions at once.").default(8),
            one("max_waiting", Integer(1..=10_000), "How many may wait for that; who comes then gets 503.")
                .default(256),
        ]),
    )
    .rule(is_proven())
    .rule(json!({ "anyOf": [{ "required": ["audiences"] }, { "required": ["clients"] }] }))
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

fn password() -> Table {
    table(
        "[[identity.password]]",
        "Users with passwords (HTTP Basic), for small installations and the first operator.",
        [
            one("name", Name, "Unique; shown in events.").required(),
            one("file", FilePath, "The users: names, hashes, groups; `portcullis user` edits it.").required(),
            one(
                "prefix",
                AnyText,
                "Put before the users' names, such as `local:`; no provider of tokens may share it.",
            )
            .default(""),
            one("remember", Time::within("0s", "15m"), "How long a verified password is not checked again.")
                .default("1m"),
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
            one(
                "max_size",
                Size(ASSERTION_SIZES),
                "How long it may be: beyond, `groups_overage` says how many groups it does not name.",
            )
            .default("4KiB"),
        ],
    )
}

fn directory() -> Table {
    let nested: Vec<&str> = NESTED.iter().map(|(word, _)| *word).collect();
    let id_case: Vec<&str> = ID_CASE.iter().map(|(word, _)| *word).collect();
    table(
        "[[identity.ldap]]",
        "A directory that knows the groups of principals: Active Directory, or another server of LDAP.",
        [
            one("name", Name, "Unique; shown in events.").required(),
            one_or_list("for", Name, "The providers whose principals are looked up in it.").required().not_empty(),
            one_or_list("url", ServerUrl, "The servers; the next one is asked when one does not answer.")
                .required()
                .not_empty(),
            one("starttls", Flag, "`true`: `ldap://` goes over to TLS before anything is said.").default(false),
            one("allow_plain", Flag, "`true`: in plain text, too.").default(false),
            one(
                "ca",
                FilePath,
                "The authorities that may have signed the servers' certificates (PEM); left out: the system's.",
            ),
            one("bind_dn", Text, "As whom it is asked; left out: as nobody."),
            within("bind_password", receiver::secret("`bind_password` of [[identity.ldap]]")),
            one("base", Text, "The entry below which principals are.").required(),
            one("user_filter", FilterText, "Finds the one entry of a principal, by `{id}` or `{email}`.").required(),
            one(
                "id_attribute",
                Attribute,
                "What a principal's id is: an attribute of the entry with one value, or `dn`; left out: the one that `user_filter` compares with `{id}`.",
            ),
            choice("id_case", &id_case, "`ignore`: ids that differ in case alone are one, in small letters.")
                .default("ignore"),
            one("account_filter", FilterText, "Who is found and does not match this is refused as revoked."),
            one("group_filter", FilterText, "Finds the groups that an entry, `{dn}`, is in.").default(GROUP_FILTER),
            one(
                "group_attribute",
                Attribute,
                "Instead: the attribute with the names of the groups, such as `memberOf`.",
            ),
            one("group_base", Text, "The entry below which groups are; left out: `base`."),
            choice("nested", &nested, "How groups of groups are found.").default("auto"),
            one("group_name", Attribute, "What a group is called by: an attribute, or `dn`.").default("cn"),
            one("prefix", AnyText, "Put before the names of groups, such as `ad:`.").default(""),
            list("trust_groups", Text, "Local groups of the policy that it may put callers into."),
            one("max_groups", Integer(1..=10_000), "Who is in more groups gets 503: none is left out.").default(1_000),
            one("timeout", Time::within("100ms", "30s"), "How long one look-up may take, and connecting.")
                .default("5s"),
            one("connections", Integer(1..=32), "On how many connections it is asked.").default(2),
            one("refresh", Time::within("1s", "1d"), "How long what was found is used.").default("5m"),
            one(
                "max_stale",
                Time::within("1s", "30d"),
                "How long it is used while the directory does not answer; then callers get 503.",
            )
            .default("1h"),
            one("negative", Time::within("1s", "1d"), "How long it counts that somebody was not found.").default("1m"),
            one("entries", Integer(1..=1_000_000), "Principals that are remembered.").default(10_000),
            one("max_waiting", Integer(1..=10_000), "Look-ups that may wait; who comes then gets 503.").default(256),
        ],
    )
}

fn login() -> Table {
    table(
        "[identity.login]",
        "How browsers log in, and how long they stay so. Left out: they cannot.",
        [
            one("path", PagePath, "What the paths of the gateway's own pages begin with; no route gets them.")
                .default("/.portcullis"),
            one("idle", Time::within("1s", "30d"), "How long a session holds without a request.").default("30m"),
            one("absolute", Time::within("1s", "90d"), "How long it holds at all.").default("12h"),
            one("max_sessions", Integer(1..=10_000_000), "Sessions at once; a further login gets 503.")
                .default(100_000),
            one("whoami", Flag, "`true`: `/.portcullis/whoami` tells a caller what is known of it.").default(false),
            one("allow_http", Flag, "`true`: in plain text, too, for tests on one machine.").default(false),
            within("key", receiver::secret("[identity.login.key]")),
        ],
    )
}

fn oidc() -> Table {
    table(
        "[[identity.oidc]]",
        "A provider of OpenID Connect at which browsers log in.",
        [
            one("name", Name, "Unique; shown in events.").required(),
            one("label", Text, "What the page on which a login is chosen calls it; left out: its name."),
            one("issuer", Text, "The exact `iss`; its discovery document is below it.").required(),
            one("client_id", Text, "As whom the gateway is known there.").required(),
        ]
        .into_iter()
        .chain(client(
            ("`client_secret` of [[identity.oidc]]", "`client_key` of [[identity.oidc]]"),
            AT_LOGIN,
            "Whom what it signs is for: the provider's `issuer`, or the address of its token endpoint. Default, where there is a key, `issuer`.",
        ))
        .chain([
            list("scopes", Text, "What is asked for; `openid` always is.").default(SCOPES.to_vec()),
            list("acr_values", Text, "Which ways to authenticate are asked for, the preferred one first."),
            within("claims", claims("`claims` of [[identity.oidc]]")),
            one("prefix", AnyText, "Put before ids and groups, such as `partner:`; one provider may leave it empty.")
                .default(""),
            list("trust_groups", Text, "Local groups of the policy that its claims may put callers into."),
            one("leeway", Time::within("0s", "60s"), "How far clocks may differ.").default("30s"),
            one(
                "refresh",
                Time::within("1s", "1d"),
                "How often it is asked again whether a session still holds; left out: never.",
            ),
            one("logout", Flag, "`true`: whoever logs out here logs out there, too.").default(true),
            choice(
                "response_mode",
                &words(RESPONSE_MODES),
                "How its answer to a login comes back: in an address, or in a form that the browser sends.",
            )
            .default("query"),
            one(
                "frontchannel_logout",
                Flag,
                "`true`: it may say in a frame of a browser that a session is over, where it names that by `sid`.",
            )
            .default(false),
            one("allow_http", Flag, "`true`: it is spoken to in plain text, too.").default(false),
            one("timeout", Time::within("100ms", "30s"), "How long one exchange with it may take.").default("5s"),
            one(
                "ca",
                FilePath,
                "The authorities that may have signed its servers' certificates (PEM); left out: the system's.",
            ),
        ]),
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
            one("overage", Header, "Which of the lists are left out for their length, and how many entries each has."),
            one("max_size", Size(HEADER_SIZES), "How long a list may be; a longer one is left out as a whole.")
                .default("4KiB"),
        ],
    )
}
