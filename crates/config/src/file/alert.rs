//! `[[alert]]`: rules over the events, and what follows when one holds.

use std::time::Duration;

use jiff::Timestamp;
use portcullis_alerts::settings::{
    Condition, Containment, Facet, MOST_COUNTED, MOST_DISTINCT, Measure, Mute, MuteTime, Per, When,
};
use portcullis_events::{EventKind, Severity};

use crate::codes;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::file::sink_options::{SEVERITIES, read_filter};
use crate::kinds::{Choice, Flag, Integer, Moment, Name, Text, Time, WeeklyHours};
use crate::section::Section;

/// `[[alert]]`
#[derive(Debug)]
pub(crate) struct Alert {
    pub(crate) name: At<String>,
    pub(crate) enabled: bool,
    pub(crate) when: When,
    /// The routes of `when`, and where they stand.
    pub(crate) routes: Vec<At<String>>,
    pub(crate) condition: Condition,
    pub(crate) per: Per,
    pub(crate) cool_down: Duration,
    pub(crate) batch: Duration,
    pub(crate) resolve: bool,
    pub(crate) severity: Severity,
    pub(crate) mutes: Vec<Mute>,
    pub(crate) runbook: Option<String>,
    pub(crate) notify: Vec<At<String>>,
    pub(crate) contain: Vec<Containment>,
    pub(crate) max_contained: usize,
    pub(crate) max_keys: usize,
}

/// `[[mute]]`: a time in which several alerts tell nobody.
#[derive(Debug)]
pub(crate) struct Silence {
    /// Whose; `None`: all alerts'.
    pub(crate) alerts: Option<Vec<At<String>>>,
    pub(crate) mute: Mute,
}

/// The words of `distinct` and `new`.
pub(crate) const FACETS: &[(&str, Facet)] = &[
    ("principal", Facet::Principal),
    ("address", Facet::Address),
    ("route", Facet::Route),
    ("path", Facet::Path),
    ("reason", Facet::Reason),
];

/// The words of `per`.
pub(crate) const PER: &[(&str, Per)] = &[
    ("all", Per::All),
    ("principal", Per::Each(Facet::Principal)),
    ("address", Per::Each(Facet::Address)),
    ("route", Per::Each(Facet::Route)),
    ("reason", Per::Each(Facet::Reason)),
];

/// The words of `ban` in `contain`.
pub(crate) const BANNED: &[(&str, Measure)] = &[("address", Measure::BanAddress), ("principal", Measure::BanPrincipal)];

/// The words of `step_up` in `contain`.
pub(crate) const STEPPED_UP: &[(&str, Measure)] = &[("principal", Measure::StepUpPrincipal)];
/// The words of `revoke` in `contain`.
pub(crate) const REVOKED: &[(&str, Measure)] = &[("principal", Measure::RevokePrincipal)];
/// The words of `tighten` in `contain`.
pub(crate) const TIGHTENED: &[(&str, Measure)] = &[("route", Measure::TightenRoute)];

pub(crate) const COUNTS: std::ops::RangeInclusive<u64> = 1..=MOST_COUNTED as u64;
pub(crate) const KEYS: std::ops::RangeInclusive<u64> = 1..=100_000;
pub(crate) const CONTAINED: std::ops::RangeInclusive<u64> = 1..=10_000;

/// The times of the keys, from the least to the most.
pub(crate) const WINDOW: (&str, &str) = ("1s", "7d");
pub(crate) const MEMORY: (&str, &str) = ("1m", "366d");
pub(crate) const LEARN: (&str, &str) = ("0s", "31d");
pub(crate) const COOL_DOWN: (&str, &str) = ("1s", "31d");
pub(crate) const BATCH: (&str, &str) = ("0s", "1h");
pub(crate) const FOR: (&str, &str) = ("1s", "366d");

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn time((least, most): (&'static str, &'static str)) -> Time {
    Time::within(least, most)
}

pub(crate) fn read_alert(section: Section<'_>) -> Option<Alert> {
    let name = section.required("name", Name);
    let enabled = section.or("enabled", Flag, true);
    let (when, routes) = read_when(&section);
    let per = section.optional("per", Choice(PER));
    let condition = read_condition(&section, per.as_ref());
    let cool_down = section.or("cool_down", time(COOL_DOWN), 15 * MINUTE);
    let batch = section.or("batch", time(BATCH), MINUTE / 2);
    let resolve = section.optional("resolve", Flag);
    let severity = section.or("severity", Choice(SEVERITIES), Severity::High);
    let mutes = section.table_or_tables("mute").unwrap_or_default().into_iter().filter_map(read_mute).collect();
    let runbook = read_runbook(&section);
    let notify = section.one_or_list("notify", Name).map(|names| names.value).unwrap_or_default();
    let per = per.map_or(Per::All, |per| per.value);
    let contain = section.table_or_tables("contain").unwrap_or_default();
    let contain = contain.into_iter().filter_map(|table| read_containment(table, per)).collect();
    let max_contained = section.or("max_contained", Integer(CONTAINED), 100);
    let max_keys = section.or("max_keys", Integer(KEYS), 10_000);
    if let (Some(resolve), Some(Condition::New { .. })) = (resolve.as_ref().filter(|resolve| resolve.value), condition)
    {
        let message = "`resolve`: what is new is new once, and never ends";
        section.reader().report(Diagnostic::error(codes::CONFLICT, resolve.span, message).with_help("remove it"));
    }
    section.finish();
    Some(Alert {
        name: name?,
        enabled,
        when,
        routes,
        condition: condition?,
        per,
        cool_down,
        batch,
        resolve: resolve.is_some_and(|resolve| resolve.value),
        severity,
        mutes,
        runbook,
        notify,
        contain,
        max_contained: usize::try_from(max_contained).ok()?,
        max_keys: usize::try_from(max_keys).ok()?,
    })
}

/// What counts: refusals, unless `kinds` says otherwise.
fn read_when(section: &Section<'_>) -> (When, Vec<At<String>>) {
    let mut when = When::default();
    let Some(table) = section.table("when") else { return (when, Vec::new()) };
    let (filter, routes) = read_filter(&table);
    let statuses = table.one_or_list("status", Integer(100..=599)).map(|statuses| statuses.value).unwrap_or_default();
    if let Some(kind) = filter.kinds.iter().find(|kind| kind.is_alert()) {
        let message = format!("`kinds`: what alerts record, such as {}, never feeds an alert", kind.as_str());
        section.reader().report(Diagnostic::error(codes::CONFLICT, table.span(), message).with_help("remove it"));
    }
    table.finish();
    when.statuses = statuses.into_iter().filter_map(|status| u16::try_from(status.value).ok()).collect();
    when.filter = filter;
    if when.filter.kinds.is_empty() {
        when.filter.kinds.push(EventKind::AccessDenied);
    }
    (when, routes)
}

/// A threshold, of events or of different values; or something new.
fn read_condition(section: &Section<'_>, per: Option<&At<Per>>) -> Option<Condition> {
    let count = section.optional("count", Integer(COUNTS));
    let window = section.optional("window", time(WINDOW));
    let distinct = section.optional("distinct", Choice(FACETS));
    let new = section.optional("new", Choice(FACETS));
    let memory = section.optional("memory", time(MEMORY));
    let learn = section.optional("learn", time(LEARN));
    let of_threshold = [
        ("count", count.as_ref().map(|at| at.span)),
        ("window", window.as_ref().map(|at| at.span)),
        ("distinct", distinct.as_ref().map(|at| at.span)),
    ];
    let of_new = [("memory", memory.as_ref().map(|at| at.span)), ("learn", learn.as_ref().map(|at| at.span))];
    let conflict = |span: Span, message: String, help: &str| {
        section.reader().report(Diagnostic::error(codes::CONFLICT, span, message).with_help(help));
    };
    if let Some(facet) = distinct.as_ref().or(new.as_ref())
        && per.is_some_and(|per| per.value == Per::Each(facet.value))
    {
        let word = facet.value.as_str();
        let message = format!("each {word} has one {word}: counted `per` {word}, there is never another");
        conflict(facet.span, message, "write another `per`");
        return None;
    }
    match new {
        Some(new) => {
            for (key, span) in of_threshold.into_iter().filter_map(|(key, span)| Some((key, span?))) {
                conflict(span, format!("`{key}` belongs to a threshold, and here is `new`"), "remove one of them");
            }
            Some(Condition::New {
                of: new.value,
                memory: memory.map_or(7 * DAY, |memory| memory.value),
                learn: learn.map_or(DAY, |learn| learn.value),
            })
        }
        None => {
            for (key, span) in of_new.into_iter().filter_map(|(key, span)| Some((key, span?))) {
                conflict(span, format!("`{key}` belongs to `new`"), "remove it, or write `new = \"reason\"`");
            }
            let window = window.map_or(5 * MINUTE, |window| window.value);
            let Some(count) = count else {
                if !section.has("count") {
                    section.report_missing("count", "how many events there must be; or write `new = \"reason\"`");
                }
                return None;
            };
            let number = usize::try_from(count.value).ok()?;
            let Some(distinct) = distinct else { return Some(Condition::Count { count: number, window }) };
            if !(2..=MOST_DISTINCT).contains(&number) {
                let message = format!("`count`: with `distinct` it is from 2 to {MOST_DISTINCT}");
                section.reader().report(Diagnostic::error(codes::BAD_VALUE, count.span, message));
                return None;
            }
            Some(Condition::Distinct { of: distinct.value, count: number, window })
        }
    }
}

pub(crate) fn read_silence(section: Section<'_>) -> Option<Silence> {
    let alerts = section.one_or_list("alerts", Name);
    if let Some(alerts) = alerts.as_ref().filter(|alerts| alerts.value.is_empty()) {
        section.report_empty("alerts", alerts.span, "name an alert, or leave it out for all of them");
    }
    // Names that cannot be read were reported: without them it would be for all.
    let whole = alerts.is_some() || !section.has("alerts");
    let mute = read_mute(section)?;
    whole.then(|| Silence { alerts: alerts.map(|alerts| alerts.value), mute })
}

/// `{ from, to }` once, or `{ hours }` every week; each with a reason.
fn read_mute(section: Section<'_>) -> Option<Mute> {
    let from = section.optional("from", Moment);
    let to = section.optional("to", Moment);
    let hours = section.optional("hours", WeeklyHours);
    let reason = section.optional("reason", Text);
    let (reader, span) = (section.reader(), section.span());
    let has = ["from", "to", "hours"].map(|key| section.has(key));
    section.finish();
    let bad = |span: Span, message: &str, help: &str| {
        reader.report(Diagnostic::error(codes::BAD_VALUE, span, message).with_help(help));
    };
    let time = match has {
        [false, false, true] => MuteTime::Weekly(hours?.value),
        [true, true, false] => {
            let (from, to): (At<Timestamp>, At<Timestamp>) = (from?, to?);
            if to.value <= from.value {
                bad(to.span, "`to`: it ends before it begins", "write a later time");
                return None;
            }
            MuteTime::Span(from.value, to.value)
        }
        _ => {
            let help = "such as { from = 2026-12-01T20:00:00Z, to = 2026-12-01T22:00:00Z, reason = \"upgrade\" }";
            bad(span, "`mute`: expected `from` and `to`, or `hours`", help);
            return None;
        }
    };
    let reason = reason.map_or_else(|| "maintenance".to_owned(), |reason| reason.value);
    Some(Mute { time, reason: reason.into() })
}

fn read_runbook(section: &Section<'_>) -> Option<String> {
    let runbook = section.optional("runbook", Text)?;
    let link = runbook.value.starts_with("https://") || runbook.value.starts_with("http://");
    if !link || runbook.value.len() > 512 || !runbook.value.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = "`runbook`: expected a link of at most 512 characters";
        let diagnostic = Diagnostic::error(codes::BAD_VALUE, runbook.span, message);
        section.reader().report(diagnostic.with_help("such as \"https://wiki.example/denials\""));
        return None;
    }
    Some(runbook.value)
}

/// One measure, and for how long.
fn read_containment(section: Section<'_>, per: Per) -> Option<Containment> {
    let ban = section.optional("ban", Choice(BANNED));
    let step_up = section.optional("step_up", Choice(STEPPED_UP));
    let revoke = section.optional("revoke", Choice(REVOKED));
    let tighten = section.optional("tighten", Choice(TIGHTENED));
    let lasts = section.optional("for", time(FOR));
    let (reader, span) = (section.reader(), section.span());
    let given = ["ban", "step_up", "revoke", "tighten"].into_iter().filter(|key| section.has(key)).count();
    let written: Vec<At<Measure>> = [ban, step_up, revoke, tighten].into_iter().flatten().collect();
    section.finish();
    if given == 1 && written.is_empty() {
        // What is wrong with the only one was reported.
        return None;
    }
    let [measure] = written.as_slice() else {
        let message = "`contain`: expected one measure";
        let help = "such as { ban = \"address\", for = \"1h\" }";
        reader.report(Diagnostic::error(codes::BAD_VALUE, span, message).with_help(help));
        return None;
    };
    let facet = measure.value.of();
    if per != Per::Each(facet) {
        let word = facet.as_str();
        let message = format!("`{}` of a {word} needs events counted by {word}", measure.value.as_str());
        let help = format!("write `per = \"{word}\"`: else somebody would be contained whom nobody counted");
        reader.report(Diagnostic::error(codes::CONFLICT, measure.span, message).with_help(help));
        return None;
    }
    // What was revoked should not count again before it has expired by itself.
    let default = if measure.value == Measure::RevokePrincipal { DAY } else { 60 * MINUTE };
    let lasts = lasts.map_or(default, |lasts| lasts.value);
    Some(Containment { measure: measure.value, lasts })
}
