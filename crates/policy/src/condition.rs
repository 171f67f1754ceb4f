//! Conditions: what a grant or a deny demands of the facts, each answered yes, no or unknown.

use std::sync::Arc;

use jiff::Timestamp;

use crate::draft::{ActivationRules, Hours, StepUpRules};
use crate::network::NetworkId;
use crate::principal::Principal;
use crate::request::{CountryCode, RiskLevel};

/// The answer of a condition. Unknown is never a yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Truth {
    Yes,
    No,
    Unknown,
}

impl Truth {
    pub(crate) fn from_bool(value: bool) -> Self {
        if value { Self::Yes } else { Self::No }
    }
}

/// The conditions of one rule, compiled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions {
    /// Sorted.
    pub(crate) networks: Option<Box<[NetworkId]>>,
    pub(crate) hours: Option<Box<Hours>>,
    /// Sorted.
    pub(crate) countries: Option<Box<[CountryCode]>>,
    pub(crate) compliant_device: bool,
    pub(crate) assurance_mfa: bool,
    pub(crate) max_age_s: Option<u64>,
    pub(crate) max_risk: Option<RiskLevel>,
    pub(crate) activation: Option<Arc<Eligibility>>,
}

/// An assignment that its holder must activate.
#[derive(Debug, Clone)]
pub(crate) struct Eligibility {
    /// The assignment's name.
    pub(crate) assignment: Arc<str>,
    pub(crate) rules: ActivationRules,
}

/// The kinds of condition, in the order in which traces show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ConditionKind {
    Networks,
    Hours,
    Countries,
    Device,
    Assurance,
    MaxAge,
    MaxRisk,
    Activation,
}

impl ConditionKind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Networks,
        Self::Hours,
        Self::Countries,
        Self::Device,
        Self::Assurance,
        Self::MaxAge,
        Self::MaxRisk,
        Self::Activation,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Networks => "networks",
            Self::Hours => "hours",
            Self::Countries => "countries",
            Self::Device => "device",
            Self::Assurance => "assurance",
            Self::MaxAge => "max_age",
            Self::MaxRisk => "max_risk",
            Self::Activation => "activation",
        }
    }
}

impl Conditions {
    pub(crate) fn is_empty(&self) -> bool {
        self.networks.is_none()
            && self.hours.is_none()
            && self.countries.is_none()
            && !self.compliant_device
            && !self.assurance_mfa
            && self.max_age_s.is_none()
            && self.max_risk.is_none()
            && self.activation.is_none()
    }
}

impl Hours {
    /// Parses `Mon-Fri 08:00-18:00 Europe/Berlin`: days (a name, a range, or a comma list of both; `*` for all), a span
    /// of the day, and a time zone that `resolve` knows. The error is a sentence for the person who wrote it.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str, resolve: impl Fn(&str) -> Option<jiff::tz::TimeZone>) -> Result<Self, String> {
        let mut parts = text.split_ascii_whitespace();
        let (Some(days), Some(span), Some(zone), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(format!(
                "`{text}` is not `DAYS HH:MM-HH:MM ZONE`, such as `Mon-Fri 08:00-18:00 Europe/Berlin`"
            ));
        };
        let Some((from, to)) = span.split_once('-') else {
            return Err(format!("`{span}` is not a span of the day, such as `08:00-18:00`"));
        };
        let from_minute = parse_minute(from).filter(|minute| *minute < 24 * 60);
        let (Some(from_minute), Some(to_minute)) = (from_minute, parse_minute(to).filter(|minute| *minute > 0)) else {
            return Err(format!("`{span}` is not a span of the day, such as `08:00-18:00`"));
        };
        if from_minute == to_minute {
            return Err(format!("`{span}` spans nothing; a whole day is `00:00-24:00`"));
        }
        let zone =
            resolve(zone).ok_or_else(|| format!("`{zone}` is not a time zone, such as `Europe/Berlin` or `UTC`"))?;
        Ok(Self { text: text.into(), days: parse_days(days)?, from_minute, to_minute, zone })
    }

    /// Whether the time is within them, by the zone's own clock (so daylight saving time is its matter).
    pub fn hold(&self, now: Timestamp) -> bool {
        let local = self.zone.to_datetime(now);
        let day = u8::try_from(local.weekday().to_monday_zero_offset()).unwrap_or_default();
        let minute =
            u16::try_from(local.hour()).unwrap_or_default() * 60 + u16::try_from(local.minute()).unwrap_or_default();
        let on = |day: u8| self.days & (1 << (day % 7)) != 0;
        if self.from_minute < self.to_minute {
            return on(day) && minute >= self.from_minute && minute < self.to_minute;
        }
        on(day) && minute >= self.from_minute || on(day + 6) && minute < self.to_minute
    }
}

fn parse_minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    if hour.len() != 2 || minute.len() != 2 || !(hour.bytes().chain(minute.bytes())).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (minute < 60 && hour * 60 + minute <= 24 * 60).then_some(hour * 60 + minute)
}

fn parse_days(text: &str) -> Result<u8, String> {
    if text == "*" {
        return Ok(0x7f);
    }
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Some(first), Some(last)) = (parse_day(first), parse_day(last)) else {
            return Err(format!("`{part}` is not a day or a range of days, such as `Mon` or `Mon-Fri`"));
        };
        let mut day = first;
        while day != last {
            days |= 1 << day;
            day = (day + 1) % 7;
        }
        days |= 1 << last;
    }
    Ok(days)
}

fn parse_day(text: &str) -> Option<u8> {
    ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
        .iter()
        .position(|day| day.eq_ignore_ascii_case(text))
        .and_then(|day| u8::try_from(day).ok())
}

/// Whether the principal's authentication counts as `mfa` and is fresh: an acceptable `acr` or `amr`, and an
/// `auth_time` at most `max_age_s` ago (RFC 9470 section 3; OpenID Connect Core section 2). Without `auth_time` it is
/// not fresh.
pub(crate) fn mfa_is_fresh(principal: &Principal, rules: &StepUpRules, now: Timestamp) -> bool {
    principal.authentication.stated_mfa || is_strong(principal, rules) && is_recent(principal, rules.max_age_s, now)
}

/// Whether the principal's authentication, whenever that was, counts as `mfa`.
pub(crate) fn is_strong(principal: &Principal, rules: &StepUpRules) -> bool {
    let authentication = &principal.authentication;
    authentication.acr.as_deref().is_some_and(|acr| rules.acr.iter().any(|accepted| **accepted == *acr))
        || authentication.amr.iter().any(|amr| rules.amr.iter().any(|accepted| **accepted == **amr))
}

/// Whether the principal authenticated at most so many seconds ago, by whatever means. Of whom nobody knows when that was it is not so. A minute
/// of clock difference is tolerated.
pub(crate) fn is_recent(principal: &Principal, max_age_s: u64, now: Timestamp) -> bool {
    let authentication = &principal.authentication;
    match authentication.auth_time {
        Some(at) => {
            let age = now.as_second().saturating_sub(at.as_second());
            age >= -60 && age <= i64::try_from(max_age_s).unwrap_or(i64::MAX)
        }
        // Who states that it is fresh, and not since when, states that it was just now.
        None => authentication.stated_mfa,
    }
}

/// A span in its largest unit without a rest, as a policy writes it: `15m`, `90s`.
pub(crate) fn span_text(seconds: u64) -> String {
    let units = [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "m")];
    match units.into_iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn a_span_is_written_in_its_largest_unit() {
        for (seconds, expected) in
            [(0, "0s"), (1, "1s"), (60, "1m"), (90, "90s"), (900, "15m"), (3_600, "1h"), (5_400, "90m"), (86_400, "1d")]
        {
            assert_eq!(span_text(seconds), expected);
        }
    }

    #[test]
    fn hours_follow_the_zone_through_daylight_saving_time() {
        let resolve = |name: &str| TimeZone::get(name).ok();
        let check = |hours: &str, at: &str, expected: bool| {
            let hours = Hours::parse(hours, resolve).unwrap();
            assert_eq!(hours.hold(at.parse().unwrap()), expected, "{} {at}", hours.text);
        };
        let office = "Mon-Fri 08:00-18:00 Europe/Berlin";
        check(office, "2026-11-23T06:59:59Z", false);
        check(office, "2026-11-23T07:00:00Z", true);
        check(office, "2026-11-23T16:59:59Z", true);
        check(office, "2026-11-23T17:00:00Z", false);
        check(office, "2026-07-20T06:00:00Z", true);
        check(office, "2026-07-20T16:00:00Z", false);
        check(office, "2026-11-22T10:00:00Z", false);
        check("Fri 22:00-06:00 UTC", "2026-11-20T23:00:00Z", true);
        check("Fri 22:00-06:00 UTC", "2026-11-21T05:59:00Z", true);
        check("Fri 22:00-06:00 UTC", "2026-11-21T06:00:00Z", false);
        check("Fri 22:00-06:00 UTC", "2026-11-20T05:00:00Z", false);
        check("Mon 22:00-06:00 UTC", "2026-11-24T05:00:00Z", true);
        check("* 00:00-24:00 UTC", "2026-11-22T23:59:59Z", true);
        check("Sat-Mon,wed 00:00-24:00 UTC", "2026-11-22T12:00:00Z", true);
        check("Sat-Mon,wed 00:00-24:00 UTC", "2026-11-24T12:00:00Z", false);
    }

    #[test]
    fn hours_are_days_a_span_and_a_zone() {
        let check = |text: &str, expected: (u8, u16, u16)| {
            let hours = Hours::parse(text, |name| TimeZone::get(name).ok()).unwrap();
            assert_eq!((hours.days, hours.from_minute, hours.to_minute), expected, "{text}");
            assert_eq!(&*hours.text, text);
        };
        check("Mon-Fri 08:00-18:00 Europe/Berlin", (0b001_1111, 480, 1_080));
        check("Mon-Sun 00:00-24:00 UTC", (0b111_1111, 0, 1_440));
        check("* 00:00-24:00 UTC", (0b111_1111, 0, 1_440));
        check("sat 22:00-06:00 UTC", (0b010_0000, 1_320, 360));
        check("Sat-Mon 08:00-09:00 UTC", (0b110_0001, 480, 540));
        check("Mon,Wed-Thu 08:00-09:00 UTC", (0b000_1101, 480, 540));
    }

    #[test]
    fn hours_that_mean_nothing_are_refused() {
        for bad in [
            "",
            "Mon-Fri",
            "Mon-Fri 8:00-18:00 UTC",
            "Mon-Fri 08:00 UTC",
            "Mon-Fri 08:00-25:00 UTC",
            "Mon-Fri 24:00-08:00 UTC",
            "Mon-Fri 08:60-18:00 UTC",
            "Foo 08:00-18:00 UTC",
            "Mon 08:00-18:00 Mars/Olympus",
            "Mon 08:00-18:00 UTC extra",
            "Mon +8:00-18:00 UTC",
            "Mon 08:00-00:00 UTC",
            "Mon 08:00-24:01 UTC",
            "Mon- 08:00-18:00 UTC",
            "Mo-Fr 08:00-18:00 UTC",
            "Mon 08:00-08:00 UTC",
        ] {
            assert!(Hours::parse(bad, |name| TimeZone::get(name).ok()).is_err(), "{bad}");
        }
    }
}
