//! Audits, as the control channel has them made and shown.

use std::path::Path;

use jiff::Timestamp;
use portcullis_admin::audit::{AuditAnswer, AuditRun, AuditWanted};
use portcullis_insight::audit::{Severity, Suppression, difference};
use portcullis_store::{AuditBook, SuppressionRow};

use crate::auditing::{report_of, suppressions};
use crate::running::Running;

/// Does what is wanted.
///
/// # Errors
/// A sentence: why not.
pub(super) fn perform(running: &Running, config: &Path, wanted: &AuditWanted, by: &str) -> Result<AuditAnswer, String> {
    let Some(auditing) = running.auditing() else {
        return Err("usage is not counted: there is no `[store]`, or `[audit] enabled = false`; `portcullis audit run --offline` looks at the policy alone".to_owned());
    };
    match wanted {
        AuditWanted::Run => {
            let report = auditing.run(config)?;
            Ok(AuditAnswer { message: "looked".to_owned(), report: Some(report), ..AuditAnswer::default() })
        }
        AuditWanted::Runs
        | AuditWanted::Show { .. }
        | AuditWanted::Diff { .. }
        | AuditWanted::Suppressions
        | AuditWanted::Suppress { .. }
        | AuditWanted::Unsuppress { .. } => {
            let mut said = Err("nothing was asked".to_owned());
            auditing.with_book(|book| {
                said = kept(book, wanted, by);
                Ok(())
            })?;
            said
        }
    }
}

/// The same of what is kept, also where no gateway runs. `by`: who wants it.
///
/// # Errors
/// A sentence: why not.
pub(crate) fn kept(book: &AuditBook, wanted: &AuditWanted, by: &str) -> Result<AuditAnswer, String> {
    let failed = |error: portcullis_store::StoreError| error.to_string();
    match wanted {
        AuditWanted::Run => Err("an audit is made by the gateway".to_owned()),
        AuditWanted::Runs => {
            let runs = book.runs().map_err(failed)?;
            let shown = |(run, at): (String, i64)| AuditRun {
                run,
                at: Timestamp::from_second(at).map(|at| at.to_string()).unwrap_or_default(),
            };
            let runs: Vec<AuditRun> = runs.into_iter().map(shown).collect();
            Ok(AuditAnswer { message: format!("{} runs", runs.len()), runs, ..AuditAnswer::default() })
        }
        AuditWanted::Show { run } => {
            let runs = book.runs().map_err(failed)?;
            let is_it = |(name, _): &&(String, i64)| run.as_ref().is_none_or(|run| name.starts_with(run.as_str()));
            let Some((name, _)) = runs.iter().find(is_it) else {
                return Err(match run {
                    Some(run) => format!("there is no run `{}`: see `portcullis audit runs`", run.escape_debug()),
                    None => "no audit was made yet: `portcullis audit run` makes one".to_owned(),
                });
            };
            let report = report_of(book, name)?.ok_or_else(|| format!("the run {name} cannot be read"))?;
            Ok(AuditAnswer { message: name.clone(), report: Some(report), ..AuditAnswer::default() })
        }
        AuditWanted::Diff { from, to } => {
            let runs = book.runs().map_err(failed)?;
            let of = |named: &Option<String>, place: usize| {
                let run = match named {
                    Some(named) => runs.iter().find(|(name, _)| name.starts_with(named.as_str())),
                    None => runs.get(place),
                };
                let missing = || "there are not these two runs to compare: see `portcullis audit runs`".to_owned();
                let (name, _) = run.ok_or_else(missing)?;
                report_of(book, name)?.ok_or_else(|| format!("the run {name} cannot be read"))
            };
            let (from, to) = (of(from, 1)?, of(to, 0)?);
            let found = difference(&from, &to);
            let message = format!(
                "{} new, {} resolved, {} of another severity",
                found.new.len(),
                found.resolved.len(),
                found.changed.len()
            );
            Ok(AuditAnswer { message, diff: Some(found), ..AuditAnswer::default() })
        }
        AuditWanted::Suppressions => {
            let all = suppressions(book)?;
            let message = format!("{} suppressions", all.len());
            Ok(AuditAnswer { message, suppressions: all, ..AuditAnswer::default() })
        }
        AuditWanted::Suppress { fingerprint, owner, reason, until } => {
            let made = Timestamp::now().as_second();
            let mut one = Suppression {
                fingerprint: fingerprint.to_ascii_lowercase(),
                owner: owner.clone(),
                reason: reason.clone(),
                made,
                until: *until,
                made_by: by.to_owned(),
                severity: None,
            };
            if let Some(problem) = one.problem() {
                return Err(problem);
            }
            // Of a finding that no run has, nobody could say what was suppressed.
            let Some(severity) = severity_of(book, &one.fingerprint)? else {
                return Err(format!("no run that is kept has a finding {}", one.fingerprint));
            };
            one.severity = Some(severity);
            let Suppression { fingerprint, owner, reason, made, until, made_by, severity: _ } = one;
            let row = SuppressionRow {
                fingerprint: fingerprint.clone(),
                owner: owner.clone(),
                reason: reason.clone(),
                made,
                until,
                made_by,
                severity: severity.as_str().to_owned(),
            };
            if !book.suppress(&row).map_err(failed)? {
                return Err("there are as many suppressions as can be: lift some".to_owned());
            }
            let until = Timestamp::from_second(until).map(|until| until.to_string()).unwrap_or_default();
            let message = format!("the finding {fingerprint} is suppressed until {until}: {reason} ({owner})");
            Ok(AuditAnswer { message, ..AuditAnswer::default() })
        }
        AuditWanted::Unsuppress { fingerprint } => {
            if !book.unsuppress(&fingerprint.to_ascii_lowercase()).map_err(failed)? {
                return Err(format!("the finding `{}` is not suppressed", fingerprint.escape_debug()));
            }
            Ok(AuditAnswer {
                message: format!("the finding {fingerprint} is not suppressed any more"),
                ..AuditAnswer::default()
            })
        }
    }
}

/// How bad a finding is by the last run that has it; `None`: none has.
fn severity_of(book: &AuditBook, fingerprint: &str) -> Result<Option<Severity>, String> {
    for (run, _) in book.runs().map_err(|error| error.to_string())? {
        let report = report_of(book, &run)?;
        if let Some(finding) = report.as_ref().and_then(|report| report.find(fingerprint)) {
            return Ok(Some(finding.severity));
        }
    }
    Ok(None)
}
