//! What a request asks, for whoever is to sign it.

use std::fmt::Write as _;

use jiff::Timestamp;
use portcullis_governance::{ApproverSet, Kind, Request};
use similar::TextDiff;

use crate::cli::live::safe;

/// Lines of a difference that are shown of one file.
const MOST_LINES: usize = 400;

/// In words and with the lines that change. The files are those whose hash would be signed.
pub(super) fn of(request: &Request) -> String {
    let change = &request.change;
    let time = |micros| Timestamp::from_microsecond(micros).map(|time| format!("{time:.0}")).unwrap_or_default();
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<10}{}", safe(value));
    };
    row("change", &format!("{}: {}, {}", change.id, change.kind.as_str(), change.class.as_str()));
    row("instance", &request.instance.to_string());
    row("changes", &format!("version {} ({})", change.base_n, change.base.short()));
    row("author", &change.authors.join(", "));
    row("reason", &change.reason);
    if !change.ticket.is_empty() {
        row("ticket", &change.ticket);
    }
    let impact = if change.impact.is_none() { "nobody looked".to_owned() } else { change.impact.to_string() };
    row("impact", &impact);
    row("until", &time(change.expires));
    row("content", &change.content.to_string());
    if change.kind == Kind::Keys {
        row("approvers", &set(&request.approvers));
    }
    let names: std::collections::BTreeSet<&String> =
        request.base.files.keys().chain(request.content.files.keys()).collect();
    for name in names {
        let side = |content: &portcullis_governance::Content| {
            content.files.get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
        };
        let (before, after) = (side(&request.base), side(&request.content));
        if before != after {
            text.push('\n');
            lines(&mut text, name, &before, &after);
        }
    }
    text.trim_end().to_owned()
}

fn lines(text: &mut String, name: &str, before: &str, after: &str) {
    let diff = TextDiff::from_lines(before, after);
    let shown = diff
        .unified_diff()
        .context_radius(2)
        .header(&format!("{name} as it is"), &format!("{name} as proposed"))
        .to_string();
    for line in shown.lines().take(MOST_LINES) {
        let _ = writeln!(text, "{}", safe(line));
    }
    let more = shown.lines().count().saturating_sub(MOST_LINES);
    if more > 0 {
        let _ = writeln!(text, "… and {more} lines more: compare the files with `portcullis policy diff`");
    }
}

fn set(set: &ApproverSet) -> String {
    let approver = |approver: &portcullis_governance::Approver| {
        let keys = approver.keys.iter().map(|key| {
            let state = if key.revoked.is_some() { " revoked" } else { "" };
            format!("{}{state}", key.public.id())
        });
        format!("{} ({})", approver.person, keys.collect::<Vec<_>>().join(", "))
    };
    set.approvers.iter().map(approver).collect::<Vec<_>>().join("; ")
}
