#![no_main]

#[path = "../bodies/path.rs"]
mod path;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| path::body(bytes));
