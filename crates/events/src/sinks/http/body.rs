//! The bodies: how events stand in what one receiver or another takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::format::{Format, Object, Record};
use crate::line::write_text;
use crate::settings::{HttpBody, HttpSettings};
use crate::sinks::Line;

/// A body, and what became of each line.
pub(in crate::sinks) struct Built {
    pub(in crate::sinks) body: Vec<u8>,
    /// The places of the lines that are in it, in their order there.
    pub(super) sent: Vec<usize>,
    /// The places of those that are no events.
    pub(super) bad: Vec<usize>,
}

pub(in crate::sinks) fn content_type(settings: &HttpSettings) -> &'static str {
    match &settings.body {
        HttpBody::Ndjson if !settings.format.is_json() => "text/plain; charset=utf-8",
        HttpBody::Ndjson | HttpBody::ElasticBulk { .. } => "application/x-ndjson",
        HttpBody::Array | HttpBody::SplunkHec { .. } | HttpBody::Loki { .. } => "application/json",
    }
}

pub(in crate::sinks) fn build(settings: &HttpSettings, batch: &[Line<'_>]) -> Built {
    let mut built = Built { body: Vec::new(), sent: Vec::with_capacity(batch.len()), bad: Vec::new() };
    let Built { body, sent, bad } = &mut built;
    let mut streams = BTreeMap::new();
    let mut text = Vec::new();
    for (index, line) in batch.iter().enumerate() {
        text.clear();
        let record = Record::parse(line.json);
        let (Ok(record), Ok(())) = (record, settings.format.append(line.json, &mut text)) else {
            bad.push(index);
            continue;
        };
        match &settings.body {
            HttpBody::Ndjson => {
                body.extend_from_slice(&text);
                body.push(b'\n');
            }
            HttpBody::Array => {
                body.push(if sent.is_empty() { b'[' } else { b',' });
                append_json(body, &text, settings.format);
            }
            HttpBody::SplunkHec { index, source, sourcetype } => {
                append_collected(
                    body,
                    &record,
                    &text,
                    settings.format,
                    [index.as_ref(), Some(source), Some(sourcetype)],
                );
            }
            HttpBody::ElasticBulk { index } => append_bulk(body, &record, &text, index),
            HttpBody::Loki { .. } => {
                let stream = (record.kind.as_ref().to_owned(), record.severity.as_str());
                let entry = (record.time_us, String::from_utf8_lossy(&text).into_owned());
                streams.entry(stream).or_insert_with(Vec::new).push(entry);
            }
        }
        sent.push(index);
    }
    match &settings.body {
        HttpBody::Array if !sent.is_empty() => body.push(b']'),
        HttpBody::Loki { labels } => append_streams(body, &streams, labels),
        HttpBody::Array | HttpBody::Ndjson | HttpBody::SplunkHec { .. } | HttpBody::ElasticBulk { .. } => {}
    }
    built
}

/// A record as a value of JSON: itself, or a line of text as a string.
fn append_json(out: &mut Vec<u8>, record: &[u8], format: Format) {
    if format.is_json() {
        out.extend_from_slice(record);
    } else {
        write_text(out, &String::from_utf8_lossy(record));
    }
}

/// An object of Splunk's HTTP Event Collector: its time is in seconds.
fn append_collected(
    out: &mut Vec<u8>,
    record: &Record<'_>,
    event: &[u8],
    format: Format,
    about: [Option<&Arc<str>>; 3],
) {
    let [index, source, sourcetype] = about.map(|text| text.map(|text| &**text));
    Object::append(out, |object| {
        let seconds = format!("{}.{:06}", record.time_us.div_euclid(1_000_000), record.time_us.rem_euclid(1_000_000));
        object.raw("time", seconds.as_bytes());
        object.text("host", record.node.as_ref());
        object.known("source", source);
        object.known("sourcetype", sourcetype);
        object.known("index", index);
        let mut value = Vec::with_capacity(event.len() + 2);
        append_json(&mut value, event, format);
        object.raw("event", &value);
    });
}

/// `create` and not `index`: a data stream takes nothing else, and what is there already is refused with 409, so that a repetition
/// is told from an event.
fn append_bulk(out: &mut Vec<u8>, record: &Record<'_>, document: &[u8], index: &str) {
    Object::append(out, |action| {
        action.object("create", |create| {
            create.text("_index", index);
            create.text("_id", record.id.as_ref());
        });
    });
    out.push(b'\n');
    out.extend_from_slice(document);
    out.push(b'\n');
}

/// The streams of Loki by kind and severity, each with its entries: nanoseconds and the line.
fn append_streams(
    out: &mut Vec<u8>,
    streams: &BTreeMap<(String, &'static str), Vec<(i64, String)>>,
    labels: &[(Arc<str>, Arc<str>)],
) {
    let streams: Vec<_> = streams.iter().collect();
    Object::append(out, |root| {
        root.objects("streams", &streams, |((kind, severity), entries), stream| {
            stream.object("stream", |names| {
                for (name, value) in labels {
                    names.text(name, value);
                }
                names.text("kind", kind);
                names.text("severity", severity);
            });
            let mut values = Vec::new();
            for (time_us, line) in *entries {
                values.push(if values.is_empty() { b'[' } else { b',' });
                values.extend_from_slice(format!("[\"{time_us}000\",").as_bytes());
                write_text(&mut values, line);
                values.push(b']');
            }
            values.push(b']');
            stream.raw("values", &values);
        });
    });
}
