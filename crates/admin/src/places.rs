//! How much is done at once, and for whom.
//!
//! The socket of the machine and the network have places of their own, so that nobody who asks over the network keeps the operator at the machine
//! waiting. Of each kind there are few: what is quick waits for its turn, what takes long finds a place at once or is told that it is busy. So a list of
//! a network that never comes, or a mail server that hangs, never stands in the way of a ban.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is quick and may touch a disk, such as a ban or a status.
const QUICK: usize = 4;
/// What asks other machines, or tries policies.
const SLOW: usize = 2;
/// Versions and proposals, which may be tried on what is kept. They come one after the other anyway.
const GOVERNED: usize = 2;
/// How many may follow the events.
const FOLLOWERS: usize = 8;
/// Of the two that have places: the socket and the network.
const SIDES: usize = 2;
/// Threads for what may block: enough for every place, so that nobody who has one waits for a thread.
pub(crate) const BLOCKING_THREADS: usize = SIDES * (QUICK + SLOW + GOVERNED);

/// The places of one side.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    quick: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    governed: Arc<Semaphore>,
    followers: Arc<Semaphore>,
}

/// A place that is taken until this is dropped.
pub(crate) type Place = OwnedSemaphorePermit;

impl Places {
    pub(crate) fn new() -> Self {
        let of = |count| Arc::new(Semaphore::new(count));
        Self { quick: of(QUICK), slow: of(SLOW), governed: of(GOVERNED), followers: of(FOLLOWERS) }
    }

    /// Waits for a turn. `None` is never seen: nobody closes it.
    pub(crate) async fn quick(&self) -> Option<Place> {
        Arc::clone(&self.quick).acquire_owned().await.ok()
    }

    /// Likewise, for what is governed.
    pub(crate) async fn governed(&self) -> Option<Place> {
        Arc::clone(&self.governed).acquire_owned().await.ok()
    }

    /// # Errors
    /// All are taken: why, in a sentence.
    pub(crate) fn slow(&self) -> Result<Place, String> {
        Arc::clone(&self.slow).try_acquire_owned().map_err(|_| {
            format!("busy: {SLOW} orders that take long are under way (refreshing a feed, testing a sink or an alert, an audit, a preview, a replay, a comparison, a search, a backup); ask again in a while")
        })
    }

    /// # Errors
    /// Likewise.
    pub(crate) fn follower(&self) -> Result<Place, String> {
        Arc::clone(&self.followers)
            .try_acquire_owned()
            .map_err(|_| format!("busy: {FOLLOWERS} follow the events already"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_busy_at_once_and_its_place_is_free_again_when_it_ends() {
        let places = Places::new();
        let mut taken: Vec<Place> = (0..SLOW).map(|_| places.slow().unwrap()).collect();
        assert!(places.slow().unwrap_err().starts_with("busy: 2 orders"), "the border: one more than there are");
        assert!(places.follower().is_ok(), "other kinds have places of their own");
        assert!(Places::new().slow().is_ok(), "and so has the other side");
        taken.pop();
        assert!(places.slow().is_ok());
    }

    #[test]
    fn who_follows_on_one_side_takes_no_place_of_the_other() {
        let (network, socket) = (Places::new(), Places::new());
        let _all: Vec<Place> = (0..FOLLOWERS).map(|_| network.follower().unwrap()).collect();
        assert_eq!(network.follower().unwrap_err(), "busy: 8 follow the events already");
        assert!(socket.follower().is_ok());
    }
}
