//! One POST of a form (RFC 6749 appendix B), by a client that names itself (RFC 6749 section 2.3.1), and the JSON that comes back.

use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT,
};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::address::UrlSource;
use crate::body::Body;
use crate::get::{FetchError, connect};
use crate::tls;

/// What is sent.
#[derive(Clone, Copy)]
pub struct Form<'a> {
    /// Its fields.
    pub fields: &'a [(&'a str, &'a str)],
    /// The client's id and its secret.
    pub client: (&'a str, &'a str),
}

/// POSTs a form to an address and returns the body of its 200: at most `most` bytes, within `timeout` from the first connection to the last
/// byte. No redirect is followed: what is sent is for nobody else. It needs a tokio runtime with IO and time.
///
/// # Errors
/// [`FetchError`]; it holds nothing of what was sent.
pub async fn post(source: &UrlSource, form: Form<'_>, most: usize, timeout: Duration) -> Result<Vec<u8>, FetchError> {
    let posting = async {
        let request = request(source, form)?;
        let failed = |source_error| FetchError::Connect { host: source.authority(), source: source_error };
        let stream = connect(source, timeout).await.map_err(failed)?;
        if source.secure {
            let stream = tls::connect(stream, &source.host, &source.roots, &[b"http/1.1"]).await.map_err(failed)?;
            speak(stream, request, most).await
        } else {
            speak(stream, request, most).await
        }
    };
    tokio::time::timeout(timeout, posting).await.unwrap_or(Err(FetchError::Timeout(timeout)))
}

fn request(source: &UrlSource, form: Form<'_>) -> Result<Request<Full<Bytes>>, http::Error> {
    let (id, secret) = form.client;
    let basic = BASE64.encode(format!("{}:{}", encoded(id), encoded(secret)).as_bytes());
    let mut authorization = HeaderValue::try_from(format!("Basic {basic}"))?;
    authorization.set_sensitive(true);
    let fields: Vec<String> =
        form.fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    Request::post(&*source.path)
        .header(HOST, source.authority())
        .header(USER_AGENT, concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json")
        .header(ACCEPT_ENCODING, "gzip")
        .header(CONNECTION, "close")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(AUTHORIZATION, authorization)
        .body(Full::new(Bytes::from(fields.join("&"))))
}

/// `application/x-www-form-urlencoded`, of the strict kind: everything but letters, digits and `-._` is escaped.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
    most: usize,
) -> Result<Vec<u8>, FetchError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(FetchError::Exchange)?;
    let exchange = async move {
        let response = sender.send_request(request).await.map_err(FetchError::Exchange)?;
        let (head, mut incoming) = response.into_parts();
        if head.status != StatusCode::OK {
            return Err(FetchError::Status(head.status));
        }
        let coding = head.headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
        let mut body = Body::new(coding, most)?;
        while let Some(frame) = incoming.frame().await {
            if let Ok(piece) = frame.map_err(FetchError::Exchange)?.into_data() {
                body.take(&piece)?;
            }
        }
        Ok(body.finish()?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_escaped_and_its_client_named() {
        for (text, expected) in [("a-b._~", "a-b._%7E"), ("a b+c&d=e", "a%20b%2Bc%26d%3De"), ("é", "%C3%A9")] {
            assert_eq!(encoded(text), expected);
        }
        let source = UrlSource::parse("https://login.test/introspect?x=y", Vec::new()).unwrap();
        let form = Form { fields: &[("token", "a/b=")], client: ("gate:way", "p ss") };
        let request = request(&source, form).unwrap();
        assert_eq!(request.uri(), "/introspect?x=y");
        assert_eq!(request.headers()[HOST], "login.test");
        // RFC 6749 section 2.3.1: escaped before they are joined, so that a colon in the id is none between the two.
        let expected = format!("Basic {}", BASE64.encode(b"gate%3Away:p%20ss"));
        assert_eq!(request.headers()[AUTHORIZATION], expected);
        assert!(!format!("{request:?}").contains(&expected), "it is not shown");
    }
}
