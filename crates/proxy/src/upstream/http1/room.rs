//! How much is read at once.

/// What is read at first.
const LEAST: usize = 8 * 1024;
/// The most that is read at once, and so the largest piece of a body. Twice the half costs a tenth less for each megabyte, in calls
/// and in waking the other side; a client that reads slowly holds one piece.
pub(in crate::upstream) const PIECE_BYTES_MAX: usize = 128 * 1024;

/// How much room the next read has: more when the last one filled it, less when two in a row used less than a quarter.
#[derive(Debug)]
pub(super) struct Room {
    bytes: usize,
    small: bool,
}

impl Room {
    pub(super) fn new() -> Self {
        Self { bytes: LEAST, small: false }
    }

    /// For the next read of a body of which `left` bytes are still to come; a head is as good as none.
    pub(super) fn next(&self, left: usize) -> usize {
        self.bytes.max(left.min(PIECE_BYTES_MAX))
    }

    /// A read that had so much room brought so much.
    pub(super) fn took(&mut self, room: usize, brought: usize) {
        if brought >= room {
            self.bytes = (room.saturating_mul(2)).clamp(LEAST, PIECE_BYTES_MAX);
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
        assert_eq!((room.next(0), room.next(100_000), room.next(usize::MAX)), (LEAST, 100_000, PIECE_BYTES_MAX));
        room.took(LEAST, LEAST);
        assert_eq!(room.next(0), 2 * LEAST);
        for _ in 0..10 {
            room.took(room.next(0), room.next(0));
        }
        assert_eq!(room.next(0), PIECE_BYTES_MAX);
        room.took(PIECE_BYTES_MAX, 10);
        room.took(PIECE_BYTES_MAX, PIECE_BYTES_MAX / 2);
        room.took(PIECE_BYTES_MAX, 10);
        assert_eq!(room.next(0), PIECE_BYTES_MAX, "never two small ones in a row");
        room.took(PIECE_BYTES_MAX, 10);
        assert_eq!(room.next(0), PIECE_BYTES_MAX / 2);
        for _ in 0..20 {
            room.took(room.next(0), 10);
        }
        assert_eq!(room.next(0), LEAST);
    }
}
