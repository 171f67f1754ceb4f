//! `[audit]`: which permissions are used is counted, and looked at.

use std::borrow::Cow;
use std::time::Duration;

use jiff::tz::TimeZone;
use portcullis_insight::AuditSettings;
use portcullis_insight::audit::{Schedule, Weekly};
use portcullis_policy::Hours;
use serde_json::{Value, json};

use crate::diagnostics::{At, Span};
use crate::kinds::{Flag, Integer, Name, Percentage, Text, Time};
use crate::schema::matching;
use crate::section::{Field, Kind, Section, shown};

/// `[audit]`
#[derive(Debug)]
pub(crate) struct Audit {
    /// Where it stands.
    pub(crate) at: Span,
    /// Whether anything is counted.
    pub(crate) enabled: bool,
    pub(crate) settings: AuditSettings,
    /// The routes among the settings, and where they stand.
    pub(crate) control_routes: Vec<At<String>>,
}

/// How many runs may be kept.
pub(crate) const KEPT: std::ops::RangeInclusive<u64> = 1..=10_000;
/// How many peers there must be.
pub(crate) const PEERS: std::ops::RangeInclusive<u64> = 3..=10_000;
/// How many refusals.
pub(crate) const DENIALS: std::ops::RangeInclusive<u64> = 1..=1_000_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When something is done: a word, a duration, or an hour of some days in a zone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct When;

impl When {
    const WORDS: [(&'static str, Option<u32>); 4] =
        [("off", None), ("daily", Some(1)), ("weekly", Some(7)), ("monthly", Some(30))];
}

impl Kind for When {
    type Value = Option<Schedule>;

    fn expected(&self) -> Cow<'static, str> {
        "\"off\", \"daily\", \"weekly\", \"monthly\" or a duration such as \"12h\", or a time such as \"Mon 03:00 Europe/Berlin\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<Self::Value> {
        let text = field.text(&self.expected())?;
        match Self::WORDS.iter().find(|(word, _)| *word == text) {
            Some((_, days)) => Some(days.map(|days| Schedule::Every(DAY * days))),
            None if text.bytes().next().is_some_and(|byte| byte.is_ascii_digit()) => {
                Time::within("1m", "366d").read(field).map(|every| Some(Schedule::Every(every)))
            }
            None if text.split_ascii_whitespace().count() == 3 => match weekly(&text) {
                Ok(weekly) => Some(Some(Schedule::Weekly(weekly))),
                Err(problem) => {
                    field.bad_value(
                        problem,
                        Some("write it as \"Mon 03:00 Europe/Berlin\", or \"*\" for every day".to_owned()),
                    );
                    None
                }
            },
            None => {
                let message = format!("expected {}, found \"{}\"", self.expected(), shown(&text));
                field.bad_value(message, None);
                None
            }
        }
    }

    fn schema(&self) -> Value {
        let words: Vec<&str> = Self::WORDS.iter().map(|(word, _)| *word).collect();
        let day = "([Mm][Oo][Nn]|[Tt][Uu][Ee]|[Ww][Ee][Dd]|[Tt][Hh][Uu]|[Ff][Rr][Ii]|[Ss][Aa][Tt]|[Ss][Uu][Nn])";
        let days = format!("{day}(-{day})?");
        let weekly = matching(&format!("^ *(\\*|{days}(,{days})*) +[0-9]{{2}}:[0-9]{{2}} +[^ ]+ *$"));
        json!({ "anyOf": [{ "type": "string", "enum": words }, Time::within("1m", "366d").schema(), weekly] })
    }
}

/// The days, the zone and the hour are read as those of `when.hours` are: as hours that last until midnight.
fn weekly(text: &str) -> Result<Weekly, String> {
    let not_so = || format!("`{}` is not `DAYS HH:MM ZONE`", shown(text));
    let parts: Vec<&str> = text.split_ascii_whitespace().collect();
    let [days, time, zone] = parts.as_slice() else { return Err(not_so()) };
    if time.contains('-') {
        return Err(not_so());
    }
    let hours = Hours::parse(&format!("{days} {time}-24:00 {zone}"), |zone| TimeZone::get(zone).ok());
    let Hours { days, from_minute, zone, .. } =
        hours.map_err(|problem| problem.replace("-24:00`", "`").replace("a span of", "a time of"))?;
    Ok(Weekly { text: text.into(), days, minute: from_minute, zone })
}

/// The name of a time zone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Zone;

impl Kind for Zone {
    type Value = TimeZone;

    fn expected(&self) -> Cow<'static, str> {
        "a time zone such as \"Europe/Berlin\" or \"UTC\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<TimeZone> {
        let text = field.text(&self.expected())?;
        let zone = TimeZone::get(&text).ok();
        if zone.is_none() {
            field.bad_value(format!("expected {}, found \"{}\"", self.expected(), shown(&text)), None);
        }
        zone
    }

    fn schema(&self) -> Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

/// `None`: nobody has written it.
pub(crate) fn read_audit(root: &Section<'_>) -> Option<Audit> {
    let default = AuditSettings::default();
    let section = root.table("audit")?;
    let at = section.span();
    let count = |key, range, or: usize| usize::try_from(section.or(key, Integer(range), or as u64)).unwrap_or(or);
    let enabled = section.or("enabled", Flag, true);
    let schedule = section.or("schedule", When, default.schedule);
    let unused_after = section.or("unused_after", Time::within("1s", "366d"), default.unused_after);
    let min_observed = section.or("min_observed", Time::within("1s", "366d"), default.min_observed);
    let keep = count("keep", KEPT, default.keep);
    let over_exposure = section.or("over_exposure", Percentage, default.over_exposure);
    let outlier_share = section.or("outlier_share", Percentage, default.outlier_share);
    let peers = count("peers", PEERS, default.peers);
    let keep_share = section.or("keep_share", Percentage, default.keep_share);
    let denials = section.or("denials", Integer(DENIALS), u64::from(default.denials));
    let zone = section.or("zone", Zone, default.zone);
    let words = section.list("temporary_words", Text);
    let temporary_words =
        words.map_or(default.temporary_words, |words| words.value.into_iter().map(|word| word.value).collect());
    let control_routes = section.list("control_routes", Name).map_or_else(Vec::new, |routes| routes.value);
    section.finish();
    let settings = AuditSettings {
        schedule,
        unused_after,
        min_observed,
        keep,
        over_exposure,
        outlier_share,
        peers,
        keep_share,
        denials: u32::try_from(denials).unwrap_or(default.denials),
        zone,
        temporary_words,
        control_routes: control_routes.iter().map(|route| route.value.clone()).collect(),
    };
    Some(Audit { at, enabled, settings, control_routes })
}
