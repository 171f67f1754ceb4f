//! Where a document is.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;

/// `https://HOST:PORT/PATH`, or `http://`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlSource {
    /// Over TLS.
    pub secure: bool,
    /// The name or address, without brackets.
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
    /// The path and the query; at least `/`.
    pub path: Arc<str>,
    /// The authorities that may have signed the server's certificate; empty: those that this system believes.
    pub roots: Vec<CertificateDer<'static>>,
    /// Follow redirects to the same scheme, host and port. Default no.
    pub redirects: bool,
}

/// Why a text is no address that can be fetched from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is longer than 2,048 bytes.
    #[error("it is longer than 2,048 bytes")]
    TooLong,
    /// It is not an absolute URI.
    #[error("it is not an address such as `https://login.example.com/keys`")]
    NotAbsolute,
    /// It has a user name or a password.
    #[error("it has a user name or a password, which everybody who sees it could read")]
    UserInfo,
}

/// The longest address, in bytes.
const MAX_BYTES: usize = 2_048;

impl UrlSource {
    /// The address that an absolute `http` or `https` URI names (RFC 9110 section 4.2). A fragment counts for nothing.
    ///
    /// # Errors
    /// It is too long, something else, or has user information (RFC 9110 section 4.2.4).
    pub fn parse(text: &str, roots: Vec<CertificateDer<'static>>) -> Result<Self, UrlError> {
        if text.len() > MAX_BYTES {
            return Err(UrlError::TooLong);
        }
        let without_fragment = text.split('#').next().unwrap_or_default();
        let uri: http::Uri = without_fragment.parse().map_err(|_| UrlError::NotAbsolute)?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(UrlError::NotAbsolute),
        };
        let authority = uri.authority().ok_or(UrlError::NotAbsolute)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::UserInfo);
        }
        // What follows the colon must be a port; the parser lets it be anything that is not looked at.
        let after_host = authority.as_str().get(authority.host().len()..).unwrap_or_default();
        let port = match (after_host.strip_prefix(':'), authority.port_u16()) {
            (None, _) => {
                if secure {
                    443
                } else {
                    80
                }
            }
            (Some(_), Some(port)) if port != 0 => port,
            (Some(_), _) => return Err(UrlError::NotAbsolute),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.is_empty() {
            return Err(UrlError::NotAbsolute);
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self { secure, host: host.into(), port, path: path.into(), roots, redirects: false })
    }

    /// `host:port`, as the header `Host` has it: without the usual port.
    pub fn authority(&self) -> String {
        let bracketed = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_string() };
        let usual = if self.secure { 443 } else { 80 };
        if self.port == usual { bracketed } else { format!("{bracketed}:{}", self.port) }
    }

    /// As a person writes it, without the query, which may hold a secret.
    pub fn shown(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), without_query(&self.path))
    }
}

/// A link or a path whose query is only said to be there.
pub fn without_query(link: &str) -> String {
    link.split_once('?').map_or_else(|| link.to_owned(), |(link, _)| format!("{link}?…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_absolute_and_has_no_user() {
        let parsed = |text: &str| UrlSource::parse(text, Vec::new()).map(|source| (source.shown(), source.port));
        for (text, shown, port) in [
            ("https://Login.Example/keys?a=b#part", "https://login.example/keys?…", 443),
            ("https://login.example", "https://login.example/", 443),
            ("http://127.0.0.1:8080/k", "http://127.0.0.1:8080/k", 8080),
            ("https://[::1]:8443/k", "https://[::1]:8443/k", 8443),
            ("HTTPS://a.example/", "https://a.example/", 443),
        ] {
            assert_eq!(parsed(text), Ok((shown.to_owned(), port)), "{text}");
        }
        for (text, error) in [
            ("", UrlError::NotAbsolute),
            ("/keys", UrlError::NotAbsolute),
            ("login.example", UrlError::NotAbsolute),
            ("ftp://a.example/", UrlError::NotAbsolute),
            ("file:///etc/passwd", UrlError::NotAbsolute),
            ("https://", UrlError::NotAbsolute),
            ("https://a.example:0/", UrlError::NotAbsolute),
            ("https://a.example:99999/", UrlError::NotAbsolute),
            ("https://a.example:/", UrlError::NotAbsolute),
            ("https://a b/", UrlError::NotAbsolute),
            ("https://alice@a.example/", UrlError::UserInfo),
            ("https://alice:secret@a.example/", UrlError::UserInfo),
        ] {
            assert_eq!(parsed(text), Err(error), "{text}");
        }
        assert_eq!(parsed(&format!("https://a.example/{}", "x".repeat(2_048))), Err(UrlError::TooLong));
    }
}
