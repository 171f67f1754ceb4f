//! What is in force where versions are kept: the files on the disk, or what was approved.
//!
//! Without `[governance] required` the files are believed: what they hold when they become live is noted as a version. Where approvals are
//! required only the last version is believed. Files that hold the same are read from the disk (so that what is not governed can be changed
//! there); files that hold anything else are refused, and at a start the version itself is put in force in their place.

mod activating;
mod again;
mod ahead;
mod by_hand;
mod choosing;
#[cfg(test)]
mod classes;
mod desk;
mod effects;
mod foresight;
mod going_back;
mod held;
mod laying;
mod looking_up;
mod made_live;
mod merging;
mod moments;
mod noticing;
mod places;
mod power_told;
mod reading;
mod recovering;
mod replaced;
mod rolling;
mod shown;
mod source;
mod stood;
#[cfg(test)]
mod tests;
mod undoing;
mod verifying;
mod written;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use portcullis_config::{Loaded, ProcessEnvironment, Report, load};
use portcullis_events::EventKind;
use portcullis_governance::power::Demands;
use portcullis_governance::{
    Anchor, ApproverSet, Assessed, Class, Content, GovernanceError, Governor, Hash, HeadFile, Kind, Rollout, Stages,
    Version, Wish,
};
use portcullis_store::{Lock, LockError, StoreError, Versions};
use thiserror::Error;

pub(crate) use desk::Who;
pub(crate) use effects::in_words as effects_in_words;
pub(crate) use foresight::{Foresight, Offline, Weight, in_words as impact_in_words};
use held::{Demanded, Held};
pub(crate) use laying::{Laid, LayingError, lay};
pub(crate) use rolling::{StagedVersion, Standing as Rolling, in_words as stage_in_words, percent};
pub(crate) use shown::again_by;
pub(crate) use source::{Source, class_of, content_of, load_sealed};
pub(crate) use verifying::verify_classes;

/// The versions of a gateway.
#[derive(Debug)]
pub(crate) struct Governing {
    governor: Mutex<Governor>,
    /// What has to be signed by the last version: whoever lends power waits for nobody who has the governor.
    demanded: ArcSwap<Demanded>,
    /// Whoever writes files, one after the other. It is taken before the governor, which is not held while files are read or written.
    writing: Mutex<()>,
    config: PathBuf,
    store: portcullis_store::Settings,
    /// How the log is opened once more, to be looked at.
    look: fn(&portcullis_store::Settings) -> Result<Versions, StoreError>,
    /// The steps by which the next version comes into force: those of the one that serves.
    stages: Mutex<Stages>,
    /// The version that became live and that no reload has put in force yet; 0: none.
    owed: AtomicU64,
    /// The version that decides for nobody any more, whatever the store says of its steps; 0: none.
    withdrawn: AtomicU64,
    /// How far the version that is rolled out has come as of a moment ago; what is kept of it is older.
    seen: Mutex<Option<Rollout>>,
    /// Why what is in force is no version; `None`: it is one.
    unkept: Mutex<Option<String>>,
    /// `None`: it is only looked at, and nobody ever took the lock.
    _lock: Option<Lock>,
}

/// Who has files put in force, and why: the author of the version that they become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Every name of whoever asks.
    pub(crate) by: Vec<String>,
    /// Why.
    pub(crate) reason: String,
    /// Where more is said; empty: nowhere.
    pub(crate) ticket: String,
    /// The report on what was foreseen; empty: nobody looked.
    pub(crate) impact: Vec<u8>,
}

impl Asked {
    /// By whom, where nobody says why.
    pub(crate) fn by(by: Vec<String>) -> Self {
        Self { by, reason: "found at a reload".to_owned(), ticket: String::new(), impact: Vec::new() }
    }
}

/// How the gateway was told to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pin {
    /// The store that must be governed.
    pub(crate) store: PathBuf,
    /// As which instance.
    pub(crate) instance: Option<Hash>,
    /// What its log must hold at least, as it was written down elsewhere.
    pub(crate) at_least: Option<Anchor>,
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
    /// It is noted when it becomes live, if nothing else became so since it was read; and does this.
    Noted(Class, AsOf),
}

/// As of which moment the files were read. A version that becomes live is written to them, and so makes worthless what was read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AsOf {
    n: u64,
    /// Whether it was rolled out, and whether its files were being written.
    rollout: Option<bool>,
}

impl AsOf {
    fn now(governor: &Governor) -> Self {
        let rollout = governor.standing().rollout.map(|rollout| rollout.is_ending());
        Self { n: governor.n(), rollout }
    }
}

/// Something else became live since the files were read.
#[derive(Debug, Error)]
#[error("another version became live since the files were read")]
pub(crate) struct Overtaken;

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
        Self::of(config, store, open_governor(config, store, pin)?, Some(lock))
    }

    /// The same for whoever changes them without a gateway.
    pub(crate) fn open_alone(config: &Path, store: &portcullis_store::Settings) -> Result<Self, GoverningError> {
        let lock = Lock::alone(&store.path)?;
        Self::of(config, store, open_governor(config, store, None)?, Some(lock))
    }

    /// The same for whoever looks at them without a gateway, and may only read: nothing is written. What is asked of it must be a question.
    pub(crate) fn look(config: &Path, store: &portcullis_store::Settings) -> Result<Self, GoverningError> {
        let lock = Lock::look(&store.path)?;
        let governor = looked_at(config, store, Versions::look(store)?)?;
        Ok(Self { look: Versions::look, ..Self::of(config, store, governor, lock)? })
    }

    fn of(
        config: &Path,
        store: &portcullis_store::Settings,
        governor: Governor,
        lock: Option<Lock>,
    ) -> Result<Self, GoverningError> {
        let stages = match governor.standing().rollout {
            None => Stages::default(),
            Some(_) => {
                let (_, content) = governor.served()?;
                load_sealed(config, &content).map_or_else(|_| Stages::default(), |loaded| loaded.stages)
            }
        };
        Ok(Self {
            demanded: ArcSwap::from_pointee(Demanded::of(&governor)),
            governor: Mutex::new(governor),
            writing: Mutex::new(()),
            look: Versions::look_beside,
            config: config.to_owned(),
            store: store.clone(),
            stages: Mutex::new(stages),
            owed: AtomicU64::new(0),
            withdrawn: AtomicU64::new(0),
            seen: Mutex::new(None),
            unkept: Mutex::new(None),
            _lock: lock,
        })
    }

    fn governor(&self) -> Held<'_> {
        Held::new(self.governor.lock().unwrap_or_else(PoisonError::into_inner), &self.demanded)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version that is live; 0 for none.
    pub(crate) fn n(&self) -> u64 {
        self.governor().n()
    }

    /// Whether only what was approved becomes live.
    pub(crate) fn is_required(&self) -> bool {
        self.governor().is_required()
    }

    /// The same, as it was said last: nobody is waited for.
    pub(crate) fn demands_approvals(&self) -> bool {
        self.loosen() > 0
    }

    /// What power that is given for a time needs; `None`: nobody has to approve anything. Nobody is waited for.
    pub(crate) fn demands(&self) -> Option<Arc<Demands>> {
        let demands = Arc::clone(self.demanded.load().demands());
        (demands.loosen > 0).then_some(demands)
    }

    /// How many persons a change needs that loosens; 0 where nobody has to approve. Nobody is waited for.
    pub(crate) fn loosen(&self) -> u8 {
        self.demanded.load().demands().loosen
    }

    /// Who may approve, and as which gateway's change. Nobody is waited for.
    pub(crate) fn approvers(&self) -> (ApproverSet, Hash) {
        let demands = Arc::clone(self.demanded.load().demands());
        (demands.approvers.clone(), demands.instance)
    }

    /// The files of the version that serves, read as this machine's gateway would.
    ///
    /// # Errors
    /// A sentence: they are not there, or cannot be read any more.
    pub(crate) fn serving(&self) -> Result<Loaded, String> {
        let (_, content) = self.governor().served().map_err(|error| error.to_string())?;
        load_sealed(&self.config, &content).map_err(|report| source::in_a_line(&report))
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

    /// What files that were found would have done to the requests that are kept, for the version that they become; empty where they become none. Nobody
    /// is waited for: where another policy is being tried, the report says so.
    pub(crate) fn foresee_found(&self, loaded: &Loaded, foresight: &dyn Foresight) -> Vec<u8> {
        let is_new = {
            let standing = self.governor().standing();
            let last = standing.version.map(|version| version.change.governed);
            !standing.rules.required && last.is_some_and(|last| last != Hash(loaded.governed.digest))
        };
        if !is_new {
            return Vec::new();
        }
        self.foresee(Kind::Change, &content_of(loaded), foresight, Duration::ZERO)
    }

    /// Notes what becomes live. Returns its number, where it could be noted.
    ///
    /// # Errors
    /// Something else became live since the files were read.
    pub(crate) fn note(
        &self,
        loaded: &Loaded,
        (class, as_of): (Class, AsOf),
        asked: &Asked,
    ) -> Result<Option<u64>, Overtaken> {
        let content = match source::versionable(&self.config, loaded) {
            Ok(content) => content,
            Err(error) => {
                self.unkept_for(error);
                return Ok(None);
            }
        };
        let wish = Wish {
            kind: Kind::Change,
            content,
            approvers: None,
            authors: asked.by.clone(),
            reason: asked.reason.clone(),
            ticket: asked.ticket.clone(),
            impact: asked.impact.clone(),
            restores: 0,
        };
        let assessed = Assessed { rules: loaded.governance, governed: Hash(loaded.governed.digest) };
        let mut governor = self.governor();
        if AsOf::now(&governor) != as_of {
            return Err(Overtaken);
        }
        match governor.note(&wish, (assessed, class), Timestamp::now()) {
            Ok((n, is_new, trouble)) => {
                if is_new {
                    tracing::info!(version = n, "what is live now is a new version");
                }
                if let Some(error) = trouble {
                    tracing::error!(%error, "the version is in the store, and the head file does not know it");
                }
                drop(governor);
                self.is_kept();
                Ok(Some(n))
            }
            Err(error) => {
                drop(governor);
                self.unkept_for(error.to_string());
                Ok(None)
            }
        }
    }

    fn unkept_for(&self, why: String) {
        tracing::error!(error = why, "what is live now could not be kept as a version");
        *self.unkept.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// What is in force is a version.
    pub(crate) fn is_kept(&self) {
        *self.unkept.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Why what is in force is no version, and so is not what `policy list` calls live, and nothing to go back to; `None`: it is one.
    pub(crate) fn unkept(&self) -> Option<String> {
        self.unkept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A version became live, and a reload has to put it in force.
    fn owe(&self, n: u64) {
        self.owed.store(n, Ordering::SeqCst);
    }

    /// The version that became live and is not in force yet.
    pub(crate) fn owed(&self) -> Option<u64> {
        Some(self.owed.load(Ordering::SeqCst)).filter(|n| *n > 0)
    }

    /// This is in force: a version with another one that is rolled out beside it, or files that could not be kept as one (`None`).
    pub(crate) fn is_in_force(&self, n: Option<u64>) {
        // What was chosen before the version became live does not settle it.
        let settles = |owed: u64| n.is_none_or(|n| n >= owed).then_some(0);
        let _ = self.owed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, settles);
    }
}

fn open_governor(
    config: &Path,
    store: &portcullis_store::Settings,
    pin: Option<&Pin>,
) -> Result<Governor, GoverningError> {
    let versions = Versions::open(store)?;
    let head = HeadFile::beside(&store.path);
    // A test ends the process before or after any of what these write.
    #[cfg(test)]
    let (versions, head) = (tests::crashes::Stepped(versions), tests::crashes::Stepped(head));
    let source = Source { config: config.to_owned() };
    let pinned = pin.map(|pin| pin.instance);
    let (governor, remarks) = Governor::open(Box::new(versions), Box::new(head), Box::new(source), pinned)?;
    remarks.iter().for_each(|remark| tracing::warn!("{remark}"));
    if let Some(wanted) = pin.and_then(|pin| pin.at_least)
        && !governor.holds(wanted)?
    {
        return Err(GovernanceError::Behind { wanted, found: governor.n() }.into());
    }
    Ok(governor)
}

/// The log as it is in the store, to be looked at.
fn looked_at(
    config: &Path,
    store: &portcullis_store::Settings,
    versions: Versions,
) -> Result<Governor, GovernanceError> {
    let (head, source) = (HeadFile::beside(&store.path), Source { config: config.to_owned() });
    let (governor, remarks) = Governor::look(Box::new(versions), Box::new(head), Box::new(source))?;
    remarks.iter().for_each(|remark| tracing::warn!("{remark}"));
    Ok(governor)
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
    let pinned = pin.map(|pin| portcullis_store::Settings { path: pin.store.clone() });
    // Also where the files have errors: that is no reason to be down where what was approved is in the store.
    let known = || portcullis_config::store_place(config, &ProcessEnvironment).filter(|store| store.path.exists());
    let (store, disk) = match pinned.or_else(known) {
        // The files are read once it is open: a process that ends meanwhile may still write them.
        Some(store) => (store, None),
        None => {
            let loaded = load(config, &ProcessEnvironment)
                .map_err(|report| BeginError::Refused(Refused::Files(Box::new(report))))?;
            match loaded.store.clone() {
                Some(store) => (store, Some(Ok(loaded))),
                None => return Ok(Beginning { decided: Decided::unversioned(loaded), governing: None }),
            }
        }
    };
    let governing = Governing::open(config, &store, pin).map_err(BeginError::Governing)?;
    let decided = governing.choose(disk, Why::Start, None).map_err(BeginError::Refused)?;
    Ok(Beginning { decided, governing: Some(Arc::new(governing)) })
}
