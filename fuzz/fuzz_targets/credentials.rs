#![no_main]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use portcullis_identity::Authenticator;

#[path = "../bodies/credentials.rs"]
mod credentials;

/// The providers of the configuration that is shipped.
static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(|| {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/portcullis.toml");
    let nothing: BTreeMap<String, String> = BTreeMap::new();
    Authenticator::new(portcullis_config::load(&shipped, &nothing).unwrap().identity).unwrap()
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| credentials::body(&AUTHENTICATOR, bytes));
