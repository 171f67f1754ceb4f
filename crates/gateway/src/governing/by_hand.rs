//! What somebody edited by hand, and what a change is about: a version that becomes live is written where it differs from the one before, and takes nothing
//! with it that nobody proposed. Nothing is ever lost: where an edit has to give way, it is kept under another name, and that is said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use portcullis_config::{GovernedKind, Names};
use portcullis_governance::Content;

use super::places::{is_below, is_writable};
use super::reading::read;
use super::source::load_sealed;

/// Copies of one file that are kept for one version.
const MOST: usize = 100;

/// What is to be on the disk.
#[derive(Debug, Default)]
pub(super) struct Spared {
    /// The content, with what is on the disk already where the change is not about that.
    pub(super) content: Content,
    /// Files that are left as they are, and hold something that nobody proposed.
    left: Vec<String>,
    /// Files that give way, and under which names they are kept.
    kept: Vec<(String, String)>,
    /// Files of which it cannot be told what they hold, or that could not be kept, and why: they must not be written.
    pub(super) unkept: Vec<(String, String)>,
}

impl Spared {
    /// What an operator should know of it; empty: nothing.
    pub(super) fn in_words(&self) -> String {
        let mut text = String::new();
        for (name, kept) in &self.kept {
            text.push_str(&format!("; `{name}` was edited by hand, and what it held is kept as `{kept}`"));
        }
        if !self.left.is_empty() {
            text.push_str(&format!(
                "; {} on disk holds something that nobody proposed, and is left as it is",
                self.left.join(", ")
            ));
        }
        text
    }
}

/// Says what is to be written of a content, and keeps what gives way. `before`: what was live, and what served if that is another one. What cannot be governed
/// apart from the rest of its file, the gateway's own tables, stays as it is on the disk as long as the same is governed in it. `whole`: all of it must be
/// written, or nothing; else what cannot be kept is not written, and holds nobody up.
///
/// # Errors
/// What somebody edited cannot be kept: then nothing may be written.
pub(super) fn spare(
    config: &Path,
    content: &Content,
    before: &[Content],
    (n, whole): (u64, bool),
) -> Result<Spared, String> {
    let names = Names::of(config);
    let mut spared = Spared { content: content.clone(), ..Spared::default() };
    let gateway = gateway_files(config, content);
    let same_gateway = same_is_governed(config, content, &gateway);
    for (name, bytes) in &content.files {
        let path = names.path_of(name);
        let there = match read(&path) {
            // A folder in its place is nothing that could be kept, and it does not give way.
            Err(_) if whole && path.is_dir() => continue,
            Err(why) if !whole => {
                spared.unkept.push((name.clone(), why));
                continue;
            }
            there => there?,
        };
        let Some(there) = there.filter(|there| there != bytes) else { continue };
        if gateway.contains_key(name) && same_gateway {
            spared.content.files.insert(name.clone(), there);
            continue;
        }
        let was = |before: &Content| before.files.get(name).cloned();
        if !before.is_empty() && before.iter().all(|before| was(before).as_ref() == Some(bytes)) {
            spared.left.push(name.clone());
            spared.content.files.insert(name.clone(), there);
            continue;
        }
        // Of the gateway's own file it cannot be said whether it holds what is not governed and stands in no version.
        let is_known = before.iter().any(|before| was(before).as_ref() == Some(&there));
        if is_below(name) && (!is_known || gateway.contains_key(name)) {
            // What a link leads to is not written, and so nothing of it has to be kept.
            match is_writable(&names, name).and_then(|()| keep(&path, &there, n)) {
                Ok(kept) => spared.kept.push((name.clone(), kept)),
                Err(why) if !whole => spared.unkept.push((name.clone(), why)),
                Err(why) => return Err(why),
            }
        }
    }
    Ok(spared)
}

/// The gateway's own files, as the content has them.
fn gateway_files(config: &Path, content: &Content) -> BTreeMap<String, Vec<u8>> {
    let Ok(loaded) = load_sealed(config, content) else { return BTreeMap::new() };
    let files = loaded.governed.files.into_iter().filter(|file| file.kind == GovernedKind::Gateway);
    files.map(|file| (file.name, file.bytes.to_vec())).collect()
}

/// Whether the gateway's own files on the disk govern the same as those of the content.
fn same_is_governed(config: &Path, content: &Content, gateway: &BTreeMap<String, Vec<u8>>) -> bool {
    let names = Names::of(config);
    let mut on_disk = content.clone();
    for name in gateway.keys() {
        let Ok(Some(there)) = read(&names.path_of(name)) else { return false };
        on_disk.files.insert(name.clone(), there);
    }
    let governed = |content: &Content| load_sealed(config, content).ok().map(|loaded| loaded.governed);
    match (governed(content), governed(&on_disk)) {
        (Some(wanted), Some(there)) => (wanted.gateway, wanted.digest) == (there.gateway, there.digest),
        _ => false,
    }
}

/// Copies a file under a name that no pattern of `include` for `*.toml` finds. What is kept already is not kept twice.
fn keep(path: &Path, bytes: &[u8], n: u64) -> Result<String, String> {
    let failed = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    for nth in 1..=MOST {
        let suffix = if nth == 1 { String::new() } else { format!(".{nth}") };
        let kept = format!("{name}.edited-before-version-{n}{suffix}");
        let to: PathBuf = path.with_file_name(&kept);
        match read(&to)? {
            Some(there) if there == bytes => return Ok(kept),
            Some(_) => {}
            None => {
                // With the rights of the file: who could not read it before cannot read the copy.
                std::fs::copy(path, &to).map_err(|error| failed(&to, &error))?;
                let copied = std::fs::File::open(&to).and_then(|file| file.sync_all());
                copied.map_err(|error| failed(&to, &error))?;
                return Ok(kept);
            }
        }
    }
    Err(format!("{}: {MOST} copies of what was edited are kept already: remove some", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: &str = "version = 1\n[[listener]]\nname = \"l\"\naddress = \"127.0.0.1:0\"\n[[upstream]]\nname = \"u\"\nendpoints = [\"http://127.0.0.1:9\"]\n[[route]]\nname = \"r\"\nupstream = \"u\"\n";
    const OPS: &str = "[ops]\nenabled = false\n";

    fn content(gateway: &str, policy: &str) -> Content {
        let files = [("portcullis.toml", gateway), ("policy.toml", policy)];
        Content { files: files.into_iter().map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).collect() }
    }

    struct Place(tempfile::TempDir);

    impl Place {
        fn with(gateway: &str, policy: &str) -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            std::fs::write(place.config(), gateway).unwrap();
            std::fs::write(place.0.path().join("policy.toml"), policy).unwrap();
            place
        }

        fn config(&self) -> PathBuf {
            self.0.path().join("portcullis.toml")
        }

        fn kept(&self, name: &str) -> Option<String> {
            std::fs::read_to_string(self.0.path().join(name)).ok()
        }
    }

    fn policy(text: &str) -> String {
        format!("version = 1\n# {text}\n")
    }

    #[test]
    fn what_a_change_is_not_about_stays_as_it_is_on_the_disk() {
        let (first, second) = (policy("first"), policy("second"));
        let gateway = format!("{GATEWAY}{OPS}");
        let place = Place::with(&gateway, &first);
        let before = [content(GATEWAY, &first)];
        // Tables that are not governed were edited, and the store's file is older.
        let spared = spare(&place.config(), &content(GATEWAY, &second), &before, (2, true)).unwrap();
        assert_eq!(spared.content, content(&gateway, &second));
        assert_eq!(spared.in_words(), "");
        // What is governed was edited, in a file that the change is not about.
        let place = Place::with(&GATEWAY.replace(":9", ":8"), &first);
        let spared = spare(&place.config(), &content(GATEWAY, &second), &before, (2, true)).unwrap();
        assert_eq!(spared.content, content(&GATEWAY.replace(":9", ":8"), &second));
        assert!(spared.in_words().contains("portcullis.toml on disk holds something that nobody proposed"));
        assert_eq!(std::fs::read_dir(place.0.path()).unwrap().count(), 2, "nothing gave way");
    }

    #[test]
    fn what_gives_way_is_kept_each_time_under_a_name_of_its_own() {
        let (first, second) = (policy("first"), policy("second"));
        let place = Place::with(GATEWAY, &policy("by hand"));
        let before = [content(GATEWAY, &first)];
        let again = || spare(&place.config(), &content(GATEWAY, &second), &before, (2, true)).unwrap();
        let spared = again();
        assert_eq!(spared.content, content(GATEWAY, &second));
        assert!(spared.in_words().contains("kept as `policy.toml.edited-before-version-2`"), "{}", spared.in_words());
        again();
        std::fs::write(place.0.path().join("policy.toml"), policy("by another hand")).unwrap();
        assert!(again().in_words().contains("kept as `policy.toml.edited-before-version-2.2`"));
        assert_eq!(place.kept("policy.toml.edited-before-version-2"), Some(policy("by hand")));
        assert_eq!(place.kept("policy.toml.edited-before-version-2.2"), Some(policy("by another hand")));
        assert_eq!(std::fs::read_dir(place.0.path()).unwrap().count(), 4);
        // What is there from before gives way without a trace: it is a version.
        std::fs::write(place.0.path().join("policy.toml"), &first).unwrap();
        assert_eq!(again().in_words(), "");
    }

    #[test]
    fn a_gateway_file_that_has_to_change_takes_what_is_not_governed_in_it_along_and_so_it_is_kept() {
        let now = format!("{GATEWAY}{OPS}");
        let place = Place::with(&now, &policy("first"));
        let then = GATEWAY.replace(":9", ":8");
        let before = [content(&now, &policy("first"))];
        let spared = spare(&place.config(), &content(&then, &policy("first")), &before, (3, true)).unwrap();
        assert_eq!(spared.content, content(&then, &policy("first")));
        assert!(spared.in_words().contains("kept as `portcullis.toml.edited-before-version-3`"));
        assert_eq!(place.kept("portcullis.toml.edited-before-version-3"), Some(now));
    }
}
