//! What stands in the folder of an event file: those that were rotated away, and what is no file of events.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How many names of a folder are looked at.
const MAX_NAMES: usize = 100_000;

/// How the names end of what is written beside event files and is none, and what it is.
const OTHERS: [(&str, &str); 6] = [
    (".tmp", "a file that was being compressed"),
    (".part", "a file that was being written"),
    (".index", "the index of event files"),
    ("-wal", "a part of the index of event files"),
    ("-shm", "a part of the index of event files"),
    (".lock", "a lock"),
];

/// What a file is that, by its name, is no file of events but stands beside one.
pub fn is_no_event_file(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.as_bytes();
    OTHERS.iter().find(|(ending, _)| name.ends_with(ending.as_bytes())).map(|(_, what)| *what)
}

/// The files that somebody else may have rotated away from this path (`X.1`, `X-20261128.gz`), the one that was last written to first.
pub(crate) fn rotated(path: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(name) = path.file_name() else { return Ok(Vec::new()) };
    let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in folder_of(path).read_dir()?.take(MAX_NAMES) {
        let entry = entry?;
        let other = entry.file_name();
        let rest = other.as_bytes().strip_prefix(name.as_bytes());
        let separated = rest.is_some_and(|rest| matches!(rest.first(), Some(b'.' | b'-')));
        if !separated || is_no_event_file(Path::new(&other)).is_some() {
            continue;
        }
        let Ok(metadata) = fs::metadata(entry.path()) else { continue };
        if metadata.is_file() && metadata.len() > 0 {
            found.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), path.with_file_name(other)));
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// The folder that a file stands in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_of_events_is_known_by_its_name() {
        for (name, other) in [
            ("denials.jsonl", false),
            ("denials.jsonl.1", false),
            ("denials.jsonl-20261128T190412.697123Z", false),
            ("denials.jsonl-20261128T190412.697123Z.gz", false),
            ("denials.jsonl-20261128T190412.697123Z.gz.tmp", true),
            ("denials.jsonl.index", true),
            ("denials.jsonl.index-wal", true),
            ("denials.jsonl.index-shm", true),
        ] {
            assert_eq!(is_no_event_file(Path::new(name)).is_some(), other, "{name}");
        }
    }

    #[test]
    fn what_somebody_rotated_away_is_found_the_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.jsonl");
        for (second, name) in
            [(3, "e.jsonl.1"), (1, "e.jsonl.2.gz"), (9, "e.jsonl.index"), (9, "e.jsonl"), (9, "f.jsonl.1")]
        {
            let file = fs::File::create(folder.path().join(name)).unwrap();
            io::Write::write_all(&mut &file, b"x").unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second)).unwrap();
        }
        fs::File::create(folder.path().join("e.jsonl.0")).unwrap();
        let names: Vec<_> = rotated(&path).unwrap().iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["e.jsonl.1", "e.jsonl.2.gz"]);
        assert_eq!(folder_of(Path::new("e.jsonl")), Path::new("."));
    }
}
