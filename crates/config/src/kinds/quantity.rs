//! Quantities with units, and moments.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use toml::de::DeValue;

use crate::schema::matching;
use crate::section::{Field, Kind, shown};

/// The same schema with words on its bounds, which a pattern cannot hold.
fn described(mut schema: Value, bounds: String) -> Value {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".into(), bounds.into());
    }
    schema
}

/// A whole number within bounds.
#[derive(Debug, Clone)]
pub(crate) struct Integer(pub(crate) RangeInclusive<u64>);

impl Kind for Integer {
    type Value = u64;

    fn expected(&self) -> Cow<'static, str> {
        format!("a whole number from {} to {}", self.0.start(), self.0.end()).into()
    }

    fn read(&self, field: &Field<'_>) -> Option<u64> {
        let DeValue::Integer(number) = field.value else {
            let quoted = matches!(field.value, DeValue::String(_));
            field.wrong_type(&self.expected(), quoted.then(|| "write it without quotes".to_owned()));
            return None;
        };
        let value = u64::from_str_radix(number.as_str(), number.radix()).ok().filter(|value| self.0.contains(value));
        if value.is_none() {
            field.bad_value(format!("expected {}, found {}", self.expected(), shown(number.as_str())), None);
        }
        value
    }

    fn schema(&self) -> Value {
        json!({ "type": "integer", "minimum": self.0.start(), "maximum": self.0.end() })
    }
}

/// A number with or without a fraction, within bounds.
#[derive(Debug, Clone)]
pub(crate) struct Decimal(pub(crate) RangeInclusive<f64>);

impl Kind for Decimal {
    type Value = f64;

    fn expected(&self) -> Cow<'static, str> {
        format!("a number from {} to {}", self.0.start(), self.0.end()).into()
    }

    fn read(&self, field: &Field<'_>) -> Option<f64> {
        let (written, value) = match field.value {
            DeValue::Float(number) => (number.as_str(), number.as_str().parse::<f64>().ok()),
            DeValue::Integer(number) if number.radix() == 10 => (number.as_str(), number.as_str().parse().ok()),
            _ => {
                field.wrong_type(&self.expected(), None);
                return None;
            }
        };
        // Not a number is in no range.
        let value = value.filter(|value| self.0.contains(value));
        if value.is_none() {
            field.bad_value(format!("expected {}, found {}", self.expected(), shown(written)), None);
        }
        value
    }

    fn schema(&self) -> Value {
        json!({ "type": "number", "minimum": self.0.start(), "maximum": self.0.end() })
    }
}

/// A duration with its unit, within bounds.
#[derive(Debug, Clone)]
pub(crate) struct Time(pub(crate) RangeInclusive<Duration>);

impl Time {
    /// From `least` to `most`, each in the form of the file: `Time::within("100ms", "1h")`.
    pub(crate) fn within(least: &'static str, most: &'static str) -> Self {
        let bound = |text: &str, or: Duration| parse_duration(text).unwrap_or(or);
        Self(bound(least, Duration::ZERO)..=bound(most, Duration::MAX))
    }
}

impl Kind for Time {
    type Value = Duration;

    fn expected(&self) -> Cow<'static, str> {
        "a duration such as \"30s\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<Duration> {
        if let DeValue::Integer(number) = field.value {
            let help = format!("write the unit: `\"{}s\"`", shown(number.as_str()));
            field.wrong_type(&self.expected(), Some(help));
            return None;
        }
        let text = field.text(&self.expected())?;
        let Some(duration) = parse_duration(&text) else {
            let message = format!("expected {}, found \"{}\"", self.expected(), shown(&text));
            field.bad_value(message, Some("a whole number with `ms`, `s`, `m`, `h` or `d`".into()));
            return None;
        };
        if !self.0.contains(&duration) {
            let bounds = format!("must be from {} to {}", in_words(*self.0.start()), in_words(*self.0.end()));
            field.bad_value(bounds, None);
            return None;
        }
        Some(duration)
    }

    fn schema(&self) -> Value {
        let bounds = format!("From {} to {}.", in_words(*self.0.start()), in_words(*self.0.end()));
        described(matching("^[0-9]+(ms|s|m|h|d)$"), bounds)
    }
}

/// `250ms`, `5s`, `10m`, `2h`, `7d`; `None` for anything else.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let number: u64 = number.parse().ok()?;
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs);
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(60 * 60),
        "d" => seconds(24 * 60 * 60),
        _ => None,
    }
}

fn in_words(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    if millis > 0 {
        return format!("{}ms", duration.as_millis());
    }
    let units = [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "m")];
    let whole = units.iter().find(|(each, _)| seconds >= *each && seconds.is_multiple_of(*each));
    whole.map_or_else(|| format!("{seconds}s"), |(each, unit)| format!("{}{unit}", seconds / each))
}

/// A number of bytes with its unit, within bounds.
#[derive(Debug, Clone)]
pub(crate) struct Size(pub(crate) RangeInclusive<usize>);

impl Kind for Size {
    type Value = usize;

    fn expected(&self) -> Cow<'static, str> {
        "a size such as \"64KiB\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<usize> {
        if let DeValue::Integer(number) = field.value {
            let help = format!("write the unit: `\"{}B\"`, or KiB, MiB, kB, MB", shown(number.as_str()));
            field.wrong_type(&self.expected(), Some(help));
            return None;
        }
        let text = field.text(&self.expected())?;
        let Some(size) = parse_size(&text) else {
            let message = format!("expected {}, found \"{}\"", self.expected(), shown(&text));
            field.bad_value(message, Some("a whole number with `B`, `KiB`, `MiB`, `GiB`, `kB`, `MB` or `GB`".into()));
            return None;
        };
        if !self.0.contains(&size) {
            field.bad_value(format!("must be from {} to {} bytes", self.0.start(), self.0.end()), None);
            return None;
        }
        Some(size)
    }

    fn schema(&self) -> Value {
        let bounds = format!("From {} to {} bytes.", self.0.start(), self.0.end());
        described(matching("^[0-9]+(B|KiB|MiB|GiB|kB|KB|MB|GB)$"), bounds)
    }
}

/// `512B`, `64KiB` (1,024), `1MB` (1,000,000); `None` for anything else.
fn parse_size(text: &str) -> Option<usize> {
    let (number, unit) = split_unit(text)?;
    let each: usize = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(each)
}

/// Digits, then a unit; nothing else, so that `+5s` and `1 h` are errors.
fn split_unit(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|character: char| !character.is_ascii_digit())?;
    text.split_at_checked(end).filter(|(number, _)| !number.is_empty())
}

/// A share such as `25%`, read as a fraction from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Percentage;

impl Kind for Percentage {
    type Value = f64;

    fn expected(&self) -> Cow<'static, str> {
        "a percentage such as \"25%\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<f64> {
        if let DeValue::Integer(number) = field.value {
            let help = format!("write the sign: `\"{}%\"`", shown(number.as_str()));
            field.wrong_type(&self.expected(), Some(help));
            return None;
        }
        let text = field.text(&self.expected())?;
        let share = parse_percentage(&text);
        if share.is_none() {
            let message = format!("expected {}, found \"{}\"", self.expected(), shown(&text));
            field.bad_value(message, Some("from \"0%\" to \"100%\"".into()));
        }
        share
    }

    fn schema(&self) -> Value {
        matching("^[0-9.]+%$")
    }
}

fn parse_percentage(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%')?;
    let plain = !number.is_empty() && number.chars().all(|character| character.is_ascii_digit() || character == '.');
    let value: f64 = number.parse().ok().filter(|_| plain)?;
    (0.0..=100.0).contains(&value).then_some(value / 100.0)
}

/// A moment with its offset from UTC (RFC 3339), as a TOML date-time or as a string.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment;

impl Kind for Moment {
    type Value = Timestamp;

    fn expected(&self) -> Cow<'static, str> {
        "a moment such as 2026-01-31T08:00:00Z".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<Timestamp> {
        let text = match field.value {
            DeValue::Datetime(written) if written.offset.is_none() => {
                let help = "add the offset from UTC, such as `Z` or `+01:00`".to_owned();
                field.bad_value(format!("`{written}` says no offset from UTC"), Some(help));
                return None;
            }
            DeValue::Datetime(written) => Cow::Owned(written.to_string()),
            _ => field.text(&self.expected())?,
        };
        match text.parse::<Timestamp>() {
            Ok(moment) => Some(moment),
            Err(error) => {
                let help = "write it as in RFC 3339: `2026-01-31T08:00:00Z`".to_owned();
                field.bad_value(format!("`{}` is no moment: {error}", shown(&text)), Some(help));
                None
            }
        }
    }

    fn schema(&self) -> Value {
        // A date-time of TOML reaches a validator as its text (RFC 3339 section 5.6).
        let (date, time) = ("[0-9]{4}-[0-9]{2}-[0-9]{2}", "[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?");
        matching(&format!("^{date}[Tt ]{time}([Zz]|[+-][0-9]{{2}}(:?[0-9]{{2}})?)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_with_a_unit() {
        let check = |text: &str, millis: Option<u128>| {
            assert_eq!(parse_duration(text).map(|duration| duration.as_millis()), millis, "{text}");
        };
        check("0s", Some(0));
        check("250ms", Some(250));
        check("5s", Some(5_000));
        check("10m", Some(600_000));
        check("2h", Some(7_200_000));
        check("7d", Some(604_800_000));
        for bad in
            ["", "5", "s", "5 s", "+5s", "-5s", "1.5s", "5S", "5sec", "99999999999999999999s", "18446744073709551615d"]
        {
            check(bad, None);
        }
    }

    #[test]
    fn a_duration_is_shown_in_its_largest_whole_unit() {
        for text in ["250ms", "5s", "90s", "10m", "2h", "7d"] {
            assert_eq!(in_words(parse_duration(text).unwrap()), text);
        }
        assert_eq!(in_words(Duration::ZERO), "0s");
    }

    #[test]
    fn a_size_counts_in_powers_of_two_or_of_ten() {
        let check = |text: &str, bytes: Option<usize>| assert_eq!(parse_size(text), bytes, "{text}");
        check("512B", Some(512));
        check("64KiB", Some(65_536));
        check("1MiB", Some(1_048_576));
        check("1MB", Some(1_000_000));
        check("2kB", Some(2_000));
        for bad in ["", "64", "64K", "64kib", "1.5MiB", "-1B", "99999999999GiB"] {
            check(bad, None);
        }
    }

    #[test]
    fn a_percentage_is_between_nothing_and_all() {
        let check = |text: &str, share: Option<f64>| assert_eq!(parse_percentage(text), share, "{text}");
        check("25%", Some(0.25));
        check("0%", Some(0.0));
        check("100%", Some(1.0));
        check("0.5%", Some(0.005));
        for bad in ["25", "%", "101%", "-1%", "nan%", "inf%", "1e1%", "1.2.3%"] {
            check(bad, None);
        }
    }
}
