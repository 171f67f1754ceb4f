//! The demo as a person reads it: request, answer, event. Pure: from what was played to lines of at most 100 columns.

use std::net::SocketAddr;

use clap::builder::styling::{AnsiColor, Style};
use http::StatusCode;
use serde_json::Value;

use crate::demo::exchange::Answer;
use crate::demo::stay::Invitation;
use crate::demo::typesetting::{clean, shortened, wrap};
use crate::demo::verdict::{Played, Tally, text};

const WIDTH: usize = 100;
/// Where the facts of a step begin, and where their values do.
const INDENT: usize = 4;
const LABEL: usize = 9;
/// The width of a value.
const ROOM: usize = WIDTH - INDENT - LABEL;

/// Writes lines with or without colour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    colour: bool,
}

impl Page {
    pub(crate) fn new(colour: bool) -> Self {
        Self { colour }
    }

    /// What is about to be seen.
    pub(crate) fn opening(self, gateway: SocketAddr, sample_api: SocketAddr) -> Vec<String> {
        let text = format!(
            "A gateway on {gateway} protects a sample billing API on {sample_api}. Both run in this process, with \
             credentials that were made a moment ago. The demo sends the requests over TCP and plays the trusted proxy \
             in front, so x-forwarded-for says who the client is. $GW is the gateway; $ALICE and the like hold a header \
             with a credential."
        );
        wrap(&text, WIDTH)
    }

    /// One step: what was asked, what was answered, what was recorded.
    pub(crate) fn step(self, played: &Played) -> Vec<String> {
        if played.step.is_repetition && played.differences.is_empty() {
            return self.repetition(played);
        }
        let mut lines = vec![String::new(), self.headline(played, "")];
        lines.push(self.paint(dimmed(), &format!("{:INDENT$}$ {}", "", played.step.command())));
        if let Ok(answer) = &played.observed.answer {
            lines.extend(self.answer(played, answer));
        }
        lines.extend(played.observed.event().into_iter().flat_map(|event| self.event(event)));
        lines.extend(self.further_events(played));
        for difference in &played.differences {
            lines.extend(self.fact(red(), "WRONG", difference));
        }
        lines
    }

    fn headline(self, played: &Played, rest: &str) -> String {
        format!("{:>2}  {}{rest}", played.number, self.paint(Style::new().bold(), played.step.title))
    }

    fn repetition(self, played: &Played) -> Vec<String> {
        let mut rest = String::new();
        if let (Ok(answer), Some(event)) = (&played.observed.answer, played.observed.event()) {
            rest = format!("  {}, event {}", self.status(answer.status), clean(text(event, "/reason")));
        }
        let mut lines = vec![self.headline(played, &rest)];
        lines.extend(self.further_events(played));
        lines
    }

    fn status(self, status: StatusCode) -> String {
        let style = match status.as_u16() {
            200..=299 => AnsiColor::Green.on_default().bold(),
            401 => AnsiColor::Yellow.on_default().bold(),
            _ => red().bold(),
        };
        let phrase = status.canonical_reason().unwrap_or_default();
        self.paint(style, format!("{} {phrase}", status.as_u16()).trim_end())
    }

    /// What the caller got.
    fn answer(self, played: &Played, answer: &Answer) -> Vec<String> {
        let status = format!("{:INDENT$}{}", "", self.status(answer.status));
        let problem = played.observed.problem();
        if problem.is_null() {
            let from = if played.observed.reached > 0 { " from the sample API, and no event" } else { "" };
            let mut lines = vec![format!("{status}{from}")];
            lines.extend(self.fact(Style::new(), "body", &answer.body.trim_end().replace('\n', " ⏎ ")));
            return lines;
        }
        let mut lines = vec![status];
        lines.extend(self.fact(Style::new(), "told", &shortened(text(&problem, "/detail"), ROOM)));
        let challenge = answer.header("www-authenticate");
        if !challenge.is_empty() {
            lines.extend(self.fact(Style::new(), "asked", &short_challenge(challenge)));
        }
        let wait = answer.header("retry-after");
        if !wait.is_empty() {
            lines.extend(self.fact(Style::new(), "wait", &format!("{wait} s, says retry-after")));
        }
        lines
    }

    /// What the operator is told: the facts of a refusal's event.
    fn event(self, event: &Value) -> Vec<String> {
        let head = format!("{}, severity {}, {}", text(event, "/reason"), text(event, "/severity"), text(event, "/id"));
        let mut lines = self.fact(AnsiColor::Cyan.on_default(), "event", &head);
        lines.extend(self.fact(Style::new(), "because", text(event, "/message")));
        let rule = event.pointer("/policy").map(|policy| place(policy, "/rule")).unwrap_or_default();
        if !rule.is_empty() {
            lines.extend(self.fact(Style::new(), "rule", &rule));
        }
        let nearest = nearest(event);
        if !nearest.is_empty() {
            lines.extend(self.fact(Style::new(), "nearest", &nearest));
        }
        let checks = checks(event);
        if !checks.is_empty() {
            lines.extend(self.fact(Style::new(), "checks", &checks));
        }
        lines
    }

    fn further_events(self, played: &Played) -> Vec<String> {
        let events = played.observed.further_events();
        events.flat_map(|event| self.further_event(event)).collect()
    }

    fn further_event(self, event: &Value) -> Vec<String> {
        let said = format!("{}: {}", text(event, "/kind"), text(event, "/message"));
        self.fact(AnsiColor::Cyan.on_default(), "event", &said)
    }

    /// An event on its own, for the time after the story.
    pub(crate) fn news(self, event: &Value) -> Vec<String> {
        let refused = event.pointer("/status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
        let Some(status) = refused.and_then(|status| StatusCode::from_u16(status).ok()) else {
            return self.further_event(event);
        };
        let (method, path) = (clean(text(event, "/request/method")), clean(text(event, "/request/path")));
        let mut lines = vec![
            String::new(),
            format!("    {} {method} {path} from {}", self.status(status), clean(text(event, "/client/ip"))),
        ];
        lines.extend(self.event(event));
        lines
    }

    /// The story in numbers.
    pub(crate) fn closing(self, tally: &Tally) -> Vec<String> {
        let style = if tally.is_good() { AnsiColor::Green.on_default().bold() } else { red().bold() };
        let first = format!("{} requests, {} as expected", tally.requests, tally.as_expected);
        let Tally { reached, refusals, denials, .. } = tally;
        let equal = if refusals == denials { "=" } else { "but" };
        let mut second = format!("{reached} reached the sample API; {refusals} refusals {equal} {denials} events");
        if let Some(us) = tally.decision_us {
            second.push_str(&format!("; median decision time {us} µs"));
        }
        vec![String::new(), self.paint(style, &first), second]
    }

    /// What can be tried now. Commands are not broken, so that they can be pasted.
    pub(crate) fn invitation(self, invitation: &Invitation) -> Vec<String> {
        let folder = invitation.folder.display();
        let mut lines = vec![
            String::new(),
            self.paint(Style::new().bold(), "The gateway stays up until Ctrl-C, and what it refuses is told here."),
            format!("Everything is in {folder}, for your eyes alone, and is removed at the end."),
            String::new(),
        ];
        let policy = format!("{}, then: kill -HUP {}", invitation.policy.display(), invitation.process_id);
        lines.push(format!("{:INDENT$}{:LABEL$}{policy}", "", "edit"));
        if let Some(ops) = invitation.ops {
            lines.push(format!("{:INDENT$}{:LABEL$}http://{ops}/metrics (and /livez, /readyz)", "", "ops"));
        }
        lines.push(String::new());
        lines.push("Paste into another terminal:".to_owned());
        lines.push(String::new());
        lines.push(format!("{:INDENT$}. {}", "", invitation.credentials.display()));
        let commands = invitation.commands.iter().chain(&invitation.explain);
        lines.extend(commands.map(|command| format!("{:INDENT$}{command}", "")));
        lines
    }

    /// A label and its value, which goes on below itself where it is long.
    pub(crate) fn fact(self, style: Style, label: &str, value: &str) -> Vec<String> {
        let begin = |label: &str| format!("{:INDENT$}{}", "", self.paint(style, &format!("{label:LABEL$}")));
        let value = wrap(&clean(value), ROOM);
        value
            .iter()
            .enumerate()
            .map(|(index, line)| format!("{}{line}", begin(if index == 0 { label } else { "" })))
            .collect()
    }

    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

fn red() -> Style {
    AnsiColor::Red.on_default()
}

fn dimmed() -> Style {
    Style::new().dimmed()
}

/// A challenge without the part that says in words what its code says.
fn short_challenge(challenge: &str) -> String {
    let parts = challenge.split(", ").filter(|part| !part.starts_with("error_description="));
    parts.collect::<Vec<_>>().join(", ")
}

/// `name (file:line)`, of a JSON object that has these; empty without a name.
fn place(object: &Value, name: &str) -> String {
    let (name, file) = (text(object, name), text(object, "/file"));
    match object.pointer("/line").and_then(Value::as_u64) {
        Some(line) if !name.is_empty() => format!("{name} ({file}:{line})"),
        _ => name.to_owned(),
    }
}

/// The smallest set of changes that would let the request pass, with the grant that would then do so.
fn nearest(event: &Value) -> String {
    let sets = event.pointer("/nearest").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let Some(first) = sets.first() else { return String::new() };
    let needs = first.pointer("/needs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut said = needs.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" and ");
    let grant = place(first, "/grant");
    if !grant.is_empty() {
        said.push_str(&format!(", by {grant}"));
    }
    match sets.len() - 1 {
        0 => said,
        1 => said + "; the event has another",
        more => format!("{said}; the event has {more} more"),
    }
}

/// Every stage of the decision with a mark. Of several grants one that passes is enough.
fn checks(event: &Value) -> String {
    let mut stages: Vec<(&str, Mark)> = Vec::new();
    for check in event.pointer("/checks").and_then(Value::as_array).into_iter().flatten() {
        let (name, mark) = (text(check, "/name"), Mark::of(text(check, "/outcome")));
        match stages.last_mut() {
            Some((last, best)) if *last == name => *best = mark.max(*best),
            _ => stages.push((name, mark)),
        }
    }
    stages.iter().map(|(name, mark)| format!("{name} {}", mark.sign())).collect::<Vec<_>>().join("  ")
}

/// How a stage went, the best last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Skipped,
    Fail,
    Unknown,
    Pass,
}

impl Mark {
    fn of(outcome: &str) -> Self {
        match outcome {
            "pass" => Self::Pass,
            "fail" => Self::Fail,
            "unknown" => Self::Unknown,
            _ => Self::Skipped,
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Skipped => "–",
            Self::Fail => "✗",
            Self::Unknown => "?",
            Self::Pass => "✓",
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use serde_json::json;

    use super::*;
    use crate::demo::story::STORY;
    use crate::demo::verdict::Observed;

    fn denial() -> Value {
        json!({
            "kind": "access.denied", "id": "0197aaaa-0000-7000-8000-000000000001", "severity": "medium", "status": 403,
            "reason": "rbac.no_matching_grant",
            "message": "user:alice may not DELETE /api/invoices/7: ".to_owned() + &"on route billing ".repeat(12),
            "policy": { "rule": "a-rule", "file": "policy.toml", "line": 12 },
            "request": { "method": "GET", "path": "/api/\u{1b}[2J" }, "client": { "ip": "192.0.2.1" },
            "nearest": [
                { "needs": ["device:compliant", "role:admin"], "grant": "bob", "file": "policy.toml", "line": 40 },
                { "needs": ["role:root"], "grant": null, "file": null, "line": null },
            ],
            "checks": [
                { "name": "ban", "outcome": "pass" }, { "name": "grants", "outcome": "fail" },
                { "name": "grants", "outcome": "unknown" }, { "name": "risk", "outcome": "skipped" },
            ],
        })
    }

    fn played(number: usize, events: Vec<Value>) -> Played {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/problem+json"));
        let body = json!({ "reason": "rbac.no_matching_grant", "detail": "You may not do this." }).to_string();
        let answer = Answer { status: StatusCode::FORBIDDEN, headers, body };
        Played {
            number,
            step: &STORY[4],
            observed: Observed { answer: Ok(answer), reached: 0, events },
            differences: Vec::new(),
        }
    }

    #[test]
    fn a_step_tells_request_answer_and_event_in_100_columns() {
        let lines = Page::new(false).step(&played(5, vec![denial()]));
        for line in &lines {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        let text = lines.join("\n");
        for part in [
            "\n 5  Alice tries to delete the invoice.",
            "\n    $ curl -X DELETE $GW/api/invoices/7 ",
            "\n    403 Forbidden\n    told     “You may not do this.”\n",
            "\n    event    rbac.no_matching_grant, severity medium, 0197aaaa-",
            "\n    because  user:alice may not DELETE",
            "\n             billing on route",
            "\n    rule     a-rule (policy.toml:12)\n",
            "\n    nearest  device:compliant and role:admin, by bob (policy.toml:40); the event has another\n",
            "\n    checks   ban ✓  grants ?  risk –",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }

    #[test]
    fn what_differs_is_told() {
        let mut wrong = played(5, Vec::new());
        wrong.differences = vec!["the status is 200, not 403".to_owned()];
        let lines = Page::new(false).step(&wrong);
        assert_eq!(lines.last().map(String::as_str), Some("    WRONG    the status is 200, not 403"));
    }

    #[test]
    fn colour_is_used_only_where_it_is_wanted() {
        let plain = Page::new(false).step(&played(5, vec![denial()])).concat();
        let coloured = Page::new(true).step(&played(5, vec![denial()])).concat();
        assert!(!plain.contains('\u{1b}') && coloured.contains("\u{1b}["));
    }

    #[test]
    fn nothing_that_a_caller_chose_steers_the_terminal() {
        let news = Page::new(false).news(&denial()).concat();
        assert!(news.contains("GET /api/\u{fffd}[2J from 192.0.2.1") && !news.contains('\u{1b}'), "{news}");
    }

    #[test]
    fn a_challenge_is_told_without_its_prose() {
        let challenge = "Bearer realm=\"r\", error=\"e\", error_description=\"in words\", acr_values=\"urn:mfa\"";
        assert_eq!(short_challenge(challenge), "Bearer realm=\"r\", error=\"e\", acr_values=\"urn:mfa\"");
    }

    #[test]
    fn the_numbers_are_told_at_the_end() {
        let tally = Tally { requests: 3, as_expected: 2, reached: 1, refusals: 2, denials: 2, decision_us: Some(7) };
        let text = Page::new(false).closing(&tally).join(" ");
        assert!(text.contains("3 requests, 2 as expected 1 reached the sample API; 2 refusals = 2 events;"), "{text}");
        assert!(text.contains("7 µs"), "{text}");
    }
}
