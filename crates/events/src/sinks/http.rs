//! Events by HTTP POST, in the shape that a receiver wants: lines, an array, or the recipes of Splunk, Elasticsearch and Loki.

pub(in crate::sinks) mod body;
mod items;

use std::io;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};

use crate::settings::{HttpAuth, HttpBody, HttpSettings};
use crate::sinks::post::{self, Client};
use crate::sinks::{BatchLimits, Delivery, Line, Remote, outcome};

/// A receiver of POST requests.
pub(crate) struct HttpSink {
    settings: HttpSettings,
    client: Client,
    headers: HeaderMap,
}

impl HttpSink {
    /// Makes the sink; it connects when there is something to send.
    ///
    /// # Errors
    /// When TLS cannot be set up, or a header cannot be sent.
    pub(crate) fn open(settings: HttpSettings) -> io::Result<Self> {
        let client = Client::new(settings.target.clone())?;
        let scheme = scheme(&settings);
        let headers = headers(&settings.headers, &settings.auth, scheme, body::content_type(&settings), settings.gzip)?;
        Ok(Self { settings, client, headers })
    }

    fn try_deliver(&mut self, batch: &[Line<'_>]) -> io::Result<Delivery> {
        let Self { settings, client, headers } = self;
        let body::Built { body, sent, bad } = body::build(settings, batch);
        if sent.is_empty() {
            return Ok(outcome::no_events(bad));
        }
        let answer = match client.post(headers, post::packed(body, settings.gzip)?) {
            Ok(answer) => answer,
            Err(error) => return Ok(outcome::unanswered(&error)),
        };
        let delivery = match &settings.body {
            HttpBody::ElasticBulk { .. } if answer.status == 200 => items::of_bulk(&answer, &sent),
            HttpBody::SplunkHec { .. } if answer.status == 400 => items::of_collector(&answer, &sent),
            HttpBody::Ndjson
            | HttpBody::Array
            | HttpBody::SplunkHec { .. }
            | HttpBody::ElasticBulk { .. }
            | HttpBody::Loki { .. } => outcome::of(&answer),
        };
        Ok(outcome::with_bad(delivery, bad))
    }
}

impl Remote for HttpSink {
    fn deliver(&mut self, batch: &[Line<'_>]) -> Delivery {
        self.try_deliver(batch).unwrap_or_else(|error| outcome::later(None, error.to_string()))
    }

    fn limits(&self) -> BatchLimits {
        let batch = self.settings.batch;
        BatchLimits { events: batch.events, bytes: batch.bytes }
    }
}

/// What a token is called in `Authorization`: Splunk's collector has a scheme of its own.
pub(crate) fn scheme(settings: &HttpSettings) -> &'static str {
    if matches!(settings.body, HttpBody::SplunkHec { .. }) { "Splunk" } else { "Bearer" }
}

/// The header fields of every request. `scheme` is what a token is called in `Authorization`.
///
/// # Errors
/// A field that cannot be sent.
pub fn headers(
    further: &[(Arc<str>, Arc<str>)],
    auth: &HttpAuth,
    scheme: &str,
    content_type: &'static str,
    gzip: bool,
) -> io::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in further {
        let (name, value) = post::field(name, value)?;
        headers.append(name, value);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let proof = match auth {
        HttpAuth::None => None,
        HttpAuth::Bearer(token) => Some((AUTHORIZATION.as_str(), format!("{scheme} {}", token.reveal()))),
        HttpAuth::Basic { user, password } => {
            let pair = format!("{user}:{}", password.reveal());
            Some((AUTHORIZATION.as_str(), format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes()))))
        }
        HttpAuth::Header { name, value } => Some((&**name, value.reveal().to_owned())),
    };
    if let Some((name, value)) = proof {
        let (name, mut value) = post::field(name, &value)?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests;
