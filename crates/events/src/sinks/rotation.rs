//! When a file of events makes room for a new one, and what becomes of the old ones: compressed, and at most so many kept.
//!
//! An old file is called as the file, then `-` and the moment: `denials.jsonl-20261128T190412.697123Z`, with `.gz` once it is
//! compressed. A name is always later than that of the old file before it, also where the clock was set back: so names sort in the order
//! in which the files were put away, and nothing is renamed twice. The work on old files is done by a thread of its own: what is
//! left undone by a process that ends is done after the next rotation.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::beside::folder_of;
use crate::settings::RotationSettings;
use crate::sinks::durable::sync_folder;

/// Only the gateway's user may read what it refused to whom.
const MODE: u32 = 0o600;
/// After a rotation that failed, the file goes on as it is for this long.
const PAUSE: Duration = Duration::from_secs(60);

/// What is known of the file that is written.
#[derive(Debug)]
pub(crate) struct Rotation {
    settings: RotationSettings,
    length: u64,
    /// How old it was when it was opened, and when that was.
    age: Duration,
    opened: Instant,
    not_before: Option<Instant>,
    tidying: Option<JoinHandle<()>>,
}

impl Rotation {
    pub(crate) fn new(settings: RotationSettings, file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        // Where the file system does not know when a file was made, it is as old as its last change.
        let began = metadata.created().or_else(|_| metadata.modified()).unwrap_or_else(|_| SystemTime::now());
        let length = metadata.len();
        // From here on the system's clock may be set as it likes.
        let age = if length == 0 { Duration::ZERO } else { began.elapsed().unwrap_or_default() };
        Ok(Self { settings, length, age, opened: Instant::now(), not_before: None, tidying: None })
    }

    /// The same for another file.
    pub(crate) fn of(self, file: &File) -> io::Result<Self> {
        let new = Self::new(self.settings, file)?;
        Ok(Self { tidying: self.tidying, ..new })
    }

    /// So many bytes were written.
    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.length += bytes as u64;
    }

    /// Whether the file is to be put away before so many bytes are written.
    pub(crate) fn is_due(&self, bytes: usize) -> bool {
        if self.length == 0 || self.not_before.is_some_and(|then| Instant::now() < then) {
            return false;
        }
        let too_large = self.settings.size.is_some_and(|most| self.length + bytes as u64 > most);
        let too_old =
            || self.settings.every.is_some_and(|every| self.age.saturating_add(self.opened.elapsed()) >= every);
        too_large || too_old()
    }

    /// Puts the file away under a name of its own, which it gives; `None` where somebody else has put it away.
    pub(crate) fn put_away(&mut self, path: &Path) -> io::Result<Option<PathBuf>> {
        let newest = old_files(path).unwrap_or_default().iter().filter_map(|old| moment_of(path, old)).max();
        // Whatever the clock says.
        let after = newest.and_then(|newest| newest.checked_add(SignedDuration::from_micros(1)).ok());
        let old = old_name(path, after.map_or_else(Timestamp::now, |after| after.max(Timestamp::now())));
        match fs::rename(path, &old) {
            Ok(()) => Ok(Some(old)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                self.failed();
                Err(error)
            }
        }
    }

    /// The next attempt is made after a pause.
    pub(crate) fn failed(&mut self) {
        self.not_before = Some(Instant::now() + PAUSE);
    }

    /// A new file is there: looks after the old ones, unless that is still being done.
    pub(crate) fn began_new(&mut self, path: &Path) {
        self.length = 0;
        (self.age, self.opened) = (Duration::ZERO, Instant::now());
        if self.tidying.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let (path, settings) = (path.to_owned(), self.settings.clone());
        let tidy = move || {
            if let Err(error) = tidy(&path, &settings) {
                tracing::error!(path = %path.display(), %error, "old event files cannot be looked after");
            }
        };
        match thread::Builder::new().name("rotation".to_owned()).spawn(tidy) {
            Ok(thread) => self.tidying = Some(thread),
            Err(error) => tracing::error!(%error, "old event files cannot be looked after"),
        }
    }
}

fn old_name(path: &Path, now: Timestamp) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("-{}", now.strftime("%Y%m%dT%H%M%S.%6fZ")));
    PathBuf::from(name)
}

/// Compresses old files, and deletes the oldest ones.
fn tidy(path: &Path, settings: &RotationSettings) -> io::Result<()> {
    let mut old = old_files(path)?;
    let gone = old.len().saturating_sub(settings.keep);
    for file in old.drain(..gone) {
        fs::remove_file(file)?;
    }
    if settings.compress {
        for file in old.iter().filter(|file| file.extension().is_none_or(|extension| extension != "gz")) {
            compress(file)?;
        }
    }
    Ok(())
}

/// The old files of a file, oldest first.
pub(crate) fn old_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(name) = path.file_name() else { return Ok(Vec::new()) };
    let folder = folder_of(path);
    let mut found = Vec::new();
    for entry in folder.read_dir()? {
        let entry = entry?.file_name();
        let moment = entry.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
        if moment.is_some_and(is_moment) {
            found.push(folder.join(entry));
        }
    }
    found.sort();
    Ok(found)
}

/// The moment in the name of an old file.
fn moment_of(path: &Path, old: &Path) -> Option<Timestamp> {
    let name = old.file_name()?.as_encoded_bytes().strip_prefix(path.file_name()?.as_encoded_bytes())?;
    let text = std::str::from_utf8(name.strip_suffix(b".gz").unwrap_or(name)).ok()?.strip_prefix('-')?;
    DateTime::strptime("%Y%m%dT%H%M%S%.fZ", text).ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// Such as `-20261128T190412.697123Z`, with or without `.gz`. Nothing else is touched.
fn is_moment(text: &[u8]) -> bool {
    let text = text.strip_suffix(b".gz").unwrap_or(text);
    let form = b"-00000000T000000.000000Z";
    let fits = |(byte, form): (&u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form };
    text.len() == form.len() && text.iter().zip(form).all(fits)
}

/// The file is there in one of its two forms at any moment.
fn compress(file: &Path) -> io::Result<()> {
    let named = |ending: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let (unfinished, packed) = (named(".gz.tmp"), named(".gz"));
    let target = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&unfinished)?;
    let mut encoder = GzEncoder::new(BufWriter::new(target), Compression::fast());
    io::copy(&mut File::open(file)?, &mut encoder)?;
    let mut writer = encoder.finish()?;
    writer.flush()?;
    writer.get_ref().sync_data()?;
    fs::rename(&unfinished, &packed)?;
    // Not before the other one is sure to be there.
    sync_folder(&packed)?;
    fs::remove_file(file)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::MultiGzDecoder;

    use super::*;

    #[test]
    fn only_names_of_its_own_are_taken_for_old_files() {
        for (text, expected) in [
            ("-20261128T190412.697123Z", true),
            ("-20261128T190412.697123Z.gz", true),
            ("-20261128T190412.697123Z.gz.tmp", false),
            ("-20261128", false),
            (".1", false),
            ("", false),
            ("-2026112xT190412.697123Z", false),
        ] {
            assert_eq!(is_moment(text.as_bytes()), expected, "{text}");
        }
        let name = old_name(Path::new("a/e.jsonl"), "2026-11-28T19:04:12.697123Z".parse().unwrap());
        assert_eq!(name, Path::new("a/e.jsonl-20261128T190412.697123Z"));
    }

    #[test]
    fn a_clock_that_was_set_back_changes_no_order_and_deletes_no_newer_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.jsonl");
        // Put away while the clock was years ahead.
        let ahead = old_name(&path, "2099-01-01T00:00:00.999999Z".parse().unwrap());
        fs::write(&ahead, "1").unwrap();
        let settings = RotationSettings { size: Some(1), every: None, keep: 3, compress: false };
        for text in ["2", "3", "4"] {
            fs::write(&path, text).unwrap();
            let mut rotation = Rotation::new(settings.clone(), &File::open(&path).unwrap()).unwrap();
            rotation.put_away(&path).unwrap().unwrap();
        }
        tidy(&path, &settings).unwrap();
        let kept = old_files(&path).unwrap();
        let texts: Vec<String> = kept.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        assert_eq!(texts, ["2", "3", "4"]);
        assert!(kept[0].to_str().unwrap().ends_with("-20990101T000001.000000Z"), "{kept:?}");
    }

    #[test]
    fn old_files_are_compressed_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.jsonl");
        for second in 0..5 {
            let time = Timestamp::from_second(second).unwrap();
            fs::write(old_name(&path, time), format!("text {second}")).unwrap();
        }
        fs::write(folder.path().join("e.jsonl.1"), "not ours").unwrap();
        tidy(&path, &RotationSettings { size: None, every: None, keep: 2, compress: true }).unwrap();
        let kept = old_files(&path).unwrap();
        let texts: Vec<String> = kept
            .iter()
            .map(|file| {
                let mut text = String::new();
                MultiGzDecoder::new(File::open(file).unwrap()).read_to_string(&mut text).unwrap();
                text
            })
            .collect();
        assert_eq!(texts, ["text 3", "text 4"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_file_is_put_away_for_its_size_or_its_age_and_never_when_it_is_empty() {
        let file = tempfile::tempfile().unwrap();
        let settings = |size, every| RotationSettings { size, every, keep: 1, compress: false };
        let by_size = |length: usize, more: usize| {
            let mut rotation = Rotation::new(settings(Some(100), None), &file).unwrap();
            rotation.wrote(length);
            rotation.is_due(more)
        };
        assert_eq!([by_size(0, 200), by_size(50, 50), by_size(50, 51), by_size(100, 1)], [false, false, true, true]);
        let by_age = |every: Duration, length: usize| {
            let mut rotation = Rotation::new(settings(None, Some(every)), &file).unwrap();
            rotation.wrote(length);
            rotation.is_due(1)
        };
        let day = Duration::from_secs(86_400);
        assert_eq!([by_age(Duration::ZERO, 1), by_age(Duration::ZERO, 0), by_age(day, 1)], [true, false, false]);
    }
}
