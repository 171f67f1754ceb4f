//! The access log: one line for each request, whatever became of it, and nothing that a request says can make it two.

use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::request;
use serde_json::Value;

use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, Site};

fn start(upstream: &Upstream, keys: &str) -> (Gateway, String) {
    let mut site = Site::new(&upstream.url());
    site.add(&format!("[access_log]\nkind = \"file\"\npath = \"access.log\"\n{keys}\n"));
    let key = site.key("caller", "service:caller", "");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    (site.start(), key)
}

/// The log's lines, once there are as many.
fn lines(gateway: &Gateway, file: &str, count: usize) -> Vec<String> {
    let path = gateway.site.path(file);
    let read = || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<String> = text.split_terminator('\n').map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    };
    let lines = wait::until(PATIENCE, read).unwrap_or_else(|| panic!("not {count} lines in {}", path.display()));
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

#[test]
fn each_request_is_one_line_permitted_or_not() {
    let upstream = Upstream::replying(Reply::bytes("hello"));
    let (gateway, key) = start(&upstream, "");
    let sent =
        [("x-api-key", key.as_str()), ("User-Agent", "test/1"), ("Referer", "https://u:secret@a.test/p?token=secret")];
    let answer = gateway.get("/a%20b?token=secret", &sent);
    let refused = gateway.get("/x", &[]);
    let head = gateway.send(b"GET /..;/x HTTP/1.1\r\nHost: a\r\n\r\n");
    let malformed = gateway.send(b"GET /y?token=secret HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    let lines: Vec<Value> =
        lines(&gateway, "access.log", 4).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |answer: &portcullis_testkit::wire::Answer| {
        let id = answer.header("x-request-id").unwrap();
        lines.iter().find(|line| line["request_id"] == id).unwrap_or_else(|| panic!("{id} in {lines:#?}"))
    };
    let line = of(&answer);
    assert_eq!((&line["status"], &line["reason"], &line["bytes_sent"]), (&200.into(), &Value::Null, &5.into()));
    assert_eq!((&line["complete"], &line["user"]), (&true.into(), &"service:caller".into()));
    assert_eq!(
        (&line["method"], &line["path"], &line["host"]),
        (&"GET".into(), &"/a%20b".into(), &"gateway.test".into())
    );
    assert_eq!((&line["route"], &line["upstream"]), (&"app".into(), &"app".into()));
    assert_eq!((&line["user_agent"], &line["referrer"]), (&"test/1".into(), &"https://a.test/p".into()));
    assert_eq!((&line["client_ip"], &line["peer_ip"]), (&"127.0.0.1".into(), &"127.0.0.1".into()));
    assert!(line["duration_us"].as_u64().unwrap() > 0);
    let line = of(&refused);
    assert_eq!((&line["status"], &line["reason"]), (&401.into(), &"authn.missing".into()));
    assert_eq!((&line["bytes_sent"], &line["complete"]), (&refused.body.len().into(), &true.into()));
    assert_eq!((&line["user"], &line["upstream"]), (&Value::Null, &Value::Null));
    assert_eq!(of(&head)["reason"], "request.path_ambiguous");
    assert_eq!((&of(&malformed)["reason"], &of(&malformed)["path"]), (&"request.host_invalid".into(), &"/y".into()));
    let text = serde_json::to_string(&lines).unwrap();
    assert!(!text.contains("secret") && !text.contains(&key), "{text}");
    assert_eq!(gateway.metric("portcullis_access_log_lines_total{result=\"ok\"}"), Some(4.0));
    assert_eq!(gateway.metric("portcullis_access_log_dropped_total{cause=\"queue_full\"}"), Some(0.0));
}

#[test]
fn the_combined_form_has_a_query_where_it_is_wanted_and_no_way_out_of_a_field() {
    let upstream = Upstream::replying(Reply::bytes("hello"));
    let (gateway, key) = start(&upstream, "format = \"combined\"\nquery = true");
    let evil = b"GET /a?x=1 HTTP/1.1\r\nHost: a\r\nUser-Agent: a\" 200 1 \"\xc3\xa9\x80\\\tb\r\nReferer: -\" \"-\r\nx-api-key: ";
    gateway.send([&evil[..], key.as_bytes(), b"\r\n\r\n"].concat());
    gateway.get("/b?c=d", &[("x-api-key", &key)]);
    let lines = lines(&gateway, "access.log", 2);
    for line in &lines {
        assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')) && line.matches('"').count() == 6, "{line}");
    }
    assert!(lines.iter().any(|line| line.contains("\"GET /b?c=d HTTP/1.1\" 200 5 \"-\" \"-\"")), "{lines:#?}");
    let first = &lines[0];
    assert!(first.contains(r#"a\x22 200 1 \x22"#) && first.contains(r#""-\x22 \x22-""#), "{first}");
}

#[test]
fn answers_without_a_body_and_broken_ones_are_told_apart() {
    let upstream = Upstream::choosing(|head| match head.target.as_str() {
        "/none" => Reply::status(204),
        "/short" => Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").then_close(),
        _ => Reply::bytes("hello"),
    });
    let (gateway, key) = start(&upstream, "");
    let send = |method: &str, target: &str| {
        let mut connection = gateway.conn();
        connection.send(request(method, target, &[("x-api-key", key.as_str())], b""));
        // Of an answer that breaks off at once the head may not come either.
        let _ = connection.try_head();
    };
    send("GET", "/none");
    send("HEAD", "/head");
    send("GET", "/short");
    let lines = lines(&gateway, "access.log", 3);
    let complete = |path: &str| {
        let line = lines.iter().find(|line| line.contains(path)).unwrap();
        serde_json::from_str::<Value>(line).unwrap()["complete"].clone()
    };
    assert_eq!((complete("/none"), complete("/head"), complete("/short")), (true.into(), true.into(), false.into()));
}

#[test]
fn a_rotated_log_goes_on_in_a_new_file_and_the_last_lines_are_not_lost() {
    let upstream = Upstream::start();
    let (mut gateway, _) = start(&upstream, "");
    gateway.get("/one", &[]);
    lines(&gateway, "access.log", 1);
    std::fs::rename(gateway.site.path("access.log"), gateway.site.path("access.log.1")).unwrap();
    gateway.reload("ok");
    gateway.get("/two", &[]);
    lines(&gateway, "access.log", 1);
    // The gateway's folder goes with it; the file stays under another name.
    let kept = tempfile::tempdir().unwrap();
    let copy = kept.path().join("access.log");
    std::fs::hard_link(gateway.site.path("access.log"), &copy).unwrap();
    assert_eq!(std::fs::read_to_string(gateway.site.path("access.log.1")).unwrap().lines().count(), 1);
    for _ in 0..20 {
        gateway.get("/three", &[]);
    }
    gateway.stop();
    assert_eq!(std::fs::read_to_string(copy).unwrap().lines().count(), 21);
}

#[test]
fn without_an_access_log_there_is_none() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add("[access_log]\nkind = \"off\"\nsample = \"50%\"\n");
    let gateway = site.start();
    assert_eq!(gateway.get("/", &[]).status(), 200);
    assert!(!gateway.site.path("access.log").exists());
    assert_eq!(gateway.metric("portcullis_access_log_lines_total{result=\"ok\"}"), None);
}
