//! OpenTelemetry logs over HTTP, in protobuf: the one encoding that every receiver has to understand.

mod protobuf;
pub(in crate::sinks) mod request;

use std::io;

use http::HeaderMap;

use crate::settings::OtlpSettings;
use crate::sinks::http::headers;
use crate::sinks::post::{self, Answer, Client};
use crate::sinks::{BatchLimits, Delivery, Line, Remote, outcome};

/// What the body is.
pub(crate) const CONTENT_TYPE: &str = "application/x-protobuf";

/// A receiver of logs.
pub(crate) struct OtlpSink {
    settings: OtlpSettings,
    client: Client,
    headers: HeaderMap,
}

impl OtlpSink {
    /// Makes the sink; it connects when there is something to send.
    ///
    /// # Errors
    /// When TLS cannot be set up, or a header cannot be sent.
    pub(crate) fn open(settings: OtlpSettings) -> io::Result<Self> {
        let client = Client::new(settings.target.clone())?;
        let headers = headers(&settings.headers, &settings.auth, "Bearer", CONTENT_TYPE, settings.gzip)?;
        Ok(Self { settings, client, headers })
    }

    fn try_deliver(&mut self, batch: &[Line<'_>]) -> io::Result<Delivery> {
        let (body, bad) = request::build(batch);
        if bad.len() == batch.len() {
            return Ok(outcome::no_events(bad));
        }
        let answer = match self.client.post(&self.headers, post::packed(body, self.settings.gzip)?) {
            Ok(answer) => answer,
            Err(error) => return Ok(outcome::unanswered(&error)),
        };
        Ok(outcome::with_bad(judge(&answer, batch.len() - bad.len()), bad))
    }
}

/// The protocol has 429, 502, 503 and 504 tried again, and nothing else; what is about the gateway's credential or the configured
/// address waits here as well, as with every receiver. What was taken in part must not be sent again; the receiver does not say
/// which part, so that all of it goes to the dead letters, too.
fn judge(answer: &Answer, sent: usize) -> Delivery {
    match answer.status {
        200..=299 => match rejected(answer) {
            0 => Delivery::Accepted,
            rejected => Delivery::Refused {
                which: Vec::new(),
                why: format!("the receiver rejected {rejected} of {sent} events and does not say which"),
            },
        },
        500 | 501 | 505..=599 => outcome::refused(answer),
        _ => outcome::of(answer),
    }
}

/// `partial_success.rejected_log_records` of the answer; 0 where there is none, or what came is no answer of the protocol.
fn rejected(answer: &Answer) -> u64 {
    let body = answer.body.as_deref().unwrap_or_default();
    let partial = protobuf::fields(body).find_map(|field| match field {
        protobuf::Field { number: 1, value: protobuf::Value::Bytes(bytes) } => Some(bytes),
        _ => None,
    });
    let count = protobuf::fields(partial.unwrap_or_default()).find_map(|field| match field {
        protobuf::Field { number: 1, value: protobuf::Value::Number(count) } => Some(count),
        _ => None,
    });
    count.unwrap_or(0)
}

impl Remote for OtlpSink {
    fn deliver(&mut self, batch: &[Line<'_>]) -> Delivery {
        self.try_deliver(batch).unwrap_or_else(|error| outcome::later(None, error.to_string()))
    }

    fn limits(&self) -> BatchLimits {
        let batch = self.settings.batch;
        BatchLimits { events: batch.events, bytes: batch.bytes }
    }
}

#[cfg(test)]
mod tests;
