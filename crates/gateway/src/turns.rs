//! Whose turn it is where only one may be at a time: most who ask are told to ask again, and whoever must not be put off waits for a while, during which nobody
//! else gets a turn.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

/// How often who waits looks.
const POLL: Duration = Duration::from_millis(20);

/// The turn, and how many wait for it.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    turn: Mutex<()>,
    waiting: AtomicUsize,
}

/// Somebody waits, as long as this is there.
struct Waiting<'t>(&'t AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Turns {
    /// A turn now, or for who has patience within so long; `None`: it is somebody else's.
    pub(crate) fn take(&self, patience: Duration) -> Option<MutexGuard<'_, ()>> {
        if patience.is_zero() {
            return if self.waiting.load(Ordering::SeqCst) > 0 { None } else { self.now() };
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(&self.waiting);
        let began = Instant::now();
        loop {
            match self.now() {
                Some(turn) => return Some(turn),
                None if began.elapsed() >= patience => return None,
                None => thread::sleep(POLL),
            }
        }
    }

    fn now(&self) -> Option<MutexGuard<'_, ()>> {
        match self.turn.try_lock() {
            Ok(turn) => Some(turn),
            // Nothing is left half done behind a panic: it guards no data.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn who_has_patience_waits_and_nobody_else_gets_a_turn_meanwhile() {
        let turns = Turns::default();
        let first = turns.take(Duration::ZERO).unwrap();
        assert!(turns.take(Duration::ZERO).is_none() && turns.take(Duration::from_millis(1)).is_none());
        thread::scope(|scope| {
            let patient = scope.spawn(|| turns.take(LONG).is_some());
            while turns.waiting.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            // Also in the moment when the turn is free: who comes in a loop must not keep out who waits.
            let kept = turns.waiting.fetch_add(1, Ordering::SeqCst);
            drop(first);
            assert!(kept > 0 && turns.take(Duration::ZERO).is_none());
            turns.waiting.fetch_sub(1, Ordering::SeqCst);
            assert!(patient.join().unwrap());
        });
        assert_eq!(turns.waiting.load(Ordering::SeqCst), 0);
        assert!(turns.take(Duration::ZERO).is_some(), "and then it is anybody's again");
    }
}
