//! The requests that are refused, as data. What malformed heads look like stands in `malformed`.

use std::time::Duration;

use portcullis_testkit::tokens::{Claims, SigningKey, with_flipped_signature, with_other_claims};
use serde_json::{Value, json};

use crate::harness::claims;

/// What a request brings to be let in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Credential {
    /// Nothing.
    Nothing,
    /// A good token of this subject, in these groups.
    Token(&'static str, &'static [&'static str]),
    /// The key of this id.
    Key(&'static str),
    /// The key of this id, and a token.
    KeyAndToken(&'static str),
    /// A header field as it stands here.
    Field(&'static str, &'static str),
    /// Two of them.
    Fields([(&'static str, &'static str); 2]),
}

use Credential::{Field, Fields, Key, KeyAndToken, Nothing, Token};

/// Where it comes from, the host, the method and the path, the credential; and the status and the reason.
pub(super) type Row = (&'static str, &'static str, &'static str, Credential, u16, &'static str);

/// An address of which nothing is known.
const HERE: &str = "127.0.0.1";
/// Where keys are tried, so that nobody else is taken for a sprayer of passwords.
const KEYS: &str = "127.0.0.21";
/// The trusted proxy.
const PROXY: &str = "127.0.0.50";

pub(super) const ROWS: &[Row] = &[
    (HERE, "nowhere.test", "GET /", Nothing, 404, "route.not_found"),
    (HERE, "app.test.nowhere", "GET /", Nothing, 404, "route.not_found"),
    (HERE, "sub.app.test", "POST /", Nothing, 404, "route.not_found"),
    (HERE, "127.0.0.1", "GET /invoices/7", Nothing, 404, "route.not_found"),
    (HERE, "paths.test", "GET /", Nothing, 404, "route.not_found"),
    (HERE, "paths.test", "GET /API/x", Nothing, 404, "route.not_found"),
    (HERE, "paths.test", "DELETE /apis", Token("alice", &[]), 404, "route.not_found"),
    (HERE, "nowhere.test", "GET /", Token("alice", &[]), 404, "route.not_found"),
    // Networks, which are judged before credentials.
    ("127.0.0.8", "inside.test", "GET /", Nothing, 403, "ip.not_allowed"),
    ("127.0.0.8", "inside.test", "POST /x", Nothing, 403, "ip.not_allowed"),
    ("127.0.0.8", "inside.test", "GET /", Token("alice", &[]), 403, "ip.not_allowed"),
    ("127.0.0.8", "inside.test", "GET /", Field("authorization", "Bearer canary-token"), 403, "ip.not_allowed"),
    ("127.0.0.255", "inside.test", "GET /", Nothing, 403, "ip.not_allowed"),
    (PROXY, "inside.test", "GET /", Field("x-forwarded-for", "203.0.113.7"), 403, "ip.not_allowed"),
    (PROXY, "inside.test", "GET /", Field("x-forwarded-for", "2001:db8::7"), 403, "ip.not_allowed"),
    (PROXY, "inside.test", "GET /", Field("x-forwarded-for", "garbage"), 403, "ip.not_allowed"),
    ("127.0.0.66", "inside.test", "GET /", Nothing, 403, "ip.denied"),
    ("127.0.0.66", "inside.test", "PUT /x", Token("root", &[]), 403, "ip.denied"),
    ("127.0.0.66", "guarded.test", "GET /", Nothing, 403, "ip.denied"),
    (PROXY, "guarded.test", "GET /", Field("x-forwarded-for", "127.0.0.66"), 403, "ip.denied"),
    (PROXY, "guarded.test", "GET /", Field("x-forwarded-for", "::ffff:127.0.0.66"), 403, "ip.denied"),
    (HERE, "feed.test", "GET /", Nothing, 503, "dependency.feed_stale"),
    (HERE, "feed.test", "POST /x", Nothing, 503, "dependency.feed_stale"),
    (HERE, "feed.test", "GET /", Token("alice", &[]), 503, "dependency.feed_stale"),
    ("127.0.0.8", "feed.test", "GET /", Nothing, 503, "dependency.feed_stale"),
    (PROXY, "guarded.test", "GET /", Field("x-forwarded-for", ""), 503, "policy.unavailable"),
    (PROXY, "guarded.test", "GET /", Field("x-forwarded-for", "unknown"), 503, "policy.unavailable"),
    (PROXY, "guarded.test", "GET /", Field("x-forwarded-for", "203.0.113"), 503, "policy.unavailable"),
    (PROXY, "guarded.test", "GET /", Field("x-forwarded-for", "0313.0.113.7"), 503, "policy.unavailable"),
    (PROXY, "guarded.test", "GET /", Field("x-forwarded-for", "203.0.113.7, _hidden"), 503, "policy.unavailable"),
    (PROXY, "guarded.test", "GET /", Field("x-forwarded-for", "3405803783"), 503, "policy.unavailable"),
    (PROXY, "guarded.test", "GET /", Field("x-forwarded-for", "203.0.113.256"), 503, "policy.unavailable"),
    (PROXY, "guarded.test", "GET /", Field("x-forwarded-for", "fe80::1%eth0"), 503, "policy.unavailable"),
    // Credentials.
    (HERE, "app.test", "GET /", Nothing, 401, "authn.missing"),
    (HERE, "app.test", "POST /invoices", Nothing, 401, "authn.missing"),
    (HERE, "app.test", "DELETE /invoices/7", Nothing, 401, "authn.missing"),
    (HERE, "app.test", "GET /invoices/7?export=1", Nothing, 401, "authn.missing"),
    (HERE, "app.test", "GET /", Field("x-api-keys", "canary-key"), 401, "authn.missing"),
    (HERE, "paths.test", "GET /api/x", Nothing, 401, "authn.missing"),
    (HERE, "open.test", "PUT /", Nothing, 401, "authn.missing"),
    (HERE, "app.test", "GET /", Field("authorization", "Basic canary-basic"), 401, "authn.invalid"),
    (HERE, "app.test", "GET /", Field("authorization", "canary-basic"), 401, "authn.invalid"),
    (HERE, "app.test", "GET /", Field("authorization", "Bearer"), 401, "authn.invalid"),
    (HERE, "app.test", "GET /", Field("authorization", "Bearer canary-token"), 401, "authn.invalid"),
    (HERE, "app.test", "GET /", Field("authorization", "Bearer canary.token.parts"), 401, "authn.invalid"),
    (HERE, "open.test", "GET /", Field("authorization", "Bearer canary-token"), 401, "authn.invalid"),
    (KEYS, "app.test", "GET /", Field("x-api-key", ""), 401, "authn.invalid"),
    (KEYS, "app.test", "GET /", Field("x-api-key", "canary-key"), 401, "authn.invalid"),
    (KEYS, "app.test", "GET /", Field("x-api-key", "pcl_robot_canary-key"), 401, "authn.invalid"),
    (KEYS, "open.test", "GET /", Field("x-api-key", "pcl_nobody_canary-key"), 401, "authn.invalid"),
    (KEYS, "app.test", "GET /", Key("expired"), 401, "authn.expired"),
    (KEYS, "open.test", "GET /", Key("expired"), 401, "authn.expired"),
    (KEYS, "app.test", "GET /", Key("revoked"), 401, "authn.revoked"),
    (KEYS, "open.test", "GET /", Key("revoked"), 401, "authn.revoked"),
    (KEYS, "app.test", "GET /", KeyAndToken("robot"), 401, "authn.ambiguous"),
    (KEYS, "open.test", "GET /", KeyAndToken("robot"), 401, "authn.ambiguous"),
    (KEYS, "app.test", "GET /", KeyAndToken("revoked"), 401, "authn.ambiguous"),
    (
        KEYS,
        "app.test",
        "GET /",
        Fields([("authorization", "Bearer canary-token"), ("authorization", "Bearer canary-token")]),
        401,
        "authn.ambiguous",
    ),
    (
        KEYS,
        "app.test",
        "GET /",
        Fields([("x-api-key", "canary-key"), ("X-API-Key", "canary-key")]),
        401,
        "authn.ambiguous",
    ),
    (
        KEYS,
        "app.test",
        "GET /",
        Fields([("authorization", "Basic canary-basic"), ("x-api-key", "canary-key")]),
        401,
        "authn.ambiguous",
    ),
    // Grants and denies.
    (HERE, "app.test", "POST /invoices/7", Token("alice", &[]), 403, "rbac.no_matching_grant"),
    (HERE, "app.test", "GET /invoices/7/bank-details", Token("alice", &[]), 403, "rbac.no_matching_grant"),
    (HERE, "app.test", "GET /Invoices/7", Token("alice", &[]), 403, "rbac.no_matching_grant"),
    (HERE, "app.test", "get /invoices/7", Token("alice", &[]), 403, "rbac.no_matching_grant"),
    (HERE, "app.test", "TRACE /invoices/7", Token("alice", &[]), 403, "rbac.no_matching_grant"),
    (HERE, "app.test", "GET /", Token("alice", &[]), 403, "rbac.no_matching_grant"),
    (HERE, "app.test", "GET /invoices/7", Token("Alice", &[]), 403, "rbac.no_matching_grant"),
    (HERE, "app.test", "GET /invoices/7", Token("bob", &[]), 403, "rbac.no_matching_grant"),
    (HERE, "app.test", "GET /invoices/7", Token("bob", &["Finance"]), 403, "rbac.no_matching_grant"),
    (HERE, "app.test", "GET /invoices/7", Token("bob", &["contractors"]), 403, "rbac.no_matching_grant"),
    (HERE, "app.test", "GET /invoices/7", Key("robot"), 403, "rbac.no_matching_grant"),
    (HERE, "app.test", "PROPFIND /x", Key("robot"), 403, "rbac.no_matching_grant"),
    (HERE, "app.test", "GET /invoices/export", Token("alice", &["contractors"]), 403, "rbac.explicit_deny"),
    (HERE, "app.test", "GET /invoices/%65xport", Token("alice", &["contractors"]), 403, "rbac.explicit_deny"),
    (HERE, "app.test", "GET /invoices/export", Token("bob", &["contractors"]), 403, "rbac.explicit_deny"),
    (HERE, "app.test", "GET /invoices/7", Token("former", &[]), 403, "rbac.assignment_expired"),
    (HERE, "app.test", "DELETE /x", Token("former", &[]), 403, "rbac.assignment_expired"),
    (HERE, "app.test", "GET /invoices/7", Token("future", &[]), 403, "rbac.not_yet_active"),
    (HERE, "app.test", "DELETE /x", Token("future", &[]), 403, "rbac.not_yet_active"),
    ("127.0.0.9", "app.test", "GET /invoices/7", Token("inhouse", &[]), 403, "rbac.condition_unmet"),
    ("127.0.0.9", "app.test", "DELETE /x", Token("inhouse", &[]), 403, "rbac.condition_unmet"),
    (HERE, "app.test", "GET /invoices/7", Token("root", &[]), 401, "step_up.required"),
    (HERE, "app.test", "DELETE /invoices/7", Token("root", &[]), 401, "step_up.required"),
    (HERE, "paths.test", "PUT /api/x", Token("root", &[]), 401, "step_up.required"),
    // Upstreams.
    (HERE, "down.test", "GET /", Nothing, 502, "upstream.unreachable"),
    (HERE, "down.test", "POST /x", Nothing, 502, "upstream.unreachable"),
    (HERE, "rude.test", "GET /hang", Nothing, 504, "upstream.timeout"),
    (HERE, "rude.test", "POST /hang", Nothing, 504, "upstream.timeout"),
];

/// Targets of an upstream that answers rudely.
pub(super) const RUDE: &[&str] = &[
    "/garbage",
    "/binary",
    "/nothing",
    "/reset",
    "/half-a-head",
    "/two-lengths",
    "/odd-coding",
    "/bad-field",
    "/http-2",
];

/// A token with something wrong with it.
type Fault = (&'static str, fn(&SigningKey) -> String, &'static str);

/// Tokens of each algorithm that count for nothing, and why.
pub(super) const FAULTS: &[Fault] = &[
    ("expired", |key| key.token(&user().expired(Duration::from_secs(300))), "authn.expired"),
    ("not yet", |key| key.token(&user().not_yet_valid(Duration::from_secs(300))), "authn.not_yet_valid"),
    ("issuer", |key| key.token(&user().set("iss", "https://login.test/")), "authn.wrong_issuer"),
    ("no issuer", |key| key.token(&user().without("iss")), "authn.invalid"),
    ("audience", |key| key.token(&user().set("aud", "App")), "authn.wrong_audience"),
    ("audiences", |key| key.token(&user().set("aud", json!(["a", "b"]))), "authn.wrong_audience"),
    ("no audience", |key| key.token(&user().without("aud")), "authn.invalid"),
    ("no end", |key| key.token(&user().without("exp")), "authn.invalid"),
    ("no subject", |key| key.token(&user().without("sub")), "authn.invalid"),
    ("textual end", |key| key.token(&user().set("exp", "9999999999")), "authn.invalid"),
    ("groups of a wrong type", |key| key.token(&user().set("groups", 7)), "authn.invalid"),
    ("an impostor's", |key| key.impostor().token(&user()), "authn.invalid"),
    ("flipped", |key| with_flipped_signature(&key.token(&user())), "authn.invalid"),
    ("other claims", |key| with_other_claims(&key.token(&user()), &claims("admin")), "authn.invalid"),
    ("confused", |key| key.confused_token(&user()), "authn.invalid"),
    ("cut", |key| key.token(&user()).rsplit_once('.').unwrap().0.to_owned(), "authn.invalid"),
    ("longer", |key| format!("{}.x", key.token(&user())), "authn.invalid"),
    ("padded", |key| format!("{}=", key.token(&user())), "authn.invalid"),
    ("unknown key", |key| with_header(key, "kid", "other".into()), "authn.unknown_key"),
    ("critical extension", |key| with_header(key, "crit", json!(["b64"])), "authn.invalid"),
    ("another algorithm", |key| with_header(key, "alg", "PS256".into()), "authn.invalid"),
];

fn user() -> Claims {
    claims("u")
}

fn with_header(key: &SigningKey, name: &str, value: Value) -> String {
    let mut header = key.header();
    header[name] = value;
    key.token_with(&header, &user())
}

/// The fields of a head, the status and the reason.
type Head = (&'static [(&'static str, &'static str)], u16, &'static str);

/// Heads of HTTP/2 that are answered with a refusal, each without the fields that all have.
pub(super) const HTTP2: &[Head] = &[
    (&[(":authority", "u@app.test"), (":path", "/")], 400, "request.host_invalid"),
    (&[(":authority", "a..test"), (":path", "/")], 400, "request.host_invalid"),
    (&[(":path", "/")], 400, "request.host_invalid"),
    (&[(":authority", "app.test"), (":path", "/"), ("host", "b.test")], 400, "request.host_invalid"),
    (&[(":authority", "app.test"), (":path", "/"), ("host", "app.test:81")], 400, "request.host_invalid"),
    (&[(":authority", "app.test"), (":path", "*")], 400, "request.malformed"),
    (&[(":authority", "app.test"), (":path", "/"), ("x-a", " padded")], 400, "request.malformed"),
    (&[(":authority", "app.test"), (":path", "/"), ("content_length", "5")], 400, "request.malformed"),
    (&[(":authority", "app.test"), (":path", "/"), ("transfer_encoding", "chunked")], 400, "request.malformed"),
    (&[(":authority", "app.test"), (":path", "/"), ("expect", "200-ok")], 417, "request.malformed"),
    (&[(":authority", "app.test"), (":path", "/%2e%2e/admin?canary-query")], 400, "request.path_ambiguous"),
    (&[(":authority", "app.test"), (":path", "/a%2fb")], 400, "request.path_ambiguous"),
    (&[(":authority", "app.test"), (":path", "/a\\b")], 400, "request.path_ambiguous"),
    (&[(":authority", "app.test"), (":path", "/..;/admin")], 400, "request.path_ambiguous"),
    (&[(":authority", "nowhere.test"), (":path", "/")], 404, "route.not_found"),
    (&[(":authority", "feed.test"), (":path", "/")], 503, "dependency.feed_stale"),
    (&[(":authority", "app.test"), (":path", "/invoices?canary-query")], 401, "authn.missing"),
    (&[(":authority", "app.test"), (":path", "/"), ("authorization", "Bearer canary-token")], 401, "authn.invalid"),
    (&[(":authority", "open.test"), (":path", "/"), ("authorization", "Basic canary-basic")], 401, "authn.invalid"),
    (&[(":authority", "down.test"), (":path", "/")], 502, "upstream.unreachable"),
    (&[(":authority", "rude.test"), (":path", "/garbage")], 502, "upstream.protocol"),
];

/// The codes that nothing in this version gives to a request of a test's, and why.
pub(super) const OUT_OF_REACH: &[(&str, &str)] = &[
    ("dependency.keys_unavailable", "it takes a provider that is gone: tests/provider_keys.rs brings it about"),
    ("dependency.directory_unavailable", "it takes a directory that is gone: tests/directory.rs brings it about"),
    ("dependency.store_unavailable", "it takes more proofs than are remembered: tests/bound_tokens.rs brings it about"),
    ("internal.error", "a defect or an exhausted resource: a request that could cause it would be a defect"),
];
