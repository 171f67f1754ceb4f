//! Which files a configuration consists of, read as leniently as that allows: a mistake in one key is no reason not to
//! format the rest.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::codes;
use crate::diagnostics::{At, Report};
use crate::document::{MAX_POLICY_FILE, add_text, parse_document, read_bytes};
use crate::environment::Environment;
use crate::include::included_files;
use crate::kinds::{FilePath, ResolvedPath, Text};
use crate::section::{Reader, Section};

/// `portcullis.toml`, its policy, its key files and what they include, each once; the lists of networks are no TOML. The
/// report has the reasons why some cannot be found. Whether they can be read is told by reading them.
pub fn files_to_format(path: &Path, environment: &dyn Environment) -> (Vec<PathBuf>, Report) {
    let reader = Reader::new(environment);
    let mut search = Search { reader: &reader, seen: HashSet::new(), files: Vec::new() };
    search.add_gateway(path);
    let files = search.files;
    let mut diagnostics = reader.diagnostics.into_inner();
    let elsewhere = [codes::SYNTAX, codes::NESTING, codes::UNREADABLE, codes::NOTHING_INCLUDED];
    diagnostics.retain_since(0, |diagnostic| !elsewhere.contains(&diagnostic.code));
    (files, Report::new(reader.sources.into_inner(), diagnostics))
}

struct Search<'r> {
    reader: &'r Reader<'r>,
    seen: HashSet<PathBuf>,
    files: Vec<PathBuf>,
}

/// What a gateway file names.
struct Named {
    include: Vec<At<String>>,
    policy: Option<ResolvedPath>,
    keys: Vec<ResolvedPath>,
}

impl Search<'_> {
    fn add_gateway(&mut self, path: &Path) {
        let Some(Named { include, policy, mut keys }) = self.read(path, gateway) else { return };
        for included in included_files(self.reader, path, &include) {
            let named = self.read(&included.path, gateway);
            keys.extend(named.map_or_else(Vec::new, |named| named.keys));
        }
        if let Some(policy) = policy {
            self.add_policy(&policy.path);
        }
        for file in keys {
            self.add(&file.path);
        }
    }

    fn add_policy(&mut self, path: &Path) {
        let include = self.read(path, |section| include(&section)).unwrap_or_default();
        for included in included_files(self.reader, path, &include) {
            self.add(&included.path);
        }
    }

    fn add(&mut self, path: &Path) {
        if self.seen.insert(path.canonicalize().unwrap_or_else(|_| path.to_path_buf())) {
            self.files.push(path.to_path_buf());
        }
    }

    /// Adds a file and reads it.
    fn read<T>(&mut self, path: &Path, read: impl for<'d> FnOnce(Section<'d>) -> T) -> Option<T> {
        self.add(path);
        let bytes = read_bytes(path, MAX_POLICY_FILE).ok()?;
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let (source, text) = add_text(self.reader, path, &path.display().to_string(), bytes)?;
        parse_document(self.reader, source, &text, read).value
    }
}

fn gateway(section: Section<'_>) -> Named {
    let policy = match section.table("policy") {
        Some(policy) => policy.optional("path", FilePath).map(|path| path.value),
        None => None,
    };
    let default = || {
        let written = "policy.toml".to_owned();
        ResolvedPath { path: section.reader().resolve(section.span().source, &written), written }
    };
    let mut keys = Vec::new();
    if let Some(identity) = section.table("identity") {
        let providers = identity.tables("api_key").into_iter().chain(identity.tables("password"));
        keys.extend(providers.filter_map(|provider| Some(provider.optional("file", FilePath)?.value)));
    }
    Named { include: include(&section), policy: Some(policy.unwrap_or_else(default)), keys }
}

fn include(section: &Section<'_>) -> Vec<At<String>> {
    section.list("include", Text).map_or_else(Vec::new, |list| list.value)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_file_is_found_once_whatever_is_wrong_inside() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let check = |expected: &[&str], errors: &[&str]| {
            let environment: BTreeMap<String, String> = BTreeMap::new();
            let (files, report) = files_to_format(&folder.path().join("portcullis.toml"), &environment);
            let names: Vec<String> =
                files.iter().map(|path| path.strip_prefix(folder.path()).unwrap().display().to_string()).collect();
            assert_eq!(names, expected);
            assert_eq!(report.diagnostics().map(|each| each.code).collect::<Vec<_>>(), errors);
        };
        check(&["portcullis.toml"], &[]);
        let keys = "[[identity.api_key]]\nfile = \"keys.toml\"\n";
        write("portcullis.toml", &format!("\u{feff}include = [\"routes/*.toml\", \"none/*\"]\nunknown = 1\n{keys}"));
        write("routes/b.toml", &format!("[[identity.api_key]]\nfile = \"../more-keys.toml\"\n{keys}"));
        write("routes/a.toml", "[[route]\n");
        check(
            &[
                "portcullis.toml",
                "routes/a.toml",
                "routes/b.toml",
                "policy.toml",
                "keys.toml",
                "routes/../more-keys.toml",
                "routes/keys.toml",
            ],
            &[],
        );
        write("policy.toml", "include = [\"*.toml\", \"../x.toml\"]\n[[network]]\nfile = \"list.txt\"\n");
        write("portcullis.toml", "[policy]\npath = \"policy.toml\"\n");
        // Its own pattern names the policy itself, and one leads out of the folder.
        check(&["portcullis.toml", "policy.toml"], &["E0108", "E0108"]);
        write("portcullis.toml", "[policy]\npath = \"${NOWHERE}\"\n");
        check(&["portcullis.toml", "policy.toml"], &["E0107", "E0108", "E0108"]);
    }
}
