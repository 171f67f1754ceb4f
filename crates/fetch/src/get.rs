//! One GET.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, ETAG, HOST, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, LOCATION, USER_AGENT,
};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Empty;

use crate::address::{UrlSource, without_query};
use crate::body::BodyError;
use crate::exchange::{Wanted, exchange};

/// What is there already, so that an answer may be short (RFC 9110 section 13.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known<'a> {
    /// Its `ETag`.
    pub etag: Option<&'a str>,
    /// Its `Last-Modified`.
    pub last_modified: Option<&'a str>,
}

/// What came back.
#[derive(Debug)]
pub enum Fetched {
    /// It is still the same.
    NotModified,
    /// The document.
    Body {
        /// Decompressed.
        bytes: Vec<u8>,
        /// Its `ETag`, where it has one of at most 1,024 bytes.
        etag: Option<String>,
        /// Its `Last-Modified`, likewise.
        last_modified: Option<String>,
    },
}

/// Why nothing came.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It took too long.
    #[error("no whole answer within {0:?}")]
    Timeout(Duration),
    /// No connection, or none that could be trusted.
    #[error("cannot connect to {host}: {source}")]
    Connect {
        /// `host:port`.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The connection broke, or what came was no HTTP.
    #[error("the connection failed: {0}")]
    Exchange(hyper::Error),
    /// Another status than 200 or 304.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// A redirect where none is followed.
    #[error("the answer leads to `{0}`, and redirects are not followed")]
    Redirect(String),
    /// A redirect to another scheme, host or port.
    #[error("the answer leads away from its host, to `{0}`")]
    Elsewhere(String),
    /// More than three redirects.
    #[error("the answer leads on and on")]
    TooManyRedirects,
    /// The body is too large or not what it says.
    #[error("{0}")]
    Body(#[from] BodyError),
    /// The address cannot be asked for.
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
}

/// The most redirects of one fetch.
const MAX_REDIRECTS: usize = 3;
/// The longest validator that is kept, in bytes.
const MAX_VALIDATOR: usize = 1_024;

/// GETs a path of the source's host: at most `most` bytes, within `timeout` from the first connection to the last byte. It needs a
/// tokio runtime with IO and time.
///
/// # Errors
/// [`FetchError`]
pub async fn get(
    source: &UrlSource,
    path: &str,
    known: Known<'_>,
    most: usize,
    timeout: Duration,
) -> Result<Fetched, FetchError> {
    let fetching = follow(source, path, known, most, timeout);
    tokio::time::timeout(timeout, fetching).await.unwrap_or(Err(FetchError::Timeout(timeout)))
}

async fn follow(
    source: &UrlSource,
    path: &str,
    known: Known<'_>,
    most: usize,
    timeout: Duration,
) -> Result<Fetched, FetchError> {
    let mut path = path.to_owned();
    for _ in 0..=MAX_REDIRECTS {
        match ask(source, &path, known, most, timeout).await? {
            Exchanged::Fetched(fetched) => return Ok(fetched),
            Exchanged::Leads(location) if !source.redirects => {
                return Err(FetchError::Redirect(without_query(&location)));
            }
            Exchanged::Leads(location) => {
                path = within(source, &location).ok_or_else(|| FetchError::Elsewhere(without_query(&location)))?;
            }
        }
    }
    Err(FetchError::TooManyRedirects)
}

enum Exchanged {
    Fetched(Fetched),
    Leads(String),
}

/// The path of a location on the same scheme, host and port.
fn within(source: &UrlSource, location: &str) -> Option<String> {
    let own = format!("{}://{}", if source.secure { "https" } else { "http" }, source.authority());
    let path = location.strip_prefix(&own).unwrap_or(location);
    let path = path.split('#').next().unwrap_or_default();
    // `//host/` names another host, and a path that is not rooted is not what servers of lists send.
    let fine = path.starts_with('/') && !path.starts_with("//") && path.len() <= 2_048;
    fine.then(|| path.to_owned())
}

async fn ask(
    source: &UrlSource,
    path: &str,
    known: Known<'_>,
    most: usize,
    timeout: Duration,
) -> Result<Exchanged, FetchError> {
    let wanted = Wanted { most, of: |status| status == StatusCode::OK };
    let (head, bytes) = exchange(source, request(source, path, known)?, wanted, timeout).await?;
    let fetched = match head.status {
        StatusCode::OK => {
            let (etag, last_modified) = (kept(&head.headers, ETAG), kept(&head.headers, LAST_MODIFIED));
            Fetched::Body { bytes, etag, last_modified }
        }
        StatusCode::NOT_MODIFIED => Fetched::NotModified,
        status if status.is_redirection() => return Ok(Exchanged::Leads(location(&head.headers))),
        status => return Err(FetchError::Status(status)),
    };
    Ok(Exchanged::Fetched(fetched))
}

fn request(source: &UrlSource, path: &str, known: Known<'_>) -> Result<Request<Empty<Bytes>>, http::Error> {
    let mut request = Request::get(path)
        .header(HOST, source.authority())
        .header(USER_AGENT, concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(ACCEPT_ENCODING, "gzip")
        .header(CONNECTION, "close")
        .body(Empty::new())?;
    for (name, value) in [(IF_NONE_MATCH, known.etag), (IF_MODIFIED_SINCE, known.last_modified)] {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            request.headers_mut().insert(name, value);
        }
    }
    Ok(request)
}

fn location(headers: &HeaderMap) -> String {
    headers
        .get(LOCATION)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).chars().take(256).collect())
        .unwrap_or_default()
}

fn kept(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    (value.len() <= MAX_VALIDATOR).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_stays_where_it_was_or_is_none() {
        let source = |secure, port| UrlSource {
            secure,
            host: "a.example".into(),
            port,
            path: "/list".into(),
            roots: Vec::new(),
            redirects: true,
        };
        let check = |source: &UrlSource, location: &str, expected: Option<&str>| {
            assert_eq!(within(source, location).as_deref(), expected, "{location}");
        };
        let usual = source(true, 443);
        check(&usual, "/other?x=y", Some("/other?x=y"));
        check(&usual, "https://a.example/other#part", Some("/other"));
        for elsewhere in [
            "http://a.example/other",
            "https://b.example/",
            "https://a.example.evil/",
            "https://a.example:8443/",
            "//b.example/",
            "other",
            "",
            "https://a.example@b.example/",
            "file:///etc/passwd",
            "https://a.example",
        ] {
            check(&usual, elsewhere, None);
        }
        check(&source(true, 8443), "https://a.example:8443/x", Some("/x"));
        check(&source(true, 8443), "https://a.example/x", None);
        check(&source(false, 80), "http://a.example/x", Some("/x"));
    }
}
