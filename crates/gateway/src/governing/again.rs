//! A change that was overtaken, for the version that is live by now.

use jiff::Timestamp;
use portcullis_governance::{Anchor, ChangeState, Content};

use super::Governing;
use super::desk::said;
use super::merging::without;
use super::shown::again_by;
use super::source::of_today;

impl Governing {
    /// What is live, with what this change was to change, by file and by line. Where the same lines became other ones meanwhile it is refused: what somebody
    /// else had approved would be undone with it, and nobody would have said so.
    pub(super) fn again(&self, id: &str, now: Timestamp) -> Result<Content, String> {
        let (change, wanted, before, live) = {
            let governor = self.governor();
            let proposal = governor.proposal(governor.find(id).map_err(said)?, now).map_err(said)?;
            let change = proposal.change;
            match proposal.state {
                ChangeState::Overtaken => {}
                state => {
                    let (id, state) = (change.id.short(), state.as_str());
                    return Err(format!("the change {id} is {state}: only one that was overtaken is proposed again"));
                }
            }
            if let Some(remedy) = again_by(change.kind) {
                return Err(format!(
                    "the change {} changes no files of its own: {remedy} proposes it again",
                    change.id.short()
                ));
            }
            let gone = |_| format!("the files of the change {} are not kept any more: propose them", change.id.short());
            let wanted = governor.content_of_change(&change).map_err(gone)?;
            // Where that one was dropped another one may have its number: what is compared with that is another change.
            if !governor.holds(Anchor { n: change.base_n, hash: change.base }).map_err(said)? {
                return Err(format!(
                    "the change {0} was proposed for a version {1} that is not in the log any more: propose its files, with `portcullis policy show {0} --file NAME` and `portcullis policy propose FILE --reason TEXT`",
                    change.id.short(),
                    change.base_n
                ));
            }
            let before =
                governor.version(change.base_n).and_then(|version| governor.content_of(&version)).map_err(said)?;
            (change, wanted, before, governor.live().map_err(said)?)
        };
        let [before, wanted, live] = [before, wanted, live].map(|content| of_today(&self.config, content));
        without(&live, &before, &wanted).map_err(|places| {
            format!(
                "the change {} and what became live since both change {}: propose a file in which both are",
                change.id.short(),
                places.join("; ")
            )
        })
    }
}
