//! The recorder's side: which events count is looked up there, and a summary of those goes into a bounded queue. While there is no rule
//! it is one load for each event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};

use arc_swap::ArcSwap;
use portcullis_events::{Event, Watch};

use crate::alerts::Message;
use crate::settings::Rule;
use crate::sighting::Sighting;
use crate::stats::Stats;

/// The rules in force, as the recorder's thread needs them.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// At most [`MAX_RULES`].
    pub(crate) rules: Vec<Arc<Rule>>,
}

/// The most rules: each has one bit in the set of those that take an event.
pub const MAX_RULES: usize = 64;

/// What looks on.
#[derive(Debug)]
pub(crate) struct Lookout {
    pub(crate) looking: AtomicBool,
    pub(crate) plan: ArcSwap<Plan>,
    pub(crate) queue: SyncSender<Message>,
    pub(crate) stats: Arc<Stats>,
}

/// The lookout as the recorder holds it.
#[derive(Debug)]
pub(crate) struct Watching(pub(crate) Arc<Lookout>);

impl Watch for Watching {
    fn is_looking(&self) -> bool {
        self.0.looking.load(Ordering::Relaxed)
    }

    fn see(&self, event: &Event) {
        // What alerts make must never make alerts.
        if event.kind.is_alert() {
            return;
        }
        let plan = self.0.plan.load();
        let takes = |taken: u64, (index, rule): (usize, &Arc<Rule>)| {
            if rule.when.takes(event) { taken | 1 << index } else { taken }
        };
        let takers = plan.rules.iter().take(MAX_RULES).enumerate().fold(0, takes);
        if takers == 0 {
            return;
        }
        let seen = Message::Seen { sighting: Arc::new(Sighting::of(event)), takers, plan: Arc::clone(&plan) };
        match self.0.queue.try_send(seen) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.0.stats.count_missed(),
        }
    }
}
