//! Contents on the disk: the files that a version leaves where the gateway reads them.

use std::path::{Component, Path};

use portcullis_config::{GovernedKind, replace_file};
use portcullis_governance::Content;

use super::source::load_sealed;

/// Writes a content to the disk, each file as a whole: below the folder of the gateway's main file and nowhere else, since what is elsewhere (the system's own
/// authorities) belongs to others. What was a part of the content before and is none now is laid aside where a pattern of `include` could find it. `whole`: all of
/// it is written, or nothing; else as much as can be.
pub(super) fn write_back(
    config: &Path,
    content: &Content,
    before: &Content,
    n: u64,
    whole: bool,
) -> Result<(), String> {
    let folder = config.parent().unwrap_or(Path::new(""));
    let holds = |name: &str, bytes: &[u8]| std::fs::read(folder.join(name)).is_ok_and(|there| there == bytes);
    let differing: Vec<(&String, &Vec<u8>)> =
        content.files.iter().filter(|(name, bytes)| !holds(name, bytes)).collect();
    let outside = differing.iter().find(|(name, _)| !is_below(name)).map_or(Ok(()), |(name, _)| {
        Err(format!("`{name}` is outside of the gateway's folder and holds something else: put it back by hand"))
    });
    if whole {
        outside.clone()?;
    }
    for (name, bytes) in differing.into_iter().filter(|(name, _)| is_below(name)) {
        let text = std::str::from_utf8(bytes).map_err(|_| format!("{name} is no text"))?;
        replace_file(&folder.join(name), text)?;
    }
    for name in includable(config, before) {
        if !content.files.contains_key(&name) && folder.join(&name).is_file() {
            lay_aside(folder, &name, n)?;
        }
    }
    outside
}

/// Writes what differs between two contents, and nothing else: a file that is the same in both may hold something else on the disk by now, and so may one that
/// differs; only where it still is what was there before, it becomes what is there now. Returns the names of those that are left as they are. Where it was cut
/// off it can be done again.
pub(super) fn write_change(config: &Path, content: &Content, before: &Content, n: u64) -> Result<Vec<String>, String> {
    let folder = config.parent().unwrap_or(Path::new(""));
    let mut left = Vec::new();
    for (name, bytes) in content.files.iter().filter(|(name, bytes)| before.files.get(*name) != Some(bytes)) {
        let path = folder.join(name);
        let there = std::fs::read(&path).ok();
        if there.as_ref() == Some(bytes) {
            continue;
        }
        if there.as_ref() != before.files.get(name) || !is_below(name) {
            left.push(name.clone());
            continue;
        }
        let text = std::str::from_utf8(bytes).map_err(|_| format!("{name} is no text"))?;
        replace_file(&path, text)?;
    }
    for name in includable(config, before).into_iter().filter(|name| !content.files.contains_key(name)) {
        let path = folder.join(&name);
        match std::fs::read(&path) {
            Ok(there) if before.files.get(&name) == Some(&there) => lay_aside(folder, &name, n)?,
            Ok(_) => left.push(name),
            // It is gone.
            Err(_) => {}
        }
    }
    Ok(left)
}

/// The names outside of the folder that differ between two contents: nobody writes these.
pub(super) fn differs_outside(content: &Content, before: &Content) -> Option<String> {
    let mut names = content.files.iter().filter(|(name, bytes)| before.files.get(*name) != Some(bytes));
    names.find(|(name, _)| !is_below(name)).map(|(name, _)| name.clone())
}

fn lay_aside(folder: &Path, name: &str, n: u64) -> Result<(), String> {
    let (path, aside) = (folder.join(name), folder.join(format!("{name}.before-version-{n}")));
    std::fs::rename(&path, &aside).map_err(|error| format!("{}: {error}", path.display()))
}

/// Whether a name stays in the folder.
fn is_below(name: &str) -> bool {
    Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
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
}
