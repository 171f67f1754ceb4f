//! The file of what a remote sink refused for good: the event as it was, and why.
//!
//! It is bounded: at its size it becomes `PATH.1`, in place of an earlier one. Nothing is sent from it again by itself; its lines hold
//! the native event, so an operator who has mended the cause can. A letter that could be written only in part is taken back, and
//! [`DeadLetters::sync`] forces to the disk what was written, before the sink's place moves past it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::line::write_text;
use crate::sinks::durable::sync_folder;

/// Only the gateway's user may read what it refused to whom.
const MODE: u32 = 0o600;

/// The file.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    path: PathBuf,
    max_size: u64,
    file: Option<(File, u64)>,
}

impl DeadLetters {
    /// The file is made when there is something to write.
    pub(crate) fn new(path: PathBuf, max_size: u64) -> Self {
        Self { path, max_size, file: None }
    }

    /// Appends one event, or nothing.
    pub(crate) fn write(&mut self, sink: &str, why: &str, json: &[u8]) -> io::Result<()> {
        let mut line = b"{\"schema\":\"portcullis.dead_letter/1\",\"time\":".to_vec();
        write_text(&mut line, &format!("{:.6}", Timestamp::now()));
        line.extend_from_slice(b",\"sink\":");
        write_text(&mut line, sink);
        line.extend_from_slice(b",\"why\":");
        write_text(&mut line, why.get(..why.floor_char_boundary(1_024)).unwrap_or_default());
        line.extend_from_slice(b",\"event\":");
        line.extend_from_slice(json);
        line.extend_from_slice(b"}\n");
        let size = line.len() as u64;
        if self.file.as_ref().is_some_and(|(_, length)| *length > 0 && length + size > self.max_size) {
            // Only the new file is forced to the disk at the end, and the sink's place moves past the letters of both.
            self.sync()?;
            self.file = None;
            let mut older = self.path.clone().into_os_string();
            older.push(".1");
            fs::rename(&self.path, older)?;
        }
        let (file, length) = match &mut self.file {
            Some(open) => open,
            None => self.file.insert(open(&self.path)?),
        };
        if let Err(error) = file.write_all(&line) {
            // Half a letter would swallow the next one. Where it cannot be cut off now, it is when the file is opened again.
            let _ = file.set_len(*length);
            self.file = None;
            return Err(error);
        }
        *length += size;
        Ok(())
    }

    /// Forces what was written to the disk, and the file's name with it.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let Some((file, _)) = &self.file else { return Ok(()) };
        file.sync_data().and_then(|()| sync_folder(&self.path)).inspect_err(|_| self.file = None)
    }
}

/// Opens the file, without the half letter that a process may have left at its end.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().append(true).read(true).create(true).mode(MODE).open(path)?;
    let mut length = file.metadata()?.len();
    let mut last = [0];
    while length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
        if last == *b"\n" {
            break;
        }
        // No letter is much longer than the longest event, and this happens once after a crash.
        length -= 1;
    }
    if length < file.metadata()?.len() {
        file.set_len(length)?;
    }
    Ok((file, length))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_letter_holds_the_event_and_the_reason_and_cannot_be_broken_by_either() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dead.jsonl");
        let mut letters = DeadLetters::new(path.clone(), 1 << 20);
        let why = format!("400: \"bad\"\n{}", "é".repeat(2_000));
        letters.write("si\"em", &why, br#"{"id":"7","path":"/\n"}"#).unwrap();
        letters.write("siem", "why", br#"{"id":"8"}"#).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["event"]["id"], &lines[1]["event"]["id"]), (&"7".into(), &"8".into()));
        assert!(lines[0]["why"].as_str().unwrap().starts_with("400: \"bad\"\né"));
        assert_eq!(lines[0]["sink"], "si\"em");
    }

    #[test]
    fn two_files_are_the_most_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dead.jsonl");
        let mut letters = DeadLetters::new(path.clone(), 400);
        for number in 0..50 {
            letters.write("siem", "why", format!("{{\"id\":{number}}}").as_bytes()).unwrap();
        }
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 2);
        assert!(files.iter().all(|file| file.metadata().unwrap().len() <= 400));
        assert!(fs::read_to_string(&path).unwrap().contains("\"id\":49"));
    }

    #[test]
    fn a_file_is_not_put_away_before_it_is_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dead.jsonl");
        // It can be written to, and not be forced to any disk.
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        let mut letters = DeadLetters::new(path.clone(), 1);
        letters.write("siem", "why", b"{}").unwrap();
        letters.write("siem", "why", b"{}").unwrap_err();
        assert!(!folder.path().join("dead.jsonl.1").is_symlink() && path.is_symlink());
    }

    #[test]
    fn half_a_letter_swallows_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dead.jsonl");
        for left in ["{\"half\":", "{\"whole\":1}\n{\"half\":", "{\"whole\":1}\n"] {
            fs::write(&path, left).unwrap();
            let mut letters = DeadLetters::new(path.clone(), 1 << 20);
            letters.write("siem", "why", b"{\"id\":\"7\"}").unwrap();
            letters.sync().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(lines.last().unwrap()["event"]["id"], "7", "{left}");
            assert_eq!(lines.len(), 1 + usize::from(left.contains("whole")), "{left}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_an_error_and_not_half_a_letter() {
        let mut letters = DeadLetters::new("/dev/full".into(), 1 << 20);
        letters.write("siem", "why", b"{}").unwrap_err();
        assert!(letters.file.is_none());
        letters.sync().unwrap();
    }
}
