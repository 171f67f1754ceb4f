//! The strict reader of one TOML table.
//!
//! A [`Section`] remembers every key it is asked for; [`Section::finish`] reports the others. Wrong types, bad values and
//! missing keys are reported where they stand, and reading goes on, so that one run finds everything.

#[cfg(test)]
mod asked;

#[cfg(test)]
pub(crate) use asked::{Asked, asked_keys};

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

use crate::codes;
use crate::diagnostics::{At, Diagnostic, Diagnostics, SourceId, Sources, Span};
use crate::environment::{Environment, expand};
use crate::schema::{list_of, one_or_list_of};
use crate::suggest;

/// What all readers of one run share.
pub(crate) struct Reader<'e> {
    pub(crate) sources: RefCell<Sources>,
    pub(crate) diagnostics: RefCell<Diagnostics>,
    /// The folder of each source, for the paths in it.
    folders: RefCell<Vec<PathBuf>>,
    environment: &'e dyn Environment,
    /// Some file could not be read as a whole: names may be missing for that reason alone.
    incomplete: Cell<bool>,
    /// Of all files so far.
    bytes_read: Cell<u64>,
    /// Files that become no source and decide who is who.
    pinned: RefCell<Vec<(PathBuf, Arc<[u8]>)>>,
    /// What was read of a file that two tables may name: all of them are to see the same, whatever is written to it meanwhile.
    read: RefCell<HashMap<PathBuf, Arc<[u8]>>>,
}

impl<'e> Reader<'e> {
    pub(crate) fn new(environment: &'e dyn Environment) -> Self {
        Self {
            sources: RefCell::default(),
            diagnostics: RefCell::default(),
            folders: RefCell::default(),
            environment,
            incomplete: Cell::new(false),
            bytes_read: Cell::new(0),
            pinned: RefCell::default(),
            read: RefCell::default(),
        }
    }

    pub(crate) fn add_source(&self, path: &Path, short_name: &str, text: Arc<str>) -> SourceId {
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        self.folders.borrow_mut().push(folder);
        self.sources.borrow_mut().add(path.display().to_string(), short_name, text)
    }

    pub(crate) fn report(&self, diagnostic: Diagnostic) {
        self.diagnostics.borrow_mut().push(diagnostic);
    }

    pub(crate) fn now(&self) -> Option<jiff::Timestamp> {
        self.environment.now()
    }

    /// An environment variable, where it is set.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.environment.variable(name)
    }

    /// Says that names may be unknown only because their file could not be read.
    pub(crate) fn mark_incomplete(&self) {
        self.incomplete.set(true);
    }

    /// What the environment says of files.
    pub(crate) fn environment(&self) -> &'e dyn Environment {
        self.environment
    }

    /// Notes a file that decides who is who: it is part of what is governed.
    pub(crate) fn pin(&self, path: &Path, bytes: &[u8]) {
        self.pinned.borrow_mut().push((path.to_owned(), bytes.into()));
    }

    /// Those that were noted.
    pub(crate) fn take_pinned(&self) -> Vec<(PathBuf, Arc<[u8]>)> {
        self.pinned.take()
    }

    /// What was read of a file before.
    pub(crate) fn read_before(&self, path: &Path) -> Option<Arc<[u8]>> {
        self.read.borrow().get(path).cloned()
    }

    /// Remembers it.
    pub(crate) fn remember(&self, path: &Path, bytes: &[u8]) {
        self.read.borrow_mut().insert(path.to_owned(), bytes.into());
    }

    /// The size of all files so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read.get()
    }

    /// Counts what was read.
    pub(crate) fn count_bytes(&self, bytes: u64) {
        self.bytes_read.set(self.bytes_read.get().saturating_add(bytes));
    }

    /// Whether every file was read as a whole, so that an unknown name is truly unknown.
    pub(crate) fn is_complete(&self) -> bool {
        !self.incomplete.get()
    }

    /// A path as the file that holds the span means it.
    pub(crate) fn resolve(&self, source: SourceId, path: &str) -> PathBuf {
        let folders = self.folders.borrow();
        folders.get(source.index()).map_or_else(|| PathBuf::from(path), |folder| folder.join(path))
    }

    /// Has no report show what stands there.
    pub(crate) fn hide(&self, span: Span) {
        self.sources.borrow_mut().hide(span);
    }

    fn written(&self, span: Span) -> String {
        self.sources.borrow().text(span.source).get(span.start..span.end).unwrap_or("").to_owned()
    }
}

/// What a value must be, and how it is read. A reading that fails has reported why.
pub(crate) trait Kind {
    /// The typed value.
    type Value;

    /// What a right value looks like, with its article: `a duration such as "30s"`.
    fn expected(&self) -> Cow<'static, str>;

    /// Reads it, or reports why not.
    fn read(&self, field: &Field<'_>) -> Option<Self::Value>;

    /// What can be written, as JSON Schema: everything that [`Self::read`] takes, and as little else as can be said.
    fn schema(&self) -> Value;
}

/// One value and where it stands.
#[derive(Clone, Copy)]
pub(crate) struct Field<'r> {
    pub(crate) reader: &'r Reader<'r>,
    pub(crate) value: &'r DeValue<'r>,
    pub(crate) span: Span,
    /// The key, or for an element of a list the list's key.
    pub(crate) key: &'r str,
}

impl<'r> Field<'r> {
    /// The string with its variables expanded, or a report that it is none.
    pub(crate) fn text(&self, expected: &str) -> Option<Cow<'r, str>> {
        let DeValue::String(text) = self.value else {
            self.wrong_type(expected, None);
            return None;
        };
        match expand(text, self.reader.environment) {
            Ok(expanded) => Some(expanded),
            Err(problem) => {
                let span = self.narrow(&problem.at);
                self.reader
                    .report(Diagnostic::error(codes::ENVIRONMENT, span, problem.message).with_help(problem.help));
                None
            }
        }
    }

    /// Reports a value of another type than the expected one.
    pub(crate) fn wrong_type(&self, expected: &str, help: Option<String>) {
        let message = format!("`{}`: expected {expected}, found {}", self.key, type_name(self.value));
        let mut diagnostic = Diagnostic::error(codes::WRONG_TYPE, self.span, message);
        diagnostic.help = help;
        self.reader.report(diagnostic);
    }

    /// Reports a value of the right type that means nothing valid.
    pub(crate) fn bad_value(&self, message: impl AsRef<str>, help: Option<String>) {
        let mut diagnostic = if self.is_expanded() {
            // What came from the environment may be a secret, and a report goes to many eyes: it is not repeated.
            let message = format!("`{}`: the value is not valid once its variables are expanded", self.key);
            Diagnostic::error(codes::BAD_VALUE, self.span, message)
        } else {
            Diagnostic::error(codes::BAD_VALUE, self.span, format!("`{}`: {}", self.key, message.as_ref()))
        };
        diagnostic.help = if self.is_expanded() { Some("check the variables".into()) } else { help };
        self.reader.report(diagnostic);
    }

    fn is_expanded(&self) -> bool {
        matches!(self.value, DeValue::String(text) if text.contains("${"))
    }

    /// The elements of an array, or a report that it is none.
    pub(crate) fn elements(
        &self,
        expected: &str,
        help: Option<String>,
    ) -> Option<impl Iterator<Item = Field<'r>> + use<'r>> {
        let DeValue::Array(array) = self.value else {
            self.wrong_type(expected, help);
            return None;
        };
        let Self { reader, key, span, .. } = *self;
        Some(array.iter().map(move |element| Field {
            reader,
            key,
            value: element.get_ref(),
            span: Span { source: span.source, start: element.span().start, end: element.span().end },
        }))
    }

    /// The part of this value that holds `part`, or all of it.
    fn narrow(&self, part: &str) -> Span {
        let written = self.reader.written(self.span);
        match written.find(part) {
            Some(at) => {
                let start = self.span.start + at;
                Span { source: self.span.source, start, end: start + part.len() }
            }
            None => self.span,
        }
    }
}

/// A value that is short for a table.
pub(crate) enum FlagOrTable<'r> {
    /// `true` or `false`
    Flag(bool),
    /// The table.
    Table(Section<'r>),
}

/// A value, or a table that says where it is.
pub(crate) enum ValueOrTable<'r, V> {
    /// The value.
    Value(At<V>),
    /// The table.
    Table(Section<'r>),
}

/// One table.
pub(crate) struct Section<'r> {
    reader: &'r Reader<'r>,
    table: &'r DeTable<'r>,
    span: Span,
    title: String,
    asked: RefCell<Vec<&'static str>>,
    /// Keys that must be there and are not, each with what it should be.
    missing: RefCell<Vec<(&'static str, String)>>,
}

impl<'r> Section<'r> {
    pub(crate) fn new(reader: &'r Reader<'r>, table: &'r DeTable<'r>, span: Span, title: String) -> Self {
        Self { reader, table, span, title, asked: RefCell::default(), missing: RefCell::default() }
    }

    /// Where the table begins: its header, or its key.
    pub(crate) fn span(&self) -> Span {
        self.span
    }

    pub(crate) fn reader(&self) -> &'r Reader<'r> {
        self.reader
    }

    /// The value of a key that must be there.
    pub(crate) fn required<K: Kind>(&self, key: &'static str, kind: K) -> Option<At<K::Value>> {
        self.note(key, true, || kind.schema());
        let Some(field) = self.field(key) else {
            self.report_missing(key, kind.expected());
            return None;
        };
        Some(At::new(kind.read(&field)?, field.span))
    }

    /// The value of a key that may be absent.
    pub(crate) fn optional<K: Kind>(&self, key: &'static str, kind: K) -> Option<At<K::Value>> {
        self.note(key, false, || kind.schema());
        let field = self.field(key)?;
        Some(At::new(kind.read(&field)?, field.span))
    }

    /// The value of a key, or its default.
    pub(crate) fn or<K: Kind>(&self, key: &'static str, kind: K, default: K::Value) -> K::Value {
        self.optional(key, kind).map_or(default, |found| found.value)
    }

    /// The elements of a list that may be absent, each with its place.
    pub(crate) fn list<K: Kind>(&self, key: &'static str, kind: K) -> Option<At<Vec<At<K::Value>>>> {
        self.note(key, false, || list_of(kind.schema()));
        read_list(self.field(key)?, kind)
    }

    /// The same for a list that must be there.
    pub(crate) fn required_list<K: Kind>(&self, key: &'static str, kind: K) -> Option<At<Vec<At<K::Value>>>> {
        self.note(key, true, || list_of(kind.schema()));
        let Some(field) = self.field(key) else {
            self.report_missing(key, format!("a list, each {}", kind.expected()));
            return None;
        };
        read_list(field, kind)
    }

    /// A list, or one value for a list of one.
    pub(crate) fn one_or_list<K: Kind>(&self, key: &'static str, kind: K) -> Option<At<Vec<At<K::Value>>>> {
        self.note(key, false, || one_or_list_of(kind.schema()));
        read_one_or_list(self.field(key)?, kind)
    }

    /// The same for one that must be there; `expected` says what it should be.
    pub(crate) fn required_one_or_list<K: Kind>(
        &self,
        key: &'static str,
        kind: K,
        expected: &str,
    ) -> Option<At<Vec<At<K::Value>>>> {
        self.note(key, true, || one_or_list_of(kind.schema()));
        let Some(field) = self.field(key) else {
            self.report_missing(key, expected);
            return None;
        };
        read_one_or_list(field, kind)
    }

    /// A table inside this one.
    pub(crate) fn table(&self, key: &'static str) -> Option<Section<'r>> {
        self.note(key, false, || json!({ "table": self.inner_title(key, false) }));
        let field = self.field(key)?;
        let DeValue::Table(table) = field.value else {
            field.wrong_type("a table", None);
            return None;
        };
        Some(Section::new(self.reader, table, field.span, self.inner_title(key, false)))
    }

    /// `true` or `false`, or a table.
    pub(crate) fn flag_or_table(&self, key: &'static str) -> Option<FlagOrTable<'r>> {
        self.note(key, false, || json!({ "flag_or_table": self.inner_title(key, false) }));
        let field = self.field(key)?;
        match field.value {
            DeValue::Boolean(flag) => Some(FlagOrTable::Flag(*flag)),
            DeValue::Table(table) => {
                let section = Section::new(self.reader, table, field.span, self.inner_title(key, false));
                Some(FlagOrTable::Table(section))
            }
            _ => {
                field.wrong_type("`true`, `false` or a table", None);
                None
            }
        }
    }

    /// A value that must be there, or a table that says where it is.
    pub(crate) fn required_or_table<K: Kind>(&self, key: &'static str, kind: K) -> Option<ValueOrTable<'r, K::Value>> {
        self.note(key, true, || json!({ "value_or_table": [kind.schema(), self.inner_title(key, false)] }));
        let Some(field) = self.field(key) else {
            self.report_missing(key, kind.expected());
            return None;
        };
        match field.value {
            DeValue::Table(table) => {
                let section = Section::new(self.reader, table, field.span, self.inner_title(key, false));
                Some(ValueOrTable::Table(section))
            }
            _ => kind.read(&field).map(|value| ValueOrTable::Value(At::new(value, field.span))),
        }
    }

    /// The same for a table that must be there; `expected` says what it should be.
    pub(crate) fn required_table(&self, key: &'static str, expected: &str) -> Option<Section<'r>> {
        self.note(key, true, || json!({ "table": self.inner_title(key, false) }));
        if !self.has(key) {
            self.report_missing(key, expected);
        }
        self.table(key)
    }

    /// The tables of `[[key]]`.
    pub(crate) fn tables(&self, key: &'static str) -> Vec<Section<'r>> {
        let title = self.inner_title(key, true);
        self.note(key, false, || json!({ "tables": title }));
        let Some(field) = self.field(key) else { return Vec::new() };
        let help = matches!(field.value, DeValue::Table(_)).then(|| format!("write {title}, with two brackets"));
        let Some(elements) = field.elements(&format!("tables, each beginning with {title}"), help) else {
            return Vec::new();
        };
        self.sections_of(elements, &title)
    }

    /// The tables among the elements of a list; anything else is told.
    fn sections_of(&self, elements: impl Iterator<Item = Field<'r>>, title: &str) -> Vec<Section<'r>> {
        let mut sections = Vec::new();
        for element in elements {
            match element.value {
                DeValue::Table(table) => {
                    sections.push(Section::new(self.reader, table, element.span, title.to_owned()));
                }
                _ => element.wrong_type("a table", None),
            }
        }
        sections
    }

    /// A table, or a list of such tables; an empty list is one, too.
    pub(crate) fn table_or_tables(&self, key: &'static str) -> Option<Vec<Section<'r>>> {
        let title = self.inner_title(key, false);
        self.note(key, false, || json!({ "table_or_tables": title }));
        let field = self.field(key)?;
        if let DeValue::Table(table) = field.value {
            return Some(vec![Section::new(self.reader, table, field.span, title)]);
        }
        let elements = field.elements("a table, or a list of tables", None)?;
        Some(self.sections_of(elements, &title))
    }

    /// A key that exists, but not here.
    pub(crate) fn misplaced(&self, key: &'static str, help: &str) {
        let Some((found, _)) = self.table.get_key_value(key) else { return };
        self.asked.borrow_mut().push(key);
        let message = format!("`{key}` does not belong into {}", self.title);
        self.reader.report(Diagnostic::error(codes::UNKNOWN_KEY, self.at(found.span()), message).with_help(help));
    }

    /// Reports every key that nobody asked for, and every key that must be there and is not.
    pub(crate) fn finish(self) {
        let asked = self.asked.borrow();
        let mut meant = Vec::new();
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if asked.contains(&name) {
                continue;
            }
            let message = format!("unknown key `{}` in {}", shown(name), self.title);
            let mut diagnostic = Diagnostic::error(codes::UNKNOWN_KEY, self.at(key.span()), message);
            // One that will only be counted needs no remedy, and a million of them would take a minute.
            if !self.reader.diagnostics.borrow().is_full() {
                diagnostic.help = suggest::remedy(name, &asked, "known keys");
                meant.extend(suggest::nearest(name, asked.iter().copied()));
            }
            self.reader.report(diagnostic);
        }
        for (key, expected) in self.missing.borrow().iter() {
            // A mistyped key is one mistake, not two.
            if !meant.contains(key) {
                let message = format!("`{key}` is missing in {}", self.title);
                let help = format!("add `{key}`: {expected}");
                self.reader.report(Diagnostic::error(codes::MISSING, self.span, message).with_help(help));
            }
        }
    }

    /// All that is in it, unread.
    pub(crate) fn values(&self) -> &'r DeTable<'r> {
        self.table
    }

    /// Whether the key is there, without reading it.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn field(&self, key: &'static str) -> Option<Field<'r>> {
        self.remember(key);
        let value = self.table.get(key)?;
        Some(Field { reader: self.reader, value: value.get_ref(), span: self.at(value.span()), key })
    }

    fn remember(&self, key: &'static str) {
        self.asked.borrow_mut().push(key);
    }

    /// Notes what a key may hold, for the tests that hold the schema and the documentation against it.
    #[cfg(test)]
    fn note(&self, key: &'static str, required: bool, schema: impl FnOnce() -> Value) {
        asked::note(&self.title, key, required, schema);
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the tests note it by the table's title")]
    fn note(&self, _key: &'static str, _required: bool, _schema: impl FnOnce() -> Value) {}

    fn at(&self, range: std::ops::Range<usize>) -> Span {
        Span { source: self.span.source, start: range.start, end: range.end }
    }

    /// Reports a list that must not be empty.
    pub(crate) fn report_empty(&self, key: &str, span: Span, help: &str) {
        let message = format!("`{key}` is empty in {}", self.title);
        self.reader.report(Diagnostic::error(codes::BAD_VALUE, span, message).with_help(help));
    }

    /// Has [`Self::finish`] report a key that must be there.
    pub(crate) fn report_missing(&self, key: &'static str, expected: impl Into<String>) {
        self.missing.borrow_mut().push((key, expected.into()));
    }

    fn inner_title(&self, key: &str, array: bool) -> String {
        let path = match self.title.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            None => key.to_owned(),
            Some(outer) if outer.starts_with('[') => return format!("`{key}` of {}", self.title),
            Some(outer) => format!("{outer}.{key}"),
        };
        if self.title.starts_with('`') {
            return format!("`{key}` of {}", self.title);
        }
        if array { format!("[[{path}]]") } else { format!("[{path}]") }
    }
}

fn read_list<K: Kind>(field: Field<'_>, kind: K) -> Option<At<Vec<At<K::Value>>>> {
    let expected = format!("a list, each {}", kind.expected());
    let help = matches!(field.value, DeValue::String(_)).then(|| "write it in brackets: `[\"…\"]`".to_owned());
    let elements = field.elements(&expected, help)?;
    let mut written = 0;
    let values: Vec<_> = elements
        .inspect(|_| written += 1)
        .filter_map(|element| Some(At::new(kind.read(&element)?, element.span)))
        .collect();
    // A list of which nothing can be read is not the same as an empty one.
    (written == 0 || !values.is_empty()).then(|| At::new(values, field.span))
}

fn read_one_or_list<K: Kind>(field: Field<'_>, kind: K) -> Option<At<Vec<At<K::Value>>>> {
    if matches!(field.value, DeValue::Array(_)) {
        return read_list(field, kind);
    }
    Some(At::new(vec![At::new(kind.read(&field)?, field.span)], field.span))
}

/// A string, or the beginning of a long one, fit for a message.
pub(crate) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(64).flat_map(char::escape_debug).collect();
    if text.chars().nth(64).is_some() { format!("{cut}…") } else { cut }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
