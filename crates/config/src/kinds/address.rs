//! Addresses, prefixes and header names.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use http::HeaderName;
use ipnet::IpNet;
use portcullis_policy::prefix;
use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

use crate::codes;
use crate::diagnostics::{Diagnostic, Span};
use crate::kinds::{Integer, Name, Text};
use crate::schema::matching;
use crate::section::{Field, Kind, shown};

/// An address and a port to bind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Socket;

impl Kind for Socket {
    type Value = SocketAddr;

    fn expected(&self) -> Cow<'static, str> {
        "an address and port such as \"127.0.0.1:8080\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<SocketAddr> {
        let text = field.text(&self.expected())?;
        if let Ok(address) = text.parse() {
            return Some(address);
        }
        let help = if let Some(port) = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")) {
            Some(format!("for every address of this machine write \"0.0.0.0:{0}\" or \"[::]:{0}\"", shown(port)))
        } else if let Some(port) = text.strip_prefix("localhost:") {
            Some(format!("names are not looked up here: write \"127.0.0.1:{}\"", shown(port)))
        } else if text.parse::<IpAddr>().is_ok() {
            Some("add the port".into())
        } else {
            None
        };
        field.bad_value(format!("expected {}, found \"{}\"", self.expected(), shown(&text)), help);
        None
    }

    fn schema(&self) -> Value {
        matching(r"^(\[[0-9A-Fa-f:.]+(%[0-9]+)?\]|[0-9.]+):[0-9]{1,5}$")
    }
}

/// A range of addresses; a bare address is a range of one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefix;

impl Kind for Prefix {
    type Value = IpNet;

    fn expected(&self) -> Cow<'static, str> {
        "a prefix such as \"203.0.113.0/24\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<IpNet> {
        let text = field.text(&self.expected())?;
        match parse_prefix(&text) {
            Ok(prefix) => Some(prefix),
            Err(problem) => {
                field.bad_value(problem.message, problem.help);
                None
            }
        }
    }

    fn schema(&self) -> Value {
        matching("^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$")
    }
}

/// A range of addresses, or the name of a network of the policy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PrefixOrNetwork;

/// Which of the two it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Prefix(IpNet),
    Network(String),
}

impl Kind for PrefixOrNetwork {
    type Value = Place;

    fn expected(&self) -> Cow<'static, str> {
        "a prefix such as \"203.0.113.0/24\", or the name of a network".into()
    }

    /// What is written like an address is none of the names, so that a mistyped one is not looked for among them.
    fn read(&self, field: &Field<'_>) -> Option<Place> {
        let text = field.text(&self.expected())?;
        let like_address = |byte: u8| byte.is_ascii_hexdigit() || b":./".contains(&byte);
        if text.contains(['.', ':', '/']) && text.bytes().all(like_address) {
            return Prefix.read(field).map(Place::Prefix);
        }
        Name.read(field).map(Place::Network)
    }

    fn schema(&self) -> Value {
        json!({ "anyOf": [Prefix.schema(), Name.schema()] })
    }
}

/// Why a text is no prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PrefixProblem {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// Parses a prefix or a bare address. Addresses are compared in canonical form (RFC 4291 section 2.5.5.2), so that a
/// prefix of IPv4-mapped addresses would match nothing: it is refused, with the IPv4 form as the remedy.
pub(crate) fn parse_prefix(text: &str) -> Result<IpNet, PrefixProblem> {
    let prefix = prefix::parse_prefix(text).ok_or_else(|| PrefixProblem {
        message: format!("`{}` is no address or prefix", shown(text)),
        help: Some("write it as 203.0.113.0/24, 2001:db8::/32 or 203.0.113.7".into()),
    })?;
    let plain = prefix::in_canonical_form(&prefix);
    if plain != prefix {
        return Err(PrefixProblem {
            message: format!("`{}` is a range of IPv4-mapped addresses", shown(text)),
            help: Some(format!("write `{plain}`")),
        });
    }
    if prefix.trunc() != prefix {
        return Err(PrefixProblem {
            message: format!("`{}` has bits set beyond its length", shown(text)),
            help: Some(format!("write `{}`, or `{}` for this address alone", prefix.trunc(), prefix.addr())),
        });
    }
    Ok(prefix)
}

/// The name of a header field (RFC 9110 section 5.1).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header;

impl Kind for Header {
    type Value = HeaderName;

    fn expected(&self) -> Cow<'static, str> {
        "the name of a header such as \"x-api-key\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<HeaderName> {
        let text = field.text(&self.expected())?;
        let name = HeaderName::from_bytes(text.as_bytes()).ok();
        if name.is_none() {
            field.bad_value(format!("expected {}, found \"{}\"", self.expected(), shown(&text)), None);
        }
        name
    }

    fn schema(&self) -> Value {
        // A token (RFC 9110 section 5.6.2).
        matching("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
    }
}

/// Where an upstream listens, read as it is written: what is wrong with it is told apart where it is compiled. With a weight it
/// is a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EndpointLink;

/// Its link, and its weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WeightedLink {
    pub(crate) url: String,
    pub(crate) weight: u32,
}

impl EndpointLink {
    /// The most that an endpoint can weigh.
    const HEAVIEST: u64 = 100;

    fn read_table(table: &DeTable<'_>, field: &Field<'_>) -> Option<WeightedLink> {
        let at = |range: std::ops::Range<usize>| Span { source: field.span.source, start: range.start, end: range.end };
        let (mut url, mut weight, mut whole) = (None, Some(1), true);
        for (key, value) in table {
            let inner = Field { key: key.get_ref(), value: value.get_ref(), span: at(value.span()), ..*field };
            match &**key.get_ref() {
                "url" => url = Some(Text.read(&inner)),
                "weight" => weight = Integer(1..=Self::HEAVIEST).read(&inner),
                other => {
                    let message = format!("unknown key `{}` in an endpoint", shown(other));
                    let diagnostic = Diagnostic::error(codes::UNKNOWN_KEY, at(key.span()), message);
                    field.reader.report(diagnostic.with_help("an endpoint has a `url` and a `weight`"));
                    whole = false;
                }
            }
        }
        let Some(url) = url else {
            let diagnostic = Diagnostic::error(codes::MISSING, field.span, "`url` is missing in an endpoint");
            field.reader.report(diagnostic.with_help("add `url`: such as \"http://127.0.0.1:9001\""));
            return None;
        };
        let link = WeightedLink { url: url?, weight: u32::try_from(weight?).unwrap_or(1) };
        whole.then_some(link)
    }
}

impl Kind for EndpointLink {
    type Value = WeightedLink;

    fn expected(&self) -> Cow<'static, str> {
        Text.expected()
    }

    fn read(&self, field: &Field<'_>) -> Option<WeightedLink> {
        match field.value {
            DeValue::Table(table) => Self::read_table(table, field),
            _ => Text.read(field).map(|url| WeightedLink { url, weight: 1 }),
        }
    }

    fn schema(&self) -> Value {
        let link = matching("^((https?|h2c)://[^/?#@]+:[0-9]{1,5}/?|unix:.+)$");
        let weight = Integer(1..=Self::HEAVIEST).schema();
        json!({ "anyOf": [link, {
            "type": "object",
            "properties": { "url": link, "weight": weight },
            "required": ["url"],
            "additionalProperties": false,
        }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_strict_about_its_host_bits() {
        let check = |text: &str, expected: Result<&str, &str>| match (parse_prefix(text), expected) {
            (Ok(found), Ok(prefix)) => assert_eq!(found.to_string(), prefix, "{text}"),
            (Err(problem), Err(fragment)) => {
                let all = format!("{} {}", problem.message, problem.help.unwrap_or_default());
                assert!(all.contains(fragment), "{text}: {all}");
            }
            (found, _) => panic!("{text}: {found:?}"),
        };
        check("10.0.0.0/8", Ok("10.0.0.0/8"));
        check("203.0.113.7", Ok("203.0.113.7/32"));
        check("203.0.113.7/32", Ok("203.0.113.7/32"));
        check("0.0.0.0/0", Ok("0.0.0.0/0"));
        check("2001:db8::1", Ok("2001:db8::1/128"));
        check("2001:db8::/32", Ok("2001:db8::/32"));
        check("10.0.0.1/8", Err("write `10.0.0.0/8`, or `10.0.0.1`"));
        check("2001:db8::1/32", Err("write `2001:db8::/32`"));
        check("::ffff:10.0.0.0/104", Err("write `10.0.0.0/8`"));
        check("::ffff:10.0.0.1", Err("write `10.0.0.1/32`"));
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0/8",
            "010.0.0.0/8",
            "010.0.0.1",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "/8",
            "fe80::1%eth0",
            "example.com",
            "10.0.0.0/-1",
            " 10.0.0.1",
        ] {
            check(bad, Err("no address or prefix"));
        }
    }
}
