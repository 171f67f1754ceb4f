//! Credentials on live requests: each kind good and bad in its own way, and the three demands that a route can make.

use std::time::Duration;

use portcullis_testkit::tokens::{SigningKey, jwks, unsigned, with_flipped_signature, with_other_claims};
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wire::Answer;
use serde_json::json;

use crate::harness::{AUTHENTICATED, Gateway, ISSUER, NO_BANS, OPEN, Site, bearer, claims};

fn check(gateway: &Gateway, what: &str, answer: &Answer, expected: Result<(), &str>) {
    match expected {
        Ok(()) => assert_eq!(answer.status(), 200, "{what}: {}", String::from_utf8_lossy(&answer.body)),
        Err(reason) => {
            let event = gateway.check_refused(what, answer, 401, reason);
            assert_eq!(event["decision"], "challenge", "{what}");
            assert_eq!(event["identity"]["id"], json!(null), "{what}: an unverified claim is nobody's identity");
            let challenge = answer.header("www-authenticate").unwrap();
            assert!(challenge.starts_with("Bearer realm=\"portcullis\""), "{what}: {challenge}");
            assert_eq!(challenge.contains("error=\"invalid_token\""), reason != "authn.missing", "{what}: {challenge}");
        }
    }
}

#[test]
fn tokens_of_every_algorithm_good_and_bad() {
    const MINUTES: Duration = Duration::from_secs(300);
    let upstream = Upstream::start();
    let signers = [SigningKey::rs256("rs"), SigningKey::es256("es"), SigningKey::ed25519("ed")];
    let mut site = Site::new(&upstream.url());
    site.accept_tokens(&[&signers[0], &signers[1], &signers[2]], "");
    site.tell_identity();
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let gateway = site.start();
    let token = |what: &str, token: &str, expected: Result<(), &str>| {
        check(&gateway, what, &gateway.get("/", &[("Authorization", &format!("Bearer {token}"))]), expected);
    };
    for signer in &signers {
        let named = |what: &str| format!("{} {what}", signer.algorithm());
        let good = signer.token(&claims("u-17"));
        token(&named("good"), &good, Ok(()));
        assert_eq!(upstream.requests().pop().unwrap().header("x-auth-user"), Some("u-17"));
        token(&named("good once more, from the cache"), &good, Ok(()));
        token(&named("audiences"), &signer.token(&claims("u").set("aud", json!(["other", "app"]))), Ok(()));
        token(&named("just expired"), &signer.token(&claims("u").seconds_from_now("exp", -5)), Ok(()));
        token(&named("expired"), &signer.token(&claims("u").expired(MINUTES)), Err("authn.expired"));
        token(&named("not yet"), &signer.token(&claims("u").not_yet_valid(MINUTES)), Err("authn.not_yet_valid"));
        token(
            &named("issuer"),
            &signer.token(&claims("u").set("iss", "https://login.test/")),
            Err("authn.wrong_issuer"),
        );
        token(&named("no issuer"), &signer.token(&claims("u").without("iss")), Err("authn.invalid"));
        token(&named("audience"), &signer.token(&claims("u").set("aud", "App")), Err("authn.wrong_audience"));
        token(&named("no audience"), &signer.token(&claims("u").without("aud")), Err("authn.invalid"));
        token(&named("no end"), &signer.token(&claims("u").without("exp")), Err("authn.invalid"));
        token(&named("no subject"), &signer.token(&claims("u").without("sub")), Err("authn.invalid"));
        token(&named("textual end"), &signer.token(&claims("u").set("exp", "9999999999")), Err("authn.invalid"));
        token(&named("groups of a wrong type"), &signer.token(&claims("u").set("groups", 7)), Err("authn.invalid"));
        token(&named("an impostor's"), &signer.impostor().token(&claims("u")), Err("authn.invalid"));
        token(&named("flipped"), &with_flipped_signature(&good), Err("authn.invalid"));
        token(&named("other claims"), &with_other_claims(&good, &claims("admin")), Err("authn.invalid"));
        token(&named("confused"), &signer.confused_token(&claims("u")), Err("authn.invalid"));
        token(&named("cut"), good.rsplit_once('.').unwrap().0, Err("authn.invalid"));
        token(&named("longer"), &format!("{good}.x"), Err("authn.invalid"));
        token(&named("padded"), &format!("{good}="), Err("authn.invalid"));
        let header = |name: &str, value: serde_json::Value| {
            let mut header = signer.header();
            header[name] = value;
            signer.token_with(&header, &claims("u"))
        };
        token(&named("unknown key"), &header("kid", "other".into()), Err("authn.unknown_key"));
        // What the same provider signs for another purpose and for the same audience is no credential (RFC 8725 section 3.11).
        for other in ["logout+jwt", "dpop+jwt", "secevent+jwt", "application/logout+JWT", "posture+jwt", "", "at+jwt "]
        {
            token(&named(&format!("of the type `{other}`")), &header("typ", other.into()), Err("authn.invalid"));
        }
        for own in ["at+jwt", "application/at+jwt", "AT+JWT", "jwt", "application/jwt"] {
            token(&named(&format!("of the type `{own}`")), &header("typ", own.into()), Ok(()));
        }
        let logout = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
        token(&named("of a logout"), &signer.token(&claims("u").set("events", logout)), Err("authn.invalid"));
        token(&named("with events"), &signer.token(&claims("u").set("events", json!({ "login": {} }))), Ok(()));
        token(&named("critical extension"), &header("crit", json!(["b64"])), Err("authn.invalid"));
        token(&named("another algorithm"), &header("alg", "PS256".into()), Err("authn.invalid"));
        let own = signer.impostor();
        let mut embedded = own.header();
        embedded["jwk"] = own.jwk();
        token(&named("its own key"), &own.token_with(&embedded, &claims("u")), Err("authn.invalid"));
    }
    token("unsigned", &unsigned(&claims("u")), Err("authn.invalid"));
    token("no token", "x", Err("authn.invalid"));
    token("nothing", "", Err("authn.invalid"));
    token("too long", &"a".repeat(16_000), Err("authn.invalid"));
}

#[test]
fn a_request_has_at_most_one_credential() {
    let upstream = Upstream::start();
    let signer = SigningKey::ed25519("k");
    let mut site = Site::new(&upstream.url());
    site.accept_tokens(&[&signer], "");
    let key = site.key("robot", "service:robot", "");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let gateway = site.start();
    let token = bearer(&signer, &claims("u"));
    let send =
        |what: &str, headers: &[(&str, &str)], expected| check(&gateway, what, &gateway.get("/", headers), expected);
    send("none", &[], Err("authn.missing"));
    send("a cookie", &[("Cookie", "session=1")], Err("authn.missing"));
    send("an unknown header", &[("X-Api-Keys", &key)], Err("authn.missing"));
    send("a token", &[("Authorization", &token)], Ok(()));
    send("a key", &[("X-Api-Key", &key)], Ok(()));
    send("two tokens", &[("Authorization", &token), ("Authorization", &token)], Err("authn.ambiguous"));
    send("two keys", &[("X-Api-Key", &key), ("x-api-key", &key)], Err("authn.ambiguous"));
    send("a token and a key", &[("Authorization", &token), ("X-Api-Key", &key)], Err("authn.ambiguous"));
    send("a bad token and a good key", &[("Authorization", "Bearer x"), ("X-Api-Key", &key)], Err("authn.ambiguous"));
    send("another scheme", &[("Authorization", "Basic dTpw")], Err("authn.invalid"));
    send("another scheme and a key", &[("Authorization", "Basic dTpw"), ("X-Api-Key", &key)], Err("authn.ambiguous"));
    send("not text", &[("Authorization", "Bearer \u{fc}")], Err("authn.invalid"));
}

#[test]
fn api_keys_good_and_bad() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    let good = site.key("good", "service:reporting", "groups = [\"jobs\"]");
    let until = site.key("until", "user:alice", "expires = 2099-01-01T00:00:00Z");
    let expired = site.key("expired", "user:bob", "expires = 2020-01-01T00:00:00Z");
    let revoked = site.key("revoked", "user:carol", "revoked = true");
    site.accept_tokens(&[&SigningKey::ed25519("k")], "");
    site.tell_identity();
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let gateway = site.start();
    let send =
        |what: &str, key: &str, expected| check(&gateway, what, &gateway.get("/", &[("X-Api-Key", key)]), expected);
    send("good", &good, Ok(()));
    assert_eq!(upstream.requests().pop().unwrap().header("x-auth-user"), Some("reporting"));
    send("with an end", &until, Ok(()));
    send("expired", &expired, Err("authn.expired"));
    send("revoked", &revoked, Err("authn.revoked"));
    send("empty", "", Err("authn.invalid"));
    send("no key", "secret", Err("authn.invalid"));
    send("in capitals", &good.to_uppercase(), Err("authn.invalid"));
    send("cut", &good[..good.len() - 1], Err("authn.invalid"));
    send("another one's id", &good.replace("_good_", "_until_"), Err("authn.invalid"));
    let forged = portcullis_identity::api_key::mint("good").unwrap();
    send("the wrong secret under a sound checksum", forged.text.expose(), Err("authn.invalid"));
    let unknown = portcullis_identity::api_key::mint("nobody").unwrap();
    send("unknown", unknown.text.expose(), Err("authn.invalid"));
    let denied = gateway.get("/", &[("X-Api-Key", &revoked)]);
    assert_eq!(gateway.events.wait_for_request(denied.header("x-request-id").unwrap())["identity"]["id"], json!(null));
}

#[test]
fn a_route_demands_allows_or_ignores_credentials() {
    let upstream = Upstream::start();
    let signer = SigningKey::ed25519("k");
    let mut site = Site::without_route(&upstream.url());
    for name in ["required", "optional", "none", "closed"] {
        site.add(&format!("[[route]]\nname = \"{name}\"\nhosts = [\"{name}.test\"]\nupstream = \"app\"\n"));
    }
    site.accept_tokens(&[&signer], "");
    site.tell_identity();
    let resources: String = ["required", "optional", "none"]
        .map(|name| format!("[[resource]]\nroute = \"{name}\"\nauthentication = \"{name}\"\n"))
        .concat();
    site.policy(
        &[
            &resources,
            "[[resource]]\nroute = \"closed\"\nauthentication = \"none\"\n",
            AUTHENTICATED,
            r#"
[[role]]
name = "reader"
permissions = [{ actions = ["GET /public"] }]
[[assignment]]
name = "the-public"
role = "reader"
principals = ["anyone"]
scope = ["required", "optional", "none"]
"#,
            NO_BANS,
        ]
        .concat(),
    );
    let gateway = site.start();
    let (good, bad) = (bearer(&signer, &claims("u")), bearer(&signer.impostor(), &claims("u")));
    /// What is answered without a credential, to a bad one, and to a good one.
    type Answers = [(u16, &'static str); 3];
    let table: [(&str, &str, Answers); 7] = [
        ("required", "/public", [(401, "authn.missing"), (401, "authn.invalid"), (200, "")]),
        ("required", "/private", [(401, "authn.missing"), (401, "authn.invalid"), (200, "")]),
        ("optional", "/public", [(200, ""), (401, "authn.invalid"), (200, "")]),
        ("optional", "/private", [(401, "authn.missing"), (401, "authn.invalid"), (200, "")]),
        ("none", "/public", [(200, ""), (200, ""), (200, "")]),
        (
            "none",
            "/private",
            [(403, "rbac.no_matching_grant"), (403, "rbac.no_matching_grant"), (403, "rbac.no_matching_grant")],
        ),
        (
            "closed",
            "/public",
            [(403, "rbac.no_matching_grant"), (403, "rbac.no_matching_grant"), (403, "rbac.no_matching_grant")],
        ),
    ];
    for (route, target, expected) in table {
        for (credential, (status, reason)) in [None, Some(&bad), Some(&good)].into_iter().zip(expected) {
            let host = format!("{route}.test");
            let mut headers = vec![("host", host.as_str())];
            headers.extend(credential.map(|value| ("authorization", value.as_str())));
            let answer = gateway.get(target, &headers);
            let what = format!("{route} {target} {credential:?}");
            if status == 200 {
                assert_eq!(answer.status(), 200, "{what}");
                let seen = upstream.requests().pop().unwrap();
                let known = route != "none" && credential.is_some();
                assert_eq!(seen.header("x-auth-user"), known.then_some("u"), "{what}");
            } else {
                gateway.check_refused(&what, &answer, status, reason);
            }
        }
    }
}

#[test]
fn rotated_keys_count_from_the_reload_on() {
    let upstream = Upstream::start();
    let (old, new) = (SigningKey::ed25519("old"), SigningKey::ed25519("new"));
    let mut site = Site::new(&upstream.url());
    site.accept_tokens(&[&old], "");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let mut gateway = site.start();
    let check = |gateway: &Gateway, key: &SigningKey, expected| {
        let answer = gateway.get("/", &[("Authorization", &bearer(key, &claims("u").set("jti", "fixed")))]);
        check(gateway, key.kid(), &answer, expected);
    };
    check(&gateway, &old, Ok(()));
    check(&gateway, &new, Err("authn.unknown_key"));
    gateway.site.file("jwks.json", &jwks(&[&new]));
    gateway.reload("ok");
    // Also the tokens that were verified before: the cache goes with its keys.
    check(&gateway, &old, Err("authn.unknown_key"));
    check(&gateway, &new, Ok(()));
    assert_eq!(ISSUER, claims("u").get("iss").unwrap());
}

#[test]
fn providers_do_not_speak_for_each_other() {
    let upstream = Upstream::start();
    let (ours, theirs) = (SigningKey::ed25519("k"), SigningKey::ed25519("k"));
    let mut site = Site::new(&upstream.url());
    site.accept_tokens(&[&ours], "trust_groups = [\"staff\"]");
    site.file("partner.json", &jwks(&[&theirs]));
    site.add(
        "[[identity.jwt]]\nname = \"partner\"\nissuer = \"https://partner.test\"\naudiences = [\"app\"]\n\
         jwks = { file = \"partner.json\" }\nprefix = \"partner:\"\n",
    );
    site.tell_identity();
    site.policy(&[OPEN, NO_BANS].concat());
    let gateway = site.start();
    let user = |key: &SigningKey, issuer: &str| {
        let claims = claims("alice").set("iss", issuer).groups(&["staff"]);
        let answer = gateway.get("/", &[("Authorization", &bearer(key, &claims))]);
        if answer.status() != 200 {
            return answer.json()["reason"].as_str().unwrap().to_owned();
        }
        let head = upstream.requests().pop().unwrap().head;
        format!("{} in {}", head.header("x-auth-user").unwrap(), head.header("x-auth-groups").unwrap())
    };
    assert_eq!(user(&ours, ISSUER), "alice in staff");
    assert_eq!(user(&theirs, "https://partner.test"), "partner:alice in partner:staff");
    assert_eq!(user(&theirs, ISSUER), "authn.invalid");
    assert_eq!(user(&ours, "https://partner.test"), "authn.invalid");
    assert_eq!(user(&ours, "https://nobody.test"), "authn.wrong_issuer");
}
