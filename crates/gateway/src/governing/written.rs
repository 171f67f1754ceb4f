//! Contents on the disk: the files that a version leaves where the gateway reads them.
//!
//! They are written in two parts. First each new text is written beside its file: whatever fails then, for want of room or of rights, has changed nothing. Then the
//! texts take their places, which needs no room. Between the two it is noted in the store that this is under way, so that a process that ends in between, or a
//! disk that fails, leaves no mix of two versions that is taken for a third one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use portcullis_config::{GovernedKind, Names, Replacement};
use portcullis_durable::{make_folders_of, remove_empty, sync_folder_of};
use portcullis_governance::Content;

use super::by_hand::{Spared, spare};
use super::moments::reached;
use super::places::{is_below, is_writable, stands_in_folder};
use super::reading::read;
use super::source::{load_sealed, of_today};

/// Texts beside the files whose places they are to take. Dropped, the files are as they were.
#[derive(Debug)]
pub(super) struct Prepared {
    texts: Vec<(String, Replacement)>,
    /// Names that no `include` must find any more.
    aside: Vec<String>,
    /// Folders that were made for them, the highest first.
    folders: Vec<PathBuf>,
    names: Names,
    n: u64,
    /// What is not written, a name or a sentence each.
    pub(super) left: Vec<String>,
    /// What becomes of what was edited by hand.
    pub(super) spared: Spared,
}

impl Prepared {
    fn new(config: &Path, n: u64) -> Self {
        Self {
            texts: Vec::new(),
            aside: Vec::new(),
            folders: Vec::new(),
            names: Names::of(config),
            n,
            left: Vec::new(),
            spared: Spared::default(),
        }
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(bytes).map_err(|_| format!("{name} is no text"))?;
        is_writable(&self.names, name)?;
        let path = self.names.path_of(name);
        self.folders.extend(make_folders_of(&path).map_err(|error| error.to_string())?);
        let text = Replacement::prepare(&path, text)?;
        self.texts.push((name.to_owned(), text));
        reached(format_args!("{name} is prepared"));
        Ok(())
    }

    /// Has each take its place. It can be prepared and done again, however far it has come.
    ///
    /// # Errors
    /// Some have not taken their places, and others may have.
    pub(super) fn put_in_place(mut self) -> Result<(), String> {
        for (name, text) in std::mem::take(&mut self.texts) {
            // Somebody may have laid a link there meanwhile.
            is_writable(&self.names, &name)?;
            text.put_in_place()?;
            reached(format_args!("{name} is in place"));
        }
        for name in std::mem::take(&mut self.aside) {
            stands_in_folder(&self.names, &name)?;
            lay_aside(&self.names, &name, self.n)?;
            reached(format_args!("{name} is laid aside"));
        }
        Ok(())
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // The drafts in them go first. Where a text has taken its place, its folder is not empty, and stays.
        self.texts.clear();
        remove_empty(&self.folders);
    }
}

/// All of a content, each file as a whole: below the folder of the gateway's main file and nowhere else, since what is elsewhere (the system's own authorities)
/// belongs to others. What was a part of one of the contents before and is none now is laid aside where a pattern of `include` could find it. What
/// somebody edited by hand is spared, or kept first. `whole`: all of it can be written, or nothing is prepared; else as much as can be.
///
/// # Errors
/// What cannot be written, in a sentence. Nothing is left of it.
pub(super) fn prepare_all(
    config: &Path,
    content: &Content,
    before: &[Content],
    n: u64,
    whole: bool,
) -> Result<Prepared, String> {
    let mut prepared = Prepared::new(config, n);
    let names = prepared.names.clone();
    let content = &of_today(config, content.clone());
    let before: Vec<Content> = before.iter().map(|before| of_today(config, before.clone())).collect();
    let spared = spare(config, content, &before, (n, whole))?;
    prepared.left.extend(spared.unkept.iter().map(|(name, why)| match why.starts_with('`') {
        true => why.clone(),
        false => format!("`{name}`: {why}"),
    }));
    let holds =
        |name: &str, bytes: &[u8]| read(&names.path_of(name)).is_ok_and(|there| there.as_deref() == Some(bytes));
    let is_spared = |name: &String| spared.unkept.iter().all(|(unkept, _)| unkept != name);
    let files = spared.content.files.iter().filter(|(name, _)| is_spared(name));
    let differing: Vec<(&String, &Vec<u8>)> = files.filter(|(name, bytes)| !holds(name, bytes)).collect();
    for (name, _) in differing.iter().filter(|(name, _)| !is_below(name)) {
        let outside =
            format!("`{name}` is outside of the gateway's folder and holds something else: put it back by hand");
        if whole {
            return Err(outside);
        }
        prepared.left.push(outside);
    }
    for (name, bytes) in differing.into_iter().filter(|(name, _)| is_below(name)) {
        match prepared.add(name, bytes) {
            Err(error) if whole => return Err(error),
            Err(error) => prepared.left.push(error),
            Ok(()) => {}
        }
    }
    let found: BTreeSet<String> = before.iter().flat_map(|before| includable(config, before)).collect();
    let is_over = |name: &String| !content.files.contains_key(name) && names.path_of(name).is_file();
    for name in found.into_iter().filter(is_over) {
        match stands_in_folder(&names, &name) {
            Ok(()) => prepared.aside.push(name),
            Err(why) if whole => return Err(why),
            Err(why) => prepared.left.push(why),
        }
    }
    prepared.spared = spared;
    Ok(prepared)
}

/// What differs between two contents, and nothing else: a file that is the same in both may hold something else on the disk by now, and so may one that differs;
/// only where it still is what was there before, it becomes what is there now. The others are left as they are.
///
/// # Errors
/// What cannot be read or written, in a sentence. Nothing is left of it.
pub(super) fn prepare_change(config: &Path, content: &Content, before: &Content, n: u64) -> Result<Prepared, String> {
    let mut prepared = Prepared::new(config, n);
    let (content, before) = (&of_today(config, content.clone()), &of_today(config, before.clone()));
    for (name, bytes) in content.files.iter().filter(|(name, bytes)| before.files.get(*name) != Some(bytes)) {
        let there = read(&prepared.names.path_of(name))?;
        if there.as_ref() == Some(bytes) {
            continue;
        }
        if there.as_ref() != before.files.get(name) || !is_below(name) {
            prepared.left.push(name.clone());
            continue;
        }
        prepared.add(name, bytes)?;
    }
    for name in includable(config, before).into_iter().filter(|name| !content.files.contains_key(name)) {
        match read(&prepared.names.path_of(&name))? {
            Some(there) if before.files.get(&name) == Some(&there) => {
                stands_in_folder(&prepared.names, &name)?;
                prepared.aside.push(name);
            }
            Some(_) => prepared.left.push(name),
            // It is gone.
            None => {}
        }
    }
    Ok(prepared)
}

/// The names outside of the folder that differ between two contents: nobody writes these.
pub(super) fn differs_outside(content: &Content, before: &Content) -> Option<String> {
    let mut names = content.files.iter().filter(|(name, bytes)| before.files.get(*name) != Some(bytes));
    names.find(|(name, _)| !is_below(name)).map(|(name, _)| name.clone())
}

fn lay_aside(names: &Names, name: &str, n: u64) -> Result<(), String> {
    let (path, aside) = (names.path_of(name), names.path_of(&format!("{name}.before-version-{n}")));
    std::fs::rename(&path, &aside).map_err(|error| format!("{}: {error}", path.display()))?;
    sync_folder_of(&path).map_err(|error| error.to_string())
}

/// The files of a content that a pattern of `include` may have found.
fn includable(config: &Path, content: &Content) -> Vec<String> {
    let Ok(loaded) = load_sealed(config, content) else { return Vec::new() };
    let files = loaded.governed.files.into_iter();
    let files = files.filter(|file| matches!(file.kind, GovernedKind::Gateway | GovernedKind::Policy));
    files.map(|file| file.name).filter(|name| is_below(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_back(config: &Path, content: &Content, before: &Content, n: u64, whole: bool) -> Result<(), String> {
        let prepared = prepare_all(config, content, std::slice::from_ref(before), n, whole)?;
        let left = prepared.left.clone();
        prepared.put_in_place()?;
        if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
    }

    fn write_change(config: &Path, content: &Content, before: &Content, n: u64) -> Result<Vec<String>, String> {
        let prepared = prepare_change(config, content, before, n)?;
        let left = prepared.left.clone();
        prepared.put_in_place().map(|()| left)
    }

    fn content(files: &[(&str, &str)]) -> Content {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()));
        Content { files: files.collect() }
    }

    const GATEWAY: &str = "version = 1\ninclude = [\"more/*.toml\"]\n[[listener]]\nname = \"l\"\naddress = \"127.0.0.1:0\"\n[[upstream]]\nname = \"u\"\nendpoints = [\"http://127.0.0.1:9\"]\n[[route]]\nname = \"r\"\nupstream = \"u\"\n";
    const POLICY: &str = "version = 1\n";
    const MORE: &str = "[[upstream]]\nname = \"v\"\nendpoints = [\"http://127.0.0.1:9\"]\n";

    #[test]
    fn only_files_below_the_folder_are_written_and_only_what_could_be_included_is_laid_aside() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let (config, outside) = (folder.path().join("portcullis.toml"), elsewhere.path().join("ca.pem"));
        std::fs::create_dir(folder.path().join("more")).unwrap();
        std::fs::write(&outside, "now").unwrap();
        let outside_name = outside.display().to_string();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).ok();
        let before = content(&[("portcullis.toml", GATEWAY), ("policy.toml", POLICY), ("more/a.toml", MORE)]);
        let after = content(&[("portcullis.toml", GATEWAY), ("policy.toml", "version = 1\n# other\n")]);
        write_back(&config, &before, &Content::default(), 1, true).unwrap();
        write_back(&config, &after, &before, 2, true).unwrap();
        assert_eq!(read("policy.toml").as_deref(), Some("version = 1\n# other\n"));
        assert_eq!((read("more/a.toml"), read("more/a.toml.before-version-2").as_deref()), (None, Some(MORE)));
        // What is elsewhere is not the gateway's, and then nothing at all is written.
        let system = content(&[("portcullis.toml", GATEWAY), ("policy.toml", POLICY), (&outside_name, "then")]);
        let refused = write_back(&config, &system, &after, 3, true).unwrap_err();
        assert!(refused.contains("outside of the gateway's folder"), "{refused}");
        assert_eq!(read("policy.toml").as_deref(), Some("version = 1\n# other\n"));
        for name in ["../escaped", "more/../../escaped"] {
            assert!(
                write_back(
                    &config,
                    &content(&[("portcullis.toml", GATEWAY), ("policy.toml", POLICY), (name, "x")]),
                    &after,
                    3,
                    true
                )
                .is_err(),
                "{name}"
            );
        }
        assert!(!folder.path().parent().unwrap().join("escaped").exists());
        // Where the store is what is believed, the rest is written, and it is said what is not.
        assert!(write_back(&config, &system, &after, 3, false).unwrap_err().contains("outside"));
        assert_eq!(read("policy.toml").as_deref(), Some(POLICY));
        let same = content(&[("portcullis.toml", GATEWAY), ("policy.toml", POLICY), (&outside_name, "now")]);
        write_back(&config, &same, &after, 3, true).unwrap();
        // Nor is it laid aside when nothing names it any more.
        write_back(&config, &after, &same, 4, true).unwrap();
        assert_eq!(std::fs::read_to_string(&outside).unwrap(), "now");
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_what_a_change_changes_is_written_and_only_where_the_disk_holds_what_was_there_before() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let (config, outside) = (folder.path().join("portcullis.toml"), elsewhere.path().join("list.txt"));
        std::fs::create_dir(folder.path().join("more")).unwrap();
        let outside_name = outside.display().to_string();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).ok();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let other = "version = 1\n# other\n";
        let before = content(&[("portcullis.toml", GATEWAY), ("policy.toml", POLICY), ("more/a.toml", MORE)]);
        let after = content(&[("portcullis.toml", GATEWAY), ("policy.toml", other), ("new.txt", "new")]);
        // What is not governed was edited meanwhile, in a file that the change leaves alone.
        let edited = format!("{GATEWAY}[ops]\nenabled = false\n");
        write("portcullis.toml", &edited);
        write("policy.toml", POLICY);
        write("more/a.toml", MORE);
        assert_eq!(write_change(&config, &after, &before, 2), Ok(Vec::new()));
        assert_eq!(read("portcullis.toml"), Some(edited));
        assert_eq!((read("policy.toml").as_deref(), read("new.txt").as_deref()), (Some(other), Some("new")));
        assert!(read("more/a.toml").is_none() && read("more/a.toml.before-version-2").is_some());
        // Cut off after the first file, it is done again.
        write("new.txt", "new");
        write("more/a.toml", MORE);
        assert_eq!(write_change(&config, &after, &before, 2), Ok(Vec::new()));
        // By somebody's hand.
        write("policy.toml", "version = 1\n# by hand\n");
        write("new.txt", "by hand");
        write("more/a.toml", "# by hand\n");
        let left = ["new.txt", "policy.toml", "more/a.toml"].map(str::to_owned).to_vec();
        assert_eq!(write_change(&config, &after, &before, 2), Ok(left));
        assert!(["policy.toml", "new.txt", "more/a.toml"].iter().all(|name| read(name).unwrap().contains("by hand")));
        // What is elsewhere is never written.
        std::fs::write(&outside, "then").unwrap();
        let with = |text| content(&[("portcullis.toml", GATEWAY), ("policy.toml", POLICY), (&outside_name, text)]);
        assert_eq!(write_change(&config, &with("now"), &with("then"), 2), Ok(vec![outside_name.clone()]));
        assert_eq!(std::fs::read_to_string(&outside).unwrap(), "then");
        assert_eq!(differs_outside(&with("now"), &with("then")), Some(outside_name.clone()));
        assert_eq!((differs_outside(&with("now"), &with("now")), differs_outside(&after, &before)), (None, None));
    }

    /// What fails for want of room or of rights fails before the first file has changed.
    #[test]
    fn what_cannot_be_written_whole_is_not_begun() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("portcullis.toml");
        std::fs::create_dir(folder.path().join("more")).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let other = "version = 1\n# other\n";
        let before = content(&[("portcullis.toml", GATEWAY), ("policy.toml", POLICY)]);
        write_back(&config, &before, &Content::default(), 1, true).unwrap();
        // Of two files the second one has no place: what should be its folder is a file.
        std::fs::write(folder.path().join("void"), "").unwrap();
        let after = content(&[("portcullis.toml", GATEWAY), ("policy.toml", other), ("void/a.toml", MORE)]);
        assert!(prepare_all(&config, &after, std::slice::from_ref(&before), 2, true).is_err());
        assert!(prepare_change(&config, &after, &before, 2).is_err());
        // Nor does it count as left by somebody's hand what cannot be read.
        std::fs::create_dir(folder.path().join("list.txt")).unwrap();
        let with = |text| content(&[("portcullis.toml", GATEWAY), ("policy.toml", POLICY), ("list.txt", text)]);
        assert!(prepare_change(&config, &with("now"), &with("then"), 2).is_err());
        assert_eq!(read("policy.toml"), POLICY);
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort_unstable();
        assert_eq!(names, ["list.txt", "more", "policy.toml", "portcullis.toml", "void"], "no draft is left");
        // As much as can be, where the store is what is believed.
        let prepared = prepare_all(&config, &after, std::slice::from_ref(&before), 2, false).unwrap();
        assert_eq!(prepared.left.len(), 1);
        prepared.put_in_place().unwrap();
        assert_eq!(read("policy.toml"), other);
    }
}
