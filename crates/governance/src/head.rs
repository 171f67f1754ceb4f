//! How far the log has come, in a file of its own: whoever puts an older copy of the store in place has to do the same with this file, and whoever
//! writes it down elsewhere (`portcullis policy list` shows it) sees even that.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::durable;
use crate::error::GovernanceError;
use crate::hash::Hash;
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

    /// Which version comes into force by steps, as it was written last; `None`: nothing ever.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    fn steps(&self) -> Result<Option<Steps>, GovernanceError>;

    /// Writes that. It is on the disk when this returns, and as it was before when this fails.
    ///
    /// # Errors
    /// It cannot be written.
    fn write_steps(&mut self, steps: Steps) -> Result<(), GovernanceError>;
}

/// A file beside the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadFile {
    path: PathBuf,
    store: PathBuf,
}

const TITLE: &str = "portcullis-head/1";
/// No head is longer, in bytes.
const MOST: u64 = 256;

impl HeadFile {
    /// The head of the log in this store.
    pub fn beside(store: &Path) -> Self {
        Self { path: durable::beside(store, ".head"), store: store.to_owned() }
    }

    /// The store.
    pub(crate) fn store(&self) -> &Path {
        &self.store
    }

    /// Another file beside the same store.
    pub(crate) fn beside_it(&self, suffix: &str) -> PathBuf {
        durable::beside(&self.store, suffix)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, why: impl ToString) -> GovernanceError {
        GovernanceError::Head { path: self.path.clone(), why: why.to_string() }
    }

    fn try_write(&self, text: &str) -> std::io::Result<()> {
        let mut draft = self.path.as_os_str().to_owned();
        draft.push(".new");
        let draft = PathBuf::from(draft);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        durable::owned_as(&file, &self.store)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
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

impl HeadPlace for HeadFile {
    fn read(&self) -> Result<Option<Head>, GovernanceError> {
        let mut text = String::new();
        match File::open(&self.path) {
            Ok(file) => file.take(MOST).read_to_string(&mut text).map_err(|error| self.failed(error))?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        Head::from_text(&text)
            .map(Some)
            .ok_or_else(|| self.failed("it is not what this program writes: restore a backup"))
    }

    fn write(&mut self, head: Head) -> Result<(), GovernanceError> {
        self.try_write(&head.to_text()).map_err(|error| self.failed(error))
    }

    fn steps(&self) -> Result<Option<Steps>, GovernanceError> {
        self.read_steps()
    }

    fn write_steps(&mut self, steps: Steps) -> Result<(), GovernanceError> {
        self.write_steps_file(steps)
    }
}

#[cfg(test)]
mod tests {
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
