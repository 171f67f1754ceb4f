//! `ExportLogsServiceRequest` of opentelemetry-proto: one log record for each event. The field numbers are those of
//! `collector/logs/v1/logs_service.proto`, `logs/v1/logs.proto` and `common/v1/common.proto`.

use super::protobuf::Message;
use crate::format::{Record, Severity, text};
use crate::sinks::Line;

/// The body, and the places of lines that are no events.
pub(in crate::sinks) fn build(batch: &[Line<'_>]) -> (Vec<u8>, Vec<usize>) {
    let (mut records, mut bad) = (Vec::with_capacity(batch.len()), Vec::new());
    for (index, line) in batch.iter().enumerate() {
        match Record::parse(line.json) {
            Ok(record) => records.push((record, line.json)),
            Err(_no_event) => bad.push(index),
        }
    }
    let mut request = Message::default();
    // Nearly always one node of one version; after an update a spool may hold lines of both.
    for group in records.chunk_by(|(a, _), (b, _)| (&a.node, &a.version) == (&b.node, &b.version)) {
        request.message(1, |resource_logs| fill_resource_logs(group, resource_logs));
    }
    (request.into_bytes(), bad)
}

fn fill_resource_logs(group: &[(Record<'_>, &[u8])], resource_logs: &mut Message) {
    resource_logs.message(1, |resource| {
        attribute(resource, 1, "service.name", Some("portcullis"));
        if let Some((first, _)) = group.first() {
            attribute(resource, 1, "service.version", Some(first.version.as_ref()));
            attribute(resource, 1, "service.instance.id", Some(first.node.as_ref()));
            attribute(resource, 1, "service.namespace", text(&first.cluster));
        }
    });
    resource_logs.message(2, |scope_logs| {
        scope_logs.message(1, |scope| scope.text(1, "portcullis.events"));
        for (record, line) in group {
            scope_logs.message(2, |log| fill_log(record, line, log));
        }
    });
}

fn fill_log(record: &Record<'_>, line: &[u8], log: &mut Message) {
    let nanos = u64::try_from(record.time_us).unwrap_or(0).saturating_mul(1_000);
    let (number, word) = severity(record);
    log.fixed64(1, nanos);
    log.number(2, number);
    log.text(3, word);
    if let Some(message) = text(&record.message) {
        log.message(5, |body| body.text(1, message));
    }
    fill_attributes(record, line, log);
    // Both are bytes, and may be left out; of another length they would be an error.
    for (field, id, length) in [(9, &record.request.trace_id, 16), (10, &record.request.span_id, 8)] {
        let id = text(id).and_then(|id| data_encoding::HEXLOWER_PERMISSIVE.decode(id.as_bytes()).ok());
        if let Some(id) = id.filter(|id| id.len() == length) {
            log.data(field, &id);
        }
    }
    log.fixed64(11, nanos);
    log.text(12, &format!("portcullis.{}", record.kind.as_ref()));
}

fn severity(record: &Record<'_>) -> (u64, &'static str) {
    match record.severity {
        Severity::Low => (9, "INFO"),
        Severity::Medium => (13, "WARN"),
        Severity::High => (17, "ERROR"),
        Severity::Critical => (21, "FATAL"),
    }
}

/// The names of OpenTelemetry's semantic conventions where there is one, else ours. The whole native event is one of them.
fn fill_attributes(record: &Record<'_>, line: &[u8], log: &mut Message) {
    let (request, client, identity) = (&record.request, &record.client, &record.identity);
    let texts = [
        ("event.id", Some(record.id.as_ref())),
        ("portcullis.decision", text(&record.decision)),
        ("portcullis.reason", text(&record.reason)),
        ("error.type", text(&record.reason)),
        ("portcullis.route", text(&record.policy.route)),
        ("security_rule.name", text(&record.policy.rule)),
        ("security_rule.ruleset.name", text(&record.policy.sha256)),
        ("http.request.method", text(&request.method)),
        ("url.scheme", text(&request.scheme)),
        ("url.path", text(&request.path)),
        ("server.address", text(&request.host)),
        ("network.protocol.version", text(&request.http_version)),
        ("user_agent.original", text(&request.user_agent)),
        ("client.address", text(&client.ip)),
        ("geo.country.iso_code", text(&client.country)),
        ("user.id", text(&identity.id)),
        ("user.name", text(&identity.name)),
        ("tls.client.subject", text(&identity.cert_subject)),
        ("portcullis.risk.level", text(&record.risk.level)),
        ("portcullis.request.id", text(&request.id)),
    ];
    for (name, value) in texts {
        attribute(log, 6, name, value);
    }
    let numbers = [
        ("http.response.status_code", record.status.map(i64::from)),
        ("server.port", request.port.map(i64::from)),
        ("client.port", client.port.map(i64::from)),
        ("portcullis.risk.score", record.risk.score.map(i64::from)),
        ("portcullis.seq", record.seq.and_then(|seq| i64::try_from(seq).ok())),
        ("portcullis.count", record.count.and_then(|count| i64::try_from(count).ok())),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            log.message(6, |pair| {
                pair.text(1, name);
                // An `int64` that is negative is written as the number of its two's complement.
                pair.message(2, |any| any.number(3, value.cast_unsigned()));
            });
        }
    }
    list(log, "user.roles", &identity.roles);
    list(log, "portcullis.forwarded", &client.forwarded);
    attribute(log, 6, "portcullis.event", std::str::from_utf8(line).ok());
}

fn attribute(message: &mut Message, field: u32, name: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    message.message(field, |pair| {
        pair.text(1, name);
        pair.message(2, |any| any.text(1, value));
    });
}

fn list<T: AsRef<str>>(log: &mut Message, name: &str, values: &[T]) {
    if values.is_empty() {
        return;
    }
    log.message(6, |pair| {
        pair.text(1, name);
        pair.message(2, |any| {
            any.message(5, |array| {
                for value in values {
                    array.message(1, |any| any.text(1, value.as_ref()));
                }
            });
        });
    });
}
