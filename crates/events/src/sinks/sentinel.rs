//! Azure Monitor's Logs Ingestion API, which Microsoft Sentinel's tables are filled by: ASIM rows into the stream of a data
//! collection rule.
//!
//! The service knows no repetition: what is sent twice is there twice, told by `EventUid`. So a batch is one call and never
//! several, one of which could fail after another was taken.

mod token;

use std::io;

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue};
use uuid::Uuid;

use crate::format::Format;
use crate::settings::{HttpAuth, SentinelSettings};
use crate::sinks::http::headers;
use crate::sinks::post::{self, Answer, Client, PostError};
use crate::sinks::{BatchLimits, Delivery, Line, Remote, outcome};

use token::Tokens;

/// The version of the API.
const API_VERSION: &str = "2023-01-01";
/// The most of a body before it is compressed. The service's limit is 1 MB, and counts both.
const BODY_BYTES: usize = 950_000;
/// How much of native lines makes about half of that as rows, so that few batches have to be halved.
const LINE_BYTES: usize = 400 * 1024;
const EVENTS: usize = 1_000;

/// The stream of one data collection rule.
pub(crate) struct SentinelSink {
    client: Client,
    tokens: Tokens,
    path: String,
    headers: HeaderMap,
    gzip: bool,
}

impl SentinelSink {
    /// Makes the sink; it asks for a token and connects when there is something to send.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn open(settings: SentinelSettings) -> io::Result<Self> {
        Ok(Self {
            client: Client::new(settings.endpoint.clone())?,
            path: path(&settings),
            headers: headers(&[], &HttpAuth::None, "Bearer", "application/json", settings.gzip)?,
            gzip: settings.gzip,
            tokens: Tokens::new(settings)?,
        })
    }

    fn try_deliver(&mut self, batch: &[Line<'_>]) -> io::Result<Delivery> {
        let (body, bad) = rows(batch);
        if bad.len() == batch.len() {
            return Ok(outcome::no_events(bad));
        }
        if body.len() > BODY_BYTES {
            return Ok(Delivery::TooLarge);
        }
        let body = post::packed(body, self.gzip)?;
        // A token may be taken back before its time: then one more is asked for, and only one.
        for attempt in 0..2 {
            let token = match self.tokens.current() {
                Ok(token) => token,
                Err(delivery) => return Ok(delivery),
            };
            let answer = match self.post(&token, body.clone()) {
                Ok(answer) => answer,
                Err(error) => return Ok(outcome::unanswered(&error)),
            };
            if answer.status == 401 && attempt == 0 {
                self.tokens.forget();
                continue;
            }
            // 403 says that the application has no role on the rule: like every answer about the credential it says nothing of
            // the events, and they wait until somebody has given it the role, which takes the service up to half an hour.
            return Ok(outcome::with_bad(outcome::of(&answer), bad));
        }
        Ok(Delivery::Barred { after: None, why: "the service does not accept the token".to_owned() })
    }

    fn post(&mut self, token: &HeaderValue, body: bytes::Bytes) -> Result<Answer, PostError> {
        let mut headers = self.headers.clone();
        headers.insert(AUTHORIZATION, token.clone());
        if let Ok(id) = HeaderValue::try_from(Uuid::now_v7().to_string()) {
            headers.insert("x-ms-client-request-id", id);
        }
        self.client.post_to(&self.path, &headers, body)
    }
}

/// The path of the stream.
pub(crate) fn path(settings: &SentinelSettings) -> String {
    let SentinelSettings { rule, stream, .. } = settings;
    format!("/dataCollectionRules/{rule}/streams/{stream}?api-version={API_VERSION}")
}

/// The array of rows, and the places of lines that are no events.
pub(crate) fn rows(batch: &[Line<'_>]) -> (Vec<u8>, Vec<usize>) {
    let (mut body, mut bad) = (b"[".to_vec(), Vec::new());
    for (index, line) in batch.iter().enumerate() {
        let start = body.len();
        if start > 1 {
            body.push(b',');
        }
        if Format::Asim.append(line.json, &mut body).is_err() {
            body.truncate(start);
            bad.push(index);
        }
    }
    body.push(b']');
    (body, bad)
}

impl Remote for SentinelSink {
    fn deliver(&mut self, batch: &[Line<'_>]) -> Delivery {
        self.try_deliver(batch).unwrap_or_else(|error| outcome::later(None, error.to_string()))
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits { events: EVENTS, bytes: LINE_BYTES }
    }
}

#[cfg(test)]
mod tests;
