//! How far a comparison goes, and what of that is still to be spent.

/// How far a comparison goes.
#[derive(Debug, Clone, Copy)]
pub struct DiffBounds {
    /// The most classes of hosts and paths. Default 1,000,000.
    pub places: u64,
    /// The most evaluations, and rules looked at. Default 30,000,000: some ten seconds. A fourth of it comes on top at most,
    /// to tell by which rules what is found is answered.
    pub evaluations: u64,
    /// The most classes of requests that are reported. Default 10,000.
    pub classes: usize,
    /// Whether another reason for the same outcome counts as a change.
    pub reasons: bool,
    /// Whether only what is answered for one reason by one rule stands in one class. Default true; whoever wants the effect alone spares that.
    pub rules: bool,
    /// Called every thousand evaluations or so, for who compares beside more urgent work. Default: does nothing.
    pub pause: fn(),
}

impl Default for DiffBounds {
    fn default() -> Self {
        Self { places: 1_000_000, evaluations: 30_000_000, classes: 10_000, reasons: false, rules: true, pause: || {} }
    }
}

/// What may still be spent.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) places: u64,
    evaluations: u64,
    /// What asking for reasons and rules may still take.
    tellings: u64,
    pause: fn(),
    /// Spent since the last pause.
    since_pause: u64,
}

impl Budget {
    /// The most combinations that are kept of one place.
    pub(super) const MOST_POINTS: usize = 500_000;
    /// So many evaluations without a pause.
    const PIECE: u64 = 1_000;

    pub(super) fn of(bounds: &DiffBounds) -> Self {
        let DiffBounds { places, evaluations, pause, .. } = *bounds;
        Self { places, evaluations, tellings: evaluations / 4, pause, since_pause: 0 }
    }

    pub(super) fn count(&mut self, evaluations: u64) {
        self.since_pause = self.since_pause.saturating_add(evaluations);
        if self.since_pause >= Self::PIECE {
            self.since_pause = 0;
            (self.pause)();
        }
    }

    /// Sets so many evaluations for reasons and rules aside; false: there are not so many left.
    pub(super) fn may_tell(&mut self, evaluations: u64) -> bool {
        let left = self.tellings.checked_sub(evaluations);
        self.tellings = left.unwrap_or(self.tellings);
        left.is_some()
    }

    pub(super) fn spend(&mut self, evaluations: u64) -> Result<(), String> {
        self.count(evaluations);
        match self.evaluations.checked_sub(evaluations) {
            Some(left) => {
                self.evaluations = left;
                Ok(())
            }
            None => {
                self.evaluations = 0;
                Err("the bound on evaluations is reached".to_owned())
            }
        }
    }
}
