//! Audits, as the control channel has them made and shown.

use std::path::Path;

use jiff::Timestamp;
use portcullis_admin::Peer;
use portcullis_admin::audit::{AuditAnswer, AuditRun, AuditWanted};
use portcullis_insight::audit::{Suppression, difference};
use portcullis_store::AuditBook;

use crate::auditing::{Suppressor, Wanted, report_of, suppress, suppressions};
use crate::governing::Who;
use crate::running::Running;

/// Does what is wanted.
///
/// # Errors
/// A sentence: why not.
pub(super) fn perform(
    running: &Running,
    config: &Path,
    wanted: &AuditWanted,
    by: &Peer,
) -> Result<AuditAnswer, String> {
    let Some(auditing) = running.auditing() else {
        return Err("usage is not counted: there is no `[store]`, or `[audit] enabled = false`; `portcullis audit run --offline` looks at the policy alone".to_owned());
    };
    match wanted {
        AuditWanted::Run { apply, of_policy } => {
            let wanted = Wanted::of(apply, of_policy.as_deref())?;
            let (report, prepared) = auditing.run(config, wanted.as_ref())?;
            let prepared = prepared.transpose()?;
            Ok(AuditAnswer { message: "looked".to_owned(), report: Some(report), prepared, ..AuditAnswer::default() })
        }
        AuditWanted::Runs
        | AuditWanted::Show { .. }
        | AuditWanted::Diff { .. }
        | AuditWanted::Suppressions
        | AuditWanted::Suppress { .. }
        | AuditWanted::Unsuppress { .. } => {
            let governing = running.governing();
            let by = Suppressor {
                who: Who::of(by),
                shown: by.shown(),
                approvers: governing.map(|governing| governing.approvers().0).unwrap_or_default(),
                approved: governing.is_some_and(|governing| governing.is_required()),
            };
            let mut said = Err("nothing was asked".to_owned());
            auditing.with_book(|book| {
                said = kept(book, wanted, &by);
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
pub(crate) fn kept(book: &AuditBook, wanted: &AuditWanted, by: &Suppressor) -> Result<AuditAnswer, String> {
    let failed = |error: portcullis_store::StoreError| error.to_string();
    match wanted {
        AuditWanted::Run { .. } => Err("an audit is made by the gateway".to_owned()),
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
            let found = match run {
                Some(run) => run_named(&runs, run),
                None => runs.first(),
            };
            let Some((name, _)) = found else {
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
                    Some(named) => run_named(&runs, named),
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
            let one = Suppression {
                fingerprint: fingerprint.to_ascii_lowercase(),
                owner: owner.clone(),
                reason: reason.clone(),
                made,
                until: *until,
                made_by: by.shown.clone(),
                severity: None,
                confirmed_by: String::new(),
                names: Vec::new(),
            };
            let message = suppress(book, one, by)?;
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

/// The run of this name, or else the last one whose name begins so.
fn run_named<'r>(runs: &'r [(String, i64)], named: &str) -> Option<&'r (String, i64)> {
    let exactly = runs.iter().find(|(name, _)| name == named);
    exactly.or_else(|| runs.iter().find(|(name, _)| name.starts_with(named)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_name_is_that_run_and_not_one_that_begins_so() {
        let runs = ["b", "a-2", "a"].map(|name| (name.to_owned(), 1));
        let check = |named: &str, expected: Option<&str>| {
            assert_eq!(run_named(&runs, named).map(|(name, _)| name.as_str()), expected, "{named}");
        };
        check("a", Some("a"));
        check("a-", Some("a-2"));
        check("c", None);
    }
}
