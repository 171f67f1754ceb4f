//! Small files beside the store that say how far something has come, or what is known apart from it: whole, or as they were before.
//!
//! Each has one [`Note`]. How they are read, written and taken away is the same for all; what is done about one that is damaged is for each to say.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use portcullis_durable::{DurableError, Rights, beside};

/// What stands in such a file.
pub(crate) trait Note: Sized {
    /// What the name of the file ends in, behind that of the store.
    const SUFFIX: &'static str;
    /// No such file is longer, in bytes: what is longer is cut off there when it is read, and so is something else.
    const MOST: u64 = 512;

    /// As the file has it.
    fn to_text(&self) -> String;

    /// Reads that; `None`: it is something else.
    fn from_text(text: &str) -> Option<Self>;
}

/// Why what is in such a file is not known.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It cannot be read, or is no text.
    Io(io::Error),
    /// It is a text, and none that this program writes.
    Other,
}

impl Unread {
    /// Whether the file was read, and holds something else.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Io(error) => error.kind() == ErrorKind::InvalidData,
            Self::Other => true,
        }
    }
}

impl From<Unread> for io::Error {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Io(error) => error,
            Unread::Other => Self::new(ErrorKind::InvalidData, "it is not what this program writes"),
        }
    }
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoteFile<N> {
    path: PathBuf,
    note: PhantomData<N>,
}

impl<N: Note> NoteFile<N> {
    /// That of this store.
    pub(crate) fn beside(store: &Path) -> Self {
        Self { path: beside(store, N::SUFFIX), note: PhantomData }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds; `None`: there is none.
    ///
    /// # Errors
    /// See [`Unread`].
    pub(crate) fn read(&self) -> Result<Option<N>, Unread> {
        let Some(text) = read(&self.path, N::MOST).map_err(Unread::Io)? else { return Ok(None) };
        N::from_text(&text).map(Some).ok_or(Unread::Other)
    }

    /// Writes it. It is on the disk when this returns, and as it was before when this fails.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&self, note: &N) -> io::Result<()> {
        write(&self.path, &note.to_text())
    }

    /// Takes it away, where it is there.
    ///
    /// # Errors
    /// It is still there.
    pub(crate) fn remove(&self) -> io::Result<()> {
        portcullis_durable::remove(&self.path).map_err(DurableError::into_source)
    }
}

fn read(path: &Path, most: u64) -> io::Result<Option<String>> {
    let mut text = String::new();
    match File::open(path) {
        Ok(file) => file.take(most).read_to_string(&mut text).map(|_| Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whoever may write the store may write what is beside it: also where somebody else, as root often does, was the first to open it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let rights = Rights::OwnerOf(&path.with_extension(""));
    portcullis_durable::write(path, beside(path, ".new"), rights, text.as_bytes()).map_err(DurableError::into_source)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, chown};

    use super::*;

    /// Finding of 2026-11: what root wrote beside the store, by looking at it, kept the gateway from starting under its own account.
    #[test]
    fn what_is_beside_a_store_belongs_to_whoever_the_store_belongs_to() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("portcullis.db");
        fs::write(&store, "").unwrap();
        let owner_of = |path: &Path| {
            let metadata = fs::metadata(path).unwrap();
            (metadata.uid(), metadata.gid())
        };
        // Nobody but root gives files away: whoever else runs this sees that it is written.
        let given = chown(&store, Some(4_242), Some(4_243)).is_ok();
        for suffix in [".head", ".steps", ".recovery", ".revoked"] {
            let path = beside(&store, suffix);
            for text in ["one\n", "two\n"] {
                write(&path, text).unwrap();
                assert_eq!(read(&path, 512).unwrap().as_deref(), Some(text));
                assert_eq!(owner_of(&path), owner_of(&store), "{suffix}, and given: {given}");
                assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
            }
        }
    }

    /// Finding of 2026-11: whoever could write to the folder of the store could have root, who looks at it now and then, write over any file.
    #[test]
    fn a_link_in_the_place_of_a_draft_is_not_followed() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let precious = elsewhere.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        let path = beside(&folder.path().join("portcullis.db"), ".head");
        write(&path, "one\n").unwrap();
        std::os::unix::fs::symlink(&precious, beside(&path, ".new")).unwrap();
        let refused = write(&path, "two\n").unwrap_err();
        assert!(refused.to_string().ends_with("portcullis.db.head.new)"), "{refused}");
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        assert_eq!(read(&path, 512).unwrap().as_deref(), Some("one\n"));
    }
}
