//! Which ways back there are at a moment: asked when a spike is explained, since governance may begin, and lists and calibrations come and go, while the
//! gateway runs.

use std::sync::Arc;

use portcullis_insight::spike::{Versions, Ways};
use portcullis_proxy::Shared;

use crate::feeding::Feeds;
use crate::governing::Governing;

/// Whom to ask.
#[derive(Debug, Clone)]
pub(crate) struct WaysBack {
    /// `None`: no versions are kept.
    pub(crate) governing: Option<Arc<Governing>>,
    pub(crate) feeds: Arc<Feeds>,
}

impl WaysBack {
    /// Those of now. It waits for a change of the version, of a list or of the configuration that is under way.
    pub(crate) fn now(&self, shared: &Shared) -> Ways {
        let versions = match &self.governing {
            None => Versions::NotKept,
            Some(governing) if governing.is_required() => Versions::Approved,
            Some(_) => Versions::Kept,
        };
        let before = shared.risk.calibration_before();
        Ways {
            versions,
            is_calibration_named: shared.risk.named_calibration().is_some(),
            calibration_before: before.map(|before| before.map(|before| Arc::clone(&before.id))),
            lists: self.feeds.keeper().can_go_back(self.feeds.now()),
            deeds: Vec::new(),
            in_force: Some(Arc::clone(&shared.snapshot().load().policy)),
        }
    }
}
