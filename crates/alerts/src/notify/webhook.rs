//! A notification as a POST request, signed where there is a secret.
//!
//! The signature is `x-portcullis-signature: t=SECONDS,v1=HEX`: HMAC-SHA-256 (RFC 2104) over the seconds, a dot and the body, so that
//! who receives it knows who sent it and that it is no old one.

use std::io;

use aws_lc_rs::hmac;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use jiff::Timestamp;
use portcullis_events::post::{Answer, Client, PostError, headers};
use portcullis_events::settings::Secret;

use super::{Failure, Teller, payload};
use crate::grouping::Notification;
use crate::settings::{Shape, WebhookSettings};

const SIGNATURE: HeaderName = HeaderName::from_static("x-portcullis-signature");
/// The notification's id: the same one in every attempt.
const ID: HeaderName = HeaderName::from_static("x-portcullis-notification");

pub(crate) struct Webhook {
    client: Client,
    headers: HeaderMap,
    shape: Shape,
    secret: Option<Secret>,
}

impl Webhook {
    pub(crate) fn new(settings: &WebhookSettings) -> io::Result<Self> {
        Ok(Self {
            client: Client::new(settings.target.clone())?,
            headers: headers(&settings.headers, &settings.auth, "Bearer", "application/json", false)?,
            shape: settings.shape,
            secret: settings.secret.clone(),
        })
    }
}

impl Teller for Webhook {
    fn tell(&mut self, notification: &Notification, _: &dyn Fn() -> bool) -> Result<String, Failure> {
        let body = serde_json::to_vec(&payload::json(notification, self.shape)).map_err(Failure::lasting)?;
        let mut headers = self.headers.clone();
        headers.insert(ID, value(&notification.id.to_string())?);
        if let Some(secret) = &self.secret {
            headers.insert(SIGNATURE, value(&sign(secret, Timestamp::now().as_second(), &body))?);
        }
        match self.client.post(&headers, Bytes::from(body)) {
            Ok(answer) => judge(&answer),
            Err(error) => Err(unanswered(&error)),
        }
    }
}

/// 2xx is taken; 408, 425, 429 and 5xx are worth another try. Redirects are not followed.
fn judge(answer: &Answer) -> Result<String, Failure> {
    let said = answer.said();
    let separator = if said.is_empty() { "" } else { ": " };
    let words = format!("status {}{separator}{said}", answer.status);
    match answer.status {
        200..=299 => Ok(words),
        408 | 425 | 429 | 500..=599 => Err(Failure { after: answer.retry_after, ..Failure::passing(words) }),
        _ => Err(Failure::lasting(words)),
    }
}

fn unanswered(error: &PostError) -> Failure {
    Failure::passing(error)
}

fn sign(secret: &Secret, seconds: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(seconds.to_string().as_bytes());
    context.update(b".");
    context.update(body);
    format!("t={seconds},v1={}", data_encoding::HEXLOWER.encode(context.sign().as_ref()))
}

fn value(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(Failure::lasting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_an_hmac_over_time_and_body() {
        // RFC 4231 test case 2 has this key; the message here is another, computed with openssl:
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac Jefe
        let signed = sign(&Secret::new("Jefe"), 1_700_000_000, b"{}");
        assert_eq!(signed, "t=1700000000,v1=d3793e2b4103edfbd98cc19591832f5fad701d413db9fcae0ae7dab8184ed207");
    }
}
