//! The thread that looks whether geo databases have changed.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;

use portcullis_geo::GeoChange;
use portcullis_proxy::Shared;

/// The running thread. Dropping it ends it, after the database that it reads, for which nobody waits: a disk may not answer.
#[derive(Debug)]
pub(crate) struct Locating {
    _stop: Sender<()>,
}

impl Locating {
    /// Starts it. Reading and verifying a database takes a while, and nobody waits for that.
    ///
    /// # Errors
    /// No thread.
    pub(crate) fn start(shared: &Arc<Shared>) -> std::io::Result<Self> {
        let (stop, stopped) = channel::<()>();
        let shared = Arc::clone(shared);
        thread::Builder::new().name("geo".to_owned()).spawn(move || {
            while stopped.recv_timeout(shared.geo.settings().refresh) == Err(RecvTimeoutError::Timeout) {
                tell(&shared.geo.refresh());
            }
        })?;
        Ok(Self { _stop: stop })
    }
}

/// One line in the log for each.
pub(crate) fn tell(changes: &[GeoChange]) {
    for GeoChange { database, result } in changes {
        match result {
            Ok(what) => tracing::info!(database, "the geo database is in force: {what}"),
            Err(problem) => tracing::error!(database, "the geo database is not used: {problem}"),
        }
    }
}
