//! `source` of a network: where its list is, what it looks like, and what an update must not do.

use std::borrow::Cow;

use portcullis_feeds::presets::PRESETS;
use portcullis_feeds::{Column, FeedSettings, Format, Guards, OnStale, Pointer, PublicKey, SignatureSettings, Source};
use portcullis_fetch::UrlSource;
use portcullis_proxy::tls::material;
use serde_json::{Value, json};
use toml::de::DeValue;

use crate::codes;
use crate::diagnostics::{At, Diagnostic, Span};
use crate::file::receiver::{Link, Parsed};
use crate::kinds::{Choice, FilePath, Flag, Integer, Size, Text, Time};
use crate::pem::read_pinned_pem;
use crate::schema::matching;
use crate::section::{Field, Kind, Section, shown};

/// The words of `format`.
pub(crate) const FEED_FORMATS: &[(&str, FeedFormat)] =
    &[("text", FeedFormat::Text), ("csv", FeedFormat::Csv), ("json", FeedFormat::Json)];

/// The words of `on_stale`.
pub(crate) const ON_STALE: &[(&str, OnStale)] = &[("keep", OnStale::Keep), ("undecided", OnStale::Undecided)];

/// How large a list may be, in bytes.
pub(crate) const FEED_SIZES: std::ops::RangeInclusive<usize> = 1..=64 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FeedFormat {
    Text,
    Csv,
    Json,
}

/// Reads `source`. `name` is the network's; the addresses beside it are not filled in.
pub(crate) fn read_source(section: Section<'_>, name: &str) -> Option<At<FeedSettings>> {
    let at = section.span();
    let settings = read(&section, name);
    section.finish();
    settings.map(|settings| At::new(settings, at))
}

fn read(section: &Section<'_>, name: &str) -> Option<FeedSettings> {
    let url = section.optional("url", Link { path: true });
    let file = section.optional("file", FilePath);
    let preset = section.optional("preset", PresetName);
    let allow_http = section.or("allow_http", Flag, false);
    let redirects = section.optional("redirects", Choice(REDIRECTS));
    let ca = section.optional("ca", FilePath);
    let format = read_format(section, preset.as_ref().map(|preset| preset.span));
    let mut settings = FeedSettings::new(name, Source::File(std::path::PathBuf::new()), Format::Text);
    read_rest(section, &mut settings);
    let sources = ["url", "file", "preset"];
    match sources.iter().filter(|key| section.has(key)).count() {
        0 => section.report_missing("url", "where the list is; or `file`, or `preset`"),
        1 => {}
        _ => {
            conflict(section, section.span(), "a list has one source: `url`, `file` or `preset`", "remove all but one")
        }
    }
    let roots = match ca.as_ref() {
        Some(ca) => read_pinned_pem(section.reader(), "ca", ca, material::certificates)?,
        None => Vec::new(),
    };
    let over_tls = url.as_ref().is_some_and(|url| url.value.secure) || preset.is_some();
    for (key, span) in [("ca", ca.map(|ca| ca.span)), ("redirects", redirects.as_ref().map(|each| each.span))] {
        let fits = if key == "ca" { over_tls } else { over_tls || url.is_some() };
        if let Some(span) = span.filter(|_| !fits && sources.iter().any(|source| section.has(source))) {
            conflict(section, span, &format!("`{key}` says nothing about this source"), "remove it");
        }
    }
    let redirects = redirects.is_some_and(|redirects| redirects.value);
    let (source, format) = match (url, file, preset) {
        (Some(url), ..) => {
            if !url.value.secure && !allow_http {
                let message = "over `http://` anybody on the way can change the list";
                conflict(section, url.span, message, "use `https://`, or write `allow_http = true`");
            }
            let Parsed { secure, host, port, path } = url.value;
            (Source::Url(Box::new(UrlSource { secure, host, port, path, roots, redirects })), format?)
        }
        (None, Some(file), _) => (Source::File(file.value.path), format?),
        (None, None, Some(preset)) => {
            let known = PRESETS.iter().find(|known| known.name == preset.value)?;
            let pointers = known.pointers.iter().filter_map(|text| Pointer::parse(text).ok()).collect();
            let (host, path) = (known.host.into(), known.path.into());
            let source = UrlSource { secure: true, host, port: 443, path, roots, redirects };
            (Source::Url(Box::new(source)), Format::Json { pointers })
        }
        (None, None, None) => return None,
    };
    let default = FeedSettings::new(name, source, format);
    // How often is fetched depends on the source, unless it is written.
    let refresh = section.or("refresh", Time::within("1s", "30d"), default.refresh);
    Some(FeedSettings { source: default.source, format: default.format, refresh, ..settings })
}

fn read_rest(section: &Section<'_>, settings: &mut FeedSettings) {
    let guards = Guards::default();
    settings.timeout = section.or("timeout", Time::within("100ms", "50s"), settings.timeout);
    settings.max_size = section.or("max_size", Size(FEED_SIZES), settings.max_size);
    settings.max_age = section.or("max_age", Time::within("1s", "3660d"), settings.max_age);
    settings.on_stale = section.or("on_stale", Choice(ON_STALE), settings.on_stale);
    settings.guards = Guards {
        min_entries: usize::try_from(section.or("min_entries", Integer(1..=1_000_000), 1)).unwrap_or(usize::MAX),
        max_shrink: section.or("max_shrink", Share { most: 10_000 }, guards.max_shrink),
        max_grow: section.or("max_grow", Share { most: 100_000_000 }, guards.max_grow),
        private: section.or("private", Flag, guards.private),
        compare_over: section.or("compare_over", Time::within("1s", "30d"), guards.compare_over),
    };
    settings.signature = section.table("signature").and_then(read_signature);
    settings.accepted = read_accepted(section);
}

fn read_accepted(section: &Section<'_>) -> std::sync::Arc<[std::sync::Arc<str>]> {
    let Some(accepted) = section.list("accepted", ListHash) else { return std::sync::Arc::default() };
    if accepted.value.len() > FeedSettings::MOST_ACCEPTED {
        let message = format!("more than {} lists are accepted", FeedSettings::MOST_ACCEPTED);
        conflict(section, accepted.span, &message, "remove those that are given out no more");
    }
    accepted.value.into_iter().map(|each| each.value.into()).collect()
}

fn read_signature(section: Section<'_>) -> Option<SignatureSettings> {
    let key = section.required("key", MinisignKey);
    let suffix = section.or("suffix", Suffix, ".minisig".to_owned());
    let max_age = section.optional("max_age", Time::within("1m", "3660d")).map(|max_age| max_age.value);
    section.finish();
    Some(SignatureSettings { key: key?.value, suffix: suffix.into(), max_age })
}

/// `None` after an error. A preset brings its own.
fn read_format(section: &Section<'_>, preset: Option<Span>) -> Option<Format> {
    let format = section.optional("format", Choice(FEED_FORMATS));
    let column = section.optional("column", ColumnName);
    let delimiter = section.optional("delimiter", Delimiter);
    let pointer = section.one_or_list("pointer", PointerText);
    let kind = format.as_ref().map_or(FeedFormat::Text, |format| format.value);
    let belongs = [
        ("column", column.as_ref().map(|column| column.span), FeedFormat::Csv, "csv"),
        ("delimiter", delimiter.as_ref().map(|delimiter| delimiter.span), FeedFormat::Csv, "csv"),
        ("pointer", pointer.as_ref().map(|pointer| pointer.span), FeedFormat::Json, "json"),
    ];
    if preset.is_some() {
        for (key, span) in
            belongs.iter().map(|(key, span, ..)| (*key, *span)).chain([("format", format.map(|each| each.span))])
        {
            if let Some(span) = span {
                conflict(section, span, &format!("a preset brings its own `{key}`"), "remove it, or write `url`");
            }
        }
        return None;
    }
    for (key, span, wanted, word) in belongs {
        if let Some(span) = span.filter(|_| kind != wanted) {
            let message = format!("`{key}` belongs to the format \"{word}\"");
            conflict(section, span, &message, &format!("write `format = \"{word}\"`, or remove it"));
        }
    }
    match kind {
        FeedFormat::Text => Some(Format::Text),
        FeedFormat::Csv => {
            if !section.has("column") {
                section.report_missing("column", "the number of the column from 1, or its name in the first line");
            }
            let delimiter = delimiter.map_or(b',', |delimiter| delimiter.value);
            Some(Format::Csv { column: column?.value, delimiter })
        }
        FeedFormat::Json => {
            if !section.has("pointer") {
                section.report_missing("pointer", "where the prefixes are, such as \"/prefixes/*/ip_prefix\"");
            }
            let pointer = pointer?;
            if pointer.value.is_empty() {
                section.report_empty("pointer", pointer.span, "say where the prefixes are");
                return None;
            }
            Some(Format::Json { pointers: pointer.value.into_iter().map(|each| each.value).collect() })
        }
    }
}

fn conflict(section: &Section<'_>, span: Span, message: &str, help: &str) {
    section.reader().report(Diagnostic::error(codes::CONFLICT, span, message).with_help(help));
}

/// The words of `redirects`.
pub(crate) const REDIRECTS: &[(&str, bool)] = &[("none", false), ("same_host", true)];

/// The name of a list that a provider publishes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PresetName;

impl Kind for PresetName {
    type Value = String;

    fn expected(&self) -> Cow<'static, str> {
        "the name of a published list such as \"aws\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<String> {
        let text = field.text(&self.expected())?;
        if PRESETS.iter().all(|preset| preset.name != text) {
            let names: Vec<String> = PRESETS.iter().map(|preset| format!("\"{}\"", preset.name)).collect();
            let help = match text.as_ref() {
                "azure" => "its address changes every week: fetch it and name it with `file`".to_owned(),
                _ => format!("known: {}", names.join(", ")),
            };
            field.bad_value(format!("there is no preset \"{}\"", shown(&text)), Some(help));
            return None;
        }
        Some(text.into_owned())
    }

    fn schema(&self) -> Value {
        crate::schema::one_of(PRESETS.iter().map(|preset| preset.name))
    }
}

/// A column of a table: its number from 1, or its name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ColumnName;

impl Kind for ColumnName {
    type Value = Column;

    fn expected(&self) -> Cow<'static, str> {
        "the number of a column from 1, or its name".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<Column> {
        if matches!(field.value, DeValue::Integer(_)) {
            let number = Integer(1..=1_000).read(field)?;
            return usize::try_from(number).ok().map(Column::Number);
        }
        Text.read(field).map(|name| Column::Name(name.trim().into()))
    }

    fn schema(&self) -> Value {
        json!({ "anyOf": [Integer(1..=1_000).schema(), Text.schema()] })
    }
}

/// What stands between two columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delimiter;

impl Kind for Delimiter {
    type Value = u8;

    fn expected(&self) -> Cow<'static, str> {
        "one ASCII character such as \",\" or \"\\t\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<u8> {
        let text = field.text(&self.expected())?;
        match *text.as_bytes() {
            [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\"\r\n./:\0".contains(&byte) => Some(byte),
            _ => {
                field.bad_value(format!("expected {}, found \"{}\"", self.expected(), shown(&text)), None);
                None
            }
        }
    }

    fn schema(&self) -> Value {
        matching("^[^\"\\r\\n./:0-9A-Za-z]$")
    }
}

/// A JSON pointer with `*`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PointerText;

impl Kind for PointerText {
    type Value = Pointer;

    fn expected(&self) -> Cow<'static, str> {
        "a JSON pointer such as \"/prefixes/*/ip_prefix\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<Pointer> {
        let text = field.text(&self.expected())?;
        let refused = |problem| {
            field.bad_value(format!("\"{}\" {problem}", shown(&text)), Some(format!("write {}", self.expected())))
        };
        Pointer::parse(&text).map_err(refused).ok()
    }

    fn schema(&self) -> Value {
        matching("^/")
    }
}

/// A share in hundredths of a percent, up to a bound that may be far over the whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) most: u32,
}

impl Share {
    fn parse(self, text: &str) -> Option<u32> {
        let (whole, part) = match text.strip_suffix('%')?.split_once('.') {
            Some((whole, part)) if matches!(part.len(), 1 | 2) => (whole, part),
            Some(_) => return None,
            None => (text.strip_suffix('%')?, "0"),
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) {
            return None;
        }
        let part = part.parse::<u32>().ok()? * if part.len() == 1 { 10 } else { 1 };
        let share = whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(part)?;
        (share <= self.most).then_some(share)
    }
}

impl Kind for Share {
    type Value = u32;

    fn expected(&self) -> Cow<'static, str> {
        "a percentage such as \"20%\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<u32> {
        if let DeValue::Integer(number) = field.value {
            field.wrong_type(&self.expected(), Some(format!("write the sign: `\"{}%\"`", shown(number.as_str()))));
            return None;
        }
        let text = field.text(&self.expected())?;
        let share = self.parse(&text);
        if share.is_none() {
            let message = format!("expected {}, found \"{}\"", self.expected(), shown(&text));
            field.bad_value(message, Some(format!("from \"0%\" to \"{}%\"", self.most / 100)));
        }
        share
    }

    fn schema(&self) -> Value {
        matching("^[0-9]+([.][0-9]{1,2})?%$")
    }
}

/// The SHA-256 of a list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListHash;

impl Kind for ListHash {
    type Value = String;

    fn expected(&self) -> Cow<'static, str> {
        "the SHA-256 of a list, 64 hexadecimal digits as `portcullis feed list` shows them".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<String> {
        let text = field.text(&self.expected())?;
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            field.bad_value(format!("expected {}, found \"{}\"", self.expected(), shown(&text)), None);
            return None;
        }
        Some(text.to_ascii_lowercase())
    }

    fn schema(&self) -> Value {
        matching("^[0-9A-Fa-f]{64}$")
    }
}

/// A public key of minisign.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MinisignKey;

impl Kind for MinisignKey {
    type Value = PublicKey;

    fn expected(&self) -> Cow<'static, str> {
        "a public key of minisign such as \"RWQ…\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<PublicKey> {
        let text = field.text(&self.expected())?;
        let refused = |problem| field.bad_value(problem, Some("it is the second line of minisign.pub".into()));
        PublicKey::parse(&text).map_err(refused).ok()
    }

    fn schema(&self) -> Value {
        matching("^RW[0-9A-Za-z+/]{54}$")
    }
}

/// What is put behind the path of a list to find its signature.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Suffix;

impl Kind for Suffix {
    type Value = String;

    fn expected(&self) -> Cow<'static, str> {
        "an ending such as \".minisig\"".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<String> {
        let text = field.text(&self.expected())?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if text.is_empty() || text.len() > 64 || !text.bytes().all(plain) {
            field.bad_value(format!("expected {}, found \"{}\"", self.expected(), shown(&text)), None);
            return None;
        }
        Some(text.into_owned())
    }

    fn schema(&self) -> Value {
        matching("^[0-9A-Za-z._-]{1,64}$")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_at_most_two_decimals_and_a_bound() {
        let check =
            |text: &str, expected: Option<u32>| assert_eq!(Share { most: 10_000 }.parse(text), expected, "{text}");
        check("0%", Some(0));
        check("20%", Some(2_000));
        check("0.5%", Some(50));
        check("0.05%", Some(5));
        check("100%", Some(10_000));
        for bad in ["", "%", "20", "100.01%", "101%", "-1%", "+1%", "1.%", ".5%", "0.005%", "1e1%", "4294967297%"] {
            check(bad, None);
        }
        assert_eq!(Share { most: 100_000_000 }.parse("1000%"), Some(100_000));
    }
}
