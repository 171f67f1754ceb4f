//! What a backup holds of which nobody knows what became of it since: it is ended, or said.

use portcullis_store::Versions;

use super::restoring::Restoring;
use super::{BackingUpError, Checked, open};

/// Where nobody knows which sessions were ended since, none is open.
pub(super) fn without_sessions(checked: &Checked) -> Result<String, BackingUpError> {
    let of = |trouble| BackingUpError::Copy { path: checked.store(), trouble };
    let mut versions = Versions::open(&portcullis_store::Settings { path: checked.store() })?;
    let ended = versions.end_sessions().map_err(of)?;
    versions.close().map_err(of)?;
    Ok(if ended == 0 { String::new() } else { format!("; {ended} sessions in it are ended") })
}

/// Where nobody knows which proposals were rejected since, none waits.
pub(super) fn without_changes(checked: &Checked) -> Result<String, BackingUpError> {
    let of = |trouble| BackingUpError::Copy { path: checked.store(), trouble };
    let mut versions = Versions::open(&portcullis_store::Settings { path: checked.store() })?;
    let closed = versions.close_changes().map_err(of)?;
    versions.close().map_err(of)?;
    Ok(match closed {
        0 => String::new(),
        closed => format!(
            "; {closed} proposals that waited in it are ended, since nobody knows which were rejected meanwhile: propose them again"
        ),
    })
}

/// Where nobody knows whether the steps of a version are over, they are done again from where they were.
pub(super) fn rolling_out(restoring: &Restoring<'_>, checked: &Checked) -> Result<String, BackingUpError> {
    let governor = open(restoring.config, &checked.store(), None)?;
    // What is live for everybody, and still to be written to the files, is in no step.
    let rollout = governor.standing().rollout.filter(|rollout| !rollout.is_at_once());
    Ok(rollout.map_or_else(String::new, |rollout| {
        if rollout.is_held() {
            return format!(
                "; how far version {0} had come nobody knows, and version {1} serves: `portcullis policy activate {2} --now --reason TEXT` has it live for everybody, if it was",
                rollout.n,
                governor.serving(),
                rollout.change.short()
            );
        }
        format!(
            "; version {0} is rolled out from the step that it was in, and version {1} serves meanwhile: `portcullis policy activate {2} --now --reason TEXT` has it live for everybody, if it was",
            rollout.n,
            governor.serving(),
            rollout.change.short()
        )
    }))
}
