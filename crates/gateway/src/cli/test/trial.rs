//! One case: asked, and its answer held against what it expects.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use portcullis_config::{Case, Position};
use portcullis_policy::{Coverage, Denial, Explanation, Nearest, Outcome, Policy, RuleRef, ShadowFinding, StatedFacts};

use crate::answers::supposed::{QuestionError, Supposed};

/// One case and what came of it.
pub(super) struct Trial<'c> {
    pub(super) path: &'c Path,
    pub(super) case: &'c Case,
    pub(super) verdict: Verdict<'c>,
    pub(super) took: Duration,
}

impl Trial<'_> {
    /// The file and the line of a place in it.
    pub(super) fn place(&self, at: Position) -> String {
        format!("{}:{}", self.path.display(), at.line)
    }
}

pub(super) enum Verdict<'c> {
    Pass(Answer),
    Fail(Box<Failure>),
    /// Not asked, and why.
    Skip(&'c str),
}

/// What was expected otherwise, and the answer; without one the question could not be asked.
pub(super) struct Failure {
    pub(super) unmet: Vec<Unmet>,
    pub(super) answer: Option<Answer>,
}

/// One expectation that is not met.
pub(super) struct Unmet {
    pub(super) key: &'static str,
    pub(super) at: Position,
    pub(super) expected: String,
    pub(super) got: String,
}

/// What the policy answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    pub(super) status: u16,
    pub(super) reason: Option<&'static str>,
    pub(super) message: String,
    pub(super) rule: Option<RuleRef>,
    pub(super) nearest: Vec<Nearest>,
    pub(super) shadow: Vec<ShadowFinding>,
}

impl Answer {
    fn of(explanation: Explanation) -> Self {
        let Explanation { outcome, message, rule, trace, denial } = explanation;
        Self {
            outcome,
            status: denial.as_deref().map_or(200, Denial::status),
            reason: denial.as_deref().map(|denial| denial.reason.code()),
            message,
            rule,
            nearest: denial.map(|denial| denial.nearest).unwrap_or_default(),
            shadow: trace.shadow,
        }
    }

    /// What the gateway refuses for its form, before the policy is asked.
    fn malformed(code: &'static str, message: String) -> Self {
        let (outcome, reason) = (Outcome::Deny, Some(code));
        Self { outcome, status: 400, reason, message, rule: None, nearest: Vec::new(), shadow: Vec::new() }
    }
}

/// Asks a case as `can` would. `now` is the time of a case that says none. The texts are what the asker should know.
pub(super) fn ask<'c>(
    policy: &Policy,
    case: &'c Case,
    now: Timestamp,
    coverage: Option<&mut Coverage<'_>>,
) -> (Verdict<'c>, Vec<String>) {
    if let Some(why) = &case.skip {
        return (Verdict::Skip(why), Vec::new());
    }
    let facts = StatedFacts { at: Some(case.facts.at.unwrap_or(now)), ..case.facts.clone() };
    let (answer, remarks) = match Supposed::of(policy, &case.method, &case.url, &facts) {
        Ok(supposed) => {
            let request = supposed.request(policy);
            if let Some(coverage) = coverage {
                coverage.add(&request);
            }
            (Answer::of(policy.explain(&request)), supposed.remarks)
        }
        Err(QuestionError::Malformed(code, detail)) => (Answer::malformed(code, detail), Vec::new()),
        Err(QuestionError::Usage(text)) => {
            let expected = "a request that can be asked".to_owned();
            let unmet = vec![Unmet { key: "request", at: case.at, expected, got: text }];
            return (Verdict::Fail(Box::new(Failure { unmet, answer: None })), Vec::new());
        }
    };
    let unmet = compare(case, &answer);
    if unmet.is_empty() {
        return (Verdict::Pass(Answer { nearest: Vec::new(), ..answer }), remarks);
    }
    (Verdict::Fail(Box::new(Failure { unmet, answer: Some(answer) })), remarks)
}

/// Every expectation of a case that an answer does not meet, in the order in which they are documented.
fn compare(case: &Case, answer: &Answer) -> Vec<Unmet> {
    let mut unmet = Vec::new();
    let reason = case.reason.as_ref().map(|reason| reason.value.code());
    let said = |outcome: Outcome, reason: Option<&str>| match reason {
        Some(reason) => format!("{} {reason}", outcome.as_str()),
        None => outcome.as_str().to_owned(),
    };
    let same_outcome = case.outcome.value == answer.outcome;
    if !same_outcome || reason.is_some() && reason != answer.reason {
        let (key, at) = match &case.reason {
            Some(reason) if same_outcome => ("reason", reason.at),
            _ => ("expect", case.outcome.at),
        };
        let (expected, got) = (said(case.outcome.value, reason), said(answer.outcome, answer.reason));
        unmet.push(Unmet { key, at, expected, got });
    }
    if let Some(rule) = &case.rule
        && answer.rule.as_ref().is_none_or(|decisive| *decisive.name != *rule.value)
    {
        let expected = format!("rule `{}`", rule.value);
        let got = answer.rule.as_ref().map_or_else(|| "no rule".to_owned(), written_rule);
        unmet.push(Unmet { key: "rule", at: rule.at, expected, got });
    }
    if let Some(status) = case.status.as_ref().filter(|status| status.value != answer.status) {
        let expected = format!("status {}", status.value);
        unmet.push(Unmet { key: "status", at: status.at, expected, got: answer.status.to_string() });
    }
    if let Some(nearest) = &case.nearest {
        let needs = |each: &Nearest| each.needs.iter().cloned().collect::<BTreeSet<String>>();
        let met = match nearest.value.is_empty() {
            true => answer.nearest.is_empty(),
            false => answer.nearest.iter().any(|each| needs(each) == nearest.value),
        };
        if !met {
            let wanted: Vec<&str> = nearest.value.iter().map(String::as_str).collect();
            let given: Vec<String> = answer.nearest.iter().map(|each| each.needs.join(" and ")).collect();
            unmet.push(Unmet {
                key: "nearest",
                at: nearest.at,
                expected: suggestion(&wanted.join(" and ")),
                got: suggestion(&given.join("; ")),
            });
        }
    }
    if let Some(shadow) = case.shadow.as_ref().filter(|shadow| shadow.value == answer.shadow.is_empty()) {
        let expected = if shadow.value { "a shadow finding" } else { "no shadow finding" }.to_owned();
        let got = answer.shadow.first().map_or_else(|| "none".to_owned(), written_finding);
        unmet.push(Unmet { key: "shadow", at: shadow.at, expected, got });
    }
    unmet
}

fn suggestion(needs: &str) -> String {
    if needs.is_empty() { "no suggestion".to_owned() } else { format!("the suggestion {needs}") }
}

fn written_finding(finding: &ShadowFinding) -> String {
    let by = finding.rule.as_ref().map(|rule| format!(" by {}", written_rule(rule))).unwrap_or_default();
    format!("{}{by}", finding.outcome.as_str())
}

/// A rule with its kind and place.
pub(super) fn written_rule(rule: &RuleRef) -> String {
    format!("{} `{}` ({}:{})", rule.kind.as_str(), rule.name, rule.file, rule.line)
}
