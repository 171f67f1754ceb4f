//! Finds the programs that `check` and `test` need, and installs what is missing where that is allowed.
//!
//! What is missing and must not or cannot be installed is named, with the command that installs it; nothing is skipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::step::{self, Failure, cargo};

/// The cargo-deny that `deny.toml` was written for.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// The gungraun of the workspace's benchmarks.
const GUNGRAUN_VERSION: &str = "0.20.0";

/// A program that tests start as a real peer of the gateway.
pub(crate) struct Component {
    /// What it is called on the command line.
    program: &'static str,
    /// The variable that tells the tests where it is; set by a person, it is taken as given.
    pub(crate) variable: &'static str,
    /// The Debian package that holds it; several where it needs them, with a space between.
    package: &'static str,
}

/// All components; a test that needs another one adds its line here.
pub(crate) const COMPONENTS: &[Component] = &[
    Component { program: "nginx", variable: "PORTCULLIS_NGINX", package: "nginx" },
    Component { program: "node", variable: "PORTCULLIS_NODE", package: "nodejs" },
    Component { program: "curl", variable: "PORTCULLIS_CURL", package: "curl" },
    Component { program: "nghttp", variable: "PORTCULLIS_NGHTTP", package: "nghttp2-client" },
    Component { program: "openssl", variable: "PORTCULLIS_OPENSSL", package: "openssl" },
    Component { program: "etcd", variable: "PORTCULLIS_ETCD", package: "etcd-server" },
    Component { program: "etcdctl", variable: "PORTCULLIS_ETCDCTL", package: "etcd-client" },
    Component { program: "promtool", variable: "PORTCULLIS_PROMTOOL", package: "prometheus" },
    Component { program: "rsyslogd", variable: "PORTCULLIS_RSYSLOGD", package: "rsyslog rsyslog-openssl" },
    Component { program: "unshare", variable: "PORTCULLIS_UNSHARE", package: "util-linux" },
    Component { program: "prlimit", variable: "PORTCULLIS_PRLIMIT", package: "util-linux" },
    Component { program: "python3", variable: "PORTCULLIS_PYTHON", package: "python3" },
    Component { program: "slapd", variable: "PORTCULLIS_SLAPD", package: "slapd" },
    Component { program: "ldapadd", variable: "PORTCULLIS_LDAPADD", package: "ldap-utils" },
    Component { program: "ldapmodify", variable: "PORTCULLIS_LDAPMODIFY", package: "ldap-utils" },
    Component { program: "chromium", variable: "PORTCULLIS_CHROMIUM", package: "chromium" },
    Component { program: "aiosmtpd", variable: "PORTCULLIS_AIOSMTPD", package: "python3-aiosmtpd" },
];

/// Runs the benchmarks that count instructions.
const VALGRIND: Component = Component { program: "valgrind", variable: "PORTCULLIS_VALGRIND", package: "valgrind" };

/// What npm installs for tests, at the one version that they were written for.
pub(crate) struct Package {
    name: &'static str,
    version: &'static str,
    /// The variable that tells the tests in which folder it is.
    pub(crate) variable: &'static str,
}

/// A real OpenID Connect provider.
const OIDC_PROVIDER: Package =
    Package { name: "oidc-provider", version: "9.13.3", variable: "PORTCULLIS_OIDC_PROVIDER" };

/// What drives a real browser.
const PLAYWRIGHT: Package = Package { name: "playwright-core", version: "1.65.1", variable: "PORTCULLIS_PLAYWRIGHT" };

/// The OASIS schema of SARIF, with a validator.
const SARIF_SCHEMA: Package =
    Package { name: "@microsoft/jest-sarif", version: "1.0.0-beta.0", variable: "PORTCULLIS_SARIF_SCHEMA" };

/// The schemas of OpenAPI, with a validator.
const OPENAPI_SCHEMA: Package =
    Package { name: "@seriousme/openapi-schema-validator", version: "2.11.0", variable: "PORTCULLIS_OPENAPI_SCHEMA" };

/// All of them.
pub(crate) const PACKAGES: [Package; 4] = [OIDC_PROVIDER, PLAYWRIGHT, SARIF_SCHEMA, OPENAPI_SCHEMA];

/// Installs packages; comes with Node from its makers, and is a package of its own in Debian.
const NPM: Component = Component { program: "npm", variable: "PORTCULLIS_NPM", package: "npm" };

impl Package {
    /// The folder that holds this package in this version: named by a person, or in `target/tools`, or installed there now.
    ///
    /// # Errors
    /// Says what is missing when there is none and `may_install` is false or the installation fails.
    pub(crate) fn find(&self, may_install: bool) -> Result<PathBuf, Failure> {
        let Self { name, version, variable } = self;
        if let Some(given) = std::env::var_os(variable).filter(|value| !value.is_empty()) {
            return Ok(PathBuf::from(given));
        }
        let home = step::root().join("target").join("tools").join("npm");
        let modules = home.join("node_modules");
        if self.is_in(&modules) {
            return Ok(modules);
        }
        let missing = format!("{name} {version} is missing (npm install --prefix {} {name}@{version})", home.display());
        if !may_install {
            return Err(Failure(format!("{missing}; installing was forbidden")));
        }
        find_or_install(&[NPM], may_install)?;
        let npm = locate(&NPM)?.ok_or_else(|| Failure(what_to_do(&[&NPM])))?;
        std::fs::create_dir_all(&home).map_err(|error| Failure(format!("{missing}: {error}")))?;
        let installed = step::run(
            Command::new(npm)
                .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
                .arg(&home)
                .arg(format!("{name}@{version}")),
        );
        installed.map_err(|Failure(reason)| Failure(format!("{missing}; installing it failed: {reason}")))?;
        if self.is_in(&modules) {
            return Ok(modules);
        }
        Err(Failure(format!("{missing}; what npm installed is not that version")))
    }

    fn is_in(&self, modules: &Path) -> bool {
        let manifest = modules.join(self.name).join("package.json");
        std::fs::read_to_string(manifest).is_ok_and(|text| text.contains(&format!("\"version\": \"{}\"", self.version)))
    }
}

/// Where each package is, in the order of [`PACKAGES`].
///
/// # Errors
/// Says which is missing.
pub(crate) fn packages(may_install: bool) -> Result<Vec<PathBuf>, Failure> {
    PACKAGES.iter().map(|package| package.find(may_install)).collect()
}

/// The path of each component, in the order of [`COMPONENTS`].
///
/// # Errors
/// Names every component that is missing and what installs it.
pub(crate) fn components(may_install: bool) -> Result<Vec<PathBuf>, Failure> {
    find_or_install(COMPONENTS, may_install)?;
    COMPONENTS.iter().map(|component| locate(component)?.ok_or_else(|| Failure(what_to_do(&[component])))).collect()
}

/// Installs those of `wanted` that are missing, where that is allowed and possible.
fn find_or_install(wanted: &[Component], may_install: bool) -> Result<(), Failure> {
    let mut missing = Vec::new();
    for component in wanted {
        if locate(component)?.is_none() {
            missing.push(component);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().flat_map(|component| component.package.split(' ')).collect();
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
        .map_err(|Failure(reason)| Failure(format!("{}; installing failed: {reason}", what_to_do(&missing))))
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
        "missing: {} (as root: apt-get install --no-install-recommends {})",
        programs.join(", "),
        packages.join(" ")
    )
}

fn apt_get(arguments: &[&str]) -> Result<(), Failure> {
    step::run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// A program of cargo's that is built from source, at the one version that is known to fit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Built {
    /// The package, and the program that it installs.
    name: &'static str,
    version: &'static str,
    /// The cargo profile to build it in.
    profile: &'static str,
    /// Whether it says its version when asked; else only one of our own installing is trusted to have it.
    says_version: bool,
}

/// What judges licences, sources and bans. Without optimisation it builds in a tenth of the time, and this workspace takes it two seconds.
pub(crate) const CARGO_DENY: Built =
    Built { name: "cargo-deny", version: CARGO_DENY_VERSION, profile: "dev", says_version: true };

/// What runs the benchmarks under valgrind; it must be of the library's own version.
pub(crate) const GUNGRAUN_RUNNER: Built =
    Built { name: "gungraun-runner", version: GUNGRAUN_VERSION, profile: "dev", says_version: false };

impl Built {
    /// The path of this program in this very version: on the search path, or in `target/tools`, or installed there now.
    ///
    /// # Errors
    /// Says what is missing when there is none and `may_install` is false or the installation fails.
    pub(crate) fn find(self, may_install: bool) -> Result<PathBuf, Failure> {
        let Self { name, version, profile, .. } = self;
        let tools = step::root().join("target").join("tools");
        // A folder for each version, where the program cannot be asked.
        let home = if self.says_version { tools.clone() } else { tools.join(format!("{name}-{version}")) };
        let own = home.join("bin").join(name);
        let found = on_path(name).filter(|_| self.says_version).into_iter().chain([own.clone()]);
        if let Some(found) = found.into_iter().find(|program| self.is_at(program)) {
            return Ok(found);
        }
        let missing = format!("{name} {version} is missing (cargo install {name} --version {version} --locked)");
        if !may_install {
            return Err(Failure(format!("{missing}; installing was forbidden")));
        }
        let build = tools.join("build");
        let installed = step::run(
            cargo()
                .args(["install", name, "--version", version, "--locked", "--profile", profile, "--root"])
                .arg(&home)
                .env("CARGO_TARGET_DIR", &build)
                .env("CARGO_PROFILE_DEV_DEBUG", "0")
                .env("CARGO_INCREMENTAL", "0"),
        );
        // Only the program is kept; a leftover costs nothing but disk.
        drop(std::fs::remove_dir_all(&build));
        installed.map_err(|Failure(reason)| Failure(format!("{missing}; installing it failed: {reason}")))?;
        if self.is_at(&own) {
            return Ok(own);
        }
        Err(Failure(format!("{missing}; what was installed at {} does not say that it is that version", own.display())))
    }

    fn is_at(self, program: &Path) -> bool {
        if !self.says_version {
            return program.is_file();
        }
        says(program, "--version").is_some_and(|said| said.trim() == format!("{} {}", self.name, self.version))
    }
}

/// The path of valgrind, which counts instructions.
///
/// # Errors
/// Says what installs it where it is missing and must not or cannot be installed.
pub(crate) fn valgrind(may_install: bool) -> Result<PathBuf, Failure> {
    find_or_install(&[VALGRIND], may_install)?;
    locate(&VALGRIND)?.ok_or_else(|| Failure(what_to_do(&[&VALGRIND])))
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
        assert!(!CARGO_DENY.is_at(Path::new("/bin/echo")));
        assert!(!CARGO_DENY.is_at(Path::new("/no/such/program")));
    }

    #[test]
    fn the_runner_of_the_benchmarks_is_of_the_library_s_version() {
        let lock = std::fs::read_to_string(step::root().join("Cargo.lock")).unwrap();
        assert!(lock.contains(&format!("name = \"gungraun\"\nversion = \"{GUNGRAUN_VERSION}\"\n")));
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
