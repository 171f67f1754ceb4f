//! How an exchange moves, for its deadlines.

use std::cell::Cell;

/// What is known about the request that is under way. It does not interpret HTTP.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// Grows with every byte that moves and every piece of the request's body.
    activity: Cell<u64>,
    /// The upstream takes no more at the moment: it reads slower than the caller sends, or not at all.
    pub(super) write_blocked: Cell<bool>,
    /// All of the request's body has been taken, or there was none.
    pub(super) upload_over: Cell<bool>,
}

impl Wire {
    /// Changes whenever something moves.
    pub(super) fn activity(&self) -> u64 {
        self.activity.get()
    }

    /// Something moved.
    pub(super) fn moved(&self) {
        self.activity.set(self.activity.get().wrapping_add(1));
    }
}
