#![no_main]

#[path = "../bodies/asking.rs"]
mod asking;
#[path = "../bodies/matcher.rs"]
mod matcher;
#[path = "../bodies/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| matcher::body(bytes));
