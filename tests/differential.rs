//! The path that is authorised is the path that the upstream acts on, whatever the upstream's parser: thousands of targets, made of
//! what parsers are known to disagree about, against three real ones.
//!
//! Whatever the gateway forwards must mean to the upstream what it meant to the policy, byte for byte after decoding. What it
//! refuses must be refused as malformed, and must not be what honest clients send.

use std::collections::BTreeSet;

use portcullis_policy::CanonicalPath;
use portcullis_testkit::interpreter::{InterpretedUpstream, Interpreter};
use portcullis_testkit::nginx::Nginx;
use portcullis_testkit::wire::{Answer, request};
use serde_json::Value;

use crate::harness::{NO_BANS, OPEN, Site};

/// What one segment may be: names, spellings of dots and separators, parameters, encodings that are broken, doubled or overlong.
const SEGMENTS: &[&str] = &[
    "",
    ".",
    "..",
    "...",
    ".%2e",
    "%2e",
    "%2E%2e",
    "..;",
    "..;x=1",
    ".;",
    ";",
    ";a=b",
    "a;..",
    "%3b..",
    "a",
    "A",
    "%61",
    "admin",
    "%61dmin",
    "admin.",
    "admin%20",
    "a%2fb",
    "a%2Fb",
    "%2f..",
    "..%2f",
    "a%5cb",
    "..%5c",
    "a\\b",
    "..\\",
    "%00",
    "a%00b",
    "a%0ab",
    "a%0d%0aX",
    "a%09",
    "%7f",
    "%",
    "%2",
    "%zz",
    "%u002e",
    "%25",
    "%252e%252e",
    "%252f",
    "%c0%ae%c0%ae",
    "%c0%af",
    "%e0%80%af",
    "%c3%bc",
    "%ff",
    "%ef%bc%8f",
    "%e2%80%ae",
    "~a",
    "a:b",
    "a@b",
    "*",
    "(a)",
    "'a'",
    "a|b",
    "[a]",
    "{a}",
    "a+b",
    "a,b",
    "$a",
    "&a",
    "a=b",
    "!",
    "^",
];

/// All single segments and pairs, with and without a slash at the end, and a fixed sample of longer ones.
fn targets() -> Vec<String> {
    let mut targets = BTreeSet::new();
    for first in SEGMENTS {
        targets.insert(format!("/{first}"));
        for second in SEGMENTS {
            targets.insert(format!("/{first}/{second}"));
        }
    }
    // A generator with a fixed seed (an odd multiplier, as PCG has it): the same targets on each run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((state >> 33) % u64::try_from(bound).unwrap()).unwrap()
    };
    for _ in 0..1_500 {
        let segments: Vec<&str> = (0..3 + below(3)).map(|_| SEGMENTS[below(SEGMENTS.len())]).collect();
        let query = ["", "?", "?q=/../%2f", "?/;.."][below(4)];
        targets.insert(format!("/{}{query}", segments.join("/")));
    }
    targets.into_iter().collect()
}

/// The bytes that a path means.
fn decoded(path: &str) -> Vec<u8> {
    let bytes = path.as_bytes();
    let mut meaning = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| u8::from_str_radix(path.get(at + 1..at + 3)?, 16).ok()).flatten();
        meaning.push(escape.unwrap_or(bytes[at]));
        at += if escape.is_some() { 3 } else { 1 };
    }
    meaning
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.trim().chars().collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

/// Sends every target through the gateway to this upstream. `acted_on` reads from its answer what it acted on.
fn check_all(upstream: &str, acted_on: impl Fn(&Answer) -> Vec<u8>) {
    let site = Site::new(upstream);
    site.policy(&format!("{OPEN}{NO_BANS}"));
    let gateway = site.start();
    let mut conn = gateway.conn();
    let (mut forwarded, mut refused) = (0, 0);
    let mut differences = Vec::new();
    for target in targets() {
        if conn.try_send(request("GET", &target, &[], b"")).is_err() {
            conn = gateway.conn();
            conn.send(request("GET", &target, &[], b""));
        }
        let answer = conn.try_answer().unwrap_or_else(|_| {
            conn = gateway.conn();
            conn.send(request("GET", &target, &[], b""));
            conn.answer()
        });
        let raw = target.split('?').next().unwrap_or_default();
        match (answer.status(), CanonicalPath::parse(raw)) {
            (200, Ok(canonical)) => {
                forwarded += 1;
                let (authorised, acted) = (decoded(canonical.as_str()), acted_on(&answer));
                if authorised != acted {
                    let (authorised, acted) = (String::from_utf8_lossy(&authorised), String::from_utf8_lossy(&acted));
                    differences.push(format!("{target}: authorised {authorised:?}, acted on {acted:?}"));
                }
            }
            (400, _) => {
                refused += 1;
                conn = gateway.conn();
            }
            (status, parsed) => differences.push(format!("{target}: {status}, and {parsed:?}")),
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    // Neither is a test that forwards nothing, or nothing that is doubtful.
    assert!(forwarded > 700 && refused > 700, "{forwarded} forwarded, {refused} refused");
}

#[test]
fn nginx_acts_on_what_was_authorised() {
    let nginx = Nginx::start();
    check_all(&nginx.url(), |answer| {
        let start = answer.body.windows(6).position(|window| window == b"\nuri: ").unwrap() + 6;
        // Its variable is printed as it is; the gateway lets no line end into a path.
        answer.body[start..].split(|byte| *byte == b'\n').next().unwrap().to_vec()
    });
}

#[test]
fn node_acts_on_what_was_authorised() {
    let node = InterpretedUpstream::start(Interpreter::Node);
    check_all(&node.url(), |answer| from_hex(answer.text()));
}

#[test]
fn python_acts_on_what_was_authorised() {
    let python = InterpretedUpstream::start(Interpreter::Python);
    check_all(&python.url(), |answer| from_hex(answer.text()));
}

/// The browsers' own cases, where the shared test data stands beside the project.
#[test]
fn the_url_standard_reads_what_is_accepted_as_it_is_read_here() {
    let path = crate::harness::repository("../shared/data/whatwg-url/urltestdata.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("NOT CHECKED: the cases of the URL standard are not beside the project ({})", path.display());
        return;
    };
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut compared = 0;
    let mut differences = Vec::new();
    for case in &cases {
        let (Some(input), Some(expected)) = (case["input"].as_str(), case["pathname"].as_str()) else { continue };
        let is_http = matches!(case["protocol"].as_str(), Some("http:" | "https:"));
        let after_authority = input.split_once("://").and_then(|(_, rest)| rest.find('/').map(|slash| &rest[slash..]));
        let raw = if input.starts_with('/') && !input.starts_with("//") { Some(input) } else { after_authority };
        let Some(raw) = raw.filter(|_| is_http) else { continue };
        let raw = raw.split(['?', '#']).next().unwrap_or_default();
        if let Ok(canonical) = CanonicalPath::parse(raw) {
            compared += 1;
            if decoded(canonical.as_str()) != decoded(expected) {
                differences.push(format!("{input:?}: {} here, {expected} there", canonical.as_str()));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(compared > 40, "only {compared} cases were compared");
}
