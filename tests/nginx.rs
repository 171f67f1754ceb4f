//! A real nginx behind the gateway: its parser, its keep-alive, its static files, not those of a stub.

use std::time::Duration;

use portcullis_policy::CanonicalPath;
use portcullis_testkit::nginx::{BIG, Nginx, Settings};
use portcullis_testkit::wire::{Answer, chunked, request};

use crate::harness::Site;

fn line<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let found = answer.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no {name} in {}", answer.text()))
}

#[test]
fn nginx_acts_on_the_path_that_was_authorised() {
    let nginx = Nginx::start();
    let gateway = Site::new(&nginx.url()).start();
    for path in [
        "/",
        "/a",
        "/a/",
        "/a/b/c",
        "/%61dmin",
        "/a%20b",
        "/a+b",
        "/a%2Bb",
        "/m%C3%BCnchen",
        "/m%c3%bcnchen",
        "/%E2%82%AC",
        "/a;v=1/b",
        "/a%3Bb",
        "/a=b&c",
        "/a%26b",
        "/a%3Fb",
        "/a%23b",
        "/100%25",
        "/100%25zz",
        "/~user",
        "/%7Euser",
        "/...",
        "/..a/b..",
        "/a/...",
        "/.hidden",
        "/%2ehidden",
        "/a:b@c",
        "/a,b!$'()*",
        "/%22quoted%22",
        "/%3Ctag%3E",
        "/a%7Cb",
        "/%5B1%5D",
        "/a%C2%A0b",
        "/%F0%9F%98%80",
        "/a%3A%2e%2E",
        "/.%61/x",
        "/A/a",
    ] {
        let authorised = CanonicalPath::parse(path).unwrap();
        for target in [path.to_owned(), format!("{path}?q=/../%2f%00&x")] {
            let answer = gateway.get(&target, &[]);
            assert_eq!(answer.status(), 200, "{target}");
            assert_eq!(line(&answer, "uri"), authorised.decoded(), "{target}");
            let query = target.split_once('?').map(|(_, query)| format!("?{query}")).unwrap_or_default();
            assert_eq!(line(&answer, "request_uri"), format!("{}{query}", authorised.as_str()), "{target}");
        }
    }
    assert!(nginx.error_log().is_empty(), "{:?}", nginx.error_log());
}

#[test]
fn nginx_acts_on_the_path_that_the_route_makes_of_the_clients() {
    let nginx = Nginx::start();
    let mut site = Site::without_route(&nginx.url());
    site.add(
        "[[route]]\nname = \"app\"\npaths = [\"/api/{tenant}/**\"]\nupstream = \"app\"\nrewrite = \"/v2/t-{tenant}.x/**\"\n\
         upstream_host = \"inner.test\"\n",
    );
    let gateway = site.start();
    for (path, made) in [
        ("/api/a", "/v2/t-a.x"),
        ("/api/a/", "/v2/t-a.x/"),
        ("/api/m%c3%bc/b%20c/d", "/v2/t-m%C3%BC.x/b%20c/d"),
        ("/%61pi/100%25/..b", "/v2/t-100%25.x/..b"),
        ("/api/a;v=1/b%3Fc%23d", "/v2/t-a;v=1.x/b%3Fc%23d"),
        ("/api/.../%5B1%5D", "/v2/t-....x/%5B1%5D"),
    ] {
        for query in ["", "?q=/../%2f%00&x"] {
            let answer = gateway.get(&format!("{path}{query}"), &[]);
            assert_eq!(answer.status(), 200, "{path}");
            assert_eq!(line(&answer, "request_uri"), format!("{made}{query}"), "{path}");
            assert_eq!(line(&answer, "uri"), CanonicalPath::parse(made).unwrap().decoded(), "{path}");
            assert_eq!(line(&answer, "host"), "inner.test", "{path}");
        }
    }
    assert!(nginx.error_log().is_empty(), "{:?}", nginx.error_log());
}

#[test]
fn what_nginx_would_read_differently_never_reaches_it() {
    let nginx = Nginx::start();
    let gateway = Site::new(&nginx.url()).start();
    for path in [
        "/a//b",
        "/a/../big",
        "/a/%2e%2e/big",
        "/a/./big",
        "/a%2fb",
        "/%2e%2e%2fbig",
        "/a%00",
        "/a\\..\\big",
        "/a/..;/big",
        "/%252e%252e/big",
    ] {
        assert_eq!(gateway.get(path, &[]).status(), 400, "{path}");
    }
    assert!(nginx.access_log().is_empty(), "{:?}", nginx.access_log());
}

#[test]
fn files_ranges_bodies_and_closes_work() {
    let nginx = Nginx::start_with(Settings { keepalive_requests: 3, ..Settings::default() });
    let gateway = Site::new(&nginx.url()).start();
    let big = gateway.get("/big", &[]);
    assert_eq!((big.body.len(), big.body.iter().all(|byte| *byte == b'x')), (BIG, true));
    let etag = big.header("etag").unwrap().to_owned();
    assert_eq!(gateway.get("/big", &[("range", "bytes=0-9")]).status(), 206);
    let unchanged = gateway.get("/big", &[("if-none-match", &etag)]);
    assert_eq!((unchanged.status(), unchanged.body.len()), (304, 0));
    assert_eq!(gateway.get("/status/404", &[]).status(), 404);
    assert_eq!(gateway.get("/status/503", &[]).status(), 503);
    let body = vec![b'y'; 1 << 20];
    for bytes in [
        request("POST", "/up", &[], &body),
        request("POST", "/up", &[("transfer-encoding", "chunked")], &chunked(&[&body])),
    ] {
        let answer = gateway.send(bytes);
        assert_eq!((answer.status(), line(&answer, "request_method")), (200, "POST"));
        assert_eq!(line(&answer, "x_forwarded_for"), "127.0.0.1");
        assert_eq!(line(&answer, "forwarded"), "for=127.0.0.1;host=gateway.test;proto=http");
        assert_eq!(Some(line(&answer, "x_request_id")), answer.header("x-request-id"));
    }
    let mut connection = gateway.conn();
    for target in ["/close", "/a", "/close", "/b", "/c", "/d", "/e"] {
        connection.send(request("GET", target, &[], b""));
        assert_eq!(connection.answer().status(), 200, "{target}: nginx's closes are not the caller's");
    }
    let dropped = gateway.get("/drop", &[]);
    gateway.check_refused("/drop", &dropped, 502, "upstream.protocol");
}

#[test]
fn nginx_may_close_idle_connections_at_any_time() {
    let nginx = Nginx::start_with(Settings { keepalive_timeout_ms: 20, ..Settings::default() });
    let mut site = Site::without_route(&nginx.url());
    // Each request may meet it, and be sent again: the usual budget is for a few of a hundred.
    site.add("retries = { budget_percent = 100 }\n");
    site.add("[[route]]\nname = \"app\"\nupstream = \"app\"\n");
    let gateway = site.start();
    let mut connection = gateway.conn();
    for pause in [0, 15, 18, 19, 20, 21, 22, 25, 30, 40, 20, 20, 21, 19] {
        // The very point is to meet the moment at which nginx closes.
        std::thread::sleep(Duration::from_millis(pause));
        connection.send(request("GET", "/", &[], b""));
        assert_eq!(connection.answer().status(), 200, "after {pause} ms");
    }
}
