//! Bytes in less room (DEFLATE, RFC 1951).

use std::io::{self, Read as _, Write as _};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

pub(crate) fn pack(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut packer = DeflateEncoder::new(Vec::new(), Compression::default());
    packer.write_all(bytes)?;
    packer.finish()
}

/// At most `most` bytes of it: what a file says of its own size is not believed.
pub(crate) fn unpack(bytes: &[u8], most: u64) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    DeflateDecoder::new(bytes).take(most).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}
