#![no_main]

use std::sync::LazyLock;

#[path = "../bodies/asking.rs"]
mod asking;
#[path = "../bodies/loader.rs"]
mod loader;

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loader::body(FOLDER.path(), "policy.toml", bytes));
