//! HTTP/2 to upstreams: a real nginx that speaks nothing else.

use portcullis_policy::CanonicalPath;
use portcullis_testkit::interpreter::{InterpretedUpstream, Interpreter};
use portcullis_testkit::nginx::{BIG, Nginx, Settings};
use portcullis_testkit::process::Program;
use portcullis_testkit::wait::PATIENCE;
use portcullis_testkit::wire::{Answer, request};

use crate::harness::{Gateway, Site};

fn start(settings: Settings, more: &str) -> (Nginx, Gateway) {
    let nginx = Nginx::start_with(Settings { http2: true, ..settings });
    let mut site = Site::without_route(&nginx.url().replace("http://", "h2c://"));
    site.add(more);
    site.add("[[route]]\nname = \"app\"\nupstream = \"app\"\n");
    (nginx, site.start())
}

fn line<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let found = answer.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no {name} in {}", answer.text()))
}

#[test]
fn what_was_authorised_is_what_nginx_acts_on() {
    let (nginx, gateway) = start(Settings::default(), "");
    for path in ["/", "/a/b", "/a%20b", "/a%2Bb", "/m%C3%BCnchen", "/a;v=1/b", "/100%25", "/a,b!$'()*", "/%5B1%5D"] {
        let authorised = CanonicalPath::parse(path).unwrap();
        let answer = gateway.get(&format!("{path}?q=/../%2f"), &[("authorization", "Bearer x"), ("x-b", "1")]);
        assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
        assert_eq!(line(&answer, "uri"), authorised.decoded());
        assert_eq!(line(&answer, "request_uri"), format!("{}?q=/../%2f", authorised.as_str()));
        assert_eq!(line(&answer, "host"), "gateway.test", "`:authority` is the caller's `Host`");
        assert_eq!(line(&answer, "connection"), "");
        assert_eq!(line(&answer, "x_forwarded_proto"), "http");
        assert_eq!(line(&answer, "authorization"), "");
        assert!(!answer.header("connection").is_some_and(|value| value.contains("close")));
    }
    let log = nginx.access_log();
    assert!(log.iter().all(|line| line.ends_with(" HTTP/2.0")), "{log:?}");
    let connections: std::collections::BTreeSet<&str> = log.iter().filter_map(|line| line.split(' ').next()).collect();
    assert!(connections.len() <= 2, "one for each worker: {log:?}");
    assert!(nginx.error_log().is_empty(), "{:?}", nginx.error_log());
}

#[test]
fn bodies_of_any_size_go_both_ways() {
    let (nginx, gateway) = start(Settings::default(), "");
    let big = gateway.get("/big", &[]);
    assert_eq!((big.status(), big.body.len()), (200, BIG));
    assert!(big.body.iter().all(|byte| *byte == b'x'));
    let mut connection = gateway.conn();
    connection.send(request("HEAD", "/big", &[], b""));
    let head = connection.answer_without_body();
    assert_eq!((head.status(), head.header("content-length")), (200, Some(BIG.to_string().as_str())));
    for size in [0, 1, 70_000, 3_000_000] {
        let answer = gateway.send(request("POST", "/upload", &[], &vec![b'y'; size]));
        assert_eq!(answer.status(), 200, "{size}");
        assert_eq!(line(&answer, "content_length"), size.to_string());
    }
    for status in [404, 503] {
        assert_eq!(gateway.get(&format!("/status/{status}"), &[]).status(), status);
    }
    assert!(nginx.error_log().is_empty(), "{:?}", nginx.error_log());
}

/// At once; as many streams of a connection are under way when it ends.
const CALLERS: usize = 40;

#[test]
fn nothing_is_lost_while_nginx_renews_its_connections() {
    // It sends GOAWAY after each tenth request.
    let (nginx, gateway) = start(Settings { keepalive_requests: 10, ..Settings::default() }, "");
    let address = gateway.address;
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            std::thread::spawn(move || {
                for nth in 0..20 {
                    let method = if nth % 2 == 0 { "POST" } else { "GET" };
                    let body: &[u8] = if method == "POST" { b"a body" } else { b"" };
                    let answer = portcullis_testkit::wire::send(address, request(method, "/x", &[], body));
                    assert_eq!(answer.status(), 200, "{method} {nth}: {}", answer.text());
                }
            })
        })
        .collect();
    for caller in callers {
        caller.join().unwrap();
    }
    let served = nginx.access_log().iter().filter(|line| line.contains(" 200 ")).count();
    assert_eq!(served, CALLERS * 20, "and nothing was done twice");
    let failed = gateway.stop();
    assert!(crate::harness::of_kind(&failed, "access.denied").is_empty());
}

#[test]
fn an_upstream_that_does_not_speak_it_gets_no_request() {
    let nginx = Nginx::start();
    let gateway = Site::new(&nginx.url().replace("http://", "h2c://")).start();
    let answer = gateway.send(request("POST", "/x", &[], b"body"));
    let event = gateway.check_refused("prior knowledge", &answer, 502, "upstream.unreachable");
    assert_eq!(event["upstream"]["forwarded"], false);
    assert!(nginx.access_log().iter().all(|line| !line.contains("/x")), "{:?}", nginx.access_log());
}

/// What nghttp hears of an answer: all that it was sent, verbosely.
fn nghttp(gateway: &Gateway, arguments: &[&str]) -> String {
    let program = std::env::var_os("PORTCULLIS_NGHTTP").unwrap_or_else(|| "nghttp".into());
    let url = format!("http://{}/x", gateway.address);
    let body = gateway.site.path("portcullis.toml");
    let run = Program::new(program).arg("-v").arg("-d").arg(body).args(arguments).arg(url).run(PATIENCE);
    assert!(run.status.success(), "{run:?}");
    run.stdout.join("\n")
}

#[test]
fn trailers_pass_from_a_real_client_to_a_real_server_and_back_where_they_may() {
    let upstream = InterpretedUpstream::start(Interpreter::NodeHttp2);
    let start = |more: &str| {
        let mut site = Site::without_route(&format!("h2c://{}", upstream.address()));
        site.add(&format!("[[route]]\nname = \"app\"\nupstream = \"app\"\n{more}\n"));
        site.start()
    };
    let sent = ["--trailer", "x-sum: 1", "--trailer", "x-auth-user: root", "--trailer", "authorization: Bearer x"];
    let dropping = nghttp(&start(""), &sent);
    assert!(dropping.contains("\"trailers\":{}"), "{dropping}");
    assert!(!dropping.contains("x-answered"), "{dropping}");
    let passing = nghttp(&start("trailers = true"), &sent);
    assert!(passing.contains("\"trailers\":{\"x-sum\":\"1\"}"), "{passing}");
    assert!(passing.contains("x-answered: yes"), "{passing}");
    assert!(!passing.contains("set-cookie") && !passing.contains("10.0.0.1"), "{passing}");
    let grpc = nghttp(&start(""), &[&sent[..], &["-H", "content-type: application/grpc+json"]].concat());
    assert!(grpc.contains("\"trailers\":{\"x-sum\":\"1\"}") && grpc.contains("x-answered: yes"), "{grpc}");
}
