//! The asking side, for the command line.

use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use portcullis_fetch::{UrlSource, tls};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::Verb;
use crate::api::Problem;

/// The longest answer that is read as a whole.
const MAX_ANSWER: usize = 64 << 20;
/// The longest line that is read of those that stream.
const MAX_LINE: usize = 2 << 20;
/// How long an answer may take: a little longer than the server has.
const PATIENCE: Duration = Duration::from_secs(70);

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody can be asked there.
    #[error("no gateway can be asked at {at}: {source}")]
    Unreachable {
        /// The socket, or the address.
        at: String,
        /// Why.
        source: io::Error,
    },
    /// Whoever asks may not.
    #[error("not permitted to ask the gateway at {at}: {why}")]
    Forbidden {
        /// The socket, or the address.
        at: String,
        /// Why.
        why: String,
    },
    /// The gateway says no.
    #[error("{0}")]
    Refused(String),
    /// The policy that was sent along is none.
    #[error("{0}")]
    Invalid(String),
    /// The gateway is busy or takes too long, and nobody knows an answer now.
    #[error("{0}")]
    NotNow(String),
    /// What came is no answer.
    #[error("the gateway at {at} gave no proper answer: {why}")]
    Broken {
        /// The socket, or the address.
        at: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Where a gateway is asked.
#[derive(Debug, Clone)]
pub enum Place {
    /// Its control channel.
    Socket(PathBuf),
    /// The operators' API (`[admin]`), with the header that says who asks.
    Network(Box<UrlSource>, Option<(HeaderName, HeaderValue)>),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(formatter, "{}", path.display()),
            Self::Network(source, _) => {
                let scheme = if source.secure { "https" } else { "http" };
                write!(formatter, "{scheme}://{}", source.authority())
            }
        }
    }
}

/// Asks one gateway. Its methods need a tokio runtime.
#[derive(Debug, Clone)]
pub struct Client {
    place: Place,
}

impl Client {
    /// The gateway at this place.
    pub fn new(place: Place) -> Self {
        Self { place }
    }

    /// Asks for something.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let answer = timeout(PATIENCE, self.whole(Method::GET, path, Bytes::new())).await;
        answer.unwrap_or_else(|_| Err(self.broken("it takes too long")))
    }

    /// Has something done.
    ///
    /// # Errors
    /// Why there is no answer, or why it was not done.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.broken(error))?;
        let answer = timeout(PATIENCE, self.whole(Method::POST, path, body.into())).await;
        answer.unwrap_or_else(|_| Err(self.broken("it takes too long")))
    }

    /// Has something done that has a path for each verb. What is a question is asked as one, so that whoever may only look gets an answer.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub async fn ask<T: DeserializeOwned, W: Verb + Serialize>(&self, wanted: &W) -> Result<T, ClientError> {
        match wanted.question() {
            Some(target) => self.get(&target).await,
            None => self.ask_for_all(wanted).await,
        }
    }

    /// The same with what a question leaves out: the files of a version, and what is signed.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub async fn ask_for_all<T: DeserializeOwned, W: Verb + Serialize>(&self, wanted: &W) -> Result<T, ClientError> {
        self.post(&format!("{}{}", W::FOLDER, wanted.verb()), wanted).await
    }

    /// Has something done that answers line by line.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn lines(&self, path: &str, body: &impl Serialize) -> Result<Lines, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.broken(error))?;
        let sent = timeout(PATIENCE, self.send(Method::POST, path, body.into())).await;
        let response = sent.unwrap_or_else(|_| Err(self.broken("it takes too long")))?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response).await);
        }
        Ok(Lines { body: response.into_body(), rest: BytesMut::new() })
    }

    async fn whole<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, ClientError> {
        let response = self.send(method, path, body).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response).await);
        }
        let bytes = self.collect(response).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.broken(error))
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>, ClientError> {
        match &self.place {
            Place::Socket(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(|source| self.unreachable(source))?;
                let request = request(method, path, "portcullis", None, body).map_err(|error| self.broken(error))?;
                self.speak(stream, request).await
            }
            Place::Network(source, credential) => {
                let host = source.authority();
                let request =
                    request(method, path, &host, credential.as_ref(), body).map_err(|error| self.broken(error))?;
                let stream = TcpStream::connect((&*source.host, source.port)).await;
                let stream = stream.map_err(|source| self.unreachable(source))?;
                if !source.secure {
                    return self.speak(stream, request).await;
                }
                let stream = tls::connect(stream, &source.host, &source.roots, &[b"http/1.1"]).await;
                self.speak(stream.map_err(|source| self.unreachable(source))?, request).await
            }
        }
    }

    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ClientError> {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(error))?;
        tokio::spawn(async move {
            // What goes wrong with it shows in the answer.
            let _ = connection.await;
        });
        sender.send_request(request).await.map_err(|error| self.broken(error))
    }

    async fn collect(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        Ok(body.map_err(|error| self.broken(error))?.to_bytes())
    }

    async fn refusal(&self, response: Response<Incoming>) -> ClientError {
        let status = response.status();
        let bytes = match self.collect(response).await {
            Ok(bytes) => bytes,
            Err(error) => return error,
        };
        let error = said(&bytes).unwrap_or_else(|| format!("status {status}"));
        if matches!(status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) {
            return ClientError::Forbidden { at: self.place.to_string(), why: error };
        }
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) {
            return ClientError::NotNow(error);
        }
        if status == StatusCode::UNPROCESSABLE_ENTITY {
            return ClientError::Invalid(error);
        }
        ClientError::Refused(error)
    }

    fn unreachable(&self, source: io::Error) -> ClientError {
        if source.kind() == io::ErrorKind::PermissionDenied {
            return ClientError::Forbidden { at: self.place.to_string(), why: source.to_string() };
        }
        ClientError::Unreachable { at: self.place.to_string(), source }
    }

    fn broken(&self, why: impl ToString) -> ClientError {
        ClientError::Broken { at: self.place.to_string(), why: why.to_string() }
    }
}

/// A path with what its question says: everything but letters, digits and `-._~` is encoded (RFC 3986 section 2.3).
pub fn target(path: &str, parameters: &[(&str, String)]) -> String {
    let mut target = path.to_owned();
    for (place, (name, value)) in parameters.iter().enumerate() {
        target.push_str(if place == 0 { "?" } else { "&" });
        target.push_str(name);
        target.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => target.push(char::from(byte)),
                byte => {
                    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0').to_ascii_uppercase();
                    target.extend(['%', digit(byte >> 4), digit(byte & 15)]);
                }
            }
        }
    }
    target
}

fn request(
    method: Method,
    path: &str,
    host: &str,
    credential: Option<&(HeaderName, HeaderValue)>,
    body: Bytes,
) -> http::Result<Request<Full<Bytes>>> {
    let mut request =
        Request::builder().method(method).uri(path).header(HOST, host).header(CONTENT_TYPE, "application/json");
    if let Some((name, value)) = credential {
        request = request.header(name, value);
    }
    request.body(Full::new(body))
}

/// Why not: of the service itself, or of the data plane in front of it (RFC 9457).
fn said(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Refused {
        title: String,
        detail: Option<String>,
    }
    if let Ok(problem) = serde_json::from_slice::<Problem>(body) {
        return Some(problem.error);
    }
    let refused: Refused = serde_json::from_slice(body).ok()?;
    Some(match refused.detail {
        Some(detail) => format!("{}: {detail}", refused.title),
        None => refused.title,
    })
}

/// An answer that comes line by line.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    rest: BytesMut,
}

impl Lines {
    /// The next line, without its line feed; `None` at the end, however it came.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let mut line = self.rest.split_to(end + 1);
                line.truncate(end);
                return Some(line.freeze());
            }
            if self.rest.len() > MAX_LINE {
                return None;
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.rest.extend_from_slice(&data);
            }
        }
    }
}
