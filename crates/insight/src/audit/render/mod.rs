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
        Some(since) => {
            let gap = elapsed_days(report).zip(report.observed_days).filter(|(all, observed)| observed < all);
            let gap = gap.map_or(String::new(), |(all, observed)| format!(" (observed for {observed} of {all} days)"));
            format!("usage is counted since {since}{gap}; unused means not used for {} days", report.window_days)
        }
        None => "usage is not counted: only the policy itself was looked at".to_owned(),
    }
}

/// The whole days from when usage is counted to the run.
fn elapsed_days(report: &Report) -> Option<u64> {
    let time = |text: &str| text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
    let all = time(&report.at)?.saturating_sub(time(report.observed_since.as_deref()?)?);
    u64::try_from(all / 86_400).ok()
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

/// What is suppressed, a line each: what, why, by whom and until when.
fn suppressed(report: &Report) -> Vec<String> {
    let of = |finding: &Finding| {
        let why = finding.suppression.as_ref()?.sentence();
        Some(format!(
            "{} {} {} ({}): {why}",
            finding.severity.as_str(),
            finding.id,
            finding.message,
            finding.fingerprint
        ))
    };
    report.findings.iter().filter_map(of).collect()
}

/// What was not tried, and so is not proposed; `None`: all was.
fn untried(report: &Report) -> Option<String> {
    let said = match report.untried {
        0 => return None,
        1 => "1 proposal was not tried, and is not made".to_owned(),
        several => format!("{several} proposals were not tried, and are not made"),
    };
    Some(format!("{said}: each finding says why"))
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
    let beside = match tried.not_asked {
        0 => String::new(),
        unasked => format!(" ({unasked} more could not be asked about: their grants were compared)"),
    };
    Some(format!(
        "tried on {} requests and {} uses{beside}: refuses {} that were permitted{opens}",
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
