//! Webhooks, from an event to a receiver: what is told, in which shape, signed, tried again, and given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use portcullis_alerts::settings::*;
use portcullis_alerts::{Alerts, Delivered};
use portcullis_events::filter::Filter;
use portcullis_events::settings::{HttpAuth, HttpTarget, Secret, SinkKind, SinkSettings};
use portcullis_events::{Event, EventKind, ReasonCode, Recorder};
use portcullis_testkit::receiver::{Answer, Receiver};
use portcullis_testkit::wait::{self, PATIENCE};
use serde_json::Value;
use uuid::Uuid;

use crate::world::{World, rule, settings, start};

fn webhook(receiver: &Receiver, shape: Shape) -> WebhookSettings {
    let address = receiver.address();
    WebhookSettings {
        target: HttpTarget {
            tls: None,
            host: address.ip().to_string().into(),
            port: address.port(),
            path: "/hook".into(),
            timeout: Duration::from_secs(10),
        },
        shape,
        headers: vec![("x-team".into(), "ops".into())],
        auth: HttpAuth::Bearer(Secret::new("token")),
        secret: Some(Secret::new("shared")),
    }
}

#[test]
fn what_fires_is_one_event_and_one_signed_request_and_is_contained() {
    let receiver = Receiver::start(|_| Answer::status(200).body("ok"));
    let contain = vec![Containment { measure: Measure::BanAddress, lasts: Duration::from_secs(60) }];
    let rules = vec![Rule { contain, ..rule("hook") }];
    let running = start(rules, NotifierKind::Webhook(Box::new(webhook(&receiver, Shape::Generic))), 1);
    let first = running.refuse("203.0.113.7", None);
    let second = running.refuse("203.0.113.7", None);
    running.refuse("203.0.113.7", None);
    let event = running.of_kind("alert.fired", 1).remove(0);
    let alert = &event["alert"];
    assert_eq!((&alert["rule"], &alert["state"]), (&"failing".into(), &"fired".into()));
    assert_eq!(alert["key"], serde_json::json!({ "per": "address", "value": "203.0.113.7" }));
    assert_eq!(alert["evidence"], serde_json::json!([second.to_string(), first.to_string()]));
    assert_eq!(alert["actions"], serde_json::json!(["ban: ban 203.0.113.7", "notify hook"]));
    assert_eq!((&event["severity"], &event["policy"]["version"]), (&"high".into(), &7.into()));
    assert_eq!(event["remedy"]["help"], "https://help.example/authn.invalid");
    assert_eq!(*running.world.0.lock().unwrap(), ["ban 203.0.113.7"]);

    let request = receiver.wait_for(1).remove(0);
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/hook"));
    assert_eq!(request.header("authorization"), Some("Bearer token"));
    assert_eq!((request.header("x-team"), request.header("content-type")), (Some("ops"), Some("application/json")));
    let signature = request.header("x-portcullis-signature").unwrap();
    let (time, mac) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"shared");
    let signed = [time.as_bytes(), b".", &request.body].concat();
    let mac = data_encoding::HEXLOWER.decode(mac.as_bytes()).unwrap();
    aws_lc_rs::hmac::verify(&key, &signed, &mac).expect("the signature holds");
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        (&body["schema"], &body["alert"], &body["test"]),
        (&"portcullis.alert/1".into(), &"failing".into(), &false.into())
    );
    let firing = &body["firings"][0];
    assert_eq!((&firing["event"], &firing["key"], &firing["count"]), (&event["id"], &"203.0.113.7".into(), &2.into()));
    let next = firing["next"].as_str().unwrap();
    assert!(next.contains(&format!("portcullis events explain {second}")) && next.contains("help.example"), "{next}");
    let sent = wait::until(PATIENCE, || (running.told(Delivered::Sent) == 1).then_some(()));
    assert!(sent.is_some());
    running.alerts.shutdown(PATIENCE);
    assert_eq!(receiver.requests().len(), 1, "it fires once");
}

#[test]
fn keys_that_fire_together_are_one_notification_and_what_waits_goes_out_at_the_end() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let rules = vec![Rule { batch: Duration::from_secs(3_600), ..rule("hook") }];
    let running = start(rules, NotifierKind::Webhook(Box::new(webhook(&receiver, Shape::Generic))), 1);
    for address in ["203.0.113.7", "203.0.113.8", "203.0.113.7", "203.0.113.8"] {
        running.refuse(address, None);
    }
    assert_eq!(running.of_kind("alert.fired", 2).len(), 2);
    assert!(receiver.requests().is_empty());
    running.alerts.shutdown(PATIENCE);
    let body: Value = serde_json::from_slice(&receiver.wait_for(1).remove(0).body).unwrap();
    assert_eq!(body["firings"].as_array().unwrap().len(), 2);
    assert_eq!(body["title"], "failing fired for 2 keys");
}

#[test]
fn a_receiver_that_fails_is_asked_again_and_one_that_refuses_is_not() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let receiver = Receiver::start(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::status(503).header("retry-after", "0"),
        1 => Answer::status(204),
        _ => Answer::status(400).body("no such channel"),
    });
    let running = start(vec![rule("hook")], NotifierKind::Webhook(Box::new(webhook(&receiver, Shape::Generic))), 3);
    running.refuse("203.0.113.7", None);
    running.refuse("203.0.113.7", None);
    let ids: Vec<_> = receiver
        .wait_for(2)
        .iter()
        .map(|request| request.header("x-portcullis-notification").unwrap().to_owned())
        .collect();
    assert_eq!(ids[0], ids[1], "a receiver can tell that it is the same one");
    running.refuse("203.0.113.8", None);
    running.refuse("203.0.113.8", None);
    let event = running.of_kind("alert.undelivered", 1).remove(0);
    let message = event["message"].as_str().unwrap();
    assert!(
        message.contains("failing") && message.contains("hook") && message.contains("status 400: no such channel"),
        "{message}"
    );
    assert_eq!([Delivered::Sent, Delivered::Retried, Delivered::Failed].map(|result| running.told(result)), [1, 1, 1]);
    running.alerts.shutdown(PATIENCE);
    assert_eq!(receiver.requests().len(), 3);
}

#[test]
fn what_alerts_record_makes_no_alert_and_what_is_spared_says_why() {
    let receiver = Receiver::start(|_| Answer::status(404));
    // It would take every kind there is, those of alerts included.
    let filter = Filter { kinds: EventKind::ALL.to_vec(), ..Default::default() };
    let condition = Condition::Count { count: 1, window: Duration::from_secs(60) };
    let contain = vec![Containment { measure: Measure::BanAddress, lasts: Duration::from_secs(60) }];
    let rules = vec![Rule { when: When { filter, statuses: Vec::new() }, condition, contain, ..rule("hook") }];
    let running = start(rules, NotifierKind::Webhook(Box::new(webhook(&receiver, Shape::Slack))), 1);
    running.refuse("203.0.113.9", None);
    running.of_kind("alert.undelivered", 1);
    running.alerts.shutdown(PATIENCE);
    let events = running.of_kind("alert.fired", 1);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["alert"]["actions"][0], "ban: not done, it is spared");
}

#[test]
fn a_caller_cannot_write_into_a_message() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let by_principal = || Rule { per: Per::Each(Facet::Principal), ..rule("hook") };
    let evil = "<!channel> <https://evil.example|click> [x](https://evil.example)\u{202e}\n*b*";
    let mut bodies = Vec::new();
    for shape in [Shape::Slack, Shape::Teams] {
        let kind = NotifierKind::Webhook(Box::new(webhook(&receiver, shape)));
        let running = start(vec![by_principal()], kind, 1);
        running.refuse("203.0.113.7", Some(evil));
        running.refuse("203.0.113.7", Some(evil));
        running.of_kind("alert.fired", 1);
        running.alerts.shutdown(PATIENCE);
        let body: Value = serde_json::from_slice(&receiver.requests().pop().unwrap().body).unwrap();
        bodies.push(body);
    }
    let slack = bodies[0]["blocks"][1]["text"]["text"].as_str().unwrap();
    assert!(slack.contains("&lt;!channel&gt;") && !slack.contains("<!") && !slack.contains('\u{202e}'), "{slack}");
    assert_eq!(bodies[0]["blocks"][0]["text"]["text"], "failing fired");
    assert_eq!(slack.matches('\n').count(), 1, "{slack}");
    let card = &bodies[1]["attachments"][0]["content"];
    let teams = card["body"][1]["text"].as_str().unwrap();
    assert!(teams.contains(r"\[x\]\(https://evil.example\)") && teams.contains(r"\*b\*"), "{teams}");
    assert_eq!((&card["type"], &card["version"]), (&"AdaptiveCard".into(), &"1.4".into()));
    assert_eq!(card["actions"][0]["url"], "https://help.example/authn.invalid");
}

#[test]
fn a_test_says_that_it_is_one_and_does_nothing_else() {
    let receiver = Receiver::start(|_| Answer::status(200).body("fine"));
    let kind = || NotifierKind::Webhook(Box::new(webhook(&receiver, Shape::Generic)));
    let running = start(vec![rule("hook")], kind(), 1);
    let tried = running.alerts.test("failing").unwrap();
    assert_eq!((tried.len(), tried[0].delivered, tried[0].message.as_str()), (1, true, "status 200: fine"));
    assert!(running.alerts.test("unknown").is_none());
    let body: Value = serde_json::from_slice(&receiver.wait_for(1).remove(0).body).unwrap();
    assert_eq!((&body["test"], &body["title"]), (&true.into(), &"[TEST] failing fired".into()));
    assert!(body["firings"][0]["summary"].as_str().unwrap().starts_with("A test of the alert failing"));
    assert!(running.capture.events().is_empty() && running.world.0.lock().unwrap().is_empty());

    // A reload takes the notifier away, and adds another rule.
    let second = Rule { name: "second".into(), notify: Vec::new(), ..rule("hook") };
    running.alerts.replace(settings(vec![second], kind(), 1)).unwrap();
    assert!(running.alerts.test("failing").is_none() && running.alerts.test("second").unwrap().is_empty());
    running.refuse("203.0.113.7", None);
    running.refuse("203.0.113.7", None);
    let event = running.of_kind("alert.fired", 1).remove(0);
    assert_eq!((&event["alert"]["rule"], &event["alert"]["actions"]), (&"second".into(), &serde_json::json!([])));
    let overview = running.alerts.overview();
    assert_eq!((overview.alerts[0].fired, overview.alerts[0].firing.as_slice()), (1, &["203.0.113.7".to_owned()][..]));
    running.alerts.replace(Settings::default()).unwrap();
    assert!(running.alerts.overview().alerts.is_empty());
    running.alerts.shutdown(PATIENCE);
}

#[test]
fn what_no_sink_takes_is_counted_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_| Answer::status(200));
    let file = SinkKind::File { path: folder.path().join("bans.jsonl") };
    let filter = Filter { kinds: vec![EventKind::BanCreated], ..Filter::default() };
    let sinks = vec![SinkSettings { filter, ..SinkSettings::new("bans", file) }];
    let recorder = Recorder::start(&portcullis_events::Settings { sinks, ..Default::default() }).unwrap();
    let kind = NotifierKind::Webhook(Box::new(webhook(&receiver, Shape::Generic)));
    let alerts = Alerts::start(settings(vec![rule("hook")], kind, 1), &recorder, Arc::<World>::default()).unwrap();
    for _ in 0..2 {
        let mut event = Event::denied(Uuid::now_v7(), Timestamp::now(), ReasonCode::AuthnInvalid);
        event.client.ip = Some([203, 0, 113, 7].into());
        recorder.record(event);
    }
    let body: Value = serde_json::from_slice(&receiver.wait_for(1).remove(0).body).unwrap();
    assert_eq!(body["firings"][0]["key"], "203.0.113.7");
    alerts.shutdown(PATIENCE);
    recorder.shutdown(PATIENCE);
    assert_eq!(std::fs::read_to_string(folder.path().join("bans.jsonl")).unwrap(), "", "no sink wanted any of it");
}
