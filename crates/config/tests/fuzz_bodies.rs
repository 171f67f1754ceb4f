//! The bodies of the fuzz targets (`fuzz/bodies`) that need a whole configuration, over generated inputs, so that every run
//! of the tests tries them, too.
//!
//! `PORTCULLIS_PROPTEST_CASES` raises the number of cases of each property.

#![expect(clippy::unwrap_used, reason = "in a test a broken expectation is a failure")]

#[path = "../../../fuzz/bodies/asking.rs"]
mod asking;
#[path = "../../../fuzz/bodies/client_address.rs"]
mod client_address;
#[path = "../../../fuzz/bodies/credentials.rs"]
mod credentials;
#[path = "../../../fuzz/bodies/loader.rs"]
mod loader;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use portcullis_identity::Authenticator;
use proptest::prelude::*;
use proptest::sample::Index;

fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("PORTCULLIS_PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Every file of a target's corpus.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(repository("fuzz/corpus").join(target)).unwrap();
    let files: Vec<Vec<u8>> = entries.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(files.len() >= 5, "{target} has only {} seeds", files.len());
    files
}

/// The providers of the configuration that is shipped.
fn authenticator() -> Authenticator {
    let nothing: BTreeMap<String, String> = BTreeMap::new();
    let shipped = portcullis_config::load(&repository("config/portcullis.toml"), &nothing).unwrap();
    Authenticator::new(shipped.identity).unwrap()
}

#[test]
fn every_seed_of_the_corpus_holds() {
    let folder = tempfile::tempdir().unwrap();
    corpus("policy_loader").iter().for_each(|seed| loader::body(folder.path(), "policy.toml", seed));
    corpus("gateway_loader").iter().for_each(|seed| loader::body(folder.path(), "portcullis.toml", seed));
    corpus("client_address").iter().for_each(|seed| client_address::body(seed));
    let authenticator = authenticator();
    corpus("credentials").iter().for_each(|seed| credentials::body(&authenticator, seed));
}

/// A sound text with a piece cut out and another put in.
fn mutated(target: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..6),
        prop::sample::select(vec![
            "\n",
            "\"",
            "[",
            "]]",
            "=",
            "{",
            "}",
            ".",
            ",",
            "true",
            "1",
            "[[role]]\n",
            "[[network]]\n",
            "\u{1F980}",
            "${A}",
            "-1",
            "1e400",
            "2026-13-40",
            "\\u0000",
            "'''",
            "name = \"x\"\n",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    let seeds = corpus(target);
    (prop::sample::select(seeds), any::<Index>(), 0usize..40, piece).prop_map(|(mut text, at, length, piece)| {
        let from = at.index(text.len() + 1);
        let to = (from + length).min(text.len());
        text.splice(from..to, piece);
        text
    })
}

proptest! {
    #![proptest_config(cases(120))]

    #[test]
    fn a_policy_file_is_refused_or_answers(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        nearly in mutated("policy_loader"),
    ) {
        let folder = tempfile::tempdir().unwrap();
        loader::body(folder.path(), "policy.toml", &noise);
        loader::body(folder.path(), "policy.toml", &nearly);
    }

    #[test]
    fn a_gateway_file_is_refused_or_answers(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        nearly in mutated("gateway_loader"),
    ) {
        let folder = tempfile::tempdir().unwrap();
        loader::body(folder.path(), "portcullis.toml", &noise);
        loader::body(folder.path(), "portcullis.toml", &nearly);
    }
}

const HOPS: &[&str] = &[
    "10.0.0.1",
    "198.51.100.7",
    "2001:db9::1",
    "[2001:db9::1]:443",
    "1.2.3.4:80",
    "for=",
    "For=\"",
    "\"",
    ";",
    ",",
    ", ",
    " ",
    "unknown",
    "_hidden",
    "::ffff:1.2.3.4",
    "010.1.1.1",
    "\n",
    "by=10.0.0.1",
    "\\",
    "\t",
    "2001:db8::5",
    "%eth0",
];

const TOKEN_PIECES: &[&str] = &[
    "Bearer ",
    "bearer ",
    ".",
    "eyJhbGciOiJub25lIn0",
    "eyJhbGciOiJSUzI1NiJ9",
    "e30",
    "AAAA",
    "=",
    "-",
    "_",
    "\n",
    "#",
    " ",
    "Basic ",
    "ä",
];

proptest! {
    #![proptest_config(cases(1_500))]

    #[test]
    fn a_client_is_the_peer_or_was_named(
        choice in 0u8..2,
        noise in prop::collection::vec(any::<u8>(), 0..64),
        hops in prop::collection::vec(prop::sample::select(HOPS), 0..12),
    ) {
        client_address::body(&[&[choice], noise.as_slice()].concat());
        client_address::body(&[&[choice], hops.concat().as_bytes()].concat());
    }
}

#[test]
fn nobody_is_believed_without_proof() {
    let authenticator = authenticator();
    let pieces = prop::collection::vec(prop::sample::select(TOKEN_PIECES), 0..12);
    let inputs = (prop::collection::vec(any::<u8>(), 0..64), pieces, mutated("credentials"));
    let mut runner = proptest::test_runner::TestRunner::new(cases(1_500));
    let tried = runner.run(&inputs, |(noise, pieces, nearly)| {
        for bytes in [noise.as_slice(), pieces.concat().as_bytes(), &nearly] {
            credentials::body(&authenticator, bytes);
        }
        Ok(())
    });
    assert_eq!(tried, Ok(()));
}
