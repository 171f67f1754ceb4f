//! What a file of a configuration is called: the same however the path of the configuration was spelled. A file below the folder of the main file is called by
//! its path from there, without `.` in it; any other by its absolute path, or by the `..` that the configuration leads out of the folder with. Versions are
//! made of files by these names, so that two names for one file would be two files, and one of them would be missing.

use std::path::{Component, Path, PathBuf};

/// The names of the files of one configuration.
#[derive(Debug, Clone)]
pub struct Names {
    /// The folder of the main file, as it was spelled.
    folder: PathBuf,
    /// The same without links; `None`: it is not there.
    place: Option<PathBuf>,
}

impl Names {
    /// Those of the configuration whose main file this is.
    pub fn of(main: &Path) -> Self {
        let folder = tidy(main.parent().unwrap_or(Path::new("")));
        let place = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder }.canonicalize().ok();
        Self { folder, place }
    }

    /// What a file is called, however the path leads to it.
    pub fn name_of(&self, path: &Path) -> String {
        self.relative(&tidy(path)).display().to_string()
    }

    /// Where the file of a name is.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.folder.join(tidy(Path::new(name)))
    }

    /// A name as an earlier version of the program may have kept it, as it is today.
    pub fn today(&self, name: &str) -> String {
        self.name_of(&self.folder.join(name))
    }

    /// The folder of the main file; empty for the one of the process.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The same without links; `None`: it is not there.
    pub fn place(&self) -> Option<&Path> {
        self.place.as_deref()
    }

    fn relative(&self, path: &Path) -> PathBuf {
        // Where the folder is that of the process, its path is empty, and every path begins with it.
        match path.strip_prefix(&self.folder) {
            Ok(relative) if relative.is_relative() => return relative.to_owned(),
            Ok(_) | Err(_) => {}
        }
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let Some(place) = &self.place else { return absolute };
        let below = |path: &Path| path.strip_prefix(place).ok().map(Path::to_owned);
        below(&absolute).or_else(|| below(&without_links(&absolute)?)).unwrap_or(absolute)
    }
}

/// A path without `.` in it: `./a/./b` is `a/b`. What `..` means is up to the disk, and it stays.
pub(crate) fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::CurDir)).collect()
}

/// The path with the links in its folders followed, as far as there are such folders. The last part stays what it is: a link is a file of that name.
fn without_links(path: &Path) -> Option<PathBuf> {
    for folder in path.parent()?.ancestors() {
        if let Ok(place) = folder.canonicalize() {
            return Some(place.join(path.strip_prefix(folder).ok()?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_name_however_its_path_was_spelled() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for folder in ["conf/policy", "x", "elsewhere"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::os::unix::fs::symlink(root.join("conf"), root.join("link")).unwrap();
        let conf = root.join("conf");
        let spelled = ["conf", "./conf", "conf/.", "x/../conf", "link", "./x/.././link"];
        let written = [
            ("policy/deny.toml", "policy/deny.toml".to_owned()),
            ("./policy/./deny.toml", "policy/deny.toml".to_owned()),
            ("gone/deny.toml", "gone/deny.toml".to_owned()),
            ("../elsewhere/ca.pem", "../elsewhere/ca.pem".to_owned()),
        ];
        let absolute = [
            (conf.join("keys.toml"), "keys.toml".to_owned()),
            (conf.join("gone/keys.toml"), "gone/keys.toml".to_owned()),
            (root.join("link/policy/keys.toml"), "policy/keys.toml".to_owned()),
            (root.join("x/../conf/keys.toml"), "keys.toml".to_owned()),
            (root.join("elsewhere/ca.pem"), root.join("elsewhere/ca.pem").display().to_string()),
        ];
        for spelling in spelled {
            let folder = root.join(spelling);
            let names = Names::of(&folder.join("portcullis.toml"));
            for (written, expected) in &written {
                assert_eq!(names.name_of(&folder.join(written)), *expected, "{spelling} {written}");
            }
            for (path, expected) in &absolute {
                assert_eq!(names.name_of(path), *expected, "{spelling} {}", path.display());
            }
        }
    }

    #[test]
    fn a_path_without_a_folder_is_in_the_folder_of_the_process() {
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        for main in ["portcullis.toml", "./portcullis.toml", "././portcullis.toml"] {
            let names = Names::of(Path::new(main));
            for path in ["policy/a.toml", "./policy/a.toml"] {
                assert_eq!(names.name_of(Path::new(path)), "policy/a.toml", "{main} {path}");
            }
            assert_eq!(names.name_of(&here.join("policy/a.toml")), "policy/a.toml", "{main}");
            assert_eq!(names.name_of(Path::new("/dev/null")), "/dev/null", "{main}");
            assert_eq!(names.today("./policy/a.toml"), "policy/a.toml", "{main}");
            assert_eq!(names.path_of("./policy/a.toml"), Path::new("policy/a.toml"), "{main}");
        }
    }
}
