//! What is known of an event after the gateway was killed: nothing that was answered for is missing, the chain goes on, and the
//! next start says what happened.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use portcullis_testkit::process::Signal;
use portcullis_testkit::upstream::Upstream;
use portcullis_testkit::wait::{self, PATIENCE};
use serde_json::Value;

use crate::harness::{AUTHENTICATED, Gateway, NO_BANS, Site, of_kind, portcullis};

fn site(upstream: &Upstream, more: &str) -> Site {
    let mut site = Site::new(&upstream.url());
    site.policy(&[AUTHENTICATED, NO_BANS].concat());
    site.add(more);
    site
}

/// Asks until the connection ends, and returns the ids of the refusals it was given.
fn ask_until_the_end(address: SocketAddr, answers: &AtomicUsize) -> Vec<String> {
    let mut ids = Vec::new();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    while stream.write_all(b"GET /x HTTP/1.1\r\nhost: gateway.test\r\n\r\n").is_ok() {
        let Some(head) = answer(&mut stream) else { break };
        assert!(head.starts_with("HTTP/1.1 401"), "{head}");
        let id = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
        ids.push(id.to_owned());
        answers.fetch_add(1, Ordering::SeqCst);
    }
    ids
}

/// Reads one answer; `None` where its head does not come to its end. A body that is cut short was an answer, too.
fn answer(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            _ => return None,
        }
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let _ = stream.read_exact(&mut vec![0; length]);
    Some(head)
}

/// Kills the gateway under load, once there are answers and it has written some events, and returns the ids of the answers of each
/// connection in their order, and the site.
fn kill_under_load(gateway: Gateway) -> (Vec<Vec<String>>, Site) {
    let Gateway { site, mut process, address, .. } = gateway;
    let answers = AtomicUsize::new(0);
    let file = site.path("events.jsonl");
    let before = std::fs::metadata(&file).map_or(0, |metadata| metadata.len());
    // It may have been put away meanwhile.
    let has_written = || std::fs::metadata(&file).is_ok_and(|metadata| metadata.len().abs_diff(before) > 16 * 1024);
    let ids = thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(|| ask_until_the_end(address, &answers))).collect();
        let busy = wait::until(PATIENCE, || (answers.load(Ordering::SeqCst) >= 300 && has_written()).then_some(()));
        process.signal(Signal::Kill);
        busy.expect("there are answers");
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    process.wait_exit(PATIENCE);
    (ids, site)
}

/// The events of a file in which a killed process may have left a line half written.
fn whole_lines(site: &Site) -> Vec<Value> {
    let text = std::fs::read_to_string(site.path("events.jsonl")).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Stops it in order.
fn stop(gateway: Gateway) -> Site {
    let Gateway { site, mut process, .. } = gateway;
    assert_eq!(process.stop(PATIENCE).code(), Some(0));
    site
}

fn ids(events: &[Value]) -> BTreeSet<String> {
    events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

fn check_chain(events: &[Value]) {
    for pair in events.windows(2) {
        assert_eq!(pair[1]["integrity"]["prev"], pair[0]["integrity"]["hash"], "{:#}", pair[1]);
    }
}

#[test]
fn under_always_every_answer_has_its_event_on_disk_when_the_process_is_killed() {
    let upstream = Upstream::start();
    let gateway = site(&upstream, "[spool]\nfsync = \"always\"\n").start();
    let (answered, site) = kill_under_load(gateway);
    let gateway = site.start();
    assert_eq!(gateway.metric("portcullis_events_unclean_start"), Some(1.0));
    let events = whole_lines(&stop(gateway));
    let (answered, there) = (answered.concat(), ids(&events));
    let missing: Vec<_> = answered.iter().filter(|id| !there.contains(*id)).collect();
    assert!(answered.len() >= 300 && missing.is_empty(), "{} answers, without an event: {missing:?}", answered.len());
    check_chain(&events);
    let started = of_kind(&events, "gateway.started");
    assert!(started[1]["message"].as_str().unwrap().contains("did not stop in order"), "{started:#?}");
    assert!(events[0]["integrity"]["prev"].is_null() && events[0]["integrity"]["genesis"].is_string());
}

#[test]
fn by_default_only_the_last_events_are_lost_when_the_process_is_killed_and_a_stop_in_order_is_told_apart() {
    let upstream = Upstream::start();
    let gateway = site(&upstream, "").start();
    let (answered, site) = kill_under_load(gateway);
    let gateway = site.start();
    assert_eq!(gateway.metric("portcullis_events_unclean_start"), Some(1.0));
    let site = stop(gateway);
    // How many that are depends on the machine, and on its disk; but each is later than all that are there.
    let there = ids(&whole_lines(&site));
    for of_one in &answered {
        let lost = of_one.iter().position(|id| !there.contains(id)).unwrap_or(of_one.len());
        let later: Vec<_> = of_one[lost..].iter().filter(|id| there.contains(*id)).collect();
        assert!(later.is_empty(), "{} of {} were lost before {later:?}", lost, of_one.len());
    }
    assert!(answered.iter().flatten().any(|id| there.contains(id)));
    let gateway = site.start();
    assert_eq!(gateway.metric("portcullis_events_unclean_start"), Some(0.0));
    let events = whole_lines(&stop(gateway));
    check_chain(&events);
    assert_eq!(of_kind(&events, "gateway.started").len(), 3);
}

#[test]
fn a_spool_without_a_remote_sink_keeps_the_end_of_the_chain() {
    let upstream = Upstream::start();
    let gateway = site(&upstream, "[spool]\npath = \"spool\"\n").start();
    assert!(gateway.metric("portcullis_event_spool_bytes").unwrap() > 0.0);
    gateway.get("/x", &[]);
    let site = stop(gateway);
    let last = whole_lines(&site).pop().unwrap();
    // The file was moved away: the chain goes on all the same.
    std::fs::rename(site.path("events.jsonl"), site.path("events.jsonl.1")).unwrap();
    let gateway = site.start();
    let events = gateway.stop();
    assert_eq!(events[0]["integrity"]["prev"], last["integrity"]["hash"]);
    check_chain(&events);
}

/// The files of a sink, rotated ones too, as a shell would name them.
fn files(site: &Site, name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(site.path(".")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(name)).collect();
    files.sort();
    files
}

#[test]
fn whoever_is_killed_again_and_again_leaves_whole_chains_in_every_file() {
    let upstream = Upstream::start();
    let other = "[[sink]]\nname = \"other\"\nkind = \"file\"\npath = \"other.jsonl\"\n";
    let spool = "[spool]\npath = \"spool\"\nmax_size = \"16MiB\"\nsegment_size = \"1MiB\"\n";
    let mut site = site(&upstream, &format!("{other}{spool}"));
    let keygen = portcullis().args(["audit", "keygen", "--out"]).arg(site.path("checkpoint.key")).run(PATIENCE);
    let public = site.path("checkpoint.pub");
    std::fs::write(&public, keygen.stdout.join("\n")).unwrap();
    site.add("[event]\ncheckpoint = { key = { file = \"checkpoint.key\" }, events = 50 }\n");
    site.sink_with("rotate_size = \"1MiB\"\nrotate_keep = 100\n");
    for round in 1..=4 {
        let (answered, left) = kill_under_load(site.start());
        assert!(answered.concat().len() >= 300);
        site = stop(left.start());
        for name in ["events.jsonl", "other.jsonl"] {
            let finished = portcullis()
                .args(["audit", "verify", "--public-key"])
                .arg(&public)
                .args(files(&site, name))
                .run(PATIENCE);
            let told = finished.stdout.join("\n");
            assert_eq!(finished.status.code(), Some(0), "round {round}, {name}: {told}");
            // One chain, whatever was killed: it begins once, and all of it is signed.
            assert_eq!(told.matches("a chain begins here").count(), 1, "round {round}, {name}: {told}");
            assert!(told.contains("; 0 later events"), "round {round}, {name}: {told}");
        }
    }
    assert!(files(&site, "events.jsonl").len() >= 3);
}

#[test]
fn without_integrity_events_bear_no_hash() {
    let upstream = Upstream::start();
    let events = site(&upstream, "[event]\nintegrity = \"off\"\n").start().stop();
    assert!(events.len() == 2 && events.iter().all(|event| event["integrity"].is_null()));
}
