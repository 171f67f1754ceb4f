//! `[[sink]]` and `[event]`.

use std::sync::Arc;

use portcullis_events::settings::{AccessLogSettings, Settings, SinkKind, SinkSettings};

use crate::codes;
use crate::compile::report_duplicates;
use crate::diagnostics::{At, Diagnostic};
use crate::file::{AccessLog, Sink, SinkOutput};
use crate::section::Reader;

pub(crate) fn compile(
    reader: &Reader<'_>,
    sinks: Vec<Sink>,
    access_log: Option<At<AccessLog>>,
    node: Option<String>,
    cluster: Option<String>,
) -> Settings {
    report_duplicates(reader, "sink", sinks.iter().map(|sink| &sink.name));
    report_shared_outputs(reader, &sinks);
    if let Some(log) = &access_log {
        report_shared_with_log(reader, &sinks, log);
    }
    let mut sinks: Vec<SinkSettings> = sinks.into_iter().map(sink_settings).collect();
    if sinks.is_empty() {
        // Without any sink a refusal would leave no trace at all.
        sinks.push(SinkSettings::new("stdout", SinkKind::Stdout));
    }
    Settings {
        sinks,
        node: node.unwrap_or_else(host_name).into(),
        cluster: cluster.map(Arc::from),
        access_log: access_log.map(|log| log_settings(log.value)),
    }
}

fn sink_settings(sink: Sink) -> SinkSettings {
    SinkSettings { queue: sink.queue, ..SinkSettings::new(sink.name.value, output_kind(sink.output.value)) }
}

fn log_settings(log: AccessLog) -> AccessLogSettings {
    let AccessLog { output, format, sample, queue, query } = log;
    AccessLogSettings { output: output_kind(output), format, sample, queue, query }
}

fn output_kind(output: SinkOutput) -> SinkKind {
    match output {
        SinkOutput::Stdout => SinkKind::Stdout,
        SinkOutput::File(path) => SinkKind::File { path: path.path },
    }
}

/// Where events and the access log would stand in one file, neither could be read by what reads the other. On standard output
/// each line says by its `schema` what it is.
fn report_shared_with_log(reader: &Reader<'_>, sinks: &[Sink], log: &At<AccessLog>) {
    let SinkOutput::File(file) = &log.value.output else { return };
    let same = |sink: &&Sink| matches!(&sink.output.value, SinkOutput::File(other) if other.path == file.path);
    if let Some(sink) = sinks.iter().find(same) {
        let message = format!("the access log and the sink `{}` write to one file", sink.name.value);
        let diagnostic = Diagnostic::error(codes::CONFLICT, log.span, message)
            .with_related(sink.output.span, "the sink is here")
            .with_help("choose another `path`");
        reader.report(diagnostic);
    }
}

/// Two writers would tear each other's lines, and every event would be there twice.
fn report_shared_outputs(reader: &Reader<'_>, sinks: &[Sink]) {
    for (index, sink) in sinks.iter().enumerate() {
        let Some(first) = sinks.iter().take(index).find(|other| same_output(other, sink)) else { continue };
        let message = format!("the sinks `{}` and `{}` write to one place", first.name.value, sink.name.value);
        let diagnostic = Diagnostic::error(codes::CONFLICT, sink.output.span, message)
            .with_related(first.output.span, "the first one is here")
            .with_help("remove one of them");
        reader.report(diagnostic);
    }
}

fn same_output(a: &Sink, b: &Sink) -> bool {
    match (&a.output.value, &b.output.value) {
        (SinkOutput::Stdout, SinkOutput::Stdout) => true,
        (SinkOutput::File(a), SinkOutput::File(b)) => a.path == b.path,
        (SinkOutput::Stdout, SinkOutput::File(_)) | (SinkOutput::File(_), SinkOutput::Stdout) => false,
    }
}

/// The host's name, as the kernel knows it.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}
