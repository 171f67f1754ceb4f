//! The shapes of a notification: everything as JSON, a message of Slack, a card of Teams, plain text.
//!
//! What callers can choose (names of principals, paths) is text and never markup: nobody can put a link, a mention or a line of
//! their own into a message.

use serde_json::{Value, json};

use crate::firing::{Firing, Phase};
use crate::grouping::Notification;
use crate::settings::{Per, Shape};

/// The value of `schema` in the generic shape.
const SCHEMA: &str = "portcullis.alert/1";
/// How many firings a message for people has one by one.
const SHOWN: usize = 5;
/// The most characters of a text for people.
const TEXT: usize = 2_000;

/// The body of a webhook.
pub(crate) fn json(notification: &Notification, shape: Shape) -> Value {
    match shape {
        Shape::Generic => generic(notification),
        Shape::Slack => slack(notification),
        Shape::Teams => teams(notification),
    }
}

/// Everything that is known, by stable keys that are only ever added to.
pub(crate) fn generic(notification: &Notification) -> Value {
    let firing = |firing: &Firing| {
        let latest = firing.evidence.first();
        json!({
            "event": firing.id.to_string(),
            "state": word(firing.phase),
            "time": format!("{:.6}", firing.time),
            "summary": notification.summary(firing),
            "next": notification.next_step(firing),
            "condition": firing.condition(),
            "per": firing.rule.per.as_str(),
            "key": (firing.rule.per != Per::All).then(|| firing.key.to_string()),
            "count": firing.count,
            "since": format!("{:.6}", firing.since),
            "evidence": firing.evidence.iter().map(|sighting| sighting.id.to_string()).collect::<Vec<_>>(),
            "reason": latest.and_then(|sighting| sighting.reason).map(|reason| reason.code()),
            "route": latest.and_then(|sighting| sighting.route.as_deref()),
            "principal": latest.and_then(|sighting| sighting.principal.as_deref()),
            "address": latest.and_then(|sighting| sighting.address).map(|address| address.to_string()),
            "actions": firing.actions,
            "runbook": firing.runbook(&notification.help_base),
        })
    };
    json!({
        "schema": SCHEMA,
        "id": notification.id.to_string(),
        "alert": &*notification.rule.name,
        "severity": notification.rule.severity,
        "node": &*notification.node,
        "test": notification.test,
        "title": notification.title(),
        "firings": notification.firings.iter().map(firing).collect::<Vec<_>>(),
        "more": notification.more,
    })
}

/// A message of an incoming webhook, with blocks of Block Kit.
fn slack(notification: &Notification) -> Value {
    let mut blocks = vec![json!({
        "type": "header",
        "text": { "type": "plain_text", "text": cut(&plain(&notification.title()), 150), "emoji": false },
    })];
    for firing in notification.firings.iter().take(SHOWN) {
        let text = format!("{}.\n{}.", mrkdwn(&notification.summary(firing)), mrkdwn(&notification.next_step(firing)));
        blocks.push(
            json!({ "type": "section", "text": { "type": "mrkdwn", "text": cut(&text, TEXT), "verbatim": true } }),
        );
    }
    let context =
        format!("{} · node {}{}", severity(notification), mrkdwn(&notification.node), remainder(notification));
    blocks.push(json!({ "type": "context", "elements": [{ "type": "mrkdwn", "text": context, "verbatim": true }] }));
    let first = notification.firings.first().map(|firing| notification.summary(firing)).unwrap_or_default();
    json!({ "text": cut(&format!("{}: {}", mrkdwn(&notification.title()), mrkdwn(&first)), TEXT), "blocks": blocks })
}

/// A message for a workflow of Teams: one Adaptive Card.
fn teams(notification: &Notification) -> Value {
    let mut body = vec![json!({
        "type": "TextBlock", "text": markdown(&notification.title()), "weight": "Bolder", "size": "Medium", "wrap": true,
    })];
    for firing in notification.firings.iter().take(SHOWN) {
        body.push(json!({ "type": "TextBlock", "text": cut(&format!("{}.", markdown(&notification.summary(firing))), TEXT), "wrap": true }));
        let next = format!("{}.", markdown(&notification.next_step(firing)));
        body.push(json!({ "type": "TextBlock", "text": cut(&next, TEXT), "wrap": true, "spacing": "None" }));
    }
    let fact = |title: &str, value: String| json!({ "title": title, "value": value });
    body.push(json!({
        "type": "FactSet",
        "facts": [
            fact("Severity", severity(notification).to_owned()),
            fact("Node", markdown(&notification.node)),
            fact("Condition", markdown(&notification.rule.condition_in_words())),
        ],
    }));
    if notification.firings.len() > SHOWN || notification.more > 0 {
        body.push(json!({ "type": "TextBlock", "text": remainder(notification), "isSubtle": true, "wrap": true }));
    }
    let runbook = notification.firings.iter().find_map(|firing| firing.runbook(&notification.help_base));
    let actions: Vec<Value> =
        runbook.map(|url| json!({ "type": "Action.OpenUrl", "title": "What to do", "url": url })).into_iter().collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
                "actions": actions,
            },
        }],
    })
}

/// The subject of a mail.
pub(crate) fn subject(notification: &Notification) -> String {
    let first = notification.firings.first().map(|firing| notification.summary(firing)).unwrap_or_default();
    cut(&plain(&format!("[portcullis] {}: {first}", notification.title())), 150)
}

/// The body of a mail: two sentences for each firing, and where to look.
pub(crate) fn text(notification: &Notification) -> String {
    let mut text = String::new();
    for firing in &notification.firings {
        text.push_str(&format!(
            "{}.\n{}.\n\n",
            plain(&notification.summary(firing)),
            plain(&notification.next_step(firing))
        ));
    }
    if notification.more > 0 {
        text.push_str(&format!("And {} more keys: see `portcullis events search`.\n\n", notification.more));
    }
    text.push_str(&format!(
        "Alert:     {}\nCondition: {}\nSeverity:  {}\nNode:      {}\n",
        plain(&notification.rule.name),
        plain(&notification.rule.condition_in_words()),
        severity(notification),
        plain(&notification.node)
    ));
    for firing in &notification.firings {
        text.push_str(&format!("Event:     {}\n", firing.id));
    }
    text
}

fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Fired => "fired",
        Phase::Resolved => "resolved",
    }
}

fn severity(notification: &Notification) -> &'static str {
    use portcullis_events::Severity::{Critical, High, Low, Medium};
    match notification.rule.severity {
        Low => "low",
        Medium => "medium",
        High => "high",
        Critical => "critical",
    }
}

/// How many firings are not shown one by one.
fn remainder(notification: &Notification) -> String {
    let more = notification.firings.len().saturating_sub(SHOWN) + notification.more;
    if more == 0 { String::new() } else { format!(" · {more} more keys: see `portcullis events search`") }
}

/// Without what could end a line or mislead an eye.
pub(crate) fn plain(text: &str) -> String {
    let harmless = |character: char| match character {
        // Controls, and what changes the direction or joins invisibly (Unicode's bidirectional and zero-width characters).
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => '\u{fffd}',
        character if character.is_control() => ' ',
        character => character,
    };
    text.chars().map(harmless).collect()
}

/// For Slack: its three control characters are written as entities, so that there is neither a mention nor a link; marks that would make
/// text bold or code are harmless and stay.
fn mrkdwn(text: &str) -> String {
    plain(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// For Teams: what Markdown would take for a mark gets a backslash.
fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for character in plain(text).chars() {
        if matches!(character, '\\' | '`' | '*' | '_' | '[' | ']' | '(' | ')' | '<' | '>' | '~' | '#' | '|' | '!') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// At most so many characters.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}
