//! Addresses with parameters.

/// As the value of a parameter (RFC 3986 section 2.3): what is not unreserved is percent-encoded.
pub fn encoded(text: &str) -> String {
    encoded_beside(text, &[])
}

/// The same of a place on this host, whose slashes may stand in a query as they are (RFC 3986 section 3.4): a person reads it.
pub fn encoded_place(place: &str) -> String {
    encoded_beside(place, b"/")
}

/// What is neither unreserved nor one of these is percent-encoded.
fn encoded_beside(text: &str, kept: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// An address with these parameters behind those that it has (RFC 6749 section 3.1). A fragment goes.
pub fn with_parameters<'p>(address: &str, parameters: impl IntoIterator<Item = (&'p str, &'p str)>) -> String {
    let mut whole = address.split('#').next().unwrap_or_default().to_owned();
    let mut separator = if whole.contains('?') { '&' } else { '?' };
    for (name, value) in parameters {
        whole.push(separator);
        whole.push_str(&encoded(name));
        whole.push('=');
        whole.push_str(&encoded(value));
        separator = '&';
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded_and_stand_behind_those_that_are_there() {
        let check = |address: &str, expected: &str| {
            assert_eq!(with_parameters(address, [("a b", "c&d=é"), ("e", "")]), expected);
        };
        check("https://op.example/auth", "https://op.example/auth?a%20b=c%26d%3D%C3%A9&e=");
        check("https://op.example/auth?tenant=1#x", "https://op.example/auth?tenant=1&a%20b=c%26d%3D%C3%A9&e=");
        assert_eq!(with_parameters("https://a/", []), "https://a/");
        assert_eq!((encoded("/a?b"), encoded_place("/a?b")), ("%2Fa%3Fb".to_owned(), "/a%3Fb".to_owned()));
    }
}
