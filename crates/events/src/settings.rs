//! What the event pipeline needs to know, as plain values. The TOML shape (`[[sink]]`) lives in `config`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where events go, and how they are signed.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The sinks; each gets every event.
    pub sinks: Vec<SinkSettings>,
    /// `node` in every event: by default the host's name.
    pub node: Arc<str>,
    /// `cluster` in every event, where one is configured.
    pub cluster: Option<Arc<str>>,
    /// The access log; none by default.
    pub access_log: Option<AccessLogSettings>,
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
            retry: RetrySettings::default(),
            dead_letter: DeadLetterSettings::default(),
        }
    }
}

/// How many events may wait in memory for a sink, unless it says otherwise.
pub const QUEUE: usize = 65_536;

/// What a sink writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkKind {
    /// JSON lines on standard output.
    Stdout,
    /// JSON lines appended to a file, created with mode 0600 and reopened on SIGHUP.
    File {
        /// The file.
        path: PathBuf,
    },
    /// A receiver over the network, fed from the spool.
    Remote(RemoteKind),
}

/// A receiver over the network. There is none yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteKind {}

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
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), longest: Duration::from_secs(60) }
    }
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
