//! `ban import`: what a file lists, all of it or nothing.
//!
//! A line is an address or a network, and nothing else; or a file is CSV, whose first line names its columns; or it is the JSON of
//! `cscli decisions list -o json`. Every mistake is told with its line and column.

use std::collections::HashSet;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use jiff::Timestamp;
use portcullis_admin::api::{Done, NewBan, NewBans};
use serde_json::Value;

use crate::answers::terminal::safe;
use crate::cli::args::{BanImportArgs, Global};
use crate::cli::files;
use crate::cli::live::{ask, show};
use crate::cli::output::remark;
use crate::exit::Exit;

/// The largest file that is read.
const MAX_BYTES: u64 = 4 << 20;
/// How many bans there can be in it.
const MOST: usize = 10_000;
/// How many mistakes are told.
const TOLD: usize = 20;

/// Something that cannot be read as a ban: its line, its column, and why. Both count from 1; 0 is nowhere in particular.
#[derive(Debug, PartialEq, Eq)]
struct Mistake(usize, usize, String);

/// What holds where the file says nothing.
struct Defaults<'a> {
    for_s: Option<u64>,
    reason: Option<&'a str>,
    from: &'a str,
    now: Timestamp,
}

pub(super) fn run(global: &Global, args: &BanImportArgs) -> Result<Exit, Exit> {
    let name = args.file.display().to_string();
    let text = read(&args.file).map_err(|why| {
        remark(&format!("error: {name}: {why}"));
        Exit::Unreachable
    })?;
    let from = args.file.file_name().map_or_else(|| name.clone(), |name| name.to_string_lossy().into_owned());
    let defaults = Defaults {
        for_s: args.duration.map(|duration| duration.as_secs()),
        reason: args.reason.as_deref(),
        from: &from,
        now: Timestamp::now(),
    };
    let bans = parse(&text, &defaults).map_err(|mistakes| {
        for Mistake(line, column, why) in mistakes.iter().take(TOLD) {
            remark(&format!("error: {}:{line}:{column}: {}", safe(&name), safe(why)));
        }
        if mistakes.len() > TOLD {
            remark(&format!("and {} more", mistakes.len() - TOLD));
        }
        remark("nothing is imported");
        Exit::Configuration
    })?;
    if args.dry_run {
        let done = Done { message: format!("{} bans would be imported from {from}", bans.len()) };
        show(global, &done, || safe(&done.message));
        return Ok(Exit::Success);
    }
    let bans = NewBans { from, bans };
    let done: Done = ask(global, async |client| client.post("/v1/bans/import", &bans).await)?;
    show(global, &done, || safe(&done.message));
    Ok(Exit::Success)
}

fn read(file: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = |input: &mut dyn std::io::Read, text: &mut String| {
        input.take(MAX_BYTES + 1).read_to_string(text).map_err(|error| error.to_string())
    };
    if file == Path::new("-") {
        read(&mut std::io::stdin().lock(), &mut text)?;
    } else {
        read(&mut files::open(file).map_err(|error| error.to_string())?, &mut text)?;
    }
    if text.len() as u64 > MAX_BYTES {
        return Err(format!("it has more than {MAX_BYTES} bytes"));
    }
    Ok(text)
}

fn parse(text: &str, defaults: &Defaults<'_>) -> Result<Vec<NewBan>, Vec<Mistake>> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let bans = if text.trim_start().starts_with(['[', '{']) {
        parse_json(text, defaults)
    } else {
        parse_lines(text, defaults)
    }?;
    match bans.len() {
        0 => Err(vec![Mistake(0, 0, "there is nothing in it".to_owned())]),
        count if count > MOST => {
            Err(vec![Mistake(0, 0, format!("it has {count} bans, and at most {MOST} can be imported"))])
        }
        _ => Ok(bans),
    }
}

/// The columns that are looked at, by their place.
#[derive(Debug, Default)]
struct Columns {
    on: usize,
    lasts: Option<usize>,
    reason: Option<usize>,
    action: Option<usize>,
}

impl Columns {
    /// `None`: the line names no columns.
    fn of(fields: &[(usize, String)]) -> Option<Self> {
        let place =
            |names: &[&str]| fields.iter().position(|(_, field)| names.contains(&field.to_ascii_lowercase().as_str()));
        Some(Self {
            on: place(&["address", "ip", "range", "network", "value", "on"])?,
            lasts: place(&["for", "duration", "expiration", "expires", "until"]),
            reason: place(&["reason", "scenario", "cause"]),
            action: place(&["action", "type"]),
        })
    }
}

fn parse_lines(text: &str, defaults: &Defaults<'_>) -> Result<Vec<NewBan>, Vec<Mistake>> {
    let (mut bans, mut mistakes, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    // Without a line that names them: on whom, for how long or until when, and why.
    let mut columns = Columns { on: 0, lasts: Some(1), reason: Some(2), action: None };
    let mut is_first = true;
    for (number, line) in (1..).zip(text.lines()) {
        let content = line.split_once('#').map_or(line, |(before, _)| if before.contains('"') { line } else { before });
        if content.trim().is_empty() {
            continue;
        }
        let fields = match fields(content) {
            Ok(fields) => fields,
            Err(column) => {
                mistakes.push(Mistake(number, column, "a quotation mark that is not closed".to_owned()));
                continue;
            }
        };
        if std::mem::take(&mut is_first)
            && let Some(named) = Columns::of(&fields)
        {
            columns = named;
            continue;
        }
        let field =
            |place: Option<usize>| place.and_then(|place| fields.get(place)).filter(|(_, field)| !field.is_empty());
        if field(columns.action).is_some_and(|(_, action)| !action.eq_ignore_ascii_case("ban")) {
            continue;
        }
        let on = field(Some(columns.on)).map(|(column, on)| (*column, on.as_str()));
        let lasts = field(columns.lasts).map(|(column, lasts)| (*column, lasts.as_str()));
        let reason = field(columns.reason).map(|(_, reason)| reason.as_str());
        match ban(on, lasts, reason, defaults) {
            Ok(ban) if seen.insert(ban.on.clone()) => bans.push(ban),
            Ok(ban) => mistakes.push(Mistake(number, on.map_or(1, |on| on.0), format!("{} is there twice", ban.on))),
            Err((column, why)) => mistakes.push(Mistake(number, column, why)),
        }
    }
    if mistakes.is_empty() { Ok(bans) } else { Err(mistakes) }
}

/// The fields of a line of CSV (RFC 4180), with the column at which each begins. What is wrong: a quotation mark that is not closed, by
/// its column.
fn fields(line: &str) -> Result<Vec<(usize, String)>, usize> {
    let mut fields = Vec::new();
    let mut characters = line.chars().enumerate().peekable();
    loop {
        while characters.next_if(|(_, character)| *character == ' ' || *character == '\t').is_some() {}
        let column = characters.peek().map_or_else(|| line.chars().count() + 1, |(at, _)| at + 1);
        let mut field = String::new();
        if characters.next_if(|(_, character)| *character == '"').is_some() {
            loop {
                match characters.next() {
                    None => return Err(column),
                    Some((_, '"')) if characters.next_if(|(_, next)| *next == '"').is_some() => field.push('"'),
                    Some((_, '"')) => break,
                    Some((_, other)) => field.push(other),
                }
            }
        }
        while let Some((_, character)) = characters.next_if(|(_, character)| *character != ',') {
            field.push(character);
        }
        fields.push((column, field.trim().to_owned()));
        if characters.next().is_none() {
            return Ok(fields);
        }
    }
}

/// `cscli decisions list -o json`: alerts, each with its decisions; or decisions alone.
fn parse_json(text: &str, defaults: &Defaults<'_>) -> Result<Vec<NewBan>, Vec<Mistake>> {
    let read: Value = serde_json::from_str(text)
        .map_err(|error| vec![Mistake(error.line(), error.column(), format!("no JSON: {error}"))])?;
    let alerts = match &read {
        Value::Array(alerts) => alerts.as_slice(),
        one => std::slice::from_ref(one),
    };
    let decisions = alerts.iter().flat_map(|alert| match alert.get("decisions").and_then(Value::as_array) {
        Some(decisions) => decisions.as_slice(),
        None => std::slice::from_ref(alert),
    });
    let (mut bans, mut mistakes, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for (number, decision) in (1..).zip(decisions) {
        let text = |key: &str| decision.get(key).and_then(Value::as_str);
        if text("type").is_some_and(|kind| !kind.eq_ignore_ascii_case("ban")) {
            continue;
        }
        let on = text("value").map(|on| (0, on));
        match ban(on, text("duration").map(|lasts| (0, lasts)), text("scenario"), defaults) {
            // Several scenarios may have found the same one.
            Ok(ban) => bans.extend(seen.insert(ban.on.clone()).then_some(ban)),
            Err((_, why)) => mistakes.push(Mistake(0, 0, format!("decision {number}: {why}"))),
        }
    }
    if mistakes.is_empty() { Ok(bans) } else { Err(mistakes) }
}

fn ban(
    on: Option<(usize, &str)>,
    lasts: Option<(usize, &str)>,
    reason: Option<&str>,
    defaults: &Defaults<'_>,
) -> Result<NewBan, (usize, String)> {
    let (column, text) = on.ok_or_else(|| (1, "there is no address".to_owned()))?;
    // CrowdSec names the scope before the value in one of its forms.
    let bare = ["Ip:", "Range:", "ip:", "range:"].iter().find_map(|scope| text.strip_prefix(scope)).unwrap_or(text);
    let is_one =
        bare.parse::<IpAddr>().is_ok() || bare.parse::<IpNet>().is_ok_and(|network| network.trunc() == network);
    if !is_one {
        let host_bits =
            bare.parse::<IpNet>().map(|network| format!(", such as {}", network.trunc())).unwrap_or_default();
        return Err((column, format!("expected an address or a network{host_bits}, found `{text}`")));
    }
    let for_s = match lasts {
        Some((column, lasts)) => seconds(lasts, defaults.now).map_err(|why| (column, why))?,
        None => defaults.for_s.ok_or_else(|| (column, "nothing says for how long: `--for 4h`".to_owned()))?,
    };
    if !(1..=366 * 86_400).contains(&for_s) {
        return Err((lasts.map_or(column, |(column, _)| column), "a ban lasts from a second to a year".to_owned()));
    }
    let reason = reason.or(defaults.reason).map_or_else(|| format!("imported from {}", defaults.from), str::to_owned);
    if reason.len() > 256 || reason.chars().any(char::is_control) {
        return Err((column, "the reason has at most 256 bytes, and no control characters".to_owned()));
    }
    Ok(NewBan { on: bare.to_owned(), for_s, reason })
}

/// `4h`, `3h59m57.8s`, or a moment such as `2026-12-01T00:00:00Z`.
fn seconds(text: &str, now: Timestamp) -> Result<u64, String> {
    if let Ok(until) = text.parse::<Timestamp>() {
        let left = until.duration_since(now).as_secs();
        return u64::try_from(left).map_err(|_| format!("{text} is over"));
    }
    let expected =
        || format!("expected a duration such as 4h, or a moment such as 2026-12-01T00:00:00Z, found `{text}`");
    let (mut sum, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit()).ok_or_else(expected)?;
        let (number, after) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| expected())?;
        // Fractions of a second do not count.
        let after = match after.strip_prefix('.') {
            Some(fraction) => fraction.trim_start_matches(|character: char| character.is_ascii_digit()),
            None => after,
        };
        let unit_length = after.find(|character: char| character.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_length);
        let length = match unit {
            "ms" => 0,
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(expected()),
        };
        sum = number.checked_mul(length).and_then(|part| sum.checked_add(part)).ok_or_else(expected)?;
        rest = next;
    }
    if text.is_empty() { Err(expected()) } else { Ok(sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, for_s: Option<u64>) -> Result<Vec<(String, u64, String)>, Vec<Mistake>> {
        let now = "2026-11-29T00:00:00Z".parse().unwrap();
        let defaults = Defaults { for_s, reason: None, from: "list.txt", now };
        parse(text, &defaults).map(|bans| bans.into_iter().map(|ban| (ban.on, ban.for_s, ban.reason)).collect())
    }

    #[test]
    fn each_form_says_whom_for_how_long_and_why() {
        let check = |text: &str, expected: &[(&str, u64, &str)]| {
            let found = parsed(text, Some(3_600)).unwrap_or_else(|mistakes| panic!("{text}: {mistakes:?}"));
            let found: Vec<_> = found.iter().map(|(on, for_s, why)| (on.as_str(), *for_s, why.as_str())).collect();
            assert_eq!(found, expected, "{text}");
        };
        let plain = "imported from list.txt";
        check(
            "192.0.2.1\n\n# office\n2001:db8::/32  # all of it\r\n",
            &[("192.0.2.1", 3_600, plain), ("2001:db8::/32", 3_600, plain)],
        );
        check(
            "192.0.2.1,4h,scans us\n192.0.2.2,,\n",
            &[("192.0.2.1", 14_400, "scans us"), ("192.0.2.2", 3_600, plain)],
        );
        check("192.0.2.1, 2026-11-30T00:00:00Z, \"a \"\"b\"\", c\"\n", &[("192.0.2.1", 86_400, "a \"b\", c")]);
        check("reason,address\nguessing,192.0.2.1\n", &[("192.0.2.1", 3_600, "guessing")]);
        check(
            "id,source,ip,reason,action,country,as,events_count,expiration,simulated,alert_id\n\
             7,crowdsec,Ip:192.0.2.1,crowdsecurity/http-probing,ban,DE,1 A,11,3h59m57s,false,3\n\
             8,crowdsec,Ip:192.0.2.2,x,captcha,DE,1 A,11,3h59m57s,false,3\n",
            &[("192.0.2.1", 14_397, "crowdsecurity/http-probing")],
        );
        check(
            r#"[{"id":3,"decisions":[{"duration":"3h59m57.8s","scenario":"a","scope":"Ip","type":"ban","value":"192.0.2.1"},
                {"duration":"1h","scenario":"b","scope":"Range","type":"ban","value":"198.51.100.0/24"},
                {"duration":"1h","scenario":"c","scope":"Ip","type":"ban","value":"192.0.2.1"}]}]"#,
            &[("192.0.2.1", 14_397, "a"), ("198.51.100.0/24", 3_600, "b")],
        );
    }

    #[test]
    fn every_mistake_has_its_place_and_nothing_is_taken() {
        let check = |text: &str, for_s: Option<u64>, expected: &[(usize, usize, &str)]| {
            let mistakes = parsed(text, for_s).expect_err(text);
            let places: Vec<_> = mistakes.iter().map(|Mistake(line, column, _)| (*line, *column)).collect();
            assert_eq!(
                places,
                expected.iter().map(|(line, column, _)| (*line, *column)).collect::<Vec<_>>(),
                "{text}: {mistakes:?}"
            );
            for (Mistake(.., why), (.., part)) in mistakes.iter().zip(expected) {
                assert!(why.contains(part), "{text}: {why}");
            }
        };
        check("192.0.2.1\n192.0.2.300\n  x\n", Some(60), &[(2, 1, "192.0.2.300"), (3, 3, "found `x`")]);
        check("192.0.2.1", None, &[(1, 1, "--for 4h")]);
        check("192.0.2.1, 4 h", None, &[(1, 12, "expected a duration")]);
        check(
            "192.0.2.1,4x\n192.0.2.2,2020-01-01T00:00:00Z\n",
            None,
            &[(1, 11, "expected a duration"), (2, 11, "is over")],
        );
        check("192.0.2.1,400d", None, &[(1, 11, "a second to a year")]);
        check("192.0.2.1,0s", None, &[(1, 11, "a second to a year")]);
        check("192.0.2.7/24", Some(60), &[(1, 1, "such as 192.0.2.0/24")]);
        check("192.0.2.1\n192.0.2.1\n", Some(60), &[(2, 1, "there twice")]);
        check("192.0.2.1,1h,\"open\n", None, &[(1, 14, "not closed")]);
        check("", Some(60), &[(0, 0, "nothing in it")]);
        check("[{]", Some(60), &[(1, 3, "no JSON")]);
        check(r#"[{"decisions":[{"value":"x","duration":"1h","type":"ban"}]}]"#, None, &[(0, 0, "decision 1")]);
        let many: String = (0..10_001).map(|n| format!("10.0.{}.{}\n", n / 256, n % 256)).collect();
        check(&many, Some(60), &[(0, 0, "at most 10000")]);
    }
}
