//! How risky a caller looks, from the live gateway: what is new asks for a step-up and never denies, evidence does, and an event says of
//! each signal what it came to.

use std::fs;

use portcullis_testkit::tokens::SigningKey;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wire::Answer;
use serde_json::{Value, json};

use crate::harness::{Gateway, NO_BANS, Site, bearer, claims, repository};

const POLICY: &str = r#"
[[network]]
name = "notorious"
addresses = ["198.51.100.0/24"]
[[role]]
name = "user"
permissions = [{ actions = ["* /**"] }]
[[assignment]]
name = "all-of-us"
role = "user"
principals = ["authenticated"]
scope = "*"
[step_up]
mfa = { amr = ["otp"] }
max_age = "1h"
"#;

const ENFORCED: &str = "[risk]\nmode = \"enforce\"\nreputation = [{ network = \"notorious\", nats = 4.0 }]\n";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0";
/// London and Linköping, by the test databases.
const HOME: &str = "81.2.69.142";
const FAR: &str = "89.160.20.112";

struct World {
    gateway: Gateway,
    _upstream: Upstream,
    signer: SigningKey,
    robot: String,
}

/// A gateway behind a trusted proxy, so that a test says where a client is.
fn world(risk: &str) -> World {
    let upstream = Upstream::start();
    let signer = SigningKey::ed25519("k");
    let mut site = Site::new(&upstream.url());
    site.policy(&[POLICY, NO_BANS, risk].concat());
    for (name, source) in [("city", "GeoIP2-City-Test.mmdb"), ("asn", "GeoLite2-ASN-Test.mmdb")] {
        let from = repository("crates/geo/tests/data/test-data").join(source);
        fs::copy(from, site.path(&format!("{name}.mmdb"))).unwrap();
    }
    site.add("[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n");
    site.add("[geo]\ncity = \"city.mmdb\"\nasn = \"asn.mmdb\"\n");
    site.accept_tokens(&[&signer], "");
    let robot = site.key("robot", "service:robot", "");
    World { gateway: site.start(), _upstream: upstream, signer, robot }
}

impl World {
    fn alice(&self, from: &str, agent: &str, more: &[(&str, Value)]) -> Answer {
        let claims = more.iter().fold(claims("alice"), |claims, (name, value)| claims.set(name, value.clone()));
        let authorization = bearer(&self.signer, &claims);
        self.gateway.get("/", &[("x-forwarded-for", from), ("user-agent", agent), ("authorization", &authorization)])
    }

    fn settle_in(&self) {
        for _ in 0..30 {
            assert_eq!(self.alice(HOME, FIREFOX, &[]).status(), 200);
        }
    }

    fn robot(&self, from: &str) -> Answer {
        self.gateway.get("/", &[("x-forwarded-for", from), ("x-api-key", &self.robot)])
    }
}

/// The score by what an event says of its signals: each family clipped, then added (docs/events.md).
fn recomputed(event: &Value) -> i64 {
    let signals = event["risk"]["signals"].as_array().unwrap();
    [("novelty", 0, 4_000), ("evidence", 0, 4_000), ("posture", 0, 3_000), ("trust", -3_000, 0)]
        .iter()
        .map(|(family, low, high)| {
            let of_family = signals.iter().filter(|signal| signal["family"] == *family);
            of_family.map(|signal| signal["mnats"].as_i64().unwrap()).sum::<i64>().clamp(*low, *high)
        })
        .sum()
}

fn names(event: &Value) -> Vec<&str> {
    event["risk"]["signals"].as_array().unwrap().iter().map(|signal| signal["name"].as_str().unwrap()).collect()
}

#[test]
fn a_stranger_with_a_stolen_token_is_asked_to_step_up_and_never_denied() {
    let world = world(ENFORCED);
    world.settle_in();
    let answer = world.alice(FAR, "curl/8.5.0", &[]);
    let event = world.gateway.check_refused("elsewhere", &answer, 401, "step_up.required");
    assert_eq!(event["risk"]["level"], "high");
    assert_eq!(event["risk"]["mnats"], json!(recomputed(&event)), "{event}");
    let mut found = names(&event);
    found.sort_unstable();
    assert_eq!(found, ["network.new", "travel.impossible", "user_agent.new"]);
    for signal in event["risk"]["signals"].as_array().unwrap() {
        assert_eq!(signal["family"], "novelty");
        assert!(!signal["reason"].as_str().unwrap().is_empty() && !signal["value"].as_str().unwrap().is_empty());
    }
    assert_eq!((&event["risk"]["degraded"], &event["client"]["country"]), (&json!(false), &json!("SE")));
    // Asked again and again, the stranger does not become familiar.
    for _ in 0..20 {
        assert_eq!(world.alice(FAR, "curl/8.5.0", &[]).status(), 401);
    }
    assert_eq!(world.alice(HOME, FIREFOX, &[]).status(), 200);
}

#[test]
fn who_has_stepped_up_is_not_asked_again_from_there() {
    let world = world(ENFORCED);
    world.settle_in();
    assert_eq!(world.alice(FAR, "curl/8.5.0", &[]).status(), 401);
    let now = claims("alice").get("iat").unwrap().clone();
    let strong = [("amr", json!(["otp"])), ("auth_time", now)];
    assert_eq!(world.alice(FAR, "curl/8.5.0", &strong).status(), 200);
    assert_eq!(world.alice(FAR, "curl/8.5.0", &[]).status(), 200);
    assert_eq!(world.alice("216.160.83.56", "curl/8.5.0", &[]).status(), 401, "but from a third place it is");
}

#[test]
fn a_network_of_bad_repute_is_evidence() {
    let world = world(ENFORCED);
    world.settle_in();
    let answer = world.alice("198.51.100.7", FIREFOX, &[]);
    let event = world.gateway.check_refused("notorious", &answer, 403, "risk.too_high");
    let first = &event["risk"]["signals"][0];
    let signal = |key: &str| first[key].clone();
    assert_eq!(
        [signal("name"), signal("family"), signal("value"), signal("mnats")],
        [json!("address.reputation"), json!("evidence"), json!("notorious"), json!(4_000)]
    );
    assert_eq!(event["risk"]["mnats"], json!(recomputed(&event)), "{event}");
}

#[test]
fn a_service_cannot_step_up_and_is_treated_as_the_policy_says() {
    let check = |services: &str, expected: u16| {
        let world = world(&format!("{ENFORCED}services = \"{services}\"\n"));
        for _ in 0..64 {
            assert_eq!(world.robot(HOME).status(), 200);
        }
        let answer = world.robot(FAR);
        assert_eq!(answer.status(), expected, "{services}");
        if expected == 403 {
            world.gateway.check_refused(services, &answer, 403, "risk.too_high");
        }
    };
    check("allow", 200);
    check("deny", 403);
}

#[test]
fn a_risk_that_is_only_watched_is_counted_and_refuses_nobody() {
    let world = world("[risk]\nmode = \"monitor\"\n");
    world.settle_in();
    assert_eq!(world.alice(FAR, "curl/8.5.0", &[]).status(), 200);
    assert_eq!(world.gateway.metric("portcullis_shadow_total{route=\"app\"}"), Some(1.0));
}
