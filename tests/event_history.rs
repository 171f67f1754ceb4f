//! What was recorded is found again: by whom, from where, why and when, over rotated and compressed files.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use portcullis_testkit::process::{Finished, Process, Signal};
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use portcullis_testkit::wire::request;
use serde_json::Value;

use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, Site, of_kind, portcullis};

fn ask(gateway: &Gateway, arguments: &[&str]) -> Finished {
    gateway.site.ask(arguments)
}

#[track_caller]
fn lines(gateway: &Gateway, arguments: &[&str], code: i32) -> Vec<String> {
    let finished = ask(gateway, arguments);
    assert_eq!(finished.status.code(), Some(code), "{arguments:?}: {finished:?}");
    finished.stdout
}

#[track_caller]
fn json(gateway: &Gateway, arguments: &[&str]) -> Value {
    let text = lines(gateway, arguments, 0).join("\n");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A gateway that refused: `alice` three times for her role, somebody unknown from 127.0.0.9 twice, and one bad path. The first
/// of these are in a compressed file, the next in a rotated one.
fn history(index: bool) -> (Gateway, Vec<String>, Upstream) {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.add(&format!("[index]\nenabled = {index}\n"));
    let key = site.key("alice", "user:alice", "");
    let deny = "\n[[deny]]\nname = \"no-exports\"\nprincipals = [\"user:alice\"]\nscope = \"*\"\nactions = [\"GET /export\"]\n";
    site.policy(&[AUTHENTICATED, deny, NO_BANS].concat());
    let mut gateway = site.start();
    let mut ids = Vec::new();
    let mut refuse = |gateway: &Gateway, source: &str, target: &str, key: Option<&str>| {
        let headers: Vec<(&str, &str)> = key.map(|key| ("x-api-key", key)).into_iter().collect();
        let answer = gateway.get_from(source, target, &headers);
        assert!(answer.status() >= 400, "{target}: {}", answer.status());
        ids.push(answer.header("x-request-id").unwrap().to_owned());
    };
    let rotate = |gateway: &mut Gateway, name: &str, count: usize| {
        gateway.events.wait_for(count);
        fs::rename(gateway.site.path("events.jsonl"), gateway.site.path(name)).unwrap();
        gateway.process.signal(Signal::Hangup);
        let there = || gateway.site.path("events.jsonl").exists().then_some(());
        assert!(wait::until(PATIENCE, there).is_some(), "the file is opened anew");
    };
    refuse(&gateway, "127.0.0.1", "/export", Some(&key));
    refuse(&gateway, "127.0.0.9", "/first", None);
    // The start of the gateway is an event, too.
    rotate(&mut gateway, "events.jsonl.2", 3);
    let old = fs::read(gateway.site.path("events.jsonl.2")).unwrap();
    let mut gz = GzEncoder::new(File::create(gateway.site.path("events.jsonl.2.gz")).unwrap(), Compression::default());
    gz.write_all(&old).unwrap();
    gz.finish().unwrap();
    fs::remove_file(gateway.site.path("events.jsonl.2")).unwrap();
    refuse(&gateway, "127.0.0.1", "/export", Some(&key));
    refuse(&gateway, "127.0.0.1", "//", None);
    rotate(&mut gateway, "events.jsonl.1", 3);
    refuse(&gateway, "127.0.0.9", "/second", None);
    refuse(&gateway, "127.0.0.1", "/export", Some(&key));
    gateway.events.wait_for_request(ids.last().unwrap());
    (gateway, ids, upstream)
}

#[test]
fn what_is_looked_into_is_the_file_with_every_event_or_it_is_said_that_there_is_none() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    site.sink_with("severity = \"critical\"\n");
    let gateway = site.start();
    gateway.get("/x", &[]);
    let site = stop(gateway);
    let search = |site: &Site| {
        let config = site.path("portcullis.toml");
        portcullis().arg("-c").arg(config).args(["-o", "jsonl", "events", "search", "--deny"]).run(PATIENCE)
    };
    let found = search(&site);
    assert!(found.stdout.is_empty(), "{found:?}");
    assert!(found.stderr.join("\n").contains("only what the filter of the sink `events` lets through"), "{found:?}");

    let mut site = site;
    site.add("[[sink]]\nname = \"all\"\nkind = \"file\"\npath = \"all.jsonl\"\n");
    let gateway = site.start();
    gateway.get("/y", &[]);
    let site = stop(gateway);
    let found = search(&site);
    assert_eq!(found.stdout.len(), 1, "{found:?}");
    assert!(!found.stderr.join("\n").contains("filter"), "{found:?}");
}

fn stop(gateway: Gateway) -> Site {
    let Gateway { site, mut process, .. } = gateway;
    assert_eq!(process.stop(PATIENCE).code(), Some(0));
    site
}

#[test]
fn a_search_finds_what_fits_in_all_files_the_newest_first() {
    search_all(&history(false));
}

#[test]
fn an_index_is_kept_beside_the_files_and_finds_the_same() {
    let history = history(true);
    let index = history.0.site.path("events.jsonl.index");
    let mode = || Some(fs::metadata(&index).ok()?.permissions().mode() & 0o777);
    assert_eq!(wait::until(PATIENCE, mode), Some(0o600), "only the gateway's user may read it");
    search_all(&history);
    // Nobody needs it, nor the gateway.
    let (mut gateway, ..) = history;
    assert_eq!(gateway.process.stop(PATIENCE).code(), Some(0));
    fs::write(&index, "damaged").unwrap();
    let said = ask(&gateway, &["events", "search", "--deny", "-o", "jsonl"]);
    assert_eq!((said.status.code(), said.stdout.len()), (Some(0), 6), "{said:?}");
    assert!(said.stderr.join("").contains("the index cannot be used"), "{said:?}");
}

fn search_all((gateway, ids, _upstream): &(Gateway, Vec<String>, Upstream)) {
    let check = |arguments: &[&str], expected: &[usize]| {
        let all = [&["events", "search", "--deny", "-o", "jsonl"], arguments].concat();
        let found: Vec<String> = lines(gateway, &all, i32::from(expected.is_empty()))
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
            .collect();
        let expected: Vec<String> = expected.iter().map(|index| ids[*index].clone()).collect();
        assert_eq!(found, expected, "{arguments:?}");
    };
    check(&[], &[5, 4, 3, 2, 1, 0]);
    check(&["--limit", "2"], &[5, 4]);
    check(&["--user", "alice"], &[5, 2, 0]);
    check(&["--user", "user:alice", "--limit", "1"], &[5]);
    check(&["--user", "service:alice"], &[]);
    check(&["--ip", "127.0.0.9"], &[4, 1]);
    check(&["--ip", "127.0.0.8/31", "--reason", "authn.*"], &[4, 1]);
    check(&["--reason", "rbac.*"], &[5, 2, 0]);
    check(&["--reason", "request.path_ambiguous"], &[3]);
    check(&["--route", "app"], &[5, 4, 2, 1, 0]);
    check(&["--route", "other"], &[]);
    check(&["--id", &ids[0]], &[0]);
    check(&["--since", "1h"], &[5, 4, 3, 2, 1, 0]);
    check(&["--until", "1h"], &[]);
    check(&["--since", "2000-01-01T00:00:00Z", "--until", "2001-01-01T00:00:00Z"], &[]);
    let all = json(gateway, &["events", "search", "-o", "json"]);
    // Its start and both reloads are events as well.
    assert_eq!(all["matches"], 9, "{all:#}");
    let told = lines(gateway, &["events", "search", "--id", &ids[0]], 0);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains(" DENY 403 alice GET ") && told[0].contains("/export from 127.0.0.1"), "{told:?}");
    assert!(
        told[1].starts_with("  rbac.explicit_deny: ") && told[1].ends_with(&format!("explain {}", ids[0])),
        "{told:?}"
    );
    // The files can be anywhere.
    let file = gateway.site.path("events.jsonl");
    let elsewhere = portcullis()
        .args(["-c", "/none", "events", "search", "--deny", "-o", "jsonl", "--file"])
        .arg(file)
        .run(PATIENCE);
    assert_eq!((elsewhere.status.code(), elsewhere.stdout.len()), (Some(0), 6), "{elsewhere:?}");
    for bad in [["--since", "x"], ["--ip", "x"], ["--id", "x"], ["--limit", "0"], ["--limit", "10001"]] {
        lines(gateway, &[&["events", "search"][..], &bad[..]].concat(), 2);
    }
}

#[test]
fn statistics_count_what_a_search_finds() {
    let (gateway, _ids, _upstream) = history(true);
    let stats = json(&gateway, &["events", "stats", "--deny", "-o", "json"]);
    assert_eq!((&stats["events"], &stats["refusals"]), (&6.into(), &6.into()));
    let list = |key: &str| -> Vec<(String, u64)> {
        let rows = stats[key].as_array().unwrap().iter();
        rows.map(|row| (row["value"].as_str().unwrap().to_owned(), row["events"].as_u64().unwrap())).collect()
    };
    let expected = |rows: &[(&str, u64)]| -> Vec<(String, u64)> {
        rows.iter().map(|(value, n)| ((*value).to_owned(), *n)).collect()
    };
    assert_eq!(
        list("reasons"),
        expected(&[("rbac.explicit_deny", 3), ("authn.missing", 2), ("request.path_ambiguous", 1)])
    );
    assert_eq!(list("principals"), expected(&[("user:alice", 3)]));
    assert_eq!(list("addresses"), expected(&[("127.0.0.1", 4), ("127.0.0.9", 2)]));
    assert_eq!(list("routes"), expected(&[("app", 5)]));
    let series: u64 = stats["series"]["events"].as_array().unwrap().iter().filter_map(Value::as_u64).sum();
    assert_eq!(series, 6);
    let told = lines(&gateway, &["events", "stats", "--user", "alice"], 0).join("\n");
    assert!(told.starts_with("3 events, 3 of them refusals") && told.contains("rbac.explicit_deny"), "{told}");
    lines(&gateway, &["events", "stats", "--user", "nobody"], 1);
}

#[test]
fn an_explanation_says_what_to_do_next_and_what_else_happened() {
    let (gateway, ids, _upstream) = history(true);
    let told = lines(&gateway, &["events", "explain", &ids[2]], 0).join("\n");
    for part in ["deny rbac.explicit_deny (403)", "no-exports", "what it means", "what to check", "around that time"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(told.contains(&format!("explain {}", ids[0])) && told.contains(&format!("explain {}", ids[5])), "{told}");
    let explained = json(&gateway, &["events", "explain", &ids[1], "-o", "json"]);
    assert_eq!(explained["reason"], "authn.missing");
    let related: Vec<&Value> = explained["related"].as_array().unwrap().iter().map(|event| &event["id"]).collect();
    assert_eq!(related, [&Value::from(ids[4].as_str())], "by the address, where there is no principal");
    lines(&gateway, &["events", "explain", "0197a000-0000-7000-8000-000000000001"], 1);
}

/// Starts `events tail` and waits until it follows: the gateway has an event of that.
fn follow(gateway: &Gateway, arguments: &[&str]) -> Process {
    let before = of_kind(&gateway.events.all(), "admin.events_tail").len();
    let config = gateway.site.path("portcullis.toml");
    let process = portcullis().arg("-c").arg(config).args(["events", "tail"]).args(arguments).start();
    let follows = || (of_kind(&gateway.events.all(), "admin.events_tail").len() > before).then_some(());
    assert!(wait::until(PATIENCE, follows).is_some(), "nobody follows");
    process
}

#[test]
fn who_follows_sees_each_event_that_fits_once_and_in_order() {
    let upstream = Upstream::start();
    let mut site = Site::new(&upstream.url());
    let key = site.key("alice", "user:alice", "");
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let mut gateway = site.start();
    assert_eq!(gateway.get("/before", &[]).status(), 401);
    gateway.events.wait_for(2);
    let mut all = follow(&gateway, &["-n", "1", "--deny", "-o", "jsonl"]);
    let mut ambiguous = follow(&gateway, &["-n", "0", "--reason", "request.*"]);
    let mut ids = Vec::new();
    for target in ["/a", "//", "/b", "/c\u{1b}"] {
        let answer = gateway.send(request("GET", target, &[], b""));
        ids.push(answer.header("x-request-id").unwrap().to_owned());
    }
    assert_eq!(gateway.get("/permitted", &[("x-api-key", &key)]).status(), 200);
    let of_line = |line: &str| serde_json::from_str::<Value>(line).ok()?["id"].as_str().map(str::to_owned);
    all.wait_for(&ids[3], PATIENCE, |line| line.contains(&ids[3]).then_some(()));
    let seen: Vec<String> = all.stdout_lines().iter().filter_map(|line| of_line(line)).collect();
    assert_eq!(seen[1..], ids, "the last one of the file, then each that came");
    ambiguous.wait_for(&ids[3], PATIENCE, |line| line.contains(&ids[3]).then_some(()));
    let told = ambiguous.stdout_lines();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(
        told[0].contains(" DENY 400 anonymous GET ") && told[1].ends_with(&format!("explain {}", ids[1])),
        "{told:?}"
    );
    assert!(told.iter().all(|line| !line.contains('\u{1b}')), "{told:?}");
    // They end with the gateway, by themselves.
    gateway.process.signal(Signal::Term);
    assert_eq!(gateway.process.wait_exit(PATIENCE).code(), Some(0));
    assert_eq!(all.wait_exit(PATIENCE).code(), Some(0));
    assert_eq!(ambiguous.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn who_follows_too_slowly_misses_some_and_is_told_how_many() {
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::net::UnixStream;
    let upstream = Upstream::start();
    let site = Site::new(&upstream.url());
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    let gateway = site.start();
    let mut stream = UnixStream::connect(gateway.site.path("portcullis.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = "POST /v1/events/tail HTTP/1.0\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
    stream.write_all(head.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while !line.contains("portcullis.tail/1") {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the tail begins with its note");
    }
    // Far more than the ring and the socket's buffers hold.
    let count = 4_000;
    let mut connection = gateway.conn();
    for _ in 0..count {
        connection.send(request("GET", "/", &[], b""));
        assert_eq!(connection.answer().status(), 401);
    }
    gateway.events.wait_for(count);
    let (mut seen, mut missed) = (0, 0);
    while seen + missed < count as u64 + 1 {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "{seen} seen, {missed} missed");
        let value: Value = serde_json::from_str(&line).unwrap();
        match value["dropped"].as_u64() {
            Some(dropped) => missed += dropped,
            None => seen += 1,
        }
    }
    assert!(missed > 0 && seen > 0, "{seen} seen, {missed} missed");
}

#[test]
fn a_search_without_a_file_to_look_into_says_so() {
    let upstream = Upstream::start();
    let site = Site::new(&upstream.url());
    let config = fs::read_to_string(site.write()).unwrap();
    let (before, rest) = config.split_once("[[sink]]").unwrap();
    let (_, after) = rest.split_once("[[upstream]]").unwrap();
    site.file("bare.toml", &format!("{before}[[upstream]]{after}"));
    let said = portcullis().arg("-c").arg(site.path("bare.toml")).args(["events", "search"]).run(PATIENCE);
    assert_eq!(said.status.code(), Some(4), "{said:?}");
    assert!(said.stderr.join("").contains("--file"), "{said:?}");
    let none = site.run(&["events", "search"]);
    assert_eq!(none.status.code(), Some(4), "{none:?}");
}
