//! One request over TCP, as any client would send it, and its answer.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderMap};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::demo::credentials::Credentials;
use crate::demo::story::Step;

/// How long an exchange may take as a whole.
const DEADLINE: Duration = Duration::from_secs(3);
/// The longest body that is read.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// A header's text; empty where it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Why no answer came back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// The request cannot be written.
    #[error("the request cannot be written: {0}")]
    Request(#[from] http::Error),
    /// No connection.
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    /// No answer on it.
    #[error("no answer: {0}")]
    Answer(#[from] hyper::Error),
    /// Half an answer.
    #[error("the answer's body cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// Too slow.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Deadline,
}

/// Sends the request of a step on a connection of its own.
///
/// # Errors
/// When no whole answer comes back in time.
pub(crate) async fn send(gateway: SocketAddr, step: &Step, credentials: &Credentials) -> Result<Answer, ExchangeError> {
    let request = request(gateway, step, credentials)?;
    tokio::time::timeout(DEADLINE, exchange(gateway, request)).await.unwrap_or(Err(ExchangeError::Deadline))
}

fn request(gateway: SocketAddr, step: &Step, credentials: &Credentials) -> Result<Request<Empty<Bytes>>, http::Error> {
    let mut request = Request::builder()
        .method(step.method)
        .uri(step.path)
        .header(HOST, gateway.to_string())
        .header("user-agent", "portcullis-demo")
        .header("x-forwarded-for", step.client);
    if let Some((name, value)) = credentials.header(step.caller) {
        request = request.header(name, value.expose());
    }
    if let Some((name, value)) = step.header {
        request = request.header(name, value);
    }
    request.body(Empty::new())
}

async fn exchange(gateway: SocketAddr, request: Request<Empty<Bytes>>) -> Result<Answer, ExchangeError> {
    let stream = TcpStream::connect(gateway).await.map_err(ExchangeError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender; what goes wrong on it is told to the sender.
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(ExchangeError::Body)?;
    driver.abort();
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::demo::story::STORY;

    #[test]
    fn every_request_can_be_written_with_its_path_untouched() {
        let gateway: SocketAddr = "127.0.0.1:8".parse().unwrap();
        let credentials = Credentials::make(Timestamp::now()).unwrap();
        for step in STORY {
            let request = request(gateway, step, &credentials).unwrap();
            assert_eq!(request.uri().to_string(), step.path);
            assert_eq!(request.headers()["x-forwarded-for"], step.client);
            assert_eq!(request.headers()[HOST], "127.0.0.1:8");
        }
    }

    #[tokio::test]
    async fn a_gateway_that_is_not_there_is_an_error() {
        // Bound, so that nobody else gets the port, and not listening.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let credentials = Credentials::make(Timestamp::now()).unwrap();
        let error = send(address, &STORY[0], &credentials).await.unwrap_err();
        assert!(matches!(error, ExchangeError::Connect(_)), "{error}");
    }
}
