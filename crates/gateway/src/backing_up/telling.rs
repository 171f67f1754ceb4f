//! That a backup was restored: the gateway that starts on the store tells it, since none ran meanwhile.

use portcullis_events::EventKind;
use portcullis_store::{StoreError, Trouble, Versions};

use crate::running::Running;

/// One event of each backup that was restored since a gateway ran on the store.
pub(crate) fn tell_restored(running: &Running) {
    let Some(governing) = running.governing() else { return };
    let settings = governing.store();
    let of = |trouble: Trouble| StoreError { path: settings.path.clone(), trouble };
    let told = Versions::open_made(settings).and_then(|mut versions| {
        let restored = versions.restored().map_err(of)?;
        if restored.is_empty() {
            return Ok(());
        }
        for message in restored {
            tracing::warn!("{message}");
            running.record(EventKind::BackupRestored, message);
        }
        versions.told_restored().map_err(of)
    });
    if let Err(error) = told {
        tracing::warn!(%error, "what backups were restored will be told at the next start, again or at last");
    }
}
