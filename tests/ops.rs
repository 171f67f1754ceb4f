//! Health and metrics, on a listener of their own.

use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{self, request, send};

use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, Site, repository};

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
    // Counted a moment after they are in the file.
    let exported = || {
        let written = gateway.metric("portcullis_events_exported_total{sink=\"events\",result=\"ok\"}");
        [written, gateway.metric("portcullis_event_queue_depth{sink=\"events\"}")]
    };
    let counted = wait::until(PATIENCE, || (exported() == [Some(6.0), Some(0.0)]).then_some(()));
    assert!(counted.is_some(), "{:?}", exported());
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
    // What the upstream did not answer properly is counted among the endpoint's failures.
    assert_eq!(gateway.metric("http_client_request_duration_seconds_count{upstream=\"app\"}"), Some(7.0));
    assert_eq!(gateway.metric("portcullis_events_exported_total{sink=\"events\",result=\"error\"}"), Some(0.0));
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

/// A gateway that has something to count: an upstream that fails and is checked, rates, an access log, a refusal, a reload.
fn counting(upstream: &Upstream) -> Gateway {
    let mut site = Site::new(&upstream.url());
    site.add("[access_log]\nkind = \"file\"\npath = \"access.log\"\n");
    let url = upstream.url();
    site.add(&format!(
        "[[upstream]]\nname = \"checked\"\nendpoints = [\"{url}\"]\nmax_requests = 9\nhealth = {{ path = \"\" }}\n\
         [[route]]\nname = \"checked\"\npaths = \"/checked\"\nupstream = \"checked\"\n"
    ));
    let gateway = site.start();
    for target in ["/", "/checked", "//"] {
        let _ = gateway.get(target, &[]).status();
    }
    gateway.events.wait_for(2);
    gateway
}

#[test]
fn promtool_finds_nothing_to_complain_of() {
    use std::io::Write as _;
    let upstream = Upstream::start();
    let gateway = counting(&upstream);
    let answer = wire::get(gateway.ops, "/metrics", &[("accept", "text/plain;version=0.0.4")]);
    assert!(answer.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let promtool =
        std::env::var_os("PORTCULLIS_PROMTOOL").filter(|name| !name.is_empty()).unwrap_or_else(|| "promtool".into());
    let mut child = std::process::Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("promtool starts: `cargo xtask test` says how to install it");
    child.stdin.take().unwrap().write_all(answer.text().as_bytes()).unwrap();
    let said = child.wait_with_output().unwrap();
    let text = [said.stdout, said.stderr].concat();
    assert!(said.status.success() && text.is_empty(), "{}: {}", said.status, String::from_utf8_lossy(&text));
    // Who asks for both, as Prometheus does, or for anything, gets the newer one.
    for accept in ["application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "*/*"] {
        let answer = wire::get(gateway.ops, "/metrics", &[("accept", accept)]);
        assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"), "{accept}");
    }
}

#[test]
fn the_dashboard_asks_only_for_metrics_and_labels_that_there_are() {
    let upstream = Upstream::start();
    let gateway = counting(&upstream);
    let metrics = wire::get(gateway.ops, "/metrics", &[]).text().to_owned();
    let dashboard = std::fs::read_to_string(repository("docs/grafana/portcullis.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let mut queries = Vec::new();
    expressions(&dashboard, &mut queries);
    assert!(queries.len() > 30, "{queries:#?}");
    let is_name = |character: char| character.is_alphanumeric() || character == '_';
    let mut names = 0;
    for query in &queries {
        for word in query.split(|character| !is_name(character)) {
            if !(word.starts_with("portcullis_") || word.starts_with("http_")) {
                continue;
            }
            names += 1;
            let found =
                metrics.lines().any(|line| line.strip_prefix(word).is_some_and(|rest| rest.starts_with(['{', ' '])));
            assert!(found, "{word} of {query} is not exposed");
        }
        for list in query.split("by (").skip(1) {
            for label in list.split(')').next().unwrap().split(", ") {
                let found = metrics.contains(&format!("{label}=\"")) || label == "instance";
                assert!(found, "the label {label} of {query} is not exposed");
            }
        }
    }
    assert!(names > 30);
}

/// Everything that a dashboard asks of its data source.
fn expressions(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(object) => {
            for (key, value) in object {
                match value {
                    serde_json::Value::String(text) if key == "expr" || key == "definition" => found.push(text.clone()),
                    _ => expressions(value, found),
                }
            }
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}
