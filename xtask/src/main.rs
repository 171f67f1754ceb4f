//! `cargo xtask VERB`: what CI and people run. See `VERBS` for the verbs.
//!
//! It is compiled anew on each CI run, so it stays small: the standard library and `serde_json`. It runs other programs and
//! judges their exit status; it holds no rule of the product itself, except which crate may import which (`layering`).
//!
//! Exit status: 0 when everything passed, 1 when something failed or is missing, 2 on a usage error.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "talking to a terminal is what this program is for")]

mod bench;
mod check;
mod fuzz;
mod layering;
mod release;
mod step;
mod summary;
mod test;
mod tools;

use std::process::ExitCode;

use step::Failure;

/// The verbs, as `cargo xtask help` lists them.
const VERBS: &str = "\
usage: cargo xtask VERB [OPTIONS]

verbs:
  check   formatting, clippy and rustdoc with warnings denied, which crate imports which, and cargo-deny
            --offline       use what is installed: do not install cargo-deny
  test    every test of the workspace, documentation tests included
            --no-install    use what is installed: do not install what the tests run against
  bench   the instructions of each benchmarked operation, counted under valgrind and held to their limits
            --no-install    use what is installed: do not install valgrind or gungraun-runner
  fuzz    each fuzz target for a minute, or only `fuzz TARGET`; needs cargo-fuzz
            --seconds N     for so long instead
  release the program with all optimisations, as target/dist/portcullis
            --guided        laid out by a profile of the benchmark's load; needs rustup's llvm-tools, and what
                            benches/peers/compare.py needs
  help    this text

environment:
  PORTCULLIS_NO_INSTALL=1   as --offline and --no-install
  PORTCULLIS_NGINX          the nginx that the tests start (default: the system's)
  PORTCULLIS_NODE           the same for Node
  PORTCULLIS_ETCD           the same for etcd
  PORTCULLIS_ETCDCTL        the same for etcdctl
  PORTCULLIS_PYTHON         the same for Python 3
  PORTCULLIS_VALGRIND       the valgrind that counts instructions

exit status: 0 passed, 1 failed or something is missing, 2 usage
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match Command::parse(&arguments) {
        Ok(Command::Help) => {
            print!("{VERBS}");
            Ok(())
        }
        Ok(Command::Check { may_install }) => check::run(may_install && !installing_is_forbidden()),
        Ok(Command::Test { may_install }) => test::run(may_install && !installing_is_forbidden()),
        Ok(Command::Bench { may_install }) => bench::run(may_install && !installing_is_forbidden()),
        Ok(Command::Release { guided }) => release::run(guided),
        Ok(Command::Fuzz { target, seconds }) => fuzz::run(target.as_deref(), seconds),
        Err(problem) => {
            eprint!("xtask: {problem}\n\n{VERBS}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(reason)) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// What was asked for on the command line.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Help,
    Check { may_install: bool },
    Test { may_install: bool },
    Bench { may_install: bool },
    Release { guided: bool },
    Fuzz { target: Option<String>, seconds: u32 },
}

impl Command {
    fn parse(arguments: &[&str]) -> Result<Self, String> {
        match arguments {
            [] => Err("a verb is missing".to_owned()),
            ["help" | "--help" | "-h"] => Ok(Self::Help),
            ["check", options @ ..] => Ok(Self::Check { may_install: !only_option(options, "--offline")? }),
            ["test", options @ ..] => Ok(Self::Test { may_install: !only_option(options, "--no-install")? }),
            ["bench", options @ ..] => Ok(Self::Bench { may_install: !only_option(options, "--no-install")? }),
            ["release", options @ ..] => Ok(Self::Release { guided: only_option(options, "--guided")? }),
            ["fuzz", options @ ..] => parse_fuzz(options),
            ["help", extra, ..] => Err(format!("unexpected argument `{extra}`")),
            [verb, ..] => Err(format!("unknown verb `{verb}`")),
        }
    }
}

/// At most one target, and for how long.
fn parse_fuzz(mut options: &[&str]) -> Result<Command, String> {
    let (mut target, mut seconds) = (None, fuzz::SECONDS);
    loop {
        options = match options {
            [] => return Ok(Command::Fuzz { target, seconds }),
            ["--seconds", number, rest @ ..] => {
                let given = number.parse().ok().filter(|number| *number > 0);
                seconds = given.ok_or_else(|| format!("`{number}` is not a number of seconds"))?;
                rest
            }
            ["--seconds"] => return Err("--seconds needs a number".to_owned()),
            [name, rest @ ..] if target.is_none() && !name.starts_with('-') => {
                target = Some((*name).to_owned());
                rest
            }
            [unknown, ..] => return Err(format!("unexpected argument `{unknown}`")),
        };
    }
}

/// Whether `options` holds the one option that the verb knows; anything else is an error.
fn only_option(options: &[&str], known: &str) -> Result<bool, String> {
    match options.iter().find(|option| **option != known) {
        Some(unknown) => Err(format!("unexpected argument `{unknown}`")),
        None => Ok(!options.is_empty()),
    }
}

/// An empty value and `0` do not forbid, so that a script can pass the variable on unset.
fn installing_is_forbidden() -> bool {
    std::env::var_os("PORTCULLIS_NO_INSTALL").is_some_and(|value| !value.is_empty() && value != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str], expected: Result<Command, &str>) {
        assert_eq!(Command::parse(arguments), expected.map_err(str::to_owned), "{arguments:?}");
    }

    #[test]
    fn the_command_line_is_parsed_strictly() {
        check(&["check"], Ok(Command::Check { may_install: true }));
        check(&["check", "--offline"], Ok(Command::Check { may_install: false }));
        check(&["test"], Ok(Command::Test { may_install: true }));
        check(&["test", "--no-install"], Ok(Command::Test { may_install: false }));
        let fuzz = |target: Option<&str>, seconds| Ok(Command::Fuzz { target: target.map(str::to_owned), seconds });
        check(&["fuzz"], fuzz(None, 60));
        check(&["fuzz", "path"], fuzz(Some("path"), 60));
        check(&["fuzz", "path", "--seconds", "5"], fuzz(Some("path"), 5));
        check(&["fuzz", "--seconds", "5"], fuzz(None, 5));
        check(&["fuzz", "--seconds"], Err("--seconds needs a number"));
        check(&["fuzz", "--seconds", "0"], Err("`0` is not a number of seconds"));
        check(&["fuzz", "path", "matcher"], Err("unexpected argument `matcher`"));
        check(&["fuzz", "--hours", "1"], Err("unexpected argument `--hours`"));
        check(&["help"], Ok(Command::Help));
        check(&["--help"], Ok(Command::Help));
        check(&[], Err("a verb is missing"));
        check(&["bench"], Ok(Command::Bench { may_install: true }));
        check(&["bench", "--no-install"], Ok(Command::Bench { may_install: false }));
        check(&["release"], Ok(Command::Release { guided: false }));
        check(&["release", "--guided"], Ok(Command::Release { guided: true }));
        check(&["release", "--fast"], Err("unexpected argument `--fast`"));
        check(&["bench", "request"], Err("unexpected argument `request`"));
        check(&["benches"], Err("unknown verb `benches`"));
        check(&["Check"], Err("unknown verb `Check`"));
        check(&["help", "check"], Err("unexpected argument `check`"));
        check(&["check", "--no-install"], Err("unexpected argument `--no-install`"));
        check(&["test", "--offline"], Err("unexpected argument `--offline`"));
        check(&["test", "--no-install", "policy"], Err("unexpected argument `policy`"));
    }
}
