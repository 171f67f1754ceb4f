//! The control channel: an operator asks the running process, has something done, and each action is one event.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use portcullis_testkit::process::{Finished, Program, Signal};
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::{Conn, request};
use serde_json::Value;

use crate::harness::{Gateway, OPEN, Site, of_kind, portcullis, tool};

/// Runs a verb of the command line on the configuration of a gateway.
fn ask(gateway: &Gateway, arguments: &[&str]) -> Finished {
    gateway.site.ask(arguments)
}

/// The same, whose exit code is known; returns what it said on standard output.
#[track_caller]
fn check(gateway: &Gateway, arguments: &[&str], code: i32) -> String {
    let finished = ask(gateway, arguments);
    let said = finished.stdout.join("\n");
    assert_eq!(finished.status.code(), Some(code), "{arguments:?}: {said}\n{}", finished.stderr.join("\n"));
    said
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Who runs these tests, by number.
fn own_uid() -> String {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").unwrap().uid().to_string()
}

#[test]
fn a_gateway_that_was_started_by_a_relative_name_runs_on_what_is_on_the_disk() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start_within();
    let status = json(&check(&gateway, &["status", "-o", "json"], 0));
    assert_eq!(
        status["disk"],
        serde_json::json!({
            "state": "same", "sha256": status["policy"]["sha256"], "problem": null, "restart": [], "governed": false,
        })
    );
    assert_eq!(status["config"], gateway.site.path("portcullis.toml").to_str().unwrap());
}

#[test]
fn status_says_how_it_does_and_what_a_reload_would_find() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    let status = |state: &str| {
        let status = json(&check(&gateway, &["status", "-o", "json"], 0));
        assert_eq!(status["disk"]["state"], state, "{status:#}");
        status
    };
    let first = status("same");
    assert_eq!(first["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(first["listeners"][0]["address"], gateway.address.to_string());
    assert_eq!(first["upstreams"][0]["endpoints"][0]["state"], "up");
    assert_eq!(first["sinks"][0]["name"], "events");
    assert_eq!(
        (&first["workers"], &first["workers_alive"], &first["draining"]),
        (&2.into(), &true.into(), &false.into())
    );
    assert!(check(&gateway, &["status"], 0).contains("on disk  the same"));

    gateway.site.policy("[ban]\nmode = \"off\"\n");
    let differs = status("differs");
    assert_ne!(differs["disk"]["sha256"], differs["policy"]["sha256"]);
    assert!(check(&gateway, &["status"], 0).contains("DIFFERS: running"));

    gateway.site.policy("[bann]\n");
    let invalid = status("invalid");
    assert!(invalid["disk"]["problem"].as_str().unwrap().contains("unknown key `bann`"), "{invalid:#}");
    assert_eq!(invalid["policy"]["sha256"], first["policy"]["sha256"]);
    assert!(check(&gateway, &["status"], 0).contains("INVALID: running"));

    // What is fixed while it runs is named.
    gateway.site.policy(&[OPEN, crate::harness::NO_BANS].concat());
    let path = gateway.site.path("portcullis.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("workers = 2", "workers = 3")).unwrap();
    assert_eq!(status("differs")["disk"]["restart"], serde_json::json!(["[process]"]));
    // Questions are no actions.
    assert!(gateway.stop().iter().all(|event| !event["kind"].as_str().unwrap().starts_with("admin.")));
}

#[test]
fn a_reload_answers_with_every_problem_and_is_one_event() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    assert_eq!(gateway.get("/x", &[]).status(), 200);
    gateway.site.policy("[bann]\n[[role]]\nnam = \"x\"\n");
    let refused = ask(&gateway, &["reload"]);
    assert_eq!(refused.status.code(), Some(3));
    let report = refused.stderr.join("\n");
    assert!(report.contains("unknown key `bann`") && report.contains("unknown key `nam`"), "{report}");
    assert!(refused.stdout.join("\n").contains("stays in force"), "{refused:?}");
    assert_eq!(gateway.get("/x", &[]).status(), 200, "the old policy is in force");
    let problems = json(&check(&gateway, &["reload", "-o", "json"], 3));
    assert!(problems["problems"].as_array().unwrap().len() >= 2, "{problems:#}");

    gateway.site.policy("[ban]\nmode = \"off\"\n");
    assert!(check(&gateway, &["reload"], 0).starts_with("reloaded: policy "));
    assert_ne!(gateway.get("/x", &[]).status(), 200, "the new policy is in force");
    let events = gateway.stop();
    let reloads = of_kind(&events, "admin.reload");
    let decisions: Vec<&Value> = reloads.iter().map(|event| &event["decision"]).collect();
    assert_eq!(decisions, ["deny", "deny", "permit"]);
    for event in reloads {
        assert_eq!(event["identity"]["id"], own_uid());
        assert_eq!(
            (&event["identity"]["type"], &event["identity"]["method"]),
            (&"operator".into(), &"unix_socket".into())
        );
    }
}

#[test]
fn an_order_to_drain_ends_it_as_sigterm_does() {
    let upstream = Upstream::start();
    let mut gateway = Site::new(&upstream.url()).start();
    assert_eq!(check(&gateway, &["health", "--ready"], 0), "live, ready");
    check(&gateway, &["drain"], 0);
    assert_eq!(gateway.process.wait_exit(PATIENCE).code(), Some(0));
    let events = gateway.events.all();
    assert_eq!(of_kind(&events, "admin.drain").len(), 1);
    assert_eq!(of_kind(&events, "gateway.stopped").len(), 1);
    assert!(!gateway.site.path("portcullis.sock").exists(), "the socket goes with the process");
    check(&gateway, &["status"], 4);
    let error = ask(&gateway, &["health", "-o", "json"]);
    assert_eq!(error.status.code(), Some(4));
    assert!(json(&error.stderr.join(""))["error"].as_str().unwrap().contains("no gateway can be asked"), "{error:?}");
}

#[test]
fn it_answers_while_the_listeners_are_full() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add("[limits]\nmax_connections = 2\nmax_requests = 1\n");
    let gateway = site.start();
    let _held: Vec<Conn> = (0..8)
        .map(|_| {
            let mut connection = gateway.conn();
            connection.send("GET / HTTP/1.1\r\n");
            connection
        })
        .collect();
    assert_eq!(check(&gateway, &["health"], 0), "live, ready");
    assert!(check(&gateway, &["status"], 0).contains("connections"));
}

#[test]
fn a_ban_by_hand_holds_until_it_is_lifted() {
    let upstream = Upstream::start();
    let site = Site::new(&upstream.url());
    site.policy(OPEN);
    let gateway = site.start();
    let status = |source: &str| gateway.get_from(source, "/x", &[]).status();
    assert_eq!(status("127.0.0.9"), 200);
    let added = check(&gateway, &["ban", "add", "--ip", "127.0.0.9", "--for", "4h", "--reason", "scans us"], 0);
    assert!(added.starts_with("127.0.0.9 is banned until ") && added.ends_with(": scans us"), "{added}");
    let refused = gateway.get_from("127.0.0.9", "/x", &[]);
    let event = gateway.check_refused("banned by hand", &refused, 403, "ban.active");
    assert_eq!(event["client"]["ip"], "127.0.0.9");
    assert_eq!(status("127.0.0.10"), 200, "nobody else");
    assert!(check(&gateway, &["ban", "explain", "--ip", "127.0.0.9"], 0).contains("by hand: scans us"));
    check(&gateway, &["ban", "explain", "--ip", "127.0.0.10"], 1);
    let bans = json(&check(&gateway, &["ban", "list", "-o", "json"], 0));
    assert_eq!((bans["bans"].as_array().unwrap().len(), &bans["bans"][0]["on"]), (1, &"127.0.0.9".into()));
    check(&gateway, &["ban", "remove", "--ip", "127.0.0.9"], 0);
    assert_eq!(status("127.0.0.9"), 200);
    check(&gateway, &["ban", "remove", "--ip", "127.0.0.9"], 1);

    // Any network, while it lasts.
    check(&gateway, &["ban", "add", "--range", "127.0.0.0/29", "--for", "10m", "--reason", "a range"], 0);
    assert_eq!((status("127.0.0.7"), status("127.0.0.8")), (403, 200));
    check(&gateway, &["ban", "remove", "--range", "127.0.0.0/29"], 0);
    assert_eq!(status("127.0.0.7"), 200);

    for bad in [
        ["ban", "add", "--ip", "127.0.0.9", "--for", "0s", "--reason", "x"],
        ["ban", "add", "--ip", "127.0.0.9", "--for", "367d", "--reason", "x"],
        ["ban", "add", "--ip", "127.0.0.9", "--for", "1h", "--reason", ""],
        ["ban", "add", "--user", "user:", "--for", "1h", "--reason", "x"],
        ["ban", "add", "--range", "::ffff:127.0.0.0/104", "--for", "1h", "--reason", "x"],
    ] {
        check(&gateway, &bad, 1);
    }
    check(&gateway, &["ban", "add", "--ip", "127.0.0.9", "--for", "4", "--reason", "x"], 2);
    check(&gateway, &["ban", "add", "--for", "4h", "--reason", "x"], 2);
    check(&gateway, &["ban", "add", "--ip", "127.0.0.9", "--user", "alice", "--for", "4h", "--reason", "x"], 2);
    let events = gateway.stop();
    let count = |kind: &str, decision: &str| {
        of_kind(&events, kind).into_iter().filter(|event| event["decision"] == decision).count()
    };
    assert_eq!((count("admin.ban_add", "permit"), count("admin.ban_add", "deny")), (2, 5));
    assert_eq!((count("admin.ban_remove", "permit"), count("admin.ban_remove", "deny")), (2, 1));
}

#[test]
fn a_principal_can_be_banned_wherever_it_is() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    let (alice, bob) = (site.key("alice", "user:alice", ""), site.key("bob", "user:bob", ""));
    site.policy(OPEN);
    let gateway = site.start();
    let status = |key: &str| gateway.get("/x", &[("x-api-key", key)]).status();
    check(&gateway, &["ban", "add", "--user", "alice", "--for", "1h", "--reason", "left the company"], 0);
    assert_eq!((status(&alice), status(&bob)), (403, 200));
    check(&gateway, &["ban", "remove", "--user", "user:alice"], 0);
    assert_eq!(status(&alice), 200);
}

#[test]
fn a_ban_that_could_have_no_effect_is_refused() {
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    let refused = ask(&gateway, &["ban", "add", "--ip", "127.0.0.9", "--for", "1h", "--reason", "x"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.join("").contains("bans are off"), "{refused:?}");
}

#[test]
fn a_socket_that_a_dead_gateway_left_is_replaced_and_a_living_one_is_not() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add("[control]\nsocket = \"here.sock\"\n");
    let mut gateway = site.start();
    let second = || {
        let config = gateway.site.path("portcullis.toml");
        portcullis().arg("-c").arg(config).arg("run").run(PATIENCE)
    };
    let refused = second();
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(refused.stderr.join("\n").contains("another process listens on"), "{refused:?}");
    check(&gateway, &["health"], 0);

    gateway.process.signal(Signal::Kill);
    gateway.process.wait_exit(PATIENCE);
    let socket = gateway.site.path("here.sock");
    assert!(socket.exists(), "who is killed leaves it");
    check(&gateway, &["health"], 4);
    let mut again = portcullis().arg("-c").arg(gateway.site.path("portcullis.toml")).arg("run").start();
    again.wait_for("ops listening", PATIENCE, |line| line.contains("ops listening").then_some(()));
    let alive = || (ask(&gateway, &["health"]).status.code() == Some(0)).then_some(());
    assert!(wait::until(PATIENCE, alive).is_some(), "the socket of a dead process is replaced");
    assert_eq!(again.stop(PATIENCE).code(), Some(0));
}

#[test]
fn without_a_channel_the_gateway_runs_and_says_so() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add("[control]\nenabled = false\n");
    let gateway = site.start();
    assert!(!gateway.site.path("portcullis.sock").exists());
    let said = ask(&gateway, &["status"]);
    assert_eq!(said.status.code(), Some(4));
    assert!(said.stderr.join("").contains("switches the control channel off"), "{said:?}");
    assert_eq!(gateway.get("/", &[]).status(), 200);
}

#[test]
fn a_test_of_a_sink_says_what_became_of_one_event() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add("[[sink]]\nname = \"full\"\nkind = \"file\"\npath = \"/dev/full\"\n");
    site.add("[[sink]]\nname = \"cef\"\nkind = \"file\"\npath = \"events.cef\"\nformat = \"cef\"\n");
    let gateway = site.start();
    let tested = json(&check(&gateway, &["sink", "test", "events", "-o", "json"], 0));
    assert_eq!(tested["delivered"], true, "{tested:#}");
    let events = gateway.wait_for_events("admin.sink_test", 1);
    assert_eq!((events.len(), &events[0]["id"]), (1, &tested["id"]));
    assert_eq!(json(tested["line"].as_str().unwrap()), events[0], "it is the record of the test as well");
    assert_eq!(tested["wire"], tested["line"], "a file of native lines");
    let shown = check(&gateway, &["sink", "test", "cef"], 0);
    assert!(shown.contains("\n  CEF:0|Portcullis|Portcullis|") && shown.contains("|admin.sink_test|"), "{shown}");
    let failed = json(&check(&gateway, &["sink", "test", "full", "-o", "json"], 1));
    assert!(failed["message"].as_str().unwrap().contains("attempts failed"), "{failed:#}");
    let none = ask(&gateway, &["sink", "test", "none"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(none.stderr.join("").contains("there is no sink `none`"), "{none:?}");
    let events = gateway.wait_for_events("admin.sink_test", 4);
    let decisions: Vec<&Value> = events.iter().map(|event| &event["decision"]).collect();
    assert_eq!(decisions, ["permit", "permit", "permit", "deny"]);
}

fn curl_program() -> PathBuf {
    std::env::var_os("PORTCULLIS_CURL").filter(|name| !name.is_empty()).unwrap_or_else(|| "curl".into()).into()
}

/// Another user's program: nobody's, as root only.
fn as_nobody(program: &Path) -> Program {
    tool("PORTCULLIS_SETPRIV", "setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program)
}

#[test]
fn who_is_neither_root_nor_the_owner_nor_in_the_group_is_refused_with_an_event() {
    if own_uid() != "0" {
        eprintln!("NOT TESTED: to be another user one must be root");
        return;
    }
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    let socket = gateway.site.path("portcullis.sock");
    let curl = |path: &str| {
        let link = format!("http://portcullis{path}");
        as_nobody(&curl_program())
            .args(["--silent", "--max-time", "20", "--write-out", "\n%{http_code}", "--unix-socket"])
            .arg(&socket)
            .arg(link)
            .run(PATIENCE)
    };
    // The file alone keeps others out.
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    fs::set_permissions(socket.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(curl("/v1/status").status.code(), Some(7), "curl's code for no connection");
    // Were the file open to everybody, the kernel's word about the peer would.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let refused = curl("/v1/status");
    assert_eq!(refused.stdout.last().map(String::as_str), Some("403"), "{refused:?}");
    assert!(refused.stdout[0].contains("may not use this channel"), "{refused:?}");
    let events = gateway.wait_for_events("admin.refused", 1);
    assert_eq!((&events[0]["identity"]["id"], &events[0]["decision"]), (&"65534".into(), &"deny".into()));
    assert_eq!(events[0]["severity"], "high");
    let all = gateway.stop();
    assert_eq!(of_kind(&all, "admin.refused").len(), 1);
}

#[test]
fn a_group_may_use_it_where_the_configuration_says_so() {
    if own_uid() != "0" {
        eprintln!("NOT TESTED: to be another user one must be root");
        return;
    }
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add("[control]\ngroup = \"65534\"\n");
    let gateway = site.start();
    let socket = gateway.site.path("portcullis.sock");
    fs::set_permissions(socket.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    let answer = as_nobody(&curl_program())
        .args(["--silent", "--max-time", "20", "--unix-socket"])
        .arg(&socket)
        .args(["--request", "POST", "--data", "{}", "http://portcullis/v1/reload"])
        .run(PATIENCE);
    assert_eq!(json(&answer.stdout.join(""))["reloaded"], true, "{answer:?}");
    let events = gateway.wait_for_events("admin.reload", 1);
    assert_eq!(events[0]["identity"]["id"], "65534");
}

#[test]
fn what_is_no_request_harms_nobody() {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    let upstream = Upstream::start();
    let gateway = Site::new(&upstream.url()).start();
    let send = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(gateway.site.path("portcullis.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may be closed while this is sent.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let post = |path: &str, body: &str| {
        let length = body.len();
        send(
            format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
                .as_bytes(),
        )
    };
    assert!(send(b"\0\x01garbage\r\n\r\n").starts_with("HTTP/1.1 400"));
    assert!(send(&[b'x'; 100_000]).starts_with("HTTP/1.1 4"));
    let close = |line: &str| send(format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes());
    assert!(close("GET /").starts_with("HTTP/1.1 404"));
    assert!(close("DELETE /v1/status").starts_with("HTTP/1.1 404"));
    assert!(post("/v1/bans/add", "{").starts_with("HTTP/1.1 400"));
    assert!(
        post("/v1/bans/add", "{\"on\":\"1.2.3.4\",\"for_s\":1,\"reason\":\"x\",\"more\":1}")
            .starts_with("HTTP/1.1 400")
    );
    assert!(post("/v1/bans/remove", "{\"on\":\"\\u001b[31m\"}").starts_with("HTTP/1.1 409"));
    assert!(post("/v1/bans/add", &"x".repeat(70_000)).starts_with("HTTP/1.1 413"));
    check(&gateway, &["health"], 0);
    let mut connection = gateway.conn();
    connection.send(request("GET", "/", &[], b""));
    assert_eq!(connection.answer().status(), 200);
}
