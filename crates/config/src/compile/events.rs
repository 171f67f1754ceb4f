//! `[[sink]]` and `[event]`.

use std::sync::Arc;

use portcullis_events::settings::{Settings, SinkKind, SinkSettings};

use crate::codes;
use crate::compile::report_duplicates;
use crate::diagnostics::Diagnostic;
use crate::file::{Sink, SinkOutput};
use crate::section::Reader;

/// Default number of events that may wait for a sink.
const QUEUE: usize = 65_536;

pub(crate) fn compile(
    reader: &Reader<'_>,
    sinks: Vec<Sink>,
    node: Option<String>,
    cluster: Option<String>,
) -> Settings {
    report_duplicates(reader, "sink", sinks.iter().map(|sink| &sink.name));
    report_shared_outputs(reader, &sinks);
    let mut sinks: Vec<SinkSettings> = sinks.into_iter().map(sink_settings).collect();
    if sinks.is_empty() {
        // Without any sink a refusal would leave no trace at all.
        sinks.push(SinkSettings { name: "stdout".into(), kind: SinkKind::Stdout, queue: QUEUE });
    }
    Settings { sinks, node: node.unwrap_or_else(host_name).into(), cluster: cluster.map(Arc::from) }
}

fn sink_settings(sink: Sink) -> SinkSettings {
    let kind = match sink.output.value {
        SinkOutput::Stdout => SinkKind::Stdout,
        SinkOutput::File(path) => SinkKind::File { path: path.path },
    };
    SinkSettings { name: sink.name.value.into(), kind, queue: sink.queue }
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
