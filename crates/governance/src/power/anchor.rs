//! How far the log has come, in a file of its own beside the store: whoever adds rows to the store, or cuts its last ones off, has to write this file as well.
//!
//! It is written before a row is appended (what is known, and what comes next) and once more behind it. So at each moment the log ends with one of the two,
//! wherever a process ends; and a log that ends otherwise is not what the gateway wrote.

use std::io;
use std::path::Path;

use crate::beside::{Note, NoteFile};
use crate::hash::Hash;

const TITLE: &str = "portcullis-power/1";

/// A place in the log: the number of an entry and its hash; 0 and none of an empty one.
pub type Place = (u64, Hash);

/// How far the log has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PowerAnchor {
    /// What is surely there.
    pub known: Place,
    /// What may be there: the same, except while something is appended.
    pub next: Place,
}

impl PowerAnchor {
    /// In the place of a file that is not there any more: no log ends there.
    pub const LOST: Self = Self { known: (u64::MAX, Hash::NONE), next: (u64::MAX, Hash::NONE) };

    /// Of a log that ends there.
    pub fn at(place: Place) -> Self {
        Self { known: place, next: place }
    }

    /// Whether a log that ends there is what was written.
    pub fn holds(&self, end: Place) -> bool {
        self.known == end || self.next == end
    }
}

impl Note for PowerAnchor {
    const SUFFIX: &'static str = ".power";

    fn to_text(&self) -> String {
        let ((known, hash), (next, next_hash)) = (self.known, self.next);
        format!("{TITLE} {known} {hash} {next} {next_hash}\n")
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        if words.next() != Some(TITLE) {
            return None;
        }
        let mut place = || Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?));
        let anchor = Self { known: place()?, next: place()? };
        words.next().is_none().then_some(anchor)
    }
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerAnchorFile {
    file: NoteFile<PowerAnchor>,
}

impl PowerAnchorFile {
    /// That of the log in this store.
    pub fn beside(store: &Path) -> Self {
        Self { file: NoteFile::beside(store) }
    }

    /// What was written last; `None`: nothing ever, as before the version of the program that began to.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    pub fn read(&self) -> io::Result<Option<PowerAnchor>> {
        Ok(self.file.read()?)
    }

    /// Writes it. It is on the disk when this returns, and as it was before when this fails.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, anchor: PowerAnchor) -> io::Result<()> {
        self.file.write(&anchor)
    }

    /// Takes it away: the log beside it is another one from now on, by whoever may say so, and is taken as it is at the next start.
    ///
    /// # Errors
    /// It is still there.
    pub fn forget(&self) -> io::Result<()> {
        self.file.remove()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_else_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = PowerAnchorFile::beside(&folder.path().join("portcullis.db"));
        assert_eq!(file.path(), folder.path().join("portcullis.db.power"));
        assert_eq!(file.read().unwrap(), None);
        let anchor = PowerAnchor { known: (7, Hash([9; 32])), next: (9, Hash([8; 32])) };
        file.write(anchor).unwrap();
        assert_eq!(file.read().unwrap(), Some(anchor));
        assert!(anchor.holds((7, Hash([9; 32]))) && anchor.holds((9, Hash([8; 32]))));
        assert!(!anchor.holds((7, Hash([8; 32]))) && !anchor.holds((8, Hash([9; 32]))));
        let good = anchor.to_text();
        for wrong in
            ["", "portcullis-power/1 7\n", &good[..good.len() - 1], &format!("{good}\n"), &good.replace("/1", "/2")]
        {
            std::fs::write(file.path(), wrong).unwrap();
            assert!(file.read().is_err(), "{wrong:?}");
        }
        file.forget().unwrap();
        file.forget().unwrap();
        assert_eq!(file.read().unwrap(), None);
    }
}
