//! How much is read at once.

/// What is read at first.
const LEAST: usize = 8 * 1024;
/// The most that is read at once, and so the largest piece of a body. Twice the half costs a tenth less for each megabyte, in calls
/// and in waking the other side; a client that reads slowly holds some pieces.
pub(in crate::upstream) const PIECE_BYTES_MAX: usize = 128 * 1024;

/// How much room the next read has: more when the last one filled it, less when two in a row used less than a quarter. So a body
/// that trickles does not take memory for what it might have brought.
#[derive(Debug)]
pub(super) struct Room {
    bytes: usize,
    /// What is expected of the next read alone.
    expected: usize,
    small: bool,
}

impl Room {
    pub(super) fn new() -> Self {
        Self { bytes: LEAST, expected: 0, small: false }
    }

    /// So much is on its way, all of which may be there already.
    pub(super) fn expect(&mut self, bytes: usize) {
        self.expected = bytes.min(PIECE_BYTES_MAX);
    }

    /// For the next read.
    pub(super) fn next(&self) -> usize {
        self.bytes.max(self.expected)
    }

    /// The read that had this room brought so much.
    pub(super) fn took(&mut self, brought: usize) {
        let room = self.next();
        self.expected = 0;
        if brought >= room {
            self.bytes = room.saturating_mul(2).min(PIECE_BYTES_MAX);
            self.small = false;
        } else if brought >= self.bytes {
            // It had more than usual, and used some of that.
            self.bytes = (brought / LEAST * LEAST).clamp(LEAST, PIECE_BYTES_MAX);
            self.small = false;
        } else if brought < self.bytes / 4 {
            if self.small {
                self.bytes = (self.bytes / 2).max(LEAST);
            }
            self.small = !self.small;
        } else {
            self.small = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_follows_what_comes() {
        let mut room = Room::new();
        room.took(LEAST);
        assert_eq!(room.next(), 2 * LEAST);
        for _ in 0..10 {
            room.took(room.next());
        }
        assert_eq!(room.next(), PIECE_BYTES_MAX);
        for brought in [10, PIECE_BYTES_MAX / 2, 10] {
            room.took(brought);
        }
        assert_eq!(room.next(), PIECE_BYTES_MAX, "never two small ones in a row");
        room.took(10);
        assert_eq!(room.next(), PIECE_BYTES_MAX / 2);
        for _ in 0..20 {
            room.took(10);
        }
        assert_eq!(room.next(), LEAST);
    }

    #[test]
    fn what_is_expected_has_room_once() {
        let mut room = Room::new();
        room.expect(100_000);
        assert_eq!(room.next(), 100_000);
        room.took(10);
        assert_eq!(room.next(), LEAST, "it trickles");
        room.expect(usize::MAX);
        assert_eq!(room.next(), PIECE_BYTES_MAX);
        room.took(50_000);
        assert_eq!(room.next(), 48 * 1024);
        room.expect(10);
        assert_eq!(room.next(), 48 * 1024);
    }
}
