//! What a version holds: files, whole.

use std::collections::BTreeMap;

use crate::hash::Hash;
use crate::wire::{Malformed, Parser, Writer};

/// All files of a content together, in bytes.
pub const MAX_CONTENT: usize = 32 << 20;
/// Files of one content.
const MAX_FILES: usize = 10_000;
const DOMAIN: &str = "portcullis-content-v1";

/// Files by their names: relative to the folder of the gateway's main file, or absolute where they are elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// The files.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Content {
    /// Whether it is within the bounds.
    pub fn is_bounded(&self) -> bool {
        let bytes = self.files.iter().map(|(name, bytes)| name.len() + bytes.len()).sum::<usize>();
        self.files.len() <= MAX_FILES && bytes <= MAX_CONTENT
    }

    /// Its bytes, the same for the same files.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(DOMAIN);
        writer.number(self.files.len() as u64);
        for (name, bytes) in &self.files {
            writer.text(name);
            writer.bytes(bytes);
        }
        writer.finish()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When it is something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut parser = Parser::new(bytes, DOMAIN)?;
        let files = parser.list(MAX_FILES, |parser| Ok((parser.text()?, parser.bytes()?.to_vec())))?;
        parser.end()?;
        // One way to write it: by name, each once.
        if !files.is_sorted_by(|(before, _), (after, _)| before < after) {
            return Err(Malformed);
        }
        Ok(Self { files: files.into_iter().collect() })
    }

    /// The hash of [`Self::encode`].
    pub fn hash(&self) -> Hash {
        Hash::of(&self.encode())
    }
}
