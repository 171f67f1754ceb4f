//! What the event pipeline needs to know, as plain values. The TOML shape (`[[sink]]`) lives in `config`.

use std::path::PathBuf;
use std::sync::Arc;

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
    /// How many events may wait; a further one is dropped and counted. Default 65,536.
    pub queue: usize,
}

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
}
