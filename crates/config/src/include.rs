//! `include = ["routes/*.toml"]`: which further files belong to a file. Never one above its folder, not through a
//! symbolic link either: whoever may write the folder decides, nobody else.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use crate::codes;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::naming::tidy;
use crate::section::Reader;

/// At most this many files are included.
const MAX_FILES: usize = 10_000;

/// An included file.
#[derive(Debug, Clone)]
pub(crate) struct Included {
    pub(crate) path: PathBuf,
    /// Relative to the including file.
    pub(crate) short_name: String,
    /// The pattern that it matched.
    pub(crate) at: Span,
}

/// The files that match the patterns: in the order of the patterns, then by name, each once.
pub(crate) fn included_files(reader: &Reader<'_>, main: &Path, patterns: &[At<String>]) -> Vec<Included> {
    let folder = tidy(main.parent().unwrap_or(Path::new("")));
    if let Some(files) = reader.environment().includable(&folder) {
        return given_files(reader, (main, &folder), patterns, files);
    }
    let (Ok(root), Ok(main)) = (or_here(&folder).canonicalize(), main.canonicalize()) else { return Vec::new() };
    let mut search = Search { reader, folder, root, main, seen: HashSet::new(), found: Vec::new() };
    patterns.iter().for_each(|pattern| search.add_pattern(pattern));
    search.found
}

/// Of the files that are given, those that match, in the same order as those on a disk would be.
fn given_files(
    reader: &Reader<'_>,
    (main, folder): (&Path, &Path),
    patterns: &[At<String>],
    mut files: Vec<PathBuf>,
) -> Vec<Included> {
    let main = main.file_name().map(Path::new);
    files.sort_unstable();
    let mut found: Vec<Included> = Vec::new();
    for pattern in patterns {
        let Ok((parent, last)) = split(&pattern.value) else {
            reader.mark_incomplete();
            let message = format!("`{}` names no file", pattern.value);
            reader.report(Diagnostic::error(codes::INCLUDE, pattern.span, message));
            continue;
        };
        for relative in &files {
            let name = relative.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let hidden = name.starts_with('.') && !last.starts_with('.');
            let is_there = relative.parent() == Some(parent.as_path()) && !hidden && matches(last, name);
            let short_name = relative.display().to_string();
            if is_there && Some(relative.as_path()) != main && !found.iter().any(|each| each.short_name == short_name) {
                found.push(Included { path: folder.join(relative), short_name, at: pattern.span });
            }
        }
    }
    found
}

struct Search<'s> {
    reader: &'s Reader<'s>,
    /// As the operator wrote it, for messages.
    folder: PathBuf,
    /// The same without links.
    root: PathBuf,
    main: PathBuf,
    seen: HashSet<PathBuf>,
    found: Vec<Included>,
}

impl Search<'_> {
    fn add_pattern(&mut self, pattern: &At<String>) {
        let (parent, last) = match split(&pattern.value) {
            Ok(parts) => parts,
            Err(problem) => return self.refuse(pattern.span, problem, "write a path such as \"routes/*.toml\""),
        };
        if !last.contains('*') {
            return self.add_file(&parent.join(last), pattern.span);
        }
        let mut names = match matching_names(&self.folder.join(&parent), last) {
            Ok(names) => names,
            Err(error) => {
                return self.refuse(pattern.span, format!("cannot list `{}`: {error}", parent.display()), "");
            }
        };
        names.sort_unstable();
        if names.is_empty() {
            let message = format!("`{}` matches no file", pattern.value);
            self.reader.report(Diagnostic::warning(codes::NOTHING_INCLUDED, pattern.span, message));
        }
        names.iter().for_each(|name| self.add_file(&parent.join(name), pattern.span));
    }

    fn add_file(&mut self, relative: &Path, at: Span) {
        let path = self.folder.join(relative);
        let short_name = relative.display().to_string();
        let canonical = match path.canonicalize() {
            Ok(canonical) => canonical,
            Err(error) => {
                return self.refuse(
                    at,
                    format!("cannot read `{short_name}`: {error}"),
                    "a path is relative to this file",
                );
            }
        };
        if !canonical.starts_with(&self.root) {
            let message = format!("`{short_name}` leads out of the folder of this file");
            return self.refuse(at, message, "move the file into the folder");
        }
        if canonical == self.main {
            return self.refuse(
                at,
                "this file includes itself".into(),
                "name a folder of its own, such as \"routes/*.toml\"",
            );
        }
        if !self.seen.insert(canonical) {
            return;
        }
        if self.found.len() >= MAX_FILES {
            return self.refuse(
                at,
                format!("more than {MAX_FILES} files are included"),
                "put several entries into one file",
            );
        }
        self.found.push(Included { path, short_name, at });
    }

    fn refuse(&self, at: Span, message: String, help: &str) {
        self.reader.mark_incomplete();
        let diagnostic = Diagnostic::error(codes::INCLUDE, at, message);
        self.reader.report(if help.is_empty() { diagnostic } else { diagnostic.with_help(help) });
    }
}

/// The folder and the last part of a pattern, or why it is refused.
fn split(pattern: &str) -> Result<(PathBuf, &str), String> {
    let path = Path::new(pattern);
    if path.is_absolute() {
        return Err(format!("`{pattern}` is absolute: files are included from the folder of this file alone"));
    }
    if path.components().any(|part| matches!(part, Component::ParentDir)) {
        return Err(format!("`{pattern}` holds `..`: files are included from the folder of this file alone"));
    }
    let (parent, last) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    if last.is_empty() || last == "." || pattern.contains('\0') {
        return Err(format!("`{pattern}` names no file"));
    }
    if parent.contains('*') {
        return Err(format!("`{pattern}`: `*` stands only in the last part of the path"));
    }
    Ok((tidy(Path::new(parent)), last))
}

/// The folder of the process has an empty path, which no system call takes.
fn or_here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// The names in a folder that match, without hidden ones: editors leave those behind. A folder that does not exist has none.
fn matching_names(folder: &Path, pattern: &str) -> std::io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(or_here(folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is not UTF-8 cannot be written in a pattern, so it matches none.
        let Ok(name) = entry?.file_name().into_string() else { continue };
        let hidden = name.starts_with('.') && !pattern.starts_with('.');
        if !hidden && matches(pattern, &name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Whether a name matches a pattern in which `*` is any run of characters.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        // The earliest place leaves the most for the others.
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or("");
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_run_of_characters() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        };
        check("*.toml", "a.toml", true);
        check("*.toml", ".toml", true);
        check("*.toml", "a.toml.bak", false);
        check("a*b*c", "abc", true);
        check("a*b*c", "aXbYbZc", true);
        check("a*b*c", "acb", false);
        check("ab*ba", "aba", false);
        check("**", "anything", true);
        check("a.toml", "a.toml", true);
        check("a.toml", "b.toml", false);
    }

    #[test]
    fn a_pattern_stays_below_the_folder() {
        let check = |pattern: &str, expected: bool| assert_eq!(split(pattern).is_ok(), expected, "{pattern}");
        check("routes/*.toml", true);
        check("a.toml", true);
        check("a/b/c*.toml", true);
        for bad in ["../a.toml", "a/../../b.toml", "/etc/a.toml", "*/a.toml", "routes/", "", ".", "a/.."] {
            check(bad, false);
        }
    }
}
