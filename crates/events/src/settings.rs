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
