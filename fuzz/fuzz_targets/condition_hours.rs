#![no_main]

#[path = "../bodies/asking.rs"]
mod asking;
#[path = "../bodies/condition_hours.rs"]
mod condition_hours;
#[path = "../bodies/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| condition_hours::body(bytes));
