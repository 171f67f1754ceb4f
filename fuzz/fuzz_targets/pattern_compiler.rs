#![no_main]

#[path = "../bodies/asking.rs"]
mod asking;
#[path = "../bodies/pattern_compiler.rs"]
mod pattern_compiler;
#[path = "../bodies/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pattern_compiler::body(bytes));
