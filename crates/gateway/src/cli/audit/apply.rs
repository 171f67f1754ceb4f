//! `audit apply`: what findings propose becomes one change. A new audit is made first, and what it does not propose just so any more is not applied; all of
//! it together is tried on the requests of the sample and on every use that was counted.
//!
//! It is proposed as any other change, by the gateway or on the store, and where nobody has to approve it put in force: then the files are written, the version
//! before is kept, and a file that was edited meanwhile is left alone.

use data_encoding::BASE64;
use portcullis_admin::audit::{AuditWanted, Prepared};
use portcullis_admin::govern::{Answer, Author, File, Governed, Proposed};
use portcullis_governance::Hash;
use portcullis_insight::audit::{Finding, Report};
use serde_json::json;

use super::grants::{ask_or_read, ask_where_there_is_a_channel, offline, report_in};
use crate::answers::terminal::safe;
use crate::auditing::Wanted;
use crate::cli::args::{AuditApplyArgs, Format, Global};
use crate::cli::governing::{asked, live_files};
use crate::cli::live::fail;
use crate::cli::output::answer;
use crate::exit::Exit;

/// The longest reason of a change, in bytes, and the longest of one's own before the findings.
const MAX_REASON: usize = 1_024;
const MAX_OWN: usize = 400;
/// Digits of a fingerprint that are enough to name a finding.
const SHORTEST: usize = 6;

pub(super) fn run(global: &Global, args: &AuditApplyArgs) -> Result<Exit, Exit> {
    let shown = ask_or_read(global, &AuditWanted::Show { run: args.run.clone() }, args.offline)?;
    let shown = report_in(global, shown)?;
    let findings = chosen(global, args, &shown)?;
    let apply: Vec<String> = findings.iter().map(|finding| finding.fingerprint.clone()).collect();
    let wanted = AuditWanted::Run { apply: apply.clone(), of_policy: Some(shown.policy_sha256.clone()) };
    let refused = |error: String| {
        fail(global, &error);
        Exit::Negative
    };
    let asked_of_it = if args.offline { None } else { ask_where_there_is_a_channel(global, &wanted)? };
    let (fresh, prepared) = match asked_of_it {
        Some(mut answer) => {
            let prepared = answer.prepared.take();
            (report_in(global, answer)?, prepared)
        }
        None => {
            let wanted = Wanted::of(&apply, Some(&shown.policy_sha256)).map_err(refused)?;
            let (report, prepared) = offline(global, wanted.as_ref())?;
            (report, prepared.transpose().map_err(refused)?)
        }
    };
    let Some(prepared) = prepared else {
        fail(global, "the gateway does not say what applying it comes to: is it of an earlier version?");
        return Err(Exit::Unreachable);
    };
    // What somebody has looked at is what is applied.
    let other = findings.iter().find(|finding| {
        fresh.find(&finding.fingerprint).is_none_or(|now| now.recommendation.toml != finding.recommendation.toml)
    });
    if let Some(other) = other {
        return Err(refused(format!(
            "of {} something else is proposed by now: look at the run {} and apply what it says",
            other.fingerprint, fresh.run
        )));
    }
    if args.dry_run {
        say(global, &findings, &prepared, "it was tried, and nothing was changed", None);
        return Ok(Exit::Success);
    }
    let by = Author {
        name: args.author.clone(),
        reason: reason_of(args.reason.as_deref(), &shown.run, &findings),
        ticket: args.ticket.clone(),
    };
    propose(global, &findings, &prepared, by)
}

/// The findings that are to be applied.
fn chosen<'r>(global: &Global, args: &AuditApplyArgs, report: &'r Report) -> Result<Vec<&'r Finding>, Exit> {
    if args.all_safe {
        let all: Vec<&Finding> = report.findings.iter().filter(|finding| finding.can_be_applied()).collect();
        if all.is_empty() {
            fail(global, &format!("no open finding of the run {} proposes a text that can be applied", report.run));
            return Err(Exit::Negative);
        }
        return Ok(all);
    }
    let mut found: Vec<&Finding> = Vec::new();
    for named in &args.findings {
        let named = named.to_ascii_lowercase();
        let all: Vec<&Finding> = match named.len() {
            0..SHORTEST => Vec::new(),
            _ => report.findings.iter().filter(|finding| finding.fingerprint.starts_with(&named)).collect(),
        };
        match all.as_slice() {
            [one] if found.iter().any(|other| other.fingerprint == one.fingerprint) => {}
            [one] => found.push(one),
            [] => {
                fail(global, &format!("the run {} has no finding `{}`", report.run, safe(&named)));
                return Err(Exit::Negative);
            }
            _ => {
                fail(global, &format!("several findings of the run {} begin with `{}`", report.run, safe(&named)));
                return Err(Exit::Negative);
            }
        }
    }
    Ok(found)
}

/// Why, with as many of the findings as there is room for.
fn reason_of(own: Option<&str>, run: &str, findings: &[&Finding]) -> String {
    let mut reason = match own {
        Some(own) => {
            let most = (0..=MAX_OWN.min(own.len())).rev().find(|end| own.is_char_boundary(*end)).unwrap_or_default();
            format!("{}: audit {run}:", own.get(..most).unwrap_or_default())
        }
        None => format!("audit {run}:"),
    };
    for (place, finding) in findings.iter().enumerate() {
        let named = format!(" {} {},", finding.id, finding.fingerprint);
        let rest = format!(" and {} more", findings.len() - place);
        if reason.len() + named.len() + rest.len() > MAX_REASON {
            reason.push_str(&rest);
            return reason;
        }
        reason.push_str(&named);
    }
    reason.trim_end_matches(',').to_owned()
}

/// Proposes it, and puts it in force where nobody has to approve it.
fn propose(global: &Global, findings: &[&Finding], prepared: &Prepared, by: Author) -> Result<Exit, Exit> {
    let (base, files) = all_files(global, prepared)?;
    let proposed = Proposed { policy: None, files: Some(files), again: None, base: Some(base), by };
    let done = asked(global, Governed::Propose(proposed))?;
    let change = done.changes.first();
    let id = change.map(|change| change.id.clone()).unwrap_or_default();
    let waits =
        done.live.as_ref().is_some_and(|live| live.required) || change.is_none_or(|change| change.missing.is_some());
    let done: Answer = match waits {
        true => done,
        false => asked(global, Governed::Activate { id: id.clone(), at_once: None, unseen: None })?,
    };
    say(global, findings, prepared, &done.message, Some(&id));
    Ok(Exit::Success)
}

/// The version that is live, and all of its files with those that change: nothing else that somebody edited comes with them.
fn all_files(global: &Global, prepared: &Prepared) -> Result<(u64, Vec<File>), Exit> {
    let Some((base, mut files)) = live_files(global)? else {
        fail(global, "no version is live yet: start the gateway first");
        return Err(Exit::Negative);
    };
    for changed in &prepared.files {
        let file = files.iter_mut().find(|file| file.name == changed.name);
        let is_it = |file: &&mut File| {
            let before = BASE64.decode(file.content.as_bytes());
            before.is_ok_and(|before| Hash::of(&before).to_string() == changed.was_sha256)
        };
        let Some(file) = file.filter(is_it) else {
            let why =
                format!("`{}` is not what the live version has: reload it, or take back what was edited", changed.name);
            fail(global, &safe(&why));
            return Err(Exit::Negative);
        };
        file.content = BASE64.encode(changed.text.as_bytes());
    }
    Ok((base, files))
}

fn say(global: &Global, findings: &[&Finding], prepared: &Prepared, message: &str, change: Option<&str>) {
    let names: Vec<&str> = prepared.files.iter().map(|file| file.name.as_str()).collect();
    match global.output {
        _ if global.quiet => {}
        Format::Human => {
            for finding in findings {
                answer(&safe(&format!("{} {} {}", finding.id, finding.fingerprint, finding.message)));
            }
            let trial = &prepared.trial;
            answer(&format!(
                "tried on {} requests and {} uses: refuses {} that were permitted",
                trial.replayed, trial.uses, trial.newly_denied
            ));
            for line in prepared.toml.lines() {
                answer(&safe(&format!("  | {line}")));
            }
            answer(&safe(&format!("{}: {message}", names.join(", "))));
        }
        Format::Json | Format::Jsonl => {
            let applied: Vec<&str> = findings.iter().map(|finding| finding.fingerprint.as_str()).collect();
            answer(
                &json!({
                    "findings": applied, "toml": prepared.toml, "files": names, "trial": prepared.trial,
                    "change": change, "message": message,
                })
                .to_string(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_as_many_findings_as_there_is_room_for() {
        let finding = |number: usize| -> Finding {
            serde_json::from_value(json!({
                "id": "LP01", "type": "unused_permission", "severity": "medium", "principal": null, "permission": null, "message": "",
                "place": null, "evidence": { "granted_at": null, "last_used": null, "observed_since": null, "peers": null, "denials": null },
                "recommendation": { "change": "", "toml": null, "preview": null, "withheld": null }, "first_seen": "", "status": "new",
                "fingerprint": format!("{number:016x}"),
            }))
            .unwrap()
        };
        let all: Vec<Finding> = (0..500).map(finding).collect();
        let all: Vec<&Finding> = all.iter().collect();
        assert_eq!(
            reason_of(Some("less"), "r", &all[..2]),
            "less: audit r: LP01 0000000000000000, LP01 0000000000000001"
        );
        for own in [None, Some("ä".repeat(600))] {
            let reason = reason_of(own.as_deref(), "20261129T150730Z-3c3b", &all);
            assert!(reason.len() <= MAX_REASON && reason.ends_with(" more"), "{} {reason}", reason.len());
        }
    }
}
