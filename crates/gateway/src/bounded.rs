//! Work that waits for a disk, or for whoever waits for one, at the end of the process: it is begun, and waited for no longer than so.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Work that is under way on a thread of its own. Let go, it goes on until the process ends.
#[derive(Debug)]
pub(crate) struct Bounded {
    what: &'static str,
    ended: Receiver<()>,
}

/// Begins it. `what` is said of it where it does not end in time: what is lost then.
pub(crate) fn begin(what: &'static str, work: impl FnOnce() + Send + 'static) -> Bounded {
    let (ending, ended) = sync_channel(1);
    let begun = thread::Builder::new().name("ending".to_owned()).spawn(move || {
        work();
        // Whoever waits may have given up.
        let _ = ending.send(());
    });
    if let Err(error) = begun {
        tracing::error!(%error, "there is no thread at the end: {what}");
    }
    Bounded { what, ended }
}

impl Bounded {
    /// Waits for its end, but not beyond this moment. Says whether it has ended.
    pub(crate) fn wait(self, until: Instant) -> bool {
        match self.ended.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(()) => true,
            Err(RecvTimeoutError::Timeout) => {
                tracing::error!("the disk does not answer: {}", self.what);
                false
            }
            // No thread, or a panic on it, which was reported where it happened.
            Err(RecvTimeoutError::Disconnected) => false,
        }
    }
}

/// Waits for all of them, so long altogether.
pub(crate) fn wait_for(all: Vec<Bounded>, timeout: Duration) {
    let until = Instant::now() + timeout;
    for each in all {
        each.wait(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_is_waited_for_no_longer_than_so_and_keeps_nothing_else_back() {
        let (release, held) = sync_channel::<()>(0);
        let stuck = begin("it is lost", move || assert!(held.recv().is_err()));
        let (done, is_done) = sync_channel(1);
        let other = begin("it is lost, too", move || done.send(7).unwrap());
        // The one that is stuck is first, and it is stuck until after the end of this.
        wait_for(vec![stuck, other], Duration::from_millis(10));
        assert_eq!(is_done.recv(), Ok(7));
        drop(release);
        let (release, held) = sync_channel::<()>(0);
        let waits = begin("it is not", move || assert!(held.recv().is_err()));
        drop(release);
        assert!(waits.wait(Instant::now() + Duration::from_secs(60)), "what ends is waited for");
        assert!(!begin("it is", || panic!("it happens")).wait(Instant::now() + Duration::from_secs(60)));
    }
}
