//! Case files: what a policy is expected to answer, as data. They are read as strictly as the configuration is, and take no part
//! in it: no `include` of a configuration names them, and nothing is served from them.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use portcullis_events::ReasonCode;
use portcullis_policy::{Outcome, StatedFacts};

use crate::codes;
use crate::diagnostics::{Diagnostic, Position, Report, Span};
use crate::environment::Environment;
use crate::file::read_case_file;
use crate::section::Reader;

/// At most this many cases are read from all files of one run.
pub(crate) const MAX_CASES: usize = 100_000;
/// At most this many files are read in one run.
const MAX_FILES: usize = 10_000;

/// One file of cases; it has at least one.
#[derive(Debug, Clone)]
pub struct CaseFile {
    /// As it was named, or found in a folder that was named.
    pub path: PathBuf,
    /// In the order of the file.
    pub cases: Vec<Case>,
}

/// One `[[case]]`, the `[defaults]` of its file filled in.
#[derive(Debug, Clone)]
pub struct Case {
    /// Unique in its file.
    pub name: String,
    /// Where it begins.
    pub at: Position,
    /// The method: a token.
    pub method: String,
    /// A URL of `http` or `https`, or a path.
    pub url: String,
    /// What is supposed.
    pub facts: StatedFacts,
    /// `expect`
    pub outcome: Expected<Outcome>,
    /// `reason`; never for a permit.
    pub reason: Option<Expected<ReasonCode>>,
    /// `rule`: the name of the rule that decides.
    pub rule: Option<Expected<String>>,
    /// `status`; never for a permit.
    pub status: Option<Expected<u16>>,
    /// `nearest`: what one suggestion needs, all of it; empty: there is no suggestion. Never for a permit.
    pub nearest: Option<Expected<BTreeSet<String>>>,
    /// `shadow`: whether some rule in shadow mode would have decided otherwise.
    pub shadow: Option<Expected<bool>>,
    /// `skip`: why it is not asked.
    pub skip: Option<String>,
}

/// What is expected, and where that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected<T> {
    /// The value.
    pub value: T,
    /// Its place in the case file.
    pub at: Position,
}

/// Reads case files. A folder stands for every `*.toml` directly in it, by name, without hidden ones. A file that is named twice
/// is read once.
///
/// # Errors
/// A report of all problems of all files. A file or folder without a case is one: nothing tested must not look like all is well.
pub fn load_cases(paths: &[PathBuf], environment: &dyn Environment) -> Result<Vec<CaseFile>, Report> {
    let reader = Reader::new(environment);
    let mut files = Vec::new();
    let mut left = MAX_CASES;
    for path in case_files(&reader, paths) {
        if let Some(cases) = read_case_file(&reader, &path, &mut left) {
            files.push(CaseFile { path, cases });
        }
    }
    let report = Report::new(reader.sources.into_inner(), reader.diagnostics.into_inner());
    if report.errors() == 0 { Ok(files) } else { Err(report) }
}

fn case_files(reader: &Reader<'_>, paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut seen = HashSet::new();
    let mut files = Vec::new();
    for path in paths {
        let found = if path.is_dir() { files_in(reader, path) } else { vec![path.clone()] };
        for file in found {
            // What cannot be found under its own name is reported when it is read.
            if seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone())) {
                files.push(file);
            }
        }
    }
    if let Some(file) = files.get(MAX_FILES) {
        report_on(reader, file, format!("more than {MAX_FILES} case files"), "test fewer in one run");
        files.truncate(MAX_FILES);
    }
    files
}

fn files_in(reader: &Reader<'_>, folder: &Path) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            report_on(reader, folder, format!("cannot list the folder: {error}"), "name the case files themselves");
            return Vec::new();
        }
    };
    let is_case_file = |path: &PathBuf| {
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        !hidden && path.extension().is_some_and(|extension| extension == "toml") && path.is_file()
    };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_case_file).collect();
    files.sort();
    if files.is_empty() {
        let help = "a folder stands for the `*.toml` directly in it, not for those in folders below";
        report_on(reader, folder, "there is no case file in this folder".to_owned(), help);
    }
    files
}

/// Reports what is wrong with a file or folder as a whole.
fn report_on(reader: &Reader<'_>, path: &Path, message: String, help: &str) {
    let source = reader.add_source(path, &path.display().to_string(), "".into());
    let span = Span { source, start: 0, end: 0 };
    reader.report(Diagnostic::error(codes::NO_CASE, span, message).with_help(help));
}
