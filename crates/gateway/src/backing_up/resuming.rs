//! How far the version with which a restored log ends has come.

use portcullis_governance::{GoesOn, GovernanceError, Head, HeadFile, HeadPlace as _, Kind, Ledger as _, Rollout};
use portcullis_store::Versions;

use super::judging::{Cut, version_of};
use super::restoring::Restoring;
use super::{BackingUpError, Checked};

/// Has the restored store say how far its last version has come, by what is beside the store that it replaces: that is forgotten with it. `known`: what the head
/// file says. Says whether it was another thing before.
///
/// # Errors
/// It cannot be read, or not be written.
pub(super) fn resume(
    restoring: &Restoring<'_>,
    checked: &Checked,
    known: Option<Head>,
    cuts: &[Cut],
) -> Result<bool, BackingUpError> {
    let (store, end) = (checked.store(), checked.head.n);
    let Some(last) = version_of(&store, end)? else { return Ok(false) };
    // One that is damaged says nothing.
    let steps = HeadFile::beside(restoring.store).steps().ok().flatten();
    let known = known.into_iter().chain(restoring.written_down()).map(|head| head.n);
    let furthest = known.max();
    let is_past = furthest.into_iter().chain(steps.map(|steps| steps.n)).any(|n| n > end);
    let goes_on = if is_past {
        let mut dropped = cuts.iter().flat_map(|cut| &cut.dropped);
        let taken_back = dropped.any(|(n, version)| {
            *n == end.saturating_add(1) && version.as_ref().is_some_and(|version| version.change.kind == Kind::Revert)
        });
        GoesOn::Before { taken_back }
    } else if furthest == Some(end) && (checked.head.required || restoring.demanded) {
        GoesOn::There
    } else {
        GoesOn::Unknown
    };
    let of = |trouble| BackingUpError::Copy { path: store.clone(), trouble };
    let mut versions = Versions::open(&portcullis_store::Settings { path: store.clone() })?;
    let record = versions.rollout().map_err(GovernanceError::from)?;
    let resumed = Rollout::resumed(record.as_deref(), &last, steps, goes_on);
    let is_other = resumed != record;
    if is_other {
        versions.set_rollout(record.as_deref(), resumed.as_deref()).map_err(GovernanceError::from)?;
    }
    versions.close().map_err(of)?;
    // Whatever looked at it until here may have noted something else beside it.
    HeadFile::beside(&store).forget_steps()?;
    Ok(is_other)
}
