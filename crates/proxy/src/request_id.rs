//! Request ids: UUID version 7, made without a lock and without asking the system for randomness each time.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use uuid::{Builder, Uuid};

use crate::upstream::headers::X_REQUEST_ID;

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

/// The id as a header.
pub(crate) fn header_of(id: Uuid) -> Option<HeaderValue> {
    let mut buffer = Uuid::encode_buffer();
    HeaderValue::from_str(id.hyphenated().encode_lower(&mut buffer)).ok()
}

/// What the caller and the operator call a request: the id that a proxy gave it, or its own.
pub(crate) fn shown(kept: Option<&HeaderValue>, own: Uuid) -> String {
    kept.and_then(|id| id.to_str().ok()).map_or_else(|| text_of(own), str::to_owned)
}

fn text_of(id: Uuid) -> String {
    id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned()
}

/// The one id that a proxy gave a request, if it is one that can stand in a line, a field and a link without an escape.
pub(crate) fn given(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut values = headers.get_all(X_REQUEST_ID).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let bytes = value.as_bytes();
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=:@".contains(byte);
    (!bytes.is_empty() && bytes.len() <= LONGEST_GIVEN && bytes.iter().all(fits)).then_some(value)
}

/// Bytes of an id that is kept.
const LONGEST_GIVEN: usize = 128;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_id_that_is_kept_is_one_word() {
        let check = |values: &[&str], kept: bool| {
            let headers = values.iter().fold(HeaderMap::new(), |mut headers, value| {
                headers.append(X_REQUEST_ID, HeaderValue::from_str(value).unwrap());
                headers
            });
            assert_eq!(given(&headers).is_some(), kept, "{values:?}");
        };
        check(&["0197a2c4-0000-7000-8000-000000000000"], true);
        check(&["Root=1-67891233-abcdef012345678912345678"], true);
        check(&["abc/def+12=="], true);
        check(&["a".repeat(128).as_str()], true);
        check(&["a".repeat(129).as_str()], false);
        check(&[""], false);
        check(&[], false);
        check(&["a", "a"], false);
        for bad in ["a b", "a,b", "a\"b", "a;b", "<a>", "é", "a\tb"] {
            check(&[bad], false);
        }
    }

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
