//! Who had the log of temporary power taken as it is, and why: in a file beside the store, told by the next start.

use std::io;
use std::path::Path;

use crate::beside::{Note, NoteFile};
use crate::hash::Hash;

const TITLE: &str = "portcullis-taken/1";
/// So many are kept, the last ones.
const MOST: usize = 64;
/// The longest reason, and the longest list of names, in bytes.
const MOST_TEXT: usize = 512;
/// No such file is longer, in bytes: two texts, a hash and four numbers each.
const MOST_BYTES: u64 = (MOST as u64) * (2 * MOST_TEXT as u64 + 256);

/// One time that it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// When, in microseconds since 1970.
    pub at: i64,
    /// The last entry that was known until then; 0: none.
    pub known: u64,
    /// The last one from then on, with its hash.
    pub last: (u64, Hash),
    /// By whom: every name, one after the other. On one line, at most 512 bytes.
    pub by: String,
    /// Why. On one line, at most 512 bytes.
    pub reason: String,
    /// Whether a gateway has told of it.
    pub is_told: bool,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenFile {
    file: NoteFile<Kept>,
}

impl Taken {
    fn to_line(&self) -> String {
        let told = if self.is_told { "told" } else { "new" };
        let (n, hash) = self.last;
        let [by, reason] = [&self.by, &self.reason].map(|text| in_a_line(text));
        format!("{told}\t{}\t{}\t{n}\t{hash}\t{by}\t{reason}\n", self.at, self.known)
    }

    fn from_line(line: &str) -> Option<Self> {
        let mut words = line.split('\t');
        let is_told = match words.next()? {
            "told" => true,
            "new" => false,
            _ => return None,
        };
        let taken = Self {
            is_told,
            at: words.next()?.parse().ok()?,
            known: words.next()?.parse().ok()?,
            last: (words.next()?.parse().ok()?, words.next()?.parse().ok()?),
            by: words.next()?.to_owned(),
            reason: words.next()?.to_owned(),
        };
        words.next().is_none().then_some(taken)
    }
}

fn in_a_line(text: &str) -> String {
    let mut text: String = text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    text.truncate(text.floor_char_boundary(MOST_TEXT));
    text
}

/// All that the file has, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept(Vec<Taken>);

impl Note for Kept {
    const SUFFIX: &'static str = ".taken";
    const MOST: u64 = MOST_BYTES;

    fn to_text(&self) -> String {
        let lines: String = self.0.iter().map(Taken::to_line).collect();
        format!("{TITLE}\n{lines}")
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next() != Some(TITLE) {
            return None;
        }
        lines.map(Taken::from_line).collect::<Option<_>>().map(Self)
    }
}

impl TakenFile {
    /// That of the log in this store.
    pub fn beside(store: &Path) -> Self {
        Self { file: NoteFile::beside(store) }
    }

    /// All that is kept, the oldest first.
    ///
    /// # Errors
    /// It cannot be read, or is something else.
    pub fn read(&self) -> io::Result<Vec<Taken>> {
        Ok(self.file.read()?.map(|Kept(all)| all).unwrap_or_default())
    }

    /// Adds one, in the place of the oldest where there are 64.
    ///
    /// # Errors
    /// It is not on the disk.
    pub fn add(&self, taken: Taken) -> io::Result<()> {
        let mut all = self.read()?;
        all.push(taken);
        self.write(&all)
    }

    /// A gateway has told of all that it read there: of those up to this time.
    ///
    /// # Errors
    /// It is not on the disk: they are told once more.
    pub fn are_told(&self, up_to: i64) -> io::Result<()> {
        let mut all = self.read()?;
        all.iter_mut().filter(|taken| taken.at <= up_to).for_each(|taken| taken.is_told = true);
        self.write(&all)
    }

    fn write(&self, all: &[Taken]) -> io::Result<()> {
        let kept = all.get(all.len().saturating_sub(MOST)..).unwrap_or(all);
        self.file.write(&Kept(kept.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(at: i64) -> Taken {
        let (by, reason) = ("root, unix:root".to_owned(), "the release was taken back".to_owned());
        Taken { at, known: 4, last: (9, Hash([7; 32])), by, reason, is_told: false }
    }

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_else_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = TakenFile::beside(&folder.path().join("portcullis.db"));
        assert_eq!(file.read().unwrap(), []);
        file.add(taken(1)).unwrap();
        file.add(taken(2)).unwrap();
        assert_eq!(file.read().unwrap(), [taken(1), taken(2)]);
        file.are_told(1).unwrap();
        assert_eq!(file.read().unwrap(), [Taken { is_told: true, ..taken(1) }, taken(2)]);
        let path = folder.path().join("portcullis.db.taken");
        let good = std::fs::read_to_string(&path).unwrap();
        for wrong in
            ["", &good[..good.len() - 1], &format!("{good}\n"), &good.replace("/1", "/2"), &good.replacen('\t', " ", 1)]
        {
            std::fs::write(&path, wrong).unwrap();
            assert!(file.read().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn it_is_bounded_in_lines_and_in_bytes_and_nobody_writes_a_line_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let file = TakenFile::beside(&folder.path().join("portcullis.db"));
        for at in 0..70 {
            let (by, reason) = ("é".repeat(2_000), "a\nnew\tb".to_owned() + &"ü".repeat(2_000));
            file.add(Taken { by, reason, at, ..taken(at) }).unwrap();
        }
        let kept = file.read().unwrap();
        assert_eq!((kept.len(), kept[0].at, kept[63].at), (64, 6, 69));
        assert!(kept[63].reason.starts_with("a new b") && kept[63].by.len() <= 512);
    }
}
