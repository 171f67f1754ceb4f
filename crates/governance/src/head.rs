//! How far the log has come, in a file of its own: whoever puts an older copy of the store in place has to do the same with this file, and whoever
//! writes it down elsewhere (`portcullis policy list` shows it) sees even that.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::beside::{Note, NoteFile, Unread};
use crate::error::GovernanceError;
use crate::hash::Hash;
use crate::heard::Heard;
use crate::revoked::RevokedKeys;
use crate::steps::Steps;

/// How far the log has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last version.
    pub n: u64,
    /// Its hash.
    pub hash: Hash,
    /// Whether the next version needs approvals.
    pub required: bool,
}

/// Where that is written down.
pub trait HeadPlace {
    /// What was written last; `None`: nothing ever.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    fn read(&self) -> Result<Option<Head>, GovernanceError>;

    /// Writes it. It is on the disk when this returns, and as it was before when this fails.
    ///
    /// # Errors
    /// It cannot be written.
    fn write(&mut self, head: Head) -> Result<(), GovernanceError>;

    /// The keys that were ever revoked, as far as that was written down beside it.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    fn revoked(&self) -> Result<RevokedKeys, GovernanceError>;

    /// Writes these down in place of those, which are among them. They are on the disk when this returns, and as they were before when this fails.
    ///
    /// # Errors
    /// They cannot be written.
    fn revoke(&mut self, keys: &RevokedKeys) -> Result<(), GovernanceError>;
    /// Which version comes into force by steps, as it was written last; `None`: nothing ever.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    fn steps(&self) -> Result<Option<Steps>, GovernanceError>;

    /// When that was written, by the clock of the disk; `None`: it is not known.
    fn steps_written(&self) -> Option<Timestamp>;

    /// Writes that. It is on the disk when this returns, and as it was before when this fails.
    ///
    /// # Errors
    /// It cannot be written.
    fn write_steps(&mut self, steps: Steps) -> Result<(), GovernanceError>;

    /// Since when a recovery is told of, as it was written last; `None`: nothing ever.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    fn heard(&self) -> Result<Option<Heard>, GovernanceError>;

    /// Writes that. It is on the disk when this returns, and as it was before when this fails.
    ///
    /// # Errors
    /// It cannot be written.
    fn hear(&mut self, heard: Heard) -> Result<(), GovernanceError>;

    /// What time it is for what is found in the store, and written by nobody known.
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The file beside the store, and the others that stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadFile {
    path: PathBuf,
    store: PathBuf,
}

const TITLE: &str = "portcullis-head/1";

impl HeadFile {
    /// The head of the log in this store.
    pub fn beside(store: &Path) -> Self {
        Self { path: NoteFile::<Head>::beside(store).path().to_owned(), store: store.to_owned() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The list of revoked keys beside the same store.
    pub fn list(&self) -> PathBuf {
        self.file::<RevokedKeys>().path().to_owned()
    }

    /// A file beside the same store.
    pub(crate) fn file<N: Note>(&self) -> NoteFile<N> {
        NoteFile::beside(&self.store)
    }

    /// What it holds; `None`: nothing was ever written. One that is damaged is an error: whoever cannot go on without it restores a backup.
    pub(crate) fn read_note<N: Note>(&self) -> Result<Option<N>, GovernanceError> {
        let file = self.file::<N>();
        file.read().map_err(|unread| match unread {
            Unread::Io(error) => failed(file.path(), error),
            Unread::Other => failed(file.path(), "it is not what this program writes: restore a backup"),
        })
    }

    /// Writes it. It is on the disk when this returns, and as it was before when this fails.
    pub(crate) fn write_note<N: Note>(&self, note: &N) -> Result<(), GovernanceError> {
        let file = self.file::<N>();
        file.write(note).map_err(|error| failed(file.path(), error))
    }

    /// Takes it away.
    pub(crate) fn forget_note<N: Note>(&self) -> Result<(), GovernanceError> {
        let file = self.file::<N>();
        file.remove().map_err(|error| failed(file.path(), error))
    }
}

/// That something went wrong with a file beside the store.
pub(crate) fn failed(path: &Path, why: impl ToString) -> GovernanceError {
    GovernanceError::Head { path: path.to_owned(), why: why.to_string() }
}

impl Head {
    /// As the file has it.
    pub fn to_text(self) -> String {
        format!("{TITLE} {} {} {}\n", self.n, self.hash, if self.required { "required" } else { "open" })
    }

    /// Reads that.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        if words.next() != Some(TITLE) {
            return None;
        }
        let n: u64 = words.next()?.parse().ok()?;
        let hash = words.next()?.parse().ok()?;
        let required = match words.next()? {
            "required" => true,
            "open" => false,
            _ => return None,
        };
        words.next().is_none().then_some(Self { n, hash, required })
    }
}

impl Note for Head {
    const SUFFIX: &'static str = ".head";

    fn to_text(&self) -> String {
        Head::to_text(*self)
    }

    fn from_text(text: &str) -> Option<Self> {
        Head::from_text(text)
    }
}

impl HeadPlace for HeadFile {
    fn read(&self) -> Result<Option<Head>, GovernanceError> {
        self.read_note()
    }

    fn write(&mut self, head: Head) -> Result<(), GovernanceError> {
        self.write_note(&head)
    }

    fn revoked(&self) -> Result<RevokedKeys, GovernanceError> {
        self.read_note().map(Option::unwrap_or_default)
    }

    fn revoke(&mut self, keys: &RevokedKeys) -> Result<(), GovernanceError> {
        self.write_note(keys)
    }

    fn steps(&self) -> Result<Option<Steps>, GovernanceError> {
        self.read_note()
    }

    fn steps_written(&self) -> Option<Timestamp> {
        let written = std::fs::symlink_metadata(self.file::<Steps>().path()).ok()?.modified().ok()?;
        Timestamp::try_from(written).ok()
    }

    fn write_steps(&mut self, steps: Steps) -> Result<(), GovernanceError> {
        self.write_note(&steps)
    }

    fn heard(&self) -> Result<Option<Heard>, GovernanceError> {
        self.read_heard()
    }

    fn hear(&mut self, heard: Heard) -> Result<(), GovernanceError> {
        self.write_note(&heard)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_else_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = HeadFile::beside(&folder.path().join("portcullis.db"));
        assert_eq!(file.path(), folder.path().join("portcullis.db.head"));
        assert_eq!(file.read().unwrap(), None);
        let head = Head { n: 7, hash: Hash([9; 32]), required: true };
        file.write(head).unwrap();
        assert_eq!(file.read().unwrap(), Some(head));
        let open = Head { required: false, n: 8, ..head };
        file.write(open).unwrap();
        assert_eq!(file.read().unwrap(), Some(open));
        let good = head.to_text();
        for wrong in
            ["", "portcullis-head/1 7\n", &good[..good.len() - 1], &format!("{good}\n"), &good.replace("/1", "/2")]
        {
            fs::write(file.path(), wrong).unwrap();
            assert!(file.read().is_err(), "{wrong:?}");
        }
    }

    /// The process ended after the draft was begun, and before it took the file's place.
    #[test]
    fn a_draft_that_was_left_is_no_head_and_keeps_no_other_away() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = HeadFile::beside(&folder.path().join("portcullis.db"));
        let head = Head { n: 1, hash: Hash([1; 32]), required: true };
        for left in [String::new(), "portcullis-head/1 2".to_owned(), Head { n: 9, ..head }.to_text()] {
            file.write(head).unwrap();
            fs::write(folder.path().join("portcullis.db.head.new"), left).unwrap();
            assert_eq!(file.read().unwrap(), Some(head));
            file.write(Head { n: 2, ..head }).unwrap();
            assert_eq!(file.read().unwrap(), Some(Head { n: 2, ..head }));
            assert!(!folder.path().join("portcullis.db.head.new").exists());
        }
    }

    #[test]
    fn what_cannot_be_written_is_said_and_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = HeadFile::beside(&folder.path().join("portcullis.db"));
        let head = Head { n: 1, hash: Hash([1; 32]), required: false };
        file.write(head).unwrap();
        // A folder in the place of the draft.
        fs::create_dir(folder.path().join("portcullis.db.head.new")).unwrap();
        assert!(file.write(Head { n: 2, ..head }).is_err());
        assert_eq!(file.read().unwrap(), Some(head));
    }
}
