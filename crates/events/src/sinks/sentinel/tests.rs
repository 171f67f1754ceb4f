//! The sink against a stub that is as strict as the service's documentation: the real one cannot run here.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_testkit::receiver::{Answer, Receiver, Request};
use serde_json::Value;

use super::*;
use crate::settings::Secret;
use crate::sinks::testing::{body, deliver, lines, target};

const RULE: &str = "dcr-0123456789abcdef0123456789abcdef";
const MEGABYTE: usize = 1_000_000;

/// What the service is told to say instead of 204, and the tokens that it knows.
#[derive(Default)]
struct Service {
    /// How many tokens were given out.
    given: AtomicUsize,
    /// The number of the token that is good; a higher one is, too.
    good_from: AtomicUsize,
    say: Mutex<Option<Answer>>,
    rows: Mutex<Vec<Value>>,
}

impl Service {
    /// The giver of tokens.
    fn authority(self: &Arc<Self>) -> Receiver {
        let service = Arc::clone(self);
        Receiver::start(move |request| {
            assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/tenant-1/oauth2/v2.0/token"));
            assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
            let form = String::from_utf8(request.body.clone()).unwrap();
            let expected = "grant_type=client_credentials&client_id=app-1&client_secret=s%26cret&scope=https%3A%2F%2Fmonitor.azure.com%2F.default";
            if form != expected {
                return Answer::status(401).body(r#"{"error":"invalid_client"}"#);
            }
            let number = service.given.fetch_add(1, Ordering::SeqCst) + 1;
            Answer::status(200)
                .body(format!(r#"{{"token_type":"Bearer","expires_in":3599,"access_token":"token-{number}"}}"#))
        })
    }

    /// The endpoint of the rule.
    fn endpoint(self: &Arc<Self>) -> Receiver {
        let service = Arc::clone(self);
        Receiver::start(move |request| service.ingest(request))
    }

    fn ingest(&self, request: &Request) -> Answer {
        let path = format!("/dataCollectionRules/{RULE}/streams/Custom-Portcullis_CL?api-version=2023-01-01");
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", path.as_str()));
        let token =
            request.header("authorization").and_then(|field| field.strip_prefix("Bearer token-")).map(str::parse);
        if !matches!(token, Some(Ok(number)) if (self.good_from.load(Ordering::SeqCst)..).contains(&number)) {
            return Answer::status(401);
        }
        if let Some(answer) = self.say.lock().unwrap().clone() {
            return answer;
        }
        assert!(Uuid::parse_str(request.header("x-ms-client-request-id").unwrap()).is_ok());
        let plain = body(request);
        // The limit counts compressed and uncompressed.
        if request.body.len() > MEGABYTE || plain.len() > MEGABYTE {
            return Answer::status(413);
        }
        if request.header("content-type") != Some("application/json") {
            return Answer::status(415);
        }
        let Ok(rows) = serde_json::from_slice::<Vec<Value>>(&plain) else { return Answer::status(400) };
        for row in &rows {
            let row = row.as_object().unwrap();
            for (name, value) in row {
                // Names of columns: a letter first, at most 45 characters, none of the workspace's own.
                let plain = name.len() <= 45 && name.starts_with(|first: char| first.is_ascii_alphabetic());
                let own = ["_ResourceId", "id", "_SubscriptionId", "TenantId", "Type", "UniqueId", "Title"];
                assert!(plain && !own.contains(&name.as_str()), "{name}");
                assert!(value.to_string().len() <= 64 * 1024, "{name} would be cut");
            }
            assert!(row.contains_key("TimeGenerated"));
        }
        self.rows.lock().unwrap().extend(rows);
        Answer::status(204)
    }
}

struct Setting {
    service: Arc<Service>,
    sink: SentinelSink,
    _receivers: [Receiver; 2],
}

fn setting(secret: &str, gzip: bool) -> Setting {
    let service = Arc::new(Service::default());
    let (authority, endpoint) = (service.authority(), service.endpoint());
    let settings = SentinelSettings {
        endpoint: target(&endpoint, "/"),
        rule: RULE.into(),
        stream: "Custom-Portcullis_CL".into(),
        authority: target(&authority, "/"),
        tenant: "tenant-1".into(),
        client_id: "app-1".into(),
        client_secret: Secret::new(secret),
        audience: "https://monitor.azure.com".into(),
        gzip,
    };
    Setting { sink: SentinelSink::open(settings).unwrap(), service, _receivers: [authority, endpoint] }
}

#[test]
fn rows_arrive_with_one_token_for_many_batches() {
    for gzip in [true, false] {
        let Setting { service, mut sink, _receivers } = setting("s&cret", gzip);
        assert_eq!(deliver(&mut sink, &lines(1..4)), Delivery::Accepted);
        assert_eq!(deliver(&mut sink, &lines(4..5)), Delivery::Accepted);
        let rows = service.rows.lock().unwrap();
        let numbers: Vec<u64> = rows.iter().map(|row| row["AdditionalFields"]["seq"].as_u64().unwrap()).collect();
        assert_eq!((numbers, service.given.load(Ordering::SeqCst)), (vec![1, 2, 3, 4], 1));
        assert_eq!(rows[0]["EventSchema"], "WebSession");
    }
}

#[test]
fn a_token_that_is_no_longer_accepted_is_renewed_once() {
    let Setting { service, mut sink, _receivers } = setting("s&cret", true);
    assert_eq!(deliver(&mut sink, &lines(1..2)), Delivery::Accepted);
    service.good_from.store(2, Ordering::SeqCst);
    assert_eq!(deliver(&mut sink, &lines(2..3)), Delivery::Accepted);
    assert_eq!(service.given.load(Ordering::SeqCst), 2);
    // Where the new one is no better, that is all that is asked for.
    service.good_from.store(1_000, Ordering::SeqCst);
    assert!(matches!(deliver(&mut sink, &lines(3..4)), Delivery::Barred { .. }));
    assert_eq!(service.given.load(Ordering::SeqCst), 3);
}

#[test]
fn a_wrong_secret_is_a_reason_to_wait_and_is_not_shown() {
    let Setting { mut sink, _receivers, .. } = setting("wr0ng", true);
    let Delivery::Barred { why, .. } = deliver(&mut sink, &lines(1..2)) else { panic!() };
    assert!(why.contains("no token (401)") && why.contains("invalid_client") && !why.contains("wr0ng"), "{why}");
}

#[test]
fn each_answer_of_the_service_means_what_its_documentation_says() {
    let check = |answer: Answer, expected: fn(&Delivery) -> bool| {
        let Setting { service, mut sink, _receivers } = setting("s&cret", true);
        *service.say.lock().unwrap() = Some(answer);
        let delivery = deliver(&mut sink, &lines(1..2));
        assert!(expected(&delivery), "{delivery:?}");
    };
    check(
        Answer::status(429).header("Retry-After", "60"),
        |delivery| matches!(delivery, Delivery::Retry { after: Some(after), .. } if *after == Duration::from_secs(60)),
    );
    check(Answer::status(500), |delivery| matches!(delivery, Delivery::Retry { .. }));
    check(Answer::status(413), |delivery| *delivery == Delivery::TooLarge);
    check(Answer::status(400), |delivery| matches!(delivery, Delivery::Refused { which, .. } if which.is_empty()));
    // The role on the rule is missing: that is no fault of the events.
    check(Answer::status(403), |delivery| matches!(delivery, Delivery::Barred { .. }));
}

#[test]
fn a_batch_over_the_limit_is_never_sent_and_one_below_it_is() {
    let Setting { service, mut sink, _receivers } = setting("s&cret", false);
    let BatchLimits { events, bytes } = sink.limits();
    let line = lines(1..2)[0].len();
    assert_eq!(deliver(&mut sink, &lines(1..1_000)), Delivery::TooLarge);
    assert!(service.rows.lock().unwrap().is_empty());
    // What the spool hands over at most of usual events fits.
    let most = u64::try_from((bytes / line).min(events)).unwrap();
    assert!(most > 100, "{most}");
    assert_eq!(deliver(&mut sink, &lines(1..most)), Delivery::Accepted);
}
