//! The bodies of the fuzz targets (`fuzz/bodies`) over generated inputs, so that every run of the tests tries them, too.
//!
//! `PORTCULLIS_PROPTEST_CASES` raises the number of cases of each property.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test a broken expectation is a failure"
)]

#[path = "../../../fuzz/bodies/asking.rs"]
mod asking;
#[path = "../../../fuzz/bodies/condition_hours.rs"]
mod condition_hours;
#[path = "../../../fuzz/bodies/matcher.rs"]
mod matcher;
#[path = "../../../fuzz/bodies/path.rs"]
mod path;
#[path = "../../../fuzz/bodies/pattern_compiler.rs"]
mod pattern_compiler;
#[path = "../../../fuzz/bodies/world.rs"]
mod world;

use std::path::Path;

use proptest::prelude::*;

fn cases() -> ProptestConfig {
    let cases = std::env::var("PORTCULLIS_PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1_500);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Runs a body over every file of its corpus.
fn try_corpus(target: &str, body: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 5, "{target} has only {} seeds", files.len());
    files.iter().for_each(|file| body(&std::fs::read(file).unwrap()));
}

#[test]
fn every_seed_of_the_corpus_holds() {
    try_corpus("path", path::body);
    try_corpus("matcher", matcher::body);
    try_corpus("pattern_compiler", pattern_compiler::body);
    try_corpus("condition_hours", condition_hours::body);
}

fn pieces(of: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(of), 0..most).prop_map(|pieces| pieces.concat())
}

const PATH_PIECES: &[&str] = &[
    "/",
    "/",
    "/",
    "a",
    "b",
    "..",
    ".",
    ";",
    "%",
    "%2",
    "%2f",
    "%2F",
    "%5c",
    "%00",
    "%25",
    "%2e",
    "%c3",
    "%bc",
    "%41",
    "\\",
    "ü",
    " ",
    "7",
    "zz",
    "~",
    "%7f",
    "%E2%82%AC",
    "%80",
];
const PATTERN_PIECES: &[&str] = &[
    "/", "/", "/", "a", "b", "*", "**", "{id}", "{", "}", "%41", "%25", "25", "41", "ü", " ", ".", ";", "?", "#", "%2f",
];
const HOURS_PIECES: &[&str] = &[
    "Mon",
    "tue",
    "Sat",
    "Sun",
    "*",
    "-",
    ",",
    " ",
    "00:00",
    "23:59",
    "24:00",
    "08:30",
    "-",
    ":",
    "UTC",
    "Europe/Berlin",
    "Asia/Kolkata",
    "America/St_Johns",
];

/// `DAYS FROM-TO ZONE`, mostly sound.
fn hours() -> impl Strategy<Value = String> {
    let day = || prop::sample::select(vec!["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "Mon-Fri", "Sat-Tue", "*"]);
    let minute = || (0u16..=24, 0u16..60).prop_map(|(hour, minute)| format!("{hour:02}:{minute:02}"));
    let zone =
        prop::sample::select(vec!["UTC", "Europe/Berlin", "Pacific/Apia", "America/New_York", "Australia/Lord_Howe"]);
    (prop::collection::vec(day(), 1..3), minute(), minute(), zone)
        .prop_map(|(days, from, to, zone)| format!("{} {from}-{to} {zone}", days.join(",")))
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn paths_have_one_meaning_or_none(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        text in pieces(PATH_PIECES, 24),
    ) {
        path::body(&bytes);
        path::body(text.as_bytes());
        path::body(format!("/{text}").as_bytes());
    }

    #[test]
    fn patterns_permit_what_is_made_from_them(text in any::<String>(), pattern in pieces(PATTERN_PIECES, 16)) {
        pattern_compiler::body(text.as_bytes());
        pattern_compiler::body(format!("GET /{pattern}").as_bytes());
    }

    #[test]
    fn the_tree_matches_as_a_naive_reading_does(
        patterns in prop::collection::vec(pieces(&["/a", "/b", "/*", "/{x}", "/**", "/", "/%61", "/ü"], 5), 1..10),
        path in pieces(&["/a", "/b", "/c", "/", "/%61", "/%C3%BC"], 5),
    ) {
        matcher::body(format!("{}\n/{}", patterns.join("\n"), path.trim_start_matches('/')).as_bytes());
    }

    #[test]
    fn hours_hold_in_the_minutes_that_they_mark(minutes in any::<u32>(), sound in hours(), text in pieces(HOURS_PIECES, 10)) {
        for text in [sound, text] {
            condition_hours::body(&[&minutes.to_le_bytes(), text.as_bytes()].concat());
        }
    }
}
