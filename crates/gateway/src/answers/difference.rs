//! How two policies differ: for a machine, and for people.

use std::fmt::Write as _;

use jiff::Timestamp;
use portcullis_policy::{
    ChangedClass, ChangedPlace, Effect, ExampleAnswer, ExampleIdentity, Policy, PolicyDiff, Principal, RiskLevel,
    RuleRef,
};
use serde_json::{Value, json};

use super::terminal::quoted;

/// All of it, for a machine. `names`: what the two are called.
pub(crate) fn to_report(names: [&str; 2], policies: [&Policy; 2], diff: &PolicyDiff) -> Value {
    let ([before, after], [before_name, after_name]) = (policies, names);
    let side = |name: &str, policy: &Policy| json!({ "file": name, "sha256": policy.sha256() });
    json!({
        "effect": diff.effect().as_str(),
        "complete": diff.incomplete.is_empty(),
        "incomplete": diff.incomplete,
        "before": side(before_name, before),
        "after": side(after_name, after),
        "classes": diff.classes.iter().map(|class| to_json(policies, class)).collect::<Vec<_>>(),
    })
}

/// The same for people.
pub(crate) fn for_people(names: [&str; 2], policies: [&Policy; 2], diff: &PolicyDiff, now: Timestamp) -> String {
    let mut text = String::new();
    for class in &diff.classes {
        let _ = write_class(&mut text, policies, class, now);
    }
    for sentence in &diff.incomplete {
        let _ = writeln!(text, "incomplete: {sentence}");
    }
    let count = |effect: Effect| diff.classes.iter().filter(|class| class.effect() == effect).count();
    let names = names.join(" to ");
    let _ = match diff.effect() {
        Effect::None if diff.classes.is_empty() => writeln!(text, "{names}: every request is answered alike"),
        effect => writeln!(
            text,
            "{names}: {}; {} loosen, {} tighten, {} only for another reason",
            effect.as_str(),
            count(Effect::Loosens),
            count(Effect::Tightens),
            count(Effect::None)
        ),
    };
    text
}

fn write_class(text: &mut String, policies: [&Policy; 2], class: &ChangedClass, now: Timestamp) -> std::fmt::Result {
    let effect = match class.effect() {
        Effect::None | Effect::Mixed => "changes",
        effect => effect.as_str(),
    };
    writeln!(text, "{effect}: {} becomes {}", class.before.outcome.as_str(), class.after.outcome.as_str())?;
    for place in &class.places {
        writeln!(text, "  where    {}", shown_place(place))?;
    }
    if class.more_places > 0 {
        writeln!(text, "           and {} more places", class.more_places)?;
    }
    let more = if class.more_callers > 0 { format!(" and {} more", class.more_callers) } else { String::new() };
    writeln!(text, "  who      {}{more}", class.callers.join(", "))?;
    for claims in &class.claims {
        writeln!(text, "  with     {}", claims.join(" or "))?;
    }
    for circumstance in &class.when {
        writeln!(text, "  {:8} {}", circumstance.fact, circumstance.values.join(" or "))?;
    }
    writeln!(text, "  before   {}", shown_answer(&class.before))?;
    writeln!(text, "  after    {}", shown_answer(&class.after))?;
    if !class.is_uniform {
        writeln!(text, "           (reasons and rules of the example: the rest may have others)")?;
    }
    let past = if class.example.now < now { " (past)" } else { "" };
    writeln!(text, "  example  {}{past}\n", example_command(policies, class))
}

fn shown_place(place: &ChangedPlace) -> String {
    let methods = place.methods.join(",");
    let route = match &place.routes {
        [Some(before), Some(after)] if before == after => format!("route {before}"),
        [Some(before), Some(after)] => format!("route {before}, then {after}"),
        [None, Some(after)] => format!("no route, then {after}"),
        [Some(before), None] => format!("route {before}, then none"),
        [None, None] => "no route".to_owned(),
    };
    format!("{methods} {}{}  ({route})", place.host.as_deref().unwrap_or_default(), place.path)
}

fn shown_answer(answer: &ExampleAnswer) -> String {
    let reason = answer.reason.map(|reason| format!(" {}", reason.code())).unwrap_or_default();
    let rule = |rule: &RuleRef| format!(" by {} {} ({}:{})", rule.kind.as_str(), rule.name, rule.file, rule.line);
    format!("{}{reason}{}", answer.outcome.as_str(), answer.rule.as_ref().map(rule).unwrap_or_default())
}

/// The example as a question to `can`, as far as its facts can be stated there.
fn example_command(policies: [&Policy; 2], class: &ChangedClass) -> String {
    let example = &class.example;
    let mut words = vec![format!("can {} http://{}{}", example.method, example.host, example.path.as_str())];
    let mut add = |flag: &str, value: String| words.push(format!("--{flag} {}", quoted(&value)));
    if let ExampleIdentity::Verified(who) = &example.identity {
        add("as", who.reference());
        who.groups.iter().for_each(|claim| add("group", claim.name.to_string()));
        who.roles.iter().for_each(|role| add("role", role.to_string()));
        if let Some(compliant) = who.device.as_ref().and_then(|device| device.compliant) {
            add("device", if compliant { "compliant" } else { "noncompliant" }.to_owned());
        }
        if is_mfa_fresh(policies, who, example.now) {
            add("assurance", "mfa".to_owned());
        }
        // Who is said to have a fresh mfa has just authenticated.
        let ago = authenticated_s(who, example.now).filter(|ago| *ago > 0 || !is_mfa_fresh(policies, who, example.now));
        if let Some(ago) = ago {
            add("authenticated", format!("{ago}s"));
        }
    }
    if let Some(address) = example.client.ip() {
        add("ip", address.to_string());
    }
    if let Some(country) = example.country {
        add("country", country.as_str().to_owned());
    }
    let level = example_level(policies, class);
    if level != RiskLevel::Low {
        add("risk", level.as_str().to_owned());
    }
    example.activations.iter().for_each(|each| add("activated", each.gives.to_string()));
    add("at", example.now.to_string());
    let unstatable = match &example.identity {
        ExampleIdentity::Anonymous | ExampleIdentity::Verified(_) => "",
        ExampleIdentity::Rejected(_) => " (with a bad credential)",
        ExampleIdentity::Unavailable(_) => " (with a credential that cannot be checked)",
    };
    format!("{}{unstatable}", words.join(" "))
}

fn is_mfa_fresh(policies: [&Policy; 2], who: &Principal, now: Timestamp) -> bool {
    policies.iter().all(|policy| policy.is_mfa_fresh(who, now))
}

fn example_level([before, _]: [&Policy; 2], class: &ChangedClass) -> RiskLevel {
    let route = class.example.ask(before).route;
    route.map_or(RiskLevel::Low, |route| before.risk_level(route, &class.example.risk).0)
}

/// One class of requests that are answered otherwise, for a machine.
pub(crate) fn to_json(policies: [&Policy; 2], class: &ChangedClass) -> Value {
    let side = |answer: &ExampleAnswer| {
        let rule = answer.rule.as_ref();
        json!({
            "decision": answer.outcome.as_str(),
            "reason": answer.reason.map(|reason| reason.code()),
            "rule": rule.map(|rule| json!({ "name": &*rule.name, "file": &*rule.file, "line": rule.line })),
        })
    };
    let place = |place: &ChangedPlace| {
        let [before, after] = &place.routes;
        json!({
            "route_before": before, "route_after": after, "host": place.host, "path": place.path, "methods": place.methods,
        })
    };
    let when: Vec<Value> = class.when.iter().map(|each| json!({ "fact": each.fact, "values": each.values })).collect();
    json!({
        "effect": class.effect().as_str(),
        "before": side(&class.before),
        "after": side(&class.after),
        "places": class.places.iter().map(place).collect::<Vec<_>>(),
        "more_places": class.more_places,
        "callers": class.callers,
        "more_callers": class.more_callers,
        "claims": class.claims,
        "when": when,
        "uniform": class.is_uniform,
        "example": example_json(policies, class),
    })
}

/// How many seconds before that somebody authenticated.
fn authenticated_s(who: &Principal, now: Timestamp) -> Option<i64> {
    who.authentication.auth_time.map(|at| now.as_second().saturating_sub(at.as_second()))
}

fn example_json(policies: [&Policy; 2], class: &ChangedClass) -> Value {
    let example = &class.example;
    let who = match &example.identity {
        ExampleIdentity::Verified(who) => Some(who),
        ExampleIdentity::Anonymous | ExampleIdentity::Rejected(_) | ExampleIdentity::Unavailable(_) => None,
    };
    let identity = match &example.identity {
        ExampleIdentity::Anonymous => "anonymous",
        ExampleIdentity::Verified(_) => "verified",
        ExampleIdentity::Rejected(_) => "rejected",
        ExampleIdentity::Unavailable(_) => "unavailable",
    };
    json!({
        "request": format!("{} {}", example.method, example.path.as_str()),
        "host": example.host,
        "identity": identity,
        "as": who.map(Principal::reference),
        "groups": who.map(|who| who.groups.iter().map(|claim| &*claim.name).collect::<Vec<_>>()),
        "roles": who.map(|who| who.roles.iter().map(|role| &**role).collect::<Vec<_>>()),
        "device": who.and_then(|who| who.device.as_ref()).and_then(|device| device.compliant),
        "assurance": who.is_some_and(|who| is_mfa_fresh(policies, who, example.now)).then_some("mfa"),
        "authenticated_s": who.and_then(|who| authenticated_s(who, example.now)),
        "ip": example.client.ip(),
        "country": example.country.as_ref().map(|country| country.as_str()),
        "risk": example_level(policies, class).as_str(),
        "evidence": example.risk.has_evidence(),
        "activated": example.activations.iter().map(|each| each.gives.to_string()).collect::<Vec<_>>(),
        "at": example.now.to_string(),
        "command": example_command(policies, class),
    })
}
