//! Holds files of events to their chain: what was changed, removed, added, moved or cut short afterwards is found.
//!
//! It reads line by line in bounded memory, plain or compressed with gzip. It does not read the events themselves but their seals
//! (`chain`), and of the others only the number and the time, for its report.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::chain::{self, Hash};
use crate::read::{Line, read_line};

/// What files hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Lines that bear a seal which is right.
    pub events: u64,
    /// What is wrong, in the order of the lines; at most [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub more_findings: u64,
    /// Where new chains begin, and why, as the first line says; at most [`MAX_FINDINGS`].
    pub beginnings: Vec<Beginning>,
    /// The hash that the first line names as that of the line before it; `None` where a chain begins there.
    pub after: Option<String>,
    /// The hash of the last line.
    pub end: Option<String>,
    /// The number of the last line's event.
    pub last_seq: Option<u64>,
}

/// How many findings are kept.
pub const MAX_FINDINGS: usize = 1_000;

/// Something that is wrong at a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u64,
    /// What it is.
    pub problem: Problem,
}

/// What can be wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It is no sealed event: added, changed at its end, or cut short.
    Unsealed,
    /// Its hash is not that of its bytes: it was changed.
    Changed,
    /// It does not follow on the line before: lines are missing between them, were added or moved.
    Unlinked {
        /// The numbers of the event before and of this one, where both say one.
        numbers: Option<(u64, u64)>,
    },
    /// A chain begins where an earlier one should go on.
    NewChain {
        /// Why, as the line says in JSON's form.
        why: String,
    },
    /// The first line does not follow on what it should.
    WrongStart,
    /// The last line is not the one that it should be: lines are missing at the end.
    WrongEnd,
}

/// A line at which a chain begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u64,
    /// Why, as the line says in JSON's form.
    pub why: String,
}

/// What is known from elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected<'e> {
    /// The hash of the line before the first one.
    pub after: Option<&'e str>,
    /// The hash of the last line.
    pub end: Option<&'e str>,
}

/// Whether a text is a hash as the lines have it, with or without `sha256:`.
pub fn is_hash(text: &str) -> bool {
    chain::parse(text).is_some()
}

/// Holds files to their chain, in the order of their first events, whatever the order they are named in.
///
/// # Errors
/// The file that cannot be opened or read, and why.
pub fn verify(files: &[PathBuf], expected: Expected<'_>) -> Result<Audit, (PathBuf, io::Error)> {
    let mut ordered = Vec::with_capacity(files.len());
    for file in files {
        let began = first_time(file).map_err(|error| (file.clone(), error))?;
        ordered.push((began, file));
    }
    // A file without any event has no place of its own; it stays beside its neighbours.
    ordered.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut verifier = Verifier::default();
    for (_, file) in &ordered {
        verifier.read(file).map_err(|error| ((*file).clone(), error))?;
    }
    Ok(verifier.finish(expected))
}

/// Where the reading is.
#[derive(Default)]
struct Verifier {
    audit: Audit,
    /// The last line that could be read.
    before: Option<Before>,
    /// The first line of all: what it follows on.
    first: Option<(Place, Option<Hash>)>,
    place: Place,
}

#[derive(Debug, Clone, Default)]
struct Place {
    file: PathBuf,
    line: u64,
}

#[derive(Clone, Copy)]
struct Before {
    hash: Hash,
    seq: Option<u64>,
}

impl Verifier {
    fn read(&mut self, file: &Path) -> io::Result<()> {
        self.place = Place { file: file.to_owned(), line: 0 };
        let mut lines = open(file)?;
        let mut line = Vec::new();
        loop {
            self.place.line += 1;
            match read_line(&mut lines, &mut line)? {
                Line::End => return Ok(()),
                Line::TooLong => self.find(Problem::Unsealed),
                Line::Whole => self.line(&line),
            }
        }
    }

    fn line(&mut self, line: &[u8]) {
        let Some(seal) = chain::read(line) else { return self.find(Problem::Unsealed) };
        if !seal.is_right {
            // What it was is unknown, and so is whether the next line followed on it: its hash says that, if it is untouched.
            self.find(Problem::Changed);
        } else {
            self.audit.events += 1;
        }
        if self.first.is_none() {
            self.first = Some((self.place.clone(), seal.prev));
        }
        let seq = number(line);
        match (seal.prev, self.before) {
            (None, before) => {
                let why = seal.genesis.unwrap_or_default();
                self.begin(why.clone());
                if before.is_some() {
                    self.find(Problem::NewChain { why });
                }
            }
            (Some(prev), Some(before)) if prev != before.hash => {
                self.find(Problem::Unlinked { numbers: before.seq.zip(seq) });
            }
            (Some(_), _) => {}
        }
        self.before = Some(Before { hash: seal.hash, seq });
    }

    fn begin(&mut self, why: String) {
        if self.audit.beginnings.len() < MAX_FINDINGS {
            let Place { file, line } = self.place.clone();
            self.audit.beginnings.push(Beginning { file, line, why });
        }
    }

    fn find(&mut self, problem: Problem) {
        self.find_at(self.place.clone(), problem);
    }

    fn find_at(&mut self, place: Place, problem: Problem) {
        if self.audit.findings.len() < MAX_FINDINGS {
            self.audit.findings.push(Finding { file: place.file, line: place.line, problem });
        } else {
            self.audit.more_findings += 1;
        }
    }

    fn finish(mut self, expected: Expected<'_>) -> Audit {
        let first = self.first.take();
        let after = first.as_ref().and_then(|(_, prev)| *prev);
        if let Some(wanted) = expected.after.and_then(chain::parse)
            && after != Some(wanted)
        {
            let place = first.map_or_else(|| self.place.clone(), |(place, _)| place);
            self.find_at(place, Problem::WrongStart);
        }
        let end = self.before.map(|before| before.hash);
        if let Some(wanted) = expected.end.and_then(chain::parse)
            && end != Some(wanted)
        {
            let place = Place { line: self.place.line.saturating_sub(1), ..self.place.clone() };
            self.find_at(place, Problem::WrongEnd);
        }
        self.audit.after = after.as_ref().map(chain::shown);
        self.audit.end = end.as_ref().map(chain::shown);
        self.audit.last_seq = self.before.and_then(|before| before.seq);
        self.audit
    }
}

/// Opens a file, compressed or not, as its first bytes say.
fn open(file: &Path) -> io::Result<Box<dyn BufRead>> {
    let mut reader = BufReader::with_capacity(64 * 1024, File::open(file)?);
    let compressed = reader.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if compressed {
        Box::new(BufReader::with_capacity(64 * 1024, MultiGzDecoder::new(reader)))
    } else {
        Box::new(reader)
    })
}

/// The time of the first event of a file, as text: all times are of one width, so that they sort.
fn first_time(file: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut start = Vec::new();
    // Few lines are torn, and the first whole one is near the start.
    open(file)?.take(4 * 1024 * 1024).read_to_end(&mut start)?;
    Ok(start
        .split(|byte| *byte == b'\n')
        .find_map(|line| member(line, b"\"time\":\"", |byte| *byte != b'"').map(<[u8]>::to_vec)))
}

/// The number of an event.
fn number(line: &[u8]) -> Option<u64> {
    std::str::from_utf8(member(line, b"\"seq\":", u8::is_ascii_digit)?).ok()?.parse().ok()
}

/// What follows a key near the start of a line. Before `request` nothing in a line is a caller's word.
fn member<'l>(line: &'l [u8], key: &[u8], is_part: impl Fn(&u8) -> bool) -> Option<&'l [u8]> {
    let head = line.get(..line.len().min(1_024))?;
    let at = head.windows(key.len()).position(|window| window == key)? + key.len();
    let rest = line.get(at..)?;
    rest.get(..rest.iter().position(|byte| !is_part(byte))?)
}

#[cfg(test)]
mod tests;
