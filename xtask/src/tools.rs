//! Finds the programs that `check` and `test` need, and installs what is missing where that is allowed.
//!
//! What is missing and must not or cannot be installed is named, with the command that installs it; nothing is skipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::step::{self, Failure, cargo};

/// The cargo-deny that `deny.toml` was written for.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// A program that tests start as a real peer of the gateway.
pub(crate) struct Component {
    /// What it is called on the command line.
    program: &'static str,
    /// The variable that tells the tests where it is; set by a person, it is taken as given.
    pub(crate) variable: &'static str,
    /// The Debian package that holds it.
    package: &'static str,
}

/// All components; a test that needs another one adds its line here.
pub(crate) const COMPONENTS: &[Component] = &[
    Component { program: "nginx", variable: "PORTCULLIS_NGINX", package: "nginx" },
    Component { program: "node", variable: "PORTCULLIS_NODE", package: "nodejs" },
    Component { program: "python3", variable: "PORTCULLIS_PYTHON", package: "python3" },
];

/// The path of each component, in the order of [`COMPONENTS`].
///
/// # Errors
/// Names every component that is missing and what installs it.
pub(crate) fn components(may_install: bool) -> Result<Vec<PathBuf>, Failure> {
    let missing = missing()?;
    if !missing.is_empty() {
        let packages: Vec<&str> = missing.iter().map(|component| component.package).collect();
        if !may_install {
            return Err(Failure(format!("{}; installing was forbidden", what_to_do(&missing))));
        }
        if !is_root() {
            return Err(Failure(format!("{}; installing needs root", what_to_do(&missing))));
        }
        apt_get(&["update", "--quiet"])
            .and_then(|()| {
                apt_get(&[&["install", "--quiet", "--yes", "--no-install-recommends"], packages.as_slice()].concat())
            })
            .map_err(|Failure(reason)| Failure(format!("{}; installing failed: {reason}", what_to_do(&missing))))?;
    }
    COMPONENTS.iter().map(|component| locate(component)?.ok_or_else(|| Failure(what_to_do(&[component])))).collect()
}

fn missing() -> Result<Vec<&'static Component>, Failure> {
    let mut missing = Vec::new();
    for component in COMPONENTS {
        if locate(component)?.is_none() {
            missing.push(component);
        }
    }
    Ok(missing)
}

/// Where `component` is, or `None` when it is not installed. A variable that points nowhere is an error: whoever set it
/// wanted that very program.
fn locate(component: &Component) -> Result<Option<PathBuf>, Failure> {
    match std::env::var_os(component.variable).filter(|value| !value.is_empty()) {
        None => Ok(on_path(component.program)),
        Some(given) if Path::new(&given).is_file() => Ok(Some(PathBuf::from(given))),
        Some(given) => Err(Failure(format!("{} is {}, which is no file", component.variable, given.display()))),
    }
}

fn what_to_do(missing: &[&Component]) -> String {
    let programs: Vec<&str> = missing.iter().map(|component| component.program).collect();
    let packages: Vec<&str> = missing.iter().map(|component| component.package).collect();
    format!(
        "missing for the tests: {} (as root: apt-get install --no-install-recommends {})",
        programs.join(", "),
        packages.join(" ")
    )
}

fn apt_get(arguments: &[&str]) -> Result<(), Failure> {
    step::run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// The path of a cargo-deny of the wanted version: on the search path, or in `target/tools`, or installed there now.
///
/// # Errors
/// Says what is missing when there is none and `may_install` is false or the installation fails.
pub(crate) fn cargo_deny(may_install: bool) -> Result<PathBuf, Failure> {
    let tools = step::root().join("target").join("tools");
    let own = tools.join("bin").join("cargo-deny");
    let found = on_path("cargo-deny").into_iter().chain([own.clone()]).find(|program| is_wanted_deny(program));
    if let Some(found) = found {
        return Ok(found);
    }
    let missing = format!(
        "cargo-deny {CARGO_DENY_VERSION} is missing (cargo install cargo-deny --version {CARGO_DENY_VERSION} --locked)"
    );
    if !may_install {
        return Err(Failure(format!("{missing}; installing was forbidden")));
    }
    // Without optimisation it builds in a tenth of the time, and this workspace takes it two seconds.
    let build = tools.join("build");
    let installed = step::run(
        cargo()
            .args(["install", "cargo-deny", "--version", CARGO_DENY_VERSION, "--locked", "--debug", "--root"])
            .arg(&tools)
            .env("CARGO_TARGET_DIR", &build)
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_INCREMENTAL", "0"),
    );
    // Only the program is kept; a leftover costs nothing but disk.
    drop(std::fs::remove_dir_all(&build));
    installed.map_err(|Failure(reason)| Failure(format!("{missing}; installing it failed: {reason}")))?;
    if is_wanted_deny(&own) {
        return Ok(own);
    }
    Err(Failure(format!("{missing}; what was installed at {} does not say that it is that version", own.display())))
}

fn is_wanted_deny(program: &Path) -> bool {
    says(program, "--version").is_some_and(|said| said.trim() == format!("cargo-deny {CARGO_DENY_VERSION}"))
}

/// What `program` prints when it is given one argument; `None` when it is not there or fails.
pub(crate) fn says(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first `program` on the search path. `/usr/sbin` and `/sbin` are searched too: Debian keeps servers there, and a
/// person's path leaves them out.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_on_the_path_and_a_missing_one_is_not() {
        assert!(on_path("sh").is_some());
        assert_eq!(on_path("no-such-program-anywhere"), None);
    }

    #[test]
    fn only_the_pinned_version_of_cargo_deny_will_do() {
        // `echo --version` prints no version of cargo-deny; a missing program prints nothing.
        assert!(!is_wanted_deny(Path::new("/bin/echo")));
        assert!(!is_wanted_deny(Path::new("/no/such/program")));
    }

    #[test]
    fn what_is_missing_is_named_with_what_installs_it() {
        let component = Component { program: "some-server", variable: "X", package: "some-package" };
        let said = what_to_do(&[&component]);
        assert!(
            said.contains("some-server") && said.contains("apt-get install --no-install-recommends some-package"),
            "{said}"
        );
    }
}
