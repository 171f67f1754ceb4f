//! The shapes of bodies, what proves who the gateway is, and what each answer means; against stubs.

use std::sync::Arc;
use std::time::Duration;

use portcullis_testkit::certificates::{Authority, San};
use portcullis_testkit::receiver::{Answer, Receiver};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::*;
use crate::format::Format;
use crate::settings::{BatchSettings, HttpTarget, Secret, TlsSettings};
use crate::sinks::testing::{body, deliver, documents, lines, target};

fn settings(target: HttpTarget, body: HttpBody) -> HttpSettings {
    HttpSettings {
        target,
        body,
        format: Format::Native,
        auth: HttpAuth::None,
        headers: Vec::new(),
        gzip: true,
        batch: BatchSettings::default(),
    }
}

fn sink(receiver: &Receiver, shape: HttpBody) -> HttpSink {
    HttpSink::open(settings(target(receiver, "/in?x=y"), shape)).unwrap()
}

fn accepting() -> Receiver {
    Receiver::start(|_| Answer::status(200).body("{}"))
}

#[test]
fn lines_and_arrays_have_every_event_in_order() {
    let receiver = accepting();
    assert_eq!(deliver(&mut sink(&receiver, HttpBody::Ndjson), &lines(1..4)), Delivery::Accepted);
    assert_eq!(deliver(&mut sink(&receiver, HttpBody::Array), &lines(1..4)), Delivery::Accepted);
    let requests = receiver.requests();
    let kinds = ["application/x-ndjson", "application/json"];
    for (request, kind) in requests.iter().zip(kinds) {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/in?x=y"));
        assert_eq!(request.header("content-type"), Some(kind));
        assert_eq!(request.header("host"), Some(receiver.address().to_string().as_str()));
    }
    let numbers = |values: &[Value]| values.iter().map(|value| value["seq"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(numbers(&documents(&body(&requests[0]))), [1, 2, 3]);
    let array: Vec<Value> = serde_json::from_slice(&body(&requests[1])).unwrap();
    assert_eq!(numbers(&array), [1, 2, 3]);
}

#[test]
fn a_line_of_text_is_a_string_where_json_is_wanted() {
    let receiver = accepting();
    for shape in [HttpBody::Ndjson, HttpBody::Array] {
        let plain = HttpSettings { format: Format::Cef, gzip: false, ..settings(target(&receiver, "/"), shape) };
        assert_eq!(deliver(&mut HttpSink::open(plain).unwrap(), &lines(1..3)), Delivery::Accepted);
    }
    let requests = receiver.requests();
    assert_eq!(requests[0].header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(requests[0].header("content-encoding"), None);
    let text = String::from_utf8(requests[0].body.clone()).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("CEF:0|")).count(), 2);
    let array: Vec<String> = serde_json::from_slice(&requests[1].body).unwrap();
    assert!(array.len() == 2 && array[0].starts_with("CEF:0|"));
}

#[test]
fn splunk_gets_objects_of_its_collector() {
    let receiver = accepting();
    let shape = HttpBody::SplunkHec {
        index: Some("security".into()),
        source: "portcullis".into(),
        sourcetype: "portcullis:event".into(),
    };
    assert_eq!(deliver(&mut sink(&receiver, shape), &lines(1..3)), Delivery::Accepted);
    let objects = documents(&body(&receiver.requests()[0]));
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0]["time"].to_string(), "1795374252.697123");
    let about = ["host", "source", "sourcetype", "index"].map(|key| objects[1][key].as_str().unwrap());
    assert_eq!(about, ["gw-1", "portcullis", "portcullis:event", "security"]);
    assert_eq!(objects[1]["event"]["seq"], 2);
}

#[test]
fn the_one_event_that_splunk_does_not_take_is_found_by_halves() {
    // As the collector says it: code 6, and the place of the first bad event; what stands before it is taken.
    let receiver = Receiver::start(|request| {
        let events = documents(&body(request));
        match events.iter().position(|object| object["event"]["seq"] == 2) {
            Some(number) => Answer::status(400)
                .body(json!({ "text": "Invalid data format", "code": 6, "invalid-event-number": number }).to_string()),
            None => Answer::status(200).body(r#"{"text":"Success","code":0}"#),
        }
    });
    let shape = HttpBody::SplunkHec { index: None, source: "s".into(), sourcetype: "t".into() };
    let mut sink = sink(&receiver, shape);
    assert_eq!(deliver(&mut sink, &lines(1..4)), Delivery::TooLarge);
    let Delivery::Refused { which, why } = deliver(&mut sink, &lines(2..3)) else { panic!() };
    assert_eq!(which, [0]);
    assert!(why.contains("Invalid data format"), "{why}");
    assert_eq!(deliver(&mut sink, &lines(3..4)), Delivery::Accepted);
}

/// An answer of the bulk API with these statuses.
fn bulk(statuses: &[u16]) -> String {
    let item = |status: &u16| match status {
        200..=299 => json!({ "create": { "_id": "x", "status": status } }),
        _ => {
            json!({ "create": { "_id": "x", "status": status, "error": { "type": "some_exception", "reason": "no" } } })
        }
    };
    let errors = statuses.iter().any(|status| *status > 299);
    json!({ "took": 1, "errors": errors, "items": statuses.iter().map(item).collect::<Vec<_>>() }).to_string()
}

#[test]
fn elastic_gets_an_action_and_a_document_for_each_event() {
    let receiver = Receiver::start(|_| Answer::status(200).body(bulk(&[201, 201])));
    let bulk_settings = HttpSettings {
        format: Format::Ecs,
        ..settings(target(&receiver, "/_bulk"), HttpBody::ElasticBulk { index: "logs-portcullis".into() })
    };
    assert_eq!(deliver(&mut HttpSink::open(bulk_settings).unwrap(), &lines(1..3)), Delivery::Accepted);
    let request = &receiver.requests()[0];
    assert_eq!(request.header("content-type"), Some("application/x-ndjson"));
    let body = body(request);
    assert!(body.ends_with(b"\n"), "the API wants it");
    let documents = documents(&body);
    let id = "0197a000-0000-7000-8000-000000000001";
    assert_eq!(documents[0], json!({ "create": { "_index": "logs-portcullis", "_id": id } }));
    assert_eq!((&documents[1]["event"]["id"], documents.len()), (&json!(id), 4));
}

#[test]
fn elastic_says_of_each_event_what_became_of_it() {
    let check = |statuses: &'static [u16], expected: &str| {
        let receiver = Receiver::start(move |_| Answer::status(200).body(bulk(statuses)));
        let shape = HttpBody::ElasticBulk { index: "i".into() };
        let delivery = deliver(&mut sink(&receiver, shape), &lines(1..4));
        let said = match delivery {
            Delivery::Accepted => "accepted".to_owned(),
            Delivery::Retry { why, .. } => format!("retry {why}"),
            Delivery::Barred { why, .. } => format!("barred {why}"),
            Delivery::Refused { which, why } => format!("refused {which:?} {why}"),
            Delivery::TooLarge => "too large".to_owned(),
        };
        assert!(said.starts_with(expected), "{statuses:?}: {said}");
    };
    check(&[201, 201, 201], "accepted");
    // What is there already came before.
    check(&[409, 201, 409], "accepted");
    check(&[201, 400, 409], "refused [1] the receiver refuses (400): some_exception no");
    check(&[400, 201, 400], "refused [0, 2]");
    check(&[201, 429, 400], "retry the receiver refuses (429)");
    check(&[201, 503, 201], "retry");
    check(&[201, 400], "retry the receiver answered 2 of 3 events");
    let receiver = Receiver::start(|_| Answer::status(200).body("<html>"));
    let delivery = deliver(&mut sink(&receiver, HttpBody::ElasticBulk { index: "i".into() }), &lines(1..2));
    assert!(matches!(delivery, Delivery::Barred { .. }), "{delivery:?}");
}

#[test]
fn loki_gets_a_stream_for_each_kind_and_severity() {
    let receiver = Receiver::start(|_| Answer::status(204));
    let shape = HttpBody::Loki { labels: vec![("job".into(), "portcullis".into())] };
    let mut batch = lines(1..3);
    let started = String::from_utf8(lines(3..4).remove(0)).unwrap();
    batch.push(started.replace("access.denied", "gateway.started").replace("\"medium\"", "\"low\"").into_bytes());
    assert_eq!(deliver(&mut sink(&receiver, shape), &batch), Delivery::Accepted);
    let push: Value = serde_json::from_slice(&body(&receiver.requests()[0])).unwrap();
    let streams = push["streams"].as_array().unwrap();
    assert_eq!(streams.len(), 2);
    assert_eq!(streams[0]["stream"], json!({ "job": "portcullis", "kind": "access.denied", "severity": "medium" }));
    assert_eq!(streams[0]["values"][1][0], "1795374252697123000");
    let line: Value = serde_json::from_str(streams[0]["values"][1][1].as_str().unwrap()).unwrap();
    assert_eq!((&line["seq"], &streams[1]["stream"]["severity"]), (&json!(2), &json!("low")));
}

#[test]
fn each_way_of_proof_is_a_header_and_further_ones_go_along() {
    let splunk = || HttpBody::SplunkHec { index: None, source: "s".into(), sourcetype: "t".into() };
    let check = |auth: HttpAuth, shape: HttpBody, name: &str, expected: &str| {
        let receiver = accepting();
        let headers: Vec<(Arc<str>, Arc<str>)> = vec![("x-scope-orgid".into(), "tenant".into())];
        let settings = HttpSettings { auth, headers, ..settings(target(&receiver, "/"), shape) };
        assert_eq!(deliver(&mut HttpSink::open(settings).unwrap(), &lines(1..2)), Delivery::Accepted);
        let request = &receiver.requests()[0];
        assert_eq!((request.header(name), request.header("x-scope-orgid")), (Some(expected), Some("tenant")));
    };
    check(HttpAuth::Bearer(Secret::new("t0ken")), HttpBody::Ndjson, "authorization", "Bearer t0ken");
    check(HttpAuth::Bearer(Secret::new("t0ken")), splunk(), "authorization", "Splunk t0ken");
    let basic = HttpAuth::Basic { user: "Aladdin".into(), password: Secret::new("open sesame") };
    check(basic, HttpBody::Ndjson, "authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    let own = HttpAuth::Header { name: "x-api-key".into(), value: Secret::new("k") };
    check(own, HttpBody::Ndjson, "x-api-key", "k");
}

#[test]
fn an_answer_decides_and_says_how_long_to_wait() {
    let check = |answer: Answer, expected: fn(&Delivery) -> bool| {
        let receiver = Receiver::start(move |_| answer.clone());
        let delivery = deliver(&mut sink(&receiver, HttpBody::Ndjson), &lines(1..2));
        assert!(expected(&delivery), "{delivery:?}");
    };
    check(Answer::status(202), |delivery| *delivery == Delivery::Accepted);
    check(Answer::status(413), |delivery| *delivery == Delivery::TooLarge);
    check(
        Answer::status(400).body("bad"),
        |delivery| matches!(delivery, Delivery::Refused { which, why } if which.is_empty() && why.ends_with("(400): bad")),
    );
    check(
        Answer::status(429).header("Retry-After", "17"),
        |delivery| matches!(delivery, Delivery::Retry { after: Some(after), .. } if *after == Duration::from_secs(17)),
    );
    check(Answer::status(503), |delivery| matches!(delivery, Delivery::Retry { after: None, .. }));
    check(Answer::status(401), |delivery| matches!(delivery, Delivery::Barred { .. }));
    // Events go where the configuration says, and nowhere else.
    check(Answer::status(307).header("Location", "http://127.0.0.1:9/"), |delivery| {
        matches!(delivery, Delivery::Barred { .. })
    });
    // An answer longer than what is read is an answer all the same.
    check(Answer::status(200).body(vec![b'x'; 2 << 20]), |delivery| *delivery == Delivery::Accepted);
}

#[test]
fn a_connection_is_kept_and_one_that_was_closed_meanwhile_is_replaced() {
    let receiver = Receiver::start(|request| match request.body.len() {
        0 => Answer::status(500),
        _ => Answer::status(200).then_close(),
    });
    let mut closing = sink(&receiver, HttpBody::Ndjson);
    for _ in 0..3 {
        assert_eq!(deliver(&mut closing, &lines(1..2)), Delivery::Accepted);
    }
    let connections: Vec<usize> = receiver.requests().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 1, 2]);

    let receiver = accepting();
    let mut keeping = sink(&receiver, HttpBody::Ndjson);
    for _ in 0..3 {
        assert_eq!(deliver(&mut keeping, &lines(1..2)), Delivery::Accepted);
    }
    assert!(receiver.requests().iter().all(|request| request.connection == 0));
}

#[test]
fn nobody_there_and_nobody_answering_are_reasons_to_wait() {
    let receiver = accepting();
    let free = HttpTarget { port: portcullis_testkit::ports::free_port(), ..target(&receiver, "/") };
    let nobody = HttpSink::open(settings(free, HttpBody::Ndjson)).unwrap().deliver(&[Line { json: &lines(1..2)[0] }]);
    assert!(matches!(&nobody, Delivery::Retry { why, .. } if why.contains("cannot connect")), "{nobody:?}");
    // It takes the connection and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let short = HttpTarget {
        port: silent.local_addr().unwrap().port(),
        timeout: Duration::from_millis(200),
        ..target(&receiver, "/")
    };
    let silence = deliver(&mut HttpSink::open(settings(short, HttpBody::Ndjson)).unwrap(), &lines(1..2));
    assert_eq!(silence, Delivery::Retry { after: None, why: "no answer in time".to_owned() });
}

#[test]
fn tls_is_spoken_with_whom_the_authority_vouches_for_and_with_nobody_else() {
    let authority = Authority::new("siem");
    let roots = vec![CertificateDer::from_pem_slice(authority.certificate().as_bytes()).unwrap()];
    let check = |name: &str, server_name: Option<&str>, accepted: bool| {
        let receiver = Receiver::start_tls(&authority.issue(&[San::Host(name)]), |_| Answer::status(200));
        let tls =
            TlsSettings { roots: roots.clone(), server_name: server_name.map(Into::into), ..TlsSettings::default() };
        let target = HttpTarget { tls: Some(tls), ..target(&receiver, "/") };
        let delivery = deliver(&mut HttpSink::open(settings(target, HttpBody::Ndjson)).unwrap(), &lines(1..2));
        assert_eq!(delivery == Delivery::Accepted, accepted, "{name}: {delivery:?}");
        assert_eq!(receiver.requests().len(), usize::from(accepted));
    };
    check("127.0.0.1", None, true);
    check("siem.example", None, false);
    check("siem.example", Some("siem.example"), true);
    check("127.0.0.1", Some("siem.example"), false);
}

#[test]
fn what_is_no_event_is_refused_beside_the_others() {
    let receiver = accepting();
    let mut batch = lines(1..3);
    batch.insert(1, b"{\"torn".to_vec());
    for shape in [HttpBody::Ndjson, HttpBody::Array] {
        let delivery = deliver(&mut sink(&receiver, shape), &batch);
        assert!(matches!(&delivery, Delivery::Refused { which, .. } if *which == [1]), "{delivery:?}");
    }
    let array: Vec<Value> = serde_json::from_slice(&body(&receiver.requests()[1])).unwrap();
    assert_eq!(array.len(), 2);
    // Of nothing, nothing is sent.
    let delivery = deliver(&mut sink(&receiver, HttpBody::Array), &batch[1..2]);
    assert!(matches!(&delivery, Delivery::Refused { which, .. } if *which == [0]), "{delivery:?}");
    assert_eq!(receiver.requests().len(), 2);
}
