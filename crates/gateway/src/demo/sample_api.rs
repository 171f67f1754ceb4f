//! The sample API that the demo protects: a few invoices, made up, over plain HTTP/1.1 on loopback.
//!
//! It checks nothing. That is the point: whatever reaches it was let through by the gateway.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// How many connections are served at once; more wait.
const CONNECTIONS: usize = 128;
/// How long a connection may take to send a request, also between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long accepting pauses after an error.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);

/// The sample API on its own thread. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct SampleApi {
    address: SocketAddr,
    reached: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl SampleApi {
    /// Listens on a loopback port that the system chooses.
    ///
    /// # Errors
    /// When no port can be bound or no thread can be started.
    pub(crate) fn start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let reached = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&reached);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("sample-api".to_owned()).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = serve(listener, counter) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, reached, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests have reached it.
    pub(crate) fn reached(&self) -> u64 {
        self.reached.load(Ordering::SeqCst)
    }
}

impl Drop for SampleApi {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked, its part is over all the same.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: std::net::TcpListener, reached: Arc<AtomicU64>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, Arc::clone(&reached), permit))),
            Err(_) => tokio::time::sleep(PAUSE_AFTER_ERROR).await,
        }
    }
}

async fn connection(stream: TcpStream, reached: Arc<AtomicU64>, permit: OwnedSemaphorePermit) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        reached.fetch_add(1, Ordering::SeqCst);
        let response = answer(request.method(), request.uri().path(), request.headers());
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // A gateway that closes its connection is no news.
    let _ = connection.await;
    drop(permit);
}

/// The answer, which names the caller as the gateway introduced it.
fn answer(method: &Method, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let caller = headers.get("x-auth-user").and_then(|value| value.to_str().ok()).unwrap_or("nobody");
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (method.as_str(), segments.as_slice()) {
        ("GET", ["api", "invoices"]) => {
            json_answer(StatusCode::OK, &json!({ "invoices": [6, 7, 8], "caller": caller }))
        }
        ("GET", ["api", "invoices", id]) => {
            json_answer(StatusCode::OK, &json!({ "invoice": id, "total": "1,250.00 EUR", "caller": caller }))
        }
        ("GET", ["api", "invoices", id, "bank-details"]) => json_answer(
            StatusCode::OK,
            &json!({ "invoice": id, "iban": "DE02 1203 0000 0000 2020 51", "caller": caller }),
        ),
        ("DELETE", ["api", "invoices", id]) => json_answer(StatusCode::OK, &json!({ "deleted": id, "caller": caller })),
        ("GET", ["api", "export", "invoices.csv"]) => {
            plain_answer("text/csv", "invoice,total,currency\n6,90.00,EUR\n7,1250.00,EUR\n8,12.50,EUR\n".to_owned())
        }
        _ => json_answer(StatusCode::NOT_FOUND, &json!({ "error": "the sample API has nothing there" })),
    }
}

fn json_answer(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = plain_answer("application/json", body.to_string());
    *response.status_mut() = status;
    response
}

fn plain_answer(kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn it_has_invoices_and_nothing_else() {
        let check = |method: Method, path: &str, expected: u16| {
            let response = answer(&method, path, &HeaderMap::new());
            assert_eq!(response.status().as_u16(), expected, "{method} {path}");
        };
        check(Method::GET, "/api/invoices", 200);
        check(Method::GET, "/api/invoices/7", 200);
        check(Method::GET, "/api/invoices/7/bank-details", 200);
        check(Method::GET, "/api/export/invoices.csv", 200);
        check(Method::DELETE, "/api/invoices/7", 200);
        check(Method::POST, "/api/invoices/7", 404);
        check(Method::GET, "/", 404);
        check(Method::GET, "/api/invoices/7/bank-details/x", 404);
    }

    #[test]
    fn it_listens_on_loopback_alone_and_ends_when_dropped() {
        let api = SampleApi::start().unwrap();
        assert!(api.address().ip().is_loopback());
        let mut connection = std::net::TcpStream::connect(api.address()).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(api.reached(), 0);
        drop(api);
        let ended = connection.read(&mut [0]);
        let closed = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionReset;
        assert!(matches!(&ended, Ok(0)) || ended.as_ref().is_err_and(closed), "{ended:?}");
    }
}
