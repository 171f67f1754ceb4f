//! `[audit]`: which permissions are used is counted, and looked at.

use std::borrow::Cow;
use std::time::Duration;

use portcullis_insight::AuditSettings;
use serde_json::{Value, json};

use crate::diagnostics::{At, Span};
use crate::kinds::{Flag, Integer, Name, Percentage, Text, Time};
use crate::section::{Field, Kind, Section};

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

/// How often something is done: a word, or a duration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule;

impl Schedule {
    const WORDS: [(&'static str, Option<u32>); 4] =
        [("off", None), ("daily", Some(1)), ("weekly", Some(7)), ("monthly", Some(30))];
}

impl Kind for Schedule {
    type Value = Option<Duration>;

    fn expected(&self) -> Cow<'static, str> {
        "\"off\", \"daily\", \"weekly\", \"monthly\" or a duration such as \"12h\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<Self::Value> {
        let text = field.text(&self.expected())?;
        match Self::WORDS.iter().find(|(word, _)| *word == text) {
            Some((_, days)) => Some(days.map(|days| DAY * days)),
            None if text.bytes().next().is_some_and(|byte| byte.is_ascii_digit()) => {
                Time::within("1m", "366d").read(field).map(Some)
            }
            None => {
                let message = format!("expected {}, found \"{}\"", self.expected(), crate::section::shown(&text));
                field.bad_value(message, None);
                None
            }
        }
    }

    fn schema(&self) -> Value {
        let words: Vec<&str> = Self::WORDS.iter().map(|(word, _)| *word).collect();
        json!({ "anyOf": [{ "type": "string", "enum": words }, Time::within("1m", "366d").schema()] })
    }
}

/// `None`: nobody has written it.
pub(crate) fn read_audit(root: &Section<'_>) -> Option<Audit> {
    let default = AuditSettings::default();
    let section = root.table("audit")?;
    let at = section.span();
    let count = |key, range, or: usize| usize::try_from(section.or(key, Integer(range), or as u64)).unwrap_or(or);
    let enabled = section.or("enabled", Flag, true);
    let every = section.or("schedule", Schedule, default.every);
    let unused_after = section.or("unused_after", Time::within("1s", "366d"), default.unused_after);
    let min_observed = section.or("min_observed", Time::within("1s", "366d"), default.min_observed);
    let keep = count("keep", KEPT, default.keep);
    let over_exposure = section.or("over_exposure", Percentage, default.over_exposure);
    let outlier_share = section.or("outlier_share", Percentage, default.outlier_share);
    let peers = count("peers", PEERS, default.peers);
    let keep_share = section.or("keep_share", Percentage, default.keep_share);
    let denials = section.or("denials", Integer(DENIALS), u64::from(default.denials));
    let words = section.list("temporary_words", Text);
    let temporary_words =
        words.map_or(default.temporary_words, |words| words.value.into_iter().map(|word| word.value).collect());
    let control_routes = section.list("control_routes", Name).map_or_else(Vec::new, |routes| routes.value);
    section.finish();
    let settings = AuditSettings {
        every,
        unused_after,
        min_observed,
        keep,
        over_exposure,
        outlier_share,
        peers,
        keep_share,
        denials: u32::try_from(denials).unwrap_or(default.denials),
        temporary_words,
        control_routes: control_routes.iter().map(|route| route.value.clone()).collect(),
    };
    Some(Audit { at, enabled, settings, control_routes })
}
