//! What was last written to a connection, to be written again where the connection breaks.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a receiver may leave what it was sent unread. What is older, it has read.
const KEPT_FOR: Duration = Duration::from_secs(30);
/// How much is kept.
const KEPT_BYTES: usize = 1024 * 1024;

/// The frames of the last batches, each with the time when it was written.
#[derive(Debug, Default)]
pub(super) struct Recent {
    batches: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
}

impl Recent {
    /// Keeps a batch, and drops what is old or too much. The newest batch is always kept.
    pub(super) fn keep(&mut self, frames: Vec<u8>, now: Instant) {
        self.forget_old(now);
        self.bytes += frames.len();
        self.batches.push_back((now, frames));
        while self.bytes > KEPT_BYTES && self.batches.len() > 1 {
            self.drop_first();
        }
    }

    /// Drops what the receiver has read by now.
    pub(super) fn forget_old(&mut self, now: Instant) {
        while self.batches.front().is_some_and(|(then, _)| now.saturating_duration_since(*then) > KEPT_FOR) {
            self.drop_first();
        }
    }

    /// All of it, oldest first.
    pub(super) fn frames(&self) -> Vec<u8> {
        self.batches.iter().flat_map(|(_, frames)| frames.iter().copied()).collect()
    }

    fn drop_first(&mut self) {
        if let Some((_, frames)) = self.batches.pop_front() {
            self.bytes -= frames.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_in_time_and_size() {
        let start = Instant::now();
        let mut recent = Recent::default();
        recent.keep(b"a".to_vec(), start);
        recent.keep(b"b".to_vec(), start + KEPT_FOR);
        assert_eq!(recent.frames(), b"ab");
        recent.forget_old(start + KEPT_FOR + Duration::from_millis(1));
        assert_eq!(recent.frames(), b"b");
        recent.keep(vec![b'x'; KEPT_BYTES - 1], start + KEPT_FOR);
        assert_eq!(recent.frames().len(), KEPT_BYTES);
        recent.keep(b"c".to_vec(), start + KEPT_FOR);
        assert_eq!(recent.frames().len(), KEPT_BYTES, "b made room");
        recent.keep(vec![b'y'; 2 * KEPT_BYTES], start + KEPT_FOR);
        assert_eq!(recent.frames(), vec![b'y'; 2 * KEPT_BYTES], "the newest is kept whatever its size");
        recent.forget_old(start + 3 * KEPT_FOR);
        assert_eq!((recent.frames().len(), recent.bytes), (0, 0));
    }
}
