//! A report as people, reviews and other tools read it.

mod markdown;
mod sarif;
mod text;

pub use markdown::markdown;
pub use sarif::sarif;
pub use text::text;

use super::finding::{Finding, Report, Severity};

/// How many open findings there are of each severity: `2 high, 5 medium`.
fn summary(report: &Report) -> String {
    let counts: Vec<String> = report
        .counts()
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(severity, count)| format!("{count} {}", severity.as_str()))
        .collect();
    let open = if counts.is_empty() { "no open finding".to_owned() } else { counts.join(", ") };
    match report.findings.iter().filter(|finding| !finding.is_open()).count() {
        0 => open,
        suppressed => format!("{open}; {suppressed} suppressed"),
    }
}

/// What a report rests on.
fn basis(report: &Report) -> String {
    match &report.observed_since {
        Some(since) => format!("usage is counted since {since}; unused means not used for {} days", report.window_days),
        None => "usage is not counted: only the policy itself was looked at".to_owned(),
    }
}

/// What a finding rests on, line by line.
fn evidence(finding: &Finding) -> Vec<String> {
    let evidence = &finding.evidence;
    let mut lines = Vec::new();
    let mut line =
        |what: &str, value: &Option<String>| lines.extend(value.as_ref().map(|value| format!("{what} {value}")));
    line("granted since", &evidence.granted_at);
    line("last used", &evidence.last_used);
    line("observed since", &evidence.observed_since);
    line("peers:", &evidence.peers);
    lines.extend(evidence.denials.map(|denials| format!("refused {denials} times")));
    lines.extend(evidence.facts.iter().cloned());
    lines
}

/// What came of trying the change.
fn trial(finding: &Finding) -> Option<String> {
    let recommendation = &finding.recommendation;
    if let Some(why) = &recommendation.withheld {
        return Some(format!("withheld: {why}"));
    }
    let tried = recommendation.preview.as_ref()?;
    let opens = match tried.newly_permitted {
        0 => String::new(),
        opened => format!(", and permits {opened} that were refused"),
    };
    Some(format!(
        "tried on {} requests and {} uses: refuses {} that were permitted{opens}",
        tried.replayed, tried.uses, tried.newly_denied
    ))
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}
