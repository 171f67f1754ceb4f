//! What was last in force, and what is held back, on disk: one text file each, written beside and renamed, with a checksum.
//!
//! ```text
//! portcullis.feed/1
//! {"feed":"partner","source":"…","checked":"2026-11-29T00:00:00Z",…}
//! 203.0.113.0/24
//! 2001:db8::/32
//! sha256 …                        of all the lines before
//! ```

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use ipnet::IpNet;
use jiff::Timestamp;
use portcullis_durable::{DurableError, Rights};
use portcullis_policy::{Listed, NetworkContent};
use serde::{Deserialize, Serialize};

use crate::acceptance::{Acceptance, Uses};
use crate::feed::Activated;
use crate::guard::Finding;
use crate::list::List;
use crate::obtain::Validators;
use crate::prefix::parse_prefix;
use crate::settings::{FeedSettings, OnStale, Settings};

/// As other files that are made here: less the umask.
const MODE: u32 = 0o666;
/// The first line.
const MAGIC: &str = "portcullis.feed/1";
/// The largest file: a million prefixes, each as long as one can be.
const MAX_FILE: u64 = 64 << 20;
/// A list from further ahead than this is of no known age: the clock was set back.
const SKEW: Duration = Duration::from_secs(5 * 60);

/// Which of a feed's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The list in force.
    Good,
    /// The update that is held back.
    Held,
    /// The list that was in force before that one.
    Before,
    /// The list that updates are compared with besides the one in force.
    Base,
    /// What came of the lists that the configuration accepts, and what was in force before.
    Accepted,
}

/// What a file holds.
#[derive(Debug, Clone)]
pub(crate) struct Saved {
    pub(crate) list: Arc<List>,
    pub(crate) checked: Timestamp,
    pub(crate) changed: Timestamp,
    pub(crate) validators: Validators,
    /// Why it is held back; empty of a list in force.
    pub(crate) findings: Vec<Finding>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    feed: String,
    source: String,
    checked: String,
    changed: String,
    validators: Validators,
    written: usize,
    findings: Vec<Finding>,
    /// Of no other file than [`Kind::Accepted`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uses: Option<Uses>,
}

/// Why a file was not believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is broken: {why}", path.display())]
    Broken { path: PathBuf, why: String },
}

/// Writes a feed's file; the one before it stays as it is until the new one is whole and on the disk.
pub(crate) fn save(folder: &Path, settings: &FeedSettings, kind: Kind, saved: &Saved) -> io::Result<()> {
    save_with(folder, settings, kind, saved, None)
}

pub(crate) fn save_with(
    folder: &Path,
    settings: &FeedSettings,
    kind: Kind,
    saved: &Saved,
    uses: Option<Uses>,
) -> io::Result<()> {
    let head = Head {
        feed: settings.name.to_string(),
        source: settings.fingerprint(),
        checked: saved.checked.to_string(),
        changed: saved.changed.to_string(),
        validators: saved.validators.clone(),
        written: saved.list.written(),
        findings: saved.findings.clone(),
        uses,
    };
    let mut text = format!("{MAGIC}\n{}\n", serde_json::to_string(&head)?);
    for prefix in saved.list.prefixes().iter() {
        text.push_str(&format!("{prefix}\n"));
    }
    let sum = HEXLOWER.encode(digest(&SHA256, text.as_bytes()).as_ref());
    text.push_str(&format!("sha256 {sum}\n"));
    fs::create_dir_all(folder)?;
    let path = path(folder, &settings.name, kind);
    // One name for each: what a process that was killed left behind is found by the next.
    let draft = path.with_extension("new");
    portcullis_durable::write(&path, draft, Rights::Mode(MODE), text.as_bytes()).map_err(DurableError::into_source)
}

/// Removes a feed's file, where there is one.
pub(crate) fn remove(folder: &Path, name: &str, kind: Kind) -> io::Result<()> {
    portcullis_durable::remove(&path(folder, name, kind)).map_err(DurableError::into_source)
}

/// What a feed's file holds; `None` where there is none, or one of another source.
pub(crate) fn load(folder: &Path, settings: &FeedSettings, kind: Kind) -> Result<Option<Saved>, LoadError> {
    Ok(load_with(folder, settings, kind)?.map(|(_, saved)| saved))
}

pub(crate) fn load_with(
    folder: &Path,
    settings: &FeedSettings,
    kind: Kind,
) -> Result<Option<(Option<Uses>, Saved)>, LoadError> {
    let path = path(folder, &settings.name, kind);
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(LoadError::Io { path, source }),
    }
    match decode(&bytes) {
        Ok((head, saved)) => Ok((head.source == settings.fingerprint()).then_some((head.uses, saved))),
        Err(why) => Err(LoadError::Broken { path, why }),
    }
}

fn decode(bytes: &[u8]) -> Result<(Head, Saved), String> {
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("it is larger than {} MiB", MAX_FILE >> 20));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
    let (content, sum) = text
        .strip_suffix('\n')
        .and_then(|text| text.rsplit_once('\n'))
        .and_then(|(content, last)| Some((content, last.strip_prefix("sha256 ")?)))
        .ok_or("its end is missing")?;
    // The checksum is of all before it, the last line feed included.
    let summed = text.get(..=content.len()).unwrap_or_default();
    if HEXLOWER.encode(digest(&SHA256, summed.as_bytes()).as_ref()) != sum {
        return Err("its checksum is wrong".to_owned());
    }
    let mut lines = content.split('\n');
    if lines.next() != Some(MAGIC) {
        return Err(format!("it does not begin with {MAGIC}"));
    }
    let head: Head = serde_json::from_str(lines.next().unwrap_or_default()).map_err(|error| error.to_string())?;
    let moment = |text: &str| text.parse::<Timestamp>().map_err(|error| error.to_string());
    let prefixes = lines.map(parse_prefix).collect::<Result<Vec<IpNet>, String>>()?;
    let list = Arc::new(List::new(&prefixes).with_written(head.written));
    let saved = Saved {
        list,
        checked: moment(&head.checked)?,
        changed: moment(&head.changed)?,
        validators: head.validators.clone(),
        findings: head.findings.clone(),
    };
    Ok((head, saved))
}

/// A name that is a file's name, and no other feed's.
fn path(folder: &Path, name: &str, kind: Kind) -> PathBuf {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    let shown: String = name.chars().filter(|character| plain(*character)).take(48).collect();
    let hash = HEXLOWER.encode(digest(&SHA256, name.as_bytes()).as_ref());
    let ending = match kind {
        Kind::Good => "good",
        Kind::Held => "held",
        Kind::Before => "before",
        Kind::Base => "base",
        Kind::Accepted => "accepted",
    };
    folder.join(format!("{shown}-{}.{ending}", hash.get(..12).unwrap_or_default()))
}

/// What was kept of one feed.
#[derive(Debug, Clone)]
pub struct Restored {
    pub(crate) settings: Arc<FeedSettings>,
    pub(crate) good: Option<Saved>,
    pub(crate) held: Option<Saved>,
    pub(crate) before: Option<Saved>,
    pub(crate) base: Option<Saved>,
    pub(crate) acceptance: Acceptance,
    /// It is too old, by the time that it was restored at.
    pub(crate) is_stale: bool,
    problem: Option<String>,
}

impl Restored {
    /// The name of the network.
    pub fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    /// What is wrong with what was kept, for the operator.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The list that was last in force, where it is known, and when it was confirmed.
    pub fn list(&self) -> Option<(&Arc<List>, Timestamp)> {
        self.good().map(|good| (&good.list, good.checked))
    }

    /// The list that is to be in force: the one before, where the configuration accepts the last one no more.
    fn good(&self) -> Option<&Saved> {
        let taken_back = self.acceptance.taken_back_by(&self.settings);
        taken_back.map_or(self.good.as_ref(), |standing| standing.before.as_ref())
    }

    /// What whoever loaded this has put in force of it.
    pub(crate) fn activated(&self) -> Activated {
        let dropped = self.is_stale && self.settings.on_stale == OnStale::Undecided;
        let list = self.good().filter(|_| !dropped);
        let sha256 = list.map(|good| Arc::clone(good.list.sha256()));
        Activated { sha256, fixed: Arc::clone(&self.settings.fixed) }
    }

    /// What is in the network.
    pub fn content(&self) -> NetworkContent {
        let dropped = self.is_stale && self.settings.on_stale == OnStale::Undecided;
        let list = self.good().filter(|_| !dropped).map(|good| &good.list);
        content(&self.settings, list)
    }
}

/// The content of a network whose list is this, or unknown.
pub(crate) fn content(settings: &FeedSettings, list: Option<&Arc<List>>) -> NetworkContent {
    let prefixes = match list {
        Some(list) if settings.fixed.is_empty() => Arc::clone(list.prefixes()),
        list => {
            let listed = list.map_or(&[][..], |list| list.prefixes());
            settings.fixed.iter().chain(listed).copied().collect()
        }
    };
    let sha256 = list.map(|list| Arc::clone(list.sha256()));
    let list_of = Listed { origin: settings.origin().into(), sha256 };
    NetworkContent { name: Arc::clone(&settings.name), prefixes, unknown: list.is_none(), list: Some(list_of) }
}

/// Loads what was kept of all feeds. What is broken is not believed, and said. Without a time nothing is too old.
pub fn restore(settings: &Settings, now: Option<Timestamp>) -> Vec<Restored> {
    let one = |feed: &Arc<FeedSettings>| {
        let (good, problem) = match load(&settings.folder, feed, Kind::Good) {
            Ok(good) => (good, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let (held, held_problem) = match load(&settings.folder, feed, Kind::Held) {
            Ok(held) => (held, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let (before, before_problem) = match load(&settings.folder, feed, Kind::Before) {
            Ok(before) => (before, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let (base, base_problem) = match load(&settings.folder, feed, Kind::Base) {
            Ok(base) => (base, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let (acceptance, accepted_problem) = match Acceptance::load(&settings.folder, feed) {
            Ok(acceptance) => (acceptance, None),
            Err(error) => (Acceptance::unknown(feed), Some(error.to_string())),
        };
        let problem = problem.or(held_problem).or(before_problem).or(base_problem).or(accepted_problem);
        let settings = Arc::clone(feed);
        let mut restored = Restored { settings, is_stale: false, good, held, before, base, acceptance, problem };
        let age = restored.good().zip(now).map(|(good, now)| age_of(good.checked, now));
        restored.is_stale = age.is_some_and(|age| age > feed.max_age);
        restored
    };
    settings.feeds.iter().map(one).collect()
}

/// How long ago something was confirmed by the clock on the wall. What is from the future is as old as can be: nobody knows how old.
pub(crate) fn age_of(checked: Timestamp, now: Timestamp) -> Duration {
    let since = now.duration_since(checked);
    match Duration::try_from(since) {
        Ok(age) => age,
        Err(_) if since.unsigned_abs() <= SKEW => Duration::ZERO,
        Err(_) => Duration::MAX,
    }
}

#[cfg(test)]
mod tests;
