//! How a request is known on both sides: `X-Request-Id`, W3C trace context, and `Via`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use portcullis_testkit::receiver::{Answer, Receiver, Request};
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::request;
use serde_json::Value;

use crate::harness::{AUTHENTICATED, NO_BANS, Site};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn parent() -> String {
    format!("00-{TRACE}-00f067aa0ba902b7-01")
}

/// The half of a request's id that is the gateway's span.
fn span_of(id: &str) -> String {
    id.replace('-', "")[16..].to_owned()
}

#[test]
fn a_trace_goes_on_with_the_gateways_span_in_the_upstream_and_in_the_event() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    let check = |headers: &[(&str, &str)], trace: Option<&str>, state: Option<&str>| {
        let answer = gateway.get("/", headers);
        assert_eq!(answer.status(), 200);
        let head = upstream.requests().pop().unwrap().head;
        let expected = trace.map(|trace| format!("00-{trace}-{}-01", span_of(answer.header("x-request-id").unwrap())));
        assert_eq!(head.header("traceparent").map(str::to_owned), expected, "{headers:?}");
        assert_eq!(head.header("tracestate"), state, "{headers:?}");
    };
    let parent = parent();
    let (came, state) = (("traceparent", parent.as_str()), ("tracestate", "a=1"));
    check(&[came, state], Some(TRACE), Some("a=1"));
    check(&[came, ("tracestate", "A=1")], Some(TRACE), None);
    check(&[("traceparent", "00-garbage"), state], None, None);
    check(&[came, came, state], None, None);
    check(&[state], None, None);
    check(&[], None, None);
    let refused = gateway.send(request("PATCHY", "/", &[came], b""));
    let event = gateway.check_refused("traced", &refused, 401, "authn.missing");
    let span = span_of(refused.header("x-request-id").unwrap());
    assert_eq!((&event["request"]["trace_id"], &event["request"]["span_id"]), (&TRACE.into(), &span.into()));
}

#[test]
fn a_trace_is_begun_or_left_alone_where_the_operator_says_so() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add("[forwarding]\ntrace = \"begin\"\nvia = \"\"\n");
    let gateway = site.start();
    let answer = gateway.get("/", &[]);
    let id = answer.header("x-request-id").unwrap().replace('-', "");
    let head = upstream.requests().pop().unwrap().head;
    assert_eq!(head.header("traceparent").unwrap(), format!("00-{id}-{}-01", &id[16..]));
    assert_eq!(head.header("via"), None);
    let refused = gateway.send(request("PATCHY", "/", &[("traceparent", "00-garbage")], b""));
    let event = gateway.check_refused("begun", &refused, 401, "authn.missing");
    assert_eq!(event["request"]["trace_id"], refused.header("x-request-id").unwrap().replace('-', ""));

    let mut site = Site::new(&upstream.url());
    site.add("[forwarding]\ntrace = \"off\"\n");
    let gateway = site.start();
    gateway.get("/", &[("traceparent", "00-garbage"), ("tracestate", "x")]);
    let head = upstream.requests().pop().unwrap().head;
    assert_eq!((head.header("traceparent"), head.header("tracestate")), (Some("00-garbage"), Some("x")));
}

#[test]
fn the_gateway_names_itself_after_those_before_it() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    gateway.get("/", &[("Via", "1.0 first, 2.0 second")]);
    assert_eq!(
        upstream.requests().pop().unwrap().head.header_values("via"),
        ["1.0 first, 2.0 second", "1.1 portcullis"]
    );
    gateway.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(upstream.requests().pop().unwrap().head.header_values("via"), ["1.0 portcullis"]);
}

#[test]
fn the_id_of_a_trusted_proxy_is_kept_and_nobody_elses() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add("[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n[forwarding]\nrequest_id = \"trusted\"\n");
    site.policy(&[AUTHENTICATED, "[[resource]]\nroute = \"app\"\nauthentication = \"optional\"\n", NO_BANS].concat());
    let key = site.key("caller", "service:caller", "");
    let gateway = site.start();
    let given = ("X-Request-Id", "Root=1-67891233-abcdef");
    let answer = gateway.get("/", &[given, ("x-api-key", &key)]);
    assert_eq!((answer.status(), answer.header("x-request-id")), (200, Some(given.1)));
    assert_eq!(upstream.requests().pop().unwrap().head.header("x-request-id"), Some(given.1));
    // The event keeps an id of its own: a proxy may send one request twice.
    let mut ids = BTreeSet::new();
    for _ in 0..2 {
        let refused = gateway.get("/", &[given]);
        assert_eq!((refused.status(), refused.header("x-request-id")), (401, Some(given.1)));
        let problem = refused.json();
        assert_eq!(problem["request_id"], given.1);
        let id = problem["instance"].as_str().unwrap().strip_prefix("urn:uuid:").unwrap().to_owned();
        let event = gateway.events.wait_for_request(&id);
        assert_eq!((&event["id"], &event["request"]["id"]), (&id.as_str().into(), &given.1.into()));
        ids.insert(id);
    }
    assert_eq!(ids.len(), 2);
    // One that is not one word, several of them, or one of somebody else is replaced.
    let own = |answer: portcullis_testkit::wire::Answer| answer.header("x-request-id").unwrap().to_owned();
    let is_own = |id: &str| id.len() == 36 && id.as_bytes()[14] == b'7';
    assert!(is_own(&own(gateway.get("/", &[("X-Request-Id", "a b")]))));
    assert!(is_own(&own(gateway.get("/", &[given, given]))));
    assert!(is_own(&own(gateway.get_from("127.0.0.2", "/", &[given]))));
}

/// The spans that a receiver got, after each body was held to the schema of OTLP in JSON.
fn spans(receiver: &Receiver) -> Vec<Value> {
    let mut all = Vec::new();
    for request in receiver.requests() {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/v1/traces"));
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("authorization"), Some("Bearer s3cret"));
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let resources = body["resourceSpans"].as_array().unwrap();
        let service = &resources[0]["resource"]["attributes"][0];
        assert_eq!((&service["key"], &service["value"]["stringValue"]), (&"service.name".into(), &"portcullis".into()));
        for span in resources.iter().flat_map(|one| one["scopeSpans"][0]["spans"].as_array().unwrap()) {
            check_span(span);
            all.push(span.clone());
        }
    }
    all
}

/// What the receiver of a real collector would not take.
fn check_span(span: &Value) {
    let is_id = |key: &str, length: usize| {
        let id = span[key].as_str().unwrap_or_default();
        id.len() == length
            && id.bytes().all(|byte| b"0123456789abcdef".contains(&byte))
            && id.bytes().any(|byte| byte != b'0')
    };
    assert!(is_id("traceId", 32) && is_id("spanId", 16), "{span:#}");
    assert!(span.get("parentSpanId").is_none() || is_id("parentSpanId", 16), "{span:#}");
    let time = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
    assert!(time("startTimeUnixNano") <= time("endTimeUnixNano") && time("startTimeUnixNano") > 1_600_000_000 << 30);
    assert!(!span["name"].as_str().unwrap().is_empty());
    for pair in span["attributes"].as_array().unwrap() {
        let value = pair["value"].as_object().unwrap();
        let (kind, value) = value.iter().next().unwrap();
        assert!(matches!(kind.as_str(), "stringValue" | "intValue") && value.is_string(), "{pair}");
    }
    let known = [
        "traceId",
        "spanId",
        "parentSpanId",
        "name",
        "kind",
        "startTimeUnixNano",
        "endTimeUnixNano",
        "attributes",
        "status",
    ];
    assert!(span.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{span:#}");
}

fn attribute<'s>(span: &'s Value, key: &str) -> Option<&'s str> {
    let found = span["attributes"].as_array().unwrap().iter().find(|pair| pair["key"] == key)?;
    found["value"].as_object().unwrap().values().next()?.as_str()
}

/// A site that sends traces, and where to.
fn traced(
    upstream: &Upstream,
    sample: &str,
    answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> (Site, Receiver) {
    let receiver = Receiver::start(answer);
    let mut site = Site::new(&upstream.url());
    site.file("token", "s3cret\n");
    site.add(&format!(
        "[trace.otlp]\nurl = \"http://{}/v1/traces\"\nallow_http = true\ngzip = false\nsample = \"{sample}\"\n\
         auth = {{ bearer = {{ file = \"token\" }} }}\n",
        receiver.address()
    ));
    (site, receiver)
}

#[test]
fn spans_tell_of_permits_refusals_and_failures_in_the_callers_trace_or_their_own() {
    let upstream = Upstream::choosing(|head| match head.target.split('?').next() {
        Some("/broken") => Reply::raw(""),
        Some("/missing") => Reply::status(404),
        _ => Reply::echo(),
    });
    let first = AtomicUsize::new(0);
    // The receiver is busy at first: what it did not take comes again.
    let (mut site, receiver) = traced(&upstream, "100%", move |_| {
        Answer::status(if first.fetch_add(1, Ordering::SeqCst) == 0 { 503 } else { 200 }).body("{}")
    });
    let key = site.key("alice", "user:alice", "");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let gateway = site.start();
    let parent = parent();
    let headers = [("traceparent", parent.as_str()), ("x-api-key", key.as_str()), ("cookie", "canary-cookie")];
    let permitted = gateway.get("/fine?canary-query", &headers);
    assert_eq!(permitted.status(), 200);
    let told = upstream.requests().pop().unwrap().header("traceparent").unwrap().to_owned();
    for (target, status) in [("/broken", 502), ("/missing", 404)] {
        assert_eq!(gateway.get(target, &headers).status(), status);
    }
    let denied = gateway.get("/denied?canary-query", &[("x-api-key", "canary-token"), ("user-agent", "a \"browser\"")]);
    let id = denied.header("x-request-id").unwrap().replace('-', "");
    let complete = wait::until(PATIENCE, || Some(spans(&receiver)).filter(|spans| distinct(spans) == 7));
    let spans = complete.unwrap_or_else(|| panic!("{:#?}", spans(&receiver)));
    let of = |path: &str, kind: u64| {
        let found = spans.iter().find(|span| attribute(span, "url.path") == Some(path) && span["kind"] == kind);
        found.unwrap_or_else(|| panic!("{path} {kind}: {spans:#?}"))
    };
    let (server, client) = (of("/fine", 2), of("/fine", 3));
    assert_eq!((&server["traceId"], &server["parentSpanId"]), (&TRACE.into(), &"00f067aa0ba902b7".into()));
    assert_eq!((&client["traceId"], &client["parentSpanId"]), (&TRACE.into(), &server["spanId"]));
    assert_eq!(told, format!("00-{TRACE}-{}-01", client["spanId"].as_str().unwrap()), "what the upstream was told");
    assert_eq!((&server["name"], attribute(server, "portcullis.route")), (&"GET app".into(), Some("app")));
    assert_eq!(attribute(server, "http.response.status_code"), Some("200"));
    assert_eq!((&server["status"], &client["status"]), (&Value::Null, &Value::Null));
    assert_eq!(attribute(of("/missing", 3), "error.type"), Some("404"));
    assert_eq!(of("/missing", 2)["status"], Value::Null, "to a server it is no error");
    assert_eq!(attribute(of("/broken", 2), "error.type"), Some("upstream.protocol"));
    assert_eq!(of("/broken", 3)["status"]["code"], 2);
    let refused = of("/denied", 2);
    assert_eq!((&refused["traceId"], refused.get("parentSpanId")), (&id.clone().into(), None), "a trace of its own");
    assert_eq!(refused["spanId"], id[16..], "as the event has it");
    assert_eq!(attribute(refused, "portcullis.reason"), Some("authn.invalid"));
    assert_eq!(attribute(refused, "user_agent.original"), Some("a \"browser\""));
    let metric = || gateway.metric("portcullis_trace_spans_total{result=\"ok\"}");
    assert!(wait::until(PATIENCE, || (metric() == Some(7.0)).then_some(())).is_some(), "{:?}", metric());
    for request in receiver.requests() {
        let text = String::from_utf8(request.body).unwrap();
        assert!(!text.contains("canary") && !text.contains("alice"), "{text}");
    }
}

/// How many spans there are, those that came twice counted once.
fn distinct(spans: &[Value]) -> usize {
    spans.iter().map(|span| span["spanId"].as_str().unwrap()).collect::<BTreeSet<_>>().len()
}

#[test]
fn a_sample_goes_by_the_trace_and_a_receiver_that_refuses_costs_no_request() {
    let upstream = Upstream::start();
    let (site, receiver) = traced(&upstream, "50%", |_| Answer::status(400));
    let gateway = site.start();
    // The lower half of the id decides, whatever the caller's flag says: 0 of 10,000 is in, 5,000 is not.
    let of = |low: u64, flags: &str| format!("00-00000000000000ff{low:016x}-00f067aa0ba902b7-{flags}");
    for (low, flags) in [(10_000, "00"), (14_999, "01"), (15_000, "01"), (19_999, "00")] {
        assert_eq!(gateway.get("/", &[("traceparent", &of(low, flags))]).status(), 200);
    }
    let dropped = || gateway.metric("portcullis_trace_spans_total{result=\"dropped\"}");
    assert!(wait::until(PATIENCE, || (dropped() == Some(4.0)).then_some(())).is_some(), "{:?}", dropped());
    let traces: BTreeSet<String> =
        spans(&receiver).iter().map(|span| span["traceId"].as_str().unwrap()[16..].to_owned()).collect();
    assert_eq!(traces, BTreeSet::from([format!("{:016x}", 10_000), format!("{:016x}", 14_999)]));
}
