//! One event in a segment: a mark, its length, its number, a checksum, and the line without its line feed.
//!
//! The mark begins with a byte that UTF-8 never has, so that after a damaged record the next whole one can be found.

use crc32fast::Hasher;

/// Begins each record.
const MARK: [u8; 4] = [0xF5, b'P', b'C', b'R'];
/// Mark, length (4), number (8) and checksum (4), each in little-endian order.
pub(crate) const HEADER: usize = 20;
/// No line is longer: the recorder writes none over 1 MiB. A length beyond it is damage.
pub(crate) const MAX_LINE: usize = 2 * 1024 * 1024;

/// No event has this number or a higher one: a million a second would take as many years to get there. A number beyond it is damage.
pub(crate) const MAX_INDEX: u64 = 1 << 62;

/// What stands at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read<'a> {
    /// A whole record.
    Whole {
        /// Its number.
        index: u64,
        /// Its line.
        line: &'a [u8],
    },
    /// Perhaps one, of which more bytes are needed.
    Partial,
    /// None.
    Damaged,
}

/// Appends a record.
pub(crate) fn append(out: &mut Vec<u8>, index: u64, line: &[u8]) {
    let length = u32::try_from(line.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&index.to_le_bytes());
    out.extend_from_slice(&checksum(length, index, line).to_le_bytes());
    out.extend_from_slice(line);
}

/// Reads the record that begins with the first of these bytes.
pub(crate) fn read(bytes: &[u8]) -> Read<'_> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        let begun = bytes.get(..MARK.len().min(bytes.len())).unwrap_or_default();
        return if MARK.starts_with(begun) { Read::Partial } else { Read::Damaged };
    };
    let [m0, m1, m2, m3, l0, l1, l2, l3, i0, i1, i2, i3, i4, i5, i6, i7, c0, c1, c2, c3] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    let index = u64::from_le_bytes([i0, i1, i2, i3, i4, i5, i6, i7]);
    let size = usize::try_from(length).unwrap_or(usize::MAX);
    if [m0, m1, m2, m3] != MARK || size > MAX_LINE || index >= MAX_INDEX {
        return Read::Damaged;
    }
    let Some(line) = rest.get(..size) else { return Read::Partial };
    if checksum(length, index, line) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Read::Damaged;
    }
    Read::Whole { index, line }
}

/// Where, after the first byte, a record may begin; the number of bytes where none does.
pub(crate) fn next_mark(bytes: &[u8]) -> usize {
    let from = bytes.get(1..).unwrap_or_default();
    let found = from.iter().position(|byte| *byte == MARK[0]);
    found.map_or(bytes.len(), |at| at + 1)
}

fn checksum(length: u32, index: u64, line: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(&index.to_le_bytes());
    hasher.update(line);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_appended_is_read_back(index in 0..MAX_INDEX, line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = Vec::new();
            append(&mut bytes, index, &line);
            prop_assert_eq!(bytes.len(), HEADER + line.len());
            prop_assert_eq!(read(&bytes), Read::Whole { index, line: &line });
            for end in 0..bytes.len() {
                prop_assert_eq!(read(&bytes[..end]), Read::Partial);
            }
        }

        #[test]
        fn a_record_with_a_changed_bit_is_none(index in any::<u64>(), line in "[a-z]{0,40}", at in any::<usize>(), bit in 0..8_u32) {
            let mut bytes = Vec::new();
            append(&mut bytes, index, line.as_bytes());
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            // A changed length may ask for bytes that are not there.
            prop_assert!(matches!(read(&bytes), Read::Damaged | Read::Partial));
        }
    }

    #[test]
    fn the_next_record_is_looked_for_after_the_first_byte() {
        let mut bytes = b"\xF5rubbish".to_vec();
        append(&mut bytes, 7, b"line");
        assert_eq!(read(&bytes), Read::Damaged);
        assert_eq!(next_mark(&bytes), 8);
        assert!(matches!(read(&bytes[8..]), Read::Whole { index: 7, .. }));
        assert_eq!([next_mark(b""), next_mark(b"\xF5"), next_mark(b"abc")], [0, 1, 3]);
    }
}
