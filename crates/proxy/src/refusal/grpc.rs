//! A refusal for gRPC: HTTP status 200 and no body, the status in a field ("Trailers-Only" of gRPC over HTTP/2).

use std::fmt::Write as _;

use http::StatusCode;

/// The status code of gRPC for an HTTP status. The codes are those of gRPC's `statuscodes.md`, chosen by what they tell a
/// client to do: a throttled call is RESOURCE_EXHAUSTED, one that nobody could decide UNAVAILABLE and worth another attempt.
pub(super) fn code(status: StatusCode) -> u16 {
    match status.as_u16() {
        // INVALID_ARGUMENT
        400 | 417 | 421 => 3,
        // DEADLINE_EXCEEDED
        408 | 504 => 4,
        // PERMISSION_DENIED
        403 => 7,
        // RESOURCE_EXHAUSTED
        413 | 414 | 429 | 431 => 8,
        // UNIMPLEMENTED: no service is known by that path.
        404 => 12,
        // UNAVAILABLE
        502 | 503 => 14,
        // UNAUTHENTICATED
        401 => 16,
        // INTERNAL
        _ => 13,
    }
}

/// A text as `grpc-message` carries it: percent-encoded but for visible ASCII and spaces.
pub(super) fn message(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' => encoded.push_str("%25"),
            b' '..=b'~' => encoded.push(byte.into()),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_a_code_that_tells_a_client_what_to_do() {
        for (status, expected) in [
            (400, 3),
            (401, 16),
            (403, 7),
            (404, 12),
            (408, 4),
            (413, 8),
            (414, 8),
            (417, 3),
            (421, 3),
            (429, 8),
            (431, 8),
            (500, 13),
            (502, 14),
            (503, 14),
            (504, 4),
            (418, 13),
        ] {
            assert_eq!(code(StatusCode::from_u16(status).unwrap()), expected, "{status}");
        }
    }

    #[test]
    fn a_message_is_one_field_value() {
        assert_eq!(message("100% sure\r\nx: y é~"), "100%25 sure%0D%0Ax: y %C3%A9~");
    }
}
