//! What was approved under names that files have no more: until 2026-11 a file that `include` found was called `./policy/a.toml` where the path of the
//! configuration was given without a folder. Its version is read with the names of today, and goes on being in force.

use super::{GovernedFile, of_gateway, variables, whole};
use crate::environment::Environment;

/// The digests that an earlier version of the program had approved for these files: with the names of then; and, since it missed them where it read its own
/// versions, without the files that were called so. Nothing is in them where every file is kept under its name of today, as all are on the disk: there a file
/// that was approved by nobody must not be passed over.
pub(super) fn digests(files: &[GovernedFile], environment: &dyn Environment) -> Vec<[u8; 32]> {
    let kept = |file: &GovernedFile| environment.kept_as(&file.path);
    if files.iter().all(|file| kept(file).is_none()) {
        return Vec::new();
    }
    let named =
        files.iter().map(|file| GovernedFile { name: kept(file).unwrap_or_else(|| file.name.clone()), ..file.clone() });
    let seen = files.iter().filter(|file| kept(file).is_none_or(|name| !name.starts_with("./")));
    let sets = [named.collect::<Vec<_>>(), seen.cloned().collect()];
    let digests = sets.iter().flat_map(|files| {
        let written = whole(files, of_gateway(files));
        [written, variables::with(written, &variables::named(files), environment)]
    });
    digests.collect()
}
