//! The configuration in a backup, for a machine that has none.

use std::path::Path;

use portcullis_governance::backup::{BackupKey, Manifest};

use super::judging::by_itself;
use super::{BackingUpError, check, open};
use crate::governing::{Laid, lay};

/// Writes the files of the last version in a backup into a folder, in which none of them is yet, after the backup was held to all that it can be held to.
pub(crate) fn lay_files(
    config: &Path,
    archive: &Path,
    key: Option<&BackupKey>,
    folder: &Path,
) -> Result<(Manifest, Laid), BackingUpError> {
    let checked = check(config, archive, key, &std::env::temp_dir())?;
    by_itself(config, &checked.store())?;
    let content = open(config, &checked.store(), Some(checked.head))?.live()?;
    let laid = lay(folder, &content)?;
    Ok((checked.manifest, laid))
}
