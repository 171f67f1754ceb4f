//! The end of a place that keeps events: a file with those that were rotated away from it, or the spool.
//!
//! Its last lines are held in memory. Where they do not tell how two places stand to each other, both are read again from further back, line
//! by line: as far as two places can end from each other.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;

use crate::beside;
use crate::chain::{self, Hash};
use crate::event::EventKind;
use crate::lane::MAX_WAITING_BYTES;
use crate::read::{Line, read_line};
use crate::sinks::rotation;
use crate::spool::segment;

/// How much of a place's end is looked at: no line is longer than 1 MiB.
pub(crate) const TAIL: usize = 2 * 1024 * 1024;
/// How much of it is looked at where that does not suffice. A process has no more than that in memory for a place, so that no two which it
/// wrote to end farther from each other.
pub(super) const FARTHEST: u64 = 2 * MAX_WAITING_BYTES as u64;
/// How many files are looked at that somebody else may have rotated away.
const ROTATED: usize = 4;

/// The last lines of a place, of which the last is an event.
#[derive(Debug)]
pub(super) struct End {
    /// What the place is called.
    pub(super) place: String,
    /// The last event.
    pub(super) last: Last,
    /// Whether it is the last that a process records when it stops in order, or only a checkpoint follows on that.
    pub(super) in_order: bool,
    /// Its hash, where it bears one that is right.
    pub(super) hash: Option<Hash>,
    /// Lines, each with its line feed.
    bytes: Vec<u8>,
    /// Where each line stands that bears a hash, and the hash.
    sealed: Vec<(Range<usize>, Hash)>,
    /// All hashes that these lines know of: their own, and those of the lines before them.
    known: HashSet<Hash>,
    /// The start of the process that wrote the last one, where it is among the lines.
    run: Option<String>,
    /// Where the lines stand, and those before them; the latest first.
    pieces: Vec<Piece>,
}

/// Something that holds lines, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// A file, compressed or not.
    File(PathBuf),
    /// The segment of this number in the spool's folder.
    Segment(PathBuf, u64),
}

/// How one end stands to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// It is later.
    Later,
    /// It is not.
    NotLater,
    /// Neither place has the other's last line.
    Unknown,
}

/// What is read of an event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Last {
    #[serde(default)]
    id: String,
    pub(super) kind: String,
    pub(super) time: String,
    #[serde(default)]
    seq: u64,
}

impl End {
    /// Of a file; where there is no event in it yet, of the one that was last rotated away from it.
    pub(super) fn of_file(path: &Path) -> Option<Self> {
        let old = put_away(path);
        let in_file = |path: &PathBuf| Some((Self::of(path.display().to_string(), tail(path).ok()?)?, path.clone()));
        let newest = in_file(&path.to_owned()).or_else(|| {
            let ends = old.files.iter().take(if old.in_order { 1 } else { ROTATED }).filter_map(in_file);
            ends.reduce(|newest, other| if other.0.order(&newest.0) == Order::Later { other } else { newest })
        });
        let (mut end, newest) = newest?;
        let older = old.files.into_iter().filter(|other| *other != newest).map(Piece::File);
        end.pieces = [Piece::File(newest.clone())].into_iter().chain(older).collect();
        Some(end)
    }

    /// Of the spool, of which these are the last lines.
    pub(super) fn of_spool(folder: &Path, tail: Vec<u8>) -> Option<Self> {
        let mut end = Self::of("the spool".to_owned(), tail)?;
        let firsts = segment::list(folder).unwrap_or_default();
        end.pieces = firsts.into_iter().rev().map(|first| Piece::Segment(folder.to_owned(), first)).collect();
        Some(end)
    }

    /// Of whole lines, of which only the last one may lack its line feed.
    fn of(place: String, mut bytes: Vec<u8>) -> Option<Self> {
        if !bytes.is_empty() && !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        bytes = without_permits(bytes);
        let (mut lines, mut sealed, mut known) = (Vec::new(), Vec::new(), HashSet::new());
        let mut start = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let whole = start..start + line.len();
            start = whole.end;
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if let Some(links) = chain::links(line) {
                known.extend(links.prev);
                known.insert(links.hash);
                sealed.push((whole.clone(), links.hash));
            }
            lines.push(whole);
        }
        let read = |range: &Range<usize>| serde_json::from_slice::<Last>(bytes.get(range.clone())?).ok();
        // Nearly always the very last.
        let (range, last) = lines.iter().rev().find_map(|range| Some((range.clone(), read(range)?)))?;
        let mut before = lines.iter().rev().filter(|line| line.start <= range.start);
        let run = before.find(|line| bytes.get((*line).clone()).is_some_and(is_start)).and_then(read);
        let run = run.map(|start| start.id);
        let checkpoint = EventKind::IntegrityCheckpoint.as_str();
        let mut before = lines.iter().rev().filter(|line| line.start <= range.start);
        let told = before.find_map(|line| read(line).filter(|event| event.kind != checkpoint));
        let in_order = told.is_some_and(|event| event.kind == EventKind::GatewayStopped.as_str());
        let line = bytes.get(range.clone()).unwrap_or_default();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let hash = chain::read(line).filter(|seal| seal.is_right).map(|seal| seal.hash);
        bytes.truncate(range.end);
        sealed.retain(|(line, _)| line.end <= range.end);
        Some(Self { place, last, in_order, hash, bytes, sealed, known, run, pieces: Vec::new() })
    }

    /// By the chain: whoever has the other's last line before its own is later. Where that is out of sight, by the numbers of one process,
    /// and then by what stands further back. A clock is asked only where one of them is in no chain: it may have been set back.
    pub(super) fn order(&self, other: &Self) -> Order {
        let order = |later: bool| if later { Order::Later } else { Order::NotLater };
        let follows = |this: &Self, other: &Self| other.hash.is_some_and(|hash| this.known.contains(&hash));
        match (follows(self, other), follows(other, self)) {
            (true, false) => return Order::Later,
            (false, true) => return Order::NotLater,
            (true, true) => return order(self.hash != other.hash && self.sealed.len() > other.sealed.len()),
            (false, false) => {}
        }
        if self.run.is_some() && self.run == other.run {
            return order(self.last.seq > other.last.seq);
        }
        let Some((own, others)) = self.hash.zip(other.hash) else { return order(self.last.time > other.last.time) };
        if self.successor(&others).is_some() {
            Order::Later
        } else if other.successor(&own).is_some() {
            Order::NotLater
        } else {
            Order::Unknown
        }
    }

    /// The lines that follow on the end of another place; `None` where that is not in sight.
    pub(super) fn lines_after(&self, other: &Self) -> Option<Vec<u8>> {
        let hash = other.hash?;
        let from = match self.sealed.iter().rfind(|(_, sealed)| *sealed == hash) {
            Some((line, _)) => Some(line.end),
            // The first line in sight may follow on it.
            None => self.sealed.first().and_then(|(first, _)| {
                let line = self.bytes.get(first.clone())?;
                let links = chain::links(line.strip_suffix(b"\n").unwrap_or(line))?;
                (links.prev == Some(hash)).then_some(first.start)
            }),
        };
        match from {
            Some(from) => self.bytes.get(from..).map(<[u8]>::to_vec),
            None => self.lines_from(&hash),
        }
    }

    /// In which of the pieces a line stands that follows on this hash, if it is not too far from the end.
    fn successor(&self, hash: &Hash) -> Option<usize> {
        let mut left = FARTHEST;
        for (number, piece) in self.pieces.iter().enumerate() {
            let mut found = false;
            let looked_at = piece.lines(left, &mut |line| {
                found |= chain::links(line).is_some_and(|links| links.prev == Some(*hash));
            });
            if found {
                return Some(number);
            }
            // Behind what cannot be read nothing is sure.
            left = left.checked_sub(looked_at.ok()?)?;
        }
        None
    }

    /// That line, and those behind it.
    fn lines_from(&self, hash: &Hash) -> Option<Vec<u8>> {
        let found = self.successor(hash)?;
        let (mut begun, mut lines) = (false, Vec::new());
        for piece in self.pieces.get(..=found)?.iter().rev() {
            let taken = piece.lines(FARTHEST, &mut |line| {
                // What is in no chain is a permit, or no event: half a line, which somebody was writing.
                let Some(links) = chain::links(line) else { return };
                begun |= links.prev == Some(*hash);
                if begun {
                    lines.extend_from_slice(line);
                    lines.push(b'\n');
                }
            });
            taken.ok()?;
        }
        Some(lines)
    }
}

impl Piece {
    /// Calls `take` with each whole line of the last `most` bytes, oldest first, without its line feed. Says how many bytes were looked at.
    fn lines(&self, most: u64, take: &mut dyn FnMut(&[u8])) -> io::Result<u64> {
        let path = match self {
            Self::Segment(folder, first) => return segment::lines(folder, *first, take),
            Self::File(path) => path,
        };
        let mut file = BufReader::with_capacity(256 * 1024, File::open(path)?);
        if is_compressed(&mut file)? {
            return lines_of(&mut BufReader::new(MultiGzDecoder::new(file)), take);
        }
        let length = file.get_ref().metadata()?.len();
        begin_with_a_line(&mut file, length.saturating_sub(most))?;
        lines_of(&mut file, take)
    }
}

fn lines_of(reader: &mut impl BufRead, take: &mut dyn FnMut(&[u8])) -> io::Result<u64> {
    let (mut line, mut bytes) = (Vec::new(), 0);
    loop {
        match read_line(reader, &mut line)? {
            Line::End => return Ok(bytes),
            // It is no event.
            Line::TooLong => {}
            Line::Whole => {
                bytes += line.len() as u64 + 1;
                take(&line);
            }
        }
    }
}

/// Goes to the first line of a file that begins at this place or behind it.
fn begin_with_a_line(file: &mut BufReader<File>, from: u64) -> io::Result<()> {
    let Some(before) = from.checked_sub(1) else { return file.rewind() };
    file.seek(SeekFrom::Start(before))?;
    file.skip_until(b'\n').map(drop)
}

fn is_compressed(file: &mut impl BufRead) -> io::Result<bool> {
    Ok(file.fill_buf()?.starts_with(&[0x1f, 0x8b]))
}

/// Files that were put away, the latest first; each once, though it may just have been compressed.
struct PutAway {
    files: Vec<PathBuf>,
    in_order: bool,
}

/// Names of our own are in the order in which the files were put away. Of others, only their time is known.
fn put_away(path: &Path) -> PutAway {
    let mut files = rotation::old_files(path).unwrap_or_default();
    files.reverse();
    let in_order = !files.is_empty();
    if !in_order {
        files = beside::rotated(path).unwrap_or_default();
    }
    let packed: HashSet<PathBuf> = files
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "gz"))
        .map(|file| file.with_extension(""))
        .collect();
    files.retain(|file| !packed.contains(file));
    PutAway { files, in_order }
}

fn is_start(line: &[u8]) -> bool {
    begins_with(line, b"\"kind\":\"gateway.started\"")
}

/// Of a permit that was recorded by chance: it is in no chain, and not for every place.
fn is_permit(line: &[u8]) -> bool {
    begins_with(line, b"\"seq\":0,") && begins_with(line, b"\"kind\":\"access.allowed\"")
}

fn without_permits(bytes: Vec<u8>) -> Vec<u8> {
    if !bytes.split_inclusive(|byte| *byte == b'\n').any(is_permit) {
        return bytes;
    }
    let others: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_permit(line)).collect();
    others.concat()
}

/// Whether a key with this value stands near the start of a line.
fn begins_with(line: &[u8], key: &[u8]) -> bool {
    line.get(..line.len().min(256)).is_some_and(|head| head.windows(key.len()).any(|window| window == key))
}

/// The last lines of a file, compressed or not; nothing where it is no regular file. The first of them is whole: half a one could look like
/// a whole one that ends the same.
fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = path.metadata()?;
    let mut tail = Vec::new();
    if !metadata.is_file() {
        return Ok(tail);
    }
    let mut file = BufReader::new(File::open(path)?);
    if is_compressed(&mut file)? {
        let (mut plain, mut cut) = (MultiGzDecoder::new(file), false);
        while (&mut plain).take(TAIL as u64).read_to_end(&mut tail)? > 0 {
            let more = tail.len().saturating_sub(TAIL);
            tail.drain(..more);
            cut |= more > 0;
        }
        let half = tail.iter().position(|byte| *byte == b'\n').map_or(tail.len(), |at| at + 1);
        tail.drain(..if cut { half } else { 0 });
        return Ok(tail);
    }
    begin_with_a_line(&mut file, metadata.len().saturating_sub(TAIL as u64))?;
    file.take(TAIL as u64).read_to_end(&mut tail)?;
    Ok(tail)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::chain::Chain;

    /// Lines of one process: its start, and events with these numbers. `time` is what its clock says.
    fn lines(chain: &mut Chain, run: &str, numbers: Range<u64>, time: u64) -> Vec<Vec<u8>> {
        let line = |seq: u64| {
            let kind = if seq == 1 { "gateway.started" } else { "access.denied" };
            let mut line = format!(
                "{{\"id\":\"{run}-{seq}\",\"time\":\"{time:05}\",\"kind\":\"{kind}\",\"seq\":{seq},\"integrity\":null}}\n"
            )
            .into_bytes();
            chain.seal(&mut line, 0);
            line
        };
        numbers.map(line).collect()
    }

    fn end(name: &str, lines: &[Vec<u8>]) -> End {
        End::of(name.to_owned(), lines.concat()).unwrap()
    }

    /// Which of two ends is the newer, whichever comes first.
    #[track_caller]
    fn check(a: &[Vec<u8>], b: &[Vec<u8>], expected: &str) {
        for (one, other) in [(("a", a), ("b", b)), (("b", b), ("a", a))] {
            let (one, other) = (end(one.0, one.1), end(other.0, other.1));
            let later = match other.order(&one) {
                Order::Later => other.place,
                Order::NotLater => one.place,
                Order::Unknown => "?".to_owned(),
            };
            assert_eq!(later, expected);
        }
    }

    #[test]
    fn the_newer_end_is_the_one_that_follows_on_the_other_whatever_the_clock_says() {
        let mut chain = Chain::begin("test");
        let first = lines(&mut chain, "r1", 1..6, 500);
        // The clock stepped back.
        let second = lines(&mut chain, "r2", 1..4, 100);
        let all = [first.clone(), second.clone()].concat();
        check(&first, &all, "b");
        check(&first[..2], &first, "b");
        check(&first, &second, "b");
        check(&all[..6], &all[..7], "b");
    }

    #[test]
    fn out_of_sight_numbers_of_one_process_count_and_a_clock_does_not() {
        let mut chain = Chain::begin("test");
        let first = lines(&mut chain, "r1", 1..10, 500);
        let with_gap = |gone: Range<usize>| [&first[..gone.start], &first[gone.end..]].concat();
        // Each lacks what the other ends with.
        check(&with_gap(4..8), &first[..6], "a");
        let other = lines(&mut Chain::begin("another"), "r2", 1..3, 600);
        check(&first, &other, "?");
        // What is in no chain has nothing else.
        let unsealed =
            |time: u64| format!("{{\"time\":\"{time:05}\",\"kind\":\"x\",\"integrity\":null}}\n").into_bytes();
        check(&first, &[unsealed(501)], "b");
        check(&first, &[unsealed(499)], "a");
    }

    #[test]
    fn what_one_place_lacks_is_what_follows_on_its_end() {
        let mut chain = Chain::begin("test");
        let all = lines(&mut chain, "r", 1..8, 1);
        let newest = end("all", &all);
        assert_eq!(newest.lines_after(&end("x", &all[..5])), Some(all[5..].concat()));
        assert_eq!(newest.lines_after(&end("x", &all)), Some(Vec::new()));
        assert_eq!(end("tail", &all[3..]).lines_after(&end("x", &all[..3])), Some(all[3..].concat()));
        assert_eq!(end("tail", &all[4..]).lines_after(&end("x", &all[..3])), None);
        let other = lines(&mut Chain::begin("another"), "r", 1..3, 1);
        assert_eq!(newest.lines_after(&end("x", &other)), None);
    }

    /// More lines than the end that is held in memory, each of about 20 kB. The process began before them.
    fn many() -> Vec<Vec<u8>> {
        let mut chain = Chain::begin("test");
        let pad = "x".repeat(20_000);
        let line = |seq: u64| {
            let mut line = format!(
                "{{\"id\":\"r-{seq}\",\"time\":\"{:05}\",\"kind\":\"access.denied\",\"seq\":{seq},\"pad\":\"{pad}\",\"integrity\":null}}\n",
                10_000 - seq
            )
            .into_bytes();
            chain.seal(&mut line, 0);
            line
        };
        (2..302).map(line).collect()
    }

    #[test]
    fn a_line_that_the_end_in_memory_begins_within_is_given_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let all = many();
        let size = all[0].len();
        let path = folder.path().join("e.jsonl");
        std::fs::write(&path, all.concat()).unwrap();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&all.concat()).unwrap();
        let packed = folder.path().join("packed.gz");
        std::fs::write(&packed, gz.finish().unwrap()).unwrap();
        let half = (all.concat().len() - TAIL) / size;
        for path in [&path, &packed] {
            let newest = End::of_file(path).unwrap();
            for lacks in [half - 1, half, half + 1, half + 2] {
                assert!(newest.lines_after(&end("x", &all[..lacks])) == Some(all[lacks..].concat()), "{lacks}");
            }
        }
    }

    #[test]
    fn places_that_end_far_from_each_other_are_joined_whatever_the_clock_says() {
        let folder = tempfile::tempdir().unwrap();
        let all = many();
        // The clock ran backwards, and the start of the process is nowhere near: the rest stands in files that were put away.
        let path = folder.path().join("e.jsonl");
        std::fs::write(folder.path().join("e.jsonl-20261128T190412.697123Z"), all[..100].concat()).unwrap();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&all[100..290].concat()).unwrap();
        std::fs::write(folder.path().join("e.jsonl-20261128T190413.697123Z.gz"), gz.finish().unwrap()).unwrap();
        std::fs::write(&path, all[290..].concat()).unwrap();
        let file = End::of_file(&path).unwrap();
        for lacks in [1, 60, 100, 101, 250, 290, 295] {
            let behind = end("behind", &all[..lacks]);
            assert_eq!((file.order(&behind), behind.order(&file)), (Order::Later, Order::NotLater), "{lacks}");
            assert!(file.lines_after(&behind) == Some(all[lacks..].concat()), "{lacks}");
        }
        let other = end("other", &lines(&mut Chain::begin("another"), "r2", 1..3, 20_000));
        assert_eq!((file.order(&other), other.order(&file)), (Order::Unknown, Order::Unknown));
        assert_eq!(file.lines_after(&other), None);
    }

    #[test]
    fn a_whole_line_without_its_line_feed_counts_and_half_a_one_does_not() {
        let mut chain = Chain::begin("test");
        let all = lines(&mut chain, "r", 1..4, 1);
        let text = all.concat();
        let seq = |bytes: &[u8]| End::of("x".into(), bytes.to_vec()).map(|end| end.last.seq);
        assert_eq!(seq(&text[..text.len() - 1]), Some(3));
        assert_eq!(seq(&text[..text.len() - 2]), Some(2));
        assert_eq!(seq(&[&text, &b"rubbish}\n{}\n"[..]].concat()), Some(3));
        assert_eq!((seq(b""), seq(b"rubbish\n")), (None, None));
    }

    #[test]
    fn permits_that_are_in_no_chain_are_passed_over() {
        let mut chain = Chain::begin("test");
        let all = lines(&mut chain, "r", 1..6, 1);
        let permit = b"{\"id\":\"p\",\"time\":\"9\",\"kind\":\"access.allowed\",\"seq\":0,\"integrity\":null}\n";
        let mixed: Vec<u8> = all.iter().flat_map(|line| [line, &permit[..]].concat()).collect();
        let spool = End::of("spool".into(), mixed).unwrap();
        assert_eq!((spool.last.seq, spool.hash.is_some()), (5, true));
        // A file that lacks the last ones gets those, and no permit, which it does not take.
        assert_eq!(spool.lines_after(&end("x", &all[..3])), Some(all[3..].concat()));
    }

    #[test]
    fn an_empty_file_ends_where_the_one_ends_that_was_rotated_away_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.jsonl");
        let all = lines(&mut Chain::begin("test"), "r", 1..9, 1);
        let seq = || End::of_file(&path).map(|end| end.last.seq);
        std::fs::write(&path, "").unwrap();
        assert_eq!(seq(), None);
        std::fs::write(folder.path().join("e.jsonl.1"), all[..2].concat()).unwrap();
        assert_eq!(seq(), Some(2));
        std::fs::write(folder.path().join("e.jsonl-20261128T190412.697123Z"), all[..3].concat()).unwrap();
        let packed = folder.path().join("e.jsonl-20261128T190413.697123Z.gz");
        let mut gz = flate2::write::GzEncoder::new(File::create(packed).unwrap(), flate2::Compression::fast());
        gz.write_all(&all[..4].concat()).unwrap();
        gz.finish().unwrap();
        assert_eq!(seq(), Some(4));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(seq(), Some(4));
        std::fs::write(&path, all[..5].concat()).unwrap();
        assert_eq!(seq(), Some(5));
        assert!(End::of_file(Path::new("/dev/null")).is_none());
    }
}
