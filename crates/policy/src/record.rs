//! What an evaluation leaves behind: nothing but shadow findings while deciding, everything while explaining.

use crate::decision::ShadowFinding;

/// Receives what the stages have to say.
pub(crate) trait Record {
    /// A rule in shadow mode would have decided.
    fn shadow(&mut self, make: impl FnOnce() -> ShadowFinding);
}

/// Keeps shadow findings, at most [`Self::MOST`]; allocates only when there is one.
#[derive(Debug, Default)]
pub(crate) struct ShadowOnly {
    pub(crate) found: Vec<ShadowFinding>,
}

impl ShadowOnly {
    const MOST: usize = 16;
}

impl Record for ShadowOnly {
    fn shadow(&mut self, make: impl FnOnce() -> ShadowFinding) {
        if self.found.len() < Self::MOST {
            let finding = make();
            if !self.found.contains(&finding) {
                self.found.push(finding);
            }
        }
    }
}

/// Keeps nothing.
#[derive(Debug, Default)]
pub(crate) struct Silent;

impl Record for Silent {
    fn shadow(&mut self, _make: impl FnOnce() -> ShadowFinding) {}
}
