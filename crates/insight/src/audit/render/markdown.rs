//! A report for a review: Markdown. What names and rules say is never markup.

use std::fmt::Write as _;

use super::{basis, evidence, summary, suppressed, trial, untried};
use crate::audit::finding::{Finding, Kind, Report};

/// The report as Markdown.
pub fn markdown(report: &Report) -> String {
    let mut text = format!("# Least-privilege audit {}\n\n", report.run);
    let _ = writeln!(
        text,
        "Policy version {}, SHA-256 `{}`, looked at {}.",
        report.policy_version, report.policy_sha256, report.at
    );
    let _ = writeln!(text, "{}; {}.\n", sentence(&summary(report)), basis(report));
    table(&mut text, report);
    for kind in Kind::ALL {
        let of_kind: Vec<&Finding> =
            report.findings.iter().filter(|finding| finding.id == kind.id() && finding.is_open()).collect();
        if of_kind.is_empty() {
            continue;
        }
        let _ = writeln!(text, "## {} {}\n\n{}\n", kind.id(), kind.name(), kind.meaning());
        of_kind.into_iter().for_each(|finding| one(&mut text, finding));
    }
    let suppressed = suppressed(report);
    if !suppressed.is_empty() {
        text.push_str("## Suppressed\n\n");
        suppressed.iter().for_each(|line| {
            let _ = writeln!(text, "- {}", plain(line));
        });
        text.push('\n');
    }
    if !report.not_looked_at.is_empty() || !report.left_out.is_empty() || report.untried > 0 {
        text.push_str("## Not looked at\n\n");
        if let Some(untried) = untried(report) {
            let _ = writeln!(text, "- {untried}");
        }
        for (kind, why) in &report.not_looked_at {
            let _ = writeln!(text, "- {kind}: {}", plain(why));
        }
        for (kind, count) in &report.left_out {
            let _ = writeln!(text, "- {kind}: {count} more findings are not listed");
        }
    }
    text
}

fn table(text: &mut String, report: &Report) {
    text.push_str("| severity | open findings |\n|---|---|\n");
    for (severity, count) in report.counts() {
        let _ = writeln!(text, "| {} | {count} |", severity.as_str());
    }
    text.push('\n');
}

fn one(text: &mut String, finding: &Finding) {
    let _ = writeln!(text, "- **{}** {}", finding.severity.as_str(), plain(&finding.message));
    if let Some(place) = &finding.place {
        let _ = writeln!(text, "  - at {}:{}", plain(&place.file), place.line);
    }
    for line in evidence(finding) {
        let _ = writeln!(text, "  - {}", plain(&line));
    }
    let _ = writeln!(text, "  - do: {}", plain(&finding.recommendation.change));
    if let Some(trial) = trial(finding) {
        let _ = writeln!(text, "  - {}", plain(&trial));
    }
    let _ = writeln!(text, "  - fingerprint `{}`, first seen {}", finding.fingerprint, finding.first_seen);
    if let Some(toml) = &finding.recommendation.toml {
        // A fence that nothing in it can end.
        let fence = "`".repeat(toml.split(|character| character != '`').map(str::len).max().unwrap_or(0).max(2) + 1);
        let _ = writeln!(text, "\n  {fence}toml");
        toml.lines().for_each(|line| {
            let _ = writeln!(text, "  {line}");
        });
        let _ = writeln!(text, "  {fence}");
    }
    text.push('\n');
}

/// Text whose signs mean only themselves; what stands between backquotes stays code.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut code = false;
    for character in text.chars() {
        match character {
            '`' => {
                code = !code;
                plain.push('`');
            }
            control if control.is_control() => plain.push(' '),
            '<' | '>' | '[' | ']' | '*' | '_' | '#' | '|' | '\\' if !code => plain.extend(['\\', character]),
            other => plain.push(other),
        }
    }
    plain
}

fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}
