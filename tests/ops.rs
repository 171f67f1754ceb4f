//! Health and metrics, on a listener of their own.

use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wire::{self, request, send};

use crate::harness::{AUTHENTICATED, NO_BANS, Site};

#[test]
fn health_answers_and_nothing_else_is_there() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    let check = |method: &str, target: &str, status: u16| {
        let answer = match method {
            "HEAD" => {
                let mut connection = wire::Conn::open(gateway.ops);
                connection.send(request(method, target, &[], b""));
                connection.answer_without_body()
            }
            _ => send(gateway.ops, request(method, target, &[], b"")),
        };
        assert_eq!(answer.status(), status, "{method} {target}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        answer
    };
    for target in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(check("GET", target, 200).text(), "ok\n");
        check("HEAD", target, 200);
        check("POST", target, 405);
    }
    let verbose = check("GET", "/readyz?verbose", 200);
    assert!(verbose.text().contains("[+]policy ok"), "{}", verbose.text());
    check("GET", "/", 404);
    check("GET", "/metrics/", 404);
    // The data listener reserves no path for itself.
    for target in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(gateway.get(target, &[]).json()["target"], target);
    }
}

#[test]
fn metrics_have_their_promised_names_and_count_known_traffic() {
    let upstream = Upstream::choosing(|head| if head.target == "/broken" { Reply::raw("") } else { Reply::echo() });
    let mut site = Site::new(&upstream.url());
    let key = site.key("alice", "user:alice", "");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let gateway = site.start();
    for _ in 0..7 {
        assert_eq!(gateway.get("/secret-path", &[("x-api-key", &key)]).status(), 200);
    }
    for _ in 0..3 {
        assert_eq!(gateway.get("/", &[]).status(), 401);
    }
    assert_eq!(gateway.get("/broken", &[("x-api-key", &key)]).status(), 502);
    assert_eq!(gateway.get("//", &[]).status(), 400);
    gateway.events.wait_for(6);
    let decisions = |labels: &str| gateway.metric(&format!("portcullis_decisions_total{{{labels}}}"));
    assert_eq!(decisions("decision=\"permit\",reason=\"\",route=\"app\",stage=\"\""), Some(8.0));
    assert_eq!(decisions("decision=\"challenge\",reason=\"authn.missing\",route=\"app\",stage=\"authn\""), Some(3.0));
    assert_eq!(
        decisions("decision=\"failed\",reason=\"upstream.protocol\",route=\"app\",stage=\"upstream\""),
        Some(1.0)
    );
    assert_eq!(
        decisions("decision=\"deny\",reason=\"request.path_ambiguous\",route=\"\",stage=\"request\""),
        Some(1.0)
    );
    assert_eq!(gateway.metric("http_server_request_duration_seconds_count"), Some(12.0));
    assert_eq!(gateway.metric("portcullis_decision_duration_seconds_count"), Some(11.0));
    assert_eq!(gateway.metric("portcullis_events_exported_total{sink=\"events\",result=\"ok\"}"), Some(6.0));
    assert_eq!(gateway.metric("portcullis_events_exported_total{sink=\"events\",result=\"error\"}"), Some(0.0));
    assert_eq!(gateway.metric("portcullis_event_queue_depth{sink=\"events\"}"), Some(0.0));
    assert_eq!(gateway.metric("portcullis_policy_reload_total{result=\"ok\"}"), Some(0.0));
    assert_eq!(gateway.metric("portcullis_panics_total"), Some(0.0));
    assert_eq!(gateway.metric("portcullis_bans_active"), Some(0.0));
    let answer = wire::get(gateway.ops, "/metrics", &[]);
    let text = answer.text();
    for name in [
        "portcullis_events_dropped_total{sink=\"events\",cause=",
        "portcullis_policy_info{version=\"1\",sha256=\"",
        "portcullis_policy_last_reload_success_timestamp_seconds ",
        "portcullis_build_info{version=\"",
        "http_server_request_duration_seconds_bucket{le=\"0.0001\"}",
        "http_server_request_duration_seconds_bucket{le=\"+Inf\"} 12",
        "portcullis_connections ",
    ] {
        assert!(text.contains(name), "{name} is not in {text}");
    }
    // Nothing that a caller chooses is a label.
    for word in ["secret-path", "alice", "127.0.0.1", "gateway.test"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
    assert!(text.trim_end().ends_with("# EOF"));
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text; version=1.0.0"));
}
