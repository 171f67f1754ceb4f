//! Batches of records as they lie in a topic (the format with the magic 2), and which partition a key belongs to.

use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde::Deserialize;

use crate::format::Format;

/// One event.
#[derive(Debug)]
pub(super) struct Record {
    /// The gateway's name.
    pub(super) key: Vec<u8>,
    /// The event's id, a header of the record.
    pub(super) id: String,
    /// The event in the sink's form.
    pub(super) value: Vec<u8>,
    /// When it was, in milliseconds.
    time: i64,
}

#[derive(Deserialize)]
struct Native {
    id: String,
    time: String,
    node: String,
}

impl Record {
    /// `None`: the line is no native event.
    pub(super) fn of(line: &[u8], format: Format) -> Option<Self> {
        let Native { id, time, node } = serde_json::from_slice(line).ok()?;
        let time: Timestamp = time.parse().ok()?;
        let mut value = Vec::with_capacity(line.len());
        format.append(line, &mut value).ok()?;
        Some(Self { key: node.into_bytes(), id, value, time: time.as_millisecond() })
    }

    /// `base`: the time of the batch's first record.
    fn append(&self, offset: usize, base: i64, out: &mut Vec<u8>) {
        let mut record = vec![0];
        varint(&mut record, self.time - base);
        varint(&mut record, length(offset));
        varint(&mut record, length(self.key.len()));
        record.extend_from_slice(&self.key);
        varint(&mut record, length(self.value.len()));
        record.extend_from_slice(&self.value);
        varint(&mut record, 1);
        varint(&mut record, 2);
        record.extend_from_slice(b"id");
        varint(&mut record, length(self.id.len()));
        record.extend_from_slice(self.id.as_bytes());
        varint(out, length(record.len()));
        out.extend_from_slice(&record);
    }
}

/// What stands in a batch before its records, from its length on: the leader's epoch, the magic, the checksum, and what is summed.
const BEFORE_ATTRIBUTES: i32 = 4 + 1 + 4;
/// The attribute of a batch that is compressed with gzip.
const GZIP: i16 = 1;

/// A batch of these.
pub(super) fn batch(records: &[Record], gzip: bool) -> io::Result<Vec<u8>> {
    let base = records.first().map_or(0, |record| record.time);
    let latest = records.iter().map(|record| record.time).max().unwrap_or(base);
    let count = i32::try_from(records.len()).map_err(io::Error::other)?;
    let mut plain = Vec::new();
    records.iter().enumerate().for_each(|(offset, record)| record.append(offset, base, &mut plain));
    let mut summed = Vec::with_capacity(plain.len() / 4 + 64);
    summed.extend_from_slice(&(if gzip { GZIP } else { 0 }).to_be_bytes());
    summed.extend_from_slice(&(count - 1).to_be_bytes());
    summed.extend_from_slice(&base.to_be_bytes());
    summed.extend_from_slice(&latest.to_be_bytes());
    // No producer that the brokers would know again: what comes twice is told by its id.
    summed.extend_from_slice(&(-1_i64).to_be_bytes());
    summed.extend_from_slice(&(-1_i16).to_be_bytes());
    summed.extend_from_slice(&(-1_i32).to_be_bytes());
    summed.extend_from_slice(&count.to_be_bytes());
    if gzip {
        let mut encoder = GzEncoder::new(summed, Compression::fast());
        // The head is not compressed, so it is put before what is.
        let head = std::mem::take(encoder.get_mut());
        encoder.write_all(&plain)?;
        summed = [head, encoder.finish()?].concat();
    } else {
        summed.extend_from_slice(&plain);
    }
    let size = i32::try_from(summed.len()).map_err(io::Error::other)?;
    let mut batch = Vec::with_capacity(summed.len() + 21);
    batch.extend_from_slice(&0_i64.to_be_bytes());
    batch.extend_from_slice(&(BEFORE_ATTRIBUTES + size).to_be_bytes());
    batch.extend_from_slice(&(-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend_from_slice(&crc32c(&summed).to_be_bytes());
    batch.extend_from_slice(&summed);
    Ok(batch)
}

fn length(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Zigzag, then seven bits in each byte, the lowest first.
fn varint(out: &mut Vec<u8>, number: i64) {
    let mut rest = (number << 1 ^ number >> 63).cast_unsigned();
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

/// The partition of a key, as Kafka's own clients choose it; `None` where there is none.
pub(super) fn partition_of(key: &[u8], partitions: u32) -> Option<i32> {
    i32::try_from((murmur2(key) & 0x7fff_ffff).checked_rem(partitions)?).ok()
}

/// MurmurHash 2 with the seed that Kafka takes.
fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    // A key is a gateway's name; only the low bits of its length count.
    let size = u32::try_from(key.len() & 0xffff_ffff).unwrap_or_default();
    let mut hash = 0x9747_b28c ^ size;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(M);
        word ^= word >> 24;
        hash = hash.wrapping_mul(M) ^ word.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    hash ^ hash >> 15
}

/// CRC-32C (Castagnoli), which is not the CRC of gzip and of the spool.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        let [low, ..] = sum.to_le_bytes();
        let place = usize::from(low ^ byte);
        // INVARIANT: a byte is a place in a table of 256.
        sum = sum >> 8 ^ TABLE.get(place).copied().unwrap_or_default();
    }
    !sum
}

const TABLE: [u32; 256] = table();

#[expect(clippy::indexing_slicing, reason = "it is evaluated when it is compiled")]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut number: u32 = 0;
    while number < 256 {
        let mut sum = number;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 };
            bit += 1;
        }
        table[number as usize] = sum;
        number += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_hashes_are_those_of_everybody_else() {
        assert_eq!((crc32c(b"123456789"), crc32c(b"")), (0xe306_9283, 0));
        // Of the tests of Kafka's own client.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
        assert_eq!((partition_of(b"21", 0), partition_of(b"21", 1)), (None, Some(0)));
        assert_eq!(partition_of(b"foobar", 7), Some((-790_332_482_i32 & 0x7fff_ffff) % 7));
    }

    #[test]
    fn a_number_takes_as_many_bytes_as_it_needs() {
        for (number, bytes) in [
            (0, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[126]),
            (64, &[128, 1]),
            (-65, &[129, 1]),
            (i64::MAX, &[254, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ] {
            let mut out = Vec::new();
            varint(&mut out, number);
            assert_eq!(out, bytes, "{number}");
        }
    }
}
