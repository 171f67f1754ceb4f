//! A small HTTP client for sinks: POST over HTTP/1.1, over one connection that is kept, in plain text or over TLS.
//!
//! It runs on a runtime of its own in the thread of its sink. Redirects are not followed: an event goes where the configuration
//! says and nowhere else. A request that a kept connection lost before it was answered is sent once more over a new one, so that
//! a receiver may get it twice.

use std::error::Error as _;
use std::io;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::settings::HttpTarget;
use crate::sinks::tls::Connector;

/// The most of an answer that is read.
const ANSWER_BYTES: usize = 1024 * 1024;
/// The longest pause that a receiver may ask for.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// A client of one host.
pub struct Client {
    runtime: Runtime,
    target: HttpTarget,
    tls: Option<Connector>,
    /// `host:port`, as the header `Host` has it.
    host: HeaderValue,
    kept: Option<SendRequest<Full<Bytes>>>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// How long to wait, where the receiver says so; at most an hour.
    pub retry_after: Option<Duration>,
    /// The body; `None` where it was longer than a megabyte.
    pub body: Option<Bytes>,
}

impl Answer {
    /// The beginning of the body in words for a person, without what could mislead one.
    pub fn said(&self) -> String {
        let body = self.body.as_deref().unwrap_or_default();
        let text = String::from_utf8_lossy(body.get(..300).unwrap_or(body));
        let plain =
            |character: char| if character.is_control() || crate::line::misleads(character) { ' ' } else { character };
        text.chars().map(plain).collect::<String>().trim().to_owned()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// It took too long.
    #[error("no answer in time")]
    Timeout,
    /// There is no connection.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// It broke.
    #[error("the connection failed: {0}{cause}", cause = cause(.0))]
    Exchange(hyper::Error),
    /// What came is no answer.
    #[error("the answer cannot be read: {0}")]
    Answer(String),
}

impl From<hyper::Error> for PostError {
    fn from(error: hyper::Error) -> Self {
        Self::Exchange(error)
    }
}

fn cause(error: &hyper::Error) -> String {
    error.source().map(|cause| format!(": {cause}")).unwrap_or_default()
}

impl Client {
    /// A client; it connects when there is something to send.
    ///
    /// # Errors
    /// When TLS cannot be set up, or the runtime cannot be started.
    pub fn new(target: HttpTarget) -> io::Result<Self> {
        let tls = target.tls.as_ref().map(|tls| Connector::new(tls, &target.host, &[b"http/1.1"])).transpose()?;
        let bracketed = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.to_string() };
        let usual = if tls.is_some() { 443 } else { 80 };
        let host = if target.port == usual { bracketed } else { format!("{bracketed}:{}", target.port) };
        let host = HeaderValue::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        Ok(Self { runtime, target, tls, host, kept: None })
    }

    /// Posts a body to the target's path.
    ///
    /// # Errors
    /// [`PostError`]: there was no whole answer. The receiver may have the request all the same.
    pub fn post(&mut self, headers: &HeaderMap, body: Bytes) -> Result<Answer, PostError> {
        let path = self.target.path.to_string();
        self.post_to(&path, headers, body)
    }

    /// The same to another path of the same host.
    pub(crate) fn post_to(&mut self, path: &str, headers: &HeaderMap, body: Bytes) -> Result<Answer, PostError> {
        let request = self.request(path, headers, body)?;
        let Self { runtime, target, tls, kept, .. } = self;
        let (target, tls) = (&*target, tls.as_ref());
        runtime.block_on(async {
            let exchange = exchange(target, tls, kept, request);
            tokio::time::timeout(target.timeout, exchange).await.unwrap_or(Err(PostError::Timeout))
        })
    }

    fn request(&self, path: &str, headers: &HeaderMap, body: Bytes) -> Result<Request<Full<Bytes>>, PostError> {
        let mut request = Request::post(path)
            .body(Full::new(body.clone()))
            .map_err(|error| PostError::Connect(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        *request.headers_mut() = headers.clone();
        let fields = request.headers_mut();
        fields.insert(HOST, self.host.clone());
        fields.insert(USER_AGENT, HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION"))));
        fields.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        Ok(request)
    }
}

/// One request and its answer. The connection is kept only after a whole answer.
async fn exchange(
    target: &HttpTarget,
    tls: Option<&Connector>,
    kept: &mut Option<SendRequest<Full<Bytes>>>,
    request: Request<Full<Bytes>>,
) -> Result<Answer, PostError> {
    if let Some(mut old) = kept.take()
        && old.ready().await.is_ok()
    {
        // A receiver closes what rests for too long, perhaps at this very moment.
        if let Ok(response) = old.send_request(request.clone()).await {
            return finish(response, old, kept).await;
        }
    }
    let mut new = connect(target, tls).await?;
    let response = new.send_request(request).await?;
    finish(response, new, kept).await
}

async fn finish(
    response: Response<Incoming>,
    connection: SendRequest<Full<Bytes>>,
    kept: &mut Option<SendRequest<Full<Bytes>>>,
) -> Result<Answer, PostError> {
    let (head, body) = response.into_parts();
    let mut answer =
        Answer { status: head.status.as_u16(), retry_after: retry_after(&head.headers, SystemTime::now()), body: None };
    match Limited::new(body, ANSWER_BYTES).collect().await {
        Ok(whole) => {
            answer.body = Some(whole.to_bytes());
            *kept = Some(connection);
            Ok(answer)
        }
        // What is not read would come before the next answer: the connection is not kept.
        Err(error) if error.is::<LengthLimitError>() => Ok(answer),
        Err(error) => Err(PostError::Answer(error.to_string())),
    }
}

async fn connect(target: &HttpTarget, tls: Option<&Connector>) -> Result<SendRequest<Full<Bytes>>, PostError> {
    let stream = TcpStream::connect((&*target.host, target.port)).await.map_err(PostError::Connect)?;
    stream.set_nodelay(true).map_err(PostError::Connect)?;
    match tls {
        None => speak(stream).await,
        Some(tls) => {
            let connector = tokio_rustls::TlsConnector::from(tls.config.clone());
            speak(connector.connect(tls.name.clone(), stream).await.map_err(PostError::Connect)?).await
        }
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, PostError> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It is driven while a request is under way, and rests with the runtime in between. How it ends, the request is told.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let then = SystemTime::from(jiff::fmt::rfc2822::parse(value).ok()?.timestamp());
            then.duration_since(now).unwrap_or_default()
        }
    };
    Some(pause.min(LONGEST_PAUSE))
}

/// A header field that the configuration or the receiver's protocol names.
///
/// # Errors
/// When it cannot be one.
pub(crate) fn field(name: &str, value: &str) -> io::Result<(HeaderName, HeaderValue)> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("header {what} cannot be sent"));
    let name = HeaderName::try_from(name).map_err(|_| invalid(name))?;
    let value = HeaderValue::try_from(value).map_err(|_| invalid(name.as_str()))?;
    Ok((name, value))
}

/// The body, compressed where that is wanted. `gzip` is RFC 1952.
pub(crate) fn packed(body: Vec<u8>, gzip: bool) -> io::Result<Bytes> {
    use std::io::Write as _;
    if !gzip {
        return Ok(body.into());
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::fast());
    encoder.write_all(&body)?;
    Ok(encoder.finish()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_a_number_of_seconds_or_a_date_and_bounded() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let check = |value: &str, expected: Option<u64>| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::try_from(value).unwrap())]);
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{value}");
        };
        check("0", Some(0));
        check(" 120 ", Some(120));
        check("999999999999", Some(3_600));
        check("Sun, 06 Nov 1994 08:50:37 GMT", Some(60));
        check("Sun, 06 Nov 1994 08:00:00 GMT", Some(0));
        check("soon", None);
        check("-1", None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
