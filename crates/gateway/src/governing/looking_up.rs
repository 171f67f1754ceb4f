//! The files of one version, or of a change that waits.

use jiff::Timestamp;
use portcullis_config::Loaded;

use super::desk::said;
use super::source::in_a_line;
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
        let content = governor.request(proposal.change).map_err(said)?.content;
        drop(governor);
        load_sealed(&self.config, &content).map_err(|report| format!("change {id}: {}", in_a_line(&report)))
    }
}
