//! Why a sink cannot write at the moment, for the operator. Asking whether it can costs next to nothing.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

/// The most that is kept of a reason.
const MOST: usize = 1_024;

/// The state of one sink.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    is_there: AtomicBool,
    why: Mutex<Option<Arc<str>>>,
}

impl Trouble {
    /// An attempt failed. Says whether the one before did not.
    pub(crate) fn note(&self, why: &str) -> bool {
        let end = why.floor_char_boundary(MOST);
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.get(..end).unwrap_or_default().into());
        !self.is_there.swap(true, SeqCst)
    }

    /// An attempt succeeded. Says whether the one before did not.
    pub(crate) fn end(&self) -> bool {
        let was_there = self.is_there.load(SeqCst) && self.is_there.swap(false, SeqCst);
        if was_there {
            *self.why.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        was_there
    }

    pub(crate) fn is_there(&self) -> bool {
        self.is_there.load(SeqCst)
    }

    /// Why the last attempt failed; `None` where it did not.
    pub(crate) fn why(&self) -> Option<Arc<str>> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_begins_and_ends_once() {
        let trouble = Trouble::default();
        assert_eq!((trouble.end(), trouble.why()), (false, None));
        assert_eq!((trouble.note("full"), trouble.note(&"é".repeat(MOST))), (true, false));
        assert_eq!(trouble.why().map(|why| why.len()), Some(MOST));
        assert_eq!((trouble.is_there(), trouble.end(), trouble.end(), trouble.why()), (true, true, false, None));
    }
}
