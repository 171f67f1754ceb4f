//! `explain`: every check of a decision, asked offline or read from the event of one that happened.

mod risk;

use std::time::Duration;

use portcullis_config::Loaded;
use portcullis_policy::{CheckOutcome, Outcome};
use portcullis_proxy::throttle::in_words;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::answers::explanation::{limits_json, malformed_json, to_json};
use crate::answers::supposed::QuestionError;
use crate::answers::terminal::safe;
use crate::cli::args::{ExplainArgs, Format, Global};
use crate::cli::configuration::loaded;
use crate::cli::facts;
use crate::cli::in_force::{self, is_asked};
use crate::cli::output::{answer, remark};
use crate::exit::Exit;

pub(crate) fn run(global: &Global, args: &ExplainArgs) -> Exit {
    if is_asked(global, args.live) {
        return in_force::explain(global, args).unwrap_or_else(|exit| exit);
    }
    let loaded = match loaded(global) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    match (&args.event, &args.method, &args.url) {
        (Some(id), _, _) => from_event(global, &loaded, *id),
        (None, Some(method), Some(url)) => supposed(global, &loaded, method, url, args),
        (None, _, _) => {
            remark("error: give METHOD and URL, or --event ID");
            Exit::Usage
        }
    }
}

fn supposed(global: &Global, loaded: &Loaded, method: &str, url: &str, args: &ExplainArgs) -> Exit {
    let policy = &loaded.policy;
    let explained = match facts::supposed(policy, method, url, &args.facts) {
        Ok(mut supposed) => {
            supposed.locate(policy, &loaded.geo);
            supposed.remarks.iter().for_each(|text| remark(&format!("note: {}", safe(text))));
            let route = supposed.route.and_then(|route| loaded.proxy.routes.get(route.index()));
            let limits = route.map(|route| limits_json(&route.limits)).unwrap_or_default();
            to_json(policy, &policy.explain(&supposed.request(policy)), &limits)
        }
        Err(QuestionError::Usage(text)) => {
            remark(&format!("error: {}", safe(&text)));
            return Exit::Usage;
        }
        Err(QuestionError::Malformed(code, detail)) => malformed_json(policy, url, code, &detail),
    };
    show(global, &explained)
}

/// One of them in a sentence.
fn limit_in_words(limit: &Value) -> String {
    let number = |key: &str| limit.get(key).and_then(Value::as_u64).unwrap_or_default();
    let per = limit.get("per").and_then(Value::as_str).unwrap_or_default();
    let name = limit.get("name").and_then(Value::as_str).unwrap_or_default();
    let words = match name {
        "rate_limit" => {
            let (requests, burst) = (number("requests"), number("burst"));
            let window = in_words(Duration::from_millis(number("window_ms")));
            format!("{requests} requests in {window} per {per} (burst {burst})")
        }
        "max_concurrent" => format!("{} at once per {per}", number("requests")),
        _ => format!("{} bytes", number("bytes")),
    };
    format!("  {name:<19}{words}")
}

/// Finds the event in the file sinks of the configuration that hold native events, newest file entry first.
fn from_event(global: &Global, loaded: &Loaded, id: Uuid) -> Exit {
    let mut looked = Vec::new();
    for sink in &loaded.events.sinks {
        let Some(path) = sink.native_file() else { continue };
        looked.push(path.display().to_string());
        match portcullis_events::read::find_in_file(path, id) {
            Ok(found) => {
                if found.too_long + found.malformed > 0 {
                    remark(&format!(
                        "note: {} lines of {} could not be read",
                        found.too_long + found.malformed,
                        path.display()
                    ));
                }
                if let Some(event) = found.event {
                    // The question was whether there is such an event.
                    show(global, &from_native(&event));
                    return Exit::Success;
                }
            }
            Err(error) => remark(&format!("note: {}: {error}", path.display())),
        }
    }
    if looked.is_empty() {
        remark(
            "error: no sink of kind \"file\" with native events is configured, so there is nothing to look the event up in",
        );
        return Exit::Unreachable;
    }
    remark(&format!("error: event {id} is not in {}", looked.join(", ")));
    Exit::Negative
}

/// The pinned form, from a recorded event.
pub(crate) fn from_native(event: &Value) -> Value {
    let policy = event.get("policy").cloned().unwrap_or_default();
    let rule = match policy.get("rule") {
        Some(Value::String(name)) => json!({ "name": name, "file": policy.get("file"), "line": policy.get("line") }),
        _ => Value::Null,
    };
    let part = |name: &str| event.get(name).cloned().unwrap_or_default();
    json!({
        "decision": part("decision"), "status": part("status"), "reason": part("reason"), "reasons": part("reasons"),
        "message": part("message"), "checks": part("checks"), "rule": rule, "nearest": part("nearest"),
        "shadow": part("shadow"), "risk": risk::part(event),
        "policy": { "version": policy.get("version"), "sha256": policy.get("sha256") },
        "event": { "id": part("id"), "time": part("time"), "kind": part("kind"), "request": part("request"),
                   "client": part("client"), "identity": part("identity") },
    })
}

pub(super) fn show(global: &Global, explained: &Value) -> Exit {
    match global.output {
        _ if global.quiet => {}
        Format::Human => for_people(explained).lines().for_each(|line| answer(&safe(line))),
        Format::Json => answer(&serde_json::to_string_pretty(explained).unwrap_or_default()),
        Format::Jsonl => answer(&explained.to_string()),
    }
    if explained.get("decision").and_then(Value::as_str) == Some(Outcome::Permit.as_str()) {
        Exit::Success
    } else {
        Exit::Negative
    }
}

pub(crate) fn for_people(explained: &Value) -> String {
    let text = |value: &Value, key: &str| match value.get(key) {
        Some(Value::String(text)) => safe(text),
        Some(Value::Null) | None => String::new(),
        Some(other) => safe(&other.to_string()),
    };
    let mut lines = Vec::new();
    if let Some(event) = explained.get("event") {
        let request = event.get("request").unwrap_or(&Value::Null);
        let client = event.get("client").unwrap_or(&Value::Null);
        lines.push(format!("event {} at {}", text(event, "id"), text(event, "time")));
        lines.push(format!(
            "{} {}{} from {}",
            text(request, "method"),
            text(request, "host"),
            text(request, "path"),
            text(client, "ip")
        ));
    }
    let reason = text(explained, "reason");
    let reason = if reason.is_empty() { reason } else { format!(" {reason}") };
    lines.push(format!("{}{reason} ({})", text(explained, "decision"), text(explained, "status")));
    lines.push(format!("  {}", text(explained, "message")));
    lines.push(String::new());
    for check in explained.get("checks").and_then(Value::as_array).into_iter().flatten() {
        let outcome = text(check, "outcome");
        let mark = match outcome.as_str() {
            word if word == CheckOutcome::Pass.as_str() => "ok  ",
            word if word == CheckOutcome::Fail.as_str() => "NO  ",
            word if word == CheckOutcome::Unknown.as_str() => "?   ",
            _ => "-   ",
        };
        let (value, detail) = (text(check, "value"), text(check, "detail"));
        let between = if value.is_empty() || detail.is_empty() { "" } else { ": " };
        lines.push(format!("  {mark}{:<15}{value}{between}{detail}", text(check, "name")));
    }
    if let Some(risk) = explained.get("risk") {
        lines.extend(risk::in_words(risk));
    }
    let limits = explained.get("limits").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !limits.is_empty() {
        lines.push(String::new());
        lines.push("the route limits, which is counted where it runs,".to_owned());
        lines.extend(limits.iter().map(limit_in_words));
    }
    let nearest = explained.get("nearest").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !nearest.is_empty() {
        lines.push(String::new());
        lines.push("would be permitted with".to_owned());
        for each in nearest {
            let needs = each.get("needs").and_then(Value::as_array).into_iter().flatten();
            let needs: Vec<String> = needs.filter_map(Value::as_str).map(safe).collect();
            let place = match (text(each, "grant"), text(each, "file"), text(each, "line")) {
                (_, file, _) if file.is_empty() => String::new(),
                (grant, file, line) if grant.is_empty() => format!("   ({file}:{line})"),
                (grant, file, line) => format!("   ({grant}, {file}:{line})"),
            };
            lines.push(format!("  {}{place}", needs.join(" and ")));
        }
    }
    lines.join("\n")
}
