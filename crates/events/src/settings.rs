//! What the event pipeline needs to know, as plain values. The TOML shape (`[[sink]]`) lives in `config`.

mod remote;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::checkpoint::CheckpointSettings;
use crate::filter::Filter;
use crate::format::Format;
pub use remote::*;

/// Where events go, and how they are signed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The sinks; each gets every event.
    pub sinks: Vec<SinkSettings>,
    /// `node` in every event: by default the host's name.
    pub node: Arc<str>,
    /// `cluster` in every event, where one is configured.
    pub cluster: Option<Arc<str>>,
    /// Whether each event bears a hash of itself and of the one before.
    pub integrity: Integrity,
    /// Whether the chain is signed now and then; only with [`Integrity::Chain`]. Default: no.
    pub checkpoint: Option<CheckpointSettings>,
    /// When events are forced to the disk, in the spool and in files.
    pub fsync: Fsync,
    /// How long at most that takes under [`Fsync::Interval`]. Default 100 ms.
    pub fsync_interval: Duration,
    /// Where events wait for remote sinks; without any, there can be no such sink.
    pub spool: Option<SpoolSettings>,
    /// The access log; none by default.
    pub access_log: Option<AccessLogSettings>,
    /// Where traces go; none by default.
    pub trace: Option<TraceSettings>,
}

impl Settings {
    /// The file in which events are looked for: that of the first sink which has every event in it, else of the first that has some.
    pub fn event_file(&self) -> Option<EventFile<'_>> {
        let has_all = |sink: &SinkSettings| sink.filter.is_open();
        let files = || self.sinks.iter().filter(|sink| sink.native_file().is_some());
        let sink = files().find(|sink| has_all(sink)).or_else(|| files().next())?;
        Some(EventFile { path: sink.native_file()?, sink: &sink.name, has_all: has_all(sink) })
    }
}

/// A file in which events are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventFile<'s> {
    /// The file.
    pub path: &'s Path,
    /// The sink that writes it.
    pub sink: &'s str,
    /// Whether every event is in it: the sink has no filter.
    pub has_all: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sinks: Vec::new(),
            node: Arc::default(),
            cluster: None,
            integrity: Integrity::default(),
            checkpoint: None,
            fsync: Fsync::default(),
            fsync_interval: FSYNC_INTERVAL,
            spool: None,
            access_log: None,
            trace: None,
        }
    }
}

/// Default of `[spool] fsync_interval`.
pub const FSYNC_INTERVAL: Duration = Duration::from_millis(100);

/// When what was written is forced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// Before the answer to the refusal is sent.
    Always,
    /// Soon: within the interval.
    #[default]
    Interval,
    /// When the operating system sees fit: events survive the end of the process, not of the machine.
    Never,
}

/// `[spool]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolSettings {
    /// Its folder, made with the first start; for one process at a time.
    pub path: PathBuf,
    /// How many bytes it may hold, give or take one segment. Default 1 GiB.
    pub max_size: u64,
    /// How large its files become. Default 16 MiB.
    pub segment_size: u64,
}

impl SpoolSettings {
    /// A spool with the defaults.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), max_size: 1 << 30, segment_size: 16 << 20 }
    }
}

/// Whether events are chained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Integrity {
    /// Each bears the hash of the one before and its own, so that what was changed, removed or moved afterwards is found.
    #[default]
    Chain,
    /// `integrity` is null.
    Off,
}

/// `[access_log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogSettings {
    /// Where it is written to.
    pub output: SinkKind,
    /// In which form. Default JSON.
    pub format: AccessFormat,
    /// How many requests of ten thousand it has. Default all of them.
    pub sample: u32,
    /// How many lines may wait; a further one is dropped and counted. Default 65,536.
    pub queue: usize,
    /// Whether it has the queries, which often hold secrets. Default: no.
    pub query: bool,
}

/// `[trace]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSettings {
    /// Where to; the path is usually `/v1/traces`.
    pub target: HttpTarget,
    /// What proves who the gateway is.
    pub auth: HttpAuth,
    /// Further header fields.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// Whether bodies are compressed. Default: yes.
    pub gzip: bool,
    /// How many traces of ten thousand. Default 1 %.
    pub sample: u32,
    /// How many requests may wait; a further one is dropped and counted. Default 4,096.
    pub queue: usize,
}

/// The sample that leaves nothing out.
pub const WHOLE: u32 = 10_000;

/// The form of the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessFormat {
    /// `portcullis.access/1`: one JSON object per line.
    #[default]
    Json,
    /// The "combined" form of Apache and nginx.
    Combined,
}

/// `[[sink]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSettings {
    /// Its name, unique, a label of the metrics.
    pub name: Arc<str>,
    /// What it writes to.
    pub kind: SinkKind,
    /// How many events may wait in memory. Default 65,536.
    pub queue: usize,
    /// What happens to an event for which there is no room. Default: it is dropped and counted.
    pub on_full: OnFull,
    /// Which events it takes. Default: all.
    pub filter: Filter,
    /// The form of the lines on standard output or in a file. A remote sink has its own. Default native.
    pub format: Format,
    /// When a file is put away, and what becomes of the old ones. Default: never, that is for somebody else to do.
    pub rotation: Option<RotationSettings>,
    /// Whether a remote sink gets repeated refusals as one record. Default: no.
    pub fold: Option<FoldSettings>,
    /// How long a remote sink pauses between attempts.
    pub retry: RetrySettings,
    /// Where events go that a remote sink refuses for good.
    pub dead_letter: DeadLetterSettings,
}

impl SinkSettings {
    /// A sink with the defaults.
    pub fn new(name: impl Into<Arc<str>>, kind: SinkKind) -> Self {
        Self {
            name: name.into(),
            kind,
            queue: QUEUE,
            on_full: OnFull::default(),
            filter: Filter::default(),
            format: Format::default(),
            rotation: None,
            fold: None,
            retry: RetrySettings::default(),
            dead_letter: DeadLetterSettings::default(),
        }
    }

    /// The file of a sink that writes native lines to one: only such a file is chained, and can be verified, searched and indexed.
    pub fn native_file(&self) -> Option<&Path> {
        match &self.kind {
            SinkKind::File { path } if self.format == Format::Native => Some(path),
            SinkKind::File { .. } | SinkKind::Stdout | SinkKind::Remote(_) => None,
        }
    }
}

/// How many events may wait in memory for a sink, unless it says otherwise.
pub const QUEUE: usize = 65_536;

/// What a sink writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkKind {
    /// Lines on standard output.
    Stdout,
    /// Lines appended to a file, created with mode 0600 and reopened on SIGHUP.
    File {
        /// The file.
        path: PathBuf,
    },
    /// A receiver over the network, fed from the spool.
    Remote(Box<RemoteKind>),
}

/// `rotate` of a file sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationSettings {
    /// A new file begins before the old one becomes larger.
    pub size: Option<u64>,
    /// A new file begins with the first event after this time.
    pub every: Option<Duration>,
    /// How many old files are kept. Default 10.
    pub keep: usize,
    /// Whether old files are compressed with gzip. Default: yes.
    pub compress: bool,
}

/// What happens to an event when a sink can take no more of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFull {
    /// It is dropped and counted; no answer waits for a sink.
    #[default]
    Drop,
    /// The answer to a refusal waits until there is room for its event. Permitted requests wait for nothing.
    Block,
}

/// How a remote sink that cannot deliver tries again: pauses that double, each drawn by chance from its upper half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// The first pause. Default 500 ms.
    pub first: Duration,
    /// The longest, unless the receiver asks for more. Default 1 min.
    pub longest: Duration,
    /// After how long of nothing but failures what is in hand goes to the dead letters. Default: an outage never makes it do so, it
    /// waits in the spool; answers that only a person can mend (a credential that is not accepted, an address where there is no such
    /// receiver) do after a day.
    pub give_up: Option<Duration>,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), longest: Duration::from_secs(60), give_up: None }
    }
}

/// `fold` of a remote sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoldSettings {
    /// For how long after a refusal those like it are gathered.
    pub window: Duration,
}

/// The file of what a remote sink refuses for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterSettings {
    /// The file. Default: in the spool's folder, under the sink's name.
    pub path: Option<PathBuf>,
    /// At this size the file becomes `PATH.1`, in place of an earlier one, so twice this is the bound. Default 64 MiB.
    pub max_size: u64,
}

impl Default for DeadLetterSettings {
    fn default() -> Self {
        Self { path: None, max_size: 64 * 1024 * 1024 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_looked_for_where_all_of_them_are() {
        let file = |name: &str, filtered: bool| {
            let severity = filtered.then_some(crate::Severity::High);
            let sink = SinkSettings::new(name, SinkKind::File { path: name.into() });
            SinkSettings { filter: Filter { severity, ..Filter::default() }, ..sink }
        };
        let found = |sinks: &[SinkSettings]| {
            let settings = Settings { sinks: sinks.to_vec(), ..Settings::default() };
            settings.event_file().map(|file| (file.sink.to_owned(), file.has_all))
        };
        let stdout = SinkSettings::new("out", SinkKind::Stdout);
        assert_eq!(found(std::slice::from_ref(&stdout)), None);
        assert_eq!(found(&[stdout, file("high", true), file("all", false)]), Some(("all".into(), true)));
        assert_eq!(found(&[file("high", true), file("higher", true)]), Some(("high".into(), false)));
    }
}
