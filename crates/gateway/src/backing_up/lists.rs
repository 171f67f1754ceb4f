//! The lists of networks that were last good, in a backup and back.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{BackingUpError, FEEDS};

/// Copies of the lists, so that one which is renewed meanwhile is the old one or the new one, whole.
pub(super) fn copied_lists(feeds: &Path, scratch: &Path) -> Result<Vec<(String, PathBuf)>, BackingUpError> {
    let folder = scratch.join(FEEDS);
    fs::create_dir(&folder).map_err(BackingUpError::io(&folder))?;
    let mut copies = Vec::new();
    for (name, path) in lists(feeds) {
        let copy = scratch.join(&name);
        match fs::copy(&path, &copy) {
            Ok(_) => copies.push((name, copy)),
            // It was a draft that has its name by now.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(BackingUpError::io(&path)(error)),
        }
    }
    Ok(copies)
}

/// The lists of networks in the folder where they are kept: plain files, none below.
fn lists(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<(String, PathBuf)> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .filter_map(|path| Some((format!("{FEEDS}/{}", path.file_name()?.to_str()?), path)))
        .collect();
    files.sort();
    files
}

/// Puts the lists of a backup where there are none. A feed's files belong together: where one of them is there it is newer, and what is not there beside
/// it is not by intention, as the list before one that somebody went back from.
pub(super) fn lay_lists(from: &Path, feeds: &Path) -> Result<(), BackingUpError> {
    let of = |name: &str| {
        name.trim_start_matches("feeds/").rsplit_once('.').map_or_else(|| name.to_owned(), |(feed, _)| feed.to_owned())
    };
    // A draft is none: whoever was killed left it behind.
    let there: HashSet<String> =
        lists(feeds).into_iter().filter(|(name, _)| !name.ends_with(".new")).map(|(name, _)| of(&name)).collect();
    for (name, path) in lists(from) {
        let to = feeds.join(name.trim_start_matches("feeds/"));
        if !there.contains(&of(&name)) && !to.exists() {
            let copied = fs::create_dir_all(feeds).and_then(|()| fs::copy(&path, &to));
            copied.map_err(BackingUpError::io(&to))?;
        }
    }
    Ok(())
}
