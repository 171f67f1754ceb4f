//! Whether what happened is what the story expects: pure, from what was observed to the list of what differs.

use portcullis_events::ReasonCode;
use serde_json::{Value, json};

use crate::demo::exchange::{Answer, ExchangeError};
use crate::demo::story::{Evidence, Expected, Step};

/// The kind of the one event that a refusal makes.
pub(crate) const DENIED: &str = "access.denied";

/// What came of one request.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) answer: Result<Answer, ExchangeError>,
    /// How many requests reached the sample API meanwhile.
    pub(crate) reached: u64,
    /// The events that were written meanwhile.
    pub(crate) events: Vec<Value>,
}

impl Observed {
    /// The refusal's event, where there is one.
    pub(crate) fn event(&self) -> Option<&Value> {
        self.events.iter().find(|event| text(event, "/kind") == DENIED)
    }

    /// What was recorded besides.
    pub(crate) fn further_events(&self) -> impl Iterator<Item = &Value> {
        self.events.iter().filter(|event| text(event, "/kind") != DENIED)
    }

    /// The problem that the caller was told (RFC 9457); null where the answer is none.
    pub(crate) fn problem(&self) -> Value {
        match &self.answer {
            Ok(answer) if answer.header("content-type") == "application/problem+json" => {
                serde_json::from_str(&answer.body).unwrap_or_default()
            }
            Ok(_) | Err(_) => Value::Null,
        }
    }
}

/// A played step.
#[derive(Debug)]
pub(crate) struct Played {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) step: &'static Step,
    pub(crate) observed: Observed,
    /// What is not as expected.
    pub(crate) differences: Vec<String>,
}

impl Played {
    pub(crate) fn new(number: usize, step: &'static Step, observed: Observed) -> Self {
        let differences = differences(&step.expected, &observed);
        Self { number, step, observed, differences }
    }

    /// The step as one JSON object. It holds no credential.
    pub(crate) fn to_json(&self) -> Value {
        let Self { number, step, observed, differences } = self;
        let problem = observed.problem();
        let further: Vec<&Value> = observed.further_events().collect();
        json!({
            "step": number,
            "title": step.title,
            "request": {
                "method": step.method, "path": step.path, "client": step.client,
                "credential": step.caller.variable(), "command": step.command(),
            },
            "status": observed.answer.as_ref().ok().map(|answer| answer.status.as_u16()),
            "reason": problem.get("reason"),
            "upstream": observed.reached > 0,
            "expected": {
                "status": step.expected.status.as_u16(),
                "reason": step.expected.reason.map(ReasonCode::code),
                "upstream": step.expected.reason.is_none(),
            },
            "ok": differences.is_empty(),
            "differences": differences,
            "event": observed.event(),
            "further_events": further,
        })
    }
}

/// What is not as expected: the answer, whether the upstream was reached, the one event, and what they say.
fn differences(expected: &Expected, observed: &Observed) -> Vec<String> {
    let answer = match &observed.answer {
        Ok(answer) => answer,
        Err(error) => return vec![error.to_string()],
    };
    let mut found = Vec::new();
    let mut compare = |what: &str, expected: String, actual: String| {
        if expected != actual {
            found.push(format!("{what} is {actual}, not {expected}"));
        }
    };
    let problem = observed.problem();
    let reason = expected.reason.map_or("", ReasonCode::code);
    compare("the status", expected.status.as_u16().to_string(), answer.status.as_u16().to_string());
    compare("the reason", quoted(reason), quoted(text(&problem, "/reason")));
    let forwarded = u64::from(expected.reason.is_none());
    compare("the number of requests that reached the API", forwarded.to_string(), observed.reached.to_string());
    let denials = observed.events.iter().filter(|event| text(event, "/kind") == DENIED).count();
    compare("the number of refusals on record", u64::from(expected.reason.is_some()).to_string(), denials.to_string());
    if let Some(event) = observed.event() {
        compare("the event's reason", quoted(reason), quoted(text(event, "/reason")));
        compare("the event's id", quoted(answer.header("x-request-id")), quoted(text(event, "/id")));
        let status = event.pointer("/status").map_or_else(String::new, Value::to_string);
        compare("the event's status", expected.status.as_u16().to_string(), status);
    }
    found.extend(expected.evidence.iter().filter_map(|evidence| missing(*evidence, answer, observed)));
    found
}

/// What a piece of evidence lacks.
fn missing(evidence: Evidence, answer: &Answer, observed: &Observed) -> Option<String> {
    match evidence {
        Evidence::Body(wanted) => (!answer.body.contains(wanted)).then(|| format!("the body lacks {}", quoted(wanted))),
        Evidence::Header(name, wanted) => {
            let there = answer.headers.contains_key(name) && answer.header(name).contains(wanted);
            (!there)
                .then(|| format!("the header {name} is {}, without {}", quoted(answer.header(name)), quoted(wanted)))
        }
        Evidence::Event(pointer, wanted) => {
            let value = observed.event().map_or("", |event| text(event, pointer));
            (!value.contains(wanted))
                .then(|| format!("the event's {pointer} is {}, without {}", quoted(value), quoted(wanted)))
        }
        Evidence::FurtherEvent(kind) => {
            let there = observed.further_events().any(|event| text(event, "/kind") == kind);
            (!there).then(|| format!("no event {kind} was recorded"))
        }
    }
}

/// A string inside a JSON value; empty where there is none.
pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// The whole story in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) requests: usize,
    pub(crate) as_expected: usize,
    pub(crate) reached: u64,
    /// Answers with a problem of the gateway's.
    pub(crate) refusals: usize,
    /// Events of kind `access.denied`.
    pub(crate) denials: usize,
    /// The median time to decide, over the refusals that were decided, in microseconds.
    pub(crate) decision_us: Option<u64>,
}

impl Tally {
    pub(crate) fn of(played: &[Played]) -> Self {
        let observed = || played.iter().map(|each| &each.observed);
        let events = || observed().flat_map(|each| &each.events);
        let decisions = events().filter_map(|event| event.pointer("/latency_us/decision").and_then(Value::as_u64));
        Self {
            requests: played.len(),
            as_expected: played.iter().filter(|each| each.differences.is_empty()).count(),
            reached: observed().map(|each| each.reached).sum(),
            refusals: observed().filter(|each| !each.problem().is_null()).count(),
            denials: events().filter(|event| text(event, "/kind") == DENIED).count(),
            decision_us: median(decisions.collect()),
        }
    }

    /// Every answer was as expected, and there are as many events as refusals.
    pub(crate) fn is_good(&self) -> bool {
        self.requests == self.as_expected && self.refusals == self.denials
    }
}

/// The lower median.
fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;
    use crate::demo::story::STORY;

    const REFUSED: Expected = Expected {
        status: StatusCode::FORBIDDEN,
        reason: Some(ReasonCode::RbacNoMatchingGrant),
        evidence: &[Evidence::Event("/nearest/0/needs/0", "role:"), Evidence::Header("retry-after", "")],
    };
    const PERMITTED: Expected = Expected { status: StatusCode::OK, reason: None, evidence: &[Evidence::Body("alice")] };

    fn answer(status: u16, kind: &'static str, body: &str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(kind));
        headers.insert("x-request-id", HeaderValue::from_static("id-1"));
        headers.insert("retry-after", HeaderValue::from_static("1"));
        Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: body.to_owned() }
    }

    fn refusal(reason: &str) -> Answer {
        answer(403, "application/problem+json", &json!({ "reason": reason }).to_string())
    }

    fn denial(reason: &str) -> Value {
        json!({
            "kind": DENIED, "id": "id-1", "status": 403, "reason": reason,
            "nearest": [{ "needs": ["role:admin"] }], "latency_us": { "decision": 7 },
        })
    }

    fn observed(answer: Answer, reached: u64, events: Vec<Value>) -> Observed {
        Observed { answer: Ok(answer), reached, events }
    }

    #[track_caller]
    fn check(expected: &Expected, observed: &Observed, fragments: &[&str]) {
        let found = differences(expected, observed);
        assert_eq!(found.len(), fragments.len(), "{found:?}");
        for (found, fragment) in found.iter().zip(fragments) {
            assert!(found.contains(fragment), "{found}");
        }
    }

    #[test]
    fn what_is_as_expected_has_no_differences() {
        let code = "rbac.no_matching_grant";
        check(&REFUSED, &observed(refusal(code), 0, vec![denial(code), json!({ "kind": "ban.created" })]), &[]);
        check(&PERMITTED, &observed(answer(200, "application/json", "alice"), 1, Vec::new()), &[]);
    }

    #[test]
    fn each_deviation_is_named() {
        let code = "rbac.no_matching_grant";
        let good = || vec![denial(code)];
        check(&REFUSED, &observed(refusal("ban.active"), 0, good()), &["the reason is \"ban.active\""]);
        check(&REFUSED, &observed(refusal(code), 1, good()), &["reached the API is 1, not 0"]);
        let twice = vec![denial(code), denial(code)];
        check(&REFUSED, &observed(refusal(code), 0, twice), &["refusals on record is 2, not 1"]);
        let none = &["refusals on record is 0, not 1", "the event's /nearest/0/needs/0 is \"\""];
        check(&REFUSED, &observed(refusal(code), 0, Vec::new()), none);
        check(
            &REFUSED,
            &observed(refusal(code), 0, vec![denial("ban.active")]),
            &["the event's reason is \"ban.active\""],
        );
        let mut other = denial(code);
        other["id"] = json!("id-2");
        check(&REFUSED, &observed(refusal(code), 0, vec![other]), &["the event's id is \"id-2\""]);
        let permitted =
            &["the status is 200", "the reason is \"\"", "reached the API is 1", "on record is 0", "/nearest"];
        check(&REFUSED, &observed(answer(200, "application/json", "alice"), 1, Vec::new()), permitted);
        check(
            &PERMITTED,
            &observed(answer(200, "application/json", "bob"), 1, Vec::new()),
            &["the body lacks \"alice\""],
        );
    }

    #[test]
    fn no_answer_is_the_one_difference() {
        let silent = Observed { answer: Err(ExchangeError::Deadline), reached: 0, events: Vec::new() };
        check(&PERMITTED, &silent, &["no answer within"]);
    }

    #[test]
    fn the_tally_is_good_only_if_every_refusal_is_on_record() {
        let code = STORY[4].expected.reason.unwrap().code();
        let played = |observed| Played { number: 5, step: &STORY[4], observed, differences: Vec::new() };
        let good = [played(observed(refusal(code), 0, vec![denial(code)]))];
        let expected = Tally { requests: 1, as_expected: 1, reached: 0, refusals: 1, denials: 1, decision_us: Some(7) };
        assert_eq!(Tally::of(&good), expected);
        assert!(expected.is_good());
        assert!(!Tally { denials: 0, ..expected }.is_good());
        assert!(!Tally { as_expected: 0, ..expected }.is_good());
        assert!(!Tally::of(&[played(observed(refusal(code), 0, Vec::new()))]).is_good());
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        let check = |values: &[u64], expected| assert_eq!(median(values.to_vec()), expected);
        check(&[], None);
        check(&[4], Some(4));
        check(&[9, 1], Some(1));
        check(&[9, 1, 5], Some(5));
    }

    #[test]
    fn a_step_as_json_has_the_keys_of_the_contract() {
        let code = STORY[4].expected.reason.unwrap().code();
        let played = Played::new(5, &STORY[4], observed(refusal(code), 0, vec![denial(code)]));
        let json = played.to_json();
        assert_eq!(
            (json["step"].as_u64(), json["status"].as_u64(), json["ok"].as_bool()),
            (Some(5), Some(403), Some(false))
        );
        assert_eq!(json["reason"], code);
        assert_eq!(json["event"]["id"], "id-1");
        assert_eq!(json["request"]["credential"], "ALICE");
        assert_eq!(json["expected"], json!({ "status": 403, "reason": code, "upstream": false }));
    }
}
