//! Tokens of an application (OAuth 2.0 client credentials, RFC 6749 section 4.4), each kept until shortly before its end.

use std::io;
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;

use crate::settings::SentinelSettings;
use crate::sinks::post::Client;
use crate::sinks::{Delivery, outcome};

/// A token is not used in the last minutes of its time: clocks differ, and a batch is under way for a while.
const MARGIN: Duration = Duration::from_secs(300);
/// What a token is taken to be worth at least and at most, whatever its giver says.
const LEAST: Duration = Duration::from_secs(60);
const MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// The giver of tokens, and the last one.
pub(super) struct Tokens {
    client: Client,
    settings: SentinelSettings,
    current: Option<(HeaderValue, Instant)>,
}

#[derive(Deserialize)]
struct Given {
    access_token: String,
    #[serde(default)]
    expires_in: u64,
}

impl Tokens {
    pub(super) fn new(settings: SentinelSettings) -> io::Result<Self> {
        Ok(Self { client: Client::new(settings.authority.clone())?, settings, current: None })
    }

    /// The header value of a token that is good for a while. What stands in the way of one is a reason to wait.
    pub(super) fn current(&mut self) -> Result<HeaderValue, Delivery> {
        if let Some((token, until)) = &self.current
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let (token, lasts) = self.ask()?;
        let until = Instant::now() + lasts;
        self.current = Some((token.clone(), until));
        Ok(token)
    }

    /// The current one is not accepted.
    pub(super) fn forget(&mut self) {
        self.current = None;
    }

    fn ask(&mut self) -> Result<(HeaderValue, Duration), Delivery> {
        let SentinelSettings { tenant, client_id, client_secret, audience, .. } = &self.settings;
        let scope = format!("{audience}/.default");
        let form = form(&[
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            ("client_secret", client_secret.reveal()),
            ("scope", &scope),
        ]);
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind)]);
        let path = format!("/{tenant}/oauth2/v2.0/token");
        let answer = self
            .client
            .post_to(&path, &headers, form.into())
            .map_err(|error| outcome::later(None, format!("no token: {error}")))?;
        if answer.status != 200 {
            // A wrong secret or tenant is 400 or 401 here, and somebody may mend it.
            return Err(match answer.status {
                408 | 425 | 429 | 500.. => outcome::retry(&answer, "no token"),
                _ => outcome::barred(&answer, "no token"),
            });
        }
        // What cannot be read is not shown: it may hold a token.
        let unreadable = || outcome::later(None, "no token: its giver's answer cannot be read".to_owned());
        let given: Given = answer.body.and_then(|body| serde_json::from_slice(&body).ok()).ok_or_else(unreadable)?;
        let mut token = HeaderValue::try_from(format!("Bearer {}", given.access_token)).map_err(|_| unreadable())?;
        token.set_sensitive(true);
        let lasts = Duration::from_secs(given.expires_in).saturating_sub(MARGIN).clamp(LEAST, MOST);
        Ok((token, lasts))
    }
}

/// `application/x-www-form-urlencoded`: everything but what is never reserved is escaped (RFC 3986 section 2.3).
fn form(pairs: &[(&str, &str)]) -> String {
    let mut form = String::new();
    for (name, value) in pairs {
        if !form.is_empty() {
            form.push('&');
        }
        form.push_str(name);
        form.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                form.push(char::from(byte));
            } else {
                form.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    form
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_become_another_field() {
        assert_eq!(form(&[("a", "x&b=1 +%é"), ("c", "a-Z.0_~")]), "a=x%26b%3D1%20%2B%25%C3%A9&c=a-Z.0_~");
    }
}
