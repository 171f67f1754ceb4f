//! `[[sink]]`, `[event]` and `[spool]`.

use std::sync::Arc;

use portcullis_events::checkpoint::{CheckpointSettings, SigningKey};
use portcullis_events::settings::{
    AccessLogSettings, Fsync, Integrity, OnFull, Settings, SinkKind, SinkSettings, TraceSettings,
};

use crate::codes;
use crate::compile::report_duplicates;
use crate::diagnostics::{At, Diagnostic};
use crate::file::spool::Keeping;
use crate::file::{AccessLog, Route, Sink, SinkOutput};
use crate::section::Reader;
use crate::suggest;

pub(crate) fn compile(
    reader: &Reader<'_>,
    sinks: Vec<Sink>,
    access_log: Option<At<AccessLog>>,
    trace: Option<TraceSettings>,
    keeping: Keeping,
) -> Settings {
    report_duplicates(reader, "sink", sinks.iter().map(|sink| &sink.name));
    report_shared_outputs(reader, &sinks);
    if let Some(log) = &access_log {
        report_shared_with_log(reader, &sinks, log);
    }
    report_without_spool(reader, &sinks, &keeping);
    report_untaken_permits(reader, &sinks, &keeping);
    let always = report_always(reader, &sinks, &keeping);
    let checkpoint = checkpoint(reader, &keeping);
    let mut sinks: Vec<SinkSettings> = sinks.into_iter().map(|sink| sink_settings(sink, always)).collect();
    if sinks.is_empty() {
        // Without any sink a refusal would leave no trace at all.
        sinks.push(SinkSettings::new("stdout", SinkKind::Stdout));
    }
    Settings {
        sinks,
        node: keeping.node.unwrap_or_else(host_name).into(),
        cluster: keeping.cluster.map(Arc::from),
        checkpoint,
        integrity: keeping.integrity,
        fsync: keeping.fsync.map_or_else(Fsync::default, |fsync| fsync.value),
        fsync_interval: keeping.fsync_interval,
        spool: keeping.spool,
        access_log: access_log.map(|log| log_settings(log.value)),
        trace,
    }
}

/// How the chain is signed.
fn checkpoint(reader: &Reader<'_>, keeping: &Keeping) -> Option<CheckpointSettings> {
    let checkpoint = keeping.checkpoint.as_ref()?;
    if keeping.integrity == Integrity::Off {
        let message = "`checkpoint` signs the chain, and `integrity = \"off\"` has none";
        let help = "remove one of the two";
        reader.report(Diagnostic::error(codes::CONFLICT, checkpoint.at, message).with_help(help));
        return None;
    }
    match SigningKey::from_pem(checkpoint.key.value.reveal().as_bytes()) {
        Ok(key) => Some(CheckpointSettings { key, every: checkpoint.every, events: checkpoint.events }),
        Err(error) => {
            let help = "make one: `portcullis audit keygen --out checkpoint.key`";
            let message = format!("the key of `checkpoint` cannot be used: {error}");
            reader.report(Diagnostic::error(codes::BAD_VALUE, checkpoint.key.span, message).with_help(help));
            None
        }
    }
}

/// Where every event must be on disk before its answer, none may be dropped for want of room.
fn sink_settings(sink: Sink, always: bool) -> SinkSettings {
    let on_full = match sink.on_full {
        Some(on_full) => on_full.value,
        None if always => OnFull::Block,
        None => OnFull::Drop,
    };
    SinkSettings {
        queue: sink.queue,
        on_full,
        filter: sink.filter,
        format: sink.format,
        rotation: sink.rotation,
        fold: sink.fold,
        retry: sink.retry,
        dead_letter: sink.dead_letter,
        ..SinkSettings::new(sink.name.value, output_kind(sink.output.value))
    }
}

/// A route that does not exist would keep everything from the sink, and every permit from being recorded.
pub(crate) fn report_unknown_routes(reader: &Reader<'_>, sinks: &[Sink], keeping: &Keeping, routes: &[Route]) {
    let permits = keeping.permits.iter().flat_map(|permits| &permits.routes);
    for route in sinks.iter().flat_map(|sink| &sink.filter_routes).chain(permits) {
        let known = routes.iter().any(|known| known.name.value == route.value);
        if known || !reader.is_complete() {
            continue;
        }
        let message = format!("there is no route `{}`", route.value);
        let mut diagnostic = Diagnostic::error(codes::UNKNOWN_NAME, route.span, message);
        let near = suggest::nearest(&route.value, routes.iter().map(|known| known.name.value.as_str()));
        diagnostic.help = near.map(|name| format!("did you mean `{name}`?"));
        reader.report(diagnostic);
    }
}

/// A sink over a network gets its events from the spool.
fn report_without_spool(reader: &Reader<'_>, sinks: &[Sink], keeping: &Keeping) {
    let local = |sink: &&Sink| matches!(sink.output.value, SinkOutput::Stdout | SinkOutput::File(_));
    if let Some(sink) = sinks.iter().find(|sink| !local(sink)).filter(|_| keeping.spool.is_none()) {
        let message = format!("the sink `{}` needs a spool, where events wait for it", sink.name.value);
        let help = "write `[spool]` with a folder, such as `path = \"/var/lib/portcullis/spool\"`";
        reader.report(Diagnostic::error(codes::CONFLICT, sink.output.span, message).with_help(help));
    }
}

/// Permits go to sinks that ask for them by kind, and to no other one.
fn report_untaken_permits(reader: &Reader<'_>, sinks: &[Sink], keeping: &Keeping) {
    let Some(permits) = keeping.permits.as_ref().filter(|permits| permits.sample > 0) else { return };
    // Beside an error the sink that asks for them may be what is wrong.
    if reader.diagnostics.borrow().errors() > 0 || sinks.iter().any(|sink| sink.filter.asks_for_permits()) {
        return;
    }
    let message = "`permits` records nothing: no sink takes permits";
    let help = "write `access.allowed` (or `access.*`) into `kinds` of a [[sink]], or leave `permits` out";
    reader.report(Diagnostic::warning(codes::UNTAKEN_PERMITS, permits.at, message).with_help(help));
}

/// Whether every event is to be on disk before its answer. Reports what cannot be meant then.
fn report_always(reader: &Reader<'_>, sinks: &[Sink], keeping: &Keeping) -> bool {
    let Some(fsync) = keeping.fsync.as_ref().filter(|fsync| fsync.value == Fsync::Always) else { return false };
    let files = sinks.iter().filter(|sink| matches!(sink.output.value, SinkOutput::File(_)));
    if files.clone().next().is_none() && keeping.spool.is_none() {
        let message = "`fsync`: neither a spool nor a sink of kind \"file\" puts events on a disk";
        let help = "write the spool's `path`, or add a sink of kind \"file\"";
        reader.report(Diagnostic::error(codes::CONFLICT, fsync.span, message).with_help(help));
    }
    for on_full in files.filter_map(|sink| sink.on_full.as_ref()).filter(|on_full| on_full.value == OnFull::Drop) {
        let message =
            "`on_full`: \"drop\" contradicts `fsync = \"always\"`, under which no answer goes without its event";
        let diagnostic = Diagnostic::error(codes::CONFLICT, on_full.span, message);
        reader.report(
            diagnostic.with_related(fsync.span, "`fsync` is here").with_help("write \"block\", or leave it out"),
        );
    }
    true
}

fn log_settings(log: AccessLog) -> AccessLogSettings {
    let AccessLog { output, format, sample, queue, query } = log;
    AccessLogSettings { output: output_kind(output), format, sample, queue, query }
}

fn output_kind(output: SinkOutput) -> SinkKind {
    match output {
        SinkOutput::Stdout => SinkKind::Stdout,
        SinkOutput::File(path) => SinkKind::File { path: path.path },
        SinkOutput::Remote(kind) => SinkKind::Remote(kind),
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
        // Of two that send to one receiver each may do so with its own form or filter.
        (SinkOutput::Stdout | SinkOutput::File(_) | SinkOutput::Remote(_), _) => false,
    }
}

/// The host's name, as the kernel knows it.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}
