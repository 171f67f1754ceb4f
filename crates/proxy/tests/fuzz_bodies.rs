//! The bodies of the fuzz targets that read what comes over the wire, over generated inputs and their corpus, so that every run of
//! the tests tries them, too.
//!
//! `PORTCULLIS_PROPTEST_CASES` raises the number of cases of each property.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unreachable,
    reason = "in a test a broken expectation is a failure"
)]

#[path = "../../../fuzz/bodies/chunked_body.rs"]
mod chunked_body;
#[path = "../../../fuzz/bodies/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "../../../fuzz/bodies/request_head.rs"]
mod request_head;
#[path = "../../../fuzz/bodies/response_head.rs"]
mod response_head;

use std::path::Path;

use proptest::prelude::*;

fn cases() -> ProptestConfig {
    let cases = std::env::var("PORTCULLIS_PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1_500);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// The seeds of a target.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{target} has only {} seeds", files.len());
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// A seed with some bytes put in the place of others, and maybe cut off.
fn mutated(target: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => prop::sample::select(vec!["\r\n", "\r", "\n", ":", " ", ";", "\t", "0", "\0", "\r\n\r\n"])
            .prop_map(|text| text.as_bytes().to_vec()),
    ];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), 0..3_usize, piece), 0..4);
    (prop::sample::select(corpus(target)), changes, prop::option::weighted(0.2, any::<prop::sample::Index>())).prop_map(
        |(mut bytes, changes, cut)| {
            for (at, removed, piece) in changes {
                let from = at.index(bytes.len() + 1);
                let to = (from + removed).min(bytes.len());
                bytes.splice(from..to, piece);
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len() + 1));
            }
            bytes
        },
    )
}

#[test]
fn every_seed_of_the_corpus_holds() {
    corpus("request_head").iter().for_each(|bytes| request_head::body(bytes));
    corpus("response_head").iter().for_each(|bytes| response_head::body(bytes));
    corpus("chunked_body").iter().for_each(|bytes| chunked_body::body(bytes));
    corpus("proxy_protocol").iter().for_each(|bytes| proxy_protocol::body(bytes));
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_head_is_what_the_library_behind_the_gate_reads(bytes in mutated("request_head")) {
        request_head::body(&bytes);
    }

    #[test]
    fn the_head_of_a_response_is_what_a_library_reads(bytes in mutated("response_head")) {
        response_head::body(&bytes);
    }

    #[test]
    fn a_chunked_body_ends_where_the_simple_decoder_ends_it(bytes in mutated("chunked_body")) {
        chunked_body::body(&bytes);
    }

    #[test]
    fn a_header_of_the_proxy_protocol_names_who_is_written_in_it(bytes in mutated("proxy_protocol")) {
        proxy_protocol::body(&bytes);
    }
}
