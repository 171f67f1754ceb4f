//! The end of a place that keeps events: a file with those that were rotated away from it, or the spool.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;

use crate::beside;
use crate::chain::{self, Hash};
use crate::event::EventKind;
use crate::sinks::rotation;

/// How much of a place's end is looked at: no line is longer than 1 MiB.
pub(crate) const TAIL: usize = 2 * 1024 * 1024;
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
        let in_file = |path: &Path| Self::of(path.display().to_string(), tail(path).ok()?);
        in_file(path).or_else(|| {
            // Names of our own are in the order in which the files were put away. Of others, only their time is known.
            let own = rotation::old_files(path).unwrap_or_default();
            own.iter().next_back().and_then(|newest| in_file(newest)).or_else(|| {
                let others = beside::rotated(path).unwrap_or_default();
                others.iter().take(ROTATED).filter_map(|other| in_file(other)).reduce(Self::newer)
            })
        })
    }

    /// Of lines, of which the last one may lack its line feed, and the first one its start.
    pub(super) fn of(place: String, mut bytes: Vec<u8>) -> Option<Self> {
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
        Some(Self { place, last, in_order, hash, bytes, sealed, known, run })
    }

    /// The one of two that ends later; the first where that is the same.
    pub(super) fn newer(self, other: Self) -> Self {
        if other.is_later_than(&self) { other } else { self }
    }

    /// By the chain: whoever has the other's last line before its own is later. Where that is out of sight, by the numbers of one
    /// process, and only between different ones by their clock.
    pub(super) fn is_later_than(&self, other: &Self) -> bool {
        let follows = |this: &Self, other: &Self| other.hash.is_some_and(|hash| this.known.contains(&hash));
        match (follows(self, other), follows(other, self)) {
            (true, false) => true,
            (false, true) => false,
            (true, true) => self.hash != other.hash && self.sealed.len() > other.sealed.len(),
            (false, false) if self.run.is_some() && self.run == other.run => self.last.seq > other.last.seq,
            (false, false) => self.last.time > other.last.time,
        }
    }

    /// The lines that follow on the end of another place; `None` where that is not in sight.
    pub(super) fn lines_after(&self, other: &Self) -> Option<&[u8]> {
        let hash = other.hash?;
        let from = match self.sealed.iter().rfind(|(_, sealed)| *sealed == hash) {
            Some((line, _)) => line.end,
            // The first line in sight follows on it.
            None => {
                let (first, _) = self.sealed.first()?;
                let line = self.bytes.get(first.clone())?;
                let links = chain::links(line.strip_suffix(b"\n").unwrap_or(line))?;
                (links.prev == Some(hash)).then_some(first.start)?
            }
        };
        self.bytes.get(from..)
    }
}

fn is_start(line: &[u8]) -> bool {
    begins_with(line, b"\"kind\":\"gateway.started\"")
}

/// Without permits that were recorded by chance: they are in no chain, and not for every place.
fn without_permits(bytes: Vec<u8>) -> Vec<u8> {
    let is_permit = |line: &[u8]| begins_with(line, b"\"seq\":0,") && begins_with(line, b"\"kind\":\"access.allowed\"");
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

/// The end of a file, compressed or not; nothing where it is no regular file.
fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = path.metadata()?;
    let mut tail = Vec::new();
    if !metadata.is_file() {
        return Ok(tail);
    }
    let mut file = BufReader::new(File::open(path)?);
    if file.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        let mut plain = MultiGzDecoder::new(file);
        while (&mut plain).take(TAIL as u64).read_to_end(&mut tail)? > 0 {
            tail.drain(..tail.len().saturating_sub(TAIL));
        }
        return Ok(tail);
    }
    file.seek(SeekFrom::Start(metadata.len().saturating_sub(TAIL as u64)))?;
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
        assert_eq!(end("a", a).newer(end("b", b)).place, expected);
        assert_eq!(end("b", b).newer(end("a", a)).place, expected);
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
    fn out_of_sight_numbers_of_one_process_count_and_then_the_clock() {
        let mut chain = Chain::begin("test");
        let first = lines(&mut chain, "r1", 1..10, 500);
        let with_gap = |gone: Range<usize>| [&first[..gone.start], &first[gone.end..]].concat();
        // Each lacks what the other ends with.
        check(&with_gap(4..8), &first[..6], "a");
        let other = lines(&mut Chain::begin("another"), "r2", 1..3, 600);
        check(&first, &other, "b");
    }

    #[test]
    fn what_one_place_lacks_is_what_follows_on_its_end() {
        let mut chain = Chain::begin("test");
        let all = lines(&mut chain, "r", 1..8, 1);
        let newest = end("all", &all);
        assert_eq!(newest.lines_after(&end("x", &all[..5])), Some(&all[5..].concat()[..]));
        assert_eq!(newest.lines_after(&end("x", &all)), Some(&b""[..]));
        assert_eq!(end("tail", &all[3..]).lines_after(&end("x", &all[..3])), Some(&all[3..].concat()[..]));
        assert_eq!(end("tail", &all[4..]).lines_after(&end("x", &all[..3])), None);
        let other = lines(&mut Chain::begin("another"), "r", 1..3, 1);
        assert_eq!(newest.lines_after(&end("x", &other)), None);
    }

    #[test]
    fn a_whole_line_without_its_line_feed_counts_and_half_a_one_does_not() {
        let mut chain = Chain::begin("test");
        let all = lines(&mut chain, "r", 1..4, 1);
        let text = all.concat();
        let seq = |bytes: &[u8]| End::of("x".into(), bytes.to_vec()).map(|end| end.last.seq);
        assert_eq!(seq(&text[..text.len() - 1]), Some(3));
        assert_eq!(seq(&text[..text.len() - 2]), Some(2));
        assert_eq!(seq(&text[5..]), Some(3));
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
        assert_eq!(spool.lines_after(&end("x", &all[..3])), Some(&all[3..].concat()[..]));
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
