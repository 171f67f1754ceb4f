//! How the results look: a block for each case that failed, and a last line that counts; or JSON.

use std::io::IsTerminal as _;

use portcullis_policy::Policy;
use serde_json::{Value, json};

use super::trial::{Answer, Failure, Trial, Verdict, written_rule};
use super::{Run, covered};
use crate::answers::explanation::{nearest_json, shadow_json};
use crate::answers::standing::rule_json;
use crate::answers::verdict::asked;
use crate::cli::args::{Format, Global};
use crate::cli::output::answer;
use crate::telemetry::colour;

/// Says what came of each case as it is known, and everything together in the end.
pub(super) struct Reporter<'g> {
    global: &'g Global,
    colour: bool,
}

impl<'g> Reporter<'g> {
    pub(super) fn new(global: &'g Global) -> Self {
        Self { global, colour: colour(global.color, std::io::stdout().is_terminal()) }
    }

    /// One case. With `-q` only one that failed.
    pub(super) fn trial(&self, trial: &Trial<'_>) {
        if !self.shows(trial) {
            return;
        }
        match self.global.output {
            Format::Human => answer(&self.block(trial)),
            Format::Jsonl => {
                let mut line = json!({ "kind": "case" });
                merge(&mut line, to_json(trial));
                answer(&line.to_string());
            }
            // One object at the end.
            Format::Json => {}
        }
    }

    /// Everything together.
    pub(super) fn end(&self, policy: &Policy, run: &Run<'_>, min: Option<u8>) {
        if self.global.output == Format::Human {
            if let Some(coverage) = &run.coverage {
                covered::lines(coverage, min, self.global.quiet).iter().for_each(|line| answer(line));
            }
            answer(&summary_line(run));
            return;
        }
        let summary = json!({
            "passed": run.passed(), "failed": run.failed(), "skipped": run.skipped(), "not_run": run.not_run,
            "coverage": run.coverage.as_ref().map(|coverage| covered::to_json(coverage, min)),
            "notes": run.notes,
            "policy": asked(policy),
        });
        if self.global.output == Format::Jsonl {
            let mut line = json!({ "kind": "summary" });
            merge(&mut line, summary);
            answer(&line.to_string());
            return;
        }
        let cases: Vec<Value> = run.trials().filter(|trial| self.shows(trial)).map(to_json).collect();
        let mut whole = summary;
        merge(&mut whole, json!({ "cases": cases }));
        answer(&serde_json::to_string_pretty(&whole).unwrap_or_default());
    }

    fn shows(&self, trial: &Trial<'_>) -> bool {
        !self.global.quiet || matches!(trial.verdict, Verdict::Fail(_))
    }

    fn block(&self, trial: &Trial<'_>) -> String {
        let name = &trial.case.name;
        match &trial.verdict {
            Verdict::Pass(_) => format!("{} {name}", self.mark("PASS", "32")),
            Verdict::Skip(why) => {
                let (mark, place) = (self.mark("SKIP", "33"), trial.place(trial.case.at));
                format!("{mark} {name} ({place}): {}", printable(why))
            }
            Verdict::Fail(failure) => {
                let mut lines = vec![format!("{} {name} ({})", self.mark("FAIL", "31"), trial.place(trial.case.at))];
                lines
                    .extend(failure_lines(trial, failure).into_iter().map(|line| format!("     {}", printable(&line))));
                lines.join("\n")
            }
        }
    }

    fn mark(&self, word: &str, code: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word.to_owned() }
    }
}

/// The text with control characters written out: a terminal would act on them.
fn printable(text: &str) -> String {
    let written = |character: char| match character.is_control() {
        true => character.escape_default().collect::<String>(),
        false => character.to_string(),
    };
    text.chars().map(written).collect()
}

/// `161 passed, 0 failed, 1 skipped`
fn summary_line(run: &Run<'_>) -> String {
    let not_run = if run.not_run > 0 { format!(", {} not run", run.not_run) } else { String::new() };
    format!("{} passed, {} failed, {} skipped{not_run}", run.passed(), run.failed(), run.skipped())
}

/// What was expected and what came, and why it came.
pub(super) fn failure_lines(trial: &Trial<'_>, failure: &Failure) -> Vec<String> {
    let mut lines: Vec<String> = failure
        .unmet
        .iter()
        .map(|each| {
            format!("{}:{}: expected {}, got {}", trial.place(each.at), each.at.column, each.expected, each.got)
        })
        .collect();
    let Some(answer) = &failure.answer else { return lines };
    lines.push(format!("because  {}", answer.message));
    lines.extend(answer.rule.as_ref().map(|rule| format!("rule     {}", written_rule(rule))));
    for each in &answer.nearest {
        let place = match (&each.grant, &each.at) {
            (Some(grant), _) => format!(" ({}, {}:{})", grant.name, grant.file, grant.line),
            (None, Some(at)) => format!(" ({}:{})", at.file, at.line),
            (None, None) => String::new(),
        };
        lines.push(format!("nearest  {}{place}", each.needs.join(" and ")));
    }
    lines
}

fn to_json(trial: &Trial<'_>) -> Value {
    let case = trial.case;
    let mut value = json!({
        "name": case.name, "file": trial.path.display().to_string(), "line": case.at.line,
        "request": format!("{} {}", case.method, case.url),
    });
    let more = match &trial.verdict {
        Verdict::Skip(why) => json!({ "result": "skip", "skip": why }),
        Verdict::Pass(answer) => {
            let mut more = json!({ "result": "pass", "duration_us": microseconds(trial) });
            merge(&mut more, answer_json(answer));
            more
        }
        Verdict::Fail(failure) => {
            let unmet: Vec<Value> = failure
                .unmet
                .iter()
                .map(|each| {
                    json!({
                        "key": each.key, "expected": each.expected, "got": each.got,
                        "line": each.at.line, "column": each.at.column,
                    })
                })
                .collect();
            let mut more = json!({ "result": "fail", "duration_us": microseconds(trial), "unmet": unmet });
            if let Some(answer) = &failure.answer {
                merge(&mut more, answer_json(answer));
                merge(&mut more, json!({ "nearest": nearest_json(&answer.nearest) }));
            }
            more
        }
    };
    merge(&mut value, more);
    value
}

fn answer_json(answer: &Answer) -> Value {
    json!({
        "decision": answer.outcome.as_str(), "status": answer.status, "reason": answer.reason,
        "message": answer.message, "rule": answer.rule.as_ref().map(rule_json),
        "shadow": shadow_json(&answer.shadow),
    })
}

fn microseconds(trial: &Trial<'_>) -> u64 {
    u64::try_from(trial.took.as_micros()).unwrap_or(u64::MAX)
}

/// Adds the keys of one object to another.
fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}
