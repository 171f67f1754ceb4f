//! Versions that nothing but the store vouches for: the head file does not know them. A process that ends between the two leaves such a one; so does whoever
//! writes to the store. What the gateway checks before it appends is checked again of these.

use super::Governor;
use crate::change::{Change, Class, Kind};
use crate::content::Content;
use crate::error::GovernanceError;
use crate::rollout::Rollout;
use crate::steps::Steps;
use crate::threshold::{Count, Need};
use crate::version::Version;

impl Governor {
    /// Holds the versions behind this one to what they say of themselves.
    pub(super) fn verify_unknown(&self, known: u64, steps: Option<Steps>) -> Result<(), GovernanceError> {
        for n in known.saturating_add(1)..=self.n() {
            let broken = |why: String| GovernanceError::Broken { n, why };
            let version = self.version(n)?;
            let Some(before) = self.before(&version)? else { continue };
            if version.change.kind == Kind::Revert && before.rules().required {
                // From before the version of the program that began to note it.
                let was_rolled_out = steps.is_none_or(|steps| steps.rolls_out(before.n, before.change.id));
                if !was_rolled_out {
                    return Err(broken(format!("it takes back version {}, which was not being rolled out", before.n)));
                }
            }
            match self.look_again(&before, &version) {
                Ok(Looked::Fits) => {}
                Ok(Looked::Not(why)) => return Err(broken(why)),
                Err(why) => return Err(broken(format!("it cannot be told what it does: {why}"))),
            }
        }
        Ok(())
    }

    /// Has the engine say once more what a version does, and whether those who approved it suffice for that. Says whether that could be told: what it held then
    /// may be no configuration any more for a later version of the program.
    ///
    /// # Errors
    /// It does more than it says, and too few approved that; or it is not what it was.
    pub fn verify_class(&self, n: u64) -> Result<bool, GovernanceError> {
        let version = self.version(n)?;
        let Some(before) = self.before(&version)? else { return Ok(true) };
        match self.look_again(&before, &version) {
            Ok(Looked::Fits) => Ok(true),
            Ok(Looked::Not(why)) => Err(GovernanceError::Broken { n, why }),
            Err(_) => Ok(false),
        }
    }

    fn before(&self, version: &Version) -> Result<Option<Version>, GovernanceError> {
        version.n.checked_sub(1).filter(|n| *n > 0).map(|n| self.version(n)).transpose()
    }

    /// The error is why it cannot be told.
    fn look_again(&self, before: &Version, version: &Version) -> Result<Looked, GovernanceError> {
        let (rules, change) = (before.rules(), &version.change);
        // What is taken back was in force; and where the files and the values in them are those of before nothing else changes than who may approve.
        let same = (change.content, change.governed) == (before.change.content, before.change.governed);
        if !rules.required || change.kind == Kind::Revert || same {
            return Ok(Looked::Fits);
        }
        let (old, new) = (self.set_of(&before.change)?, self.set_of(change)?);
        let time = jiff::Timestamp::from_microsecond(version.time)
            .map_err(|_| GovernanceError::Invalid("its time is none".to_owned()))?;
        let count = Count::of(version.instance, change, &version.approvals, [&old, &new], time);
        let suffices = |change: &Change| count.meets(Need::of(&rules, change));
        let content = self.content_of(version)?;
        let assessed = self.source.assess(&content).map_err(GovernanceError::Invalid)?;
        if assessed.rules != change.rules {
            let why = "it says that it demands something else of the next one than its files do";
            return Ok(Looked::Not(why.to_owned()));
        }
        // Whatever it does, so many suffice: no comparison is needed.
        if suffices(&Change { class: Class::Mixed, ..change.clone() }).is_ok() {
            return Ok(Looked::Fits);
        }
        let earlier: Content = self.content_of(before)?;
        let class = self.class_then(before, version, [&earlier, &content], time)?;
        match suffices(&Change { class, ..change.clone() }) {
            Ok(()) => Ok(Looked::Fits),
            Err(shortfall) => {
                let (said, found) = (change.class.as_str(), class.as_str());
                Ok(Looked::Not(format!("it says that it {said}, and the engine says {found}: {shortfall}")))
            }
        }
    }

    /// What is known of a version that is rolled out. Where approvals are required the row of the store says how far it has come, and what is beside the store
    /// whether it is rolled out at all, and in which step.
    pub(super) fn known_rollout(
        &self,
        steps: Option<Steps>,
        required: bool,
        remarks: &mut Vec<String>,
    ) -> Result<Option<Rollout>, GovernanceError> {
        let row = self.kept_rollout()?;
        let (Some(steps), Some(last), true) = (steps, &self.last, required) else { return Ok(row) };
        let (n, change) = (last.n, last.change.id);
        if (steps.n, steps.change) != (n, change) {
            if row.is_some() {
                remarks.push(format!(
                    "the store says that version {n} is being rolled out, and nobody began that: it is live for everybody"
                ));
            }
            return Ok(None);
        }
        let Some(stage) = steps.stage else { return Ok(None) };
        let here = row.filter(|row| row.stage == stage);
        if here.is_none() {
            remarks.push(format!(
                "what the store says of how far version {n} has come is damaged, or was changed: the step that it is in begins anew"
            ));
        }
        Ok(Some(here.unwrap_or(Rollout { stage, ..Rollout::new(n, change) })))
    }
}

/// What came of it.
enum Looked {
    /// It is what it says, or enough approved what it is.
    Fits,
    /// It is not: why.
    Not(String),
}
