#![no_main]

#[path = "../bodies/formats.rs"]
mod formats;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| formats::body(bytes));
