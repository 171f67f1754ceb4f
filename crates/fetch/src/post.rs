//! One POST of a form (RFC 6749 appendix B): for what a server answers to a question that must not stand in an address, such as a code with
//! its secret.

use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::Full;

use crate::address::UrlSource;
use crate::exchange::{Wanted, exchange};
use crate::get::FetchError;

/// What is sent.
#[derive(Clone, Copy)]
pub struct Form<'a> {
    /// Its fields.
    pub fields: &'a [(&'a str, &'a str)],
    /// The client's id and its secret, where it names itself in the head (RFC 6749 section 2.3.1).
    pub client: Option<(&'a str, &'a str)>,
}

/// What a server answered.
#[derive(Debug)]
pub struct Posted {
    /// The status, whatever it is.
    pub status: StatusCode,
    /// The body.
    pub bytes: Vec<u8>,
}

/// POSTs a form to the source's path: an answer of at most `most` bytes, within `timeout` from the first connection to the last byte. A
/// redirect is an answer like any other, and followed nowhere: what is sent is for nobody else. It needs a tokio runtime with IO and time.
///
/// # Errors
/// [`FetchError`]; it holds nothing of what was sent.
pub async fn post(source: &UrlSource, form: Form<'_>, most: usize, timeout: Duration) -> Result<Posted, FetchError> {
    let posting = async {
        let request = request(source, form)?;
        let (head, bytes) = exchange(source, request, Wanted { most, of: |_| true }, timeout).await?;
        Ok(Posted { status: head.status, bytes })
    };
    tokio::time::timeout(timeout, posting).await.unwrap_or(Err(FetchError::Timeout(timeout)))
}

fn request(source: &UrlSource, form: Form<'_>) -> Result<Request<Full<Bytes>>, http::Error> {
    let fields: Vec<String> =
        form.fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    let mut request = Request::post(&*source.path)
        .header(HOST, source.authority())
        .header(USER_AGENT, concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json")
        .header(ACCEPT_ENCODING, "gzip")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(CONNECTION, "close")
        .body(Full::new(Bytes::from(fields.join("&"))))?;
    if let Some((id, secret)) = form.client {
        // Escaped before they are joined, so that a colon in the id is none between the two.
        let pair = BASE64.encode(format!("{}:{}", encoded(id), encoded(secret)).as_bytes());
        let mut value = HeaderValue::try_from(format!("Basic {pair}"))?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(request)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_escaped_and_its_client_named() {
        for (text, expected) in [("a-b._~", "a-b._%7E"), ("a b+c&d=e", "a%20b%2Bc%26d%3De"), ("é", "%C3%A9")] {
            assert_eq!(encoded(text), expected);
        }
        let source = UrlSource::parse("https://login.test/introspect?x=y", Vec::new()).unwrap();
        let form = Form { fields: &[("token", "a/b=")], client: Some(("gate:way", "p ss")) };
        let request = request(&source, form).unwrap();
        assert_eq!(request.uri(), "/introspect?x=y");
        assert_eq!(request.headers()[HOST], "login.test");
        let expected = format!("Basic {}", BASE64.encode(b"gate%3Away:p%20ss"));
        assert_eq!(request.headers()[AUTHORIZATION], expected);
        assert!(!format!("{request:?}").contains(&expected), "it is not shown");
    }
}
