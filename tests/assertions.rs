//! The gateway's signed word to upstreams: who calls, for this upstream, for a short while, under keys that everybody can fetch.

use std::collections::BTreeSet;

use portcullis_testkit::nginx::Nginx;
use portcullis_testkit::process::Program;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::PATIENCE;
use portcullis_testkit::wire::{self, Conn};
use serde_json::Value;

use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, OPEN, Site};

const WELL_KNOWN: &str = "/.well-known/portcullis/jwks.json";

/// A gateway that signs, with a key for each of `algorithms`, as openssl makes them: the first signs.
fn signing(upstream: &Upstream, policy: &str, algorithms: &[&[&str]]) -> (Gateway, String) {
    let mut site = Site::new(&upstream.url());
    let key = site.key("robot", "service:robot", "groups = [\"auditors\"]");
    sign(&mut site, algorithms);
    site.policy(policy);
    (site.start(), key)
}

/// Has a gateway sign, with a key for each of `algorithms`, as openssl makes them.
fn sign(site: &mut Site, algorithms: &[&[&str]]) {
    let others = ["key", "other_key"];
    let mut config =
        "[identity.headers]\nassertion = \"x-auth-assertion\"\n[identity.assertion]\nissuer = \"https://gw.test\"\n\
                      lifetime = \"5m\"\n"
            .to_owned();
    for (name, algorithm) in others.iter().zip(algorithms) {
        let openssl = std::env::var("PORTCULLIS_OPENSSL").unwrap_or_else(|_| "openssl".to_owned());
        let file = site.path(&format!("{name}.pem"));
        let made =
            Program::new(openssl).arg("genpkey").args(algorithm.iter().copied()).arg("-out").arg(&file).run(PATIENCE);
        assert_eq!(made.status.code(), Some(0), "{made:?}");
        config.push_str(&format!("{name} = {{ file = \"{name}.pem\" }}\n"));
    }
    site.add(&config);
}

const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const ED25519: &[&str] = &["-algorithm", "ed25519"];

/// What the upstream got with the last request.
fn assertion(upstream: &Upstream) -> String {
    upstream.requests().pop().unwrap().header("x-auth-assertion").expect("an assertion").to_owned()
}

#[test]
fn an_upstream_recognises_what_came_through_the_gateway_and_nothing_else() {
    let upstream = Upstream::start();
    let (gateway, key) = signing(&upstream, &[AUTHENTICATED, NO_BANS].concat(), &[P256, ED25519]);
    // A second gateway plays an upstream that believes nobody but the first.
    let behind = Upstream::start();
    let mut site = Site::new(&behind.url());
    site.add(&format!(
        "[[identity.jwt]]\nname = \"gateway\"\nissuer = \"https://gw.test\"\naudiences = [\"app\"]\nprincipal = \"service\"\n\
         jwks = {{ url = \"http://{}{WELL_KNOWN}\", allow_http = true }}\n",
        gateway.address
    ));
    site.tell_identity();
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let believer = site.start();
    let status = |token: &str| believer.get("/", &[("Authorization", &format!("Bearer {token}"))]).status();

    // What a caller says of itself in that header is removed, in each spelling.
    let forged = [("X-Api-Key", &*key), ("X-Auth-Assertion", "forged"), ("X_Auth_Assertion", "forged")];
    assert_eq!(gateway.get("/invoices", &forged).status(), 200);
    let token = assertion(&upstream);
    let received = upstream.requests().pop().unwrap();
    assert_eq!(received.head.headers.iter().filter(|(_, value)| value == "forged").count(), 0);
    assert_eq!(status(&token), 200);
    let told = behind.requests().pop().unwrap();
    assert_eq!((told.header("x-auth-user"), told.header("x-auth-groups")), (Some("service:robot"), Some("auditors")));
    // A worker sends it again, and does not sign for each request: two on one connection are one worker's.
    let mut connection = Conn::open(gateway.address);
    let sent = [(); 2].map(|()| {
        connection.send(wire::request("GET", "/invoices", &[("X-Api-Key", &key)], b""));
        assert_eq!(connection.answer().status(), 200);
        assertion(&upstream)
    });
    assert_eq!(sent[0], sent[1]);
    // One byte of it changed is nobody.
    let mut changed = token.clone();
    changed.replace_range(
        changed.len() - 10..changed.len() - 9,
        if changed.as_bytes()[changed.len() - 10] == b'A' { "B" } else { "A" },
    );
    assert_eq!(status(&changed), 401);
    // No event says what it is.
    assert!(!gateway.events.all().iter().any(|event| event.to_string().contains(&token)));
}

#[test]
fn the_keys_are_public_and_hold_nothing_private() {
    let upstream = Upstream::start();
    let (gateway, _) = signing(&upstream, &[AUTHENTICATED, NO_BANS].concat(), &[ED25519, P256]);
    let answer = gateway.get(WELL_KNOWN, &[]);
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("content-type"), Some("application/jwk-set+json"));
    let set: Value = serde_json::from_slice(&answer.body).unwrap();
    let keys = set["keys"].as_array().unwrap();
    assert_eq!(keys.iter().map(|key| key["alg"].as_str().unwrap()).collect::<Vec<_>>(), ["EdDSA", "ES256"]);
    let members: BTreeSet<&str> =
        keys.iter().flat_map(|key| key.as_object().unwrap().keys().map(String::as_str)).collect();
    assert_eq!(members, BTreeSet::from(["alg", "crv", "kid", "kty", "use", "x", "y"]));
    let mut connection = Conn::open(gateway.address);
    connection.send(wire::request("HEAD", WELL_KNOWN, &[], b""));
    assert_eq!(connection.answer_without_body().status(), 200);
    // Nothing else has that path, and nothing went to the upstream.
    assert_eq!(gateway.send(wire::request("POST", WELL_KNOWN, &[], b"x")).status(), 401);
    assert_eq!(gateway.get(&format!("{WELL_KNOWN}/"), &[]).status(), 401);
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn a_caller_without_a_credential_is_asserted_to_be_nobody() {
    let upstream = Upstream::start();
    let (gateway, _) = signing(&upstream, &[OPEN, NO_BANS].concat(), &[ED25519]);
    assert_eq!(gateway.get("/", &[]).status(), 200);
    let payload = assertion(&upstream).split('.').nth(1).unwrap().to_owned();
    let claims: Value =
        serde_json::from_slice(&data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()).unwrap();
    assert_eq!(
        (&claims["aud"], &claims["iss"], &claims["sub"]),
        (&"app".into(), &"https://gw.test".into(), &Value::Null)
    );
}

#[test]
fn without_an_assertion_the_path_is_like_any_other() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.key("robot", "service:robot", "");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    assert_eq!(site.start().get(WELL_KNOWN, &[]).status(), 401);
}

#[test]
fn whoever_is_in_thousands_of_groups_reaches_a_real_upstream_all_the_same() {
    let nginx = Nginx::start();
    let mut site = Site::new(&nginx.url());
    let groups: Vec<String> = (0..5_000).map(|number| format!("\"department-{number:05}\"")).collect();
    let many = site.key("many", "service:many", &format!("groups = [{}]", groups.join(", ")));
    let few = site.key("few", "service:few", "groups = [\"auditors\"]");
    sign(&mut site, &[P256]);
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let gateway = site.start();
    let claims = |key: &str| -> Value {
        let answer = gateway.get("/", &[("X-Api-Key", key)]);
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let token = answer.text().lines().find_map(|line| line.strip_prefix("x_auth_assertion: ")).unwrap();
        let payload = token.split('.').nth(1).unwrap();
        serde_json::from_slice(&data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()).unwrap()
    };
    let told = claims(&many);
    assert_eq!(
        (&told["sub"], &told["groups"], &told["groups_overage"]),
        (&"service:many".into(), &Value::Null, &5_000.into())
    );
    let told = claims(&few);
    assert_eq!((&told["groups"], &told["groups_overage"]), (&serde_json::json!(["auditors"]), &Value::Null));
    assert_eq!(gateway.metric("portcullis_assertions_without_groups_total"), Some(1.0));
}
