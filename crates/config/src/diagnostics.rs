//! What is wrong with a configuration, and exactly where.
//!
//! Problems are collected, never thrown: a run reports all of them. How they look on a terminal is the business of `render`.

use std::cell::OnceCell;
use std::sync::Arc;

/// This many diagnostics are kept; more are counted. Nobody reads the thousandth.
const MAX_KEPT: usize = 1_000;

/// One file among [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(u32);

impl SourceId {
    /// Its index among all files of the run.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A range of bytes in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The file.
    pub source: SourceId,
    /// The first byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A value and where it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

impl<T> At<T> {
    pub(crate) fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }

    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> At<U> {
        At { value: change(self.value), span: self.span }
    }
}

/// Whether a diagnostic forbids the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Nothing is started.
    Error,
    /// It works, but probably not as meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable: see [`crate::codes`].
    pub code: &'static str,
    /// Whether it forbids the start.
    pub severity: Severity,
    /// One line: lower case, without a full stop.
    pub message: String,
    /// Where it is.
    pub primary: Span,
    /// What stands at that place, where the message does not say it.
    pub label: Option<String>,
    /// Other places that belong to it, each with what is there.
    pub related: Vec<(Span, String)>,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A problem that forbids the start.
    pub fn error(code: &'static str, primary: Span, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Error, primary, message.into())
    }

    /// A problem that does not forbid the start.
    pub fn warning(code: &'static str, primary: Span, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, primary, message.into())
    }

    fn new(code: &'static str, severity: Severity, primary: Span, message: String) -> Self {
        Self { code, severity, message, primary, label: None, related: Vec::new(), help: None }
    }

    /// The same with a remedy.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same with words at the place.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The same with a second place.
    #[must_use]
    pub fn with_related(mut self, span: Span, what: impl Into<String>) -> Self {
        self.related.push((span, what.into()));
        self
    }
}

/// The problems found so far. Bounded: the first thousand are kept, the rest is counted.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    kept: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        match diagnostic.severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
        }
        if self.kept.len() < MAX_KEPT {
            self.kept.push(diagnostic);
        }
    }

    /// How many errors there are, with those that were not kept.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// How many warnings there are, with those that were not kept.
    pub fn warnings(&self) -> usize {
        self.warnings
    }

    /// Whether a further one would only be counted, so that no work needs to go into its remedy.
    pub fn is_full(&self) -> bool {
        self.kept.len() >= MAX_KEPT
    }

    /// Those that were kept.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.kept.iter()
    }

    /// A mark for [`Self::retain_since`].
    pub(crate) fn mark(&self) -> usize {
        self.kept.len()
    }

    /// Drops what `keep` refuses among those added after the mark.
    pub(crate) fn retain_since(&mut self, mark: usize, mut keep: impl FnMut(&Diagnostic) -> bool) {
        let newer = self.kept.split_off(mark.min(self.kept.len()));
        for diagnostic in newer {
            if keep(&diagnostic) {
                self.kept.push(diagnostic);
                continue;
            }
            match diagnostic.severity {
                Severity::Error => self.errors = self.errors.saturating_sub(1),
                Severity::Warning => self.warnings = self.warnings.saturating_sub(1),
            }
        }
    }

    /// Puts them in the order in which a person reads: by file, then by position.
    pub(crate) fn sort(&mut self) {
        self.kept.sort_by(|a, b| a.primary.cmp(&b.primary).then_with(|| a.code.cmp(b.code)));
    }
}

/// The files that were read, with their texts.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<Source>,
}

#[derive(Debug, Clone)]
struct Source {
    name: Arc<str>,
    short_name: Arc<str>,
    text: Arc<str>,
    line_starts: OnceCell<Vec<usize>>,
    /// The bytes that no report shows, such as those of a secret.
    hidden: Vec<(usize, usize)>,
}

/// A place for people: both numbers count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl Sources {
    /// Adds a file: the name to open it by, the name that the configuration uses for it, and its text.
    pub fn add(&mut self, name: impl Into<Arc<str>>, short_name: impl Into<Arc<str>>, text: Arc<str>) -> SourceId {
        // More than four thousand million files cannot be named by one configuration.
        let id = SourceId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        let source = Source {
            name: name.into(),
            short_name: short_name.into(),
            text,
            line_starts: OnceCell::new(),
            hidden: Vec::new(),
        };
        self.files.push(source);
        id
    }

    /// The texts of all files, by the names that they were opened by.
    pub(crate) fn texts(&self) -> std::collections::HashMap<&str, &Arc<str>> {
        self.files.iter().map(|file| (&*file.name, &file.text)).collect()
    }

    /// The texts of all files, in the order in which they were read.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (SourceId, &Arc<str>)> {
        (0..).map(SourceId).zip(self.files.iter().map(|file| &file.text))
    }

    /// The file's name, as it was opened.
    pub fn name(&self, id: SourceId) -> Arc<str> {
        self.get(id).map_or_else(|| "?".into(), |source| source.name.clone())
    }

    /// The file's name, as the configuration writes it.
    pub fn short_name(&self, id: SourceId) -> Arc<str> {
        self.get(id).map_or_else(|| "?".into(), |source| source.short_name.clone())
    }

    /// The file's text.
    pub fn text(&self, id: SourceId) -> &str {
        self.get(id).map_or("", |source| &source.text)
    }

    /// Has no report show what stands there.
    pub(crate) fn hide(&mut self, span: Span) {
        if let Some(source) = self.files.get_mut(span.source.index()) {
            source.hidden.push((span.start, span.end));
        }
    }

    /// A piece of a file that begins at this byte, with an asterisk for each byte that is hidden.
    pub(crate) fn without_hidden(&self, id: SourceId, start: usize, piece: &str) -> String {
        let hidden = self.get(id).map(|source| source.hidden.as_slice()).unwrap_or_default();
        let is_hidden = |byte: usize| hidden.iter().any(|(from, to)| (*from..*to).contains(&byte));
        let masked = piece.char_indices().map(|(index, character)| match is_hidden(start + index) {
            true => "*".repeat(character.len_utf8()),
            false => character.to_string(),
        });
        if hidden.is_empty() { piece.to_owned() } else { masked.collect() }
    }

    /// All files, in the order in which they were added.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SourceId> {
        (0..self.files.len()).map(|index| self.id_at(index))
    }

    /// The file at an index.
    pub(crate) fn id_at(&self, index: usize) -> SourceId {
        SourceId(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// The line in which a span begins, from 1.
    pub(crate) fn line(&self, span: Span) -> usize {
        self.get(span.source).map_or(1, |source| source.line_of(span.start) + 1)
    }

    /// Where a span begins.
    pub fn position(&self, span: Span) -> Position {
        let Some(source) = self.get(span.source) else { return Position { line: 1, column: 1 } };
        let line = source.line_of(span.start);
        let line_start = source.line_starts().get(line).copied().unwrap_or(0);
        let before = source.text.get(line_start..span.start.min(source.text.len())).unwrap_or("");
        Position { line: line + 1, column: before.chars().count() + 1 }
    }

    /// The line that holds the beginning of a span, without its end of line, and the offset of its first byte.
    pub(crate) fn line_at(&self, span: Span) -> (usize, &str) {
        let Some(source) = self.get(span.source) else { return (0, "") };
        let line = source.line_of(span.start);
        let start = source.line_starts().get(line).copied().unwrap_or(0);
        let rest = source.text.get(start..).unwrap_or("");
        let text = rest.split('\n').next().unwrap_or("");
        (start, text.strip_suffix('\r').unwrap_or(text))
    }

    /// Forgets the texts of the files that no diagnostic speaks of: they can be large.
    pub(crate) fn forget_texts_except(&mut self, diagnostics: &Diagnostics) {
        for (index, source) in self.files.iter_mut().enumerate() {
            let speaks_of = |span: Span| span.source.0 as usize == index;
            let needed = diagnostics
                .iter()
                .any(|item| speaks_of(item.primary) || item.related.iter().any(|(span, _)| speaks_of(*span)));
            if !needed {
                source.text = "".into();
                source.line_starts = OnceCell::new();
            }
        }
    }

    fn get(&self, id: SourceId) -> Option<&Source> {
        self.files.get(id.0 as usize)
    }
}

impl Source {
    fn line_starts(&self) -> &[usize] {
        self.line_starts.get_or_init(|| {
            let ends = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect()
        })
    }

    /// The index of the line that holds this byte.
    fn line_of(&self, offset: usize) -> usize {
        self.line_starts().partition_point(|start| *start <= offset).saturating_sub(1)
    }
}

/// All problems of one configuration, with what is needed to show them.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub(crate) sources: Sources,
    pub(crate) diagnostics: Diagnostics,
}

impl Report {
    pub(crate) fn new(mut sources: Sources, mut diagnostics: Diagnostics) -> Self {
        diagnostics.sort();
        sources.forget_texts_except(&diagnostics);
        Self { sources, diagnostics }
    }

    /// The problems, by file and position. At most a thousand.
    pub fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter()
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.diagnostics.errors()
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.diagnostics.warnings()
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.errors() + self.warnings() == 0
    }

    /// The name of the file that a span lies in, as it was opened.
    pub fn file(&self, span: Span) -> Arc<str> {
        self.sources.name(span.source)
    }

    /// Where a span begins.
    pub fn position(&self, span: Span) -> Position {
        self.sources.position(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(text: &str) -> (Sources, SourceId) {
        let mut sources = Sources::default();
        let id = sources.add("a.toml", "a.toml", text.into());
        (sources, id)
    }

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let check = |text: &str, offset: usize, expected: (usize, usize)| {
            let (sources, id) = sources(text);
            let position = sources.position(Span { source: id, start: offset, end: offset });
            assert_eq!((position.line, position.column), expected, "{text:?} at {offset}");
        };
        check("", 0, (1, 1));
        check("ab\ncd", 0, (1, 1));
        check("ab\ncd", 2, (1, 3));
        check("ab\ncd", 3, (2, 1));
        check("ab\ncd", 5, (2, 3));
        check("äöü = 1", 7, (1, 5));
        check("a\r\nb", 3, (2, 1));
        // An offset past the end is at the end of the last line's beginning rather than a panic.
        check("ab", 99, (1, 3));
    }

    #[test]
    fn only_a_thousand_are_kept_and_the_rest_is_counted() {
        let (_, id) = sources("x");
        let mut diagnostics = Diagnostics::default();
        for _ in 0..1_500 {
            diagnostics.push(Diagnostic::error("E0000", Span { source: id, start: 0, end: 1 }, "x"));
        }
        assert_eq!(diagnostics.errors(), 1_500);
        assert_eq!(diagnostics.iter().count(), 1_000);
        assert!(diagnostics.is_full());
    }
}
