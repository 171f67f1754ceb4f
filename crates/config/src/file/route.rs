//! What a `[[route]]` does besides sending requests on as they are: another path, other header fields, an answer of its own.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use portcullis_proxy::route::Sticky;
use serde_json::{Value, json};
use toml::de::DeValue;

use super::upstream::or_never;
use crate::codes;
use crate::diagnostics::{At, Diagnostic, SourceId, Span};
use crate::document::{FileToRead, MAX_PAGE, read_text};
use crate::kinds::{
    AnyText, Choice, FilePath, Flag, Header, Integer, Name, Place, PrefixOrNetwork, Protocol, ResolvedPath, Text, Time,
};
use crate::section::{Field, FlagOrTable, Kind, Section, shown};

/// What becomes of a permitted request; more than one of these is a contradiction.
#[derive(Debug, Default)]
pub(crate) struct Treatment {
    pub(crate) split: Option<Split>,
    pub(crate) redirect: Option<At<Redirect>>,
    pub(crate) respond: Option<At<Respond>>,
    pub(crate) strip_prefix: Option<At<String>>,
    pub(crate) add_prefix: Option<At<String>>,
    pub(crate) rewrite: Option<At<String>>,
    pub(crate) rewrite_location: Option<At<bool>>,
    pub(crate) timeouts: Option<At<RouteTimeouts>>,
    pub(crate) host: Option<At<String>>,
    pub(crate) upgrades: Option<At<Vec<At<String>>>>,
    pub(crate) request_headers: Option<Rules>,
    pub(crate) response_headers: Option<Rules>,
    pub(crate) cors: Option<Cors>,
    pub(crate) maintenance: Option<Maintenance>,
    /// Files that were read for it.
    pub(crate) files: Vec<PathBuf>,
}

/// `timeouts = { … }`; `None`: as the upstream says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteTimeouts {
    pub(crate) connect: Option<Duration>,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) total: Option<Duration>,
}

/// `split = [ … ]`
#[derive(Debug)]
pub(crate) struct Split {
    pub(crate) span: Span,
    pub(crate) branches: Vec<Branch>,
    /// All of it could be read.
    pub(crate) whole: bool,
    pub(crate) sticky: Sticky,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) upstream: At<String>,
    pub(crate) weight: u32,
    pub(crate) when: Vec<(At<HeaderName>, HeaderValue)>,
}

/// `redirect = { … }`
#[derive(Debug)]
pub(crate) struct Redirect {
    pub(crate) to: At<String>,
    pub(crate) status: At<u64>,
    pub(crate) keep_query: bool,
}

/// `respond = { … }`
#[derive(Debug)]
pub(crate) struct Respond {
    pub(crate) status: At<u64>,
    pub(crate) body: Option<String>,
    pub(crate) content_type: Option<At<String>>,
    pub(crate) headers: Vec<(At<HeaderName>, HeaderValue)>,
}

/// `request_headers` and `response_headers`.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) remove: Vec<At<HeaderName>>,
    pub(crate) set: Vec<(At<HeaderName>, HeaderValue)>,
    pub(crate) add: Vec<(At<HeaderName>, HeaderValue)>,
}

/// `cors = { … }`, its words not parsed yet.
#[derive(Debug)]
pub(crate) struct Cors {
    pub(crate) origins: At<Vec<At<String>>>,
    /// `None`: the default.
    pub(crate) methods: Option<Vec<At<String>>>,
    pub(crate) headers: Vec<At<String>>,
    pub(crate) expose: Vec<At<String>>,
    pub(crate) credentials: At<bool>,
    pub(crate) max_age: Duration,
}

/// `maintenance = true`, or a table.
#[derive(Debug, Default)]
pub(crate) struct Maintenance {
    pub(crate) retry_after: Option<Duration>,
    pub(crate) except: Vec<At<Place>>,
}

pub(crate) fn read_treatment(section: &Section<'_>) -> Treatment {
    let mut files = Vec::new();
    Treatment {
        split: read_split(section),
        redirect: placed(section.table("redirect"), read_redirect),
        respond: placed(section.table("respond"), |section| read_respond(section, &mut files)),
        strip_prefix: section.optional("strip_prefix", Text),
        add_prefix: section.optional("add_prefix", Text),
        rewrite: section.optional("rewrite", Text),
        rewrite_location: section.optional("rewrite_location", Flag),
        timeouts: placed(section.table("timeouts"), read_timeouts),
        host: section.optional("upstream_host", Text),
        upgrades: section.list("upgrades", Protocol),
        request_headers: section.table("request_headers").map(read_rules),
        response_headers: section.table("response_headers").map(read_rules),
        cors: section.table("cors").and_then(read_cors),
        maintenance: read_maintenance(section),
        files,
    }
}

fn placed<'r, T>(section: Option<Section<'r>>, read: impl FnOnce(Section<'r>) -> Option<T>) -> Option<At<T>> {
    let section = section?;
    let span = section.span();
    Some(At::new(read(section)?, span))
}

fn read_timeouts(section: Section<'_>) -> Option<RouteTimeouts> {
    let time = |key, least, most| section.optional(key, Time::within(least, most)).map(|time| time.value);
    let timeouts = RouteTimeouts {
        connect: time("connect", "1ms", "1h"),
        first_byte: time("first_byte", "1ms", "1d"),
        idle: time("idle", "0s", "1d").map(or_never),
        total: time("total", "0s", "7d").map(or_never),
    };
    section.finish();
    Some(timeouts)
}

fn read_split(section: &Section<'_>) -> Option<Split> {
    let sections = section.tables("split");
    let words = Choice(&[("none", Sticky::None), ("principal", Sticky::Principal), ("address", Sticky::Address)]);
    let sticky = section.or("sticky", words, Sticky::None);
    if !section.has("split") {
        return None;
    }
    let span = sections.first().map_or(section.span(), Section::span);
    let written = sections.len();
    let branches: Vec<Branch> = sections.into_iter().filter_map(read_branch).collect();
    let whole = branches.len() == written;
    Some(Split { span, branches, whole, sticky })
}

fn read_branch(section: Section<'_>) -> Option<Branch> {
    let upstream = section.required("upstream", Name);
    let weight = section.or("weight", Integer(0..=10_000), 1);
    let when = section.table("when").map_or_else(Vec::new, |section| {
        let headers = section.required("headers", HeaderFields).map_or_else(Vec::new, |headers| headers.value);
        section.finish();
        headers
    });
    section.finish();
    Some(Branch { upstream: upstream?, weight: u32::try_from(weight).unwrap_or(1), when })
}

fn read_redirect(section: Section<'_>) -> Option<Redirect> {
    let to = section.required("to", Text);
    let default = At::new(308, section.span());
    let status = section.optional("status", Integer(301..=308)).unwrap_or(default);
    let keep_query = section.or("keep_query", Flag, true);
    section.finish();
    Some(Redirect { to: to?, status, keep_query })
}

fn read_respond(section: Section<'_>, files: &mut Vec<PathBuf>) -> Option<Respond> {
    let status = section.required("status", Integer(200..=599));
    let body = section.optional("body", AnyText);
    let file = section.optional("file", FilePath);
    let content_type = section.optional("content_type", Text);
    let headers = section.optional("headers", HeaderFields).map_or_else(Vec::new, |headers| headers.value);
    if let (Some(body), Some(file)) = (&body, &file) {
        let message = "`body` and `file` are two bodies";
        let diagnostic = Diagnostic::error(codes::CONFLICT, file.span, message).with_related(body.span, "one is here");
        section.reader().report(diagnostic.with_help("remove one of them"));
    }
    let read = file.as_ref().and_then(|file| read_page(&section, file, MAX_PAGE)).map(|(_, text)| text.to_string());
    files.extend(file.map(|file| file.value.path));
    section.finish();
    Some(Respond { status: status?, body: read.or(body.map(|body| body.value)), content_type, headers })
}

/// A file of text that becomes a body, of at most so many bytes.
pub(super) fn read_page(section: &Section<'_>, file: &At<ResolvedPath>, limit: u64) -> Option<(SourceId, Arc<str>)> {
    let short_name = &file.value.written;
    let named_at = Some(file.span);
    let file = FileToRead { path: &file.value.path, short_name, named_at, limit, defines_names: false };
    read_text(section.reader(), file)
}

fn read_rules(section: Section<'_>) -> Rules {
    let fields = |key| section.optional(key, HeaderFields).map_or_else(Vec::new, |fields| fields.value);
    let rules = Rules {
        set: fields("set"),
        add: fields("add"),
        remove: section.list("remove", Header).map_or_else(Vec::new, |list| list.value),
    };
    section.finish();
    rules
}

fn read_cors(section: Section<'_>) -> Option<Cors> {
    let list = |key| section.list(key, Text).map(|list| list.value);
    let origins = section.required_list("origins", Text);
    if let Some(origins) = origins.as_ref().filter(|origins| origins.value.is_empty()) {
        section.report_empty("origins", origins.span, "leave `cors` out for none");
    }
    let cors = Cors {
        methods: list("methods"),
        headers: list("headers").unwrap_or_default(),
        expose: list("expose").unwrap_or_default(),
        credentials: section.optional("credentials", Flag).unwrap_or(At::new(false, section.span())),
        max_age: section.or("max_age", Time::within("0s", "1d"), Duration::from_secs(600)),
        origins: origins.unwrap_or_else(|| At::new(Vec::new(), section.span())),
    };
    section.finish();
    Some(cors)
}

fn read_maintenance(section: &Section<'_>) -> Option<Maintenance> {
    match section.flag_or_table("maintenance")? {
        FlagOrTable::Flag(on) => on.then(Maintenance::default),
        FlagOrTable::Table(section) => {
            let retry_after = section.optional("retry_after", Time::within("1s", "365d")).map(|time| time.value);
            let except = section.list("except", PrefixOrNetwork).map_or_else(Vec::new, |list| list.value);
            section.finish();
            Some(Maintenance { retry_after, except })
        }
    }
}

/// Header fields with their values: `{ "x-frame-options" = "DENY" }`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeaderFields;

impl Kind for HeaderFields {
    type Value = Vec<(At<HeaderName>, HeaderValue)>;

    fn expected(&self) -> Cow<'static, str> {
        "a table of header fields such as `{ \"x-frame-options\" = \"DENY\" }`".into()
    }

    fn read(&self, field: &Field<'_>) -> Option<Self::Value> {
        let DeValue::Table(table) = field.value else {
            field.wrong_type(&self.expected(), None);
            return None;
        };
        let at = |range: std::ops::Range<usize>| Span { source: field.span.source, start: range.start, end: range.end };
        let mut fields = Vec::new();
        for (key, value) in table {
            let name = HeaderName::from_bytes(key.get_ref().as_bytes()).ok();
            let Some(name) = name else {
                let message = format!("`{}` is no name of a header", shown(key.get_ref()));
                field.reader.report(Diagnostic::error(codes::BAD_VALUE, at(key.span()), message));
                continue;
            };
            let inner = Field { value: value.get_ref(), span: at(value.span()), ..*field };
            let Some(text) = inner.text("a string") else { continue };
            match HeaderValue::from_str(&text) {
                // A value that begins or ends with white space is not what arrives (RFC 9110 section 5.5).
                Ok(value) if text.trim() == text => fields.push((At::new(name, at(key.span())), value)),
                Ok(_) | Err(_) => {
                    inner.bad_value("is no value of a header field", Some("write it in visible ASCII".into()))
                }
            }
        }
        Some(fields)
    }

    fn schema(&self) -> Value {
        json!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}
