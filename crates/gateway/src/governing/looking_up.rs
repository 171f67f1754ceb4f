//! The files of one version, or of a change that waits.

use jiff::Timestamp;
use portcullis_config::{Loaded, Referring};
use portcullis_governance::Content;

use super::desk::said;
use super::source::{content_of, in_a_line};
use super::{Governing, load_sealed};

impl Governing {
    /// A version as it would be read today: what is not governed is that of the disk.
    ///
    /// # Errors
    /// A sentence: there is no such version, or it cannot be read.
    pub(crate) fn loaded(&self, n: u64) -> Result<Loaded, String> {
        let governor = self.governor();
        let version = governor.version(n).map_err(said)?;
        let content = governor.content_of(&version).map_err(said)?;
        // To read it takes a while, and nobody waits for the log meanwhile.
        drop(governor);
        load_sealed(&self.config, &content).map_err(|report| format!("version {n}: {}", in_a_line(&report)))
    }

    /// A change that waits, by its id or the beginning of it, likewise.
    ///
    /// # Errors
    /// A sentence: there is no such change, or it cannot be read.
    pub(crate) fn loaded_change(&self, id: &str) -> Result<Loaded, String> {
        let governor = self.governor();
        let proposal = governor.proposal(governor.find(id).map_err(said)?, Timestamp::now()).map_err(said)?;
        let restores = proposal.change.restores > 0;
        let content = governor.request(proposal.change).map_err(said)?.content;
        drop(governor);
        if let Some(beyond) = Some(&content).filter(|_| !restores).and_then(|content| self.beyond(content)) {
            return Err(format!("change {id}: {beyond}"));
        }
        load_sealed(&self.config, &content).map_err(|report| format!("change {id}: {}", in_a_line(&report)))
    }

    /// What somebody sent refers to variables where neither the files of now nor what is live do: in a sentence. To answer with what it says once these are
    /// expanded would tell the environment of the process.
    pub(super) fn beyond(&self, content: &Content) -> Option<String> {
        let of = |content: &Content| Referring::of(content.files.values().map(Vec::as_slice));
        let found = of(content);
        if found == Referring::default() {
            return None;
        }
        let mut known = self.on_disk().map(|loaded| of(&content_of(&loaded))).unwrap_or_default();
        let live = self.governor().live();
        live.iter().flat_map(|live| live.files.values()).for_each(|bytes| known.add(bytes));
        found.beyond(&known)
    }

    /// The number of the live version, where that is what was read; by its hash.
    pub(crate) fn number_of(&self, loaded: &Loaded) -> Option<u64> {
        let live = self.governor().standing().version?;
        loaded.governed.is(&live.change.governed.0).then_some(live.n)
    }
}
