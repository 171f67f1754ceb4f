//! What a connection may be switched to.

use std::borrow::Cow;

use serde_json::Value;

use crate::schema::matching;
use crate::section::{Field, Kind, shown};

/// An upgrade token (RFC 9110 section 7.8), such as `websocket`, in lower case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Protocol;

/// Tokens that would make the gateway carry requests that nobody decides on.
const HTTP: &[&str] = &["h2c", "h2", "http", "tls"];

impl Kind for Protocol {
    type Value = String;

    fn expected(&self) -> Cow<'static, str> {
        "an upgrade token such as \"websocket\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<String> {
        let text = field.text(&self.expected())?.to_ascii_lowercase();
        let token = |part: &str| !part.is_empty() && part.bytes().all(is_token_byte);
        let (name, version) =
            text.split_once('/').map_or((text.as_str(), None), |(name, version)| (name, Some(version)));
        if !token(name) || !version.is_none_or(token) {
            field.bad_value(format!("expected {}, found \"{}\"", self.expected(), shown(&text)), None);
            return None;
        }
        if HTTP.contains(&name) {
            let help = "HTTP/2 needs no upgrade here, and a tunnel of requests would hide them from the policy";
            field.bad_value(format!("\"{text}\" would carry requests past the gateway"), Some(help.to_owned()));
            return None;
        }
        Some(text)
    }

    fn schema(&self) -> Value {
        matching("^[!#$%&'*+.^_`|~0-9A-Za-z-]+(/[!#$%&'*+.^_`|~0-9A-Za-z-]+)?$")
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
