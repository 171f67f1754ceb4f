//! Any bytes as credentials: nobody is believed who brings neither a key nor a signature that was given out.

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use portcullis_identity::{Authenticator, Identity};

/// Each line is one field: of `authorization`, or after a `#` of `x-api-key`.
pub(crate) fn body(authenticator: &Authenticator, bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(8) {
        let (name, value) = match line.strip_prefix(b"#") {
            Some(key) => ("x-api-key", key),
            None => ("authorization", line),
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    let identity = authenticator.authenticate(&headers, Timestamp::UNIX_EPOCH).settled();
    assert!(!matches!(identity, Identity::Verified(_)), "{identity:?}");
    if let Some(attempted) = identity.attempted_id() {
        assert!(attempted.len() <= 16 * 1024);
    }
}
