//! Adds up what the test runners say of themselves.

use std::fmt;

/// Whose summaries are read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Runner {
    /// `cargo test`, one line per test program:
    /// `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`.
    Libtest,
    /// `cargo nextest run`, one line in all:
    /// `Summary [   0.01s] 4 tests run: 2 passed (1 slow), 1 failed, 1 timed out, 1 skipped`.
    Nextest,
}

/// How many tests passed, failed and were skipped, over all summaries read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that passed, those that needed a second try included.
    pub(crate) passed: u64,
    /// Tests that failed, timed out or could not be started.
    pub(crate) failed: u64,
    /// Tests that are there but were not run.
    pub(crate) skipped: u64,
}

impl Tally {
    /// Takes a summary of `runner` into account; any other line changes nothing.
    ///
    /// Only that runner's form counts: nextest repeats the output of a failed test, and with it what the test's own
    /// process, run for that one test, said at its end.
    pub(crate) fn read(&mut self, runner: Runner, line: &str) {
        let line = line.trim();
        match runner {
            Runner::Libtest => {
                if let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) {
                    self.add(counts.split(';'));
                }
            }
            Runner::Nextest => {
                if let Some((_, counts)) = line.strip_prefix("Summary [").and_then(|rest| rest.split_once(" run: ")) {
                    self.add(counts.split(','));
                }
            }
        }
    }

    fn add<'a>(&mut self, counts: impl Iterator<Item = &'a str>) {
        for count in counts {
            let mut words = count.split_whitespace();
            let Some(number) = words.next().and_then(|word| word.parse::<u64>().ok()) else { continue };
            match (words.next(), words.next()) {
                (Some("passed"), _) => self.passed += number,
                (Some("failed"), _) | (Some("exec"), Some("failed")) | (Some("timed"), Some("out")) => {
                    self.failed += number
                }
                (Some("skipped" | "ignored"), _) => self.skipped += number,
                _ => {}
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(formatter, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(runner: Runner, lines: &[&str], expected: &str) {
        let mut tally = Tally::default();
        for line in lines {
            tally.read(runner, line);
        }
        assert_eq!(tally.to_string(), expected, "{lines:?}");
    }

    #[test]
    fn nextest_says_it_once() {
        let check = |line, expected| check(Runner::Nextest, &[line], expected);
        check("     Summary [   0.012s] 1 test run: 1 passed, 0 skipped", "1 passed, 0 failed");
        check(
            "     Summary [   0.012s] 12 tests run: 11 passed (1 slow, 2 leaky), 1 failed, 3 skipped",
            "11 passed, 1 failed, 3 skipped",
        );
        check(
            "  Summary [ 61.000s] 5 tests run: 2 passed, 1 failed, 1 exec failed, 1 timed out, 0 skipped",
            "2 passed, 3 failed",
        );
        check("     Summary [   0.9s] 3/5 tests run: 2 passed, 1 failed, 0 skipped", "2 passed, 1 failed");
    }

    #[test]
    fn cargo_test_says_it_for_each_program() {
        check(
            Runner::Libtest,
            &[
                "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s",
                "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            ],
            "6 passed, 2 failed, 1 skipped",
        );
    }

    #[test]
    fn what_tests_print_does_not_count() {
        let failed_test = "test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 11 filtered out";
        check(Runner::Nextest, &[failed_test, "7 passed, 7 failed", "Summary [x]"], "0 passed, 0 failed");
        check(Runner::Libtest, &["test foo ... ok", "a test result: ok. 9 passed; 0 failed"], "0 passed, 0 failed");
        check(Runner::Libtest, &[], "0 passed, 0 failed");
    }
}
