//! How risky a caller looks, from the live gateway: what is new asks for a step-up and never denies, evidence does, and an event says of
//! each signal what it came to.

use std::fs;

use portcullis_testkit::tokens::SigningKey;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::PATIENCE;
use portcullis_testkit::wire::Answer;
use serde_json::{Value, json};

use crate::harness::{Gateway, NO_BANS, Site, bearer, claims, of_kind, portcullis, repository};

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

    /// Authenticated with a second factor so many seconds from now.
    fn strong(&self, seconds: i64) -> [(&'static str, Value); 2] {
        let now = claims("alice").get("iat").and_then(Value::as_i64).unwrap();
        [("amr", json!(["otp"])), ("auth_time", json!(now + seconds))]
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
    let strong = world.strong(10);
    assert_eq!(world.alice(FAR, "curl/8.5.0", &strong).status(), 200);
    assert_eq!(world.alice(FAR, "curl/8.5.0", &[]).status(), 200);
    assert_eq!(world.alice("216.160.83.56", "curl/8.5.0", &[]).status(), 401, "but from a third place it is");
}

#[test]
fn a_stolen_token_with_a_fresh_mfa_teaches_the_gateway_nothing() {
    // It was got before anybody came from there with it; also where the provider's clock is ahead.
    for seconds in [-10, 10] {
        let world = world(ENFORCED);
        world.settle_in();
        let stolen = world.strong(seconds);
        for _ in 0..3 {
            assert_eq!(world.alice(FAR, "curl/8.5.0", &stolen).status(), 200, "nothing more is asked of a fresh mfa");
        }
        assert_eq!(world.alice(FAR, "curl/8.5.0", &[]).status(), 401, "{seconds}");
        assert_eq!(world.alice(FAR, "curl/8.5.0", &stolen).status(), 200);
        assert_eq!(world.alice(FAR, "curl/8.5.0", &[]).status(), 401, "{seconds}: nor after another one was asked");
        assert_eq!(world.alice(FAR, "curl/8.5.0", &world.strong(30)).status(), 200);
        assert_eq!(world.alice(FAR, "curl/8.5.0", &[]).status(), 200, "who authenticates after that is believed");
    }
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

/// A verb of the command line on the configuration of a gateway, whose exit code is known; what it said.
#[track_caller]
fn verb(gateway: &Gateway, arguments: &[&str], code: i32) -> String {
    let finished = portcullis().arg("-c").arg(gateway.site.path("portcullis.toml")).args(arguments).run(PATIENCE);
    let said = finished.stdout.join("\n");
    assert_eq!(finished.status.code(), Some(code), "{arguments:?}: {said}\n{}", finished.stderr.join("\n"));
    said
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn what_is_usual_for_a_principal_can_be_shown_and_forgotten() {
    let world = world(ENFORCED);
    verb(&world.gateway, &["risk", "show", "alice"], 1);
    world.settle_in();
    let profile = json_of(&verb(&world.gateway, &["-o", "json", "risk", "show", "user:alice"], 0));
    assert_eq!(
        (&profile["on"], &profile["history"], &profile["networks"]),
        (&json!("user:alice"), &json!(30), &json!(1))
    );
    assert_eq!(profile["countries"], json!([{ "name": "GB", "permille": 1000 }]));
    assert_eq!(profile["hours"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum::<u64>(), 1);
    assert!(verb(&world.gateway, &["risk", "show", "alice"], 0).contains("GB 100.0 %"));
    assert_eq!(world.alice(FAR, "curl/8.5.0", &[]).status(), 401);
    verb(&world.gateway, &["risk", "forget", "alice"], 0);
    verb(&world.gateway, &["risk", "forget", "alice"], 1);
    verb(&world.gateway, &["risk", "show", "198.51.100.7"], 1);
    assert_eq!(world.alice(FAR, "curl/8.5.0", &[]).status(), 200, "nothing is new to somebody unknown");
    let events = world.gateway.stop();
    assert_eq!(of_kind(&events, "admin.risk_forget").len(), 2);
}

#[test]
fn a_history_can_be_learnt_from() {
    let world = world(ENFORCED);
    let columns =
        "index,Login Timestamp,User ID,IP Address,Country,ASN,User Agent String,Login Successful,Is Account Takeover";
    let mut rows = vec![columns.to_owned()];
    for day in 1..=20 {
        rows.push(format!("{day},2026-01-{day:02} 08:00:00.000,alice,{HOME},GB,64500,\"{FIREFOX}\",True,False"));
    }
    // Neither a wrong password nor an intruder teaches anything.
    rows.push(format!("21,2026-01-21 08:00:00.000,alice,{FAR},SE,64501,curl/8,False,False"));
    rows.push(format!("22,2026-01-21 09:00:00.000,alice,{FAR},SE,64501,curl/8,True,True"));
    world.gateway.site.file("history.csv", &rows.join("\n"));
    let file = world.gateway.site.path("history.csv");
    let said = verb(&world.gateway, &["risk", "warm", file.to_str().unwrap()], 0);
    assert!(said.starts_with("20 logins were sent; 2 lines"), "{said}");
    let profile = json_of(&verb(&world.gateway, &["-o", "json", "risk", "show", "alice"], 0));
    assert_eq!((&profile["networks"], &profile["user_agents"]), (&json!(1), &json!(1)));
    let event = json!({
        "kind": "access.allowed", "time": "2026-02-01T08:00:00Z", "identity": { "id": "bob", "type": "user" },
        "client": { "ip": HOME }, "request": { "user_agent": FIREFOX }, "risk": { "level": "low" },
    });
    world.gateway.site.file("events.jsonl.old", &format!("{event}\n{{}}\nno event\n"));
    let file = world.gateway.site.path("events.jsonl.old");
    let said = verb(&world.gateway, &["risk", "warm", file.to_str().unwrap()], 0);
    assert!(said.starts_with("1 logins were sent; 2 lines"), "{said}");
    verb(&world.gateway, &["risk", "show", "bob"], 0);
    world.gateway.site.file("wrong.csv", "a,b\n1,2\n");
    verb(&world.gateway, &["risk", "warm", world.gateway.site.path("wrong.csv").to_str().unwrap()], 3);
}

#[test]
fn labelled_logins_are_evaluated() {
    let upstream = Upstream::start();
    let site = Site::new(&upstream.url());
    let mut rows =
        vec!["Login Timestamp,User ID,IP Address,Country,ASN,User Agent String,Is Account Takeover".to_owned()];
    for day in 1..=28 {
        rows.push(format!("2026-01-{day:02} 08:00:00.000,alice,192.0.2.7,GB,64500,\"{FIREFOX}\",False"));
    }
    rows.push("2026-01-28 09:00:00.000,alice,198.51.100.7,US,64501,curl/8,True".to_owned());
    rows.push("never,alice".to_owned());
    site.file("logins.csv", &rows.join("\n"));
    let path = site.path("logins.csv");
    let missing = site.path("missing.toml");
    let run = |arguments: &[&str]| {
        portcullis()
            .args(["-o", "json", "-c", missing.to_str().unwrap(), "risk", "evaluate"])
            .args(arguments)
            .run(PATIENCE)
    };
    let finished = run(&["--logins", path.to_str().unwrap(), "--budget", "5%"]);
    assert!(finished.stderr.join("\n").contains("1 rows of"), "{:?}", finished.stderr);
    let result = json_of(&finished.stdout.join("\n"));
    let logins = &result["logins"][0];
    assert_eq!((&logins["challenged"]["part"], &logins["challenged"]["whole"]), (&json!(0), &json!(28)));
    assert_eq!((&logins["denied"]["part"], &logins["intruders"][0]["asked_or_denied"]["part"]), (&json!(0), &json!(1)));
    assert_eq!(run(&["--logins", missing.to_str().unwrap()]).status.code(), Some(3));
    assert_eq!(run(&["--synthetic", "--budget", "101"]).status.code(), Some(2));
    assert_eq!(run(&["--synthetic", "--logins", path.to_str().unwrap()]).status.code(), Some(2));
}
