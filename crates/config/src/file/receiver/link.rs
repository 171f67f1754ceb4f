//! Addresses of receivers: links of http and https, and a host with a port.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use portcullis_events::settings::{HttpTarget, TlsSettings};
use serde_json::Value;

use crate::codes;
use crate::compile::parse_host;
use crate::diagnostics::{At, Diagnostic};
use crate::file::receiver::secret;
use crate::schema::matching;
use crate::section::{Field, Kind, Section, ValueOrTable, shown};

/// `https://HOST[:PORT]`, with a path where it has one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    /// Whether a path may follow.
    pub(crate) path: bool,
}

/// Its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) secure: bool,
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
    /// The path and the query; at least `/`.
    pub(crate) path: Arc<str>,
}

impl Link {
    /// Where tokens are given out, unless the file says otherwise.
    pub(super) fn microsoft() -> Parsed {
        Parsed { secure: true, host: "login.microsoftonline.com".into(), port: 443, path: "/".into() }
    }

    fn parse(self, text: &str) -> Result<Parsed, &'static str> {
        let (secure, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err("begins with neither `https://` nor `http://`"),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("holds credentials: they belong into `auth`");
        }
        let (host, port) = split_port(authority, if secure { 443 } else { 80 })?;
        let host = parse_host(host).ok_or("has no valid host")?;
        if !self.path && !matches!(path, "" | "/") {
            return Err("has a path, and the path is the gateway's to add");
        }
        if path.contains('#') {
            return Err("has a fragment");
        }
        if path.len() > 2_048 || !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') {
            return Err("has a path that is no path of a link");
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Parsed { secure, host, port, path: path.into() })
    }
}

impl Kind for Link {
    type Value = Parsed;

    fn expected(&self) -> Cow<'static, str> {
        if self.path {
            "a link such as \"https://siem.example/ingest\""
        } else {
            "a link such as \"https://siem.example\""
        }
        .into()
    }

    fn read(&self, field: &Field<'_>) -> Option<Parsed> {
        let text = field.text(&self.expected())?;
        self.parse(&text)
            .map_err(|problem| field.bad_value(format!("\"{}\" {problem}", shown(&text)), Some(self.expected().into())))
            .ok()
    }

    fn schema(&self) -> Value {
        matching(if self.path { "^https?://[^/?#@\\s]+([/?][^#\\s]*)?$" } else { "^https?://[^/?#@\\s]+/?$" })
    }
}

/// A link that is a secret itself, as those of incoming webhooks are: no report shows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SecretLink;

impl SecretLink {
    fn parse(text: &str) -> Result<Parsed, &'static str> {
        Link { path: true }.parse(text)
    }
}

impl Kind for SecretLink {
    type Value = Parsed;

    fn expected(&self) -> Cow<'static, str> {
        "a link, or `{ file = \"…\" }`, `{ env = \"…\" }` or `{ credential = \"…\" }`".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<Parsed> {
        field.reader.hide(field.span);
        let text = field.text(&self.expected())?;
        Self::parse(&text).map_err(|problem| field.bad_value(format!("the link {problem}"), None)).ok()
    }

    fn schema(&self) -> Value {
        Link { path: true }.schema()
    }
}

/// A link that must be there, in the file or in what that names.
pub(super) fn required_secret_link(section: &Section<'_>, key: &'static str) -> Option<At<Parsed>> {
    match section.required_or_table(key, SecretLink)? {
        ValueOrTable::Value(link) => Some(link),
        ValueOrTable::Table(table) => {
            let (reader, span) = (table.reader(), table.span());
            let link = secret::read_line(table)?;
            let parsed = SecretLink::parse(link.reveal()).map_err(|problem| {
                let message = format!("`{key}`: the link {problem}");
                reader.report(Diagnostic::error(codes::BAD_VALUE, span, message));
            });
            Some(At::new(parsed.ok()?, span))
        }
    }
}

impl Parsed {
    /// `None` where TLS cannot be spoken for a reason that was reported.
    pub(super) fn into_target(self, tls: Option<TlsSettings>, timeout: Duration) -> Option<HttpTarget> {
        let tls = if self.secure { Some(tls?) } else { None };
        Some(HttpTarget { tls, host: self.host, port: self.port, path: self.path, timeout })
    }
}

/// Events and credentials go in plain text only where somebody says so.
pub(super) fn check_secure(section: &Section<'_>, link: &At<Parsed>, allow_http: bool) -> bool {
    let fine = link.value.secure || allow_http;
    if !fine {
        let message = "over `http://` events and credentials can be read on the way";
        let help = "use `https://`, or write `allow_http = true`";
        section.reader().report(Diagnostic::error(codes::CONFLICT, link.span, message).with_help(help));
    }
    fine
}

/// `HOST:PORT` of a receiver that is no link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReceiverAddress;

impl Kind for ReceiverAddress {
    type Value = (Arc<str>, u16);

    fn expected(&self) -> Cow<'static, str> {
        "a host and port such as \"siem.example:6514\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<Self::Value> {
        let text = field.text(&self.expected())?;
        let parsed = split_port(&text, 0).and_then(|(host, port)| {
            let host = parse_host(host).ok_or("has no valid host")?;
            if port == 0 { Err("has no port") } else { Ok((host, port)) }
        });
        parsed
            .map_err(|problem| field.bad_value(format!("\"{}\" {problem}", shown(&text)), Some(self.expected().into())))
            .ok()
    }

    fn schema(&self) -> Value {
        matching(r"^(\[[0-9A-Fa-f:.]+\]|[^:/@\s]+):[0-9]{1,5}$")
    }
}

/// The host, and the port or the usual one.
fn split_port(authority: &str, usual: u16) -> Result<(&str, u16), &'static str> {
    let Some((host, port)) = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) else {
        return Ok((authority, usual));
    };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse::<u16>().ok().filter(|port| digits && *port > 0);
    Ok((host, port.ok_or("has no valid port")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_a_scheme_a_host_and_a_path() {
        let check = |text: &str, path: bool, expected: Result<(bool, &str, u16, &str), &str>| match (
            Link { path }.parse(text),
            expected,
        ) {
            (Ok(parsed), Ok(expected)) => {
                assert_eq!((parsed.secure, &*parsed.host, parsed.port, &*parsed.path), expected, "{text}");
            }
            (Err(problem), Err(fragment)) => assert!(problem.contains(fragment), "{text}: {problem}"),
            (parsed, expected) => panic!("{text}: {parsed:?}, not {expected:?}"),
        };
        check("https://a.example", true, Ok((true, "a.example", 443, "/")));
        check("https://A.example:8088/x?y=z", true, Ok((true, "a.example", 8_088, "/x?y=z")));
        check("http://[::1]:80", false, Ok((false, "::1", 80, "/")));
        check("http://127.0.0.1/", false, Ok((false, "127.0.0.1", 80, "/")));
        check("https://[::1]", false, Ok((true, "::1", 443, "/")));
        check("https://a.example?x", true, Ok((true, "a.example", 443, "/?x")));
        check("https://a.example/x", false, Err("has a path"));
        check("https://u:p@a.example/", true, Err("holds credentials"));
        check("ftp://a.example/", true, Err("begins with neither"));
        check("https://", true, Err("no valid host"));
        check("https://a:0", true, Err("no valid port"));
        check("https://a:", true, Err("no valid port"));
        check("https://a:+1", true, Err("no valid port"));
        check("https://a/#x", true, Err("has a fragment"));
        check("https://a/ x", true, Err("no path of a link"));
        check("https://010.0.0.1/", true, Err("no valid host"));
    }
}
