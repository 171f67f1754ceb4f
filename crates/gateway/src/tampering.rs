//! The thread that looks whether the files on disk are still what was approved: who changes them behind the gateway's back should not be the one who decides when
//! that is noticed, by the next reload.
//!
//! Files are edited before they are proposed. So nothing is said of what somebody has proposed, nor of what has not stood there for some minutes; and of the same
//! files it is said once.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use portcullis_config::{Loaded, ProcessEnvironment, Report, load};

use crate::governing::{Alarm, Governing};
use crate::running::Running;

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(60);
/// Looks for which files must have stood there before anything is said.
const LOOKS: u32 = 5;
/// Looks for which files that seem to be the same are not read.
const UNREAD: u32 = 9;

/// The running thread. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Tampering {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Tampering {
    /// Starts it, where versions are kept.
    ///
    /// # Errors
    /// No thread.
    pub(crate) fn start(config: &Path, running: &Arc<Running>) -> std::io::Result<Option<Self>> {
        let Some(governing) = running.governing() else { return Ok(None) };
        let (governing, running) = (Arc::clone(governing), Arc::clone(running));
        let mut look = Look::new(config.to_owned());
        let (stop, stopped) = channel();
        let thread = thread::Builder::new().name("files".to_owned()).spawn(move || {
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                if let Some(alarm) = look.again(&governing) {
                    tracing::error!("{}", alarm.message);
                    running.record(alarm.kind(), alarm.message);
                }
            }
        })?;
        Ok(Some(Self { stop: Some(stop), thread: Some(thread) }))
    }
}

impl Drop for Tampering {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic on that thread was reported where it happened.
            let _ = thread.join();
        }
    }
}

/// What tells a file from the one that was there: when it was changed (seconds and nanoseconds), its length and its number.
type Stamp = (i64, i64, u64, u64);

/// What was seen the last time.
#[derive(Debug)]
struct Look {
    config: PathBuf,
    /// Of the files that were read then, and of their folders, where others may have come.
    stamps: BTreeMap<PathBuf, Option<Stamp>>,
    /// Looks for which they were taken to be the same.
    unread: u32,
    /// What they hold, where that is not what was approved.
    other: Option<Other>,
}

#[derive(Debug)]
struct Other {
    /// The digest, or the errors.
    what: String,
    alarm: Alarm,
    looks: u32,
}

impl Look {
    fn new(config: PathBuf) -> Self {
        Self { config, stamps: BTreeMap::new(), unread: 0, other: None }
    }

    /// Looks again. Returns what is to be said, once.
    fn again(&mut self, governing: &Governing) -> Option<Alarm> {
        let is_same = !self.stamps.is_empty() && self.stamps.iter().all(|(path, was)| stamp(path) == *was);
        // What was approved may be another thing by now, and what is on the disk be proposed: so it is read again while something is amiss. And now and then
        // in any case, since a pattern may find a file in a folder where there was none.
        if is_same && self.other.is_none() && self.unread < UNREAD {
            self.unread = self.unread.saturating_add(1);
        } else {
            self.read(governing);
        }
        let other = self.other.as_mut()?;
        other.looks = other.looks.saturating_add(1);
        (other.looks == LOOKS).then(|| other.alarm.clone())
    }

    fn read(&mut self, governing: &Governing) {
        let disk = load(&self.config, &ProcessEnvironment);
        self.unread = 0;
        self.stamps = stamps(&self.config, disk.as_ref().ok());
        let what = disk.as_ref().map_or_else(Report::summary_line, |loaded| format!("{:x?}", loaded.governed.digest));
        self.other = governing.amiss(disk.as_ref()).map(|alarm| {
            let looks = self.other.as_ref().filter(|other| other.what == what).map_or(0, |other| other.looks);
            Other { what, alarm, looks }
        });
    }
}

fn stamps(config: &Path, disk: Option<&Loaded>) -> BTreeMap<PathBuf, Option<Stamp>> {
    let mut paths = vec![config.to_owned()];
    paths.extend(disk.into_iter().flat_map(|disk| disk.governed.files.iter().map(|file| file.path.clone())));
    let folders: Vec<PathBuf> = paths.iter().filter_map(|path| Some(path.parent()?.to_owned())).collect();
    paths.extend(folders);
    paths.into_iter().map(|path| (path.clone(), stamp(&path))).collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.mtime(), metadata.mtime_nsec(), metadata.len(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use portcullis_admin::govern::{Author, Governed, NewApprover, Proposed};
    use portcullis_governance::SigningKey;
    use portcullis_store::Settings;

    use super::*;
    use crate::governing::{Offline, Who};

    const GATEWAY: &str = "version = 1\n[[listener]]\nname = \"l\"\naddress = \"127.0.0.1:0\"\n[[upstream]]\nname = \"u\"\nendpoints = [\"http://127.0.0.1:9\"]\n[[route]]\nname = \"r\"\nupstream = \"u\"\n[store]\npath = \"state.db\"\n[governance]\nrequired = true\napprovals = { loosen = 1, keys = 1 }\n";
    const POLICY: &str = "version = 1\ninclude = [\"more/*.toml\"]\n";

    struct Place {
        folder: tempfile::TempDir,
        governing: Governing,
    }

    fn by() -> Author {
        Author { name: None, reason: "because".to_owned(), ticket: None }
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let config = folder.path().join("portcullis.toml");
            std::fs::create_dir(folder.path().join("more")).unwrap();
            std::fs::write(&config, GATEWAY).unwrap();
            std::fs::write(folder.path().join("policy.toml"), POLICY).unwrap();
            let governing = Governing::open_alone(&config, &Settings { path: folder.path().join("state.db") }).unwrap();
            let key = SigningKey::generate().unwrap().0.public().to_pem();
            let ben = NewApprover { person: "ben".to_owned(), aliases: Vec::new(), key };
            let place = Self { folder, governing };
            place.perform(Governed::Init { approvers: vec![ben], by: by() });
            place
        }

        fn perform(&self, wanted: Governed) {
            let who = Who::account(1_000, Some("ana"));
            self.governing.perform(wanted, &who, &Offline, jiff::Timestamp::now()).unwrap();
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.folder.path().join(name), text).unwrap();
        }

        fn look(&self) -> Look {
            Look::new(self.folder.path().join("portcullis.toml"))
        }
    }

    #[test]
    fn what_nobody_approved_is_told_of_once_where_it_stays_and_nobody_proposes_it() {
        let place = Place::new();
        let mut look = place.look();
        let mut looks = |count: usize| (0..count).filter_map(|_| look.again(&place.governing)).collect::<Vec<_>>();
        assert!(looks(20).is_empty());
        place.write("policy.toml", "version = 1\n# by hand\n");
        assert!(looks(4).is_empty(), "it may be proposed still");
        let told = looks(20);
        assert_eq!((told.len(), told[0].tampered), (1, true));
        assert!(told[0].message.contains("policy.toml on disk was not approved"), "{told:?}");
        // Something else is told of, too; what is not governed is not.
        place.write("policy.toml", "version = 1\n# by another hand\n");
        assert_eq!(looks(20).len(), 1);
        place.write("policy.toml", "broken");
        assert!(looks(20)[0].message.contains("invalid"));
        place.write("policy.toml", POLICY);
        place.write("portcullis.toml", &format!("{GATEWAY}[ops]\nenabled = false\n"));
        assert!(looks(20).is_empty());
        // The usual way to propose.
        place.write("policy.toml", "version = 1\n# the next one\n");
        assert!(looks(3).is_empty());
        place.perform(Governed::Propose(Proposed { policy: None, files: None, again: None, base: None, by: by() }));
        assert!(looks(20).is_empty());
    }

    #[test]
    fn a_file_that_a_pattern_finds_from_now_on_is_seen() {
        let place = Place::new();
        let mut look = place.look();
        assert!(look.again(&place.governing).is_none());
        place.write("more/a.toml", "[[role]]\nname = \"r\"\npermissions = [{ actions = [\"GET /**\"] }]\n");
        let told = (0..20).filter_map(|_| look.again(&place.governing)).collect::<Vec<_>>();
        assert!(told.len() == 1 && told[0].message.contains("more/a.toml"), "{told:?}");
    }
}
