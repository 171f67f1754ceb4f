//! From a file to a table: reads with a bound, refuses what is no text, and reports every syntax error.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, Error};
use toml_parser::lexer::TokenKind;

use crate::codes;
use crate::diagnostics::{Diagnostic, SourceId, Span};
use crate::section::{Reader, Section, shown};

/// `portcullis.toml`, what it includes, and key files.
pub(crate) const MAX_GATEWAY_FILE: u64 = 4 << 20;
/// `policy.toml`, what it includes, and the files of networks.
pub(crate) const MAX_POLICY_FILE: u64 = 64 << 20;
/// A key set (security.md R4).
pub(crate) const MAX_KEY_SET: u64 = 1 << 20;

/// Up to this size all syntax errors are reported, beyond it the first: each error costs memory.
const MAX_RECOVERED: usize = 4 << 20;
/// At most this many syntax errors of one file are reported.
const MAX_SYNTAX_ERRORS: usize = 100;
/// Dots in one key. Tables are dropped recursively, and `a.a.a.…` would otherwise make them as deep as the file is long.
const MAX_DOTS: usize = 7;

/// A file to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileToRead<'f> {
    pub(crate) path: &'f Path,
    /// The name that the configuration uses for it.
    pub(crate) short_name: &'f str,
    /// The value that names it; `None` for the file that the operator named.
    pub(crate) named_at: Option<Span>,
    /// In bytes.
    pub(crate) limit: u64,
    /// It defines what other files refer to by name.
    pub(crate) defines_names: bool,
}

/// Reads a file and hands its top level to `read`. `None` when there is nothing to read. What is wrong was reported.
pub(crate) fn read_document<T>(
    reader: &Reader<'_>,
    file: FileToRead<'_>,
    read: impl for<'d> FnOnce(Section<'d>) -> T,
) -> Option<T> {
    let parsed = read_text(reader, file).map(|(source, text)| parse_document(reader, source, &text, read));
    let parsed = parsed.unwrap_or(Parsed { value: None, whole: false });
    if file.defines_names && !parsed.whole {
        reader.mark_incomplete();
    }
    parsed.value
}

/// What came out of a text.
pub(crate) struct Parsed<T> {
    /// `None` when it is nested too deep to be parsed.
    pub(crate) value: Option<T>,
    /// There was no syntax error.
    pub(crate) whole: bool,
}

/// Parses a text and hands its top level to `read`.
pub(crate) fn parse_document<T>(
    reader: &Reader<'_>,
    source: SourceId,
    text: &str,
    read: impl for<'d> FnOnce(Section<'d>) -> T,
) -> Parsed<T> {
    if let Some(range) = key_too_deep(text) {
        let span = Span { source, start: range.start, end: range.end };
        let diagnostic = Diagnostic::error(codes::NESTING, span, "this key has too many parts")
            .with_help(format!("a key has at most {} parts", MAX_DOTS + 1));
        reader.report(diagnostic);
        return Parsed { value: None, whole: false };
    }
    let (table, errors) = parse(text);
    let mark = reader.diagnostics.borrow().mark();
    let start = Span { source, start: 0, end: 0 };
    let title = reader.sources.borrow().short_name(source).to_string();
    let value = Some(read(Section::new(reader, table.get_ref(), start, title)));
    if let Some(first_error) = errors.iter().map(|error| error.span().unwrap_or_default().start).min() {
        // What the parser recovered from the first error on may be in the wrong place, and what is missing may be lost.
        let before = text.get(..text.floor_char_boundary(first_error)).unwrap_or("");
        let sound = before.rfind('\n').map_or(0, |end_of_line| end_of_line + 1);
        reader.diagnostics.borrow_mut().retain_since(mark, |diagnostic| {
            diagnostic.primary.source != source
                || (diagnostic.primary.start < sound && diagnostic.code != codes::MISSING)
        });
        errors.iter().take(MAX_SYNTAX_ERRORS).for_each(|error| reader.report(syntax_error(source, text, error)));
    }
    Parsed { value, whole: errors.is_empty() }
}

/// Reads a file as UTF-8. What is wrong with it is reported where it was named.
pub(crate) fn read_text(reader: &Reader<'_>, file: FileToRead<'_>) -> Option<(SourceId, Arc<str>)> {
    let bytes = match read_bytes(file.path, file.limit) {
        Ok(bytes) => bytes,
        Err(message) => {
            report_unreadable(reader, file, message);
            return None;
        }
    };
    add_text(reader, file.path, file.short_name, &bytes)
}

/// Adds what was read from a file as a source. What is no text is reported.
pub(crate) fn add_text(
    reader: &Reader<'_>,
    path: &Path,
    short_name: &str,
    bytes: &[u8],
) -> Option<(SourceId, Arc<str>)> {
    let problem = match std::str::from_utf8(bytes) {
        Ok(text) if text.starts_with('\u{feff}') => (0, "the file begins with a byte order mark"),
        Ok(text) => {
            let text: Arc<str> = text.into();
            return Some((reader.add_source(path, short_name, text.clone()), text));
        }
        Err(error) => (error.valid_up_to(), "the file is not UTF-8 from here on"),
    };
    let (offset, message) = problem;
    let lossy = String::from_utf8_lossy(bytes);
    let source = reader.add_source(path, short_name, lossy.as_ref().into());
    let span = Span { source, start: offset, end: lossy.ceil_char_boundary(offset + 1) };
    let help = "save it as UTF-8 without a byte order mark";
    reader.report(Diagnostic::error(codes::UNREADABLE, span, message).with_help(help));
    None
}

/// The bytes of a regular file of at most `limit` bytes; the error is a sentence for the operator.
pub(crate) fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let name = shown_path(path);
    let failed = |error: std::io::Error| format!("cannot read `{name}`: {error}");
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(format!("cannot read `{name}`: it is a folder"));
    }
    if !metadata.is_file() {
        return Err(format!("cannot read `{name}`: it is not a regular file"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(limit)).unwrap_or(0));
    // One byte more than allowed tells a file that grew meanwhile from one that just fits.
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(format!("cannot read `{name}`: it is larger than {} MiB", limit >> 20));
    }
    Ok(bytes)
}

fn shown_path(path: &Path) -> String {
    path.display().to_string().chars().take(512).collect()
}

fn report_unreadable(reader: &Reader<'_>, file: FileToRead<'_>, message: String) {
    let span = file.named_at.unwrap_or_else(|| {
        let source = reader.add_source(file.path, file.short_name, "".into());
        Span { source, start: 0, end: 0 }
    });
    let missing = matches!(std::fs::metadata(file.path), Err(error) if error.kind() == ErrorKind::NotFound);
    let mut diagnostic = Diagnostic::error(codes::UNREADABLE, span, message);
    if missing && file.named_at.is_some() {
        diagnostic.help = Some("a path is relative to the file that names it".into());
    }
    reader.report(diagnostic);
}

fn parse(text: &str) -> (toml::Spanned<DeTable<'_>>, Vec<Error>) {
    if text.len() <= MAX_RECOVERED {
        return DeTable::parse_recoverable(text);
    }
    match DeTable::parse(text) {
        Ok(table) => (table, Vec::new()),
        Err(error) => (toml::Spanned::new(0..0, DeTable::new()), vec![error]),
    }
}

fn syntax_error(source: SourceId, text: &str, error: &Error) -> Diagnostic {
    let range = error.span().unwrap_or_default();
    let start = text.floor_char_boundary(range.start.min(text.len()));
    let end = text.ceil_char_boundary(range.end.clamp(start, text.len()));
    let span = Span { source, start, end };
    let message = error.message();
    if message.contains("recurs") {
        return Diagnostic::error(codes::NESTING, span, "nested too deep").with_help("at most 80 levels are read");
    }
    let mut diagnostic = Diagnostic::error(codes::SYNTAX, span, message);
    if message.starts_with("duplicate key") {
        let key = shown(text.get(start..end).unwrap_or(""));
        diagnostic.message = format!("`{key}` is written twice");
        diagnostic.help = Some("keep one of the two; a list of tables is written with two brackets".into());
    }
    diagnostic
}

/// The first key with too many parts. Only keys and numbers have dots outside strings, and a number has one.
fn key_too_deep(text: &str) -> Option<Range<usize>> {
    let (mut dots, mut start) = (0, None);
    for token in toml_parser::Source::new(text).lex() {
        match token.kind() {
            TokenKind::Dot => dots += 1,
            TokenKind::Atom | TokenKind::BasicString | TokenKind::LiteralString | TokenKind::Whitespace => {}
            _ => (dots, start) = (0, None),
        }
        if token.kind() != TokenKind::Whitespace && dots <= 1 && start.is_none() {
            start = Some(token.span().start());
        }
        if dots > MAX_DOTS {
            return Some(start.unwrap_or(0)..token.span().end());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_bounded_number_of_parts() {
        let check = |text: &str, deep: bool| assert_eq!(key_too_deep(text).is_some(), deep, "{text}");
        check("a.b.c.d.e.f.g.h = 1", false);
        check("a.b.c.d.e.f.g.h.i = 1", true);
        check("[a . b . c . d . e . f . g . h . i]", true);
        check("a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 1.0]", false);
        check("a = \"a.b.c.d.e.f.g.h.i.j.k\" # a.b.c.d.e.f.g.h.i.j", false);
        check("a = { b.c.d.e.f.g.h.i.j = 1 }", true);
        check("a.b = 1\na.c = 1\na.d = 1\na.e = 1\na.f = 1\na.g = 1\na.h = 1\na.i = 1\na.j = 1", false);
    }
}
