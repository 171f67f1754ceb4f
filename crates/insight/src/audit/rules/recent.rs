//! LP08: grants of the last days that are out of the ordinary.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Findings, Said, counted, listed};
use crate::audit::finding::{Evidence, Kind, Severity, shown};
use crate::audit::history::{Change, Given, GrantSet, Part, Widened};

const RECENT_S: i64 = 7 * 24 * 60 * 60;
/// Weeks of which the usual number of grants is worked out, at least.
const WEEKS: usize = 4;
/// Fewer grants than these in a week are no flood, whatever was usual.
const FEW: usize = 5;
/// Earlier changes by which an hour, or an author, is told to be unusual, at least.
const CHANGES: usize = 10;
/// Hours around one that count as the same.
const AROUND: i64 = 2;

pub(super) fn look(findings: &mut Findings<'_, '_>) {
    if findings.input.history.is_empty() {
        return findings.skip(&[Kind::AbnormalRecentGrant], "there is no log of versions");
    }
    let now = findings.input.now.as_second();
    let all: Vec<(&Change, Vec<Given<'_>>)> = findings.input.history.given().collect();
    let edge = now.saturating_sub(RECENT_S);
    let (earlier, recent): (Vec<_>, Vec<_>) = all
        .into_iter()
        .filter(|(version, given)| !given.is_empty() || !version.widened.is_empty())
        .partition(|(version, _)| version.at < edge);
    let count: usize = recent.iter().map(|(_, given)| given.len()).sum();
    let flood: Vec<String> =
        flood(findings.input.history.given().map(|(version, given)| (version.at, given.len())), now, count)
            .into_iter()
            .collect();
    let now_granted = GrantSet::of(findings.input.draft);
    for (version, given) in &recent {
        let mut reasons: Vec<String> = flood.to_vec();
        reasons.extend(unusual_hour(&earlier, version.at, &findings.input.settings.zone));
        reasons.extend(unusual_author(&earlier, &version.by));
        if reasons.is_empty() {
            continue;
        }
        for given in given {
            report(findings, *given, &reasons);
        }
        // A flood is one of grants.
        let reasons: Vec<String> = reasons.into_iter().filter(|reason| !flood.contains(reason)).collect();
        if !reasons.is_empty() {
            for widened in version.widened.iter().filter(|widened| is_still_so(&now_granted, widened)) {
                report_widened(findings, version, widened, &reasons);
            }
        }
    }
}

/// More than the mean of the weeks before and three deviations.
fn flood(given: impl Iterator<Item = (i64, usize)>, now: i64, count: usize) -> Option<String> {
    let all: Vec<(i64, usize)> = given.collect();
    let first = all.first()?.0;
    let weeks = usize::try_from(now.saturating_sub(first) / RECENT_S).unwrap_or(0);
    if weeks <= WEEKS || count < FEW {
        return None;
    }
    let mut by_week = vec![0_usize; weeks];
    for (at, count) in all {
        let week = usize::try_from(now.saturating_sub(at) / RECENT_S).unwrap_or(usize::MAX);
        if let Some(sum) = by_week.get_mut(week) {
            *sum += count;
        }
    }
    let past = by_week.get(1..)?;
    let mean = mean_of(past.iter().map(|count| as_float(*count)));
    let deviation = mean_of(past.iter().map(|count| (as_float(*count) - mean).powi(2))).sqrt();
    let most = mean + 3.0 * deviation;
    (as_float(count) > most)
        .then(|| format!("{count} grants in 7 days, and {mean:.1} a week are usual (at most {most:.1})"))
}

fn mean_of(numbers: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = numbers.len();
    numbers.sum::<f64>() / as_float(count.max(1))
}

#[expect(clippy::cast_precision_loss, reason = "there are fewer grants than a float can count")]
fn as_float(count: usize) -> f64 {
    count as f64
}

/// Whether nobody granted anything around this hour, of a working day or of a weekend, in many earlier changes. By the clocks of a zone.
fn unusual_hour(earlier: &[(&Change, Vec<Given<'_>>)], at: i64, zone: &TimeZone) -> Option<String> {
    if earlier.len() < CHANGES {
        return None;
    }
    let (weekend, hour) = place_in_week(at, zone)?;
    let is_near = |other: i64| {
        place_in_week(other, zone).is_some_and(|(other_weekend, other)| {
            let apart = (hour - other).rem_euclid(24);
            other_weekend == weekend && apart.min(24 - apart) <= AROUND
        })
    };
    let near = earlier.iter().any(|(version, _)| is_near(version.at));
    let day = if weekend { "a weekend" } else { "a working day" };
    (!near).then(|| {
        format!(
            "granted around {hour}:00 {} of {day}, when none of {} earlier changes was made",
            zone.iana_name().unwrap_or("UTC"),
            earlier.len()
        )
    })
}

fn place_in_week(at: i64, zone: &TimeZone) -> Option<(bool, i64)> {
    let time = Timestamp::from_second(at).ok()?.to_zoned(zone.clone());
    let weekend = matches!(time.weekday(), jiff::civil::Weekday::Saturday | jiff::civil::Weekday::Sunday);
    Some((weekend, i64::from(time.hour())))
}

fn unusual_author(earlier: &[(&Change, Vec<Given<'_>>)], by: &[String]) -> Option<String> {
    let known: BTreeSet<&String> = earlier.iter().flat_map(|(version, _)| &version.by).collect();
    let new = earlier.len() >= CHANGES && !by.is_empty() && by.iter().all(|name| !known.contains(name));
    new.then(|| {
        format!(
            "by {}, who made none of {}",
            listed(by.iter().map(String::as_str), 3),
            counted(earlier.len(), "earlier change", "earlier changes")
        )
    })
}

fn report(findings: &mut Findings<'_, '_>, given: Given<'_>, reasons: &[String]) {
    let draft = findings.input.draft;
    let (who, what, place) = match given.part {
        Part::Holds { assignment, role, principal } => {
            let found = draft.assignments.iter().find(|each| each.name.value == **assignment);
            let place = found.and_then(|found| findings.place("assignment", assignment, found.name.at));
            // Taken back since: nothing to do.
            if !found.is_some_and(|found| found.principals.iter().any(|each| each.value == **principal)) {
                return;
            }
            (principal, role, place)
        }
        Part::Member { group, member } => {
            let found = draft.groups.iter().find(|each| each.name.value == **group);
            let place = found.and_then(|found| findings.place("group", group, found.name.at));
            if !found.is_some_and(|found| found.members.iter().any(|each| each.value == **member)) {
                return;
            }
            (member, group, place)
        }
        Part::Action { .. } | Part::Inherits { .. } | Part::Reaches { .. } | Part::Bounded { .. } => return,
    };
    let by = listed(given.version.by.iter().map(String::as_str), 3);
    let at = shown(given.version.at);
    let about = format!("version {}", given.version.n);
    let said = Said {
        principal: Some(who),
        permission: Some(what),
        about: &about,
        place,
        evidence: Evidence {
            granted_at: Some(at.clone()),
            facts: [vec![format!("version {} by {by}", given.version.n)], reasons.to_vec()].concat(),
            ..Evidence::default()
        },
        ..Said::plain(
            Kind::AbnormalRecentGrant,
            Severity::Medium,
            format!("`{who}` was granted `{what}` at {at}: {}", reasons.join("; ")),
            "ask who wanted it, and for what",
        )
    };
    findings.add(said);
}

/// Whether nobody has taken it back since.
fn is_still_so(now: &GrantSet, widened: &Widened) -> bool {
    match widened {
        Widened::By(part) => now.has(part),
        Widened::Without(part) => !now.has(part),
    }
}

/// What a role permits, or an assignment covers, more than before: everybody who holds it was granted that.
fn report_widened(findings: &mut Findings<'_, '_>, version: &Change, widened: &Widened, reasons: &[String]) {
    let draft = findings.input.draft;
    let (Widened::By(part) | Widened::Without(part)) = widened;
    let role = |name: &str| {
        let found = draft.roles.iter().find(|each| each.name.value == name)?;
        Some(("role", found.name.at))
    };
    let assignment = |name: &str| {
        let found = draft.assignments.iter().find(|each| each.name.value == name)?;
        Some(("assignment", found.name.at))
    };
    let (name, found, what) = match part {
        Part::Action { role: name, action } => (name, role(name), format!("the role `{name}` was given `{action}`")),
        Part::Inherits { role: name, parent } => {
            (name, role(name), format!("the role `{name}` was given what `{parent}` permits"))
        }
        Part::Reaches { assignment: name, route } => {
            (name, assignment(name), format!("the assignment `{name}` was made to cover `{route}`"))
        }
        Part::Bounded { assignment: name, by } => {
            (name, assignment(name), format!("`{by}` was taken off the assignment `{name}`"))
        }
        Part::Holds { .. } | Part::Member { .. } => return,
    };
    // It is not there any more.
    let Some((kind, at)) = found else { return };
    let (when, about) = (shown(version.at), format!("version {}: {what}", version.n));
    let by = listed(version.by.iter().map(String::as_str), 3);
    let said = Said {
        permission: Some(name),
        about: &about,
        place: findings.place(kind, name, at),
        evidence: Evidence {
            granted_at: Some(when.clone()),
            facts: [vec![format!("version {} by {by}", version.n)], reasons.to_vec()].concat(),
            ..Evidence::default()
        },
        ..Said::plain(
            Kind::AbnormalRecentGrant,
            Severity::Medium,
            format!("{what} at {when}, and so everybody who holds it: {}", reasons.join("; ")),
            "ask who wanted it, and for what",
        )
    };
    findings.add(said);
}
