//! Durations on the command line, in the form of the files: a whole number with its unit.

use std::time::Duration;

/// `250ms`, `5s`, `10m`, `2h`, `7d`.
///
/// # Errors
/// Anything else.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let expected = || "expected a whole number with `ms`, `s`, `m`, `h` or `d`, such as 4h".to_owned();
    let digits = text.len() - text.trim_start_matches(|character: char| character.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| expected())?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(expected()),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(expected)
}

/// The two largest units of a duration, for people: `3d 4h`.
pub(crate) fn shown(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut rest = seconds;
    let mut words = Vec::new();
    for (length, unit) in units {
        if rest >= length {
            words.push(format!("{}{unit}", rest / length));
            rest %= length;
        } else if !words.is_empty() {
            break;
        }
        if words.len() == 2 {
            break;
        }
    }
    if words.is_empty() { "0s".to_owned() } else { words.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_its_unit() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(parse(text).ok(), expected.map(Duration::from_millis), "{text}");
        };
        check("250ms", Some(250));
        check("4h", Some(4 * 3_600_000));
        check("7d", Some(7 * 86_400_000));
        check("0s", Some(0));
        check("4", None);
        check("h", None);
        check("-4h", None);
        check("4 h", None);
        check("4.5h", None);
        check("99999999999999999999s", None);
        check("999999999999999999d", None);
    }

    #[test]
    fn a_time_is_said_in_its_two_largest_units() {
        let check = |seconds: u64, expected: &str| assert_eq!(shown(seconds), expected);
        check(0, "0s");
        check(59, "59s");
        check(60, "1m");
        check(61, "1m 1s");
        check(3_600, "1h");
        check(3_601, "1h");
        check(90_061, "1d 1h");
    }
}
