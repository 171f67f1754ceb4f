//! Whether the files on disk are what was approved, asked by nobody who wants them to be in force.

use jiff::Timestamp;
use portcullis_config::{Loaded, Report};
use portcullis_governance::{ChangeState, Hash};

use super::source::load_sealed;
use super::{Alarm, Governing};

impl Governing {
    /// What is wrong with the files, where approvals are required; `None`: nothing, or somebody has proposed what they hold.
    pub(crate) fn amiss(&self, disk: Result<&Loaded, &Report>) -> Option<Alarm> {
        if !self.is_required() {
            return None;
        }
        let (version, content, proposed) = {
            let governor = self.governor();
            let (version, content) = governor.served().ok()?;
            let now = Timestamp::now();
            let open = governor.proposals(now).unwrap_or_default().into_iter();
            // Who proposed it is known, and what was overtaken can be proposed again: for as long as it could have been approved.
            let open = open.filter(|proposal| match proposal.state {
                ChangeState::Open => true,
                ChangeState::Overtaken => !proposal.change.has_expired(now),
                ChangeState::Activated | ChangeState::Rejected | ChangeState::Expired => false,
            });
            (version, content, open.map(|proposal| proposal.change.governed).collect::<Vec<_>>())
        };
        if let Ok(disk) = disk {
            let is = |approved: &Hash| disk.governed.is(&approved.0);
            if is(&version.change.governed) || proposed.iter().any(is) || self.is_rolled_out(disk) {
                return None;
            }
        }
        let live = load_sealed(&self.config, &content).ok()?;
        // Of a version that calls its files by earlier names.
        if disk.is_ok_and(|disk| disk.governed.digest == live.governed.digest) {
            return None;
        }
        Some(self.alarm(disk, &live, version.n))
    }
}
