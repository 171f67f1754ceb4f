//! A step whose time is over, and of which too little was seen. Nothing comes into force unseen; and nothing waits without end, and without a word.

use std::time::{Duration, Instant};

use portcullis_events::Severity;

use super::{Hand, Standing, words};

/// It is said again after so long.
const AGAIN: Duration = Duration::from_secs(86_400);

impl Hand {
    /// It waits on, or is taken back where it has waited as long as it may.
    pub(super) fn wait_on(&mut self, standing: Standing) -> Result<(), String> {
        let now = standing.rollout;
        let stage = words(standing.stage());
        if standing.waits_too_long() {
            let waited = standing.stages.max_wait.as_secs();
            let reason = format!(
                "version {} was taken back in the step {stage}: it was not tried within the {waited} s that `max_wait` lets it wait: {}; propose it again when somebody comes, or activate it with --now",
                now.n,
                standing.tried_by()
            );
            return self.take_back(&standing, reason);
        }
        let is_due = |step: &&mut super::Step| step.waits.is_none_or(|told| told.elapsed() >= AGAIN);
        if let Some(step) = self.step.as_mut().filter(is_due) {
            step.waits = Some(Instant::now());
            let why = standing.waits_for().unwrap_or_default();
            self.tell_as(Severity::High, format!("version {} stays in the step {stage}: {why}", now.n));
        }
        self.note(now)
    }
}
