//! Reads back what the gateway's file sink wrote, as a log shipper would: whole lines, each once.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use serde_json::Value;

/// The most bytes that are read at once; the rest follows the next time.
const MAX_READ_BYTES: u64 = 8 * 1024 * 1024;

/// A file of JSON lines that grows, and how far it was read.
#[derive(Debug)]
pub(crate) struct EventLog {
    path: PathBuf,
    offset: u64,
}

impl EventLog {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, offset: 0 }
    }

    /// The events since the last call. A line that is no JSON is `null`, which no event is; one without an end waits.
    ///
    /// # Errors
    /// When the file cannot be opened or read.
    pub(crate) fn read_new(&mut self) -> io::Result<Vec<Value>> {
        let mut file = File::open(&self.path)?;
        if file.metadata()?.len() < self.offset {
            // Somebody put a shorter file in its place.
            self.offset = 0;
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.take(MAX_READ_BYTES).read_to_end(&mut bytes)?;
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { return Ok(Vec::new()) };
        bytes.truncate(end + 1);
        self.offset += bytes.len() as u64;
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(lines.map(|line| serde_json::from_slice(line).unwrap_or_default()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::json;

    use super::*;

    #[test]
    fn every_line_is_read_once_and_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut log = EventLog::new(path.clone());
        assert_eq!(log.read_new().unwrap_err().kind(), io::ErrorKind::NotFound);
        let mut file = File::create(&path).unwrap();
        let mut check = |text: &str, expected: &[Value]| {
            file.write_all(text.as_bytes()).unwrap();
            assert_eq!(log.read_new().unwrap(), expected);
        };
        check("", &[]);
        check("{\"seq\":1}\n{\"seq\":2}\n{\"se", &[json!({"seq": 1}), json!({"seq": 2})]);
        check("", &[]);
        check("q\":3}\n", &[json!({"seq": 3})]);
        check("garbage\n\n", &[Value::Null]);
    }

    #[test]
    fn a_shorter_file_is_read_from_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut log = EventLog::new(path.clone());
        std::fs::write(&path, "{\"seq\":1}\n{\"seq\":2}\n").unwrap();
        assert_eq!(log.read_new().unwrap().len(), 2);
        std::fs::write(&path, "{\"seq\":3}\n").unwrap();
        assert_eq!(log.read_new().unwrap(), [json!({"seq": 3})]);
    }
}
