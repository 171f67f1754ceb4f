//! LP03 of keys: a credential that nobody uses is a door that nobody watches, also where whoever it stands for comes by another one.
//!
//! A key is judged once it is known to be as old as the window: its file says when it was made, or it was used before. Of who is dormant altogether the
//! keys are told in that finding.

use std::collections::BTreeMap;

use super::{Findings, Said, counted, listed};
use crate::audit::evidence::KnownKey;
use crate::audit::finding::{Kind, Severity, shown};

pub(super) fn look(findings: &mut Findings<'_, '_>) {
    let known = findings.input.known;
    if known.keys.is_empty() {
        return;
    }
    if let Some(why) = &known.keys_unread {
        return not_looked_at(findings, &format!("of keys: {why}"));
    }
    // Why nothing is said of permissions is why nothing is said of keys.
    let Ok(edge) = findings.edge(findings.input.usage.since()) else { return };
    let now = findings.input.now.as_second();
    let mut dormant: BTreeMap<String, usize> = BTreeMap::new();
    for (place, finding) in findings.found.iter().enumerate().filter(|(_, each)| each.id == Kind::DormantPrincipal.id())
    {
        dormant.extend(finding.principal.clone().map(|principal| (principal, place)));
    }
    let mut undated = Vec::new();
    for key in &known.keys {
        let last = key.last_used.map(|last| last.min(now));
        if key.expires.is_some_and(|ends| ends <= now) || last.is_some_and(|last| last >= edge) {
            continue;
        }
        match key.created.into_iter().chain(last).min() {
            Some(known_since) if known_since <= edge => {}
            Some(_) => continue,
            None => {
                undated.push(key.id.as_str());
                continue;
            }
        }
        match dormant.get(&key.principal).and_then(|place| findings.found.get_mut(*place)) {
            Some(finding) => finding.evidence.facts.push(format!("its key `{}`: {}", key.id, in_words(key, now))),
            None => report(findings, key, now),
        }
    }
    if !undated.is_empty() {
        let why = format!(
            "of {} ({}): nobody used {} yet, and no `created` says since when that would mean something",
            counted(undated.len(), "key", "keys"),
            listed(undated.iter().copied(), 5),
            if undated.len() == 1 { "it" } else { "them" }
        );
        not_looked_at(findings, &why);
    }
}

/// What is said of principals stays.
fn not_looked_at(findings: &mut Findings<'_, '_>, why: &str) {
    findings.not_looked_at.entry(Kind::DormantPrincipal.id().to_owned()).or_insert_with(|| why.to_owned());
}

/// How old it is, when it was used and how long it lives.
fn in_words(key: &KnownKey, now: i64) -> String {
    const DAY_S: i64 = 24 * 60 * 60;
    let age =
        |since: i64| counted(usize::try_from(now.saturating_sub(since) / DAY_S).unwrap_or_default(), "day", "days");
    let made = match key.created {
        Some(created) => format!("made {} ago", age(created)),
        None => "its file does not say when it was made".to_owned(),
    };
    let used = match key.last_used {
        Some(last) => format!("last used {} ago", age(last)),
        None => "never used, as far as anybody counted".to_owned(),
    };
    let ends = match key.expires {
        Some(ends) => format!("ends at {}", shown(ends)),
        None => "never ends".to_owned(),
    };
    format!("{made}, {used}, {ends}")
}

fn report(findings: &mut Findings<'_, '_>, key: &KnownKey, now: i64) {
    let (id, days) = (&key.id, findings.days());
    let last = key.last_used.and_then(|last| u32::try_from(last).ok());
    let mut evidence = findings.observed(key.created, last);
    evidence.facts.push(in_words(key, now));
    let permission = format!("key {id}");
    let change = match key.expires {
        Some(_) => format!("revoke it: `portcullis key revoke {id}`"),
        None => format!("revoke it: `portcullis key revoke {id}`; give one that is to stay an end (`expires`)"),
    };
    let said = Said {
        principal: Some(&key.principal),
        permission: Some(&permission),
        evidence,
        ..Said::plain(
            Kind::DormantPrincipal,
            Severity::Medium,
            format!("the key `{id}`, which stands for `{}`, was not used for {days} days", key.principal),
            &change,
        )
    };
    findings.add(said);
}
