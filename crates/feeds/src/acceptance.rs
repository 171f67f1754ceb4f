//! Lists that the configuration accepts whatever the guards say: each entry counts once, and what it did is taken back with it.
//!
//! An acceptance stands as long as its list is in force, or is what updates are compared with: until then all that is in force is there by its word.
//! Who takes the entry out has what was in force before, and no entry is good for giving a list out again that another one has replaced.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::list::List;
use crate::obtain::Validators;
use crate::settings::FeedSettings;
use crate::store::{self, Kind, LoadError, Saved};

/// What came of the entries of a feed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Acceptance {
    pub(crate) standing: Option<Standing>,
    /// The entries that have had their list in force. No more than there are entries.
    used: Vec<Arc<str>>,
    /// Somebody went back to the list before, and has accepted none since: whatever the source gives out in between does not lift that.
    pub(crate) rolled_back: bool,
}

/// An entry that has an effect.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// The SHA-256 of the list, which is the entry.
    pub(crate) by: Arc<str>,
    /// What was in force before, by the word of the guards or of somebody; `None`: nothing was.
    pub(crate) before: Option<Saved>,
}

/// The same beside the list, on the disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Uses {
    standing: Option<String>,
    /// The list of this file was in force before; else it is none.
    has_before: bool,
    used: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rolled_back: bool,
}

impl Acceptance {
    /// Whether these settings accept a list, by an entry that has not had it in force.
    pub(crate) fn accepts(&self, settings: &FeedSettings, list: &List) -> bool {
        settings.accepts(list) && !self.is_used(list)
    }

    pub(crate) fn is_used(&self, list: &List) -> bool {
        self.used.contains(list.sha256())
    }

    /// The entry that stands and that these settings do not have.
    pub(crate) fn taken_back_by(&self, settings: &FeedSettings) -> Option<&Standing> {
        self.standing.as_ref().filter(|standing| !settings.accepted.contains(&standing.by))
    }

    /// An entry has had its list in force, in the place of that one. Where another one stands, what was before that is what was before.
    pub(crate) fn use_up(&mut self, by: Arc<str>, before: Option<Saved>) {
        self.used.push(Arc::clone(&by));
        let before = match self.standing.take() {
            Some(standing) => standing.before,
            None => before,
        };
        self.standing = Some(Standing { by, before });
    }

    /// Somebody went back from that list: everything is held back from now on, that list also where an entry accepts it that never had to count.
    pub(crate) fn roll_back(&mut self, settings: &FeedSettings, gone: &List) {
        if self.accepts(settings, gone) {
            self.used.push(Arc::clone(gone.sha256()));
        }
        self.standing = None;
        self.rolled_back = true;
    }

    /// Forgets what became of entries that these settings do not have: whoever writes one again, accepts again. Says whether there was any.
    pub(crate) fn prune(&mut self, settings: &FeedSettings) -> bool {
        let before = self.used.len();
        self.used.retain(|used| settings.accepted.contains(used));
        self.used.len() < before
    }

    /// Writes it, where there is anything to write.
    pub(crate) fn save(&self, folder: &Path, settings: &FeedSettings) -> io::Result<()> {
        if self.standing.is_none() && self.used.is_empty() && !self.rolled_back {
            return store::remove(folder, &settings.name, Kind::Accepted);
        }
        let before = self.standing.as_ref().and_then(|standing| standing.before.clone());
        let uses = Uses {
            standing: self.standing.as_ref().map(|standing| standing.by.to_string()),
            has_before: before.is_some(),
            used: self.used.iter().map(ToString::to_string).collect(),
            rolled_back: self.rolled_back,
        };
        let nothing = || Saved {
            list: Arc::new(List::new(&[])),
            checked: jiff::Timestamp::UNIX_EPOCH,
            changed: jiff::Timestamp::UNIX_EPOCH,
            validators: Validators::default(),
            findings: Vec::new(),
        };
        store::save_with(folder, settings, Kind::Accepted, &before.unwrap_or_else(nothing), Some(uses))
    }

    /// What was written of that source.
    pub(crate) fn load(folder: &Path, settings: &FeedSettings) -> Result<Self, LoadError> {
        let Some((Some(uses), saved)) = store::load_with(folder, settings, Kind::Accepted)? else {
            return Ok(Self::default());
        };
        let before = uses.has_before.then_some(saved);
        let used = uses.used.iter().take(FeedSettings::MOST_ACCEPTED).map(|used| used.as_str().into()).collect();
        let standing = uses.standing.map(|by| Standing { by: by.into(), before });
        Ok(Self { standing, used, rolled_back: uses.rolled_back })
    }

    /// Where nobody knows: no entry counts before it is written anew, and somebody may have gone back to the list before.
    pub(crate) fn unknown(settings: &FeedSettings) -> Self {
        Self { standing: None, used: settings.accepted.to_vec(), rolled_back: true }
    }
}
