//! What is said of devices: by a proxy that is trusted, by an agent that signs it, by a client that may not, and by nobody.

use jiff::Timestamp;
use portcullis_testkit::tokens::{Claims, SigningKey};
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wire::Answer;
use serde_json::json;

use crate::harness::{Gateway, NO_BANS, Site, bearer, claims};

const POLICY: &str = r#"
[[role]]
name = "user"
permissions = [{ actions = ["* /**"] }]
[[assignment]]
name = "on-good-devices"
role = "user"
principals = ["authenticated"]
scope = "*"
when = { device = "compliant" }
[risk]
mode = "enforce"
thresholds.normal = { step_up = 1.2, deny = 3.0 }
"#;
const HEADER: &str = "x-device-posture";

struct World {
    gateway: Gateway,
    upstream: Upstream,
    signer: SigningKey,
    agents: SigningKey,
}

fn world(posture: &str, policy: &str) -> World {
    let upstream = Upstream::start();
    let (signer, agents) = (SigningKey::ed25519("k"), SigningKey::ed25519("agents"));
    let mut site = Site::new(&upstream.url());
    site.policy(&[policy, NO_BANS, "[risk.posture]\n", posture].concat());
    site.file("agents.json", &json!({ "keys": [agents.jwk()] }).to_string());
    site.add("[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n");
    site.accept_tokens(&[&signer], "");
    World { gateway: site.start(), upstream, signer, agents }
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

impl World {
    /// alice, with this header, from a peer.
    fn alice(&self, peer: &str, posture: &[&str]) -> Answer {
        let authorization = bearer(&self.signer, &claims("alice"));
        let mut headers = vec![("authorization", authorization.as_str())];
        headers.extend(posture.iter().map(|value| (HEADER, *value)));
        self.gateway.get_from(peer, "/", &headers)
    }

    #[track_caller]
    fn check(&self, what: &str, answer: &Answer, reason: &str, signals: &[&str]) {
        let status = if reason == "step_up.required" { 401 } else { 403 };
        let event = self.gateway.check_refused(what, answer, status, reason);
        let all = event["risk"]["signals"].as_array().unwrap().iter();
        let fired: Vec<&str> =
            all.filter(|signal| signal["family"] == "posture").map(|signal| signal["name"].as_str().unwrap()).collect();
        assert_eq!(fired, signals, "{what}: {event:#}");
    }
}

#[test]
fn the_word_of_a_trusted_proxy_counts_and_nobody_elses() {
    let world = world("from = \"proxy\"\nmax_age = \"5m\"\n", POLICY);
    let good = format!("compliant, at={}", now());
    assert_eq!(world.alice("127.0.0.1", &[&good]).status(), 200);
    let seen = world.upstream.requests();
    assert!(!format!("{seen:?}").to_lowercase().contains(HEADER), "no upstream sees it");
    // 127.0.0.2 is no proxy: what it says is no word, and so it is as if nothing were said.
    world.check(
        "a client that says it itself",
        &world.alice("127.0.0.2", &[&good]),
        "rbac.condition_unmet",
        &["posture.missing"],
    );
    world.check("nobody says anything", &world.alice("127.0.0.1", &[]), "rbac.condition_unmet", &["posture.missing"]);
    world.check("two say it", &world.alice("127.0.0.1", &[&good, &good]), "rbac.condition_unmet", &["posture.missing"]);
    let bad = format!("compliant=?0, at={}", now());
    world.check("a bad device", &world.alice("127.0.0.1", &[&bad]), "rbac.condition_unmet", &["device.not_compliant"]);
    let old = format!("compliant, at={}", now() - 3_600);
    world.check("an old word", &world.alice("127.0.0.1", &[&old]), "rbac.condition_unmet", &["posture.stale"]);
}

#[test]
fn the_word_of_an_agent_is_signed_for_this_principal() {
    let world = world("from = \"agent\"\nkeys = \"agents.json\"\n", POLICY);
    let word = |signer: &SigningKey, claims: &Claims| {
        let mut header = signer.header();
        header["typ"] = "posture+jwt".into();
        signer.token_with(&header, claims)
    };
    let said = |subject: &str, age: i64| {
        claims(subject).set("iat", json!(now() - age)).set("compliant", json!(true)).set("device", json!("laptop"))
    };
    let good = word(&world.agents, &said("alice", 5));
    // Whoever holds the credential holds no key of an agent: it does not matter who the peer is.
    assert_eq!(world.alice("127.0.0.2", &[&good]).status(), 200);
    let check = |what: &str, token: String, signals: &[&str]| {
        world.check(what, &world.alice("127.0.0.1", &[&token]), "rbac.condition_unmet", signals);
    };
    check("of somebody else", word(&world.agents, &said("mallory", 5)), &["posture.missing"]);
    check("by another key", word(&world.agents.impostor(), &said("alice", 5)), &["posture.missing"]);
    check("of the provider of tokens", word(&world.signer, &said("alice", 5)), &["posture.missing"]);
    check("another kind of token", world.agents.token(&said("alice", 5)), &["posture.missing"]);
    check("an old word", word(&world.agents, &said("alice", 3_600)), &["posture.stale"]);
    check(
        "no disk is encrypted",
        word(&world.agents, &said("alice", 5).set("disk", json!(false))),
        &["device.not_compliant"],
    );
    check("a proxy's word", format!("compliant, at={}", now()), &["posture.missing"]);
}

#[test]
fn a_device_of_which_nothing_is_said_asks_for_a_step_up_and_never_denies() {
    let any_device = POLICY.replace("when = { device = \"compliant\" }\n", "");
    let world = world("from = \"proxy\"\n", &any_device);
    world.check("nothing is said", &world.alice("127.0.0.1", &[]), "step_up.required", &["posture.missing"]);
    let bad = format!("compliant=?0, at={}", now());
    world.check("a bad device", &world.alice("127.0.0.1", &[&bad]), "step_up.required", &["device.not_compliant"]);
    // Services have no device that anything could be said of.
    let good = format!("compliant, at={}", now());
    assert_eq!(world.alice("127.0.0.1", &[&good]).status(), 200);
}
