//! What a proof is for: the method and the address of the request that was decided on.

use std::fmt;

use http::Uri;
use portcullis_policy::{CanonicalPath, canonical_host};

/// The request as it was read once, which is what the policy decides on and what the upstream gets.
#[derive(Debug, Clone, Copy)]
pub struct ProofTarget<'a> {
    /// The method.
    pub method: &'a str,
    /// `https` or `http`, as the client used it.
    pub scheme: &'a str,
    /// The host in the form that routes compare.
    pub host: &'a str,
    /// The port, where one was named.
    pub port: Option<u16>,
    /// The path.
    pub path: &'a CanonicalPath,
}

impl ProofTarget<'_> {
    /// Whether an absolute URI names the same, whatever its query and fragment say (RFC 9449 section 4.3). Both are brought to the one
    /// canonical form: case of scheme and host, the scheme's own port, escapes (RFC 3986 section 6.2).
    pub(crate) fn is_at(&self, address: &str) -> bool {
        let Ok(uri) = address.parse::<Uri>() else { return false };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return false };
        let same_host = canonical_host(authority.as_str()).is_some_and(|host| host == self.host);
        let same_port = port(scheme, authority.port_u16()) == port(self.scheme, self.port);
        scheme.eq_ignore_ascii_case(self.scheme)
            && same_host
            && same_port
            && CanonicalPath::parse(uri.path()).is_ok_and(|path| path == *self.path)
    }
}

fn port(scheme: &str, written: Option<u16>) -> Option<u16> {
    let own = if scheme.eq_ignore_ascii_case("https") {
        Some(443)
    } else if scheme.eq_ignore_ascii_case("http") {
        Some(80)
    } else {
        None
    };
    written.or(own)
}

impl fmt::Display for ProofTarget<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.scheme, self.host)?;
        if let Some(port) = self.port {
            write!(formatter, ":{port}")?;
        }
        // A long path would leave no room for what is wrong.
        let path = self.path.as_str();
        match path.char_indices().nth(64) {
            Some((end, _)) => write!(formatter, "{}…", path.get(..end).unwrap_or_default()),
            None => formatter.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::CanonicalPath;

    use super::ProofTarget;

    #[test]
    fn an_address_is_compared_in_its_canonical_form() {
        let check = |scheme: &str, host: &str, port: Option<u16>, path: &str, address: &str, expected: bool| {
            let path = CanonicalPath::parse(path).unwrap();
            let target = ProofTarget { method: "GET", scheme, host, port, path: &path };
            assert_eq!(target.is_at(address), expected, "{target}: {address}");
        };
        for same in [
            "https://api.test/a/b",
            "HTTPS://API.test/a/b",
            "https://api.test:443/a/b",
            "https://api.test./a/b",
            "https://api.test/a/b?x=y",
            "https://api.test/a/b#part",
            "https://api.test/%61/b",
        ] {
            check("https", "api.test", None, "/a/b", same, true);
            check("https", "api.test", Some(443), "/a/b", same, true);
        }
        for other in [
            "",
            "/a/b",
            "//api.test/a/b",
            "api.test/a/b",
            "http://api.test/a/b",
            "https://api.test:8443/a/b",
            "https://api.test:80/a/b",
            "https://api.test/a/B",
            "https://api.test/a/b/",
            "https://api.test/a",
            "https://api.test/",
            "https://api.test",
            "https://other.test/a/b",
            "https://api.test.evil/a/b",
            "https://user@api.test/a/b",
            "https://api.test@evil/a/b",
            "https://api.test/a/../a/b",
            "https://api.test/a//b",
            "https://api.test/a%2Fb",
            "wss://api.test/a/b",
            " https://api.test/a/b",
        ] {
            check("https", "api.test", None, "/a/b", other, false);
        }
        check("http", "api.test", None, "/", "http://api.test", true);
        check("http", "api.test", Some(80), "/", "http://api.test/", true);
        check("http", "127.0.0.1", Some(8080), "/", "http://127.0.0.1:8080/", true);
        check("http", "127.0.0.1", Some(8080), "/", "http://127.0.0.1/", false);
        check("https", "[::1]", Some(8443), "/x", "https://[0:0:0:0:0:0:0:1]:8443/x", true);
        check("https", "api.test", None, "/a%20b", "https://api.test/a%20b", true);
        check("https", "api.test", None, "/%C3%A9", "https://api.test/%c3%a9", true);
    }
}
