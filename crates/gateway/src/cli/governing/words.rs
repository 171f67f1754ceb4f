//! Versions, proposals and approvers in words for people.

use data_encoding::BASE64;
use jiff::Timestamp;
use portcullis_admin::govern::{Answer, Change, Live, RecoveryKey, Rollout, Version};

use super::review::other_names;
use crate::answers::table::table;
use crate::answers::terminal::safe;
use crate::cli::live::short;
use crate::governing::percent;

/// What came of a change.
pub(super) fn of_change(done: &Answer) -> String {
    let mut text = safe(&done.message);
    let foreseen = done.changes.first().map_or(&[][..], |change| change.foreseen.as_slice());
    for line in &done.effects {
        text.push_str(&format!("\n  {}", safe(line)));
    }
    // The first two stand in the message.
    for line in foreseen.iter().skip(2) {
        text.push_str(&format!("\n  {}", safe(line)));
    }
    if let Some(change) = done.changes.first().filter(|change| change.state == "open") {
        text.push_str(&format!("\n{}", next_step(change)));
    }
    text
}

fn next_step(change: &Change) -> String {
    let id = short(&change.id);
    if change.kind == "recovery" && change.missing.is_some() {
        return format!(
            "next: portcullis policy request {id} --out FILE; each holder of a recovery key: portcullis policy sign FILE --key KEY --out SIGNED; then portcullis policy approve --approval SIGNED"
        );
    }
    match &change.missing {
        Some(_) => format!(
            "next: portcullis policy show {id}, then portcullis policy approve {id} --key FILE, with --acknowledge and the impact's hash where somebody is newly denied or let in"
        ),
        None => format!("next: portcullis policy activate {id}"),
    }
}

pub(super) fn of_status(done: &Answer) -> String {
    let mut text = done.live.as_ref().map_or_else(|| "nothing was ever live".to_owned(), live);
    text.push_str(&recovering(done).unwrap_or_default());
    text
}

fn live(live: &Live) -> String {
    let instance = live.instance.as_deref().unwrap_or("none: governance has not begun");
    let required = if live.required { "approvals are required" } else { "approvals are not required" };
    let mut text =
        format!("version {} is live, {required}\nhead      {}\ninstance  {}", live.n, safe(&live.hash), safe(instance));
    if live.required {
        text.push_str(&format!(
            "\nanchor    {}:{} (write it down elsewhere: `run --at-least`, `backup restore --head`)",
            live.n,
            safe(&live.hash)
        ));
    }
    let serving = live.rollout.as_ref().map_or(live.n, |rollout| rollout.serving);
    if let Some(other) = live.in_force.filter(|in_force| *in_force != serving) {
        text.push_str(&format!("\nin force  version {other}, until a reload has put version {serving} in force"));
    }
    if let Some(why) = &live.unkept {
        text.push_str(&format!(
            "\nin force  what is in the files, WHICH IS NO VERSION: {}; `portcullis reload` keeps it as one, once that is mended",
            safe(why)
        ));
    }
    if let Some(rollout) = &live.rollout {
        text = text.replacen(" is live", " is being rolled out", 1);
        text.push_str(&format!(
            "\nrollout   {}, {} s of {} s; version {} decides for all others\n          {} requests that version {} permits decided on by both, {} newly denied: in {} of {} turns, to {} callers\n          {} of {} that it refuses newly permitted\n          it is taken back beyond {} of the turns, from {} callers on",
            safe(&rollout.stage),
            rollout.spent_s,
            rollout.lasts_s,
            rollout.serving,
            rollout.requests,
            rollout.serving,
            rollout.newly_denied,
            rollout.turns_denied,
            rollout.turns,
            rollout.callers_denied,
            rollout.newly_permitted,
            rollout.refused,
            percent(rollout.max_newly_denied_ppm),
            rollout.min_denied_callers
        ));
        text.push_str(&of_step(rollout));
    }
    text
}

/// Who is answered otherwise, and what a step waits for.
fn of_step(rollout: &Rollout) -> String {
    let mut text: String = rollout.found.iter().map(|line| format!("\n          {}", safe(line))).collect();
    let seen = rollout.requests.saturating_add(rollout.newly_permitted);
    if let Some(waits) = &rollout.waits {
        text.push_str(&format!("\n          {}", safe(waits)));
    } else if seen == 0 && rollout.lasts_s > 0 {
        text.push_str("\n          nothing was seen of it in this step yet");
    }
    text
}

pub(super) fn of_verification(done: &Answer) -> String {
    format!("{}\n{}", safe(&done.message), of_status(done))
}

pub(super) fn of_list(done: &Answer) -> String {
    let mut parts = vec![of_status(done)];
    if !done.versions.is_empty() {
        let rows: Vec<_> = done.versions.iter().map(row).collect();
        parts.push(table(["VERSION", "ACTIVATED", "KIND", "CLASS", "AUTHOR", "APPROVALS", "REASON"], &rows));
    }
    let now = format!("{:.0}", Timestamp::now());
    let waiting: Vec<_> = done
        .changes
        .iter()
        // What was overtaken can be proposed again, and is shown for as long as it could have been approved. The times are of one form.
        .filter(|change| change.state == "open" || (change.state == "overtaken" && change.expires > now))
        .map(change_row)
        .collect();
    if !waiting.is_empty() {
        parts.push(table(["CHANGE", "UNTIL", "KIND", "CLASS", "AUTHOR", "APPROVED", "MISSING"], &waiting));
    }
    parts.join("\n\n")
}

fn kind(change: &Change) -> String {
    match change.restores {
        Some(n) if change.kind == "undo" => format!("{} of {n}", safe(&change.kind)),
        Some(n) => format!("{} to {n}", safe(&change.kind)),
        None => safe(&change.kind),
    }
}

fn author(change: &Change) -> String {
    safe(change.authors.first().map_or("-", String::as_str))
}

fn row(version: &Version) -> [String; 7] {
    let change = &version.change;
    [
        version.n.to_string(),
        activated(version),
        kind(change),
        safe(&change.class),
        author(change),
        change.approved.len().to_string(),
        cut(&change.reason),
    ]
}

/// When a version was activated, and whether it was live for everybody then.
fn activated(version: &Version) -> String {
    let time = safe(&version.time);
    match version.state.as_str() {
        "rolling_out" => format!("{time} (in steps)"),
        "taken_back" => format!("{time} (taken back)"),
        _ => time,
    }
}

/// What became of several changes.
pub(super) fn of_rejected(done: &Answer) -> String {
    let lines: Vec<String> = done.message.lines().map(safe).collect();
    lines.join("\n")
}

/// As much of a reason as fits a line of a list; `policy show` has all of it.
fn cut(reason: &str) -> String {
    const MOST: usize = 80;
    let mut text: String = reason.chars().take(MOST).collect();
    if text.len() < reason.len() {
        text.push('…');
    }
    safe(&text)
}

fn change_row(change: &Change) -> [String; 7] {
    let approved = if change.approved.is_empty() { "-".to_owned() } else { change.approved.join(", ") };
    [
        short(&change.id).to_owned(),
        safe(&change.expires),
        kind(change),
        safe(&change.class),
        author(change),
        safe(&approved),
        safe(change.missing.as_deref().unwrap_or("nothing: it can be activated")),
    ]
}

pub(super) fn of_version(done: &Answer) -> String {
    let Some(version) = done.versions.first() else { return safe(&done.message) };
    let mut rows = vec![
        ("version", format!("{}, activated {} by {}", version.n, activated(version), safe(&version.by))),
        ("hash", safe(&version.hash)),
    ];
    rows.extend(rows_of(&version.change, Moment::Activated));
    rows.extend(done.files.iter().map(|file| {
        let bytes = BASE64.decode(file.content.as_bytes()).map_or(0, |bytes| bytes.len());
        ("file", format!("{} ({bytes} bytes)", safe(&file.name)))
    }));
    rows.extend(held(done));
    format!("{}\nprint one with: portcullis policy show {} --file NAME", in_lines(&rows), version.n)
}

/// A change as it is told to who may only look: the gateway's word for it, and nothing that could be signed.
pub(super) fn of_waiting(done: &Answer) -> String {
    let Some(change) = done.changes.first() else { return safe(&done.message) };
    let missing = change.missing.as_deref();
    let state = missing.map_or_else(|| change.state.clone(), |missing| format!("{}: {missing}", change.state));
    let mut rows = vec![("state", safe(&state))];
    rows.extend(rows_of(change, Moment::Waiting));
    rows.extend(held(done));
    in_lines(&rows)
}

/// What is said, under its label.
type Row = (&'static str, String);

fn in_lines(rows: &[Row]) -> String {
    let lines: Vec<String> = rows.iter().map(|(label, text)| format!("{label:<10}{text}")).collect();
    lines.join("\n")
}

/// When a change is told of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// While it waits: until when, and what was foreseen so far.
    Waiting,
    /// As the version that it has become.
    Activated,
}

/// What is said of every change, one below the other.
fn rows_of(change: &Change, when: Moment) -> Vec<Row> {
    let mut rows = vec![
        (
            "change",
            format!("{}: {}, {}, of version {}", safe(&change.id), kind(change), safe(&change.class), change.base),
        ),
        ("author", safe(&change.authors.join(", "))),
        ("reason", safe(&change.reason)),
    ];
    if !change.ticket.is_empty() {
        rows.push(("ticket", safe(&change.ticket)));
    }
    if when == Moment::Waiting {
        rows.push(("proposed", format!("{}, until {}", safe(&change.created), safe(&change.expires))));
    }
    rows.push(("impact", safe(change.impact.as_deref().unwrap_or("nobody looked"))));
    if when == Moment::Waiting || change.impact.is_some() {
        rows.extend(change.foreseen.iter().map(|line| ("", safe(line))));
    }
    let is_no = when == Moment::Activated && change.kind == "veto";
    rows.push((if is_no { "said no" } else { "approvals" }, approvals(change)));
    rows
}

/// The files, where they are told without what is in them.
fn held(done: &Answer) -> impl Iterator<Item = Row> {
    done.holds.iter().map(|file| ("file", format!("{} ({} bytes)", safe(&file.name), file.bytes)))
}

/// Who signed, by which key, and when. An older gateway tells the keys alone.
fn approvals(change: &Change) -> String {
    let signed = change.signed.iter().map(|one| {
        let person = one.person.as_deref().unwrap_or("somebody who is no approver any more");
        safe(&format!("{person} (key {}, {})", short(&one.key), one.time))
    });
    let signed: Vec<String> = signed.collect();
    match (signed.is_empty(), change.approved.is_empty()) {
        (false, _) => signed.join(", "),
        (true, false) => safe(&format!("keys {}", change.approved.join(", "))),
        (true, true) => "none".to_owned(),
    }
}

pub(super) fn of_approvers(done: &Answer) -> String {
    if done.approvers.is_empty() {
        return "nobody may approve: governance has not begun".to_owned();
    }
    let mut rows = Vec::new();
    for approver in &done.approvers {
        for key in &approver.keys {
            let state =
                key.revoked.as_ref().map_or_else(|| "active".to_owned(), |time| format!("revoked {}", safe(time)));
            rows.push([
                safe(&approver.person),
                safe(&other_names(&approver.aliases)),
                safe(&key.id),
                safe(&key.added),
                state,
            ]);
        }
    }
    let mut text = table(["PERSON", "OTHER NAMES", "KEY", "SINCE", "STATE"], &rows);
    match &done.recovery {
        None => {
            text.push_str("\n\nno recovery keys: where too many approvers lose theirs, nothing can be changed any more")
        }
        Some(recovery) => {
            text.push_str(&format!(
                "\n\nwhere approvers lose their keys, {} of these holders can have them sign with others, after {} s:\n",
                recovery.quorum, recovery.delay_s
            ));
            let key = |key: &RecoveryKey| [safe(&key.holder), safe(&key.id), safe(&key.added)];
            text.push_str(&table(["HOLDER", "KEY", "SINCE"], &recovery.keys.iter().map(key).collect::<Vec<_>>()));
        }
    }
    text
}

/// What every approver has to see in time.
fn recovering(done: &Answer) -> Option<String> {
    let begun = done.recovery.as_ref()?.begun.as_ref()?;
    Some(format!(
        "\nrecovery  of the keys of {} has begun with version {}, change {}: from {} to {} it can be ended, and until then any approver can say no",
        safe(&begun.persons.join(", ")),
        begun.n,
        short(&begun.change),
        safe(&begun.due),
        safe(&begun.lapses)
    ))
}
