#![no_main]

#[path = "../bodies/chunked_body.rs"]
mod chunked_body;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chunked_body::body(bytes));
