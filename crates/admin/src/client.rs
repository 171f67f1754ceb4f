//! The asking side, for the command line.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::time::timeout;

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
    #[error("no gateway can be asked at {}: {source}", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Whoever asks may not.
    #[error("not permitted to ask the gateway at {}: {why}", path.display())]
    Forbidden {
        /// The socket.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The gateway says no.
    #[error("{0}")]
    Refused(String),
    /// What came is no answer.
    #[error("the gateway at {} gave no proper answer: {why}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// One gateway's control channel. Its methods need a tokio runtime.
#[derive(Debug, Clone)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// The gateway behind this socket.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
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
        let stream = UnixStream::connect(&self.path).await.map_err(|source| self.unreachable(source))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(error))?;
        tokio::spawn(async move {
            // What goes wrong with it shows in the answer.
            let _ = connection.await;
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "portcullis")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| self.broken(error))?;
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
        let problem = serde_json::from_slice::<Problem>(&bytes);
        let error = problem.map_or_else(|_| format!("status {status}"), |problem| problem.error);
        if status == StatusCode::FORBIDDEN {
            return ClientError::Forbidden { path: self.path.clone(), why: error };
        }
        ClientError::Refused(error)
    }

    fn unreachable(&self, source: io::Error) -> ClientError {
        if source.kind() == io::ErrorKind::PermissionDenied {
            return ClientError::Forbidden { path: self.path.clone(), why: source.to_string() };
        }
        ClientError::Unreachable { path: self.path.clone(), source }
    }

    fn broken(&self, why: impl ToString) -> ClientError {
        ClientError::Broken { path: self.path.clone(), why: why.to_string() }
    }
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
