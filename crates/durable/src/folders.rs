//! The folders that a file stands in, made where they are not there.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, lchown};
use std::path::{Path, PathBuf};

use crate::{DurableError, sync_folder_of};

/// The rights that a new folder has of the one above: whatever else is in its mode stays with that one.
const RIGHTS: u32 = 0o777;

/// Makes the folders above a path that are not there: each with the mode of the one that it stands in, less the umask, and with its owner and group, where whoever
/// makes it may give it away. They are on the disk when this returns. Returns those that were made, the highest one first.
///
/// # Errors
/// One cannot be made, and nothing is left of the others.
pub fn make_folders_of(path: &Path) -> Result<Vec<PathBuf>, DurableError> {
    let mut missing = Vec::new();
    for folder in path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()) {
        match fs::symlink_metadata(folder) {
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::NotFound => missing.push(folder),
            Err(error) => return Err(DurableError::io(folder)(error)),
        }
    }
    let mut made = Vec::new();
    for folder in missing.into_iter().rev() {
        match make(folder) {
            Ok(true) => made.push(folder.to_owned()),
            Ok(false) => {}
            Err(error) => {
                remove_empty(&made);
                return Err(error);
            }
        }
    }
    Ok(made)
}

/// Takes folders away again in which there is nothing. The highest one comes first.
pub fn remove_empty(folders: &[PathBuf]) {
    // One that somebody has laid something into meanwhile stays.
    folders.iter().rev().for_each(|folder| drop(fs::remove_dir(folder)));
}

/// Says whether it was made: somebody else may have done so meanwhile.
fn make(folder: &Path) -> Result<bool, DurableError> {
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let like = fs::metadata(above).map_err(DurableError::io(above))?;
    match DirBuilder::new().mode(like.mode() & RIGHTS).create(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(DurableError::io(folder)(error)),
    }
    let given = match lchown(folder, Some(like.uid()), Some(like.gid())) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        given => given.map_err(DurableError::io(folder)),
    };
    let done = given.and_then(|()| sync_folder_of(folder));
    if done.is_err() {
        let _ = fs::remove_dir(folder);
    }
    done.map(|()| true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn folders_are_made_with_the_rights_of_the_one_above_and_taken_away_while_they_are_empty() {
        let root = tempfile::tempdir().unwrap();
        let conf = root.path().join("conf");
        fs::create_dir(&conf).unwrap();
        fs::set_permissions(&conf, fs::Permissions::from_mode(0o700)).unwrap();
        let file = conf.join("policy/more/a.toml");
        let made = make_folders_of(&file).unwrap();
        assert_eq!(made, [conf.join("policy"), conf.join("policy/more")]);
        for folder in &made {
            assert_eq!(fs::metadata(folder).unwrap().mode() & 0o7777, 0o700, "{}", folder.display());
        }
        assert_eq!(make_folders_of(&file).unwrap(), Vec::<PathBuf>::new());
        remove_empty(&made);
        assert!(!conf.join("policy").exists());
        let made = make_folders_of(&file).unwrap();
        fs::write(conf.join("policy/other.toml"), "").unwrap();
        remove_empty(&made);
        assert!(conf.join("policy/other.toml").exists() && !conf.join("policy/more").exists());
        assert_eq!(make_folders_of(Path::new("a.toml")).unwrap(), Vec::<PathBuf>::new());
        // A file in the way of a folder.
        assert!(make_folders_of(&conf.join("policy/other.toml/x/a.toml")).is_err());
        assert_eq!(fs::read_dir(conf.join("policy")).unwrap().count(), 1);
    }
}
