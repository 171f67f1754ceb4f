//! Versions that nothing but the store vouches for: the head file does not know them. A process that ends between the two leaves such a one; so does whoever
//! writes to the store. What the gateway checks before it appends is checked again of these.

use super::Governor;
use super::rolling::kept_of;
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
            self.held_to_the_clock(&before, &version, known).map_err(broken)?;
            match self.look_again(&before, &version, true) {
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
        match self.look_again(&before, &version, false) {
            Ok(Looked::Fits) => Ok(true),
            Ok(Looked::Not(why)) => Err(GovernanceError::Broken { n, why }),
            Err(_) => Ok(false),
        }
    }

    fn before(&self, version: &Version) -> Result<Option<Version>, GovernanceError> {
        version.n.checked_sub(1).filter(|n| *n > 0).map(|n| self.version(n)).transpose()
    }

    /// The error is why it cannot be told. `strict`: nothing else vouches for it, so that it is held to what is demanded now, and not only to what an earlier
    /// version of the program demanded.
    fn look_again(&self, before: &Version, version: &Version, strict: bool) -> Result<Looked, GovernanceError> {
        let (rules, change) = (before.rules(), &version.change);
        // What is taken back was in force; and where the files are those of before, with the same values, nothing else changes than who may approve.
        let is_same = (change.content, change.governed) == (before.change.content, before.change.governed);
        if !rules.required || change.kind == Kind::Revert || is_same {
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
        let changes_governance = || {
            let of = |content: &Content| self.source.governance(content).map_err(GovernanceError::Invalid);
            Ok::<_, GovernanceError>(of(&self.content_of(before)?)? != of(&content)?)
        };
        if rules.keys > rules.loosen
            && let Err(shortfall) = count.meets(Need::of(&rules, change).of_governance(&rules))
            && changes_governance()?
        {
            let why = format!("it changes `[governance]`: {shortfall}");
            return if strict { Ok(Looked::Not(why)) } else { Err(GovernanceError::Invalid(why)) };
        }
        // Whatever it does, so many suffice: no comparison is needed.
        if suffices(&Change { class: Class::Mixed, ..change.clone() }).is_ok() {
            return Ok(Looked::Fits);
        }
        let earlier: Content = self.content_of(before)?;
        let are_still =
            self.source.is_still(&earlier, before.change.governed) && self.source.is_still(&content, change.governed);
        let class = match are_still {
            true => self.source.class_at(&earlier, &content, time),
            false if change.content == before.change.content => Class::Mixed,
            false => {
                let why = "files or variables that it refers to are not what they were";
                return Err(GovernanceError::Invalid(why.to_owned()));
            }
        };
        // Of what was approved without the values of its variables it is not known what it was compared with.
        let has_values = || {
            let binds = |content, governed| self.source.binds_values(content, governed);
            binds(&earlier, before.change.governed) && binds(&content, change.governed)
        };
        match suffices(&Change { class, ..change.clone() }) {
            Ok(()) => Ok(Looked::Fits),
            Err(_) if !has_values() => {
                let why = "variables that it refers to were not approved with their values then";
                Err(GovernanceError::Invalid(why.to_owned()))
            }
            Err(shortfall) => {
                let (said, found) = (change.class.as_str(), class.as_str());
                Ok(Looked::Not(format!("it says that it {said}, and the engine says {found}: {shortfall}")))
            }
        }
    }

    /// Reads what the store keeps of a version that is rolled out: nothing, where that is not the last one. Where approvals are required that row says how far it
    /// has come, and what is beside the store whether it is rolled out at all, and in which step.
    pub(super) fn read_rollout(
        &mut self,
        steps: Option<Steps>,
        required: bool,
        remarks: &mut Vec<String>,
    ) -> Result<(), GovernanceError> {
        self.kept = self.ledger.rollout()?;
        self.rollout = match (&self.last, steps) {
            (None, _) => None,
            (Some(last), Some(steps)) if required => vouched(self.kept.as_deref(), last, steps, remarks),
            (Some(last), _) => self.kept.as_deref().and_then(|record| kept_of(record, last)),
        };
        Ok(())
    }
}

/// How far the last version has come by the row of the store, as far as what is beside the store vouches for it.
fn vouched(record: Option<&[u8]>, last: &Version, steps: Steps, remarks: &mut Vec<String>) -> Option<Rollout> {
    let (n, change) = (last.n, last.change.id);
    let row = record.and_then(|record| kept_of(record, last));
    let noted = steps.is_of(n, change);
    match (row, steps.stage.filter(|_| noted)) {
        // It serves as the last version does without any row, and its files are to be written whole.
        (Some(row), None) if row.is_at_once() && !noted => Some(row),
        (Some(_), None) if !noted => {
            remarks.push(format!(
                "the store says that version {n} is being rolled out, and nobody began that: it is live for everybody"
            ));
            None
        }
        (_, None) => None,
        (Some(row), Some(stage)) if row.stage == stage => Some(row),
        // Of another version of the program.
        (Some(row), Some(_)) if row.is_held() && record.is_some_and(|record| Rollout::whose(record).is_some()) => {
            Some(row)
        }
        (_, Some(stage)) => {
            remarks.push(format!(
                "what the store says of how far version {n} has come is damaged, or was changed: the step that it is in begins anew"
            ));
            Some(Rollout { stage, ..Rollout::new(n, change) })
        }
    }
}

/// What came of it.
enum Looked {
    /// It is what it says, or enough approved what it is.
    Fits,
    /// It is not: why.
    Not(String),
}
