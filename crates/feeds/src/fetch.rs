//! Fetching a list: one GET over HTTP/1.1 on a connection of its own, or the bytes of a file.
//!
//! No proxy and no variable of the environment has a say in where it goes. A redirect leads to the same scheme, host and port or
//! nowhere.

use std::io;
use std::path::Path;
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
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::body::{Body, BodyError};
use crate::settings::{UrlSource, without_query};
use crate::tls;

/// What tells whether a list is still the same.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Validators {
    /// `ETag`, or for a file its size, inode and time of change.
    pub(crate) etag: Option<String>,
    /// `Last-Modified`
    pub(crate) last_modified: Option<String>,
    /// When the list was signed, in seconds since 1970, where its signature says so.
    #[serde(default)]
    pub(crate) signed: Option<u64>,
}

/// What came back.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// It is still the same.
    NotModified,
    /// The list.
    Body { bytes: Vec<u8>, validators: Validators },
}

/// Why nothing came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("no whole answer within {0:?}")]
    Timeout(Duration),
    #[error("cannot connect to {host}: {source}")]
    Connect { host: String, source: io::Error },
    #[error("the connection failed: {0}")]
    Exchange(hyper::Error),
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("the answer leads to `{0}`, and redirects are not followed")]
    Redirect(String),
    #[error("the answer leads away from its host, to `{0}`")]
    Elsewhere(String),
    #[error("the answer leads on and on")]
    TooManyRedirects,
    #[error("{0}")]
    Body(#[from] BodyError),
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
    #[error("cannot read {path}: {why}")]
    File { path: String, why: String },
}

/// The most redirects of one fetch.
const MAX_REDIRECTS: usize = 3;
/// The longest validator that is kept, in bytes.
const MAX_VALIDATOR: usize = 1_024;

/// GETs a path of the source's host. `known`: what is there already.
pub(crate) async fn get(
    source: &UrlSource,
    path: &str,
    known: &Validators,
    most: usize,
    timeout: Duration,
) -> Result<Fetched, FetchError> {
    let fetching = follow(source, path, known, most);
    tokio::time::timeout(timeout, fetching).await.unwrap_or(Err(FetchError::Timeout(timeout)))
}

async fn follow(source: &UrlSource, path: &str, known: &Validators, most: usize) -> Result<Fetched, FetchError> {
    let mut path = path.to_owned();
    for _ in 0..=MAX_REDIRECTS {
        match exchange(source, &path, known, most).await? {
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

async fn exchange(source: &UrlSource, path: &str, known: &Validators, most: usize) -> Result<Exchanged, FetchError> {
    let request = request(source, path, known)?;
    let failed = |source_error| FetchError::Connect { host: source.authority(), source: source_error };
    let stream = TcpStream::connect((&*source.host, source.port)).await.map_err(failed)?;
    if source.secure {
        let stream = tls::connect(stream, &source.host, &source.roots).await.map_err(failed)?;
        speak(stream, request, most).await
    } else {
        speak(stream, request, most).await
    }
}

fn request(source: &UrlSource, path: &str, known: &Validators) -> Result<Request<Empty<Bytes>>, http::Error> {
    let mut request = Request::get(path)
        .header(HOST, source.authority())
        .header(USER_AGENT, concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(ACCEPT_ENCODING, "gzip")
        .header(CONNECTION, "close")
        .body(Empty::new())?;
    for (name, value) in [(IF_NONE_MATCH, &known.etag), (IF_MODIFIED_SINCE, &known.last_modified)] {
        if let Some(value) = value.as_deref().and_then(|value| HeaderValue::try_from(value).ok()) {
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
        let validators = Validators {
            etag: kept(&head.headers, ETAG),
            last_modified: kept(&head.headers, LAST_MODIFIED),
            signed: None,
        };
        Ok(Exchanged::Fetched(Fetched::Body { bytes: body.finish()?, validators }))
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

/// The bytes of a regular file, where it is not the one that is known. A disk that does not answer is waited for no longer than the
/// timeout, and by nobody else.
pub(crate) async fn read(
    path: &Path,
    known: &Validators,
    most: usize,
    timeout: Duration,
) -> Result<Fetched, FetchError> {
    let (path, known) = (path.to_owned(), known.clone());
    let reading = tokio::task::spawn_blocking(move || read_now(&path, &known, most));
    match tokio::time::timeout(timeout, reading).await {
        Err(_) => Err(FetchError::Timeout(timeout)),
        Ok(Ok(fetched)) => fetched,
        Ok(Err(error)) => Err(FetchError::File { path: String::new(), why: error.to_string() }),
    }
}

fn read_now(path: &Path, known: &Validators, most: usize) -> Result<Fetched, FetchError> {
    use std::io::Read as _;
    use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

    let failed = |why: String| FetchError::File { path: path.display().to_string(), why };
    // A pipe that nobody writes to would block the opening itself.
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|error| failed(error.to_string()))?;
    let metadata = file.metadata().map_err(|error| failed(error.to_string()))?;
    if !metadata.is_file() {
        return Err(failed("it is not a regular file".to_owned()));
    }
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    let print = format!("{}-{}-{seconds}.{nanoseconds}", metadata.len(), metadata.ino());
    if known.etag.as_ref() == Some(&print) {
        return Ok(Fetched::NotModified);
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too large from one that just fits.
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() > most {
        return Err(BodyError::TooLarge(most).into());
    }
    Ok(Fetched::Body { bytes, validators: Validators { etag: Some(print), ..Validators::default() } })
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
