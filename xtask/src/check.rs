//! `cargo xtask check`: everything that can be said about the code without running it.
//!
//! It stops at the first step that fails: clippy on code that does not compile only repeats what was said.

use std::process::Command;

use crate::layering;
use crate::step::{self, Failure, cargo};
use crate::tools::CARGO_DENY;

/// Runs all steps in order.
pub(crate) fn run(may_install: bool) -> Result<(), Failure> {
    step::run(cargo().args(["fmt", "--all", "--check"]))?;
    layering::check()?;
    step::run(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    let kafka = [
        "clippy",
        "-p",
        "portcullis-events",
        "--features",
        "kafka",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ];
    step::run(cargo().args(kafka))?;
    step::run(cargo().args(["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    // Advisories are not checked here: their database lies in a git repository that a closed network does not reach.
    let deny = CARGO_DENY.find(may_install)?;
    step::run(Command::new(deny).args(["deny", "--locked", "check", "bans", "licenses", "sources"]))
}
