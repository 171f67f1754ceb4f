//! Every check of a decision, in the pinned form.

use portcullis_policy::{Denial, Explanation, Nearest, Policy, ShadowFinding};
use portcullis_proxy::settings::RouteLimits;
use serde_json::{Value, json};

use super::standing::rule_json;
use super::verdict::asked;

/// The pinned form of a request that is refused for its form, before any policy is asked.
pub(crate) fn malformed_json(policy: &Policy, url: &str, code: &str, detail: &str) -> Value {
    json!({
        "decision": "deny", "status": 400, "reason": code, "message": detail,
        "checks": [{ "name": "request", "outcome": "fail", "value": url, "detail": detail }],
        "rule": null, "nearest": [],
        "policy": asked(policy),
    })
}

/// The pinned form of an explanation.
pub(crate) fn to_json(policy: &Policy, explanation: &Explanation, limits: &[Value]) -> Value {
    let denial = explanation.denial.as_deref();
    let checks: Vec<Value> = explanation
        .trace
        .checks
        .iter()
        .map(|check| {
            json!({
                "name": check.stage.as_str(), "outcome": check.outcome.as_str(),
                "value": check.value, "detail": check.detail,
            })
        })
        .collect();
    let nearest = denial.map(|denial| nearest_json(&denial.nearest)).unwrap_or_default();
    json!({
        "decision": explanation.outcome.as_str(),
        "status": denial.map_or(200, Denial::status),
        "reason": denial.map(|denial| denial.reason.code()),
        "reasons": denial.map(|denial| denial.reasons.iter().map(|reason| reason.code()).collect::<Vec<_>>()).unwrap_or_default(),
        "message": explanation.message,
        "checks": checks,
        "rule": explanation.rule.as_ref().map(rule_json),
        "nearest": nearest,
        "limits": limits,
        "shadow": shadow_json(&explanation.trace.shadow),
        "roles": explanation.trace.roles.iter().map(|role| &**role).collect::<Vec<_>>(),
        "policy": asked(policy),
    })
}

/// The changes that would permit it.
pub(crate) fn nearest_json(nearest: &[Nearest]) -> Vec<Value> {
    let one = |each: &Nearest| {
        let at = each.at.as_ref();
        json!({
            "needs": each.needs, "grant": each.grant.as_ref().map(|rule| &*rule.name),
            "file": at.map(|rule| &*rule.file), "line": at.map(|rule| rule.line),
        })
    };
    nearest.iter().map(one).collect()
}

/// What rules that only report would have said.
pub(crate) fn shadow_json(shadow: &[ShadowFinding]) -> Vec<Value> {
    let one = |finding: &ShadowFinding| {
        json!({
            "decision": finding.outcome.as_str(), "reason": finding.reason.map(|reason| reason.code()),
            "rule": finding.rule.as_ref().map(rule_json),
        })
    };
    shadow.iter().map(one).collect()
}

/// What the route limits besides: nobody can say offline how much of it is used up.
pub(crate) fn limits_json(limits: &RouteLimits) -> Vec<Value> {
    let rates = limits.rates.iter().map(|rate| {
        json!({
            "name": "rate_limit", "per": rate.per.as_str(), "requests": rate.requests,
            "window_ms": u64::try_from(rate.window.as_millis()).unwrap_or(u64::MAX), "burst": rate.burst,
        })
    });
    let concurrent = [("principal", limits.concurrent.principal), ("route", limits.concurrent.route)];
    let concurrent = concurrent
        .into_iter()
        .filter_map(|(per, most)| Some(json!({ "name": "max_concurrent", "per": per, "requests": most? })));
    let bodies = [("max_request_body", limits.max_request_body), ("max_response_body", limits.max_response_body)];
    let bodies = bodies.into_iter().filter_map(|(name, most)| Some(json!({ "name": name, "bytes": most? })));
    rates.chain(concurrent).chain(bodies).collect()
}
