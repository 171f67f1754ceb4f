//! The files that a sink wrote: the one it writes to, and those that were rotated away beside it.
//!
//! A rotated file is one in the same folder whose name begins with the name of the file that is written to, followed by a dot or
//! a dash (`denials.jsonl.1`, `denials.jsonl-20261128.gz`), or that has something between the name's stem and its ending
//! (`denials-20261128.jsonl`, `denials.1.jsonl.gz`). Two files that begin with the same event are one: a copy, or one that
//! is being compressed at this moment.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use jiff::Timestamp;

use crate::facts::Facts;
use crate::lines::{Line, Lines};

/// How many files of one sink are looked at.
const MAX_FILES: usize = 10_000;
/// A file is told from others by its first so many bytes: an event's id and time are among them.
pub(crate) const BEGINNING: usize = 256;
const BUFFER: usize = 256 << 10;

/// One file of events.
#[derive(Debug, Clone)]
pub struct EventFile {
    /// Where it is.
    pub path: PathBuf,
    /// It is compressed by gzip (RFC 1952).
    pub compressed: bool,
    /// Its size on disk.
    pub bytes: u64,
    /// What tells it from other files, whatever it is called: its first bytes.
    pub(crate) beginning: Vec<u8>,
    /// The time of its first event that can be read.
    pub(crate) first_us: Option<i64>,
    /// When it was last written to.
    pub(crate) written_us: Option<i64>,
}

/// The files of the sink that writes to `path`, the newest first. A file that cannot be read is in the second list, with why.
pub fn files_of(path: &Path) -> (Vec<EventFile>, Vec<(PathBuf, io::Error)>) {
    let mut names = rotated(path);
    names.sort();
    // The one that is written to comes first, and a plain file before a compressed one: of two that are the same, that is kept.
    names.sort_by_key(|name| (name != path, name.extension().is_some_and(|ending| ending == "gz")));
    let (mut files, mut failures): (Vec<EventFile>, _) = (Vec::new(), Vec::new());
    for name in names {
        match EventFile::open(&name) {
            Ok(Some(file)) if files.iter().any(|other| other.beginning == file.beginning) => {}
            Ok(Some(file)) => files.push(file),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && name != path => {}
            Err(error) => failures.push((name, error)),
        }
    }
    files.sort_by_key(|file| std::cmp::Reverse(file.first_us));
    (files, failures)
}

/// Calls `take` with each line of a file, which may be compressed by gzip, without its line feed; also with a last one that is not ended. Says how
/// many lines were passed over because they are longer than any event.
///
/// # Errors
/// When the file cannot be read to its end.
pub fn for_each_line(path: &Path, take: &mut dyn FnMut(&[u8])) -> io::Result<u64> {
    let Some(file) = EventFile::open(path)? else { return Ok(0) };
    for_each_line_of(file.reader(0)?, take)
}

/// The same of what is read from anywhere.
///
/// # Errors
/// When it cannot be read to its end.
pub fn for_each_line_of(reader: impl BufRead, take: &mut dyn FnMut(&[u8])) -> io::Result<u64> {
    let (mut lines, mut too_long) = (Lines::new(reader, 0), 0);
    loop {
        match lines.next()? {
            // An empty line ends one that a crash left open.
            Line::Whole(_, []) => {}
            Line::Whole(_, line) => take(line),
            Line::Unfinished(line) => {
                take(line);
                return Ok(too_long);
            }
            Line::TooLong => too_long += 1,
            Line::End => return Ok(too_long),
        }
    }
}

fn rotated(path: &Path) -> Vec<PathBuf> {
    let mut names = vec![path.to_owned()];
    let Some(name) = path.file_name() else { return names };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let Ok(entries) = fs::read_dir(folder) else { return names };
    for entry in entries.flatten().take(MAX_FILES) {
        let found = entry.file_name();
        let regular = entry.file_type().is_ok_and(|kind| kind.is_file());
        if regular && found != name && is_rotated(name.as_bytes(), found.as_bytes()) {
            names.push(path.with_file_name(found));
        }
    }
    names
}

/// Whether a file called `found` was once called `name`.
fn is_rotated(name: &[u8], found: &[u8]) -> bool {
    // What is written beside these files is no file of events.
    const OTHERS: [&[u8]; 6] = [b".tmp", b".part", b".index", b"-wal", b"-shm", b".lock"];
    if OTHERS.iter().any(|ending| found.ends_with(ending)) {
        return false;
    }
    let separated = |rest: &[u8]| matches!(rest.first(), Some(b'.' | b'-'));
    if found.strip_prefix(name).is_some_and(separated) {
        return true;
    }
    let Some(dot) = name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0) else { return false };
    let (stem, ending) = name.split_at(dot);
    let found = found.strip_suffix(b".gz").unwrap_or(found);
    let between = found.strip_prefix(stem).and_then(|rest| rest.strip_suffix(ending));
    between.is_some_and(|between| between.len() > 1 && separated(between))
}

impl EventFile {
    /// `None` where there is nothing in it yet.
    fn open(path: &Path) -> io::Result<Option<Self>> {
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            // Such as /dev/null, which a sink may write to.
            return Ok(None);
        }
        let mut magic = [0; 2];
        let compressed = File::open(path)?.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
        let written = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        let mut file = Self {
            path: path.to_owned(),
            compressed,
            bytes: metadata.len(),
            beginning: Vec::new(),
            first_us: None,
            written_us: written.map(Timestamp::as_microsecond),
        };
        let mut reader = file.reader(0)?;
        let beginning = reader.fill_buf()?;
        if beginning.is_empty() {
            return Ok(None);
        }
        file.beginning = beginning.get(..BEGINNING.min(beginning.len())).unwrap_or_default().to_vec();
        file.first_us = first_time(reader)?;
        Ok(Some(file))
    }

    /// Its content, decompressed, from this offset on.
    pub(crate) fn reader(&self, offset: u64) -> io::Result<Box<dyn BufRead + Send>> {
        let mut file = File::open(&self.path)?;
        if !self.compressed {
            file.seek(SeekFrom::Start(offset))?;
            return Ok(Box::new(BufReader::with_capacity(BUFFER, file)));
        }
        let file = BufReader::with_capacity(BUFFER, file);
        let mut content = BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file));
        io::copy(&mut (&mut content).take(offset), &mut io::sink())?;
        Ok(Box::new(content))
    }

    /// Whether an event of this time span may be in it, as far as its own times tell.
    pub(crate) fn may_hold(&self, since_us: Option<i64>, until_us: Option<i64>) -> bool {
        // Neighbours may stand in another order than their times.
        const SLACK_US: i64 = 60 * 1_000_000;
        let begins_late = |until: i64| self.first_us.is_some_and(|first| first.saturating_sub(SLACK_US) >= until);
        let ends_early = |since: i64| self.written_us.is_some_and(|last| last.saturating_add(SLACK_US) < since);
        !until_us.is_some_and(begins_late) && !since_us.is_some_and(ends_early)
    }
}

/// The time of the first line that can be read, if it is among the first few.
fn first_time(reader: impl BufRead) -> io::Result<Option<i64>> {
    let mut lines = Lines::new(reader, 0);
    for _ in 0..16 {
        match lines.next()? {
            Line::Whole(_, line) | Line::Unfinished(line) => {
                if let Some(facts) = Facts::of_line(line) {
                    return Ok(Some(facts.time_us));
                }
            }
            Line::TooLong => {}
            Line::End => break,
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_rotated_file_is_known_by_its_name() {
        let check = |found: &str, expected: bool| {
            assert_eq!(is_rotated(b"denials.jsonl", found.as_bytes()), expected, "{found}");
        };
        check("denials.jsonl.1", true);
        check("denials.jsonl.2.gz", true);
        check("denials.jsonl-20261128", true);
        check("denials-20261128.jsonl", true);
        check("denials.1.jsonl.gz", true);
        check("denials.jsonl.tmp", false);
        check("denials.jsonl.index", false);
        check("denials.jsonl.index-wal", false);
        check("denials.jsonlx", false);
        check("denials2.jsonl", false);
        check("other.jsonl", false);
        check("denials..jsonl", false);
        assert!(is_rotated(b"events", b"events.1"));
        assert!(!is_rotated(b"events", b"events"));
        assert!(!is_rotated(b".hidden", b".hidden2"));
    }

    #[test]
    fn copies_and_compressed_twins_count_once_and_the_newest_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let line = |second: u32| {
            let id = uuid::Uuid::from_u128(u128::from(second));
            format!(
                "{{\"id\":\"{id}\",\"time\":\"2026-11-22T19:04:{second:02}Z\",\"kind\":\"a\",\"pad\":\"{:>300}\"}}\n",
                ""
            )
        };
        fs::write(path("e.jsonl"), line(30)).unwrap();
        fs::write(path("e.jsonl.1"), line(20)).unwrap();
        fs::write(path("e.jsonl.2"), line(10)).unwrap();
        fs::write(path("e.jsonl.copy"), line(10)).unwrap();
        fs::write(path("e.jsonl.empty"), "").unwrap();
        let mut gz = flate2::write::GzEncoder::new(File::create(path("e.jsonl.3.gz")).unwrap(), Default::default());
        gz.write_all(line(5).as_bytes()).unwrap();
        gz.finish().unwrap();
        let mut twin = flate2::write::GzEncoder::new(File::create(path("e.jsonl.1.gz")).unwrap(), Default::default());
        twin.write_all(line(20).as_bytes()).unwrap();
        twin.finish().unwrap();
        let (files, failures) = files_of(&path("e.jsonl"));
        let names: Vec<_> = files.iter().map(|file| file.path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["e.jsonl", "e.jsonl.1", "e.jsonl.2", "e.jsonl.3.gz"]);
        assert!(failures.is_empty(), "{failures:?}");
        let mut text = String::new();
        files[3].reader(10).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, line(5)[10..]);
    }

    #[test]
    fn a_sink_whose_file_is_not_there_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let (files, failures) = files_of(&folder.path().join("none.jsonl"));
        assert!(files.is_empty());
        assert_eq!(failures.len(), 1);
    }
}
