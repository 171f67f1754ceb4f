//! `cargo xtask test`: every test of the workspace, against the real components that they need.
//!
//! All tests run even when some fail, and the last line printed is `N passed, N failed`, summed over the runners' own
//! summaries. A run in which no test passed fails: a runner that found nothing proves nothing.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::step::{self, Failure, cargo};
use crate::summary::{Runner, Tally};
use crate::tools;

/// Installs what is missing where allowed, runs the tests, prints the tally.
pub(crate) fn run(may_install: bool) -> Result<(), Failure> {
    let components = tools::components(may_install)?;
    let packages = tools::packages(may_install)?;
    let mounts = can_mount();
    let started = Instant::now();
    let mut tally = Tally::default();
    let mut run = |runner: Runner, command: &mut Command| {
        for (component, path) in tools::COMPONENTS.iter().zip(&components) {
            command.env(component.variable, path);
        }
        for (package, path) in tools::PACKAGES.iter().zip(&packages) {
            command.env(package.variable, path);
        }
        if mounts {
            command.env(DEMAND_ALL, "1");
        }
        step::run_reading(command, |line| tally.read(runner, line))
    };
    let (runner, mut command) = tests();
    let tests = run(runner, &mut command);
    // What the default build leaves out.
    let (runner, mut command) = tests_of_features();
    let features = run(runner, &mut command);
    // nextest does not run documentation tests, and `cargo test` was told not to.
    let documentation =
        run(Runner::Libtest, cargo().args(["test", "--doc", "--workspace", "--locked", "--no-fail-fast"]));

    if !mounts {
        println!("NOT RUN: the test on a full disk, since no file system can be mounted here (`unshare -rm`)");
    }
    eprintln!("==> tests took {:.1} s", started.elapsed().as_secs_f64());
    println!("{tally}");
    tests.and(features).and(documentation)?;
    if tally.failed > 0 {
        return Err(Failure(format!("{} tests failed", tally.failed)));
    }
    if tally.passed == 0 {
        return Err(Failure("no test passed: the runners' summaries were not found or are empty".to_owned()));
    }
    Ok(())
}

/// Where it is set, a test that the system does not let run fails.
const DEMAND_ALL: &str = "PORTCULLIS_DEMAND_ALL_TESTS";

/// Whether a process may mount a file system that it alone sees: a disk that is full is made so.
fn can_mount() -> bool {
    let mount = "mount -t tmpfs -o size=4m portcullis /tmp";
    let tried = Command::new("unshare").args(["-rm", "sh", "-c", mount]).output();
    tried.is_ok_and(|output| output.status.success())
}

/// nextest where it is installed: it runs the tests of all packages side by side and each in its own process.
fn tests() -> (Runner, Command) {
    let mut command = cargo();
    if tools::on_path("cargo-nextest").is_some_and(|program| works(&program)) {
        command.args(["nextest", "run", "--workspace", "--locked", "--no-fail-fast"]);
        command.arg(format!("--test-threads={}", side_by_side()));
        (Runner::Nextest, command)
    } else {
        // Not --all-targets, which would also run the benches.
        command.args(["test", "--workspace", "--locked", "--no-fail-fast", "--lib", "--bins", "--tests", "--examples"]);
        (Runner::Libtest, command)
    }
}

/// How many tests run at a time: twice as many as there are processors, since the tests of the whole program mostly wait for servers and for
/// deadlines. Those that compute for long say in `.config/nextest.toml` that they take the place of two.
fn side_by_side() -> usize {
    std::thread::available_parallelism().map_or(2, |processors| processors.get() * 2)
}

/// The tests of what is only built with a feature.
fn tests_of_features() -> (Runner, Command) {
    let what = ["-p", "portcullis-events", "--features", "kafka", "--lib", "--locked", "--no-fail-fast", "kafka"];
    let mut command = cargo();
    if tools::on_path("cargo-nextest").is_some_and(|program| works(&program)) {
        command.args(["nextest", "run"]).args(what);
        (Runner::Nextest, command)
    } else {
        command.arg("test").args(what);
        (Runner::Libtest, command)
    }
}

fn works(nextest: &Path) -> bool {
    // Run by hand it takes its own name first, as cargo would pass it.
    Command::new(nextest).args(["nextest", "--version"]).output().is_ok_and(|output| output.status.success())
}
