//! Every event in every format: what the other schemas demand is there, nothing that they do not know is, and no text from a
//! caller can break a record or pass for another part of it.

mod injection;
mod parsers;
mod schemas;
mod syslog;

use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::event::tests::{id, missing_grant, now, to_line};
use crate::event::{Alert, AlertKey, AlertState};
use crate::{Event, EventKind, ReasonCode};

/// A kind for each that there is, those of later versions included, which a spool may hold after a downgrade.
const KINDS: [&str; 18] = [
    "access.denied",
    "access.allowed",
    "auth.failed",
    "auth.ok",
    "auth.step_up",
    "ban.created",
    "anomaly.detected",
    "alert.fired",
    "alert.resolved",
    "alert.undelivered",
    "policy.reloaded",
    "policy.rejected",
    "gateway.started",
    "gateway.stopped",
    "integrity.checkpoint",
    "admin.key_issued",
    "admin.ban_lifted",
    "events.lost",
];

/// A full and an empty event of each kind and each reason code, as native lines.
fn events() -> Vec<(String, Vec<u8>)> {
    let mut events = Vec::new();
    for code in ReasonCode::ALL {
        let mut full = missing_grant();
        full.set_reason(*code);
        for kind in KINDS {
            events.push((format!("{kind}, full, {code}"), of_kind(kind, full.clone())));
        }
        events.push((format!("{code}, bare"), to_line(Event::denied(id(), now(), *code))));
    }
    for kind in KINDS {
        events
            .push((format!("{kind}, bare"), of_kind(kind, Event::new(EventKind::GatewayStarted, Uuid::nil(), now()))));
    }
    for (kind, state) in [("alert.fired", AlertState::Fired), ("alert.resolved", AlertState::Resolved)] {
        let mut event = missing_grant();
        event.decision = None;
        event.alert = Some(Box::new(alert(state)));
        events.push((format!("{kind}, with its alert"), of_kind(kind, event)));
    }
    events.push((
        "a ban".to_owned(),
        of_kind("ban.created", {
            let mut event = missing_grant();
            event.ban.active = true;
            event.decision = None;
            event
        }),
    ));
    events
}

fn alert(state: AlertState) -> Alert {
    Alert {
        rule: "one-address-many-principals".into(),
        state,
        condition: "20 different principals per address within 5m".to_owned(),
        key: AlertKey { per: "address", value: "203.0.113.7".to_owned() },
        count: 20,
        since: now(),
        evidence: vec![id()],
        actions: vec!["notify ops-chat".to_owned()],
        muted: None,
        runbook: Some("https://wiki.example/denials".to_owned()),
    }
}

#[test]
fn an_alert_is_a_detection_by_the_name_of_its_rule() {
    let line = |kind: EventKind, state: AlertState| {
        let mut event = Event::new(kind, id(), now());
        event.alert = Some(Box::new(alert(state)));
        event.message = Some("20 different principals".to_owned());
        to_line(event)
    };
    let fired = line(EventKind::AlertFired, AlertState::Fired);
    let resolved = line(EventKind::AlertResolved, AlertState::Resolved);
    let rule = "one-address-many-principals";
    let ecs = json(Format::Ecs, &fired);
    assert_eq!((&ecs["event"]["kind"], &ecs["rule"]["name"]), (&"alert".into(), &rule.into()));
    assert_eq!(ecs["portcullis"]["alert"]["key"]["value"], "203.0.113.7");
    let [fired_ocsf, resolved_ocsf] = [&fired, &resolved].map(|line| json(Format::Ocsf, line));
    let of = |ocsf: &Value| (ocsf["class_uid"].clone(), ocsf["activity_id"].clone(), ocsf["status_id"].clone());
    assert_eq!(of(&fired_ocsf), (2_004.into(), 1.into(), 1.into()));
    assert_eq!(of(&resolved_ocsf), (2_004.into(), 3.into(), 4.into()));
    assert_eq!(fired_ocsf["finding_info"]["title"], rule);
    assert_eq!(json(Format::Asim, &fired)["AlertName"], rule);
    let cef = text(Format::Cef, &fired);
    assert!(cef.contains("|alert.fired|one-address-many-principals|8|") && cef.contains("cs1=one-address"), "{cef}");
    assert!(text(Format::Leef, &resolved).contains("|alert.resolved|"));
}

/// The line of an event with another kind.
fn of_kind(kind: &str, event: Event) -> Vec<u8> {
    let line = String::from_utf8(to_line(event)).unwrap();
    let (before, rest) = line.split_once("\"kind\":\"").unwrap();
    let (_, after) = rest.split_once('"').unwrap();
    format!("{before}\"kind\":\"{kind}\"{after}").into_bytes()
}

/// The record of a line.
fn written(format: Format, line: &[u8]) -> Vec<u8> {
    let mut out = b"before".to_vec();
    format.append(line, &mut out).unwrap_or_else(|error| panic!("{}: {error}", format.as_str()));
    assert!(out.starts_with(b"before"), "what was there stays");
    out.split_off(6)
}

fn json(format: Format, line: &[u8]) -> Value {
    serde_json::from_slice(&written(format, line)).unwrap()
}

fn text(format: Format, line: &[u8]) -> String {
    String::from_utf8(written(format, line)).unwrap()
}

#[test]
fn the_native_form_is_the_line_without_its_line_feed() {
    let line = to_line(missing_grant());
    assert_eq!(written(Format::Native, &line), line[..line.len() - 1]);
    assert_eq!(written(Format::Native, &line[..line.len() - 1]), line[..line.len() - 1]);
}

#[test]
fn a_line_that_is_no_event_is_refused_by_every_format() {
    for format in Format::ALL {
        for line in ["", "{}", "nonsense", "[]", "{\"id\":\"x\"", "null", "\u{0}"] {
            let mut out = b"before".to_vec();
            assert!(format.append(line.as_bytes(), &mut out).is_err(), "{} {line}", format.as_str());
            assert_eq!(out, b"before");
        }
    }
}

#[test]
fn a_refusal_as_ecs() {
    insta::assert_json_snapshot!(json(Format::Ecs, &to_line(missing_grant())));
}

#[test]
fn a_refusal_as_ocsf() {
    insta::assert_json_snapshot!(json(Format::Ocsf, &to_line(missing_grant())));
}

#[test]
fn a_refusal_as_asim() {
    insta::assert_json_snapshot!(json(Format::Asim, &to_line(missing_grant())));
}

#[test]
fn a_refusal_as_cef() {
    insta::assert_snapshot!(text(Format::Cef, &to_line(missing_grant())));
}

#[test]
fn a_refusal_as_leef() {
    insta::assert_snapshot!(text(Format::Leef, &to_line(missing_grant())));
}

#[test]
fn a_folded_record_says_how_many_it_stands_for_and_when() {
    let folded = "{\"count\":17,\"first_time\":\"2026-11-22T19:00:00Z\",\"last_time\":\"2026-11-22T19:04:12.5Z\",";
    let line = String::from_utf8(to_line(missing_grant())).unwrap().replacen('{', folded, 1);
    let check = |format: Format, pointer: &str, expected: Value| {
        assert_eq!(json(format, line.as_bytes()).pointer(pointer), Some(&expected), "{} {pointer}", format.as_str());
    };
    check(Format::Ecs, "/event/start", "2026-11-22T19:00:00Z".into());
    check(Format::Ecs, "/portcullis/count", 17.into());
    check(Format::Ocsf, "/count", 17.into());
    check(Format::Ocsf, "/end_time", 1_795_374_252_500_i64.into());
    check(Format::Asim, "/EventCount", 17.into());
    check(Format::Asim, "/EventEndTime", "2026-11-22T19:04:12.5Z".into());
    let cef = text(Format::Cef, line.as_bytes());
    assert!(cef.contains(" cnt=17 start=1795374000000 end=1795374252500 "), "{cef}");
    assert!(text(Format::Leef, line.as_bytes()).contains("^count=17^"));
}
