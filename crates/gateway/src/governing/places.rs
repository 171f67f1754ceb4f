//! Where files of a version are written: below the folder of the gateway's main file and nowhere else, whatever links somebody has laid there. Whoever may write
//! in that folder would otherwise have the account that writes (often root) overwrite any file of the machine. What links lead to is read as ever.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::{Component, Path};

use portcullis_config::Names;

/// Whether a name stays in the folder.
pub(super) fn is_below(name: &str) -> bool {
    Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Holds to it that a file of this name stands in the folder: none of the folders in between leads out of it.
///
/// # Errors
/// A sentence that says what to do.
pub(super) fn stands_in_folder(names: &Names, name: &str) -> Result<(), String> {
    let outside =
        || format!("`{name}` is outside of the gateway's folder, where nothing is written: put it back by hand");
    let root = names.place().filter(|_| is_below(name)).ok_or_else(outside)?;
    let mut path = names.folder().to_owned();
    for part in Path::new(name).parent().into_iter().flat_map(Path::components) {
        path.push(part);
        // What is not there is made.
        let Some(found) = found(&path)? else { return Ok(()) };
        let place = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
        if !place.starts_with(root) {
            return Err(format!(
                "`{name}` is not written: `{}` is a link that leads out of the gateway's folder, to {}; lay a folder in its place, or change there by hand what is to be another",
                path.display(),
                place.display()
            ));
        }
        if !found.is_dir() && !place.is_dir() {
            return Err(format!("`{name}` is not written: `{}` is no folder", path.display()));
        }
    }
    Ok(())
}

/// Holds to it that what stands there under this name can be replaced: it is a file of the folder itself, or nothing yet.
///
/// # Errors
/// A sentence that says what to do.
pub(super) fn is_writable(names: &Names, name: &str) -> Result<(), String> {
    stands_in_folder(names, name)?;
    let path = names.path_of(name);
    if !found(&path)?.is_some_and(|found| found.is_symlink()) {
        return Ok(());
    }
    let to = fs::read_link(&path).map(|to| to.display().to_string()).unwrap_or_default();
    Err(format!(
        "`{name}` is not written: it is a symbolic link, to {to}, and nothing is written through links; change it where it comes from (in Kubernetes that is the ConfigMap or the Secret), or lay a file in its place"
    ))
}

fn found(path: &Path) -> Result<Option<Metadata>, String> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Finding of 2026-11: with a link in the place of `policy.toml`, or of the folder of an included file, a rollback overwrote a file elsewhere.
    #[test]
    fn no_link_has_anything_written_elsewhere_or_through_it() {
        let root = tempfile::tempdir().unwrap();
        let (conf, elsewhere) = (root.path().join("conf"), root.path().join("elsewhere"));
        for folder in [&conf.join("policy"), &conf.join("..data/lists"), &elsewhere] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(conf.join("policy/a.toml"), "").unwrap();
        fs::write(conf.join("..data/b.toml"), "").unwrap();
        symlink("..data/b.toml", conf.join("b.toml")).unwrap();
        symlink(elsewhere.join("none"), conf.join("dangling.toml")).unwrap();
        symlink("..data/lists", conf.join("lists")).unwrap();
        symlink(&elsewhere, conf.join("out")).unwrap();
        symlink(elsewhere.join("none"), conf.join("nowhere")).unwrap();
        symlink(&conf, root.path().join("link")).unwrap();
        let cases: [(&str, Option<&str>); 12] = [
            ("policy.toml", None),
            ("policy/a.toml", None),
            ("gone/more/a.toml", None),
            ("lists/a.txt", None),
            ("b.toml", Some("nothing is written through links")),
            ("dangling.toml", Some("nothing is written through links")),
            ("out/a.toml", Some("leads out of the gateway's folder")),
            ("out/more/a.toml", Some("leads out of the gateway's folder")),
            ("nowhere/a.toml", Some("No such file")),
            ("policy/a.toml/x", Some("is no folder")),
            ("../elsewhere/a.toml", Some("outside of the gateway's folder")),
            ("/etc/passwd", Some("outside of the gateway's folder")),
        ];
        for folder in [&conf, &root.path().join("link")] {
            let names = Names::of(&folder.join("portcullis.toml"));
            for (name, expected) in cases {
                match (is_writable(&names, name), expected) {
                    (Ok(()), None) => {}
                    (Err(why), Some(expected)) => assert!(why.contains(expected), "{name}: {why}"),
                    (found, _) => panic!("{name}: {found:?}"),
                }
            }
        }
    }
}
