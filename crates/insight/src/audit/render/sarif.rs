//! A report in SARIF 2.1.0 (OASIS), for whatever shows findings beside the lines that they are about.

use serde_json::{Value, json};

use super::{evidence, level, trial};
use crate::audit::finding::{Finding, Kind, Report};

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The report as one SARIF log with one run. `version`: the program's.
pub fn sarif(report: &Report, version: &str) -> Value {
    let rule = |kind: &Kind| {
        json!({
            "id": kind.id(),
            "name": kind.name(),
            "shortDescription": { "text": kind.meaning() },
        })
    };
    let results: Vec<Value> = report.findings.iter().map(result).collect();
    let notes: Vec<Value> = report
        .not_looked_at
        .iter()
        .map(|(kind, why)| json!({ "level": "note", "message": { "text": format!("{kind} was not looked for: {why}") } }))
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

fn result(finding: &Finding) -> Value {
    let mut words = vec![finding.message.clone()];
    words.extend(evidence(finding));
    words.push(format!("do: {}", finding.recommendation.change));
    words.extend(trial(finding));
    let rule = Kind::named(&finding.id).and_then(|kind| Kind::ALL.iter().position(|each| *each == kind));
    let locations: Vec<Value> = finding
        .place
        .iter()
        .map(|place| {
            json!({
                "physicalLocation": {
                    "artifactLocation": { "uri": uri(&place.file) },
                    // A line of zero is no line.
                    "region": { "startLine": place.line.max(1) },
                },
                "logicalLocations": [{ "name": place.name, "kind": place.kind }],
            })
        })
        .collect();
    let mut result = json!({
        "ruleId": finding.id,
        "ruleIndex": rule,
        "level": level(finding.severity),
        "message": { "text": words.join("; ") },
        "locations": locations,
        "partialFingerprints": { "portcullisFinding/v1": finding.fingerprint },
        "properties": {
            "severity": finding.severity.as_str(),
            "principal": finding.principal,
            "permission": finding.permission,
            "suggestion": finding.recommendation.toml,
        },
    });
    if !finding.is_open()
        && let Some(object) = result.as_object_mut()
    {
        object.insert("suppressions".to_owned(), json!([{ "kind": "external", "status": "accepted" }]));
    }
    result
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
