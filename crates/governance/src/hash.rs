//! Hashes: SHA-256, each over a text that says what it is a hash of.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Where there is nothing to be hashed: the version before the first one, the preview that nobody made.
    pub const NONE: Self = Self([0; 32]);

    /// The hash of bytes that say themselves what they are.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        // INVARIANT: a SHA-256 has 32 bytes.
        hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Self(hash)
    }

    /// Whether it stands for nothing.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// As much of it as tells it from others.
    pub fn short(self) -> String {
        self.to_string().chars().take(12).collect()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Hash({})", self.short())
    }
}

impl FromStr for Hash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| "expected a hash: 64 digits of hex".to_owned())
    }
}
