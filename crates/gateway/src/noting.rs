//! When API keys were last used, written down now and then: for people who ask which keys are used at all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use portcullis_admin::api::{KeyUse, KeyUses};

use crate::running::Running;

/// How often they are written. A key that is in use is written once in that time, however often that is.
const EVERY: Duration = Duration::from_secs(60);

/// Writes them while the gateway runs.
pub(crate) async fn keep(running: &Arc<Running>) {
    let mut written = HashMap::new();
    loop {
        tokio::time::sleep(EVERY).await;
        let running = Arc::clone(running);
        let before = std::mem::take(&mut written);
        // It waits for a disk.
        let noted = tokio::task::spawn_blocking(move || running.note_key_uses(before)).await;
        written = noted.unwrap_or_default();
    }
}

impl Running {
    /// Writes what has changed since; returns what is written.
    pub(crate) fn note_key_uses(&self, mut written: HashMap<String, i64>) -> HashMap<String, i64> {
        let Some(book) = self.revoking().book() else { return written };
        let uses = self.shared().snapshot().load().authenticator.key_uses();
        let new: Vec<(String, i64)> = uses.into_iter().filter(|(id, used)| written.get(id) != Some(used)).collect();
        if new.is_empty() {
            return written;
        }
        match book.note_uses(&new) {
            Ok(()) => written.extend(new),
            Err(error) => tracing::warn!(%error, "when API keys were last used is not written down"),
        }
        written
    }

    /// When each key was last used.
    pub(crate) fn key_uses(&self) -> KeyUses {
        let mut uses = self.shared().snapshot().load().authenticator.key_uses();
        uses.sort();
        let shown = |(id, used): (String, i64)| {
            let last_used = Timestamp::from_second(used).map_or_else(|_| String::new(), |used| used.to_string());
            KeyUse { id, last_used }
        };
        KeyUses { keys: uses.into_iter().map(shown).collect(), more: false }
    }
}
