//! How the process runs: `[process]`, `[shutdown]`, `[ops]`, `[control]`, `[limits]`, `[refusal]`, `[access_log]` and `[[sink]]`.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use portcullis_events::Format;
use portcullis_events::filter::Filter;
use portcullis_events::settings::{
    AccessFormat, DeadLetterSettings, FoldSettings, OnFull, RemoteKind, RetrySettings, RotationSettings, TraceSettings,
    WHOLE,
};
use portcullis_insight::{SampleLimits, SpikeSettings};
use portcullis_proxy::page::{Page, Pages};
use portcullis_proxy::settings::{Limits, RefusalSettings, RouteLimits, ShutdownSettings};

use crate::codes;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::document::MAX_TEMPLATE;
use crate::file::access::{Access, read_access};
use crate::file::audit::{Audit, read_audit};
use crate::file::control::{Control, read_control};
use crate::file::geo::{Geo, read_geo};
use crate::file::governance::{Backup, Governance, read_backup, read_governance};
use crate::file::index::{Index, read_index};
use crate::file::limits::{MAX_CONCURRENT, MAX_STREAMS, WINDOWS, read_body_size, read_concurrent, read_rates};
use crate::file::mfa::{Mfa, read_mfa};
use crate::file::receiver;
use crate::file::route::read_page;
use crate::file::sample::{read_sample, read_spike};
use crate::file::sink_options::{read_dead_letter, read_filter, read_fold, read_retry, read_rotation};
use crate::file::spool::{Keeping, read_keeping};
use crate::file::store::{Store, read_store};
use crate::file::trace::read_trace;
use crate::kinds::{Choice, FilePath, Flag, Integer, Name, Percentage, ResolvedPath, Size, Socket, Text, Time};
use crate::schema::one_of;
use crate::section::{Field, Kind, Section, shown};
use crate::suggest;

/// Where health and metrics are served unless the file says otherwise.
const OPS_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// Default number of events that may wait for a sink.
const SINK_QUEUE: u64 = 65_536;

/// The sections that stand once.
#[derive(Debug)]
pub(crate) struct Operation {
    /// `None`: one per processor.
    pub(crate) workers: Option<usize>,
    pub(crate) shutdown: ShutdownSettings,
    /// `None`: switched off.
    pub(crate) ops: Option<At<SocketAddr>>,
    /// `None`: switched off.
    pub(crate) control: Option<Control>,
    /// `None`: there is none.
    pub(crate) index: Option<Index>,
    /// `None`: everything is kept in memory.
    pub(crate) store: Option<Store>,
    pub(crate) governance: Governance,
    pub(crate) access: Access,
    /// `None`: none are made.
    pub(crate) backup: Option<Backup>,
    /// `None`: the gateway keeps no second factors.
    pub(crate) mfa: Option<Mfa>,
    /// `None`: no requests are kept.
    pub(crate) sample: Option<SampleLimits>,
    /// `None`: spikes of refusals are not looked for.
    pub(crate) spike: Option<SpikeSettings>,
    /// `None`: nobody has written `[audit]`.
    pub(crate) audit: Option<Audit>,
    /// Where addresses are.
    pub(crate) geo: Geo,
    /// Where the lists of networks are kept; `None`: where they are by default.
    pub(crate) feeds: Option<ResolvedPath>,
    pub(crate) limits: Limits,
    /// What holds on routes that say nothing else.
    pub(crate) route_limits: RouteLimits,
    /// Where `[limits]` is.
    pub(crate) limits_at: Span,
    pub(crate) refusal: RefusalSettings,
    /// The templates that were read.
    pub(crate) pages: Vec<PathBuf>,
    pub(crate) access_log: Option<At<AccessLog>>,
    pub(crate) trace: Option<TraceSettings>,
    pub(crate) keeping: Keeping,
}

pub(crate) fn read_operation(root: &Section<'_>) -> Operation {
    let keeping = read_keeping(root);
    let section = root.table("limits");
    let limits_at = section.as_ref().map_or(root.span(), Section::span);
    let (limits, route_limits) = section.map_or_else(Default::default, read_limits);
    let mut pages = Vec::new();
    Operation {
        limits_at,
        workers: read_process(root),
        shutdown: read_shutdown(root),
        ops: read_ops(root),
        control: read_control(root),
        index: read_index(root),
        store: read_store(root),
        governance: read_governance(root),
        access: read_access(root),
        backup: read_backup(root),
        mfa: read_mfa(root),
        sample: read_sample(root),
        spike: read_spike(root),
        audit: read_audit(root),
        geo: read_geo(root),
        feeds: read_feeds(root),
        limits,
        route_limits,
        refusal: root
            .table("refusal")
            .map_or_else(RefusalSettings::default, |refusal| read_refusal(refusal, &mut pages)),
        pages,
        access_log: read_access_log(root),
        trace: read_trace(root),
        keeping,
    }
}

fn read_process(root: &Section<'_>) -> Option<usize> {
    let section = root.table("process")?;
    let workers = section.optional("workers", Integer(1..=1_024));
    section.finish();
    workers.and_then(|workers| usize::try_from(workers.value).ok())
}

fn read_shutdown(root: &Section<'_>) -> ShutdownSettings {
    let mut shutdown = ShutdownSettings { delay: Duration::ZERO, grace: Duration::from_secs(30) };
    if let Some(section) = root.table("shutdown") {
        shutdown.delay = section.or("delay", Time::within("0s", "1h"), shutdown.delay);
        shutdown.grace = section.or("grace", Time::within("0s", "1d"), shutdown.grace);
        section.finish();
    }
    shutdown
}

fn read_ops(root: &Section<'_>) -> Option<At<SocketAddr>> {
    let default = At::new(OPS_ADDRESS, root.span());
    let Some(section) = root.table("ops") else { return Some(default) };
    let enabled = section.or("enabled", Flag, true);
    let address = section.optional("address", Socket);
    section.finish();
    enabled.then(|| address.unwrap_or(default))
}

/// `[feeds]`
fn read_feeds(root: &Section<'_>) -> Option<ResolvedPath> {
    let section = root.table("feeds")?;
    let path = section.optional("path", FilePath);
    section.finish();
    path.map(|path| path.value)
}

fn read_limits(section: Section<'_>) -> (Limits, RouteLimits) {
    let default = Limits::default();
    let count =
        |key, most: u64, or: usize| usize::try_from(section.or(key, Integer(1..=most), or as u64)).unwrap_or(or);
    let count32 = |key, range, or: u32| u32::try_from(section.or(key, Integer(range), u64::from(or))).unwrap_or(or);
    let window = |key, or: u32| u32::try_from(section.or(key, Size(WINDOWS), or as usize)).unwrap_or(or);
    let limits = Limits {
        first_byte_timeout: section.or("first_byte_timeout", Time::within("1ms", "1h"), default.first_byte_timeout),
        tls_handshake_timeout: section.or(
            "tls_handshake_timeout",
            Time::within("1ms", "1h"),
            default.tls_handshake_timeout,
        ),
        header_timeout: section.or("header_timeout", Time::within("1ms", "1h"), default.header_timeout),
        keep_alive_timeout: section.or("keep_alive_timeout", Time::within("1ms", "1d"), default.keep_alive_timeout),
        body_idle_timeout: section.or("body_idle_timeout", Time::within("1ms", "1d"), default.body_idle_timeout),
        max_header_fields: count("max_header_fields", 10_000, default.max_header_fields),
        // The HTTP parser's buffer is never smaller than 8 KiB.
        max_header_bytes: section.or("max_header_bytes", Size(8 << 10..=16 << 20), default.max_header_bytes),
        max_field_bytes: section.or("max_field_bytes", Size(256..=16 << 20), default.max_field_bytes),
        // The HTTP types hold no longer target.
        max_uri_bytes: section.or("max_uri_bytes", Size(64..=65_534), default.max_uri_bytes),
        max_connections: count("max_connections", 10_000_000, default.max_connections),
        max_connections_per_client: section
            .optional("max_connections_per_client", Integer(1..=MAX_CONCURRENT))
            .map(|found| found.value),
        max_requests: count("max_requests", 10_000_000, default.max_requests),
        shed_after: section.or("shed_after", Time::within("0s", "1m"), default.shed_after),
        http2_max_streams: count32("http2_max_streams", 1..=MAX_STREAMS, default.http2_max_streams),
        http2_stream_window: window("http2_stream_window", default.http2_stream_window),
        http2_connection_window: window("http2_connection_window", default.http2_connection_window),
        upgrade_idle_timeout: section.or(
            "upgrade_idle_timeout",
            Time::within("1s", "7d"),
            default.upgrade_idle_timeout,
        ),
        // The bound of 30 s is a promise: a permission that ends is felt within it.
        recheck: section.or("recheck", Time::within("1s", "30s"), default.recheck),
    };
    let route_limits = RouteLimits {
        rates: read_rates(&section).unwrap_or_default(),
        concurrent: read_concurrent(&section).unwrap_or_default(),
        max_request_body: read_body_size(&section, "max_request_body"),
        max_response_body: read_body_size(&section, "max_response_body"),
    };
    section.finish();
    (limits, route_limits)
}

fn read_refusal(section: Section<'_>, files: &mut Vec<PathBuf>) -> RefusalSettings {
    let default = RefusalSettings::default();
    let help = section.optional("help", Text);
    let realm = section.optional("realm", Text);
    if let Some(help) = help.as_ref().filter(|help| !is_link(&help.value)) {
        let message = "`help`: expected a link such as \"https://example.com/denials/\"";
        let diagnostic = Diagnostic::error(codes::BAD_VALUE, help.span, message);
        section.reader().report(diagnostic.with_help("the reason's code is appended to it"));
    }
    if let Some(realm) = realm.as_ref().filter(|realm| !is_quotable(&realm.value)) {
        // It stands between quotes in `WWW-Authenticate` (RFC 9110 section 11.5).
        let message = "`realm`: must be at most 128 visible ASCII characters and spaces, without `\"` and `\\`";
        section.reader().report(Diagnostic::error(codes::BAD_VALUE, realm.span, message));
    }
    let mut template = |key| read_template(&section, key, files);
    let (any, client_error, server_error) = (template("html"), template("html_4xx"), template("html_5xx"));
    section.finish();
    RefusalSettings {
        pages: Pages { any: any.unwrap_or(default.pages.any), client_error, server_error },
        help_base: help.map_or(default.help_base, |help| help.value),
        realm: realm.map_or(default.realm, |realm| realm.value),
    }
}

/// A template for refusals. What is wrong with it is reported in its own file.
fn read_template(section: &Section<'_>, key: &'static str, files: &mut Vec<PathBuf>) -> Option<Page> {
    let file = section.optional(key, FilePath)?;
    files.push(file.value.path.clone());
    let (source, text) = read_page(section, &file, MAX_TEMPLATE)?;
    Page::parse(&text)
        .map_err(|problem| {
            let span = Span { source, start: problem.at.start, end: problem.at.end };
            section.reader().report(Diagnostic::error(codes::BAD_VALUE, span, problem.message));
        })
        .ok()
}

fn is_link(text: &str) -> bool {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\'));
    visible && text.len() <= 512 && (text.starts_with("https://") || text.starts_with("http://"))
}

fn is_quotable(text: &str) -> bool {
    text.len() <= 128 && text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
}

/// `[[sink]]`
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) name: At<String>,
    pub(crate) output: At<SinkOutput>,
    pub(crate) queue: usize,
    pub(crate) on_full: Option<At<OnFull>>,
    pub(crate) filter: Filter,
    /// The routes of the filter, and where they stand.
    pub(crate) filter_routes: Vec<At<String>>,
    /// Of lines on standard output or in a file.
    pub(crate) format: Format,
    pub(crate) rotation: Option<RotationSettings>,
    pub(crate) fold: Option<FoldSettings>,
    pub(crate) retry: RetrySettings,
    pub(crate) dead_letter: DeadLetterSettings,
}

/// The words of `on_full`.
pub(crate) const ON_FULL: &[(&str, OnFull)] = &[("drop", OnFull::Drop), ("block", OnFull::Block)];

/// Where a sink writes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SinkOutput {
    Stdout,
    File(ResolvedPath),
    Remote(Box<RemoteKind>),
}

/// `[access_log]`, where it is on.
#[derive(Debug)]
pub(crate) struct AccessLog {
    pub(crate) output: SinkOutput,
    pub(crate) format: AccessFormat,
    /// Of `WHOLE`.
    pub(crate) sample: u32,
    pub(crate) queue: usize,
    pub(crate) query: bool,
}

fn read_access_log(root: &Section<'_>) -> Option<At<AccessLog>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Output {
        Off,
        Stdout,
        File,
    }
    let section = root.table("access_log")?;
    let kinds = Choice(&[("off", Output::Off), ("stdout", Output::Stdout), ("file", Output::File)]);
    let kind = section.optional("kind", kinds);
    let span = kind.as_ref().map_or(section.span(), |kind| kind.span);
    let kind = kind.map_or(Output::Off, |kind| kind.value);
    let file = kind == Output::File;
    let path = if file { section.required("path", FilePath) } else { section.optional("path", FilePath) };
    if let Some(path) = path.as_ref().filter(|_| !file) {
        let message = "`path` belongs to an access log of kind \"file\"";
        let help = "write `kind = \"file\"`, or remove it";
        section.reader().report(Diagnostic::error(codes::CONFLICT, path.span, message).with_help(help));
    }
    let formats = Choice(&[("json", AccessFormat::Json), ("combined", AccessFormat::Combined)]);
    let format = section.or("format", formats, AccessFormat::Json);
    let share = section.or("sample", Percentage, 1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is from 0 to 1")]
    let sample = (share * f64::from(WHOLE)).round() as u32;
    let queue = section.or("queue", Integer(1..=10_000_000), SINK_QUEUE);
    let query = section.or("query", Flag, false);
    section.finish();
    let output = match kind {
        Output::Off => return None,
        Output::Stdout => SinkOutput::Stdout,
        Output::File => SinkOutput::File(path?.value),
    };
    Some(At::new(AccessLog { output, format, sample, queue: usize::try_from(queue).ok()?, query }, span))
}

/// Kinds of the contract that later versions have.
const LATER_SINKS: &[&str] = &["splunk", "elastic", "cef", "chronicle", "s3", "journald", "webhook"];

/// The kind of a sink, read as it is written: kinds of later versions are told apart from words that mean nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SinkKind;

impl Kind for SinkKind {
    type Value = String;

    fn expected(&self) -> Cow<'static, str> {
        Text.expected()
    }

    fn read(&self, field: &Field<'_>) -> Option<String> {
        Text.read(field)
    }

    fn schema(&self) -> serde_json::Value {
        one_of(["stdout", "file"].into_iter().chain(receiver::KINDS))
    }
}

pub(crate) fn read_sink(section: Section<'_>) -> Option<Sink> {
    let name = section.required("name", Name);
    let kind = section.required("kind", SinkKind);
    let file = kind.as_ref().is_some_and(|kind| kind.value == "file");
    let path = if file { section.required("path", FilePath) } else { section.optional("path", FilePath) };
    let queue = section.or("queue", Integer(1..=10_000_000), SINK_QUEUE);
    let on_full = section.optional("on_full", Choice(ON_FULL));
    let (filter, filter_routes) = read_filter(&section);
    let rotation = read_rotation(&section, file);
    let format = section.optional("format", receiver::FORMATS);
    let remote = kind.as_ref().and_then(|kind| receiver::KINDS.into_iter().find(|known| *known == kind.value));
    let fold = read_fold(&section, remote.is_some());
    let retry = read_retry(&section, remote.is_some());
    let dead_letter = read_dead_letter(&section, remote.is_some());
    for other in receiver::KINDS.into_iter().filter(|other| Some(*other) != remote && section.has(other)) {
        section.misplaced(other, &format!("write `kind = \"{other}\"`, or remove it"));
    }
    let mut line_format = Format::Native;
    let later = kind.as_ref().is_some_and(|kind| LATER_SINKS.contains(&kind.value.as_str()));
    let output = kind.and_then(|kind| match remote {
        Some(remote) => {
            refuse_path(&section, path.as_ref());
            let span = kind.span;
            receiver::read_remote(&section, remote, format)
                .map(|settings| At::new(SinkOutput::Remote(Box::new(settings)), span))
        }
        None => {
            line_format = format.map_or(Format::Native, |format| format.value);
            read_output(&section, kind, path)
        }
    });
    if !later {
        // The keys of a later kind are unknown here, and would only hide the one thing to say.
        section.finish();
    }
    let (name, output, queue) = (name?, output?, usize::try_from(queue).ok()?);
    Some(Sink {
        name,
        output,
        queue,
        on_full,
        filter,
        filter_routes,
        format: line_format,
        rotation,
        fold,
        retry,
        dead_letter,
    })
}

fn refuse_path(section: &Section<'_>, path: Option<&At<ResolvedPath>>) {
    if let Some(path) = path {
        let message = "`path` belongs to a sink of kind \"file\"";
        section.reader().report(Diagnostic::error(codes::CONFLICT, path.span, message).with_help("remove it"));
    }
}

fn read_output(section: &Section<'_>, kind: At<String>, path: Option<At<ResolvedPath>>) -> Option<At<SinkOutput>> {
    let reader = section.reader();
    match kind.value.as_str() {
        "file" => Some(At::new(SinkOutput::File(path?.value), kind.span)),
        "stdout" => {
            refuse_path(section, path.as_ref());
            Some(At::new(SinkOutput::Stdout, kind.span))
        }
        later if LATER_SINKS.contains(&later) => {
            let message = format!("the sink kind \"{later}\" is not available in this version");
            let help = "use \"http\" or \"syslog\", or \"file\" and a log shipper that carries the lines on";
            reader.report(Diagnostic::error(codes::UNAVAILABLE, kind.span, message).with_help(help));
            None
        }
        other => {
            let words = ["stdout", "file"].into_iter().chain(receiver::KINDS);
            let quoted: Vec<String> = words.clone().map(|word| format!("\"{word}\"")).collect();
            let message = format!("`kind`: expected one of {}, found \"{}\"", quoted.join(", "), shown(other));
            let mut diagnostic = Diagnostic::error(codes::BAD_VALUE, kind.span, message);
            let near = suggest::nearest(other, words);
            diagnostic.help = near.map(|word| format!("did you mean \"{word}\"?"));
            reader.report(diagnostic);
            None
        }
    }
}
