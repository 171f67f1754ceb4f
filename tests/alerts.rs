//! Alerts: what fires, who is told, what is contained, and how that is lifted.

use portcullis_testkit::receiver::{Answer, Receiver};
use portcullis_testkit::tokens::SigningKey;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use serde_json::Value;

use crate::harness::{AUTHENTICATED, Gateway, Site, bearer, claims, of_kind};

/// One gateway with one alert, which tells `receiver`, and one key of alice's.
fn gateway(receiver: &Receiver, upstream: &Upstream, alert: &str, policy: &str) -> (Gateway, String) {
    let mut site = Site::new(&upstream.url());
    let key = site.key("alice", "user:alice", "");
    site.add(&format!(
        "{alert}\n[[notifier]]\nname = \"chat\"\nkind = \"webhook\"\nattempts = 1\n[notifier.webhook]\n\
         url = \"http://{}/hook\"\nallow_http = true\nshape = \"generic\"\n",
        receiver.address()
    ));
    site.policy(&[AUTHENTICATED, policy].concat());
    (site.start(), key)
}

fn fired(gateway: &Gateway, count: usize) -> Vec<Value> {
    let enough = || {
        let events = gateway.events.all();
        let found: Vec<Value> = of_kind(&events, "alert.fired").into_iter().cloned().collect();
        (found.len() >= count).then_some(found)
    };
    wait::until(PATIENCE, enough).unwrap_or_else(|| panic!("too few alerts: {:#?}", gateway.events.all()))
}

fn body(request: &portcullis_testkit::receiver::Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

/// The JSON that a verb answers with.
fn ask(gateway: &Gateway, arguments: &[&str], code: i32) -> Value {
    let said = gateway.site.run(&[arguments, &["-o", "json"]].concat());
    assert_eq!(said.status.code(), Some(code), "{said:?}");
    serde_json::from_str(&said.stdout.join("\n")).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

const FAILING: &str = r#"
[[alert]]
name = "failing"
when = { reasons = ["authn.*"] }
count = 3
per = "address"
batch = "0s"
notify = "chat"
contain = [{ ban = "address", for = "1h" }]
"#;

/// Bans are on, and no offence of its own makes one.
const ALERTS_BAN: &str =
    "\n[ban]\ncredentials = { level = 1000, half = \"1m\" }\nprobing = { level = 1000, half = \"1m\" }\n";

#[test]
fn failing_credentials_fire_once_and_the_ban_holds_until_it_is_lifted() {
    let (upstream, receiver) = (Upstream::start(), Receiver::start(|_| Answer::status(200)));
    let (gateway, key) = gateway(&receiver, &upstream, FAILING, ALERTS_BAN);
    let from = |source: &str, key: &str| gateway.get_from(source, "/", &[("X-Api-Key", key)]);
    for attempt in 1..=3 {
        let answer = from("127.0.0.9", "pcl_alice_guess");
        gateway.check_refused(&format!("attempt {attempt}"), &answer, 401, "authn.invalid");
    }
    let event = fired(&gateway, 1).remove(0);
    assert_eq!(event["alert"]["key"]["value"], "127.0.0.9");
    assert_eq!(event["alert"]["evidence"].as_array().unwrap().len(), 3);
    let request = receiver.wait_for(1).remove(0);
    assert_eq!(body(&request)["firings"][0]["event"], event["id"]);

    // The ban holds for that address alone, whoever comes from it.
    gateway.check_refused("banned", &from("127.0.0.9", &key), 403, "ban.active");
    assert_eq!(from("127.0.0.10", &key).status(), 200);
    let list = ask(&gateway, &["alert", "list"], 0);
    let contained = &list["contained"][0];
    assert_eq!((&contained["measure"], &contained["on"]), (&"ban".into(), &"127.0.0.9".into()));
    assert_eq!((&contained["alert"], &contained["event"]), (&"failing".into(), &event["id"]));
    assert_eq!((&list["alerts"][0]["fired"], &list["alerts"][0]["firing"][0]), (&1.into(), &"127.0.0.9".into()));
    let bans = ask(&gateway, &["ban", "list"], 0);
    assert_eq!(bans["bans"][0]["cause"], "alert failing");
    assert_eq!(gateway.metric("portcullis_alerts_total{alert=\"failing\"}"), Some(1.0));
    let sent = "portcullis_alert_notifications_total{notifier=\"chat\",result=\"sent\"}";
    assert_eq!(wait::until(PATIENCE, || gateway.metric(sent)), Some(1.0));
    assert_eq!(gateway.metric("portcullis_alert_contained"), Some(1.0));

    let id = contained["id"].as_str().unwrap();
    assert!(event["alert"]["actions"][0].as_str().unwrap().ends_with(&format!("`portcullis alert lift {id}`")));
    ask(&gateway, &["alert", "lift", id], 0);
    assert_eq!(from("127.0.0.9", &key).status(), 200);
    let again = gateway.site.run(&["alert", "lift", id]);
    assert_ne!(again.status.code(), Some(0), "{again:?}");
    let events = gateway.stop();
    assert_eq!(of_kind(&events, "alert.fired").len(), 1, "once");
    let lifts = of_kind(&events, "admin.alert_lift");
    assert_eq!(lifts.iter().map(|event| event["decision"].as_str().unwrap()).collect::<Vec<_>>(), ["permit", "deny"]);
}

#[test]
fn an_address_that_is_never_banned_is_not_contained_and_the_event_says_so() {
    let (upstream, receiver) = (Upstream::start(), Receiver::start(|_| Answer::status(200)));
    let never = "\n[[network]]\nname = \"office\"\naddresses = [\"127.0.0.9\"]\n[ban]\nnever = [\"office\"]\n";
    let (gateway, key) = gateway(&receiver, &upstream, FAILING, never);
    for _ in 0..3 {
        gateway.get_from("127.0.0.9", "/", &[("X-Api-Key", "pcl_alice_guess")]);
    }
    let event = fired(&gateway, 1).remove(0);
    let action = event["alert"]["actions"][0].as_str().unwrap();
    assert!(action.starts_with("ban: not done, ") && action.contains("never banned"), "{action}");
    assert_eq!(gateway.get_from("127.0.0.9", "/", &[("X-Api-Key", &key)]).status(), 200);
    assert_eq!(ask(&gateway, &["alert", "list"], 0)["contained"], serde_json::json!([]));
}

#[test]
fn a_test_reaches_the_notifier_and_contains_nothing() {
    let (upstream, receiver) = (Upstream::start(), Receiver::start(|_| Answer::status(200)));
    let (gateway, _) = gateway(&receiver, &upstream, FAILING, ALERTS_BAN);
    let tested = ask(&gateway, &["alert", "test", "failing"], 0);
    assert_eq!((&tested["tried"][0]["notifier"], &tested["tried"][0]["delivered"]), (&"chat".into(), &true.into()));
    assert_eq!(body(&receiver.wait_for(1)[0])["test"], true);
    let unknown = gateway.site.run(&["alert", "test", "falling"]);
    assert!(unknown.status.code() != Some(0) && unknown.stderr.join("").contains("no alert `falling`"), "{unknown:?}");
    assert_eq!(ask(&gateway, &["alert", "list"], 0)["contained"], serde_json::json!([]));
    let events = gateway.stop();
    assert!(of_kind(&events, "alert.fired").is_empty());
    assert_eq!(of_kind(&events, "admin.alert_test").len(), 2);
}

#[test]
fn a_reload_brings_an_alert_in_and_takes_it_out_again() {
    let (upstream, receiver) = (Upstream::start(), Receiver::start(|_| Answer::status(200)));
    let (mut gateway, key) = gateway(&receiver, &upstream, FAILING, ALERTS_BAN);
    let path = gateway.site.path("portcullis.toml");
    let with = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, with.replace("name = \"failing\"", "name = \"failing\"\nenabled = false")).unwrap();
    gateway.reload("ok");
    let fail = |gateway: &Gateway| {
        for _ in 0..3 {
            gateway.get("/", &[("X-Api-Key", "pcl_alice_guess")]);
        }
    };
    fail(&gateway);
    let before = gateway.refusals(3);
    // The answer comes behind what the rules have seen.
    assert_eq!(ask(&gateway, &["alert", "list"], 0)["alerts"], serde_json::json!([]));
    assert_eq!(gateway.get("/", &[("X-Api-Key", &key)]).status(), 200, "nobody is banned");
    assert!(of_kind(&gateway.events.all(), "alert.fired").is_empty());
    std::fs::write(&path, with).unwrap();
    gateway.reload("ok");
    fail(&gateway);
    assert_eq!(fired(&gateway, 1).len(), 1);
    let events = gateway.stop();
    let fired = of_kind(&events, "alert.fired");
    assert_eq!(fired.len(), 1);
    assert_eq!(fired[0]["alert"]["count"], 3);
    let evidence = fired[0]["alert"]["evidence"].as_array().unwrap();
    assert!(before.iter().all(|event| !evidence.contains(&event["id"])), "what was before it does not count");
}

/// Alice may see `/ok` and nothing else.
const ALICE: &str = r#"
[[role]]
name = "viewer"
permissions = [{ actions = ["GET /ok"] }]

[[assignment]]
name = "the-known-view"
role = "viewer"
principals = ["authenticated"]
scope = "*"
"#;

/// A gateway that accepts tokens of this key, with one alert that contains by this measure.
fn containing(key: &SigningKey, upstream: &Upstream, per: &str, measure: &str, policy: &str) -> Gateway {
    let mut site = Site::new(&upstream.url());
    site.accept_tokens(&[key], "");
    site.add(&format!(
        "[[alert]]\nname = \"denied\"\nwhen = {{ reasons = \"rbac.no_matching_grant\" }}\ncount = 2\nper = \"{per}\"\n\
         contain = [{{ {measure} }}]\n"
    ));
    site.policy(&[ALICE, policy].concat());
    site.start()
}

fn token(key: &SigningKey, subject: &str, mfa: bool, issued: i64) -> String {
    let claims = claims(subject).seconds_from_now("iat", issued);
    let claims = if mfa { claims.set("amr", vec!["mfa"]).seconds_from_now("auth_time", -1) } else { claims };
    bearer(key, &claims)
}

fn go(gateway: &Gateway, target: &str, token: &str) -> portcullis_testkit::wire::Answer {
    gateway.get(target, &[("Authorization", token)])
}

#[test]
fn a_principal_that_is_contained_must_step_up_until_it_is_lifted() {
    let (key, upstream) = (SigningKey::es256("k"), Upstream::start());
    let gateway = containing(&key, &upstream, "principal", "step_up = \"principal\", for = \"1h\"", ALERTS_BAN);
    let (alice, strong) = (token(&key, "alice", false, -60), token(&key, "alice", true, -60));
    let bob = token(&key, "bob", false, -60);
    assert_eq!(go(&gateway, "/ok", &alice).status(), 200);
    for _ in 0..2 {
        gateway.check_refused("denied", &go(&gateway, "/no", &alice), 403, "rbac.no_matching_grant");
    }
    fired(&gateway, 1);
    let event = gateway.check_refused("contained", &go(&gateway, "/ok", &alice), 401, "step_up.required");
    let message = event["message"].as_str().unwrap();
    assert!(message.contains("alert denied demands it until"), "{message}");
    assert!(event["checks"].to_string().contains("alert denied demands a fresh mfa until"), "{event:#}");
    // What was authenticated before may be what was stolen; a second later, within the leeway of clocks, it is not.
    gateway.check_refused("an mfa of before", &go(&gateway, "/ok", &strong), 401, "step_up.required");
    let later = claims("alice").set("amr", vec!["mfa"]).seconds_from_now("auth_time", 5);
    assert_eq!(go(&gateway, "/ok", &bearer(&key, &later)).status(), 200);
    assert_eq!(go(&gateway, "/ok", &bob).status(), 200);
    let contained = ask(&gateway, &["alert", "list"], 0)["contained"][0].clone();
    assert_eq!((&contained["measure"], &contained["on"]), (&"step_up".into(), &"user:alice".into()));
    ask(&gateway, &["alert", "lift", contained["id"].as_str().unwrap()], 0);
    assert_eq!(go(&gateway, "/ok", &alice).status(), 200);
}

#[test]
fn what_was_issued_before_it_was_revoked_counts_no_longer() {
    let (key, upstream) = (SigningKey::es256("k"), Upstream::start());
    let gateway = containing(&key, &upstream, "principal", "revoke = \"principal\"", ALERTS_BAN);
    let old = token(&key, "alice", true, -60);
    for _ in 0..2 {
        gateway.check_refused("denied", &go(&gateway, "/no", &old), 403, "rbac.no_matching_grant");
    }
    fired(&gateway, 1);
    let event = gateway.check_refused("revoked", &go(&gateway, "/ok", &old), 401, "authn.revoked");
    assert!(event["message"].as_str().unwrap().contains("which alert denied has revoked"), "{event:#}");
    // A second later, within the leeway of clocks.
    assert_eq!(go(&gateway, "/ok", &token(&key, "alice", false, 5)).status(), 200);
    assert_eq!(go(&gateway, "/ok", &token(&key, "bob", false, -60)).status(), 200);
}

/// Whoever comes from outside could have it closed for everybody.
#[test]
fn a_route_that_asks_for_no_credential_is_not_tightened() {
    let (key, upstream) = (SigningKey::es256("k"), Upstream::start());
    let open = format!("[[resource]]\nroute = \"app\"\nauthentication = \"none\"\n{ALERTS_BAN}");
    let gateway = containing(&key, &upstream, "route", "tighten = \"route\", for = \"30m\"", &open);
    let go = |target: &str| gateway.get(target, &[]);
    for _ in 0..2 {
        assert_eq!(go("/no").status(), 403);
    }
    let event = fired(&gateway, 1).remove(0);
    assert!(event["alert"]["actions"].to_string().contains("that would close it for everybody"), "{event:#}");
    assert_ne!(go("/ok").json()["reason"], "rbac.condition_unmet");
}

#[test]
fn a_route_that_is_tightened_demands_assurance_of_everybody() {
    let (key, upstream) = (SigningKey::es256("k"), Upstream::start());
    let gateway = containing(&key, &upstream, "route", "tighten = \"route\", for = \"30m\"", ALERTS_BAN);
    let (alice, bob) = (token(&key, "alice", false, -60), token(&key, "bob", false, -60));
    gateway.check_refused("denied", &go(&gateway, "/no", &alice), 403, "rbac.no_matching_grant");
    gateway.check_refused("denied", &go(&gateway, "/no", &bob), 403, "rbac.no_matching_grant");
    let event = fired(&gateway, 1).remove(0);
    assert_eq!((&event["alert"]["key"]["value"], &event["policy"]["route"]), (&"app".into(), &"app".into()));
    gateway.check_refused("tightened", &go(&gateway, "/ok", &bob), 401, "step_up.required");
    assert_eq!(go(&gateway, "/ok", &token(&key, "bob", true, -60)).status(), 200);
}

#[test]
fn where_bans_are_only_simulated_what_alerts_demand_is_only_reported() {
    let (key, upstream) = (SigningKey::es256("k"), Upstream::start());
    let policy = "\n[ban]\nmode = \"simulate\"\n";
    let gateway = containing(&key, &upstream, "principal", "step_up = \"principal\"", policy);
    let alice = token(&key, "alice", false, -60);
    for _ in 0..2 {
        go(&gateway, "/no", &alice);
    }
    let event = fired(&gateway, 1).remove(0);
    assert!(event["alert"]["actions"][0].as_str().unwrap().contains("simulated"), "{event:#}");
    let answer = go(&gateway, "/ok", &alice);
    assert_eq!(answer.status(), 200);
    let permitted = || gateway.events.all().into_iter().find(|event| event["kind"] == "access.allowed");
    let permitted = wait::until(PATIENCE, permitted).expect("it is reported");
    assert_eq!(permitted["shadow"][0]["reason"], "step_up.required");
}

#[test]
fn what_is_listed_is_what_is_in_force_whoever_ended_it() {
    let (upstream, receiver) = (Upstream::start(), Receiver::start(|_| Answer::status(200)));
    let (gateway, key) = gateway(&receiver, &upstream, FAILING, ALERTS_BAN);
    let from = |key: &str| gateway.get_from("127.0.0.9", "/", &[("X-Api-Key", key)]);
    for _ in 0..3 {
        from("pcl_alice_guess");
    }
    fired(&gateway, 1);
    let contained = || ask(&gateway, &["alert", "list"], 0)["contained"].clone();
    let id = contained()[0]["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("ban-"), "{id}");
    // An operator ends the ban itself.
    assert_eq!(gateway.site.run(&["ban", "remove", "--ip", "127.0.0.9"]).status.code(), Some(0));
    assert_eq!(from(&key).status(), 200);
    assert_eq!(contained(), serde_json::json!([]));
    assert_eq!(gateway.metric("portcullis_alert_contained"), Some(0.0));
    // And makes one of another cause, which the alert's id does not lift.
    let ban = ["ban", "add", "--ip", "127.0.0.9", "--for", "1h", "--reason", "by hand"];
    assert_eq!(gateway.site.run(&ban).status.code(), Some(0));
    let lift = gateway.site.run(&["alert", "lift", &id]);
    assert!(lift.stderr.join("").contains("nothing of that id is contained"), "{lift:?}");
    gateway.check_refused("banned by hand", &from(&key), 403, "ban.active");
}

#[test]
fn two_alerts_contain_one_principal_and_each_is_lifted_by_itself() {
    let (key, upstream) = (SigningKey::es256("k"), Upstream::start());
    let mut site = Site::new(&upstream.url());
    site.accept_tokens(&[&key], "");
    for name in ["one", "two"] {
        site.add(&format!(
            "[[alert]]\nname = \"{name}\"\nwhen = {{ reasons = \"rbac.no_matching_grant\" }}\ncount = 1\nper = \"principal\"\n\
             cool_down = \"1s\"\ncontain = [{{ step_up = \"principal\" }}]\n"
        ));
    }
    site.policy(&[ALICE, ALERTS_BAN].concat());
    let gateway = site.start();
    let alice = token(&key, "alice", false, -60);
    gateway.check_refused("denied", &go(&gateway, "/no", &alice), 403, "rbac.no_matching_grant");
    fired(&gateway, 2);
    let contained = || ask(&gateway, &["alert", "list"], 0)["contained"].as_array().unwrap().clone();
    let id_of = |entries: &[Value], alert: &str| {
        let entry = entries.iter().find(|entry| entry["alert"] == alert).unwrap_or_else(|| panic!("{entries:?}"));
        entry["id"].as_str().unwrap().to_owned()
    };
    let first = contained();
    assert_eq!(first.len(), 2, "{first:?}");
    // They fire again, for a token that is strong enough to be let through to the policy: each still contains once, under the same id.
    let later = bearer(&key, &claims("alice").set("amr", vec!["mfa"]).seconds_from_now("auth_time", 30));
    let again = || {
        go(&gateway, "/no", &later);
        let events = gateway.events.all();
        let of = |alert: &str| {
            of_kind(&events, "alert.fired").iter().filter(|event| event["alert"]["rule"] == alert).count()
        };
        (of("one") >= 2 && of("two") >= 2).then_some(())
    };
    wait::until(PATIENCE, again).expect("they fire again");
    let second = contained();
    assert_eq!(second.len(), 2, "{second:?}");
    assert_eq!(id_of(&first, "one"), id_of(&second, "one"));
    // Lifting one leaves the other.
    ask(&gateway, &["alert", "lift", &id_of(&second, "one")], 0);
    gateway.check_refused("the other's", &go(&gateway, "/ok", &alice), 401, "step_up.required");
    assert_eq!(contained().len(), 1);
    ask(&gateway, &["alert", "lift", &id_of(&second, "two")], 0);
    assert_eq!(go(&gateway, "/ok", &alice).status(), 200);
}

#[test]
fn one_address_with_many_claimed_names_is_seen_and_no_name_is_recorded() {
    let (key, forger, upstream) = (SigningKey::es256("k"), SigningKey::es256("k"), Upstream::start());
    let mut site = Site::new(&upstream.url());
    site.accept_tokens(&[&key], "");
    site.add(
        "[[alert]]\nname = \"spraying\"\nwhen = { reasons = \"authn.*\" }\ndistinct = \"principal\"\ncount = 3\nper = \"address\"\n\
         contain = [{ ban = \"address\", for = \"1h\" }]\n",
    );
    site.policy(&[ALICE, ALERTS_BAN].concat());
    let gateway = site.start();
    let from = |source: &str, token: &str| gateway.get_from(source, "/ok", &[("Authorization", token)]);
    let forged = |name: &str| token(&forger, name, false, -60);
    // One name, often; and three, each from an address of its own.
    for _ in 0..5 {
        gateway.check_refused("forged", &from("127.0.0.8", &forged("victim-a")), 401, "authn.invalid");
    }
    for (source, name) in [("127.0.0.5", "victim-a"), ("127.0.0.6", "victim-b"), ("127.0.0.7", "victim-c")] {
        gateway.check_refused("forged", &from(source, &forged(name)), 401, "authn.invalid");
    }
    for name in ["victim-a", "victim-b", "victim-a", "victim-b", "victim-c"] {
        gateway.check_refused("forged", &from("127.0.0.9", &forged(name)), 401, "authn.invalid");
    }
    let event = fired(&gateway, 1).remove(0);
    assert_eq!((&event["alert"]["key"]["value"], &event["alert"]["count"]), (&"127.0.0.9".into(), &3.into()));
    gateway.check_refused("banned", &from("127.0.0.9", &token(&key, "alice", false, -60)), 403, "ban.active");
    assert_eq!(from("127.0.0.8", &token(&key, "alice", false, -60)).status(), 200);
    let events = gateway.stop();
    assert_eq!(of_kind(&events, "alert.fired").len(), 1);
    let recorded = serde_json::to_string(&events).unwrap();
    assert!(!recorded.contains("victim-"), "whom somebody claims to be is in no event");
    assert!(!recorded.contains("claimed"), "nor a number of it");
}

#[test]
fn while_a_mute_holds_what_fires_is_recorded_and_nothing_else() {
    let (upstream, receiver) = (Upstream::start(), Receiver::start(|_| Answer::status(200)));
    let mute = "\n[[mute]]\nfrom = 2020-01-01T00:00:00Z\nto = 2120-01-01T00:00:00Z\nreason = \"the great move\"\n";
    let (mut gateway, key) = gateway(&receiver, &upstream, &[FAILING, mute].concat(), ALERTS_BAN);
    let from = |gateway: &Gateway, key: &str| gateway.get_from("127.0.0.9", "/", &[("X-Api-Key", key)]);
    for _ in 0..3 {
        from(&gateway, "pcl_alice_guess");
    }
    let event = fired(&gateway, 1).remove(0);
    assert_eq!(
        (&event["alert"]["muted"], &event["alert"]["actions"]),
        (&"the great move".into(), &serde_json::json!([]))
    );
    assert_eq!(from(&gateway, &key).status(), 200);
    let list = ask(&gateway, &["alert", "list"], 0);
    assert_eq!((&list["alerts"][0]["muted"], &list["contained"]), (&"the great move".into(), &serde_json::json!([])));
    // The maintenance is over: what was counted meanwhile counts still, and the next event fires.
    let path = gateway.site.path("portcullis.toml");
    let without = std::fs::read_to_string(&path).unwrap().replace(mute, "\n");
    std::fs::write(&path, without).unwrap();
    gateway.reload("ok");
    from(&gateway, "pcl_alice_guess");
    assert_eq!(fired(&gateway, 2)[1]["alert"]["count"], 3);
    gateway.check_refused("banned", &from(&gateway, &key), 403, "ban.active");
    assert_eq!(body(&receiver.wait_for(1)[0])["firings"].as_array().unwrap().len(), 1);
}

#[test]
fn an_operator_mutes_alerts_for_a_while_and_each_time_is_recorded() {
    let (upstream, receiver) = (Upstream::start(), Receiver::start(|_| Answer::status(200)));
    let (gateway, key) = gateway(&receiver, &upstream, FAILING, ALERTS_BAN);
    let from = |key: &str| gateway.get_from("127.0.0.9", "/", &[("X-Api-Key", key)]);
    let refused = |arguments: &[&str], why: &str| {
        let said = gateway.site.run(arguments);
        assert!(said.status.code() != Some(0) && said.stderr.join("").contains(why), "{said:?}");
    };
    refused(&["alert", "unmute", "failing"], "not muted by hand");
    refused(&["alert", "mute", "falling", "--for", "1h", "--reason", "x"], "no alert `falling`");
    refused(&["alert", "mute", "--all", "--for", "8d", "--reason", "x"], "a second to 7 days");
    refused(&["alert", "mute", "--all", "--for", "1h", "--reason", " "], "1 to 256 bytes");
    ask(&gateway, &["alert", "mute", "--all", "--for", "1h", "--reason", "we move"], 0);
    for _ in 0..3 {
        from("pcl_alice_guess");
    }
    let event = fired(&gateway, 1).remove(0);
    let muted = event["alert"]["muted"].as_str().unwrap();
    assert!(muted.starts_with("we move (by hand, until "), "{muted}");
    assert_eq!(from(&key).status(), 200);
    assert_eq!(ask(&gateway, &["alert", "list"], 0)["alerts"][0]["muted"], muted);
    // That all are muted is not ended for one of them.
    refused(&["alert", "unmute", "failing"], "not muted by hand");
    ask(&gateway, &["alert", "unmute", "--all"], 0);
    from("pcl_alice_guess");
    fired(&gateway, 2);
    gateway.check_refused("banned", &from(&key), 403, "ban.active");
    assert_eq!(receiver.wait_for(1).len(), 1);
    let events = gateway.stop();
    let done = of_kind(&events, "admin.alert_mute");
    let decisions: Vec<&str> = done.iter().map(|event| event["decision"].as_str().unwrap()).collect();
    assert_eq!(decisions, ["deny", "deny", "deny", "deny", "permit", "deny", "permit"]);
}
