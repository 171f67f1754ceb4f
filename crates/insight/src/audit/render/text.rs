//! A report for a terminal.

use super::{basis, evidence, summary, suppressed, trial, untried};
use crate::audit::finding::{Finding, Report, Status};

/// The report, line by line. Of what is suppressed there is a line with who said why.
pub fn text(report: &Report) -> Vec<String> {
    let mut lines = vec![
        format!("audit {} of policy {} at {}: {}", report.run, short(report), report.at, summary(report)),
        basis(report),
    ];
    for finding in report.findings.iter().filter(|finding| finding.is_open()) {
        lines.push(String::new());
        lines.extend(one(finding));
    }
    let suppressed = suppressed(report);
    if !suppressed.is_empty() {
        lines.push(String::new());
        lines.extend(suppressed.into_iter().map(|line| format!("suppressed: {line}")));
    }
    if !report.not_looked_at.is_empty() || !report.left_out.is_empty() || report.untried > 0 {
        lines.push(String::new());
    }
    lines.extend(untried(report));
    lines.extend(report.left_out.iter().map(|(kind, count)| format!("{kind}: {count} more are not listed")));
    lines.extend(report.not_looked_at.iter().map(|(kind, why)| format!("{kind} was not looked for: {why}")));
    lines
}

fn one(finding: &Finding) -> Vec<String> {
    let new = if finding.status == Status::New { " (new)" } else { "" };
    let mut lines = vec![format!("{} {} {}{new}", finding.severity.as_str(), finding.id, finding.message)];
    lines.extend(finding.place.as_ref().map(|place| format!("    at {}:{}", place.file, place.line)));
    let evidence = evidence(finding);
    if !evidence.is_empty() {
        lines.push(format!("    because: {}", evidence.join("; ")));
    }
    lines.push(format!("    do: {}", finding.recommendation.change));
    lines.extend(trial(finding).map(|trial| format!("    {trial}")));
    if let Some(toml) = &finding.recommendation.toml {
        lines.extend(toml.lines().map(|line| format!("      | {line}")));
    }
    lines.push(format!("    fingerprint {}, first seen {}", finding.fingerprint, finding.first_seen));
    lines
}

fn short(report: &Report) -> &str {
    report.policy_sha256.get(..12).unwrap_or(&report.policy_sha256)
}
