//! What a sink would make of one event, for an operator who tests it: the bytes as they leave, before they are compressed and
//! encrypted, and with everything hidden that proves who the gateway is.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::format::{Format, FormatError};
use crate::settings::{HttpAuth, HttpTarget, RemoteKind, SinkKind, SinkSettings, SyslogSettings, SyslogTransport};
use crate::sinks::{Line, http, otlp, sentinel, syslog};

/// What stands in the place of a secret.
const HIDDEN: &str = "(hidden)";

/// What the sink makes of a native line.
///
/// # Errors
/// When the line is no native event.
pub(crate) fn shown(sink: &SinkSettings, line: &[u8]) -> Result<String, FormatError> {
    let mut bytes = Vec::new();
    match &sink.kind {
        SinkKind::Stdout | SinkKind::File { .. } => sink.format.append(line, &mut bytes)?,
        SinkKind::Remote(kind) => match &**kind {
            RemoteKind::Syslog(settings) => append_syslog(settings, line, &mut bytes)?,
            RemoteKind::Http(settings) => {
                let scheme = http::scheme(settings);
                let about = [("content-type", http::body::content_type(settings))];
                let head = head(&settings.target, &settings.target.path, &about, &settings.headers);
                let body = http::body::build(settings, &[Line { json: line }]).body;
                return posted(line, head + &proof(&settings.auth, scheme), settings.gzip, &body);
            }
            RemoteKind::Sentinel(settings) => {
                let about = [("content-type", "application/json")];
                let head = head(&settings.endpoint, &sentinel::path(settings), &about, &[]);
                let (body, _) = sentinel::rows(&[Line { json: line }]);
                return posted(line, format!("{head}authorization: Bearer {HIDDEN}\n"), settings.gzip, &body);
            }
            RemoteKind::Otlp(settings) => {
                let about = [("content-type", otlp::CONTENT_TYPE)];
                let head = head(&settings.target, &settings.target.path, &about, &settings.headers);
                let (body, _) = otlp::request::build(&[Line { json: line }]);
                let said = format!("({} bytes of protobuf, with the native line in them)", body.len());
                return posted(line, head + &proof(&settings.auth, "Bearer"), settings.gzip, said.as_bytes());
            }
            RemoteKind::Kafka(settings) => {
                let said = format!("topic {}, the node as key, the event's id as header\n\n", settings.topic);
                bytes.extend_from_slice(said.as_bytes());
                settings.format.append(line, &mut bytes)?;
            }
        },
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn append_syslog(settings: &SyslogSettings, line: &[u8], out: &mut Vec<u8>) -> Result<(), FormatError> {
    let envelope = syslog::envelope(settings);
    match settings.transport {
        SyslogTransport::Udp => envelope.append_within(line, settings.format, settings.max_datagram, out),
        SyslogTransport::Tcp | SyslogTransport::Tls(_) => {
            let mut message = Vec::new();
            envelope.append(line, settings.format, &mut message)?;
            syslog::frame(out, &message);
            Ok(())
        }
    }
}

/// The head of a request without what proves who sends it.
fn head(target: &HttpTarget, path: &str, about: &[(&str, &str)], further: &[(Arc<str>, Arc<str>)]) -> String {
    let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.to_string() };
    let mut head = format!("POST {path} HTTP/1.1\nhost: {host}:{}\n", target.port);
    for (name, value) in about.iter().copied().chain(further.iter().map(|(name, value)| (&**name, &**value))) {
        // To write to a text cannot fail.
        let _ = writeln!(head, "{name}: {value}");
    }
    head
}

/// The field that proves who sends it, without its secret.
fn proof(auth: &HttpAuth, scheme: &str) -> String {
    match auth {
        HttpAuth::None => String::new(),
        HttpAuth::Bearer(_) => format!("authorization: {scheme} {HIDDEN}\n"),
        HttpAuth::Basic { .. } => format!("authorization: Basic {HIDDEN}\n"),
        HttpAuth::Header { name, .. } => format!("{name}: {HIDDEN}\n"),
    }
}

/// Head and body. The form was made leniently, so the line is looked at here.
fn posted(line: &[u8], head: String, gzip: bool, body: &[u8]) -> Result<String, FormatError> {
    Format::Native.append(line, &mut Vec::new())?;
    let coding = if gzip { "content-encoding: gzip\n" } else { "" };
    Ok(format!("{head}{coding}\n{}", String::from_utf8_lossy(body)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::tests::{missing_grant, to_line};
    use crate::settings::{BatchSettings, HttpBody, HttpSettings, OtlpSettings, Secret, SentinelSettings};

    fn target() -> HttpTarget {
        HttpTarget { tls: None, host: "::1".into(), port: 4_318, path: "/in?a=b".into(), timeout: Duration::ZERO }
    }

    fn http(body: HttpBody, auth: HttpAuth) -> RemoteKind {
        let headers = vec![("x-tenant".into(), "t".into())];
        let batch = BatchSettings::default();
        RemoteKind::Http(HttpSettings { target: target(), body, format: Format::Ecs, auth, headers, gzip: true, batch })
    }

    fn remote(kind: RemoteKind) -> String {
        let sink = SinkSettings::new("siem", SinkKind::Remote(Box::new(kind)));
        let line = to_line(missing_grant());
        assert!(shown(&sink, b"rubbish").is_err());
        let shown = shown(&sink, &line).unwrap();
        assert!(!shown.contains("hunter2") && !shown.contains("aHVudGVyMg"), "{shown}");
        shown
    }

    #[test]
    fn a_local_sink_shows_its_line_in_its_format() {
        let line = to_line(missing_grant());
        for format in Format::ALL {
            let sink = SinkSettings { format, ..SinkSettings::new("out", SinkKind::Stdout) };
            let mut expected = Vec::new();
            format.append(&line, &mut expected).unwrap();
            assert_eq!(shown(&sink, &line).unwrap().as_bytes(), expected, "{}", format.as_str());
        }
    }

    #[test]
    fn a_request_is_shown_without_its_secret() {
        let secret = || Secret::new("hunter2");
        let hec = HttpBody::SplunkHec { index: None, source: "s".into(), sourcetype: "t".into() };
        let basic = HttpAuth::Basic { user: "u".into(), password: secret() };
        let header = HttpAuth::Header { name: "x-api-key".into(), value: secret() };
        for (kind, proof, body) in [
            (http(HttpBody::Ndjson, HttpAuth::Bearer(secret())), "authorization: Bearer (hidden)\n", "{\"@timestamp\""),
            (http(hec, HttpAuth::Bearer(secret())), "authorization: Splunk (hidden)\n", "{\"time\""),
            (http(HttpBody::Array, basic), "authorization: Basic (hidden)\n", "[{\"@timestamp\""),
            (http(HttpBody::Array, header), "x-api-key: (hidden)\n", "[{\"@timestamp\""),
        ] {
            let shown = remote(kind);
            let (head, found) = shown.split_once("\n\n").unwrap();
            assert!(head.starts_with("POST /in?a=b HTTP/1.1\nhost: [::1]:4318\n"), "{head}");
            assert!(format!("{head}\n").contains(proof) && head.contains("\nx-tenant: t\n"), "{head}");
            assert!(head.ends_with("content-encoding: gzip") && found.starts_with(body), "{shown}");
        }
    }

    #[test]
    fn every_other_receiver_has_its_own() {
        let otlp = OtlpSettings {
            target: target(),
            auth: HttpAuth::Bearer(Secret::new("hunter2")),
            headers: Vec::new(),
            gzip: false,
            batch: BatchSettings::default(),
        };
        let shown = remote(RemoteKind::Otlp(otlp));
        assert!(shown.contains("application/x-protobuf\n") && shown.contains("bytes of protobuf"), "{shown}");
        let sentinel = SentinelSettings {
            endpoint: target(),
            rule: "dcr-1".into(),
            stream: "Custom-P_CL".into(),
            authority: target(),
            tenant: "t".into(),
            client_id: "c".into(),
            client_secret: Secret::new("hunter2"),
            audience: "https://monitor.azure.com".into(),
            gzip: false,
        };
        let shown = remote(RemoteKind::Sentinel(sentinel));
        assert!(shown.starts_with("POST /dataCollectionRules/dcr-1/streams/Custom-P_CL?api-version="), "{shown}");
        assert!(shown.contains("\n\n[{\"TimeGenerated\""), "{shown}");
        for (transport, begin) in [(SyslogTransport::Udp, "<132>1 "), (SyslogTransport::Tcp, "")] {
            let shown = remote(RemoteKind::Syslog(SyslogSettings {
                host: "h".into(),
                port: 514,
                transport,
                format: Format::Cef,
                facility: 16,
                app_name: "portcullis".into(),
                enterprise_id: 32_473,
                max_datagram: 2_048,
                timeout: Duration::ZERO,
            }));
            let (length, message) = shown.split_once(' ').unwrap();
            assert!(shown.starts_with(begin) && shown.contains("CEF:0|Portcullis|"), "{shown}");
            assert!(!begin.is_empty() || length.parse() == Ok(message.len()), "{shown}");
        }
    }
}
