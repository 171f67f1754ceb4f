//! `cargo xtask fuzz`: each fuzz target for a while, guided by coverage, and no crash.
//!
//! The bodies of the targets run as property tests with every `cargo xtask test`; this searches longer and deeper. Without
//! a sanitizer it works with the stable compiler: the code is free of `unsafe`, so panics and time are what is to be found.

use std::fs;

use crate::step::{self, Failure, cargo};
use crate::tools;

/// How long each target runs by default.
pub(crate) const SECONDS: u32 = 60;

/// The cargo-fuzz that is known to work with the stable compiler.
const CARGO_FUZZ_VERSION: &str = "0.13.2";

/// Runs one target, or all of them one after the other.
///
/// # Errors
/// Says how to install cargo-fuzz where it is missing, which targets there are where there is none of that name, and which
/// target found something.
pub(crate) fn run(target: Option<&str>, seconds: u32) -> Result<(), Failure> {
    let known = targets()?;
    if let Some(unknown) = target.filter(|target| !known.iter().any(|known| known == target)) {
        return Err(Failure(format!("there is no fuzz target `{unknown}`: there are {}", known.join(", "))));
    }
    if tools::on_path("cargo-fuzz").is_none() {
        return Err(Failure(format!(
            "cargo-fuzz is missing (cargo install cargo-fuzz --version {CARGO_FUZZ_VERSION} --locked)"
        )));
    }
    let mut failed = Vec::new();
    for name in known.iter().filter(|known| target.is_none_or(|target| target == known.as_str())) {
        let limits =
            [format!("-max_total_time={seconds}"), "-timeout=10".to_owned(), "-report_slow_units=1".to_owned()];
        let outcome = step::run(
            cargo()
                .args(["fuzz", "run", "--sanitizer", "none", "--fuzz-dir", "fuzz", name, "--"])
                .args(limits)
                .args(["-rss_limit_mb=2048", "-print_final_stats=1"]),
        );
        if outcome.is_err() {
            failed.push(name.as_str());
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure(format!("fuzzing found something in: {}", failed.join(", ")))) }
}

/// The targets by name: each is a file in `fuzz/fuzz_targets`.
fn targets() -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for entry in fs::read_dir(step::root().join("fuzz").join("fuzz_targets"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_declared_and_has_seeds() {
        let manifest = fs::read_to_string(step::root().join("fuzz/Cargo.toml")).unwrap();
        let names = targets().unwrap();
        assert!(names.len() >= 6, "{names:?}");
        assert_eq!(manifest.matches("[[bin]]").count(), names.len());
        for name in names {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in fuzz/Cargo.toml");
            let seeds = fs::read_dir(step::root().join("fuzz/corpus").join(&name)).unwrap().count();
            assert!(seeds > 0, "{name} has no seeds");
        }
    }

    #[test]
    fn an_unknown_target_is_told_what_there_is() {
        let Err(Failure(reason)) = run(Some("nothing"), 1) else { panic!("there is such a target") };
        assert!(reason.contains("no fuzz target `nothing`") && reason.contains("policy_loader"), "{reason}");
    }
}
