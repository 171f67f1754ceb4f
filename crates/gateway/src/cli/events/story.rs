//! An event as a person reads it: two lines, the first what happened, the second why and what next.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::answers::terminal::safe;

/// The event of a native line, in two lines. A line that is no event is shown as it is.
pub(crate) fn story_of_line(line: &str) -> String {
    serde_json::from_str(line).map_or_else(|_| safe(line), |event| story(&event, true))
}

/// The story; `dated`: with the day, where events of several days stand together.
pub(crate) fn story(event: &Value, dated: bool) -> String {
    let kind = text(event, "/kind");
    if kind == "access.denied" || kind == "access.allowed" {
        return format!("{} {}\n  {}", when(event, dated), what(event), why(event));
    }
    let who = text(event, "/identity/name");
    let who = if who.is_empty() { principal(event) } else { who };
    let by = if kind.starts_with("admin.") { format!(" by {who}") } else { String::new() };
    let refused = if kind.starts_with("admin.") && text(event, "/decision") == "deny" { " (not done)" } else { "" };
    format!("{} {}{by}{refused}\n  {}", when(event, dated), kind.to_uppercase(), text(event, "/message"))
}

/// In this machine's time zone, with its offset where there is a day.
fn when(event: &Value, dated: bool) -> String {
    let time = event.pointer("/time").and_then(Value::as_str).unwrap_or_default();
    let Ok(at) = time.parse::<Timestamp>() else { return safe(time) };
    let at = at.to_zoned(TimeZone::system());
    if dated { at.strftime("%F %T%:z").to_string() } else { at.strftime("%T").to_string() }
}

/// `DENY 403 alice GET billing.internal/api/invoices/7 from 203.0.113.7 (office)`
fn what(event: &Value) -> String {
    let mut words = vec![text(event, "/decision").to_uppercase(), text(event, "/status"), principal(event)];
    words.push(text(event, "/request/method"));
    words.push(format!("{}{}", text(event, "/request/host"), text(event, "/request/path")));
    let address = text(event, "/client/ip");
    let address = if address.is_empty() { text(event, "/client/peer_ip") } else { address };
    if !address.is_empty() {
        words.push(format!("from {address}"));
    }
    words.extend(network(event).map(|network| format!("({network})")));
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

/// The id alone of a user, `service:ID` of others; without a principal, `anonymous`.
fn principal(event: &Value) -> String {
    match (text(event, "/identity/type"), text(event, "/identity/id")) {
        (_, id) if id.is_empty() => "anonymous".to_owned(),
        (kind, id) if kind == "user" || kind.is_empty() => id,
        (kind, id) => format!("{kind}:{id}"),
    }
}

/// The network that the client was found in.
fn network(event: &Value) -> Option<String> {
    let checks = event.pointer("/checks")?.as_array()?;
    let check = checks.iter().find(|check| check.pointer("/name").and_then(Value::as_str) == Some("network"))?;
    text(check, "/detail").strip_prefix("in ").map(str::to_owned)
}

/// `rbac.no_matching_grant: …; nearest: role billing.reader (policy.toml:41); explain 0197…`
fn why(event: &Value) -> String {
    let mut parts = Vec::new();
    let (reason, message) = (text(event, "/reason"), text(event, "/message"));
    parts.push(if reason.is_empty() { message } else { format!("{reason}: {message}") });
    let nearest = event.pointer("/nearest/0");
    if let Some(nearest) = nearest {
        let needs = nearest.pointer("/needs").and_then(Value::as_array).into_iter().flatten();
        let needs: Vec<String> =
            needs.filter_map(Value::as_str).map(|need| safe(&need.replacen(':', " ", 1))).collect();
        let (file, line) = (text(nearest, "/file"), text(nearest, "/line"));
        let place = if file.is_empty() { String::new() } else { format!(" ({file}:{line})") };
        parts.push(format!("nearest: {}{place}", needs.join(" and ")));
    }
    parts.push(format!("explain {}", text(event, "/id")));
    parts.retain(|part| !part.is_empty());
    parts.join("; ")
}

/// A value as text that is safe for a terminal; empty where there is none.
fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => safe(text),
        Some(Value::Null) | None => String::new(),
        Some(other) => safe(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn denied() -> Value {
        json!({
            "id": "0197a000-0000-7000-8000-000000000001", "time": "2026-11-22T19:04:12.697123Z", "kind": "access.denied",
            "decision": "deny", "status": 403, "reason": "rbac.no_matching_grant", "message": "no role permits it",
            "request": { "method": "GET", "host": "billing.internal", "path": "/api/invoices/7" },
            "client": { "ip": "203.0.113.7" }, "identity": { "id": "alice", "type": "user" },
            "checks": [{ "name": "network", "outcome": "pass", "value": "203.0.113.7", "detail": "in office" }],
            "nearest": [{ "needs": ["role:billing.reader"], "grant": "g", "file": "policy.toml", "line": 41 }],
        })
    }

    #[track_caller]
    fn check(event: &Value, expected: &str) {
        let told = story(event, false);
        let (_, rest) = told.split_once(' ').unwrap();
        assert_eq!(rest, expected);
    }

    #[test]
    fn a_refusal_is_told_in_two_lines() {
        check(
            &denied(),
            "DENY 403 alice GET billing.internal/api/invoices/7 from 203.0.113.7 (office)\n  \
             rbac.no_matching_grant: no role permits it; nearest: role billing.reader (policy.toml:41); \
             explain 0197a000-0000-7000-8000-000000000001",
        );
        let nobody = json!({ "kind": "access.denied", "decision": "deny", "status": 400, "reason": "request.malformed",
            "message": "two hosts", "client": { "ip": null, "peer_ip": "192.0.2.1" }, "id": "x", "time": "" });
        check(&nobody, "DENY 400 anonymous from 192.0.2.1\n  request.malformed: two hosts; explain x");
    }

    #[test]
    fn what_operators_do_names_them() {
        let mut event = json!({ "kind": "admin.ban_add", "decision": "permit", "message": "192.0.2.1 is banned", "time": "",
            "identity": { "id": "1000", "name": "alice", "type": "operator" } });
        check(&event, "ADMIN.BAN_ADD by alice\n  192.0.2.1 is banned");
        event["identity"]["name"] = Value::Null;
        event["decision"] = "deny".into();
        check(&event, "ADMIN.BAN_ADD by operator:1000 (not done)\n  192.0.2.1 is banned");
        let started = json!({ "kind": "gateway.started", "message": "listening", "time": "" });
        check(&started, "GATEWAY.STARTED\n  listening");
    }

    #[test]
    fn nothing_in_an_event_speaks_to_the_terminal_or_makes_a_line() {
        let mut event = denied();
        for pointer in ["/message", "/request/path", "/request/host", "/identity/id", "/client/ip", "/reason", "/id"] {
            *event.pointer_mut(pointer).unwrap() = "a\u{1b}[2J\nb\u{202e}\u{9b}".into();
        }
        event["nearest"][0]["needs"][0] = "role:\n\u{1b}".into();
        event["checks"][0]["detail"] = "in \n\u{1b}".into();
        let told = story(&event, true);
        assert_eq!(told.lines().count(), 2, "{told}");
        assert!(told.chars().all(|character| character == '\n' || !character.is_control()), "{told:?}");
        assert!(!told.contains('\u{202e}'));
        let line = story_of_line("no \u{1b} event");
        assert_eq!(line, "no \\u{1b} event");
    }
}
