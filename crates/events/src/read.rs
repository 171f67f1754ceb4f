//! Finds one event in a file of JSON lines, for `explain --event ID`.
//!
//! It reads line by line in bounded memory, whatever the file holds: a line that is too long, or that is no JSON, is skipped
//! and counted. It knows nothing of rotation: the caller names the files to look in.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde_json::Value;
use uuid::Uuid;

/// The longest line that is looked at. The recorder writes none that is longer.
pub const MAX_LINE_BYTES: usize = 1024 * 1024;

/// What a search found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// The newest event of that id: the one that stands last.
    pub event: Option<Value>,
    /// Lines over [`MAX_LINE_BYTES`], which were skipped.
    pub too_long: u64,
    /// Lines that name the id and are no JSON, such as one cut short by a crash.
    pub malformed: u64,
}

/// Finds the event of this id in a native file.
///
/// # Errors
/// When the file cannot be opened or read.
pub fn find_in_file(path: &Path, id: Uuid) -> io::Result<Found> {
    find(BufReader::with_capacity(64 * 1024, File::open(path)?), id)
}

/// Finds the event of this id in lines of native events.
///
/// # Errors
/// When reading fails.
pub fn find(mut lines: impl BufRead, id: Uuid) -> io::Result<Found> {
    let id = id.hyphenated().to_string();
    let mut found = Found::default();
    let mut line = Vec::new();
    loop {
        match read_line(&mut lines, &mut line)? {
            Line::End => return Ok(found),
            Line::TooLong => found.too_long += 1,
            Line::Whole => match event_of(&line, &id) {
                Ok(Some(event)) => found.event = Some(event),
                Ok(None) => {}
                Err(_malformed) => found.malformed += 1,
            },
        }
    }
}

/// The event on this line if it is the one that is looked for. Most lines are not, so most are never parsed.
fn event_of(line: &[u8], id: &str) -> Result<Option<Value>, serde_json::Error> {
    if !line.windows(id.len()).any(|window| window == id.as_bytes()) {
        return Ok(None);
    }
    let event: Value = serde_json::from_slice(line)?;
    // The id may also stand elsewhere, such as in a path.
    let is_it = event.get("id").and_then(Value::as_str) == Some(id);
    Ok(is_it.then_some(event))
}

pub(crate) enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads the next line, without its line feed, into `line`, of which at most [`MAX_LINE_BYTES`] are kept.
pub(crate) fn read_line(lines: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let mut too_long = false;
    let mut begun = false;
    loop {
        let available = match lines.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let end = available.iter().position(|byte| *byte == b'\n');
        let content = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
        begun |= !available.is_empty();
        let at_end = available.is_empty() || end.is_some();
        if line.len() + content.len() > MAX_LINE_BYTES {
            too_long = true;
            line.clear();
        } else if !too_long {
            line.extend_from_slice(content);
        }
        let consumed = content.len() + usize::from(end.is_some());
        lines.consume(consumed);
        if at_end {
            return Ok(match (begun, too_long) {
                (false, _) => Line::End,
                (true, true) => Line::TooLong,
                (true, false) => Line::Whole,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(0x0197_0000_0000_7000_8000_0000_0000_0001);

    fn line(id: Uuid, message: &str) -> String {
        format!("{}\n", serde_json::json!({"id": id.to_string(), "message": message}))
    }

    /// The message of the event that is found, and the skipped lines: too long, malformed.
    #[track_caller]
    fn check(text: &str, message: Option<&str>, skipped: (u64, u64)) {
        // A tiny buffer, so that lines span many reads.
        let found = find(BufReader::with_capacity(7, text.as_bytes()), ID).unwrap();
        let found_message = found.event.as_ref().map(|event| event["message"].as_str().unwrap());
        assert_eq!((found_message, (found.too_long, found.malformed)), (message, skipped));
    }

    #[test]
    fn an_event_is_found_by_its_id_and_the_newest_wins() {
        let other = line(Uuid::nil(), &format!("mentions {ID}"));
        check("", None, (0, 0));
        check("\n\n", None, (0, 0));
        check(&other, None, (0, 0));
        check(&(line(ID, "old") + &other + &line(ID, "new") + &other), Some("new"), (0, 0));
        check(line(ID, "without a line feed").trim_end(), Some("without a line feed"), (0, 0));
    }

    #[test]
    fn a_line_that_was_cut_short_is_skipped_and_counted() {
        check(&format!("{{\"id\":\"{ID}\",\n{}", line(ID, "whole")), Some("whole"), (0, 1));
        check(&format!("\u{1}garbage\n{}", line(ID, "whole")), Some("whole"), (0, 0));
        check(&format!("{}{{\"id\":\"{ID}\"", line(ID, "whole")), Some("whole"), (0, 1));
    }

    #[test]
    fn a_line_over_the_bound_is_skipped_and_counted_and_one_at_the_bound_is_read() {
        let frame = line(ID, "").len() - 1;
        let at_bound = "x".repeat(MAX_LINE_BYTES - frame);
        let over = "x".repeat(MAX_LINE_BYTES - frame + 1);
        check(&line(ID, &at_bound), Some(&at_bound), (0, 0));
        check(&line(ID, &over), None, (1, 0));
        check(&(line(ID, &over) + &line(ID, "next")), Some("next"), (1, 0));
        check(&"x".repeat(3 * MAX_LINE_BYTES), None, (1, 0));
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = find_in_file(&folder.path().join("none"), ID).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
