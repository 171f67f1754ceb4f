//! A public access log replayed through a trusted proxy: its addresses, paths, user agents and referrers, in its order.
//!
//! The log is not part of this repository. Where it is absent a log of the same shape is made up, and the test says so.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use portcullis_testkit::upstream::{Reply, Upstream};
use portcullis_testkit::wire::{Conn, request};

use crate::harness::{OPEN, Site, of_kind, repository};

const LOG: &str = "abuse-dev/access_log_first_half.log.gz";
const CLIENTS: usize = 4;

struct Entry {
    address: String,
    method: String,
    target: String,
    status: u16,
    referrer: String,
    agent: String,
}

/// `address - - [time] "method target version" status bytes "referrer" "agent"`
fn parse(line: &str) -> Option<Entry> {
    let mut quoted = line.split('"');
    let (before, request_line, after, referrer) = (quoted.next()?, quoted.next()?, quoted.next()?, quoted.next()?);
    let agent = quoted.nth(1)?;
    let mut words = request_line.split(' ');
    Some(Entry {
        address: before.split(' ').next()?.to_owned(),
        method: words.next()?.to_owned(),
        target: words.next()?.to_owned(),
        status: after.split_whitespace().next()?.parse().ok()?,
        referrer: referrer.to_owned(),
        agent: agent.to_owned(),
    })
}

fn the_log() -> Option<String> {
    let folder = std::env::var_os("PORTCULLIS_SHARED_DATA").map_or_else(|| repository("../shared/data"), PathBuf::from);
    let path = folder.join(LOG);
    if !path.is_file() {
        return None;
    }
    let output = Command::new("gzip").arg("-dc").arg(&path).output().expect("gzip runs");
    assert!(output.status.success(), "{} cannot be unpacked", path.display());
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// 5,000 lines: mostly browsers, some crawlers, and a few scanners that meet little but 404.
fn made_up() -> String {
    let mut lines = String::new();
    for number in 0..5_000_u32 {
        let (address, target, status) = match number % 50 {
            0 => (format!("198.51.100.{}", number / 50 % 3), format!("/wp-{number}/admin.php"), 404),
            1..=10 => (format!("192.0.2.{}", number % 7), format!("/robots.txt?{number}"), 200),
            _ => (
                format!("203.0.113.{}", number % 199),
                format!("/blog/{}/page%20{}?q=a+b", number % 90, number % 11),
                200,
            ),
        };
        lines.push_str(&format!("{address} - - [17/May/2015:10:05:03 +0000] \"GET {target} HTTP/1.1\" {status} 1 \"http://made-up.test/\" \"Made-Up/1.0\"\n"));
    }
    lines
}

#[test]
fn a_public_log_is_served_without_a_failure_and_with_one_event_for_each_refusal() {
    let log = the_log().unwrap_or_else(|| {
        println!("the public log is not here (PORTCULLIS_SHARED_DATA or ../shared/data): a made-up log of its shape is replayed");
        made_up()
    });
    let entries: Vec<Entry> = log.lines().filter_map(parse).take(5_000).collect();
    assert!(entries.len() > 4_900, "only {} lines of the log could be read", entries.len());
    // What the log says was answered is what the upstream answers.
    let statuses: BTreeMap<String, u16> = entries.iter().map(|entry| (entry.target.clone(), entry.status)).collect();
    let upstream = Upstream::choosing(move |head| match statuses.get(&head.target) {
        Some(status @ (200 | 301 | 304 | 403 | 404 | 416)) => Reply::status(*status),
        _ => Reply::status(200),
    });
    let mut site = Site::new(&upstream.url());
    site.add("[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n");
    site.policy(OPEN);
    let mut gateway = site.start();
    let address = gateway.address;
    let tallies: Vec<BTreeMap<String, usize>> = thread::scope(|scope| {
        let entries = &entries;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    let mut tally = BTreeMap::new();
                    let mut connection = Conn::open(address);
                    for entry in entries.iter().skip(client).step_by(CLIENTS) {
                        let headers = [
                            ("x-forwarded-for", entry.address.as_str()),
                            ("user-agent", entry.agent.as_str()),
                            ("referer", entry.referrer.as_str()),
                        ];
                        connection.send(request(&entry.method, &entry.target, &headers, b""));
                        let answer = match entry.method.as_str() {
                            "HEAD" => connection.answer_without_body(),
                            _ => connection.answer(),
                        };
                        let refused = answer.header("content-type") == Some("application/problem+json");
                        if answer.header("connection") == Some("close") {
                            connection = Conn::open(address);
                        }
                        let what = match (refused, answer.body.is_empty()) {
                            (true, false) => answer.json()["reason"].as_str().unwrap().to_owned(),
                            (true, true) => "refused, to HEAD".to_owned(),
                            (false, _) => "forwarded".to_owned(),
                        };
                        assert!(answer.status() < 500, "{} {}: {} {what}", entry.method, entry.target, answer.status());
                        *tally.entry(what).or_insert(0) += 1;
                    }
                    tally
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let total = |wanted: &dyn Fn(&str) -> bool| -> usize {
        tallies.iter().flatten().filter(|(what, _)| wanted(what)).map(|(_, count)| count).sum()
    };
    let (forwarded, refused) = (total(&|what| what == "forwarded"), total(&|what| what != "forwarded"));
    println!("{} requests, {forwarded} forwarded, {refused} refused: {tallies:?}", entries.len());
    assert!(gateway.process.is_running());
    assert_eq!(forwarded + refused, entries.len());
    assert_eq!(upstream.requests().len(), forwarded);
    assert!(upstream.malformed().is_empty(), "{:?}", upstream.malformed());
    assert!(forwarded * 10 > entries.len() * 9, "ordinary visitors are refused: {tallies:?}");
    let events = gateway.stop();
    assert_eq!(of_kind(&events, "access.denied").len(), refused);
}
