//! One request and its answer, on a connection of its own.

use std::io;
use std::time::Duration;

use http::header::CONTENT_ENCODING;
use http::response::Parts;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Body as HttpBody;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::address::UrlSource;
use crate::body::Body;
use crate::get::FetchError;
use crate::tls;

/// The most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// What is read of an answer.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// The longest body, in bytes.
    pub(crate) most: usize,
    /// Of which answers there is a body to read; of the others it is empty.
    pub(crate) of: fn(StatusCode) -> bool,
}

/// Sends a request and reads its answer: the head, and the body, decompressed.
pub(crate) async fn exchange<B>(
    source: &UrlSource,
    request: Request<B>,
    wanted: Wanted,
    timeout: Duration,
) -> Result<(Parts, Vec<u8>), FetchError>
where
    B: HttpBody + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let failed = |error| FetchError::Connect { host: source.authority(), source: error };
    let stream = connect(source, timeout).await.map_err(failed)?;
    if source.secure {
        let stream = tls::connect(stream, &source.host, &source.roots, &[b"http/1.1"]).await.map_err(failed)?;
        speak(stream, request, wanted).await
    } else {
        speak(stream, request, wanted).await
    }
}

/// Tries the host's addresses one after the other, each for its share of half of the time: one that nobody answers at leaves time for the
/// next.
async fn connect(source: &UrlSource, timeout: Duration) -> io::Result<TcpStream> {
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

async fn speak<B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<B>,
    wanted: Wanted,
) -> Result<(Parts, Vec<u8>), FetchError>
where
    B: HttpBody + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(FetchError::Exchange)?;
    let exchange = async move {
        let response = sender.send_request(request).await.map_err(FetchError::Exchange)?;
        let (head, mut incoming) = response.into_parts();
        if !(wanted.of)(head.status) {
            return Ok((head, Vec::new()));
        }
        let coding = head.headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
        let mut body = Body::new(coding, wanted.most)?;
        while let Some(frame) = incoming.frame().await {
            if let Ok(piece) = frame.map_err(FetchError::Exchange)?.into_data() {
                body.take(&piece)?;
            }
        }
        let bytes = body.finish()?;
        Ok((head, bytes))
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
