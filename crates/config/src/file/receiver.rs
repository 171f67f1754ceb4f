//! What a sink that sends over the network needs: `[sink.syslog]`, `[sink.http]`, `[sink.sentinel]`, `[sink.otlp]` and `[sink.kafka]`.

mod kafka;
mod link;
pub(crate) mod notifier;
mod secret;

pub(crate) use secret::{optional_secret, optional_text, required_text};
mod tls;
mod words;

use std::sync::Arc;
use std::time::Duration;

use portcullis_events::Format;
use portcullis_events::settings::{
    BatchSettings, HttpAuth, HttpBody, HttpSettings, HttpTarget, OtlpSettings, RemoteKind, SentinelSettings,
    SyslogSettings, SyslogTransport,
};

use crate::codes;
use crate::diagnostics::{At, Diagnostic};
use crate::file::HeaderFields;
use crate::kinds::{Choice, Flag, Header, Integer, Size, Text, Time};
use crate::section::{Section, shown};

pub(crate) use kafka::{MECHANISMS, Topic};
pub(crate) use link::{Link, Parsed, ReceiverAddress, SecretLink};
pub(crate) use words::{Labels, Word};

/// The forms that an event can have.
pub(crate) const FORMATS: Choice<Format> = Choice(&[
    ("native", Format::Native),
    ("ecs", Format::Ecs),
    ("ocsf", Format::Ocsf),
    ("asim", Format::Asim),
    ("cef", Format::Cef),
    ("leef", Format::Leef),
]);

/// The facilities of RFC 5424, table 1.
pub(crate) const FACILITIES: Choice<u8> = Choice(&[
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("ntp", 12),
    ("audit", 13),
    ("alert", 14),
    ("clock", 15),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
]);

/// The kinds of sinks that send over the network; each has a table of its name.
pub(crate) const KINDS: [&str; 5] = ["syslog", "http", "sentinel", "otlp", "kafka"];

/// Reads the table of such a kind; `format` is the sink's.
pub(crate) fn read_remote(section: &Section<'_>, kind: &'static str, format: Option<At<Format>>) -> Option<RemoteKind> {
    let Some(table) = section.table(kind) else {
        if !section.has(kind) {
            section.report_missing(kind, "a table that says where to send");
        }
        return None;
    };
    let chosen = format.as_ref().map_or(Format::Native, |format| format.value);
    match kind {
        "syslog" => read_syslog(table, chosen).map(RemoteKind::Syslog),
        "http" => read_http(table, chosen).map(RemoteKind::Http),
        "sentinel" => {
            refuse_format(section, format.as_ref(), Format::Asim, "rows of ASIM are what its table is made for");
            read_sentinel(table).map(RemoteKind::Sentinel)
        }
        "kafka" => kafka::read(table, chosen).map(RemoteKind::Kafka),
        _ => {
            let why = "OpenTelemetry has a form of its own, with the native event in it";
            refuse_format(section, format.as_ref(), Format::Native, why);
            read_otlp(table).map(RemoteKind::Otlp)
        }
    }
}

/// A kind with a form of its own takes no other.
pub(crate) fn refuse_format(section: &Section<'_>, format: Option<&At<Format>>, own: Format, why: &str) {
    if let Some(format) = format.filter(|format| format.value != own) {
        let message = format!("`format` cannot be chosen here: {why}");
        section.reader().report(Diagnostic::error(codes::CONFLICT, format.span, message).with_help("remove it"));
    }
}

fn read_syslog(section: Section<'_>, format: Format) -> Option<SyslogSettings> {
    #[derive(Clone, Copy, PartialEq)]
    enum Transport {
        Udp,
        Tcp,
        Tls,
    }
    let transports = Choice(&[("udp", Transport::Udp), ("tcp", Transport::Tcp), ("tls", Transport::Tls)]);
    let address = section.required("address", ReceiverAddress);
    let transport = section.or("transport", transports, Transport::Tls);
    let tls = tls::read_tls(&section, "tls", transport == Transport::Tls);
    let facility = section.or("facility", FACILITIES, 16);
    let app_name = section.optional("app_name", Text);
    if let Some(name) = app_name.as_ref().filter(|name| !is_printable(&name.value, 48)) {
        let message = "`app_name`: must be at most 48 visible ASCII characters";
        section.reader().report(Diagnostic::error(codes::BAD_VALUE, name.span, message));
    }
    let enterprise_id = section.or("enterprise_id", Integer(1..=u64::from(u32::MAX)), 32_473);
    let max_datagram = section.or("max_datagram", Size(1_024..=65_507), 2_048);
    let timeout = section.or("timeout", Time::within("100ms", "5m"), Duration::from_secs(10));
    section.finish();
    let (host, port) = address?.value;
    Some(SyslogSettings {
        host,
        port,
        transport: match transport {
            Transport::Udp => SyslogTransport::Udp,
            Transport::Tcp => SyslogTransport::Tcp,
            Transport::Tls => SyslogTransport::Tls(tls?),
        },
        format,
        facility,
        app_name: app_name.map_or_else(|| "portcullis".into(), |name| name.value.into()),
        enterprise_id: u32::try_from(enterprise_id).ok()?,
        max_datagram,
        timeout,
    })
}

fn is_printable(text: &str, most: usize) -> bool {
    text.len() <= most && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn read_http(section: Section<'_>, format: Format) -> Option<HttpSettings> {
    #[derive(Clone, Copy, PartialEq)]
    enum Body {
        Ndjson,
        Array,
        SplunkHec,
        ElasticBulk,
        Loki,
    }
    let bodies = Choice(&[
        ("ndjson", Body::Ndjson),
        ("array", Body::Array),
        ("splunk_hec", Body::SplunkHec),
        ("elastic_bulk", Body::ElasticBulk),
        ("loki", Body::Loki),
    ]);
    let target = read_target(&section);
    let body = section.or("body", bodies, Body::Ndjson);
    let index = section.optional("index", Text);
    if body == Body::ElasticBulk && !section.has("index") {
        section.report_missing("index", "an index or a data stream such as \"logs-portcullis\"");
    }
    let source = section.optional("source", Text);
    let sourcetype = section.optional("sourcetype", Text);
    let labels = section.optional("labels", Labels);
    let belong = [
        (index.as_ref().map(|at| at.span), "index", matches!(body, Body::SplunkHec | Body::ElasticBulk)),
        (source.as_ref().map(|at| at.span), "source", body == Body::SplunkHec),
        (sourcetype.as_ref().map(|at| at.span), "sourcetype", body == Body::SplunkHec),
        (labels.as_ref().map(|at| at.span), "labels", body == Body::Loki),
    ];
    for (span, key, belongs) in belong {
        if let Some(span) = span.filter(|_| !belongs) {
            let message = format!("`{key}` does not belong to this `body`");
            section.reader().report(Diagnostic::error(codes::CONFLICT, span, message).with_help("remove it"));
        }
    }
    if body == Body::ElasticBulk && !format.is_json() {
        let message = format!("documents of Elasticsearch are JSON, and `format = \"{}\"` is not", format.as_str());
        let help = "write `format = \"ecs\"`";
        section.reader().report(Diagnostic::error(codes::CONFLICT, section.span(), message).with_help(help));
    }
    let auth = read_auth(&section);
    let headers = read_headers(&section);
    let gzip = section.or("gzip", Flag, true);
    let batch = read_batch(&section);
    section.finish();
    let text = |at: Option<At<String>>| at.map(|at| Arc::from(at.value));
    Some(HttpSettings {
        target: target?,
        body: match body {
            Body::Ndjson => HttpBody::Ndjson,
            Body::Array => HttpBody::Array,
            Body::SplunkHec => HttpBody::SplunkHec {
                index: text(index),
                source: text(source).unwrap_or_else(|| "portcullis".into()),
                sourcetype: text(sourcetype).unwrap_or_else(|| "portcullis:event".into()),
            },
            Body::ElasticBulk => HttpBody::ElasticBulk { index: text(index)? },
            Body::Loki => HttpBody::Loki {
                labels: labels.map_or_else(|| vec![("job".into(), "portcullis".into())], |labels| labels.value),
            },
        },
        format,
        auth: auth?,
        headers,
        gzip,
        batch,
    })
}

fn read_otlp(section: Section<'_>) -> Option<OtlpSettings> {
    let target = read_target(&section);
    let auth = read_auth(&section);
    let headers = read_headers(&section);
    let gzip = section.or("gzip", Flag, true);
    let batch = read_batch(&section);
    section.finish();
    Some(OtlpSettings { target: target?, auth: auth?, headers, gzip, batch })
}

fn read_sentinel(section: Section<'_>) -> Option<SentinelSettings> {
    let allow_http = section.or("allow_http", Flag, false);
    let endpoint = section.required("endpoint", Link { path: false });
    let authority = section.optional("authority", Link { path: false });
    let rule = section.required("rule", Word("a rule's immutable id such as \"dcr-0123456789abcdef0123456789abcdef\""));
    let stream = section.optional("stream", Word("a stream such as \"Custom-Portcullis_CL\""));
    let tenant = section.required("tenant", Word("a directory's id or domain"));
    let client_id = section.required("client_id", Word("an application's id"));
    let client_secret = secret::required_secret(&section, "client_secret");
    let audience = section.optional("audience", Text);
    if let Some(audience) = audience.as_ref().filter(|audience| !audience.value.starts_with("https://")) {
        let message = "`audience`: expected an address such as \"https://monitor.azure.com\"";
        section.reader().report(Diagnostic::error(codes::BAD_VALUE, audience.span, message));
    }
    let gzip = section.or("gzip", Flag, true);
    let timeout = read_timeout(&section);
    let tls = tls::read_tls(&section, "tls", true);
    let own_authority = Link::microsoft();
    let links = [endpoint.as_ref(), authority.as_ref()];
    let secure = links.into_iter().flatten().all(|link| link::check_secure(&section, link, allow_http));
    section.finish();
    let target = |link: Parsed, tls: &_| link.into_target(Option::clone(tls), timeout);
    let text = |at: Option<At<String>>| at.map(|at| Arc::<str>::from(at.value));
    let settings = SentinelSettings {
        endpoint: target(endpoint?.value, &tls)?,
        authority: target(authority.map_or(own_authority, |link| link.value), &tls)?,
        rule: text(rule)?,
        stream: text(stream).unwrap_or_else(|| "Custom-Portcullis_CL".into()),
        tenant: text(tenant)?,
        client_id: text(client_id)?,
        client_secret: client_secret?,
        audience: text(audience)
            .map_or_else(|| "https://monitor.azure.com".into(), |text| text.trim_end_matches('/').into()),
        gzip,
    };
    secure.then_some(settings)
}

/// `url`, `allow_http`, `timeout` and `tls`.
pub(crate) fn read_target(section: &Section<'_>) -> Option<HttpTarget> {
    let url = section.required("url", Link { path: true });
    read_target_of(section, url)
}

/// The same with a `url` that is a secret, and may stand elsewhere.
pub(crate) fn read_secret_target(section: &Section<'_>) -> Option<HttpTarget> {
    let url = link::required_secret_link(section, "url");
    read_target_of(section, url)
}

fn read_target_of(section: &Section<'_>, url: Option<At<Parsed>>) -> Option<HttpTarget> {
    let allow_http = section.or("allow_http", Flag, false);
    let timeout = read_timeout(section);
    let secure = url.as_ref().is_some_and(|url| url.value.secure);
    let tls = tls::read_tls(section, "tls", secure);
    let url = url?;
    if !link::check_secure(section, &url, allow_http) {
        return None;
    }
    url.value.into_target(tls, timeout)
}

fn read_timeout(section: &Section<'_>) -> Duration {
    section.or("timeout", Time::within("100ms", "5m"), Duration::from_secs(30))
}

fn read_batch(section: &Section<'_>) -> BatchSettings {
    read_batch_of(section, BatchSettings::default())
}

fn read_batch_of(section: &Section<'_>, default: BatchSettings) -> BatchSettings {
    let Some(table) = section.table("batch") else { return default };
    let events = table.or("events", Integer(1..=10_000), default.events as u64);
    let bytes = table.or("size", Size(1 << 10..=16 << 20), default.bytes);
    table.finish();
    BatchSettings { events: usize::try_from(events).unwrap_or(default.events), bytes }
}

/// Header fields that the gateway does not write itself.
pub(crate) fn read_headers(section: &Section<'_>) -> Vec<(Arc<str>, Arc<str>)> {
    const OWN: [&str; 7] =
        ["host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "user-agent"];
    let fields = section.optional("headers", HeaderFields).map_or_else(Vec::new, |fields| fields.value);
    let mut headers = Vec::new();
    for (name, value) in fields {
        if OWN.contains(&name.value.as_str()) {
            let message = format!("`{}` is written by the gateway itself", name.value);
            section.reader().report(Diagnostic::error(codes::CONFLICT, name.span, message).with_help("remove it"));
        } else if name.value == http::header::AUTHORIZATION {
            let help = "write `auth = { bearer = { env = \"NAME\" } }` instead";
            let message = "a credential does not belong among the `headers`, where reports show it";
            section.reader().report(Diagnostic::error(codes::CONFLICT, name.span, message).with_help(help));
        } else if let Ok(value) = value.to_str() {
            headers.push((Arc::from(name.value.as_str()), Arc::from(value)));
        }
    }
    headers
}

/// `auth`: none, or one of three ways. `None`: there is something wrong with it, which was reported.
pub(crate) fn read_auth(section: &Section<'_>) -> Option<HttpAuth> {
    let Some(table) = section.table("auth") else {
        return (!section.has("auth")).then_some(HttpAuth::None);
    };
    let bearer = optional_secret(&table, "bearer");
    let user = table.optional("user", Text);
    let password = optional_secret(&table, "password");
    let header = table.optional("header", Header);
    let value = optional_secret(&table, "value");
    let written: Vec<&str> =
        ["bearer", "user", "password", "header", "value"].into_iter().filter(|key| table.has(key)).collect();
    let (reader, span) = (section.reader(), table.span());
    table.finish();
    match (written.as_slice(), bearer, user, password, header, value) {
        (["bearer"], bearer, ..) => bearer.map(HttpAuth::Bearer),
        (["user", "password"], _, user, password, ..) => {
            let user = user?;
            if user.value.contains(':') {
                let message = "`user`: a name in Basic authentication holds no colon (RFC 7617)";
                reader.report(Diagnostic::error(codes::BAD_VALUE, user.span, message));
                return None;
            }
            Some(HttpAuth::Basic { user: user.value.into(), password: password? })
        }
        (["header", "value"], _, _, _, header, value) => {
            Some(HttpAuth::Header { name: header?.value.as_str().into(), value: value? })
        }
        _ => {
            let message = "`auth`: expected `bearer`, or `user` and `password`, or `header` and `value`";
            let help = format!("found {}", shown(&written.join(", ")));
            reader.report(Diagnostic::error(codes::BAD_VALUE, span, message).with_help(help));
            None
        }
    }
}
