//! One GET.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, ETAG, HOST, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, LAST_MODIFIED, LOCATION, USER_AGENT,
};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::address::{UrlSource, without_query};
use crate::body::{Body, BodyError};
use crate::tls;

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
/// The most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;
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
        match exchange(source, &path, known, most, timeout).await? {
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

async fn exchange(
    source: &UrlSource,
    path: &str,
    known: Known<'_>,
    most: usize,
    timeout: Duration,
) -> Result<Exchanged, FetchError> {
    let request = request(source, path, known)?;
    let failed = |source_error| FetchError::Connect { host: source.authority(), source: source_error };
    let stream = connect(source, timeout).await.map_err(failed)?;
    if source.secure {
        let stream = tls::connect(stream, &source.host, &source.roots, &[b"http/1.1"]).await.map_err(failed)?;
        speak(stream, request, most).await
    } else {
        speak(stream, request, most).await
    }
}

/// Tries the host's addresses one after the other, each for its share of half of the time: one that nobody answers at leaves time for the
/// next.
pub(crate) async fn connect(source: &UrlSource, timeout: Duration) -> io::Result<TcpStream> {
    let addresses: Vec<_> = tokio::net::lookup_host((&*source.host, source.port)).await?.take(MAX_ADDRESSES).collect();
    let share = timeout / 2 / u32::try_from(addresses.len().max(1)).unwrap_or(1);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        last = match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => io::Error::new(io::ErrorKind::TimedOut, format!("no connection to {address} within {share:?}")),
        };
    }
    Err(last)
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

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
    most: usize,
) -> Result<Exchanged, FetchError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(FetchError::Exchange)?;
    let exchange = async move {
        let response = sender.send_request(request).await.map_err(FetchError::Exchange)?;
        let (head, mut incoming) = response.into_parts();
        match head.status {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED => return Ok(Exchanged::Fetched(Fetched::NotModified)),
            status if status.is_redirection() => return Ok(Exchanged::Leads(location(&head.headers))),
            status => return Err(FetchError::Status(status)),
        }
        let coding = head.headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
        let mut body = Body::new(coding, most)?;
        while let Some(frame) = incoming.frame().await {
            if let Ok(piece) = frame.map_err(FetchError::Exchange)?.into_data() {
                body.take(&piece)?;
            }
        }
        let (etag, last_modified) = (kept(&head.headers, ETAG), kept(&head.headers, LAST_MODIFIED));
        Ok(Exchanged::Fetched(Fetched::Body { bytes: body.finish()?, etag, last_modified }))
    };
    tokio::pin!(exchange);
    // Driven here and not by a task of its own: it ends with the exchange, however that ends.
    tokio::pin!(connection);
    tokio::select! {
        biased;
        exchanged = &mut exchange => exchanged,
        ended = &mut connection => {
            // The connection may end before its last bytes were looked at; an exchange that waits for more hears of it.
            drop(ended);
            exchange.await
        }
    }
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
