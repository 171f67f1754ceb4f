//! What every `[[sink]]` can say besides where it writes: which events it takes, when its file makes room for a new one, and how a
//! sink over a network deals with a receiver that fails.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_events::filter::Filter;
use portcullis_events::settings::{DeadLetterSettings, FoldSettings, RetrySettings, RotationSettings};
use portcullis_events::{EventKind, ReasonCode, Severity};
use serde_json::Value;

use crate::codes;
use crate::diagnostics::{At, Diagnostic};
use crate::kinds::{Choice, FilePath, Flag, Integer, Name, Size, Time};
use crate::schema::one_of;
use crate::section::{Field, Kind, Section, shown};
use crate::suggest;

/// The words of `severity`.
pub(crate) const SEVERITIES: &[(&str, Severity)] =
    &[("low", Severity::Low), ("medium", Severity::Medium), ("high", Severity::High), ("critical", Severity::Critical)];

/// The sizes of a file that is put away, in bytes.
pub(crate) const ROTATE_SIZES: std::ops::RangeInclusive<usize> = 1 << 20..=1 << 40;

/// The sizes of a file of dead letters, in bytes.
pub(crate) const DEAD_LETTER_SIZES: std::ops::RangeInclusive<usize> = 1 << 20..=1 << 40;

/// How many old files are kept where nobody says.
const KEEP: u64 = 10;

/// A kind of event, or several by `*` after a dot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KindPattern;

/// A reason code, or all of a stage by `*` after the dot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReasonPattern;

impl Kind for KindPattern {
    type Value = Vec<EventKind>;

    fn expected(&self) -> Cow<'static, str> {
        "a kind of event such as \"access.denied\", or \"admin.*\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<Vec<EventKind>> {
        read_pattern(field, &self.expected(), &EventKind::ALL, |kind| kind.as_str())
    }

    fn schema(&self) -> Value {
        schema_of(EventKind::ALL.iter().map(|kind| kind.as_str()))
    }
}

impl Kind for ReasonPattern {
    type Value = Vec<ReasonCode>;

    fn expected(&self) -> Cow<'static, str> {
        "a reason such as \"rbac.no_matching_grant\", or \"rbac.*\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<Vec<ReasonCode>> {
        read_pattern(field, &self.expected(), ReasonCode::ALL, |code| code.code())
    }

    fn schema(&self) -> Value {
        schema_of(ReasonCode::ALL.iter().map(|code| code.code()))
    }
}

/// What a word stands for: itself, or all that begin as it does before its `*`.
fn read_pattern<V: Copy>(
    field: &Field<'_>,
    expected: &str,
    all: &[V],
    word: impl Fn(V) -> &'static str,
) -> Option<Vec<V>> {
    let text = field.text(expected)?;
    let stage = text.strip_suffix('*').filter(|stage| stage.ends_with('.'));
    let meant = |value: &V| match stage {
        Some(stage) => word(*value).starts_with(stage),
        None => word(*value) == text,
    };
    let found: Vec<V> = all.iter().copied().filter(meant).collect();
    if found.is_empty() {
        let near = suggest::nearest(&text, all.iter().map(|value| word(*value)));
        let help = near.map(|word| format!("did you mean \"{word}\"?"));
        field.bad_value(format!("expected {expected}, found \"{}\"", shown(&text)), help);
        return None;
    }
    Some(found)
}

/// The words, and each part before a dot with a `*` behind it.
fn schema_of(words: impl Iterator<Item = &'static str> + Clone) -> Value {
    let stages: BTreeSet<&str> = words.clone().filter_map(|word| Some(word.split_once('.')?.0)).collect();
    let all: Vec<String> =
        words.map(str::to_owned).chain(stages.into_iter().map(|stage| format!("{stage}.*"))).collect();
    one_of(all.iter().map(String::as_str))
}

pub(crate) fn read_filter(section: &Section<'_>) -> (Filter, Vec<At<String>>) {
    let kinds = section.one_or_list("kinds", KindPattern);
    let reasons = section.one_or_list("reasons", ReasonPattern);
    let routes = section.one_or_list("routes", Name).map(|routes| routes.value).unwrap_or_default();
    let severity = section.optional("severity", Choice(SEVERITIES));
    let filter = Filter {
        kinds: kinds.into_iter().flat_map(|kinds| kinds.value).flat_map(|kinds| kinds.value).collect(),
        reasons: reasons.into_iter().flat_map(|reasons| reasons.value).flat_map(|reasons| reasons.value).collect(),
        routes: routes.iter().map(|route| Arc::from(route.value.as_str())).collect(),
        severity: severity.map(|severity| severity.value),
    };
    (filter, routes)
}

/// `is_file`: whether the sink writes to a file.
pub(crate) fn read_rotation(section: &Section<'_>, is_file: bool) -> Option<RotationSettings> {
    let size = section.optional("rotate_size", Size(ROTATE_SIZES));
    let every = section.optional("rotate_every", Time::within("1m", "366d"));
    let keep = section.optional("rotate_keep", Integer(0..=10_000));
    let compress = section.optional("rotate_compress", Flag);
    let written = [
        ("rotate_size", size.as_ref().map(|found| found.span)),
        ("rotate_every", every.as_ref().map(|found| found.span)),
        ("rotate_keep", keep.as_ref().map(|found| found.span)),
        ("rotate_compress", compress.as_ref().map(|found| found.span)),
    ];
    let rotates = size.is_some() || every.is_some();
    for (key, span) in written.into_iter().filter_map(|(key, span)| Some((key, span?))) {
        let (message, help) = if !is_file {
            (format!("`{key}` belongs to a sink of kind \"file\""), "remove it")
        } else if !rotates {
            (
                format!("`{key}` says what becomes of old files, but there are none"),
                "write `rotate_size` or `rotate_every`",
            )
        } else {
            continue;
        };
        section.reader().report(Diagnostic::error(codes::CONFLICT, span, message).with_help(help));
    }
    let size = size.and_then(|size| u64::try_from(size.value).ok());
    let keep = usize::try_from(keep.map_or(KEEP, |keep| keep.value)).unwrap_or(usize::MAX);
    let compress = compress.is_none_or(|compress| compress.value);
    (is_file && rotates).then_some(RotationSettings { size, every: every.map(|every| every.value), keep, compress })
}

/// `remote`: whether the sink sends over a network.
pub(crate) fn read_retry(section: &Section<'_>, remote: bool) -> RetrySettings {
    let default = RetrySettings::default();
    let Some(table) = over_network(section, "retry", &["first", "longest", "give_up"], remote) else { return default };
    let first = table.optional("first", Time::within("10ms", "10m")).map_or(default.first, |first| first.value);
    let longest = table.optional("longest", Time::within("10ms", "1h"));
    let give_up = table.optional("give_up", Time::within("1m", "366d")).map(|given| given.value);
    let at = longest.as_ref().map_or(table.span(), |longest| longest.span);
    let longest = longest.map_or(default.longest.max(first), |longest| longest.value);
    if longest < first {
        let message = "`longest` must not be shorter than `first`";
        table.reader().report(Diagnostic::error(codes::CONFLICT, at, message).with_help("choose a longer one"));
    }
    table.finish();
    RetrySettings { first, longest, give_up }
}

/// `remote`: whether the sink sends over a network.
pub(crate) fn read_fold(section: &Section<'_>, remote: bool) -> Option<FoldSettings> {
    let table = over_network(section, "fold", &["window"], remote)?;
    // A table that says nothing folds nothing.
    let window = table.optional("window", Time::within("1s", "1h"));
    table.finish();
    window.map(|window| FoldSettings { window: window.value })
}

/// `remote`: whether the sink sends over a network.
pub(crate) fn read_dead_letter(section: &Section<'_>, remote: bool) -> DeadLetterSettings {
    let default = DeadLetterSettings::default();
    let Some(table) = over_network(section, "dead_letter", &["path", "max_size"], remote) else { return default };
    let path = table.optional("path", FilePath).map(|path| path.value.path);
    let max_size = table.optional("max_size", Size(DEAD_LETTER_SIZES));
    table.finish();
    let max_size = max_size.and_then(|size| u64::try_from(size.value).ok()).unwrap_or(default.max_size);
    DeadLetterSettings { path, max_size }
}

/// The table of this name, in which only a sink over a network may say one of these things.
fn over_network<'s>(section: &'s Section<'_>, key: &'static str, keys: &[&str], remote: bool) -> Option<Section<'s>> {
    let table = section.table(key)?;
    if !remote && keys.iter().any(|key| table.has(key)) {
        let message = format!("`{key}` belongs to a sink that sends over a network");
        let diagnostic = Diagnostic::error(codes::CONFLICT, table.span(), message);
        section.reader().report(diagnostic.with_help("remove it"));
    }
    Some(table)
}
