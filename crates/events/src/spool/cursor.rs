//! How far a remote sink has got: the number of the first event that it has not taken, in a small file of the spool's folder.
//!
//! The file is replaced as a whole. One that is missing or cannot be read means that the sink gets everything that the spool still
//! holds: an event twice is better than an event lost.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::record::MAX_INDEX;

/// What the name of each begins with.
const PREFIX: &str = "cursor-";

/// The file of a cursor.
#[derive(Debug)]
pub(crate) struct Cursor {
    path: PathBuf,
    /// What it says; `None`: nothing readable.
    saved: Option<u64>,
}

impl Cursor {
    /// Reads the cursor of a sink.
    pub(crate) fn open(folder: &Path, sink: &str) -> Self {
        let path = folder.join(format!("{PREFIX}{}", file_name(sink)));
        let saved = read(&path);
        Self { path, saved }
    }

    /// What it says.
    pub(crate) fn saved(&self) -> Option<u64> {
        self.saved
    }

    /// Writes it, where it says something else.
    pub(crate) fn save(&mut self, next: u64) -> io::Result<()> {
        if self.saved == Some(next) {
            return Ok(());
        }
        let new = self.path.with_extension("new");
        fs::write(&new, format!("{next}\n"))?;
        fs::rename(&new, &self.path)?;
        self.saved = Some(next);
        Ok(())
    }
}

/// The highest number that any cursor of the folder names, also of a sink that is not configured any more.
pub(crate) fn highest(folder: &Path) -> io::Result<Option<u64>> {
    let mut highest = None;
    for entry in folder.read_dir()? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(PREFIX) && !name.ends_with(".new") {
            highest = highest.max(read(&path));
        }
    }
    Ok(highest)
}

fn read(path: &Path) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.strip_suffix('\n')?.parse().ok().filter(|next| *next < MAX_INDEX)
}

/// A name that is fit for a file: what is neither a letter, a digit nor `-` or `_` stands as `%` and its bytes in hex.
pub(crate) fn file_name(sink: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    sink.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut cursor = Cursor::open(folder.path(), "siem");
        assert_eq!(cursor.saved(), None);
        for next in [0, 7, MAX_INDEX - 1] {
            cursor.save(next).unwrap();
            assert_eq!(Cursor::open(folder.path(), "siem").saved(), Some(next));
        }
        assert_eq!(Cursor::open(folder.path(), "other").saved(), None);
    }

    #[test]
    fn what_is_no_number_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "\n", "7", "-1\n", "7 8\n", "x\n", "99999999999999999999\n", "18446744073709551615\n"] {
            fs::write(folder.path().join("cursor-siem"), text).unwrap();
            assert_eq!(Cursor::open(folder.path(), "siem").saved(), None, "{text:?}");
        }
    }

    #[test]
    fn the_highest_counts_whatever_the_sink_is_called() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(highest(folder.path()).unwrap(), None);
        for (name, text) in [("cursor-a", "7\n"), ("cursor-b", "9\n"), ("cursor-c", "x\n"), ("other", "70\n")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        assert_eq!(highest(folder.path()).unwrap(), Some(9));
    }

    #[test]
    fn no_name_leaves_the_folder_and_none_stands_for_two() {
        assert_eq!(file_name("a-B_9"), "a-B_9");
        assert_eq!(file_name("../x y.é%2e"), "%2e%2e%2fx%20y%2e%c3%a9%252e");
    }
}
