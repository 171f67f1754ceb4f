//! `cargo xtask release`: the program with the slow optimisations of the `dist` profile, and, where that is asked for, laid out by how
//! it is really run.
//!
//! Guided by a profile, the compiler knows which branches a request takes, and puts them next to each other. The profile is gathered
//! from the benchmark's own load ([benches/peers/compare.py](../../benches/peers/compare.py)): forwarded requests in plain text, over
//! TLS and HTTP/2, with and without a token, small and large, and refusals with their events. It needs `llvm-profdata` of the very
//! compiler that builds (`rustup component add llvm-tools`), and what that script needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::step::{self, Failure, cargo};

/// What the program is run with while its profile is gathered.
const SCENARIOS: &[&str] = &["plain", "jwt", "deny", "tls", "tlsnew", "h2", "16k", "1m"];

/// Builds `target/dist/portcullis`; guided, from a profile that is gathered before.
///
/// # Errors
/// Says which build or run failed, or what is missing.
pub(crate) fn run(guided: bool) -> Result<(), Failure> {
    if !guided {
        return step::run(cargo().args(["build", "--locked", "--package", "portcullis", "--profile", "dist"]));
    }
    let host = host()?;
    let profdata = profdata(&host)?;
    let folder = step::root().join("target").join("guided");
    let (raw, merged) = (folder.join("raw"), folder.join("merged.profdata"));
    if raw.exists() {
        // What another version of the code gathered would mislead.
        fs::remove_dir_all(&raw)?;
    }
    fs::create_dir_all(&raw)?;
    let instrumented = build(&host, &folder, &format!("-Cprofile-generate={}", raw.display()))?;
    step::run(Command::new("python3").arg("benches/peers/compare.py").arg(instrumented).args(SCENARIOS).args([
        "--peers",
        "",
        "--rounds",
        "2",
        "--seconds",
        "2",
    ]))?;
    step::run(Command::new(profdata).arg("merge").arg("-o").arg(&merged).arg(&raw))?;
    let built = build(&host, &folder, &format!("-Cprofile-use={}", merged.display()))?;
    let place = step::root().join("target").join("dist").join("portcullis");
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(built, &place)?;
    println!("built {}", place.display());
    Ok(())
}

/// Builds with these flags of the compiler. The target is named so that they are not for build scripts, too.
fn build(host: &str, folder: &Path, flags: &str) -> Result<PathBuf, Failure> {
    let build = ["build", "--locked", "--package", "portcullis", "--profile", "dist", "--target", host];
    step::run(cargo().args(build).env("RUSTFLAGS", flags).env("CARGO_TARGET_DIR", folder))?;
    Ok(folder.join(host).join("dist").join("portcullis"))
}

/// The triple of the machine that builds.
fn host() -> Result<String, Failure> {
    let version = said(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failure("rustc does not say which machine it runs on".to_owned()))
}

/// The compiler's own `llvm-profdata`: that of another version does not read its profiles.
fn profdata(host: &str) -> Result<PathBuf, Failure> {
    let sysroot = said(Command::new("rustc").args(["--print", "sysroot"]))?;
    let program = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin/llvm-profdata");
    if program.exists() {
        return Ok(program);
    }
    Err(Failure("llvm-profdata of this compiler is missing (rustup component add llvm-tools)".to_owned()))
}

/// What a program prints.
fn said(command: &mut Command) -> Result<String, Failure> {
    let output = command.current_dir(step::root()).output()?;
    if !output.status.success() {
        return Err(Failure(format!("{command:?} failed")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_gathered_from_scenarios_that_there_are() {
        let script = fs::read_to_string(step::root().join("benches/peers/compare.py")).unwrap();
        let known = script.lines().find_map(|line| line.strip_prefix("SCENARIOS = (")).unwrap();
        for scenario in SCENARIOS {
            assert!(known.contains(&format!("\"{scenario}\"")), "{scenario}: {known}");
        }
    }

    #[test]
    fn the_compiler_says_its_host() {
        assert!(host().unwrap().contains('-'));
    }
}
