//! One POST of a form (RFC 6749 appendix B): for what a server answers to a question that must not stand in an address, such as a code with
//! its secret.

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

/// What a server answered.
#[derive(Debug)]
pub struct Posted {
    /// The status, whatever it is.
    pub status: StatusCode,
    /// The body.
    pub bytes: Vec<u8>,
}

/// A form that a client sends under its own name (RFC 6749 section 2.3.1).
#[derive(Clone, Copy)]
pub struct Form<'a> {
    /// Its fields.
    pub fields: &'a [(&'a str, &'a str)],
    /// The client's id and its secret.
    pub client: (&'a str, &'a str),
}

impl Form<'_> {
    fn body(&self) -> String {
        let fields: Vec<String> =
            self.fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        fields.join("&")
    }

    fn authorization(&self) -> String {
        let (id, secret) = self.client;
        format!("Basic {}", BASE64.encode(format!("{}:{}", encoded(id), encoded(secret)).as_bytes()))
    }
}

/// POSTs a form and returns the body of its 200, bounded as that of [`post_form`].
///
/// # Errors
/// [`FetchError`]; it holds nothing of what was sent.
pub async fn post(source: &UrlSource, form: Form<'_>, most: usize, timeout: Duration) -> Result<Vec<u8>, FetchError> {
    let posted = post_form(source, form.body(), Some(&form.authorization()), most, timeout).await?;
    if posted.status == StatusCode::OK { Ok(posted.bytes) } else { Err(FetchError::Status(posted.status)) }
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

/// POSTs fields (`application/x-www-form-urlencoded`, encoded already) to the source's path: an answer of at most `most` bytes, within
/// `timeout` from the first connection to the last byte. `authorization`: the value of that header. A redirect is an answer like any other,
/// and followed nowhere: what is sent is for nobody else. It needs a tokio runtime with IO and time.
///
/// # Errors
/// [`FetchError`]
pub async fn post_form(
    source: &UrlSource,
    fields: String,
    authorization: Option<&str>,
    most: usize,
    timeout: Duration,
) -> Result<Posted, FetchError> {
    let posting = exchange(source, fields, authorization, most, timeout);
    tokio::time::timeout(timeout, posting).await.unwrap_or(Err(FetchError::Timeout(timeout)))
}

async fn exchange(
    source: &UrlSource,
    fields: String,
    authorization: Option<&str>,
    most: usize,
    timeout: Duration,
) -> Result<Posted, FetchError> {
    let request = request(source, fields, authorization)?;
    let failed = |error| FetchError::Connect { host: source.authority(), source: error };
    let stream = connect(source, timeout).await.map_err(failed)?;
    if source.secure {
        let stream = tls::connect(stream, &source.host, &source.roots, &[b"http/1.1"]).await.map_err(failed)?;
        speak(stream, request, most).await
    } else {
        speak(stream, request, most).await
    }
}

fn request(
    source: &UrlSource,
    fields: String,
    authorization: Option<&str>,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let mut request = Request::post(&*source.path)
        .header(HOST, source.authority())
        .header(USER_AGENT, concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json")
        .header(ACCEPT_ENCODING, "gzip")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(CONNECTION, "close")
        .body(Full::new(Bytes::from(fields)))?;
    if let Some(authorization) = authorization {
        let mut value = HeaderValue::try_from(authorization).map_err(http::Error::from)?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(request)
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
    most: usize,
) -> Result<Posted, FetchError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(FetchError::Exchange)?;
    let exchange = async move {
        let response = sender.send_request(request).await.map_err(FetchError::Exchange)?;
        let (head, mut incoming) = response.into_parts();
        let coding = head.headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
        let mut body = Body::new(coding, most)?;
        while let Some(frame) = incoming.frame().await {
            if let Ok(piece) = frame.map_err(FetchError::Exchange)?.into_data() {
                body.take(&piece)?;
            }
        }
        Ok(Posted { status: head.status, bytes: body.finish()? })
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
        assert_eq!(form.body(), "token=a%2Fb%3D");
        let request = request(&source, form.body(), Some(&form.authorization())).unwrap();
        assert_eq!(request.uri(), "/introspect?x=y");
        assert_eq!(request.headers()[HOST], "login.test");
        // RFC 6749 section 2.3.1: escaped before they are joined, so that a colon in the id is none between the two.
        let expected = format!("Basic {}", BASE64.encode(b"gate%3Away:p%20ss"));
        assert_eq!(request.headers()[AUTHORIZATION], expected);
        assert!(!format!("{request:?}").contains(&expected), "it is not shown");
    }
}
