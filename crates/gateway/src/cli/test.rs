//! `test`: holds the policy to its case files, and says how much of the policy they cover.
//!
//! Each case is asked as `can` asks. Nothing is green by accident: no case, no case left by a filter, and nothing but skipped
//! cases are all answered with no.

use std::collections::BTreeSet;
use std::time::Instant;

use jiff::Timestamp;
use portcullis_config::{Case, CaseFile, ProcessEnvironment, load_cases};
use portcullis_policy::{Coverage, CoverageReport, Policy};

use crate::cli::args::{Global, TestArgs};
use crate::cli::configuration::{loaded, show};
use crate::cli::output::remark;
use crate::exit::Exit;

mod covered;
mod junit;
mod report;
mod trial;

use report::Reporter;
use trial::{Trial, Verdict};

/// At most this many notes are shown.
const MAX_NOTES: usize = 20;

pub(crate) fn run(global: &Global, args: &TestArgs) -> Exit {
    let policy = match loaded(global) {
        Ok(loaded) => loaded.policy,
        Err(exit) => return exit,
    };
    let files = match load_cases(&args.cases, &ProcessEnvironment) {
        Ok(files) => files,
        Err(report) => {
            show(&report, global);
            return Exit::Configuration;
        }
    };
    let wanted = |case: &Case| args.filter.as_ref().is_none_or(|part| case.name.contains(part.as_str()));
    if !files.iter().any(|file| file.cases.iter().any(wanted)) {
        remark(&format!("error: no case has `{}` in its name", args.filter.as_deref().unwrap_or_default()));
        return Exit::Usage;
    }
    let mut reporter = Reporter::new(global);
    let run = ask_all(&policy, &files, wanted, args, &mut reporter);
    reporter.end(&policy, &run, args.min);
    run.notes.iter().for_each(|note| remark(&format!("note: {note}")));
    if let Some(path) = &args.junit
        && let Err(error) = junit::write(path, &policy, &run)
    {
        remark(&format!("error: cannot write {}: {error}", path.display()));
        return Exit::Unreachable;
    }
    exit(&run, args.min)
}

/// What came of all cases.
struct Run<'c> {
    began: Timestamp,
    /// By file.
    suites: Vec<(&'c CaseFile, Vec<Trial<'c>>)>,
    /// Cases that were wanted and not asked, because one before them failed.
    not_run: usize,
    coverage: Option<CoverageReport>,
    /// What the asker should know besides.
    notes: Vec<String>,
}

impl Run<'_> {
    fn trials(&self) -> impl Iterator<Item = &Trial<'_>> {
        self.suites.iter().flat_map(|(_, trials)| trials)
    }

    fn count(&self, which: impl Fn(&Verdict<'_>) -> bool) -> usize {
        self.trials().filter(|trial| which(&trial.verdict)).count()
    }

    fn passed(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Pass(_)))
    }

    fn failed(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Fail(_)))
    }

    fn skipped(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Skip(_)))
    }
}

fn ask_all<'c>(
    policy: &Policy,
    files: &'c [CaseFile],
    wanted: impl Fn(&Case) -> bool,
    args: &TestArgs,
    reporter: &mut Reporter<'_>,
) -> Run<'c> {
    let measured = args.coverage || args.min.is_some();
    let mut coverage = measured.then(|| Coverage::of(policy));
    let mut run = Run { began: Timestamp::now(), suites: Vec::new(), not_run: 0, coverage: None, notes: Vec::new() };
    let mut remarks = Remarks::default();
    let mut stopped = false;
    for file in files {
        let mut trials = Vec::new();
        for case in file.cases.iter().filter(|case| wanted(case)) {
            if stopped {
                run.not_run += 1;
                continue;
            }
            let asked = Instant::now();
            let (verdict, said) = trial::ask(policy, case, run.began, coverage.as_mut());
            remarks.add(&file.path, case, said);
            let trial = Trial { path: &file.path, case, verdict, took: asked.elapsed() };
            reporter.trial(&trial);
            stopped = args.fail_fast && matches!(trial.verdict, Verdict::Fail(_));
            trials.push(trial);
        }
        if !trials.is_empty() {
            run.suites.push((file, trials));
        }
    }
    run.coverage = coverage.map(|coverage| coverage.report());
    run.notes = remarks.notes(policy);
    run
}

/// What to know about the cases, each said once.
#[derive(Default)]
struct Remarks {
    seen: BTreeSet<String>,
    notes: Vec<String>,
    /// How many cases say no time, and where the first one is.
    timeless: usize,
    first_timeless: String,
}

impl Remarks {
    fn add(&mut self, path: &std::path::Path, case: &Case, said: Vec<String>) {
        let place = || format!("{}:{}", path.display(), case.at.line);
        if case.facts.at.is_none() && case.skip.is_none() {
            self.timeless += 1;
            if self.timeless == 1 {
                self.first_timeless = place();
            }
        }
        for text in said {
            if self.notes.len() < MAX_NOTES && !self.seen.contains(&text) {
                self.notes.push(format!("{text} ({})", place()));
                self.seen.insert(text);
            }
        }
    }

    fn notes(mut self, policy: &Policy) -> Vec<String> {
        if self.timeless > 0 && policy.depends_on_time() {
            let (cases, say) = if self.timeless == 1 { ("case", "says") } else { ("cases", "say") };
            self.notes.push(format!(
                "{} {cases} {say} no `at`, and the policy has periods or hours: the answer depends on the day ({})",
                self.timeless, self.first_timeless
            ));
        }
        self.notes
    }
}

fn exit(run: &Run<'_>, min: Option<u8>) -> Exit {
    if run.failed() == 0 && run.passed() == 0 {
        remark("error: every case was skipped, so nothing was tested");
        return Exit::Negative;
    }
    let enough = match (&run.coverage, min) {
        (Some(coverage), Some(min)) => coverage.total().is_at_least(min.into()),
        (None, _) | (_, None) => true,
    };
    if run.failed() == 0 && enough { Exit::Success } else { Exit::Negative }
}
