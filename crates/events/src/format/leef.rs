//! IBM QRadar Log Event Extended Format 2.0: a header of five fields between pipes, the delimiter, then `key=value` attributes.
//!
//! LEEF has no escapes. What would end a value stands in it as `\uXXXX`: the delimiter `^`, and with it every control character.

use super::record::{Record, text};
use super::visible::{self, Written};

pub(super) fn append(record: &Record<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"LEEF:2.0|Portcullis|Portcullis|");
    for field in [record.version.as_ref(), record.kind.as_ref()] {
        visible::append(out, field, "\\", |character| match character {
            '|' | '^' => Written::Out,
            _ => Written::AsIs,
        });
        out.push(b'|');
    }
    out.extend_from_slice(b"^|");
    let mut attributes = Attributes { out, first: true };
    fill_event(record, &mut attributes);
    fill_request(record, &mut attributes);
    fill_caller(record, &mut attributes);
}

fn fill_event(record: &Record<'_>, attributes: &mut Attributes<'_>) {
    attributes.put("eventId", record.id.as_ref());
    attributes.put("cat", record.class().word());
    attributes.put("devTime", &millis(record));
    attributes.put("devTimeFormat", "yyyy-MM-dd'T'HH:mm:ss.SSSZ");
    attributes.number("sev", record.severity_of_ten());
    attributes.known("action", text(&record.decision));
    attributes.known("reason", text(&record.reason));
    attributes.known("msg", text(&record.message));
    if let Some(count) = record.count {
        attributes.number("count", count);
    }
    attributes.put("node", record.node.as_ref());
    attributes.known("policy", record.rule());
    attributes.known_number("policyVersion", record.policy.version);
    attributes.known("resource", text(&record.policy.route));
    attributes.known_number("status", record.status);
    attributes.known_number("riskScore", record.risk.score);
}

/// In the form of Java's `SimpleDateFormat`, which knows milliseconds and no more.
fn millis(record: &Record<'_>) -> String {
    jiff::Timestamp::from_millisecond(record.time_us.div_euclid(1_000))
        .map(|time| format!("{time:.3}").replace('Z', "+0000"))
        .unwrap_or_default()
}

fn fill_request(record: &Record<'_>, attributes: &mut Attributes<'_>) {
    let request = &record.request;
    attributes.known("requestId", text(&request.id));
    attributes.known("proto", text(&request.scheme));
    attributes.known("method", text(&request.method));
    attributes.known("url", record.url().as_deref());
    attributes.known("dst", text(&request.host).filter(|host| host.parse::<std::net::IpAddr>().is_ok()));
    attributes.known("dstHost", text(&request.host));
    attributes.known_number("dstPort", request.port);
    attributes.known("userAgent", text(&request.user_agent));
    attributes.known("referrer", text(&request.referrer));
}

fn fill_caller(record: &Record<'_>, attributes: &mut Attributes<'_>) {
    let (client, identity) = (&record.client, &record.identity);
    attributes.known("src", text(&client.ip));
    attributes.known_number("srcPort", client.port);
    attributes.list("xff", client.forwarded.iter().map(AsRef::as_ref));
    attributes.known("country", text(&client.country));
    attributes.known_number("asn", client.asn);
    attributes.known("usrName", text(&identity.id));
    attributes.known("accountName", text(&identity.name));
    attributes.list("role", identity.roles.iter().map(AsRef::as_ref));
    attributes.list("groupID", identity.groups.iter().map(AsRef::as_ref));
    attributes.known("realm", text(&identity.issuer));
    attributes.known("certSubject", text(&identity.cert_subject));
}

/// The part after the header.
struct Attributes<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl Attributes<'_> {
    fn put(&mut self, key: &str, value: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b'^');
        }
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b'=');
        visible::append(self.out, value, "\\", |character| match character {
            '^' => Written::Out,
            _ => Written::AsIs,
        });
    }

    fn known(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    fn number(&mut self, key: &str, value: impl itoa::Integer) {
        self.put(key, itoa::Buffer::new().format(value));
    }

    fn known_number(&mut self, key: &str, value: Option<impl itoa::Integer>) {
        if let Some(value) = value {
            self.number(key, value);
        }
    }

    fn list<'v>(&mut self, key: &str, values: impl Iterator<Item = &'v str>) {
        let joined = values.collect::<Vec<_>>().join(",");
        if !joined.is_empty() {
            self.put(key, &joined);
        }
    }
}
