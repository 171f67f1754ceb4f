//! What a request asks, for whoever is to sign it.
//!
//! All that is shown is of a hash that is signed; where something is only the gateway's word, it says so. Nothing is cut off: what is not shown is not looked
//! at.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use jiff::Timestamp;
use portcullis_governance::{ApproverSet, Content, Kind, Recovery, Request, Rules, name_problem};
use similar::TextDiff;

use crate::answers::terminal::safe;
use crate::governing::impact_in_words;

/// In words and with every line that changes. The files are those whose hash would be signed, and those of the version that they would change. `effects`: who
/// gets in by it, as it was worked out here.
pub(super) fn of(request: &Request, effects: &[String]) -> String {
    let change = &request.change;
    let time = |micros| Timestamp::from_microsecond(micros).map(|time| format!("{time:.0}")).unwrap_or_default();
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<10}{}", safe(value));
    };
    row("change", &format!("{}: {}", change.id, change.kind.as_str()));
    row("class", &format!("{}, as the gateway says, which finds it again before it is live", change.class.as_str()));
    row("effect", "on all requests that there could be, as found here from the files that would be signed:");
    for line in effects {
        row("", line);
    }
    row("instance", &request.instance.to_string());
    row("changes", &format!("version {} ({})", change.base_n, change.base));
    if let (Kind::Recovery, Some(recovery)) = (change.kind, &request.approvers.recovery) {
        row(
            "DELAY",
            &format!(
                "once {} holders of recovery keys have signed it and it has begun, any approver can say no for {} s, and then the approvers sign with the keys below",
                recovery.quorum, recovery.delay_s
            ),
        );
    }
    if change.kind == Kind::Undo {
        row(
            "undoes",
            &format!("version {} alone, as the gateway says: what changes is in the lines below", change.restores),
        );
    } else if change.restores > 0 {
        row("restores", &format!("version {}", change.restores));
    }
    row("author", &change.authors.join(", "));
    row("reason", &change.reason);
    if !change.ticket.is_empty() {
        row("ticket", &change.ticket);
    }
    row("until", &time(change.expires));
    row("content", &change.content.to_string());
    let impact = if change.impact.is_none() { "none".to_owned() } else { change.impact.to_string() };
    row("impact", &format!("{impact}, as the gateway says:"));
    for line in impact_in_words(&request.impact) {
        row("", &line);
    }
    let before = request.rules();
    if before == change.rules {
        row("rules", &rules(&before));
    } else {
        row("RULES", &format!("{} become {}", rules(&before), rules(&change.rules)));
    }
    let approvers = request.base.as_ref().map(|base| base.approvers.clone()).unwrap_or_default();
    if approvers != request.approvers {
        row("APPROVERS", &format!("{} become {}", set(&approvers), set(&request.approvers)));
    }
    let empty = Content::default();
    let base = request.base.as_ref().map_or(&empty, |base| &base.content);
    let names: BTreeSet<&String> = base.files.keys().chain(request.content.files.keys()).collect();
    for name in names {
        file(&mut text, name, base.files.get(name), request.content.files.get(name));
    }
    text.trim_end().to_owned()
}

fn file(text: &mut String, name: &str, before: Option<&Vec<u8>>, after: Option<&Vec<u8>>) {
    if before == after {
        return;
    }
    text.push('\n');
    match (before, after) {
        (None, Some(after)) => {
            let _ = writeln!(text, "{}: a new file of {} bytes", safe(name), after.len());
        }
        (Some(before), None) => {
            let _ = writeln!(text, "{}: a file of {} bytes that is no part of it any more", safe(name), before.len());
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    let side =
        |bytes: Option<&Vec<u8>>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
    let (old, new) = (side(before), side(after));
    if old == new && before.is_some() && after.is_some() {
        let _ = writeln!(text, "{}: bytes that are no text differ, and cannot be shown", safe(name));
        return;
    }
    let diff = TextDiff::from_lines(&old, &new);
    let header = [format!("{name} as it is"), format!("{name} as proposed")];
    let shown = diff.unified_diff().context_radius(2).header(&header[0], &header[1]).to_string();
    for line in shown.lines() {
        let _ = writeln!(text, "{}", safe(line));
    }
}

fn rules(rules: &Rules) -> String {
    let Rules { required, tighten, loosen, keys, proposal_ttl_s } = *rules;
    if required {
        format!("approvals required: tighten {tighten}, loosen {loosen}, keys {keys}, within {proposal_ttl_s} s")
    } else {
        "no approvals required".to_owned()
    }
}

fn set(set: &ApproverSet) -> String {
    if set.is_empty() {
        return "nobody".to_owned();
    }
    let approver = |approver: &portcullis_governance::Approver| {
        let keys = approver.keys.iter().map(|key| {
            let state = if key.revoked.is_some() { " revoked" } else { "" };
            format!("{}{state}", key.public.id())
        });
        let aliases = match approver.aliases.is_empty() {
            true => String::new(),
            false => format!(", also {}", other_names(&approver.aliases)),
        };
        format!("{}{aliases} ({})", approver.person, keys.collect::<Vec<_>>().join(", "))
    };
    let mut all: Vec<String> = set.approvers.iter().map(approver).collect();
    all.extend(set.recovery.as_ref().map(recovery));
    all.join("; ")
}

/// Other names of a person, one beside the other. Of those that may hold anything it is seen where they end.
pub(super) fn other_names(aliases: &[String]) -> String {
    let shown = aliases.iter().map(|alias| match name_problem(alias) {
        None => alias.clone(),
        Some(_) => format!("`{}`", alias.escape_debug()),
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn recovery(recovery: &Recovery) -> String {
    let keys = recovery.keys.iter().map(|key| format!("{} ({})", key.holder, key.public.id()));
    format!(
        "and {} of the recovery keys {} can replace these after {} s",
        recovery.quorum,
        keys.collect::<Vec<_>>().join(", "),
        recovery.delay_s
    )
}
