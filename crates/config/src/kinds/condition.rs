//! The values of conditions: weekly hours and countries.

use std::borrow::Cow;

use jiff::tz::TimeZone;
use portcullis_policy::{CountryCode, Hours};

use crate::section::{Field, Kind, shown};

/// An ISO 3166-1 alpha-2 country code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Country;

impl Kind for Country {
    type Value = CountryCode;

    fn expected(&self) -> Cow<'static, str> {
        "a country code such as \"DE\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<CountryCode> {
        let text = field.text(&self.expected())?;
        let code = CountryCode::parse(&text);
        if code.is_none() {
            let help = "use the two letters of ISO 3166-1".to_owned();
            field.bad_value(format!("expected {}, found \"{}\"", self.expected(), shown(&text)), Some(help));
        }
        code
    }
}

/// `Mon-Fri 08:00-18:00 Europe/Berlin`
#[derive(Debug, Clone, Copy)]
pub(crate) struct WeeklyHours;

impl Kind for WeeklyHours {
    type Value = Hours;

    fn expected(&self) -> Cow<'static, str> {
        "hours such as \"Mon-Fri 08:00-18:00 Europe/Berlin\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<Hours> {
        let text = field.text(&self.expected())?;
        match parse_hours(&text) {
            Ok(hours) => Some(hours),
            Err(problem) => {
                field.bad_value(problem, Some(format!("write {}", self.expected())));
                None
            }
        }
    }
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Days, hours and a zone; the error is a sentence about the part that is wrong.
fn parse_hours(text: &str) -> Result<Hours, String> {
    let mut words = text.split_ascii_whitespace();
    let (Some(days), Some(span), Some(zone), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err(format!("`{}` is not days, hours and a time zone", shown(text)));
    };
    let days = parse_days(days)?;
    let (from, to) = span.split_once('-').ok_or_else(|| format!("`{}` is no span of hours", shown(span)))?;
    let (from_minute, to_minute) = (parse_minute(from)?, parse_minute(to)?);
    if from_minute == to_minute || from_minute >= 24 * 60 || to_minute == 0 {
        return Err(format!("`{}` spans nothing; a whole day is 00:00-24:00", shown(span)));
    }
    let zone = TimeZone::get(zone).map_err(|_| format!("`{}` is no time zone of the IANA database", shown(zone)))?;
    Ok(Hours { text: text.into(), days, from_minute, to_minute, zone })
}

/// `Mon-Fri`, `Sat`, `Mon,Wed,Fri-Sun`: a bit for each day, Monday first.
fn parse_days(text: &str) -> Result<u8, String> {
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last) = (parse_day(first)?, parse_day(last)?);
        days |= 1 << day;
        while day != last {
            day = (day + 1) % 7;
            days |= 1 << day;
        }
    }
    Ok(days)
}

fn parse_day(text: &str) -> Result<usize, String> {
    let found = DAYS.iter().position(|day| day.eq_ignore_ascii_case(text));
    found.ok_or_else(|| format!("`{}` is no day; days are {}", shown(text), DAYS.join(", ")))
}

/// `08:00` to `24:00`, in minutes.
fn parse_minute(text: &str) -> Result<u16, String> {
    let number = |part: &str| {
        let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u16>().ok().filter(|_| digits)
    };
    text.split_once(':')
        .and_then(|(hour, minute)| Some((number(hour)?, number(minute)?)))
        .filter(|(hour, minute)| *minute < 60 && hour * 60 + minute <= 24 * 60)
        .map(|(hour, minute)| hour * 60 + minute)
        .ok_or_else(|| format!("`{}` is no time of day such as 08:00", shown(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_days_a_span_and_a_zone() {
        let check = |text: &str, expected: Result<(u8, u16, u16), &str>| match (parse_hours(text), expected) {
            (Ok(hours), Ok(parts)) => {
                assert_eq!((hours.days, hours.from_minute, hours.to_minute), parts, "{text}");
                assert_eq!(&*hours.text, text);
            }
            (Err(problem), Err(fragment)) => assert!(problem.contains(fragment), "{text}: {problem}"),
            (found, _) => panic!("{text}: {found:?}"),
        };
        check("Mon-Fri 08:00-18:00 Europe/Berlin", Ok((0b001_1111, 480, 1_080)));
        check("Mon-Sun 00:00-24:00 UTC", Ok((0b111_1111, 0, 1_440)));
        check("sat 22:00-06:00 UTC", Ok((0b010_0000, 1_320, 360)));
        check("Sat-Mon 08:00-09:00 UTC", Ok((0b110_0001, 480, 540)));
        check("Mon,Wed-Thu 08:00-09:00 UTC", Ok((0b000_1101, 480, 540)));
        check("Mon-Fri 08:00-18:00", Err("not days, hours and a time zone"));
        check("Mon-Fri 08:00-18:00 Europe/Berlin x", Err("not days, hours and a time zone"));
        check("Mo-Fr 08:00-18:00 UTC", Err("no day"));
        check("Mon- 08:00-18:00 UTC", Err("no day"));
        check("Mon 8:00-18:00 UTC", Err("no time of day"));
        check("Mon 08:60-18:00 UTC", Err("no time of day"));
        check("Mon 08:00-24:01 UTC", Err("no time of day"));
        check("Mon 08:00 UTC", Err("no span of hours"));
        check("Mon 08:00-08:00 UTC", Err("spans nothing"));
        check("Mon 24:00-08:00 UTC", Err("spans nothing"));
        check("Mon 08:00-00:00 UTC", Err("spans nothing"));
        check("Mon 08:00-18:00 Mars/Olympus", Err("no time zone"));
    }
}
