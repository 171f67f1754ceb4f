//! `cargo xtask bench`: instructions instead of seconds, so that a regression shows on any machine, however busy.
//!
//! Each benchmark has its limits beside it; over one, gungraun fails and so does this verb.

use std::env;

use crate::step::{self, Failure, cargo};
use crate::tools::{self, GUNGRAUN_RUNNER};

/// Counts.
///
/// # Errors
/// Says what is missing and could not be installed, and fails when a benchmark is over its limit.
pub(crate) fn run(may_install: bool) -> Result<(), Failure> {
    let valgrind = tools::valgrind(may_install)?;
    let runner = GUNGRAUN_RUNNER.find(may_install)?;
    // The runner looks for valgrind on the search path.
    let folder = valgrind.parent().map(std::path::Path::to_owned);
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(folder.into_iter().chain(env::split_paths(&path)))?;
    step::run(
        cargo()
            .args(["bench", "--locked", "--package", "portcullis-policy", "--bench", "decision"])
            .env("GUNGRAUN_RUNNER", runner)
            .env("PATH", path),
    )
}
