//! The demo: a whole gateway, its upstream and its callers in one process, and a story told with real requests.
//!
//! Nothing in it is staged. The configuration goes through the loader, the requests over TCP through the data plane, and
//! the events through a file sink, from which they are read back. It differs from `run` only in that it listens on
//! loopback ports which the system chooses, and that its folder is removed at the end.

mod audience;
mod credentials;
mod event_log;
mod exchange;
mod folder;
mod page;
mod sample_api;
mod stay;
mod story;
mod typesetting;
mod verdict;

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use portcullis_config::{ProcessEnvironment, load};
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::args::Global;
use crate::exit::Exit;
use crate::governing::Decided;
use crate::running::{Running, StartError};
use crate::telemetry;
use audience::Audience;
use credentials::{CredentialError, Credentials};
use event_log::EventLog;
use folder::{DemoFolder, FolderError};
use sample_api::SampleApi;
use story::STORY;
use verdict::{Observed, Played, Tally};

/// How long an event may take to its file, and all of them at the end.
const EVENTS_TIMEOUT: Duration = Duration::from_secs(2);

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// Signals cannot be received.
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
    /// No credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// No folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// No upstream.
    #[error("the sample API cannot listen on 127.0.0.1")]
    SampleApi(#[source] io::Error),
    /// The configuration is not valid, which it is in every build that passed its tests.
    #[error("the demo's own configuration is invalid:\n{0}")]
    Configuration(String),
    /// No gateway.
    #[error(transparent)]
    Gateway(#[from] StartError),
    /// The gateway listens nowhere.
    #[error("the demo's gateway has no listener")]
    NoListener,
    /// No ops listener.
    #[error("the ops listener cannot listen on {0}")]
    Ops(SocketAddr, #[source] io::Error),
    /// The events cannot be read back.
    #[error("the events cannot be read")]
    Events(#[source] io::Error),
}

impl DemoError {
    /// The exit code that says what kind of trouble it is.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Folder(_) | Self::SampleApi(_) | Self::Gateway(_) | Self::Ops(..) | Self::Events(_) => {
                Exit::Unreachable
            }
            Self::Signals(_) | Self::Credentials(_) | Self::Configuration(_) | Self::NoListener => Exit::Internal,
        }
    }

    /// The error and all its causes in one line.
    pub(crate) fn describe(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            // Some errors repeat their cause in their own words.
            let said = format!(": {error}");
            if !text.ends_with(&said) {
                text.push_str(&said);
            }
            cause = error.source();
        }
        text
    }
}

/// Sets everything up, tells the story, stays if that is wanted, and cleans up whatever happens.
///
/// # Errors
/// What was needed and is not there.
pub(crate) async fn perform(global: &Global, once: bool) -> Result<Exit, DemoError> {
    // From here on no signal ends the process before its folder is removed.
    let mut signals = Signals::listen().map_err(DemoError::Signals)?;
    if global.verbose > 0 {
        telemetry::start(global);
    }
    let demo = Demo::start()?;
    let performed = tokio::select! {
        performed = demo.perform(global, once) => performed,
        () = signals.end(once) => Ok(if once { Exit::Negative } else { Exit::Success }),
    };
    let ended = demo.end().await;
    let exit = performed?;
    ended.map(|()| exit)
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the wish to end. A hangup is one only where the demo would end anyway; while it stays it means a reload.
    async fn end(&mut self, once: bool) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            Some(()) = self.hangup.recv(), if once => {}
        }
    }
}

/// Everything that runs.
struct Demo {
    credentials: Credentials,
    sample_api: SampleApi,
    folder: DemoFolder,
    running: Arc<Running>,
    gateway: SocketAddr,
    /// Where the configuration wants the ops listener.
    ops: Option<SocketAddr>,
}

impl Demo {
    fn start() -> Result<Self, DemoError> {
        let now = Timestamp::now();
        let credentials = Credentials::make(now)?;
        let sample_api = SampleApi::start().map_err(DemoError::SampleApi)?;
        let folder = DemoFolder::make(sample_api.address(), &credentials, now)?;
        let loaded = load(&folder.config(), &ProcessEnvironment)
            .map_err(|report| DemoError::Configuration(report.render_human(false).trim_end().to_owned()))?;
        let ops = loaded.ops.map(|ops| ops.address);
        let running = Arc::new(Running::start(Decided::unversioned(loaded), None, Vec::new())?);
        let gateway = running.addresses().first().map(|(_, address)| *address).ok_or(DemoError::NoListener)?;
        running.record_start();
        Ok(Self { credentials, sample_api, folder, running, gateway, ops })
    }

    async fn perform(&self, global: &Global, once: bool) -> Result<Exit, DemoError> {
        let audience = Audience::new(global, once);
        let mut log = EventLog::new(self.folder.events());
        let played = self.tell(&mut log, audience).await?;
        let tally = Tally::of(&played);
        let _ = audience.close(&played, &tally);
        if !once {
            self.stay(global, &mut log, audience, &played).await?;
            return Ok(Exit::Success);
        }
        Ok(if tally.is_good() { Exit::Success } else { Exit::Negative })
    }

    /// Plays every step, up to one that gets no answer: after that there is nothing to tell. An audience that goes away does
    /// not change how it ends.
    async fn tell(&self, log: &mut EventLog, audience: Audience) -> Result<Vec<Played>, DemoError> {
        let _ = audience.open(self.gateway, self.sample_api.address());
        // That the gateway started belongs to no step.
        self.new_events(log).await?;
        let mut played = Vec::with_capacity(STORY.len());
        for (index, step) in STORY.iter().enumerate() {
            let before = self.sample_api.reached();
            let answer = exchange::send(self.gateway, step, &self.credentials).await;
            let events = self.new_events(log).await?;
            let observed = Observed { answer, reached: self.sample_api.reached().saturating_sub(before), events };
            let each = Played::new(index + 1, step, observed);
            let _ = audience.show(&each);
            let is_answered = each.observed.answer.is_ok();
            played.push(each);
            if !is_answered {
                break;
            }
        }
        Ok(played)
    }

    /// What was recorded since the last call. An event is recorded before its answer is sent, so none is missed.
    async fn new_events(&self, log: &mut EventLog) -> Result<Vec<Value>, DemoError> {
        let recorder = self.running.shared().recorder.clone();
        // Were the sink too slow, the event would be missing, and the step would say so.
        let _ = tokio::task::spawn_blocking(move || recorder.flush(EVENTS_TIMEOUT)).await;
        log.read_new().map_err(DemoError::Events)
    }

    /// Stops the gateway as `run` would, then removes the folder.
    async fn end(self) -> Result<(), DemoError> {
        let Self { folder, running, sample_api, .. } = self;
        running.begin_draining();
        running.drain().await;
        running.finish(EVENTS_TIMEOUT);
        drop(sample_api);
        Ok(folder.remove()?)
    }
}

#[cfg(test)]
mod tests {
    use portcullis_config::{AppendKeyError, DraftError};

    use super::*;

    #[test]
    fn an_error_names_its_causes_and_its_exit_code() {
        let check = |error: DemoError, expected: &str, exit: Exit| {
            assert_eq!((error.describe().as_str(), error.exit()), (expected, exit));
        };
        let full = || io::Error::other("no space left");
        check(DemoError::Events(full()), "the events cannot be read: no space left", Exit::Unreachable);
        let folder = FolderError::Make("/tmp".into(), full());
        let expected = "a temporary folder cannot be made in /tmp: no space left";
        check(DemoError::Folder(folder), expected, Exit::Unreachable);
        let key = AppendKeyError::Draft(DraftError::Io { path: "/tmp/keys.toml".into(), source: full() });
        let expected = "cannot write `/tmp/keys.toml`: no space left";
        check(DemoError::Folder(key.into()), expected, Exit::Unreachable);
        check(DemoError::NoListener, "the demo's gateway has no listener", Exit::Internal);
    }
}
