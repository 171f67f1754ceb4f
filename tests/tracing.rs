//! How a request is known on both sides: `X-Request-Id`, W3C trace context, and `Via`.

use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wire::request;

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
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let refused = gateway.get("/", &[given]);
        assert_eq!((refused.status(), refused.header("x-request-id")), (401, Some(given.1)));
        let problem = refused.json();
        assert_eq!(problem["request_id"], given.1);
        let id = problem["instance"].as_str().unwrap().strip_prefix("urn:uuid:").unwrap().to_owned();
        // The first event is that of the start.
        let event = gateway.events.wait_for(ids.len() + 2).pop().unwrap();
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
