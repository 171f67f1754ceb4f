//! The thread that keeps the identity providers' keys current, and on which directories are asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portcullis_events::EventKind;
use portcullis_identity::Authenticator;
use portcullis_identity::remote::{KeyJob, KeyKeeper, KeyNotice, KeyNoticeKind, KeyOutcome, KeyReport};
use portcullis_store::{Database, ProviderKeyBook, Settings, StoreError};
use tokio::sync::Notify;

use crate::beside::{Beside, UnderWay};
use crate::directing;
use crate::introspecting;
use crate::noting;
use crate::running::Running;

/// The providers' keys of a running gateway. No request asks for the lock.
#[derive(Debug)]
pub(crate) struct ProviderKeys {
    keeper: Mutex<KeyKeeper>,
    started: Instant,
    /// `None`: there is no store, and they end with the process.
    book: Option<ProviderKeyBook>,
    /// Something was confirmed that is not in the store yet.
    unsaved: Notify,
    /// What became of those that were kept, until it is said.
    restored: Mutex<Vec<KeyNotice>>,
}

impl ProviderKeys {
    /// Those of a configuration, which begin with what the store has of them; the thread is not yet there.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub(crate) fn restored(
        authenticator: &Authenticator,
        settings: Option<&Settings>,
        database: Option<&Database>,
    ) -> Result<Self, StoreError> {
        let saved = database.map(Database::provider_keys).transpose()?.unwrap_or_default();
        let restored = authenticator.restore_keys(&saved, Timestamp::now());
        let mut keeper = KeyKeeper::default();
        keeper.watch(authenticator.remote_keys(), Duration::ZERO);
        Ok(Self {
            keeper: Mutex::new(keeper),
            started: Instant::now(),
            book: settings.filter(|_| database.is_some()).map(ProviderKeyBook::of),
            unsaved: Notify::new(),
            restored: Mutex::new(restored),
        })
    }

    /// Keeps those of another configuration from now on.
    pub(crate) fn watch(&self, authenticator: &Authenticator) {
        let mut keeper = self.keeper();
        keeper.watch(authenticator.remote_keys(), self.steady());
        // What is new is due at once.
        keeper.wake().notify_one();
    }

    /// How the keys of each provider are.
    pub(crate) fn reports(&self) -> Vec<KeyReport> {
        self.keeper().reports(Timestamp::now())
    }

    fn take_restored(&self) -> Vec<KeyNotice> {
        std::mem::take(&mut *self.restored.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keeper(&self) -> MutexGuard<'_, KeyKeeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn steady(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Starts the thread.
///
/// # Errors
/// No thread, or no runtime on it.
pub(crate) fn start(running: &Arc<Running>) -> std::io::Result<Beside> {
    let running = Arc::clone(running);
    // A look-up of a name can take longer than the fetch that asked for it: enough threads that the names of one provider do not keep
    // others waiting.
    Beside::start("keys", 64, move || async move {
        tokio::select! {
            () = keep(&running) => {}
            () = save(&running) => {}
            () = directing::keep(&running) => {}
            () = introspecting::keep(&running) => {}
            () = noting::keep(&running) => {}
        }
    })
}

/// Writes what was fetched, one after the other, so that what came last is what stays.
async fn save(running: &Arc<Running>) {
    let mut failing = false;
    loop {
        running.keys().unsaved.notified().await;
        let saving = Arc::clone(running);
        // It waits for a disk.
        let saved = tokio::task::spawn_blocking(move || saving.save_keys()).await;
        let error = match saved {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = error.as_ref().filter(|_| !failing) {
            tracing::error!(%error, "the keys of identity providers are not kept: a restart begins with older ones");
        }
        failing = error.is_some();
    }
}

async fn keep(running: &Running) {
    running.tell_of_keys(&running.keys().take_restored());
    let wake = running.keys().keeper().wake();
    let mut under_way = UnderWay::default();
    loop {
        let sleep = running.tend_keys(|job| {
            let lost = job.lost();
            under_way.begin(job.run(), lost);
        });
        tokio::select! {
            outcome = under_way.next() => running.finish_keys(outcome),
            () = wake.notified() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

impl Running {
    /// Begins what is due, and says when to look again.
    fn tend_keys(&self, begin: impl FnMut(KeyJob)) -> Duration {
        let keys = self.keys();
        let mut keeper = keys.keeper();
        let (wall, steady) = (Timestamp::now(), keys.steady());
        let notices = keeper.tick(wall, steady);
        keeper.due(steady).into_iter().for_each(begin);
        let sleep = keeper.sleep(wall, steady);
        drop(keeper);
        self.tell_of_keys(&notices);
        sleep
    }

    fn finish_keys(&self, outcome: KeyOutcome) {
        let keys = self.keys();
        let notices = keys.keeper().finish(outcome, Timestamp::now(), keys.steady());
        self.tell_of_keys(&notices);
        keys.unsaved.notify_one();
    }

    /// Writes what was confirmed since.
    ///
    /// # Errors
    /// It is not written. What is confirmed next is.
    pub(crate) fn save_keys(&self) -> Result<(), StoreError> {
        let keys = self.keys();
        let Some(book) = &keys.book else { return Ok(()) };
        let unsaved = keys.keeper().take_unsaved();
        if unsaved.is_empty() { Ok(()) } else { book.write(&unsaved) }
    }

    /// One event for each, and a line in the log.
    fn tell_of_keys(&self, notices: &[KeyNotice]) {
        for notice in notices {
            if let Some(insight) = self.insight().filter(|_| notice.withdrawn > 0) {
                insight.keys_went(&notice.provider);
            }
            let kind = match notice.kind {
                KeyNoticeKind::Updated => {
                    tracing::info!(provider = %notice.provider, "{}", notice.message);
                    EventKind::KeysUpdated
                }
                KeyNoticeKind::Failed => {
                    tracing::warn!(provider = %notice.provider, "{}", notice.message);
                    EventKind::KeysFailed
                }
                KeyNoticeKind::Stale => {
                    tracing::error!(provider = %notice.provider, "{}", notice.message);
                    EventKind::KeysStale
                }
            };
            self.record_notice(kind, &notice.provider, &notice.message);
        }
    }
}
