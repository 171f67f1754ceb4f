//! The end of a gateway: what is still written, and no longer than so.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use portcullis_events::EventKind;

use super::Running;
use crate::bounded::{begin, wait_for};

impl Running {
    /// Writes what is still queued. A disk that does not answer is waited for `timeout` each for alerts, for what is in the store, and for each kind of what
    /// is in files: the process ends all the same.
    pub(crate) fn finish(self: &Arc<Self>, timeout: Duration) {
        self.record(EventKind::GatewayStopped, "drained".to_owned());
        self.alerting.alerts.shutdown(timeout);
        // Side by side, so that one that is stuck keeps none of the others from being written.
        let of_the_store = [
            ("when API keys were last used is not in the store", Self::put_down_key_uses as fn(&Self)),
            ("the keys of identity providers that were fetched last are not in the store", Self::put_down_keys),
            ("temporary power may be under way still", Self::end_lending),
            ("what has changed last of sessions is not in the store", Self::put_down_sessions),
            ("the thread that keeps requests has not ended", Self::end_insight),
            ("what was counted last of permissions is not in the store", Self::end_auditing),
        ];
        let begun = of_the_store.map(|(what, work)| {
            let running = Arc::clone(self);
            begin(what, move || work(&running))
        });
        self.revoking.shutdown();
        wait_for(begun.into(), timeout);
        if let Some(kept) = &self.kept {
            kept.shutdown(timeout);
        }
        let left = self.shared.recorder.shutdown(timeout);
        if left > 0 {
            tracing::error!(events = left, "events could not be written before the end");
        }
        if let Some(tracer) = &self.shared.tracer {
            tracer.shutdown(timeout);
        }
        let left = self.shared.access_log.as_ref().map_or(0, |log| log.shutdown(timeout));
        if left > 0 {
            tracing::error!(lines = left, "lines of the access log could not be written before the end");
        }
    }

    fn put_down_key_uses(&self) {
        self.note_key_uses(HashMap::new());
    }

    fn put_down_keys(&self) {
        if let Err(error) = self.save_keys() {
            tracing::error!(%error, "the keys of identity providers that were fetched last are not in the store");
        }
    }

    fn end_lending(&self) {
        self.lender.shutdown();
    }

    fn put_down_sessions(&self) {
        let Some(kept) = &self.kept_sessions else { return };
        // When each was last used, too.
        let swept = self.sessions.sweep(Timestamp::now());
        if let Err(error) = swept.wait().and(kept.close()) {
            tracing::error!(error, "what has changed last of sessions is not in the store");
        }
    }

    fn end_insight(&self) {
        if let Some(insight) = &self.insight {
            insight.shutdown();
        }
    }

    fn end_auditing(&self) {
        if let Some(auditing) = &self.auditing {
            auditing.shutdown();
        }
    }
}
