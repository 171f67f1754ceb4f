//! Alerts: what fires, who is told, what is contained, and how that is lifted.

use portcullis_testkit::receiver::{Answer, Receiver};
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use serde_json::Value;

use crate::harness::{AUTHENTICATED, Gateway, Site, of_kind};

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
    let (mut gateway, _) = gateway(&receiver, &upstream, FAILING, ALERTS_BAN);
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
    gateway.refusals(3);
    std::fs::write(&path, with).unwrap();
    gateway.reload("ok");
    fail(&gateway);
    assert_eq!(fired(&gateway, 1).len(), 1);
    let events = gateway.stop();
    let fired = of_kind(&events, "alert.fired");
    assert_eq!(fired.len(), 1);
    assert_eq!(fired[0]["alert"]["count"], 3);
}
