//! The sink against a stub that reads the protobuf by the numbers of opentelemetry-proto, and is strict about the protocol. A real
//! collector is in no package of this system.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_testkit::receiver::{Answer, Receiver};

use super::protobuf::{Value, fields};
use super::*;
use crate::settings::{BatchSettings, HttpAuth, Secret};
use crate::sinks::testing::{body, deliver, lines, target};

fn sink(receiver: &Receiver) -> OtlpSink {
    OtlpSink::open(OtlpSettings {
        target: target(receiver, "/v1/logs"),
        auth: HttpAuth::Bearer(Secret::new("t")),
        headers: Vec::new(),
        gzip: true,
        batch: BatchSettings::default(),
    })
    .unwrap()
}

/// The contents of all fields of this number that are bytes.
fn inner(message: &[u8], number: u64) -> Vec<Vec<u8>> {
    let of_number = |field: protobuf::Field<'_>| match field.value {
        Value::Bytes(bytes) if field.number == number => Some(bytes.to_vec()),
        _ => None,
    };
    fields(message).filter_map(of_number).collect()
}

fn one(message: &[u8], number: u64) -> Vec<u8> {
    let mut found = inner(message, number);
    assert_eq!(found.len(), 1, "field {number}");
    found.remove(0)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Attributes with their values: a text, a number, or the texts of a list.
fn attributes(message: &[u8], number: u64) -> BTreeMap<String, String> {
    let value = |any: &[u8]| {
        let field = fields(any).next().unwrap();
        match (field.number, field.value) {
            (1, Value::Bytes(text_of)) => text(text_of),
            (3, Value::Number(number)) => number.cast_signed().to_string(),
            (5, Value::Bytes(array)) => {
                inner(array, 1).iter().map(|any| text(&one(any, 1))).collect::<Vec<_>>().join(",")
            }
            other => panic!("{other:?}"),
        }
    };
    inner(message, number).iter().map(|pair| (text(&one(pair, 1)), value(&one(pair, 2)))).collect()
}

#[test]
fn each_event_is_a_log_record_with_the_names_of_the_conventions() {
    let receiver = Receiver::start(|_| Answer::status(200));
    assert_eq!(deliver(&mut sink(&receiver), &lines(1..3)), Delivery::Accepted);
    let request = &receiver.requests()[0];
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/v1/logs"));
    assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
    assert_eq!(request.header("authorization"), Some("Bearer t"));
    let resource_logs = one(&body(request), 1);
    let resource = attributes(&one(&resource_logs, 1), 1);
    assert_eq!((resource["service.name"].as_str(), resource["service.instance.id"].as_str()), ("portcullis", "gw-1"));
    let scope_logs = one(&resource_logs, 2);
    assert_eq!(text(&one(&one(&scope_logs, 1), 1)), "portcullis.events");
    let records = inner(&scope_logs, 2);
    assert_eq!(records.len(), 2);
    let record = &records[1];
    assert!(record.starts_with(&[9]), "time_unix_nano is a fixed64");
    assert_eq!(record[1..9], 1_795_374_252_697_123_000_u64.to_le_bytes());
    let number = |wanted| fields(record).find(|field| field.number == wanted).map(|field| field.value);
    assert_eq!(number(2), Some(Value::Number(13)));
    assert_eq!(text(&one(record, 3)), "WARN");
    assert!(text(&one(&one(record, 5), 1)).starts_with("user:alice may not GET"));
    assert_eq!(text(&one(record, 12)), "portcullis.access.denied");
    assert_eq!((one(record, 9).len(), one(record, 10).len()), (16, 8));
    let attributes = attributes(record, 6);
    let check = |name: &str, expected: &str| assert_eq!(attributes[name], expected, "{name}");
    check("event.id", "0197a000-0000-7000-8000-000000000002");
    check("http.response.status_code", "403");
    check("http.request.method", "GET");
    check("url.path", "/api/invoices/7");
    check("client.address", "203.0.113.7");
    check("user.roles", "staff");
    check("portcullis.reason", "rbac.no_matching_grant");
    check("portcullis.risk.score", "115");
    let native: serde_json::Value = serde_json::from_str(&attributes["portcullis.event"]).unwrap();
    assert_eq!(native["seq"], 2);
}

#[test]
fn events_of_two_nodes_are_of_two_resources() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let mut batch = lines(1..3);
    batch.push(String::from_utf8(lines(3..4).remove(0)).unwrap().replace("\"gw-1\"", "\"gw-2\"").into_bytes());
    assert_eq!(deliver(&mut sink(&receiver), &batch), Delivery::Accepted);
    let groups = inner(&body(&receiver.requests()[0]), 1);
    let nodes: Vec<_> =
        groups.iter().map(|group| attributes(&one(group, 1), 1)["service.instance.id"].clone()).collect();
    assert_eq!(nodes, ["gw-1", "gw-2"]);
}

#[test]
fn each_answer_means_what_the_protocol_says() {
    let check = |answer: Answer, expected: fn(&Delivery) -> bool| {
        let receiver = Receiver::start(move |_| answer.clone());
        let delivery = deliver(&mut sink(&receiver), &lines(1..3));
        assert!(expected(&delivery), "{delivery:?}");
    };
    for status in [429, 502, 503, 504] {
        let answer = Answer::status(status).header("Retry-After", "3");
        check(
            answer,
            |delivery| matches!(delivery, Delivery::Retry { after: Some(after), .. } if *after == Duration::from_secs(3)),
        );
    }
    for status in [400, 500, 501] {
        check(
            Answer::status(status),
            |delivery| matches!(delivery, Delivery::Refused { which, .. } if which.is_empty()),
        );
    }
    check(Answer::status(413), |delivery| *delivery == Delivery::TooLarge);
    check(Answer::status(401), |delivery| matches!(delivery, Delivery::Barred { .. }));
    // A warning without a rejected record is a success; a rejected one is none, and must not be sent again.
    check(Answer::status(200).body(b"\x0a\x06\x12\x04hmm!".to_vec()), |delivery| *delivery == Delivery::Accepted);
    check(
        Answer::status(200).body(b"\x0a\x04\x08\x01\x12\x00".to_vec()),
        |delivery| matches!(delivery, Delivery::Refused { which, why } if which.is_empty() && why.contains("rejected 1 of 2")),
    );
}

#[test]
fn what_is_no_event_is_refused_beside_the_others() {
    let receiver = Receiver::start(|_| Answer::status(200));
    let mut batch = lines(1..2);
    batch.push(b"{}".to_vec());
    let delivery = deliver(&mut sink(&receiver), &batch);
    assert!(matches!(&delivery, Delivery::Refused { which, .. } if *which == [1]), "{delivery:?}");
    assert_eq!(receiver.requests().len(), 1);
}
