//! `audit`: holds recorded events to their chain.

use portcullis_events::audit::{Audit, Beginning, Expected, Finding, Problem, Skipped, WhySkipped, is_hash, verify};
use serde_json::{Value, json};

use crate::cli::args::{AuditArgs, AuditCommand, AuditVerifyArgs, Format, Global};
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &AuditArgs) -> Exit {
    match &args.command {
        AuditCommand::Verify(args) => run_verify(global, args),
    }
}

fn run_verify(global: &Global, args: &AuditVerifyArgs) -> Exit {
    for (option, hash) in [("--after", &args.after), ("--end", &args.end)] {
        if let Some(hash) = hash.as_ref().filter(|hash| !is_hash(hash)) {
            remark(&format!(
                "error: {option}: `{}` is no hash such as sha256:…, with 64 digits of hex",
                hash.escape_debug()
            ));
            return Exit::Usage;
        }
    }
    let expected = Expected { after: args.after.as_deref(), end: args.end.as_deref() };
    let audit = match verify(&args.files, expected) {
        Ok(audit) => audit,
        Err((file, error)) => {
            remark(&format!("error: {}: {error}", file.display()));
            return Exit::Unreachable;
        }
    };
    let is_whole = audit.findings.is_empty() && audit.events > 0;
    if !global.quiet {
        match global.output {
            Format::Human => show(&audit),
            Format::Json | Format::Jsonl => answer(&to_json(&audit, is_whole).to_string()),
        }
    }
    if is_whole { Exit::Success } else { Exit::Negative }
}

fn show(audit: &Audit) {
    for finding in &audit.findings {
        answer(&format!("{}:{}: {}", finding.file.display(), finding.line, in_words(&finding.problem)));
    }
    if audit.more_findings > 0 {
        answer(&format!("and {} more", audit.more_findings));
    }
    for Skipped { file, why } in &audit.skipped {
        answer(&format!("{}: not looked into: {}", file.display(), why_skipped(why)));
    }
    for Beginning { file, line, why } in &audit.beginnings {
        answer(&format!("{}:{line}: a chain begins here: {why}", file.display()));
    }
    if let Some(after) = &audit.after {
        answer(&format!("begins after {after}"));
    }
    if let Some(end) = &audit.end {
        let number = audit.last_seq.map(|number| format!(", event number {number} of its process")).unwrap_or_default();
        answer(&format!("ends with   {end}{number}"));
    }
    let problems = audit.findings.len() as u64 + audit.more_findings;
    match (audit.events, problems) {
        (0, 0) => answer("there is no event"),
        (events, 0) => answer(&format!("{events} events, one after the other, as they were written")),
        (events, problems) => answer(&format!("{events} events as they were written, {problems} problems")),
    }
}

fn why_skipped(why: &WhySkipped) -> String {
    match why {
        WhySkipped::NoEvents(what) => format!("it is no file of events but {what}"),
        WhySkipped::SameAs(other) => format!("it holds the same events as {}", other.display()),
    }
}

fn in_words(problem: &Problem) -> String {
    match problem {
        Problem::Unsealed => "this is no event as it was written: added, changed or cut short".to_owned(),
        Problem::Changed => "this event was changed: its hash is not that of the line".to_owned(),
        Problem::Unlinked { numbers: Some((before, this)) } if *this > before + 1 => format!(
            "this event (number {this}) does not follow on the one before (number {before}): {} are missing between them",
            this - before - 1
        ),
        Problem::Unlinked { .. } => {
            "this event does not follow on the one before: lines were removed, added or moved here".to_owned()
        }
        Problem::NewChain { why } => format!("a new chain begins in the middle: {why}"),
        Problem::WrongStart => "the first event does not follow on the hash that --after names".to_owned(),
        Problem::WrongEnd => {
            "the last event does not bear the hash that --end names: lines are missing after it".to_owned()
        }
    }
}

fn to_json(audit: &Audit, is_whole: bool) -> Value {
    let finding = |finding: &Finding| {
        let kind = match &finding.problem {
            Problem::Unsealed => "unsealed",
            Problem::Changed => "changed",
            Problem::Unlinked { .. } => "unlinked",
            Problem::NewChain { .. } => "new_chain",
            Problem::WrongStart => "wrong_start",
            Problem::WrongEnd => "wrong_end",
        };
        json!({ "file": finding.file.display().to_string(), "line": finding.line, "problem": kind,
                "message": in_words(&finding.problem) })
    };
    let beginning = |beginning: &Beginning| {
        json!({ "file": beginning.file.display().to_string(), "line": beginning.line,
                "why": serde_json::from_str::<Value>(&beginning.why).unwrap_or_else(|_| beginning.why.clone().into()) })
    };
    let skipped =
        |skipped: &Skipped| json!({ "file": skipped.file.display().to_string(), "why": why_skipped(&skipped.why) });
    json!({
        "whole": is_whole,
        "events": audit.events,
        "findings": audit.findings.iter().map(finding).collect::<Vec<_>>(),
        "more_findings": audit.more_findings,
        "beginnings": audit.beginnings.iter().map(beginning).collect::<Vec<_>>(),
        "after": audit.after,
        "end": audit.end,
        "last_seq": audit.last_seq,
        "skipped": audit.skipped.iter().map(skipped).collect::<Vec<_>>(),
    })
}
