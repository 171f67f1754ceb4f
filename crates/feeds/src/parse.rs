//! From the bytes of a list to its prefixes, strictly: what is no prefix makes the whole list wrong.

use std::fmt;

use ipnet::IpNet;

use crate::csv::parse_csv;
use crate::json::parse_json;
use crate::prefix::parse_prefix;
use crate::settings::Format;

/// The most entries of one list: what a policy must carry of all networks together.
pub(crate) const MAX_ENTRIES: usize = 1_000_000;
/// How many problems are told; the others are counted.
const MAX_TOLD: usize = 3;
/// How much of a wrong entry is repeated, in characters.
const MAX_SHOWN: usize = 64;

/// Why bytes are no list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It is a page for people, or another document in angle brackets: as when a login or an error is shown in its place.
    #[error("it is an HTML or XML page and no list")]
    Page,
    /// It is not UTF-8.
    #[error("it is no text from byte {0} on")]
    NotText(usize),
    /// It is not of its format.
    #[error("{0}")]
    Form(String),
    /// Entries that are no prefixes.
    #[error("{}", told(.problems, *.total))]
    Entries {
        /// The first of them.
        problems: Vec<LineProblem>,
        /// How many there are.
        total: usize,
    },
    /// More than a feed may have.
    #[error("it has more than {MAX_ENTRIES} entries")]
    TooMany,
}

/// One entry that is no prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineProblem {
    /// `line 3, column 5`, or a pointer into a JSON document.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for LineProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.message)
    }
}

fn told(problems: &[LineProblem], total: usize) -> String {
    let mut text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if total > problems.len() {
        text.push_str(&format!("; and {} more", total - problems.len()));
    }
    text
}

/// Parses a list. No entry is left out: it is whole, or an error.
pub(crate) fn parse(bytes: &[u8], format: &Format) -> Result<Vec<IpNet>, ParseError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    // No format of a list begins like this.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<') {
        return Err(ParseError::Page);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| ParseError::NotText(error.valid_up_to()))?;
    let mut entries = Entries::default();
    match format {
        Format::Text => parse_text(text, &mut entries),
        Format::Csv { column, delimiter } => parse_csv(text, column, *delimiter, &mut entries)?,
        Format::Json { pointers } => parse_json(text, pointers, &mut entries)?,
    }
    entries.finish()
}

fn parse_text(text: &str, entries: &mut Entries) {
    for (line, number) in text.split('\n').zip(1usize..) {
        let entry = line.split(['#', ';']).next().unwrap_or_default();
        let trimmed = entry.trim();
        if !trimmed.is_empty() {
            entries.add(trimmed, || at_column(number, entry, trimmed));
        }
        if entries.is_full() {
            return;
        }
    }
}

/// Where `part` of `line` begins, both counted from 1, columns in characters.
fn at_column(number: usize, line: &str, part: &str) -> String {
    let before = line.find(part).and_then(|at| line.get(..at)).unwrap_or_default();
    place(number, before.chars().count() + 1)
}

pub(crate) fn place(line: usize, column: usize) -> String {
    format!("line {line}, column {column}")
}

/// What was read so far.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    prefixes: Vec<IpNet>,
    problems: Vec<LineProblem>,
    total: usize,
}

impl Entries {
    pub(crate) fn add(&mut self, entry: &str, place: impl FnOnce() -> String) {
        match parse_prefix(entry) {
            Ok(prefix) => self.prefixes.push(prefix),
            Err(problem) => self.wrong(place, || format!("`{}` {problem}", shown(entry))),
        }
    }

    pub(crate) fn wrong(&mut self, place: impl FnOnce() -> String, message: impl FnOnce() -> String) {
        self.total += 1;
        if self.problems.len() < MAX_TOLD {
            self.problems.push(LineProblem { place: place(), message: message() });
        }
    }

    /// Whether reading on is of no use.
    pub(crate) fn is_full(&self) -> bool {
        self.prefixes.len() > MAX_ENTRIES
    }

    fn finish(self) -> Result<Vec<IpNet>, ParseError> {
        if self.is_full() {
            return Err(ParseError::TooMany);
        }
        if self.total > 0 {
            return Err(ParseError::Entries { problems: self.problems, total: self.total });
        }
        Ok(self.prefixes)
    }
}

/// A text from outside, cut, and without what could mislead who reads it.
pub(crate) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_SHOWN).is_some() { format!("{cut}…") } else { cut }
}

#[cfg(test)]
mod tests;
