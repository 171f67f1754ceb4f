//! JSON lines appended to a file that others may read, rename and rotate, but not write.
//!
//! It rotates by itself where the configuration says so; otherwise rename the file, then have it reopened.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::chain;
use crate::event::SCHEMA;
use crate::settings::RotationSettings;
use crate::sinks::Sink;
use crate::sinks::durable::{Durability, sync_folder};
use crate::sinks::rotation::Rotation;

/// Only the gateway's user may read what it refused to whom.
const MODE: u32 = 0o600;

/// An open file and where it came from.
pub(crate) struct FileSink {
    path: PathBuf,
    file: File,
    /// The file ends with a line that has no line feed. The next line must not continue it.
    ends_inside_line: bool,
    durability: Durability,
    rotation: Option<Rotation>,
    /// The last write ended inside a line.
    inside_line: bool,
}

impl FileSink {
    /// Opens the file for appending; creates it with mode 0600 where it is not there.
    pub(crate) fn open(path: PathBuf, durability: Durability) -> io::Result<Self> {
        let was_there = path.exists();
        let file = open_for_append(&path)?;
        let ends_inside_line = mend_end(&path, &file);
        // A device has no disk below it.
        let durability = if file.metadata()?.is_file() { durability } else { Durability::none() };
        if !was_there && durability.is_wanted() {
            sync_folder(&path)?;
        }
        Ok(Self { path, file, ends_inside_line, durability, rotation: None, inside_line: false })
    }

    /// The same for a file that is put away when it is large or old enough.
    pub(crate) fn rotated(mut self, settings: Option<&RotationSettings>) -> io::Result<Self> {
        // Of a device there are no old ones.
        let settings = settings.filter(|_| self.file.metadata().is_ok_and(|metadata| metadata.is_file()));
        self.rotation = settings.map(|settings| Rotation::new(settings.clone(), &self.file)).transpose()?;
        Ok(self)
    }

    /// Puts the file away and begins a new one. Where that fails, the old one goes on taking events.
    fn rotate(&mut self) {
        let Some(rotation) = &mut self.rotation else { return };
        let new = rotation.put_away(&self.path).and_then(|old| {
            open_for_append(&self.path).inspect_err(|_| {
                // It goes on taking events, so it has its name back.
                let _ = old.map(|old| std::fs::rename(old, &self.path));
                rotation.failed();
            })
        });
        match new {
            Ok(new) => {
                let old = std::mem::replace(&mut self.file, new);
                // What the old one was given, and that there are two now.
                let folder = if self.durability.is_wanted() { sync_folder(&self.path) } else { Ok(()) };
                if let Err(error) = self.durability.sync(&old).and(folder) {
                    tracing::error!(path = %self.path.display(), %error, "the old file cannot be forced to the disk");
                }
                rotation.began_new(&self.path);
            }
            Err(error) => tracing::error!(path = %self.path.display(), %error, "the event file cannot be rotated"),
        }
    }
}

impl Sink for FileSink {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if self.ends_inside_line {
            self.file.write_all(b"\n")?;
            self.ends_inside_line = false;
        }
        if !self.inside_line && self.rotation.as_ref().is_some_and(|rotation| rotation.is_due(lines.len())) {
            self.rotate();
        }
        self.durability.wrote();
        let taken = self.file.write(lines)?;
        if let Some(rotation) = &mut self.rotation {
            rotation.wrote(taken);
            // A line is never continued in another file.
            self.inside_line = taken > 0 && lines.get(taken - 1) != Some(&b'\n');
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.durability.flush(&self.file)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.durability.sync(&self.file)
    }

    fn sync_due(&self) -> Option<Instant> {
        self.durability.due()
    }

    fn reopen(&mut self) -> io::Result<()> {
        let mut opened = Self::open(self.path.clone(), self.durability.renewed())?;
        opened.rotation = self.rotation.take().map(|rotation| rotation.of(&opened.file)).transpose()?;
        // What the old file was given belongs on the disk as well.
        if let Err(error) = std::mem::replace(self, opened).sync() {
            tracing::error!(path = %self.path.display(), %error, "the old file cannot be forced to the disk");
        }
        Ok(())
    }
}

fn open_for_append(path: &Path) -> io::Result<File> {
    // To open a pipe would block until somebody reads it; that would hold up the start of the gateway.
    if let Ok(metadata) = path.metadata() {
        let kind = metadata.file_type();
        if !kind.is_file() && !kind.is_char_device() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a regular file nor a character device"));
        }
    }
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}

/// What begins every event, and nothing else that a sink writes.
fn beginning() -> String {
    format!("{{\"schema\":\"{SCHEMA}\"")
}

/// How much of a file's end is looked at: an event is at most 1 MiB long.
const MOST: usize = 2 * 1024 * 1024;

/// Cuts off an event that the last process wrote only in part when it died, and says whether the file ends with a line that has no
/// line feed all the same: a whole one, or somebody else's. A file that may not be read is taken to be whole.
fn mend_end(path: &Path, appended: &File) -> bool {
    let length = match appended.metadata() {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) | Err(_) => return false,
    };
    let Ok(rest) = after_last_line_feed(path, length) else { return false };
    if rest.is_empty() {
        return false;
    }
    let is_whole = chain::read(&rest).is_some_and(|seal| seal.is_right)
        || serde_json::from_slice::<serde::de::IgnoredAny>(&rest).is_ok();
    // After a loss of power a file may end in zeros that nobody wrote.
    let written = rest.len() - rest.iter().rev().take_while(|byte| **byte == 0).count();
    let (written, begins) = (rest.get(..written).unwrap_or_default(), beginning());
    let is_part = written.starts_with(begins.as_bytes()) || begins.as_bytes().starts_with(written);
    if is_whole || !is_part {
        return true;
    }
    match appended.set_len(length - rest.len() as u64) {
        Ok(()) => {
            let bytes = rest.len();
            tracing::warn!(
                path = %path.display(), bytes,
                "an event that was being written to a file when the last process ended was cut off"
            );
            false
        }
        Err(_) => true,
    }
}

/// The last bytes of a file that no line feed follows on. All of [`MOST`] where they hold none.
fn after_last_line_feed(path: &Path, length: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut rest = vec![0; MOST.min(usize::try_from(length).unwrap_or(MOST))];
    let start = length - rest.len() as u64;
    file.read_exact_at(&mut rest, start)?;
    let start = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    Ok(rest.split_off(start))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use std::time::Duration;

    use super::*;
    use crate::settings::Fsync;

    fn open(path: PathBuf) -> io::Result<FileSink> {
        FileSink::open(path, Durability::new(Fsync::Interval, Duration::ZERO))
    }

    fn write(sink: &mut FileSink, line: &str) {
        assert_eq!(sink.write(line.as_bytes()).unwrap(), line.len());
        sink.flush().unwrap();
    }

    #[test]
    fn a_new_file_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("denials.jsonl");
        open(path.clone()).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn lines_are_appended_to_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("denials.jsonl");
        std::fs::write(&path, "old\n").unwrap();
        write(&mut open(path.clone()).unwrap(), "new\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old\nnew\n");
    }

    #[test]
    fn a_line_that_was_left_half_written_is_ended_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("denials.jsonl");
        std::fs::write(&path, "{\"half\":").unwrap();
        let mut sink = open(path.clone()).unwrap();
        write(&mut sink, "first\n");
        write(&mut sink, "second\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"half\":\nfirst\nsecond\n");
    }

    #[test]
    fn an_event_that_was_left_half_written_is_cut_off_and_a_whole_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("denials.jsonl");
        let event = format!("{}}}", beginning());
        let half = beginning();
        for (left, expected) in [
            (format!("old\n{half}"), "old\nnew\n".to_owned()),
            (format!("old\n{}", &half[..5]), "old\nnew\n".to_owned()),
            (format!("old\n{half}\0\0\0"), "old\nnew\n".to_owned()),
            ("old\n\0\0".to_owned(), "old\nnew\n".to_owned()),
            (half.clone(), "new\n".to_owned()),
            (format!("old\n{event}"), format!("old\n{event}\nnew\n")),
            (format!("old\n{event}\n"), format!("old\n{event}\nnew\n")),
            ("old\n{\"other\":".to_owned(), "old\n{\"other\":\nnew\n".to_owned()),
        ] {
            std::fs::write(&path, &left).unwrap();
            write(&mut open(path.clone()).unwrap(), "new\n");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected, "{left:?}");
        }
    }

    #[test]
    fn reopening_follows_the_path_and_a_failure_keeps_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("denials.jsonl");
        let rotated = folder.path().join("denials.jsonl.1");
        let mut sink = open(path.clone()).unwrap();
        write(&mut sink, "first\n");
        std::fs::rename(&path, &rotated).unwrap();

        std::fs::create_dir(&path).unwrap();
        sink.reopen().unwrap_err();
        write(&mut sink, "second\n");
        std::fs::remove_dir(&path).unwrap();

        sink.reopen().unwrap();
        write(&mut sink, "third\n");
        assert_eq!(std::fs::read_to_string(&rotated).unwrap(), "first\nsecond\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "third\n");
    }

    #[test]
    fn a_file_that_grows_too_large_is_put_away_whole_and_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("denials.jsonl");
        let rotation = RotationSettings { size: Some(25), every: None, keep: 100, compress: false };
        let mut sink = open(path.clone()).unwrap().rotated(Some(&rotation)).unwrap();
        for number in 0..10 {
            write(&mut sink, &format!("line {number} xyz\n"));
        }
        let mut texts: Vec<String> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        texts.sort();
        assert_eq!(
            texts,
            [
                "line 0 xyz\nline 1 xyz\n",
                "line 2 xyz\nline 3 xyz\n",
                "line 4 xyz\nline 5 xyz\n",
                "line 6 xyz\nline 7 xyz\n",
                "line 8 xyz\nline 9 xyz\n"
            ]
        );
    }

    #[test]
    fn a_file_that_somebody_took_away_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("denials.jsonl");
        let rotation = RotationSettings { size: Some(1), every: None, keep: 9, compress: false };
        let mut sink = open(path.clone()).unwrap().rotated(Some(&rotation)).unwrap();
        write(&mut sink, "first\n");
        std::fs::remove_file(&path).unwrap();
        write(&mut sink, "second\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second\n");
        write(&mut sink, "third\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "third\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_folder_or_a_socket_is_refused_and_a_full_device_is_an_error_at_writing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(open(folder.path().into()).is_err());
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(open(socket).is_err());

        let error = open("/dev/full".into()).unwrap().write(b"line\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
