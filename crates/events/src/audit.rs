//! Holds files of events to their chain: what was changed, removed, added, moved or cut short afterwards is found.
//!
//! It reads line by line in bounded memory, plain or compressed with gzip. It does not read the events themselves but their seals
//! (`chain`), and of the others only the number and the time, for its report. Each file is held to the chain by itself; then files are
//! put one after the other by what their ends name, and not by a clock, which may have been set back in between.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use flate2::bufread::MultiGzDecoder;
use jiff::Timestamp;

use crate::beside::is_no_event_file;
use crate::chain::{self, Hash};
use crate::checkpoint::{self, BadCheckpoint, EVERY, PublicKey};
use crate::event::EventKind;
use crate::read::{Line, read_line};

/// What files hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Lines that bear a seal which is right.
    pub events: u64,
    /// Records of permits, which stand in no chain: nothing vouches for these, nor for there being no others.
    pub permits: u64,
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
    /// Files that were named and not looked into.
    pub skipped: Vec<Skipped>,
    /// The last checkpoint with a good signature, where keys were given.
    pub signed: Option<Signed>,
    /// What follows on it, or all there is where there is none: no signature covers that.
    pub unsigned: Unsigned,
}

/// Events that no signature covers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unsigned {
    /// How many.
    pub events: u64,
    /// From the first to the last of them, by their own time; without the time in which no gateway ran.
    pub time: Duration,
}

impl Unsigned {
    fn exceeds(&self, most: &Self) -> bool {
        self.events > most.events || self.time > most.time
    }
}

/// A checkpoint whose signature is good: it covers every line before it, back to where its chain begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: u64,
    /// When it was made, as it says.
    pub time: String,
}

/// A file that was not looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub file: PathBuf,
    /// Why.
    pub why: WhySkipped,
}

/// Why a file was not looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhySkipped {
    /// By its name it is none of events, but this.
    NoEvents(&'static str),
    /// It holds the same lines as this other one, perhaps in another form: one that is being compressed is there twice for a moment.
    SameAs(PathBuf),
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
    /// It is a checkpoint, and none that the gateway signed.
    BadCheckpoint(BadCheckpoint),
    /// There is no checkpoint with a good signature at all.
    Unsigned,
    /// More follows on the last one than may: whoever can write the file could have taken later ones away with what they cover, and have
    /// put this in its place.
    UnsignedEnd(Unsigned),
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
    /// The keys that checkpoints may be signed with; none: they are not looked at.
    pub keys: &'e [PublicKey],
    /// How much may follow on the last checkpoint; `None`: whatever there is.
    pub most_unsigned: Option<Unsigned>,
}

/// What follows on the last checkpoint of a gateway with the default settings is less.
pub const MOST_UNSIGNED: Unsigned = Unsigned { events: checkpoint::EVENTS, time: Duration::from_secs(10 * 60) };

/// Whether a text is a hash as the lines have it, with or without `sha256:`.
pub fn is_hash(text: &str) -> bool {
    chain::parse(text).is_some()
}

/// Holds files to their chain, whatever the order they are named in.
///
/// # Errors
/// The file that cannot be opened or read, and why.
pub fn verify(files: &[PathBuf], expected: Expected<'_>) -> Result<Audit, (PathBuf, io::Error)> {
    let (mut pieces, mut skipped) = (Vec::<Piece>::new(), Vec::new());
    for file in files {
        if let Some(what) = is_no_event_file(file) {
            skipped.push(Skipped { file: file.clone(), why: WhySkipped::NoEvents(what) });
            continue;
        }
        let piece = Piece::read(file, expected.keys).map_err(|error| (file.clone(), error))?;
        match pieces.iter().find(|other| other.lines > 0 && other.digest.is_some() && other.digest == piece.digest) {
            Some(same) => skipped.push(Skipped { file: file.clone(), why: WhySkipped::SameAs(same.file.clone()) }),
            None => pieces.push(piece),
        }
    }
    let mut audit = join(in_order(pieces), expected);
    audit.skipped = skipped;
    Ok(audit)
}

/// What one file holds, taken by itself.
#[derive(Default)]
struct Piece {
    file: PathBuf,
    /// How many lines it has.
    lines: u64,
    events: u64,
    permits: u64,
    findings: Vec<Finding>,
    more_findings: u64,
    beginnings: Vec<Beginning>,
    /// The first line that bears a seal.
    first: Option<First>,
    /// The last one.
    last: Option<Before>,
    /// The time of the first event, as text: all times are of one width, so that they sort.
    began: Option<Vec<u8>>,
    /// The last checkpoint with a good signature, and what follows on it.
    signed: Option<Signed>,
    unsigned: Tail,
    /// Of all lines. The same for two files that hold the same.
    digest: Option<Hash>,
}

/// Events that no signature covers, as they follow on each other.
#[derive(Default)]
struct Tail {
    all: Unsigned,
    /// The first: when it was, and whether a process began with it.
    first: Option<(Timestamp, bool)>,
    last: Option<Timestamp>,
}

impl Tail {
    fn event(&mut self, time: Option<Timestamp>, begins: bool) {
        self.all.events += 1;
        let Some(time) = time else { return };
        self.first.get_or_insert((time, begins));
        self.pass(time, begins);
        self.last = Some(time);
    }

    /// The time until the next event counts, unless the clock was set back. How long no process ran counts for nothing, but whoever writes
    /// lines anew can put a start before each gap: a start counts for the time within which a gateway signs.
    fn pass(&mut self, time: Timestamp, begins: bool) {
        let Some(last) = self.last else { return };
        let since = if begins { EVERY } else { Duration::try_from(time.duration_since(last)).unwrap_or_default() };
        self.all.time = self.all.time.saturating_add(since);
    }

    /// The events of the next file come behind these.
    fn join(&mut self, next: Self) {
        if let Some((time, begins)) = next.first {
            self.pass(time, begins);
        }
        self.all.events += next.all.events;
        self.all.time = self.all.time.saturating_add(next.all.time);
        self.first = self.first.or(next.first);
        self.last = next.last.or(self.last);
    }
}

struct First {
    line: u64,
    prev: Option<Hash>,
    genesis: Option<String>,
    seq: Option<u64>,
}

#[derive(Clone, Copy)]
struct Before {
    hash: Hash,
    seq: Option<u64>,
}

impl Piece {
    fn read(file: &Path, keys: &[PublicKey]) -> io::Result<Self> {
        let mut piece = Self { file: file.to_owned(), ..Self::default() };
        let mut lines = open(file)?;
        let (mut line, mut digest, mut comparable) = (Vec::new(), Context::new(&SHA256), true);
        loop {
            match read_line(&mut lines, &mut line)? {
                Line::End => break,
                Line::TooLong => {
                    piece.lines += 1;
                    piece.find(Problem::Unsealed);
                    // Its bytes are not looked at, so two of them may differ.
                    comparable = false;
                }
                Line::Whole => {
                    piece.lines += 1;
                    piece.line(&line, &mut digest, keys);
                }
            }
        }
        piece.digest = comparable.then(|| {
            let mut hash = Hash::default();
            // INVARIANT: a SHA-256 is as long as `Hash`.
            hash.copy_from_slice(digest.finish().as_ref());
            hash
        });
        Ok(piece)
    }

    fn line(&mut self, line: &[u8], digest: &mut Context, keys: &[PublicKey]) {
        if self.began.is_none() {
            self.began = member(line, b"\"time\":\"", |byte| *byte != b'"').map(<[u8]>::to_vec);
        }
        let seal = chain::read(line);
        match &seal {
            // It stands for the whole line.
            Some(seal) if seal.is_right => digest.update(&seal.hash),
            Some(_) | None => digest.update(line),
        }
        let kind = member(line, b"\"kind\":\"", |byte| *byte != b'"').unwrap_or_default();
        let Some(seal) = seal else {
            match is_permit(line, kind) {
                true => self.permits += 1,
                false => self.find(Problem::Unsealed),
            }
            return;
        };
        if seal.is_right {
            self.events += 1;
            if !keys.is_empty() {
                self.unsigned.event(time(line), kind == EventKind::GatewayStarted.as_str().as_bytes());
            }
        } else {
            // What it was is unknown, and so is whether the next line followed on it: its hash says that, if it is untouched.
            self.find(Problem::Changed);
        }
        let seq = number(line);
        if let Some(why) = &seal.genesis
            && self.beginnings.len() < MAX_FINDINGS
        {
            self.beginnings.push(Beginning { file: self.file.clone(), line: self.lines, why: why.clone() });
        }
        match self.last {
            None => {
                self.first = Some(First { line: self.lines, prev: seal.prev, genesis: seal.genesis, seq });
            }
            Some(before) => {
                if let Some(problem) = unlinked(before, seal.prev, seal.genesis.as_deref(), seq) {
                    self.find(problem);
                }
            }
        }
        self.last = Some(Before { hash: seal.hash, seq });
        if !keys.is_empty() && checkpoint::is_checkpoint(kind) {
            match checkpoint::verify(line, seal.prev.as_ref(), keys) {
                // The line itself is not what is signed, but the lines before it and its own time.
                Ok(time) if seal.is_right => {
                    self.signed = Some(Signed { file: self.file.clone(), line: self.lines, time });
                    self.unsigned = Tail::default();
                }
                Ok(_) => {}
                Err(bad) => self.find(Problem::BadCheckpoint(bad)),
            }
        }
    }

    fn find(&mut self, problem: Problem) {
        self.find_at(self.lines, problem);
    }

    fn find_at(&mut self, line: u64, problem: Problem) {
        if self.findings.len() >= MAX_FINDINGS {
            self.more_findings += 1;
            return;
        }
        let at = self.findings.partition_point(|found| found.line <= line);
        self.findings.insert(at, Finding { file: self.file.clone(), line, problem });
    }
}

/// What is wrong where a line does not follow on the one before.
fn unlinked(before: Before, prev: Option<Hash>, genesis: Option<&str>, seq: Option<u64>) -> Option<Problem> {
    match prev {
        None => Some(Problem::NewChain { why: genesis.unwrap_or_default().to_owned() }),
        Some(prev) if prev != before.hash => Some(Problem::Unlinked { numbers: before.seq.zip(seq) }),
        Some(_) => None,
    }
}

/// Puts files one after the other: behind a file the one whose first line names its last. What is joined to nothing is put in its
/// place by the time of its first event.
fn in_order(mut pieces: Vec<Piece>) -> Vec<Piece> {
    // A file without any event has no place of its own.
    pieces.sort_by(|a, b| a.began.cmp(&b.began));
    let follows = |next: &Piece, before: &Piece| {
        let prev = next.first.as_ref().and_then(|first| first.prev);
        prev.is_some() && prev == before.last.map(|last| last.hash)
    };
    let mut left: Vec<Option<Piece>> = pieces.into_iter().map(Some).collect();
    let mut ordered: Vec<Piece> = Vec::with_capacity(left.len());
    while left.iter().any(Option::is_some) {
        let of = |wanted: &dyn Fn(&Piece) -> bool| left.iter().position(|piece| piece.as_ref().is_some_and(wanted));
        let next = ordered
            .last()
            .and_then(|before| of(&|piece| follows(piece, before)))
            // Else the earliest that follows on none of those that are left; in a circle, which nobody wrote, just the earliest.
            .or_else(|| {
                of(&|piece| !left.iter().flatten().any(|other| other.file != piece.file && follows(piece, other)))
            })
            .or_else(|| of(&|_| true));
        match next.and_then(|next| left.get_mut(next)?.take()) {
            Some(piece) => ordered.push(piece),
            None => break,
        }
    }
    ordered
}

/// Holds files to their chain that are in their order.
fn join(pieces: Vec<Piece>, expected: Expected<'_>) -> Audit {
    let mut audit = Audit::default();
    let mut before: Option<Before> = None;
    let (mut start, mut end, mut unsigned) = (None, None, Tail::default());
    for mut piece in pieces {
        if let Some(first) = piece.first.take() {
            let problem = match before {
                Some(before) => unlinked(before, first.prev, first.genesis.as_deref(), first.seq),
                None => None,
            };
            if let Some(problem) = problem {
                piece.find_at(first.line, problem);
            }
            start.get_or_insert_with(|| (piece.file.clone(), first.line, first.prev));
        }
        end = Some((piece.file.clone(), piece.lines));
        before = piece.last.or(before);
        audit.events += piece.events;
        audit.permits += piece.permits;
        match piece.signed {
            Some(signed) => (audit.signed, unsigned) = (Some(signed), piece.unsigned),
            None => unsigned.join(piece.unsigned),
        }
        audit.more_findings += piece.more_findings;
        for finding in piece.findings {
            audit.find(finding);
        }
        let room = MAX_FINDINGS.saturating_sub(audit.beginnings.len());
        audit.beginnings.extend(piece.beginnings.into_iter().take(room));
    }
    let (last_file, last_line) = end.unwrap_or_default();
    let after = start.as_ref().and_then(|(_, _, prev)| *prev);
    if let Some(wanted) = expected.after.and_then(chain::parse)
        && after != Some(wanted)
    {
        let place = start.map(|(file, line, _)| (file, line));
        let (file, line) = place.unwrap_or_else(|| (last_file.clone(), last_line));
        audit.find(Finding { file, line, problem: Problem::WrongStart });
    }
    let end = before.map(|before| before.hash);
    if let Some(wanted) = expected.end.and_then(chain::parse)
        && end != Some(wanted)
    {
        audit.find(Finding { file: last_file.clone(), line: last_line, problem: Problem::WrongEnd });
    }
    audit.unsigned = unsigned.all;
    let problem = match &audit.signed {
        _ if expected.keys.is_empty() => None,
        None => Some(Problem::Unsigned),
        Some(_) => {
            let too_much = expected.most_unsigned.is_some_and(|most| audit.unsigned.exceeds(&most));
            too_much.then_some(Problem::UnsignedEnd(audit.unsigned))
        }
    };
    if let Some(problem) = problem {
        audit.find(Finding { file: last_file, line: last_line, problem });
    }
    audit.after = after.as_ref().map(chain::shown);
    audit.end = end.as_ref().map(chain::shown);
    audit.last_seq = before.and_then(|before| before.seq);
    audit
}

impl Audit {
    fn find(&mut self, finding: Finding) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        } else {
            self.more_findings += 1;
        }
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

/// When an event was.
fn time(line: &[u8]) -> Option<Timestamp> {
    std::str::from_utf8(member(line, b"\"time\":\"", |byte| *byte != b'"')?).ok()?.parse().ok()
}

/// The number of an event.
fn number(line: &[u8]) -> Option<u64> {
    std::str::from_utf8(member(line, b"\"seq\":", u8::is_ascii_digit)?).ok()?.parse().ok()
}

/// Whether a line without a seal is a whole record of a permit: these have no number and no place in the chain, since they are but a sample. What was made
/// one out of an event is missed in the chain.
fn is_permit(line: &[u8], kind: &[u8]) -> bool {
    kind == EventKind::AccessAllowed.as_str().as_bytes()
        && number(line) == Some(0)
        && line.ends_with(b"\"integrity\":null}")
        && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
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
