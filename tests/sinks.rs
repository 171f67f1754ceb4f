//! Events over the network: to a real rsyslogd that is restarted, and to receivers over HTTP that fail for a while; each gets every
//! refusal of the native file, in order, and nothing of a secret.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use portcullis_testkit::receiver::{Answer, Receiver, Request};
use portcullis_testkit::rsyslog::Rsyslog;
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::request;
use serde_json::Value;

use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, Site};

/// Where events wait for their receivers.
const SPOOL: &str = "[spool]\npath = \"spool\"\n";

/// What no sink may have, in whatever form it writes events.
const CANARIES: [&str; 5] = ["canary-token", "canary-cookie", "canary-query", "canary-body", "canary-key"];

fn site(sink: &str, upstream: &Upstream) -> Site {
    let mut site = Site::new(&upstream.url());
    site.key("alice", "user:alice", "");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    site.add(&format!("{SPOOL}\n{sink}"));
    site
}

fn upstream() -> Upstream {
    Upstream::replying(Reply::echo())
}

/// Refused requests with something to hide.
fn refuse(gateway: &Gateway, count: usize) {
    let headers = [
        ("authorization", "Bearer canary-token"),
        ("cookie", "session=canary-cookie"),
        ("x-api-key", "canary-key"),
        ("user-agent", "a]\" b=\\c|d^e"),
    ];
    for number in 0..count {
        let answer =
            gateway.send(request("POST", &format!("/x/{number}?secret=canary-query"), &headers, b"canary-body"));
        assert_eq!(answer.status(), 401, "{}", String::from_utf8_lossy(&answer.body));
    }
}

/// The ids of all events in the native file, oldest first.
fn recorded(gateway: &Gateway) -> Vec<String> {
    let mut events = gateway.events.all();
    events.sort_by_key(|event| event["seq"].as_u64());
    events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

/// Waits until there is an event for each of so many refusals, and until `arrived` gives every event of the native file, in its order once
/// repetitions are left out. A moment after the refusals neither has any.
#[track_caller]
fn all_arrive(gateway: &Gateway, refusals: usize, arrived: impl Fn() -> Vec<String>) {
    assert_eq!(gateway.refusals(refusals).len(), refusals);
    let distinct = || {
        let mut seen = BTreeSet::new();
        arrived().into_iter().filter(|id| seen.insert(id.clone())).collect::<Vec<_>>()
    };
    let complete = wait::until(PATIENCE, || (distinct() == recorded(gateway)).then_some(()));
    assert!(complete.is_some(), "arrived {:#?}\nrecorded {:#?}", distinct(), recorded(gateway));
}

fn no_canaries(text: &str) {
    for canary in CANARIES {
        assert!(!text.contains(canary), "{canary} in {text}");
    }
}

#[test]
fn a_real_rsyslogd_gets_every_event_over_tls_although_it_is_restarted() {
    let mut rsyslog = Rsyslog::start();
    let upstream = upstream();
    let sink = format!(
        "[[sink]]\nname = \"siem\"\nkind = \"syslog\"\n\
         [sink.syslog]\naddress = \"{}\"\ntls = {{ ca = \"{}\" }}\n",
        rsyslog.tls(),
        rsyslog.ca().display()
    );
    let gateway = site(&sink, &upstream).start();
    refuse(&gateway, 5);
    let id = |message: &Value| {
        let event: Value = serde_json::from_str(message["text"].as_str().unwrap()).unwrap();
        event["id"].as_str().unwrap().to_owned()
    };
    all_arrive(&gateway, 5, || rsyslog.messages().iter().map(id).collect());
    rsyslog.stop();
    refuse(&gateway, 5);
    rsyslog.start_again();
    refuse(&gateway, 5);
    all_arrive(&gateway, 15, || rsyslog.messages().iter().map(id).collect());
    no_canaries(&format!("{:?}", rsyslog.messages()));
}

#[test]
fn a_real_rsyslogd_gets_cef_over_tcp_and_udp() {
    let rsyslog = Rsyslog::start();
    let upstream = upstream();
    let sink = |name: &str, transport: &str, address| {
        format!(
            "[[sink]]\nname = \"{name}\"\nkind = \"syslog\"\nformat = \"cef\"\n\
             [sink.syslog]\naddress = \"{address}\"\ntransport = \"{transport}\"\napp_name = \"{name}\"\n"
        )
    };
    let sinks = [sink("over-tcp", "tcp", rsyslog.tcp()), sink("over-udp", "udp", rsyslog.udp())].concat();
    let gateway = site(&sinks, &upstream).start();
    refuse(&gateway, 3);
    for name in ["over-tcp", "over-udp"] {
        all_arrive(&gateway, 3, || {
            let messages = rsyslog.messages();
            let of_sink = messages.iter().filter(|message| message["app"] == name);
            let id = |text: &str| text.split(" externalId=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
            of_sink.map(|message| id(message["text"].as_str().unwrap())).collect()
        });
    }
    let messages = format!("{:?}", rsyslog.messages());
    assert!(messages.contains("CEF:0|Portcullis|Portcullis|"), "{messages}");
    no_canaries(&messages);
}

/// A receiver that fails the first times it is asked, and what it then took.
fn failing_at_first(times: usize, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Receiver {
    let asked = Arc::new(AtomicUsize::new(0));
    Receiver::start(move |request| {
        if asked.fetch_add(1, Ordering::SeqCst) < times {
            Answer::status(503).header("Retry-After", "0")
        } else {
            answer(request)
        }
    })
}

fn lines(request: &Request) -> Vec<Value> {
    serde_json::Deserializer::from_slice(&request.body).into_iter().map(Result::unwrap).collect()
}

#[test]
fn elasticsearch_gets_every_event_once_it_answers() {
    let receiver = failing_at_first(3, |request| {
        let items: Vec<Value> =
            lines(request).iter().step_by(2).map(|_| serde_json::json!({ "create": { "status": 201 } })).collect();
        Answer::status(200).body(serde_json::json!({ "errors": false, "items": items }).to_string())
    });
    let upstream = upstream();
    let sink = format!(
        "[[sink]]\nname = \"elastic\"\nkind = \"http\"\nformat = \"ecs\"\n\
         [sink.http]\nurl = \"http://{}/_bulk\"\nallow_http = true\nbody = \"elastic_bulk\"\nindex = \"logs\"\ngzip = false\n\
         auth = {{ user = \"u\", password = {{ file = \"password\" }} }}\nbatch = {{ events = 4 }}\n",
        receiver.address()
    );
    let site = site(&sink, &upstream);
    site.file("password", "s3cret\n");
    let gateway = site.start();
    refuse(&gateway, 10);
    let accepted = || receiver.requests().into_iter().skip(3).collect::<Vec<_>>();
    all_arrive(&gateway, 10, || {
        let documents = accepted().iter().flat_map(lines).collect::<Vec<_>>();
        documents.iter().filter_map(|line| Some(line["event"]["id"].as_str()?.to_owned())).collect()
    });
    for request in receiver.requests() {
        assert_eq!(request.header("authorization"), Some("Basic dTpzM2NyZXQ="));
        assert!(lines(&request).len() <= 8, "two lines for each of at most four events");
        no_canaries(&String::from_utf8(request.body).unwrap());
    }
    // Counted once the answer is there, a moment after the receiver has written it.
    let exported = || gateway.metric("portcullis_events_exported_total{sink=\"elastic\",result=\"ok\"}");
    let counted = wait::until(PATIENCE, || exported().filter(|count| *count >= 11.0));
    assert!(counted.is_some(), "{:?}", exported());
}

#[test]
fn sentinel_gets_rows_with_a_token_of_its_own() {
    let authority = Receiver::start(|request| {
        assert_eq!(request.target, "/t-1/oauth2/v2.0/token");
        assert!(String::from_utf8(request.body.clone()).unwrap().contains("client_secret=s3cret"));
        Answer::status(200).body(r#"{"access_token":"given","expires_in":3599}"#)
    });
    let receiver = failing_at_first(1, |request| match request.header("authorization") {
        Some("Bearer given") => Answer::status(204),
        _ => Answer::status(401),
    });
    let upstream = upstream();
    let sink = format!(
        "[[sink]]\nname = \"sentinel\"\nkind = \"sentinel\"\n\
         [sink.sentinel]\nendpoint = \"http://{}\"\nauthority = \"http://{}\"\nallow_http = true\nrule = \"dcr-1\"\n\
         tenant = \"t-1\"\nclient_id = \"c-1\"\nclient_secret = {{ file = \"password\" }}\ngzip = false\n",
        receiver.address(),
        authority.address()
    );
    let site = site(&sink, &upstream);
    site.file("password", "s3cret");
    let gateway = site.start();
    refuse(&gateway, 5);
    all_arrive(&gateway, 5, || {
        let taken = receiver.requests().into_iter().skip(1);
        let rows = taken.flat_map(|request| serde_json::from_slice::<Vec<Value>>(&request.body).unwrap());
        rows.map(|row| row["EventUid"].as_str().unwrap().to_owned()).collect()
    });
    assert_eq!(authority.requests().len(), 1);
    let path = "/dataCollectionRules/dcr-1/streams/Custom-Portcullis_CL?api-version=2023-01-01";
    for request in receiver.requests() {
        assert_eq!(request.target, path);
        no_canaries(&String::from_utf8(request.body).unwrap());
    }
}

#[test]
fn an_otlp_receiver_gets_every_event_in_protobuf() {
    let receiver = failing_at_first(1, |_| Answer::status(200));
    let upstream = upstream();
    let sink = format!(
        "[[sink]]\nname = \"otel\"\nkind = \"otlp\"\n\
         [sink.otlp]\nurl = \"http://{}/v1/logs\"\nallow_http = true\ngzip = false\n",
        receiver.address()
    );
    let gateway = site(&sink, &upstream).start();
    refuse(&gateway, 5);
    // Of each record the attribute that is the native line: its text is in the bytes as it is.
    all_arrive(&gateway, 5, || {
        let taken = receiver.requests().into_iter().skip(1);
        let ids = taken.flat_map(|request| {
            let text = String::from_utf8_lossy(&request.body).into_owned();
            let lines = text.split("{\"schema\":\"portcullis.event/1\",\"id\":\"").skip(1);
            lines.map(|line| line[..36].to_owned()).collect::<Vec<_>>()
        });
        ids.collect()
    });
    for request in receiver.requests() {
        assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
        no_canaries(&String::from_utf8_lossy(&request.body));
    }
}

#[test]
fn repeats_are_one_record_for_a_sink_that_wants_that_and_each_is_in_the_file() {
    let receiver = failing_at_first(1, |_| Answer::status(200));
    let upstream = upstream();
    let sink = format!(
        "[[sink]]\nname = \"siem\"\nkind = \"http\"\nformat = \"ecs\"\nkinds = [\"access.denied\"]\nfold = {{ window = \"2s\" }}\n\
         [sink.http]\nurl = \"http://{}/\"\nallow_http = true\ngzip = false\n",
        receiver.address()
    );
    let gateway = site(&sink, &upstream).start();
    // The same thing again and again, and one other thing in between.
    refuse(&gateway, 12);
    gateway.get_from("127.0.0.9", "/x/1", &[]);
    refuse(&gateway, 8);
    let taken = || receiver.requests().into_iter().skip(1).flat_map(|request| lines(&request)).collect::<Vec<_>>();
    let count = |one: &Value| one["portcullis"]["count"].as_u64().unwrap_or(1);
    let counted = |records: &[Value]| records.iter().map(count).sum::<u64>();
    let all = wait::until(PATIENCE, || Some(taken()).filter(|records| counted(records) >= 21));
    let records = all.unwrap_or_else(|| panic!("{:#?}", taken()));
    assert_eq!(counted(&records), 21);
    assert!(records.len() < 12, "{} records", records.len());
    let other = records.iter().find(|one| one["source"]["ip"] == "127.0.0.9").unwrap();
    assert!(other["portcullis"]["count"].is_null(), "what is new is a record of its own");
    // Every id of the native file stands alone, or in one record.
    let ids = |one: &Value| match one["portcullis"]["ids"].as_array() {
        Some(ids) => ids.clone(),
        None => vec![one["event"]["id"].clone()],
    };
    let told: Vec<String> = records.iter().flat_map(ids).map(|id| id.as_str().unwrap().to_owned()).collect();
    let denied = gateway.refusals(21);
    let denied: BTreeSet<String> = denied.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!((told.len(), told.into_iter().collect::<BTreeSet<_>>()), (21, denied));
}
