//! A report in SARIF 2.1.0 (OASIS), for whatever shows findings beside the lines that they are about.

use serde_json::{Value, json};

use super::{evidence, level, trial, untried};
use crate::audit::finding::{Finding, Kind, Report, Severity, Status};

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// Where each kind of finding is described.
const HELP: &str = "docs/audit.md of Portcullis, under \"The findings\".";
/// What findings stand at that are about no line: the policy itself.
const POLICY: &str = "policy.toml";

/// The report as one SARIF log with one run. `version`: the program's.
pub fn sarif(report: &Report, version: &str) -> Value {
    let rule = |kind: &Kind| {
        json!({
            "id": kind.id(),
            "name": kind.name(),
            "shortDescription": { "text": kind.meaning() },
            "fullDescription": { "text": kind.meaning() },
            "help": { "text": format!("{} What it rests on and what is proposed: {HELP}", kind.meaning()) },
            "defaultConfiguration": { "level": level(kind.usual()) },
            "properties": { "security-severity": score(kind.usual()), "tags": ["security", "least-privilege"] },
        })
    };
    // What is about no line is about the policy: whoever shows findings beside lines takes none without a place.
    let policy = report.findings.iter().find_map(|finding| Some(finding.place.as_ref()?.file.as_str()));
    let results: Vec<Value> = report.findings.iter().map(|finding| result(finding, policy.unwrap_or(POLICY))).collect();
    let not_looked_for = report.not_looked_at.iter().map(|(kind, why)| format!("{kind} was not looked for: {why}"));
    let notes: Vec<Value> = not_looked_for
        .chain(untried(report))
        .map(|text| json!({ "level": "note", "message": { "text": text } }))
        .collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "portcullis",
                "version": version,
                "rules": Kind::ALL.iter().map(rule).collect::<Vec<_>>(),
            } },
            "automationDetails": { "id": format!("portcullis/audit/{}", report.run) },
            "invocations": [{
                "executionSuccessful": true,
                "endTimeUtc": report.at,
                "toolExecutionNotifications": notes,
            }],
            "results": results,
        }],
    })
}

fn result(finding: &Finding, policy: &str) -> Value {
    let mut words = vec![finding.message.clone()];
    words.extend(evidence(finding));
    words.push(format!("do: {}", finding.recommendation.change));
    words.extend(trial(finding));
    let rule = Kind::named(&finding.id).and_then(|kind| Kind::ALL.iter().position(|each| *each == kind));
    let location = match &finding.place {
        Some(place) => json!({
            "physicalLocation": {
                "artifactLocation": artifact(&place.file),
                // A line of zero is no line.
                "region": { "startLine": place.line.max(1) },
            },
            "logicalLocations": [{ "name": place.name, "kind": place.kind }],
        }),
        None => json!({
            "physicalLocation": { "artifactLocation": artifact(policy), "region": { "startLine": 1 } },
        }),
    };
    let mut result = json!({
        "ruleId": finding.id,
        "ruleIndex": rule,
        "level": level(finding.severity),
        "message": { "text": words.join("; ") },
        "locations": [location],
        "baselineState": if finding.status == Status::New { "new" } else { "unchanged" },
        "partialFingerprints": { "portcullisFinding/v1": finding.fingerprint },
        "properties": {
            "severity": finding.severity.as_str(),
            "security-severity": score(finding.severity),
            "principal": finding.principal,
            "permission": finding.permission,
            "suggestion": finding.recommendation.toml,
        },
    });
    if let (Some(suppression), Some(object)) = (&finding.suppression, result.as_object_mut()) {
        let one = json!({ "kind": "external", "status": "accepted", "justification": suppression.sentence() });
        object.insert("suppressions".to_owned(), json!([one]));
    }
    result
}

/// A file: relative to where the policy lies, or by its whole name.
fn artifact(file: &str) -> Value {
    match file.strip_prefix('/') {
        Some(_) => json!({ "uri": format!("file://{}", uri(file)) }),
        None => json!({ "uri": uri(file), "uriBaseId": "%SRCROOT%" }),
    }
}

/// The severity as a number between 0 and 10, as shows of SARIF sort by: over 9 critical, from 7 high, from 4 medium.
fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "3.0",
        Severity::Info => "0.5",
    }
}

/// A file's name as a relative reference (RFC 3986 section 4.2).
fn uri(file: &str) -> String {
    let mut uri = String::with_capacity(file.len());
    for byte in file.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(char::from(byte)),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}
