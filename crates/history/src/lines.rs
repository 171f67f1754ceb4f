//! A file's lines, each with its place, in bounded memory.

use std::io::{self, BufRead};

use memchr::memchr;
use portcullis_events::read::MAX_LINE_BYTES;

/// Reads lines one after another.
pub(crate) struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    /// Where the next line begins.
    offset: u64,
}

/// One line.
pub(crate) enum Line<'l> {
    /// A line that is ended, without its line feed, and where it begins.
    Whole(u64, &'l [u8]),
    /// It is longer than any event. It was passed over.
    TooLong,
    /// The file ends inside it: it is still being written, or was never finished.
    Unfinished(&'l [u8]),
    /// There is no more.
    End,
}

impl<R: BufRead> Lines<R> {
    /// `offset` is where the reader stands.
    pub(crate) fn new(reader: R, offset: u64) -> Self {
        Self { reader, line: Vec::new(), offset }
    }

    /// Where the next line begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn next(&mut self) -> io::Result<Line<'_>> {
        self.line.clear();
        let begin = self.offset;
        let mut end_of_line = begin;
        let mut too_long = false;
        loop {
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                return Ok(match (end_of_line > begin, too_long) {
                    (false, _) => Line::End,
                    (true, true) => Line::TooLong,
                    (true, false) => Line::Unfinished(&self.line),
                });
            }
            let end = memchr(b'\n', available);
            let content = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
            too_long |= self.line.len() + content.len() > MAX_LINE_BYTES;
            if !too_long {
                self.line.extend_from_slice(content);
            }
            let consumed = content.len() + usize::from(end.is_some());
            self.reader.consume(consumed);
            end_of_line += consumed as u64;
            if end.is_some() {
                // A line that is not finished is none yet: what follows it begins where it does.
                self.offset = end_of_line;
                return Ok(if too_long { Line::TooLong } else { Line::Whole(begin, &self.line) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn check(text: &str, expected: &[&str]) {
        // A tiny buffer, so that lines span many reads.
        let mut lines = Lines::new(BufReader::with_capacity(3, text.as_bytes()), 100);
        let mut found = Vec::new();
        loop {
            found.push(match lines.next().unwrap() {
                Line::Whole(offset, line) => format!("{offset} {}", String::from_utf8_lossy(line)),
                Line::TooLong => "too long".to_owned(),
                Line::Unfinished(line) => format!("unfinished {}", String::from_utf8_lossy(line)),
                Line::End => break,
            });
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn each_line_has_its_place() {
        check("", &[]);
        check("a\n", &["100 a"]);
        check("abcdef\n\ng\n", &["100 abcdef", "107 ", "108 g"]);
        check("a\nbcdef", &["100 a", "unfinished bcdef"]);
    }

    #[test]
    fn a_line_over_the_bound_is_passed_over() {
        let at_bound = "x".repeat(MAX_LINE_BYTES);
        let over = "x".repeat(MAX_LINE_BYTES + 1);
        check(&format!("{over}\na\n"), &["too long", &format!("{} a", 100 + over.len() + 1)]);
        check(&format!("{at_bound}\n"), &[&format!("100 {at_bound}")]);
        check(&over, &["too long"]);
    }
}
