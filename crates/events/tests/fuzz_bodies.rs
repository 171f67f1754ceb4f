//! The body of the fuzz target `formats` (`fuzz/bodies`), over its corpus and generated inputs, so that every run of the tests
//! tries it, too.
//!
//! `PORTCULLIS_PROPTEST_CASES` raises the number of cases.

#![expect(clippy::unwrap_used, reason = "in a test a broken expectation is a failure")]

#[path = "../../../fuzz/bodies/formats.rs"]
mod formats;

use std::path::Path;

use proptest::prelude::*;

fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("PORTCULLIS_PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn every_seed_of_the_corpus_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/formats");
    let seeds: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|seed| std::fs::read(seed.unwrap().path()).unwrap()).collect();
    assert!(seeds.len() >= 5);
    seeds.iter().for_each(|seed| formats::body(seed));
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn any_bytes_and_any_text_are_one_record_or_none(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        text in prop::collection::vec(any::<char>(), 0..30).prop_map(String::from_iter),
        (at, byte) in (any::<prop::sample::Index>(), any::<u8>()),
    ) {
        formats::body(&noise);
        formats::body(text.as_bytes());
        // A line with one byte changed.
        let mut line = include_bytes!("../../../fuzz/corpus/formats/seed-00").to_vec();
        let at = at.index(line.len());
        line[at] = byte;
        formats::body(&line);
    }
}
