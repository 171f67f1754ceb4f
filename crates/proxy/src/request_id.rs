//! Request ids: UUID version 7, made without a lock and without asking the system for randomness each time.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

use jiff::Timestamp;
use uuid::{Builder, Uuid};

/// One worker's source of request ids. The random part is a keyed hash of a counter: unique, and not to be guessed from
/// other ids, since the key is the system's randomness.
#[derive(Debug, Default)]
pub struct RequestIds {
    key: RandomState,
    counter: Cell<u64>,
}

impl RequestIds {
    /// The next id: 48 bits of milliseconds, 12 bits of the fraction of one (RFC 9562 section 6.2, method 3), 62 bits that
    /// nobody can guess. A time before 1970 counts as 1970.
    pub fn next(&self, now: Timestamp) -> Uuid {
        let count = self.counter.get().wrapping_add(1);
        self.counter.set(count);
        let micros = u64::try_from(now.as_microsecond()).unwrap_or(0);
        let fraction = u16::try_from((micros % 1_000) * 4_096 / 1_000).unwrap_or(0).to_be_bytes();
        let random = self.key.hash_one(count).to_be_bytes();
        let mut bytes = [0; 10];
        for (slot, byte) in bytes.iter_mut().zip(fraction.into_iter().chain(random)) {
            *slot = byte;
        }
        Builder::from_unix_timestamp_millis(micros / 1_000, &bytes).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_version_7_in_the_order_of_time_and_never_repeat() {
        let (one, other) = (RequestIds::default(), RequestIds::default());
        let time = |micros: i64| Timestamp::from_microsecond(1_795_000_000_000_000 + micros).unwrap();
        let mut seen = HashSet::new();
        for micros in [0, 0, 1, 999, 1_000, 1_000_000] {
            for ids in [&one, &other] {
                let id = ids.next(time(micros));
                assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
                assert!(seen.insert(id));
            }
        }
        assert!(one.next(time(5)) < one.next(time(7)));
        assert!(one.next(time(999)) < one.next(time(1_000)));
        let millis = one.next(time(1_500)).get_timestamp().map(|stamp| stamp.to_unix());
        assert_eq!(millis, Some((1_795_000_000, 1_000_000)));
    }
}
