//! One file of the spool: a header, and records one after the other.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::record::{self, MAX_INDEX, Read};
use crate::recorder::end::TAIL;

/// Begins each file; the number says how it is laid out.
const MAGIC: &[u8; 8] = b"PCSPOOL1";
/// The magic, and the number of the first record.
pub(crate) const HEADER: u64 = 16;
const EXTENSION: &str = "seg";
/// Of one that could not be read and stood in the way of a new one.
pub(crate) const DAMAGED: &str = "damaged";
/// Only the gateway's user may read what it refused to whom.
const MODE: u32 = 0o600;
/// How much is read at once.
const PIECE: usize = 256 * 1024;
/// How much is read at once around what cannot be read.
const SECTOR: usize = 4_096;

/// What a segment's records were found to be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Where the last whole record ends.
    pub(crate) end: u64,
    /// The number after that of the last record; `None` where there is no record.
    pub(crate) next: Option<u64>,
    /// The last lines, each with its line feed: some more than [`TAIL`] bytes, or all there are.
    pub(crate) tail: Vec<u8>,
    /// Bytes after the last record: one that was being written when the process died.
    pub(crate) torn: u64,
}

/// The name of the segment whose first record has this number.
pub(crate) fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.{EXTENSION}"))
}

/// The segments of a folder by the number of their first record, oldest first.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<u64>> {
    let mut firsts = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| stem.len() == 20);
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            let number = number.and_then(|number| number.parse::<u64>().ok());
            firsts.extend(number.filter(|number| *number < MAX_INDEX));
        }
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// How many segments were set aside and are there still.
pub(crate) fn set_aside(folder: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in folder.read_dir()? {
        count += usize::from(entry?.path().extension().is_some_and(|extension| extension == DAMAGED));
    }
    Ok(count)
}

/// Makes a new segment, and makes sure that its name is on the disk. What an attempt that failed leaves is taken away, so that it
/// does not stand in the way of the next one.
pub(crate) fn create(folder: &Path, first: u64) -> io::Result<File> {
    begin(folder, first).inspect_err(|_| {
        let _ = fs::remove_file(path(folder, first));
    })
}

fn begin(folder: &Path, first: u64) -> io::Result<File> {
    let mut file = OpenOptions::new().append(true).create_new(true).mode(MODE).open(path(folder, first))?;
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&first.to_le_bytes());
    file.write_all(&header)?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

/// Opens a segment to append to it.
pub(crate) fn open_to_append(folder: &Path, first: u64) -> io::Result<File> {
    OpenOptions::new().append(true).open(path(folder, first))
}

/// Opens a segment to read it. Says `InvalidData` where its header is not that of this segment.
pub(crate) fn open_to_read(folder: &Path, first: u64) -> io::Result<File> {
    let mut file = File::open(path(folder, first))?;
    let mut header = [0; HEADER as usize];
    file.read_exact(&mut header)?;
    let expected = [&MAGIC[..], &first.to_le_bytes()].concat();
    if header[..] == expected { Ok(file) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// The same where the disk may not give its header any more: each record says what it is, and many may stand behind what is lost.
pub(crate) fn open_scratched(folder: &Path, first: u64) -> io::Result<File> {
    match open_to_read(folder, first) {
        Err(error) if is_unreadable(&error) => File::open(path(folder, first)),
        opened => opened,
    }
}

/// Whether an error says that the disk does not give what is on it: to ask again helps little, to ask for what stands elsewhere may.
/// `EIO`, `EBADMSG` and `EUCLEAN`, which the standard library has no names for.
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(5 | 74 | 117))
}

/// Calls `take` with each line of a segment, oldest first, without its line feed. Says how many bytes these lines are.
pub(crate) fn lines(folder: &Path, first: u64, take: &mut dyn FnMut(&[u8])) -> io::Result<u64> {
    let file = open_scratched(folder, first)?;
    let length = file.metadata()?.len();
    let mut records = Records::new(HEADER);
    records.pass_over_unreadable();
    let mut bytes = 0;
    while let Some((_, line)) = records.next(&file, length)? {
        take(line);
        bytes += line.len() as u64 + 1;
    }
    Ok(bytes)
}

/// Reads all records of a segment.
pub(crate) fn scan(folder: &Path, first: u64) -> io::Result<Scan> {
    let file = open_scratched(folder, first)?;
    let length = file.metadata()?.len();
    let mut cursor = Records::new(HEADER);
    // A sector that cannot be read must not keep the gateway from starting.
    cursor.pass_over_unreadable();
    let mut scan = Scan { end: HEADER, ..Scan::default() };
    while let Some((index, line)) = cursor.next(&file, length)? {
        scan.next = Some(index + 1);
        scan.tail.extend_from_slice(line);
        scan.tail.push(b'\n');
        scan.end = cursor.offset();
        if scan.tail.len() > 4 * TAIL {
            // What would be half a line goes with what comes before it.
            let cut = scan.tail.len() - 2 * TAIL;
            let rest = scan.tail.get(cut..).unwrap_or_default();
            let half = rest.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            scan.tail.drain(..cut + half);
        }
    }
    scan.torn = length.saturating_sub(scan.end);
    Ok(scan)
}

/// Reads records of a file one after the other, and passes over what is damaged.
#[derive(Debug)]
pub(crate) struct Records {
    /// Where in the file `buffer` begins.
    base: u64,
    buffer: Vec<u8>,
    /// How much of it was consumed.
    consumed: usize,
    /// Whether a part that cannot be read is taken for a damaged one.
    lenient: bool,
}

/// A file, of which a test may make parts unreadable.
pub(crate) trait ReadAt {
    /// Like [`FileExt::read_at`].
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}

impl Records {
    /// Begins at an offset.
    pub(crate) fn new(offset: u64) -> Self {
        Self { base: offset, buffer: Vec::new(), consumed: 0, lenient: false }
    }

    /// From now on, what cannot be read counts as damaged: the next whole record behind it comes next.
    pub(crate) fn pass_over_unreadable(&mut self) {
        self.lenient = true;
    }

    /// Where the next record would begin.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.consumed as u64
    }

    /// The next whole record before the offset `end`; `None` where there is none (yet).
    pub(crate) fn next(&mut self, file: &impl ReadAt, end: u64) -> io::Result<Option<(u64, &[u8])>> {
        // Where, after what was consumed, a record is looked for.
        let mut skipped = 0;
        loop {
            let rest = self.buffer.get(self.consumed + skipped..).unwrap_or_default();
            match record::read(rest) {
                Read::Whole { index, line } => {
                    let (start, length) = (self.consumed + skipped + record::HEADER, line.len());
                    self.consumed = start + length;
                    return Ok(self.buffer.get(start..start + length).map(|line| (index, line)));
                }
                // What is damaged stays damaged: it need not be kept to be looked at again.
                Read::Damaged => {
                    self.consumed += skipped + record::next_mark(rest);
                    skipped = 0;
                }
                Read::Partial => {
                    let (is_empty, step) = (rest.is_empty(), record::next_mark(rest));
                    if self.fill(file, end)? {
                        continue;
                    }
                    if is_empty {
                        return Ok(None);
                    }
                    // It was never written to its end; or its length is damaged, and whole ones follow.
                    skipped += step;
                }
            }
        }
    }

    /// Reads on; says whether there was more before `end`.
    fn fill(&mut self, file: &impl ReadAt, end: u64) -> io::Result<bool> {
        self.buffer.drain(..self.consumed);
        self.base += self.consumed as u64;
        self.consumed = 0;
        let from = self.base + self.buffer.len() as u64;
        let more = usize::try_from(end.saturating_sub(from)).unwrap_or(PIECE).min(PIECE);
        let kept = self.buffer.len();
        self.buffer.resize(kept + more, 0);
        let piece = self.buffer.get_mut(kept..).unwrap_or_default();
        let read = match file.read_at(piece, from) {
            Err(error) if self.lenient => read_around(file, piece, from, &error),
            read => read.inspect_err(|_| self.buffer.truncate(kept))?,
        };
        self.buffer.truncate(kept + read);
        Ok(read > 0)
    }
}

/// Reads what can be read of a piece, and leaves zeros, which are no record, where that is nothing.
fn read_around(file: &impl ReadAt, piece: &mut [u8], from: u64, error: &io::Error) -> usize {
    tracing::error!(from, bytes = piece.len(), %error, "a part of the spool cannot be read; what can be is read around it");
    let mut at = 0;
    while let Some(rest) = piece.get_mut(at..).filter(|rest| !rest.is_empty()) {
        let sector = rest.len().min(SECTOR - usize::try_from(from + at as u64).unwrap_or_default() % SECTOR);
        let rest = rest.get_mut(..sector).unwrap_or_default();
        match file.read_at(rest, from + at as u64) {
            Ok(0) => break,
            Ok(read) => at += read,
            Err(_) => {
                rest.fill(0);
                at += sector;
            }
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path, lines: &[&str]) -> Vec<u8> {
        let mut file = create(folder, 5).unwrap();
        let mut bytes = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            record::append(&mut bytes, 5 + number as u64, line.as_bytes());
        }
        file.write_all(&bytes).unwrap();
        fs::read(path(folder, 5)).unwrap()
    }

    /// The numbers of the records that are found, and the scan.
    fn check(folder: &Path, bytes: &[u8], numbers: &[u64], torn: u64) {
        fs::write(path(folder, 5), bytes).unwrap();
        let file = open_to_read(folder, 5).unwrap();
        let mut records = Records::new(HEADER);
        let mut found = Vec::new();
        while let Some((index, _)) = records.next(&file, bytes.len() as u64).unwrap() {
            found.push(index);
        }
        let scan = scan(folder, 5).unwrap();
        assert_eq!((found.as_slice(), scan.torn), (numbers, torn));
        assert_eq!(scan.next, numbers.last().map(|last| last + 1));
    }

    #[test]
    fn a_segment_is_read_as_far_as_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let whole = written(folder.path(), &["first", "second", "third"]);
        let last = record::HEADER + "third".len();
        check(folder.path(), &whole, &[5, 6, 7], 0);
        for cut in 1..last {
            check(folder.path(), &whole[..whole.len() - cut], &[5, 6], (last - cut) as u64);
        }
        check(folder.path(), &[&whole[..], &[0; 100]].concat(), &[5, 6, 7], 100);
        check(folder.path(), &whole[..HEADER as usize], &[], 0);
    }

    #[test]
    fn a_damaged_record_is_passed_over_wherever_the_damage_is() {
        let folder = tempfile::tempdir().unwrap();
        let whole = written(folder.path(), &["first", "second", "third"]);
        let first = HEADER as usize + record::HEADER + "first".len();
        for at in 0..record::HEADER + "second".len() {
            let mut damaged = whole.clone();
            damaged[first + at] ^= 0x40;
            check(folder.path(), &damaged, &[5, 7], 0);
        }
    }

    /// A file of which one sector cannot be read.
    struct Scratched(Vec<u8>, std::ops::Range<u64>);

    impl ReadAt for Scratched {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let rest = self.0.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
            let length = buffer.len().min(rest.len());
            if self.1.start < offset + length as u64 && offset < self.1.end {
                return Err(io::Error::from_raw_os_error(5));
            }
            buffer[..length].copy_from_slice(&rest[..length]);
            Ok(length)
        }
    }

    #[test]
    fn what_cannot_be_read_is_passed_over_up_to_the_next_whole_record() {
        let folder = tempfile::tempdir().unwrap();
        let lines: Vec<String> = (0..200).map(|number| format!("{number:>200}")).collect();
        let whole = written(folder.path(), &lines.iter().map(String::as_str).collect::<Vec<_>>());
        let size = (record::HEADER + 200) as u64;
        let sector = 8_192..12_288;
        let file = Scratched(whole, sector.clone());
        let mut records = Records::new(HEADER);
        let end = file.0.len() as u64;
        // Perhaps it can be read the next time: that is for the caller to say.
        assert!(records.next(&file, end).is_err() && records.next(&file, end).is_err());
        records.pass_over_unreadable();
        let mut found = Vec::new();
        while let Some((index, _)) = records.next(&file, end).unwrap() {
            found.push(index - 5);
        }
        let touched = |number: &u64| HEADER + number * size < sector.end && HEADER + (number + 1) * size > sector.start;
        let expected: Vec<u64> = (0..200).filter(|number| !touched(number)).collect();
        assert_eq!(found, expected);
        assert!(found.len() < 200);
    }

    #[test]
    fn the_tail_of_a_long_segment_begins_with_a_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let line = |number: u64| format!("{number}{}", "x".repeat(300_000));
        let ended = |number: u64| line(number) + "\n";
        let mut file = create(folder.path(), 5).unwrap();
        for number in 0..40 {
            let mut bytes = Vec::new();
            record::append(&mut bytes, 5 + number, line(number).as_bytes());
            file.write_all(&bytes).unwrap();
        }
        let scan = scan(folder.path(), 5).unwrap();
        assert!(scan.tail.len() >= TAIL && scan.tail.len() < 5 * TAIL, "{}", scan.tail.len());
        let lines: Vec<&[u8]> = scan.tail.split_inclusive(|byte| *byte == b'\n').collect();
        let first = 40 - lines.len() as u64;
        for (line, number) in lines.iter().zip(first..) {
            assert!(*line == ended(number).as_bytes(), "line {number} is not whole");
        }
        let mut all = 0;
        let bytes = super::lines(folder.path(), 5, &mut |_| all += 1).unwrap();
        assert_eq!((all, bytes), (40, (0..40).map(|number| line(number).len() as u64 + 1).sum()));
    }

    #[test]
    fn a_file_that_is_no_segment_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "PCSPOOL1", "PCSPOOL1\0\0\0\0\0\0\0\0", "something else!!"] {
            fs::write(path(folder.path(), 5), text).unwrap();
            assert!(open_to_read(folder.path(), 5).is_err(), "{text:?}");
        }
    }

    #[test]
    fn segments_are_listed_by_number_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["00000000000000000010.seg", "00000000000000000009.seg", "9.seg", "cursor-x", "x.seg", "lock"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(list(folder.path()).unwrap(), [9, 10]);
    }
}
