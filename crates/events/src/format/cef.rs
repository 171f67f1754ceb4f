//! ArcSight Common Event Format, version 0: a header of seven fields between pipes, then `key=value` pairs.
//!
//! In the header `\` and `|` are escaped, in a value `\` and `=`, and line ends there are `\n` and `\r`. A value may hold spaces,
//! since a reader looks for the next ` key=`; the escaped `=` is what keeps a value from posing as a key. Each value is cut to
//! the length of CEF's dictionary.

use std::net::IpAddr;

use super::record::{Record, text};
use super::visible::{self, Written, within};
use crate::reason_code::ReasonCode;

pub(super) fn append(record: &Record<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"CEF:0|Portcullis|Portcullis|");
    header(out, within(record.version.as_ref(), 31));
    header(out, within(record.kind.as_ref(), 1_023));
    header(out, within(name(record), 512));
    out.extend_from_slice(itoa::Buffer::new().format(record.severity_of_ten()).as_bytes());
    out.push(b'|');
    let mut pairs = Pairs { out, first: true };
    fill_event(record, &mut pairs);
    fill_request(record, &mut pairs);
    fill_caller(record, &mut pairs);
}

fn name<'r>(record: &'r Record<'_>) -> &'r str {
    let code = text(&record.reason).and_then(ReasonCode::parse);
    let otherwise = record.alert.as_ref().map_or(record.kind.as_ref(), |alert| alert.rule.as_ref());
    code.map_or(otherwise, |code| code.title())
}

fn fill_event(record: &Record<'_>, pairs: &mut Pairs<'_>) {
    pairs.number("rt", record.time_us.div_euclid(1_000));
    pairs.put("externalId", 40, record.id.as_ref());
    pairs.put("cat", 1_023, record.class().word());
    pairs.put("act", 63, action(record));
    pairs.put("outcome", 63, if record.succeeded() == Some(false) { "failure" } else { "success" });
    pairs.known("reason", 1_023, text(&record.reason));
    pairs.known("msg", 1_023, text(&record.message));
    if let Some(count) = record.count {
        pairs.number("cnt", count);
        pairs.number("start", record.span_us.0.div_euclid(1_000));
        pairs.number("end", record.span_us.1.div_euclid(1_000));
    }
    pairs.put("dvchost", 100, record.node.as_ref());
    pairs.custom_number("cn1", "status", record.status.map(i64::from));
    pairs.custom_number("cn3", "riskScore", record.risk.score.map(i64::from));
    pairs.custom("cs1", "rule", record.rule());
    pairs.custom("cs2", "policyVersion", record.policy.version.map(|version| version.to_string()).as_deref());
    pairs.custom("flexString1", "route", text(&record.policy.route));
}

fn action<'r>(record: &'r Record<'_>) -> &'r str {
    match text(&record.decision) {
        Some("permit") => "allowed",
        Some("deny" | "undecided" | "failed") => "blocked",
        Some("challenge") => "challenged",
        Some("step_up") => "stepped up",
        Some("throttle") => "throttled",
        Some(other) => other,
        None => record.action(),
    }
}

fn fill_request(record: &Record<'_>, pairs: &mut Pairs<'_>) {
    let request = &record.request;
    pairs.known("app", 31, text(&request.scheme).map(|scheme| if scheme == "https" { "HTTPS" } else { "HTTP" }));
    pairs.known("requestMethod", 1_023, text(&request.method));
    pairs.known("request", 1_023, record.url().as_deref());
    pairs.known("dhost", 1_023, text(&request.host));
    if let Some(port) = request.port {
        pairs.number("dpt", port);
    }
    pairs.known("requestClientApplication", 1_023, text(&request.user_agent));
    pairs.known("requestContext", 2_048, text(&request.referrer));
    pairs.custom("cs3", "requestId", text(&request.id));
}

fn fill_caller(record: &Record<'_>, pairs: &mut Pairs<'_>) {
    let (client, identity) = (&record.client, &record.identity);
    match text(&client.ip).and_then(|ip| ip.parse::<IpAddr>().ok()) {
        Some(IpAddr::V4(ip)) => pairs.put("src", 45, &ip.to_string()),
        Some(IpAddr::V6(ip)) => pairs.custom("c6a2", "Source IPv6 Address", Some(&ip.to_string())),
        None => {}
    }
    if let Some(port) = client.port {
        pairs.number("spt", port);
    }
    let forwarded: Vec<&str> = client.forwarded.iter().map(AsRef::as_ref).collect();
    pairs.custom("cs4", "forwarded", Some(forwarded.join(", ").as_str()).filter(|hops| !hops.is_empty()));
    pairs.custom("cs5", "country", text(&client.country));
    pairs.custom_number("cn2", "asn", client.asn.map(i64::from));
    pairs.known("suid", 1_023, text(&identity.id));
    pairs.known("suser", 1_023, text(&identity.name).or(text(&identity.id)));
    let roles: Vec<&str> = identity.roles.iter().map(AsRef::as_ref).collect();
    pairs.known("spriv", 1_023, Some(roles.join(", ").as_str()).filter(|roles| !roles.is_empty()));
    pairs.custom("cs6", "certSubject", text(&identity.cert_subject));
}

/// A field of the header, with the pipe after it. A header has no way to hold a line end.
fn header(out: &mut Vec<u8>, text: &str) {
    visible::append(out, text, "\\\\", |character| match character {
        '\\' => Written::As("\\\\"),
        '|' => Written::As("\\|"),
        _ => Written::AsIs,
    });
    out.push(b'|');
}

/// The part after the header.
struct Pairs<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl Pairs<'_> {
    fn key(&mut self, key: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b' ');
        }
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b'=');
    }

    fn number(&mut self, key: &str, value: impl itoa::Integer) {
        self.key(key);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A text, at most so many bytes of it.
    fn put(&mut self, key: &str, bytes: usize, value: &str) {
        self.key(key);
        visible::append(self.out, within(value, bytes), "\\\\", |character| match character {
            '\\' => Written::As("\\\\"),
            '=' => Written::As("\\="),
            '\n' => Written::As("\\n"),
            '\r' => Written::As("\\r"),
            _ => Written::AsIs,
        });
    }

    fn known(&mut self, key: &str, bytes: usize, value: Option<&str>) {
        if let Some(value) = value {
            self.put(key, bytes, value);
        }
    }

    /// A field whose meaning the sender names, in a label beside it.
    fn custom(&mut self, key: &str, label: &str, value: Option<&str>) {
        if let Some(value) = value {
            let bytes = if key.starts_with("cs") { 4_000 } else { 1_023 };
            self.put(key, bytes, value);
            self.put(&format!("{key}Label"), 1_023, label);
        }
    }

    fn custom_number(&mut self, key: &str, label: &str, value: Option<i64>) {
        if let Some(value) = value {
            self.number(key, value);
            self.put(&format!("{key}Label"), 1_023, label);
        }
    }
}
