//! Backups that an operator asks for: in the folder of `[backup]`, beside those of the schedule and without pushing them out.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use portcullis_admin::backup::{Backup, BackupAnswer, BackupContent, BackupWanted};
use portcullis_governance::backup::{Manifest, Settings};

use super::{ASKED, BackingUpError, PREFIX, Restored, Restoring, make, named, read_key, restore, verify};

/// How many backups that were asked for are kept, where nobody says how many of the schedule are.
const KEPT: usize = 28;

/// What backups are made of, and where they go.
pub(crate) struct Backups<'b> {
    pub(crate) config: &'b Path,
    pub(crate) store: &'b portcullis_store::Settings,
    /// Where lists of networks are kept.
    pub(crate) lists: &'b Path,
    /// `None`: nothing is said of backups.
    pub(crate) settings: Option<&'b Settings>,
    /// The configuration demands approvals.
    pub(crate) demanded: bool,
    /// Who asks.
    pub(crate) who: Vec<String>,
}

impl Backups<'_> {
    /// Does what is wanted.
    ///
    /// # Errors
    /// Why it cannot be done.
    pub(crate) fn perform(&self, wanted: &BackupWanted, now: Timestamp) -> Result<BackupAnswer, BackingUpError> {
        match wanted {
            BackupWanted::Create => self.create(now),
            BackupWanted::List => {
                let backups: Vec<Backup> = self.all().iter().filter_map(|file| shown(file, None)).collect();
                let folder = self.folder();
                let message = format!("{} backups in {}", backups.len(), folder.display());
                Ok(BackupAnswer { message, backups, ..self.nothing() })
            }
            BackupWanted::Verify { name } => {
                let file = self.find(name)?;
                let manifest = verify(self.config, &file, self.key()?.as_ref())?;
                let message = format!("{name} is as it was made: version {}", manifest.n);
                Ok(self.answer(message, &file, &manifest))
            }
            BackupWanted::Drill { name } => self.drill(&self.find(name)?),
        }
    }

    fn create(&self, now: Timestamp) -> Result<BackupAnswer, BackingUpError> {
        let out = self.folder().join(format!("{ASKED}{}{}", now.strftime("%Y%m%dT%H%M%SZ"), super::SUFFIX));
        let manifest = make(self.config, self.store, Some(self.lists), &out, self.key()?.as_ref())?;
        // Whoever asks again and again fills no disk, and pushes no backup of the schedule out.
        let files = named(&self.folder(), ASKED);
        let keep = self.settings.map_or(KEPT, |settings| settings.keep);
        let gone = files.len().saturating_sub(keep);
        // Under a clock that was set back the one that is made now has the name of the oldest.
        for file in files.iter().filter(|file| **file != out).take(gone) {
            fs::remove_file(file).map_err(BackingUpError::io(file))?;
        }
        let removed = if gone == 0 { String::new() } else { format!("; {gone} old ones that were asked for removed") };
        let message = format!("a backup with version {}: {}{removed}", manifest.n, out.display());
        Ok(self.answer(message, &out, &manifest))
    }

    fn drill(&self, file: &Path) -> Result<BackupAnswer, BackingUpError> {
        let restoring = Restoring {
            config: self.config,
            store: &self.store.path,
            feeds: Some(self.lists),
            drill: true,
            accept_rollback: false,
            written_down: None,
            demanded: self.demanded,
            signed: None,
            who: self.who.clone(),
        };
        match restore(file, self.key()?.as_ref(), &restoring)? {
            Restored::Done(message) => {
                Ok(BackupAnswer { message, backups: shown(file, None).into_iter().collect(), ..self.nothing() })
            }
            // It is asked for with `accept_rollback` alone.
            Restored::ToSign(_) => Err(BackingUpError::Refused("approvals are required".to_owned())),
        }
    }

    fn answer(&self, message: String, file: &Path, manifest: &Manifest) -> BackupAnswer {
        BackupAnswer { message, backups: shown(file, Some(manifest)).into_iter().collect(), ..self.nothing() }
    }

    fn nothing(&self) -> BackupAnswer {
        BackupAnswer { folder: self.folder().display().to_string(), ..BackupAnswer::default() }
    }

    fn folder(&self) -> PathBuf {
        let beside = || self.store.path.with_file_name("backups");
        self.settings.map_or_else(beside, |settings| settings.path.clone())
    }

    fn key(&self) -> Result<Option<portcullis_governance::backup::BackupKey>, BackingUpError> {
        self.settings.and_then(|settings| settings.key.as_deref()).map(read_key).transpose()
    }

    fn all(&self) -> Vec<PathBuf> {
        let mut files = named(&self.folder(), ASKED);
        files.extend(named(&self.folder(), PREFIX));
        files
    }

    /// Of those that are there: a name leads nowhere else.
    fn find(&self, name: &str) -> Result<PathBuf, BackingUpError> {
        let is_it = |file: &PathBuf| file.file_name().is_some_and(|found| found == name);
        self.all().into_iter().find(is_it).ok_or_else(|| {
            let name: String = name.chars().take(128).flat_map(char::escape_debug).collect();
            BackingUpError::Refused(format!("there is no backup `{name}` in {}", self.folder().display()))
        })
    }
}

/// `None`: it is gone meanwhile, or a folder.
fn shown(file: &Path, manifest: Option<&Manifest>) -> Option<Backup> {
    let metadata = fs::metadata(file).ok().filter(fs::Metadata::is_file)?;
    let written = metadata.modified().ok().and_then(|written| Timestamp::try_from(written).ok());
    let content = |manifest: &Manifest| BackupContent {
        version: manifest.n,
        head: manifest.head.to_string(),
        created: manifest.created().to_string(),
        files: manifest.files.len() as u64,
    };
    Some(Backup {
        name: file.file_name()?.to_str()?.to_owned(),
        bytes: metadata.len(),
        written: written.map(|written| format!("{written:.0}")),
        content: manifest.map(content),
    })
}
