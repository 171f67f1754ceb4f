//! The thread that keeps the index of recorded events, where there is one.

use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use portcullis_history::{IndexSettings, Indexer};

/// The running thread. Dropping it ends it, after the batch that it writes.
#[derive(Debug)]
pub(crate) struct Indexing {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Indexing {
    /// Starts it. An index that cannot be kept is no reason not to run: events are then found by reading.
    pub(crate) fn start(settings: IndexSettings) -> Option<Self> {
        let path = settings.path.display().to_string();
        let indexer = match Indexer::open(settings) {
            Ok(indexer) => indexer,
            Err(error) => {
                tracing::error!(path, %error, "there is no index of events");
                return None;
            }
        };
        let (stop, stopped) = channel();
        let thread = thread::Builder::new().name("indexer".to_owned()).spawn(move || indexer.run(&stopped));
        match thread {
            Ok(thread) => Some(Self { stop: Some(stop), thread: Some(thread) }),
            Err(error) => {
                tracing::error!(%error, "there is no thread for the index of events");
                None
            }
        }
    }
}

impl Drop for Indexing {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic on that thread was reported where it happened.
            let _ = thread.join();
        }
    }
}
