//! Where the gateway writes what operators ask for later: its backups and its events.

use std::path::Path;

use portcullis_events::Settings as Events;
use portcullis_governance::backup::Settings as Backups;
use portcullis_history::IndexSettings;
use portcullis_store::Settings as Store;

use super::Running;

impl Running {
    /// The store, what is said of backups, and where lists of networks are kept that were last good. `None`: there is no store.
    pub(crate) fn backed_up(&self) -> Option<(&Store, Option<&Backups>, &Path)> {
        Some((self.fixed.store.as_ref()?, self.fixed.backup.as_ref(), &self.fixed.lists))
    }

    /// What is said of events and of their index.
    pub(crate) fn archive(&self) -> (&Events, Option<&IndexSettings>) {
        (&self.fixed.events, self.fixed.index.as_ref())
    }
}
