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

/// The most tests that are named of those that passed at another try.
const NAMED: usize = 50;

/// How many tests passed, failed and were skipped, over all summaries read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that passed, those that needed a second try included.
    pub(crate) passed: u64,
    /// Tests that failed, timed out or could not be started.
    pub(crate) failed: u64,
    /// Tests that are there but were not run.
    pub(crate) skipped: u64,
    /// Tests among those that passed that failed at the first try.
    pub(crate) again: u64,
    /// Which these are, as the runner names them; the first [`NAMED`].
    pub(crate) named: Vec<String>,
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
                    self.again += flaky(counts);
                    self.add(counts.split(','));
                } else if let Some(name) = flaky_name(line).filter(|name| !self.named.iter().any(|known| known == name))
                {
                    self.named.extend((self.named.len() < NAMED).then(|| name.to_owned()));
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

/// How many tests failed and then passed, of `11 passed (1 slow, 2 flaky), 1 failed`.
fn flaky(counts: &str) -> u64 {
    let said = counts.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(said, _)| said);
    let number = said.split(", ").find_map(|each| each.strip_suffix(" flaky"));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The test of `FLAKY 2/2 [   0.5s] (3/9) program name`.
fn flaky_name(line: &str) -> Option<&str> {
    let (_, rest) = line.strip_prefix("FLAKY ")?.split_once(']')?;
    let rest = rest.trim_start();
    Some(match rest.strip_prefix('(').and_then(|counted| counted.split_once(") ")) {
        Some((_, name)) => name.trim_start(),
        None => rest,
    })
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(formatter, ", {} skipped", self.skipped)?;
        }
        if self.again > 0 {
            write!(
                formatter,
                "; {} of them passed at the second try only, and what made them fail is to be found:",
                self.again
            )?;
            self.named.iter().try_for_each(|name| write!(formatter, "\n  {name}"))?;
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
        check("     Summary [   0.012s] 9 tests run: 9 passed (1 slow), 0 skipped", "9 passed, 0 failed");
        check("     Summary [   0.9s] 3/5 tests run: 2 passed, 1 failed, 0 skipped", "2 passed, 1 failed");
    }

    #[test]
    fn what_passed_at_the_second_try_is_named_once() {
        check(
            Runner::Nextest,
            &[
                "  TRY 1 FAIL [   0.5s] (1/9) portcullis::end_to_end nginx::a",
                "   FLAKY 2/2 [   0.5s] (2/9) portcullis::end_to_end nginx::a",
                "     Summary [   0.9s] 9 tests run: 9 passed (1 slow, 2 flaky), 1 skipped",
                "   FLAKY 2/2 [   0.5s] (2/9) portcullis::end_to_end nginx::a",
                "   FLAKY 2/2 [   0.5s] portcullis::end_to_end nginx::b",
            ],
            "9 passed, 0 failed, 1 skipped; 2 of them passed at the second try only, and what made them fail is to be found:\n  \
             portcullis::end_to_end nginx::a\n  portcullis::end_to_end nginx::b",
        );
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
