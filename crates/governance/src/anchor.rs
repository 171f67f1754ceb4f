//! How far a log had come, as somebody wrote it down elsewhere: `N:HASH`.

use std::fmt;
use std::str::FromStr;

use crate::hash::Hash;

/// A version that a log must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// Its number.
    pub n: u64,
    /// Its hash.
    pub hash: Hash,
}

impl fmt::Display for Anchor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.n, self.hash)
    }
}

impl FromStr for Anchor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.trim().split_once(':').and_then(|(n, hash)| {
            let n = n.parse().ok().filter(|n| *n > 0)?;
            Some(Self { n, hash: hash.to_ascii_lowercase().parse().ok()? })
        });
        parsed.ok_or_else(|| {
            "expected the number of a version and its hash, as `portcullis governance status` shows them: 7:4be1…"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        let anchor = Anchor { n: 7, hash: Hash([0xab; 32]) };
        assert_eq!(anchor.to_string().parse(), Ok(anchor));
        assert_eq!(anchor.to_string().to_uppercase().parse(), Ok(anchor));
        let hash = "ab".repeat(32);
        for wrong in ["", "7", &hash, &format!("0:{hash}"), &format!("-1:{hash}"), "7:ab", &format!("7:{hash}0")] {
            assert!(wrong.parse::<Anchor>().is_err(), "{wrong:?}");
        }
    }
}
