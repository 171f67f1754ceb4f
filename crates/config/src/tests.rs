//! Tests over whole configurations, each in a folder of its own.

mod alerts;
mod assertion;
mod audit;
mod bad_gateway;
mod bad_policy;
mod bad_providers;
mod bounds;
mod cases;
mod checkpoint;
mod defaults;
mod directories;
mod feeds;
mod geo;
mod governed;
mod includes;
mod listeners;
mod logins;
mod many_mistakes;
mod mfa;
mod passwords;
mod problem_pages;
mod robustness;
mod routes;
mod samples;
mod schema;
mod sinks;
mod suggestions;
mod validator;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{Environment, Loaded, Report, load};

/// The least gateway file.
const GATEWAY: &str = r#"version = 1
[[listener]]
name = "internal"
address = "127.0.0.1:8080"
[[upstream]]
name = "billing"
endpoints = ["http://127.0.0.1:9001"]
[[route]]
name = "billing"
upstream = "billing"
"#;

/// How many lines it has: what is appended begins on the next one.
const GATEWAY_LINES: usize = 10;

/// The least policy file.
const POLICY: &str = "version = 1\n";

/// A folder with configuration files.
struct Folder {
    folder: tempfile::TempDir,
    environment: BTreeMap<String, String>,
}

impl Folder {
    /// The least configuration.
    fn new() -> Self {
        let folder = Self { folder: tempfile::tempdir().unwrap(), environment: BTreeMap::new() };
        folder.write("portcullis.toml", GATEWAY);
        folder.write("policy.toml", POLICY);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn load(&self) -> Result<Loaded, Report> {
        load(&self.path("portcullis.toml"), &self.environment)
    }

    /// Loads, and panics with the report where there is an error.
    fn loaded(&self) -> Loaded {
        self.load().unwrap_or_else(|report| panic!("{}", report.render_human(false)))
    }

    /// What is wrong: code, `file:line:column`, and the message followed by the remedy.
    fn problems(&self) -> Vec<(&'static str, String, String)> {
        match self.load() {
            Ok(loaded) => self.listed(&loaded.warnings),
            Err(report) => self.listed(&report),
        }
    }

    fn listed(&self, report: &Report) -> Vec<(&'static str, String, String)> {
        let root = format!("{}/", self.folder.path().display());
        let place = |diagnostic: &crate::Diagnostic| {
            let position = report.position(diagnostic.primary);
            let file = report.file(diagnostic.primary).replace(&root, "");
            format!("{file}:{}:{}", position.line, position.column)
        };
        let text = |diagnostic: &crate::Diagnostic| {
            format!("{} | {}", diagnostic.message, diagnostic.help.as_deref().unwrap_or("no remedy")).replace(&root, "")
        };
        report.diagnostics().map(|each| (each.code, place(each), text(each))).collect()
    }

    /// The problems are exactly these: code, `file:line:column`, and a part of the message or the remedy.
    fn check(&self, case: &str, expected: &[(&str, &str, &str)]) {
        let found = self.problems();
        let fits = found.len() == expected.len()
            && found.iter().zip(expected).all(|((code, place, text), (wanted_code, wanted_place, fragment))| {
                code == wanted_code && place == wanted_place && text.contains(fragment)
            });
        assert!(fits, "{case}\nexpected {expected:#?}\nfound {found:#?}");
        schema::agrees(self, &found);
    }
}

/// Checks one problem in what is appended to the least gateway file; the line counts from the appended text.
fn check_gateway(appended: &str, expected: (&str, usize, usize, &str)) {
    let folder = Folder::new();
    folder.write("portcullis.toml", format!("{GATEWAY}{appended}"));
    let (code, line, column, fragment) = expected;
    let place = format!("portcullis.toml:{}:{column}", GATEWAY_LINES + line);
    folder.check(appended, &[(code, &place, fragment)]);
}

/// Checks one problem in what follows `version = 1` in the policy file; the line counts from the appended text.
fn check_policy(appended: &str, expected: (&str, usize, usize, &str)) {
    let folder = Folder::new();
    folder.write("policy.toml", format!("{POLICY}{appended}"));
    let (code, line, column, fragment) = expected;
    folder.check(appended, &[(code, &format!("policy.toml:{}:{column}", line + 1), fragment)]);
}

/// Loads one of the configurations that are shipped.
fn load_shipped(name: &str) -> Loaded {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config").join(name).join("portcullis.toml");
    let nothing: BTreeMap<String, String> = BTreeMap::new();
    load(&path, &nothing as &dyn Environment).unwrap_or_else(|report| panic!("{}", report.render_human(false)))
}
