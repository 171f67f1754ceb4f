//! What the process before has left: the end of the chain, and whether it stopped in order.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use serde::Deserialize;

use crate::chain::{self, Chain, Hash};
use crate::settings::Settings;
use crate::spool::Found;

/// How much of a file's end is looked at for its last line: no line is longer than 1 MiB.
const TAIL: u64 = 2 * 1024 * 1024;

/// The last event of the process before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// Where it was found.
    pub place: String,
    /// Its time, as it says.
    pub time: String,
    /// Whether it was the last that a process records when it stops in order.
    pub in_order: bool,
    /// Its hash, where it bears one that is right.
    hash: Option<Hash>,
}

impl fmt::Display for Earlier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, time, .. } = self;
        if self.in_order {
            return write!(formatter, "the process before it stopped in order at {time}");
        }
        write!(
            formatter,
            "the process before it did not stop in order: the last event in {place} is of {time}, and later ones may be lost"
        )
    }
}

/// What is read of an event.
#[derive(Deserialize)]
struct Last {
    kind: String,
    time: String,
}

impl Earlier {
    /// Looks in the spool, else in the first file of native lines that gets every event and has any.
    pub(super) fn find(settings: &Settings, spool: Option<&Found>) -> Option<Self> {
        if let Some(found) = spool
            && let Some(line) = &found.last_line
        {
            return Self::of("the spool", line);
        }
        // What a filter passed over would be missing from the chain.
        let open = settings.sinks.iter().filter(|sink| sink.filter.is_open());
        open.filter_map(|sink| sink.native_file()).find_map(|path| Self::in_file(path).ok()?)
    }

    /// The last line of a file that is an event: what follows it was left half written.
    fn in_file(path: &Path) -> io::Result<Option<Self>> {
        let place = path.display().to_string();
        let tail = tail(path)?;
        let mut lines = tail.rsplit(|byte| *byte == b'\n');
        // What follows the last line feed, usually nothing.
        lines.next();
        Ok(lines.find_map(|line| Self::of(&place, line)))
    }

    fn of(place: &str, line: &[u8]) -> Option<Self> {
        let last: Last = serde_json::from_slice(line).ok()?;
        let hash = chain::read(line).filter(|seal| seal.is_right).map(|seal| seal.hash);
        let in_order = last.kind == "gateway.stopped";
        Some(Self { place: place.to_owned(), time: last.time, in_order, hash })
    }
}

/// The chain that the next event continues.
pub(super) fn chain(settings: &Settings, earlier: Option<&Earlier>) -> Chain {
    let keeps = settings.spool.is_some() || settings.sinks.iter().any(|sink| sink.native_file().is_some());
    match earlier {
        Some(Earlier { hash: Some(hash), .. }) => Chain::After(*hash),
        Some(earlier) => Chain::begin(&format!("the last event in {} bears no hash that is right", earlier.place)),
        None if keeps => Chain::begin("no earlier event is there"),
        None => Chain::begin("neither a file nor a spool keeps events from one start to the next"),
    }
}

/// The end of a file; nothing where it is no regular file.
fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = path.metadata()?;
    let mut tail = Vec::new();
    if metadata.is_file() {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(metadata.len().saturating_sub(TAIL)))?;
        file.take(TAIL).read_to_end(&mut tail)?;
    }
    Ok(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time of the last event, and whether it is that of a stop in order.
    #[track_caller]
    fn check(text: &str, expected: Option<(&str, bool)>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        std::fs::write(&path, text).unwrap();
        let found = Earlier::in_file(&path).unwrap();
        assert_eq!(found.as_ref().map(|found| (found.time.as_str(), found.in_order)), expected, "{text:?}");
    }

    #[test]
    fn the_last_whole_event_is_found_and_whether_it_was_the_end() {
        let denied = r#"{"kind":"access.denied","time":"1"}"#;
        let stopped = r#"{"kind":"gateway.stopped","time":"2"}"#;
        check("", None);
        check(denied, None);
        check("\n\nrubbish\n", None);
        check(&format!("{denied}\n"), Some(("1", false)));
        check(&format!("{denied}\n{stopped}\n"), Some(("2", true)));
        check(&format!("{stopped}\n{denied}\n"), Some(("1", false)));
        check(&format!("{stopped}\n{denied}"), Some(("2", true)));
        check(&format!("{denied}\n{{\"kind\":\n"), Some(("1", false)));
        assert_eq!(Earlier::in_file(Path::new("/dev/null")).unwrap(), None);
        assert!(Earlier::in_file(Path::new("/no/such/file")).is_err());
    }
}
