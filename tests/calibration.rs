//! Thresholds of risk from a budget: counted by the live gateway, worked out, put in force, kept over a restart, and taken back. And that a score can be
//! worked out again from what its event keeps.

use portcullis_testkit::tokens::SigningKey;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::PATIENCE;
use portcullis_testkit::wire;
use serde_json::{Value, json};

use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, Site, bearer, claims, of_kind, portcullis};

const HOME: &str = "81.2.69.142";
/// In no database, and in nobody's history.
const ELSEWHERE: &str = "203.0.113.7";
const BUDGET: &str = "[risk]\nmode = \"enforce\"\nstep_up_budget = \"2%\"\ncalibration = \"by_hand\"\n";

struct World {
    gateway: Gateway,
    _upstream: Upstream,
    signer: SigningKey,
}

fn world(risk: &str) -> World {
    let upstream = Upstream::start();
    let signer = SigningKey::ed25519("k");
    let mut site = Site::new(&upstream.url());
    site.policy(&[AUTHENTICATED, NO_BANS, risk].concat());
    site.add("[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n[store]\npath = \"state.db\"\n");
    site.accept_tokens(&[&signer], "");
    World { gateway: site.start(), _upstream: upstream, signer }
}

impl World {
    fn get(&self, user: &str, from: &str) -> wire::Answer {
        let authorization = bearer(&self.signer, &claims(user));
        self.gateway.get("/", &[("x-forwarded-for", from), ("authorization", &authorization)])
    }

    /// A user with a history of six requests, for whom a new network comes to 1.168 nats.
    fn settle_in(&self, user: &str) {
        (0..6).for_each(|_| assert_eq!(self.get(user, HOME).status(), 200));
    }

    /// So many users come once each.
    fn visits(&self, users: u32) {
        let mut connection = self.gateway.conn();
        for n in 0..users {
            let authorization = bearer(&self.signer, &claims(&format!("u{n}")));
            let headers = [("x-forwarded-for", HOME), ("authorization", authorization.as_str())];
            connection.send(wire::request("GET", "/", &headers, b""));
            assert_eq!(connection.answer().status(), 200);
        }
    }

    #[track_caller]
    fn verb(&self, arguments: &[&str], code: i32) -> String {
        let config = self.gateway.site.path("portcullis.toml");
        let finished = portcullis().arg("-c").arg(config).args(arguments).run(PATIENCE);
        let said = finished.stdout.join("\n");
        assert_eq!(finished.status.code(), Some(code), "{arguments:?}: {said}\n{}", finished.stderr.join("\n"));
        said
    }

    fn calibrations(&self) -> Value {
        serde_json::from_str(&self.verb(&["-o", "json", "risk", "calibration", "list"], 0)).unwrap()
    }

    /// Ends it in order, and starts another one on the same files.
    fn restart(self) -> Self {
        let Self { gateway, _upstream, signer } = self;
        let Gateway { site, mut process, .. } = gateway;
        process.stop(PATIENCE);
        Self { gateway: site.start(), _upstream, signer }
    }
}

#[test]
fn thresholds_are_worked_out_put_in_force_kept_and_taken_back() {
    let world = world(BUDGET);
    let none = world.calibrations();
    assert_eq!((&none["budget"], &none["enough"], &none["calibrations"]), (&json!(20_000), &json!(1_000), &json!([])));
    world.verb(&["risk", "calibration", "rollback"], 1);
    world.settle_in("bob");
    world.visits(998);
    // Each user counts once, whatever it sends.
    assert_eq!(world.calibrations()["counted"], json!([0, 999, 0]));
    world.verb(&["risk", "calibration", "propose"], 1);
    world.visits(999);
    let said = world.verb(&["risk", "calibration", "propose"], 0);
    let all = world.calibrations();
    let made = &all["calibrations"][0];
    let id = made["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("c1-") && said.contains(&id), "{said}");
    assert_eq!(
        (&made["thresholds"], &made["counted"], &made["in_force"]),
        (&json!([null, [1_000, 3_000], null]), &json!([0, 1_000, 0]), &json!(false))
    );
    // It is not in force: 1.168 nats are below 2.0.
    assert_eq!(world.get("bob", ELSEWHERE).status(), 200);
    world.verb(&["risk", "calibration", "show"], 1);
    world.verb(&["risk", "calibration", "activate", "c7-00000000"], 1);
    world.verb(&["risk", "calibration", "activate", &id], 0);
    assert!(world.verb(&["risk", "calibration", "show"], 0).contains("step-up from 1.00"));
    // The policy that is in force is compared with itself as it is calibrated: the file alone has other thresholds.
    let policy = world.gateway.site.path("policy.toml");
    world.verb(&["policy", "preview", policy.to_str().unwrap()], 0);

    world.settle_in("carol");
    let event = world.gateway.check_refused("carol", &world.get("carol", ELSEWHERE), 401, "step_up.required");
    let risk = &event["risk"];
    assert_eq!((&risk["mnats"], &risk["threshold"]), (&json!(1_168), &json!(100)));
    assert_eq!(risk["calibration"], json!(id));
    assert!(risk["display"].as_u64().is_some_and(|shown| (800..=1_000).contains(&shown)), "{risk}");

    let world = world.restart();
    assert_eq!(world.calibrations()["counted"], json!([0, 1_002, 0]), "and so is what was counted");
    assert_eq!(world.calibrations()["calibrations"][0]["in_force"], json!(true));
    world.settle_in("dave");
    let event = world.gateway.check_refused("dave", &world.get("dave", ELSEWHERE), 401, "step_up.required");
    assert_eq!(event["risk"]["calibration"], json!(id), "after a restart it is in force still");
    assert!(world.verb(&["risk", "calibration", "rollback"], 0).contains("2.000 (normal)"));
    assert_eq!(world.get("dave", ELSEWHERE).status(), 200, "what is built in holds again");
    let events = world.gateway.stop();
    assert_eq!(of_kind(&events, "risk.calibrated").len(), 2);
    let by_hand = of_kind(&events, "admin.risk_calibration");
    let decisions: Vec<_> = by_hand.iter().map(|event| event["decision"].as_str().unwrap()).collect();
    assert_eq!(decisions, ["deny", "deny", "permit", "deny", "permit", "permit"]);
}

#[test]
fn a_policy_without_a_budget_or_with_thresholds_of_its_own_is_not_calibrated() {
    let mut world = world(&format!("{BUDGET}thresholds.normal = {{ step_up = 1.9, deny = 3.9 }}\n"));
    world.visits(1_000);
    let said = world.verb(&["risk", "calibration", "propose"], 0);
    let id = said.split_whitespace().nth(1).unwrap().to_owned();
    world.verb(&["risk", "calibration", "activate", &id], 0);
    world.settle_in("bob");
    assert_eq!(world.get("bob", ELSEWHERE).status(), 200, "the policy's own threshold wins");
    world.gateway.site.policy(&[AUTHENTICATED, NO_BANS, "[risk]\nmode = \"enforce\"\n"].concat());
    world.gateway.reload("ok");
    world.settle_in("carol");
    assert_eq!(world.get("carol", ELSEWHERE).status(), 200, "without a budget what is built in holds");
    world.verb(&["risk", "calibration", "activate", &id], 1);
    world.gateway.site.policy(&[AUTHENTICATED, NO_BANS, BUDGET].concat());
    world.gateway.reload("ok");
    world.settle_in("dave");
    assert_eq!(world.get("dave", ELSEWHERE).status(), 401, "the one that was put in force is, with a budget");
}

#[test]
fn the_calibration_that_a_policy_names_is_in_force_and_no_other() {
    let mut world = world(BUDGET);
    world.visits(1_000);
    for _ in 0..2 {
        world.verb(&["risk", "calibration", "propose"], 0);
    }
    let all = world.calibrations();
    let of = |n: usize, field: &str| all["calibrations"][n][field].as_str().unwrap().to_owned();
    let [second, first] = [of(0, "id"), of(1, "id")];
    let name = of(1, "name");
    world.verb(&["risk", "calibration", "activate", &second], 0);
    assert!(world.verb(&["risk", "calibration", "show", &first], 0).contains(&format!("calibration = \"{name}\"")));
    let named = |name: &str| {
        let risk = format!("[risk]\nmode = \"enforce\"\nstep_up_budget = \"2%\"\ncalibration = \"{name}\"\n");
        [AUTHENTICATED, NO_BANS, &risk].concat()
    };
    let in_force = |world: &World| {
        let all = world.calibrations();
        let all = all["calibrations"].as_array().unwrap().clone();
        all.iter().filter(|made| made["in_force"] == true).map(|made| made["id"].clone()).collect::<Vec<_>>()
    };
    world.gateway.site.policy(&named(&name));
    world.gateway.reload("ok");
    assert_eq!(in_force(&world), [json!(first)]);
    // What the file says an operator changes in the file.
    world.verb(&["risk", "calibration", "activate", &second], 1);
    world.verb(&["risk", "calibration", "rollback"], 1);
    let mut world = world.restart();
    assert_eq!(in_force(&world), [json!(first)], "and it is after a restart");
    world.settle_in("bob");
    assert_eq!(world.get("bob", ELSEWHERE).status(), 401);
    // One that nobody has here puts no other in force.
    world.gateway.site.policy(&named(&format!("sha256:{}", "0".repeat(64))));
    world.gateway.reload("ok");
    assert_eq!(in_force(&world), [] as [Value; 0]);
    assert!(world.verb(&["risk", "calibration", "list"], 0).contains("names one that is not kept here"));
    world.settle_in("carol");
    assert_eq!(world.get("carol", ELSEWHERE).status(), 200, "what is built in holds");
    // Where it names none any more, what was put in force by hand is.
    world.gateway.site.policy(&[AUTHENTICATED, NO_BANS, BUDGET].concat());
    world.gateway.reload("ok");
    assert_eq!(in_force(&world), [json!(second)]);
    let events = world.gateway.stop();
    let told: Vec<_> = of_kind(&events, "risk.calibrated").iter().map(|event| event["message"].to_string()).collect();
    let missing: Vec<_> = told.iter().filter(|message| message.contains("is not kept here")).collect();
    assert_eq!(missing.len(), 1, "{told:?}");
}

#[test]
fn a_score_is_worked_out_again_from_its_event() {
    let world = world(
        "[risk]\nmode = \"enforce\"\nthresholds.normal = { step_up = 1.0, deny = 3.0 }\nsignals.network = { weight = 1.1 }\n",
    );
    world.settle_in("bob");
    let event = world.gateway.check_refused("bob", &world.get("bob", ELSEWHERE), 401, "step_up.required");
    let inputs = event["risk"]["inputs"].as_str().unwrap();
    assert_eq!(inputs, "1;h6;nn;wn1100.-3000.4000+");
    assert_eq!((&event["risk"]["mnats"], &event["risk"]["display"]), (&json!(1_284), &Value::Null));
    let id = event["id"].as_str().unwrap();
    let said = world.verb(&["explain", "--event", id], 0);
    assert!(said.contains("worked out again from its recorded inputs: the same, to the last bit"), "{said}");
    let said: Value = serde_json::from_str(&world.verb(&["-o", "json", "explain", "--event", id], 0)).unwrap();
    assert_eq!(said["risk"]["replay"], json!({ "same": true }), "{said}");
}
