//! Whether something is in force, why a route refuses, and where a rule stands: in words, and as JSON.

use portcullis_policy::{AuthenticationRule, Demands, Need, Obstacle, Outcome, RuleRef, Standing};
use serde_json::{Value, json};

/// In a few words; a need of which the fact is unknown has a question mark.
pub(crate) fn words(standing: &Standing) -> String {
    match standing {
        Standing::Now => "now".to_owned(),
        Standing::Needs(needs) => format!("needs {}", needs_in_words(needs)),
        Standing::NotYetActive(starts) => format!("from {starts}"),
        Standing::Expired(expires) => format!("expired {expires}"),
    }
}

/// The same of a deny, which is none where it is not in force.
pub(crate) fn deny_words(standing: &Standing) -> String {
    match standing {
        Standing::Now => "denied now".to_owned(),
        Standing::Needs(needs) if standing.may_be_now() => format!("undecided: denied if {}", needs_in_words(needs)),
        Standing::Needs(needs) => format!("denied if {}", needs_in_words(needs)),
        Standing::NotYetActive(starts) => format!("denied from {starts}"),
        Standing::Expired(expires) => format!("denied until {expires}"),
    }
}

fn needs_in_words(needs: &[Need]) -> String {
    let words = needs.iter().map(|need| format!("{need}{}", if need.unknown { "?" } else { "" }));
    words.collect::<Vec<_>>().join(" and ")
}

/// Why a route refuses, in a line.
pub(crate) fn obstacle_words(obstacle: &Obstacle) -> String {
    let needs = match obstacle.needs.as_slice() {
        [] if obstacle.outcome == Outcome::Undecided => {
            ": whether the client is in these networks is unknown".to_owned()
        }
        [] => String::new(),
        needs => format!(" needs {}", needs_in_words(needs)),
    };
    let place = obstacle.rule.as_ref().map(|rule| format!(" ({})", place(rule))).unwrap_or_default();
    format!("{} {}{needs}{place}", obstacle.outcome.as_str(), obstacle.reason.code())
}

/// What a route demands, in a line.
pub(crate) fn demand_words(demands: &Demands) -> String {
    let list = |word: &str, names: &[std::sync::Arc<str>]| match names {
        [] => String::new(),
        names => format!("; {word} {}", names.join(", ")),
    };
    let shadow = if demands.shadow { " (only reported)" } else { "" };
    format!(
        "authentication {}{}{}{shadow}",
        authentication(demands.authentication),
        list("from", &demands.allow),
        list("not from", &demands.deny)
    )
}

/// The word of a policy file.
pub(crate) fn authentication(rule: AuthenticationRule) -> &'static str {
    match rule {
        AuthenticationRule::Required => "required",
        AuthenticationRule::Optional => "optional",
        AuthenticationRule::None => "none",
        AuthenticationRule::Certificate => "certificate",
    }
}

/// Where a rule stands.
pub(crate) fn place(rule: &RuleRef) -> String {
    format!("{}:{}", rule.file, rule.line)
}

/// `state`, `needs`, `unknown` and `at`, to be part of an object.
pub(crate) fn standing_json(standing: &Standing) -> Vec<(&'static str, Value)> {
    let (needs, unknown) = needs_json(standing.needs());
    vec![
        ("state", json!(standing.as_str())),
        ("needs", needs),
        ("unknown", unknown),
        ("at", json!(standing.instant().map(|at| at.to_string()))),
    ]
}

/// All needs, and those of them of which the fact is unknown.
fn needs_json(needs: &[Need]) -> (Value, Value) {
    let texts = |wanted: fn(&&Need) -> bool| needs.iter().filter(wanted).map(|need| need.text.as_str()).collect();
    let (all, unknown): (Vec<&str>, Vec<&str>) = (texts(|_| true), texts(|need| need.unknown));
    (json!(all), json!(unknown))
}

/// Why a route refuses, for a machine.
pub(crate) fn obstacle_json(obstacle: &Obstacle) -> Value {
    let (needs, unknown) = needs_json(&obstacle.needs);
    json!({
        "stage": obstacle.stage.as_str(), "decision": obstacle.outcome.as_str(), "reason": obstacle.reason.code(),
        "needs": needs, "unknown": unknown, "rule": obstacle.rule.as_ref().map(rule_json),
    })
}

/// What a route demands, for a machine.
pub(crate) fn demands_json(demands: &Demands) -> Value {
    json!({
        "authentication": authentication(demands.authentication),
        "networks": { "allow": demands.allow, "deny": demands.deny, "shadow": demands.shadow },
        "rule": demands.rule.as_ref().map(rule_json),
    })
}

/// A rule, and where it stands.
pub(crate) fn rule_json(rule: &RuleRef) -> Value {
    json!({ "kind": rule.kind.as_str(), "name": &*rule.name, "file": &*rule.file, "line": rule.line })
}

/// One object from parts.
pub(crate) fn object(parts: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Object(parts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}
