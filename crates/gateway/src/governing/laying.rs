//! The files of a version in a folder where none of them is yet: on a machine that has nothing but a backup.

use std::fs;
use std::path::{Path, PathBuf};

use portcullis_config::Names;
use portcullis_durable::{DurableError, create, make_folders_of, remove_empty};
use portcullis_governance::Content;
use thiserror::Error;

use super::places::{is_below, is_writable};

/// A file of users holds hashes of passwords: what else may be read is for whoever runs the gateway to say.
const MODE: u32 = 0o600;

/// What was laid into a folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Laid {
    /// The files that are there now.
    pub(crate) files: Vec<PathBuf>,
    /// Names that lead out of the folder: they are written nowhere.
    pub(crate) outside: Vec<String>,
}

/// Why nothing was.
#[derive(Debug, Error)]
pub(crate) enum LayingError {
    #[error("{}: it is there already, so that nothing was written: name an empty folder", .0.display())]
    There(PathBuf),
    #[error("{0}")]
    Durable(#[from] DurableError),
    /// A folder in it is a link, say.
    #[error("{0}")]
    Place(String),
}

/// Lays them there, each for its owner alone: all that are below the folder, or nothing.
///
/// # Errors
/// One is there already, or it cannot be written. What was made until then is gone again.
pub(crate) fn lay(folder: &Path, content: &Content) -> Result<Laid, LayingError> {
    // Any name does: only the folder of it counts, and that may not be there yet.
    let main = folder.join("portcullis.toml");
    let mut folders = make_folders_of(&main)?;
    let mut files = Vec::new();
    lay_each(&Names::of(&main), content, &mut folders, &mut files).inspect_err(|_| {
        files.iter().for_each(|file| drop(fs::remove_file(file)));
        remove_empty(&folders);
    })?;
    let outside = content.files.keys().filter(|name| !is_below(name)).cloned().collect();
    Ok(Laid { files, outside })
}

fn lay_each(
    names: &Names,
    content: &Content,
    folders: &mut Vec<PathBuf>,
    files: &mut Vec<PathBuf>,
) -> Result<(), LayingError> {
    let below = || content.files.iter().filter(|(name, _)| is_below(name));
    for (name, _) in below() {
        is_writable(names, name).map_err(LayingError::Place)?;
        let path = names.path_of(name);
        if fs::symlink_metadata(&path).is_ok() {
            return Err(LayingError::There(path));
        }
    }
    for (name, bytes) in below() {
        let path = names.path_of(name);
        folders.extend(make_folders_of(&path)?);
        create(&path, MODE, bytes)?;
        files.push(path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn content(names: &[&str]) -> Content {
        Content { files: names.iter().map(|name| ((*name).to_owned(), name.as_bytes().to_vec())).collect() }
    }

    #[test]
    fn all_of_it_is_laid_into_a_folder_that_is_made_and_what_is_outside_is_named() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b");
        let laid =
            lay(&folder, &content(&["portcullis.toml", "policy/deny.toml", "../ca.pem", "/etc/ca.pem"])).unwrap();
        assert_eq!(laid.files, [folder.join("policy/deny.toml"), folder.join("portcullis.toml")]);
        assert_eq!(laid.outside, ["../ca.pem", "/etc/ca.pem"]);
        assert!(!root.path().join("a/ca.pem").exists());
        for file in &laid.files {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_to_string(folder.join("policy/deny.toml")).unwrap(), "policy/deny.toml");
    }

    #[test]
    fn where_one_is_there_or_lies_behind_a_link_nothing_is_written() {
        let root = tempfile::tempdir().unwrap();
        let (folder, elsewhere) = (root.path().join("conf"), root.path().join("elsewhere"));
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(&elsewhere).unwrap();
        fs::write(folder.join("b.toml"), "mine").unwrap();
        let error = lay(&folder, &content(&["a.toml", "b.toml", "c/d.toml"])).unwrap_err();
        assert!(matches!(&error, LayingError::There(path) if *path == folder.join("b.toml")), "{error}");
        assert_eq!(fs::read_to_string(folder.join("b.toml")).unwrap(), "mine");
        symlink(&elsewhere, folder.join("link")).unwrap();
        let error = lay(&folder, &content(&["a.toml", "link/d.toml"])).unwrap_err();
        assert!(error.to_string().contains("leads out of the gateway's folder"), "{error}");
        // One that cannot be written when others are: a file in the place of its folder, made by the same version.
        let error = lay(&folder, &content(&["c", "c/d.toml"])).unwrap_err();
        assert!(matches!(error, LayingError::Durable(_)), "{error}");
        assert!(!folder.join("a.toml").exists() && !folder.join("c").exists());
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    }
}
