//! Upstreams that are down, silent, rude, or of their own opinion.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use portcullis_testkit::ports::free_port;
use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::request;

use crate::harness::{Site, of_kind};

#[test]
fn each_fault_has_its_status_reason_and_event() {
    let reply = |target: &str| match target {
        "/hang" => Reply::hang(),
        "/garbage" => Reply::raw("garbage\r\n\r\n"),
        "/binary" => Reply::raw(b"\x00\x01\x02\x03\r\n\r\n".to_vec()),
        "/nothing" => Reply::raw(""),
        "/reset" => Reply::raw("").then_reset(),
        "/half-a-head" => Reply::raw("HTTP/1.1 200 OK\r\ncontent-"),
        "/two-lengths" => Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabcde"),
        "/odd-coding" => Reply::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nabc"),
        "/bad-field" => Reply::raw("HTTP/1.1 200 OK\r\nbad field: x\r\ncontent-length: 0\r\n\r\n"),
        "/http-2" => Reply::raw("HTTP/2.0 200 OK\r\n\r\n"),
        _ => Reply::echo(),
    };
    let upstream = Upstream::choosing(move |head| reply(&head.target));
    let mut site = Site::without_route(&upstream.url());
    site.add("[upstream.timeouts]\nfirst_byte = \"5s\"\n");
    site.add(&format!("[[upstream]]\nname = \"down\"\nendpoints = [\"http://127.0.0.1:{}\"]\n", free_port()));
    site.add("[[route]]\nname = \"app\"\nupstream = \"app\"\n[[route]]\nname = \"down\"\npaths = [\"/down\"]\nupstream = \"down\"\n");
    let scope = "[[resource]]\nroute = \"down\"\nauthentication = \"none\"\n";
    site.policy(&[crate::harness::OPEN, scope].concat());
    let gateway = site.start();
    let check = |target: &str, status: u16, reason: &str, forwarded: bool| {
        for method in ["GET", "POST"] {
            let answer = gateway.send(request(method, target, &[], if method == "POST" { b"body" } else { b"" }));
            let event = gateway.check_refused(&format!("{method} {target}"), &answer, status, reason);
            assert_eq!(event["decision"], "failed", "{target}");
            assert_eq!(event["upstream"]["forwarded"], forwarded, "{target}");
            let endpoint = event["upstream"]["endpoint"].as_str().unwrap_or_default();
            assert_eq!(endpoint == upstream.url(), forwarded, "{target}: {endpoint}");
            assert!(endpoint.starts_with("http://127.0.0.1:"), "{target}: {endpoint}");
            assert_eq!(event["client"]["ip"], "127.0.0.1", "{target}");
            assert!(!answer.text().contains("127.0.0.1"), "the caller learns nothing of the inside: {}", answer.text());
        }
        assert_eq!(gateway.get("/fine", &[]).status(), 200, "{target}: other requests do not suffer");
    };
    check("/down", 502, "upstream.unreachable", false);
    check("/hang", 504, "upstream.timeout", true);
    for target in [
        "/garbage",
        "/binary",
        "/nothing",
        "/reset",
        "/half-a-head",
        "/two-lengths",
        "/odd-coding",
        "/bad-field",
        "/http-2",
    ] {
        check(target, 502, "upstream.protocol", true);
    }
    // The caller cannot help any of this: nobody is banned for it.
    let events = gateway.stop();
    assert!(of_kind(&events, "ban.created").is_empty());
    assert_eq!(of_kind(&events, "access.denied").len(), 22);
}

#[test]
fn an_upstreams_own_refusal_passes_through_without_an_event() {
    let upstream = Upstream::choosing(|head| {
        let status = head.target.trim_start_matches('/').parse().unwrap();
        Reply::bytes("no, says the upstream").with_status(status).header("www-authenticate", "Own realm=\"x\"")
    });
    let gateway = Site::new(&upstream.url()).start();
    for status in [400, 401, 403, 404, 429, 500, 502, 503, 504] {
        let answer = gateway.get(&format!("/{status}"), &[]);
        assert_eq!((answer.status(), answer.text()), (status, "no, says the upstream"));
        assert_eq!(answer.header("www-authenticate"), Some("Own realm=\"x\""));
        assert_eq!(answer.header("content-type"), None);
    }
    assert!(of_kind(&gateway.stop(), "access.denied").is_empty());
}

#[test]
fn an_answer_that_breaks_off_breaks_off_for_the_caller_too() {
    let upstream = Upstream::choosing(|head| match head.target.as_str() {
        "/length" => Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"),
        "/chunked" => Reply::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        "/bad-chunk" => Reply::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n"),
        _ => Reply::echo(),
    });
    let gateway = Site::new(&upstream.url()).start();
    for target in ["/length", "/chunked", "/bad-chunk"] {
        let mut connection = gateway.conn();
        connection.send(request("GET", target, &[], b""));
        // A whole answer would be a lie.
        assert!(connection.try_answer().is_err(), "{target}");
    }
    assert_eq!(gateway.get("/fine", &[]).status(), 200);
}

#[test]
fn an_upstream_that_comes_back_is_used_again_and_a_stale_connection_costs_nothing() {
    let address: SocketAddr = (Ipv4Addr::LOCALHOST, free_port()).into();
    let upstream = Upstream::choosing_on(address, |_| Reply::echo());
    let gateway = Site::new(&upstream.url()).start();
    assert_eq!(gateway.get("/", &[]).status(), 200);
    drop(upstream);
    gateway.check_refused("gone", &gateway.get("/", &[]), 502, "upstream.unreachable");
    let upstream = Upstream::choosing_on(address, |_| Reply::echo());
    assert_eq!(gateway.get("/", &[]).status(), 200);
    for _ in 0..10 {
        let mut connection = gateway.conn();
        connection.send(request("GET", "/", &[], b""));
        assert_eq!(connection.answer().status(), 200);
        upstream.close_connections();
        upstream.wait_for_open_connections(0);
        connection.send(request("GET", "/", &[], b""));
        assert_eq!(connection.answer().status(), 200, "a pooled connection had died");
    }
}

#[test]
fn an_upstream_may_answer_before_it_has_read_the_body() {
    let upstream = Upstream::replying(Reply::status(413).before_the_body());
    let gateway = Site::new(&upstream.url()).start();
    let mut connection = gateway.conn();
    connection.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nstart");
    assert_eq!(connection.answer().status(), 413);
}

#[test]
fn requests_take_turns_over_the_endpoints_also_over_kept_connections() {
    let [first, second] = [(); 2].map(|()| Upstream::start());
    let mut site = Site::without_route(&first.url());
    site.add(&format!("[[upstream]]\nname = \"both\"\nendpoints = [\"{}\", \"{}\"]\n", first.url(), second.url()));
    site.add("[[route]]\nname = \"app\"\nupstream = \"both\"\n");
    let gateway = site.start();
    // One connection is served by one worker, and turns are taken there.
    let mut connection = gateway.conn();
    for _ in 0..20 {
        connection.send(request("GET", "/", &[], b""));
        assert_eq!(connection.answer().status(), 200);
    }
    assert_eq!((first.requests().len(), second.requests().len()), (10, 10));
    assert_eq!((first.connections(), second.connections()), (1, 1));
}

#[test]
fn an_upstream_that_fails_in_a_row_is_not_asked_for_a_while_and_then_tried_again() {
    let address: SocketAddr = (Ipv4Addr::LOCALHOST, free_port()).into();
    let healthy = Upstream::start();
    let mut site = Site::without_route(&format!("http://{address}"));
    site.add("[upstream.breaker]\nfailures = 5\nopen = \"200ms\"\nlongest = \"400ms\"\n");
    site.add(&format!("[[upstream]]\nname = \"healthy\"\nendpoints = [\"{}\"]\n", healthy.url()));
    site.add("[[route]]\nname = \"app\"\nupstream = \"app\"\n");
    site.add("[[route]]\nname = \"healthy\"\npaths = [\"/healthy\"]\nupstream = \"healthy\"\n");
    let scope = "[[resource]]\nroute = \"healthy\"\nauthentication = \"none\"\n";
    site.policy(&[crate::harness::OPEN, scope].concat());
    let gateway = site.start();
    // The workers count together, whichever serves a request.
    for nth in 0..5 {
        gateway.check_refused(&format!("{nth}"), &gateway.get("/", &[]), 502, "upstream.unreachable");
    }
    // It may have been open for its time already; then one that tries is one more that fails.
    let open = || Some(gateway.get("/", &[])).filter(|answer| answer.status() == 503);
    let answer = wait::until(PATIENCE, open).expect("it is not asked for a while");
    let event = gateway.check_refused("open", &answer, 503, "upstream.circuit_open");
    assert_eq!((event["decision"].as_str(), event["upstream"]["forwarded"].as_bool()), (Some("failed"), Some(false)));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(gateway.get("/healthy", &[]).status(), 200, "others do not suffer");

    let upstream = Upstream::choosing_on(address, |_| Reply::echo());
    let back = wait::until(PATIENCE, || (gateway.get("/", &[]).status() == 200).then_some(()));
    assert!(back.is_some(), "a probe found it working again");
    for _ in 0..20 {
        assert_eq!(gateway.get("/", &[]).status(), 200);
    }
    assert!(upstream.requests().len() >= 21);
}

#[test]
fn with_one_endpoint_down_every_request_is_answered_by_the_other() {
    let upstream = Upstream::start();
    let mut site = Site::without_route(&upstream.url());
    let down = format!("http://127.0.0.1:{}", free_port());
    site.add(&format!("[[upstream]]\nname = \"both\"\nendpoints = [\"{down}\", \"{}\"]\n", upstream.url()));
    site.add("[[route]]\nname = \"app\"\nupstream = \"both\"\n");
    let gateway = site.start();
    for nth in 0..30 {
        let method = if nth % 2 == 0 { "GET" } else { "POST" };
        assert_eq!(gateway.send(request(method, "/", &[], b"")).status(), 200, "{nth}");
    }
    assert_eq!(upstream.requests().len(), 30);
}

#[test]
fn no_more_requests_are_sent_again_than_the_budget_has() {
    let reset = || Upstream::choosing(|_| Reply::raw("").then_reset());
    let (first, second) = (reset(), reset());
    let mut site = Site::without_route(&first.url());
    site.add(&format!(
        "[[upstream]]\nname = \"both\"\nendpoints = [\"{}\", \"{}\"]\nretries = {{ budget_percent = 20 }}\n\
         breaker = {{ enabled = false }}\nejection = {{ enabled = false }}\n",
        first.url(),
        second.url()
    ));
    site.add("[[route]]\nname = \"app\"\nupstream = \"both\"\n");
    let gateway = site.start();
    let asked = || first.requests().len() + second.requests().len();
    for _ in 0..100 {
        assert_eq!(gateway.send(request("POST", "/", &[], b"")).status(), 502);
    }
    assert_eq!(asked(), 100, "who may not be repeated is not");
    for _ in 0..100 {
        assert_eq!(gateway.get("/", &[]).status(), 502);
    }
    // What was saved before is at most 20 for each of the two workers; each request earns a fifth of a retry.
    let repeated = asked() - 200;
    assert!((20..=60).contains(&repeated), "{repeated}");
}

#[test]
fn an_endpoint_that_fails_its_checks_gets_no_request_until_it_is_well_again() {
    let ill = Arc::new(AtomicBool::new(true));
    let [first, second] = [Some(Arc::clone(&ill)), None].map(|ill: Option<Arc<AtomicBool>>| {
        Upstream::choosing(move |head| match &ill {
            Some(ill) if head.target == "/health" && ill.load(Ordering::SeqCst) => Reply::status(500),
            _ => Reply::echo(),
        })
    });
    let mut site = Site::without_route(&first.url());
    let health = "health = { path = \"/health\", interval = \"100ms\", timeout = \"1m\", healthy = 2, unhealthy = 2 }";
    site.add(&format!(
        "[[upstream]]\nname = \"both\"\nendpoints = [\"{}\", {{ url = \"{}\", weight = 2 }}]\n{health}\n",
        first.url(),
        second.url()
    ));
    site.add("[[route]]\nname = \"app\"\nupstream = \"both\"\n");
    let gateway = site.start();
    let up = |endpoint: u8| {
        gateway.metric(&format!("portcullis_upstream_endpoint_up{{upstream=\"both\",endpoint=\"{endpoint}\"}}"))
    };
    wait::until(PATIENCE, || (up(1) == Some(0.0)).then_some(())).expect("it is found ill");
    let asked = |upstream: &Upstream| upstream.requests().iter().filter(|seen| seen.head.target != "/health").count();
    for _ in 0..20 {
        assert_eq!(gateway.get("/x", &[]).status(), 200);
    }
    assert_eq!((asked(&first), asked(&second), up(2)), (0, 20, Some(1.0)));
    ill.store(false, Ordering::SeqCst);
    wait::until(PATIENCE, || (up(1) == Some(1.0)).then_some(())).expect("it is found well");
    let mut connection = gateway.conn();
    for _ in 0..30 {
        connection.send(request("GET", "/x", &[], b""));
        assert_eq!(connection.answer().status(), 200);
    }
    assert_eq!((asked(&first), asked(&second)), (10, 40), "by weight");
}

#[test]
fn what_is_too_much_for_an_upstream_is_refused_at_once() {
    let upstream = Upstream::choosing(|head| if head.target == "/hang" { Reply::hang() } else { Reply::echo() });
    let mut site = Site::without_route(&upstream.url());
    site.add(&format!("[[upstream]]\nname = \"small\"\nendpoints = [\"{}\"]\nmax_requests = 2\n", upstream.url()));
    site.add("[[route]]\nname = \"app\"\nupstream = \"small\"\n");
    let gateway = site.start();
    let mut held: Vec<_> = (0..2)
        .map(|_| {
            let mut connection = gateway.conn();
            connection.send(request("GET", "/hang", &[], b""));
            connection
        })
        .collect();
    upstream.wait_for_requests(2);
    let active = || gateway.metric("portcullis_upstream_active_requests{upstream=\"small\"}");
    assert_eq!(active(), Some(2.0));
    let answer = gateway.get("/x", &[]);
    let event = gateway.check_refused("the third", &answer, 503, "limit.overload");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(event["upstream"]["forwarded"], false);
    assert!(event["message"].as_str().unwrap().contains("max_requests"), "{event}");
    // Who leaves makes room.
    held.pop().unwrap().reset();
    wait::until(PATIENCE, || (gateway.get("/x", &[]).status() == 200).then_some(())).expect("there is room again");
    assert_eq!(gateway.get("/x", &[]).status(), 200);
    wait::until(PATIENCE, || (active() == Some(1.0)).then_some(())).expect("one is left");
}
