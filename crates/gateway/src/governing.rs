//! What is in force where versions are kept: the files on the disk, or what was approved.
//!
//! Without `[governance] required` the files are believed: what they hold when they become live is noted as a version. Where approvals are
//! required only the last version is believed. Files that hold the same are read from the disk (so that what is not governed can be changed
//! there); files that hold anything else are refused, and at a start the version itself is put in force in their place.

mod activating;
#[cfg(test)]
mod classes;
mod desk;
mod foresight;
mod rolling;
mod shown;
mod source;
#[cfg(test)]
mod tests;
mod written;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portcullis_config::{GovernedKind, Loaded, ProcessEnvironment, Report, load};
use portcullis_events::EventKind;
use portcullis_governance::{
    ApproverSet, Assessed, Class, Content, GovernanceError, Governor, Hash, HeadFile, HeadPlace, Kind, Ledger,
    PolicySource, Stages, Version, Wish,
};
use portcullis_policy::DiffBounds;
use portcullis_store::{Lock, LockError, StoreError, Versions};
use thiserror::Error;

pub(crate) use desk::Who;
pub(crate) use foresight::{Foresight, Offline, Weight, in_words as impact_in_words};
pub(crate) use rolling::{StagedVersion, Standing as Rolling, in_words as stage_in_words, percent};
pub(crate) use source::{Source, content_of, load_sealed};

use source::class_of;

/// The versions of a gateway.
#[derive(Debug)]
pub(crate) struct Governing {
    governor: Mutex<Governor>,
    config: PathBuf,
    store: portcullis_store::Settings,
    /// The steps by which the next version comes into force: those of the one that serves.
    stages: Mutex<Stages>,
    _lock: Lock,
}

/// How the gateway was told to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pin {
    /// The store that must be governed.
    pub(crate) store: PathBuf,
    /// As which instance.
    pub(crate) instance: Option<Hash>,
}

/// Why there are no versions.
#[derive(Debug, Error)]
pub(crate) enum GoverningError {
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Somebody else has it.
    #[error("{0}")]
    Lock(#[from] LockError),
    /// The log.
    #[error("{0}")]
    Governance(#[from] GovernanceError),
}

impl GoverningError {
    /// Whether it stays until somebody does something.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::Store(error) => error.trouble.is_lasting(),
            Self::Lock(_) => false,
            Self::Governance(error) => error.is_tampering() || matches!(error, GovernanceError::Head { .. }),
        }
    }
}

/// Why a configuration is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The process starts.
    Start,
    /// An operator wants the files.
    Asked,
    /// A version became live.
    Activated,
}

/// What is to be put in force.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) loaded: Loaded,
    pub(crate) number: Number,
    /// A version that is rolled out beside it.
    pub(crate) staged: Option<StagedVersion>,
    /// What is wrong with the files, where the version was put in force in their place.
    pub(crate) alarm: Option<Alarm>,
}

/// The files are not what is live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alarm {
    pub(crate) message: String,
    /// Nobody ever approved them; else they are those of an earlier version.
    pub(crate) tampered: bool,
}

impl Alarm {
    /// The kind of its event.
    pub(crate) fn kind(&self) -> EventKind {
        if self.tampered { EventKind::PolicyTampered } else { EventKind::PolicyRejected }
    }
}

/// Which version it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Number {
    /// Nobody counts.
    None,
    /// This one.
    Known(u64),
    /// It is noted when it becomes live, and does this.
    Noted(Class),
}

/// Why nothing is put in force.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The files have errors.
    Files(Box<Report>),
    /// They are not what was approved.
    Alarm(Alarm),
    /// Something else, in a sentence.
    Other(String),
}

/// A lock that is held while the store is changed is waited for so long.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);
/// Evaluations of a comparison that a reload waits for: about a second.
const QUICK: u64 = 3_000_000;
/// Among so many earlier versions it is looked for what the files are.
const EARLIER: u64 = 200;

impl Decided {
    /// The files alone, where no versions are kept.
    pub(crate) fn unversioned(loaded: Loaded) -> Self {
        Self { loaded, number: Number::None, staged: None, alarm: None }
    }
}

impl Governing {
    /// Opens the versions of a gateway that runs.
    pub(crate) fn open(
        config: &Path,
        store: &portcullis_store::Settings,
        pin: Option<&Pin>,
    ) -> Result<Self, GoverningError> {
        let began = Instant::now();
        let lock = loop {
            match Lock::share(&store.path) {
                Err(LockError::Busy(_)) if began.elapsed() < PATIENCE => std::thread::sleep(POLL),
                lock => break lock?,
            }
        };
        Self::open_with(config, store, pin, (lock, Governor::open))
    }

    /// The same for whoever changes them without a gateway.
    pub(crate) fn open_alone(config: &Path, store: &portcullis_store::Settings) -> Result<Self, GoverningError> {
        Self::open_with(config, store, None, (Lock::alone(&store.path)?, Governor::open))
    }

    /// The same for whoever only looks: nothing is written, since it may be somebody else than the account of the gateway.
    pub(crate) fn look_alone(config: &Path, store: &portcullis_store::Settings) -> Result<Self, GoverningError> {
        Self::open_with(config, store, None, (Lock::alone(&store.path)?, Governor::look))
    }

    fn open_with(
        config: &Path,
        store: &portcullis_store::Settings,
        pin: Option<&Pin>,
        (lock, open): (Lock, Open),
    ) -> Result<Self, GoverningError> {
        let governor = open_governor(config, store, pin, open)?;
        let stages = match governor.standing().rollout {
            None => Stages::default(),
            Some(_) => {
                let (_, content) = governor.served()?;
                load_sealed(config, &content).map_or_else(|_| Stages::default(), |loaded| loaded.stages)
            }
        };
        Ok(Self {
            governor: Mutex::new(governor),
            config: config.to_owned(),
            store: store.clone(),
            stages: Mutex::new(stages),
            _lock: lock,
        })
    }

    fn governor(&self) -> MutexGuard<'_, Governor> {
        self.governor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version that is live; 0 for none.
    pub(crate) fn n(&self) -> u64 {
        self.governor().n()
    }

    /// Whether only what was approved becomes live.
    pub(crate) fn is_required(&self) -> bool {
        self.governor().is_required()
    }

    /// How many persons a change needs that loosens; 0 where nobody has to approve.
    pub(crate) fn loosen(&self) -> u8 {
        let rules = self.governor().standing().version.map(|version| version.rules());
        rules.filter(|rules| rules.required).map_or(0, |rules| rules.loosen)
    }

    /// Since when anything must be approved, in microseconds since 1970; where that cannot be told, always.
    pub(crate) fn required_since(&self) -> i64 {
        self.governor().required_since().ok().flatten().unwrap_or(i64::MIN)
    }

    /// Who may approve, and as which gateway's change.
    pub(crate) fn approvers(&self) -> (ApproverSet, Hash) {
        let standing = self.governor().standing();
        (standing.approvers, standing.instance)
    }

    /// The last versions, from the last one back, as far as they can be read. The log is not held meanwhile.
    pub(crate) fn versions_back(&self, most: u64) -> impl Iterator<Item = Version> + '_ {
        let last = self.n();
        let first = last.saturating_sub(most).saturating_add(1).max(1);
        (first..=last).rev().map_while(|n| self.governor().version(n).ok())
    }

    /// The files of a version, where they can be read.
    pub(crate) fn content_of(&self, version: &Version) -> Option<Content> {
        self.governor().content_of(version).ok()
    }

    /// Where they are.
    pub(crate) fn store(&self) -> &portcullis_store::Settings {
        &self.store
    }

    /// Says what of the disk, or instead of it, is to be put in force. `in_force`: the version that is, where one is.
    pub(crate) fn choose(
        &self,
        disk: Result<Loaded, Report>,
        why: Why,
        in_force: Option<u64>,
    ) -> Result<Decided, Refused> {
        let decided = if self.is_required() { self.approved(disk, why, in_force) } else { self.believed(disk, why) }?;
        self.set_stages(&decided.loaded.stages);
        Ok(decided)
    }

    /// The files, where nothing has to be approved.
    fn believed(&self, disk: Result<Loaded, Report>, why: Why) -> Result<Decided, Refused> {
        if let Some(decided) = self.instead(&disk, why)? {
            return Ok(decided);
        }
        let loaded = disk.map_err(|report| Refused::Files(Box::new(report)))?;
        if loaded.governance.required {
            let message = "`[governance]` demands approvals, and nobody may approve yet: name the approvers with `portcullis governance init`";
            return Err(Refused::Other(message.to_owned()));
        }
        // The files of the version that serves are no other version while the next one is rolled out.
        let serving = {
            let governor = self.governor();
            governor.standing().rollout.and_then(|_| governor.version(governor.serving()).ok())
        };
        if let Some(version) = serving.filter(|version| loaded.governed.is(&version.change.governed.0)) {
            let (staged, alarm) = self.staged_at(why, &loaded)?;
            return Ok(Decided { loaded, number: Number::Known(version.n), staged, alarm });
        }
        // Whoever puts the files of that one where files are believed has it in force for everybody, and its steps are over.
        let rolled = {
            let governor = self.governor();
            governor.standing().rollout.and_then(|_| governor.version(governor.n()).ok())
        };
        if let Some(version) = rolled.filter(|version| loaded.governed.is(&version.change.governed.0)) {
            self.finish_rollout(version.n).map_err(Refused::Other)?;
            return Ok(Decided { loaded, number: Number::Known(version.n), staged: None, alarm: None });
        }
        let number = Number::Noted(self.class(&loaded));
        Ok(Decided { loaded, number, staged: None, alarm: None })
    }

    /// What was approved, from the disk where that is what is there.
    fn approved(&self, disk: Result<Loaded, Report>, why: Why, in_force: Option<u64>) -> Result<Decided, Refused> {
        let (version, content) = self.governor().served().map_err(|error| Refused::Other(error.to_string()))?;
        let n = version.n;
        let number = Number::Known(n);
        let live = load_sealed(&self.config, &content).map_err(|report| Refused::Files(Box::new(report)))?;
        // A file that is named and no part of what was approved would be read from the disk.
        if !live.governed.is(&version.change.governed.0) {
            let names: Vec<&str> = live.governed.variables.iter().map(String::as_str).collect();
            let variables = match names.is_empty() {
                true => String::new(),
                false => format!("; or its variables ({}) had other values then: give them back", names.join(", ")),
            };
            let message = format!(
                "version {n} cannot be put in force: with the files that it names it is not what was approved; put them back as they were, or start with the path of the configuration that it was approved under{variables}"
            );
            return Err(Refused::Other(message));
        }
        let (staged, unstaged) = self.staged_at(why, &live)?;
        match disk {
            Ok(loaded) if loaded.governed.digest == live.governed.digest => {
                Ok(Decided { loaded, number, staged, alarm: unstaged })
            }
            // The usual way to propose: the files are those of the next version already, and what is not governed in them counts.
            Ok(disk) if self.is_rolled_out(&disk) => {
                let loaded = self.sealed(&version, &content, Some(&disk))?;
                Ok(Decided { loaded, number, staged, alarm: unstaged })
            }
            disk => {
                let alarm = self.alarm(disk.as_ref(), &live, n);
                match why {
                    // What is in force is another version: one that was activated when the files could not be written, or a reload did not happen.
                    Why::Asked if in_force != Some(n) => {
                        Ok(Decided { loaded: live, number, staged, alarm: Some(alarm) })
                    }
                    Why::Asked => Err(Refused::Alarm(alarm)),
                    Why::Start => Ok(Decided { loaded: live, number, staged, alarm: Some(alarm) }),
                    Why::Activated => Ok(Decided { loaded: live, number, staged, alarm: None }),
                }
            }
        }
    }

    /// A version in place of files that are believed otherwise: one that was activated a moment ago, whatever they hold by now; and one that had come through
    /// its steps when the process ended, before all of it was written.
    fn instead(&self, disk: &Result<Loaded, Report>, why: Why) -> Result<Option<Decided>, Refused> {
        let rollout = self.governor().standing().rollout;
        let ending = rollout.filter(|rollout| rollout.is_ending());
        if let Some(rollout) = ending {
            match self.finish_rollout(rollout.n) {
                Ok(None) => {}
                Ok(Some(remark)) => tracing::warn!("version {} is live for everybody; {remark}", rollout.n),
                // It is tried again while the gateway runs.
                Err(error) => tracing::error!(error, "version {} is live, and cannot be written", rollout.n),
            }
        } else if why != Why::Activated {
            return Ok(None);
        }
        let governor = self.governor();
        let other = |error: GovernanceError| Refused::Other(error.to_string());
        let (version, content) = match (ending, governor.standing().version) {
            (Some(_), Some(last)) => (last, governor.live().map_err(other)?),
            _ => governor.served().map_err(other)?,
        };
        drop(governor);
        if why == Why::Activated && disk.as_ref().is_ok_and(|disk| disk.governed.is(&version.change.governed.0)) {
            return Ok(None);
        }
        let loaded = self.sealed(&version, &content, disk.as_ref().ok())?;
        let staged = if ending.is_some() { None } else { self.staged(&loaded)? };
        if ending.is_none() {
            tracing::warn!(
                "version {} is in force, and the files on disk hold something else: the next reload believes them",
                version.n
            );
        }
        Ok(Some(Decided { loaded, number: Number::Known(version.n), staged, alarm: None }))
    }

    /// Whether these are the files of the version that is rolled out.
    fn is_rolled_out(&self, disk: &Loaded) -> bool {
        let governor = self.governor();
        let rolled = governor.standing().rollout.and_then(|rollout| governor.version(rollout.n).ok());
        rolled.is_some_and(|version| disk.governed.is(&version.change.governed.0))
    }

    /// A version, with what is not governed as it is on the disk, where its files can be read and the same is governed in those of the gateway; else as it
    /// was then.
    fn sealed(&self, version: &Version, content: &Content, disk: Option<&Loaded>) -> Result<Loaded, Refused> {
        let is_it = |loaded: &Loaded| loaded.governed.is(&version.change.governed.0);
        if let Some(disk) = disk {
            let mut content = content.clone();
            let gateway = disk.governed.files.iter().filter(|file| file.kind == GovernedKind::Gateway);
            content.files.extend(gateway.map(|file| (file.name.clone(), file.bytes.to_vec())));
            if let Some(loaded) = load_sealed(&self.config, &content).ok().filter(is_it) {
                return Ok(loaded);
            }
        }
        let loaded = load_sealed(&self.config, content).map_err(|report| Refused::Files(Box::new(report)))?;
        if is_it(&loaded) {
            return Ok(loaded);
        }
        Err(Refused::Other(format!(
            "version {} cannot be put in force: with the files that it names it is not what it was",
            version.n
        )))
    }

    /// What is rolled out. At a start what cannot be read of it is no reason to be down: the version that serves is whole, and decides for everybody.
    fn staged_at(&self, why: Why, serving: &Loaded) -> Result<(Option<StagedVersion>, Option<Alarm>), Refused> {
        match (self.staged(serving), why) {
            (Ok(staged), _) => Ok((staged, None)),
            (Err(refused), Why::Start) => {
                let why = match refused {
                    Refused::Files(report) => report.summary_line(),
                    Refused::Alarm(alarm) => alarm.message,
                    Refused::Other(why) => why,
                };
                let n = self.n();
                let message = format!("version {n} is rolled out no further until a reload can read it: {why}");
                Ok((None, Some(Alarm { message, tampered: false })))
            }
            (Err(refused), Why::Asked | Why::Activated) => Err(refused),
        }
    }

    /// What files do that are believed, by a comparison that takes a moment and no more: where it would take longer, it is not known.
    fn class(&self, loaded: &Loaded) -> Class {
        let standing = self.governor().standing();
        let Some(last) = standing.version else { return Class::Mixed };
        if loaded.governed.is(&last.change.governed.0) {
            return Class::Neutral;
        }
        let content = self.governor().content_of(&last);
        let before = content.ok().and_then(|content| load_sealed(&self.config, &content).ok());
        // With the values of now it may be something that was never live.
        let before = before.filter(|before| before.governed.is(&last.change.governed.0));
        before.map_or(Class::Mixed, |before| {
            class_of(&before, loaded, &DiffBounds { evaluations: QUICK, ..DiffBounds::default() })
        })
    }

    /// What the files are, where they are not what is live.
    fn alarm(&self, disk: Result<&Loaded, &Report>, live: &Loaded, n: u64) -> Alarm {
        let disk = match disk {
            Ok(disk) => disk,
            Err(report) => {
                let message = format!(
                    "the files on disk are invalid ({}), and were not approved: version {n} stays in force",
                    report.summary_line()
                );
                return Alarm { message, tampered: true };
            }
        };
        let governor = self.governor();
        let last = governor.standing().version;
        let rolled_out = last.filter(|last| last.n > n && disk.governed.is(&last.change.governed.0));
        if let Some(last) = rolled_out {
            let message = format!(
                "the files on disk are those of version {}, which is being rolled out: until that is over version {n} serves",
                last.n
            );
            return Alarm { message, tampered: false };
        }
        let same =
            |number: &u64| governor.version(*number).is_ok_and(|version| disk.governed.is(&version.change.governed.0));
        if let Some(earlier) = (1..n).rev().take(usize::try_from(EARLIER).unwrap_or(usize::MAX)).find(same) {
            let message =
                format!("the files on disk are those of version {earlier}, and version {n} is live and stays so");
            return Alarm { message, tampered: false };
        }
        let mut names: Vec<&str> = differing(disk, live);
        names.truncate(5);
        let message = format!(
            "{} on disk was not approved: version {n} stays in force; `portcullis policy propose` has it reviewed",
            if names.is_empty() { "what is".to_owned() } else { names.join(", ") }
        );
        Alarm { message, tampered: true }
    }

    /// Notes what becomes live. Returns its number, where it could be noted.
    pub(crate) fn note(&self, loaded: &Loaded, class: Class, authors: &[String], reason: &str) -> Option<u64> {
        let wish = Wish {
            kind: Kind::Change,
            content: content_of(loaded),
            approvers: None,
            authors: authors.to_vec(),
            reason: reason.to_owned(),
            ticket: String::new(),
            impact: Vec::new(),
            restores: 0,
        };
        let assessed = Assessed { rules: loaded.governance, governed: Hash(loaded.governed.digest) };
        match self.governor().note(&wish, (assessed, class), Timestamp::now()) {
            Ok((n, is_new, trouble)) => {
                if is_new {
                    tracing::info!(version = n, "what is live now is a new version");
                }
                if let Some(error) = trouble {
                    tracing::error!(%error, "the version is in the store, and the head file does not know it");
                }
                Some(n)
            }
            Err(error) => {
                tracing::error!(%error, "what is live now could not be kept as a version");
                None
            }
        }
    }
}

/// [`Governor::open`] or [`Governor::look`].
type Open = fn(
    Box<dyn Ledger + Send>,
    Box<dyn HeadPlace + Send>,
    Box<dyn PolicySource + Send>,
    Option<Option<Hash>>,
) -> Result<(Governor, Vec<String>), GovernanceError>;

fn open_governor(
    config: &Path,
    store: &portcullis_store::Settings,
    pin: Option<&Pin>,
    open: Open,
) -> Result<Governor, GoverningError> {
    let versions = Versions::open(store)?;
    let head = HeadFile::beside(&store.path);
    let source = Source { config: config.to_owned() };
    let pinned = pin.map(|pin| pin.instance);
    let (governor, remarks) = open(Box::new(versions), Box::new(head), Box::new(source), pinned)?;
    remarks.iter().for_each(|remark| tracing::warn!("{remark}"));
    Ok(governor)
}

/// The names of files that hold something else, or are there on one side alone.
fn differing<'l>(disk: &'l Loaded, live: &'l Loaded) -> Vec<&'l str> {
    let file = |loaded: &'l Loaded, name: &str| {
        loaded.governed.files.iter().find(|file| file.name == name).map(|file| &file.bytes)
    };
    let names = disk.governed.files.iter().chain(&live.governed.files).map(|file| file.name.as_str());
    let mut found: Vec<&str> = names.filter(|name| file(disk, name) != file(live, name)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// What a start runs on.
pub(crate) struct Beginning {
    pub(crate) decided: Decided,
    pub(crate) governing: Option<Arc<Governing>>,
}

/// Why a gateway does not start.
#[derive(Debug)]
pub(crate) enum BeginError {
    Refused(Refused),
    Governing(GoverningError),
}

/// Reads the files, and where versions are kept says what of them is to be put in force.
pub(crate) fn begin(config: &Path, pin: Option<&Pin>) -> Result<Beginning, BeginError> {
    let disk = load(config, &ProcessEnvironment);
    let store = match (pin, &disk) {
        (Some(pin), _) => Some(portcullis_store::Settings { path: pin.store.clone() }),
        (None, Ok(loaded)) => loaded.store.clone(),
        // Files with errors are no reason to be down where what was approved is in the store.
        (None, Err(_)) => {
            portcullis_config::store_place(config, &ProcessEnvironment).filter(|store| store.path.exists())
        }
    };
    let Some(store) = store else {
        let loaded = disk.map_err(|report| BeginError::Refused(Refused::Files(Box::new(report))))?;
        return Ok(Beginning { decided: Decided::unversioned(loaded), governing: None });
    };
    let governing = Governing::open(config, &store, pin).map_err(BeginError::Governing)?;
    let decided = governing.choose(disk, Why::Start, None).map_err(BeginError::Refused)?;
    Ok(Beginning { decided, governing: Some(Arc::new(governing)) })
}
