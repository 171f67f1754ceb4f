#![no_main]

#[path = "../bodies/client_address.rs"]
mod client_address;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| client_address::body(bytes));
